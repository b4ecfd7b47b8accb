"""PostgreSQL as a source and as a warehouse, on a real server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import duckdb
import pytest
from sqlalchemy import text

from store.source.contract import TABLES, SourceContractError
from tests.store.source.exports import PRESENT, Extract, Query, Rows, write_csv

if TYPE_CHECKING:
    from pathlib import Path

    from store.source.report import TableReport
    from tests.store.source.server import Server

Export = dict[str, Rows]


def fill(server: Server) -> None:
    """Create a CRM in the contract, with types of its own."""
    server.do(
        "create table leads (lead_id bigint primary key, source text, created_at timestamptz, email text, "
        "property_value numeric, updated_at timestamp)",
        "create table interactions (interaction_id uuid primary key default gen_random_uuid(), lead_id bigint, "
        "type text, direction varchar(20), occurred_at timestamptz)",
        "create table appointments (appointment_id text, lead_id bigint, booked_at timestamptz, "
        "scheduled_at timestamptz)",
        "create table projects (project_id text, lead_id bigint, value double precision, status text, "
        "proposed_at timestamptz, closed_at timestamptz)",
        "insert into leads values (1, 'web', '2024-03-01 09:00+01', 'a@b.org', 10.5, '2024-03-01'), "
        "(2, 'ads', '2024-03-02', null, null, '2024-03-02')",
        "insert into interactions (lead_id, type, direction, occurred_at) values (1, 'call', 'outbound', '2024-03-03')",
        "insert into projects values ('P1', 1, 99.9, 'open', '2024-03-04', null), "
        "('P2', 9, 1, 'open', '2024-03-04', null)",
    )


def test_both_warehouses_hold_the_same_rows(
    server: Server, export: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    """Content, rejects and the own keys of leads, after a first and after a second extraction."""
    export["interactions"][0]["outcome"] = 'quoted "text", and a comma'
    export["interactions"].append(export["interactions"][0] | {"interaction_id": "I4", "type": "fax"})
    for lead in export["leads"]:
        lead["status"] = "new"
    export["projects"][0]["currency"] = "EUR"
    export["changes"] = [
        {"change_id": "H1", "lead_id": "L1", "column_name": "status", "value": "won", "changed_at": "2024-03-09"},
        {"change_id": "H2", "lead_id": "L9", "column_name": "status", "value": "won", "changed_at": "2024-03-09"},
    ]
    for row in [each for table in export.values() for each in table if each["lead_id"] == "L1"]:
        row["lead_id"] = "ada@example.org"
    for responded in ("", "2024-03-09"):
        export["interactions"][1]["responded_at"] = responded
        export["leads"][1]["status"] = responded
        export["leads"][1]["property_value"] = responded and "7"
        folder = write_csv(tmp_path / "crm", export)
        run(folder, source_ids=True)
        report = run(folder, warehouse=server.address, state_dir=tmp_path / "state", source_ids=True)
        for table in [*TABLES, "rejects", "source_ids", "extraction"]:
            columns = [name for (name,) in query(f"select column_name from (describe raw.{table})")]
            listed = ", ".join(f'"{column}"' for column in columns)
            assert server.rows(f"select {listed} from raw.{table} order by 1") == query(
                f"select {listed} from raw.{table} order by 1"
            )
    of_projects = {"projects.value": 0, "projects.expected_close_at": 0}
    assert report.changes_seen == {"status": 1, "property_value": 1} | of_projects
    assert server.rows("select count(*) from raw.changes") == [(6,)]
    assert (report.tables["interactions"].rows_changed, report.tables["interactions"].rows_unchanged) == (1, 2)
    loads = server.rows("select count(*) from raw._dlt_loads")
    again = run(folder, warehouse=server.address, state_dir=tmp_path / "state", source_ids=True)
    assert again.tables["interactions"].rows_unchanged == 3
    assert server.rows("select count(*) from raw._dlt_loads") == loads
    assert server.rows("select source_id, value_currency from raw.source_ids, raw.extraction") == [
        ("ada@example.org", "EUR")
    ]


def test_reads_a_database(server: Server, run: Extract, query: Query) -> None:
    """Any column type, times in UTC, the present as clock; contact columns are not read."""
    fill(server)
    report = run(server.address, present=datetime(2026, 1, 1, 12, 0, 0, 5, tzinfo=UTC))
    assert (report.as_of, report.mapping_name) == (datetime(2026, 1, 1, 12, tzinfo=UTC), "contract")
    assert report.tables["leads"].columns_ignored == ["email"]
    assert query("select lead_id, created_at, property_value::varchar, updated_at from raw.leads order by 1") == [
        ("1", datetime(2024, 3, 1, 8, tzinfo=UTC), "10.50", datetime(2024, 3, 1, tzinfo=UTC)),
        ("2", datetime(2024, 3, 2, tzinfo=UTC), None, datetime(2024, 3, 2, tzinfo=UTC)),
    ]
    assert query("select file, line, key, reason from raw.rejects") == [("public.projects", None, "P2", "orphan")]
    assert query("select count(*) from raw.appointments") == [(0,)]
    again = run(server.address)
    read = {name: table.rows_unchanged for name, table in again.tables.items() if table.rows_unchanged}
    assert read == {"leads": 2, "interactions": 1, "projects": 1}
    assert query("select as_of from raw.extraction") == [(PRESENT,)]


def test_an_update_does_not_swap_rows_without_a_key(server: Server, run: Extract, query: Query) -> None:
    """PostgreSQL returns an updated row last; the numbers of equal rows follow their contents."""
    server.do(
        "create table leads (id int, source text, status text, created_at timestamptz)",
        "create table interactions (lead_id int, type text, timestamp timestamptz, direction text)",
        "create table appointments (lead_id int, scheduled_at timestamptz, completed boolean)",
        "create table projects (lead_id int, value numeric, status text, closed_at timestamptz)",
        "insert into leads values (1, 'web', 'new', '2024-03-01')",
        "insert into projects values (1, 10, 'open', null), (1, 20, 'open', null)",
    )
    run(server.address)
    before = query("select value, project_id from raw.projects order by 1")
    server.do("update projects set status = 'won', closed_at = '2024-03-04' where value = 10")
    assert server.rows("select value from projects") == [(20,), (10,)]
    assert run(server.address).tables["projects"].rows_changed == 1
    assert query("select value, project_id from raw.projects order by 1") == before


def test_watermark_reads_only_what_may_have_changed(server: Server, tmp_path: Path, run: Extract, query: Query) -> None:
    """From the last loaded value, or from the oldest rejected one until that row is mended; null is always read."""
    fill(server)
    mapping = tmp_path / "mine.yml"
    content = "name: mine\nbased_on: contract\ntables:\n  leads:\n    watermark: updated_at\n"
    mapping.write_text(f"{content}    columns: {{updated_at: source}}\n")
    with pytest.raises(
        SourceContractError, match="expected a watermark that is a time in the database, found source, w"
    ):
        run(server.address, mapping=str(mapping))
    # a number is one, whatever is said of texts
    mapping.write_text(f"{content}    numbers: {{property_value: {{decimal: ',', thousands: '.'}}}}\n")
    server.do(
        "insert into leads values (3, 'web', null, null, null, '2024-03-01 12:00')",
        "alter table leads alter property_value type numeric(12, 3), add is_deleted boolean",
        "update leads set is_deleted = lead_id = 2",
    )
    first = run(server.address, mapping=str(mapping))
    assert first.tables["leads"].rows_read == 3
    assert query("select property_value::varchar from raw.leads order by lead_id") == [("10.50",), (None,)]
    notes = [
        "leads: 1 of 3 rows that were read are marked as deleted (is_deleted of public.leads), and count like all "
        "others. Leave them out by where in the mapping.",
        "The mapping's form of numbers of leads.property_value is not used: its values are numbers already.",
    ]
    assert [each for each in first.assumptions if "deleted" in each or "form of numbers" in each] == notes
    # the reject of 2024-03-01 12:00 holds the watermark back
    assert run(server.address, mapping=str(mapping)).tables["leads"].rows_read == 2
    server.do("update leads set source = 'ads', created_at = '2024-03-01', updated_at = '2024-03-03' where lead_id = 3")
    mended = run(server.address, mapping=str(mapping)).tables["leads"]
    assert (mended.rows_read, mended.rows_new, mended.rows_rejected) == (2, 1, 0)
    server.do("update leads set source = 'fair', updated_at = null where lead_id = 1")
    changed = run(server.address, mapping=str(mapping)).tables["leads"]
    assert (changed.rows_read, changed.rows_changed, changed.rows_total) == (2, 1, 3)
    assert query("select source from raw.leads order by lead_id") == [("fair",), ("ads",), ("ads",)]
    # what is read in part does not tell that all of the column are dates
    server.do(
        "update leads set updated_at = '2024-03-01' where lead_id = 1",
        "insert into leads select n, 'web', '2024-03-05', null, null, '2024-03-05' from generate_series(11, 40) as n",
    )
    for _ in range(2):
        assert run(server.address, mapping=str(mapping)).tables["leads"].rows_changed == 0
    assert query("select count(*) from raw.leads where created_at = timestamptz '2024-03-05 00:00+00'") == [(30,)]


def test_rows_that_are_committed_late_come_by_the_overlap(
    server: Server, tmp_path: Path, run: Extract, query: Query
) -> None:
    """A row has the time at which its transaction began: another one that was read before is later."""
    fill(server)
    server.do("update leads set updated_at = now() - interval '2 hours'")
    mapping = tmp_path / "mine.yml"
    content = "name: mine\nbased_on: contract\ntables: {{leads: {{watermark: updated_at, overlap_minutes: {}}}}}\n"
    mapping.write_text(content.format(0))

    def extracted() -> TableReport:
        return run(server.address, mapping=str(mapping), present=datetime.now(UTC)).tables["leads"]

    def committed_late(lead: int, source: str) -> None:
        with server.session() as late:
            late.execute(text(f"insert into leads values ({lead}, 'fair', now(), null, null, now())"))
            server.do(f"update leads set source = '{source}', updated_at = now() where lead_id = 1")
            assert extracted().rows_changed == 1
            late.commit()

    extracted()
    committed_late(8, "radio")
    # without an overlap the row is not seen before the table is read whole, since rows are missing
    assert (extracted().rows_new, query("select count(*) from raw.leads")) == (0, [(2,)])
    assert (extracted().rows_new, extracted().rows_read) == (1, 1)
    mapping.write_text(content.format(60))
    committed_late(9, "tv")
    report = run(server.address, mapping=str(mapping), present=datetime.now(UTC))
    found = report.tables["leads"]
    assert (found.rows_read, found.rows_new, found.rows_by_overlap, found.rows_total) == (3, 1, 1, 4)
    assert query("select source from raw.leads order by lead_id") == [("tv",), ("ads",), ("fair",), ("fair",)]
    (note,) = [each for each in report.assumptions if "overlap" in each]
    assert note.startswith("leads: 1 new or changed row lay before the last updated_at that was loaded, by up to 0 min")
    # the rows of the overlap are read again, and are no news
    again = run(server.address, mapping=str(mapping), present=datetime.now(UTC))
    assert (again.tables["leads"].rows_read, again.tables["leads"].rows_unchanged) == (3, 3)
    assert (again.tables["leads"].rows_by_overlap, [each for each in again.assumptions if "overlap" in each]) == (0, [])


def test_orphans_of_a_table_read_in_part_are_a_share_of_the_whole(server: Server, tmp_path: Path, run: Extract) -> None:
    """They are read again each time, with hardly anything else: that is no sign of keys that do not meet."""
    fill(server)
    mapping = tmp_path / "mine.yml"
    mapping.write_text("name: mine\nbased_on: contract\ntables: {interactions: {watermark: occurred_at}}\n")
    event = "insert into interactions (lead_id, type, direction, occurred_at) select {}, 'call', 'inbound', '{}' {}"
    server.do(
        event.format(1, "2024-03-05", "from generate_series(1, 50)"),
        event.format(1, "2024-03-20", ""),
        event.format(99, "2024-04-01", "from generate_series(1, 20)"),
    )
    run(server.address, mapping=str(mapping))
    table = run(server.address, mapping=str(mapping)).tables["interactions"]
    assert (table.rows_read, table.rejects_by_reason) == (21, {"orphan": 20})


def test_the_watermark_of_a_history_is_that_of_its_own_changes(
    server: Server, tmp_path: Path, run: Extract, query: Query
) -> None:
    """What an extraction saw itself carries a later clock, and must not hide what the CRM has told since."""
    fill(server)
    server.do(
        "alter table leads add column status text",
        "update leads set status = 'new'",
        "create table changes (change_id text, lead_id bigint, column_name text, value text, changed_at timestamptz)",
        "insert into changes values ('H1', 1, 'status', 'new', '2024-03-01'), ('H2', 1, 'name', 'Ada', null)",
    )
    mapping = tmp_path / "mine.yml"
    mapping.write_text("name: mine\nbased_on: contract\ntables: {changes: {watermark: changed_at}}\n")
    first = run(server.address, mapping=str(mapping))
    assert {name: first.changes_seen[name] for name in ("status", "property_value")} == {
        "status": 1,
        "property_value": 1,
    }
    assert first.tables["changes"].rows_read == 1
    server.do(
        "insert into changes values ('H3', 2, 'status', 'open', '2024-03-05')",
        "update leads set status = 'open' where lead_id = 2",
    )
    second = run(server.address, mapping=str(mapping))
    assert (second.tables["changes"].rows_read, second.tables["changes"].rows_new) == (2, 1)
    assert query("select change_id from raw.changes where origin = 'source' order by 1") == [("H1",), ("H3",)]


def test_the_history_of_an_earlier_state_is_kept(server: Server, tmp_path: Path, run: Extract) -> None:
    """In a warehouse of PostgreSQL as well: the table is renamed, with a view of dbt that stands on it."""
    fill(server)
    warehouse = {"warehouse": server.address}
    run(server.address, **warehouse)
    before = server.rows("select * from raw.changes order by change_id")
    assert len(before) == 2
    server.do(
        "alter table raw.changes rename to lead_changes",
        "alter table raw.interactions drop column customer_id",
        "create schema if not exists staging",
        "create view staging.stg_lead_changes as select * from raw.lead_changes",
        "create table lead_changes (change_id text, lead_id bigint, column_name text, value text, "
        "changed_at timestamptz)",
        "insert into lead_changes values ('H1', 2, 'property_value', '7', '2024-03-03')",
    )
    report = run(server.address, **warehouse)
    assert report.notices == [
        "the table lead_changes of the source is called changes now: it is read, and may be renamed."
    ]
    # what the lead shows after it is nothing
    assert (report.tables["changes"].rows_new, report.changes_seen["property_value"]) == (1, 1)
    after = server.rows("select * from raw.changes order by change_id")
    assert (set(before) < set(after), len(after)) == (True, 4)
    tables = (
        "select table_name from information_schema.tables where table_name like '%lead_changes' and table_schema in "
    )
    assert server.rows(f"{tables} ('raw', 'staging')") == []
    assert server.rows("select distinct customer_id from raw.interactions") == [(None,)], "columns since then are there"
    server.do("drop schema staging")


def test_reads_the_schema_of_the_mapping(server: Server, tmp_path: Path, run: Extract) -> None:
    """A view serves as a table."""
    fill(server)
    server.do("drop schema if exists crm cascade", "create schema crm")
    tables = [name for name, table in TABLES.items() if not table.optional]
    server.do(*(f"create view crm.{table} as select * from public.{table}" for table in tables))
    mapping = tmp_path / "mine.yml"
    mapping.write_text("name: mine\nbased_on: contract\nschema: crm\n")
    assert run(server.address, mapping=str(mapping)).tables["leads"].rows_new == 2


def test_unreachable_database_is_named_without_its_password(run: Extract) -> None:
    """Neither the message nor what it was raised from holds the password."""
    with pytest.raises(SourceContractError) as caught:
        run("postgresql://reader:hush@127.0.0.1:9/crm?connect_timeout=2")
    assert "reader:***@127.0.0.1:9/crm" in str(caught.value)
    assert "hush" not in str(caught.value)
    with pytest.raises(SourceContractError, match="cannot be read") as caught:
        run("postgresql://reader:hush@host:port/crm")
    assert "hush" not in str(caught.value)


def test_unreachable_warehouse_is_named_without_its_password(export: Export, tmp_path: Path, run: Extract) -> None:
    """The same for the warehouse; an address of neither kind is refused."""
    folder = write_csv(tmp_path / "crm", export)
    with pytest.raises(ConnectionError, match=r"writer:\*\*\*@127"):
        run(folder, warehouse="postgresql://writer:hush@127.0.0.1:9/w?connect_timeout=2")
    with pytest.raises(ConnectionError, match=r"writer:\*\*\*@127"):
        run(folder, warehouse="postgresql://writer@127.0.0.1:9/w?connect_timeout=2&password=hush")
    with pytest.raises(SourceContractError, match=r"expected duckdb:<path> or postgresql://"):
        run(folder, warehouse="sqlite:///w.db")


def test_options_of_the_environment_reach_the_load(
    server: Server, export: Export, tmp_path: Path, run: Extract, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The role that they set owns what is written, as it owns what dbt builds."""
    server.do(
        "do $$ begin if not exists (select 1 from pg_roles where rolname = 'leadline_owner') then "
        "create role leadline_owner; end if; execute format('grant create on database %I to leadline_owner', "
        "current_database()); end $$"
    )
    monkeypatch.setenv("PGOPTIONS", "-c role=leadline_owner")
    assert run(write_csv(tmp_path / "crm", export), warehouse=server.address).tables["leads"].rows_new == 2
    assert server.rows("select distinct tableowner::text from pg_tables where schemaname = 'raw'") == [
        ("leadline_owner",)
    ]


def test_the_warehouse_file_is_free_afterwards(export: Export, tmp_path: Path, run: Extract) -> None:
    """Next dbt opens the file for writing, in the same process."""
    run(write_csv(tmp_path / "crm", export))
    with duckdb.connect(str(tmp_path / "home" / "warehouse.duckdb"), config={"threads": 1}) as connection:
        connection.execute("create schema staging")
