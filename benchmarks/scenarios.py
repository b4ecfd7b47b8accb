"""Checks and retraining in scenarios: the world changes, the source breaks, or nothing happens.

A simulated company is watched as the sensor would watch it. The champions are trained at a clock. Then the source and
the drift of the models are measured at many clocks, and each decision is carried out at once. Thirty quiet days come
first; after them a scenario begins, or none. Measurements, decisions and trainings run the code of the assets, on the
SQL of dbt. Dagster and the extraction are left out (the simulated CRM makes no mistakes here), and so is the age of the
champion, which causes a training twice a year in any case: only trainings that a scenario causes count.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from assets.learning.champions import decide_and_record
from benchmarks.compiled import DATABASE, FAULTLESS, Model, build, for_simulations
from benchmarks.measuring import Figure, Report, cores, table
from models.artifacts import MANIFEST, sha256
from models.decisions.drift import judge
from models.decisions.retraining import decide_retraining
from models.declared.registry import DECLARATIONS
from models.evaluation import validation
from models.evaluation.census import census_clocks
from models.learning.splitting import temporal_split
from models.training.training import train
from models.training.training_set import freeze
from models.versions.candidate import evaluate
from simulation import simulate
from simulation.scenarios import CUSTOMER_SCENARIOS, SCENARIOS
from store.artifacts import ArtifactStore
from store.features.compiled import Build, in_order, timestamp_literal
from store.features.training_rows import census_in, training_rows
from store.ledger.champions import load_champion
from store.ledger.decisions import record_decision
from store.ledger.measurements import record_drift, record_source_health
from store.ledger.schema import ensure
from store.ledger.versions import record_training, record_version
from store.measuring import drift, source_health
from store.measuring.drift import gather_retrain_evidence
from store.settings import prepare_process
from store.warehouse.duckdb.engine import DuckDBConnection, opened

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from models.decisions.drift import Reference
    from models.declaring.declaration import ModelDeclaration

SEEDS = 20
FIRST_SEED = 100
"""Smaller seeds were used to choose the bounds."""

UNCHANGED = "unchanged"
LEADS = {"lead": 12_000, "customer": 6_000}
"""Leads of a company, by the entity that is watched: about 1,100 of 6,000 are customers when the watch begins."""

MONTHS = 27
START = date(2024, 7, 1)
TRAINED = datetime(2026, 1, 1, tzinfo=UTC)
CHANGED = datetime(2026, 1, 31, tzinfo=UTC)
END = datetime(2026, 10, 1, tzinfo=UTC)
LOOKS = ((30, 3), (60, 5), (240, 15))
"""Pairs of a last day after the change and the days between two measurements until then. Quiet days: every day."""

WITHOUT_AGE = {
    name: replace(each, retrain=replace(each.retrain, max_champion_age_days=3650))
    for name, each in DECLARATIONS.items()
    if not each.rule
}
"""The models that have a champion in every company, those without a rule. Their champions may be of any age."""

SCENARIOS_OF = {"lead": SCENARIOS, "customer": CUSTOMER_SCENARIOS}
"""The scenarios by the entity whose world they change, and whose models are watched."""

ASSESSED_ROWS = 2_000
"""Rows for cross-validation and learning curve of each version; no decision here depends on these."""

ASKS_FOR_TRAINING = ("price_shock", "source_mix", "concept_change", "price_rise", "outage")
"""Scenarios in which the world changes. In the others the source breaks: a person is called, no model is trained."""


@dataclass(kw_only=True)
class Watch:
    """The record of watching one company.

    Attributes
    ----------
    seed : int
    scenario : str or None
        None for the quiet days.
    failed : dict of str to int
        Days from the change (from the training, on quiet days) to the first measurement at which each check failed.
    retrained : dict of str to list of int
        Days at which each model was trained, by model.
    promoted : dict of str to list of bool
        Whether each of these versions became champion, by model.
    quarantined : int or None
        Day of the first quarantine.
    without_champion : tuple of str
        Models whose first version was refused, so that they were not watched.
    subjects : dict of str to str
        The subject that had moved most when a check first failed.
    looks, alarms : int
        The number of measurements, and of those at which a check failed.
    """

    seed: int
    scenario: str | None
    failed: dict[str, int] = field(default_factory=dict)
    retrained: dict[str, list[int]] = field(default_factory=dict)
    promoted: dict[str, list[bool]] = field(default_factory=dict)
    quarantined: int | None = None
    without_champion: tuple[str, ...] = ()
    subjects: dict[str, str] = field(default_factory=dict)
    looks: int = 0
    alarms: int = 0


def run(entity: str = "lead") -> Report:
    """Watch every scenario of an entity with every seed."""
    return report(watch_all(range(FIRST_SEED, FIRST_SEED + SEEDS), SCENARIOS_OF[entity], watched(entity)))


def watched(entity: str) -> tuple[str, ...]:
    """Return the names of the models of an entity that are watched."""
    return tuple(name for name, each in WITHOUT_AGE.items() if each.feature_view.entity.name == entity)


def entity_of(names: Iterable[str]) -> str:
    """Return the entity of some models."""
    (found,) = {WITHOUT_AGE[name].feature_view.entity.name for name in names}
    return found


def watch_all(seeds: Iterable[int], scenarios: Sequence[str], names: Sequence[str]) -> list[Watch]:
    """Watch companies in parallel, a seed in a process."""
    with tempfile.TemporaryDirectory(prefix="leadline-benchmark-") as folder:
        models = for_simulations(Path(folder), END)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=cores(), mp_context=context, initializer=_one_core) as pool:
        started = [pool.submit(watch_seed, seed, tuple(scenarios), tuple(names), models) for seed in seeds]
        watches: list[Watch] = []
        for each in as_completed(started):
            for watch in each.result():
                watches.append(watch)
                sys.stderr.write(f"  {watch}\n")
        return sorted(watches, key=lambda watch: watch.seed)


def watch_seed(seed: int, scenarios: Sequence[str], names: Sequence[str], models: Sequence[Model]) -> list[Watch]:
    """Watch a company through quiet days, and then once through each scenario."""
    with tempfile.TemporaryDirectory(prefix="leadline-benchmark-") as folder:
        root = Path(folder)
        quiet = Company(
            root / "quiet", ArtifactStore(root=str(root / "artifacts"), reports_address=""), models, seed, None, names
        )
        refused = tuple(name for name in names if not quiet.train(WITHOUT_AGE[name], TRAINED, reason="first"))
        watches = [quiet.watch(None, TRAINED, range(1, (CHANGED - TRAINED).days + 1))]
        watches[0].without_champion = refused
        quiet.close()
        for scenario in scenarios:
            company = Company(root / scenario, quiet.artifacts, models, seed, scenario, names)
            company.remember(quiet)
            watches.append(company.watch(scenario, CHANGED, days_of_looks()))
            company.close()
            company.remove()
        # then once through as many days without a change
        quiet.open()
        watches.append(quiet.watch(UNCHANGED, CHANGED, days_of_looks()))
        quiet.close()
        return watches


def days_of_looks() -> list[int]:
    """Return the days of measurements after the change."""
    days = [0]
    for until, every in LOOKS:
        days += range(days[-1] + every, until + 1, every)
    return days[1:]


class Company:
    """A simulated company with its warehouse, built once for all clocks up to the end.

    Parameters
    ----------
    folder : Path
    artifacts : ArtifactStore
        Shared by the companies of a seed, which are the same until the change.
    models : sequence of Model
    seed : int
    scenario : str or None
    names : sequence of str
        The models that are watched, all of leads or all of customers.
    """

    def __init__(
        self,
        folder: Path,
        artifacts: ArtifactStore,
        models: Sequence[Model],
        seed: int,
        scenario: str | None,
        names: Sequence[str],
    ) -> None:
        self.folder = folder
        self.names = names
        self.artifacts = artifacts
        self.references: dict[str, Reference] = {}
        self.compiled = Build(variables={"as_of": END.isoformat()}, models=in_order(models))
        export, entity = folder / "crm", entity_of(names)
        simulate(
            export, leads=LEADS[entity], months=MONTHS, seed=seed, start=START, progress=False,
            company=FAULTLESS, customers_only=entity == "customer",
            scenario=scenario, scenario_date=None if scenario is None else CHANGED.date(),
        )  # fmt: skip
        self.warehouse = folder / f"{DATABASE}.duckdb"
        self.seed = seed
        self.open()
        build(self.connection, export, models)
        ensure(self.connection)

    def open(self) -> None:
        """Open the warehouse."""
        self.connection = DuckDBConnection(opened(str(self.warehouse)))
        self.connection.execute("set threads = 1")

    def remember(self, other: Company) -> None:
        """Copy the ledger of another company."""
        self.connection.execute(f"attach '{other.warehouse}' as other (read_only)")
        tables = self.connection.execute(
            "select table_name from duckdb_tables() where database_name = 'other' and schema_name = 'ml'"
        ).fetchall()
        for (name,) in tables:
            self.connection.execute(f"insert into ml.{name} select * from other.ml.{name}")
        self.connection.execute("detach other")

    def train(self, declaration: ModelDeclaration, clock: datetime, *, reason: str) -> bool:
        """Train a model on labels matured by a clock; return whether the version became champion."""
        import pandas as pd

        frame = training_rows(self.connection, declaration, _labels(declaration, clock))
        now = pd.Timestamp(clock)
        clocks = census_clocks(temporal_split(frame, declaration).cut, now, declaration.horizon_days)
        with self.connection.scratch("census") as space:
            census = census_in(self.connection, space, self.compiled, declaration, clocks)
        frozen = freeze(frame, declaration, self.artifacts.training_sets(declaration.name), now, census)
        version = train(declaration, frozen, self.artifacts.versions(declaration.name))
        evaluation = evaluate(version)
        run_id = f"{reason} {clock.isoformat()}"
        record_version(self.connection, version, evaluation, [], frozen, sha256(version.directory / MANIFEST), clock)
        record_training(
            self.connection, run_id, version, frozen, reason, clock, clock,
            as_of=clock, evidence=None, feature_code="as compiled",
        )  # fmt: skip
        _, decision = decide_and_record(
            self.connection, declaration, self.artifacts, version, run_id=run_id, decided_at=clock
        )
        return decision.outcome == "promote"

    def unseen(self, scenario: str | None) -> Watch:
        """Return the record of a company that is not yet watched."""
        return Watch(
            seed=self.seed,
            scenario=scenario,
            retrained={name: [] for name in self.names},
            promoted={name: [] for name in self.names},
        )

    def watch(self, scenario: str | None, since: datetime, days: Iterable[int]) -> Watch:
        """Measure at some days after a moment, and carry out the decisions."""
        watch = self.unseen(scenario)
        for day in days:
            self.look(since + timedelta(days=day), day, watch)
        return watch

    def look(self, clock: datetime, day: int, watch: Watch) -> None:
        """Measure the source and the drift of each model at a clock, decide, and carry the decisions out."""
        figures = source_health.measure_source_health(
            self.connection.opened, clock=clock, trained_at=source_health.oldest_training(self.connection)
        )
        record_source_health(self.connection, f"look {clock.isoformat()}", clock, figures, clock)
        failed = [verdict for verdict in source_health.judge_source_health(figures) if verdict.failed]
        for verdict in failed:
            watch.failed.setdefault(f"source: {verdict.check}", day)
        alarmed = [self._look_at(WITHOUT_AGE[name], clock, day, watch) for name in self.names]
        watch.looks += 1
        watch.alarms += bool(failed) or any(alarmed)

    def _look_at(self, declaration: ModelDeclaration, clock: datetime, day: int, watch: Watch) -> bool:
        champion = load_champion(self.connection, self.artifacts, declaration.name)
        if champion is None:
            return False
        run_id = f"{declaration.name} {clock.isoformat()}"
        if champion.version not in self.references:
            self.references[champion.version] = drift.reference(declaration, champion)
        evidence = drift.measure_drift(
            self.connection.opened, declaration, champion, clock=clock, reference=self.references[champion.version]
        )
        verdicts = judge(evidence, declaration.drift, max_age_days=declaration.retrain.max_champion_age_days)
        record_drift(self.connection, run_id, evidence, verdicts, clock)
        for verdict in verdicts:
            if verdict.failed:
                watch.failed.setdefault(f"{declaration.name}: {verdict.check}", day)
                watch.subjects.setdefault(f"{declaration.name}: {verdict.check}", verdict.subject)
        retrain_evidence = gather_retrain_evidence(
            self.connection, declaration, champion, clock=clock, feature_code="as compiled", in_flight=False
        )
        decision = decide_retraining(retrain_evidence, declaration.retrain)
        record_decision(self.connection, run_id, retrain_evidence, decision, clock)
        if decision.outcome == "quarantine" and watch.quarantined is None:
            watch.quarantined = day
        if decision.outcome == "retrain":
            watch.retrained[declaration.name].append(day)
            watch.promoted[declaration.name].append(self.train(declaration, clock, reason=decision.rule))
        return any(verdict.failed for verdict in verdicts)

    def close(self) -> None:
        """Close the warehouse."""
        self.connection.close()

    def remove(self) -> None:
        """Remove the files of the company."""
        shutil.rmtree(self.folder)


def report(watches: Sequence[Watch]) -> Report:
    """Summarize the records."""
    quiet = [watch for watch in watches if watch.scenario is None]
    days, leads = (CHANGED - TRAINED).days, LEADS[entity_of(watches[0].retrained)]
    noisy = [watch for watch in quiet if watch.failed]
    figures = [
        Figure(name=f"quiet companies with a failed check in {days} days, of {len(quiet)}", value=len(noisy), bound=0,
               digits=0),
        Figure(
            # drift must persist for as long as the quiet days last; for needless trainings see the scenario unchanged
            name="quiet companies in quarantine",
            value=sum(watch.quarantined is not None for watch in quiet),
            bound=0,
            digits=0,
        ),
        Figure(
            name="first versions that were refused, so that nothing was watched",
            value=sum(len(watch.without_champion) for watch in quiet),
            bound=0,
            digits=0,
        ),
    ]  # fmt: skip
    details = [
        f"{len(quiet)} seeds, {leads:,} leads over {MONTHS} months; days after the change: median (range), seeds",
        f"quiet: {sum(watch.alarms for watch in quiet)} of {sum(watch.looks for watch in quiet)} daily looks found a "
        "failed check",
    ]
    details += [
        f"  no champion of {', '.join(watch.without_champion)}, seed {watch.seed}"
        for watch in quiet
        if watch.without_champion
    ]
    details += [f"  false alarm, seed {watch.seed}: {watch.failed}" for watch in noisy]
    for scenario in dict.fromkeys(watch.scenario for watch in watches if watch.scenario is not None):
        seen = [watch for watch in watches if watch.scenario == scenario]
        details += ["", f"{scenario}, {len(seen)} seeds", *_rows_of(seen)]
        alarms, looks = sum(watch.alarms for watch in seen), sum(watch.looks for watch in seen)
        details.append(f"  looks at which a check failed: {alarms} of {looks}")
        subjects = Counter(f"{name} ({subject})" for watch in seen for name, subject in watch.subjects.items())
        details.append("  moved most: " + ", ".join(f"{name} {n}" for name, n in subjects.most_common(6)))
        expected = 1 if scenario in ASKS_FOR_TRAINING else 0
        for name in seen[0].retrained:
            trained = [len(watch.retrained[name]) for watch in seen]
            details.append(f"  {name}: trainings by seed {_counts(trained)}")
        kept = sum(_as_expected(watch, expected) for watch in seen)
        figures.append(
            Figure(
                name=f"{scenario}: seeds of {len(seen)} with {'one retraining' if expected else 'no retraining'}",
                value=kept,
                bound=len(seen),
                digits=0,
                more_is_better=True,
            )
        )
    return Report(name="scenarios", figures=figures, details=details)


def _as_expected(watch: Watch, expected: int) -> bool:
    """Say whether the model with most trainings was trained as often as expected."""
    trained = [len(days) for days in watch.retrained.values()]
    return max(trained) == expected


def _rows_of(seen: Sequence[Watch]) -> list[str]:
    names = sorted({name for watch in seen for name in watch.failed})
    rows = [(f"  {name}", *_spread([watch.failed[name] for watch in seen if name in watch.failed])) for name in names]
    rows += [
        (f"  {name}: retrained", *_spread([day for watch in seen for day in watch.retrained[name]]))
        for name in seen[0].retrained
        if any(watch.retrained[name] for watch in seen)
    ]
    stopped = [watch.quarantined for watch in seen if watch.quarantined is not None]
    rows += [("  quarantined", *_spread(stopped))] if stopped else []
    refused = sum(not promoted for watch in seen for each in watch.promoted.values() for promoted in each)
    return [*table(rows, left=1), *([f"  trainings that were not promoted: {refused}"] if refused else [])]


def _spread(days: Sequence[int]) -> tuple[str, str, str]:
    return f"{statistics.median(days):.0f}", f"({min(days)} to {max(days)})", f"{len(days)}"


def _counts(numbers: Sequence[int]) -> str:
    return ", ".join(f"{number} in {seeds}" for number, seeds in sorted(Counter(numbers).items()))


def _labels(declaration: ModelDeclaration, clock: datetime) -> str:
    """Return the labels that had matured by a clock, as SQL; a success after it is not known."""
    moment = timestamp_literal(clock)
    known = f"replace (case when succeeded_at <= {moment} then succeeded_at end as succeeded_at)"
    return (
        f"(select * {known if declaration.success_weight != 1 else ''} from labels.{declaration.label} "
        f"where matures_at <= {moment})"
    )


def _one_core() -> None:
    """Limit a worker to one core, because there are as many workers as cores."""
    prepare_process()
    os.environ.update({"LOKY_MAX_CPU_COUNT": "1", "OMP_NUM_THREADS": "1"})
    validation.SAMPLED_ROWS = ASSESSED_ROWS


def main(arguments: list[str] | None = None) -> int:
    """Watch some seeds and scenarios: ``python -m benchmarks.scenarios --seeds 2 --scenarios price_shock``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scenarios", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--entity", choices=SCENARIOS_OF, default="lead", help="whose models (default: %(default)s)")
    parser.add_argument("--scenarios", nargs="*", help="of the entity (default: all)")
    parser.add_argument("--models", nargs="*", help="of the entity (default: all)")
    chosen = parser.parse_args(arguments)
    scenarios, names = SCENARIOS_OF[chosen.entity], watched(chosen.entity)
    for given, known in ((chosen.scenarios, scenarios), (chosen.models, names)):
        if unknown := {*(given or ())} - {*known}:
            parser.error(f"expected some of {', '.join(known)}, found {', '.join(sorted(unknown))}")
    seeds = range(FIRST_SEED, FIRST_SEED + chosen.seeds)
    found = report(watch_all(seeds, chosen.scenarios or scenarios, chosen.models or names))
    sys.stdout.write("\n".join([*found.details, "", *table([figure.cells() for figure in found.figures])]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
