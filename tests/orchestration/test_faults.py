"""What a terminal is told when a command ends in an error: a sentence, no traceback, and no password."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from dagster_shared.error import SerializableErrorInfo

from orchestration.__main__ import main
from orchestration.commands import runs
from orchestration.commands.server_programs import NotStartedError
from store.home import refuse_other_warehouse
from store.ledger.champions import ChampionMismatchError
from store.publishing.publications import Publication
from store.settings import settings, shown
from store.warehouse.postgres import engine
from tests.homes import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ADDRESS = "postgresql://rep:open%20sesame@127.0.0.1:1/crm"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LEADLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LEADLINE_SOURCE", ADDRESS)
    monkeypatch.setenv("PGPASSWORD", "of-the-environment")
    return tmp_path / "home"


def test_an_error_that_nobody_expected_is_one_sentence_and_the_log_has_the_rest(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> None:
        raise KeyError("no such thing at open sesame, of-the-environment")

    monkeypatch.setattr(runs, "run_job", fails)
    assert main(["run"]) == 1

    out, err = capsys.readouterr()
    log = home / "errors.log"
    assert out == ""
    assert err.endswith(
        f"\n\nExpected no error, found KeyError: 'no such thing at ***, ***'. The rest is in {log}.\n\nThe run has "
        "ended. Nothing was published. To go on, run the same command again: it completes the work.\n"
    )
    kept = log.read_text()
    assert "Traceback (most recent call last)" in kept
    assert "in fails" in kept
    assert "sesame" not in kept + err
    assert "of-the-environment" not in kept + err


ENDS = """
import atexit, ctypes, sys
import duckdb
from orchestration.__main__ import end_quietly
{}
atexit.register(sys.stderr.write, "last")
ctypes.pythonapi.Py_IncRef(ctypes.py_object(duckdb.connect()))
"""


def test_nothing_is_written_after_the_last_sentence() -> None:
    first, then = (
        subprocess.run(
            [sys.executable, "-c", ENDS.format(each)], cwd=REPOSITORY, capture_output=True, text=True, check=True
        ).stderr
        for each in ("", "atexit.register(end_quietly)")
    )
    assert "leaked" in first, "DuckDB writes no more: this is not needed any more"
    assert then == "last"


SILENT = "postgresql://me:of-the-environment@127.0.0.1:1/leadline"


def test_a_warehouse_that_does_not_answer_is_not_remembered(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LEADLINE_WAREHOUSE", SILENT)
    monkeypatch.setattr(engine, "ATTEMPTS", 1)
    assert main(["run"]) == 1
    said = capsys.readouterr().err
    assert "127.0.0.1:1/leadline: expected a PostgreSQL database that answers" in said
    assert "of-the-environment" not in said
    monkeypatch.setenv("LEADLINE_WAREHOUSE", "")
    refuse_other_warehouse(settings())


def test_a_storage_of_dagster_that_does_not_answer_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LEADLINE_DAGSTER_STORAGE", SILENT)
    assert main(["run"]) == 1
    said = capsys.readouterr().err
    assert (
        "\nLEADLINE_DAGSTER_STORAGE: expected a PostgreSQL database that answers, found "
        "postgresql://me:***@127.0.0.1:1/leadline (" in said
    )
    assert "Correct the address, start the server, or unset the variable" in said
    assert "of-the-environment" not in said


@pytest.mark.parametrize("lost", [False, True])
def test_a_run_whose_champion_does_not_load_ends_with_what_to_do(
    lost: bool, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = runs.Outcome(run_id="r1", failure="scores__conversion: it fails", interrupted=False, lost_champion=lost)
    monkeypatch.setattr(runs, "run_job", lambda *_: ended)
    assert main(["run", "--job", "score_leads"]) == 1
    *_, log, _, last = ["", *capsys.readouterr().err.splitlines()]
    if lost:
        assert log.startswith("Nothing was published. The run's log: `make ui ")
        assert last == (
            f"A champion does not load, so nothing was scored: `make run SOURCE=… HOME_DIR={home}` trains anew, and "
            "the published scores are unchanged until then."
        )
    else:
        assert last.endswith("run r1; when the cause is mended, run the same command again: it completes the work.")


def test_a_cause_that_is_a_champion_that_does_not_load_is_found() -> None:
    def error(name: str, cause: SerializableErrorInfo | None = None) -> SerializableErrorInfo:
        return SerializableErrorInfo(message="", stack=[], cls_name=name, cause=cause)

    lost = error("DagsterExecutionStepExecutionError", error(ChampionMismatchError.__name__, error("KeyError")))
    assert runs.lost_champion([None, error("KeyError"), lost])
    assert not runs.lost_champion([None, error("ArtifactMismatchError")])


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "expected room to write, found a full disk ([Errno 28] No space left on device)."),
        (errno.EROFS, "expected files that this user can write, found that some cannot be ([Errno 30] Read-only file"),
        (errno.EACCES, "expected files that this user can write, found that some cannot be ([Errno 13] Permission"),
    ],
)
def test_a_home_that_cannot_be_written_says_so(
    number: int, words: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    # before a run, in it, and where the home itself is made
    monkeypatch.setattr("orchestration.__main__._with_server", fails)
    assert main(["run"]) == 1
    monkeypatch.undo()
    monkeypatch.setenv("LEADLINE_HOME", str(home))
    monkeypatch.setattr("store.home.replace_file", fails)
    assert main(["run"]) == 2

    first, second = (each for each in capsys.readouterr().err.splitlines() if each)
    for said in (first, second):
        assert said.startswith(f"{home}: {words}")


@pytest.mark.parametrize(
    ("there", "happens", "said"),
    [
        (False, lambda _: None, "Nothing was published."),
        (True, lambda _: None, "Nothing that was published has changed."),
        (True, lambda path: path.unlink(), "Nothing was published, and {path} is gone."),
        (True, lambda path: os.utime(path, (0, 0)), "This run has published nothing, but another process has changed "),
        (True, lambda path: _publication(path).reached_readers(), "The new scores were published before that."),
        # nobody has to have had one before
        (False, lambda path: _publication(path).reached_readers(), "The new scores were published before that."),
    ],
)
def test_what_is_published_by_a_run_that_breaks_off_is_said(
    there: bool, happens: Callable[[Path], None], said: str, home: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    published = home / "published" / "leadline.duckdb"
    published.parent.mkdir(parents=True)
    if there:
        published.write_text("old")

    def fails(*_: object) -> None:
        happens(published)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(runs, "run_job", fails)
    main(["run"])
    assert f"The run has ended. {said.format(path=published)}" in capsys.readouterr().err


def _publication(published: Path) -> Publication:
    return Publication(path=str(published), record=str(published.parents[1] / "publication.json"))


def test_an_interruption_before_a_run_is_no_traceback(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("orchestration.__main__._with_server", interrupted)
    assert main(["run"]) == 130
    assert capsys.readouterr().err == "\nInterrupted. Nothing was run.\n"


def test_a_server_that_does_not_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the command tells it."""
    home = tmp_path / "home"
    monkeypatch.setenv("LEADLINE_HOME", str(home))
    monkeypatch.setenv("LEADLINE_WAREHOUSE", "postgres")
    said = "LOG:  starting; 2026 FATAL:  could not load /a/pg_hba.conf"

    def fails(_: object) -> None:
        raise NotStartedError(f"expected a PostgreSQL server that starts, found {said}.")

    monkeypatch.setattr("orchestration.commands.own_server.Server.start", fails)
    assert main(["run"]) == 2
    assert (
        f"{home}/postgres: expected the files of a PostgreSQL server, found that no server starts on them (could not "
        f"load /a/pg_hba.conf). {home}/postgres/log says more. Bring the folder back from a backup; or move it away "
    ) in capsys.readouterr().err
    assert "NotStartedError" in (home / "errors.log").read_text()
    said = 'PANIC:  could not write to file "pg_wal/x": No space left on device'
    assert main(["run"]) == 2
    assert "found a full disk" in capsys.readouterr().err
    said = "programs that the user pgserver may not run"
    assert main(["run"]) == 2
    assert "Bring the folder back" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://rep:open%20sesame@h/crm",
        "postgresql://h/crm?user=rep&password=open%20sesame",
        "postgres://rep:open%20sesame@h:5432/crm?sslmode=prefer",
    ],
)
def test_a_password_is_not_shown_however_it_is_written(address: str) -> None:
    for text in ("failed for open sesame", "failed for open%20sesame"):
        assert shown(text, {"LEADLINE_WAREHOUSE": address}) == "failed for ***"
