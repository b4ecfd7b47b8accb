"""The entry of this package: it measures a source, decides on a mapping, and writes and checks its text."""

import os
import re
import stat
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from zoneinfo import available_timezones

from store.places import MAPPING
from store.source.contract import SourceContractError
from store.source.mapping.choosing import LIKE_A_MAPPING, NO_MAPPING, choose_mapping
from store.source.mapping.forms import AUTO, shipped_names
from store.source.opening import check_source
from store.source.reading.sources import Source, describe, open_source
from store.source.reading.tables import Tables
from store.source.suggesting.activities import appointments_lines, changes_lines, interactions_lines
from store.source.suggesting.attributes import attributes_lines, fit_columns
from store.source.suggesting.columns import is_time
from store.source.suggesting.deals import projects_lines
from store.source.suggesting.deals_shape import DEALS, as_deals, is_another
from store.source.suggesting.ends import measured_ends, said_outcome
from store.source.suggesting.evidence import Ends, Fit, Profile, Table
from store.source.suggesting.layout import LEAD, Layout, layout
from store.source.suggesting.leads import leads_lines
from store.source.suggesting.left import what_is_left
from store.source.suggesting.odd_files import OddFile, odd_files
from store.source.suggesting.orders import orders_lines, orders_of
from store.source.suggesting.outcomes import Outcomes
from store.source.suggesting.profile import profile
from store.source.suggesting.scratch import Scratch, Texts
from store.source.suggesting.shapes import IDENTITY, Shape, own_tables, shape_of
from store.source.suggesting.suggestion import Answers, Draft, Line, NoMappingError, Question
from store.source.suggesting.twins import as_unions, chosen_of, united
from store.source.suggesting.without_times import ending_of, untimed, untimed_lines
from store.source.suggesting.writing import written
from store.source.values.functions import UTC_ZONE, create_functions

SHORT_SPAN_DAYS = 270
"""If the leads of a source are younger than this, few labels of 90 days have matured."""

SHORT_HORIZON_DAYS = 30

ALL_FIT = (
    "all further columns that are fit, without contact data; make check names them, and why others are left. Name them "
    "one by one instead to choose"
)


def refuse_mapped(source: str, home: Path) -> None:
    """Refuse a source that has a mapping already, in its folder or in the home.

    Raises
    ------
    SourceContractError
        If there is one.
    """
    there = [home / MAPPING] if (home / MAPPING).exists() else []
    if (folder := open_source(source).folder) is not None:
        there = [
            path
            for path in sorted(folder.iterdir())
            if LIKE_A_MAPPING.fullmatch(path.name.casefold()) and not NO_MAPPING.search(path.name)
        ] + there
    if there:
        raise SourceContractError(
            f"source {describe(source)}: expected none that has a mapping, found {there[0]}, which is never written "
            "over. Edit it, or remove it and run `make map` again."
        )


def mapping_place(source: str, home: Path) -> Path:
    """Return where the mapping of a source is written: its folder, or the home if that cannot be written."""
    folder = open_source(source).folder
    # root may write into a folder that is closed to writing, and does not
    if folder is not None and os.access(folder, os.W_OK) and folder.stat().st_mode & stat.S_IWUSR:
        return folder / MAPPING
    return home / MAPPING


def suggest(found: Profile, answers: Answers, shape: Shape | None = None) -> Draft:
    """Decide on a mapping, from what a source holds and what a person has answered.

    Parameters
    ----------
    found : Profile
    answers : mapping of str to str
    shape : Shape or None
        The shipped mapping that fits the source.

    Raises
    ------
    NoMappingError
        If there is no honest mapping.
    """
    draft = Draft(answers)
    draft.line(("name",), _name(found.description), "", None)
    if shape is not None:
        _of_shape(shape, found, draft)
        return draft
    found = chosen_of(found, draft)
    if found.own:
        draft.notes.append(f"{', '.join(found.own)}: read as they are, for they are tables of the contract.")
    if (table := untimed(found)) is not None:
        untimed_lines(table, found, draft)
        what_is_left(table, found, draft)
        _files(found, {table.name}, draft)
        return draft
    if (table := orders_of(found)) is not None:
        draft.line(("based_on",), IDENTITY, "", None)
        orders_lines(table, found, draft)
        what_is_left(table, found, draft)
        _files(found, {table.name}, draft)
        _zone(found, draft)
        return draft
    chosen, outcomes = _tables(found, draft)
    if not any(line.place[0] == "closes" for line in draft.lines):
        draft.notes.append(
            "Nothing but a won deal ends a lead here. If leads end otherwise, list under closes what ends them, or set "
            "silence_closes_after_days."
        )
    draft.notes += [
        f"{table.counted} of {name} were looked at, from all over the table; the counts and shares above "
        "are of these. A rarer word may be missing."
        for name, table in found.tables.items()
        if table.rows < table.rows_in_all
    ]
    what_is_left(chosen.leads, found, draft)
    # that mapping has neither interactions nor appointments, and cannot be given any
    only_deals = chosen.is_deal and not chosen.interactions and chosen.appointments is None
    base = IDENTITY
    is_union = chosen.leads.name in found.unions
    if only_deals and not is_union and outcomes is not None and not outcomes.is_flags and DEALS in shipped_names():
        shipped = choose_mapping(argument=DEALS, folder=None, found={}, models=()).mapping
        if not is_another(draft.lines, shipped):
            base = DEALS
            draft.lines = as_deals(draft.lines, shipped)
    draft.line(("based_on",), base, "", None)
    draft.lines = as_unions(draft.lines, found.unions)
    read = {table for table, _ in draft.read}
    _files(found, read | {part.name for name in read for part in found.unions.get(name, ())}, draft)
    _zone(found, draft)
    created = chosen.leads.columns[chosen.created].times
    if created is not None and (days := (created.last - created.first).days) < SHORT_SPAN_DAYS:
        why = f"the leads span {days} days, of which a horizon of 90 would leave too few with a known end"
        draft.line(("horizon_days", "conversion"), SHORT_HORIZON_DAYS, why, "likely")
    return draft


def _tables(found: Profile, draft: Draft) -> tuple[Layout, Outcomes | None]:
    """Add the lines of all tables."""
    chosen = layout(found, draft)
    ends = found.ends.get(chosen.leads.name)
    outcomes = projects_lines(chosen, found, draft)
    leads_lines(chosen, outcomes if chosen.is_deal else None, ends, draft)
    interactions_lines(chosen, found, draft)
    appointments_lines(chosen, found, draft)
    changes_lines(chosen, found, draft)
    attributes_lines("leads", chosen.leads, found.fit.get((chosen.leads.name, chosen.leads.name)), draft)
    if not chosen.is_deal and chosen.projects is not None:
        deals = chosen.projects[0]
        attributes_lines("projects", deals, found.fit.get((chosen.leads.name, deals.name)), draft)
    return chosen, outcomes


def _of_shape(shape: Shape, found: Profile, draft: Draft) -> None:
    draft.line(("based_on",), shape.name, shape.why, "sure")
    odd = {each.table: each for each in found.odd}
    for source in dict.fromkeys([*shape.tables, *odd]):
        form, reasons = {}, []
        if source in odd:
            form, reasons = dict(odd[source].form), [odd[source].why]
        if source in shape.tables:
            form["table"] = shape.tables[source]
            reasons.append("its columns are those of this table")
        file = found.places[source]
        draft.line(("files", file), form, "; ".join(reasons), "likely" if "encoding" in form else "sure")
    draft.notes.append(
        f"The shipped mapping {shape.name} says what is read. A line here takes the place of one of its lines."
    )
    for of, is_one in shape.attributes.items():
        if is_one:
            draft.line(("tables", of, "attributes"), AUTO, ALL_FIT, "likely")
        else:
            draft.notes.append(
                f"The {of} are put together from several tables here, so none of their further columns is an attribute "
                "by itself. Name such a column under the columns of each part, and under attributes "
                "(docs/attributes.md)."
            )
    draft.contact += shape.contact
    if not shape.says_ends:
        _ends_of_shape(found, draft)
    draft.read.update(() if shape.created is None else [shape.created])
    _zone(found, draft)


def _ends_of_shape(found: Profile, draft: Draft) -> None:
    """Add what ends a lead to a shipped mapping that does not say it."""
    own = Draft(draft.answers)
    try:
        _tables(found, own)
    except NoMappingError:
        return
    draft.lines += [line for line in own.lines if line.place[0] == "closes"]
    draft.questions |= {key: each for key, each in own.questions.items() if key.startswith("closes")}


def _files(found: Profile, tables: Collection[str], draft: Draft) -> None:
    for odd in found.odd:
        if odd.table in tables:
            draft.line(("files", odd.name), odd.form, odd.why, "likely" if odd.encoding else "sure")


def _zone(found: Profile, draft: Draft) -> None:
    read = [
        column.times
        for name, table in found.tables.items()
        for column in table.columns.values()
        if (name, column.name) in draft.read and is_time(column) and column.times is not None
    ]
    if any(times.zoned < 1 and times.dates < 1 for times in read):
        zone = draft.ask(
            Question(
                key="time_zone",
                text="In which time zone are the times that name none? (a name such as Europe/Berlin)",
                options={zone: zone for zone in sorted(available_timezones())},
                default=UTC_ZONE,
            )
        )
        is_said = draft.is_answered("time_zone")
        why = "as answered" if is_said else "the times name no zone, so the data do not tell"
        draft.line(("time_zone",), zone, why, "sure" if is_said else "unsure")


def _name(description: str) -> str:
    last = description.partition("?")[0].rstrip("/").rpartition("/")[2]
    return re.sub(r"\W+", "_", last).strip("_") or "own"


@contextmanager
def _scratch(reader: Source) -> Iterator[Scratch]:
    import duckdb

    with (
        tempfile.TemporaryDirectory(prefix="leadline-") as spill,
        duckdb.connect(config={"temp_directory": spill}) as connection,
    ):
        connection.execute("set global TimeZone = 'UTC'")
        create_functions(connection)
        yield Scratch(connection, reader)


def measured(source: str, models: Collection[str]) -> tuple[Profile, Shape | None]:
    """Return what a source holds, and the shipped mapping that fits it.

    Parameters
    ----------
    source : str
        Folder or ``postgresql://`` address.
    models : collection of str
        Names of the models.
    """
    reader: Source = open_source(source)
    odd = [] if reader.folder is None else list(odd_files(reader.folder))
    if odd:
        reader = open_source(source, dialects={each.name: each.dialect for each in odd})
    unread: dict[str, str] = {}
    columns: dict[str, Sequence[str]] = {}
    for name in reader.columns():
        try:
            columns[name] = reader.columns()[name]
        except SourceContractError as error:
            unread[name] = str(error).splitlines()[0]
    tables = Tables(reader.columns().place, list(columns), reader.columns().others, columns.__getitem__)
    shape = shape_of(tables, None if reader.folder is None else reader.folder.name, models)
    own = own_tables(tables, models) if shape is None else ()
    some: Mapping[str, Sequence[str]] = {name: found for name, found in columns.items() if name not in own}
    if shape is not None and shape.says_ends:
        # times without a zone are a question whatever the mapping
        some = {} if shape.created is None else {shape.created[0]: [shape.created[1]]}
    with _scratch(reader) as scratch:
        found = _profile(scratch, some, unread, odd)
    return replace(found, places={name: reader.place(name) for name in columns}, own=own), shape


def _profile(
    scratch: Scratch, columns: Mapping[str, Sequence[str]], unread: Mapping[str, str], odd: Sequence[OddFile]
) -> Profile:
    found, texts = profile(scratch, columns, unread, odd)
    found = united(scratch, found, texts)
    if (alone := untimed(found)) is not None:
        return replace(found, fit={(alone.name, alone.name): _untimed_fit(scratch, found, alone, texts[alone.name])})
    ends: dict[str, Ends] = {}
    fit: dict[tuple[str, str], Fit] = {}
    answers: list[str | None] = [None]
    for answer in answers:
        draft = Draft({} if answer is None else {LEAD: answer})
        try:
            chosen = layout(chosen_of(found, draft), draft)
        except NoMappingError:
            break
        if answer is None and LEAD in draft.questions:
            answers += [each for each in draft.questions[LEAD].options if each != chosen.leads.name]
        if (measured := measured_ends(scratch, found, texts, chosen)) is not None:
            ends[chosen.leads.name] = measured
        fit |= _fit(scratch, replace(found, ends=ends), draft.answers, texts)
    return replace(found, ends=ends, fit=fit)


def _fit(scratch: Scratch, found: Profile, answers: Answers, texts: Mapping[str, Texts]) -> dict[tuple[str, str], Fit]:
    """Find the columns that are fit as attributes, beside those that the lines read."""
    draft = Draft(answers)
    chosen, outcomes = _tables(chosen_of(found, draft), draft)
    fit: dict[tuple[str, str], Fit] = {}
    for table in {each.name: each for each in (chosen.leads, *(chosen.projects or ())[:1])}.values():
        read = texts[table.name]
        has_outcomes = outcomes is not None and chosen.projects is not None and chosen.projects[0] is table
        outcome = said_outcome(outcomes, list(read.columns)) if outcomes is not None and has_outcomes else None
        taken = {column for of, column in draft.read if of == table.name}
        fit[chosen.leads.name, table.name] = fit_columns(scratch, table, read, taken, outcome)
    return fit


def _untimed_fit(scratch: Scratch, found: Profile, table: Table, texts: Texts) -> Fit:
    """Find the columns of a set without times that are fit as attributes."""
    draft = Draft({})
    untimed_lines(table, found, draft)
    ending = ending_of(table, draft)
    if ending is None:
        raise AssertionError(f"{table.name} was taken for a set without an outcome")
    outcome = ending.said(list(texts.columns).index(ending.column.name))
    taken = {column for _, column in draft.read}
    return fit_columns(scratch, table, texts, taken, outcome, is_whole=True)


def text_of(suggestion: Draft, source: str, answers: Answers, models: Collection[str], *, for_home: bool) -> str:
    """Return the text of a suggestion, after the reader of mappings has accepted it for the source.

    Parameters
    ----------
    suggestion : Draft
    source : str
    answers : mapping of str to str
    models : collection of str
        Names of the models.
    for_home : bool
        Whether the text is for the home, where it names its source.

    Raises
    ------
    SourceContractError
        If it does not accept it.
    """
    if for_home:
        line = Line(("source",), describe(source), "this mapping is for no other source")
        suggestion = replace(suggestion, lines=[line, *suggestion.lines])
    text = written(suggestion, describe(source), answers)
    with tempfile.TemporaryDirectory(prefix="leadline-") as folder:
        path = Path(folder) / "mapping.yml"
        path.write_text(text, encoding="utf-8")
        check_source(source, str(path), models)
    return text
