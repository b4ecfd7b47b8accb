"""A home that the whole loop has filled, built once for all tests and processes."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from store.settings import prepare_process
from tests.homes import MEASURED, Home, never_written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

pytest_plugins = ["tests.fixtures"]

# the libraries that tests use in this process phone home as little as those of a run
prepare_process()

LEADS = "600"
"""Few enough to be quick, and enough that the candidates of both models are promoted."""
HORIZON = {"LEADLINE_CONVERSION_HORIZON_DAYS": "30"}
"""Over 90 days so few leads leave too little to learn from for a model that beats the trivial baseline beyond noise."""


def pytest_xdist_auto_num_workers() -> int:
    """Return a worker more than the tests may use cores; pytest-xdist would count the cores of the machine.

    Tests of whole runs wait for processes that start, for locks and for the disk: two workers used two thirds of two
    cores.
    """
    return len(os.sched_getaffinity(0)) + 1


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what tests have counted: the properties called ``summary`` that they recorded."""
    said = [
        value
        for report in terminalreporter.stats.get("passed", [])
        for name, value in report.user_properties
        if name == "summary"
    ]
    for line in sorted(said):
        terminalreporter.write_line(line)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the tests that take minutes first, so that none of them is left to run alone at the end."""
    workers = getattr(config, "workerinput", {"workercount": 1})["workercount"]
    items[:] = slowest_first(items, workers)


def slowest_first(items: Sequence[pytest.Item], workers: int) -> list[pytest.Item]:
    """Return the tests in the order in which each worker, given its share in one piece, begins with slow ones.

    The slowest of those that need the filled home comes first, then what does not need it: while one worker fills the
    home, those that need it as well would only wait.
    """
    seconds = {item: mark.args[0] for item in items if (mark := item.get_closest_marker("slow"))}
    by_time = sorted(seconds, key=lambda item: -seconds[item])
    waiting = [item for item in by_time if _needs_filled(item)]
    slow = [*waiting[:1], *(item for item in by_time if not _needs_filled(item)), *waiting[1:]]
    ahead = [item for item in items if item not in seconds]
    ordered: list[pytest.Item] = []
    for worker in range(workers):
        # as pytest-xdist shares them out: a worker's share is what is left by the workers that are left
        share = (len(items) - len(ordered)) // (workers - worker)
        ahead = [*slow[worker::workers], *ahead]
        ordered += ahead[:share]
        del ahead[:share]
    return ordered


def _needs_filled(item: pytest.Item) -> bool:
    return "filled" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Return the folder that all processes of this test run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if hasattr(request.config, "workerinput") else base


@pytest.fixture(scope="session")
def filled(shared_folder: Path) -> Iterator[Home]:
    """Return a home filled by one run on the simulated CRM; tests read it and change only copies."""
    home = once(shared_folder / "filled", lambda path: Home(path, {"LEADLINE_SIMULATION_LEADS": LEADS, **HORIZON}))
    with never_written(home.warehouse, home.published):
        yield home


NEXT_DAY = "2026-07-15"
"""A clock after that of the filled home, so that there is something to score and publish."""


@pytest.fixture(scope="session")
def undisturbed(filled: Home, shared_folder: Path) -> Iterator[Home]:
    """Return the filled home after a further run, which scores alone, at the next clock."""
    home = once(
        shared_folder / "undisturbed",
        lambda path: filled.copy(path, LEADLINE_SOURCE=source_of(filled), LEADLINE_AS_OF=NEXT_DAY),
        "score_leads",
    )
    with never_written(home.warehouse, home.published):
        yield home


@pytest.fixture
def own(filled: Home, tmp_path: Path) -> Home:
    """Return a copy of the filled home for this test alone, which still reads the CRM of the original."""
    return filled.copy(tmp_path / "home", LEADLINE_SOURCE=source_of(filled))


@pytest.fixture
def empty(filled: Home, tmp_path: Path) -> Home:
    """Return an empty home for this test alone, which reads the CRM of the filled one."""
    return Home(tmp_path / "home", {"LEADLINE_SOURCE": source_of(filled), **HORIZON})


def source_of(home: Home) -> str:
    """Return the source that a home was filled from."""
    return str(home.ask("select source from raw.extraction")[0][0])


def once(path: Path, prepare: Callable[[Path], Home], job: str = "whole_loop") -> Home:
    """Fill a home by one run of a job, unless another process of this test run has done so; keep what the run said."""
    done = path.with_name(f"{path.name}.json")
    with only_one_process(path):
        if not done.exists():
            home = prepare(path)
            run = home.run(job, **MEASURED)
            assert run.code == 0, run.err[-3000:]
            path.with_name(f"{path.name}.out").write_text(run.out)
            done.write_text(json.dumps(home.settings))
    return Home(path, json.loads(done.read_text()))


@contextmanager
def only_one_process(path: Path) -> Iterator[None]:
    """Let one process of this test run at a time make what lies at a path."""
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
