"""A real browser, for what only one can show: what a page may do, and what runs in it."""

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
"""They pass at once where nothing is being fetched; a WebSocket does not count as that."""


def browse(address: str, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a page, and return it as it is when it is loaded, with what its console said."""
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
    """Serve a folder as another site on this machine would; yields its address, and the paths that it was asked for.

    A page that shows the image ``/hold`` is loaded when it has asked for ``/done``.
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
