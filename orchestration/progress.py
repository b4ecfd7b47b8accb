"""The console logger of runs: a line when a step starts or ends, warnings, and messages of assets."""

import logging
import sys
from typing import Any

import dagster as dg

from orchestration.terminal import for_terminal

_DISTRACTIONS = ("A dbt subsetted execution", "Copying `", "Running dbt command", "Finished dbt command")
"""The beginnings of dagster-dbt's lines about its calls of dbt. Only the UI shows these lines."""

_STEP_EVENTS = {"STEP_START": "…", "STEP_SUCCESS": "✓", "STEP_FAILURE": "✗"}


class ProgressHandler(logging.Handler):
    """Writes these lines to standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line of a record, if it has one."""
        try:
            if (line := describe(record)) is not None:
                sys.stderr.write(f"{for_terminal(line)}\n")
                sys.stderr.flush()
        except Exception:  # noqa: BLE001 - a logging handler must not fail the run; logging reports it
            self.handleError(record)


def describe(record: logging.LogRecord) -> str | None:
    """Return the line for a log record, or None if the record needs no line."""
    if (event := getattr(record, "dagster_event", None)) is None:
        meta: dict[str, Any] = getattr(record, "dagster_meta", None) or {}
        message = meta.get("orig_message") or record.getMessage()
        # a step that is skipped after a failure gets no line, because the failure has one
        if message.endswith("Not executing.") or message.startswith(_DISTRACTIONS):
            return None
        if record.levelno >= logging.WARNING:
            return f"    {record.levelname.lower()}: {message}"
        return f"    {message}" if meta.get("step_key") and record.levelno >= logging.INFO else None
    if (mark := _STEP_EVENTS.get(event.event_type_value)) is None:
        return None
    is_done = event.event_type_value == "STEP_SUCCESS"
    seconds = f" {event.step_success_data.duration_ms / 1000:.1f} s" if is_done else ""
    return f"  {mark} {event.step_key.replace('__', '/')}{seconds}"


@dg.logger(config_schema={}, description="A line when a step starts or ends, warnings, and messages of assets.")
def progress_logger(_context: dg.InitLoggerContext) -> logging.Logger:
    """Return the logger."""
    logger = logging.Logger("leadline")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(ProgressHandler())
    return logger
