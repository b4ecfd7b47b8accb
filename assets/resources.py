"""What assets need from outside: the clock, the source, the horizons, and the folders for artifacts and readers."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from models.declaration import Split

if TYPE_CHECKING:
    from models.declaration import ModelDeclaration

WAREHOUSE_POOL = "warehouse"
"""Every step that opens the warehouse waits in this pool, across runs: DuckDB admits one writing process."""


class Clock(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The wall clock: the one place that asks what time it is. Features and labels never do."""

    def present(self) -> datetime:
        """Return the present time, UTC."""
        return datetime.now(UTC)


class CrmSource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where the CRM's records come from.

    Parameters
    ----------
    address : str or None
        Folder or ``postgresql://`` address; None for the simulated CRM, which is made under `simulated` when missing.
    mapping : str or None
    as_of : str or None
        The clock in ISO 8601, or None for the default of the source.
    accept_new_source : bool
    accepted_since : str or None
        From when on the source counts as it should be, in ISO 8601; None for always.
    state_dir, simulated : str
        Folders.
    simulation_leads, simulation_months, simulation_seed : int
    """

    address: str | None
    mapping: str | None
    as_of: str | None
    accept_new_source: bool
    accepted_since: str | None
    state_dir: str
    simulated: str
    simulation_leads: int
    simulation_months: int
    simulation_seed: int

    @property
    def clock(self) -> datetime | None:
        """The clock that was asked for, if any."""
        return None if self.as_of is None else datetime.fromisoformat(self.as_of)

    @property
    def accepted_since_moment(self) -> datetime | None:
        """From when on the source counts as it should be, if that was said."""
        return None if self.accepted_since is None else datetime.fromisoformat(self.accepted_since)

    def resolved(self) -> str:
        """Return the address, after making the simulated CRM where that is the source and is not there yet."""
        if self.address is not None:
            return self.address
        folder = Path(self.simulated) / (
            f"{self.simulation_leads}_leads_{self.simulation_months}_months_seed_{self.simulation_seed}"
        )
        if not folder.exists():
            from simulation import simulate

            simulate(folder, leads=self.simulation_leads, months=self.simulation_months, seed=self.simulation_seed)
        return str(folder)


class Horizons(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Horizons that replace those of the declarations, in days by model."""

    overrides: dict[str, int]

    def applied(self, declaration: ModelDeclaration, source_defaults: dict[str, int]) -> ModelDeclaration:
        """Return the declaration over the horizon that applies: a setting's, else the mapping's, else its own."""
        days = self.overrides.get(declaration.name, source_defaults.get(declaration.name, declaration.horizon_days))
        return declaration.with_horizon(days)


class Splitting(dg.ConfigurableResource):  # type: ignore[type-arg]
    """How held-out rows are chosen, in place of what the declarations say."""

    split: Split

    def applied(self, declaration: ModelDeclaration) -> ModelDeclaration:
        """Return the declaration measured on the split that applies."""
        return declaration.with_split(self.split)


class ArtifactStore(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Folders of what is frozen, training sets and model versions, and of reports, by model."""

    root: str
    reports_port: int

    def training_sets(self, model: str) -> Path:
        """Folder of a model's training sets."""
        return Path(self.root) / "training_sets" / model

    def versions(self, model: str) -> Path:
        """Folder of a model's trained versions."""
        return Path(self.root) / "models" / model

    def reports(self, model: str) -> Path:
        """Folder of a model's drift reports."""
        return Path(self.root) / "reports" / model

    def report_address(self, report: Path) -> str:
        """Where a report is served while the UI runs."""
        return f"http://127.0.0.1:{self.reports_port}/{report.relative_to(Path(self.root) / 'reports').as_posix()}"


class Publication(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The file that readers open."""

    path: str
