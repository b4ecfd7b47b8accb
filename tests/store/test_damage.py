"""Files of a home that are damaged: what can be rebuilt counts as missing, the rest is named with what to do."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import duckdb
import pytest

from models.artifacts import ArtifactMismatchError, read_manifest, write_manifest
from store.faults import WarehouseDamagedError, explained
from store.features.certificates import CompiledSql, UnprovedError
from store.features.compiled import Build, NotCompiledError, read, write
from store.home import refuse_other_warehouse
from store.places import SettingError
from store.publishing.publications import Record
from store.publishing.publications import read as read_record
from store.publishing.publications import write as write_record
from store.settings import settings
from store.source.extract import noted
from store.source.loading.load import open_warehouse
from store.warehouse.connection import Model
from store.warehouse.engine import Standing
from store.warehouse.warehouse import Warehouse

if TYPE_CHECKING:
    from collections.abc import Callable

AS_OF = datetime(2026, 1, 1, tzinfo=UTC)
VIEW = "lead_features"
BUILD = Build(
    variables={"as_of": AS_OF.isoformat()},
    models=(Model(name=VIEW, schema="features", materialized="table", sql="select 1"),),
)
HOME = Path("/a/home")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "found").write_text("here")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut": cut,
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(Random(1).randbytes(path.stat().st_size)),
    "missing": Path.unlink,
    "a folder": folder,
    "other JSON": lambda path: path.write_text("[]"),
    "an empty object": lambda path: path.write_text("{}"),
    "deep": lambda path: path.write_text("[" * 100_000),
}


@pytest.fixture(params=DAMAGES)
def damage(request: pytest.FixtureRequest) -> Callable[[Path], object]:
    return DAMAGES[request.param]


def test_what_was_compiled_and_proved_is_made_again(damage: Callable[[Path], object], tmp_path: Path) -> None:
    compiled = CompiledSql(root=str(tmp_path))
    said = json.dumps({"passed": True, "accepted": False, "as_of": AS_OF.isoformat(), "sql_sha256": BUILD.sha256})
    write(compiled.path, BUILD)
    compiled.certify(VIEW, said)
    compiled.require_proof(VIEW, AS_OF)

    damage(tmp_path / f"{VIEW}_point_in_time.json")
    assert compiled.certificate(VIEW, AS_OF) is None
    with pytest.raises(UnprovedError, match="found none of the last build"):
        compiled.require_proof(VIEW, AS_OF)
    compiled.certify(VIEW, said)
    compiled.require_proof(VIEW, AS_OF)

    damage(compiled.path)
    assert not compiled.has(AS_OF)
    assert compiled.certificate(VIEW, AS_OF) is None
    with pytest.raises(NotCompiledError, match=r"expected the SQL of the last build .*, found .*\. Materialize "):
        compiled.build(AS_OF)
    compiled.keep(_target(tmp_path), BUILD.variables)
    assert read(compiled.path).variables == BUILD.variables
    assert compiled.certificate(VIEW, AS_OF) is None, "other rows may have been built"


def test_a_file_in_the_place_of_a_folder_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "compiled").write_text("no folder")
    compiled = CompiledSql(root=str(tmp_path / "compiled"))
    assert not compiled.has(AS_OF)
    compiled.keep(_target(tmp_path), BUILD.variables)
    assert compiled.has(AS_OF)
    assert (tmp_path / "compiled.damaged-1").read_text() == "no folder"


def _target(folder: Path) -> Path:
    """Return the folder of an invocation of dbt that has built nothing."""
    (folder / "manifest.json").write_text(json.dumps({"nodes": {}, "macros": {}}))
    (folder / "run_results.json").write_text(json.dumps({"results": []}))
    return folder


def test_what_a_home_remembers_of_its_publication(damage: Callable[[Path], object], tmp_path: Path) -> None:
    path, record = tmp_path / "publication.json", Record(standing=Standing(rows={"lead_scores": 7}))
    write_record(path, record)
    damage(path)
    assert read_record(path) is None
    write_record(path, record)
    assert read_record(path) == record


def test_what_was_accepted_of_an_extraction_that_was_killed(damage: Callable[[Path], object], tmp_path: Path) -> None:
    note = tmp_path / "accepted.json"
    note.write_text(json.dumps({"load_number": 3, "accepted": ["It is meant."]}))
    assert (noted(note, 3), noted(note, 4)) == (["It is meant."], [])
    damage(note)
    cannot = [f"A person accepted findings of an extraction that was killed; they are lost, as {note} is damaged."]
    assert noted(note, 3) == (cannot if note.exists() else [])


def test_a_manifest_is_no_manifest(damage: Callable[[Path], object], tmp_path: Path) -> None:
    (tmp_path / "rows").write_text("1")
    write_manifest(tmp_path, {"rows": 1})
    damage(tmp_path / "manifest.json")
    with pytest.raises(
        ArtifactMismatchError, match=f"manifest.json: expected a readable manifest, found .*; remove {tmp_path}"
    ):
        read_manifest(tmp_path)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a DuckDB file of several blocks."""
    path = tmp_path_factory.mktemp("stored") / "warehouse.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "create schema raw; create table raw.leads as select md5(i::text) as a from range(50000) r(i)"
        )
    return path


@pytest.mark.parametrize(
    ("damaged", "said"),
    [
        pytest.param(cut, "Could not read enough bytes from file", id="cut"),
        pytest.param(DAMAGES["garbage"], "it is not a valid DuckDB database file", id="garbage"),
        pytest.param(folder, "Is a directory", id="a folder"),
        pytest.param(lambda path: _overwrite(path, 0.5), "Corrupt database file", id="a block"),
        pytest.param(lambda path: _overwrite(path, 0), "it is not a valid DuckDB database file", id="its beginning"),
        pytest.param(lambda path: _logged(path, lambda log: _overwrite(log, 0)), "not begin as one", id="its log"),
        pytest.param(lambda path: _logged(path, _zeroed), "not begin as one", id="the beginning of its log"),
        pytest.param(lambda path: _piped(path), "but a pipe or a device", id="a pipe"),
        pytest.param(lambda path: _of_another(path), "WAL does not match database file", id="a log of another one"),
    ],
)
def test_a_damaged_warehouse_says_what_comes_back(
    damaged: Callable[[Path], object], said: str, stored: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copy(stored, tmp_path))
    damaged(path)
    warehouse = Warehouse(address=f"duckdb:{path}")

    with pytest.raises(WarehouseDamagedError) as caught, warehouse.connect() as connection:
        connection.execute("select max(a) from raw.leads").fetchall()

    message = str(caught.value)
    assert message.startswith(f"{path}: expected the warehouse, found that it is damaged (")
    assert said in message
    assert "Bring it back from a backup" in message
    assert len(message.splitlines()) == 1
    if "not a valid" in said:
        with (
            duckdb.connect() as scratch,
            pytest.raises(WarehouseDamagedError),
            open_warehouse(warehouse.address).known(scratch, {}),
        ):
            pass


def _overwrite(path: Path, share: float) -> None:
    with path.open("r+b") as file:
        file.seek(int(path.stat().st_size * share))
        file.write(Random(1).randbytes(300_000))


def _logged(path: Path, damage: Callable[[Path], object]) -> None:
    """Leave a log, as a process does that is killed, and damage it."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("pragma disable_checkpoint_on_shutdown; insert into raw.leads values ('b')")
    damage(path.with_name(f"{path.name}.wal"))


def _zeroed(log: Path) -> None:
    log.write_bytes(bytes(64) + log.read_bytes()[64:])


def _piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _of_another(path: Path) -> None:
    other = path.with_name("other.duckdb")
    with duckdb.connect(str(other)) as connection:
        connection.execute(
            "pragma disable_checkpoint_on_shutdown; create table a as select 1 as b; insert into a values (2)"
        )
    shutil.copy(f"{other}.wal", f"{path}.wal")


@pytest.mark.parametrize(
    "text",
    [
        "OSError: [Errno 28] No space left on device: '/a/home/artifacts/x'",
        "sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) database or disk is full\n[SQL: INSERT]",
        '_duckdb.IOException: IO Error: Could not write file "/a/home/warehouse.duckdb": No space left on device',
    ],
)
def test_a_full_disk_is_one_sentence(text: str) -> None:
    said = explained(text, HOME)
    assert said is not None
    assert said.startswith("/a/home: expected room to write, found a full disk (")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    "text",
    [
        'psycopg2.errors.DiskFull: could not extend file "base/16384/1": No space left on device\nHINT: Free some.',
        f"IO: [libpq] Failed to execute query 'select {'a, ' * 200}': ERROR:  could not extend file \"base/16384/1\": "
        "No space left on device",
    ],
)
def test_a_full_disk_of_a_database_is_not_that_of_the_home(text: str) -> None:
    assert str(explained(text, HOME)).startswith(
        'expected room to write where the database lies, found a full disk (could not extend file "base/16384/1": No '
    )


def test_a_full_disk_of_another_folder_is_not_that_of_the_home() -> None:
    text = 'IO Error: Could not write file "/srv/leads/.leadline.duckdb.unfinished": No space left on device'
    assert str(explained(text, HOME)).startswith("/srv/leads: expected room to write, found a full disk (")


@pytest.mark.parametrize(
    ("text", "room", "words"),
    [
        ("(sqlite3.OperationalError) disk I/O error", 0, "found a full disk"),
        ("(sqlite3.OperationalError) disk I/O error", 2**30, None),
        ("OSError: [Errno 30] Read-only file system: '/a/home/x'", 0, "expected files that this user can write"),
        ("(sqlite3.OperationalError) attempt to write a readonly database", None, "expected files that this user"),
        ("PermissionError: [Errno 13] Permission denied: '/a/home/x'", None, "expected files that this user can write"),
        (
            "PermissionError: [Errno 13] Permission denied: '/crm/leads.csv'",
            None,
            "/crm/leads.csv: expected a file that",
        ),
        ("permission denied for schema raw", None, None),
        ("(sqlite3.OperationalError) unable to open database file", None, "/a/home/dagster: expected databases of"),
        ("(sqlite3.DatabaseError) database disk image is malformed", None, "Run the same command again"),
        ("ValueError: expected a disk of 28 inches", None, None),
    ],
)
def test_what_else_the_machine_says(text: str, room: int | None, words: str | None) -> None:
    said = explained(text, HOME, room)
    assert said is None if words is None else words in str(said)


@pytest.mark.parametrize("how", ["cut", "empty", "garbage", "a folder"])
def test_a_home_knows_a_warehouse_that_lies_in_it(how: str, tmp_path: Path) -> None:
    own = settings({"LEADLINE_HOME": str(tmp_path)})
    own.belonging.write_text("duckdb:warehouse.duckdb\n")
    DAMAGES[how](own.belonging)
    other = settings({"LEADLINE_HOME": str(tmp_path), "LEADLINE_WAREHOUSE": "postgresql://a:secret@b/c"})

    for chosen in (own, other):
        with pytest.raises(SettingError) as caught:
            refuse_other_warehouse(chosen)
        assert str(caught.value) == (
            f"{own.belonging}: expected the warehouse of the home {tmp_path}, found a damaged file. Write "
            f"{chosen.warehouse_of_home} into it if that is the one that has filled this home; else give that one."
        )
        assert "secret" not in str(caught.value)
    Path(own.warehouse.removeprefix("duckdb:")).touch()
    refuse_other_warehouse(own)
    server = settings({"LEADLINE_HOME": str(tmp_path), "LEADLINE_WAREHOUSE": "postgres"})
    server.own_server.mkdir()
    (server.own_server / "PG_VERSION").touch()
    # before and after the server was started
    for started in (server, replace(server, warehouse=f"postgresql://postgres@/leadline?host={server.own_server}")):
        assert started.warehouse_of_home == "postgres"
        refuse_other_warehouse(started)
    with pytest.raises(SettingError):
        refuse_other_warehouse(other)
