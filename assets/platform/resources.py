"""Resources of the assets: the clock, the source, and the build that a person accepts without a passed proof."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from store.places import MAPPING
from store.settings import Settings

STEP_RETRIES, STEP_RETRY_SECONDS = 2, 5
"""Retries of a step that has lost its connection to the warehouse, and the seconds before each."""

WAREHOUSE_POOL = "warehouse"
"""The pool of all steps that open the warehouse, across runs, because DuckDB admits one writing process."""


class Clock:
    """The wall clock of the assets. Features and labels never use it."""

    def present(self) -> datetime:
        """Return the present time, UTC."""
        return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class CrmSource:
    """Where the CRM's records come from.

    Parameters
    ----------
    address : str or None
        Folder or ``postgresql://`` address; None for the simulated CRM, which is made under `simulated` when missing.
    mapping : str or None
    as_of : datetime or None
        The clock; None for the default of the source.
    accept_new_source : bool
    source_ids : bool
        Whether the CRM's own keys are kept where keys are pseudonyms.
    accept_extraction : str
        The beginning of the hash of the losses that a person accepts; empty for none.
    accepted_since : datetime or None
        The time from which a person accepts the source as it is; None for no such time.
    state_dir, simulated : Path
    simulation_leads, simulation_months, simulation_seed : int
    simulation_customers : bool
    """

    address: str | None
    mapping: str | None
    as_of: datetime | None
    accept_new_source: bool
    source_ids: bool = False
    accept_extraction: str = ""
    accepted_since: datetime | None
    state_dir: Path
    simulated: Path
    simulation_leads: int
    simulation_months: int
    simulation_seed: int
    simulation_customers: bool

    @classmethod
    def of(cls, chosen: Settings) -> CrmSource:
        """Return the source that the settings name."""
        return cls(
            address=chosen.source,
            mapping=chosen.mapping,
            as_of=chosen.as_of,
            accept_new_source=chosen.accept_new_source,
            source_ids=chosen.source_ids,
            accept_extraction=chosen.accept_extraction,
            accepted_since=chosen.source_accepted_since,
            state_dir=chosen.home / "extraction",
            simulated=chosen.home / "simulated_crm",
            simulation_leads=chosen.simulation_leads,
            simulation_months=chosen.simulation_months,
            simulation_seed=chosen.simulation_seed,
            simulation_customers=chosen.simulation_customers,
        )

    @property
    def place(self) -> str:
        """The address, or the folder of the simulated CRM, which may not be there yet."""
        if self.address is not None:
            return self.address
        earlier = self.simulated / (
            f"{self.simulation_leads}_leads_{self.simulation_months}_months_seed_{self.simulation_seed}"
        )
        # a home that an earlier release filled goes on with its company
        kept = not self.simulation_customers or earlier.exists()
        return str(earlier if kept else f"{earlier}_with_customers")

    @property
    def in_home(self) -> Path | None:
        """The mapping in the home, which need not exist; None for the simulated CRM, which needs none."""
        return None if self.address is None else self.state_dir.parent / MAPPING

    def resolved(self) -> str:
        """Return the address, after making the simulated CRM where that is the source and is not there yet."""
        if self.address is None and not Path(self.place).exists():
            from simulation import simulate

            simulate(
                Path(self.place),
                self.simulation_leads,
                months=self.simulation_months,
                seed=self.simulation_seed,
                customers=self.simulation_customers,
            )
        return self.place


@dataclass(frozen=True, kw_only=True)
class Proving:
    """The build that a person accepts without a passed proof: the beginning of its SQL's hash, or an empty text."""

    accepted: str = ""

    def accepts(self, sql_sha256: str) -> bool:
        """Say whether a build may go on although its proof has failed."""
        return self.accepted != "" and sql_sha256.startswith(self.accepted)


def retry_step(error: Exception) -> None:
    """Ask Dagster to run the step again that has lost its connection to the warehouse; do nothing outside of a step.

    Every write is keyed and in a transaction, so a step can run again from its beginning.

    Raises
    ------
    dagster.RetryRequested
        In a step.
    """
    try:
        dg.OpExecutionContext.get()
    except dg.DagsterInvariantViolationError:
        return
    raise dg.RetryRequested(max_retries=STEP_RETRIES, seconds_to_wait=STEP_RETRY_SECONDS) from error
