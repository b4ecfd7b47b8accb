"""Sets without times: leads with an outcome and nothing that says when anything happened.

Such a set gets times that are made up, so that all that needs times can run on it. Every lead that has ended is
observed once, one second after its creation, and ends a day later; leads without an outcome are created a second before
the clock. So all leads are observed at one age, and nothing that follows from a time differs between them.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from store.source.contract import SourceContractError
from store.source.mapping.forms import ChosenMapping, Query, SourceMapping, TableMapping
from store.source.values.texts import folded
from store.sql import literal, literals

CLOCK = datetime(2002, 1, 1, tzinfo=UTC)

BEGIN = datetime(2000, 1, 1, tzinfo=UTC)

DAYS = 60
"""The leads that have ended are spread evenly over so many days, in no order."""

CREATED = "made-up creation"

CAVEAT = (
    "The set has no times: every attribute counts as known when its lead was created, which nothing in it can show. If "
    "one was entered after the outcome, every figure here is too good. Times and ages are made up."
)


def with_made_up_times(chosen: ChosenMapping) -> ChosenMapping:
    """Return a mapping of a set without times that makes them up; any other mapping as it is.

    Raises
    ------
    SourceContractError
        If the mapping has times, or tables, that contradict ``without_times``.
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
    source = leads.table or "leads"
    outcome = f"nullif(trim(\"{_escaped(form.outcome)}\"), '')"
    missing = literals(sorted({folded(each) for each in chosen.mapping.missing if each}))
    said = f"case when lower({outcome}) in ({missing}) then null else {outcome} end"
    numbered = (
        f"select *, {said} as outcome_of_lead, "
        f'row_number() over (order by md5("{_escaped(key)}"), "{_escaped(key)}") as place_of_lead '
        f'from "{_escaped(source)}"'
    )
    second = timedelta(seconds=1)
    begin, end = (literal(f"{each - second:%Y-%m-%d %H:%M:%S}") for each in (BEGIN, CLOCK))
    created = (
        f"case when outcome_of_lead is null then timestamp {end} "
        f"else timestamp {begin} + to_days((place_of_lead % {DAYS})::integer) end"
    )
    iso = "strftime({}, '%Y-%m-%dT%H:%M:%SZ')"
    won = literals(sorted(word.lower() for word in form.won))
    texts = {
        "leads": (
            f'select * exclude (outcome_of_lead, place_of_lead), {iso.format(created)} as "{CREATED}" from ({numbered})'
        ),
        "projects": (
            f'select "{_escaped(key)}" as project_id, "{_escaped(key)}" as lead_id, '
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
                    **{name: TableMapping(absent=True) for name in ("interactions", "appointments", "changes")},
                },
                "closes": closes,
            }
        )

    queries = {name: Query(Path(f"without_times ({name})"), text) for name, text in texts.items()}
    return replace(chosen, mapping=changed(chosen.mapping), queries={**chosen.queries, **queries})


def _escaped(name: str) -> str:
    return name.replace('"', '""')
