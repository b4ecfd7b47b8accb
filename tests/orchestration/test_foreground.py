"""Commands that start other programs: signals reach those, and the server of Leadline's own ends with the last."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.homes import PATIENCE, REPOSITORY, Home

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import os, signal, sys, time

def end(number, frame):
    # the signal may come while "ready" is still being printed, and print cannot be called within print
    os.write(1, signal.Signals(number).name.encode() + b"\\n")
    sys.exit(7)

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, end)
print("ready", flush=True)
time.sleep(600)
"""
LIKE_DAGSTER = """
import signal, sys, time

signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
try:
    print("ready", flush=True)
    time.sleep(600)
except KeyboardInterrupt:
    sys.exit(7)
"""
COMMAND = """
import atexit, sys
from pathlib import Path
from orchestration.commands.foreground import run

atexit.register(print, "ended", flush=True)
sys.exit(run([sys.executable, "-c", sys.argv[1]], Path.cwd()))
"""
SERVER = """
import sys
from store.settings import settings
from orchestration.commands.own_server import started

started(settings())
print("ready", flush=True)
sys.stdin.read()
"""


def begun(code: str, *arguments: str, home: Home | None = None, ignored: str = "") -> subprocess.Popen[str]:
    """Start Python code in a process group of its own, with signals ignored, and wait until it is ready."""
    command = ["/bin/sh", "-c", f"trap '' {ignored}; exec \"$@\"", "sh"] if ignored else []
    process = subprocess.Popen(
        [*command, sys.executable, "-c", code, *arguments], cwd=REPOSITORY, env=home and home.environment(), text=True,
        start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def program_of(process: subprocess.Popen[str]) -> psutil.Process:
    """Return the program that a command runs; it has another child, which is a shell."""
    (program,) = (each for each in psutil.Process(process.pid).children() if "sh" not in each.name())
    return program


@pytest.mark.parametrize(("sent", "received"), [("SIGINT", "SIGINT"), ("SIGTERM", "SIGTERM"), ("SIGHUP", "SIGTERM")])
def test_a_program_gets_the_signals_of_its_command_which_ends_with_its_code(sent: str, received: str) -> None:
    process = begun(COMMAND, PROGRAM)
    process.send_signal(signal.Signals[sent])
    said, _ = process.communicate(timeout=PATIENCE)
    assert (said.split(), process.returncode) == ([received, "ended"], 7)


def test_a_program_that_is_killed_ends_its_command_with_the_signal() -> None:
    process = begun(COMMAND, PROGRAM)
    program_of(process).kill()
    said, _ = process.communicate(timeout=PATIENCE)
    assert (said.split(), process.returncode) == (["ended"], 128 + signal.SIGKILL)


@pytest.mark.parametrize(("ignored", "sent"), [("HUP", "SIGINT"), ("INT", "SIGTERM")])
def test_what_a_command_is_to_ignore_does_not_reach_its_program(ignored: str, sent: str) -> None:
    process = begun(COMMAND, PROGRAM, ignored=ignored)
    process.send_signal(signal.Signals[f"SIG{ignored}"])
    # so that it would be the first to arrive
    time.sleep(0.5)
    process.send_signal(signal.Signals[sent])
    said, _ = process.communicate(timeout=PATIENCE)
    assert (said.split(), process.returncode) == ([sent, "ended"], 7)


def test_a_program_whose_command_is_in_the_background_can_be_ended() -> None:
    process = begun(COMMAND, LIKE_DAGSTER, ignored="INT")
    process.terminate()
    said, _ = process.communicate(timeout=PATIENCE)
    assert (said.split(), process.returncode) == (["ended"], 7)


def test_a_command_that_is_killed_with_its_group_ends_its_program() -> None:
    process = begun(COMMAND, PROGRAM)
    children = psutil.Process(process.pid).children()
    os.killpg(process.pid, signal.SIGKILL)
    try:
        # it reads to the end, which comes when nobody can write any more
        said, _ = process.communicate(timeout=PATIENCE)
    finally:
        for each in children:
            if each.is_running():
                each.kill()
    assert said.split() == ["SIGTERM"]


def test_nothing_is_left_of_a_command_that_has_ended() -> None:
    process = begun(COMMAND, PROGRAM)
    children = psutil.Process(process.pid).children()
    process.terminate()
    process.communicate(timeout=PATIENCE)
    assert [each for each in children if each.is_running()] == []


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


def test_a_home_knows_its_own_server_also_where_its_path_is_too_long_for_a_socket(tmp_path: Path) -> None:
    home = Home(tmp_path / ("long_" * 25), {"LEADLINE_WAREHOUSE": "postgres"})
    # the first is the user's setting, the second the address that children get
    twice = """
from store.home import point_at_home
from store.settings import settings
from orchestration.commands.own_server import started

given = settings()
for chosen in (started(given), settings(), given):
    point_at_home(chosen)
print(settings().warehouse)
"""
    told = subprocess.run(
        [sys.executable, "-c", twice],
        cwd=REPOSITORY,
        env=home.environment(),
        text=True,
        capture_output=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr[-3000:]
    assert (home.path / "warehouse_of_this_home").read_text() == "postgres\n"
