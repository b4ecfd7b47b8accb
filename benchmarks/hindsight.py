"""Check that features which know the outcome are named, and that honest ones are not.

Twenty simulated companies and a real funnel are honest: none of their features may be suspected. Leaks are planted into
another company, as a CRM makes them: a value that is entered, overwritten or removed when a lead is settled. Each leak
must be found, with a feature of the right columns named. A list of deals, whose price is 0 for lost deals, is the last
source.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.compiled import DATABASE, FAULTLESS, build, for_simulations
from benchmarks.measuring import Figure, Report, clean_environment, measured, table
from benchmarks.real_funnel import FUNNEL
from models.declared.registry import DECLARATIONS
from models.declaring.columns import AS_OF
from models.evaluation.calibration import CalibrationDecision
from models.evaluation.census import census_clocks, census_rows, measure_census
from models.evaluation.held_out import HeldOut, measure_held_out
from models.evaluation.hindsight import Hindsight, measure_alone
from models.evaluation.one_sided import measure_one_sided
from models.evaluation.records import Validation
from models.evaluation.suspicion import MAX_AUC, SELDOM, quality, suspicions
from models.evaluation.validation import Observed, importance
from models.learning.fitting import fit, predict
from models.learning.frames import feature_kinds, model_input
from models.learning.splitting import row_weights, sample_weights, temporal_split
from simulation import simulate
from store.features.compiled import Build, in_order
from store.features.training_rows import census_in, training_rows
from store.measuring.hindsight import recent_rows
from store.warehouse.warehouse import Extraction, Warehouse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.compiled import Model
    from models.declaring.declaration import ModelDeclaration
    from store.warehouse.connection import Connection

SEEDS = tuple(range(1, 21))
LEADS = 2_500
LEAKY, LEAKY_LEADS = 101, 5_000
"""Seed and leads of the company into which leaks are planted; with 2,500 leads, too few have an open proposal."""
END = datetime(2026, 6, 30, tzinfo=UTC)
MODELS = ("conversion", "next_best_action")
DEALS = FUNNEL.with_name("maven_crm")

# projects closed before the clock: the simulation continues for some hours of that day
ENDED = f"closed_at < timestamptz '{END.isoformat()}'"
SETTLED = f"""create or replace temp table settled as
with closed as (
    select lead_id, min(closed_at) filter (status = 'won') as won_at, min(closed_at) as closed_at
    from raw.projects where {ENDED} group by lead_id
),
refused as (
    select lead_id, min(recorded_at) as closed_at from raw.interactions
    where outcome = 'not_interested' and recorded_at < timestamptz '{END.isoformat()}' group by lead_id
)
select leads.lead_id, leads.created_at, closed.won_at, least(closed.closed_at, refused.closed_at) as settled_at
from raw.leads as leads left join closed using (lead_id) left join refused using (lead_id)"""
WON = "lead_id in (select lead_id from settled where won_at is not null)"
LOST = "lead_id in (select lead_id from settled where settled_at is not null and won_at is null)"
DONE = "lead_id in (select lead_id from settled where settled_at is not null)"
ONLY_SETTLED = tuple(
    f"delete from raw.{name} where not ({DONE})"
    for name in ("leads", "interactions", "appointments", "projects", "changes")
)


@dataclass(frozen=True, kw_only=True)
class Leak:
    """A change that a CRM makes to its past when a lead is settled.

    Attributes
    ----------
    statements : tuple of str
        Statements on schema ``raw`` and the table ``settled``.
    features : tuple of str
        At least one of these features must be named for the model of conversion.
    """

    statements: tuple[str, ...]
    features: tuple[str, ...]


def _price(value: str) -> tuple[str, ...]:
    return (f"update raw.projects set value = {value}",)


def _history(column: str, value: str, where: str) -> tuple[str, ...]:
    return (f"update raw.changes set value = {value} where column_name = '{column}' and {where}",)


def _dated_back(kind: str) -> tuple[str, ...]:
    return (
        f"insert into raw.interactions by name select lead_id || '-{kind}' as interaction_id, lead_id, "
        f"'{kind}' as type, 'internal' as direction, created_at + interval 1 hour as occurred_at, "
        f"created_at + interval 1 hour as recorded_at from settled where {WON}",
    )


_PRICE, _VALUE, _ZIP, _SOURCE = (
    ("open_proposals_value",), ("property_value", "property_value_tier"), ("zip_prefix",), ("lead_source",)
)  # fmt: skip
_FOR_LOST_0 = _price(f"case when not ({ENDED}) then null when status = 'won' then value when {ENDED} then 0 end")

LEAKS: Mapping[str, Leak] = {
    "price entered at the end": Leak(statements=_price(f"case when {ENDED} then value end"), features=_PRICE),
    "price 0 for lost, none for open": Leak(statements=_FOR_LOST_0, features=_PRICE),
    "property value entered at the end": Leak(
        statements=_history("property_value", "null", f"not ({DONE})"), features=_VALUE
    ),
    "property value 0 for lost": Leak(statements=_history("property_value", "'0'", LOST), features=_VALUE),
    "property value overwritten by 1": Leak(statements=_history("property_value", "'1'", DONE), features=_VALUE),
    "address asked for with the contract": Leak(statements=_history("zip_code", "null", f"not ({WON})"), features=_ZIP),
    "address erased at the end": Leak(statements=_history("zip_code", "null", DONE), features=_ZIP),
    "source overwritten when won": Leak(
        statements=(f"update raw.leads set source = 'customer' where {WON}",), features=_SOURCE
    ),
    "source holds the reason of a loss": Leak(
        statements=(f"update raw.leads set source = 'lost: ' || source where {LOST}",), features=_SOURCE
    ),
    "status dated back": Leak(
        statements=(
            f"delete from raw.changes where column_name = 'status' and {DONE}",
            "insert into raw.changes select lead_id || '-status', lead_id, null, 'status', case when won_at is null "
            f"then 'dead' else 'customer' end, created_at from settled where {DONE}",
        ),
        features=("status_as_of",),
    ),
    "owner reassigned, dated back": Leak(
        statements=(
            f"delete from raw.changes where column_name = 'assigned_to' and {DONE}",
            *(
                f"insert into raw.changes select lead_id || '-owner{n}', lead_id, null, 'assigned_to', 'desk {n}', "
                f"created_at + interval {n} second from settled where {DONE}"
                for n in range(9)
            ),
        ),
        features=("owner_changes_count_lifetime",),
    ),
    "note of a win, dated back": Leak(
        statements=_dated_back("note"), features=("days_since_last_note", "notes_count_lifetime", "notes_count_90d")
    ),
    "call outcomes overwritten at the end": Leak(
        statements=(
            f"update raw.interactions set outcome = 'closed' where {DONE} "
            "and outcome is distinct from 'not_interested'",
        ),
        features=("last_interaction_outcome",),
    ),
    "mails opened where won alone": Leak(
        statements=(
            f"update raw.interactions set opened_at = case when {WON} then occurred_at end where type = 'email'",
        ),
        features=("email_open_rate",),
    ),
    "appointments kept where settled alone": Leak(
        statements=(f"update raw.appointments set ended_at = null, status = 'scheduled' where not ({DONE})",),
        features=("appointment_show_rate", "days_since_last_appointment_end"),
    ),
    "address with the contract, settled leads alone": Leak(
        statements=(*_history("zip_code", "null", f"not ({WON})"), *ONLY_SETTLED), features=_ZIP
    ),
    "source when won, settled leads alone": Leak(
        statements=(f"update raw.leads set source = 'customer' where {WON}", *ONLY_SETTLED), features=_SOURCE
    ),
}


@dataclass(frozen=True, kw_only=True)
class Looked:
    """The measurements of a model in one source.

    Attributes
    ----------
    source, model : str
    hindsight : Hindsight
    skill : float
        The larger skill of the model, on held-out rows or on the census.
    named : tuple of str
        The suspected features.
    """

    source: str
    model: str
    hindsight: Hindsight
    skill: float
    named: tuple[str, ...]


def run() -> Report:
    """Measure honest sources, planted leaks and the list of deals."""
    details: list[str] = []
    with tempfile.TemporaryDirectory(prefix="leadline-benchmark-") as folder:
        root = Path(folder)
        models = for_simulations(root, END)
        honest = [each for seed in SEEDS for each in _simulated(root, models, seed, f"company {seed}")]
        if FUNNEL.exists():
            honest += _trained(root, "real funnel", FUNNEL)
        figures = [_count("honest sources: features suspected", sum(len(each.named) for each in honest), 0)]
        for model in MODELS:
            figures += _extremes(model, [each for each in honest if each.model == model], details)
        figures += _planted(root, models, details)
        if DEALS.exists():
            deals = _trained(root, "list of deals", _as_contract(root / "deals"))
            right = sum(each.named == ("open_proposals_value",) for each in deals)
            figures.append(_count("list of deals: the price is named", right, 1, more_is_better=True))
    return Report(name="hindsight", figures=figures, details=details)


def _count(name: str, value: int, bound: int, *, more_is_better: bool = False) -> Figure:
    return Figure(name=name, value=value, bound=bound, digits=0, more_is_better=more_is_better)


def _extremes(model: str, looked: Sequence[Looked], details: list[str]) -> list[Figure]:
    """Return the figures that come closest to a suspicion, one of each kind."""
    declared = DECLARATIONS[model]
    alone, source = max(((each.hindsight.alone[0], each.source) for each in looked), key=lambda pair: pair[0].skill)
    auc = max(one.auc or 0 for each in looked for one in each.hindsight.alone)
    value, source_of_value = min(
        ((each.hindsight.one_sided[0], each.source) for each in looked), key=lambda pair: pair[0].seen
    )  # fmt: skip
    details += [
        f"{model}: {alone.feature} alone predicts {alone.outcome} best, in {source}",
        f"{model}: {value.feature} is {value.value} on the side {value.side} most, in {source_of_value}",
    ]
    return [
        Figure(name=f"{model}: skill of a feature alone, at most", value=alone.skill, bound=declared.max_skill_alone,
               digits=3),
        Figure(name=f"{model}: AUC of a feature alone, at most", value=auc, bound=MAX_AUC, digits=3),
        Figure(name=f"{model}: seen on the other side, at least", value=value.seen, bound=SELDOM, digits=3,
               more_is_better=True),
        Figure(name=f"{model}: skill of the model, at most", value=max(each.skill for each in looked),
               bound=declared.max_skill, digits=3),
    ]  # fmt: skip


def _planted(folder: Path, models: Sequence[Model], details: list[str]) -> list[Figure]:
    lines = [("leak", "model", "named", "")]
    right = dict.fromkeys(MODELS, 0)
    for name, leak in LEAKS.items():
        for each in _simulated(folder, models, LEAKY, name, leak.statements):
            found = bool(set(leak.features) & set(each.named))
            right[each.model] += found
            lines.append((name, each.model, ", ".join(each.named) or "-", "found" if found else ""))
    details += ["", *table(lines, left=4)]
    return [
        _count(
            "conversion: leaks of which a right feature is named", right["conversion"], len(LEAKS), more_is_better=True
        ),
        Figure(
            name="next_best_action: leaks of which a right feature is named", value=right["next_best_action"], digits=0
        ),
    ]  # fmt: skip


def _simulated(
    folder: Path, models: Sequence[Model], seed: int, name: str, statements: Sequence[str] = ()
) -> list[Looked]:
    """Build a simulated company, with a leak in its export, and measure each model."""
    export = folder / f"crm_{seed}"
    if not export.exists():
        simulate(export, leads=LEAKY_LEADS if seed == LEAKY else LEADS, seed=seed, company=FAULTLESS, progress=False)
    (folder / f"{DATABASE}.duckdb").unlink(missing_ok=True)
    with Warehouse(address=f"duckdb:{folder / f'{DATABASE}.duckdb'}").connect() as connection:
        build(connection, export, [])
        for statement in (SETTLED, *statements):
            connection.execute(statement)
        for model in models:
            model.create(connection)
        whole = Build(variables={"as_of": END.isoformat()}, models=in_order(models))
        return [_look(connection, whole, DECLARATIONS[model], name) for model in MODELS]


def _look(connection: Connection, whole: Build, declared: ModelDeclaration, source: str) -> Looked:
    """Take the measurements of a training, without its other steps."""
    import numpy as np
    import pandas as pd

    view, clock = declared.feature_view, pd.Timestamp(END)
    frame = training_rows(connection, declared, f"labels.{declared.label}")
    frame = frame.sort_values([view.key, AS_OF], kind="stable", ignore_index=True)
    kinds, sides = feature_kinds(frame, declared.not_features), temporal_split(frame, declared)
    rows = Observed(
        features=model_input(frame, kinds),
        label=declared.task.cast(frame[declared.label_column]),
        weights=sample_weights(frame, declared, sides.cut),
        stands_for=row_weights(frame, declared),
        entities=pd.factorize(frame[view.key])[0],
    )
    train, test = rows.rows(sides.train), rows.rows(sides.test)
    fitted = fit(declared, train.features, train.label, train.weights)
    with connection.scratch(f"census_{declared.name}", whole.relations) as space:
        clocks = census_clocks(sides.cut, clock, declared.horizon_days)
        open_leads = census_in(connection, space, whole, declared, clocks)
    census = None
    if len(open_leads):
        of_clocks = census_rows(declared, open_leads, kinds)
        expected = predict(fitted, of_clocks.features, declared.task)
        census = measure_census(declared, of_clocks.predicted(expected, declared.task), open_leads)
    predicted = test.predicted(predict(fitted, test.features, declared.task), declared.task)
    plain = test.predicted(np.tile(declared.task.baseline(train.label), (len(test), 1)), declared.task)
    ranked, shuffled = importance(fitted, test, declared.task, declared.seed)
    extraction = Extraction(
        as_of=END, load_number=1, source=source, mapping="contract", closing={"closing_outcomes": ["not_interested"]},
        silence_closes_after_days=None, horizon_days={}, assumptions=[],
    )  # fmt: skip
    recent = recent_rows(connection, declared, extraction)
    assert recent is not None
    evaluation = measure_held_out(
        declared,
        source,
        HeldOut(
            model=predicted, before_scaling=predicted, after_scaling=predicted, linear=plain, baseline=plain,
            segments=pd.DataFrame(index=range(len(test))), linear_rows=0,
        ),
        None,
        CalibrationDecision(applied=False, reason="left out"),
        0,
        Validation(
            cross_validation=None, note="left out", learning_curve=(), importance=ranked, importance_rows=shuffled
        ),
        census,
        Hindsight(
            alone=measure_alone(train, test, declared.task),
            one_sided=measure_one_sided(recent, declared, kinds, clock),
        ),
    )  # fmt: skip
    assert evaluation.hindsight is not None
    named = dict.fromkeys(each.feature for each in suspicions(declared, evaluation))
    return Looked(
        source=source, model=declared.name, hindsight=evaluation.hindsight, named=tuple(named),
        skill=max(float("nan") if each.skill.value is None else each.skill.value for each in quality(evaluation)),
    )  # fmt: skip


def _trained(folder: Path, name: str, source: Path) -> list[Looked]:
    """Run the whole loop on a source, as a user would, and read the decision on each trained model."""
    import duckdb
    from pydantic import TypeAdapter

    home = folder / f"home of the {name}"
    log = folder / "run.log"
    measured(("-m", "orchestration", "run"), clean_environment(home, LEADLINE_SOURCE=str(source)), log)
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        found = connection.execute(
            "select model, versions.metrics, versions.baseline, census, hindsight, evidence "
            "from ml.ml_models as versions inner join ml.ml_decisions as decisions using (model, version) "
            "where kind = 'promotion' order by model"
        ).fetchall()
    looked = []
    for model, metrics, baseline, census, hindsight, evidence in found:
        skill = [1 - json.loads(metrics)["log_loss"] / json.loads(baseline)["log_loss"]]
        of_census = json.loads(census)
        skill.append(1 - of_census["metrics"]["log_loss"]["value"] / of_census["trivial_loss"])
        named = dict.fromkeys(each["feature"] for each in json.loads(evidence)["suspected"])
        looked.append(
            Looked(
                source=name, model=model, hindsight=TypeAdapter(Hindsight).validate_json(hindsight), skill=max(skill),
                named=tuple(named),
            )
        )  # fmt: skip
    return looked


def _as_contract(folder: Path) -> Path:
    """Write the list of deals as the tables of the source contract: a lead and its project for each deal."""
    import pandas as pd

    deals = pd.read_csv(DEALS / "sales_pipeline.csv")
    deals = deals[deals["engage_date"].notna()]
    folder.mkdir()
    tables = {
        "leads": {
            "lead_id": deals["opportunity_id"], "created_at": deals["engage_date"] + "T08:00:00Z",
            "source": deals["product"], "assigned_to": deals["sales_agent"],
        },
        "projects": {
            "project_id": deals["opportunity_id"], "lead_id": deals["opportunity_id"], "value": deals["close_value"],
            "status": deals["deal_stage"].map({"Won": "won", "Lost": "lost"}).fillna("open"),
            "proposed_at": deals["engage_date"] + "T09:00:00Z", "closed_at": deals["close_date"] + "T17:00:00Z",
        },
    }  # fmt: skip
    for name, columns in tables.items():
        pd.DataFrame(columns).to_csv(folder / f"{name}.csv", index=False)
    mapping = (
        "name: deals\nbased_on: contract\ntables:\n  interactions: {absent: true}\n  appointments: {absent: true}\n"
    )
    (folder / "mapping.yml").write_text(mapping, encoding="utf-8")
    return folder
