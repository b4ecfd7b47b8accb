"""What `make ui` refuses before it starts: a second UI of a home, and a source with which no run would get far."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from orchestration.commands.before_ui import claim, refuse_source, ui_port
from orchestration.commands.runs import open_instance
from store.places import SettingError
from store.settings import Settings, settings
from tests.homes import PATIENCE, REPOSITORY, Home, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEEPING = """
import sys
from orchestration.commands.before_ui import claim
from orchestration.commands.foreground import run
from pathlib import Path
from store.settings import settings

lock = claim(settings(), "http://127.0.0.1:3010")
sys.exit(run([sys.executable, "-c", "print('ready', flush=True); input()"], Path.cwd(), keep=lock))
"""


@pytest.fixture
def current(tmp_path: Path) -> Settings:
    chosen = settings({"LEADLINE_HOME": str(tmp_path / "home")})
    chosen.dagster_home.mkdir(parents=True)
    return chosen


def test_a_folder_in_the_place_of_the_lock_is_set_aside(current: Settings) -> None:
    (current.dagster_home / "ui.lock").mkdir()
    assert claim(current, "http://127.0.0.1:3000")
    assert (current.dagster_home / "ui.lock.damaged-1").is_dir()


def test_a_home_has_one_ui_until_all_of_it_has_ended(current: Settings) -> None:
    environment = Home(current.home).environment()
    with subprocess.Popen(
        [sys.executable, "-c", KEEPING], cwd=REPOSITORY, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        with pytest.raises(SettingError) as caught:
            claim(current, "http://127.0.0.1:3000")
        assert str(caught.value).startswith(
            f"{current.home}: expected a home that no other UI serves, found one at http://127.0.0.1:3010, whose "
        )
        other.kill()
        # the program that it ran is told to end, and has the home until then
        assert other.stdout.read() == b""
    with suppress(SettingError):
        assert claim(current, "http://127.0.0.1:3000")
        assert (current.dagster_home / "ui.lock").read_text() == "http://127.0.0.1:3000\n"
        return
    pytest.fail("the lock of a UI that was killed is still there")


@pytest.mark.parametrize("given", ["99999", "0", "abc", ""])
def test_a_text_that_names_no_port_is_refused(current: Settings, given: str) -> None:
    with pytest.raises(SettingError, match=f"^PORT: expected a whole number of 1 or more and at most 65535, .*{given}"):
        ui_port(current, given)


def test_a_port_that_is_taken_is_refused(current: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        with pytest.raises(SettingError, match=f"^PORT: expected a port of this machine that is free, found {taken} "):
            ui_port(current, str(taken))
    assert ui_port(current, str(taken)) == taken
    reports = replace(current, reports_port=taken)
    with pytest.raises(SettingError, match=f"^PORT: expected another port than that of the reports, found {taken} "):
        ui_port(reports, str(taken))


@pytest.fixture
def instance(current: Settings) -> Iterator[dg.DagsterInstance]:
    with open_instance(current) as opened:
        yield opened


def refusal(instance: dg.DagsterInstance, home: Path, **given: str) -> str:
    with pytest.raises(SettingError) as caught:
        refuse_source(settings({"LEADLINE_HOME": str(home), **given}), instance)
    return str(caught.value)


def export(folder: Path, columns: str = "lead_id,created_at") -> str:
    folder.mkdir()
    for name, header in (
        ("leads", columns),
        ("interactions", "interaction_id,lead_id,type,direction,occurred_at"),
        ("appointments", "appointment_id,lead_id,booked_at,scheduled_at"),
        ("projects", "project_id,lead_id,value,status,proposed_at"),
    ):
        # no row is read
        (folder / f"{name}.csv").write_text(f"{header}\n{'?,' * 20}\n")
    return str(folder)


def test_a_source_or_a_mapping_that_cannot_be_read_is_refused(
    instance: dg.DagsterInstance, current: Settings, tmp_path: Path
) -> None:
    whole, lacking = export(tmp_path / "whole"), export(tmp_path / "lacking", "lead_id,source")
    refuse_source(settings({"LEADLINE_HOME": str(current.home), "LEADLINE_SOURCE": whole}), instance)
    # the simulated CRM is made by the first run
    refuse_source(current, instance)
    nowhere = refusal(instance, current.home, LEADLINE_SOURCE=str(tmp_path / "nowhere"))
    assert nowhere.startswith(f"source {tmp_path / 'nowhere'}: expected a folder of CSV or Parquet files")
    unknown = refusal(instance, current.home, LEADLINE_SOURCE=whole, LEADLINE_MAPPING="hubpot")
    assert unknown.startswith("mapping 'hubpot': expected a file or the name of a shipped mapping")
    assert "created_at" in refusal(instance, current.home, LEADLINE_SOURCE=lacking)


def test_another_source_than_that_of_the_last_run_is_refused_until_it_is_accepted(
    instance: dg.DagsterInstance, current: Settings, tmp_path: Path
) -> None:
    one, other = export(tmp_path / "one"), export(tmp_path / "other")

    @dg.asset(key=["crm", "leads"])
    def leads() -> dg.MaterializeResult[Any]:
        return dg.MaterializeResult(metadata={"source": one})

    assert dg.materialize([leads], instance=instance).success
    refuse_source(settings({"LEADLINE_HOME": str(current.home), "LEADLINE_SOURCE": one}), instance)
    said = f"{current.home}: expected the source that it was filled from, {one}, found "
    assert refusal(instance, current.home, LEADLINE_SOURCE=other).startswith(said + other)
    # a home of a folder, and none is named
    assert refusal(instance, current.home).startswith(said)
    accepted = {"LEADLINE_SOURCE": other, "LEADLINE_ACCEPT_NEW_SOURCE": "1"}
    refuse_source(settings({"LEADLINE_HOME": str(current.home), **accepted}), instance)


def test_a_database_that_does_not_answer_keeps_nobody_from_the_runs_of_a_filled_home(
    instance: dg.DagsterInstance, current: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    address = "postgresql://nobody@127.0.0.1:1/crm"
    assert "expected a PostgreSQL database that answers" in refusal(instance, current.home, LEADLINE_SOURCE=address)

    @dg.asset(key=["crm", "leads"])
    def leads() -> dg.MaterializeResult[Any]:
        return dg.MaterializeResult(metadata={"source": address})

    assert dg.materialize([leads], instance=instance).success
    capsys.readouterr()
    refuse_source(settings({"LEADLINE_HOME": str(current.home), "LEADLINE_SOURCE": address}), instance)
    assert "expected a PostgreSQL database that answers" in (warning := capsys.readouterr().err)
    assert "the UI opens and shows earlier runs" in warning


@pytest.mark.slow(5)
def test_the_command_says_so_and_starts_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", {"LEADLINE_SOURCE": str(tmp_path / "nowhere")})
    command = [sys.executable, "-m", "orchestration", "ui", "--port", str(free_port())]
    refused = subprocess.run(
        command, cwd=REPOSITORY, env=home.environment(), capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"source {tmp_path / 'nowhere'}: expected a folder of CSV or Parquet files")
    assert len(refused.stderr.splitlines()) == 1
