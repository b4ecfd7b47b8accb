"""Which table of a source is what: the leads, their deals, appointments, interactions and changes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from store.source.reading.tables import has_no_header
from store.source.suggesting.columns import (
    created_of,
    is_of_facts,
    is_plausible,
    is_small,
    key_of,
    may_be_time,
    outcomes_of,
    status_of,
    tells_activities,
)
from store.source.suggesting.evidence import Column, Profile, Reference, Table
from store.source.suggesting.names import is_out, role_of
from store.source.suggesting.suggestion import Draft, NoMappingError, Question
from store.source.suggesting.vocabulary import PEOPLE, REQUESTS, spoken

LEAD = "lead"
"""The key of the question what a lead is."""

CLEAR = 3.0
"""The lead of a table before the next one, in points, from which nobody is asked."""

SEVERAL = 1.5
"""Deals per person from which a person is asked what a lead is."""


@dataclass(frozen=True, kw_only=True)
class Link:
    """How the rows of a table name their lead.

    Attributes
    ----------
    column : str
        The column of the table.
    via : tuple of (str, str, str) or None
        The table in between, its column with these values, and its column that names the lead; None for none.
    share : float
        Share of the values that are found.
    rows_per_key : float
        Rows with a value, divided by its different values.
    named : Column or None
        The column that names the lead, in the table or the one in between; None for the key of the leads itself.
    astray : int
        Rows whose value is not found.
    """

    column: str
    via: tuple[str, str, str] | None
    share: float
    rows_per_key: float
    named: Column | None = None
    astray: int = 0


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The tables of a source by what they are.

    Attributes
    ----------
    leads : Table
    key : str
        The column of the leads by which the other tables name them.
    created : str
    is_deal : bool
        Whether a row of the leads is a deal itself.
    projects : tuple of (Table, Link) or None
    appointments : tuple of (Table, Link) or None
    interactions : tuple of (Table, Link)
    changes : tuple of (Table, Link) or None
    why : str
        Why this table is the leads.
    """

    leads: Table
    key: str
    created: str
    is_deal: bool
    projects: tuple[Table, Link] | None
    appointments: tuple[Table, Link] | None
    interactions: tuple[tuple[Table, Link], ...]
    changes: tuple[Table, Link] | None
    why: str


def _links(table: Table, leads: Table, key: str, profile: Profile, between: Iterable[Table]) -> Link | None:
    """Return how the rows of a table name their lead: directly, by another column of the leads, or by a deal."""
    found = [each for each in profile.references if each.table == table.name and is_plausible(each, profile)]
    direct = [each for each in found if (each.to_table, each.to_column) == (leads.name, key)]
    own_key = key_of(table, profile)
    small = is_small(leads.columns[key])
    direct = [each for each in direct if each.column != own_key or not small or spoken(each.column) == spoken(key)]
    if direct:
        best = max(direct, key=lambda each: (spoken(each.column) == "lead_id", each.share))
        return Link(
            column=best.column,
            via=None,
            share=best.share,
            rows_per_key=best.rows_per_key,
            named=table.columns[best.column],
            astray=best.astray,
        )
    if other := [each for each in found if each.to_table == leads.name and each.column != own_key]:
        best = max(other, key=lambda each: each.share)
        via = (leads.name, best.to_column, key)
        return Link(column=best.column, via=via, share=best.share, rows_per_key=best.rows_per_key, astray=best.astray)
    for middle in between:
        if middle.name in (table.name, leads.name) or (link := _links(middle, leads, key, profile, ())) is None:
            continue
        if steps := [each for each in found if each.to_table == middle.name and each.column != own_key]:
            best = max(steps, key=lambda each: each.share)
            via = (middle.name, best.to_column, link.column)
            if link.via is None:
                return Link(
                    column=best.column,
                    via=via,
                    share=best.share * link.share,
                    rows_per_key=best.rows_per_key,
                    named=link.named,
                    astray=best.astray,
                )
    return None


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    table: Table
    key: str
    created: str
    score: float
    is_deal: bool


def layout(profile: Profile, draft: Draft) -> Layout:
    """Decide which table is what.

    Raises
    ------
    NoMappingError
        If no table can be the leads.
    """
    candidates = _candidates(profile)
    if not candidates:
        raise NoMappingError(no_leads(profile))
    deals = _deals(profile)
    of_deals = [each for each in profile.references if each.table in deals and is_plausible(each, profile)]
    best = _asked(candidates, of_deals, draft)
    leads = best.table
    with_outcomes = [profile.tables[name] for name in deals if name != leads.name]
    linked: dict[str, Link] = {}
    for table in profile.tables.values():
        if (
            table is not leads
            and table.rows
            and (link := _links(table, leads, best.key, profile, with_outcomes)) is not None
        ):
            linked[table.name] = link

    def of_role(role: str) -> list[tuple[Table, Link]]:
        return [
            (profile.tables[name], link)
            for name, link in linked.items()
            if (found := role_of(name)) is not None and found[0] == role
        ]

    itself = Link(column=best.key, via=None, share=1.0, rows_per_key=1.0)
    projects: tuple[Table, Link] | None = None
    if best.is_deal:
        projects = (leads, itself)
    elif others := [(table, linked[table.name]) for table in with_outcomes if table.name in linked] or [
        (table, link) for table, link in of_role("projects") if status_of(table) is not None
    ]:
        projects = max(others, key=lambda each: ((role_of(each[0].name) or ("",))[0] == "projects", each[0].rows))
    used = {leads.name, projects[0].name if projects else ""}
    changes = next(((table, link) for table, link in of_role("changes") if table.name not in used), None)
    appointments = next(
        (
            (table, link)
            for table, link in of_role("appointments")
            if table.name not in used and any(map(may_be_time, table.columns.values()))
        ),
        None,
    )
    used |= {each[0].name for each in (changes, appointments) if each is not None}
    named = {table.name for table, _ in of_role("interactions")}
    interactions = tuple(
        (profile.tables[name], link)
        for name, link in linked.items()
        if name not in used
        and any(map(may_be_time, profile.tables[name].columns.values()))
        and (name in named or tells_activities(profile.tables[name]))
    )
    return Layout(
        leads=leads,
        key=best.key,
        created=best.created,
        is_deal=best.is_deal,
        projects=projects,
        appointments=appointments,
        interactions=interactions,
        changes=changes,
        why=_why(best, profile, linked),
    )


def _deals(profile: Profile) -> list[str]:
    """Return the tables whose rows can be won: not those of activities, whose words may tell of a win as well."""
    return [
        name
        for name, table in profile.tables.items()
        if not is_of_facts(name) and not is_out(name) and outcomes_of(table) is not None
    ]


def _candidates(profile: Profile) -> list[_Candidate]:
    found: list[_Candidate] = []
    outcomes = set(_deals(profile))
    plausible = [each for each in profile.references if is_plausible(each, profile)]
    for name, table in profile.tables.items():
        key, created = key_of(table, profile), created_of(table)
        if key is None or created is None or not table.rows:
            continue
        role = role_of(name)
        if is_of_facts(name) or is_out(name):
            continue
        referring = {each.table for each in plausible if each.to_table == name}
        has_own = name in outcomes
        deals = {each for each in outcomes - {name} if _reaches(each, name, plausible)}
        if role is None and not referring and not has_own:
            continue
        # a row of a table without outcomes cannot be a lead if the deals do not name it
        if outcomes and not has_own and not deals:
            continue
        names_a_lead = any(
            each.table == name
            and (to := role_of(each.to_table)) is not None
            and to[0] == "leads"
            and created_of(profile.tables[each.to_table]) is not None
            for each in plausible
        )
        score = 0.0
        if role is not None and role[0] == "leads":
            score = 8.0 if role[1] in REQUESTS else 6.0
            score -= 0.0 if role[1] in PEOPLE else 3.0
        elif role is not None:
            score = 2.0
        score += min(3, len(referring)) - (4.0 if names_a_lead else 0.0) + (1.0 if has_own else 0.0)
        found.append(_Candidate(table=table, key=key, created=created, score=score, is_deal=has_own and not deals))
    return sorted(found, key=lambda each: (-each.score, each.table.name))


def _reaches(table: str, leads: str, references: Sequence[Reference]) -> bool:
    return any(each.table == table and each.to_table == leads for each in references)


def _asked(candidates: Sequence[_Candidate], of_deals: Sequence[Reference], draft: Draft) -> _Candidate:
    by_name = {each.table.name: each for each in candidates}
    first = candidates[0]
    repeated = max((each.rows_per_key for each in of_deals if each.to_table == first.table.name), default=1.0)
    if len(by_name) == 1 or (first.score - candidates[1].score >= CLEAR and repeated <= SEVERAL):
        return first
    question = Question(
        key=LEAD,
        text="What is a lead?",
        options={
            name: f"a row of {name}" + (" (a deal)" if (role_of(name) or ("",))[0] == "projects" else "")
            for name, each in by_name.items()
        },
        default=candidates[0].table.name,
    )
    chosen = by_name[draft.ask(question)]
    if outcomes_of(chosen.table) is not None and chosen is not candidates[0]:
        return _Candidate(table=chosen.table, key=chosen.key, created=chosen.created, score=chosen.score, is_deal=True)
    return chosen


def _why(best: _Candidate, profile: Profile, linked: Mapping[str, Link]) -> str:
    table = best.table
    if best.is_deal:
        people = [name for name in profile.tables if name != table.name and (role_of(name) or ("",))[0] == "leads"]
        lacking = [name for name in people if created_of(profile.tables[name]) is None]
        if lacking:
            return f"a deal is the lead here: {', '.join(lacking)} has no creation time"
        return "a deal is the lead here: no table of people belongs to it"
    direct = [name for name, link in linked.items() if link.via is None]
    named = f"; {', '.join(direct)} name its rows" if direct else ""
    return f"{table.rows:,} rows with a key and a creation time{named}"


def no_leads(profile: Profile) -> str:
    """Return the message that no table can be the leads."""
    lines = []
    for name, table in profile.tables.items():
        key, created = key_of(table, profile), created_of(table)
        lacking = [
            what
            for what, found in (
                ("a column without two equal values that is its key", key),
                ("a time at which its rows were created", created),
            )
            if found is None
        ]
        if not table.rows:
            lacking = ["rows"]
        if not lacking:
            lacking = ["a name or another table that says that its rows are leads or deals, and a status with won"]
        if has_no_header(list(table.columns)):
            lacking = [f"a header line, it seems: name the columns (files: {{{table.place}: {{header: […]}}}})"]
        lines.append(f"- {name} lacks {', and '.join(lacking)}")
    lines += [f"- {name} cannot be read: {why}" for name, why in profile.unread.items()]
    found = "\n".join(lines) or "no table"
    return (
        f"source {profile.description}: expected a table of leads or of deals, with a key and the time at which each "
        f"row was created, found\n{found}\nExport the missing columns, or write a mapping.yml by hand "
        "(docs/mapping.md)."
    )
