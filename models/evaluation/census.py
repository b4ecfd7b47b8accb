"""The census: all entities that were open at past clocks, and what a version expected of them beside what happened.

Held-out rows are moments of entities about which something became known; a census is what is scored. The pipeline that
is measured on it learnt from labels that had matured before its first clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from models.declaring.columns import AS_OF, VALUE, Kind
from models.declaring.declaration import ModelDeclaration
from models.evaluation.held_out import INTERVAL_ROWS, RESAMPLES, figure, improvement
from models.evaluation.records import BesideRule, Census, CensusSlice, Total
from models.evaluation.validation import Observed, some_rows
from models.grades import grade_bounds, grades_of
from models.learning.frames import model_input
from models.tasks.measures import once, resampled
from models.tasks.task import Predictions

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

CLOCKS = 3

NORMAL_95, NORMAL_99 = 1.96, 2.576

CATEGORIES = 10
"""Values of a text that are shown apart; the rest share one band."""

OTHERS = "(others)"


def census_clocks(cut: pd.Timestamp, clock: pd.Timestamp, horizon_days: int) -> list[pd.Timestamp]:
    """Choose the clocks of a census: midnights, spread evenly from the cut to the last one whose outcome is known.

    Parameters
    ----------
    cut : Timestamp
        What had matured by then was learnt from.
    clock : Timestamp
        The present one, by which labels have matured.
    horizon_days : int

    Returns
    -------
    list of Timestamp
        At most `CLOCKS`, rising; none where no outcome after the cut is known.
    """
    import numpy as np
    import pandas as pd

    first = cut.ceil("D")
    last = (clock - pd.Timedelta(days=horizon_days)).floor("D")
    if last < first:
        return []
    days = np.unique(np.linspace(0, (last - first).days, CLOCKS).round().astype(int))
    return [first + pd.Timedelta(days=int(day)) for day in days]


def census_rows(declaration: ModelDeclaration, census: pd.DataFrame, features: Mapping[str, Kind]) -> Observed:
    """Return the rows of a census as predictions are made of them, each counting once."""
    import numpy as np

    once_each = np.ones(len(census))
    return Observed(
        features=model_input(census, features),
        label=declaration.task.cast(census[declaration.label_column]),
        weights=once_each,
        stands_for=once_each,
        entities=census[declaration.feature_view.key].factorize()[0],
    )


def measure_census(declaration: ModelDeclaration, predictions: Predictions, rows: pd.DataFrame) -> Census:
    """Hold what was expected of a census to what happened, as a whole and by band.

    Parameters
    ----------
    declaration : ModelDeclaration
    predictions : Predictions
        Of the rows, by a pipeline that knew nothing of what happened after the first clock.
    rows : DataFrame
        With ``as_of``, the columns of the bands and, where it is known, the value.
    """
    import numpy as np

    task, predicted = declaration.task, predictions.predicted[:, 0]
    clocks = rows[AS_OF].factorize(sort=True)[0]
    bounds = grade_bounds(declaration, predicted)
    sample = predictions.rows(some_rows(len(predictions), INTERVAL_ROWS, declaration.seed))
    resamples = sample.measured(resampled(sample.groups, RESAMPLES, declaration.seed))
    worth = None
    if VALUE in rows.columns and rows[VALUE].notna().any():
        value = np.nan_to_num(rows[VALUE].to_numpy(dtype="float64", na_value=np.nan))
        worth = task.worth(predictions, value)
    value_expected, value_actual = worth or (None, None)
    return Census(
        clocks=tuple(f"{each:%Y-%m-%d}" for each in sorted(rows[AS_OF].unique())),
        rows=len(predictions),
        entities=predictions.groups,
        metrics={
            name: figure(found[0], resamples[name])
            for name, found in predictions.measured(once(predictions.groups)).items()
        },
        trivial_loss=task.trivial_loss(predictions),
        totals=totals(predictions, clocks),
        value_expected=value_expected,
        value_actual=value_actual,
        slices=tuple(_slices(predictions, clocks, _banded(declaration, rows, grades_of(predicted, bounds)))),
        grades=bounds,
        happened_to=task.entities_of(predictions),
        beside_rule=measure_beside_rule(declaration, predictions, rows),
    )


def measure_beside_rule(
    declaration: ModelDeclaration, predictions: Predictions, rows: pd.DataFrame
) -> BesideRule | None:
    """Hold a version to the rule beside it, on the rows of which the rule says something.

    Parameters
    ----------
    declaration : ModelDeclaration
    predictions : Predictions
        Of the rows.
    rows : DataFrame
        As for `measure_census`.

    Returns
    -------
    BesideRule or None
        None where no rule is declared, or it says nothing of any row.
    """
    import numpy as np

    if not declaration.rule or VALUE not in rows.columns:
        return None
    said = rows[VALUE].to_numpy(dtype="float64", na_value=np.nan)
    known = ~np.isnan(said)
    if not known.any():
        return None
    model = predictions.rows(known)
    rule = replace(model, predicted=said[known].reshape(-1, 1))
    sample = some_rows(len(model), INTERVAL_ROWS, declaration.seed)
    drawn = resampled(model.rows(sample).groups, RESAMPLES, declaration.seed)
    of_model, of_rule = (
        (each.measured(once(each.groups)), each.rows(sample).measured(drawn)) for each in (model, rule)
    )
    figures = [
        {name: figure(value[0], resamples[name]) for name, value in found.items()}
        for found, resamples in (of_model, of_rule)
    ]
    return BesideRule(
        rows=len(model),
        entities=model.groups,
        model=figures[0],
        rule=figures[1],
        over_rule=improvement(declaration.task, of_model, of_rule),
    )


def slices_of_silence(
    declaration: ModelDeclaration, predictions: Predictions, rows: pd.DataFrame
) -> tuple[CensusSlice, ...]:
    """Return the slices of `measure_census` by the silence of the feature view, for the same arguments."""
    clocks = rows[AS_OF].factorize(sort=True)[0]
    bands = (each for each in _banded(declaration, rows) if each[0] == declaration.feature_view.silence)
    return tuple(_slices(predictions, clocks, bands))


def totals(predictions: Predictions, clocks: np.ndarray | None = None) -> tuple[Total, ...]:
    """Sum what was expected of each outcome beside how often it happened, with and without the clock that is most off.

    The variance of the difference is the larger of two: that of the differences of the entities, and that which the
    predictions themselves say of them (`Task.spread`), with the rows of an entity moving together. The former alone
    would call every small total without an event certain.

    What happens in one week (a holiday, a campaign) moves all entities, of which these variances know nothing; so the
    clock that differs most is left out in `Total.rest`. The last clock never is: it is nearest to what is scored.

    Parameters
    ----------
    predictions : Predictions
    clocks : ndarray of int, shape (n_rows,), optional
        The number of each row's clock, from 0 for the first one. By default there is one clock.
    """
    import numpy as np

    of_clock = np.zeros(len(predictions), dtype=int) if clocks is None else clocks
    found = []
    for column in range(len(predictions.outcomes)):
        gaps = np.bincount(of_clock, weights=predictions.predicted[:, column] - predictions.actual(column))
        odd = int(np.abs(gaps).argmax())
        rest = None if odd == len(gaps) - 1 else _total(predictions.rows(of_clock != odd), column)
        found.append(replace(_total(predictions, column), rest=rest))
    return tuple(found)


def _total(predictions: Predictions, column: int) -> Total:
    import numpy as np

    p, came = predictions.predicted[:, column], predictions.actual(column)
    by_entity = np.bincount(predictions.group, weights=p - came)
    chance = np.bincount(predictions.group, weights=predictions.task.spread(p))
    spread = NORMAL_95 * float(np.sqrt(max((by_entity**2).sum(), (chance**2).sum())))
    # how often something happened is counted, values are summed
    expected, actual = float(p.sum()), came.sum().item()
    return Total(
        outcome=predictions.outcomes[column],
        expected=expected,
        actual=actual,
        lower=expected - actual - spread,
        upper=expected - actual + spread,
    )


def departures(census: Census, bound: float) -> list[str]:
    """Say where a census departs from what was expected: as a whole, and in bands by 2 % of all that happened.

    Parameters
    ----------
    census : Census
    bound : float
        For the whole, as a share of what happened.
    """
    found = [
        f"{total.outcome}: expected {total.expected:,.1f}, happened {total.actual:,}"
        for total in census.totals
        if is_off(total, bound)
    ]
    found += [
        f"{total.outcome} where {each.column} is {each.band}: expected {total.expected:,.1f}, happened {total.actual:,}"
        for number, whole in enumerate(census.totals)
        for each in census.slices
        if is_band_off(total := each.totals[number], 0.02 * whole.actual)
    ]
    return found


def is_off(total: Total, bound: float) -> bool:
    """Say whether more or less of an outcome was expected than happened, beyond a share of that and beyond chance.

    The interval of 95 % must lie wholly beyond that share, also without the clock that differs most.
    """
    off = total.lower > bound * total.actual or total.upper < -bound * total.actual
    return off and (total.rest is None or is_off(total.rest, bound))


def is_band_off(total: Total, least: float) -> bool:
    """Say whether expected and actual number in a band differ by more than `least`, and beyond chance.

    Chance is the interval of 99 %, for there are many bands. Both must hold without the clock that differs most, too.
    """
    chance = (total.upper - total.lower) / 2 * NORMAL_99 / NORMAL_95
    off = abs(total.expected - total.actual) > max(chance, least)
    return off and (total.rest is None or is_band_off(total.rest, least))


def _slices(
    predictions: Predictions, clocks: np.ndarray, banded: Iterable[tuple[str, list[str], np.ndarray]]
) -> Iterator[CensusSlice]:
    for column, names, band in banded:
        for name in names:
            chosen = band == name
            inside = predictions.rows(chosen)
            if len(inside):
                yield CensusSlice(
                    column=column,
                    band=name,
                    rows=len(inside),
                    entities=inside.groups,
                    totals=totals(inside, clocks[chosen]),
                    loss=float(inside.losses().mean()),
                    trivial_loss=inside.task.trivial_loss(inside),
                )


def _banded(
    declaration: ModelDeclaration, rows: pd.DataFrame, grades: Sequence[str | None] = ()
) -> Iterator[tuple[str, list[str], np.ndarray]]:
    """Return each column of bands with the names of its bands, in their order, and the band of each row."""
    import numpy as np

    clocks = np.array([f"{each:%Y-%m-%d}" for each in rows[AS_OF]], dtype=object)
    yield "clock", sorted(set(clocks)), clocks
    for column, bounds in declaration.feature_view.bands.items():
        if column not in rows.columns:
            continue
        if bounds:
            names = [
                f"below {bounds[0]:g}",
                *(f"{low:g} to below {high:g}" for low, high in pairwise(bounds)),
                f"{bounds[-1]:g} and more",
                "(missing)",
            ]
            values = rows[column].to_numpy(dtype="float64", na_value=np.nan)
            places = np.where(np.isnan(values), len(bounds) + 1, np.searchsorted(bounds, values, side="right"))
            yield column, names, np.array(names, dtype=object)[places]
            continue
        texts = rows[column].astype(str)
        names = list(texts.value_counts().index[:CATEGORIES])
        yield column, [*names, OTHERS], texts.where(texts.isin(names), OTHERS).to_numpy(dtype=object)
    if declaration.grades and grades:
        yield "grade", list(declaration.grades), np.array(grades, dtype=object)
