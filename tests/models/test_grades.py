"""Grades divide a census as declared, are kept, and are cut anew for a reason that is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.declared.registry import DECLARATIONS
from models.grades import GradesInForce, grade_bounds, grades_of, why_new_grades

CONVERSION, NEXT = DECLARATIONS["conversion"], DECLARATIONS["next_best_action"]
KEPT = GradesInForce(
    horizon_days=CONVERSION.horizon_days, quantiles=dict(CONVERSION.grades), bounds={"A": 0.5, "B": 0.3, "D": 0.0}
)


def test_grades_begin_at_their_quantiles():
    probability = np.arange(1_000) / 1_000
    bounds = grade_bounds(CONVERSION, probability)
    assert list(bounds) == ["A", "B", "C", "D"]
    assert list(bounds.values()) == pytest.approx([0.9, 0.7, 0.4, 0], abs=0.002)
    given = grades_of(probability, bounds)
    assert [given.count(grade) / 1_000 for grade in "ABCD"] == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=0.002)


@pytest.mark.parametrize(
    ("probability", "grades"),
    [
        # the quantiles of A and B tie: of equal bounds the worse grade stays
        ([0.1] * 45 + [0.2] * 20 + [0.3] * 35, ["B", "C", "D"]),
        ([0.1] * 50 + [0.2] * 45 + [0.3] * 5, ["B", "C", "D"]),
        ([0.3] * 100, ["C", "D"]),
        ([0.0] * 100, ["D"]),
        ([0.0] * 95 + [0.4] * 5, ["D"]),
        ([0.0] * 80 + [0.4] * 20, ["A", "D"]),
    ],
)
def test_grades_that_tie_are_fewer_and_fall_strictly(probability, grades):
    bounds = grade_bounds(CONVERSION, np.array(probability))
    assert list(bounds) == grades
    values = list(bounds.values())
    assert values == sorted(set(values), reverse=True)
    assert values[-1] == 0
    assert set(grades_of(np.array([0.0, 1.0]), bounds)) == {grades[0], grades[-1]}


def test_no_census_and_no_declared_grades_are_no_grades():
    assert grade_bounds(CONVERSION, np.array([])) == {}
    assert grade_bounds(NEXT, np.array([0.1, 0.2])) == {}


def test_a_grade_is_given_from_its_bound_on():
    bounds = {"A": 0.5, "B": 0.2, "C": 0.0}
    assert grades_of(np.array([1, 0.5, 0.4999, 0.2, 0.1, 0.0]), bounds) == ["A", "A", "B", "B", "C", "C"]
    assert grades_of(np.array([0.9, 0.1]), {}) == [None, None]
    assert grades_of(np.array([]), bounds) == []


@pytest.mark.parametrize(
    ("kept", "asked", "said"),
    [
        (None, False, "first grades of the model"),
        (None, True, "first grades of the model"),
        (replace(KEPT, horizon_days=30), False, "The horizon is 90 days now, and was 30."),
        (replace(KEPT, quantiles={"A": 0.8, "D": 0.0}), False, "said {'A': 0.8, 'D': 0.0}."),
        (KEPT, True, "New grades were asked for."),
    ],
)
def test_new_grades_say_why(kept, asked, said):
    assert said in why_new_grades(kept, CONVERSION, asked=asked)


def test_grades_are_kept_without_a_reason():
    assert why_new_grades(KEPT, CONVERSION, asked=False) is None
    assert why_new_grades(replace(KEPT, bounds={"D": 0.0}), CONVERSION, asked=False) is None
    assert why_new_grades(None, NEXT, asked=True) is None, "a model without grades"
