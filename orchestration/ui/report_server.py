"""Serves the reports of a home to browsers, because the UI serves no files and its pages may not open local files.

``python -m orchestration.ui.report_server <folder> <port> [<address>…]`` serves until the process that started it is
gone.
"""

import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from models.artifacts import make_folder
from orchestration.ui.guard import wrong_host
from store.pages import CONTENT_SECURITY_POLICY, POLICY

ENDING = ".html"
"""The ending of all reports, which are pages; an unfinished report has another one."""

BEGINNING = 1_000
"""The bytes at the beginning of a page that contain its content security policy."""

SETTING = "LEADLINE_REPORTS_ADDRESS"
"""The setting for the address of a proxy, which a refusal names."""

HEADERS = {
    # the sandbox gives the scripts of a report an origin of their own, apart from other pages of this machine
    "Content-Security-Policy": f"{CONTENT_SECURITY_POLICY}; frame-ancestors 'none'; sandbox allow-scripts",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def start(folder: Path, port: int, addresses: Sequence[str] = ()) -> None:
    """Serve a folder on 127.0.0.1 from a process of its own, as long as this one lives.

    Parameters
    ----------
    folder : Path
    port : int
    addresses : sequence of str
        The addresses behind a proxy.
    """
    make_folder(folder)
    subprocess.Popen([sys.executable, "-m", "orchestration.ui.report_server", str(folder), str(port), *addresses])


def path_in_folder(target: str) -> tuple[str, ...] | None:
    """Return the parts of the path that a request names, below the folder; None if it cannot be that of a report."""
    try:
        path = unquote(urlsplit(target).path, errors="strict")
    except ValueError:
        return None
    parts = tuple(path.removeprefix("/").split("/"))
    if not path.startswith("/") or "\0" in path or "\\" in path or not path.endswith(ENDING):
        return None
    # hidden files are excluded too: the name of an unfinished report begins with a dot
    return None if any(each == "" or each.startswith(".") for each in parts) else parts


def opened(folder: str, parts: Sequence[str]) -> BinaryIO | None:
    """Open a file below a folder; None if it does not exist, is not a file, or is reached through a link."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        for part in parts:
            # the last part may be a pipe, and opening it must not wait for a writer
            kind = os.O_NONBLOCK if part is parts[-1] else os.O_DIRECTORY
            inner = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | kind, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        return os.fdopen(os.dup(descriptor), "rb") if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    except OSError:
        return None
    finally:
        os.close(descriptor)


class _Reports(BaseHTTPRequestHandler):
    server_version = "Leadline"
    sys_version = ""

    def __init__(self, folder: str, addresses: tuple[str, ...], *arguments: Any) -> None:
        self._folder, self._addresses = folder, addresses
        super().__init__(*arguments)

    def do_GET(self) -> None:
        self._answer(whole=True)

    def do_HEAD(self) -> None:
        self._answer(whole=False)

    def _answer(self, *, whole: bool) -> None:
        if (refusal := wrong_host(self.headers.get_all("host", []), self._addresses, SETTING)) is not None:
            self._say(refusal.status, refusal.reason, whole=whole)
            return
        parts = path_in_folder(self.path)
        file = None if parts is None else opened(self._folder, parts)
        if file is None:
            message = "Expected the address of a report, as the metadata of the UI links to it, found no report there."
            self._say(HTTPStatus.NOT_FOUND, message, whole=whole)
            return
        with file:
            page = file.read()
        if POLICY.encode() not in page[:BEGINNING]:
            message = (
                "Expected a page that forbids the browser to fetch anything, found one of an earlier version of "
                "Leadline, in which a text from the data may run as code. Materialize its asset again."
            )
            self._say(HTTPStatus.NOT_FOUND, message, whole=whole)
            return
        self._begin(HTTPStatus.OK, "text/html; charset=utf-8", len(page))
        if whole:
            self.wfile.write(page)

    def _say(self, status: int, sentence: str, *, whole: bool) -> None:
        body = f"{sentence}\n".encode()
        self._begin(status, "text/plain; charset=utf-8", len(body))
        if whole:
            self.wfile.write(body)

    def _begin(self, status: int, kind: str, length: int) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(length), **HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Log nothing, because the terminal belongs to Dagster."""


class ReportServer(ThreadingHTTPServer):
    """A server of the reports in a folder, on 127.0.0.1.

    Parameters
    ----------
    folder : str
    port : int
    addresses : sequence of str
        The addresses behind a proxy.

    Raises
    ------
    OSError
        If the port is not free.
    """

    def __init__(self, folder: str, port: int, addresses: Sequence[str]) -> None:
        super().__init__(("127.0.0.1", port), partial(_Reports, folder, tuple(addresses)))

    def handle_error(self, *_: Any) -> None:
        """Log nothing: such an error is nearly always a browser that closes its connection."""


def serve(folder: str, port: int, addresses: Sequence[str]) -> int:
    """Serve a folder until the parent process is gone; return the exit code."""
    parent = os.getppid()
    try:
        server = ReportServer(folder, port, addresses)
    except OSError as error:
        sys.stderr.write(
            f"Leadline: port {port} is not free ({error.strerror}), so the links to reports do not work. "
            f"Set LEADLINE_REPORTS_PORT to another port, or open the files in {folder}.\n"
        )
        return 1
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        while os.getppid() == parent:
            time.sleep(1)
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
