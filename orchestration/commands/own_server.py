"""Leadline's own PostgreSQL server: its programs come from a wheel, its files and its password lie in the home.

Users who do not own the home can neither enter the folder of the socket nor log in. The wheel's own start function is
not used, because it lets everybody log in and opens the folders above the home to everybody.
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
"""The content of ``pg_hba.conf``: everybody needs a password to log in."""

USERS = ".handle_pids.json"
"""The file that lists the processes which use the server, by its name in earlier versions of Leadline."""

PATIENCE_SECONDS = 120
"""The longest time that a server may take to start (after a crash, for instance), and to stop."""


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
        self._status_file = self.data / "postmaster.pid"
        self._process: subprocess.Popen[Any] | None = None

    def start(self) -> None:
        """Start the server unless it runs, and list this process as its user until `leave`.

        Raises
        ------
        SettingError
            If the server does not start.
        """
        self._home.mkdir(mode=0o700, exist_ok=True)
        if self.data.exists() and not self.data.is_dir():
            found = f"{self.data}: expected the folder of a PostgreSQL server, or nothing, found a file"
            raise SettingError(f"{found}. Move it away, and bring the folder back from a backup, or run again.")
        with self._locked():
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
            log_position = 0
            if running is None:
                running, log_position = self._launch()
            self._wait_until_ready(running, log_position)
            self._write_owned(USERS, json.dumps([*users, os.getpid()]), self._account())

    def leave(self) -> None:
        """Remove this process from the users of the server, and stop the server if there is no other user."""
        if not self._users_file.exists():
            return
        with self._locked():
            users = self._users()
            if os.getpid() not in users:
                return
            other_users = [each for each in users if each != os.getpid()]
            self._write_owned(USERS, json.dumps(other_users), self._account())
            running = self.process_id
            if not other_users and running is not None:
                self._stop(running)

    def prepare_database(self) -> None:
        """Make the database of the warehouse, and restrict readers to it and to its published tables."""
        with self._locked():
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
        """The id of the server's main process, or None if the server does not run."""
        if not (status := self._status()) or not status[0].isdecimal():
            return None
        process_id = int(status[0])
        # the process may end meanwhile
        with suppress(psutil.Error, FileNotFoundError):
            written = self._status_file.stat().st_mtime
            if _runs_since_before(process_id, written) and psutil.Process(process_id).name() == "postgres":
                return process_id
        return None

    def address(self, database: str = DATABASE) -> str:
        """Return the address of a database of the running server, with the password."""
        return self._address(database, f":{self._password()}@", "")

    def shown_address(self, database: str = DATABASE) -> str:
        """Return the address of a database for clients of libpq, with the file of the password instead of it."""
        return self._address(database, "@", f"&passfile={quote(str(self.password_file))}")

    def _address(self, database: str, password: str, suffix: str) -> str:
        sockets = Path(self._status()[4])
        host = self.data if sockets == HERE else sockets
        return f"postgresql://{SUPERUSER}{password}/{database}?host={quote(str(host))}&port={PORT}{suffix}"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the password file, which is made if missing: one process at a time starts or stops the server."""
        if self.password_file.is_symlink() or self.password_file.is_dir():
            set_aside(self.password_file)
        descriptor = os.open(self.password_file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
            os.fchmod(descriptor, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _password(self) -> str | None:
        text = self.password_file.read_text(encoding="utf-8", errors="replace")
        found = re.fullmatch(rf"\*:\*:\*:{SUPERUSER}:([0-9a-f]{{64}})\n", text)
        return None if found is None else found[1]

    def _asks_for_a_password(self) -> bool:
        """Say whether a running server was started by `_launch`, which first writes password and ``pg_hba.conf``."""
        logins = self.data / "pg_hba.conf"
        return self._password() is not None and logins.exists() and logins.read_text(encoding="utf-8") == LOGINS

    def _users(self) -> list[int]:
        """Return the listed processes that still run.

        A process that began after the list was written is another one with the same number.
        """
        try:
            written = self._users_file.stat().st_mtime
            listed = json.loads(self._users_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, IsADirectoryError, ValueError, RecursionError):
            return []
        numbers = [each for each in listed if isinstance(each, int)] if isinstance(listed, list) else []
        return [each for each in numbers if _runs_since_before(each, written)]

    def _status(self) -> list[str]:
        """Return the lines of ``postmaster.pid``: process, folder, start, port, folder of the socket, …, status."""
        try:
            return self._status_file.read_text(encoding="utf-8").splitlines()
        except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError):
            return []

    def _launch(self) -> tuple[int, int]:
        """Start the server; return its process id, and the position in the log at which its messages begin."""
        account = self._account()
        programs = programs_of_server()
        for folder in self._status()[4:5]:
            # a killed server has left its socket
            remove_sockets(Path(folder))
        if self._status_file.exists() and not "".join(self._status()[:1]).isdecimal():
            # a crash has left the file empty or damaged, and no server starts with such a file
            set_aside(self._status_file)
        if self._password() is None:
            # O_NOFOLLOW: a link cannot send the secret elsewhere
            with os.fdopen(os.open(self.password_file, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW), "w") as file:
                file.write(f"*:*:*:{SUPERUSER}:{secrets.token_hex(32)}\n")
        if not (self.data / "PG_VERSION").exists():
            self._initialize(programs, account)
        self._refuse_other_version()
        if account is not None and self.data.stat().st_uid == 0:
            # root has copied the folder, but the server does not run as root
            for path in (*sorted(self.data.rglob("*"), reverse=True), self.data):
                os.chown(path, *account, follow_symlinks=False)
        place = place_of(self.data, account)
        run(
            [programs / "postgres", "--single", "-D", place, "-c", "password_encryption=scram-sha-256", SUPERUSER],
            self.data,
            account,
            f"alter role {SUPERUSER} password '{self._password()}'\n",
        )
        self._write_owned("pg_hba.conf", LOGINS, account)
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
            log_position = os.fstat(log).st_size
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                **as_whom(self.data, account),
            )  # fmt: skip
        finally:
            os.close(log)
        self._process = process
        return process.pid, log_position

    def _wait_until_ready(self, process_id: int, log_position: int) -> None:
        for _ in range(20 * PATIENCE_SECONDS):
            status = self._status()
            if len(status) > 7 and status[0] == str(process_id) and status[7].strip() == "ready":
                return
            if not _runs_since_before(process_id, time.time()):
                break
            time.sleep(0.05)
        with (self.data / "log").open("rb") as log:
            log.seek(log_position)
            lines = log.read().decode(errors="replace").splitlines()
        timeout = f"that it was not ready within {PATIENCE_SECONDS} seconds"
        raise not_started("; ".join(lines[-5:]) or timeout, self.data)

    def _stop(self, process_id: int) -> None:
        """Stop the server at once; open transactions are rolled back."""
        sockets = [Path(each) for each in self._status()[4:5]]
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
        """Make the files of the server, all of them or none."""
        unfinished = self.data.with_name(f"{self.data.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if account is not None:
            os.chown(unfinished, *account)
        # nobody can log in before the password is set
        options = ["--auth=reject", "--encoding=utf8", "-U", SUPERUSER, "-D", place_of(unfinished, account)]
        run([programs / "initdb", *options], unfinished, account)
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

    def _write_owned(self, name: str, text: str, account: tuple[int, int] | None) -> None:
        # a new file replaces the old one, because the user of the server may have put a link there
        temporary, path = self.data / f".{name}.{os.getpid()}", self.data / name
        # a killed process with the same number may have left this file
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            if account is not None:
                os.fchown(file.fileno(), *account)
        if path.is_dir():
            set_aside(path)
        temporary.replace(path)

    def _account(self) -> tuple[int, int] | None:
        """Return the user and group that run the server; None if they are those of this process."""
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
                reason = str(getattr(error, "stderr", "") or error).strip()
                raise SettingError(
                    f"LEADLINE_WAREHOUSE={OWN_SERVER}: expected a user {SYSTEM_USER} for the server, which cannot run "
                    f"as root, found none, and it cannot be made: {reason}. Make the user, or do not run Leadline as "
                    "root."
                ) from None
            found = pwd.getpwnam(SYSTEM_USER)
        return found.pw_uid, found.pw_gid


def started(chosen: Settings) -> Settings:
    """Start the server that the settings name, and return the settings with its address.

    The server listens only on a Unix socket. Its last user stops it; if that process is killed, the next one does.

    Raises
    ------
    SettingError
        If the server does not start.
    """
    server = Server(chosen.home)
    server.start()
    atexit.register(_leave, server)
    server.prepare_database()
    address = database_address("LEADLINE_WAREHOUSE", server.address(), {})
    storage = address if chosen.dagster_storage == OWN_SERVER else chosen.dagster_storage
    return replace(chosen, warehouse=address, dagster_storage=storage)


def _leave(server: Server) -> None:
    # if the list of users cannot be written, the next command sees that this process is gone
    with suppress(OSError):
        server.leave()


def _runs_since_before(process_id: int, moment: float) -> bool:
    try:
        process = psutil.Process(process_id)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= moment
    except psutil.NoSuchProcess:
        return False
