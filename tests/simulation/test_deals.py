"""Histories of the simulated deals."""

from pathlib import Path

import duckdb
import pytest

from simulation import simulate

SAME = ("leads", "interactions", "appointments", "truth/decisions", "truth/leads")
STAGES = "['offer sent', 'in review', 'negotiation', 'contract drafted']"


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deals")
    for name, deals in (("without", False), ("with", True)):
        simulate(folder / name, leads=1500, deals=deals, progress=False)
    return folder


@pytest.fixture(scope="module")
def crm(exports: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    for path in (exports / "with").rglob("*.parquet"):
        name = "true_deals" if path.stem == "deals" else path.stem
        if path.parent.name != "truth" or path.stem == "deals":
            connection.execute(f"create view {name} as from read_parquet('{path}')")
    connection.execute(f"create view plain_projects as from read_parquet('{exports}/without/projects.parquet')")
    connection.execute(f"create view plain_changes as from read_parquet('{exports}/without/changes.parquet')")
    return connection


def test_nothing_else_depends_on_the_histories(exports: Path, crm: duckdb.DuckDBPyConnection) -> None:
    for name in SAME:
        both = [(exports / folder / f"{name}.parquet").read_bytes() for folder in ("with", "without")]
        assert both[0] == both[1], name
    for with_histories, without in (
        (
            "select * exclude (value, stage, expected_close_at) from projects",
            "select * exclude (value) from plain_projects",
        ),
        ("select * exclude (project_id) from changes where project_id is null", "from plain_changes"),
    ):
        assert crm.execute(f"({with_histories}) except all ({without})").fetchall() == []
        assert crm.execute(f"({without}) except all ({with_histories})").fetchall() == []


def test_a_history_begins_with_the_proposal_and_ends_with_what_is_shown(crm: duckdb.DuckDBPyConnection) -> None:
    told = """select project_id, column_name, arg_min(value, changed_at) as first, arg_max(value, changed_at) as last,
            min(changed_at) as since, max(changed_at) as until, count(*) as n
        from changes where project_id is not null group by all"""
    wrong = f"""
        select count(*) filter (since <> projects.proposed_at or until > coalesce(projects.closed_at, until)),
            count(*) filter (column_name = 'value' and (
               try_cast(first as decimal(18, 2)) <> plain.value or try_cast(last as decimal(18, 2)) <> projects.value)),
            count(*) filter (column_name = 'stage' and (first <> 'offer sent' or last <> projects.stage)),
            count(*) filter (column_name = 'expected_close_at' and try_cast(last as timestamptz) <> expected_close_at),
            count(*) filter ((projects.status = 'won') <> (stage = 'won') or (projects.status = 'open') <>
                (stage not in ('won', 'lost'))),
            count(distinct column_name), count(*) = 3 * count(distinct project_id), max(n) > 5
        from projects join plain_projects as plain using (project_id) join ({told}) using (project_id)"""
    assert crm.execute(wrong).fetchall() == [(0, 0, 0, 0, 0, 3, True, True)]
    # neighbours in the order of the stages, and never the same one twice in a row
    steps = f"""select distinct abs(list_position({STAGES}, value) - list_position({STAGES}, before)) from (
        select value, lag(value) over (partition by project_id order by changed_at) as before
        from changes where column_name = 'stage')
        where value not in ('won', 'lost') and before is not null"""
    assert crm.execute(steps).fetchall() == [(1,)]


def test_a_history_tells_of_the_eagerness_and_so_of_the_outcome(crm: duckdb.DuckDBPyConnection) -> None:
    # within the first two weeks, so that long deals have no more time than short ones
    counted = f"""
        select project_id, any_value(eagerness) as eagerness, any_value(projects.status) = 'won' as won,
            count(*) filter (column_name = 'expected_close_at') as pushes,
            count(*) filter (column_name = 'value') as cuts,
            sum(case when column_name = 'stage' then list_position({STAGES}, changes.value) end) as stages
        from projects join true_deals using (project_id) join changes using (project_id)
        where changed_at < proposed_at + interval 14 day and closed_at > proposed_at + interval 14 day
        group by project_id"""
    eager, pushes, cuts = crm.execute(f"""
        select corr(eagerness, won::int), corr(eagerness, pushes), corr(eagerness, cuts) from ({counted})""").fetchone()
    assert eager > 0.3
    assert pushes < -0.2
    assert cuts < -0.1
