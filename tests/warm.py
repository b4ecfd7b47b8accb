"""Commands of the project in processes that need not import it: each is forked from one that has imported it once.

A run imports libraries for 11 s of CPU time, as often as a test starts one. A forked process begins where those imports
have ended, with the environment, the folder and the streams of its own; what it does then is `orchestration.__main__`.
It imports nothing else in advance than what every run imports, and nothing is called in advance.
"""

from __future__ import annotations

import array
import atexit
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from functools import cache
from importlib import import_module
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

IMPORTED = (
    "orchestration.__main__",
    "orchestration.commands.runs",
    "orchestration.commands.summary",
    "orchestration.definitions",
    "dagster._core.workspace.context",
    "dbt.graph.cli",
    "dbt.task.docs",
    "dlt",
    "dlt.destinations",
    "evidently.presets",
    "sklearn.ensemble",
    "store.measuring.drift_report",
    "store.source.extract",
)


class Forked:
    """A process that another one has forked for this one: the part of `subprocess.Popen` that tests use."""

    def __init__(self, place: Path, environment: Mapping[str, str], arguments: Sequence[str]) -> None:
        # each message is received by itself: the number of the process, and its end
        self._news, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        (self.stdout, out), (self.stderr, err) = _pipe(), _pipe()
        request = json.dumps({"place": str(place), "environment": dict(environment), "arguments": list(arguments)})
        _ask(_warm(), request.encode(), [theirs.fileno(), out, err])
        theirs.close()
        os.close(out)
        os.close(err)
        self.pid = int(self._news.recv(64))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        try:
            return self.wait(0.001)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float) -> int:
        """Wait for the end and return the exit code, or the negative number of the signal that killed the process."""
        if self.returncode is None:
            self._news.settimeout(timeout)
            try:
                self.returncode = int(self._news.recv(64))
            except TimeoutError:
                raise subprocess.TimeoutExpired("a forked command", timeout) from None
        return self.returncode

    def kill(self) -> None:
        """Kill the process, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def _pipe() -> tuple[IO[str], int]:
    read, write = os.pipe()
    return os.fdopen(read), write


@cache
def _warm() -> socket.socket:
    """Start the process that has imported everything, once for all tests of this process, and return the way to it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    from tests.homes import REPOSITORY, Home

    subprocess.Popen(
        [sys.executable, "-m", "tests.warm", str(theirs.fileno())],
        cwd=REPOSITORY, env=Home(REPOSITORY).environment(), pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
    )  # fmt: skip
    theirs.close()
    # it ends when nobody is left to ask it
    atexit.register(ours.close)
    return ours


def _ask(warm: socket.socket, request: bytes, files: list[int]) -> None:
    warm.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))])


def main(asked: socket.socket) -> None:
    """Import what runs import, and fork a process for each request until nobody asks any more."""
    from store.settings import prepare_process

    prepare_process()
    for name in IMPORTED:
        import_module(name)
    # the processes in between are reaped by the kernel
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, ancillary, *_ = asked.recvmsg(2**20, 1024)
        if not message:
            return
        files = array.array("i", ancillary[0][2]).tolist()
        if os.fork() == 0:
            asked.close()
            _serve(json.loads(message), *files)
        for each in files:
            os.close(each)


def _serve(request: dict[str, Any], answers: int, out: int, err: int) -> None:
    """Start a command in a process of its own, and tell its number and its end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if (pid := os.fork()) > 0:
        os.close(out)
        os.close(err)
        os.write(answers, str(pid).encode())
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        try:
            os.write(answers, str(status).encode())
        finally:
            os._exit(0)
    os.close(answers)
    os.setsid()
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    os.chdir(request["place"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv[1:] = request["arguments"]
    runpy.run_module("orchestration", run_name="__main__", alter_sys=True)
    sys.exit(0)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
