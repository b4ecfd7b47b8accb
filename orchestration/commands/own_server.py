"""The PostgreSQL server of Leadline's own: its programs come from a wheel, its files and its password lie in the home.

Whoever does not own the home can neither enter the folder of its socket nor log in. What the wheel itself would start
lets everybody log in, and opens the folders above the home to everybody.
"""

import atexit
import fcntl
import json
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

from models.artifacts import set_aside
from orchestration.commands.server_programs import (
    HERE,
    PORT,
    SYSTEM_USER,
    VERSION,
    as_whom,
    fits,
    not_started,
    place_of,
    programs_of_server,
    remove_sockets,
    run,
    short_folder,
)
from store.places import OWN_SERVER, SettingError, database_address
from store.settings import Settings
from store.warehouse.postgres.engine import PostgresConnection
from store.warehouse.postgres.marts import OTHER_DATABASES, confined

DATABASE = "leadline"

SUPERUSER = "postgres"

LOGINS = """# Leadline writes this file at every start of the server.
local all all scram-sha-256
"""
"""``pg_hba.conf``: who may log in, and how."""

USERS = ".handle_pids.json"
"""The file of the processes that need the server, named as the wheel named it in earlier versions of Leadline."""

PATIENCE_SECONDS = 120
"""How long a server may take to start, after a crash for instance, and to end."""


class Server:
    """The server of a home.

    Parameters
    ----------
    home : Path
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self.data = home / "postgres"
        self.password_file = home / "postgres_password"
        self._users_file = self.data / USERS
        self._said_file = self.data / "postmaster.pid"
        self._process: subprocess.Popen[Any] | None = None

    def start(self) -> None:
        """Start the server unless it runs; it is kept until `leave`, or until this process is gone.

        Raises
        ------
        SettingError
            If it does not start.
        """
        self._home.mkdir(mode=0o700, exist_ok=True)
        if self.data.exists() and not self.data.is_dir():
            found = f"{self.data}: expected the folder of a PostgreSQL server, or nothing, found a file"
            raise SettingError(f"{found}. Move it away, and bring the folder back from a backup, or run again.")
        with self._alone():
            users, running = self._users(), self.process_id
            if running is not None and not self._asks_for_a_password():
                if users:
                    raise SettingError(
                        f"LEADLINE_WAREHOUSE={OWN_SERVER}: expected a server of {self.data} that asks for a password, "
                        f"found one that an earlier version of Leadline has started, or whose {self.password_file} is "
                        f"gone, and that processes {', '.join(map(str, users))} use. End them (`make ui`, `make run`), "
                        "and run the same command again."
                    )
                self._stop(running)
                running = None
            began = 0
            if running is None:
                running, began = self._launch()
            self._wait_until_ready(running, began)
            self._own_file(USERS, json.dumps([*users, os.getpid()]), self._account())

    def leave(self) -> None:
        """Say that this process needs the server no more; it stops with the last one."""
        if not self._users_file.exists():
            return
        with self._alone():
            users = self._users()
            if os.getpid() not in users:
                return
            left = [each for each in users if each != os.getpid()]
            self._own_file(USERS, json.dumps(left), self._account())
            running = self.process_id
            if not left and running is not None:
                self._stop(running)

    def prepare_database(self) -> None:
        """Make the database of the warehouse, and keep readers in it and to its published tables."""
        with self._alone():
            with closing(PostgresConnection(self.address(SUPERUSER))) as connection:
                if connection.execute("select 1 from pg_database where datname = $1", [DATABASE]).fetchone() is None:
                    connection.execute(f"create database {DATABASE}")
                for statement in OTHER_DATABASES:
                    connection.execute(statement)
            with closing(PostgresConnection(self.address())) as connection:
                for statement in confined(DATABASE):
                    connection.execute(statement)

    @property
    def process_id(self) -> int | None:
        """The process of the server, if it runs; it has started all others of the server."""
        if not (said := self._said()) or not said[0].isdecimal():
            return None
        process_id = int(said[0])
        # it may end meanwhile
        with suppress(psutil.Error, FileNotFoundError):
            written = self._said_file.stat().st_mtime
            if _runs_since_before(process_id, written) and psutil.Process(process_id).name() == "postgres":
                return process_id
        return None

    def address(self, database: str = DATABASE) -> str:
        """Return the address of a database of the running server, with the password."""
        return self._address(database, f":{self._password()}@", "")

    def shown_address(self, database: str = DATABASE) -> str:
        """Return the address of a database for clients of libpq, with the file of the password in its place."""
        return self._address(database, "@", f"&passfile={quote(str(self.password_file))}")

    def _address(self, database: str, password: str, more: str) -> str:
        sockets = Path(self._said()[4])
        host = self.data if sockets == HERE else sockets
        return f"postgresql://{SUPERUSER}{password}/{database}?host={quote(str(host))}&port={PORT}{more}"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one process at a time start or stop the server; the password is there meanwhile."""
        if self.password_file.is_symlink() or self.password_file.is_dir():
            set_aside(self.password_file)
        opened = os.open(self.password_file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with os.fdopen(opened, "r+", encoding="utf-8") as file:
            os.fchmod(opened, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _password(self) -> str | None:
        text = self.password_file.read_text(encoding="utf-8", errors="replace")
        found = re.fullmatch(rf"\*:\*:\*:{SUPERUSER}:([0-9a-f]{{64}})\n", text)
        return None if found is None else found[1]

    def _asks_for_a_password(self) -> bool:
        """Say whether a running server was started by `_launch`, which writes who may log in before."""
        logins = self.data / "pg_hba.conf"
        return self._password() is not None and logins.exists() and logins.read_text(encoding="utf-8") == LOGINS

    def _users(self) -> list[int]:
        """Return the processes that need the server, without those that were killed.

        A process that began after the list was last written has only the same number.
        """
        try:
            written = self._users_file.stat().st_mtime
            listed = json.loads(self._users_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, IsADirectoryError, ValueError, RecursionError):
            return []
        numbers = [each for each in listed if isinstance(each, int)] if isinstance(listed, list) else []
        return [each for each in numbers if _runs_since_before(each, written)]

    def _said(self) -> list[str]:
        """Return what the server says of itself: process, folder, start, port, folder of the socket, …, status."""
        try:
            return self._said_file.read_text(encoding="utf-8").splitlines()
        except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError):
            return []

    def _launch(self) -> tuple[int, int]:
        """Start the server; returns its process, and where in the log it begins."""
        account = self._account()
        programs = programs_of_server()
        for left in self._said()[4:5]:
            # of a server that was killed
            remove_sockets(Path(left))
        if self._said_file.exists() and not "".join(self._said()[:1]).isdecimal():
            # a crash has left it empty or damaged, with which no server starts
            set_aside(self._said_file)
        if self._password() is None:
            # no link takes the secret elsewhere
            with os.fdopen(os.open(self.password_file, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW), "w") as file:
                file.write(f"*:*:*:{SUPERUSER}:{secrets.token_hex(32)}\n")
        if not (self.data / "PG_VERSION").exists():
            self._initialize(programs, account)
        self._refuse_other_version()
        if account is not None and self.data.stat().st_uid == 0:
            # a copy that root has made
            for path in (*sorted(self.data.rglob("*"), reverse=True), self.data):
                os.chown(path, *account, follow_symlinks=False)
        place = place_of(self.data, account)
        run(
            [programs / "postgres", "--single", "-D", place, "-c", "password_encryption=scram-sha-256", SUPERUSER],
            self.data,
            account,
            f"alter role {SUPERUSER} password '{self._password()}'\n",
        )
        self._own_file("pg_hba.conf", LOGINS, account)
        sockets = place if fits(self.data) else short_folder(self.data, account)
        quoted = str(sockets).replace('"', '""')
        configured = {
            "hba_file": place / "pg_hba.conf",
            "listen_addresses": "",
            "unix_socket_directories": f'"{quoted}"',
            "unix_socket_permissions": "0700",
        }
        command = [str(programs / "postgres"), "-D", str(place), "-p", PORT]
        command += [word for name, value in configured.items() for word in ("-c", f"{name}={value}")]
        try:
            log = os.open(self.data / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise not_started(f"that its log cannot be written: {error.strerror}", self.data) from None
        try:
            if account is not None:
                os.fchown(log, *account)
            began = os.fstat(log).st_size
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                **as_whom(self.data, account),
            )  # fmt: skip
        finally:
            os.close(log)
        self._process = process
        return process.pid, began

    def _wait_until_ready(self, process_id: int, began: int) -> None:
        for _ in range(20 * PATIENCE_SECONDS):
            said = self._said()
            if len(said) > 7 and said[0] == str(process_id) and said[7].strip() == "ready":
                return
            if not _runs_since_before(process_id, time.time()):
                break
            time.sleep(0.05)
        with (self.data / "log").open("rb") as log:
            log.seek(began)
            lines = log.read().decode(errors="replace").splitlines()
        late = f"that it was not ready within {PATIENCE_SECONDS} seconds"
        raise not_started("; ".join(lines[-5:]) or late, self.data)

    def _stop(self, process_id: int) -> None:
        """End the server at once; transactions that are open are undone."""
        sockets = [Path(each) for each in self._said()[4:5]]
        for number in (signal.SIGINT, signal.SIGQUIT):
            with suppress(ProcessLookupError):
                os.kill(process_id, number)
            for _ in range(20 * PATIENCE_SECONDS):
                if self._process is not None:
                    self._process.poll()
                if not _runs_since_before(process_id, time.time()):
                    for each in sockets:
                        remove_sockets(each)
                    return
                time.sleep(0.05)

    def _initialize(self, programs: Path, account: tuple[int, int] | None) -> None:
        """Make the files, all of them or none."""
        unfinished = self.data.with_name(f"{self.data.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if account is not None:
            os.chown(unfinished, *account)
        # nobody logs in before there is a password
        made = ["--auth=reject", "--encoding=utf8", "-U", SUPERUSER, "-D", place_of(unfinished, account)]
        run([programs / "initdb", *made], unfinished, account)
        try:
            unfinished.rename(self.data)
        except OSError:
            raise SettingError(
                f"{self.data}: expected the files of a PostgreSQL server, or no such folder, found one without "
                "PG_VERSION. Move it away, and run the same command again."
            ) from None

    def _refuse_other_version(self) -> None:
        found = (self.data / "PG_VERSION").read_text(encoding="utf-8", errors="replace").strip()
        if not found.isdecimal():
            raise SettingError(
                f"{self.data / 'PG_VERSION'}: expected the version of the PostgreSQL that made this folder, found a "
                f"damaged file. Write {VERSION} into it, or bring it back from a backup."
            )
        if found != VERSION:
            raise SettingError(
                f"{self.data}: expected the files of a PostgreSQL {VERSION}, found those of a PostgreSQL {found}. Give "
                "another home (HOME_DIR=<folder> with make, else LEADLINE_HOME)."
            )

    def _own_file(self, name: str, text: str, account: tuple[int, int] | None) -> None:
        # a new file in place of the old one: whoever the server runs as may have put a link there
        beside, path = self.data / f".{name}.{os.getpid()}", self.data / name
        # of a process of the same number that was killed
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            if account is not None:
                os.fchown(file.fileno(), *account)
        if path.is_dir():
            set_aside(path)
        beside.replace(path)

    def _account(self) -> tuple[int, int] | None:
        """Return user and group as which the server runs, where that is not who starts it."""
        if os.geteuid() != 0:
            return None
        if self.data.exists() and (owner := self.data.stat()).st_uid != 0:
            return owner.st_uid, owner.st_gid
        try:
            found = pwd.getpwnam(SYSTEM_USER)
        except KeyError:
            command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
            try:
                subprocess.run(command, check=True, capture_output=True, text=True)
            except (OSError, subprocess.CalledProcessError) as error:
                said = str(getattr(error, "stderr", "") or error).strip()
                raise SettingError(
                    f"LEADLINE_WAREHOUSE={OWN_SERVER}: expected a user {SYSTEM_USER}, as whom root has PostgreSQL run, "
                    f"found none, and it cannot be made: {said}. Make it, or run Leadline as another user than root."
                ) from None
            found = pwd.getpwnam(SYSTEM_USER)
        return found.pw_uid, found.pw_gid


def started(chosen: Settings) -> Settings:
    """Start the server that the settings ask for, and return them with its address.

    It listens on a Unix socket alone, and stops with the last process that asked for it. Where that was killed, it
    stops with the next.

    Raises
    ------
    SettingError
        If it does not start.
    """
    server = Server(chosen.home)
    server.start()
    atexit.register(_left, server)
    server.prepare_database()
    address = database_address("LEADLINE_WAREHOUSE", server.address(), {})
    storage = address if chosen.dagster_storage == OWN_SERVER else chosen.dagster_storage
    return replace(chosen, warehouse=address, dagster_storage=storage)


def _left(server: Server) -> None:
    # where the list of its processes cannot be written, the next command sees that this one is gone
    with suppress(OSError):
        server.leave()


def _runs_since_before(process_id: int, moment: float) -> bool:
    try:
        process = psutil.Process(process_id)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= moment
    except psutil.NoSuchProcess:
        return False
