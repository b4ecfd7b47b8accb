"""The comparison: what stored data an extraction would lose, decided before anything is overwritten.

`compare` is a pure function from evidence to findings. A person accepts findings by their hash.
"""

import hashlib
import json
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from store.source.comparing.closings import CLOSING_COLUMNS
from store.source.comparing.evidence import AttributeEvidence, ColumnEvidence, Earlier, Evidence, TableEvidence
from store.source.contract import CHANGES, TABLES

ABOUT = 1.5
"""`hash_of` takes the logarithm of a count to this base, so that small changes of a count keep the hash."""

DIGITS = 12
"""Digits of a hash of findings that a refusal shows."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The bounds on what one extraction may change of the stored data before a person is asked.

    The rows of a healthy CRM change one by one: deals are reopened, outcomes corrected, duplicates deleted, far fewer
    than one in a hundred between two nights. A broken export changes all rows, or all rows of a kind. The bounds lie in
    between. A missing column or table never happens by chance, and needs no bound.

    Parameters
    ----------
    bulk_rows : int
    bulk_share : float
        Rows are a bulk if there are at least `bulk_rows` of them and they are this share of the stored rows.
    most_rows : int
    most_share : float
        Fewer rows are a bulk if there are at least `most_rows` and they are this share. Rows that do not fit count only
        if there are `bulk_rows` of them, or if they are all rows of the table.
    persons_share : float
        Replaces both shares for a column whose values change when people leave.
    often_share : float
        Replaces the share of rows with another value for a column that changes often.
    part_rows : int
        In a table read in part, so many rows that have lost a value are a finding if no new or changed row has a value.
        The rows read are those that have changed, and a few may have changed for one reason.
    word_rows : int
    word_share : float
    word_many : int
        The loss of a word is a finding if at least `word_rows` rows had it, and they are either this share of the rows
        with a word or `word_many` rows.
    renamed_share : float
        A new word counts as the new name of a lost word if its rows are this share of those of the lost word.
    passing_share : float
        The same share for a column that changes freely: there, the loss of a word is a finding only if a new word has
        replaced it.
    older : timedelta
        How much earlier the last fact of a folder may be than at the last extraction: a row may be deleted.
    """

    bulk_rows: int = 10
    bulk_share: float = 0.05
    most_rows: int = 3
    most_share: float = 0.5
    persons_share: float = 0.9
    often_share: float = 0.2
    part_rows: int = 20
    word_rows: int = 10
    word_share: float = 0.01
    word_many: int = 100
    renamed_share: float = 0.5
    passing_share: float = 0.9
    older: timedelta = timedelta(days=1)

    def bulk(self, rows: int, stored: int, *, person: bool = False) -> bool:
        """Say whether so many rows are a bulk of the stored rows."""
        if person:
            return rows >= self.most_rows and rows >= self.persons_share * stored
        return (rows >= self.bulk_rows and rows >= self.bulk_share * stored) or self.most(rows, stored)

    def most(self, rows: int, stored: int) -> bool:
        """Say whether so many rows are most of the stored rows."""
        return rows >= self.most_rows and rows >= self.most_share * stored


BOUNDS = Bounds()


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A loss that an extraction would cause.

    Attributes
    ----------
    kind : str
    subject : str
        Table, column and word.
    before, after : int
        Rows.
    sentence : str
        The loss in words, with the figures.
    """

    kind: Literal[
        "table_gone",
        "rows_gone",
        "column_gone",
        "values_lost",
        "word_gone",
        "times_moved",
        "values_altered",
        "numbers_scaled",
        "keys_changed",
        "mapping_changed",
        "older_export",
        "rows_unfit",
    ]
    subject: str
    before: int
    after: int
    sentence: str


def compare(evidence: Evidence, bounds: Bounds = BOUNDS) -> tuple[Finding, ...]:
    """Return the losses; a pure function of the evidence."""
    findings = [finding for table in evidence.tables for finding in _of_table(table, bounds)]
    findings += [finding for each in evidence.attributes for finding in _of_attribute(each, bounds)]
    for key, (table, _) in CLOSING_COLUMNS.items():
        words = {word: rows for (each, word), rows in evidence.reopened.items() if each == key}
        if rows := sum(rows for rows in words.values() if rows >= bounds.most_rows):
            listed = ", ".join(words)
            findings.append(
                Finding(
                    kind="mapping_changed", subject=f"closes.{key} {listed}", before=rows, after=0,
                    sentence=f"closes.{key}: {listed} ended leads before, in {rows:,} rows of {table}; the mapping "
                    "names it no more",
                )
            )  # fmt: skip
    if (days := evidence.silence_before) is not None and days != evidence.silence_now:
        now = (
            "the mapping says nothing of it any more" if evidence.silence_now is None else f"{evidence.silence_now} now"
        )
        findings.append(
            Finding(
                kind="mapping_changed", subject="silence_closes_after_days", before=days,
                after=evidence.silence_now or 0, sentence=f"silence_closes_after_days: {days} before; {now}",
            )
        )  # fmt: skip
    # if rows are gone or rejected, the last fact may be one of them
    if (
        not findings
        and evidence.ended is not None
        and evidence.ends is not None
        and evidence.ended - evidence.ends > bounds.older
    ):
        ended, ends = (f"{each:%Y-%m-%dT%H:%M:%SZ}" for each in (evidence.ended, evidence.ends))
        findings.append(
            Finding(
                kind="older_export", subject="the last fact", before=1, after=0,
                sentence=f"the last fact: {ended} before, {ends} now; this is an older export, and would undo the "
                "changes of the newer one",
            )
        )  # fmt: skip
    return tuple(findings)


def _of_table(table: TableEvidence, bounds: Bounds) -> Iterator[Finding]:
    # rows that the source had when it was last read
    had = max(0, table.stored - table.missing_before)
    if table.place is None:
        if had > 0:
            yield Finding(
                kind="table_gone", subject=table.table, before=had, after=0,
                sentence=f"{table.table}: {_rows(had)} before; the source has no such table, or the mapping declares "
                "it absent",
            )  # fmt: skip
        return
    unfit = list(_of_unfit(table, bounds))
    if table.stored == 0:
        yield from unfit
        return
    if (rows := table.rekeyed - table.rekeyed_before) > 0:
        subject = f"{table.table}.{TABLES[table.table].key}"
        yield Finding(
            kind="keys_changed", subject=subject, before=had, after=had - rows,
            sentence=f"{subject}: {_rows(rows)} of {table.place} are stored under a key that is read differently now "
            "(a plain contact, which becomes a pseudonym, or invisible signs), and would be stored twice. A new home "
            "(LEADLINE_HOME) has them once, and no plain contacts",
        )  # fmt: skip
    missing = table.missing - table.missing_before
    if table.table == CHANGES:
        # a CRM may keep its history for some months only, and the stored changes are not lost
        is_bulk = bounds.most(missing, had)
    elif table.fewer is not None:
        is_bulk = bounds.bulk(table.fewer, had) or bounds.most(missing, had)
    else:
        is_bulk = bounds.bulk(missing, had)
    if is_bulk:
        reason = f", {table.rejected:,} of them rejected now (most: {table.rejected_as})" if table.rejected else ""
        yield Finding(
            kind="rows_gone", subject=table.table, before=had, after=had - missing,
            sentence=f"{table.table}: {_rows(had)} before; {table.place} lacks {missing:,} of them{reason}, and has "
            f"{_rows(table.present)} in all",
        )  # fmt: skip
    else:
        yield from unfit
    whole_columns = set()
    for column in table.columns:
        if (finding := _of_column(table, column, bounds)) is None:
            whole_columns.add(column.column)
        else:
            yield finding
    for column in table.columns:
        if column.now is not None and column.before in (None, column.now):
            altered = list(_of_altered(table, column, bounds))
            yield from altered
            if altered:
                whole_columns.discard(column.column)
    # a column with lost or altered values is a finding already, so its words are not compared
    yield from _gone_words(table, whole_columns, bounds)
    if bounds.bulk(table.moved, table.again):
        primary = TABLES[table.table].occurred
        yield Finding(
            kind="times_moved", subject=f"{table.table}.{primary}", before=table.again, after=table.again - table.moved,
            sentence=f"{table.table}.{primary}: another time in {table.moved:,} of {_rows(table.again)}, "
            f"by {_signed(table.shift)} at the median",
        )  # fmt: skip
    if bounds.bulk(table.changed, table.again):
        for column in table.columns:
            if column.stored and column.now is not None and column.before not in (None, column.now):
                yield Finding(
                    kind="mapping_changed", subject=f"{table.table}.{column.column}", before=table.again,
                    after=table.again - table.changed,
                    sentence=f"{table.table}.{column.column}: read from {column.before} before, from {column.now} now; "
                    f"{table.changed:,} of {_rows(table.again)} change",
                )  # fmt: skip


def _of_unfit(table: TableEvidence, bounds: Bounds) -> Iterator[Finding]:
    rows = table.unfit - table.unfit_before
    many = rows >= bounds.bulk_rows and bounds.most(rows, table.rows)
    if many or (rows >= bounds.most_rows and rows >= table.rows):
        yield Finding(
            kind="rows_unfit", subject=table.table, before=table.rows, after=table.rows - rows,
            sentence=f"{table.table}: {rows:,} of {_rows(table.rows)} of {table.place} do not fit: {table.unfit_as}",
        )  # fmt: skip


def _of_column(table: TableEvidence, column: ColumnEvidence, bounds: Bounds) -> Finding | None:
    name = f"{table.table}.{column.column}"
    had = f"{name}: a value in {column.stored:,} of {_rows(table.stored)} before"
    if column.now is None:
        # an earlier release did not record which columns existed: values that would be overwritten show it
        was_there = column.before is not None or (not table.described and (column.again > 0 or not table.whole))
        if column.stored == 0 or not was_there:
            return None
        unread = f"; columns that are not read: {', '.join(table.unread)}" if table.unread else ""
        source = "" if column.before is None else f", read from {column.before}"
        return Finding(
            kind="column_gone", subject=name, before=column.stored, after=0,
            sentence=f"{had}{source}; {table.place} has no such column any more{unread}",
        )  # fmt: skip
    contract = TABLES[table.table].column(column.column)
    if not table.described and contract.plan is not None:
        # an earlier release stored plans as facts
        return None
    person = contract.altered == "with_people"
    compared_rows = column.again if table.whole else column.stored
    if bounds.bulk(column.no_words, compared_rows):
        # a bulk of such words is a finding for every column: nobody enters them one by one
        return Finding(
            kind="values_lost", subject=name, before=column.again, after=column.again - column.no_words,
            sentence=f"{name}: a value in {_rows(column.again)} that were read again before; {column.no_words:,} of "
            "them are words that stand for a missing value now, such as N/A (missing, in the mapping)",
        )  # fmt: skip
    if bounds.bulk(column.lost, compared_rows, person=person) or (
        not table.whole and column.lost >= bounds.part_rows and column.fresh == 0
    ):
        how = f"{column.lost:,} of them have none now"
        if column.found == 0:
            how = f"all {_rows(table.read)} read have none"
        elif not table.whole and column.fresh == 0:
            how += ", and no row that is new or has changed has one"
        if column.plans:
            how += f"; {_rows(column.plans)} read have one that is a plan, by their status"
        return Finding(
            kind="values_lost", subject=name, before=column.again, after=column.again - column.lost,
            sentence=f"{name}: a value in {_rows(column.again)} that were read again before; {how}",
        )  # fmt: skip
    short = column.short - column.short_before
    if bounds.bulk(short, column.stored, person=person):
        return Finding(
            kind="values_lost", subject=name, before=column.stored, after=column.stored - short,
            sentence=f"{had}; {table.place} lacks {short:,} of these values, in rows that are not read again",
        )  # fmt: skip
    return None


def _of_attribute(attribute: AttributeEvidence, bounds: Bounds) -> Iterator[Finding]:
    name = f"{attribute.table}.attributes.{attribute.name}"
    of_rows = f"of {_rows(attribute.again)} with a value that were read again"
    if not attribute.is_read and attribute.stored:
        yield Finding(
            kind="column_gone", subject=name, before=attribute.stored, after=0,
            sentence=f"{name}: a value in {_rows(attribute.stored)} before, read from {attribute.label!r}; "
            f"{attribute.place} has no such column any more, or the mapping leaves it out",
        )  # fmt: skip
    elif bounds.bulk(attribute.lost, attribute.again):
        yield Finding(
            kind="values_lost", subject=name, before=attribute.again, after=attribute.again - attribute.lost,
            sentence=f"{name}: {attribute.lost:,} {of_rows} have none now",
        )  # fmt: skip
    elif bounds.most(attribute.altered, attribute.again):
        yield Finding(
            kind="values_altered", subject=name, before=attribute.again, after=attribute.again - attribute.altered,
            sentence=f"{name}: another value in {attribute.altered:,} {of_rows}",
        )  # fmt: skip


def _of_altered(table: TableEvidence, column: ColumnEvidence, bounds: Bounds) -> Iterator[Finding]:
    name, of_rows = f"{table.table}.{column.column}", f"of {_rows(column.again)} that were read again"
    contract = TABLES[table.table].column(column.column)
    if bounds.bulk(column.zeroed, table.stored):
        yield Finding(
            kind="values_altered", subject=f"{name} 0", before=table.stored, after=table.stored - column.zeroed,
            sentence=f"{name}: 0 in {_rows(column.zeroed)} that had no value before",
        )  # fmt: skip
    if column.factor is not None and bounds.bulk(column.scaled, column.again):
        yield Finding(
            kind="numbers_scaled", subject=name, before=column.again, after=column.again - column.scaled,
            sentence=f"{name}: {column.factor:,.4g} times what it was in {column.scaled:,} {of_rows}",
        )  # fmt: skip
    elif (
        column.column != TABLES[table.table].occurred
        and not contract.planned
        and contract.altered != "freely"
        and bounds.bulk(column.altered, column.again, person=contract.altered == "with_people")
        and (contract.altered != "often" or column.altered >= bounds.often_share * column.again)
    ):
        pairs = ", ".join(f"{before!r} is {now!r} in {rows:,}" for before, now, rows in column.turned)
        yield Finding(
            kind="values_altered", subject=name, before=column.again, after=column.again - column.altered,
            sentence=f"{name}: another value in {column.altered:,} {of_rows}{f' ({pairs})' if pairs else ''}",
        )  # fmt: skip


def _gone_words(table: TableEvidence, columns: Collection[str], bounds: Bounds) -> Iterator[Finding]:
    for column in dict.fromkeys(each.column for each in table.words if each.column in columns):
        words = [each for each in table.words if each.column == column]
        new = [each for each in words if each.stored == 0 and each.found > 0]
        renamed = max(new, key=lambda each: each.found, default=None)
        total = sum(each.stored for each in words)
        contract = TABLES[table.table].column(column)
        passing = contract.altered == "freely"
        for each in words:
            if passing and each.found > 0:
                continue
            # at least so many of the rows that had the word and were read again have lost it
            rows = each.stored - (table.stored - table.again) - each.found
            if not bounds.most(rows, each.stored) or each.word in contract.words_left:
                continue
            share = bounds.passing_share if passing else bounds.renamed_share
            is_renamed = renamed is not None and renamed.found >= share * each.stored
            many = rows >= bounds.word_rows and (rows >= bounds.word_many or rows >= bounds.word_share * total)
            if (many and is_renamed) if passing else (many or is_renamed):
                instead = f"; new is {renamed.word!r}, in {_rows(renamed.found)}" if renamed and is_renamed else ""
                rest = f"{each.found:,} have it now" if each.found else "none has it now"
                yield Finding(
                    kind="word_gone", subject=f"{table.table}.{column} {each.word}",
                    before=each.stored, after=each.found,
                    sentence=f"{table.table}.{column}: {each.word!r} in {_rows(each.stored)} before; {rest}{instead}",
                )  # fmt: skip


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def _signed(shift: timedelta | None) -> str:
    if shift is None:
        return "nothing"
    return f"-{-shift}" if shift < timedelta(0) else f"+{shift}"


def hash_of(findings: Sequence[Finding], earlier: Earlier) -> str:
    """Return the hash by which a person accepts exactly these findings after the last extraction.

    Counts before are rounded to powers of `ABOUT`, and counts after to tenths of them: a live database changes while a
    person reads.
    """
    content = [
        [each.kind, each.subject, round(math.log(each.before, ABOUT)), round(10 * each.after / each.before)]
        for each in sorted(findings, key=lambda each: (each.subject, each.kind))
    ]
    after = [earlier.load_number, None if earlier.as_of is None else earlier.as_of.timestamp()]
    return hashlib.sha256(json.dumps([after, content]).encode()).hexdigest()


def refusal(findings: Sequence[Finding], earlier: Earlier, source: str, accepted: str) -> str:
    """Return the message of an extraction that stops."""
    clock = "" if earlier.as_of is None else f", as of {earlier.as_of:%Y-%m-%dT%H:%M:%SZ}"
    listed = "\n".join(f"- {each.sentence}." for each in findings)
    other_hash = f" (LEADLINE_ACCEPT_EXTRACTION={accepted} is for others)" if accepted else ""
    expected = (
        "rows that fit the contract, found tables of which most rows do not"
        if all(each.kind == "rows_unfit" for each in findings)
        else f"what the last extraction brought{clock}, found that some of it is gone"
    )
    return (
        f"source {source}: expected {expected}. Nothing is loaded.\n{listed}\n"
        "Mend the export or the mapping. If the change is meant, accept it for this extraction alone: "
        f"LEADLINE_ACCEPT_EXTRACTION={hash_of(findings, earlier)[:DIGITS]}{other_hash}"
    )
