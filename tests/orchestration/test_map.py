"""`make map`: it writes one file, never over one, and asks at a terminal; a run finds it in the folder or the home."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from models.declared.registry import DECLARATIONS
from orchestration.commands.map import suggest_mapping
from store.places import SettingError
from store.settings import Settings, settings
from store.source.contract import SourceContractError
from store.source.opening import check_source
from store.source.suggesting.suggestion import NoMappingError
from store.warehouse.warehouse import Warehouse
from tests.homes import MEASURED, PATIENCE, REPOSITORY
from tests.postgres import database, execute

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEADS = "".join(f"L{n},2024-01-{n + 1:02} 09:00,0{n % 9 + 1}/0{n % 7 + 1}/2024\n" for n in range(28))
STATUSES = "".join(
    f"P{n},L{n},{('won', 'lost', 'open')[n % 3]},2024-02-{n + 1:02}\nQ{n},L{n},open,\n" for n in range(28)
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a source with two questions: the time zone, and whether a lost deal ends its lead."""
    (source := tmp_path / "crm").mkdir()
    (source / "leads.csv").write_text("lead_id,created_at,updated_at\n" + LEADS, encoding="utf-8")
    (source / "deals.csv").write_text("deal_id,lead_id,status,close_date\n" + STATUSES, encoding="utf-8")
    return source


@pytest.fixture
def current(tmp_path: Path, folder: Path) -> Settings:
    return settings({"LEADLINE_HOME": str(tmp_path / "home"), "LEADLINE_SOURCE": str(folder)})


def test_a_command_without_a_terminal_writes_one_file_and_never_over_one(folder: Path, tmp_path: Path) -> None:
    """What it takes without asking is said; a run reads the file; a second one changes nothing."""
    (folder / "leads.csv").write_text(
        "lead_id,created_at\nL1,2024-01-01 09:00\nL2,2024-01-02 09:00\n", encoding="utf-8"
    )

    environment = {"LEADLINE_SOURCE": str(folder), "LEADLINE_HOME": str(tmp_path / "home")}
    first = subprocess.run(
        [sys.executable, "-m", "orchestration", "map"],
        env={**MEASURED, **environment},
        cwd=REPOSITORY,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert first.returncode == 0, first.stderr
    assert f"written    {folder / 'mapping.yml'}" in first.stderr
    assert "not asked  In which time zone are the times that name none?" in first.stderr
    check_source(str(folder), None, DECLARATIONS)
    written = (folder / "mapping.yml").read_bytes()
    with pytest.raises(SourceContractError, match="which is never written over"):
        suggest_mapping(settings(environment), ask=False)
    assert (folder / "mapping.yml").read_bytes() == written


def test_at_a_terminal_it_asks(
    current: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An answer is a number or a word, no answer is the default, and what cannot be understood is asked again."""
    answers: Iterator[str] = iter(["", "9", "2", "europe/berlin"])
    monkeypatch.setattr("builtins.input", lambda: next(answers))
    assert suggest_mapping(current, ask=True) == 0
    asked = capsys.readouterr().err
    assert asked.count("what comes first in its dates?") == 2
    assert "Expected the number of an answer, found '9'." in asked
    text = (folder / "mapping.yml").read_text(encoding="utf-8")
    assert 'updated_at: "%m/%d/%Y"  # sure: as answered' in text
    assert "time_zone: Europe/Berlin  # sure: as answered" in text
    check_source(str(folder), None, DECLARATIONS)


def test_without_an_answer_that_is_needed_nothing_is_written(current: Settings, folder: Path) -> None:
    with pytest.raises(NoMappingError, match="what comes first in its dates"):
        suggest_mapping(current, ask=False)
    assert not (folder / "mapping.yml").exists()
    with pytest.raises(SettingError, match="The simulated CRM needs no mapping"):
        suggest_mapping(settings({"LEADLINE_HOME": str(current.home)}), ask=False)


def test_a_folder_that_is_closed_to_writing_has_its_mapping_in_the_home(
    current: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mapping in the folder comes before that in the home, and the home's is for no other source."""
    monkeypatch.setattr("builtins.input", lambda: "")
    folder.chmod(0o555)
    try:
        assert suggest_mapping(current, ask=True) == 0
    finally:
        folder.chmod(0o755)
    in_home = current.home / "mapping.yml"
    assert not (folder / "mapping.yml").exists()
    with pytest.raises(SourceContractError, match="table interactions"):
        check_source(str(folder), None, DECLARATIONS)
    check_source(str(folder), None, DECLARATIONS, in_home)
    with pytest.raises(
        SourceContractError, match=r"expected the source that this mapping is for, .*/crm, found .*/other"
    ):
        check_source(str(folder.rename(folder.with_name("other"))), None, DECLARATIONS, in_home)
    (folder.with_name("other") / "mapping.yml").write_text("name: own\nbased_on: nothing\n", encoding="utf-8")
    with pytest.raises(SourceContractError, match="'nothing'"):
        check_source(str(folder.with_name("other")), None, DECLARATIONS, in_home)


def test_of_a_large_table_some_rows_are_looked_at(
    tmp_path: Path, running: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys, deals per lead and what ends a lead come out as from all rows, and the file says how many were read."""
    monkeypatch.setattr("store.source.suggesting.scratch.MOST_ROWS", 1000)
    monkeypatch.setattr("store.source.suggesting.ends.MOST_ROWS", 1000)
    with database(running) as address:
        execute(
            Warehouse(address=address),
            "create table contacts as select n as id, timestamptz '2024-01-01' + n * interval '1 hour' as created_at "
            "from generate_series(1, 4000) n",
            "create table deals as select n as id, 1 + n % 2000 as contact_id, "
            "case n % 3 when 0 then 'won' when 1 then 'lost' else 'open' end as status, "
            "timestamptz '2024-01-05' + n % 2000 * interval '1 hour' as created_at, "
            "timestamptz '2024-02-05' + n % 2000 * interval '1 hour' as closed_at from generate_series(1, 4000) n",
            "create table calls as select n * 10 + k as id, n as contact_id, 'outbound' as direction, "
            "timestamptz '2024-01-01' + n * interval '1 hour' + k * interval '9 days' as called_at, "
            "case when k = 9 and n % 3 = 0 then 'not interested' when k % 2 = 0 then 'reached' else 'voicemail' end "
            "as outcome from generate_series(1, 4000) n, generate_series(0, 9) k",
        )
        current = settings({"LEADLINE_HOME": str(tmp_path / "home"), "LEADLINE_SOURCE": address})
        assert suggest_mapping(current, ask=False) == 0
        text = (current.home / "mapping.yml").read_text(encoding="utf-8")
    assert re.search(r"# - (9\d\d|1,0\d\d) of 40,000 rows of calls were looked at", text)
    assert "lead_id: contact_id  # sure: 100 % of its values are in contacts" in text
    # of the two deals of a lead, seldom both are read
    assert "What is a lead?" in text
    assert "outcomes: [not interested]  # sure: after 0 % of its" in text


def test_a_database_has_its_mapping_in_the_home(tmp_path: Path, running: str) -> None:
    """Its types are read as texts; a run with the same address, and another password, finds the file."""
    with database(running) as address, database(running) as other:
        execute(
            Warehouse(address=address),
            "create table contact (id int primary key, created timestamptz not null, email text)",
            "insert into contact select n, timestamptz '2024-01-01' + n * interval '1 day', 'p' || n || '@example.com' "
            "from generate_series(1, 50) n",
            "create table deal (id text primary key, contact int, stage text, amount numeric, closed date)",
            "insert into deal select 'D' || n, n, case n % 3 when 0 then 'Won' when 1 then 'Lost' else 'Demo' end, "
            "n * 10, case when n % 3 < 2 then date '2024-06-01' end from generate_series(1, 50) n",
        )
        current = settings({"LEADLINE_HOME": str(tmp_path / "home"), "LEADLINE_SOURCE": address})
        assert current.source is not None
        assert suggest_mapping(current, ask=False) == 0
        in_home = current.home / "mapping.yml"
        text = in_home.read_text(encoding="utf-8")
        assert "closed_at: closed" in text
        assert "Demo: open" in text
        assert "@example" not in text
        assert in_home.stat().st_mode & 0o077 == 0
        check_source(current.source, None, DECLARATIONS, in_home)
        with pytest.raises(SourceContractError, match="expected the source that this mapping is for"):
            check_source(other, None, DECLARATIONS, in_home)
