"""The server of reports: it serves a folder for as long as the process that started it lives."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import psutil
import pytest

from orchestration.ui.report_server import ReportServer
from store.pages import POLICY
from tests.homes import PATIENCE, REPOSITORY, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

REPORT = f"<html><head>{POLICY}</head>a report</html>"
STARTER = """
import pathlib, sys
from orchestration.ui.report_server import start
start(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
sys.stdin.read()
"""


def eventually(happened: Callable[[], bool], what: str) -> None:
    for _ in range(20 * PATIENCE):
        if happened():
            return
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {PATIENCE} s")


def answers(port: int) -> bool:
    with closing(socket.socket()) as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def starter(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Return a process that has started the server on a folder that is not there yet, and the port."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path / "reports"), str(port)], cwd=REPOSITORY, stdin=subprocess.PIPE
    )
    started: list[psutil.Process] = []
    try:
        eventually(lambda: answers(port), "the first answer")
        started = psutil.Process(process.pid).children()
        yield process, port
    finally:
        process.kill()
        process.wait(PATIENCE)
        for server in started:
            with suppress(psutil.NoSuchProcess):
                server.kill()


def test_it_serves_the_files_of_its_folder_and_ends_with_the_process_that_started_it(
    starter: tuple[subprocess.Popen[bytes], int], tmp_path: Path
) -> None:
    process, port = starter
    (tmp_path / "secret.html").write_text("not for readers")
    (tmp_path / "reports" / "conversion").mkdir()
    (tmp_path / "reports" / "conversion" / "1.html").write_text(REPORT)

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/conversion/1.html", timeout=PATIENCE) as response:
        assert response.read() == REPORT.encode()
        assert response.headers.get_content_type() == "text/html"
    assert answer(port, "GET /conversion/1.html?from=ui") == (200, REPORT)
    assert answer(port, "HEAD /conversion/1.html") == (200, "")
    assert answer(port, "GET /conversion/1.html", host="127.0.0.1:8080") == (200, REPORT)

    (server,) = psutil.Process(process.pid).children()
    assert {each.laddr.ip for each in server.net_connections() if each.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    # as a power cut would: the parent has no time to end its children
    process.kill()
    process.wait(PATIENCE)
    eventually(lambda: not answers(port), "the end of the server")
    server.wait(PATIENCE)


def answer(port: int, line: str, *, host: str | None = "localhost") -> tuple[int, str]:
    """Ask as no client would that mends addresses; returns the status and what was said."""
    with closing(socket.create_connection(("127.0.0.1", port), PATIENCE)) as client:
        asked = f"{line} HTTP/1.1\r\n" + (f"Host: {host}\r\n" if host else "") + "Connection: close\r\n\r\n"
        client.sendall(asked.encode("latin-1"))
        said = b"".join(iter(lambda: client.recv(65536), b"")).decode()
    head, _, body = said.partition("\r\n\r\n")
    assert "Content-Security-Policy: default-src 'none';" in head
    return int(head.split()[1]), body


@pytest.fixture
def reports(tmp_path: Path) -> Iterator[int]:
    """Return the port of a server of a folder with a report, and what is none."""
    folder = tmp_path / "reports"
    (folder / "conversion" / "folder.html").mkdir(parents=True)
    (folder / "conversion" / "1.html").write_text(REPORT)
    (tmp_path / "secret.html").write_text(REPORT)
    for name in (".1.html.unfinished", ".2.html", "index.123.tmp", "2.html.tmp", "notes.txt"):
        (folder / "conversion" / name).write_text(REPORT)
    (folder / "linked.html").symlink_to(tmp_path / "secret.html")
    (folder / "beside.html").symlink_to(folder / "conversion" / "1.html")
    (folder / "outside").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe.html")
    with ReportServer(str(folder), 0, ["https://reports.example.com"]) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


@pytest.mark.parametrize(
    "path",
    [
        # folders
        "/", "/conversion", "/conversion/", "/conversion/folder.html", "/conversion/folder.html/",
        # unfinished, hidden, or no report
        "/conversion/.1.html.unfinished", "/conversion/.2.html", "/conversion/index.123.tmp", "/conversion/2.html.tmp",
        "/conversion/notes.txt", "/conversion/2.html", "/pipe.html",
        # links
        "/linked.html", "/beside.html", "/outside/secret.html", "/outside/reports/conversion/1.html",
        # out of the folder
        "/../secret.html", "/%2e%2e/secret.html", "/%2E%2E%2Fsecret.html", "/conversion/../../secret.html",
        "/..%5csecret.html", "/..\\secret.html", "/conversion/..%2f..%2fsecret.html", "//secret.html",
        "/%252e%252e/secret.html", "/conversion/./1.html", "/./conversion/1.html", "/conversion//1.html",
        "/conversion/1.html%00", "/secret.html%00.html", "/%ff/1.html", "secret.html", "../secret.html",
        "http://localhost/../secret.html", "/conversion/1.html/../../../secret.html", "/" + "a/" * 9000 + "1.html",
    ],
)  # fmt: skip
def test_nothing_but_a_finished_report_in_the_folder_is_shown(reports: int, path: str) -> None:
    said = "Expected the address of a report, as the metadata of the UI links to it, found no report there.\n"
    assert answer(reports, f"GET {path}") == (404, said)
    assert answer(reports, "GET /conversion/1.html") == (200, REPORT)


def test_a_page_of_an_earlier_state_is_not_shown(reports: int, tmp_path: Path) -> None:
    earlier = f"<html><head></head><body>{'x' * 1_000}{POLICY}</body></html>"
    (tmp_path / "reports/conversion/0.html").write_text(earlier)
    status, said = answer(reports, "GET /conversion/0.html")
    assert status == 404
    assert said.startswith("Expected a page that forbids the browser to fetch anything, found one of an earlier")


@pytest.mark.parametrize(
    ("host", "status"), [("reports.example.com", 200), ("[::1]:1", 200), ("evil.example", 421), (None, 421), ("", 421)]
)
def test_a_name_that_is_not_ours_is_not_answered(reports: int, host: str | None, status: int) -> None:
    assert answer(reports, "GET /conversion/1.html", host=host)[0] == status


def test_a_port_that_is_taken_is_said_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        finished = subprocess.run(
            [sys.executable, "-m", "orchestration.ui.report_server", str(tmp_path), str(port)],
            cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
    assert finished.returncode == 1
    assert f"port {port} is not free (Address already in use)" in finished.stderr
    assert "LEADLINE_REPORTS_PORT" in finished.stderr
    assert str(tmp_path) in finished.stderr
    assert "Traceback" not in finished.stderr
