"""Dagster's own services, with its web server behind the guard.

``python -m orchestration.ui.webserver dev …`` is ``dagster dev …``, which starts the web server by
``python -m orchestration.ui.webserver …`` in place of ``python -m dagster_webserver …``.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from dagster._daemon.freshness import FreshnessDaemon

from orchestration.ui.guard import Application, Guard
from store.settings import say_that_commands_started_it, settings

if TYPE_CHECKING:
    import subprocess

SERVICES = {"dagster_webserver": "orchestration.ui.webserver"}
"""What ``dagster dev`` starts, and what starts in its place; the daemon listens to nobody and starts as it is."""

DAEMON = "dagster._daemon"

FRESHNESS_SECONDS = 60
"""How often it is judged which assets are fresh."""


class UnknownServiceError(RuntimeError):
    """Dagster starts something that is not known here, and may stand before no guard."""


def behind_guard(command: Sequence[str]) -> list[str]:
    """Return the command of a service of ``dagster dev`` with the guarded web server in place of Dagster's.

    Raises
    ------
    UnknownServiceError
        If it is neither the web server nor the daemon.
    """
    python, option, module, *arguments = command
    if option != "-m" or module not in (*SERVICES, DAEMON):
        raise UnknownServiceError(
            f"dagster dev: expected it to start {' and '.join((*SERVICES, DAEMON))} with python -m, found "
            f"{' '.join(command[:3])!r}. Install the dagster of requirements.lock, or adapt "
            "orchestration/ui/webserver.py."
        )
    return [python, option, SERVICES.get(module, module), *arguments]


def _dev(arguments: list[str]) -> None:
    dev: Any = import_module("dagster._cli.dev")
    start = dev.open_ipc_subprocess
    services: list[subprocess.Popen[Any]] = []

    def started(parts: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        services.append(start(behind_guard(parts), **options))
        return services[-1]

    dev.open_ipc_subprocess = started
    say_that_commands_started_it()
    try:
        dev.dev_command(arguments)
    except SystemExit as end:
        # where one of them was lost, Dagster ends the other one, and says that all went well
        if not end.code and any(service.returncode for service in services):
            raise SystemExit(1) from None
        raise


def _serve(arguments: list[str]) -> None:
    cli: Any = import_module("dagster_webserver.cli")
    addresses = settings().ui_addresses
    create = cli.create_app_from_workspace_process_context

    def guarded(context: Any, *given: Any, **options: Any) -> Application:
        threading.Thread(target=_judge_freshness, args=[context], daemon=True).start()
        return Guard(create(context, *given, **options), addresses)

    cli.create_app_from_workspace_process_context = guarded
    cli.cli(arguments)


def _judge_freshness(context: Any) -> None:
    """Judge which assets are fresh, again and again, as Dagster's daemon would.

    The web server shows what was judged last. Were that left to the daemon, all would stay green where it hangs.
    """
    judge = FreshnessDaemon()
    while True:
        try:
            for _ in judge.run_iteration(context):
                pass
        except Exception:
            # of a code location that is being loaded, or a database; the next time may do
            logging.getLogger("dagster").exception("It could not be judged which assets are fresh.")
        time.sleep(FRESHNESS_SECONDS)


if __name__ == "__main__":
    if sys.argv[1:2] == ["dev"]:
        _dev(sys.argv[2:])
    else:
        _serve(sys.argv[1:])
