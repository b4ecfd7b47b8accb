"""Runs a program in place of this process: passes its signals on to the program, and returns the exit code.

Unlike with ``exec``, this process stops afterwards what it has started: Leadline's own PostgreSQL server.
"""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

PASSED_ON = {signal.SIGINT: signal.SIGINT, signal.SIGTERM: signal.SIGTERM, signal.SIGHUP: signal.SIGTERM}
"""The signal for the program, by the received one; few programs end their children if the terminal closes (SIGHUP)."""

GUARD = 'read -r program && { read -r _; kill -TERM "$program" 2>/dev/null || kill -TERM -"$program"; }'
"""A shell script: reads the id of the program, waits until the pipe closes because this process is gone, and ends it.

If the program was killed as well, the script ends the processes of its group, which the program has left.

Linux can do the same (``prctl``), but must be asked between fork and exec, where Python with threads may hang.
"""


def run(command: Sequence[str], folder: Path, *, keep: int | None = None) -> int:
    """Run a program to its end and pass signals on; return its exit code, or 128 plus the signal that ended it.

    If this process is killed, the program gets SIGTERM.

    Parameters
    ----------
    command : sequence of str
    folder : Path
        The working folder of the program.
    keep : int, optional
        The descriptor of a file that stays open in the program as well.
    """
    received: list[signal.Signals] = []
    program: subprocess.Popen[bytes] | None = None
    # nohup ignores signals, and so does a shell that runs this in the background
    ignored = {number for number in PASSED_ON if signal.getsignal(number) is signal.SIG_IGN}

    def pass_on(number: int, _: FrameType | None) -> None:
        if number in ignored:
            return
        if program is None:
            received.append(PASSED_ON[signal.Signals(number)])
        else:
            program.send_signal(PASSED_ON[signal.Signals(number)])

    # ignored signals get the handler too, or the program would ignore them as well: Dagster needs SIGINT to end
    previous_handlers = {number: signal.signal(number, pass_on) for number in PASSED_ON}
    try:
        read_end, write_end = os.pipe()
        # each has its own session: Ctrl-C, which the terminal sends to the whole group, reaches the program once, and
        # killing the group does not kill the guard
        guard = subprocess.Popen(["/bin/sh", "-c", GUARD], stdin=read_end, start_new_session=True)
        os.close(read_end)
        kept = () if keep is None else (keep,)
        program = subprocess.Popen(command, cwd=folder, start_new_session=True, pass_fds=kept)
        os.write(write_end, f"{program.pid}\n".encode())
        for number in received:
            program.send_signal(number)
        code = program.wait()
        if code < 0:
            # a program that was killed could not end the processes that it had started
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGTERM)
        # before the pipe closes, because another process may get the id of the program from now on
        guard.kill()
        guard.wait()
        os.close(write_end)
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code
