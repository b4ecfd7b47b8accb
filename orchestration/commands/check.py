"""``make check``: what a run would find in a source and what it would do with it, without a run.

The source is extracted into a warehouse in a temporary folder, by the code of the extraction itself. Nothing is
trained, and nothing is written into a home. Evidence is measured in `store`; this module makes the text.
"""

import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from models.declared.registry import DECLARATIONS
from models.declaring.attribute import Attribute
from models.declaring.declaration import Horizons
from models.training.outcome_history import OutcomesBegin
from orchestration.commands.faults import told
from orchestration.commands.plot import Scale, bars
from orchestration.commands.summary import command, overridden
from orchestration.terminal import for_terminal
from store.addresses import refuse_characters
from store.home import refuse_other_warehouse
from store.measuring.expectation import Expectation, expected_of_run
from store.measuring.readiness import Entities, Readiness, measure_readiness
from store.places import MAPPING, NOT_IN_PATHS, SettingError, of_setting
from store.settings import Settings, horizon_setting
from store.source.contract import SourceContractError
from store.source.overview import Feed, Rejected, first_rejects, measure_feeds
from store.source.report import ExtractionReport
from store.warehouse.warehouse import Extraction

REASONS = 6
"""At most so many reasons of rejects are shown with examples."""

WIDTH, REASON = 46, 120
"""The width of a column of the table of attributes, and of the reasons in it."""

COLUMNS = 12
"""At most so many columns of a table that are not read are named."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """All that was measured of a source."""

    extraction: Extraction
    report: ExtractionReport
    rejected: tuple[Rejected, ...]
    feeds: tuple[Feed, ...]
    outcomes: dict[str, OutcomesBegin]
    entities: tuple[Entities, ...]
    models: tuple[Readiness, ...]
    expectation: Expectation


def check(current: Settings) -> int:
    """Print what a run would find in the source; return 0 if a run would start, else 1.

    Raises
    ------
    SettingError
        If the settings name no source, or a home that a run would refuse.
    """
    if current.source is None:
        raise SettingError(
            "LEADLINE_SOURCE: expected the source that is to be checked, found none. Name a folder or the address of a "
            "database (make check SOURCE=<folder or postgresql://…>)."
        )
    refuse_other_warehouse(current)
    sys.stderr.write(f"Leadline: a look at {current.shown_source}; nothing is trained, and nothing is kept\n")
    with tempfile.TemporaryDirectory(prefix="leadline-check-") as folder:
        with of_setting("TMPDIR"):
            refuse_characters(folder, NOT_IN_PATHS)
        try:
            found = measured(current, current.source, Path(folder))
        except SourceContractError as error:
            sys.stderr.write(f"\n{told(error, None)}\n\nA run would not start.\n")
            return 1
    sys.stdout.write(for_terminal("\n".join(["", *lines(current, found), ""])))
    return 0


def measured(current: Settings, source: str, folder: Path) -> Found:
    """Extract a source into a warehouse in a folder, and measure it.

    Raises
    ------
    SourceContractError
        If a run would refuse the source.
    """
    from store.features.builds import outcomes_by_label
    from store.features.compiling import compile_build, scratch_warehouse
    from store.source.extract import extract

    warehouse = scratch_warehouse(folder)
    with _step("rows"):
        report = extract(
            source=source,
            warehouse=warehouse.address,
            state_dir=folder / "extraction",
            as_of=current.as_of,
            present=datetime.now(UTC),
            models=DECLARATIONS,
            mapping=current.mapping,
            in_home=current.home / MAPPING,
            accept=current.accept_extraction,
            source_ids=current.source_ids,
        )
    extraction, horizons = warehouse.extraction(), Horizons(overrides=current.horizon_days)
    with warehouse.connect() as connection:
        feeds, rejected = measure_feeds(connection, extraction.as_of), first_rejects(connection)
        outcomes = outcomes_by_label(connection, extraction)
    with _step("labels"):
        build = compile_build(extraction, horizons, outcomes, folder / "dbt")
        entities, models = measure_readiness(warehouse, build, extraction, horizons)
    return Found(
        extraction=extraction,
        report=report,
        rejected=rejected,
        feeds=feeds,
        outcomes=outcomes,
        entities=entities,
        models=models,
        expectation=expected_of_run(sum(each.observations for each in entities)),
    )


@contextmanager
def _step(name: str) -> Iterator[None]:
    sys.stderr.write(f"  … {name}\n")
    started = perf_counter()
    yield
    sys.stderr.write(f"  ✓ {name} {perf_counter() - started:.1f} s\n")


def lines(current: Settings, found: Found) -> list[str]:
    """Return the text, line by line."""
    report, extraction = found.report, found.extraction
    clock = extraction.as_of.isoformat(timespec="seconds")
    default = "the present" if "://" in report.source else "the second after the last fact"
    notes = [*report.assumptions, *report.notices]
    return [
        *_headed("mapping", [f"{report.mapping_name} ({report.mapping_reason})"]),
        *_headed("clock", [f"{clock} ({default if current.as_of is None else 'set by AS_OF'})"]),
        *_headed("rows", _rows(report)),
        *_headed("rejects", _rejects(found.rejected)),
        *_headed("attributes", _attributes(extraction.attributes)),
        *_headed("outside", _outside(report)),
        *(f"note       {each}" for each in notes),
        *overridden(current, extraction),
        *_headed("facts", _facts(found.feeds)),
        *(line for each in found.entities for line in _headed("closings", _closings(each))),
        *_headed("outcomes", [f"{label}: {each.reason}" for label, each in found.outcomes.items()]),
        *_headed("base rate", [line for each in found.models for line in _rates(each)]),
        *_headed("models", [_model(each) for each in found.models]),
        *_headed("expect", _expectation(found)),
        *_headed("home", _home(current)),
        *_headed("next", [f"a run would start, with the same settings: {command(current, 'run')}"]),
    ]


def _headed(heading: str, lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield f"{'' if number else heading:<11}{line}"


def _rows(report: ExtractionReport) -> Iterator[str]:
    for name, table in report.tables.items():
        if not table.is_there:
            continue
        copies = f", {table.duplicates_collapsed:,} identical copies" if table.duplicates_collapsed else ""
        rejected = f", {table.rows_rejected:,} rejected" if table.rows_rejected else ""
        yield f"{name:<18}{table.rows_read:>12,} read{rejected}{copies}"


def _rejects(rejected: Sequence[Rejected]) -> Iterator[str]:
    if not rejected:
        yield "none"
    for each in rejected[:REASONS]:
        yield f"{each.rows:,} {each.table} ({each.reason}):"
        yield from (f"  {message}" for message in each.examples)
    if others := rejected[REASONS:]:
        yield f"{sum(each.rows for each in others):,} for other reasons: " + ", ".join(
            f"{each.rows:,} {each.table} ({each.reason})" for each in others
        )


def _attributes(attributes: Sequence[Attribute]) -> Iterator[str]:
    """Yield a table with a line per attribute; what follows a semicolon in a reason explains what stands before it."""
    if not attributes:
        return
    rows = [("attribute", "kind", "column", "known from", "why")]
    for each in attributes:
        why = each.why.partition(";")[0]
        rows.append((f"{each.entity}.{each.name}", each.kind, each.label, each.known, _cut(why, REASON)))
    widths = [min(WIDTH, max(map(len, texts))) for texts in list(zip(*rows, strict=True))[:-1]]
    for *cells, why in rows:
        yield " ".join([*(f"{_cut(text, width):<{width}}" for text, width in zip(cells, widths, strict=True)), why])


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _outside(report: ExtractionReport) -> Iterator[str]:
    is_any = False
    for name, table in report.tables.items():
        parts = []
        if table.columns_ignored:
            parts.append(_not_read(table.columns_ignored))
        if table.pseudonymised:
            parts.append(f"{table.pseudonymised:,} values that look like contact data become pseudonyms")
        if table.free_text_dropped:
            parts.append(f"{table.free_text_dropped:,} values that look like free text are left out")
        if parts:
            is_any = True
            yield f"{name}: {'; '.join(parts)}"
    for place, columns in report.unread_columns.items():
        is_any = True
        yield f"{place}: {_not_read(columns)}"
    if report.unread:
        more = f" and {len(report.unread) - COLUMNS:,} more" if len(report.unread) > COLUMNS else ""
        yield f"tables that nothing reads: {', '.join(report.unread[:COLUMNS])}{more}"
    elif not is_any:
        yield "nothing: every column is read, and no value looks like contact data or free text"


def _not_read(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - COLUMNS:,} more columns" if len(columns) > COLUMNS else ""
    return f"not read: {', '.join(columns[:COLUMNS])}{more}"


def _facts(feeds: Sequence[Feed]) -> Iterator[str]:
    days = [day for each in feeds for day in each.by_day]
    if not days:
        yield "none before the clock"
        return
    scale = Scale.over(min(days), max(days))
    yield f"by {scale.unit}, each row up to its own highest; · is none"
    yield f"{'':<18}{scale.axis()}"
    for feed in feeds:
        later = f", {feed.later:,} after the clock" if feed.later else ""
        if not feed.by_day:
            yield f"{feed.name:<18}none{later}"
            continue
        counts = scale.counts(feed.by_day)
        highest = f", at most {max(counts):,} a {scale.unit}"
        yield f"{feed.name:<18}{bars(counts)}  {sum(counts):,}{highest}{later}"


def _closings(entities: Entities) -> Iterator[str]:
    scored = "a run scores these" if entities.all_scored else "a run scores those that its models are about"
    yield f"{entities.known:,} {entities.plural} at the clock, {entities.open:,} of them open: {scored}"
    for each in entities.closings:
        found = f"{each.facts:>11,} found;" if each.facts else " " * 18
        yield f"{each.kind:<26}{found} {entities.plural} closed by it: {each.entities:,}"


def _rates(model: Readiness) -> Iterator[str]:
    declaration = DECLARATIONS[model.model]
    plural = declaration.feature_view.entity.plural
    for each in model.rates:
        applies = f"; applies ({horizon_setting(model.model)}=… sets another)"
        line = f"{model.model} over {each.horizon_days:>3} days: "
        if each.observations:
            line += (
                f"{each.happened / each.observations:.1%} of {each.observations:,} matured observations, and "
                f"{each.happened_entities:,} of their {each.entities:,} {plural}"
            )
        else:
            line += "no observation has matured"
        yield line + (applies if each.horizon_days == model.horizon_days else "")


def _model(model: Readiness) -> str:
    declaration = DECLARATIONS[model.model]
    plural = declaration.feature_view.entity.plural
    if model.sides is None:
        rule = f" The rule, {declaration.rule}, stays." if declaration.rule else ""
        return f"{model.model}: will not be trained. {model.untrainable}{rule}"
    sides = model.sides
    return (
        f"{model.model}: will be trained over {model.horizon_days} days, on {sides.train_rows:,} rows of "
        f"{sides.train_entities:,} {plural}, and measured on {sides.test_rows:,} rows of the {sides.test_entities:,} "
        f"{'observed' if declaration.feature_view.entity.lasting else 'created'} from {sides.cut:%Y-%m-%d} on"
    )


def _expectation(found: Found) -> Iterator[str]:
    import psutil

    free = psutil.virtual_memory().available
    expected = found.expectation
    observations = sum(each.observations for each in found.entities)
    minutes = max(1, round(expected.cpu_seconds / 60))
    yield (
        f"a first run takes about {minutes} minute{'' if minutes == 1 else 's'} of CPU time and up to "
        f"{expected.peak_bytes / 1e9:.1f} GB of memory ({free / 1e9:.1f} GB are free here): an estimate from "
        f"{observations:,} observations"
    )


def _home(current: Settings) -> Iterator[str]:
    yield f"{current.home}{'' if current.home.exists() else ', which a run makes'}"
    if current.belonging.exists():
        yield "what the source has lost since the last extraction there is looked at by a run alone"
