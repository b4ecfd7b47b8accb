"""Plant leaks into the feature store, and count how many of them the proof names, on both engines."""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.compiled import DATABASE, FAULTLESS, Model, build, run_dbt
from benchmarks.feature_postgres import server
from benchmarks.measuring import REPOSITORY, Figure, Report, table
from benchmarks.planted_leaks import CONTROLS, CUSTOMER, CUSTOMER_LEAKS, DUCKDB, LEAKS, POSTGRES, Leak
from benchmarks.planting import Store, copied, planted, verdict, with_leaks, with_templates
from simulation import simulate
from store.features.compiled import of_run
from store.warehouse.warehouse import Warehouse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SEED, LEADS = 1, 400
CLOCK = datetime(2026, 3, 1, 17, 30, 12, 345678, tzinfo=UTC)
"""Neither a midnight nor the end of the export, so that the warehouse also holds later facts."""
LARGE_DEAL = 1_000_000
VARIABLES = {"as_of": CLOCK.isoformat(timespec="microseconds"), "closing_outcomes": ["not_interested"]}
LAYERS = ("staging", "intermediate", "features", "labels")

Caught = dict[Leak, bool]


def run() -> Report:
    """Plant all leaks on both engines, and count the named ones."""
    details: list[str] = []
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="leadline-benchmark-") as name:
        folder = Path(name)
        for engine, store, environment in stores(folder):
            began = time.perf_counter()
            (folder / "copies").mkdir(exist_ok=True)
            caught, false = found(store, folder / "copies", details)
            caught |= of_templates(store, folder, environment)
            seconds = time.perf_counter() - began
            figures += _figures(engine, caught, false, seconds)
            details += [f"{engine}, {LEADS:,} leads, {seconds:,.0f} s", *_by_kind(caught), ""]
            details += [
                f"PASSED on {engine}: {leak.name} ({leak.kind})" for leak, is_caught in caught.items() if not is_caught
            ]
            details += [f"FALSE ALARM on {engine}: {each}" for each in false]
    return Report(name="leaks", figures=figures, details=details)


def stores(folder: Path) -> Iterator[tuple[str, Store, Mapping[str, str]]]:
    """Yield a store on each engine from one simulated company, with the variables by which dbt finds it."""
    import duckdb

    path = folder / f"{DATABASE}.duckdb"
    simulate(folder / "crm", leads=LEADS, seed=SEED, company=FAULTLESS, progress=False)
    run_dbt(folder, "compile", VARIABLES, "--no-introspect", "--no-populate-cache", "--select", *LAYERS)
    on_duckdb = of_run(folder / "target", VARIABLES)
    with duckdb.connect(str(path)) as connection:
        connection.execute("set TimeZone = 'UTC'")
        build(connection, folder / "crm", [Model(**asdict(model)) for model in on_duckdb.models])
    yield DUCKDB, Store(Warehouse(address=f"duckdb:{path}"), on_duckdb, LARGE_DEAL), {}
    (folder / "postgres").mkdir()
    run_dbt(
        folder / "postgres", "compile", VARIABLES, "--no-introspect", "--no-populate-cache", "--select", *LAYERS,
        target=POSTGRES,
    )  # fmt: skip
    on_postgres = of_run(folder / "postgres" / "target", VARIABLES)
    with server(folder / "server") as running:
        running.load_raw(path)
        store = Store(Warehouse(address=running.address), on_postgres, LARGE_DEAL)
        with store.warehouse.connect() as warehouse:
            for model in on_postgres.models:
                warehouse.execute(f"create schema if not exists {model.schema}")
                warehouse.execute(f"create {model.materialized} {model.schema}.{model.name} as {model.sql}")
            warehouse.execute("analyze")
        yield POSTGRES, store, running.environment


def found(store: Store, folder: Path, details: list[str]) -> tuple[Caught, list[str]]:
    """Plant all leaks in compiled SQL, and controls; return which leaks were caught, and the false alarms."""
    own = [leak for leak in LEAKS if store.engine in leak.engines and not leak.is_template]
    caught: Caught = {}
    with copied(store, folder) as copy:
        proved = verdict(planted(copy, CONTROLS, folder))
    false = sorted({*proved.columns, *proved.refusal.splitlines()})
    features = [leak for leak in own if leak.feature and not leak.refused]
    with copied(store, folder) as copy:
        proved = verdict(planted(copy, features, folder))
    caught |= {leak: proved.names(leak) for leak in features}
    false += sorted(proved.columns - {name for leak in features for name in leak.names})
    details += [proved.refusal] if proved.refusal else []
    for batch in _batches([leak for leak in own if leak.refused]):
        caught |= refused(batch, store, folder)
    for batch in _batches([leak for leak in own if leak.model]):
        with copied(store, folder) as copy:
            proved = verdict(planted(copy, batch, folder), batch[0].sampled)
        caught |= {leak: proved.names(leak) for leak in batch}
        details += [proved.refusal] if proved.refusal else []
    with copied(store, folder) as copy:
        proved = verdict(planted(copy, CUSTOMER_LEAKS, folder), of=CUSTOMER)
    caught |= {leak: proved.names(leak) for leak in CUSTOMER_LEAKS}
    details += [proved.refusal] if proved.refusal else []
    return caught, false


def refused(leaks: Sequence[Leak], store: Store, folder: Path) -> Caught:
    """Plant leaks that must be refused: all at once into the store, then prove the SQL with each one alone."""
    caught: Caught = {}
    with copied(store, folder) as copy:
        whole = planted(copy, leaks, folder)
        with whole.warehouse.connect() as connection:
            ((database,),) = connection.execute("select current_database()").fetchall()
        for leak in leaks:
            proved = verdict(replace(whole, build=with_leaks(store, [leak], folder, database)))
            caught[leak] = proved.names(leak)
    return caught


def of_templates(
    store: Store, folder: Path, environment: Mapping[str, str], variables: Mapping[str, Any] = VARIABLES
) -> Caught:
    """Plant leaks into templates, each into another model, and let dbt compile all of them at once."""
    leaks = [leak for leak in LEAKS if store.engine in leak.engines and leak.is_template]
    place = folder / f"templates_{store.engine}"
    place.mkdir()
    project = place / "dbt_project"
    shutil.copytree(
        REPOSITORY / "dbt_project",
        project,
        ignore=shutil.ignore_patterns("target", "logs", "tests", "*_unit_tests.yml"),
    )
    with_templates(project, leaks)
    if store.warehouse.engine.is_file:
        shutil.copy(store.warehouse.shown, place / f"{DATABASE}.duckdb")
    run_dbt(
        place, "compile", variables, "--select", *LAYERS, target=store.engine, project=project, environment=environment
    )
    proved = verdict(replace(store, build=of_run(place / "target", variables)))
    return {leak: proved.names(leak) for leak in leaks}


def _batches(leaks: Sequence[Leak]) -> list[list[Leak]]:
    return [[leak for leak in leaks if leak.batch == batch] for batch in dict.fromkeys(each.batch for each in leaks)]


def _by_kind(caught: Caught) -> list[str]:
    rows = [("kind", "caught", "planted")]
    for kind in dict.fromkeys(leak.kind for leak in caught):
        results = [is_caught for leak, is_caught in caught.items() if leak.kind == kind]
        rows.append((kind, f"{sum(results)}", f"{len(results)}"))
    return table(rows)


def _figures(engine: str, caught: Caught, false: Sequence[str], seconds: float) -> list[Figure]:
    return [
        Figure(name=f"{engine}: leaks named, of {len(caught)}", value=sum(caught.values()), bound=len(caught), digits=0,
               more_is_better=True),
        Figure(name=f"{engine}: false alarms, with {len(CONTROLS)} controls", value=len(false), bound=0, digits=0),
        Figure(name=f"{engine}: time", value=seconds, unit="s", digits=0),
    ]  # fmt: skip
