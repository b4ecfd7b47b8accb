"""All tasks. To add one, write it in a module of its own and list it here."""

from __future__ import annotations

from collections.abc import Iterable

from models.tasks.binary import Binary
from models.tasks.multiclass import Multiclass
from models.tasks.regression import Regression
from models.tasks.task import Task

TASKS: dict[str, type[Task]] = {each.name: each for each in (Binary, Multiclass, Regression)}


def task_of(name: str, outcomes: Iterable[str]) -> Task:
    """Return the task that a version stores by name and outcomes."""
    return TASKS[name](tuple(outcomes))
