"""Compare the feature view with peers on synthetic facts: SQL and Polars written by hand, Feast, pandas, PostgreSQL.

The peers compute forty of its features. So the view is measured twice: as a whole, with the models that only the view
needs, and with the same forty features. All read the same facts and observations. A peer's value that differs from the
view's ends the benchmark. Each form runs in a process of its own, in turn; the median counts.
"""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import feature_peers as peers
from benchmarks import feature_queries as queries
from benchmarks.compiled import DATABASE, Model, compiled
from benchmarks.feature_measuring import Taken, assert_equal, by_hand, ours
from benchmarks.feature_postgres import AS_OF_US, server
from benchmarks.feature_workload import CLOCK, SIZES, connect, create, fill, given, observe, of_the_view
from benchmarks.measuring import Figure, Report, table
from benchmarks.processes import alone

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LAYERS = ("staging", "intermediate", "features")
WORKLOADS = {"S": {"sparse": 3, "dense": 3}, "M": {"sparse": 3, "dense": 1}, "X": {"sparse": 1}}
"""How often each form runs, by size and density."""
WITH_PEERS = ("S", "M")
"""Sizes at which Feast, pandas and PostgreSQL also run, on sparse observations: otherwise they would take hours."""
VIEW, SAME = "the view", "the view, the same forty"
JOIN, PACKED, RUNNING = "join", "join, packed sums", "running sums"
BY_HAND: dict[str, Callable[[], str]] = {
    JOIN: queries.joined,
    PACKED: queries.packed,
    RUNNING: queries.running,
}
FORMS = {"sparse": (JOIN, PACKED, RUNNING), "dense": (PACKED, RUNNING)}
POLARS_FORMS = {"sparse": (JOIN, RUNNING), "dense": (RUNNING,)}
"""Forms by density, without those that would be far too slow."""
SLOW = {("DuckDB", "X"): (JOIN, RUNNING), ("Polars", "X"): (RUNNING,)}
"""Forms left out at a size: they were slower at smaller sizes, and would take many minutes or all memory."""
POSTGRES_REPEATS = {"S": 3, "M": 1}
MEMORY_LIMITS = {"X": "6GB"}
"""Memory limit of DuckDB for the view, which spills the rest to disk; Python and the process itself use more."""


@dataclass
class Form:
    """A form on an engine, with the time and memory of each run.

    Attributes
    ----------
    engine, name : str
    runs : list of Taken
    note : str
    """

    engine: str
    name: str
    runs: list[Taken] = field(default_factory=list)
    note: str = ""

    @property
    def seconds(self) -> float:
        """The median of the runs."""
        return statistics.median(run.seconds for run in self.runs)

    @property
    def peak_bytes(self) -> int | None:
        """The largest peak of the runs."""
        peaks = [run.peak_bytes for run in self.runs if run.peak_bytes is not None]
        return max(peaks) if peaks else None

    def cells(self, view: Form) -> tuple[str, ...]:
        """Return engine, form, features, seconds, CPU seconds, memory and time over the view's as text."""
        cpu = [run.cpu_seconds for run in self.runs if run.cpu_seconds is not None]
        peak = self.peak_bytes
        return (
            self.engine,
            self.name,
            str(self.runs[0].features),
            f"{self.seconds:,.2f}",
            f"{statistics.median(cpu):,.2f}" if cpu else "",
            "" if peak is None else f"{peak / 1e6:,.0f}",
            f"{self.seconds / view.seconds:,.2f}",
            self.note,
        )


HEADER = ("engine", "form", "features", "seconds", "CPU s", "peak MB", "over view", "")


@dataclass
class Workload:
    """Facts of one size with observations of one density, and the forms measured on them.

    Attributes
    ----------
    size, density : str
    observations : int
    forms : list of Form
    """

    size: str
    density: str
    observations: int
    forms: list[Form] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Size and density."""
        return f"{self.size} {self.density}"

    def form(self, engine: str, name: str) -> Form:
        """Return a form on an engine."""
        return next(form for form in self.forms if (form.engine, form.name) == (engine, name))

    def best(self, engine: str) -> Form:
        """Return the fastest form on an engine other than the view."""
        return min(
            (form for form in self.forms if form.engine == engine and form.name not in (VIEW, SAME)),
            key=lambda form: form.seconds,
        )

    def has(self, engine: str) -> bool:
        """Say whether an engine was measured."""
        return any(form.engine == engine for form in self.forms)


def run(sizes: Sequence[str] = ("S",)) -> Report:
    """Measure at some sizes, the smallest first, and compare each with the one before."""
    details: list[str] = []
    workloads: list[Workload] = []
    with tempfile.TemporaryDirectory(prefix="leadline-benchmark-") as name:
        folder = Path(name)
        models = compiled(folder, {"as_of": CLOCK}, LAYERS)
        interpreter, reason = peers.feast_environment(folder)
        if interpreter is None:
            details.append(f"Feast is left out: {reason}")
        for size in sizes:
            place = folder / size
            place.mkdir()
            measured, lines = _at_size(size, place, models, interpreter)
            workloads += measured
            details += lines
    return Report(name="feature_sql", figures=figures(workloads), details=details)


def figures(workloads: Sequence[Workload]) -> list[Figure]:
    """Return the figures with bounds, and each peer's time over the view's."""
    found = []
    for workload in workloads:
        view = workload.form("DuckDB", VIEW)
        for engine, bound in (("DuckDB", 1.3), ("PostgreSQL", 1.5)):
            if workload.has(engine):
                best = workload.best(engine)
                name = f"{workload.name}: {engine}, {{}} over the best by hand ({best.name})"
                for form, limit in ((SAME, bound), (VIEW, None)):
                    ratio = workload.form(engine, form).seconds / best.seconds
                    found.append(Figure(name=name.format(form), value=ratio, bound=limit, digits=2, unit="x"))
        for engine in ("Polars", "Feast", "pandas"):
            if workload.has(engine):
                ratio = workload.best(engine).seconds / view.seconds
                found.append(Figure(name=f"{workload.name}: {engine} over the view", value=ratio, digits=2, unit="x"))
        if workload.size == "X" and view.peak_bytes is not None:
            name = f"{workload.name}: peak memory of the view"
            found.append(Figure(name=name, value=view.peak_bytes / 1e9, bound=8, unit="GB"))
    return found + _growth(workloads)


def _growth(workloads: Sequence[Workload]) -> list[Figure]:
    """Return how the time per observation grows with size and density; a linear form has a ratio of 1."""
    found = []
    pairs = [
        *((one, other) for one, other in pairwise(each for each in workloads if each.density == "sparse")),
        *(
            (one, other)
            for one in workloads
            for other in workloads
            if (one.size, one.density, other.density) == (other.size, "sparse", "dense")
        ),
    ]
    for few, many in pairs:
        each = [one.form("DuckDB", VIEW).seconds / one.observations for one in (few, many)]
        name = f"time of an observation, {many.name} over {few.name}"
        found.append(Figure(name=name, value=each[1] / each[0], bound=1.3, digits=2, unit="x"))
    return found


def _at_size(size: str, folder: Path, models: Sequence[Model], feast: Path | None) -> tuple[list[Workload], list[str]]:
    path = folder / f"{DATABASE}.duckdb"
    alone(fill, path, SIZES[size])
    seconds = alone(create, path, given(models))
    lines = [f"{size}: the timeline, from which view and queries by hand start, took {seconds:.2f} s"]
    workloads = []
    for density, repeats in WORKLOADS[size].items():
        described, observations = alone(observe, path, density)
        workload = Workload(size, density, observations)
        by_hand_here, polars_here = (
            [name for name in forms[density] if name not in SLOW.get((engine, size), ())]
            for engine, forms in (("DuckDB", FORMS), ("Polars", POLARS_FORMS))
        )
        workload.forms += _on_duckdb(path, models, by_hand_here, repeats, MEMORY_LIMITS.get(size))
        workload.forms += _on_polars(path, folder, polars_here, repeats)
        if size in WITH_PEERS and density == "sparse":
            workload.forms += _on_postgres(path, folder, POSTGRES_REPEATS[size])
            workload.forms += _beside(path, folder, feast)
        workloads.append(workload)
        view = workload.form("DuckDB", VIEW)
        rows = table([HEADER, *(form.cells(view) for form in workload.forms)], left=2)
        lines += [f"{workload.name}: {described}", *(f"  {row}" for row in rows)]
    return workloads, lines


def _in_turn(forms: Mapping[tuple[str, str], Callable[[], Taken]], repeats: int) -> list[Form]:
    found = {key: Form(*key) for key in forms}
    for _ in range(repeats):
        for key, measure in forms.items():
            found[key].runs.append(measure())
    return list(found.values())


def _on_duckdb(
    path: Path, models: Sequence[Model], names: Sequence[str], repeats: int, memory_limit: str | None = None
) -> list[Form]:
    view = of_the_view(models)
    forms: dict[tuple[str, str], Callable[[], Taken]] = {
        ("DuckDB", VIEW): partial(alone, ours, path, view, memory_limit),
        ("DuckDB", SAME): partial(alone, by_hand, path, SAME, queries.of_the_view(view[-1].sql, peers.AS_OF_US)),
        **{("DuckDB", name): partial(alone, by_hand, path, name, BY_HAND[name]()) for name in names},
    }
    found = _in_turn(forms, repeats)
    with connect(path) as connection:
        for name in (SAME, *names):
            assert_equal(connection, f'by_hand."{name}"', peers.AS_OF_US)
    return found


def _on_polars(path: Path, folder: Path, names: Sequence[str], repeats: int) -> list[Form]:
    peers.export(path, folder)
    forms = {("Polars", name): partial(alone, peers.polars, path, folder, name) for name in names}
    return _in_turn(forms, repeats)


def _on_postgres(path: Path, folder: Path, repeats: int) -> list[Form]:
    place = folder / "on-postgres"
    place.mkdir()
    models = compiled(place, {"as_of": CLOCK}, LAYERS, target="postgres")
    with server(place / "postgres") as postgres:
        postgres.load(path, models)
        view = of_the_view(models)
        forms: dict[tuple[str, str], Callable[[], Taken]] = {
            ("PostgreSQL", VIEW): partial(postgres.ours, view),
            ("PostgreSQL", SAME): partial(postgres.by_hand, "same", queries.of_the_view(view[-1].sql, AS_OF_US)),
            ("PostgreSQL", JOIN): partial(postgres.by_hand, "joined", queries.joined()),
            ("PostgreSQL", PACKED): partial(postgres.by_hand, "packed", queries.packed("double precision")),
        }
        return _in_turn(forms, repeats)


def _beside(path: Path, folder: Path, interpreter: Path | None) -> list[Form]:
    forms = []
    if interpreter is not None:
        taken, note = alone(peers.feast, path, folder, interpreter)
        forms.append(Form("Feast", "retrieval alone", [taken], note))
    taken, rows = alone(peers.pandas_row_by_row, path, folder)
    forms.append(Form("pandas", "row by row", [taken], f"extrapolated from {rows} rows"))
    return forms
