"""Runs a program in the place of this process: it gets the signals, and this process ends when it does, with its code.

Unlike ``exec``, what this process has begun is ended when it exits: the PostgreSQL server of Leadline's own is stopped.
"""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import FrameType

PASSED_ON = {signal.SIGINT: signal.SIGINT, signal.SIGTERM: signal.SIGTERM, signal.SIGHUP: signal.SIGTERM}
"""What the program gets for what this process gets; few programs end their own children when the terminal closes."""


def run(command: Sequence[str], folder: Path) -> int:
    """Run a program to its end, passing signals on; returns its exit code, or 128 and the signal that ended it."""
    received: list[signal.Signals] = []
    program: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, _: FrameType | None) -> None:
        if program is None:
            received.append(PASSED_ON[signal.Signals(number)])
        else:
            program.send_signal(PASSED_ON[signal.Signals(number)])

    before = {number: signal.signal(number, pass_on) for number in PASSED_ON}
    try:
        # in a session of its own, so that Ctrl-C, which the terminal sends to a whole group, reaches it once
        program = subprocess.Popen(command, cwd=folder, start_new_session=True)
        for number in received:
            program.send_signal(number)
        code = program.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code
