"""The census: all entities that were open at past clocks, and their expected and actual outcomes.

Held-out rows are mostly of busy entities; a census is like the rows that are scored. The pipeline that is measured on a
census has learnt from labels that had matured before its first clock.
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
"""The most frequent values of a text have a band each; the rest share one."""

OTHERS = "(others)"


def census_clocks(cut: pd.Timestamp, clock: pd.Timestamp, horizon_days: int) -> list[pd.Timestamp]:
    """Choose the clocks of a census: midnights, spread evenly from the cut to the last one whose outcome is known.

    Parameters
    ----------
    cut : Timestamp
        The pipeline has learnt from labels that had matured by then.
    clock : Timestamp
        The present clock, by which labels have matured.
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
    """Return the rows of a census in the form that is predicted and measured, each with a weight of 1."""
    import numpy as np

    ones = np.ones(len(census))
    return Observed(
        features=model_input(census, features),
        label=declaration.task.cast(census[declaration.label_column]),
        weights=ones,
        stands_for=ones,
        entities=census[declaration.feature_view.key].factorize()[0],
    )


def measure_census(declaration: ModelDeclaration, predictions: Predictions, rows: pd.DataFrame) -> Census:
    """Compare the expected with the actual outcomes of a census, as a whole and by band.

    Parameters
    ----------
    declaration : ModelDeclaration
    predictions : Predictions
        Predictions of the rows by a pipeline that knows nothing from after the first clock.
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
    """Compare a version with the rule, on the rows for which the rule has a value.

    Parameters
    ----------
    declaration : ModelDeclaration
    predictions : Predictions
        Predictions of the rows.
    rows : DataFrame
        As for `measure_census`.

    Returns
    -------
    BesideRule or None
        None if no rule is declared, or it has a value for no row.
    """
    import numpy as np

    if not declaration.rule or VALUE not in rows.columns:
        return None
    rule_values = rows[VALUE].to_numpy(dtype="float64", na_value=np.nan)
    has_value = ~np.isnan(rule_values)
    if not has_value.any():
        return None
    model = predictions.rows(has_value)
    rule = replace(model, predicted=rule_values[has_value].reshape(-1, 1))
    sample = some_rows(len(model), INTERVAL_ROWS, declaration.seed)
    draws = resampled(model.rows(sample).groups, RESAMPLES, declaration.seed)
    of_model, of_rule = (
        (each.measured(once(each.groups)), each.rows(sample).measured(draws)) for each in (model, rule)
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
    """Return those slices of `measure_census` that are bands of silence, for the same arguments."""
    clocks = rows[AS_OF].factorize(sort=True)[0]
    bands = (each for each in _banded(declaration, rows) if each[0] == declaration.feature_view.silence)
    return tuple(_slices(predictions, clocks, bands))


def totals(predictions: Predictions, clocks: np.ndarray | None = None) -> tuple[Total, ...]:
    """Return the expected and the actual total of each outcome, with and without the clock at which they differ most.

    The variance of the difference is the larger of two: that of the differences of the entities, and that which follows
    from the predictions (`Task.spread`) if all rows of an entity move together. The first alone would be almost 0 for a
    small total without an event.

    An event in one week (a holiday, a campaign) moves all entities, which these variances do not include. So
    `Total.rest` leaves out the clock that differs most, unless it is the last one, which is nearest to what is scored.

    Parameters
    ----------
    predictions : Predictions
    clocks : ndarray of int, shape (n_rows,), optional
        The number of each row's clock, from 0 for the first one. By default there is one clock.
    """
    import numpy as np

    clock_numbers = np.zeros(len(predictions), dtype=int) if clocks is None else clocks
    found = []
    for column in range(len(predictions.outcomes)):
        gaps = np.bincount(clock_numbers, weights=predictions.predicted[:, column] - predictions.actual(column))
        worst = int(np.abs(gaps).argmax())
        rest = None if worst == len(gaps) - 1 else _total(predictions.rows(clock_numbers != worst), column)
        found.append(replace(_total(predictions, column), rest=rest))
    return tuple(found)


def _total(predictions: Predictions, column: int) -> Total:
    import numpy as np

    p, outcomes = predictions.predicted[:, column], predictions.actual(column)
    by_entity = np.bincount(predictions.group, weights=p - outcomes)
    spreads = np.bincount(predictions.group, weights=predictions.task.spread(p))
    spread = NORMAL_95 * float(np.sqrt(max((by_entity**2).sum(), (spreads**2).sum())))
    # an integer is a count of events, a float a sum of values
    expected, actual = float(p.sum()), outcomes.sum().item()
    return Total(
        outcome=predictions.outcomes[column],
        expected=expected,
        actual=actual,
        lower=expected - actual - spread,
        upper=expected - actual + spread,
    )


def departures(census: Census, bound: float) -> list[str]:
    """Return where expected and actual totals differ: of the whole census, and of bands by 2 % of the whole total.

    Parameters
    ----------
    census : Census
    bound : float
        The bound for the whole, as a share of the actual total.
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
    """Return whether the expected total is off by more than a share of the actual total, and beyond chance.

    The whole 95 % interval of the difference must lie beyond that share, also without the clock that differs most.
    """
    off = total.lower > bound * total.actual or total.upper < -bound * total.actual
    return off and (total.rest is None or is_off(total.rest, bound))


def is_band_off(total: Total, least: float) -> bool:
    """Return whether the expected and the actual total of a band differ by more than `least`, and beyond chance.

    Chance is the 99 % interval, because there are many bands. Both must also hold without the clock that differs most.
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
    """Yield each column of bands, with the names of its bands in order and the band of each row."""
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
