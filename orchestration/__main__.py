"""The commands behind the Makefile, such as ``python -m orchestration run``."""

import argparse
import atexit
import gc
import os
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
"""A run collects garbage after this many new objects. Python's default of 700 suits programs with few objects."""

INTERRUPTED = 130
"""The exit code after Ctrl-C, as in shells."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m orchestration", description="Run Leadline, look at a source, or open the UI."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run a job to its end and sum it up")
    run.add_argument("--job", default="whole_loop", help="whole_loop, score_leads or retrain_<model>")
    commands.add_parser("check", help="say what a run would find in a source and do with it, without a run")
    mapping = commands.add_parser("map", help="look at a source and write a mapping for it")
    mapping.add_argument("--yes", action="store_true", help="ask nothing, and take the default of each question")
    recompute = commands.add_parser("recompute", help="compute the features of a range of days anew")
    recompute.add_argument("days", help="the first and the last day, as 2026-03-01...2026-03-07, or one day")
    ui = commands.add_parser("ui", help="open the Dagster UI, with the schedules running")
    ui.add_argument("--port", default="3000")
    options = parser.parse_args(arguments)
    home: Path | None = None
    prepare_process()
    try:
        initial = settings()
        if options.command == "check":
            from orchestration.commands.check import check

            # it writes nothing into the home
            return check(initial)
        home = initial.home
        return _run_command(options, initial)
    except SettingError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. Nothing was run.\n")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the terminal gets a sentence, and the log gets the rest
        sys.stderr.write(f"\n{faults.told(error, home)}\n")
        return 1


def _run_command(options: argparse.Namespace, initial: Settings) -> int:
    if options.command == "map":
        from orchestration.commands.map import suggest_mapping

        return suggest_mapping(initial, ask=not options.yes and sys.stdin.isatty() and sys.stderr.isatty())
    # these two come before the start of a server in the home
    refuse_other_warehouse(initial)
    make_home(initial)
    current = _with_server(initial)
    if is_database(current.warehouse) and not current.belonging.exists():
        # only a warehouse that answers becomes the warehouse of the home, because the address may be wrong
        with engine_of(current.warehouse).connect():
            pass
    point_at_home(current)
    if options.command == "ui":
        return _ui(current, options.port)
    if options.command == "recompute":
        return _recompute(current, options.days)
    return _run(current, options.job)


def _with_server(initial: Settings) -> Settings:
    if initial.warehouse != OWN_SERVER:
        return initial
    try:
        return own_server.started(initial)
    except NotStartedError as error:
        faults.keep(error, initial.home)
        raise SettingError(server_programs.why_not_started(initial.own_server, error)) from error


def _recompute(current: Settings, days: str) -> int:
    from orchestration.commands.runs import run_job
    from orchestration.terminal import for_terminal

    sys.stderr.write(f"Leadline: features of {days} → {current.home}\n")
    outcome = run_job(current, "recompute_days", {"ops": {"recompute": {"config": {"days": days}}}})
    if outcome.failure is not None:
        sys.stderr.write(f"\n{for_terminal(outcome.failure)}\n")
        return INTERRUPTED if outcome.interrupted else 1
    return 0


def _run(current: Settings, job: str) -> int:
    sys.stderr.write(f"Leadline: {current.shown_source} → {current.home}\n")
    # nearly all objects that libraries create at import stay: collecting garbage among them took 6 % of a run's time
    gc.set_threshold(YOUNG_OBJECTS)
    from store.features.dbt_project import DbtParseError

    advice = "run the same command again: it completes the work."
    file_before = _published_file(current)
    try:
        from orchestration.commands.runs import run_job
        from orchestration.commands.summary import command, summarize
        from orchestration.jobs import JOBS
        from orchestration.terminal import for_terminal

        if job not in JOBS:
            sys.stderr.write(f"--job: expected one of {', '.join(JOBS)}, found {job}. Nothing was run.\n")
            return 2
        outcome = run_job(current, job)
    except DbtParseError as error:
        sys.stderr.write(f"\n{error}\n")
        return 2
    except Exception as error:  # noqa: BLE001 - as in `main`, with a sentence about the publication
        message, publication = faults.told(error, current.home), _publication_after(current, file_before)
        sys.stderr.write(f"\n{message}\n\nThe run has ended. {publication} To go on, {advice}\n")
        return 1
    if outcome.failure is not None:
        publication = _publication_after(current, file_before)
        if outcome.interrupted:
            sys.stderr.write(f"\nInterrupted. {publication} To go on, {advice}\n")
            return INTERRUPTED
        next_step = f"; when the cause is mended, {advice}"
        if outcome.lost_champion:
            next_step = (
                f".\n\nA champion does not load, so nothing was scored: `{command(current, 'run')}` trains anew, and "
                "the published scores are unchanged until then."
            )
        sys.stderr.write(
            f"\n{for_terminal(outcome.failure)}\n\n{publication} The run's log: `{command(current, 'ui')}`, run "
            f"{outcome.run_id}{next_step}\n"
        )
        return 1
    sys.stdout.write(for_terminal(summarize(current)))
    return 0


def _publication_after(current: Settings, file_before: tuple[int, int] | None) -> str:
    """Return a sentence about the publication after a failed run, by the published file before and after the run."""
    if has_published(str(current.publication_record)):
        return "The new scores were published before that."
    file_after = _published_file(current)
    if file_after is None and engine_of(current.warehouse).is_file:
        is_gone = file_before is not None or current.publication_record.exists()
        return f"Nothing was published{f', and {current.published} is gone' if is_gone else ''}."
    if file_after != file_before:
        return f"This run has published nothing, but another process has changed {current.published}."
    return "Nothing that was published has changed."


def _published_file(current: Settings) -> tuple[int, int] | None:
    """Return the inode and the time of the file that readers open, or None if there is no such file."""
    try:
        status = current.published.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _ui(current: Settings, given_port: str) -> int:
    from orchestration.commands.before_ui import claim, refuse_source, ui_port
    from orchestration.commands.runs import open_instance, reconcile
    from orchestration.ui import report_server
    from store.artifacts import ArtifactStore

    port = ui_port(current, given_port)
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
    listen_options = ["--host", "127.0.0.1", "--port", str(port)]
    return foreground.run(
        [sys.executable, "-m", "orchestration.ui.webserver", "dev", "--workspace", "workspace.yaml", *listen_options],
        PROJECT,
        keep=lock,
    )


def end_quietly() -> None:
    """Discard later output: at the end of the process, DuckDB lists its objects that failed steps still hold."""
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


if __name__ == "__main__":
    # the function that is registered first is called last
    atexit.register(end_quietly)
    sys.exit(main())
