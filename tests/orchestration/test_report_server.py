"""The server of reports: it serves a folder for as long as the process that started it lives."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.homes import PATIENCE, REPOSITORY, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

STARTER = """
import pathlib, sys
from orchestration.report_server import start
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
    (tmp_path / "reports" / "conversion" / "1.html").write_text("<html>moved</html>")

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/conversion/1.html", timeout=PATIENCE) as response:
        assert response.read() == b"<html>moved</html>"
        assert response.headers.get_content_type() == "text/html"
    for outside in ("/conversion/2.html", "/../secret.html", "/%2e%2e/secret.html"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}{outside}", timeout=PATIENCE)

    (server,) = psutil.Process(process.pid).children()
    assert {each.laddr.ip for each in server.net_connections() if each.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    # as a power cut would: the parent has no time to end its children
    process.kill()
    process.wait(PATIENCE)
    eventually(lambda: not answers(port), "the end of the server")
    server.wait(PATIENCE)


def test_a_port_that_is_taken_is_said_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        finished = subprocess.run(
            [sys.executable, "-m", "orchestration.report_server", str(tmp_path), str(port)],
            cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
    assert finished.returncode == 1
    assert f"port {port} is not free (Address already in use)" in finished.stderr
    assert "LEADLINE_REPORTS_PORT" in finished.stderr
    assert str(tmp_path) in finished.stderr
    assert "Traceback" not in finished.stderr
