"""The SQL of the dbt project, compiled once for the benchmarks that run it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks import scenarios
from benchmarks.compiled import Model, for_simulations

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Model]:
    """Return all models up to the labels, at the clock of the watched companies."""
    return for_simulations(tmp_path_factory.mktemp("compiled"), scenarios.END)


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let a benchmark measure in this process: a fresh one takes seconds, and would not know a smaller size."""
    return lambda benchmark: monkeypatch.setattr(benchmark, "alone", lambda function, *given: function(*given))
