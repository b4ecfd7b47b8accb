"""Publications: where readers find the marts, and a publication compared with what it replaces.

Evidence from both, and what of it nobody may lose by mistake.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from models.artifacts import read_object, replace_file
from models.declared.registry import SCORED
from store.warehouse.engine import HISTORY, SCORES, Standing

_REACHED: set[str] = set()
"""The records of the publications that have reached readers from this process."""


@dataclass(frozen=True, kw_only=True)
class Publication:
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

    def reached_readers(self) -> None:
        """Remember that readers have the marts of this process, whatever becomes of its run."""
        _REACHED.add(self.record)


def has_published(record: str) -> bool:
    """Say whether this process has published, by the file in which the home remembers its last publication."""
    return record in _REACHED


MOST = 1 / 2
"""Share of the listed entities, or of the scores among them, that a publication may lose before somebody has to say so.
From one night to the next a company closes a few in a hundred of its open ones, and gets new ones."""

FEW = 20
"""Listed entities below which half of them may close in a day by chance."""


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

    What follows from the records is no loss. A model that the ledger has retired leaves its entities without a score,
    with the reason beside them; those that nobody had yet are not there as of an earlier clock.
    """
    published, built, of = replacement.published, replacement.built, SCORED.entity.plural
    found = [
        f"marts.{name}: {rows:,} rows are published, none would take their place"
        for name, rows in published.rows.items()
        if name != HISTORY and rows and not built.rows.get(name)
    ]
    before, after = published.rows.get(SCORES, 0), built.rows.get(SCORES, 0)
    is_night = before >= FEW and not replacement.goes_back
    fewer = after > 0 and is_night and after < MOST * before
    if fewer:
        found.append(f"marts.{SCORES}: {before:,} {of} are published, {after:,} would take their place")
    for model, scored in published.scored.items() if after else ():
        remain, reason = built.scored.get(model, 0), built.reasons.get(model)
        # fewer entities have fewer scores: then the share of those that are scored counts
        enough = fewer or not is_night or remain >= MOST * scored
        if not scored or (remain / after >= MOST * scored / before and enough):
            continue
        if not remain and reason and not replacement.forgotten(model):
            continue
        found.append(
            f"marts.{SCORES}: {scored:,} of {before:,} {of} are published with a score of {model}, {remain:,} of "
            f"{after:,} would have one" + (f" ({reason.removesuffix('.')})" if reason else "")
        )
    if replacement.lost:
        found.append(
            f"marts.{HISTORY}: {published.rows[HISTORY]:,} rows are published, {replacement.lost:,} of them would be "
            f"lost, and {built.rows.get(HISTORY, 0):,} rows would be there"
        )
    for name, columns in published.columns.items():
        if gone := [column for column in columns if name in built.columns and column not in built.columns[name]]:
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
        # an AttributeError where one is no mapping
        for each in (standing.rows, standing.columns, standing.scored, standing.versions, standing.reasons):
            each.items()
        return Record(standing=standing, accepted=accepted)
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        # `assets.publishing.last_publication.recorded` then reads the event log, as for homes of earlier states
        return None
