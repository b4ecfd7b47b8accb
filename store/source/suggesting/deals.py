"""The lines of the projects, which most CRMs call deals."""

from store.source.mapping.forms import EXTRACTION
from store.source.suggesting.columns import is_time, may_be_time, outcomes_of
from store.source.suggesting.ends import deal_ends
from store.source.suggesting.evidence import Column, Ends, Profile, Table
from store.source.suggesting.layout import Layout, Link
from store.source.suggesting.lines import (
    MOSTLY,
    SELDOM,
    Meanings,
    TableLines,
    counted,
    is_amount,
    key_line,
    lead_line,
    per_cent,
)
from store.source.suggesting.names import name_rank
from store.source.suggesting.outcomes import OPEN, Outcomes, asked, closing_of, leak_of, outcome, outcomes, yes_of
from store.source.suggesting.suggestion import Draft, Question
from store.source.values.texts import folded, is_contact

SHOWN_WORDS = 6


def no_projects(draft: Draft) -> None:
    """Say that there are no projects."""
    why = "no table of deals with a status such as won was found"
    draft.line(("tables", "projects", "absent"), True, why, "likely")
    draft.notes.append(
        "Nothing in this source says which leads were won, so no model of wins can be trained. Export the deals, with "
        "their status and close date."
    )


def projects_lines(layout: Layout, profile: Profile, draft: Draft) -> Outcomes | None:
    """Add the lines of the projects, and return their outcomes; None if there are none."""
    if layout.projects is None:
        no_projects(draft)
        return None
    table, link = layout.projects
    lines = TableLines("projects", table, draft)
    named = lines.find("closed_at", may_be_time)
    end = closing_of(table) if named is None else named[0]
    found = outcomes(table, end)
    if found is None:
        raise AssertionError(f"{table.name} was taken for deals without a status")
    found = asked(lines, found, is_deal=layout.is_deal)
    is_known = "won" in found.endings
    says = "says which were won" if is_known else "has no word that is known for won ones"
    why = f"{counted(table.rows, 'row')}, and {found.column.name} {says}"
    lines.line("table", table.name, why, "sure" if is_known else "unsure")
    if layout.is_deal:
        _of_deals(lines, layout, found, end)
    else:
        _of_leads(lines, layout, link, profile, end)
    _status(lines, found, found.ended if layout.is_deal else found.meanings)
    if not layout.is_deal:
        _stage(lines, found)
    lines.number("cost")
    lines.finish()
    if end is not None and (note := _undated(table, found, end)) is not None:
        draft.notes.append(note)
    _closing(layout, link, found, draft, profile.ends.get(layout.leads.name))
    return found


def _of_deals(lines: TableLines, layout: Layout, found: Outcomes, end: Column | None) -> None:
    """Add the lines of deals that are leads themselves: each is a project from its end on."""
    table = lines.table
    amount = lines.find("value", is_amount)
    why = "a deal is a project from its end on, so nothing knows an amount before"
    if amount is not None and (leak := leak_of(table, amount[0])) is not None:
        lines.draft.notes.append(
            f"{table.name}.{amount[0].name}: {leak} A deal counts as a project only from its end on."
        )
        why += f", and {amount[0].name} is entered with the outcome"
    lines.line("where", found.condition, why, "sure")
    for name in ("project_id", "lead_id"):
        lines.column(name, layout.key, "a deal is its own lead", "sure")
    for name in ("proposed_at", "closed_at"):
        if end is not None:
            why = lines.of_time(end) if name == "closed_at" else "the project begins with its end"
            lines.take(name, end, why, "sure")
        else:
            value = {"substitute": "earliest_of", "of": [EXTRACTION]}
            lines.column(name, value, "no time of the closing was found: the extraction that first saw it", "unsure")
    if end is None:
        _without_end(lines)
    lines.number("value")


def _of_leads(lines: TableLines, layout: Layout, link: Link, profile: Profile, end: Column | None) -> None:
    """Add the lines of deals that name their lead."""
    table = lines.table
    lead_line(lines, link, layout.leads)
    key_line(lines, profile, instead=[link.column])
    only = _only_time(table, end)
    if only is not None and not (is_begun := _is_begun(table)):
        end = _asked_end(lines, only)
    if end is not None:
        lines.take("closed_at", end, lines.of_time(end), "sure")
        _planned(lines, end)
    else:
        _without_end(lines)
        value = {"substitute": "earliest_of", "of": [EXTRACTION]}
        lines.column("closed_at", value, "no time of the closing was found: the extraction that first saw it", "unsure")
    if only is not None and is_begun:
        why = f"{lines.of_time(only)}; the only time, which open deals have as well"
        lines.take("proposed_at", only, why, "likely")
    elif lines.time("proposed_at") is None:
        value = {"substitute": "earliest_of", "of": [*(["closed_at"] if end else []), EXTRACTION]}
        lines.column("proposed_at", value, "no time of the proposal was found: it was no later than its end", "unsure")
    lines.time("expected_close_at")
    amount = lines.find("value", is_amount)
    if amount is not None and (leak := leak_of(table, amount[0])) is not None:
        lines.draft.left[f"{table.name}.{amount[0].name}"] = f"{leak} It would tell it to a model of the past."
    elif amount is not None:
        lines.number("value")


def _only_time(table: Table, end: Column | None) -> Column | None:
    """Return the only time of a table of deals, if its name says nothing; else None."""
    times = [column for column in table.columns.values() if is_time(column)]
    says = any(
        name_rank(of, name, column.name, table.name) is not None
        for column in times
        for of, name in (("projects", "proposed_at"), ("projects", "expected_close_at"), ("leads", "updated_at"))
    )
    return times[0] if len(times) == 1 and end is None and not says else None


def _is_begun(table: Table) -> bool:
    """Say whether a table has open deals: then its only time, which all deals have, is no end."""
    status = outcomes_of(table)
    return status is not None and any((outcome(word) or OPEN) == OPEN for word, _ in table.columns[status].words)


def _asked_end(lines: TableLines, only: Column) -> Column | None:
    """Ask whether the only time of deals that have all ended is their end; return it if somebody says so."""
    question = Question(
        key=f"end:{lines.table.name}.{only.name}",
        text=f"{lines.table.name}.{only.name} is the only time of deals that have all ended. What is it?",
        options={"other": "something else, or nobody knows: it is not read", "end": "the day on which a deal ended"},
        default="other",
    )
    return only if lines.draft.ask(question) == "end" else None


def _planned(lines: TableLines, end: Column) -> None:
    status = outcomes_of(lines.table)
    filled = lines.table.by_word.get((status or "", end.name), {})
    open_words = [each for word, each in filled.items() if (outcome(word) or OPEN) == OPEN]
    rows = sum(each.rows for each in open_words)
    if rows and (dated := sum(each.filled for each in open_words)) > rows * SELDOM:
        lines.draft.notes.append(
            f"{lines.table.name}.{end.name}: {per_cent(dated / rows)} of the open deals have one. It is a plan, and "
            "closes nothing."
        )


def _undated(table: Table, found: Outcomes, end: Column) -> str | None:
    filled = table.by_word.get((found.column.name, end.name), {})
    ended = [each for word in found.ended if (each := filled.get(folded(word))) is not None]
    rows, undated = sum(each.rows for each in ended), sum(each.rows - each.filled for each in ended)
    if not undated:
        return None
    sentence = (
        f"{undated:,} of {rows:,} deals of {table.name} that have ended have no {end.name}: nobody can say when they "
        "ended, so they are set aside"
    )
    refused = ", and a run refuses the table, because most of its rows do not fit" if undated > rows * MOSTLY else ""
    return f"{sentence}{refused}. Enter the day in the CRM."


def _without_end(lines: TableLines) -> None:
    lines.draft.notes.append(
        f"{lines.table.name} does not say when a deal ended: an end counts from the extraction that first saw it. So "
        "the past has none, and a model of wins needs months of nightly runs. Export the close date."
    )


def _status(lines: TableLines, found: Outcomes, meanings: Meanings) -> None:
    lines.used.add(found.column.name)
    if not found.is_flags:
        rows = [f"{count:,} {'…' if is_contact(word) else word}" for word, count in found.column.words]
        more = ", …" if len(rows) > SHOWN_WORDS else ""
        lines.column("status", found.column.name, f"{', '.join(rows[:SHOWN_WORDS])}{more}", "sure")
        lines.words("status", meanings)
        return
    cases = [{"where": {found.column.name: yes_of(found.column)}, "then": {"constant": "won"}}]
    if found.closed is not None:
        lines.used.add(found.closed.name)
        cases.append({"where": {found.closed.name: yes_of(found.closed)}, "then": {"constant": "lost"}})
        why = f"{found.column.name} says which deals were won, and {found.closed.name} which have ended"
    else:
        why = f"{found.column.name} says which deals were won; nothing says which were lost"
        lines.draft.notes.append(
            f"{lines.table.name} says which deals were won, and not which were lost: all others count as open."
        )
    value = {"cases": cases, "otherwise": {"constant": "open"}}
    lines.column("status", value, why, "sure" if found.closed is not None else "likely")


def _stage(lines: TableLines, found: Outcomes) -> None:
    """Add the line of the stage of deals: a column beside the status, or the status itself if it has several steps."""
    if lines.plain("stage", lambda column: len(column.words) > 1, why=lines.of_text) is not None or found.is_flags:
        return
    steps = [word for word, each in found.meanings.items() if each[0] == OPEN and not is_contact(word)]
    if len(steps) > 1:
        why = f"its words for open deals are steps: {', '.join(steps[:SHOWN_WORDS])}"
        lines.column("stage", found.column.name, why, "likely")


def _closing(layout: Layout, link: Link, found: Outcomes, draft: Draft, ends: Ends | None) -> None:
    """Add the line that says whether a lost deal ends its lead."""
    statuses = [each for each in found.endings if each != "won"]
    if layout.projects is None or not statuses:
        return
    if layout.is_deal:
        draft.line(("closes", "project_status"), statuses, "the deal is the lead", "sure")
    else:
        deal_ends(draft, layout.projects[0].name, statuses, link.rows_per_key, ends)
