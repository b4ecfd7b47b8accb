"""The rejects: every row that does not fit, with its place, the reason and the remedy.

If nearly all rows of a table belong to no lead (or customer), their keys are written in another way, and the extraction
stops.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from duckdb import DuckDBPyConnection

from store.source.checking.checks import REMEDIES
from store.source.checking.times import (
    stated,
)
from store.source.checking.validation import Validated, keys_read
from store.source.contract import CUSTOMERS, TABLES, SourceContractError
from store.source.mapping.binding import TableBinding, columns_of
from store.source.owners import begun_by, known_keys
from store.source.reading.sources import Source
from store.source.reading.tables import Reading
from store.source.record import Table
from store.source.sql import of_source, one_row, quoted
from store.sql import literal

REJECT_COLUMNS = {
    "reject_id": "varchar",
    "table_name": "varchar",
    "file": "varchar",
    "line": "bigint",
    "key": "varchar",
    "column_name": "varchar",
    "value": "varchar",
    "reason": "varchar",
    "message": "varchar",
    "extracted_at": "timestamptz",
    "row": "varchar",
}

MIN_ORPHANS = 10

MIN_SHARE = 0.9
"""With so many rows that belong to nothing (`MIN_ORPHANS`), and such a share of a table, the extraction stops."""

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
"""Differences in how keys are written, by the SQL that makes such keys equal."""


def rejects_by_reason(connection: DuckDBPyConnection) -> dict[str, dict[str, int]]:
    """Return how many rejects there are, by table and reason."""
    counted = connection.execute(
        "select table_name, reason, count(*) from rejects group by all order by table_name, reason"
    ).fetchall()
    return {name: {reason: count for table, reason, count in counted if table == name} for name in TABLES}


def write_new_rejects(connection: DuckDBPyConnection) -> bool:
    """Create ``new_rejects``, in which a known reject keeps the clock of the extraction that found it first.

    Returns
    -------
    bool
        Whether the rejects differ from the stored ones.
    """
    columns = ", ".join(
        "coalesce(k.extracted_at, r.extracted_at) as extracted_at" if name == "extracted_at" else f"r.{quoted(name)}"
        for name in REJECT_COLUMNS
    )
    connection.execute(
        f"create table new_rejects as select {columns} from rejects r "
        "left join known_rejects k on k.reject_id = r.reject_id"
    )
    (differing,) = one_row(
        connection,
        "select count(*) from rejects r full join known_rejects k on k.reject_id = r.reject_id "
        "where r.reject_id is null or k.reject_id is null",
    )
    return bool(differing)


def write_rejects(connection: DuckDBPyConnection, validated: Sequence[Validated], clock: datetime) -> None:
    """Create the relation ``rejects`` from all tables; its rows hold only columns of the contract."""
    connection.execute(
        "create table rejected (table_name varchar, file varchar, line bigint, key varchar, column_name varchar, "
        "value varchar, reason varchar, expected varchar, found varchar, row varchar)"
    )
    for one in validated:
        table, name = one.binding.table, one.binding.table.name
        if one.reading.malformed:
            lines = [[row.line for row in one.reading.malformed], [row.found for row in one.reading.malformed]]
            connection.execute(
                f"create table malformed_{name} as select unnest($1::bigint[]) as line, unnest($2::varchar[]) as found",
                lines,
            )
            connection.execute(
                f"insert into rejected select {literal(name)}, {literal(one.place)}, line, null, null, null, "
                f"'malformed_row', 'as many fields as the header has', found, null from malformed_{name}"
            )
        if not one_row(connection, f"select count(*) from typed_{name} where check_no is not null")[0]:
            continue
        described = [[check.reason, check.column, check.expected] for check in one.checks]
        connection.execute(
            f"create table checks_{name} as select unnest(range(len($1::varchar[])))::smallint as check_no, "
            "unnest($1::varchar[]) as reason, unnest($2::varchar[]) as col, unnest($3::varchar[]) as expected",
            list(map(list, zip(*described, strict=True))),
        )
        row_json, texts = _row_json(one.binding, one.stated)
        connection.execute(
            f"insert into rejected with failed as (select t.*, {row_json} as row_json from "
            f"(select {', '.join(['t.*', *texts])} from typed_{name} t join source_{name} s on s.record = t.record "
            "where t.check_no is not null) t) "
            f"select {literal(name)}, {literal(one.place)}, {_line(one.reading, name)}, shown({table.key}), col, "
            "json_extract_string(row_json, '$.' || col), reason, expected, null, row_json "
            f"from failed join checks_{name} using (check_no)"
        )
    remedies = " ".join(f"when {literal(code)} then {literal(remedy)}" for code, remedy in REMEDIES.items())
    connection.execute(
        "create table rejects as with worded as (select *, "
        "file || coalesce(', line ' || line, '') || coalesce(', column ' || column_name, '') "
        "|| ': expected ' || expected "
        "|| ', found ' || coalesce(found, '\"' || value || '\"', 'nothing') || '. ' "
        f"|| case reason {remedies} end || '.' as message, "
        "concat_ws(chr(31), table_name, file, coalesce(line::varchar, ''), coalesce(key, ''), "
        "coalesce(column_name, ''), coalesce(value, ''), reason, coalesce(row, '')) as content from rejected) "
        "select md5(content || chr(31) || row_number() over (partition by content)) as reject_id, table_name, file, "
        f"line, key, column_name, value, reason, message, timestamptz '{clock.isoformat()}' as extracted_at, row "
        "from worded"
    )


def _row_json(binding: TableBinding, stated_names: frozenset[str]) -> tuple[str, list[str]]:
    """Return SQL for a source row as JSON by contract column, over the typed row ``t``.

    The second value is a list of columns that ``t`` needs as well, as SQL over the source row ``s``.
    """
    fields: list[str] = []
    source_texts: list[str] = []
    for column in binding.table.columns:
        form = binding.forms[column.name]
        value = "null"
        if binding.derive_from and column.name == binding.table.key:
            value = f"t.{column.name}"
        elif names := columns_of(form):
            texts = ", ".join(f"cleaned(s.{of_source(name)})" for name in names)
            source_texts.append(f"coalesce({texts}, null) as said_{column.name}")
            value = f"t.said_{column.name}"
            if isinstance(form, str) and column.postal:
                # the same pseudonym as in accepted rows
                value = f"contact_free_postal({value})"
        # a valid number or time is no telephone number; a value that could not be read may be one
        if isinstance(form, str) and column.kind != "text":
            time = stated(stated_names, column.name)
            value = f"case when t.{time} is not null then {value} else shown_figure({value}) end"
        elif not column.postal:
            value = f"shown({value})"
        fields.append(f"{literal(column.name)}, {value}")
    return f"json_object({', '.join(fields)})::varchar", source_texts


def _line(reading: Reading, name: str) -> str:
    """Return SQL for the line of ``record`` in its file, counting the malformed records before it."""
    if reading.first_line is None:
        return "null"
    if not reading.malformed:
        return f"record + {reading.first_line}"
    # the i-th malformed line (from 0) precedes a row if the row's line, without malformed ones, is at least line - i
    return (
        f"record + {reading.first_line} + (select count(*) from "
        f"(select line - row_number() over (order by line) + 1 as threshold from malformed_{name}) "
        f"where threshold <= record + {reading.first_line})"
    )


def refuse_no_rows(
    connection: DuckDBPyConnection, reader: Source, validated: Mapping[str, Validated], present: datetime
) -> None:
    """Stop an extraction that reads no lead; of a source of customers alone, one that reads no customer.

    Raises
    ------
    SourceContractError
        If no row fits; with the reasons.
    """
    read = [validated[name] for name in (("leads",) if "leads" in validated else CUSTOMERS) if name in validated]
    accepted = known = 0
    for name in (one.binding.table.name for one in read):
        rows, stored = one_row(
            connection,
            f"select (select count(*) from typed_{name} where check_no is null), (select count(*) from known_{name})",
        )
        accepted, known = accepted + rows, known + stored
    # with a watermark, a day without changes reads no lead; files are always read whole
    incremental = reader.folder is None and any(one.binding.watermark is not None for one in read) and known > 0
    if accepted == 0 and not incremental:
        reasons = ", ".join(
            f"{count} {one.checks[number].reason}"
            for one in read
            for number, count in connection.execute(
                f"select check_no, count(*) from typed_{one.binding.table.name} where check_no is not null "
                "group by all order by all"
            ).fetchall()
        )
        write_rejects(connection, read, present)
        first = connection.execute("select message from rejects order by line nulls last, key limit 1").fetchone()
        names = " or ".join(one.binding.table.name for one in read)
        raise SourceContractError(
            f"{' and '.join(one.place for one in read)}: expected {names}, found {sum(one.rows_read for one in read)} "
            "rows of which none fits"
            + (f" ({reasons})" if reasons else "")
            + ". Check that the export is complete and that its columns are mapped."
            + (f" The first: {first[0]}" if first else "")
        )


def refuse_orphans(connection: DuckDBPyConnection, validated: Mapping[str, Validated]) -> None:
    """Stop an extraction if nearly all rows of a table belong to nothing, or some name it by Salesforce's other id.

    Transactions whose customers have no rows begin these, unless only the writing of the keys differs.

    Parameters
    ----------
    connection : DuckDBPyConnection
        The scratch database with the typed tables and ``known_<table>``.
    validated : mapping of str to Validated
        By contract table.

    Raises
    ------
    SourceContractError
        If there is such a table; with examples of the keys of both sides.
    """
    sentences = []
    for name, one in validated.items():
        for owner in keys_read(one.binding):
            begins = one.binding.table.begins is not None
            if begins and owner.name not in validated:
                continue
            unknown = _unknown(one, owner)
            key = owner.key
            orphans, rejected, rows = one_row(
                connection,
                f"select count(*) filter ({unknown}), count(*) filter ({unknown} and {key} in "
                f"(select {key} from typed_{owner.name} where check_no is not null)), "
                f"count(*) filter (check_no is null and {key} is not null or {unknown}) from typed_{name}",
            )
            if one.reading.part is not None:
                # the few rows of a partial read include earlier rejects: the share is that of the whole table
                rows = max(rows, one.reading.part.rows)
            two_ids = bool(orphans) and _has_two_ids(connection, one, owner, unknown)
            if two_ids or (orphans >= MIN_ORPHANS and orphans >= MIN_SHARE * rows):
                place = next(
                    (validated[each].place for each in (owner.name, *CUSTOMERS) if each in validated), owner.name
                )
                remedy = _spelt_otherwise(connection, one, owner, unknown, two_ids=two_ids)
                if remedy is not None or not begins:
                    counts = (orphans, rejected, rows)
                    sentences.append(_sentence(connection, one, owner, unknown, place, counts, remedy))
    if sentences:
        raise SourceContractError("\n".join(sentences))


def _unknown(one: Validated, owner: Table) -> str:
    """Return SQL for whether a row names a row of a table that is not there."""
    if one.binding.table.begins is not None:
        return f"(check_no is null and {owner.key} not in ({_keys(one, owner)}))"
    number = next(
        number for number, check in enumerate(one.checks) if check.reason == "orphan" and check.column == owner.key
    )
    is_orphan = f"coalesce(check_no = {number}, false)"
    if one.binding.owners or len(keys_read(one.binding)) < 2:
        return is_orphan
    # a row that belongs to something else may name it as well
    return f"({is_orphan} or (check_no is null and {owner.key} not in ({known_keys(owner)})))"


def _keys(one: Validated, owner: Table) -> str:
    """Compose the SELECT of the keys, also of rejected rows, that rows of a table may name."""
    names = (
        [owner.name] if one.binding.table.begins is not None else [owner.name, *(each.name for each in begun_by(owner))]
    )
    tables = [f"{kind}_{name}" for name in names for kind in ("typed", "known")]
    return " union ".join(f"select {owner.key} from {table} where {owner.key} is not null" for table in tables)


def _has_two_ids(connection: DuckDBPyConnection, one: Validated, owner: Table, unknown: str) -> bool:
    """Say whether a row names another by the other one of Salesforce's two ids, of 15 and of 18 signs."""
    short = f"length({owner.key}) in (15, 18) and not regexp_full_match({owner.key}, '\\d+')"
    spelt = SALESFORCE.format(owner.key)
    (found,) = one_row(
        connection,
        f"select count(*) from typed_{one.binding.table.name} where {unknown} and {short} and {spelt} in "
        f"(select {spelt} from ({_keys(one, owner)}) where {short})",
    )
    return bool(found)


def _spelt_otherwise(
    connection: DuckDBPyConnection, one: Validated, owner: Table, unknown: str, *, two_ids: bool
) -> str | None:
    """Return how the keys of both sides differ in how they are written; None if that does not explain it."""
    key = owner.key
    absent = f"(select distinct {key} from typed_{one.binding.table.name} where {unknown})"
    known = f"({_keys(one, owner)})"
    for spelling, difference in ({SALESFORCE: SPELLINGS[SALESFORCE]} if two_ids else SPELLINGS).items():
        sides = [f"select distinct {spelling.format(key)} as spelt from {each}" for each in (absent, known)]
        matches, count, altered_lost, altered_known, merged = one_row(
            connection,
            f"select count(*) filter (spelt in ({sides[1]})), count(*), "
            f"(select count(*) from {absent} where {spelling.format(key)} <> {key}), "
            f"(select count(*) from {known} where {spelling.format(key)} <> {key}), "
            + " + ".join(f"(select count(distinct {key}) from {each}) - (select count(*) from ({side}))"
                         for each, side in zip((absent, known), sides, strict=True))
            + f" from ({sides[0]}) where spelt <> ''",
        )  # fmt: skip
        # the spelling is right if one side is written so already; otherwise the removed characters tell keys apart
        tells_apart = merged if spelling == CASE else altered_lost and altered_known
        if two_ids or (matches and matches >= MIN_SHARE * count and not tells_apart):
            return difference
    return None


def _sentence(
    connection: DuckDBPyConnection,
    one: Validated,
    owner: Table,
    unknown: str,
    place: str,
    counts: tuple[int, int, int],
    difference: str | None,
) -> str:
    orphans, rejected, rows = counts
    absent = f"(select distinct {owner.key} from typed_{one.binding.table.name} where {unknown})"
    found = f"{orphans:,} of {rows:,} rows that name another"
    if rejected:
        found += f", {rejected:,} of them one that was rejected"
    remedy = (
        f"Export the {owner.name} as well, or name the columns in the mapping by which the tables belong together."
        if difference is None
        else f"The keys differ in how they are written: {difference}. Export both in the same way."
    )
    return (
        f"{one.place}: expected the {owner.key} of a {owner.one} in most rows, found {found}. Keys of {place}: "
        f"{_examples(connection, owner, f'({_keys(one, owner)})')}; of {one.place}: "
        f"{_examples(connection, owner, absent)}. {remedy} Nothing is loaded."
    )


def _examples(connection: DuckDBPyConnection, owner: Table, relation: str) -> str:
    key = owner.key
    examples = connection.execute(
        f"select shown({key}) from {relation} where {key} is not null order by {key} limit {EXAMPLES}"
    ).fetchall()
    return ", ".join(repr(each) for (each,) in examples)
