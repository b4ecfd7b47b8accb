"""The Dagster instance of a home: its defaults, runs whose process is gone, and running a job to its end.

A killed run stays "started" for ever and keeps its place in the pool, so that the next run would wait for ever.
`reconcile` marks such runs failed and frees their places.
"""

import os
import re
import signal
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, redirect_stderr
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO, cast

import dagster as dg
import psutil

# `dagster.execute_job` makes runs without a code location, which the UI shows only in the list of all runs
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.execution import compute_logs
from dagster._core.execution.api import execute_run
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from assets.platform.event_log import MAX_RETRIES_TAG, MAX_RUNTIME_TAG
from assets.platform.resources import Clock
from models.artifacts import make_folder, replace_file, set_aside
from orchestration.commands.faults import LOG, SUSPECTED, keep, room
from orchestration.retention import is_due, tidy
from store.addresses import without_password, without_secrets
from store.faults import damaged_warehouse, explained
from store.ledger.champions import ChampionMismatchError
from store.places import SettingError
from store.settings import Settings, shown
from store.warehouse.postgres.engine import CONNECT_TIMEOUT_SECONDS

PROCESS_TAG = "leadline/process_id"
"""The run tag with the id of the process that executes the run, set when the run is created."""

OF_A_TERMINAL = {MAX_RETRIES_TAG: "0", MAX_RUNTIME_TAG: "0"}
"""The tags of a run that a person starts in a terminal: the daemon neither starts it again nor ends it."""

CODE_LOCATION = RemoteRepositoryOrigin(
    code_location_origin=RegisteredCodeLocationOrigin("leadline"), repository_name=SINGLETON_REPOSITORY_NAME
)
"""The code location as the UI knows it, by the name that ``workspace.yaml`` gives it."""

DATABASE_STORAGE = """
storage:
  postgres:
    postgres_url: {env: LEADLINE_DAGSTER_URL}
"""

SMALL_BYTES = 2**25
"""A database of at most this size is checked as a whole at every start, in a fifth of a second."""

NEW_SECONDS = 2
"""A new database may have no tables for this long, until its process has created them."""

SQLITE_SECONDS = 10
"""The longest time to wait for a database that another process writes."""

IN_PROGRESS = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING)


_OWN_CLASS = re.compile(r"^(?:assets|store|models|orchestration)\.[\w.]+: ")

_NOT_STORED = "Exception while writing logger call to event log"

_INTERRUPTED = ("DagsterExecutionInterruptedError", "KeyboardInterrupt")


@dataclass(frozen=True, kw_only=True)
class RunEvidence:
    """The facts that tell whether a run in progress is dead.

    Attributes
    ----------
    run_id : str
    updated_at : datetime
        When the run last changed its status, UTC.
    process_ids : frozenset of int
        The processes that reported to execute the run; empty until one has reported.
    """

    run_id: str
    updated_at: datetime
    process_ids: frozenset[int]


def open_instance(chosen: Settings) -> dg.DagsterInstance:
    """Return the instance of a home, with the project's defaults written into it.

    Damaged databases are set aside and begun anew: they hold the history of runs, and no published data.

    Raises
    ------
    SettingError
        If this user cannot use the databases, or the PostgreSQL database for Dagster's storage does not answer.
    """
    make_folder(chosen.dagster_home)
    if chosen.dagster_storage is None:
        suspected = chosen.dagster_home / SUSPECTED
        for path in _databases(chosen.dagster_home):
            _set_damaged_aside(path, whole=suspected.exists())
        suspected.unlink(missing_ok=True)
    else:
        _refuse_silent(chosen.dagster_storage)
    defaults = Path(__file__).with_name("dagster.yaml").read_text(encoding="utf-8")
    # the address may hold a password, so only the environment has it
    storage = "" if chosen.dagster_storage is None else DATABASE_STORAGE
    replace_file(chosen.dagster_home / "dagster.yaml", defaults + storage)
    return dg.DagsterInstance.from_config(str(chosen.dagster_home))


def _refuse_silent(address: str) -> None:
    import psycopg2

    try:
        with closing(psycopg2.connect(address, connect_timeout=CONNECT_TIMEOUT_SECONDS)):
            pass
    except psycopg2.OperationalError as error:
        reason = next(iter(str(error).strip().splitlines()), "no answer").rstrip(".")
        raise SettingError(
            f"LEADLINE_DAGSTER_STORAGE: expected a PostgreSQL database that answers, found {without_password(address)} "
            f"({without_secrets(reason, address)}). Correct the address, start the server, or unset the variable to "
            "keep Dagster's storage in files under LEADLINE_HOME."
        ) from None


def _databases(dagster_home: Path) -> list[Path]:
    for folder in ("history", "history/runs", "schedules", "storage"):
        make_folder(dagster_home / folder)
    return [
        dagster_home / "history" / "runs.db",
        dagster_home / "history" / "runs" / "index.db",
        dagster_home / "schedules" / "schedules.db",
    ]


def _set_damaged_aside(path: Path, *, whole: bool) -> None:
    """Set a SQLite database and its companions aside if it is damaged.

    Parameters
    ----------
    path : Path
    whole : bool
        Whether the whole database is checked, however large it is.
    """
    if not os.path.lexists(path):
        return
    if (problem := _problem(path, whole=whole)) is None:
        return
    sys.stderr.write(
        f"  {path}: expected a database of Dagster, found that it is damaged ({problem}): it is now {set_aside(path)}, "
        "and the history that it held begins anew\n"
    )
    for companion in (path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        if companion.exists():
            set_aside(companion)


def _problem(path: Path, *, whole: bool) -> str | None:
    """Return the fault of a SQLite database; None if it has none, or if it cannot be checked now.

    Raises
    ------
    SettingError
        If this user cannot read and write the database.
    """
    if not path.is_file():
        return "a folder" if path.is_dir() else "a link that points nowhere, a pipe or a device"
    if not os.access(path, os.R_OK | os.W_OK):
        raise SettingError(
            f"{path}: expected a database of Dagster that this user can read and write, found one that it cannot. Give "
            f"the user that runs Leadline access to it (`chmod u+rw {path}`, or `chown`); or move it away, and the "
            "history that it holds begins anew."
        )
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=SQLITE_SECONDS)) as connection:
            is_checked = whole or path.stat().st_size <= SMALL_BYTES
            results = connection.execute("pragma quick_check(1)").fetchall() if is_checked else [("ok",)]
            # this fails for a file that is no database, however large it is
            is_empty = not connection.execute("select 1 from sqlite_schema limit 1").fetchall()
            # a database that another process is creating has no tables for a moment
            if is_empty and time.time() - path.stat().st_mtime >= NEW_SECONDS:
                return "it has no tables"
    except sqlite3.OperationalError:
        # the database is locked or cannot be read now, or the disk is full: the file is not damaged
        return None
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if results == [("ok",)] else " ".join(str(results[0][0]).split())


def reconcile(instance: dg.DagsterInstance, *, go_on: bool = True) -> list[str]:
    """Mark the runs failed whose process is gone, and free their places in pools.

    Parameters
    ----------
    instance : DagsterInstance
    go_on : bool
        Whether the daemon may start such a run again, as the tags of its job say. False if another run is about to
        do its work.

    Returns
    -------
    list of str
        The identifiers of the runs that were marked.
    """
    in_progress = dg.RunsFilter(statuses=list(IN_PROGRESS))
    for record in instance.get_run_records(in_progress):
        # Dagster marks a run failed by an entry in its log, so the log must not be damaged
        log = Path(instance.root_directory) / "history" / "runs" / f"{record.dagster_run.run_id}.db"
        _set_damaged_aside(log, whole=True)
    # queried again, because runs may have ended during the check of the logs
    evidence = [
        RunEvidence(
            run_id=record.dagster_run.run_id,
            updated_at=record.update_timestamp.replace(tzinfo=UTC),
            process_ids=_process_ids(instance, record.dagster_run),
        )
        for record in instance.get_run_records(in_progress)
    ]
    dead = dead_runs(evidence, _running_since())
    for run_id in dead:
        if not go_on:
            instance.add_run_tags(run_id, {MAX_RETRIES_TAG: "0"})
        if (run := instance.get_run_by_id(run_id)) is not None:
            instance.report_run_failed(run, message="The process of this run is gone: it was killed.")
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)
    return dead


def dead_runs(evidence: Iterable[RunEvidence], running_since: dict[int, datetime]) -> list[str]:
    """Return the runs that have processes, none of which is running.

    A process that began after the last status of the run is another process with the same id. A run without processes
    is being started; Dagster's run monitoring ends it after a timeout.

    Parameters
    ----------
    evidence : iterable of RunEvidence
    running_since : dict of int to datetime
        Start times of the running processes, UTC.
    """
    return [
        run.run_id
        for run in evidence
        if run.process_ids
        and not any(pid in running_since and running_since[pid] <= run.updated_at for pid in run.process_ids)
    ]


def _process_ids(instance: dg.DagsterInstance, run: dg.DagsterRun) -> frozenset[int]:
    # a run that is executed again has a copy of the tags of the first run
    is_first = run.parent_run_id is None
    process_ids = {int(run.tags[PROCESS_TAG])} if is_first and PROCESS_TAG in run.tags else set()
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        metadata = event.engine_event_data.metadata if event is not None else {}
        if "pid" in metadata:
            process_ids.add(int(str(metadata["pid"].value)))
    return frozenset(process_ids)


def _running_since() -> dict[int, datetime]:
    return {
        process.info["pid"]: datetime.fromtimestamp(process.info["create_time"], UTC)
        for process in psutil.process_iter(["pid", "create_time", "status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE
    }


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The end of a run.

    Attributes
    ----------
    run_id : str
    failure : str or None
        The messages of the errors; None after a success.
    interrupted : bool
        Whether a signal such as Ctrl-C ended the run.
    lost_champion : bool
        Whether a step failed because a champion does not load.
    """

    run_id: str
    failure: str | None
    interrupted: bool
    lost_champion: bool = False


def run_job(current: Settings, job: str, config: Mapping[str, Any] | None = None) -> Outcome:
    """Run a job of the code location on the instance of the home.

    The run is recorded like any other, so the UI shows it and can run it again.

    Parameters
    ----------
    current : Settings
    job : str
    config : mapping, optional
        The configuration of the job's steps.
    """
    with open_instance(current) as instance:
        for run_id in reconcile(instance, go_on=False):
            sys.stderr.write(f"  a run was killed before it ended ({run_id}): marked as failed, its places freed\n")
        with _quiet_stdout(), _helpers_without_ctrl_c(), redirect_stderr(cast("TextIO", _Terminal(sys.stderr))):
            executable = dg.build_reconstructable_job("orchestration.definitions", "job", (job,))
            result = execute_run(executable, create_run(instance, executable, config), instance)
        _tidy(current, instance)
        failures = [
            f"{event.step_key}: {_cause(event, current)}" for event in result.all_events if event.is_step_failure
        ] or [event.message or "" for event in result.all_events if event.is_failure]
    errors = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    return Outcome(
        run_id=result.run_id,
        failure=None if result.success else "\n".join(failures),
        interrupted=any(error is not None and error.cls_name in _INTERRUPTED for error in errors),
        lost_champion=lost_champion(errors),
    )


def create_run(
    instance: dg.DagsterInstance, executable: ReconstructableJob, config: Mapping[str, Any] | None = None
) -> dg.DagsterRun:
    """Create a run of a job of the code location, which this process executes."""
    definition = executable.get_definition()
    return instance.create_run_for_job(
        definition,
        # Dagster uses a logger of the code location only if the configuration names it
        run_config={"loggers": {"console": {}}, **(config or {})},
        tags={**definition.run_tags, **OF_A_TERMINAL, PROCESS_TAG: str(os.getpid())},
        remote_job_origin=RemoteJobOrigin(repository_origin=CODE_LOCATION, job_name=definition.name),
        job_code_origin=executable.get_python_origin(),
    )


def _tidy(current: Settings, instance: dg.DagsterInstance) -> None:
    """Remove old runs and files of the home; a failure to remove them is only a warning."""
    now = Clock().present()
    try:
        if is_due(current, now):
            tidy(current, instance, now)
    except Exception as error:  # noqa: BLE001 - an error of the disk or of a database; the next day tries again
        keep(error, current.home)
        sys.stderr.write(f"    warning: old runs and files could not be removed; {current.home / LOG} says why\n")


def lost_champion(errors: Iterable[Any]) -> bool:
    """Say whether an error of a step, or a cause of the error, is that a champion does not load."""
    return any(
        error is not None and (error.cls_name == ChampionMismatchError.__name__ or lost_champion([error.cause]))
        for error in errors
    )


def _cause(event: dg.DagsterEvent, current: Settings) -> str:
    data = event.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return data.user_failure_data.description
    error, messages = data.error, []
    while error is not None:
        messages.append(error.message.strip())
        error = error.cause
    if not messages:
        return event.message or ""
    for message in messages:
        if _OWN_CLASS.match(message):
            # the class name of Leadline's own error adds nothing to the message
            return shown(_OWN_CLASS.sub("", message))
    text = "\n".join(messages)
    warehouse_fault = damaged_warehouse(current.warehouse.removeprefix("duckdb:"), text)
    return shown(warehouse_fault or explained(text, current.home, room(current.home)) or messages[-1])


class _Terminal:
    """Standard error without Dagster's report of a failing storage: the run ends with the message of that error."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, unless it is such a report."""
        return len(text) if text.startswith(_NOT_STORED) else self._stream.write(text)


@contextmanager
def _helpers_without_ctrl_c() -> Iterator[None]:
    """Keep Ctrl-C from processes that mirror the output of steps: Dagster ends them; one would print a traceback."""
    original = compute_logs.execute_posix_tail

    @contextmanager
    def start(path: str, stream: Any) -> Iterator[Any]:
        # a process inherits the blocked signals of its parent
        previous_mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        with ExitStack() as running:
            try:
                pids = running.enter_context(original(path, stream))
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, previous_mask)
            yield pids

    compute_logs.execute_posix_tail = start
    try:
        yield
    finally:
        compute_logs.execute_posix_tail = original


@contextmanager
def _quiet_stdout() -> Iterator[None]:
    """Keep the output of dbt out of the terminal; Dagster's compute log of the step has it."""
    sys.stdout.flush()
    terminal = os.dup(1)
    null_device = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null_device, 1)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(terminal, 1)
        os.close(null_device)
        os.close(terminal)
