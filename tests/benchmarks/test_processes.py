"""A function that is measured runs in a fresh process, whose peak memory is its own."""

from __future__ import annotations

import os

import pytest

from benchmarks.processes import alone, peak_bytes

HELD = 150_000_000


def hold(size: int) -> tuple[int, int]:
    held = b"x" * size
    return peak_bytes(), len(held)


def fail(what: str) -> None:
    raise ValueError(what)


def test_each_call_has_a_process_of_its_own() -> None:
    assert len({os.getpid(), alone(os.getpid), alone(os.getpid)}) == 3


def test_the_peak_is_that_of_the_function_alone() -> None:
    hold(2 * HELD)
    little, much = alone(hold, 1)[0], alone(hold, HELD)[0]
    assert HELD < much < little + 1.2 * HELD
    assert little < 2 * HELD < peak_bytes()


def test_a_failure_is_that_of_the_function() -> None:
    with pytest.raises(ValueError, match="the cause"):
        alone(fail, "the cause")
