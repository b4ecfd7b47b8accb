"""Publishing the marts: on PostgreSQL to schema marts, whatever readers have built there, and as a file on DuckDB."""

from __future__ import annotations

import grp
import os
import stat
from contextlib import closing, contextmanager
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import dagster as dg
import duckdb
import pandas as pd
import psycopg2
import pytest

from store.places import PROJECT
from store.publishing.publications import Publication
from store.warehouse.engine import Standing
from store.warehouse.postgres import locks
from store.warehouse.postgres.engine import PostgresConnection
from store.warehouse.postgres.marts import READER, MartsHeldError, MartsRefusedError, confined
from store.warehouse.warehouse import Warehouse
from tests.postgres import execute, rows
from tests.snapshots import published_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MARTS = ["lead_scores", "lead_score_history"]


def build_marts(warehouse: Warehouse, *scores: int, history: tuple[int, ...] = ()) -> None:
    """Build the marts as dbt does: the scores anew, the history by appending."""
    execute(
        warehouse,
        "create schema if not exists marts_unpublished",
        "drop table if exists marts_unpublished.lead_scores",
        "create table marts_unpublished.lead_scores (lead_id bigint)",
        "comment on table marts_unpublished.lead_scores is 'One row per lead''s score'",
        "comment on column marts_unpublished.lead_scores.lead_id is 'The lead'",
        "create table if not exists marts_unpublished.lead_score_history "
        "(lead_id bigint, as_of timestamptz, conversion_model_version text, action_model_version text)",
        *(f"insert into marts_unpublished.lead_scores values ({each})" for each in scores),
        *(
            f"insert into marts_unpublished.lead_score_history values ({each}, timestamptz '2026-01-0{each}', 'v1')"
            for each in history
        ),
    )


def published(warehouse: Warehouse) -> tuple[list[Any], list[Any]]:
    return (
        [each for (each,) in rows(warehouse, "select lead_id from marts.lead_scores order by 1")],
        [each for (each,) in rows(warehouse, "select lead_id from marts.lead_score_history order by 1")],
    )


READERS_MAY = (
    "select lead_id from marts.lead_scores",
    "select count(*) from marts.lead_score_history",
    "copy marts.lead_scores to stdout",
    "explain select * from marts.lead_scores",
    "select relname from pg_class",
    "select obj_description('marts.lead_scores'::regclass)",
    "do $$ begin perform 1; end $$",
    "set work_mem = '1GB'",
    "select pg_advisory_lock(1)",
    "notify readers, 'text'",
    "begin; lock table marts.lead_scores in access share mode",
    "declare kept cursor with hold for select * from marts.lead_scores",
    "create temporary table own (a int)",
    "select lo_create(0)",
    "select lo_from_bytea(0, 'x')",
    "select pg_logical_emit_message(false, 'p', 'text')",
)
"""What a reader may do; what is after ``declare`` only where the database has not been closed to it."""

IN_EVERY_DATABASE = READERS_MAY.index("create temporary table own (a int)")

READERS_MAY_NOT = (
    *READERS_MAY[IN_EVERY_DATABASE:],
    "create temporary view own as select 1",
    "create temporary sequence own",
    "select 1 as a into temporary own",
    "create function pg_temp.own() returns int language sql as 'select 1'",
    "select lo_creat(-1)",
    "select lo_put(lo_creat(-1), 0, 'x')",
    "select lo_import('/etc/passwd')",
    "select pg_logical_emit_message(false, 'p', 'x'::bytea)",
    "create table public.own (a int)",
    "create table marts.own (a int)",
    "create view marts.own as select 1",
    "create function public.own() returns int language sql as 'select 1'",
    "create schema own",
    "create type public.own as (a int)",
    "insert into marts.lead_scores values (9)",
    "update marts.lead_scores set lead_id = 9",
    "delete from marts.lead_score_history",
    "truncate marts.lead_scores",
    "drop table marts.lead_scores",
    "alter table marts.lead_scores add column own int",
    "comment on table marts.lead_scores is 'own'",
    "create index on marts.lead_scores (lead_id)",
    "create trigger own before insert on marts.lead_scores execute function suppress_redundant_updates_trigger()",
    "create rule own as on insert to marts.lead_scores do instead nothing",
    "begin; lock table marts.lead_scores in share mode",
    "select * from marts.lead_scores for update",
    "select * from marts_unpublished.lead_scores",
    "select * from marts.of_somebody",
    "copy marts.lead_scores to '/tmp/own'",
    "copy marts.lead_scores to program 'true'",
    "select pg_read_file('postgresql.conf')",
    "select pg_ls_dir('.')",
    "select rolpassword from pg_authid",
    "create role own",
    "create database own",
    "create publication own for all tables",
    "create language own handler plpgsql_call_handler",
    "select pg_create_physical_replication_slot('own')",
    "select pg_reload_conf()",
    "alter system set work_mem = '1MB'",
    "set log_statement = 'none'",
    "set session authorization postgres",
    "set role postgres",
    "grant leadline_reader to postgres",
    "checkpoint",
)


def publish(warehouse: Warehouse, names: Sequence[str], warn: Callable[[str], None]) -> dict[str, int]:
    """Give readers the marts that are built, whatever they lose; returns rows by table."""
    readers = warehouse.engine.readers(Path("unused"))
    with warehouse.connect() as connection:
        standing, _ = readers.replace(connection, names, Standing(), lambda *_: None, warn)
    return dict(standing.rows)


@pytest.fixture
def reader(running: str) -> Iterator[str]:
    """Return a user of the server who was given the role of readers; its password is its name."""
    name = f"reader_{uuid4().hex[:12]}"
    server = Warehouse(address=running)
    if not rows(server, f"select 1 from pg_roles where rolname = '{READER}'"):
        execute(server, f"create role {READER} nologin")
    execute(server, f"create role {name} login password '{name}'", f"grant {READER} to {name}")
    yield name
    execute(server, f"drop role {name}")


def refused_to(reader: str, address: str, statements: tuple[str, ...]) -> list[str]:
    """Return those of the statements that a reader may not run."""
    refused = []
    with closing(psycopg2.connect(address, user=reader, password=reader)) as connection:
        connection.autocommit = True
        for statement in statements:
            with connection.cursor() as cursor:
                try:
                    if statement.startswith("copy") and statement.endswith("stdout"):
                        cursor.copy_expert(statement, StringIO())
                    else:
                        cursor.execute(statement)
                except psycopg2.errors.InsufficientPrivilege:
                    refused.append(statement)
                cursor.execute("rollback")
    return refused


def test_readers_can_do_what_the_docs_say_and_nothing_else(reader: str, warehouse: Warehouse) -> None:
    build_marts(warehouse, 1, history=(1,))
    publish(warehouse, MARTS, [].append)
    execute(warehouse, "create table marts.of_somebody (a int)")
    # a database of somebody's stays as it is
    assert refused_to(reader, warehouse.address, READERS_MAY) == []
    ((name,),) = rows(warehouse, "select cast(current_database() as text)")
    execute(warehouse, *confined(name))
    assert refused_to(reader, warehouse.address, READERS_MAY[:IN_EVERY_DATABASE]) == []
    assert refused_to(reader, warehouse.address, READERS_MAY_NOT) == list(READERS_MAY_NOT)
    # whoever owns the database is not among those from whom it is taken
    build_marts(warehouse, 2)
    publish(warehouse, MARTS, [].append)
    with warehouse.connect() as connection:
        connection.register("own", pd.DataFrame({"a": [1]}))


def test_the_docs_say_how_somebody_closes_a_database_of_theirs() -> None:
    text = " ".join((PROJECT / "docs" / "security.md").read_text(encoding="utf-8").split())
    for statement in confined("leadline"):
        assert f"{statement};" in text


def wait_for_readers(monkeypatch: pytest.MonkeyPatch, *, attempts: int) -> None:
    """Have a publication that readers hold up tried so often, each for a second and at once."""
    monkeypatch.setattr(locks, "LOCK_ATTEMPTS", attempts)
    monkeypatch.setattr(locks, "LOCK_SECONDS", 1)
    monkeypatch.setattr(locks, "PAUSE_SECONDS", 0)


def test_marts_are_published_with_comments_and_grants_that_outlast_the_swap(warehouse: Warehouse) -> None:
    warnings: list[str] = []
    build_marts(warehouse, 1, 2, history=(1,))
    assert publish(warehouse, MARTS, warnings.append) == {"lead_scores": 2, "lead_score_history": 1}
    build_marts(warehouse, 3, history=(2,))
    assert publish(warehouse, MARTS, warnings.append) == {"lead_scores": 1, "lead_score_history": 2}
    assert published(warehouse) == ([3], [1, 2])
    assert publish(warehouse, MARTS, warnings.append) == {"lead_scores": 1, "lead_score_history": 2}
    assert warnings == []
    described = rows(
        warehouse,
        "select obj_description('marts.lead_scores'::regclass), col_description('marts.lead_scores'::regclass, 1)",
    )
    assert described == [("One row per lead's score", "The lead")]
    allowed = rows(
        warehouse,
        f"select has_table_privilege('{READER}', 'marts.lead_scores', 'select'), "
        f"has_table_privilege('{READER}', 'marts.lead_scores', 'insert'), "
        f"has_schema_privilege('{READER}', 'marts_unpublished', 'usage')",
    )
    assert allowed == [(True, False, False)]


def test_the_published_history_gets_the_rows_that_it_lacks_also_those_of_an_earlier_clock(warehouse: Warehouse) -> None:
    build_marts(warehouse, 1, history=(3,))
    publish(warehouse, MARTS, pytest.fail)
    build_marts(warehouse, 1, history=(2,))
    execute(warehouse, "insert into marts_unpublished.lead_score_history values (2, '2026-01-02', 'v1', 'a1')")
    for _ in range(2):
        publish(warehouse, MARTS, pytest.fail)
        assert rows(
            warehouse,
            "select lead_id, conversion_model_version, action_model_version from marts.lead_score_history "
            "order by lead_id, action_model_version",
        ) == [(2, "v1", "a1"), (2, "v1", None), (3, "v1", None)]


def test_a_view_on_a_mart_survives_and_shows_the_new_rows(warehouse: Warehouse) -> None:
    build_marts(warehouse, 1, 2)
    publish(warehouse, MARTS, pytest.fail)
    execute(warehouse, "create schema bi", "create view bi.leads as select lead_id from marts.lead_scores")
    build_marts(warehouse, 3)
    publish(warehouse, MARTS, pytest.fail)
    assert rows(warehouse, "select lead_id from bi.leads") == [(3,)]


def test_a_publication_that_fails_changes_nothing(warehouse: Warehouse) -> None:
    build_marts(warehouse, 1, 2, history=(1,))
    publish(warehouse, MARTS, pytest.fail)
    build_marts(warehouse, 3, history=(2,))
    # a foreign key holds the table, so that it can be neither swapped nor emptied; the history comes before it
    execute(
        warehouse,
        "alter table marts.lead_scores add primary key (lead_id)",
        "create table held (lead_id bigint references marts.lead_scores)",
        "insert into held values (1)",
    )
    with pytest.raises(Exception, match="depend"):
        publish(warehouse, MARTS, pytest.fail)
    assert published(warehouse) == ([1, 2], [1])


def test_readers_of_before_go_on_reading_while_the_marts_are_swapped(warehouse: Warehouse) -> None:
    build_marts(warehouse, 1)
    publish(warehouse, MARTS, pytest.fail)
    with closing(PostgresConnection(warehouse.address)) as reader:
        assert reader.execute("select lead_id from marts.lead_scores").fetchall() == [(1,)]
        build_marts(warehouse, 2)
        publish(warehouse, MARTS, pytest.fail)
        assert reader.execute("select lead_id from marts.lead_scores").fetchall() == [(2,)]


def test_a_reader_in_a_transaction_stops_the_publication_for_a_while_and_not_other_readers(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for_readers(monkeypatch, attempts=2)
    build_marts(warehouse, 1, history=(1,))
    publish(warehouse, MARTS, pytest.fail)
    build_marts(warehouse, 2, history=(2,))
    warnings: list[str] = []
    with closing(PostgresConnection(warehouse.address)) as reader:
        (pid,) = reader.execute("select pg_backend_pid()").fetchall()[0]
        reader.begin()
        reader.execute("select * from marts.lead_scores")
        with pytest.raises(MartsHeldError, match=rf"found them held by pid {pid} \(\w+\)\. Nothing has changed"):
            publish(warehouse, MARTS, warnings.append)
        assert len(warnings) == 1
        assert f"pid {pid}" in warnings[0]
        assert published(warehouse) == ([1], [1])

        # one that ends in time costs nothing but the wait
        def leaves(_: str) -> None:
            reader.rollback()

        publish(warehouse, MARTS, leaves)
    assert published(warehouse) == ([2], [1, 2])


def test_what_schema_marts_grants_by_default_outlasts_the_swap(warehouse: Warehouse) -> None:
    build_marts(warehouse, 1)
    publish(warehouse, MARTS, pytest.fail)
    # a role is of the whole server
    role = f"reader_of_{warehouse.address.split('?')[0].rpartition('/')[2]}"
    execute(
        warehouse,
        f"create role {role}",
        f"alter default privileges in schema marts grant select on tables to {role}",
    )
    try:
        publish(warehouse, MARTS, pytest.fail)
        assert rows(warehouse, f"select has_table_privilege('{role}', 'marts.lead_scores', 'select')") == [(True,)]
    finally:
        execute(warehouse, f"drop owned by {role}", f"drop role {role}")


def test_a_view_on_a_mart_shows_the_comments_and_the_columns_that_come(warehouse: Warehouse) -> None:
    build_marts(warehouse, 1)
    publish(warehouse, MARTS, pytest.fail)
    execute(warehouse, "create schema bi", "create view bi.leads as select * from marts.lead_scores")
    build_marts(warehouse, 2, 3)
    execute(
        warehouse,
        "alter table marts_unpublished.lead_scores add column value numeric(18, 2)",
        "update marts_unpublished.lead_scores set value = 7.10 where lead_id = 3",
        "comment on table marts_unpublished.lead_scores is null",
        "comment on column marts_unpublished.lead_scores.lead_id is 'The lead''s key'",
        "comment on column marts_unpublished.lead_scores.value is 'Its value'",
    )
    for _ in range(2):
        publish(warehouse, MARTS, pytest.fail)
        assert rows(warehouse, "select lead_id from bi.leads order by 1") == [(2,), (3,)]
        assert rows(warehouse, "select lead_id, cast(value as text) from marts.lead_scores order by 1") == [
            (2, None),
            (3, "7.10"),
        ]
        assert rows(warehouse, COMMENTS) == [(None, "The lead's key", "Its value")]


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        (
            "alter column lead_id type double precision using lead_id + 0.51",
            "lead_id is bigint and was built as double precision",
        ),
        ("alter column lead_id type integer", "lead_id is bigint and was built as integer"),
        ("rename lead_id to lead", "lead_id is built no more"),
    ],
)
def test_a_mart_under_a_view_that_would_show_something_else_is_refused(
    warehouse: Warehouse, changed: str, difference: str
) -> None:
    build_marts(warehouse, 1, history=(1,))
    publish(warehouse, MARTS, pytest.fail)
    execute(warehouse, "create schema bi", "create view bi.leads as select * from marts.lead_scores")
    build_marts(warehouse, 2, history=(2,))
    execute(warehouse, f"alter table marts_unpublished.lead_scores {changed}")
    with pytest.raises(MartsRefusedError) as refused:
        publish(warehouse, MARTS, pytest.fail)
    assert difference in str(refused.value)
    assert "Drop bi.leads, and publish again, then create the views anew.\nNothing has changed" in str(refused.value)
    assert published(warehouse) == ([1], [1])
    execute(warehouse, "drop view bi.leads")
    assert publish(warehouse, MARTS, pytest.fail) == {"lead_scores": 1, "lead_score_history": 2}


def test_a_history_gains_columns_and_loses_none_of_its_rows(warehouse: Warehouse) -> None:
    build_marts(warehouse, 1, history=(1,))
    publish(warehouse, MARTS, pytest.fail)
    # a history that was built anew, of which the published one alone has the earlier rows
    execute(
        warehouse,
        "alter table marts_unpublished.lead_score_history add column grade text",
        "update marts_unpublished.lead_score_history set lead_id = 2, grade = 'A'",
    )
    publish(warehouse, MARTS, pytest.fail)
    grades = "select lead_id, grade from marts.lead_score_history order by 1"
    assert rows(warehouse, grades) == [(1, None), (2, "A")]
    execute(
        warehouse,
        "alter table marts_unpublished.lead_score_history drop column grade",
        "update marts_unpublished.lead_score_history set lead_id = 3",
    )
    publish(warehouse, MARTS, pytest.fail)
    assert rows(warehouse, grades) == [(1, None), (2, "A"), (3, None)]


def test_a_history_whose_column_has_another_type_is_refused_until_it_is_altered(warehouse: Warehouse) -> None:
    build_marts(warehouse, 1, history=(1,))
    publish(warehouse, MARTS, pytest.fail)
    build_marts(warehouse, 2, history=(2,))
    execute(warehouse, "alter table marts_unpublished.lead_score_history alter column lead_id type text")
    with pytest.raises(MartsRefusedError, match="lead_id is bigint and was built as text") as refused:
        publish(warehouse, MARTS, pytest.fail)
    assert published(warehouse) == ([1], [1])
    execute(warehouse, str(refused.value).split("`")[1])
    publish(warehouse, MARTS, pytest.fail)
    assert published(warehouse) == ([2], ["1", "2"])


def test_a_mart_that_is_not_built_is_named(warehouse: Warehouse) -> None:
    build_marts(warehouse, 1)
    with pytest.raises(MartsRefusedError, match=r"marts\.lead_grades: expected that dbt has built it"):
        publish(warehouse, [*MARTS, "lead_grades"], pytest.fail)


def test_what_a_killed_build_has_left_is_not_published(warehouse: Warehouse) -> None:
    build_marts(warehouse, 1)
    execute(warehouse, "create table marts_unpublished.lead_scores__dbt_backup as select 99 as lead_id")
    assert publish(warehouse, MARTS, pytest.fail) == {"lead_scores": 1, "lead_score_history": 0}
    assert rows(
        warehouse, "select table_name from information_schema.tables where table_schema = 'marts' order by 1"
    ) == [("lead_score_history",), ("lead_scores",)]


def test_the_snapshot_of_a_file_has_the_declared_marts_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publishes = published_snapshot()
    declared = sorted(key.path[-1] for key in publishes.asset_deps[publishes.key])
    warehouse = Warehouse(address=f"duckdb:{tmp_path / 'leadline.duckdb'}")
    execute(
        warehouse,
        "create schema marts",
        *(
            f"create table marts.{name} as select 1 as lead_id, 1 as customer_id, timestamptz '2026-01-01' as as_of, "
            "'v1' as conversion_model_version, 'a1' as action_model_version, "
            "'l1' as churn_30d_model_version, 'l2' as churn_60d_model_version"
            for name in [*declared, "lead_scores__dbt_tmp"]
        ),
        *(f"comment on table marts.{name} is '{name}'" for name in [*declared, "lead_scores__dbt_tmp"]),
    )
    snapshot = tmp_path / "readers.duckdb"
    group = grp.getgrgid(os.getegid()).gr_name
    readers = Publication(path=str(snapshot), record=str(tmp_path / "publication.json"), group=group)
    at_the_swap = []
    replace = Path.replace

    def looked_at(path: Path, target: Path) -> Path:
        at_the_swap.append((path.name, stat.S_IMODE(path.stat().st_mode)))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", looked_at)
    publishes(dg.build_asset_context(), warehouse=warehouse, publication=readers)
    # its group can read it from the moment on at which it is there
    assert at_the_swap[0] == (".readers.duckdb.unfinished", 0o640)
    with duckdb.connect(str(snapshot), read_only=True) as connection:
        found = connection.execute("select table_name, comment from duckdb_tables() order by 1").fetchall()
    assert found == [(name, name) for name in declared]


def test_what_others_put_into_schema_marts_stops_no_pipeline_that_is_not_superuser(warehouse: Warehouse) -> None:
    before, at, rest = warehouse.address.partition("@")
    name = rest.split("?")[0].rpartition("/")[2]
    with (
        role(warehouse, f"pipeline_of_{name}", "login createrole password 'pipeline'") as pipeline,
        role(warehouse, f"ana_of_{name}") as ana,
    ):
        execute(warehouse, f"alter database {name} owner to {pipeline}", f"grant create on schema public to {pipeline}")
        owned = Warehouse(address=f"{before.rpartition('/')[0]}/{pipeline}:pipeline{at}{rest}")
        build_marts(owned, 1)
        warnings: list[str] = []
        publish(owned, MARTS, warnings.append)
        execute(owned, f"grant usage, create on schema marts to {ana}")
        execute(warehouse, "create view marts.own as select 1 as n", f"alter view marts.own owner to {ana}")
        build_marts(owned, 2)
        publish(owned, MARTS, warnings.append)
        assert published(owned) == ([2], [])
        privilege = "has_table_privilege('leadline_reader', 'marts.{}', 'select')"
        assert rows(warehouse, f"select {', '.join(privilege.format(each) for each in [*MARTS, 'own'])}") == [
            (True, True, False)
        ]


@pytest.mark.parametrize(
    ("held", "mode"),
    [("lead_score_history", "share"), ("lead_score_history", "access share"), ("lead_scores", "share")],
)
def test_whoever_holds_a_table_that_stays_is_named(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, held: str, mode: str
) -> None:
    wait_for_readers(monkeypatch, attempts=2)
    build_marts(warehouse, 1, history=(1,))
    publish(warehouse, MARTS, pytest.fail)
    execute(warehouse, "create schema bi", "create view bi.leads as select lead_id from marts.lead_scores")
    build_marts(warehouse, 2, history=(2,))
    if mode == "access share":
        # a table that gains a column shuts its readers out
        execute(warehouse, "alter table marts_unpublished.lead_score_history add column grade text")
    with closing(PostgresConnection(warehouse.address)) as other:
        (pid,) = other.execute("select pg_backend_pid()").fetchall()[0]
        other.begin()
        other.execute(f"lock table marts.{held} in {mode} mode")
        with pytest.raises(MartsHeldError, match=rf"held by pid {pid} "):
            publish(warehouse, MARTS, lambda _: None)
    assert published(warehouse) == ([1], [1])
    publish(warehouse, MARTS, pytest.fail)
    assert published(warehouse) == ([2], [1, 2])


def test_what_was_filled_is_not_filled_again_while_readers_hold_a_mart(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for_readers(monkeypatch, attempts=3)
    build_marts(warehouse, 1, history=(1,))
    publish(warehouse, MARTS, pytest.fail)
    # a sequence is the one thing that is not rolled back
    execute(
        warehouse,
        "create sequence inserted",
        "create function count_inserted() returns trigger language plpgsql as "
        "$$ begin perform nextval('inserted'); return new; end $$",
        "create trigger counted before insert on marts.lead_score_history "
        "for each row execute function count_inserted()",
    )
    build_marts(warehouse, 2, history=(2,))
    with closing(PostgresConnection(warehouse.address)) as reader:
        reader.begin()
        reader.execute("select * from marts.lead_scores")
        with pytest.raises(MartsHeldError):
            publish(warehouse, MARTS, lambda _: None)
    assert rows(warehouse, "select last_value, is_called from inserted") == [(1, True)]
    assert published(warehouse) == ([1], [1])


@contextmanager
def role(warehouse: Warehouse, name: str, attributes: str = "") -> Iterator[str]:
    """Create a role, which is of the whole server, and drop it at the end with all that it owns in the database."""
    execute(warehouse, f"create role {name} {attributes}")
    database = warehouse.address.split("?")[0].rpartition("/")[2]
    try:
        yield name
    finally:
        execute(
            warehouse,
            f"alter database {database} owner to current_user",
            f"reassign owned by {name} to current_user",
            f"drop owned by {name}",
            f"drop role {name}",
        )


COMMENTS = (
    "select obj_description('marts.lead_scores'::regclass), col_description('marts.lead_scores'::regclass, 1), "
    "col_description('marts.lead_scores'::regclass, 2)"
)
