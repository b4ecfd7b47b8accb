"""Events as rows: growing tables of arrays, and the vocabularies of their codes."""

from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from simulation.draws import Ints

NOBODY = -1
"""Code of `performed_by` for actions of the lead."""
SYSTEM = -2
"""Code of `performed_by` for actions of the CRM itself."""


class Type(IntEnum):
    """Interaction types; the last is outside the vocabulary, for planted faults."""

    CALL = 0
    EMAIL = 1
    SMS = 2
    MEETING = 3
    WEB = 4
    PROPOSAL = 5
    NOTE = 6
    FAX = 7


class Direction(IntEnum):
    """Interaction directions."""

    INBOUND = 0
    OUTBOUND = 1
    INTERNAL = 2


class Outcome(IntEnum):
    """Interaction outcomes; the first stands for none."""

    NONE = 0
    REACHED = 1
    NO_ANSWER = 2
    VOICEMAIL = 3
    CALLBACK = 4
    INTERESTED = 5
    LATER = 6
    NOT_INTERESTED = 7
    ACCEPTED = 8
    DECLINED = 9
    CONFIRMATION = 10
    CANCELLED = 11
    RESCHEDULED = 12
    HELD = 13


class AppointmentStatus(IntEnum):
    """Appointment statuses."""

    SCHEDULED = 0
    COMPLETED = 1
    NO_SHOW = 2
    CANCELLED = 3
    RESCHEDULED = 4


class ProjectStatus(IntEnum):
    """Project statuses."""

    OPEN = 0
    WON = 1
    LOST = 2
    CANCELLED = 3


class Table:
    """A table that grows by blocks of rows.

    Parameters
    ----------
    **columns : str
        The numpy type of each column by its name.
    """

    def __init__(self, **columns: str) -> None:
        self._blocks: dict[str, list[npt.NDArray[Any]]] = {
            name: [np.empty(0, dtype)] for name, dtype in columns.items()
        }
        self.rows = 0

    def append(self, length: int, **values: npt.ArrayLike) -> Ints:
        """Append a block; a single value stands for the whole column. Return the numbers of the new rows."""
        for name, blocks in self._blocks.items():
            blocks.append(np.broadcast_to(np.asarray(values[name], dtype=blocks[0].dtype), (length,)))
        numbers = np.arange(self.rows, self.rows + length)
        self.rows += length
        return numbers

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Return the columns, each as one array."""
        return {name: np.concatenate(blocks) for name, blocks in self._blocks.items()}


class UnkeptTable(Table):
    """A table that keeps no rows, for simulations of which only the ends of the leads matter."""

    def append(self, length: int, **values: npt.ArrayLike) -> Ints:  # noqa: ARG002 - the signature of a table
        """Drop the rows, and return -1 for each."""
        return np.full(length, -1, dtype=np.int64)
