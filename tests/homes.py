"""A home as its users see it: commands that fill it, and queries of its files."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import psutil

from tests.warm import Forked

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).resolve().parents[1]
PATIENCE = 1200
"""Seconds after which a command counts as hanging; no result depends on it."""

MEASURED = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
"""Variables that make a command measure its coverage, if the tests measure theirs."""

ONE_THREAD = {"LOKY_MAX_CPU_COUNT": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""The tests already use every core: threads that wait for each other on busy cores would only waste time."""

Rows = list[tuple[Any, ...]]


def documentation() -> str:
    """Return the text of README and all pages of the documentation."""
    pages = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
    return "\n".join(page.read_text(encoding="utf-8") for page in pages)


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Home:
    """A folder for everything that a run writes, and the settings of its runs."""

    path: Path
    settings: dict[str, str] = field(default_factory=dict)
    repository: Path = REPOSITORY

    @property
    def warehouse(self) -> Path:
        return self.path / "warehouse.duckdb"

    @property
    def published(self) -> Path:
        return self.path / "published" / "leadline.duckdb"

    @property
    def docs(self) -> Path:
        return self.path / "artifacts/reports/dbt_docs/index.html"

    def environment(self, **settings: str) -> dict[str, str]:
        """Return the environment of a command: that of the tests, without the project's settings, plus these settings.

        Coverage is measured only with the settings `MEASURED`: it costs a whole run a third of its time.
        """
        left_out = ("LEADLINE_", "DAGSTER_", "DBT_", "COVERAGE_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
        # the modules of a copy come before the installed ones
        python_path = {} if self.repository == REPOSITORY else {"PYTHONPATH": str(self.repository)}
        return {
            **inherited, **ONE_THREAD, **python_path, "LEADLINE_HOME": str(self.path),
            # most tests are about leads, and cost less without the models of customers
            "LEADLINE_SIMULATION_CUSTOMERS": "0", **self.settings, **settings
        }  # fmt: skip

    def run(self, job: str = "whole_loop", *, as_users_do: bool = False, **settings: str) -> Finished:
        """Run a job to its end with ``python -m orchestration run``, or in a process that need not import it."""
        with self.started(job, as_users_do=as_users_do, **settings) as running:
            return running.finished()

    @contextmanager
    def started(self, job: str = "whole_loop", *, as_users_do: bool = False, **settings: str) -> Iterator[Running]:
        """Start a job in a process group of its own, which is killed at the end of the context."""
        environment, arguments = self.environment(**settings), ["run", "--job", job]
        process: subprocess.Popen[str] | Forked
        if sys.platform == "linux" and self.repository == REPOSITORY and not as_users_do:
            process = Forked(self.repository, environment, arguments)
        else:
            process = subprocess.Popen(
                [sys.executable, "-m", "orchestration", *arguments],
                cwd=self.repository, env=environment, text=True, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
        running = Running(process)
        try:
            yield running
        finally:
            running.kill_group()

    def copy(self, path: Path, **settings: str) -> Home:
        """Return a copy of the home, for a test that changes it."""
        shutil.copytree(self.path, path, symlinks=True)
        return replace(self, path=path, settings={**self.settings, **settings})

    def ask(self, sql: str, *parameters: Any) -> Rows:
        """Query the warehouse."""
        return ask(self.warehouse, sql, *parameters)

    def contents(self, *schemas: str) -> dict[str, Rows]:
        """Return all rows of the tables of schemas of the warehouse, sorted, by table."""
        return contents(self.warehouse, *schemas)

    def files(self, folder: str) -> dict[str, tuple[int, int]]:
        """Return the files below a folder of the home with their sizes and times of modification in nanoseconds."""
        root = self.path / folder
        found = {path: path.stat() for path in sorted(root.rglob("*")) if path.is_file()}
        return {str(path.relative_to(root)): (stat.st_size, stat.st_mtime_ns) for path, stat in found.items()}


class Running:
    """A running command, whose output is read as it comes."""

    def __init__(self, process: subprocess.Popen[str] | Forked) -> None:
        self.process = process
        self._lines: dict[str, list[str]] = {"out": [], "err": []}
        self._open = set(self._lines)
        self._news = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(name, stream), daemon=True)
            for name, stream in (("out", process.stdout), ("err", process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, name: str, stream: Any) -> None:
        for line in stream:
            with self._news:
                self._lines[name].append(line)
                self._news.notify_all()
        with self._news:
            self._open.discard(name)
            self._news.notify_all()

    def text(self, name: str) -> str:
        """Return the text written so far to ``out`` or ``err``."""
        with self._news:
            return "".join(self._lines[name])

    def wait_for(self, part: str) -> None:
        """Wait until a part of a line has appeared on standard error.

        Raises
        ------
        AssertionError
            If the process ends before that, or the time is over.
        """
        with self._news:
            appeared = self._news.wait_for(
                lambda: any(part in line for line in self._lines["err"]) or "err" not in self._open, PATIENCE
            )
        assert appeared, f"{part!r} did not come within {PATIENCE} s:\n{self.text('err')[-3000:]}"
        assert part in self.text("err"), f"{part!r} never came:\n{self.text('err')[-3000:]}"

    def child(self, program: str) -> psutil.Process:
        """Wait until the process has started a program, and return it."""
        for _ in range(10 * PATIENCE):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    if any(Path(argument).name == program for argument in child.cmdline()[:2]):
                        return child
            time.sleep(0.1)
        raise AssertionError(f"{program} was not started within {PATIENCE} s:\n{self.text('err')[-3000:]}")

    def finished(self) -> Finished:
        """Wait for the end."""
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {PATIENCE} s:\n{self.text('err')[-3000:]}") from None
        for reader in self._readers:
            reader.join(PATIENCE)
        return Finished(code, self.text("out"), self.text("err"))

    def kill(self) -> None:
        """Kill the process alone; those that it started go on without it."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def kill_group(self) -> None:
        """Kill the process and those that it started, as a power cut would."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)


def open_to_others(home: Path) -> list[str]:
    """Return the files and folders of a home that users other than the owner can read or enter, with their modes."""
    found = {path: path.lstat().st_mode for path in (home, *home.rglob("*"))}
    return [
        f"{stat.S_IMODE(mode):04o} {path}"
        for path, mode in found.items()
        if not stat.S_ISLNK(mode) and mode & (stat.S_IRWXG | stat.S_IRWXO)
    ]


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def filled_in(docs: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the manifest and the catalog of a page of dbt docs, as a browser reads them."""
    place = re.search(r"\{manifest:(?=\{)", docs)
    assert place is not None
    manifest, end = json.JSONDecoder().raw_decode(docs, place.end())
    separator = ",catalog:"
    assert docs.startswith(separator, end)
    return manifest, json.JSONDecoder().raw_decode(docs, end + len(separator))[0]


@contextmanager
def reading(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a DuckDB file for reading, as any number of processes can at once, with times in UTC."""
    with duckdb.connect(str(path), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        yield connection


@contextmanager
def never_written(*paths: Path) -> Iterator[None]:
    """Make every attempt to open one of these DuckDB files for writing fail at once, in any process.

    DuckDB locks a file for reading or for writing. This context holds a lock for reading, which other readers do not
    mind. It is a lock of the open file (a feature of Linux) and not of the process: it also works within this process,
    and stays if the process opens and closes the file again.
    """
    with ExitStack() as files:
        for path in paths:
            opened = files.enter_context(path.open("rb"))
            if sys.platform == "linux":
                # struct flock: type, whence, start, length (0 is all), process (0 as the lock is of the file)
                lock = struct.pack("hhqqi0q", fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
                fcntl.fcntl(opened, fcntl.F_OFD_SETLK, lock)
        yield


def ask(path: Path, sql: str, *parameters: Any) -> Rows:
    """Query a DuckDB file, with times in UTC."""
    with reading(path) as connection:
        return connection.execute(sql, list(parameters)).fetchall()


def contents(path: Path, *schemas: str) -> dict[str, Rows]:
    """Return all rows of the tables of schemas of a DuckDB file, sorted, by table."""
    with reading(path) as connection:
        tables = connection.execute(
            "select schema_name, table_name from duckdb_tables() where list_contains(?, schema_name)", [list(schemas)]
        ).fetchall()
        return {
            f"{schema}.{name}": connection.execute(f'select * from "{schema}"."{name}" order by all').fetchall()
            for schema, name in tables
        }


def without(path: Path, table: str, *columns: str) -> Rows:
    """Return the sorted rows of a table without some columns."""
    return ask(path, f"select * exclude ({', '.join(columns)}) from {table} order by all")
