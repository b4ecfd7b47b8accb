"""Sets without times: leads with an outcome and nothing that says when anything happened.

Such a set gets times that are made up, so that all that needs times can run on it. The leads that have ended come in
eight groups of no order, with years between them: the last three tenths are one group, which a model is measured on.
Each lead is observed once, one second after its creation, and ends a day later. Leads without an outcome are created a
second before the clock. So all leads are observed at one age and on one day of the week, and nothing that follows from
a time tells one lead from another of its group.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from duckdb import DuckDBPyConnection

from store.source.contract import TABLES, SourceContractError
from store.source.mapping.forms import ChosenMapping, Query, SourceMapping, TableMapping
from store.source.reading.tables import find_column, shown_columns
from store.source.sql import one_row, quoted
from store.source.values.texts import folded
from store.sql import literal, literals

BEGIN = datetime(2000, 1, 1, tzinfo=UTC)

GROUPS = 8

APART = timedelta(days=602)
"""The time between two groups, in whole weeks: longer than any horizon."""

CLOCK = BEGIN + GROUPS * APART

CREATED = "made-up creation"

CAVEAT = (
    "The set has no times: every attribute counts as known when its lead was created, which nothing in it can show. If "
    "one was entered after the outcome, every figure here is too good. Times and ages are made up."
)


def with_made_up_times(chosen: ChosenMapping, columns: Mapping[str, Sequence[str]]) -> ChosenMapping:
    """Return a mapping of a set without times that makes them up; any other mapping as it is.

    Parameters
    ----------
    chosen : ChosenMapping
    columns : mapping of str to sequence of str
        The columns of the source, by table.

    Raises
    ------
    SourceContractError
        If the mapping has times, or tables, that contradict ``without_times``, or the leads have no such outcome.
    """
    if (form := chosen.mapping.without_times) is None:
        return chosen
    tables = chosen.mapping.tables
    leads = tables.get("leads", TableMapping())
    key = leads.columns.get("lead_id", "lead_id")
    found = [name for name in tables if name != "leads" and not tables[name].absent]
    found += [f"leads.{name}" for name in ("union", "each", "one", "sql", "id") if getattr(leads, name)]
    found += [f"leads.columns.{name}" for name in ("created_at", "updated_at") if name in leads.columns]
    if found or not isinstance(key, str):
        raise SourceContractError(
            f"mapping {chosen.mapping.name!r}, without_times: expected one table of leads with a key and no times, "
            f"found {', '.join(found) or 'a computed lead_id'}. Leave it out, or leave out without_times and name the "
            "times."
        )
    place = leads.table or "leads"
    if place in columns and find_column(form.outcome, columns[place], place) is None:
        raise SourceContractError(
            f"mapping {chosen.mapping.name!r}, without_times.outcome: expected a column of {place} "
            f"({shown_columns(columns[place])}), found {form.outcome!r}. Correct it."
        )
    key_name, outcome_name = quoted(key), quoted(form.outcome)
    outcome = f"nullif(trim({outcome_name}), '')"
    missing = literals(sorted({folded(each) for each in (*chosen.mapping.missing, *form.open_) if each}))
    said = f"case when lower({outcome}) in ({missing}) then null else {outcome} end"
    numbered = (
        f"select *, row_number() over (partition by outcome_of_lead is null order by md5({key_name}), {key_name}) - 1 "
        f"as place_of_lead, count(outcome_of_lead) over () as ended_leads from (select *, {said} as outcome_of_lead "
        f"from {quoted(place)})"
    )
    begin, end = (literal(f"{each - timedelta(seconds=1):%Y-%m-%d %H:%M:%S}") for each in (BEGIN, CLOCK))
    group = f"least({GROUPS - 1}, place_of_lead * 10 // ended_leads)"
    created = (
        f"case when outcome_of_lead is null then timestamp {end} "
        f"else timestamp {begin} + to_days(({group} * {APART.days})::integer) end"
    )
    iso = "strftime({}, '%Y-%m-%dT%H:%M:%SZ')"
    won = literals(sorted(word.lower() for word in form.won))
    texts = {
        "leads": (
            f"select * exclude ({outcome_name}, outcome_of_lead, place_of_lead, ended_leads), "
            f"{iso.format(created)} as {quoted(CREATED)} from ({numbered})"
        ),
        "projects": (
            f"select {key_name} as project_id, {key_name} as lead_id, "
            f"case when lower(outcome_of_lead) in ({won}) then 'won' else 'lost' end as status, "
            f"{iso.format(created)} as proposed_at, {iso.format(f'{created} + to_days(1)')} as closed_at "
            f"from ({numbered}) where outcome_of_lead is not null"
        ),
    }

    def changed(mapping: SourceMapping) -> SourceMapping:
        spec = mapping.tables.get("leads", TableMapping())
        columns = {**spec.columns, "created_at": CREATED}
        closes = mapping.closes.model_copy(update={"project_status": ["lost"]})
        return mapping.model_copy(
            update={
                "tables": {
                    **mapping.tables,
                    "leads": spec.model_copy(update={"table": None, "columns": columns, "sql": "without_times"}),
                    "projects": TableMapping(sql="without_times"),
                    **{name: TableMapping(absent=True) for name in TABLES if name not in texts},
                },
                "closes": closes,
            }
        )

    queries = {name: Query(Path(f"without_times ({name})"), text) for name, text in texts.items()}
    return replace(chosen, mapping=changed(chosen.mapping), queries={**chosen.queries, **queries})


def refuse_none_won(connection: DuckDBPyConnection, mapping: SourceMapping) -> None:
    """Refuse a set without times in which no outcome is one of the words for a won lead: all would count as lost.

    Raises
    ------
    SourceContractError
        If leads have ended, and none is won.
    """
    if (form := mapping.without_times) is None:
        return
    ended, won = one_row(
        connection, "select count(*), count(*) filter (status = 'won') from typed_projects where check_no is null"
    )
    if ended and not won:
        raise SourceContractError(
            f"mapping {mapping.name!r}, without_times.won: expected a word for a won lead that {form.outcome} has, "
            f"found {', '.join(map(repr, form.won))}, which none of {ended:,} leads with an outcome has. Correct the "
            "words."
        )
