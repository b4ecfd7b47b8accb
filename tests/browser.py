"""A real browser, for tests of scripts in pages and of their limits."""

from __future__ import annotations

import functools
import http.server
import shutil
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.homes import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on this machine")


TEN_SECONDS = "--virtual-time-budget=10000"
"""The page gets ten seconds of virtual time, which pass at once if nothing is being fetched (except by WebSockets)."""


def browse(address: str, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a page; return it as it is after loading (``stdout``), with the messages of its console (``stderr``)."""
    return subprocess.run(
        [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
         "--enable-logging=stderr", "--dump-dom", *options, address],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


class _Listener(http.server.SimpleHTTPRequestHandler):
    asked: list[str]
    done: threading.Event

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/done":
            self.done.set()
        elif self.path == "/hold":
            self.done.wait(PATIENCE)
        super().do_GET()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def foreign_site(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder as another site on this machine; yield its address, and a list of the requested paths.

    A page with the image ``/hold`` counts as loaded only after it has requested ``/done``.
    """
    asked: list[str] = []
    listener = type("_Site", (_Listener,), {"asked": asked, "done": threading.Event()})
    handler = functools.partial(listener, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
