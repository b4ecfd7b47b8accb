"""One-sided values, a sign of hindsight: only settled entities have them, or only open ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from models.declaring.columns import AS_OF, Kind
from models.declaring.declaration import ModelDeclaration
from models.declaring.feature_view import FeatureView
from models.learning.frames import model_input
from models.learning.splitting import row_weights

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SETTLED_AT = "settled_at"
"""Column of recent rows: when the first fact that settles the entity became known; null while there is none."""

NEAR_DAYS = 30
"""An earlier row is compared with rows of the other side from so many days before it, and from so many days after."""

ENOUGH = 20
"""Nothing is measured for a value of fewer entities, or for an outcome of fewer rows."""

ENOUGH_EXPECTED = 10
"""A value is looked at if at least so many entities of the other side should have it. If ten should, none has it by
chance once in 20,000 times."""

FEW_VALUES = 20
"""A number with at most so many values is looked at value by value, any other in `PARTS` parts."""

PARTS = 10

FREQUENT = 0.02
"""A value of such a number is looked at by itself if at least this share of the rows has it."""

CATEGORIES = 30
"""So many of the most frequent texts are looked at one by one; the rest share a group."""


@dataclass(frozen=True, kw_only=True)
class OneSided:
    """A value of a feature that one side has, settled or open entities, and how often the other side has it.

    The other side should have it as often as rows of this side of the same age and silence. Two comparisons count the
    entities that should have it and those that have it: one with the rows of the clock, one with earlier rows of
    entities that are open, as recorded at that time.

    Attributes
    ----------
    feature : str
    value : str
        The value, in words.
    side : {"settled", "open"}
        The entities that have it.
    having : int
        Entities of this side with the value: settled ones in a row from before they were settled, open ones now.
    others : int
        Entities of the other side.
    expected_now, seen_now : float
    expected_before, seen_before : float
    """

    feature: str
    value: str
    side: Literal["settled", "open"]
    having: int
    others: int
    expected_now: float
    seen_now: float
    expected_before: float
    seen_before: float

    @property
    def seen(self) -> float:
        """Entities with the value as a share of those that should have it, in the comparison where it is larger."""
        return max(self.seen_now / self.expected_now, self.seen_before / self.expected_before)


class Groups:
    """Groups of the values of a feature, made from one column and applied to others.

    A number has a group for missing values, one for each value that matters by itself, and up to ten for the rest; a
    text has one for each of its commonest values and one for the rest.

    Parameters
    ----------
    column : Series
        A column of a model input.
    """

    def __init__(self, column: pd.Series) -> None:
        import numpy as np

        self.is_text = column.dtype == object
        if self.is_text:
            self.known = {text: number for number, text in enumerate(column.value_counts().index[:CATEGORIES])}
            return
        filled = column.dropna().to_numpy(dtype="float64")
        values, counts = np.unique(filled, return_counts=True)
        matters = (counts >= FREQUENT * len(filled)) | (values == 0) | (len(values) <= FEW_VALUES)
        self.single = values[matters]
        rest = filled[~np.isin(filled, self.single)]
        self.edges = np.unique(np.quantile(rest, np.linspace(0, 1, PARTS + 1)[1:-1])) if len(rest) else rest

    def __len__(self) -> int:
        return len(self.known) + 1 if self.is_text else len(self.single) + len(self.edges) + 2

    def of(self, column: pd.Series) -> np.ndarray:
        """Return the number of the group of each value."""
        import numpy as np

        if self.is_text:
            numbers: np.ndarray = column.map(self.known).fillna(len(self.known)).to_numpy(dtype="int64")
            return numbers
        values = column.to_numpy(dtype="float64")
        place = np.searchsorted(self.single, values)
        # NaN sorts behind every value, so it matches no single one
        is_single = np.append(self.single, np.nan)[np.minimum(place, len(self.single))] == values
        part = 1 + len(self.single) + np.searchsorted(self.edges, values)
        return np.where(np.isnan(values), 0, np.where(is_single, 1 + place, part))

    @cached_property
    def unions(self) -> list[tuple[str, list[int], bool]]:
        """Groups and unions of groups: name, numbers of the groups, and whether it means only that there is a value.

        Zero or a frequent text may stand for a missing value, so all groups but that one are such a union as well.
        """
        everything = list(range(len(self)))

        def all_but(left_out: int, first: int = 0) -> list[int]:
            return [each for each in everything[first:] if each != left_out]

        if self.is_text:
            named = [(f"'{text}'", number) for text, number in self.known.items()]
            return [
                *((text, [number], False) for text, number in named),
                *((f"other than {text}", all_but(number), True) for text, number in named),
            ]
        single = [(f"{value:g}", number) for number, value in enumerate(self.single, start=1)]
        bounds = [f"{edge:g}" for edge in self.edges]
        parts = ["any other number"]
        if bounds:
            between = (f"above {low} and up to {high}" for low, high in pairwise(bounds))
            parts = [f"up to {bounds[0]}", *between, f"above {bounds[-1]}"]
        return [
            ("missing", [0], False),
            ("filled", everything[1:], True),
            *((name, [number], False) for name, number in single),
            *((f"filled and not {name}", all_but(number, first=1), name == "0") for name, number in single),
            *((name, [number], False) for number, name in enumerate(parts, start=1 + len(single))),
        ]


def measure_one_sided(
    recent: pd.DataFrame, declaration: ModelDeclaration, features: Mapping[str, Kind], clock: pd.Timestamp
) -> tuple[OneSided, ...]:
    """Find values in recent rows that only entities have that were settled later, or only entities that are open.

    A value that a person enters when an entity is settled appears in all its earlier rows, because the source knows
    only the value of today, and in no row of an entity that is still open. An honest value appears in open entities as
    well: in rows of the clock about as often as in earlier rows of the same age and silence and, unless entities are
    settled within days, also in earlier rows of entities that are still open. Only a value that is missing in both is a
    sign of hindsight. Likewise, a value that is removed when an entity is settled appears in no row of a settled one;
    that side is checked only for whether there is a value.

    Earlier rows are compared by time, because a source may begin or cease to record a value. A row should have it as
    often as rows of the other side in the `NEAR_DAYS` up to its day, or in those from its day on, whichever is less.

    Parameters
    ----------
    recent : DataFrame
        Observations of up to `RECENT_DAYS` before the clock, those of the clock included, with ``settled_at`` (UTC).
        Rows later than their ``settled_at`` are left out: their outcome is known.
    declaration : ModelDeclaration
    features : mapping of str to {"number", "text"}
    clock : Timestamp
        UTC.

    Returns
    -------
    tuple of OneSided
        For each feature the value that is rarest on the other side, the rarest first. Values that fewer than `ENOUGH`
        entities have, or fewer than `ENOUGH_EXPECTED` should have, are left out.
    """
    import numpy as np
    import pandas as pd

    rows = recent[recent[SETTLED_AT].isna() | (recent[AS_OF] <= recent[SETTLED_AT])].reset_index(drop=True)
    is_settled = rows[SETTLED_AT].notna().to_numpy()
    earlier = (rows[AS_OF] < clock).to_numpy()
    settled, before, now = is_settled & earlier, ~is_settled & earlier, ~is_settled & ~earlier
    if not (settled.any() and before.any() and now.any()):
        return ()
    entity = rows[declaration.feature_view.key].factorize()[0]
    stratum = _strata(rows, declaration.feature_view)
    day = ((rows[AS_OF] - rows[AS_OF].min()) // pd.Timedelta(days=1)).to_numpy(dtype="int64")
    strata, days = int(stratum.max()) + 1, int(day.max()) + 1

    def entities(mask: np.ndarray) -> np.ndarray:
        """Count entities by stratum and day; an entity with rows on several days counts in equal parts."""
        _, pair, rows_of_pair = np.unique(
            stratum[mask] * (entity.max() + 1) + entity[mask], return_inverse=True, return_counts=True
        )
        counts = np.bincount(stratum[mask] * days + day[mask], 1 / rows_of_pair[pair], strata * days)
        return counts.reshape(strata, days)

    settled_by_day, before_by_day = entities(settled), entities(before)
    of_settled, of_before, of_now = (each.sum(axis=1) for each in (settled_by_day, before_by_day, entities(now)))
    n_settled, n_open = len(np.unique(entity[settled])), int(now.sum())
    weights, inputs = row_weights(rows, declaration), model_input(rows, features)
    found = []
    for feature in map(str, inputs.columns):
        groups = Groups(inputs[feature])
        group = groups.of(inputs[feature])
        # the share of each group in each stratum
        in_earlier, in_settled, in_before, in_now = (
            _shares(
                np.bincount(stratum[mask] * len(groups) + group[mask], weights[mask], strata * len(groups)).reshape(
                    strata, -1
                )
            )
            for mask in (earlier, settled, before, now)
        )
        member = np.zeros((len(groups), len(groups.unions)), dtype="float32")
        for column, (_, numbers, _) in enumerate(groups.unions):
            member[numbers, column] = 1
        had = np.zeros((int(entity.max()) + 1, len(groups)), dtype="float32")
        had[entity[settled], group[settled]] = 1
        has_now = np.bincount(group[now], minlength=len(groups)) @ member
        seen_of_settled = of_settled @ in_settled @ member
        expected_of_before, expected_of_settled = (
            _expected_in_time(by_day, stratum[mask] * days + day[mask], group[mask], weights[mask], member)
            for by_day, mask in ((before_by_day, settled), (settled_by_day, before))
        )
        sides: dict[Literal["settled", "open"], tuple[np.ndarray, ...]] = {
            "settled": (of_now @ in_earlier @ member, has_now, expected_of_before, of_before @ in_before @ member),
            "open": (of_settled @ in_now @ member, seen_of_settled, expected_of_settled, seen_of_settled),
        }
        having = {"settled": (had @ member > 0).sum(axis=0), "open": has_now}
        values = []
        for side, figures in sides.items():
            expected_now, seen_now, expected_before, seen_before = (np.round(each, 6) for each in figures)
            known = np.minimum(expected_now, expected_before) >= ENOUGH_EXPECTED
            for number in np.flatnonzero(known & (having[side] >= ENOUGH)):
                name, _, any_value = groups.unions[number]
                # entities that are never settled have values of their own, such as ten questions without an answer
                if side == "settled" or any_value:
                    values.append(
                        OneSided(
                            feature=feature,
                            value=name,
                            side=side,
                            having=int(having[side][number]),
                            others=n_open if side == "settled" else n_settled,
                            expected_now=float(expected_now[number]),
                            seen_now=float(seen_now[number]),
                            expected_before=float(expected_before[number]),
                            seen_before=float(seen_before[number]),
                        )
                    )
        if values:
            found.append(min(values, key=lambda each: (each.seen, each.side == "open", -each.expected_now)))
    return tuple(sorted(found, key=lambda each: (each.seen, -each.expected_now, each.feature)))


def _shares(table: np.ndarray) -> np.ndarray:
    """Return a table with each row divided by its sum; an empty row stays 0."""
    import numpy as np

    total = table.sum(axis=1, keepdims=True)
    return np.divide(table, total, out=np.zeros_like(table), where=total > 1e-9)


def _expected_in_time(
    by_day: np.ndarray, cell: np.ndarray, group: np.ndarray, weights: np.ndarray, member: np.ndarray
) -> np.ndarray:
    """Return how many entities should have each union of groups, going by rows of the other side: shape (n_unions,).

    Entities of a stratum and day are compared with rows of the same stratum in the `NEAR_DAYS` up to that day, or in
    those from that day on, whichever have the union less often.
    """
    import numpy as np

    strata, days = by_day.shape
    table = np.bincount(cell * len(member) + group, weights, by_day.size * len(member))
    table = table.reshape(strata, days, len(member))
    none, last = np.zeros((strata, 1, len(member))), np.arange(days)
    before_day = np.concatenate([none, table.cumsum(axis=1)], axis=1)
    up_to = before_day[:, last + 1] - before_day[:, np.maximum(last + 1 - NEAR_DAYS, 0)]
    from_on = before_day[:, np.minimum(last + NEAR_DAYS, days)] - before_day[:, last]
    counted = by_day > 0
    less = np.minimum(*(_shares(each[counted]) @ member for each in (up_to, from_on)))
    expected: np.ndarray = by_day[counted] @ less
    return expected


def _strata(rows: pd.DataFrame, view: FeatureView) -> np.ndarray:
    """Return the stratum of each row, from 0: rows in the same bands of all numeric columns of bands share one."""
    import numpy as np

    numbers = np.zeros(len(rows), dtype="int64")
    for column, bounds in view.bands.items():
        if bounds and column in rows.columns:
            values = rows[column].to_numpy(dtype="float64", na_value=np.nan)
            band = np.where(np.isnan(values), len(bounds) + 1, np.searchsorted(bounds, values, side="right"))
            numbers = numbers * (len(bounds) + 2) + band
    return np.unique(numbers, return_inverse=True)[1]
