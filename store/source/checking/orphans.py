"""Keys that do not meet: a table of which nearly all rows belong to no lead says its keys are written otherwise."""

from collections.abc import Mapping
from datetime import datetime

from duckdb import DuckDBPyConnection

from store.source.checking.rejects import write_rejects
from store.source.checking.validation import Validated
from store.source.contract import SourceContractError
from store.source.reading.sources import Source
from store.source.sql import one_row

MIN_ORPHANS = 10

MIN_SHARE = 0.9
"""So many rows without a lead, and such a share of the rows of a table, are no matter of single deletions."""

EXAMPLES = 3

CASE = "lower({})"

SALESFORCE = "case when regexp_full_match({0}, '[0-9A-Za-z]{{15}}([0-9A-Z]{{3}})?') then left({0}, 15) else {0} end"

SPELLINGS: Mapping[str, str] = {
    "regexp_replace({}, '\\.0+$', '')": "one of them is a number with a decimal point, as pandas writes whole numbers "
    "of a column with gaps: convert it with astype('Int64')",
    CASE: "they differ in upper and lower case",
    SALESFORCE: "one of them has the 15 characters of Salesforce, and the other 18, the last three of which are a "
    "check: export 18 everywhere",
    "ltrim({}, '0')": "one of them has leading zeros, which a spreadsheet removes: export it as text",
    "regexp_replace({}, '[^0-9A-Za-z]', '', 'g')": "they differ in signs such as spaces, quotes or braces",
    "regexp_replace({}, '\\D', '', 'g')": "one of them has letters before or after the number",
}
"""What keys may differ in, by the SQL that makes them equal."""


def refuse_no_leads(connection: DuckDBPyConnection, reader: Source, leads: Validated, present: datetime) -> None:
    """Stop an extraction that reads no lead.

    Raises
    ------
    SourceContractError
        When no row of the leads fits, with the reasons.
    """
    accepted, known = one_row(
        connection,
        "select (select count(*) from typed_leads where check_no is null), (select count(*) from known_leads)",
    )
    # with a watermark a quiet day reads no lead; files are always read whole
    incremental = reader.folder is None and leads.binding.watermark is not None and known > 0
    if accepted == 0 and not incremental:
        reasons = ", ".join(
            f"{count} {leads.checks[number].reason}"
            for number, count in connection.execute(
                "select check_no, count(*) from typed_leads where check_no is not null group by all order by all"
            ).fetchall()
        )
        write_rejects(connection, [leads], present)
        first = connection.execute("select message from rejects order by line nulls last, key limit 1").fetchone()
        raise SourceContractError(
            f"{leads.place}: expected leads, found {leads.rows_read} rows of which none fits"
            + (f" ({reasons})" if reasons else "")
            + ". Check that the export is complete and that its columns are mapped."
            + (f" The first: {first[0]}" if first else "")
        )


def refuse_orphans(connection: DuckDBPyConnection, validated: Mapping[str, Validated]) -> None:
    """Stop an extraction whose tables do not meet.

    Parameters
    ----------
    connection : DuckDBPyConnection
        The scratch database with the typed tables and ``known_leads``.
    validated : mapping of str to Validated
        By contract table.

    Raises
    ------
    SourceContractError
        When nearly all rows of a table belong to no lead; with examples of the keys of both sides.
    """
    sentences = []
    for name, one in validated.items():
        number = next((place for place, check in enumerate(one.checks) if check.reason == "orphan"), None)
        if number is None:
            continue
        orphans, rejected, rows = one_row(
            connection,
            f"select count(*) filter (check_no = {number}), count(*) filter (check_no = {number} and lead_id in "
            "(select lead_id from typed_leads where check_no is not null)), "
            f"count(*) filter (check_no is null or check_no = {number}) from typed_{name}",
        )
        if one.reading.part is not None:
            # rejected rows are read again beside the few rows that are new
            rows = max(rows, one.reading.part.rows)
        if orphans >= MIN_ORPHANS and orphans >= MIN_SHARE * rows:
            sentences.append(_sentence(connection, one, number, validated["leads"], (orphans, rejected, rows)))
    if sentences:
        raise SourceContractError("\n".join(sentences))


def _sentence(
    connection: DuckDBPyConnection, one: Validated, number: int, leads: Validated, counts: tuple[int, int, int]
) -> str:
    orphans, rejected, rows = counts
    table = one.binding.table.name
    lost = f"(select distinct lead_id from typed_{table} where check_no = {number})"
    known = "(select lead_id from typed_leads union select lead_id from known_leads)"
    found = f"{orphans:,} of {rows:,} rows that name another"
    if rejected:
        found += f", {rejected:,} of them one that was rejected"
    remedy = "Export the leads as well, or name the columns in the mapping by which the tables belong together."
    for spelling, difference in SPELLINGS.items():
        sides = [f"select distinct {spelling.format('lead_id')} as spelt from {each}" for each in (lost, known)]
        met, of, altered_lost, altered_known, merged = one_row(
            connection,
            f"select count(*) filter (spelt in ({sides[1]})), count(*), "
            f"(select count(*) from {lost} where {spelling.format('lead_id')} <> lead_id), "
            f"(select count(*) from {known} where {spelling.format('lead_id')} <> lead_id), "
            + " + ".join(f"(select count(distinct lead_id) from {each}) - (select count(*) from ({side}))"
                         for each, side in zip((lost, known), sides, strict=True))
            + f" from ({sides[0]}) where spelt <> ''",
        )  # fmt: skip
        # one side is written so already; else the characters that are left out tell keys apart
        tells_apart = merged if spelling == CASE else altered_lost and altered_known
        if met and met >= MIN_SHARE * of and not tells_apart:
            remedy = f"The keys differ in how they are written: {difference}. Export both in the same way."
            break
    return (
        f"{one.place}: expected the lead_id of a lead in most rows, found {found}. Keys of {leads.place}: "
        f"{_examples(connection, known)}; of {one.place}: {_examples(connection, lost)}. {remedy} Nothing is loaded."
    )


def _examples(connection: DuckDBPyConnection, relation: str) -> str:
    examples = connection.execute(
        f"select shown(lead_id) from {relation} where lead_id is not null order by lead_id limit {EXAMPLES}"
    ).fetchall()
    return ", ".join(repr(each) for (each,) in examples)
