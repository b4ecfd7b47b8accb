"""An entity: what a row of a feature view is about, and where its rows, facts and end are found."""

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
        In the singular.
    several : str
        In the plural; by default with an s.
    description : str
        What one is, in a sentence for people.
    key : str
        The column that identifies it everywhere: one text.
    table : str
        Table with one row per entity as it is today, by `key`, with ``known_us``, the microseconds since 1970 from
        which it was known.
    created : str
        The column of it that its observations have as `split_by`.
    observations : str
        Table with one row per observation: `key`, ``as_of``, ``as_of_us``, ``observation_kind`` and `split_by`. Every
        model that depends on what is observed reads it.
    closings : str
        Table with ``closed_us`` by `key`, of those that have closed. Observations end there. Empty where none closes.
    columns : mapping of str to str
        Columns of it that training rows carry to be told apart by, by the name that they get there. They are
        overwritten, so nothing is learnt from them.
    split_by : str
        The column of its feature views with the time by which entities are ordered in a split: when it came into
        being.
    values : str
        Table with the column ``value`` by `key` and ``as_of``: what an entity of a census is worth; empty for none.
    facts : str
        Table with one row per fact, with ``known_us``, the microseconds since 1970 from which it was known.
    settles : str
        Which facts settle an entity, well or badly, as SQL on the columns of `facts`. The name of a list of words that
        close an entity (`store.warehouse.warehouse.Extraction.closing`) stands in it in braces.
    settling_statuses : str
        Where statuses of the entity itself settle it: the SELECT of the key and ``known_us``, with such names.
    outcomes : str
        How entities ended, for those of which labels exist only from when the source records it: the SELECT on schema
        ``raw`` of ``created``, ``succeeded`` and ``refused`` (seconds since 1970, or null) of each that was there
        before ``$1``, with such names.
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
    outcomes: str = ""
    several: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        """Refuse an entity that settles without facts."""
        if self.settles and not self.facts:
            raise DeclarationError(f"entity {self.name!r}: settles needs facts")

    @property
    def plural(self) -> str:
        """The name for several of them."""
        return self.several or f"{self.name}s"
