"""What assets need from outside: the clock, the source, the horizons, and the folders for artifacts and readers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import compiled
from assets.certificate import verdict
from assets.compiled import Build, NotCompiledError
from models.artifacts import read_object, replace_file, set_aside
from models.declaration import Split

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    accept_extraction : str
        The beginning of the hash of what an extraction may lose; empty for nothing.
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
    accept_extraction: str = ""
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


class Grading(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Whether somebody asks for new grades; else those in force are kept."""

    new: bool


class Confirmations(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Features of which a person says that they were known at the time, by model."""

    features: dict[str, list[str]]

    def of(self, model: str) -> tuple[str, ...]:
        """Return those of a model."""
        return tuple(self.features.get(model, ()))


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

    def answers(self, model: str) -> Path:
        """Folder of the answers to questions for training rows."""
        return Path(self.root) / "answers" / model

    def reports(self, model: str) -> Path:
        """Folder of a model's drift reports."""
        return Path(self.root) / "reports" / model

    @property
    def docs(self) -> Path:
        """The page of the dbt docs, beside the folders of the models."""
        return Path(self.root) / "reports" / "dbt_docs" / "index.html"

    def report_address(self, report: Path) -> str:
        """Where a report is served while the UI runs."""
        return f"http://127.0.0.1:{self.reports_port}/{report.relative_to(Path(self.root) / 'reports').as_posix()}"


class Proving(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The build whose proof a person lets fail, by the beginning of the hash of its SQL; empty for none."""

    accepted: str = ""

    def accepts(self, sql_sha256: str) -> bool:
        """Say whether a build may go on although its proof has failed."""
        return self.accepted != "" and sql_sha256.startswith(self.accepted)


class UnprovedError(RuntimeError):
    """What depends on a feature view may not go on: its proof is not there, or has failed."""


class CompiledSql(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Folder of the SQL that dbt compiled for the last build of the feature store, and of what was proved of it."""

    root: str

    @property
    def path(self) -> Path:
        """The SQL."""
        return Path(self.root) / "feature_store.json"

    def keep(self, target: Path, variables: Mapping[str, Any]) -> None:
        """Keep what a whole build ran, from the folder that dbt wrote."""
        earlier = self._last()
        self._forget_certificates()
        compiled.write(self.path, compiled.of_run(target, variables, earlier))

    def has(self, as_of: datetime) -> bool:
        """Say whether the SQL of a build at a clock is there, and whole."""
        build = self._last()
        return build is not None and build.as_of == as_of

    def advance(self, as_of: datetime) -> None:
        """Set the clock in the SQL to that of an increment, which gives what this SQL would give at that clock."""
        self._forget_certificates()
        compiled.write(self.path, compiled.read(self.path).at(as_of))

    def build(self, as_of: datetime) -> Build:
        """Return the last build, as a whole one: an increment has no SQL of its own here.

        Raises
        ------
        NotCompiledError
            If there is none, or one of another clock.
        """
        build = compiled.read(self.path)
        if build.as_of != as_of:
            raise NotCompiledError(
                f"{self.path}: expected the SQL of the features in the warehouse, whose clock is {as_of.isoformat()}, "
                f"found that of {build.as_of.isoformat()}. Materialize staging, intermediate, features and labels "
                "again."
            )
        return build

    def certify(self, view: str, certificate: str) -> None:
        """Keep the certificate of a feature view, as JSON, in place of an earlier one."""
        replace_file(self._certificate(view), certificate)

    def certificate(self, view: str, as_of: datetime) -> str | None:
        """Return the certificate of a feature view, if the build of a clock has one that can be read."""
        build = self._last()
        if build is None:
            return None
        try:
            said = read_object(self._certificate(view))
            proved = (datetime.fromisoformat(said["as_of"]), said["sql_sha256"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        return json.dumps(said) if proved == (as_of, build.sha256) == (build.as_of, said["sql_sha256"]) else None

    def require_proof(self, view: str, as_of: datetime) -> None:
        """Refuse to go on with features of which nothing shows that they hold nothing of what came later.

        Raises
        ------
        UnprovedError
            If the build of the clock has no proof, or a failed one that nobody has accepted.
        """
        text = self.certificate(view, as_of)
        refusal = verdict(None if text is None else json.loads(text))
        if refusal is not None:
            raise UnprovedError(f"{view} as of {as_of.isoformat()}: {refusal}")

    def _last(self) -> Build | None:
        """Return the last build; None where there is none that can be read."""
        try:
            return compiled.read(self.path)
        except NotCompiledError:
            return None

    def _forget_certificates(self) -> None:
        # also where clock and SQL are as they were: other rows are built
        for path in Path(self.root).glob(self._certificate("*").name):
            if path.is_dir():
                set_aside(path)
            else:
                path.unlink()

    def _certificate(self, view: str) -> Path:
        return Path(self.root) / f"{view}_point_in_time.json"


class Publication(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where readers find the marts, and which losses a person has accepted.

    Parameters
    ----------
    path : str
        The file that readers open, of a warehouse that is a DuckDB file.
    group : str or None
        The group that may read it; None for its owner alone.
    record : str
        The file in which the home remembers its last publication.
    accepted : str
        The beginning of the hash of what may be lost; empty for none.
    """

    path: str
    group: str | None = None
    record: str
    accepted: str = ""

    def accepts(self, digest: str) -> bool:
        """Say whether what would be lost is what a person has accepted."""
        return self.accepted != "" and digest.startswith(self.accepted)
