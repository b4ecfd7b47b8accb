"""Running a job to its end in this process, after reconciling what killed runs left."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr
from dataclasses import dataclass
from typing import Any, TextIO, cast

import dagster as dg
from dagster._core.execution import compute_logs

from orchestration.commands.faults import room
from orchestration.commands.instance import PROCESS_TAG, open_instance, reconcile
from store.faults import damaged_warehouse, explained
from store.settings import Settings, shown

_OWN_CLASS = re.compile(r"^(?:assets|store|models|orchestration)\.[\w.]+: ")

_NOT_STORED = "Exception while writing logger call to event log"

_INTERRUPTED = ("DagsterExecutionInterruptedError", "KeyboardInterrupt")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended.

    Attributes
    ----------
    run_id : str
    failure : str or None
        What went wrong.
    interrupted : bool
        Whether it was told to end, as by Ctrl-C.
    """

    run_id: str
    failure: str | None
    interrupted: bool


def run_job(current: Settings, job: str) -> Outcome:
    """Run a job of the code location on the instance of the home.

    The run is recorded like any other, so the UI shows it and can run it again.
    """
    with open_instance(current) as instance:
        for run_id in reconcile(instance):
            sys.stderr.write(f"  a run was killed before it ended ({run_id}): marked as failed, its places freed\n")
        with _quiet_stdout(), _helpers_without_ctrl_c(), redirect_stderr(cast("TextIO", _Terminal(sys.stderr))):
            result = dg.execute_job(
                dg.build_reconstructable_job("orchestration.definitions", "job", (job,)),
                instance=instance,
                # Dagster uses a logger of the code location only when it is asked for
                run_config={"loggers": {"console": {}}},
                tags={PROCESS_TAG: str(os.getpid())},
                raise_on_error=False,
            )
        failures = [
            f"{event.step_key}: {_cause(event, current)}" for event in result.all_events if event.is_step_failure
        ] or [event.message or "" for event in result.all_events if event.is_failure]
    errors = (event.step_failure_data.error for event in result.all_events if event.is_step_failure)
    return Outcome(
        run_id=result.run_id,
        failure=None if result.success else "\n".join(failures),
        interrupted=any(error is not None and error.cls_name in _INTERRUPTED for error in errors),
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
            # the class of an error of ours says nothing that its message does not
            return shown(_OWN_CLASS.sub("", message))
    text = "\n".join(messages)
    of_warehouse = damaged_warehouse(current.warehouse.removeprefix("duckdb:"), text)
    return shown(of_warehouse or explained(text, current.home, room(current.home)) or messages[-1])


class _Terminal:
    """Standard error without what Dagster writes there when its storage fails: the error itself is told at the end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, unless it is one of these."""
        return len(text) if text.startswith(_NOT_STORED) else self._stream.write(text)


@contextmanager
def _helpers_without_ctrl_c() -> Iterator[None]:
    """Have the processes that mirror the output of steps get no Ctrl-C: Dagster ends them, and they would print it."""
    started = compute_logs.execute_posix_tail

    @contextmanager
    def start(path: str, stream: Any) -> Iterator[Any]:
        # a process begins with what its parent blocks
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        with ExitStack() as running:
            try:
                pids = running.enter_context(started(path, stream))
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            yield pids

    compute_logs.execute_posix_tail = start
    try:
        yield
    finally:
        compute_logs.execute_posix_tail = started


@contextmanager
def _quiet_stdout() -> Iterator[None]:
    """Keep what dbt prints out of the terminal; Dagster's compute log of the step has it all the same."""
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(nowhere)
        os.close(kept)
