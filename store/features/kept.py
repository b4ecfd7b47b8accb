"""The SQL of the last build as a home keeps it, with what was proved of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from models.artifacts import read_object, replace_file, set_aside
from store.features import compiled
from store.features.certificate import verdict
from store.features.compiled import Build, NotCompiledError


class UnprovedError(RuntimeError):
    """What depends on a feature view may not go on: its proof is not there, or has failed."""


@dataclass(frozen=True, kw_only=True)
class CompiledSql:
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
