"""Certificates: the result of a proof of point-in-time correctness, kept in the home beside the SQL that it is about.

`assets.features.proof` decides from this evidence.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from models.artifacts import read_object, replace_file, set_aside
from store.features import compiled
from store.features.compiled import Build, NotCompiledError

ROW = "(row)"
"""Takes the place of a column where a whole row is missing or superfluous."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A column whose values differ in a replay: the number of rows, and one of them as an example."""

    variant: str
    moment: datetime
    table: str
    column: str
    rows: int
    key: str
    as_of: datetime
    stored: str | None
    replayed: str | None

    @property
    def sentence(self) -> str:
        """The difference, in words."""
        # the replays ask for entities at moments at which the store has no row
        place = "in the store" if self.variant == "store" else "with the facts as they are"
        return (
            f"{self.table}.{self.column}: {self.rows:,} rows differ ({self.variant} at {self.moment.isoformat()}); "
            f"{self.key} as of {self.as_of.isoformat()} is {self.stored} {place}, {self.replayed} in the replay"
            + (
                ". A label has a row from when it has matured, and not before"
                if self.table.startswith("labels.") and self.column == ROW
                else ""
            )
        )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A table of the store compared with a replay: the rows, and the first difference of each column.

    `moved` lists the columns that were allowed to change in this replay, and did.
    """

    variant: str
    moment: datetime
    table: str
    rows: int
    digest: str
    differences: tuple[Difference, ...]
    moved: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """The result of a proof.

    Attributes
    ----------
    as_of : datetime
        The clock of the build.
    sql_sha256 : str
        The hash of the build's SQL, as `store.features.compiled.Build` computes it.
    proved_at : datetime
    seconds : float
    features : tuple of str
        All features of the view.
    entities : int
        Entities whose observations were replayed.
    entities_share : float
        Share of the entities whose observations were replayed.
    comparisons : tuple of Comparison
    """

    as_of: datetime
    sql_sha256: str
    proved_at: datetime
    seconds: float
    features: tuple[str, ...]
    entities: int
    entities_share: float
    comparisons: tuple[Comparison, ...]

    @property
    def moments(self) -> list[datetime]:
        """The moments, in order."""
        return sorted({each.moment for each in self.comparisons})

    @property
    def rows(self) -> int:
        """Rows compared, over all replays."""
        return sum(each.rows for each in self.comparisons)

    @property
    def rows_by_variant(self) -> dict[str, int]:
        """Rows of features and labels compared, by variant of the replay."""
        variants = dict.fromkeys(each.variant for each in self.comparisons)
        return {name: sum(each.rows for each in self.comparisons if each.variant == name) for name in variants}

    @property
    def differences(self) -> list[Difference]:
        """Everything that differs."""
        return [difference for each in self.comparisons for difference in each.differences]

    @property
    def not_exercised(self) -> list[str]:
        """Features that no replay has moved: no change reaches them, so the proof shows nothing about them."""
        moved = {name for each in self.comparisons for name in each.moved}
        return [name for name in self.features if name not in moved]

    @property
    def passed(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    @property
    def differing_columns(self) -> list[str]:
        """Features and label columns that differ somewhere, as ``table.column``."""
        return sorted({f"{each.table}.{each.column}" for each in self.differences})

    def to_json(self, *, accepted: bool) -> str:
        """Return the certificate as JSON; `accepted` says that a person lets the build go on after a failed proof."""
        return json.dumps(
            {
                "passed": self.passed,
                "accepted": accepted and not self.passed,
                "as_of": self.as_of.isoformat(),
                "sql_sha256": self.sql_sha256,
                "proved_at": self.proved_at.isoformat(),
                "seconds": round(self.seconds, 2),
                "moments": [each.isoformat() for each in self.moments],
                "features": len(self.features),
                "not_exercised": self.not_exercised,
                "entities": self.entities,
                "entities_share": self.entities_share,
                "rows": self.rows,
                "rows_by_variant": self.rows_by_variant,
                "digest": hashlib.sha256("".join(each.digest for each in self.comparisons).encode()).hexdigest(),
                "differing_columns": self.differing_columns,
                "differences": [asdict(each) for each in self.differences],
            },
            default=str,
        )


def failed(build: Build, error: str, proved_at: datetime, *, accepted: bool) -> str:
    """Return a certificate, as JSON, of a build whose proof could not run."""
    return json.dumps(
        {
            "passed": False,
            "accepted": accepted,
            "as_of": build.as_of.isoformat(),
            "sql_sha256": build.sha256,
            "proved_at": proved_at.isoformat(),
            "error": error,
        }
    )


def sentences(differences: Sequence[Difference], most: int) -> list[str]:
    """Return the first difference of each column in words, at most `most` of them, and how many columns more differ."""
    first = {(each.table, each.column): each for each in reversed(differences)}
    listed = [first[key].sentence for key in sorted(first)[:most]]
    return [*listed, f"{len(first) - most} more"] if len(first) > most else listed


def acceptance(certificate: str | None) -> str:
    """Return a sentence if a person has let a build go on although its proof failed, else an empty text."""
    content = {} if certificate is None else json.loads(certificate)
    if not content.get("accepted"):
        return ""
    found = content.get("error") or f"{', '.join(content['differing_columns'])} held what was not known at the time."
    return f"A person accepted the features of this version although their proof had failed: {found}"


def how_to_accept(sql_sha256: str, as_of: str) -> str:
    """Return how a person lets the build of a hash and a clock (ISO 8601) go on although its proof has failed."""
    return (
        "If the failure is known to be harmless, let this one build go on by the same command with "
        f"`LEADLINE_ACCEPT_PROOF={sql_sha256[:12]} LEADLINE_AS_OF={as_of}`; its scores then say so."
    )


def verdict(certificate: Mapping[str, Any] | None) -> str | None:
    """Return why steps that depend on a feature view may not go on, from its certificate; None where they may."""
    if certificate is None:
        return (
            "expected a proof that its features hold nothing of what came later, found none of the last build. Run "
            "the job score_leads, or the check point_in_time of the feature view."
        )
    if certificate["passed"] or certificate["accepted"]:
        return None
    found = certificate.get("error") or f"other values in {', '.join(certificate['differing_columns'])}"
    return (
        f"expected features that hold nothing of what came later, found that their proof failed: {found}. Correct the "
        f"dbt models and build them again. {how_to_accept(certificate['sql_sha256'], certificate['as_of'])}"
    )


class UnprovedError(RuntimeError):
    """A step that depends on a feature view may not go on, because the proof of the view is missing or has failed."""


@dataclass(frozen=True, kw_only=True)
class CompiledSql:
    """Folder of the SQL that dbt compiled for the last build of the feature store, and of its certificates."""

    root: str

    @property
    def path(self) -> Path:
        """The file of the SQL."""
        return Path(self.root) / "feature_store.json"

    def keep(self, target: Path, variables: Mapping[str, Any]) -> None:
        """Keep the SQL that a whole build ran, from the folder that dbt wrote."""
        earlier = self._last()
        self._forget_certificates()
        compiled.write(self.path, compiled.of_run(target, variables, earlier))

    def has(self, as_of: datetime) -> bool:
        """Say whether the kept SQL can be read and has this clock."""
        build = self._last()
        return build is not None and build.as_of == as_of

    def advance(self, as_of: datetime) -> None:
        """Set the clock in the SQL to that of an increment, whose rows are those of this SQL at that clock."""
        self._forget_certificates()
        compiled.write(self.path, compiled.read(self.path).at(as_of))

    def build(self, as_of: datetime) -> Build:
        """Return the last build at a clock. After an increment this is the SQL of the whole build before it.

        Raises
        ------
        NotCompiledError
            If no build is kept, or the last one has another clock.
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
        """Keep the certificate of a feature view, as JSON, and replace an earlier one."""
        replace_file(self._certificate(view), certificate)

    def certificate(self, view: str, as_of: datetime) -> str | None:
        """Return the certificate of a feature view as JSON, if the last build has this clock and a readable one."""
        if (build := self._last()) is None:
            return None
        try:
            content = read_object(self._certificate(view))
            proved = (datetime.fromisoformat(content["as_of"]), content["sql_sha256"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        return json.dumps(content) if proved == (as_of, build.sha256) == (build.as_of, content["sql_sha256"]) else None

    def require_proof(self, view: str, as_of: datetime) -> None:
        """Refuse to go on with features that are not proved to hold only facts known at their time.

        Raises
        ------
        UnprovedError
            If the build of the clock has no proof, or its proof failed and nobody has accepted that.
        """
        text = self.certificate(view, as_of)
        if (refusal := verdict(None if text is None else json.loads(text))) is not None:
            raise UnprovedError(f"{view} as of {as_of.isoformat()}: {refusal}")

    def _last(self) -> Build | None:
        try:
            return compiled.read(self.path)
        except NotCompiledError:
            return None

    def _forget_certificates(self) -> None:
        # even with the same clock and SQL, the new rows are not proved yet
        for path in Path(self.root).glob(self._certificate("*").name):
            if path.is_dir():
                set_aside(path)
            else:
                path.unlink()

    def _certificate(self, view: str) -> Path:
        return Path(self.root) / f"{view}_point_in_time.json"
