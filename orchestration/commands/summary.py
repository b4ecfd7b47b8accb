"""The summary at the end of a run: what was scored, how good the models are, where things lie, what to do next."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from models.artifacts import ArtifactMismatchError
from models.declared.lead_features import LEAD_FEATURES
from models.declared.registry import DECLARATIONS
from store.addresses import without_password
from store.artifacts import ArtifactStore
from store.features.builds import labelled_since
from store.features.certificates import CompiledSql
from store.ledger.champions import load_champion
from store.ledger.predictions import outside_by_feature
from store.ledger.schema import ledger
from store.measuring.source_health import CHECKS
from store.places import OWN_SERVER, default_home
from store.publishing import publications
from store.settings import Settings, horizon_setting
from store.warehouse.connection import Connection
from store.warehouse.warehouse import Extraction, Warehouse, engine_of


def summarize(current: Settings) -> str:
    """Return the summary of a home, read from its warehouse."""
    warehouse = Warehouse(address=current.warehouse)
    extraction = warehouse.extraction()
    artifacts = ArtifactStore(root=str(current.artifacts), reports_port=current.reports_port)
    with ledger(warehouse) as connection:
        scored, unscored = _scores(connection, extraction.as_of.isoformat(timespec="seconds"))
        parts = [
            *([] if scored else unscored),
            f"source     {without_password(extraction.source)} (mapping {extraction.mapping})",
            *([*scored, *unscored] if scored else []),
            *_losses(current),
            _rejects(connection),
            *(f"note       {assumption}" for assumption in extraction.assumptions),
            *overridden(current, extraction),
            *(f"accepted   {sentence}" for sentence in extraction.accepted),
            *_proof(current, extraction.as_of),
            *_labels(current, extraction.as_of),
            *(_model(connection, artifacts, name) for name in DECLARATIONS),
            _source(connection, first=extraction.load_number == 1),
            *(line for name in DECLARATIONS for line in _drift(connection, name)),
        ]
    return "\n".join(["", *parts, "", *_places(current, warehouse, artifacts), "", *_next_steps(current), ""])


def _scores(connection: Connection, clock: str) -> tuple[list[str], list[str]]:
    """Return what was scored, if anything, and why the rest was not; of nothing scored the latter says so first."""
    found = connection.execute(
        "select model, version, unscored_reason, outside_training from ml.ml_scoring_logs "
        "where as_of = (select as_of from raw.extraction)"
    ).fetchall()
    logs = {model: log for model, *log in found}
    scoring = [name for name in DECLARATIONS if name in logs and logs[name][0] is not None]
    open_leads, scored, value = connection.execute(
        "select count(*), count(coalesce(conversion_model_version, action_model_version)), sum(expected_value) "
        "from marts.lead_scores"
    ).fetchall()[0]
    # where a rule does without a model, nothing is missing
    needed = {name for name, each in DECLARATIONS.items() if not each.rule}
    unscored = [
        f"unscored   {name}: {reason}"
        for name, (_, reason, _) in sorted(logs.items())
        if reason is not None and name in needed
    ]
    if not scored:
        of = f"none of {open_leads:,} open leads has a score" if open_leads else "no lead is open"
        return [], [f"scored     nothing is scored: {of}, as of {clock}", *unscored]
    by_grade = connection.execute(
        "select grade, count(*) from marts.lead_scores where grade is not null group by grade order by grade"
    ).fetchall()
    by_action = connection.execute(
        "select next_best_action, count(*) from marts.lead_scores where next_best_action is not null "
        "group by next_best_action order by 2 desc, 1"
    ).fetchall()
    by = "" if needed <= set(scoring) else f" by {', '.join(scoring)} alone"
    worth = "" if value is None else f"; expected value {value:,.0f}"
    lines = [f"scored     {scored:,} of {open_leads:,} open leads{by}, as of {clock}{worth}"]
    if by_grade:
        lines.append("grades     " + ", ".join(f"{grade} {n:,}" for grade, n in by_grade))
    if by_action:
        lines.append("actions    " + ", ".join(f"{action} {n:,}" for action, n in by_action))
    outside = {name: logs[name][2] for name in scoring}
    if beyond := [f"{n:,} by {name} ({_causes(connection, name)})" for name, n in outside.items() if n]:
        lines.append(f"marked     scored outside of what was learnt from: {', '.join(beyond)} (…_outside_training)")
    return lines, unscored


def _causes(connection: Connection, model: str) -> str:
    return ", ".join(f"{n:,} by {feature}" for feature, n in outside_by_feature(connection, model).items())


def overridden(current: Settings, extraction: Extraction) -> list[str]:
    """Return the horizons of the mapping that a setting replaces."""
    return [
        f"note       {horizon_setting(model)}={current.horizon_days[model]} replaces the horizon of {days} days that "
        f"mapping {extraction.mapping} has for {model}."
        for model, days in extraction.horizon_days.items()
        if current.horizon_days.get(model, days) != days
    ]


def _losses(current: Settings) -> list[str]:
    record = publications.read(current.publication_record)
    return [] if record is None else [f"lost       {each}; a person accepted it" for each in record.accepted]


def _rejects(connection: Connection) -> str:
    rows = connection.execute(
        "select table_name, reason, count(*) from raw.rejects group by table_name, reason order by 3 desc, 1, 2"
    ).fetchall()
    if not rows:
        return "rejects    none"
    shown = ", ".join(f"{n:,} {table} ({reason})" for table, reason, n in rows[:4])
    return f"rejects    {sum(n for *_, n in rows):,}: {shown}{', …' if len(rows) > 4 else ''} → raw.rejects"


def _model(connection: Connection, artifacts: ArtifactStore, name: str) -> str:
    row = connection.execute(
        "select decisions.outcome, decisions.reason, versions.version, versions.metrics, versions.baseline, "
        "versions.missed_gates, champions.version, versions.census, decisions.evidence "
        "from ml.ml_decisions as decisions "
        "left join ml.ml_models as versions using (model, version) "
        "left join ml.ml_champions as champions on decisions.model = champions.model "
        "where decisions.model = $1 and decisions.kind = 'promotion' order by decisions.decided_at desc limit 1",
        [name],
    ).fetchone()
    if row is None:
        return f"model      {name}: never trained; run the job whole_loop"
    outcome, reason, version, metrics, baseline, missed, champion, census, evidence = row
    if not champion and DECLARATIONS[name].rule:
        return f"model      {' '.join(filter(None, (name, version)))}: not taken: {reason}"
    why = f"{reason} The champion is {champion}." if champion else "see unscored above. There is no champion."
    if version is None:
        return f"model      {name}: not trained: {why}"
    measured, trivial = json.loads(metrics), json.loads(baseline)
    figures = ", ".join(
        f"{metric} {_figure(value)} (baseline {_figure(trivial[metric])})"
        for metric, value in measured.items()
        if isinstance(value, float) and isinstance(trivial.get(metric), float) and value != trivial[metric]
    )
    lines = [f"model      {name} {version}: {figures}"]
    if census is not None:
        lines.append(f"           census: {_census(json.loads(census))}")
    if confirmed := _confirmed(json.loads(evidence)):
        lines.append(f"           suspected of hindsight, and confirmed by a person: {confirmed}")
    if outcome == "refuse":
        lines.append(f"           not promoted: {why}")
    lines += [f"           gate missed: {each}" for each in json.loads(missed)]
    try:
        load_champion(connection, artifacts, name)
    except ArtifactMismatchError:
        lines.append(
            f"           the champion {champion} does not load any more: `make run` trains anew, and what is published "
            "stays as it is until then"
        )
    return "\n".join(lines)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3f}"


def _confirmed(evidence: dict[str, Any]) -> str:
    suspected = [each["feature"] for each in evidence.get("suspected") or ()]
    return ", ".join(name for name in dict.fromkeys(suspected) if name in evidence.get("confirmed", ()))


def _census(census: dict[str, Any]) -> str:
    totals = ", ".join(
        f"{each['outcome']} expected {each['expected']:,.0f}, happened {each['actual']:,}" for each in census["totals"]
    )
    # a lead counts once for each clock at which it was open, and so does what happened to it
    return f"of {census['rows']:,} leads by day, open at {len(census['clocks'])} past clocks: {totals}"


def _proof(current: Settings, as_of: datetime) -> list[str]:
    if (certificate := CompiledSql(root=str(current.compiled)).certificate(LEAD_FEATURES.name, as_of)) is None:
        return []
    said = json.loads(certificate)
    if "error" in said:
        return [f"proof      did not run, and a person accepted this build: {said['error']}"]
    names = ", ".join(said["differing_columns"])
    verdict = (
        "nothing of what came later was found"
        if said["passed"]
        else f"values that were not known then, and a person accepted this build: {names}"
    )
    of = "all leads" if said["leads_share"] == 1 else f"{said['leads_share']:.0%} of the leads, others at each clock"
    replayed = f"replayed at {len(said['moments'])} moments for {of}"
    lines = [f"proof      {said['rows']:,} rows of {said['features']} features, {replayed}: {verdict}"]
    if said["not_exercised"]:
        lines.append(f"           not exercised, so nothing is shown of: {', '.join(said['not_exercised'])}")
    return lines


def _labels(current: Settings, as_of: datetime) -> list[str]:
    compiled = CompiledSql(root=str(current.compiled))
    return [
        f"labels     {each.label}: the source records outcomes from about {since:%Y-%m-%d} on; earlier observations "
        "have no label"
        for each in DECLARATIONS.values()
        if (since := labelled_since(compiled, as_of, each.label)) is not None
    ]


def _source(connection: Connection, *, first: bool) -> str:
    rows = connection.execute(
        "select check_name, subject, value, threshold from ml.ml_source_health "
        "where failed and as_of = (select as_of from raw.extraction) order by check_name, subject"
    ).fetchall()
    broken = "; ".join(f"{check} of {subject} {value:.2f} (bound {bound:g})" for check, subject, value, bound in rows)
    if broken:
        return f"health     {broken}"
    measured = connection.execute(
        "select distinct check_name from ml.ml_source_health where as_of = (select as_of from raw.extraction)"
    ).fetchall()
    unmeasured = [name for name in CHECKS if (name,) not in measured]
    if len(unmeasured) == len(CHECKS):
        none = "; this is its first extraction" if first else ""
        return f"health     not enough evidence to tell whether the source delivers what it delivered before{none}"
    without = f"; not enough evidence of {', '.join(unmeasured)}" if unmeasured else ""
    if first:
        return f"health     first extraction: the last days of the source deliver what its earlier ones did{without}"
    return f"health     the source delivers what it delivered before{without}"


def _drift(connection: Connection, name: str) -> list[str]:
    row = connection.execute(
        "select outcome, reason, rule from ml.ml_decisions where model = $1 and kind = 'retraining' "
        "order by decided_at desc limit 1",
        [name],
    ).fetchone()
    if row is None:
        return [f"drift      {name}: not measured yet"]
    if row[2] == "no_champion" and DECLARATIONS[name].rule:
        return []
    worst = connection.execute(
        "select feature, value from ml.ml_drift_logs "
        "where model = $1 and check_name = 'features' and statistic = 'psi' "
        "and as_of = (select as_of from raw.extraction) order by value desc, feature limit 1",
        [name],
    ).fetchone()
    moved = "nothing to measure" if worst is None else "no feature has moved"
    if worst is not None and worst[1] > 0:
        moved = f"{worst[0]} has moved most, by a PSI of {worst[1]:.3f}"
    return [f"drift      {name}: {moved}; {row[0]}: {row[1]}"]


def _places(current: Settings, warehouse: Warehouse, artifacts: ArtifactStore) -> list[str]:
    found_by = warehouse.engine.readers(current.published)
    alone = "; one process at a time" if warehouse.engine.is_file else ""
    readers = found_by.place + (f", readable by the role {found_by.role}" if found_by.role else "")
    if current.warehouse_of_home == OWN_SERVER:
        readers += f", while `{ui_command(current)}` runs, at the address that it prints"
    return [
        f"scores     {readers} (marts.lead_scores, marts.lead_score_history; for readers)",
        f"warehouse  {warehouse.shown} (the pipeline's own{alone})",
        f"artifacts  {current.artifacts} (training sets and models, each with its manifest)",
        f"docs       {artifacts.docs} (every table and column; open it in a browser)",
    ]


def _next_steps(current: Settings) -> Iterator[str]:
    yield f"next       {ui_command(current)}: look at every step, and run it again"
    if not current.source:
        run = f"make run{_warehouse_argument(current)} SOURCE=<folder of CSV or Parquet files>"
        yield f"           {run}: score your own CRM's export"


def ui_command(current: Settings) -> str:
    """Return the command that opens the UI of a home."""
    # an address may hold a password
    source = "" if current.source is None else f" SOURCE={'…' if '://' in current.source else current.source}"
    default = default_home(current.source, current.warehouse)
    home = "" if current.home == default else f" HOME_DIR={current.home}"
    return f"make ui{source}{_warehouse_argument(current)}{home}"


def _warehouse_argument(current: Settings) -> str:
    if engine_of(current.warehouse).is_file:
        return ""
    return f" WAREHOUSE={OWN_SERVER if current.warehouse_of_home == OWN_SERVER else '…'}"
