"""PostgreSQL databases as sources: libpq reads the address and its settings, and each column is read as text."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from duckdb import DuckDBPyConnection
from sqlalchemy import (
    Connection,
    DateTime,
    Engine,
    NullPool,
    Text,
    bindparam,
    cast,
    column,
    create_engine,
    event,
    func,
    or_,
    quoted_name,
    select,
    text,
)
from sqlalchemy import (
    table as relation,
)
from sqlalchemy.exc import SQLAlchemyError

from store.addresses import parsed, session_settings, without_secrets
from store.source.contract import TABLES, SourceContractError, SourceUnavailableError
from store.source.reading.tables import Part, Reading, Tables, cleaned_names, first_line
from store.source.sql import of_source, quoted

CHUNK_ROWS = 50_000

CONNECT_TIMEOUT_SECONDS = 15

PLACE = "leadline_place"
"""The column with the number of a row, where not every row is read."""

RELATIONS = """
select c.relname, c.oid, n.nspname = :schema as here,
       has_schema_privilege(n.oid, 'usage') as schema_usable, n.nspname as schema_name
from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname not in ('pg_catalog', 'information_schema')
    and n.nspname not like 'pg\\_t%'
"""
"""Tables, partitioned and foreign tables, views and materialized views: any of them may hold a table of a CRM."""

COLUMNS = """
select a.attname, has_column_privilege(a.attrelid, a.attnum, 'select') as allowed,
       coalesce(nullif(t.typbasetype, 0), t.oid)::regtype::text as kind
from pg_catalog.pg_attribute as a join pg_catalog.pg_type as t on t.oid = a.atttypid
where a.attrelid = :oid and a.attnum > 0 and not a.attisdropped order by a.attnum
"""

ROW_SECURITY = """
select exists (
    select from pg_catalog.pg_policy
    where polrelid = :oid and polpermissive and polcmd in ('r', '*')
        and exists (select from unnest(polroles) as r (oid) where r.oid = 0 or pg_has_role(r.oid, 'usage'))
) as admitted
where row_security_active(cast(:oid as oid))
"""
"""One row if policies decide which rows of a table the user sees: whether any policy lets the user see some."""

# an empty table has no pages; one whose rows were all deleted may still have some
HAS_PAGES = """
select pg_relation_size(:oid) > 0 or exists (
    select from pg_partition_tree(:oid) where isleaf and pg_relation_size(relid) > 0
) as found
"""

# as PostgreSQL names them
TEXTS = ("text", "character varying", "character", "json", "jsonb")
NUMBERS = ("smallint", "integer", "bigint", "numeric", "real", "double precision")


class DatabaseSource:
    """A schema of a PostgreSQL database.

    Parameters
    ----------
    address : str
        ``postgresql://…``.
    description : str
        The address without secrets.
    schema : str or None
        None for the first schema of a ``search_path`` that is set by the address, for the user or for the database; if
        none is set, ``public``.

    Raises
    ------
    SourceContractError
        If the database does not answer, or the schema does not exist or may not be used.
    """

    folder: Path | None = None

    def __init__(self, address: str, *, description: str, schema: str | None) -> None:
        self._address = address
        self.description = description
        self._engine = _engine(address, session_settings(address))
        with self._connected("the names of its tables") as opened:
            self._schema = schema or _set_schema(opened) or "public"
            self._user, found, usable = self._schema_rights(opened)
            rows = _rows(opened, RELATIONS, schema=self._schema)
            similar = _rows(
                opened,
                "select nspname from pg_catalog.pg_namespace where lower(nspname) = lower(:schema) order by 1",
                schema=self._schema,
            )
        if not found:
            suggestion = f", but {' and '.join(row.nspname for row in similar)}, in another case" if similar else ""
            raise SourceContractError(
                f"source {self.description}: expected the schema {self._schema}, found none of this name{suggestion}. "
                "Name the schema of the tables in a mapping.yml (schema: …)."
            )
        if not usable:
            raise SourceContractError(
                f"source {self.description}: expected the right USAGE on the schema {self._schema} for "
                f"{self._user}, found none. Run as its owner: "
                f"GRANT USAGE ON SCHEMA {quoted(self._schema)} TO {quoted(self._user)};"
            )
        self._oids = {row.relname: row.oid for row in rows if row.here}
        others = sorted(f"{row.schema_name}.{row.relname}" for row in rows if not row.here and row.relname in TABLES)
        # by table, the rows of `COLUMNS` by the cleaned names of the columns
        self._found: dict[str, dict[str, Any]] = {}
        self._tables = Tables(self.description, list(self._oids), others, self._columns)

    def columns(self) -> Tables:
        """Return the columns by table of the schema."""
        return self._tables

    def place(self, source_table: str) -> str:
        """Return the table with its schema."""
        return f"{self._schema}.{self._tables.find(source_table) or source_table}"

    def type_of(self, source_table: str, column: str) -> str | None:
        """Return the type of a column in the database; None if it may not be read."""
        found = self._found[self._tables.find(source_table) or source_table][column]
        return found.kind if found.allowed else None

    def read(
        self,
        connection: DuckDBPyConnection,
        *,
        table: str,
        source_table: str,
        columns: Sequence[str],
        since: tuple[str, datetime] | None = None,
        nested: Collection[str] = (),
        most: int | None = None,
        some: tuple[str, str] | None = None,
    ) -> Reading:
        """Create ``source_<table>`` from the table's rows; with `since`, from those with ``column >= time`` or null.

        Columns of `nested` become JSON text if they hold no single values. Of a table with more than `most` rows, every
        so many are read that at most these are left.
        """
        import pyarrow as pa

        name = self._tables.find(source_table) or source_table
        found = self._found[name]
        real = {name: row.attname for name, row in found.items()}
        source: Any = relation(
            quoted_name(name, quote=True),
            *(column(quoted_name(each, quote=True)) for each in real.values()),
            schema=quoted_name(self._schema, quote=True),
        )
        self._refuse_denied(name, [found[column] for column in columns])
        rows_in_all = 0
        if most is not None:
            with self._connected(f"the number of rows of {self.place(name)}") as opened:
                rows_in_all = opened.execute(select(func.count()).select_from(source)).scalar_one()
        is_part = most is not None and rows_in_all > most
        if is_part:
            # the first rows are the oldest ones, and would speak for no others
            place = func.row_number().over().label(PLACE)
            source = select(*(source.c[real[column]] for column in columns), place).subquery()
        # every column is read as text, so that files and databases have the same validation
        texts: list[Any] = [
            cast(
                func.to_jsonb(source.c[real[column]])
                if column in nested and found[column].kind not in TEXTS
                else source.c[real[column]],
                Text,
            )
            for column in columns
        ]
        numeric = frozenset(column for column in columns if found[column].kind in NUMBERS)
        texts = [
            (func.nullif(each, "NaN") if column in numeric else each).label(f"c{place}")
            for place, (column, each) in enumerate(zip(columns, texts, strict=True))
        ]
        query: Any = select(*texts)
        if is_part:
            query = query.where(_is_below(source.c[PLACE], below_share((most or 0) / rows_in_all)))
        if some is not None:
            query = query.where(_is_below(source.c[real[some[0]]], some[1]))
        names = [f"c{place}" for place in range(len(columns))]
        definition = "".join(f", {of_source(column)} varchar" for column in columns)
        connection.execute(f"create table database_{table} (record bigint{definition})")
        rows_read = 0
        with self._connected(f"rows of {self.place(name)}") as opened:
            security = _rows(opened, ROW_SECURITY, oid=self._oids[name])
            if security and not security[0].admitted:
                raise self._hidden(name, "row level security without a policy for it")
            if since is not None:
                # a time without a zone is compared in the zone of the session, which may not be UTC
                in_utc = _rows(opened, "select current_setting('timezone') = 'UTC' as found")[0].found
                first = since[1] if in_utc else since[1] - timedelta(days=1)
                moment, watermark = bindparam("since", first, DateTime(timezone=True)), source.c[real[since[0]]]
                query = query.where(or_(watermark >= moment, watermark.is_(None)))
            streaming = {"stream_results": True, "max_row_buffer": CHUNK_ROWS}
            result = opened.execute(query, execution_options=streaming)
            for rows in result.partitions(CHUNK_ROWS):
                arrays = [pa.array(values, pa.string()) for values in zip(*rows, strict=True)]
                connection.register("batch", pa.table(dict(zip(names, arrays, strict=True))))
                connection.execute(
                    f"insert into database_{table} select {rows_read} + row_number() over () - 1, * from batch"
                )
                connection.unregister("batch")
                rows_read += len(rows)
            part = Part(rows_in_all, {}) if is_part else None
            if since is not None:
                counts = [func.count(), *(func.count(source.c[real[column]]) for column in columns)]
                rows_in_all, *values = opened.execute(select(*counts).select_from(source)).one()
                part = Part(rows_in_all, dict(zip(columns, values, strict=True)))
            rows_seen = rows_read if part is None else part.rows
            if security and not rows_seen and _rows(opened, HAS_PAGES, oid=self._oids[name])[0].found:
                raise self._hidden(name, "row level security whose policies show it none")
        connection.execute(f"create view source_{table} as from database_{table}")
        hidden = (
            f"{self.place(name)} has row level security: rows that its policies hide from {self._user} are not read."
        )
        return Reading(first_line=None, part=part, numeric=numeric, notes=[hidden] if security else [])

    def _columns(self, name: str) -> list[str]:
        with self._connected(f"the columns of {self._schema}.{name}") as opened:
            rows = _rows(opened, COLUMNS, oid=self._oids[name])
        cleaned = cleaned_names([row.attname for row in rows], f"{self._schema}.{name}")
        self._found[name] = dict(zip(cleaned, rows, strict=True))
        return cleaned

    def _schema_rights(self, opened: Connection) -> tuple[str, bool, bool]:
        (row,) = _rows(
            opened,
            "select current_user::text as name, n.oid is not null as found, "
            "coalesce(has_schema_privilege(n.oid, 'usage'), false) as usable "
            "from (select 1) as one left join pg_catalog.pg_namespace as n on n.nspname = :schema",
            schema=self._schema,
        )
        return row.name, row.found, row.usable

    def _refuse_denied(self, name: str, columns: Sequence[Any]) -> None:
        if denied := [row.attname for row in columns if not row.allowed]:
            table = f"{quoted(self._schema)}.{quoted(name)}"
            listed = "" if len(denied) == len(columns) else f" ({', '.join(map(quoted, denied))})"
            place = f"on {self._schema}.{name}" if not listed else f"on {', '.join(denied)} of {self._schema}.{name}"
            raise SourceContractError(
                f"source {self.description}: expected the right SELECT {place} for {self._user}, found none. "
                f"Run as its owner: GRANT SELECT{listed} ON {table} TO {quoted(self._user)};"
            )

    def _hidden(self, name: str, found: str) -> SourceContractError:
        return SourceContractError(
            f"source {self.description}: expected rows of {self.place(name)} for {self._user}, found {found}, so that "
            "they look like no rows. Run as the owner of the table: CREATE POLICY leadline ON "
            f"{quoted(self._schema)}.{quoted(name)} FOR SELECT TO {quoted(self._user)} USING (true); or, if the "
            "policies ask for a setting of the session, set it in the address (options=-c …). If the table is really "
            "empty, declare it absent in a mapping.yml."
        )

    @contextmanager
    def _connected(self, topic: str) -> Iterator[Connection]:
        """Connect to ask for something; an error names it, and hides the password.

        Raises
        ------
        SourceContractError
            If the database does not answer, or refuses.
        """
        try:
            with self._engine.connect() as opened:
                yield opened
        except UnicodeError as error:
            encoding = getattr(error, "encoding", "unknown")
            raise SourceContractError(
                f"source {self.description}: expected {topic} as text, found bytes that are not in the encoding of the "
                f"session ({encoding}), as of a database in SQL_ASCII. Name the encoding that they have in the "
                "address, such as client_encoding=UTF8 or client_encoding=LATIN1."
            ) from None
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            found = without_secrets(first_line(cause), self._address)
            if (code := getattr(cause, "pgcode", None)) is None or code.startswith(("08", "57P")):
                raise SourceUnavailableError(
                    f"source {self.description}: expected a PostgreSQL database that answers, found {found}. "
                    "Check the address, the password and that the server can be reached."
                ) from None
            raise SourceContractError(
                f"source {self.description}: expected {topic}, found {found}. Correct it in the database, or in the "
                "address, and run again."
            ) from None


def below_share(share: float) -> str:
    """Return the text below which the MD5 of a share of all values lies."""
    return f"{round(share * (1 << 32)):08x}"


def _is_below(value: Any, text: str) -> Any:
    return func.md5(cast(value, Text)).collate("C") < text


def _engine(address: str, settings: Sequence[tuple[str, str]]) -> Engine:
    """Return an engine for a source, whose address libpq reads itself.

    The settings of the session are set again with each transaction: a pooler may refuse or ignore those of the
    connection, and may give each transaction another session.
    """
    import psycopg2

    parts: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_SECONDS, **parsed(address)}

    def connect() -> Any:
        try:
            return psycopg2.connect(**parts)
        except psycopg2.OperationalError as error:
            if "unsupported startup parameter" not in str(error):
                raise
            return psycopg2.connect(**{**parts, "options": ""})

    engine = create_engine("postgresql+psycopg2://", creator=connect, poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def begin(opened: Connection) -> None:
        for name, value in settings:
            opened.exec_driver_sql(
                "select set_config(%s, %s, true) where current_setting(%s, true) is distinct from %s",
                (name, value, name, value),
            )
        # the text of a time depends on the session: the contract wants UTC in ISO 8601. A zone that a person has set
        # is kept, because views may depend on it, and the text of a time names it
        if "timezone" not in dict(settings):
            opened.exec_driver_sql(
                "select set_config('timezone', 'UTC', true) from pg_catalog.pg_settings "
                "where name = 'TimeZone' and source <> 'client'"
            )
        opened.exec_driver_sql("set local datestyle = 'ISO'")

    return engine


def _set_schema(opened: Connection) -> str | None:
    return _rows(
        opened,
        "select case when source <> 'default' then coalesce(current_schema(), setting) end as found "
        "from pg_catalog.pg_settings where name = 'search_path'",
    )[0].found


def _rows(opened: Connection, query: str, **parameters: Any) -> Sequence[Any]:
    return opened.execute(text(query), parameters).all()
