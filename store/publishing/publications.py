"""Publications: the place of the marts for readers, and the rows that a new publication would lose."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from models.artifacts import read_object, replace_file
from models.declared.registry import SCORED_TABLES
from models.declaring.scored_table import ScoredTable
from store.warehouse.engine import HISTORIES, Standing

_REACHED: set[str] = set()
"""Record files of the homes from which this process has published."""


@dataclass(frozen=True, kw_only=True)
class Publication:
    """The place where readers find the marts, and the losses that a person has accepted.

    Parameters
    ----------
    path : str
        The file that readers open, if the warehouse is a DuckDB file.
    group : str or None
        The group that may read it; None for its owner alone.
    record : str
        The file in which the home records its last publication.
    accepted : str
        The beginning of the hash of accepted losses; empty for none.
    """

    path: str
    group: str | None = None
    record: str
    accepted: str = ""

    def accepts(self, digest: str) -> bool:
        """Say whether a person has accepted the losses with this hash."""
        return self.accepted != "" and digest.startswith(self.accepted)

    def reached_readers(self) -> None:
        """Remember that this process has published, even if its run fails later."""
        _REACHED.add(self.record)


def has_published(record: str) -> bool:
    """Say whether this process has published from the home with this record file."""
    return record in _REACHED


MOST = 1 / 2
"""Share of the listed entities, or of their scores, from which a person must accept the loss. From one night to the
next a company closes a few per cent of its open entities, and gets new ones."""

FEW = 20
"""With fewer listed entities, half of them may close in a day by chance: then the count is not checked."""


@dataclass(frozen=True, kw_only=True)
class Replacement:
    """The published marts, and the built marts that would replace them.

    Attributes
    ----------
    published, built : Standing
    lost : mapping of str to int
        Rows of each published history that would be lost.
    known_versions : frozenset of (str, str)
        Model and version of each version in the ledger of the warehouse.
    """

    published: Standing
    built: Standing
    lost: Mapping[str, int]
    known_versions: frozenset[tuple[str, str]]

    def goes_back(self, table: str) -> bool:
        """Whether a built scored table has an earlier clock than the published one."""
        before, after = self.published.as_of.get(table), self.built.as_of.get(table)
        return (
            before is not None and after is not None and datetime.fromisoformat(after) < datetime.fromisoformat(before)
        )

    def forgotten(self, model: str) -> list[str]:
        """Return the versions behind the published scores of a model that the ledger of the warehouse lacks."""
        return [each for each in self.published.versions.get(model, ()) if (model, each) not in self.known_versions]


def findings(replacement: Replacement) -> list[str]:
    """Return the losses of a publication as sentences with both counts; empty if it may go on.

    Losses that the ledger explains are left out: missing scores of a model with a reason, if the ledger has its
    versions, and fewer entities at an earlier clock. A person accepts losses by the hash of these sentences.
    """
    published, built = replacement.published, replacement.built
    found = [
        f"marts.{name}: {rows:,} rows are published, none would take their place"
        for name, rows in published.rows.items()
        if name not in HISTORIES and rows and not built.rows.get(name)
    ]
    for table in SCORED_TABLES.values():
        found += _of_table(replacement, table)
    for name, columns in published.columns.items():
        if missing := [column for column in columns if name in built.columns and column not in built.columns[name]]:
            found.append(
                f"marts.{name}: {len(columns)} columns are published, {', '.join(missing)} among them, which "
                f"{'is' if len(missing) == 1 else 'are'} not built any more"
            )
    return found


def _of_table(replacement: Replacement, table: ScoredTable) -> list[str]:
    published, built, entities = replacement.published, replacement.built, table.entity.plural
    found = []
    before, after = published.rows.get(table.name, 0), built.rows.get(table.name, 0)
    is_night = before >= FEW and not replacement.goes_back(table.name)
    fewer = after > 0 and is_night and after < MOST * before
    if fewer:
        found.append(f"marts.{table.name}: {before:,} {entities} are published, {after:,} would take their place")
    of_table = {model: scored for model, scored in published.scored.items() if model in table.models}
    for model, scored in of_table.items() if after else ():
        remain, reason = built.scored.get(model, 0), built.reasons.get(model)
        # fewer entities have fewer scores: then only the scored share counts
        enough = fewer or not is_night or remain >= MOST * scored
        if not scored or (remain / after >= MOST * scored / before and enough):
            continue
        if not remain and reason and not replacement.forgotten(model):
            continue
        found.append(
            f"marts.{table.name}: {scored:,} of {before:,} {entities} are published with a score of {model}, "
            f"{remain:,} of {after:,} would have one" + (f" ({reason.removesuffix('.')})" if reason else "")
        )
    if lost := replacement.lost.get(table.history, 0):
        found.append(
            f"marts.{table.history}: {published.rows[table.history]:,} rows are published, {lost:,} of them would be "
            f"lost, and {built.rows.get(table.history, 0):,} rows would be there"
        )
    return found


def lost_by_groups(published: Standing, built: Standing, history: str) -> int:
    """Return how many rows of a published history the built one lacks at least, from the counts in both records."""
    if history not in published.history or history not in built.history:
        return max(0, published.rows.get(history, 0) - built.rows.get(history, 0))
    of_published, of_built = (
        Counter({tuple(key): rows for *key, rows in each.history[history]}) for each in (published, built)
    )
    return sum((of_published - of_built).values())


def digest(found: Sequence[str]) -> str:
    """Return the hash of findings; a person accepts exactly these findings by its beginning."""
    return hashlib.sha256("\n".join(found).encode()).hexdigest()


def how_to_accept(found: Sequence[str], as_of: str) -> str:
    """Return how a person publishes in spite of these losses, at a clock in ISO 8601."""
    return (
        "If these losses are meant, accept them, and no others, by the same command with "
        f"`LEADLINE_ACCEPT_PUBLICATION={digest(found)[:12]} LEADLINE_AS_OF={as_of}`; log, summary and the metadata of "
        "published/snapshot then say so."
    )


def refusal(replacement: Replacement, found: Sequence[str], *, where: str, built: str, as_of: str) -> str:
    """Return why a publication is refused, and what to do."""
    forgotten = [each for model in replacement.published.versions for each in replacement.forgotten(model)]
    advice = (
        f"Versions of published scores ({', '.join(forgotten)}) are not in ml.ml_models, so the warehouse is not "
        "the one that published them. Bring that one back from a backup; or run the job whole_loop (`make run`), which "
        "trains again, and accept the remaining losses."
        if forgotten
        else "Bring the lost rows back into the source or the warehouse, from a backup if nothing else has them "
        "(source_health/crm names the gaps of the source), and run the same command again."
    )
    return (
        f"{where}: expected marts that lose nothing of the published ones, found losses:\n"
        + "\n".join(f"- {each}." for each in found)
        + f"\nThe published marts are unchanged; the new ones are in {built}. {advice} {how_to_accept(found, as_of)}"
    )


@dataclass(frozen=True, kw_only=True)
class Record:
    """The record of a home about its last publication.

    Attributes
    ----------
    standing : Standing
    accepted : list of str
        The losses that a person has accepted.
    """

    standing: Standing
    accepted: list[str] = field(default_factory=list)


def write(path: Path, record: Record) -> None:
    """Keep the record of a publication, and replace an earlier one."""
    replace_file(path, json.dumps(asdict(record), indent=1))


def read(path: Path) -> Record | None:
    """Return the record of the last publication; None where no readable record exists."""
    try:
        content = read_object(path)
        standing, accepted = Standing(**_by_table(content["standing"])), list(content["accepted"])
        # raises an AttributeError if an attribute is no mapping
        for each in vars(standing).values():
            each.items()
        return Record(standing=standing, accepted=accepted)
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        # `assets.publishing.last_publication.recorded` then reads the event log, as for homes of earlier releases
        return None


def _by_table(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a standing; that of an earlier release had one scored table, and so one clock."""
    tables = {"as_of": SCORED_TABLES, "history": HISTORIES}
    earlier = {name: content[name] for name in tables if not isinstance(content[name], dict)}
    return dict(content) | {
        name: {} if value is None else {each: value for each in tables[name] if each in content["rows"]}
        for name, value in earlier.items()
    }
