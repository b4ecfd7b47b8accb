"""The order of the tests: those that take minutes come first, shared out to the workers."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from tests.conftest import slowest_first


@dataclass(frozen=True)
class Test:
    """What the order looks at of a test."""

    __test__ = False

    name: str
    seconds: int | None = None
    fixturenames: tuple[str, ...] = field(default=())

    def get_closest_marker(self, name: str) -> SimpleNamespace | None:
        return None if self.seconds is None else SimpleNamespace(args=(self.seconds,))


QUICK = [Test(f"quick{number}") for number in range(7)]
SLOW = [
    Test("kill", 300, ("own", "filled")),
    Test("score", 100, ("filled",)),
    Test("real", 150),
    Test("build", 90),
]


@pytest.mark.parametrize(
    ("workers", "begins"),
    [
        (1, [["kill", "real", "build", "score"]]),
        (2, [["kill", "build"], ["real", "score"]]),
        (4, [["kill"], ["real"], ["build"], ["score"]]),
    ],
)
def test_each_worker_begins_with_slow_tests(workers: int, begins: list[list[str]]) -> None:
    ordered = slowest_first([*QUICK, *SLOW], workers)
    assert sorted(test.name for test in ordered) == sorted(test.name for test in [*QUICK, *SLOW])
    shares = []
    for worker in range(workers):
        size = len(ordered) // (workers - worker)
        shares.append([test.name for test in ordered[:size]])
        ordered = ordered[size:]
    assert [share[: len(begin)] for share, begin in zip(shares, begins, strict=True)] == begins


def test_more_workers_than_tests_lose_none() -> None:
    assert sorted(test.name for test in slowest_first(SLOW, 16)) == sorted(test.name for test in SLOW)
