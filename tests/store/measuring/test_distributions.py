"""The figures of the SQL are those of scipy and numpy, with nulls, ties, constants and empty sides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp, wasserstein_distance

from store.measuring.distributions import BINS, LEAST_SHARE, distances

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duckdb import DuckDBPyConnection

    from models.decisions.drift import Distance

TOLERANCE = 1e-9


@pytest.fixture
def connection() -> Iterator[DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


def _compared(
    connection: DuckDBPyConnection, reference: list, current: list, kind: str, both: list | None = None
) -> Distance:
    shared = both or []
    frame = pd.DataFrame(
        {
            "x": pd.Series([*reference, *shared, *current], dtype="float64" if kind == "number" else "object"),
            "is_reference": [True] * (len(reference) + len(shared)) + [False] * len(current),
            "is_current": [False] * len(reference) + [True] * (len(shared) + len(current)),
        }
    )
    connection.register("rows", frame)
    (found,) = distances(connection, "rows", {"x": kind})
    return found


def _index(reference: np.ndarray, current: np.ndarray) -> float:
    p, q = np.maximum(reference / reference.sum(), LEAST_SHARE), np.maximum(current / current.sum(), LEAST_SHARE)
    inside = (reference > 0) | (current > 0)
    return float(((q - p) * np.log(q / p))[inside].sum())


def _number_index(reference: np.ndarray, current: np.ndarray) -> float:
    given = reference[~np.isnan(reference)]
    edges = np.unique(np.quantile(given, np.arange(1, BINS) / BINS, method="inverted_cdf")) if len(given) else []

    def counts(values: np.ndarray) -> np.ndarray:
        inside = values[~np.isnan(values)]
        below, above = (
            (inside < given.min(), inside > given.max()) if len(given) else (inside == inside, inside != inside)
        )
        bins = np.bincount(np.searchsorted(edges, inside[~below & ~above], side="left"), minlength=len(edges) + 1)
        return np.append(bins, [below.sum(), above.sum(), np.isnan(values).sum()]).astype(float)

    return _index(counts(reference), counts(current))


def _random_numbers(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 2_000, size=2)
    sides = []
    for side, size in enumerate(sizes):
        values = random.normal(side * random.normal(), random.uniform(0.2, 3), size) * 10.0 ** random.integers(-3, 7)
        if seed % 3 == 0:
            values = np.round(values / np.abs(values).max() * 4)
        if seed % 4 == 1:
            values = np.where(random.random(size) < 0.6, 0.0, values)
        values[random.random(size) < random.choice([0, 0.3, 0.9])] = np.nan
        sides.append(values)
    return sides[0], sides[1]


@pytest.mark.parametrize("seed", range(24))
def test_numbers_lie_as_far_apart_as_numpy_and_scipy_say(connection: DuckDBPyConnection, seed: int) -> None:
    reference, current = _random_numbers(seed)
    found = _compared(connection, reference.tolist(), current.tolist(), "number")
    given, now = reference[~np.isnan(reference)], current[~np.isnan(current)]
    assert (found.rows_reference, found.rows_current) == (len(given), len(now))
    assert found.nulls_reference == pytest.approx(np.isnan(reference).mean(), abs=TOLERANCE)
    assert found.nulls_current == pytest.approx(np.isnan(current).mean(), abs=TOLERANCE)
    assert found.psi == pytest.approx(_number_index(reference, current), abs=TOLERANCE)
    if len(given) == 0 or len(now) == 0:
        assert found.distance is None
        assert found.wasserstein is None
        return
    assert found.distance == pytest.approx(ks_2samp(given, now).statistic, abs=TOLERANCE)
    if given.std() > 0:
        expected = wasserstein_distance(given, now) / given.std()
        assert found.wasserstein == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE)


@pytest.mark.parametrize("seed", range(8))
def test_texts_lie_as_far_apart_as_numpy_and_scipy_say(connection: DuckDBPyConnection, seed: int) -> None:
    random = np.random.default_rng(seed)
    names = np.array(["web", "ads", "fair", "phone", "it's", None], dtype=object)
    shares = [random.dirichlet(np.ones(len(names))) * (random.random(len(names)) < 0.8) + 1e-9 for _ in range(2)]
    reference, current = (random.choice(names, size=random.integers(20, 1_000), p=each / each.sum()) for each in shares)
    found = _compared(connection, reference.tolist(), current.tolist(), "text")
    counts = [np.array([sum(v == name for v in side) for name in names], dtype=float) for side in (reference, current)]
    known = counts[0] > 0
    folded = [np.append(each[known], each[~known].sum()) for each in counts]
    assert found.psi == pytest.approx(_index(*folded), abs=TOLERANCE)
    assert found.distance == pytest.approx(jensenshannon(counts[0][:-1], counts[1][:-1], base=2), abs=TOLERANCE)
    assert found.new_categories == pytest.approx(
        np.mean([each is not None and each not in reference for each in current]), abs=TOLERANCE
    )
    assert found.wasserstein is None


def test_a_column_of_many_values_has_no_more_bins_than_a_number(connection: DuckDBPyConnection) -> None:
    random = np.random.default_rng(3)
    # eighty values, as likely on either side: value by value chance alone would give about .5
    sides = [[f"{value:02d}" for value in random.integers(0, 80, 300)] for _ in range(2)]
    found = _compared(connection, *sides, "text")
    names = sorted(set(sides[0]), key=lambda name: (-sides[0].count(name), name))
    groups = [[name] for name in names[: BINS - 1]] + [names[BINS - 1 :] + sorted(set(sides[1]) - set(names))]
    counts = [np.array([sum(side.count(name) for name in group) for group in groups], dtype=float) for side in sides]
    assert found.psi == pytest.approx(_index(*counts), abs=TOLERANCE)
    assert found.psi is not None
    assert found.psi < 0.15


def test_a_constant_that_becomes_another_has_drifted(connection: DuckDBPyConnection) -> None:
    for now in (0.0, 2.0):
        found = _compared(connection, [1.0] * 100, [now] * 100, "number")
        assert found.psi is not None
        assert found.psi > 10


def test_a_row_may_stand_on_both_sides(connection: DuckDBPyConnection) -> None:
    apart = _compared(connection, [1.0, 2.0, 3.0, 3.0], [3.0, 3.0, 9.0], "number")
    shared = _compared(connection, [1.0, 2.0], [9.0], "number", both=[3.0, 3.0])
    assert shared.statistics() == pytest.approx(apart.statistics(), abs=TOLERANCE)


def test_equal_sides_are_at_no_distance(connection: DuckDBPyConnection) -> None:
    values = [1.0, 2.0, 2.0, None, 5.0]
    found = _compared(connection, values, values, "number")
    assert (found.psi, found.distance, found.wasserstein) == (0, 0, 0)
    texts = ["a", "b", "b", None]
    found = _compared(connection, texts, texts, "text")
    assert (found.psi, found.distance, found.new_categories) == (0, 0, 0)


def test_of_a_constant_reference_only_the_spread_is_undefined(connection: DuckDBPyConnection) -> None:
    found = _compared(connection, [4.0] * 50, [4.0] * 25 + [5.0] * 25, "number")
    assert found.wasserstein is None
    assert found.distance == 0.5
    assert found.psi == pytest.approx(_number_index(np.full(50, 4.0), np.array([4.0] * 25 + [5.0] * 25)))


@pytest.mark.parametrize("kind", ["number", "text"])
def test_with_an_empty_side_nothing_is_said(connection: DuckDBPyConnection, kind: str) -> None:
    value = 1.0 if kind == "number" else "a"
    for reference, current in (([], [value, None]), ([value, None], []), ([], [])):
        found = _compared(connection, reference, current, kind)
        assert found.psi is None
        assert found.distance is None
        assert found.new_categories is None
        assert (found.nulls_reference is None) == (not reference)


def test_a_column_that_was_empty_and_is_filled_has_drifted(connection: DuckDBPyConnection) -> None:
    found = _compared(connection, [None] * 100, [1.0] * 100, "number")
    assert found.psi is not None
    assert found.psi > 10
    assert found.distance is None


def test_columns_come_in_their_order_and_booleans_and_decimals_are_numbers(connection: DuckDBPyConnection) -> None:
    connection.execute(
        "create temp table rows as select i % 2 = 0 as flag, cast(i as decimal(18, 2)) as money, 'a' as word, "
        "i < 10 as is_reference, i >= 10 as is_current from range(20) as t(i)"
    )
    found = distances(connection, "rows", {"word": "text", "money": "number", "flag": "number"})
    assert [each.column for each in found] == ["word", "money", "flag"]
    assert [each.distance for each in found] == [0, 1, 0]


def test_columns_that_take_turns_give_the_same_figures(
    connection: DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.execute(
        "create temp table rows as select i % 7 as a, sqrt(i) as b, i % 3 = 0 as c, cast(i % 5 as varchar) as d, "
        "i < 60 as is_reference, i >= 40 as is_current from range(100) as t(i)"
    )
    columns: dict = {"a": "number", "b": "number", "c": "number", "d": "text"}
    together = distances(connection, "rows", columns)
    monkeypatch.setattr("store.measuring.distributions.VALUES_AT_ONCE", 200)
    assert distances(connection, "rows", columns) == together
