"""Salesforce's shapes of the simulated CRM give what the contract's shape gives; what they cannot give stands here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from models.declared.registry import DECLARATIONS
from simulation import simulate
from store.source.extract import extract
from store.source.mapping.choosing import choose_mapping
from tests.store.source.exports import PRESENT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from store.source.report import ExtractionReport

SHAPES = ("salesforce_fivetran", "salesforce_csv")

LEAD = "'00Q' || substr(lead_id, 2) || '00000EAA'"
ORDINAL = "lpad(split_part({}, '-', 2), 5, '0')"

STATUS = """
    case {} when 'new' then 'Open - Not Contacted' when 'contacted' then 'Working - Contacted'
        when 'qualified' then 'Working - Qualified' when 'proposal' then 'Closed - Converted'
        when 'lost' then 'Closed - Not Converted' end"""

ENTERED_LATER = """(
    type = 'meeting' and recorded_at > occurred_at + interval 1 second and cast(substr(lead_id, 2) as integer) % 2 = 1
)"""

PROJECT = f"'006' || substr(lead_id, 2) || {ORDINAL.format('project_id')} || 'AAA'"
STAGE = """
    case {} when 'offer sent' then 'Proposal/Price Quote' when 'in review' then 'Perception Analysis'
        when 'negotiation' then 'Negotiation/Review' when 'contract drafted' then 'Contract Drafted'
        when 'won' then 'Closed Won' when 'lost' then 'Closed Lost' end"""

CONVERTED = "lead_id in (select lead_id from contract.raw.projects)"

EXPECTED = {
    # A converted lead is frozen, so it was last modified when its first opportunity was opened. Statuses have the words
    # of Salesforce.
    "leads": f"""
        select
            {LEAD} as lead_id, source, date_trunc('second', created_at) as created_at, assigned_to, property_value,
            zip_code,
            case when {CONVERTED} then 'Closed - Converted' else {STATUS.format("status")} end as status,
            date_trunc('second', least(updated_at, converted_at)) as updated_at
        from contract.raw.leads
        left join (select lead_id, min(proposed_at) as converted_at from contract.raw.projects group by lead_id)
            using (lead_id)""",
    # There are no SMS. What a rep enters as a task counts from when it was entered, which is when it could be known.
    # Only calls have a result. An answer is known if the call reached somebody or an e-mail came back, not if somebody
    # called back. What the lead does has no performer, or the one who wrote it down.
    "interactions": f"""
        select
            if({ENTERED_LATER}, '00U' || substr(lead_id, 2) || '5' || right({ORDINAL.format("interaction_id")}, 4),
                '00T' || substr(lead_id, 2) || {ORDINAL.format("interaction_id")}) || 'EAA' as interaction_id,
            {LEAD} as lead_id, type, direction,
            date_trunc('second', if(type in ('email', 'proposal') or {ENTERED_LATER}, occurred_at, recorded_at))
                as occurred_at,
            date_trunc('second', recorded_at) as recorded_at,
            case when type = 'web' then 'Marketing Integration' when type = 'email' and direction = 'inbound' then null
                else performed_by end as performed_by,
            case type when 'call' then outcome end as outcome,
            date_trunc('second', opened_at) as opened_at,
            case
                when type = 'call' and direction = 'outbound' and outcome in ('reached', 'later', 'not_interested')
                    then date_trunc('second', recorded_at)
                when type <> 'call' and exists (
                    from contract.raw.interactions as reply
                    where reply.lead_id = asked.lead_id and reply.type = 'email' and reply.direction = 'inbound'
                        and reply.occurred_at = asked.responded_at
                ) then date_trunc('second', responded_at)
            end as responded_at
        from contract.raw.interactions as asked where type <> 'sms'""",
    # An event that is moved is one event with its last start. Only a deletion ends it, as of the extraction.
    "appointments": f"""
        with recursive moved as (
            select appointment_id as first_id, booked_at as first_booked_at, * from contract.raw.appointments
            where rescheduled_from is null
            union all
            select first_id, first_booked_at, next.* from contract.raw.appointments as next
            inner join moved on next.rescheduled_from = moved.appointment_id
        )
        select
            '00U' || substr(lead_id, 2) || lpad(split_part(first_id, '-', 2) || '0', 5, '0') || 'EAA' as appointment_id,
            {LEAD} as lead_id, date_trunc('second', first_booked_at) as booked_at,
            date_trunc('second', scheduled_at) as scheduled_at,
            if(status = 'cancelled', status, null) as status,
            if(status = 'cancelled', (select as_of from salesforce.raw.extraction), null) as ended_at
        from moved qualify row_number() over (partition by first_id order by booked_at desc) = 1""",
    # A withdrawn project is lost. The closing is that of the stage history. A win brings a discount, and moves the
    # close date if that lies ahead; a loss empties the amount.
    "projects": f"""
        select
            {PROJECT} as project_id, {LEAD} as lead_id,
            case status when 'won' then cast(value * 0.95 as decimal(18, 2)) when 'open' then value end as value,
            null as cost, if(status = 'cancelled', 'lost', status) as status, {STAGE.format("stage")} as stage,
            date_trunc('second', proposed_at) as proposed_at, date_trunc('second', closed_at) as closed_at,
            if(status = 'won', least(expected_close_at, date_trunc('day', closed_at)), expected_close_at)
                as expected_close_at
        from contract.raw.projects""",
    # The status ends with the conversion. A value at creation is not told: what never changed is known from the
    # extraction on. Which row tells a change is left out.
    "changes": f"""
        with told as (
            select
                *, column_name in ('status', 'assigned_to') as tracked,
                row_number() over (partition by lead_id, column_name order by known_at) as place,
                count(*) over (partition by lead_id, column_name) as places
            from contract.raw.changes
            where project_id is null and (column_name <> 'status' or value not in ('won', 'lost') or not {CONVERTED})
        )
        select
            {LEAD} as lead_id, column_name, if(column_name = 'status', {STATUS.format("value")}, value) as value,
            if(tracked and places = 1, (select as_of from salesforce.raw.extraction), date_trunc('second', known_at))
                as known_at,
            if(tracked and places = 1, 'extraction', origin) as origin
        from told where not tracked or place > 1 or places = 1""",
}
"""By table: what the contract's rows are in Salesforce."""

Warehouse = tuple["ExtractionReport", "Path"]


def _extracted(source: Path, home: Path) -> Warehouse:
    warehouse = home / "warehouse.duckdb"
    report = extract(
        source=str(source),
        warehouse=f"duckdb:{warehouse}",
        state_dir=home / "dlt",
        as_of=None,
        present=PRESENT,
        models=DECLARATIONS,
    )
    return report, warehouse


@pytest.fixture(scope="module")
def warehouses(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Warehouse]:
    """Return a call that simulates and extracts a shape, once each."""
    done: dict[str, Warehouse] = {}

    def of(shape: str) -> Warehouse:
        if shape not in done:
            folder = tmp_path_factory.mktemp(shape)
            simulate(folder / "crm", leads=300, months=10, shape=shape, deals=True, progress=False)
            done[shape] = _extracted(folder / "crm", folder)
        return done[shape]

    return of


def _compared(contract: Path, salesforce: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    connection.execute(f"attach '{contract}' as contract (read_only); attach '{salesforce}' as salesforce (read_only)")
    return connection


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_gives_what_the_contract_gives(shape: str, warehouses: Callable[[str], Warehouse]) -> None:
    report, warehouse = warehouses(shape)
    _, contract = warehouses("contract")
    assert report.tables["interactions"].rows_rejected == 0
    with _compared(contract, warehouse) as connection:
        for table, expected in EXPECTED.items():
            columns = ", ".join(each[0] for each in connection.execute(f"describe ({expected})").fetchall())
            of_leads = " where project_id is null" if table == "changes" else ""
            found = f"select {columns} from salesforce.raw.{table}{of_leads}"
            connection.execute(f"create temp table expected as {expected}")
            assert connection.execute("select count(*) from expected").fetchall() > [(150,)]
            assert connection.execute(f"from expected except all {found}").fetchall() == [], table
            assert connection.execute(f"{found} except all from expected").fetchall() == [], table
            connection.execute("drop table expected")


def test_the_stage_history_gives_the_histories_of_deals(warehouses: Callable[[str], Warehouse]) -> None:
    # What did not change is told again. What a win or a loss does to amount and close date is told when they come; the
    # discount of a win two days later.
    told = """
        select {0} as project_id, column_name, {1} as value, date_trunc('second', known_at) as known_at, origin
        from {2}.raw.changes where project_id is not null
        qualify value is distinct from lag(value) over (partition by project_id, column_name order by known_at)"""
    words = f"case column_name when 'stage' then {STAGE.format('value')} else value end"
    with _compared(warehouses("contract")[1], warehouses("salesforce_fivetran")[1]) as connection:
        connection.execute(f"create temp table found as {told.format('project_id', 'value', 'salesforce')}")
        connection.execute(f"create temp table expected as {told.format(PROJECT, words, 'contract')}")
        ended = (
            "select project_id, column_name, closed_at from salesforce.raw.projects, (values ('value'), "
            "('expected_close_at')) as columns (column_name)"
        )
        until = (
            f"anti join ({ended}) as ended on ended.project_id = changes.project_id "
            "and ended.column_name = changes.column_name and known_at >= closed_at"
        )
        for one, other in (("found", "expected"), ("expected", "found")):
            rows = f"select project_id, column_name, value, known_at, origin from {{}} as changes {until}"
            assert connection.execute(f"{rows.format(one)} except all {rows.format(other)}").fetchall() == []
        assert connection.execute("select count(*) > 800, count(distinct origin) from expected").fetchall() == [
            (True, 1)
        ]
        last = """select count(*) from salesforce.raw.projects inner join found using (project_id)
            where status = 'won' and column_name = 'value' and known_at > closed_at"""
        assert connection.execute(last).fetchall() > [(10,)]


def test_the_ends_of_leads_differ_by_what_salesforce_cannot_tell(warehouses: Callable[[str], Warehouse]) -> None:
    ends = """
        select lead_id, 'won' as how, date_trunc('second', closed_at) as ended_at
        from {0}.raw.projects where status = 'won'
        union all
        select lead_id, 'lost', date_trunc('second', greatest(occurred_at, recorded_at))
        from {0}.raw.interactions where outcome = 'not_interested'
        union all
        select lead_id, 'lost', known_at
        from {0}.raw.changes where column_name = 'status' and value = 'Closed - Not Converted'"""
    first = "select lead_id, how, min(ended_at) as ended_at from ({}) group by all"
    with _compared(warehouses("contract")[1], warehouses("salesforce_fivetran")[1]) as connection:

        def ask(query: str) -> list[tuple[Any, ...]]:
            return connection.execute(query).fetchall()

        ask(f"create temp table found as {first.format(ends.format('salesforce'))}")
        ask(f"create temp table expected as {first.format(ends.format('contract'))}")
        ask(f"update expected set lead_id = {LEAD}")
        assert ask("select how, count(*) > 20 from expected group by how order by how") == [
            ("lost", True),
            ("won", True),
        ]
        assert ask("from expected where how = 'won' except from found") == []
        assert ask("select lead_id, how from found except select lead_id, how from expected") == []
        # the status tells when a lead ended; the call that ended it is entered later, some days in the worst case
        assert (
            ask("""
                from found inner join expected using (lead_id, how)
                where found.ended_at not between expected.ended_at - interval 11 day and expected.ended_at""")
            == []
        )
        # that a converted lead refused in an e-mail is not known
        unknown = ask("select lead_id from expected anti join found using (lead_id, how) order by lead_id")
        in_mails = f"""
            select {LEAD} from contract.raw.interactions where outcome = 'not_interested' and {CONVERTED}
            group by lead_id having bool_and(type = 'email') order by lead_id"""
        assert unknown == ask(in_mails) != []


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_is_recognised(shape: str, tmp_path: Path) -> None:
    simulate(tmp_path / "crm", leads=20, months=10, shape=shape, progress=False)
    (tmp_path / "crm" / "mapping.yml").unlink()
    with duckdb.connect() as connection:
        found = {
            path.stem: connection.sql(f"from '{path}' limit 0").columns
            for path in (tmp_path / "crm").glob("*.*")
            if path.suffix in (".csv", ".parquet")
        }
    chosen = choose_mapping(argument=None, folder=tmp_path / "crm", found=found, models=DECLARATIONS)
    assert chosen.mapping.name == shape


def test_three_objects_suffice(tmp_path: Path) -> None:
    simulate(tmp_path / "crm", leads=300, months=10, shape="salesforce_csv", progress=False)
    for path in (tmp_path / "crm").iterdir():
        if path.suffix == ".yml" or (path.suffix == ".csv" and path.stem not in ("Lead", "Task", "Opportunity")):
            path.unlink()
    report, warehouse = _extracted(tmp_path / "crm", tmp_path)
    assert report.mapping_name == "salesforce_csv"
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        # the field of the last change of stage stands in for the stage history, and nothing for the first amounts
        closings = "select status, count(closed_at), count(value) from raw.projects group by status order by status"
        assert [row[1] > 10 and row[2] == 0 for row in connection.execute(closings).fetchall()] == [True, False, True]
        # all e-mails count as sent
        directions = "select distinct direction from raw.interactions where type = 'email'"
        assert connection.execute(directions).fetchall() == [("outbound",)]
        # statuses and owners count from the extraction on
        assert connection.execute("select distinct origin from raw.changes").fetchall() == [("extraction",)]
