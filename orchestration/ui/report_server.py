"""Serves a home's reports to the browser beside the UI, which serves no files and whose pages may not open them.

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
"""All reports are pages; what is still being written has another name."""

BEGINNING = 1_000
"""Bytes within which a page says what a browser may fetch for it."""

SETTING = "LEADLINE_REPORTS_ADDRESS"
"""The setting for the address of a proxy, which a refusal names."""

HEADERS = {
    # scripts of a report run in an origin of their own, which is not that of the other pages on this machine
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
        At which it is reached through a proxy.
    """
    make_folder(folder)
    subprocess.Popen([sys.executable, "-m", "orchestration.ui.report_server", str(folder), str(port), *addresses])


def path_in_folder(target: str) -> tuple[str, ...] | None:
    """Return the parts of the path that a request names, below the folder; None where it can be no report's."""
    try:
        path = unquote(urlsplit(target).path, errors="strict")
    except ValueError:
        return None
    parts = tuple(path.removeprefix("/").split("/"))
    if not path.startswith("/") or "\0" in path or "\\" in path or not path.endswith(ENDING):
        return None
    # also hidden files: what is still being written begins with a dot
    return None if any(each == "" or each.startswith(".") for each in parts) else parts


def opened(folder: str, parts: Sequence[str]) -> BinaryIO | None:
    """Open a file below a folder; None where it is not there, is no file, or is reached by a link."""
    try:
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        for part in parts:
            # the last one may be a pipe, whose opening would wait for a writer
            kind = os.O_NONBLOCK if part is parts[-1] else os.O_DIRECTORY
            inner = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | kind, dir_fd=held)
            os.close(held)
            held = inner
        return os.fdopen(os.dup(held), "rb") if stat.S_ISREG(os.fstat(held).st_mode) else None
    except OSError:
        return None
    finally:
        os.close(held)


class _Reports(BaseHTTPRequestHandler):
    server_version = "Leadline"
    sys_version = ""

    def __init__(self, folder: str, addresses: tuple[str, ...], *of_server: Any) -> None:
        self._folder, self._addresses = folder, addresses
        super().__init__(*of_server)

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
            said = "Expected the address of a report, as the metadata of the UI links to it, found no report there."
            self._say(HTTPStatus.NOT_FOUND, said, whole=whole)
            return
        with file:
            page = file.read()
        if POLICY.encode() not in page[:BEGINNING]:
            said = (
                "Expected a page that lets a browser fetch nothing, found one of an earlier state of Leadline, in "
                "which a text from the data may be run. Materialize its asset for a new one."
            )
            self._say(HTTPStatus.NOT_FOUND, said, whole=whole)
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
        """Say nothing: the terminal is Dagster's."""


class ReportServer(ThreadingHTTPServer):
    """A server of the reports in a folder, on 127.0.0.1.

    Parameters
    ----------
    folder : str
    port : int
    addresses : sequence of str
        At which it is reached through a proxy.

    Raises
    ------
    OSError
        If the port is not free.
    """

    def __init__(self, folder: str, port: int, addresses: Sequence[str]) -> None:
        super().__init__(("127.0.0.1", port), partial(_Reports, folder, tuple(addresses)))

    def handle_error(self, *_: Any) -> None:
        """Say nothing of a browser that breaks off."""


def serve(folder: str, port: int, addresses: Sequence[str]) -> int:
    """Serve a folder until the parent process is gone; returns the exit code."""
    parent = os.getppid()
    try:
        server = ReportServer(folder, port, addresses)
    except OSError as error:
        sys.stderr.write(
            f"Leadline: port {port} is not free ({error.strerror}), so the links to reports go elsewhere. "
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
