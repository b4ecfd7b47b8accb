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
from tests.postgres import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

pytest_plugins = ["tests.fixtures"]

# the libraries that tests use in this process send no telemetry either
prepare_process()

LEADS = "600"
"""Few enough for a quick run, and enough that candidates of both models are promoted."""
HORIZON = {"LEADLINE_CONVERSION_HORIZON_DAYS": "30"}
"""With 90 days, so few leads have too few labels for a model that beats the trivial baseline beyond noise."""


def pytest_xdist_auto_num_workers() -> int:
    """Return one worker more than the cores that the tests may use; pytest-xdist would count all cores.

    Tests of whole runs wait for processes, locks and the disk: two workers used only two thirds of two cores.
    """
    return len(os.sched_getaffinity(0)) + 1


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the properties called ``summary`` that tests have recorded."""
    lines = [
        value
        for report in terminalreporter.stats.get("passed", [])
        for name, value in report.user_properties
        if name == "summary"
    ]
    for line in sorted(lines):
        terminalreporter.write_line(line)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the tests that take minutes first, so that none of them runs alone at the end."""
    workers = getattr(config, "workerinput", {"workercount": 1})["workercount"]
    items[:] = slowest_first(items, workers)


def slowest_first(items: Sequence[pytest.Item], workers: int) -> list[pytest.Item]:
    """Return the tests in an order in which the share of each worker, one piece of the list, begins with slow tests.

    The slowest test that needs the filled home comes first, then slow tests that do not need it: while one worker
    fills the home, other tests that need it would only wait.
    """
    seconds = {item: mark.args[0] for item in items if (mark := item.get_closest_marker("slow"))}
    by_time = sorted(seconds, key=lambda item: -seconds[item])
    waiting = [item for item in by_time if _needs_filled(item)]
    slow = [*waiting[:1], *(item for item in by_time if not _needs_filled(item)), *waiting[1:]]
    remaining = [item for item in items if item not in seconds]
    ordered: list[pytest.Item] = []
    for worker in range(workers):
        # as pytest-xdist divides them: the remaining tests by the remaining workers
        share = (len(items) - len(ordered)) // (workers - worker)
        remaining = [*slow[worker::workers], *remaining]
        ordered += remaining[:share]
        del remaining[:share]
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
    settings = {"LEADLINE_SIMULATION_LEADS": LEADS, **HORIZON}
    home = once(shared_folder / "filled", lambda path: Home(path, settings), as_users_do=True)
    with never_written(home.warehouse, home.published):
        yield home


NEXT_DAY = "2026-07-15"
"""A clock after that of the filled home, so that there is something to score and publish."""


@pytest.fixture(scope="session")
def undisturbed(filled: Home, shared_folder: Path) -> Iterator[Home]:
    """Return the filled home after a further run, which only scores, at the next clock."""
    home = once(
        shared_folder / "undisturbed",
        lambda path: filled.copy(path, LEADLINE_SOURCE=source_of(filled), LEADLINE_AS_OF=NEXT_DAY),
        "score_leads",
    )
    with never_written(home.warehouse, home.published):
        yield home


@pytest.fixture(scope="session")
def database_home(filled: Home, shared_folder: Path) -> Home:
    """Return a home that one run has filled on a server of its own, from the CRM of the filled home."""
    settings = {
        **HORIZON,
        "LEADLINE_SOURCE": source_of(filled),
        "LEADLINE_WAREHOUSE": "postgres",
        "LEADLINE_DAGSTER_STORAGE": "warehouse",
    }
    return once(shared_folder / "on_postgres", lambda path: Home(path, settings))


@pytest.fixture
def database_address(database_home: Home) -> Iterator[str]:
    """Start the server of the home, and return the address of the warehouse, for one test at a time: one runs on it."""
    path = database_home.path
    with only_one_process(path.with_name(f"{path.name}.tested")), serving(path) as server:
        yield server.address()


@pytest.fixture
def own(filled: Home, tmp_path: Path) -> Home:
    """Return a copy of the filled home for one test, which still reads the CRM of the original."""
    return filled.copy(tmp_path / "home", LEADLINE_SOURCE=source_of(filled))


def source_of(home: Home) -> str:
    """Return the source that a home was filled from."""
    return str(home.ask("select source from raw.extraction")[0][0])


def once(path: Path, prepare: Callable[[Path], Home], job: str = "whole_loop", *, as_users_do: bool = False) -> Home:
    """Fill a home by one run of a job, unless another process of this test run has done so; keep the run's output."""
    done = path.with_name(f"{path.name}.json")
    with only_one_process(path):
        if not done.exists():
            home = prepare(path)
            run = home.run(job, as_users_do=as_users_do or bool(MEASURED), **MEASURED)
            assert run.code == 0, run.err[-3000:]
            path.with_name(f"{path.name}.out").write_text(run.out)
            done.write_text(json.dumps(home.settings))
    return Home(path, json.loads(done.read_text()))


@contextmanager
def only_one_process(path: Path) -> Iterator[None]:
    """Let only one process of this test run at a time make the file or folder at a path."""
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
