"""Customers: sources that hold them alone or beside leads, rows about them, and their history."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from models.declared.registry import DECLARATIONS
from store.source.contract import SourceContractError
from store.source.suggesting.suggest import measured, suggest, text_of
from store.sql import literal
from tests.store.source.exports import Extract, Query, Rows, write_csv
from tests.store.source.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.source.report import ExtractionReport

Export = dict[str, Rows]
NIGHT = datetime(2024, 5, 1, tzinfo=UTC)
MAPPING = """
name: mine
based_on: contract
tables:
  customers: {attributes: {region: {column: Region, known: creation}}}
"""
CDNOW = Path(__file__).parents[4] / "shared" / "data" / "cdnow"


def _row(*names: str) -> Callable[..., dict[str, Any]]:
    return lambda *values: dict(zip(names, values, strict=True))


@pytest.fixture
def customers() -> Export:
    """Return an export of customers alone; neither transactions nor usage have keys."""
    customer = _row("customer_id", "created_at", "plan", "closed_at", "Region")
    bought = _row("customer_id", "occurred_at", "kind", "amount", "quantity", "currency", "product")
    ticket = _row("ticket_id", "customer_id", "opened_at", "resolved_at", "kind")
    used = _row("customer_id", "occurred_at", "metric", "quantity")
    offer = _row("offer_id", "customer_id", "offered_at", "cost", "assigned", "accepted_at")
    talk = _row("interaction_id", "lead_id", "customer_id", "type", "direction", "occurred_at")
    change = _row("change_id", "customer_id", "column_name", "value", "changed_at")
    return {
        "customers": [
            customer("C1", "2024-01-02T08:00:00Z", "gold", "", "north"),
            customer(
                "ada@example.org", "2024-01-03T08:00:00Z", "mail bob@example.org", "2024-03-01T00:00:00Z", "south"
            ),
        ],
        "transactions": [
            bought("C1", "2024-01-05T08:00:00Z", "purchase", "100", "1", "EUR", "roof"),
            bought("C1", "2024-01-05T08:00:00Z", "purchase", "100", "1", "EUR", "roof"),
            bought("C1", "2024-01-07T08:00:00Z", "refund", "-100.50", "-1", "EUR", "roof"),
            # this customer has no row of its own
            bought("C9", "2024-01-08T08:00:00Z", "", "50", "1", "", ""),
            bought("C9", "2024-01-09T08:00:00Z", "", "-20", "1", "", ""),
            bought("C9", "2024-01-09T08:00:00Z", "gift", "50", "1", "EUR", ""),
            # neither more spent nor less: nobody knows which of the two is wrong
            bought("C9", "2024-01-09T08:00:00Z", "purchase", "-30", "1", "EUR", ""),
        ],
        "tickets": [
            ticket("T1", "C9", "2024-02-01T08:00:00Z", "2024-02-02T08:00:00Z", "bug"),
            ticket("T2", "C7", "2024-02-01T08:00:00Z", "", "bug"),
        ],
        "usage": [
            used("C1", "2024-02-01T08:00:00Z", "", ""),
            used("C1", "2024-02-01T08:00:00Z", "", ""),
            used("ada@example.org", "2024-02-01T09:00:00Z", "export", "3"),
            used("C9", "2024-02-01T09:00:00Z", "a page " * 20, "3"),
        ],
        "offers": [offer("O1", "C1", "2024-02-05T08:00:00Z", "10", "random", "2024-02-06T08:00:00Z")],
        "interactions": [
            # without leads, nobody reads whose they were
            talk("I1", "L1", "C1", "email", "outbound", "2024-02-05T08:00:00Z"),
            talk("I2", "", "C7", "email", "outbound", "2024-02-05T08:00:00Z"),
            talk("I3", "", "", "email", "outbound", "2024-02-05T08:00:00Z"),
        ],
        "changes": [
            change("H1", "C1", "plan", "silver", "2024-01-04T08:00:00Z"),
            change("H2", "C1", "plan", "gold", "2024-01-20T08:00:00Z"),
            change("H3", "C1", "name", "Ada", "2024-01-20T08:00:00Z"),
        ],
    }


def _write(folder: Path, export: Export, mapping: str = MAPPING) -> Path:
    write_csv(folder, export)
    (folder / "mapping.yml").write_text(mapping)
    return folder


def test_a_source_of_customers_alone(customers: Export, tmp_path: Path, run: Extract, query: Query) -> None:
    """It needs no table of leads; what its rows are about is a customer with a row or a transaction."""
    folder = _write(tmp_path / "crm", customers)
    report = run(folder)
    assert query("select entities, customers_close, value_currency, as_of from raw.extraction") == [
        # ends do not move the clock
        ('["customer"]', True, "EUR", datetime(2024, 2, 6, 8, 0, 1, tzinfo=UTC))
    ]
    assert query("select (select count(*) from raw.leads), (select count(*) from raw.projects)") == [(0, 0)]
    assert query("select count(distinct transaction_id), min(amount), min(quantity) from raw.transactions") == [
        (5, Decimal("-100.5"), -1)
    ]
    assert query("select kind, count(*) from raw.transactions group by 1 order by 1") == [
        ("purchase", 3),
        ("refund", 2),
    ]
    assert query("select count(distinct usage_id), count(*) filter (metric = 'login') from raw.usage") == [(4, 2)]
    key = "case table_name when 'transactions' then '…' else key end as key"
    assert query(f"select table_name, {key}, column_name, reason from raw.rejects order by 1, 2, 4") == [
        ("interactions", "I2", "customer_id", "orphan"),
        ("interactions", "I3", "customer_id", "missing_required"),
        ("tickets", "T2", "customer_id", "orphan"),
        ("transactions", "…", "amount", "negative_number"),
        ("transactions", "…", "kind", "unknown_kind"),
    ]
    assert query("select count(message) from raw.rejects") == [(5,)]
    assert query("select lead_id, customer_id from raw.interactions") == [(None, "C1")]
    text = str([query(f"from raw.{name}") for name in ("customers", "usage", "changes", "rejects")])
    assert "@" not in text
    assert "Ada" not in text
    ((hidden,),) = query("select customer_id from raw.customers where customer_id like 'pseudonym-%'")
    assert query(f"select metric from raw.usage where customer_id = '{hidden}'") == [("export",)]
    for said in (
        "The source has customers alone, and no leads.",
        "transactions.transaction_id is not in the source: it is made of customer_id, occurred_at, amount, product, "
        "and equal rows are numbered. Rows that were recorded twice count twice.",
        "transactions: amounts without a currency, in 2 rows, count as EUR.",
        "transactions.kind has no value in 2 rows: they count as purchase, or as refund where the amount is negative.",
        "offers.cost has no currency: it counts as EUR.",
    ):
        assert said in report.assumptions
    assert report.changes_seen == {"customers.plan": 1, "customers.attributes.region": 2}
    again = run(folder)
    assert not any(each.rows_new or each.rows_changed for each in again.tables.values())
    assert not any(again.changes_seen.values())


def test_an_end_may_be_entered_before_it_comes(customers: Export, tmp_path: Path, run: Extract, query: Query) -> None:
    """The row stays, and the clock with it; a day at the end of all time is no end."""
    ends = ("", "2023-12-31", "2024-02-01", "2024-03-01", "2199-12-31", "2200-01-01", "9999-12-31", "infinity", "soon")
    customers["customers"] = [
        {"customer_id": f"E{number}", "created_at": "2024-01-02T08:00:00Z", "plan": "gold", "closed_at": end}
        for number, end in enumerate(ends)
    ]
    report = run(_write(tmp_path / "crm", customers, "name: mine\nbased_on: contract\n"))
    assert query("select customer_id, closed_at::date::varchar from raw.customers order by 1") == [
        ("E0", None),
        ("E1", "2023-12-31"),
        ("E2", "2024-02-01"),
        ("E3", "2024-03-01"),
        ("E4", "2199-12-31"),
        ("E5", None),
        ("E6", None),
        ("E7", None),
    ]
    assert query("select key, reason from raw.rejects where table_name = 'customers' order by 1") == [
        ("E8", "unparsable_time"),
    ]
    assert query("select as_of from raw.extraction") == [(datetime(2024, 2, 6, 8, 0, 1, tzinfo=UTC),)]
    said = "customers.closed_at lies at or after the clock in 2 rows: an end ends nothing before it comes"
    assert any(each.startswith(said) for each in report.assumptions)
    said = "customers.closed_at lies before created_at in 1 row: these customers have closed when they began."
    assert said in report.assumptions


def test_a_key_that_is_made_of_a_row_does_not_depend_on_how_the_row_is_written(
    customers: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    """Neither on how amounts and times are spelt nor on empty columns; on case it does, which a note says."""
    bought = _row("customer_id", "occurred_at", "amount")
    rows = [
        bought(f"{'Ab' if number == 3 else 'ab'}{number % 3}", f"2024-03-{1 + number:02}T08:00:00Z", f"{10 + number}")
        for number in range(20)
    ]
    report = run(write_csv(tmp_path / "crm", {"transactions": rows}))
    said = (
        "transactions.customer_id: 2 keys differ from another one in upper and lower case alone, such as Ab0 and ab0."
    )
    assert any(each.startswith(said) for each in report.assumptions)
    keys = query("select transaction_id from raw.transactions order by 1")
    for row in rows:
        row |= {
            "amount": f"+{row['amount']}.00",
            "occurred_at": row["occurred_at"].replace("T08:00:00Z", " 09:00:00+01"),
        }
        row["product"] = ""
    run(write_csv(tmp_path / "crm", {"transactions": rows}))
    assert query("select transaction_id from raw.transactions order by 1") == keys


def test_the_history_of_customers(customers: Export, tmp_path: Path, run: Extract, query: Query) -> None:
    """A plan and an attribute are kept as values of leads are; the comparison asks before much of them is lost."""
    history = (
        "select column_name, value, known_at, origin from raw.changes where customer_id = 'C1' and lead_id is null "
        "order by known_at, column_name"
    )
    run(_write(tmp_path / "crm", customers))
    before = [
        ("attributes.region", "north", datetime(2024, 1, 2, 8, tzinfo=UTC), "extraction"),
        # what the history tells is not the value of the creation
        ("plan", "silver", datetime(2024, 1, 4, 8, tzinfo=UTC), "source"),
        ("plan", "gold", datetime(2024, 1, 20, 8, tzinfo=UTC), "source"),
    ]
    assert query(history) == before
    customers["customers"][0] |= {"plan": "silver", "Region": "west"}
    run(_write(tmp_path / "crm", customers), as_of=NIGHT)
    assert query(history) == [
        *before,
        ("attributes.region", "west", NIGHT, "extraction"),
        ("plan", "silver", NIGHT, "extraction"),
    ]
    for each in customers["customers"]:
        each["Region"] = ""
    first = datetime(2024, 1, 2, tzinfo=UTC)
    refunds = [
        {**customers["transactions"][2], "customer_id": f"C{number}", "occurred_at": f"{first + timedelta(number):%F}"}
        for number in range(60)
    ]
    customers["transactions"] += refunds
    run(_write(tmp_path / "crm", customers), as_of=NIGHT + timedelta(1))
    stored = query("select value from raw.changes where customer_id = 'C1' and column_name = 'attributes.region'")
    assert stored[-1] == (None,)


def test_a_plan_without_a_history_is_known_from_the_extraction_that_saw_it(
    customers: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    """Who has the dearest plan today has stayed to move up: as a plan of the past it would tell the future."""
    customers.pop("changes")
    run(_write(tmp_path / "crm", customers), as_of=NIGHT)
    assert query("select value from raw.changes where column_name = 'plan' and customer_id = 'C1'") == [("gold",)]
    just_before = NIGHT - timedelta(days=1)
    assert query(f"select value from raw.changes where column_name = 'plan' and known_at < '{just_before}'") == []


def test_a_table_of_customers_that_changes_at_once_asks(
    customers: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    """Negative numbers in cents, rows that are gone, and closings that are lost."""
    customers.pop("changes")
    first = customers["transactions"][2]
    customers["transactions"] = [
        {"transaction_id": f"X{number}", **first, "occurred_at": f"2024-02-{1 + number % 28:02}T08:00:00Z"}
        for number in range(80)
    ]
    customers["customers"] += [
        {**customers["customers"][1], "customer_id": f"D{number}", "plan": "gold"} for number in range(40)
    ]
    run(_write(tmp_path / "crm", customers))
    for each in customers["transactions"]:
        each["amount"] = "-10050"
    for each in customers["customers"]:
        each["closed_at"] = ""
    customers["usage"] = customers["usage"][:1]
    with pytest.raises(SourceContractError) as stopped:
        run(_write(tmp_path / "crm", customers))
    for found in (
        "transactions.amount: 100 times what it was in 80 of 80 rows",
        "customers.closed_at: a value in 41 rows that were read again before; all 42 rows read have none",
    ):
        assert found in str(stopped.value)
    (tmp_path / "crm" / "customers.csv").unlink()
    with pytest.raises(SourceContractError, match="customers: 42 rows before; the source has no such table"):
        run(tmp_path / "crm")


def test_a_home_gains_customers(export: Export, customers: Export, tmp_path: Path, run: Extract, query: Query) -> None:
    """Its leads stay as they are; an interaction names either, and one that is unknown beside the other is left out."""
    run(write_csv(tmp_path / "crm", export))
    assert query("select entities, customers_close from raw.extraction") == [('["lead"]', False)]
    leads = query("select * exclude (load_number) from raw.leads order by 1")
    changes = query("select change_id from raw.changes order by 1")
    customers["customers"][0] = {**customers["customers"][0], "lead_id": "L1"}
    customers["customers"] = [{"lead_id": "", **each} for each in customers["customers"]]
    export["interactions"] = [{**each, "customer_id": ""} for each in export["interactions"]]
    one = export["interactions"][0]
    export["interactions"] += [
        {**one, "interaction_id": "I4", "lead_id": "", "customer_id": "C9"},
        {**one, "interaction_id": "I5", "customer_id": "C1"},
        {**one, "interaction_id": "I6", "lead_id": "L8", "customer_id": "C1"},
        {**one, "interaction_id": "I7", "lead_id": "L8"},
        {**one, "interaction_id": "I8", "lead_id": "", "customer_id": "C8"},
    ]
    told = [{"lead_id": "L1" if each["change_id"] == "H3" else "", **each} for each in customers["changes"]]
    told[-1] |= {"customer_id": "", "column_name": "status", "value": "new", "changed_at": "2024-03-02T08:00:00Z"}
    both = {name: customers[name] for name in ("customers", "transactions", "usage")}
    report = run(_write(tmp_path / "crm", export | both | {"changes": told}))
    assert (
        "interactions: 1 row names a lead that is not there (lead_id), and something else that is: they belong to that "
        "alone." in report.assumptions
    )
    assert query("select entities from raw.extraction") == [('["lead", "customer"]',)]
    assert query("select * exclude (load_number) from raw.leads order by 1") == leads
    assert query(
        "select interaction_id, lead_id, customer_id from raw.interactions where customer_id is not null order by 1"
    ) == [("I4", None, "C9"), ("I5", "L1", "C1"), ("I6", None, "C1")]
    assert query("select key, column_name, reason from raw.rejects where key like 'I%' order by 1") == [
        ("I7", "lead_id", "orphan"),
        ("I8", "customer_id", "orphan"),
    ]
    assert {*changes} < {*query("select change_id from raw.changes")}
    assert query("select lead_id, customer_id from raw.changes where column_name = 'status' and origin = 'source'") == [
        ("L1", None)
    ]


def test_amounts_of_projects_and_transactions_are_in_one_currency(
    export: Export, customers: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    """Rates hold for both; what is counted is no amount."""
    export["projects"][0]["currency"] = "USD"
    folder = write_csv(tmp_path / "crm", export | {"transactions": customers["transactions"]})
    with pytest.raises(SourceContractError, match="expected amounts with one currency, found EUR in 3 rows, USD in 1"):
        run(folder)
    (folder / "mapping.yml").write_text(
        "name: mine\nbased_on: contract\ncurrency: {main: USD, rates: {EUR: 1.1}}\ntables: {transactions: {}}\n"
    )
    run(folder)
    assert query("select min(amount), min(quantity) from raw.transactions") == [(Decimal("-110.55"), -1)]
    assert query("select value from raw.projects") == [(5000,)]


def test_a_source_without_leads_and_customers(export: Export, customers: Export, tmp_path: Path, run: Extract) -> None:
    """The errors name both possibilities; tables of leads need leads."""
    with pytest.raises(SourceContractError) as stopped:
        run(write_csv(tmp_path / "none", {"tickets": customers["tickets"]}))
    assert "table leads: expected 'leads'" in str(stopped.value)
    assert "A source of customers alone has customers or transactions instead." in str(stopped.value)
    mapping = "name: mine\nbased_on: contract\ntables: {leads: {absent: true}}\n"
    with pytest.raises(SourceContractError, match="expected a table leads, or customers or transactions"):
        run(_write(tmp_path / "absent", export, mapping))
    with pytest.raises(SourceContractError, match="table leads: expected 'leads'"):
        run(write_csv(tmp_path / "projects", {"projects": export["projects"], **customers}))
    for row in customers["transactions"]:
        row["occurred_at"] = "soon"
    with pytest.raises(SourceContractError, match=r"expected transactions, found 7 rows of which none fits \(7 unpars"):
        run(write_csv(tmp_path / "unfit", {"transactions": customers["transactions"]}))


def test_a_table_called_customers_may_be_another(export: Export, tmp_path: Path, run: Extract) -> None:
    """One that the mapping reads as leads, one without a key of customers, and one that only lacks a column."""
    leads = [{**each, "customer_id": each.pop("lead_id")} for each in export.pop("leads")]
    mapping = "name: mine\nbased_on: contract\ntables: {leads: {table: customers, columns: {lead_id: customer_id}}}\n"
    report = run(_write(tmp_path / "leads", export | {"customers": leads}, mapping))
    assert (report.tables["leads"].rows_read, report.tables["customers"].is_there) == (2, False)
    leads = [{"lead_id": each.pop("customer_id"), **each} for each in leads]
    others = {"customers": [{"name": "Ada", "created_at": "2024-03-01"}], "usage": [{"customer_id": "C1", "cpu": 3}]}
    report = run(write_csv(tmp_path / "others", {"leads": leads, **export, **others}))
    assert (report.unread, report.tables["usage"].is_there) == (["customers.csv", "usage.csv"], False)
    others = {"customers": [{"customer_id": "C1", "since": "2024-03-01"}]}
    with pytest.raises(SourceContractError, match=r"customers\.created_at"):
        run(write_csv(tmp_path / "lacks", {"leads": leads, **export, **others}))


def test_transactions_that_write_keys_otherwise(customers: Export, tmp_path: Path, run: Extract) -> None:
    """They would begin other customers; transactions of customers without rows do not stop an extraction."""
    row = customers["transactions"][0]
    customers["transactions"] = [{**row, "customer_id": f"00{number}"} for number in range(20, 40)]
    tables = {name: customers[name] for name in ("customers", "transactions")}
    run(write_csv(tmp_path / "begun", tables))
    tables["customers"] = [{**customers["customers"][0], "customer_id": f"{number}"} for number in range(20, 40)]
    with pytest.raises(SourceContractError, match="one of them has leading zeros"):
        run(write_csv(tmp_path / "zeros", tables))


def test_customers_in_a_database(customers: Export, server: Server, tmp_path: Path, run: Extract) -> None:
    """A customer that began with a transaction of an earlier extraction, which is not read again, may have a ticket."""
    for table in ("transactions", "tickets"):
        columns = [f"{name} {'timestamptz' if name.endswith('_at') else 'text'}" for name in customers[table][0]]
        server.do(f"create table {table} ({', '.join(columns)})")
        for row in customers[table]:
            values = ", ".join(literal(each) if each else "null" for each in row.values())
            server.do(f"insert into {table} values ({values})")
    path = tmp_path / "own.yml"
    path.write_text(
        "name: mine\nbased_on: contract\ntables: {transactions: {watermark: occurred_at, overlap_minutes: 0}}\n"
    )

    def night(days: int) -> ExtractionReport:
        present = NIGHT + timedelta(days)
        return run(server.address, warehouse=server.address, mapping=str(path), state_dir=tmp_path, present=present)

    night(0)
    marker = "select entities, customers_close, value_currency from raw.extraction"
    assert server.rows(marker) == [('["customer"]', False, "EUR")]
    assert server.rows("select count(*), min(amount) from raw.transactions") == [(5, Decimal("-100.50"))]
    server.do("insert into tickets values ('T3', 'C1', '2024-04-30T08:00:00Z', null, 'bug')")
    report = night(1)
    assert (report.tables["transactions"].rows_read, report.tables["tickets"].rows_new) == (3, 1)
    assert server.rows("select ticket_id from raw.tickets order by 1") == [("T1",), ("T3",)]


def test_a_file_of_purchases_whose_columns_spaces_part(tmp_path: Path, run: Extract, query: Query) -> None:
    """The mapping of CDNOW is recognised by the name of its file; equal rows are two purchases."""
    folder = tmp_path / "crm"
    folder.mkdir()
    lines = [" 00004 0001 19970101  2   29.33", " 00004 0001 19970118 12   29.73", " 00021 0002 19970101  3  163.34"]
    (folder / "CDNOW_sample.txt").write_bytes("".join(f"{each}\r\n" for each in [*lines, lines[0], "short"]).encode())
    report = run(folder)
    assert (report.mapping_name, report.tables["transactions"].rows_read) == ("cdnow", 5)
    assert query(
        "select customer_id, occurred_at, quantity, amount, kind from raw.transactions order by 1, 2, transaction_id"
    ) == [
        ("00004", datetime(1997, 1, 1, 23, 59, 59, 999999, tzinfo=UTC), 2, Decimal("29.33"), "purchase"),
        ("00004", datetime(1997, 1, 1, 23, 59, 59, 999999, tzinfo=UTC), 2, Decimal("29.33"), "purchase"),
        ("00004", datetime(1997, 1, 18, 23, 59, 59, 999999, tzinfo=UTC), 12, Decimal("29.73"), "purchase"),
        ("00021", datetime(1997, 1, 1, 23, 59, 59, 999999, tzinfo=UTC), 3, Decimal("163.34"), "purchase"),
    ]
    assert query("select reason, line from raw.rejects") == [("malformed_row", 5)]
    # with names, and another form
    (folder / "CDNOW_sample.txt").rename(folder / "sold.txt")
    (folder / "sold.txt").write_text("customer_id  occurred_at\tamount\nC1 2024-01-01T08:00:00Z   3\n")
    mapping = "name: mine\nbased_on: contract\nfiles: {sold.txt: {table: transactions, delimiter: spaces}}\n"
    (folder / "mapping.yml").write_text(mapping)
    assert run(folder, warehouse=f"duckdb:{tmp_path / 'other.duckdb'}").tables["transactions"].rows_new == 1


@pytest.mark.skipif(not CDNOW.exists(), reason="../shared/data/cdnow is absent")
def test_the_purchases_of_cdnow(run: Extract, query: Query) -> None:
    """All rows fit, without a line by hand."""
    report = run(CDNOW)
    assert (report.mapping_name, report.tables["transactions"].rows_rejected) == ("cdnow", 0)
    assert query("select count(*), count(distinct customer_id), sum(amount) from raw.transactions") == [
        (6919, 2357, Decimal("244091.94"))
    ]
    assert query("select value_currency, entities, customers_close from raw.extraction") == [
        ("USD", json.dumps(["customer"]), False)
    ]


def test_a_plain_table_of_orders_is_mapped(tmp_path: Path, run: Extract, query: Query) -> None:
    """Who bought, when and for how much is enough; a table of people beside it is left."""
    rows = [
        {
            "Order No": 1000 + number,
            "Customer": f"K{number % 7}",
            "Order Date": f"{1 + number % 28:02}.03.2024",
            "Total": f"{10 + number},50",
            "Type": "Return" if number % 9 == 0 else "Sale",
            "Article": f"A{number % 3}",
            "Currency": "eur",
        }
        for number in range(60)
    ]
    folder = write_csv(tmp_path / "crm", {"Orders": rows, "staff": [{"name": "Ada", "team": "north"}]})
    found, shape = measured(str(folder), DECLARATIONS)
    (folder / "mapping.yml").write_text(
        text_of(suggest(found, {}, shape), str(folder), {}, DECLARATIONS, for_home=False)
    )
    report = run(folder)
    assert (report.tables["transactions"].rows_new, report.unread) == (60, ["staff.csv"])
    amounts = "select kind, count(*), max(amount), min(currency), min(customer_id) from raw.transactions group by kind"
    assert sorted(query(amounts)) == [
        ("purchase", 53, Decimal("69.50"), "EUR", "K0"),
        ("refund", 7, Decimal("64.50"), "EUR", "K0"),
    ]
