"""Commands that start other programs: signals reach those, and the server of Leadline's own ends with the last."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.homes import PATIENCE, REPOSITORY, Home

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import signal, sys, time

def end(number, frame):
    print(signal.Signals(number).name, flush=True)
    sys.exit(7)

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, end)
print("ready", flush=True)
time.sleep(600)
"""
COMMAND = """
import atexit, sys
from pathlib import Path
from orchestration.foreground import run

atexit.register(print, "ended", flush=True)
sys.exit(run([sys.executable, "-c", sys.argv[1]], Path.cwd()))
"""
SERVER = """
import sys
from assets.environment import settings
from orchestration.own_server import started

started(settings())
print("ready", flush=True)
sys.stdin.read()
"""


def begun(code: str, *arguments: str, home: Home | None = None) -> subprocess.Popen[str]:
    """Start Python code in a process group of its own, and wait until it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], cwd=REPOSITORY, env=home and home.environment(), text=True,
        start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(("sent", "received"), [("SIGINT", "SIGINT"), ("SIGTERM", "SIGTERM"), ("SIGHUP", "SIGTERM")])
def test_a_program_gets_the_signals_of_its_command_which_ends_with_its_code(sent: str, received: str) -> None:
    process = begun(COMMAND, PROGRAM)
    process.send_signal(signal.Signals[sent])
    said, _ = process.communicate(timeout=PATIENCE)
    assert (said.split(), process.returncode) == ([received, "ended"], 7)


def test_a_program_that_is_killed_ends_its_command_with_the_signal() -> None:
    process = begun(COMMAND, PROGRAM)
    (program,) = psutil.Process(process.pid).children()
    program.kill()
    said, _ = process.communicate(timeout=PATIENCE)
    assert (said.split(), process.returncode) == (["ended"], 128 + signal.SIGKILL)


def test_the_own_server_ends_with_the_last_command_even_where_another_was_killed(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", {"LEADLINE_WAREHOUSE": "postgres"})
    killed = begun(SERVER, home=home)
    server = psutil.Process(int((home.path / "postgres/postmaster.pid").read_text().splitlines()[0]))
    killed.kill()
    killed.communicate(timeout=PATIENCE)
    assert server.is_running()
    one, other = begun(SERVER, home=home), begun(SERVER, home=home)
    one.communicate(timeout=PATIENCE)
    assert server.is_running()
    other.communicate(timeout=PATIENCE)
    server.wait(PATIENCE)


def test_a_command_finds_the_own_server_on_the_port_that_another_gave_it(tmp_path: Path) -> None:
    """PostgreSQL itself reads ``PGPORT`` as it starts, for its socket as well."""
    home = {"LEADLINE_WAREHOUSE": "postgres"}
    one = begun(SERVER, home=Home(tmp_path / "home", {**home, "PGPORT": "6543"}))
    other = begun(SERVER, home=Home(tmp_path / "home", {**home, "PGPORT": "6544"}))
    for command in (one, other):
        command.communicate(timeout=PATIENCE)
