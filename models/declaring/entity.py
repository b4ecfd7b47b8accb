"""An entity: what a row of a feature view is about, and the tables with its rows, facts and closings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


class DeclarationError(ValueError):
    """A declaration that cannot be right; the message names the declaration, the field and what was expected."""


@dataclass(frozen=True, kw_only=True)
class Entity:
    """What a row of a feature view is about.

    Parameters
    ----------
    name : str
        The name in the singular.
    several : str
        The name in the plural; by default with an s.
    description : str
        A sentence for people on what such an entity is.
    key : str
        The column that identifies it everywhere: one text.
    of : str
        The entity of the source to which it belongs, such as the account of a contract; by default itself. Of a source
        without that entity its models learn, measure and score nothing.
    table : str
        Table with one row per entity as it is today, by `key`, with ``known_us``, the microseconds since 1970 from
        which it was known.
    created : str
        The column of `table` that observations have as `split_by`.
    observations : str
        Table with one row per observation: `key`, ``as_of``, ``as_of_us``, ``observation_kind`` and `split_by`. Every
        model that depends on what is observed reads it.
    closings : str
        Table of closed entities: `key`, and ``closed_us``, where observations end. Empty if entities never close.
    columns : mapping of str to str
        Columns of `table` that divide held-out rows into segments, keyed by their names in training rows. The source
        overwrites them, so nothing is learnt from them.
    split_by : str
        The column of the feature views with the creation time of the entity: a split orders entities by it.
    lasting : bool
        Whether most entities that are scored were learnt from, as accounts that go on for years are. The split then
        holds out the last observations of all entities; else all observations of the last entities, because those of
        one entity are nearly copies.
    ends : str
        The column of ``raw.extraction`` that says whether the source tells when an entity ends, which changes what a
        label means; empty if every source tells it.
    values : str
        Table with the column ``value`` by `key` and ``as_of``: what an entity of a census is worth; empty for none.
    facts : str
        Table with one row per fact, with ``known_us``, the microseconds since 1970 from which it was known.
    settles : str
        The facts that settle an entity, well or badly, as a condition in SQL on the columns of `facts`. Names in braces
        stand for lists of closing words (`store.warehouse.warehouse.Extraction.closing`).
    settling_statuses : str
        SELECT of the key and ``known_us`` of statuses that settle the entity, with names in braces; empty for none.
    kinds_of_closings : str
        SELECT of the key, ``known_us`` and ``kind`` (words for people) of everything that may close an entity, with
        names in braces; empty if entities never close.
    outcomes : str
        SELECT on schema ``raw`` of ``created``, ``succeeded`` and ``refused`` (seconds since 1970, or null) of every
        entity created before ``$1``, with names in braces. It tells from when on the source records outcomes; empty if
        no model needs that (`ModelDeclaration.since_outcomes`).
    """

    name: str
    key: str
    table: str
    created: str
    split_by: str
    observations: str
    closings: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    values: str = ""
    facts: str = ""
    settles: str = ""
    settling_statuses: str = ""
    kinds_of_closings: str = ""
    outcomes: str = ""
    lasting: bool = False
    ends: str = ""
    several: str = ""
    of: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        """Refuse an entity that settles without facts."""
        if self.settles and not self.facts:
            raise DeclarationError(f"entity {self.name!r}: settles needs facts")

    @property
    def plural(self) -> str:
        """The name for several of them."""
        return self.several or f"{self.name}s"
