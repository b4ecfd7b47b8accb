"""The random streams of the leads."""

import numpy as np
import pytest

from simulation.draws import Draws, stream_keys, uniform_at


def test_a_stream_does_not_depend_on_its_neighbours() -> None:
    everyone = Draws(1, "life", np.arange(100))
    some = Draws(1, "life", np.arange(40, 50))
    everyone.uniform(np.arange(0, 40))
    rows = np.arange(10)
    assert (everyone.uniform(rows + 40) == some.uniform(rows)).all()
    assert (everyone.normal(rows + 40) == some.normal(rows)).all()


def test_repeated_draws_are_those_drawn_one_by_one() -> None:
    at_once, singly = Draws(3, "life", np.arange(5)), Draws(3, "life", np.arange(5))
    rows, values = at_once.repeated(np.array([4, 1, 2]), np.array([2, 0, 3]))
    assert rows.tolist() == [4, 4, 2, 2, 2]
    expected = [singly.uniform(np.array([row]))[0] for row in rows]
    assert values.tolist() == expected
    assert at_once.uniform(np.array([2]))[0] == singly.uniform(np.array([2]))[0]


def test_seeds_purposes_and_numbers_give_different_streams() -> None:
    keys = np.concatenate([stream_keys(seed, purpose, np.arange(1000)) for seed in (1, 2) for purpose in ("a", "b")])
    assert len(np.unique(keys)) == 4000


def test_further_numbers_tell_the_streams_of_one_lead_apart() -> None:
    lead, moment = np.repeat(np.arange(100), 100), np.tile(np.arange(100), 100)
    keys = stream_keys(1, "branch", lead, moment)
    assert len(np.unique(np.concatenate([keys, stream_keys(1, "branch", np.arange(100))]))) == 10_100
    assert (keys[4200:4300] == stream_keys(1, "branch", np.full(100, 42), np.arange(100))).all()


@pytest.mark.parametrize("across", ["leads", "positions"])
def test_draws_are_uniform_and_uncorrelated(across: str) -> None:
    many = np.arange(200_000)
    if across == "leads":
        values = uniform_at(stream_keys(5, "life", many), np.zeros_like(many))
    else:
        values = uniform_at(np.repeat(stream_keys(5, "life", np.array([7])), len(many)), many)
    assert values.min() > 0.0
    assert values.max() < 1.0
    counts = np.histogram(values, bins=20, range=(0, 1))[0]
    # Chi-squared with 19 degrees of freedom: 43.8 is its 99.9 % quantile, and the seed is fixed.
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 43.8
    assert abs(np.corrcoef(values[1:], values[:-1])[0, 1]) < 0.01


def test_normal_draws_have_mean_zero_and_variance_one() -> None:
    values = Draws(9, "life", np.arange(100_000)).normal(np.arange(100_000))
    assert abs(values.mean()) < 0.02
    assert abs(values.var() - 1.0) < 0.02
