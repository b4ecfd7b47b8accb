"""The commands behind the Makefile: ``python -m orchestration run`` and ``python -m orchestration ui``."""

from __future__ import annotations

import argparse
import gc
import sys

from assets.environment import (
    OWN_SERVER,
    PROJECT,
    SettingError,
    Settings,
    make_home,
    point_at_home,
    refuse_other_warehouse,
    settings,
)
from orchestration import foreground, own_server

YOUNG_OBJECTS = 50_000
"""New objects after which a run looks for garbage; Python's 700 are meant for programs that make few."""

INTERRUPTED = 130
"""The exit code of what Ctrl-C has ended, as shells have it."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m orchestration", description="Run Leadline, or open its UI.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run a job to its end and sum it up")
    run.add_argument("--job", choices=["whole_loop", "score_leads"], default="whole_loop")
    ui = commands.add_parser("ui", help="open the Dagster UI, with the schedules running")
    ui.add_argument("--port", type=int, default=3000)
    chosen = parser.parse_args(arguments)
    try:
        given = settings()
        # before a server is started in it
        refuse_other_warehouse(given)
        make_home(given)
        current = own_server.started(given)
        point_at_home(current)
    except SettingError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if chosen.command == "ui":
        return _ui(current, chosen.port)
    return _run(current, chosen.job)


def _run(current: Settings, job: str) -> int:
    sys.stderr.write(f"Leadline: {current.shown_source} → {current.home}\n")
    # nearly all that the libraries make as they load stays: looking for garbage among it took 6 % of a run's time
    gc.set_threshold(YOUNG_OBJECTS)
    from assets.dbt import DbtParseError

    try:
        from orchestration.progress import for_terminal
        from orchestration.run import run_job
        from orchestration.summary import summarize, ui_command

        outcome = run_job(current, job)
    except DbtParseError as error:
        sys.stderr.write(f"\n{error}\n")
        return 2
    if outcome.failure is not None:
        published = (
            "What was scored is published: it failed after that."
            if outcome.published
            else "Nothing that was published has changed."
        )
        again = "run the same command again: it takes up what is left."
        if outcome.interrupted:
            sys.stderr.write(f"\nInterrupted. {published} To go on, {again}\n")
            return INTERRUPTED
        sys.stderr.write(
            f"\n{for_terminal(outcome.failure)}\n\n{published} The run's log: `{ui_command(current)}`, run "
            f"{outcome.run_id}; when the cause is mended, {again}\n"
        )
        return 1
    sys.stdout.write(for_terminal(summarize(current)))
    return 0


def _ui(current: Settings, port: int) -> int:
    from assets.resources import ArtifactStore
    from orchestration import report_server
    from orchestration.instance import open_instance, reconcile

    with open_instance(current) as instance:
        reconcile(instance)
    artifacts = ArtifactStore(root=str(current.artifacts), reports_port=current.reports_port)
    report_server.start(current.artifacts / "reports", current.reports_port, current.ui_addresses)
    sys.stderr.write(f"Leadline: the UI of {current.home} is at http://127.0.0.1:{port} (end it with Ctrl-C)\n")
    if current.warehouse_of_home == OWN_SERVER:
        address = own_server.Server(current.home).shown_address()
        sys.stderr.write(f"Its warehouse is at {address} while it runs\n")
    if artifacts.docs.exists():
        sys.stderr.write(f"Every table and column is described at {artifacts.report_address(artifacts.docs)}\n")
    listen = ["--host", "127.0.0.1", "--port", str(port)]
    return foreground.run(
        [sys.executable, "-m", "orchestration.webserver", "dev", "--workspace", "workspace.yaml", *listen], PROJECT
    )


if __name__ == "__main__":
    sys.exit(main())
