"""PostgreSQL databases as they really are: tenants, poolers, views of all kinds, rights, names."""

from __future__ import annotations

import json
import re
import socket
from contextlib import contextmanager, suppress
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import duckdb
import psycopg2.extensions
import pytest

from store.addresses import canonical
from store.source.contract import SourceContractError
from store.source.reading.sources import open_source
from store.source.sql import of_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.store.source.exports import Extract, Query
    from tests.store.source.server import Server

NAMES = ("lead_id", "source")
ROWS = [("L1", "web"), ("L2", "ads")]
LEADS = (
    "create table leads (lead_id text, source text, created_at timestamptz)",
    "insert into leads values ('L1', 'web', '2024-03-01 08:00+00'), ('L2', 'ads', '2024-03-02 08:00+00')",
)


def _read(
    address: str, columns: Sequence[str] = NAMES, *, table: str = "leads", schema: str | None = None
) -> list[Any]:
    source = open_source(address, schema=schema)
    assert set(columns) <= set(source.columns()[table])
    with duckdb.connect() as connection:
        source.read(connection, table="t", source_table=table, columns=columns, since=None)
        listed = ", ".join(map(of_source, columns))
        return connection.execute(f"select {listed} from source_t order by record").fetchall()


def _refusal(address: str, **options: Any) -> str:
    with pytest.raises(SourceContractError) as caught:
        _read(address, **options)
    return str(caught.value)


def _with(address: str, parameters: str, user: str = "") -> str:
    """Return an address with parameters, of a user whose password is its name."""
    if user:
        address = re.sub("://[^@/]*@", f"://{user}:{user}@", address)
    return f"{address}{'&' if '?' in address else '?'}{parameters}"


@pytest.fixture
def tenants(server: Server) -> str:
    """Return the address of a user who sees the rows of one tenant, as the session says."""
    server.do(
        *LEADS,
        "do $$ begin if not exists (select 1 from pg_roles where rolname = 'crm_tenant') then "
        "create role crm_tenant login password 'crm_tenant'; end if; end $$",
        "alter table leads enable row level security",
        "create policy one_tenant on leads using (source = current_setting('app.tenant', true))",
        "grant usage on schema public to crm_tenant",
        "grant select on leads to crm_tenant",
    )
    return _with(server.address, "application_name=leadline", "crm_tenant")


@pytest.mark.parametrize("options", ["-capp.tenant=web", "-c app.tenant=web", "--app.tenant=web -c work_mem=4MB"])
def test_options_of_the_address_choose_the_tenant(options: str, tenants: str) -> None:
    assert _read(_with(tenants, f"options={quote(options)}")) == [("L1", "web")]
    assert "policies show it none" in _refusal(tenants)


def test_options_of_the_environment_choose_the_tenant(tenants: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c app.tenant=ads")
    assert _read(tenants) == [("L2", "ads")]


@contextmanager
def _pooler(address: str, *, refuses: bool = False, forgets: bool = False) -> Iterator[str]:
    """Stand in for a pooler, which refuses ``options`` at the start or ignores them; yields its address.

    One that `forgets` gives each transaction a session without settings, prepared statements and cursors of the earlier
    ones, as in mode transaction.
    """
    parts = psycopg2.extensions.parse_dsn(address)
    folder, port = parts["host"], parts.get("port", "5432")

    def serve(client: socket.socket) -> None:
        with client, suppress(OSError):
            start = client.recv(65536)
            while int.from_bytes(start[4:8], "big") != 3 << 16:
                # neither encryption of TLS nor of Kerberos
                client.sendall(b"N")
                start = client.recv(65536)
            words = start[8:].split(b"\0")
            given = dict(zip(words[::2], words[1::2], strict=False))
            if b"options" in given and refuses:
                said = b"SFATAL\0C08P01\0Munsupported startup parameter: options\0\0"
                client.sendall(b"E" + (len(said) + 4).to_bytes(4, "big") + said)
                return
            given.pop(b"options", None)
            body = (3 << 16).to_bytes(4, "big") + b"".join(k + b"\0" + v + b"\0" for k, v in given.items() if k) + b"\0"
            with socket.socket(socket.AF_UNIX) as server:
                server.connect(f"{folder}/.s.PGSQL.{port}")
                server.sendall((len(body) + 4).to_bytes(4, "big") + body)
                back = Thread(target=_copy_messages if forgets else _copy, args=(server, client))
                back.start()
                _copy(client, server)
                back.join()

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

        Thread(target=accept, daemon=True).start()
        place = f"127.0.0.1:{listening.getsockname()[1]}"
        yield f"postgresql://{parts['user']}:{parts['password']}@{place}/{parts['dbname']}?sslmode=disable&gssencmode=disable"
        listening.shutdown(socket.SHUT_RDWR)


def _copy(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while message := one.recv(65536):
            other.sendall(message)
        other.shutdown(socket.SHUT_WR)


def _copy_messages(server: socket.socket, client: socket.socket) -> None:
    """Copy what a server says; whenever it is ready for the next transaction, let it forget the session first."""
    with suppress(OSError), server.makefile("rb") as messages:

        def message() -> bytes:
            head = messages.read(5)
            return head + messages.read(int.from_bytes(head[1:], "big") - 4) if head else b""

        while found := message():
            if found == b"Z\0\0\0\5I":
                server.sendall(b"Q\0\0\0\x10DISCARD ALL\0")
                while message()[:1] != b"Z":
                    pass
            client.sendall(found)
        client.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("kind", [{"refuses": True}, {}, {"forgets": True}])
def test_a_pooler_that_takes_no_options_reads_the_tenant_all_the_same(kind: dict[str, bool], tenants: str) -> None:
    """The settings are made in each transaction: neither a refusal nor silence nor another session loses them."""
    if "host=" not in tenants:
        pytest.skip("the server does not listen on a Unix socket")
    with _pooler(tenants, **kind) as address:
        assert _read(_with(address, f"options={quote('-c app.tenant=ads')}")) == [("L2", "ads")]
        assert "policies show it none" in _refusal(address)


@pytest.mark.parametrize(
    ("options", "created"),
    [("", "2024-03-01 08:00:00+00"), ("-cdatestyle=German", "2024-03-01 08:00:00+00"),
     ("-ctimezone=Asia/Kathmandu", "2024-03-01 13:45:00+05:45")],
)  # fmt: skip
def test_a_time_is_read_as_the_same_moment_whatever_the_session_is_set_to(
    options: str, created: str, server: Server
) -> None:
    """A zone that somebody sets is kept, because views may depend on it; the text of the time names it."""
    server.do(*LEADS)
    address = _with(server.address, f"options={quote(options)}") if options else server.address
    assert _read(address, ("created_at",))[0] == (created,)


def test_a_search_path_of_the_address_or_the_user_names_the_schema(server: Server) -> None:
    server.do(*LEADS, "drop schema if exists crm cascade", "create schema crm", "alter table leads set schema crm")
    address = _with(server.address, f"options={quote('-c search_path=crm')}")
    assert _read(address) == ROWS
    assert _read(server.address, schema="crm") == ROWS
    assert "expected the schema gone, found none of this name" in _refusal(address.replace("crm", "gone"))
    message = "expected the schema CRM, found none of this name, but crm, in another case. Name the schema"
    assert message in _refusal(server.address, schema="CRM")
    source = open_source(server.address)
    assert ("leads" in source.columns(), source.columns().others) == (False, ["crm.leads"])
    server.do(
        "do $$ begin if not exists (select 1 from pg_roles where rolname = 'crm_elsewhere') then "
        "create role crm_elsewhere login password 'crm_elsewhere'; end if; end $$",
        "alter role crm_elsewhere set search_path = nowhere, crm",
        "grant usage on schema crm to crm_elsewhere",
        "grant select on crm.leads to crm_elsewhere",
    )
    assert _read(_with(server.address, "application_name=leadline", "crm_elsewhere")) == ROWS
    server.do("drop owned by crm_elsewhere", "drop role crm_elsewhere")


RELATIONS = {
    "materialized view": ["alter table leads rename to l0", "create materialized view leads as select * from l0"],
    "view": ["alter table leads rename to l0", "create view leads as select * from l0"],
    "partitioned table": [
        "alter table leads rename to l0", "create table leads (like l0) partition by list (source)",
        "create table leads_all partition of leads default", "insert into leads select * from l0",
    ],
    "table in another case": ['alter table leads rename to "Leads"'],
    "exact name beside another": ['create table "Leads" (other text)'],
}  # fmt: skip


@pytest.mark.parametrize("relation", RELATIONS)
def test_reads_every_kind_of_relation(relation: str, server: Server) -> None:
    server.do(*LEADS, *RELATIONS[relation])
    assert _read(server.address) == ROWS


def test_names_two_tables_that_differ_in_case(server: Server) -> None:
    server.do('create table "Leads" (lead_id text)', 'create table "LEADS" (lead_id text)')
    assert "expected one table 'leads', found LEADS and Leads" in _refusal(server.address)


COLUMNS = ("record", "Line", "rowid", "file_row_number", "derived_key", "select", "c0", 'a"b', "a.b", "a b", "it's",
           "ü", "%s", "%(a)s", "$1", "?", ":x", "{a}", "*", "a\\b", "x" * 63)  # fmt: skip


def test_a_column_may_have_any_name(server: Server) -> None:
    quoted = ['"' + name.replace('"', '""').replace(":", r"\:") + '"' for name in COLUMNS]
    values = [f"v{place}" for place in range(len(COLUMNS))]
    server.do(f"create table leads ({', '.join(f'{name} text' for name in quoted)})",
              f"insert into leads values ({', '.join(map(repr, values))})")  # fmt: skip
    assert _read(server.address, COLUMNS) == [tuple(values)]


@pytest.fixture
def reader(server: Server) -> str:
    """Return the address of a user without any right on the tables."""
    server.do(
        *LEADS,
        "do $$ begin if not exists (select 1 from pg_roles where rolname = 'crm_reader') then "
        "create role crm_reader login password 'crm_reader'; end if; end $$",
        "revoke all on schema public from public",
    )
    return _with(server.address, "application_name=leadline", "crm_reader")


def test_a_missing_right_is_named_with_the_statement_that_grants_it(reader: str, server: Server) -> None:
    usage = 'GRANT USAGE ON SCHEMA "public" TO "crm_reader";'
    message = _refusal(reader)
    assert "expected the right USAGE on the schema public for crm_reader, found none" in message
    assert message.endswith(usage)
    server.do(usage)
    select = 'GRANT SELECT ON "public"."leads" TO "crm_reader";'
    message = _refusal(reader)
    assert "expected the right SELECT on public.leads for crm_reader, found none" in message
    assert message.endswith(select)
    server.do("grant select (lead_id) on leads to crm_reader")
    assert _refusal(reader).endswith('GRANT SELECT ("source") ON "public"."leads" TO "crm_reader";')
    server.do("grant select (source) on leads to crm_reader")
    # a right on the columns that are read is enough
    assert _read(reader) == ROWS


def test_rows_that_row_level_security_hides_are_no_empty_table(reader: str, server: Server) -> None:
    """Supabase switches it on for each table: a role without a policy of its own sees no row, and no error."""
    server.do(
        "alter table leads enable row level security",
        "create policy of_another on leads for select to pg_monitor using (true)",
        "grant usage on schema public to crm_reader",
        "grant select on leads to crm_reader",
    )
    message = _refusal(reader)
    assert "expected rows of public.leads for crm_reader, found row level security without a policy for it" in message
    policy = 'CREATE POLICY leadline ON "public"."leads" FOR SELECT TO "crm_reader" USING (true);'
    assert policy in message
    server.do(policy)
    assert _read(reader) == ROWS
    server.do("drop policy leadline on leads", "create policy mine on leads using (lead_id = current_user)")
    assert "found row level security whose policies show it none" in _refusal(reader)
    # the owner sees all rows; whoever may pass by row level security, too; a table that never had rows is empty
    assert _read(server.address) == ROWS
    server.do("truncate leads")
    assert _read(reader) == []
    # through a pooler that knows the owner alone, the owner reads as the other role
    server.do("drop policy mine on leads", "insert into leads values ('L1', 'web')")
    assert policy in _refusal(_with(server.address, f"options={quote('-crole=crm_reader')}"))


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        (["alter table leads rename to l0", "create materialized view leads as select * from l0 with no data"],
         'expected rows of public.leads, found materialized view "leads" has not been populated'),
        (["alter table leads rename to l0", "create view leads as select lead_id, (1 / 0)::text as source from l0"],
         "expected rows of public.leads, found division by zero"),
        (["alter table leads rename to l0",
          "create view leads as select lead_id, ('ada@example.org' || source)::int::text as source from l0"],
         'expected rows of public.leads, found invalid input syntax for type integer: "…"'),
        (["alter table leads rename to l0", "create view leads as select lead_id, s.source from l0, "
          "lateral (select source || pg_sleep(1)::text as source offset 0) as s"],
         "expected rows of public.leads, found canceling statement due to statement timeout"),
    ],
)  # fmt: skip
def test_what_the_database_refuses_is_said_with_the_table(statements: list[str], found: str, server: Server) -> None:
    server.do(*LEADS, *statements)
    message = _refusal(_with(server.address, "options=-cstatement_timeout%3D200"))
    assert found in message
    assert message.endswith("Correct it in the database, or in the address, and run again.")


def test_bytes_of_another_encoding_are_named_with_the_remedy(server: Server) -> None:
    server.do(*LEADS, "update leads set source = 'caf\u00e9' where lead_id = 'L1'")
    message = _refusal(_with(server.address, "client_encoding=SQL_ASCII"))
    assert (
        "expected rows of public.leads as text, found bytes that are not in the encoding of the session (as" in message
    )
    assert _read(_with(server.address, "client_encoding=UTF8"))[-1] == ("L1", "caf\u00e9")


def test_several_hosts_and_a_service_serve(
    tenants: str, server: Server, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = psycopg2.extensions.parse_dsn(server.address)
    if not parts.get("host", "").startswith("/"):
        pytest.skip("the server does not listen on a Unix socket")
    host, database, password = parts["host"], parts["dbname"], parts.get("password", "")
    several = f"host=/nowhere,{host}&target_session_attrs=read-write"
    assert _read(f"postgresql://postgres:{password}@/{database}?{several}") == ROWS
    (tmp_path / "services").write_text(
        f"[crm]\nhost={host}\ndbname={database}\nuser=crm_tenant\npassword=crm_tenant\noptions=-c app.tenant=web\n"
    )
    # other settings do not take the place of the tenant
    more = {"PGSERVICEFILE": str(tmp_path / "services"), "PGOPTIONS": "-c statement_timeout=60000"}
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    assert _read(canonical("postgresql:///?service=crm", more, by_libpq=True)) == [("L1", "web")]


def test_an_extraction_stores_the_tenant_and_no_secret(
    tenants: str, server: Server, tmp_path: Any, run: Extract, query: Query
) -> None:
    server.do("create table interactions (interaction_id text, lead_id text, type text, direction text, "
              "occurred_at timestamptz)", "grant select on interactions to crm_tenant")  # fmt: skip
    (tmp_path / "mine.yml").write_text(
        json.dumps({"name": "mine", "based_on": "contract",
                    "tables": {"appointments": {"absent": True}, "projects": {"absent": True}}})
    )  # fmt: skip
    options = quote("-c app.tenant=web -c app.token=hush")
    report = run(_with(tenants, f"options={options}"), mapping=str(tmp_path / "mine.yml"))
    note = "public.leads has row level security: rows that its policies hide from crm_tenant are not read."
    assert note in report.assumptions
    ((stored,),) = query("select source from raw.extraction")
    assert "app.tenant%3Dweb" in stored
    assert "hush" not in stored
    assert query("select lead_id from raw.leads") == [("L1",)]
