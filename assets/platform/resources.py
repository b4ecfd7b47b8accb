"""Resources of the assets: the clock, the source, and the build that a person accepts without a passed proof."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

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
    accept_extraction : str
        The beginning of the hash of the losses that a person accepts; empty for none.
    accepted_since : datetime or None
        The time from which a person accepts the source as it is; None for no such time.
    state_dir, simulated : Path
    simulation_leads, simulation_months, simulation_seed : int
    """

    address: str | None
    mapping: str | None
    as_of: datetime | None
    accept_new_source: bool
    accept_extraction: str = ""
    accepted_since: datetime | None
    state_dir: Path
    simulated: Path
    simulation_leads: int
    simulation_months: int
    simulation_seed: int

    def resolved(self) -> str:
        """Return the address; the simulated CRM is made first if it is the source and does not exist."""
        if self.address is not None:
            return self.address
        folder = self.simulated / (
            f"{self.simulation_leads}_leads_{self.simulation_months}_months_seed_{self.simulation_seed}"
        )
        if not folder.exists():
            from simulation import simulate

            simulate(folder, self.simulation_leads, months=self.simulation_months, seed=self.simulation_seed)
        return str(folder)


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
