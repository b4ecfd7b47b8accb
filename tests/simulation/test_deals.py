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


def test_hubspot_has_the_histories(tmp_path: Path) -> None:
    """Stages, close dates and amounts of deals that are neither entered late nor raised at the win."""
    connection = _both(tmp_path, "hubspot_fivetran")
    expected = """
        select proposed_at, column_name, changed_at,
            case column_name when 'expected_close_at' then told[:10] when 'value' then told
                else case told when 'offer sent' then 'first' else told end end as value
        from (select project_id, column_name, changed_at, value as told from made.changes)
        inner join made.projects using (project_id)
        where column_name <> 'stage' or told not in ('won', 'lost')"""
    found = """
        select proposed_at,
            case name when 'amount' then 'value' when 'closedate' then 'expected_close_at' else 'stage' end, timestamp,
            case name when 'closedate' then value[:10] when 'amount' then value
                else case when value in ('contractsent', '104319', '88100') then 'first' else lower(label) end end
        from shaped.deal_property_history
        inner join (
            select deal_id, property_createdate as proposed_at, property_closedate, property_hs_is_closed as closed
            from shaped.deal where not _fivetran_deleted and deal_id > 53000000000
        ) using (deal_id)
        left join shaped.deal_pipeline_stage on name = 'dealstage' and value = stage_id
        where not coalesce(is_closed, false) and value <> '88102'"""
    late = """
        select proposed_at from (select *, row_number() over (order by project_id) as number from made.projects)
        where status = 'won' and (number % 9 = 4 or number % 4 = 0)"""
    # the close date at the closing is no plan any more
    closed = "select closed_at from made.projects where closed_at is not null"
    rest = f"where proposed_at not in ({late}) and changed_at not in ({closed})"
    expected = f"select * from ({expected}) {rest}"
    found = f"select * from ({found}) as found (proposed_at, column_name, changed_at, value) {rest}"
    assert _difference(connection, expected, found) == ([], [])
    assert connection.execute(f"select count(*) > 300 from ({expected})").fetchall() == [(True,)]
    # each stage is one of the pipeline of the deal
    assert connection.execute("""
        select count(*) from shaped.deal anti join shaped.deal_pipeline_stage
        on deal_pipeline_id = pipeline_id and deal_pipeline_stage_id = stage_id
        where deal_pipeline_stage_id <> '88102' and not deal._fivetran_deleted and not is_deleted""").fetchall() == [
        (0,)
    ]


def test_salesforce_has_the_histories(tmp_path: Path) -> None:
    """Its stage history has a row for each change, with what stage, amount and close date were then."""
    connection = _both(tmp_path, "salesforce_fivetran")
    words = """map {'offer sent': 'Proposal/Price Quote', 'in review': 'Perception Analysis', 'won': 'Closed Won',
        'negotiation': 'Negotiation/Review', 'contract drafted': 'Contract Drafted', 'lost': 'Closed Lost'}"""
    key = "'006' || substr(lead_id, 2) || lpad(split_part(project_id, '-', 2), 5, '0') || 'AAA'"
    moments = f"""
        select {key} as id, date_trunc('second', changed_at) as moment
        from made.changes where project_id is not null group by 1, 2"""
    found = "select opportunity_id, created_date from shaped.opportunity_history where substr(id, 13, 1) = '5'"
    assert _difference(connection, moments, found) == ([], [])
    for column, theirs, value in (
        ("stage", "stage_name", f"{words}[value]"),
        ("value", "cast(amount as varchar)", "value"),
        ("expected_close_at", "cast(close_date as varchar)", "value[:10]"),
    ):
        told = f"""select {key} as id, {value} as value, date_trunc('second', changed_at) as moment
            from made.changes where column_name = '{column}'"""
        shown = f"""select opportunity_id, {theirs}, created_date from shaped.opportunity_history
            where {theirs} is not null"""
        assert connection.execute(f"({told}) except ({shown})").fetchall() == [], column
    ids = "select count(*) = count(distinct id), count(*) > 500 from shaped.opportunity_history"
    assert connection.execute(ids).fetchall() == [(True, True)]


def _both(folder: Path, shape: str) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'; create schema made; create schema shaped")
    for schema, each in (("made", "contract"), ("shaped", shape)):
        simulate(folder / each, 300, months=12, deals=True, shape=each, progress=False)
        for path in (folder / each).glob("*.parquet"):
            connection.execute(f"create view {schema}.{path.stem} as from read_parquet('{path}')")
    return connection


def _difference(connection: duckdb.DuckDBPyConnection, left: str, right: str) -> tuple[list, list]:
    return (
        connection.execute(f"({left}) except all ({right})").fetchall(),
        connection.execute(f"({right}) except all ({left})").fetchall(),
    )
