"""Runs a program in the place of this process: it gets the signals, and this process ends when it does, with its code.

Unlike ``exec``, what this process has begun is ended when it exits: the PostgreSQL server of Leadline's own is stopped.
"""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

PASSED_ON = {signal.SIGINT: signal.SIGINT, signal.SIGTERM: signal.SIGTERM, signal.SIGHUP: signal.SIGTERM}
"""What the program gets for what this process gets; few programs end their own children when the terminal closes."""

GUARD = 'read -r program && { read -r _; kill -TERM "$program" 2>/dev/null || kill -TERM -"$program"; }'
"""For a shell, which learns of the program and waits until nobody can tell it more: this process is gone, be it killed.

A program that was killed as well has left the processes of its group, which are told in its place.

Linux could tell the program itself (``prctl``), but is asked between fork and exec, where Python with threads may hang.
"""


def run(command: Sequence[str], folder: Path, *, keep: int | None = None) -> int:
    """Run a program to its end, passing signals on; returns its exit code, or 128 and the signal that ended it.

    Where this process is killed, the program is told to end.

    Parameters
    ----------
    command : sequence of str
    folder : Path
        In which it runs.
    keep : int, optional
        An open file that the program has open as well.
    """
    received: list[signal.Signals] = []
    program: subprocess.Popen[bytes] | None = None
    # as nohup has it, or a shell that runs this in the background
    ignored = {number for number in PASSED_ON if signal.getsignal(number) is signal.SIG_IGN}

    def pass_on(number: int, _: FrameType | None) -> None:
        if number in ignored:
            return
        if program is None:
            received.append(PASSED_ON[signal.Signals(number)])
        else:
            program.send_signal(PASSED_ON[signal.Signals(number)])

    # also of what is ignored, which the program would inherit: Dagster ends by the handler of SIGINT when told to end
    before = {number: signal.signal(number, pass_on) for number in PASSED_ON}
    try:
        told, tell = os.pipe()
        # in sessions of their own: Ctrl-C, which the terminal sends to a whole group, reaches the program once, and who
        # kills the group spares the guard
        guard = subprocess.Popen(["/bin/sh", "-c", GUARD], stdin=told, start_new_session=True)
        os.close(told)
        kept = () if keep is None else (keep,)
        program = subprocess.Popen(command, cwd=folder, start_new_session=True, pass_fds=kept)
        os.write(tell, f"{program.pid}\n".encode())
        for number in received:
            program.send_signal(number)
        code = program.wait()
        if code < 0:
            # a program that was killed could not end what it had started
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGTERM)
        # before the pipe closes, for the number may be another's from now on
        guard.kill()
        guard.wait()
        os.close(tell)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code
