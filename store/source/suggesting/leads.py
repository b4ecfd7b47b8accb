"""The lines of the leads."""

from store.source.suggesting.ends import is_status, status_ends
from store.source.suggesting.evidence import Column, Ends, Table
from store.source.suggesting.layout import Layout
from store.source.suggesting.lines import FEW, FULL, TableLines, counted, is_amount, unique
from store.source.suggesting.names import name_rank
from store.source.suggesting.outcomes import Outcomes, leak_of
from store.source.suggesting.suggestion import Draft
from store.source.values.texts import folded, is_contact


def leads_lines(layout: Layout, outcomes: Outcomes | None, ends: Ends | None, draft: Draft) -> None:
    """Add the lines of the leads.

    Parameters
    ----------
    layout : Layout
    outcomes : Outcomes or None
        The outcomes of the deals, if the deals are the leads.
    ends : Ends or None
        What follows the words that may end a lead.
    draft : Draft
    """
    table = layout.leads
    lines = TableLines("leads", table, draft)
    is_open = "lead" in draft.questions and not draft.is_answered("lead")
    lines.line("table", table.name, layout.why, "unsure" if is_open else "sure")
    key = table.columns[layout.key]
    lines.take("lead_id", key, unique(table, key), "sure" if key.is_unique else "likely")
    created = table.columns[layout.created]
    later = [other for (first, other), share in table.in_order.items() if first == created.name and share >= FULL]
    why = lines.of_time(created) + (f"; never after {', '.join(later[:3])}" if later else "")
    rank = name_rank("leads", "created_at", created.name, table.name)
    lines.take("created_at", created, why, "unsure" if rank is None else "sure" if rank <= 0 or later else "likely")
    if created.filled < table.rows:
        draft.notes.append(_without_creation(table, created))
    lines.text("source", lambda column: column.distinct <= max(FEW, table.rows / 2))
    lines.text("assigned_to")
    lines.text("zip_code")
    lines.time("updated_at")
    if outcomes is None:
        if (budget := lines.find("property_value", is_amount)) is not None:
            if (leak := leak_of(table, budget[0])) is None:
                lines.number("property_value")
            else:
                draft.left[f"{table.name}.{budget[0].name}"] = f"{leak} It would tell it to a model of the past."
        if (status := lines.text("status", is_status)) is not None:
            status_ends(draft, f"{table.name}.{status.name}", [word for word, _ in status.words], ends)
    else:
        # a status without a date of its own ends the lead from the extraction that first saw it
        lines.used.add(outcomes.column.name)
        why = "where a deal that has ended has no date, its status ends it from the extraction that first saw it"
        if not outcomes.is_flags:
            lines.column("status", outcomes.column.name, "its words are those of projects", "sure")
            lines.words("status", outcomes.ended)
            for word, (meant, said, confidence) in outcomes.going_on.items():
                draft.line((*lines.place, "values", "status", word), meant, said, confidence)
            draft.line(("closes", "lead_status"), outcomes.endings, why, "sure")
        lines.column("property_value", {"absent": True}, "an amount of a deal is not known before its end", "sure")
    lines.finish()


def _without_creation(table: Table, created: Column) -> str:
    empty = table.rows - created.filled
    sentence = (
        f"{counted(empty, 'row')} of {table.rows:,} in {table.name} have no {created.name}: nobody can say since when "
        "they are leads, so they are set aside (missing_required)"
    )
    for (status, of), filled in table.by_word.items():
        if of != created.name:
            continue
        words = [word for word, each in filled.items() if each.rows >= FEW and not each.filled]
        shown = [word for word, _ in table.columns[status].words if folded(word) in words and not is_contact(word)]
        if shown:
            return f"{sentence}; no row with {status} {' or '.join(shown)} has one."
    return f"{sentence}."
