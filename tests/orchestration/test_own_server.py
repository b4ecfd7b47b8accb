"""The PostgreSQL server of Leadline's own: who can reach it, and how one of an earlier version gets its locks."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import psycopg2
import pytest

from orchestration.commands import own_server, server_programs
from orchestration.commands.own_server import LOGINS, Server, started
from store.places import SettingError
from store.settings import settings
from tests.postgres import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

OTHER_USER = 65534
CONNECT = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"


def of_another_user(path: Path) -> str:
    """Connect to a socket as another user of the machine; returns the error, or nothing where it connects."""
    # not the interpreter of the environment, which may lie where that user may not enter
    command = ["/usr/bin/env", "python3", "-c", CONNECT, str(path)]
    done = subprocess.run(
        command,
        cwd="/",
        user=OTHER_USER,
        group=OTHER_USER,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def query(address: str, sql: str = "select current_user") -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(address)) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def socket_of(server: Server) -> Path:
    return Path(psycopg2.extensions.parse_dsn(server.address())["host"]) / ".s.PGSQL.5432"


@pytest.fixture(scope="module")
def private() -> Iterator[Path]:
    """Return a private folder in an open one, where homes lie."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        (Path(folder) / "private").mkdir(mode=0o700)
        yield Path(folder) / "private"


@pytest.fixture(scope="module", params=["near", "far_" * 40], ids=["near", "far"])
def home(request: pytest.FixtureRequest, private: Path) -> Path:
    """Return a home whose path fits for a socket, or that was moved to one that is too long for it."""
    for before in private.iterdir():
        before.rename(private / request.param)
    return private / str(request.param)


@pytest.fixture
def server(home: Path) -> Iterator[Server]:
    with serving(home) as running:
        yield running


def test_nobody_gets_in_without_the_password_and_no_folder_is_opened(home: Path, server: Server) -> None:
    assert query(server.address("postgres")) == query(server.shown_address("postgres")) == [("postgres",)]
    with pytest.raises(psycopg2.OperationalError, match="no password supplied"):
        query(server.shown_address("postgres").partition("&passfile")[0])
    assert "passfile" in server.shown_address()
    assert server.password_file.read_text().strip().rpartition(":")[2] not in server.shown_address()
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (home.parent.parent, home.parent, home, server.data)}
    assert list(modes.values()) == [0o711, 0o700, 0o700, 0o700]
    assert stat.S_IMODE(server.password_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(socket_of(server).parent.stat().st_mode) == 0o700
    # nothing listens on a network
    assert server.process_id is not None
    assert psutil.Process(server.process_id).net_connections("inet") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can be another user")
def test_another_user_of_the_machine_cannot_reach_the_server(server: Server) -> None:
    import socket

    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listening:
        Path(folder).chmod(0o755)
        listening.bind(f"{folder}/open")
        listening.listen()
        Path(f"{folder}/open").chmod(0o777)
        if error := of_another_user(Path(folder) / "open"):
            pytest.skip(f"another user cannot run Python here: {error}")
    assert "Permission denied" in of_another_user(socket_of(server))
    assert psutil.Process(server.process_id).uids().effective not in (0, OTHER_USER)


def test_a_home_of_an_earlier_version_gets_its_locks_at_the_next_start(home: Path) -> None:
    with serving(home) as server:
        query(server.address("postgres"), "alter role postgres password null; select 1")
        # a server that lets everybody in, which an earlier version has started and uses
        (server.data / "pg_hba.conf").write_text("local all all trust\n")
        server.password_file.unlink()
        os.kill(server.process_id or 0, signal.SIGHUP)
        with pytest.raises(SettingError, match=rf"asks for a password, found one .* processes {os.getpid()} use"):
            Server(home).start()
        # whoever used it was killed
        (server.data / own_server.USERS).write_text(json.dumps([]))
        before = server.process_id
        Server(home).start()
        assert server.process_id != before
        assert (server.data / "pg_hba.conf").read_text() == LOGINS
        assert query(server.address("postgres")) == [("postgres",)]
        with pytest.raises(psycopg2.OperationalError, match="no password supplied"):
            query(server.shown_address("postgres").partition("&passfile")[0])


@pytest.mark.parametrize("home", ["far_" * 40], indirect=True)
def test_a_server_that_was_killed_starts_again_and_leaves_no_folder_behind(home: Path) -> None:
    server = Server(home)
    server.start()
    sockets = socket_of(server).parent
    killed = [psutil.Process(server.process_id), *psutil.Process(server.process_id).children()]
    for process in killed:
        process.kill()
    psutil.wait_procs(killed)
    # a password that is not that of the files, as where the home comes from a backup
    server.password_file.write_text("garbage")
    with serving(home) as again:
        assert query(again.address("postgres")) == [("postgres",)]
        last = socket_of(again).parent
        assert sockets == server.data or not sockets.exists()
    assert last == server.data or not last.exists()
    assert not (server.data / "postmaster.pid").exists()


@pytest.mark.parametrize("how", ["a link", "a folder"])
def test_the_password_is_written_into_the_home_alone(how: str, home: Path, tmp_path: Path) -> None:
    server, elsewhere = Server(home), tmp_path / "elsewhere"
    home.mkdir(mode=0o700, exist_ok=True)
    server.password_file.unlink(missing_ok=True)
    if how == "a link":
        server.password_file.symlink_to(elsewhere)
    else:
        server.password_file.mkdir()
    with serving(home) as again:
        assert query(again.address("postgres")) == [("postgres",)]
    assert not elsewhere.exists()
    assert stat.S_ISREG(server.password_file.lstat().st_mode)
    assert stat.S_IMODE(server.password_file.lstat().st_mode) == 0o600


def test_what_keeps_the_server_from_starting_is_said_in_one_sentence(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = settings({"LEADLINE_HOME": str(tmp_path), "LEADLINE_WAREHOUSE": "postgres"})
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(SettingError, match="expected the files of a PostgreSQL 18, found those of a PostgreSQL 16"):
        started(given)
    assert not (tmp_path / "postgres" / "postmaster.pid").exists()
    (tmp_path / "postgres" / "PG_VERSION").unlink()
    (tmp_path / "postgres").rmdir()
    (tmp_path / "postgres").write_text("")
    with pytest.raises(SettingError, match="expected the folder of a PostgreSQL server, or nothing, found a file"):
        started(given)
    with serving(home) as server:
        pass
    (server.data / "global" / "pg_control").rename(server.data / "kept")
    with pytest.raises(
        SettingError, match=r"expected a PostgreSQL server that starts .* found .*pg_control"
    ) as refused:
        Server(home).start()
    assert "\n" not in str(refused.value)
    (server.data / "kept").rename(server.data / "global" / "pg_control")
    # a folder for the socket that another user could replace is none
    if home.name != "near":
        monkeypatch.setattr(server_programs, "is_safe", lambda *_: False)
        with pytest.raises(SettingError, match="no folder for its socket"):
            Server(home).start()
