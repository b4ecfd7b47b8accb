"""Serves a home's reports to the browser beside the UI, which serves no files and whose pages may not open them.

``python -m orchestration.report_server <folder> <port>`` serves until the process that started it is gone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing: the terminal is Dagster's."""


def start(folder: Path, port: int) -> None:
    """Serve a folder on 127.0.0.1 from a process of its own, as long as this one lives."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.Popen([sys.executable, "-m", "orchestration.report_server", str(folder), str(port)])


def serve(folder: str, port: int) -> int:
    """Serve a folder until the parent process is gone; returns the exit code."""
    parent = os.getppid()
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), partial(_Quiet, directory=folder))
    except OSError as error:
        sys.stderr.write(
            f"Leadline: port {port} is not free ({error.strerror}), so the links to reports lead elsewhere. "
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
    sys.exit(serve(sys.argv[1], int(sys.argv[2])))
