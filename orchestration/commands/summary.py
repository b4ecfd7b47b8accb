"""The summary at the end of a run: scores, quality of the models, places of the results, next steps."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from models.declared.registry import DECLARATIONS, SCORED_TABLES
from models.declaring.declaration import ModelDeclaration
from models.declaring.feature_view import FeatureView
from models.declaring.scored_table import ScoredTable
from store.addresses import without_password
from store.artifacts import ArtifactStore
from store.features.builds import labelled_since
from store.features.certificates import CompiledSql
from store.ledger.champions import ChampionMismatchError, load_champion
from store.ledger.decisions import LAST
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
    artifacts = ArtifactStore(root=str(current.artifacts), reports_address=current.reports_address)
    models = {name: each for name, each in DECLARATIONS.items() if not extraction.lacks(each.feature_view.entity)}
    views = {each.feature_view.name: each.feature_view for each in models.values()}
    with ledger(warehouse) as connection:
        scored, unscored = _scores(connection, extraction)
        parts = [
            *([] if extraction.caveat is None else [f"caution    {extraction.caveat}"]),
            *([] if scored else unscored),
            f"source     {without_password(extraction.source)} (mapping {extraction.mapping})",
            *([*scored, *unscored] if scored else []),
            *_losses(current),
            _rejects(connection),
            *(f"note       {assumption}" for assumption in extraction.assumptions),
            *overridden(current, extraction),
            *(f"accepted   {sentence}" for sentence in extraction.accepted),
            *(line for view in views.values() for line in _proof(current, extraction.as_of, view)),
            *_labels(current, extraction.as_of, models.values()),
            *(_model(connection, artifacts, each) for each in models.values()),
            _source(connection, first=extraction.load_number == 1),
            *(line for name in models for line in _drift(connection, name)),
        ]
    places = _places(current, warehouse, artifacts, _tables(extraction))
    return "\n".join(["", *parts, "", *places, "", *_next_steps(current), ""])


def _tables(extraction: Extraction) -> list[ScoredTable]:
    """Return the scored tables of the entities that the source has."""
    return [each for each in SCORED_TABLES.values() if not extraction.lacks(each.entity)]


def _scores(connection: Connection, extraction: Extraction) -> tuple[list[str], list[str]]:
    """Return the lines on the scores, if there are any, and the lines on what has no score."""
    clock = extraction.as_of.isoformat(timespec="seconds")
    found = connection.execute(
        "select model, version, unscored_reason, outside_training from ml.ml_scoring_logs "
        "where as_of = (select as_of from raw.extraction)"
    ).fetchall()
    logs = {model: log for model, *log in found}
    scoring = [name for name in DECLARATIONS if name in logs and logs[name][0] is not None]
    scored: list[str] = []
    empty: list[str] = []
    for table in _tables(extraction):
        are_scored, lines = _of_table(connection, extraction, table, scoring, clock)
        (scored if are_scored else empty).extend(lines)
    # a declared rule replaces a model that has not scored
    required = {name for name, each in DECLARATIONS.items() if not each.rule}
    unscored = [
        f"unscored   {name}: {reason}"
        for name, (_, reason, _) in sorted(logs.items())
        if reason is not None and name in required
    ]
    if not scored:
        return [], [*empty, *unscored]
    outside = {name: logs[name][2] for name in scoring}
    if marks := [f"{n:,} by {name} ({_causes(connection, name)})" for name, n in outside.items() if n]:
        scored.append(
            f"marked     scored with values that the training has hardly seen: {', '.join(marks)} (…_outside_training)"
        )
    return [*scored, *empty], unscored


def _of_table(
    connection: Connection, extraction: Extraction, table: ScoredTable, scoring: Sequence[str], clock: str
) -> tuple[bool, list[str]]:
    """Return whether a table has scores, and the lines on them, or why there are none."""
    mart = f"marts.{table.name}"
    counted_ones = table.entity.plural if table.out_of_scope else f"open {table.entity.plural}"
    total = f"sum({table.total})" if table.total else "null"
    reasons = ", ".join(each.reason for each in table.models.values())
    left_out = f"count(case when '{table.out_of_scope}' in ({reasons}) then 1 end)" if table.out_of_scope else "0"
    rows, beside, scored, value = connection.execute(
        f"select count(*), {left_out}, count(coalesce({', '.join(table.versions)})), {total} from {mart}"
    ).fetchall()[0]
    listed = rows - beside
    if not scored:
        finding = f"none of {listed:,} {counted_ones} has a score" if listed else f"no {table.entity.name} is open"
        if beside and not listed:
            finding = f"all of {beside:,} {counted_ones} are {table.out_of_scope}"
        return False, [f"scored     nothing is scored: {finding}, as of {clock}"]
    # models of other entities score no row of this table
    table_models = [name for name in scoring if name in table.models]
    by_models = "" if set(table.models) <= set(table_models) else f" by {', '.join(table_models)} alone"
    worth = "" if value is None else f"; {table.total_words} {value:,.0f} {extraction.value_currency or ''}".rstrip()
    others = f" ({beside:,} more are {table.out_of_scope})" if beside else ""
    lines = [f"scored     {scored:,} of {listed:,} {counted_ones}{others}{by_models}, as of {clock}{worth}"]
    for heading, column in {**table.counted_in_order, **table.counted}.items():
        counted = connection.execute(
            f"select {column}, count(*) from {mart} where {column} is not null group by 1 order by 1"
        ).fetchall()
        if heading in table.counted:
            counted.sort(key=lambda each: -each[1])
        if counted:
            lines.append(f"{heading:<11}" + ", ".join(f"{value} {n:,}" for value, n in counted))
    return True, lines


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
    largest = ", ".join(f"{n:,} {table} ({reason})" for table, reason, n in rows[:4])
    return f"rejects    {sum(n for *_, n in rows):,}: {largest}{', …' if len(rows) > 4 else ''} → raw.rejects"


def _model(connection: Connection, artifacts: ArtifactStore, declaration: ModelDeclaration) -> str:
    name = declaration.name
    row = connection.execute(
        "select decisions.outcome, decisions.reason, versions.version, versions.metrics, versions.baseline, "
        "versions.missed_gates, champions.version, versions.census, decisions.evidence "
        f"from (select * from ml.ml_decisions where model = $1 and kind = 'promotion' {LAST}) as decisions "
        "left join ml.ml_models as versions using (model, version) "
        "left join ml.ml_champions as champions on decisions.model = champions.model",
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
    values, trivial = json.loads(metrics), json.loads(baseline)
    figures = ", ".join(
        f"{metric} {_figure(value)} (baseline {_figure(trivial[metric])})"
        for metric, value in values.items()
        if isinstance(value, float) and isinstance(trivial.get(metric), float) and value != trivial[metric]
    )
    lines = [f"model      {name} {version}: {figures}"]
    if census is not None:
        lines.append(f"           census: {_census(json.loads(census), declaration.feature_view.entity.plural)}")
    if confirmed := _confirmed(json.loads(evidence)):
        lines.append(f"           suspected of hindsight, and confirmed by a person: {confirmed}")
    if outcome == "refuse":
        lines.append(f"           not promoted: {why}")
    lines += [f"           gate missed: {each}" for each in json.loads(missed)]
    try:
        load_champion(connection, artifacts, name)
    except ChampionMismatchError:
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


def _census(census: dict[str, Any], entities: str) -> str:
    totals = ", ".join(
        f"{each['outcome']} expected {each['expected']:,.0f}, happened {each['actual']:,.0f}"
        for each in census["totals"]
    )
    # an entity and its outcome count once for each clock at which the entity was open
    return f"of {census['rows']:,} {entities} by day, open at {len(census['clocks'])} past clocks: {totals}"


def _proof(current: Settings, as_of: datetime, view: FeatureView) -> list[str]:
    if (certificate := CompiledSql(root=str(current.compiled)).certificate(view.name, as_of)) is None:
        return []
    proof = json.loads(certificate)
    if "error" in proof:
        return [f"proof      did not run, and a person accepted this build: {proof['error']}"]
    names = ", ".join(proof["differing_columns"])
    verdict = (
        "no value uses a later fact"
        if proof["passed"]
        else f"values that were not known then, and a person accepted this build: {names}"
    )
    # certificates of earlier versions name the share differently
    share, entities = proof.get("entities_share"), view.entity.plural
    sample = f"some {entities}" if share is None else f"{share:.0%} of the {entities}, others at each clock"
    replayed_entities = f"all {entities}" if share == 1 else sample
    replayed = f"replayed at {len(proof['moments'])} moments for {replayed_entities}"
    lines = [f"proof      {proof['rows']:,} rows of {proof['features']} features, {replayed}: {verdict}"]
    if proof["not_exercised"]:
        lines.append(f"           not exercised, so not proved: {', '.join(proof['not_exercised'])}")
    return lines


def _labels(current: Settings, as_of: datetime, models: Iterable[ModelDeclaration]) -> list[str]:
    compiled = CompiledSql(root=str(current.compiled))
    return [
        f"labels     {label}: the source records outcomes from about {since:%Y-%m-%d} on; earlier observations have "
        "no label"
        for label in dict.fromkeys(each.label for each in models)
        if (since := labelled_since(compiled, as_of, label)) is not None
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
    missing = f"; not enough evidence of {', '.join(unmeasured)}" if unmeasured else ""
    if first:
        return f"health     first extraction: the last days of the source deliver what its earlier ones did{missing}"
    return f"health     the source delivers what it delivered before{missing}"


def _drift(connection: Connection, name: str) -> list[str]:
    row = connection.execute(
        f"select outcome, reason, rule from ml.ml_decisions where model = $1 and kind = 'retraining' {LAST}", [name]
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
    movement = "nothing to measure" if worst is None else "no feature has moved"
    if worst is not None and worst[1] > 0:
        movement = f"{worst[0]} has moved most, by a PSI of {worst[1]:.3f}"
    return [f"drift      {name}: {movement}; {row[0]}: {row[1]}"]


def _places(
    current: Settings, warehouse: Warehouse, artifacts: ArtifactStore, tables: Iterable[ScoredTable]
) -> list[str]:
    publication = warehouse.engine.readers(current.published)
    marts = [f"marts.{name}" for each in tables for name in (each.name, each.history)]
    limit = "; one process at a time" if warehouse.engine.is_file else ""
    readers = publication.place + (f", readable by the role {publication.role}" if publication.role else "")
    if current.warehouse_of_home == OWN_SERVER:
        readers += f", while `{ui_command(current)}` runs, at the address that it prints"
    return [
        f"scores     {readers} ({', '.join(marts)}; for readers)",
        f"warehouse  {warehouse.shown} (the pipeline's own{limit})",
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
    return command(current, "ui")


def command(current: Settings, target: str) -> str:
    """Return the command that makes a target of the Makefile for a home."""
    # an address is not shown, because it may hold a password
    source = "" if current.source is None else f" SOURCE={'…' if '://' in current.source else current.source}"
    default = default_home(current.source, current.warehouse)
    home = "" if current.home == default else f" HOME_DIR={current.home}"
    return f"make {target}{source}{_warehouse_argument(current)}{home}"


def _warehouse_argument(current: Settings) -> str:
    if engine_of(current.warehouse).is_file:
        return ""
    return f" WAREHOUSE={OWN_SERVER if current.warehouse_of_home == OWN_SERVER else '…'}"
