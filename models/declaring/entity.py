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
    key : str
        The column that identifies it everywhere: one text.
    table : str
        Table with one row per entity as it is today, by `key`.
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
        Which facts settle an entity, well or badly, as SQL on the columns of `facts`; ``{closing_outcomes}`` stands for
        the outcomes of interactions that the source mapping lists as closing.
    settling_statuses : str
        Where statuses of the entity itself settle it: the SELECT of the key and ``known_us``, with
        ``{closing_lead_statuses}`` for those that the source mapping lists.
    """

    name: str
    key: str
    table: str
    split_by: str
    columns: Mapping[str, str] = field(default_factory=dict)
    values: str = ""
    facts: str = ""
    settles: str = ""
    settling_statuses: str = ""

    def __post_init__(self) -> None:
        """Refuse an entity that settles without facts."""
        if self.settles and not self.facts:
            raise DeclarationError(f"entity {self.name!r}: settles needs facts")

    @property
    def plural(self) -> str:
        """The name for several of them."""
        return f"{self.name}s"
