"""A feature view as its dbt model has it: one row per observation, and which columns are features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from models.declaring.columns import AS_OF


class DeclarationError(ValueError):
    """A declaration that cannot be right; the message names the declaration, the field and what was expected."""


@dataclass(frozen=True, kw_only=True)
class FeatureView:
    """A dbt model with one row per observation, from which models learn and on which they score.

    Parameters
    ----------
    name, schema : str
        The table.
    entity : str
        What a row is about, in the singular.
    key : str
        The column that identifies the entity.
    created : str
        The column with the time at which the entity came into being; entities are split by it.
    not_features : tuple of str
        Columns of the view that describe the observation and are not learnt from.
    dropped : tuple of str
        Features that another one all but repeats, or that tell little but the date. The dbt project says which
        (``meta.dropped``). They stay in the view, for people, and are not learnt from.
    segments : tuple of str
        Columns by whose values held-out rows are measured apart, where they are there.
    segment_notes : tuple of str
        Sentences that the card sets under these figures.
    entity_table : str
        Table with one row per entity as it is today, by `key`.
    entity_columns : mapping of str to str
        Columns of it that training rows carry to be told apart by, by the name that they get there. They are
        overwritten, so they must be in `not_features`.
    bands : mapping of str to tuple of float
        Columns by which a census is measured apart: the lower bounds of the bands of a number above the lowest one, or
        nothing for the values of a text.
    silence : str
        That of `bands` with the days since the entity's last fact, each band of which is held to what happened before
        a version is promoted.
    ranges : tuple of str
        Features of which training must have seen the like of what is scored; where it has not, the score is marked.
    value_table : str
        Table with the column ``value`` by `key` and ``as_of``: what an entity of a census is worth.
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
    schema: str
    entity: str
    key: str
    created: str
    not_features: tuple[str, ...]
    dropped: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    segment_notes: tuple[str, ...] = ()
    entity_table: str = ""
    entity_columns: Mapping[str, str] = field(default_factory=dict)
    bands: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    silence: str = ""
    ranges: tuple[str, ...] = ()
    value_table: str = ""
    facts: str = ""
    settles: str = ""
    settling_statuses: str = ""

    def __post_init__(self) -> None:
        """Refuse a view whose own key, clock or creation time would be learnt from, or that settles without facts."""
        if self.settles and not self.facts:
            raise DeclarationError(f"feature view {self.name!r}: settles needs the facts of the view")
        described = (self.key, AS_OF, self.created, *self.entity_columns)
        missing = [column for column in described if column not in self.not_features]
        if missing:
            raise DeclarationError(
                f"feature view {self.name!r}: not_features must hold the key, {AS_OF!r}, the creation time and the "
                f"columns of the entity; {missing} would become features"
            )
