"""Dagster's own services, with its web server behind the guard.

``python -m orchestration.ui.webserver dev …`` runs ``dagster dev …``, but starts the web server as
``python -m orchestration.ui.webserver …`` instead of ``python -m dagster_webserver …``.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._daemon.freshness import FreshnessDaemon

from orchestration.ui.guard import Application, Guard
from store.settings import say_that_commands_started_it, settings

if TYPE_CHECKING:
    import subprocess

SERVICES = {"dagster_webserver": "orchestration.ui.webserver"}
"""The module that replaces each service of ``dagster dev``. The daemon opens no port and is not replaced."""

DAEMON = "dagster._daemon"

FRESHNESS_SECONDS = 60
"""Seconds between two judgements of the freshness of all assets."""


class UnknownServiceError(RuntimeError):
    """``dagster dev`` starts an unknown service, which may be a web server without the guard."""


def behind_guard(command: Sequence[str]) -> list[str]:
    """Return the command of a service of ``dagster dev`` with the guarded web server in place of Dagster's.

    Raises
    ------
    UnknownServiceError
        If the service is neither the web server nor the daemon.
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

    def start_guarded(command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        services.append(start(behind_guard(command), **options))
        return services[-1]

    dev.open_ipc_subprocess = start_guarded
    say_that_commands_started_it()
    # Dagster recommends dg dev, which Leadline refuses
    warnings.simplefilter("ignore", dg.SupersessionWarning)
    try:
        dev.dev_command(arguments)
    except SystemExit as end:
        # if one service fails, Dagster ends the other one and exits with 0
        if not end.code and any(service.returncode for service in services):
            raise SystemExit(1) from None
        raise


def _serve(arguments: list[str]) -> None:
    cli: Any = import_module("dagster_webserver.cli")
    addresses = settings().ui_addresses
    create = cli.create_app_from_workspace_process_context

    def create_guarded(context: Any, *args: Any, **options: Any) -> Application:
        threading.Thread(target=_judge_freshness, args=[context], daemon=True).start()
        return Guard(create(context, *args, **options), addresses)

    cli.create_app_from_workspace_process_context = create_guarded
    cli.cli(arguments)


def _judge_freshness(context: Any) -> None:
    """Judge the freshness of all assets again and again, in place of Dagster's daemon.

    The web server shows the last judgements. If the daemon made them and hung, all assets would stay green.
    """
    judge = FreshnessDaemon()
    while True:
        try:
            for _ in judge.run_iteration(context):
                pass
        except Exception:
            # a code location is loading or a database does not answer, for example; the next attempt may succeed
            logging.getLogger("dagster").exception("The freshness of assets could not be judged.")
        time.sleep(FRESHNESS_SECONDS)


if __name__ == "__main__":
    if sys.argv[1:2] == ["dev"]:
        _dev(sys.argv[2:])
    else:
        _serve(sys.argv[1:])
