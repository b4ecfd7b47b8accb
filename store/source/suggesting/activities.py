"""The lines of what happens with a lead: interactions, appointments, and changes of its columns."""

from typing import Any

from store.source.contract import OVERWRITTEN
from store.source.mapping.forms import EXTRACTION
from store.source.suggesting.columns import key_of, may_be_time
from store.source.suggesting.ends import is_outcome, occurred_of, outcome_ends
from store.source.suggesting.evidence import Column, Profile
from store.source.suggesting.layout import Layout, Link
from store.source.suggesting.lines import TableLines, as_key, counted, has_words, key_line, lead_line
from store.source.suggesting.names import meaning, role_of
from store.source.suggesting.suggestion import Draft, Question
from store.source.suggesting.vocabulary import KINDS_OF_TABLES, spoken

_INBOUND = frozenset(("incoming", "inbound", "received", "missed", "eingehend", "entrant", "recu", "recibido"))

_UNNAMED = 99
"""The rank of a column that no usual name speaks for."""


def interactions_lines(layout: Layout, profile: Profile, draft: Draft) -> None:
    """Add the lines of the interactions: one table, a union of several, or none."""
    if not layout.interactions:
        why = "no table of calls, e-mails or other activities that names its lead was found"
        draft.line(("tables", "interactions", "absent"), True, why, "likely")
    keyed = all(key_of(table, profile) is not None for table, _ in layout.interactions)
    endings: dict[str, str] = {}
    for table, link in layout.interactions:
        place = ("tables", "interactions", "union", spoken(table.name)) if len(layout.interactions) > 1 else ()
        _interactions(TableLines("interactions", table, draft, place), link, layout, profile, endings, keyed=keyed)
    if len(layout.interactions) > 1 and not keyed:
        why = "not every table has a key: rows are told apart by what never changes, and numbered where that is equal"
        value = {"derive_from": ["lead_id", "type", "occurred_at"]}
        draft.line(("tables", "interactions", "id"), value, why, "likely")
    of = ", ".join(dict.fromkeys(endings.values()))
    outcome_ends(draft, of, endings, profile.ends.get(layout.leads.name))


def _interactions(
    lines: TableLines, link: Link, layout: Layout, profile: Profile, endings: dict[str, str], *, keyed: bool
) -> None:
    table, is_part = lines.table, "union" in lines.place
    kind_of_table = KINDS_OF_TABLES.get((role_of(table.name) or ("", ""))[1])
    lines.line("table", table.name, f"{counted(table.rows, 'row')} with a time that name a lead", "sure")
    lead_line(lines, link, layout.leads)
    occurred = occurred_of(lines)
    kind = lines.find("type", has_words("interactions", "type"))
    if not is_part:
        instead = [link.column, *(found[0].name for found in (kind, occurred) if found is not None)]
        key_line(lines, profile, instead=instead)
    elif keyed and (key := key_of(table, profile)) is not None:
        lines.used.add(key)
        value = {"concat": [{"constant": spoken(table.name)}, as_key(key, table.columns[key])], "with": "-"}
        lines.column("interaction_id", value, "the same key may stand in another table", "sure")
    if occurred is not None:
        column, rank = occurred
        lines.take("occurred_at", column, lines.of_time(column), "sure" if rank is not None and rank <= 1 else "likely")
    lines.time("recorded_at")
    if kind is not None:
        lines.vocabulary("type", kind[0])
    else:
        value = {"constant": kind_of_table or "note"}
        lines.column("type", value, f"the table is called {table.name}", "likely" if kind_of_table else "unsure")
    if (direction := lines.find("direction", has_words("interactions", "direction"))) is not None:
        lines.vocabulary("direction", direction[0])
    elif kind_of_table == "note" and kind is None:
        lines.column("direction", {"constant": "internal"}, f"the table is called {table.name}", "likely")
    else:
        _direction(lines, kind[0] if kind else None)
    lines.text("performed_by")
    if (outcome := lines.text("outcome", is_outcome)) is not None:
        endings.update((word, f"{table.name}.{outcome.name}") for word, _ in outcome.words)
    for name in ("opened_at", "responded_at"):
        # a flag stands on the whole of a union, which has no such column
        if lines.time(name) is None and not is_part:
            _flag(lines, name)
    lines.finish()


def _flag(lines: TableLines, name: str) -> None:
    if (found := lines.find(name, lambda column: column.is_flag)) is not None:
        lines.used.add(found[0].name)
        why = "it says yes or no and no time, so it is known from the extraction that first saw it"
        lines.column(name, {"flag": found[0].name, "known": EXTRACTION}, why, "likely")


def _direction(lines: TableLines, kind: Column | None) -> None:
    words = [word for word, _ in kind.words] if kind else []
    inbound = [
        word
        for word in words
        if _INBOUND & set(spoken(word).split("_")) or meaning("interactions", "type", word) == "web"
    ]
    internal = [word for word in words if meaning("interactions", "type", word) == "note"]
    said, key = [*inbound, *internal], f"direction:{lines.table.name}"
    answer = lines.draft.ask(
        Question(
            key=key,
            text=f"{lines.table.name} does not say who called or wrote. Which direction do its rows have"
            + (f", other than {', '.join(said)}?" if said else "?"),
            options={"outbound": "outbound: reps log what they do", "inbound": "inbound: it is what leads do"},
            default="outbound",
        )
    )
    cases = [
        {"where": {kind.name: found}, "then": {"constant": meant}}
        for found, meant in ((inbound, "inbound"), (internal, "internal"))
        if kind is not None and found
    ]
    value: Any = {"cases": cases, "otherwise": {"constant": answer}} if cases else {"constant": answer}
    if lines.draft.is_answered(key):
        lines.column("direction", value, "as answered", "sure")
    else:
        lines.column("direction", value, "no column says it: an assumption", "unsure")


def appointments_lines(layout: Layout, profile: Profile, draft: Draft) -> None:
    """Add the lines of the appointments, or say that there are none."""
    if layout.appointments is None:
        why = "no table of appointments that names its lead was found"
        draft.line(("tables", "appointments", "absent"), True, why, "likely")
        return
    table, link = layout.appointments
    lines = TableLines("appointments", table, draft)
    lines.line("table", table.name, f"{counted(table.rows, 'row')} with a time that name a lead", "sure")
    lead_line(lines, link, layout.leads)
    times = [column for column in table.columns.values() if may_be_time(column)]
    scheduled, rank = lines.find("scheduled_at", may_be_time) or (times[0], _UNNAMED)
    key_line(lines, profile, instead=[link.column, scheduled.name])
    lines.take("scheduled_at", scheduled, lines.of_time(scheduled), "sure" if rank <= 1 else "likely")
    if lines.time("booked_at") is None:
        value = {"substitute": "earliest_of", "of": ["scheduled_at", EXTRACTION]}
        why = "no time of the booking was found: it was no later than the appointment"
        lines.column("booked_at", value, why, "likely")
    status, ended = lines.find("status", has_words("appointments", "status")), lines.time("ended_at")
    if status is None:
        draft.notes.append(f"{table.name} has no status that is known, so no appointment counts as ended.")
    else:
        lines.vocabulary("status", status[0])
        if ended is None and status[0].is_flag:
            why = "that it took place is known from the extraction that first saw it"
            lines.column("ended_at", {"flag": status[0].name, "known": EXTRACTION}, why, "likely")
    lines.text("rescheduled_from")
    lines.finish()


def changes_lines(layout: Layout, profile: Profile, draft: Draft) -> None:
    """Add the lines of the history of the leads, if the source has one."""
    if layout.changes is None:
        return
    table, link = layout.changes
    lines = TableLines("changes", table, draft)

    def names_columns(column: Column) -> bool:
        return any(meaning("changes", "column_name", word) is not None for word, _ in column.words)

    kind, at = lines.find("column_name", names_columns), lines.find("changed_at", may_be_time)
    value = lines.find("value", lambda column: not may_be_time(column))
    if kind is None or value is None or at is None:
        draft.left[table.name] = (
            f"it may be a history, but has no column that names one of {', '.join(OVERWRITTEN)}, its value and the time"
        )
        return
    lines.line("table", table.name, f"{counted(table.rows, 'row')} with a column, its value and a time", "likely")
    lead_line(lines, link, layout.leads)
    key_line(lines, profile, instead=[link.column, kind[0].name, at[0].name])
    lines.take("column_name", kind[0], "changes of other columns are ignored", "likely")
    lines.take("value", value[0], "its name", "likely")
    lines.take("changed_at", at[0], lines.of_time(at[0]), "likely")
    lines.words(
        "column_name",
        {
            word: (meant, counted(rows, "row"), "likely")
            for word, rows in kind[0].words
            if (meant := meaning("changes", "column_name", word)) is not None
        },
    )
    lines.finish()
