"""The commands behind the Makefile: ``python -m orchestration run`` and ``python -m orchestration ui``."""

import argparse
import atexit
import gc
import os
import socket
import sys
from pathlib import Path

from orchestration.commands import faults, foreground, own_server, server_programs
from orchestration.commands.server_programs import NotStartedError
from store.addresses import is_database
from store.home import make_home, point_at_home, refuse_other_warehouse
from store.places import OWN_SERVER, PROJECT, SettingError
from store.publishing.publications import has_published
from store.settings import Settings, prepare_process, settings
from store.warehouse.warehouse import engine_of

YOUNG_OBJECTS = 50_000
"""New objects after which a run looks for garbage; Python's 700 are meant for programs that make few."""

INTERRUPTED = 130
"""The exit code of what Ctrl-C has ended, as shells have it."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m orchestration", description="Run Leadline, or open its UI.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run a job to its end and sum it up")
    run.add_argument("--job", default="whole_loop", help="whole_loop, score_leads or retrain_<model>")
    recompute = commands.add_parser("recompute", help="compute the features of a range of days anew")
    recompute.add_argument("days", help="the first and the last day, as 2026-03-01...2026-03-07, or one day")
    ui = commands.add_parser("ui", help="open the Dagster UI, with the schedules running")
    ui.add_argument("--port", type=int, default=3000)
    chosen = parser.parse_args(arguments)
    home: Path | None = None
    prepare_process()
    try:
        given = settings()
        home = given.home
        return _chosen(chosen, given)
    except SettingError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. Nothing was run.\n")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - whoever reads a terminal gets a sentence, and the log the rest
        sys.stderr.write(f"\n{faults.told(error, home)}\n")
        return 1


def _chosen(chosen: argparse.Namespace, given: Settings) -> int:
    # before a server is started in it
    refuse_other_warehouse(given)
    make_home(given)
    current = _with_server(given)
    if is_database(current.warehouse) and not current.belonging.exists():
        # a home is that of a warehouse which has answered: the address may be written wrongly
        with engine_of(current.warehouse).connect():
            pass
    point_at_home(current)
    if chosen.command == "ui":
        return _ui(current, chosen.port)
    if chosen.command == "recompute":
        return _recompute(current, chosen.days)
    return _run(current, chosen.job)


def _with_server(given: Settings) -> Settings:
    if given.warehouse != OWN_SERVER:
        return given
    try:
        return own_server.started(given)
    except NotStartedError as error:
        faults.keep(error, given.home)
        raise SettingError(server_programs.why_not_started(given.own_server, error)) from error


def _recompute(current: Settings, days: str) -> int:
    from orchestration.commands.runs import run_job
    from orchestration.progress import for_terminal

    sys.stderr.write(f"Leadline: features of {days} → {current.home}\n")
    outcome = run_job(current, "recompute_days", {"ops": {"recompute": {"config": {"days": days}}}})
    if outcome.failure is not None:
        sys.stderr.write(f"\n{for_terminal(outcome.failure)}\n")
        return INTERRUPTED if outcome.interrupted else 1
    return 0


def _run(current: Settings, job: str) -> int:
    sys.stderr.write(f"Leadline: {current.shown_source} → {current.home}\n")
    # nearly all that the libraries make as they load stays: looking for garbage among it took 6 % of a run's time
    gc.set_threshold(YOUNG_OBJECTS)
    from store.features.dbt_project import DbtParseError

    again = "run the same command again: it takes up what is left."
    before = _published_file(current)
    try:
        from orchestration.commands.runs import run_job
        from orchestration.commands.summary import command, summarize
        from orchestration.jobs import JOBS
        from orchestration.progress import for_terminal

        if job not in JOBS:
            sys.stderr.write(f"--job: expected one of {', '.join(JOBS)}, found {job}. Nothing was run.\n")
            return 2
        outcome = run_job(current, job)
    except DbtParseError as error:
        sys.stderr.write(f"\n{error}\n")
        return 2
    except Exception as error:  # noqa: BLE001 - as in `main`, and what became of the scores
        said = faults.told(error, current.home)
        sys.stderr.write(f"\n{said}\n\nThe run has ended. {_of_published(current, before)} To go on, {again}\n")
        return 1
    if outcome.failure is not None:
        published = _of_published(current, before)
        if outcome.interrupted:
            sys.stderr.write(f"\nInterrupted. {published} To go on, {again}\n")
            return INTERRUPTED
        then = f"; when the cause is mended, {again}"
        if outcome.lost_champion:
            then = (
                f".\n\nA champion does not load, so nothing was scored: `{command(current, 'run')}` trains anew, and "
                "what is published stays as it is until then."
            )
        sys.stderr.write(
            f"\n{for_terminal(outcome.failure)}\n\n{published} The run's log: `{command(current, 'ui')}`, run "
            f"{outcome.run_id}{then}\n"
        )
        return 1
    sys.stdout.write(for_terminal(summarize(current)))
    return 0


def _of_published(current: Settings, before: tuple[int, int] | None) -> str:
    """Return what readers have after a run that has failed, and had the published file of `before`."""
    if has_published(str(current.publication_record)):
        return "What was scored is published: it failed after that."
    after = _published_file(current)
    if after is None and engine_of(current.warehouse).is_file:
        was_there = before is not None or current.publication_record.exists()
        return f"Nothing was published{f', and {current.published} is gone' if was_there else ''}."
    if after != before:
        return f"Nothing was published by this run: something else has changed {current.published}."
    return "Nothing that was published has changed."


def _published_file(current: Settings) -> tuple[int, int] | None:
    """Return which file readers open, as its place on the disk and its time; None where there is none."""
    try:
        found = current.published.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _ui(current: Settings, port: int) -> int:
    from orchestration.commands.before_ui import claim, refuse_source
    from orchestration.commands.runs import open_instance, reconcile
    from orchestration.ui import report_server
    from store.artifacts import ArtifactStore

    _refuse_taken(port)
    lock = claim(current, f"http://127.0.0.1:{port}")
    with open_instance(current) as instance:
        refuse_source(current, instance)
        reconcile(instance)
    artifacts = ArtifactStore(root=str(current.artifacts), reports_address=current.reports_address)
    report_server.start(current.artifacts / "reports", current.reports_port, current.addresses_of_reports)
    sys.stderr.write(f"Leadline: the UI of {current.home} is at http://127.0.0.1:{port} (end it with Ctrl-C)\n")
    if current.warehouse_of_home == OWN_SERVER:
        address = own_server.Server(current.home).shown_address()
        sys.stderr.write(f"Its warehouse is at {address} while it runs\n")
    if artifacts.docs.exists():
        sys.stderr.write(f"Every table and column is described at {artifacts.report_address(artifacts.docs)}\n")
    listen = ["--host", "127.0.0.1", "--port", str(port)]
    return foreground.run(
        [sys.executable, "-m", "orchestration.ui.webserver", "dev", "--workspace", "workspace.yaml", *listen],
        PROJECT,
        keep=lock,
    )


def _refuse_taken(port: int) -> None:
    with socket.socket() as tried:
        # as the UI will: what has just ended keeps its port for a while
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError as error:
            raise SettingError(
                f"PORT: expected a port of this machine that is free, found {port} ({error.strerror}). Another UI may "
                "run there: open it, end it, or name another port (`make ui PORT=3010`)."
            ) from None


def end_quietly() -> None:
    """Have nothing written after the last sentence: as a process ends, DuckDB lists what failed steps hold of it."""
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


if __name__ == "__main__":
    # what is registered first is called last
    atexit.register(end_quietly)
    sys.exit(main())
