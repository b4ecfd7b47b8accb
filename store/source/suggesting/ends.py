"""What ends a lead, beside a won deal: words that say so, and words after which nothing happens with it any more."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from store.source.sql import one_row
from store.source.suggesting.columns import is_time, may_be_time
from store.source.suggesting.evidence import Aftermath, Column, Ends, Profile, Table
from store.source.suggesting.layout import Layout, Link
from store.source.suggesting.lines import FEW, FREE_TEXT, MOSTLY, SELDOM, TableLines, per_cent
from store.source.suggesting.names import is_ending, meaning
from store.source.suggesting.outcomes import Outcomes, closing_of, outcome, outcomes, yes_of
from store.source.suggesting.profile import moment
from store.source.suggesting.references import key_text
from store.source.suggesting.scratch import MOST_ROWS, Scratch, Texts
from store.source.suggesting.suggestion import Confidence, Draft, Question
from store.source.values.texts import folded, is_contact
from store.sql import literal, literals

DAYS = 30
"""Days after a row that must have passed before it shows whether anything follows."""

UNSEEN = "too few rows show what follows"

WHATS = {"outcomes": "the outcome", "lead_status": "the status", "project_status": "a deal that is"}
"""What has a word that may end a lead, by the key of ``closes``, for questions."""

ONE_DEAL = 1.05
"""Deals per lead up to which a lost deal ends its lead, if nothing shows what follows."""

CONFIDENCES: tuple[Confidence, ...] = ("sure", "likely", "unsure")


def occurred_of(lines: TableLines) -> tuple[Column, int | None] | None:
    """Return the column with the time of an activity, and the rank of its name."""
    if (found := lines.find("occurred_at", may_be_time) or lines.find("recorded_at", may_be_time)) is not None:
        return found
    times = [column for column in lines.table.columns.values() if may_be_time(column)]
    # a mere number that may be a time is one if there is no other
    return next(((column, None) for column in sorted(times, key=lambda column: not is_time(column))), None)


def is_outcome(column: Column) -> bool:
    """Say whether a column has the words of an outcome."""
    return bool(column.words) and column.longest <= FREE_TEXT


def is_status(column: Column) -> bool:
    """Say whether a column has the words of a status."""
    return bool(column.words) and not may_be_time(column)


def measured_ends(scratch: Scratch, found: Profile, texts: Mapping[str, Texts], layout: Layout) -> Ends | None:
    """Measure what follows a word of an outcome, a status or the end of a deal.

    Parameters
    ----------
    scratch : Scratch
    found : Profile
    texts : mapping of str to Texts
        By table.
    layout : Layout

    Returns
    -------
    Ends or None
        None if there are no activities that could follow.
    """
    if not layout.interactions:
        return None
    named = [*layout.interactions, *([layout.projects] if layout.projects is not None else [])]
    tables = [texts[table.name] for table, _ in named] + [texts[layout.leads.name]]
    share = min(1.0, *(MOST_ROWS / max(1, each.rows_in_all) for each in tables if each.share < 1), 1.0)
    if share < 1 and any(link.via is not None for _, link in named):
        # only of rows that name their lead themselves can all of a lead be read
        return None
    measuring = _Measuring(scratch, found, texts, layout, share)
    for table, link in layout.interactions:
        lines = TableLines("interactions", table, Draft({}))
        if (occurred := occurred_of(lines)) is not None:
            lines.used.add(occurred[0].name)
            word = lines.find("outcome", is_outcome)
            measuring.add("outcome", table, link, occurred[0], None if word is None else word[0])
    if layout.projects is not None:
        measuring.add_projects(*layout.projects)
    return measuring.ends()


@dataclass
class _Measuring:
    scratch: Scratch
    found: Profile
    texts: Mapping[str, Texts]
    layout: Layout
    share: float

    def _rows(self, table: Table, places: Iterable[int], by: str) -> str:
        return self.scratch.of_some(self.texts[table.name], places, list(table.columns).index(by), self.share)

    def __post_init__(self) -> None:
        self.scratch.connection.execute(
            "create or replace table facts (kind varchar, lead varchar, day date, word varchar)"
        )

    def add(
        self, kind: str, table: Table, link: Link, at: Column, word: Column | None, says: str | None = None
    ) -> None:
        """Add the facts of a table; `says` is SQL of the word."""
        names = list(table.columns)
        places = [names.index(each) for each in (link.column, at.name, at.clock, word and word.name) if each]
        extra = [
            names.index(each.name) for each in table.columns.values() if says and f"c{names.index(each.name)}" in says
        ]
        rows = self._rows(table, [*places, *extra], link.column)
        said = says or (f"c{names.index(word.name)}" if word is not None else "null")
        lead = key_text(names.index(link.column), table.columns[link.column])
        query = f"select {lead} as k, cast({moment(at, names)} as date) as day, {said} as word from {rows}"
        joined = "k"
        if link.via is not None:
            middle, key, to_lead = link.via
            between = self.found.tables[middle]
            columns = list(between.columns)
            relation = f"t{self.texts[middle].number}"
            found = f"select {key_text(columns.index(key), between.columns[key])} as k, "
            found += f"{key_text(columns.index(to_lead), between.columns[to_lead])} as lead from {relation}"
            query, joined = f"select * from ({query}) join ({found}) using (k)", "lead"
        self.scratch.connection.execute(
            f"insert into facts select {literal(kind)}, {joined}, day, word from ({query}) "
            f"where {joined} is not null and isfinite(day)"
        )

    def add_projects(self, table: Table, link: Link) -> None:
        """Add the ends of deals, and when they began."""
        lines = TableLines("projects", table, Draft({}))
        named = lines.find("closed_at", may_be_time)
        end = closing_of(table) if named is None else named[0]
        found = outcomes(table, end)
        if found is not None and end is not None:
            self.add("project", table, link, end, found.column, said_outcome(found, list(table.columns)))
            # the close date of an open deal is a plan
            self.scratch.connection.execute("delete from facts where kind = 'project' and word is null")
        if (begun := lines.find("proposed_at", may_be_time)) is not None and begun[0] is not end:
            self.add("begun", table, link, begun[0], None)

    def ends(self) -> Ends:
        """Return what follows each word."""
        connection = self.scratch.connection
        connection.execute("create or replace table lasts as select lead, max(day) as last from facts group by 1")
        # a plan may lie in the far future
        (clock,) = one_row(connection, "select quantile_disc(day, 0.999) from facts")
        old = f"day <= date {literal(str(clock))} - {DAYS}"
        (followed,) = one_row(
            connection, f"select coalesce(avg((last > day)::integer), 0) from facts join lasts using (lead) where {old}"
        )
        by_word: dict[str, dict[str, Aftermath]] = {"outcome": {}, "project": {}}
        for kind, word, rows, share, won in connection.execute(
            "select kind, folded(word), count(*), avg((last > day)::integer), avg((lead in (select lead from facts "
            f"where kind = 'project' and word = 'won'))::integer) from facts join lasts using (lead) "
            f"where {old} and word is not null group by 1, 2"
        ).fetchall():
            by_word[kind][word] = Aftermath(rows, share, won)
        return Ends(
            followed=followed, outcomes=by_word["outcome"], projects=by_word["project"], statuses=self._statuses(clock)
        )

    def _statuses(self, clock: object) -> dict[str, Aftermath]:
        leads, names = self.layout.leads, list(self.layout.leads.columns)
        status = TableLines("leads", leads, Draft({})).find("status", is_status)
        if status is None or self.layout.is_deal:
            return {}
        key, created = leads.columns[self.layout.key], leads.columns[self.layout.created]
        places = [names.index(each) for each in (key.name, created.name, created.clock, status[0].name) if each]
        rows = self._rows(leads, places, key.name)
        since = f"date {literal(str(clock))} - {DAYS}"
        found = self.scratch.connection.execute(
            f"select folded(c{names.index(status[0].name)}), count(*), avg((coalesce(last > {since}, false))::integer) "
            f"from {rows} left join lasts on lead = {key_text(names.index(key.name), key)} "
            f"where cast({moment(created, names)} as date) <= {since} group by 1"
        ).fetchall()
        return {word: Aftermath(rows, share, 0.0) for word, rows, share in found if word is not None}


def said_outcome(found: Outcomes, names: list[str]) -> str:
    """Return SQL of the outcome of a deal that has ended, in the word of the contract."""
    place = names.index(found.column.name)
    if not found.is_flags:
        cases = [(place, [word], meant) for word, (meant, *_) in found.ended.items()]
    else:
        cases = [(place, yes_of(found.column), "won")]
        if found.closed is not None:
            cases.append((names.index(found.closed.name), yes_of(found.closed), "lost"))
    whens = " ".join(
        f"when folded(c{of}) in ({literals([folded(word) for word in words])}) then {literal(meant)}"
        for of, words, meant in cases
    )
    return f"case {whens} end" if whens else "cast(null as varchar)"


@dataclass(frozen=True)
class _Judged:
    """Whether a word ends a lead, why, and how sure that is."""

    ends: bool
    why: str
    confidence: Confidence


def outcome_ends(draft: Draft, of: str, words: Iterable[str], ends: Ends | None) -> None:
    """Add the line on outcomes of activities that end a lead, and ask for them.

    Parameters
    ----------
    draft : Draft
    of : str
        The column, for the question.
    words : iterable of str
    ends : Ends or None
        None if nothing shows what follows.
    """
    judged: dict[str, _Judged] = {}
    for word in words:
        after = None if ends is None else ends.outcomes.get(folded(word))
        # a won deal ends its lead anyway
        if meaning("projects", "status", word) == "won" or (after is not None and after.won >= MOSTLY):
            continue
        all_rows = 0.0 if ends is None else ends.followed
        sounds = is_ending(word)
        found = _judged(after, all_rows, sounds=sounds)
        # nobody need be asked of words that do not end a lead, or say nothing
        if found.ends or (sounds and found.confidence == "unsure"):
            judged[word] = found
    _closing(draft, "outcomes", of, judged)


def status_ends(draft: Draft, of: str, words: Iterable[str], ends: Ends | None) -> None:
    """Add the line on statuses of leads that end them, and ask for them; the arguments are those of `outcome_ends`."""
    listed = list(words)
    statuses = {} if ends is None else ends.statuses
    others = [
        after
        for word in listed
        if not is_ending(word) and outcome(word) != "won" and (after := statuses.get(folded(word))) is not None
    ]
    rows = sum(after.rows for after in others)
    share = sum(after.rows * after.share for after in others) / rows if rows else 0.0
    judged: dict[str, _Judged] = {}
    for word in filter(is_ending, listed):
        after = statuses.get(folded(word))
        if after is None or min(after.rows, rows * share) < FEW or share < SELDOM:
            judged[word] = _Judged(ends=True, why=f"by its name; {UNSEEN}", confidence="likely")
            continue
        why = (
            f"something has happened with {per_cent(after.share)} of its {after.rows:,} leads in the last {DAYS} days, "
            f"and with {per_cent(share)} of the {rows:,} others"
        )
        is_quiet = after.share <= MOSTLY * share
        judged[word] = _Judged(ends=is_quiet, why=why, confidence="likely" if is_quiet else "unsure")
    _closing(draft, "lead_status", of, judged)


def deal_ends(draft: Draft, of: str, statuses: Iterable[str], per_lead: float, ends: Ends | None) -> None:
    """Add the line on deals whose end is that of their lead, and ask for it.

    Parameters
    ----------
    draft : Draft
    of : str
        The table of deals.
    statuses : iterable of str
        The statuses of the contract that deals have.
    per_lead : float
        Deals per lead that has any.
    ends : Ends or None
        None if nothing shows what follows.
    """
    judged: dict[str, _Judged] = {}
    for status in statuses:
        after = None if ends is None else ends.projects.get(status)
        found = _judged(after, 0.0 if ends is None else ends.followed, sounds=True)
        if found.confidence == "unsure":
            why = f"leads with deals have {per_lead:.2f} of them on average; {found.why.removeprefix('by its name; ')}"
            found = _Judged(ends=per_lead <= ONE_DEAL, why=why, confidence="likely")
        judged[status] = found
    _closing(draft, "project_status", of, judged)


def _judged(after: Aftermath | None, all_rows: float, *, sounds: bool) -> _Judged:
    """Return what the name of a word and what follows its rows say."""
    if after is None or after.rows < FEW or all_rows < MOSTLY:
        return _Judged(ends=sounds, why=f"by its name; {UNSEEN}", confidence="unsure")
    why = (
        f"after {per_cent(after.share)} of its {after.rows:,} rows something happens with the lead on a later day, "
        f"after {per_cent(all_rows)} of all rows"
    )
    if after.share <= SELDOM * all_rows:
        return _Judged(ends=True, why=why, confidence="sure" if sounds else "likely")
    return _Judged(ends=False, why=why, confidence="sure" if after.share >= MOSTLY * all_rows else "unsure")


def _closing(draft: Draft, key: str, of: str, judged: Mapping[str, _Judged]) -> None:
    """Ask for the words that may end a lead, and add the line of those that do."""
    words: list[str] = []
    found: list[_Judged] = []
    for ends in (True, False):
        some = {word: each for word, each in judged.items() if each.ends is ends and not is_contact(word)}
        if not some:
            continue
        named = f"closes.{key}" if ends else f"closes.{key}.doubtful"
        question = Question(
            key=named,
            text=f"Does {WHATS[key]} {' or '.join(map(repr, some))} end a lead ({of}; {_whys(some)})?",
            options={"yes": "yes: nobody works on it any more", "no": "no: work on the lead goes on"},
            default="yes" if ends else "no",
        )
        if draft.ask(question) == "yes":
            words += some
            is_said = draft.is_answered(named)
            found += [_Judged(True, f"as answered; {each.why}", "sure") if is_said else each for each in some.values()]
    if words:
        confidence = max((each.confidence for each in found), key=CONFIDENCES.index)
        draft.line(("closes", key), words, _whys(dict(zip(words, found, strict=True))), confidence)


def _whys(judged: Mapping[str, _Judged]) -> str:
    if len({each.why for each in judged.values()}) == 1:
        return next(iter(judged.values())).why
    return "; ".join(f"{word}: {each.why}" for word, each in judged.items())
