"""A publication compared with what it replaces: evidence from both, and what of it nobody may lose by mistake."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from assets.warehouse import column_types, table_exists
from models.artifacts import read_object, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from assets.warehouse import Connection

SCORES, HISTORY = "lead_scores", "lead_score_history"

COLUMNS = {
    "conversion": ("conversion_probability", "conversion_model_version", "conversion_unscored_reason"),
    "next_best_action": ("action_confidence", "action_model_version", "action_unscored_reason"),
}
"""Of each model: the columns of its probability, of its version, and of why it has not scored."""

MOST = 1 / 2
"""Share of the leads, or of the scores among them, that a publication may lose before somebody has to say so. From one
night to the next a company closes a few in a hundred of its open leads, and gets new ones."""

FEW = 20
"""Published leads below which half of them may close in a day by chance."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The marts of one place.

    Attributes
    ----------
    as_of : str or None
        The latest clock of the scores, in ISO 8601; None where no lead is listed.
    rows : mapping of str to int
        Rows by table; those that are not there are left out.
    columns : mapping of str to list of str
        Columns by table.
    scored : mapping of str to int
        Listed leads that have a score, by model.
    versions : mapping of str to list of str
        Versions behind these scores, by model.
    reasons : mapping of str to str
        Why a model has not scored, where the leads say so.
    history : list of [str, str or None, str or None, int]
        Rows of the history by clock and both versions; None where only their number is known.
    """

    as_of: str | None = None
    rows: Mapping[str, int] = field(default_factory=dict)
    columns: Mapping[str, list[str]] = field(default_factory=dict)
    scored: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, list[str]] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    history: list[list[Any]] | None = None

    def completed_by(self, earlier: Standing) -> Standing:
        """Return the same with what an earlier record knows of the tables that are not there."""
        scores, history = (earlier if name not in self.rows else self for name in (SCORES, HISTORY))
        return Standing(
            as_of=scores.as_of,
            rows={**earlier.rows, **self.rows},
            columns={**earlier.columns, **self.columns},
            scored=scores.scored,
            versions=scores.versions,
            reasons=scores.reasons,
            history=history.history,
        )

    def with_columns_of(self, other: Standing, name: str) -> Standing:
        """Return the same with the columns that another standing has of a table as well."""
        columns = list(dict.fromkeys([*other.columns.get(name, ()), *self.columns.get(name, ())]))
        return replace(self, columns={**self.columns, name: columns})


@dataclass(frozen=True, kw_only=True)
class Replacement:
    """What is published, and what would take its place.

    Attributes
    ----------
    published, built : Standing
    lost : int
        Rows of the published history that would not be there any more.
    known_versions : frozenset of (str, str)
        The versions, each with its model, that the ledger of the warehouse has.
    """

    published: Standing
    built: Standing
    lost: int
    known_versions: frozenset[tuple[str, str]]

    @property
    def goes_back(self) -> bool:
        """Whether the clock of what would be published is earlier than that of what is."""
        clocks = self.published.as_of, self.built.as_of
        return None not in clocks and datetime.fromisoformat(str(clocks[1])) < datetime.fromisoformat(str(clocks[0]))

    def forgotten(self, model: str) -> list[str]:
        """Return the versions behind the published scores of a model that the ledger of the warehouse lacks."""
        return [each for each in self.published.versions.get(model, ()) if (model, each) not in self.known_versions]


def findings(replacement: Replacement) -> list[str]:
    """Return what a publication would lose, each with both counts; empty where it may go on.

    What follows from the records is no loss. A model that the ledger has retired leaves its leads without a score, with
    the reason beside them; leads that nobody had yet are not there as of an earlier clock.
    """
    published, built = replacement.published, replacement.built
    found = [
        f"marts.{name}: {rows:,} rows are published, none would take their place"
        for name, rows in published.rows.items()
        if name != HISTORY and rows and not built.rows.get(name)
    ]
    before, after = published.rows.get(SCORES, 0), built.rows.get(SCORES, 0)
    is_night = before >= FEW and not replacement.goes_back
    fewer = after > 0 and is_night and after < MOST * before
    if fewer:
        found.append(f"marts.{SCORES}: {before:,} leads are published, {after:,} would take their place")
    for model, scored in published.scored.items() if after else ():
        remain, reason = built.scored.get(model, 0), built.reasons.get(model)
        # where leads go, their scores go with them: then it is the share that counts
        enough = fewer or not is_night or remain >= MOST * scored
        if not scored or (remain / after >= MOST * scored / before and enough):
            continue
        if not remain and reason and not replacement.forgotten(model):
            continue
        found.append(
            f"marts.{SCORES}: {scored:,} of {before:,} leads are published with a score of {model}, {remain:,} of "
            f"{after:,} would have one" + (f" ({reason.removesuffix('.')})" if reason else "")
        )
    if replacement.lost:
        found.append(
            f"marts.{HISTORY}: {published.rows[HISTORY]:,} rows are published, {replacement.lost:,} of them would be "
            f"lost, and {built.rows.get(HISTORY, 0):,} rows would be there"
        )
    for name, columns in published.columns.items():
        gone = [column for column in columns if name in built.columns and column not in built.columns[name]]
        if gone:
            found.append(
                f"marts.{name}: {len(columns)} columns are published, {', '.join(gone)} among them, which "
                f"{'is' if len(gone) == 1 else 'are'} not built any more"
            )
    return found


def lost_by_groups(published: Standing, built: Standing) -> int:
    """Return how many rows of a published history a built one lacks, by what a record knows: at least so many."""
    if published.history is None or built.history is None:
        return max(0, published.rows.get(HISTORY, 0) - built.rows.get(HISTORY, 0))
    of_published, of_built = (
        Counter({tuple(key): rows for *key, rows in each.history or ()}) for each in (published, built)
    )
    return sum((of_published - of_built).values())


def digest(found: Sequence[str]) -> str:
    """Return the hash of findings, by whose beginning a person accepts these and no others."""
    return hashlib.sha256("\n".join(found).encode()).hexdigest()


def how_to_accept(found: Sequence[str], as_of: str) -> str:
    """Return how a person has what is lost published all the same, at a clock in ISO 8601."""
    return (
        "Whoever knows that it is meant publishes this, and nothing else, by the same command with "
        f"`LEADLINE_ACCEPT_PUBLICATION={digest(found)[:12]} LEADLINE_AS_OF={as_of}`; log, summary and the metadata of "
        "published/snapshot then say so."
    )


def refusal(replacement: Replacement, found: Sequence[str], *, where: str, built: str, as_of: str) -> str:
    """Return why a publication is refused, and what to do."""
    forgotten = [each for model in replacement.published.versions for each in replacement.forgotten(model)]
    advice = (
        f"Versions behind what is published ({', '.join(forgotten)}) are not in ml.ml_models, so the warehouse is not "
        "the one that published them. Bring that one back from a backup; or run the job whole_loop (`make run`), which "
        "trains anew, and accept what it cannot bring back."
        if forgotten
        else "Bring back what the source or the warehouse does not have any more, from a backup if nothing else has it "
        "(source_health/crm says what the source lacks), and run the same command again."
    )
    return (
        f"{where}: expected marts that lose nothing of what is published there, found that they would:\n"
        + "\n".join(f"- {each}." for each in found)
        + f"\nWhat is published stays as it was; what was built is in {built}. {advice} {how_to_accept(found, as_of)}"
    )


def measure(
    connection: Connection, names: Iterable[str], *, schema: str = "marts", catalog: str | None = None
) -> Standing:
    """Count what the marts hold, of the warehouse itself or of a file that is attached to it.

    Tables that are not there are left out.
    """
    found = {name: list(column_types(connection, schema, name, catalog=catalog)) for name in names}
    columns = {name: listed for name, listed in found.items() if listed}
    place = schema if catalog is None else f"{catalog}.{schema}"
    rows = {name: connection.execute(f'select count(*) from {place}."{name}"').fetchall()[0][0] for name in columns}
    scored, versions, reasons = {}, {}, {}
    listed = columns.get(SCORES, [])
    for model, (probability, version, reason) in COLUMNS.items():
        if probability in listed and version in listed:
            of = f"from {place}.{SCORES}"
            ((scored[model],),) = connection.execute(f"select count({probability}) {of}").fetchall()
            behind = connection.execute(f"select distinct {version} {of} where {version} is not null order by 1")
            versions[model] = [each for (each,) in behind.fetchall()]
        if reason in listed:
            ((said,),) = connection.execute(f"select max({reason}) from {place}.{SCORES}").fetchall()
            if said is not None:
                reasons[model] = said
    clock = None
    if "as_of" in listed:
        ((clock,),) = connection.execute(f"select max(as_of) from {place}.{SCORES}").fetchall()
    return Standing(
        as_of=_in_utc(clock),
        rows=rows,
        columns=columns,
        scored=scored,
        versions=versions,
        reasons=reasons,
        history=_by_clock(connection, place) if HISTORY in columns else None,
    )


def known_versions(connection: Connection) -> frozenset[tuple[str, str]]:
    """Return the versions that the ledger of a warehouse has, each with its model."""
    if not table_exists(connection, "ml", "ml_models"):
        return frozenset()
    return frozenset(connection.execute("select model, version from ml.ml_models").fetchall())


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a home remembers of its last publication.

    Attributes
    ----------
    standing : Standing
    accepted : list of str
        What it lost, and a person has accepted.
    """

    standing: Standing
    accepted: list[str] = field(default_factory=list)


def write(path: Path, record: Record) -> None:
    """Keep the record of a publication in place of an earlier one."""
    replace_file(path, json.dumps(asdict(record), indent=1))


def read(path: Path) -> Record | None:
    """Return the record of the last publication; None where there is none that can be read."""
    try:
        said = read_object(path)
        standing, accepted = Standing(**said["standing"]), list(said["accepted"])
        # a mapping, or an error
        for each in (standing.rows, standing.columns, standing.scored, standing.versions, standing.reasons):
            each.items()
        return Record(standing=standing, accepted=accepted)
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        # `assets.last_publication.recorded` has the event log then, as for homes of earlier states
        return None


def _by_clock(connection: Connection, place: str) -> list[list[Any]]:
    found = connection.execute(
        "select as_of, conversion_model_version, action_model_version, count(*) "
        f"from {place}.{HISTORY} group by 1, 2, 3 order by 1, 2, 3"
    ).fetchall()
    return [[_in_utc(as_of), *rest] for as_of, *rest in found]


def _in_utc(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()
