"""Contract tables that a mapping puts together: joins, unions, conditions, computed columns, queries, odd files."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from store.source.contract import SourceContractError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.store.source.exports import Extract, Query
    from tests.store.source.server import Server

ABOUT = '{"geo": {"zip": "10115"}, "tags": [{"of": "web"}]}'


def _rows(header: str, *lines: str) -> list[dict[str, str]]:
    columns = header.split()
    return [dict(zip(columns, line.split("|"), strict=True)) for line in lines]


TABLES: dict[str, list[dict[str, str]]] = {
    "contact": _rows(
        "id added hour owner deleted about merged",
        f"1|2024-03-01|09:30:00|o1||{ABOUT}|",
        "2|2024-03-02||o9|false||4;5",
        "3|2024-03-03|10:00:00||T|no JSON|",
        "4|2024-03-01|10:00:00||||",
    ),
    "owner": _rows("owner_id name", "o1|Doe - Jane", "o2|Roe - Rick"),
    "engagement_contact": _rows("engagement contact", "10|1", "10|2", "11|1", "12|1"),
    "call": _rows("id at way", "10|2024-03-04T10:00:00Z|OUT", "12|2024-03-04T11:00:00Z|in"),
    "email": _rows("id at to", "11|2024-03-05T10:00:00Z|1"),
    "deal": _rows(
        "id amount stage made close touched",
        "d1|100.50|s2|2024-03-06T08:00:00Z|2024-03-09T08:00:00Z|1",
        "d1|90|s1|2024-03-06T08:00:00Z||0",
        "d2|NULL|s1|2024-03-07T08:00:00Z|2024-12-31T00:00:00Z|0",
    ),
    "deal_contact": _rows("deal contact number", "d1|2|9", "d1|1|10", "d2|2|1"),
    "stage": _rows("id closed won extra", "s1|false|0|", "s2|true|1|"),
}

MAPPING = """
name: other
names: {deal: {columns: {deal_id: id}}}
tables:
  leads:
    table: contact
    join:
      owner: {table: owner, on: {owner_id: owner}}
      survivor: {table: contact, each: {column: merged, at: ";"}, on: {merged: id}}
    where: {deleted: {not: "true"}, survivor.id: {is: missing}}
    columns:
      lead_id: id
      created_at: {date: added, time: hour}
      source: {coalesce: [about.tags.0.of, {constant: unknown_channel}]}
      assigned_to: {coalesce: [{split: owner.name, at: " - ", part: -1}, owner]}
      zip_code: about.geo.zip
      status: {absent: true}
  interactions:
    union:
      calls:
        table: engagement_contact
        join: {call: {table: call, on: {id: engagement}}}
        where: {call.id: {is: present}}
        columns:
          interaction_id: {concat: [{constant: call}, engagement, contact], with: "-"}
          lead_id: contact
          type: {constant: call}
          direction: call.way
          occurred_at: call.at
        values: {direction: {out: outbound}}
      emails:
        table: email
        columns:
          {interaction_id: {concat: [{constant: email}, id], with: "-"}, lead_id: to, type: {constant: email},
           direction: {constant: outbound}, occurred_at: at}
    values: {direction: {in: inbound}}
  appointments: {absent: true}
  projects:
    table: deal
    one: {per: deal_id, last: touched}
    join:
      contact: {table: deal_contact, on: {deal: deal_id}, pick: {first: number}}
      stage: {table: stage, on: {id: stage}}
    columns:
      project_id: deal_id
      lead_id: contact.contact
      value: amount
      proposed_at: made
      closed_at: {latest: [close, made]}
      status:
        cases:
          - {where: {stage.won: "true"}, then: {constant: won}}
          - {where: {stage.closed: "true"}, then: {constant: lost}}
        otherwise: {constant: open}
"""


def write(folder: Path, tables: dict[str, list[dict[str, str]]], mapping: str) -> Path:
    """Write tables as CSV, and a mapping."""
    folder.mkdir(exist_ok=True)
    for name, rows in tables.items():
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    (folder / "mapping.yml").write_text(mapping, encoding="utf-8")
    return folder


def in_server(server: Server, tables: dict[str, list[dict[str, str]]]) -> None:
    """Write tables of texts into a database."""
    for name, rows in tables.items():
        columns = list(rows[0])
        listed = ", ".join(f'"{column}" text' for column in columns)
        values = ", ".join(
            "(" + ", ".join("null" if row[c] == "" else "'" + row[c].replace("'", "''") + "'" for c in columns) + ")"
            for row in rows
        )
        server.do(f'create table "{name}" ({listed})', f'insert into "{name}" values {values}')


LEADS = [
    ("1", "web", "2024-03-01 09:30:00+00", "Jane", "10115", None),
    # a day counts from its end on, and an owner whom the table of owners lacks keeps the key
    ("2", "unknown_channel", "2024-03-02 23:59:59.999999+00", "o9", None, None),
]

INTERACTIONS = [
    ("call-10-1", "1", "call", "outbound"),
    ("call-10-2", "2", "call", "outbound"),
    ("call-12-1", "1", "call", "inbound"),
    ("email-11", "1", "email", "outbound"),
]

PROJECTS = [
    ("d1", "2", 100.5, "won", "2024-03-09 08:00:00+00", None),
    ("d2", "2", None, "open", None, "2024-12-31 00:00:00+00"),
]

CONTENT = (
    "select lead_id, source, cast(created_at as varchar), assigned_to, zip_code, status from raw.leads order by 1",
    "select interaction_id, lead_id, type, direction from raw.interactions order by 1",
    "select project_id, lead_id, cast(value as double), status, cast(closed_at as varchar), "
    "cast(expected_close_at as varchar) from raw.projects order by 1",
)


@pytest.mark.parametrize("kind", ["files", "database"])
def test_tables_are_put_together(kind: str, tmp_path: Path, run: Extract, query: Query, server: Server) -> None:
    folder = write(tmp_path / "crm", TABLES, MAPPING)
    if kind == "database":
        in_server(server, TABLES)
        report = run(server.address, mapping=str(folder / "mapping.yml"))
    else:
        report = run(folder)
    assert [query(sql) for sql in CONTENT] == [LEADS, INTERACTIONS, PROJECTS]
    assert query("select count(*) from raw.rejects") == [(0,)]
    place = "public.contact" if kind == "database" else "contact.csv"
    because = "because this does not hold: deleted is not 'true' and survivor.id is missing."
    assert f"leads: 2 of 4 rows of {place} are left out, {because}" in report.assumptions
    # a second extraction of the same source writes nothing
    again = run(folder) if kind == "files" else run(server.address, mapping=str(folder / "mapping.yml"))
    assert {name: (one.rows_new, one.rows_changed) for name, one in again.tables.items()} == dict.fromkeys(
        again.tables, (0, 0)
    )


QUERY = """
-- deals, each with its first contact
with first as (select deal, arg_min(contact, cast(number as int)) as contact from deal_contact group by deal)
select d.id as project_id, contact as lead_id, amount as "value", made as proposed_at, nullif("close", '') as closed_at,
    case when s.won = '1' then 'won' else 'open' end as status
from deal as d join first on first.deal = d.id join stage as s on s.id = d.stage
where touched = '1' or d.id = 'd2';
"""


@pytest.mark.parametrize("kind", ["files", "database"])
def test_a_query_makes_a_table(kind: str, tmp_path: Path, run: Extract, query: Query, server: Server) -> None:
    start, _, _ = MAPPING.partition("  projects:")
    start = start.replace("names: {deal: {columns: {deal_id: id}}}\n", "")
    folder = write(tmp_path / "crm", TABLES, start + "  projects: {sql: deals.sql, units: {value: 2}}\n")
    (folder / "deals.sql").write_text(QUERY, encoding="utf-8")
    if kind == "database":
        in_server(server, TABLES)
        run(server.address, mapping=str(folder / "mapping.yml"))
    else:
        run(folder)
    projects = [(one, lead, value and 2 * value, *rest) for one, lead, value, *rest in PROJECTS]
    assert query(CONTENT[2]) == projects


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("select * from deal; drop table deal", "expected one SELECT, found SELECT and DROP"),
        ("copy deal to 'x.csv'", "expected one SELECT, found COPY"),
        (
            "select * from read_csv('/etc/passwd'), (show tables)",
            "the source and nothing else, found read_csv and show",
        ),
        ("select * from deal, information_schema.tables", "found information_schema.tables"),
        ("select first(id), list(id order by made) from deal", "on the order of rows (order by), found first"),
        ("select *, row_number() over (partition by id) from deal limit 1", "found limit and row_number"),
        ("select distinct on (id) * from deal", "found distinct on"),
        ("select *, now() as at from deal", "expected values that are equal at each extraction, found now"),
        ("select * from deal where current_date > made", "found current_date"),
        ("select current_setting('TimeZone') from deal", "found current_setting"),
        ("select age(made::timestamp) from deal using sample 50%", "found sample and age of one time"),
        ("select * from deals", "expected the tables that it names, deals, found call, contact"),
        ("select nothing from deal", 'Referenced column "nothing" not found'),
        ("select id as project_id from deal", "expected the required columns lead_id, proposed_at"),
    ],
)
def test_a_query_that_is_refused(sql: str, found: str, tmp_path: Path, run: Extract) -> None:
    start, _, _ = MAPPING.partition("  projects:")
    start = start.replace("names: {deal: {columns: {deal_id: id}}}\n", "")
    folder = write(tmp_path / "crm", TABLES, start + "  projects: {sql: deals.sql}\n")
    (folder / "deals.sql").write_text(sql, encoding="utf-8")
    with pytest.raises(SourceContractError) as error:
        run(folder)
    assert found in str(error.value)
    assert not (tmp_path / "home" / "warehouse.duckdb").exists()


@pytest.mark.parametrize(
    ("before", "after", "sentences"),
    [
        # all faults of names come at once
        (
            "owner.name, at",
            "owner.nam, at",
            ["table leads, contact.csv: expected the column owner.nam, found the columns id, added"],
        ),
        ("table: owner, on", "table: owners, on", ["join owner: expected a table 'owners', found call, contact, deal"]),
        ("deal_id: id}", "deal_id: ids}", ["names.deal, deal.csv: expected the column ids"]),
        ("        table: email\n", "        table: emails\n", ["table interactions: expected 'emails'"]),
        ("lead_id: to, ", "", ["part emails: expected the columns lead_id or customer_id, which every row needs"]),
        (
            "deal_id: id}",
            "deal_id: id}}, stage: {columns: {wonn: extra}",
            ["names.stage.columns.wonn: expected a column that the mapping 'other' reads from stage, found wonn"],
        ),
        # rows never multiply
        (
            ", pick: {first: number}",
            "",
            ["join contact (deal_contact.csv): expected one row per key, found 2 different ones for 'd1'"],
        ),
        (
            "pick: {first: number}",
            "pick: {first: contact}",
            [],
        ),
        (
            "last: touched",
            "last: stage",
            ["expected numbers or times in ISO 8601 in the column by which a row is picked, found 's1'"],
        ),
        (
            "table: deal\n",
            "table: deal\n    watermark: proposed_at\n",
            ["tables.projects.watermark: expected a table that is read as it is"],
        ),
        (
            "table: deal\n",
            "table: deal\n    sql: deals.sql\n",
            ["tables.projects.sql: expected one of table, union and sql, found table and sql"],
        ),
        ("{absent: true}\n  inter", "{absent: true}\n      lead_id: {absent: true}\n  inter", ["each key once"]),
        ("source: {coalesce: [", "source: {colesce: [", ["a form with one of the keys substitute, flag"]),
        ("at: \" - \", part: -1", "at: \" - \", part: 0", ["expected the number of a part, from 1"]),
        ("{is: present}", "{is: there}", ["'missing' or 'present'"]),
    ],
)  # fmt: skip
def test_faults_of_an_assembly(
    before: str, after: str, sentences: Sequence[str], tmp_path: Path, run: Extract, query: Query
) -> None:
    assert before in MAPPING
    folder = write(tmp_path / "crm", TABLES, MAPPING.replace(before, after, 1))
    if not sentences:
        run(folder)
        assert query("select lead_id from raw.projects where project_id = 'd1'") == [("1",)]
        return
    with pytest.raises(SourceContractError) as error:
        run(folder)
    for sentence in sentences:
        assert sentence in str(error.value)


def test_computed_columns_that_look_alike(tmp_path: Path, run: Extract, query: Query) -> None:
    columns = """      source: {concat: [owner, hour], with: "-"}
      assigned_to: {concat: [owner, hour]}
      zip_code: {constant: New}
      status: {constant: new}
"""
    start, _, rest = MAPPING.partition("      source:")
    run(write(tmp_path / "crm", TABLES, start + columns + rest[rest.index("  interactions:") :]))
    assert query("select source, assigned_to, zip_code, status from raw.leads where lead_id = '1'") == [
        ("o1-09:30:00", "o109:30:00", "New", "new")
    ]


@pytest.mark.parametrize("others", ["005000000000002AAA", "005000000000001"])
def test_ids_of_two_lengths_never_meet(others: str, tmp_path: Path, run: Extract) -> None:
    """Also if some have the same length."""
    owners = _rows("owner_id name", "00500000000000aAAC|Jane", f"{others}|Rick")
    contacts = [
        row | {"owner": each} for row, each in zip(TABLES["contact"], ["00500000000000a", others] * 2, strict=True)
    ]
    found = r"join owner \(owner.csv\): expected keys of one length, found '00500000000000a' in contact.csv and '.*AAC'"
    with pytest.raises(SourceContractError, match=found):
        run(write(tmp_path / "crm", TABLES | {"owner": owners, "contact": contacts}, MAPPING))


def test_all_faults_come_at_once(tmp_path: Path, run: Extract) -> None:
    wrong = (
        MAPPING.replace("owner.name, at", "owner.nam, at")
        .replace("call.way", "call.ways")
        .replace("stage.won", "s.won")
    )
    with pytest.raises(SourceContractError) as error:
        run(write(tmp_path / "crm", TABLES, wrong))
    assert [each in str(error.value) for each in ("owner.nam", "call.ways", "s.won")] == [True] * 3


def test_entries_that_match_nothing(tmp_path: Path, run: Extract) -> None:
    wrong = MAPPING.replace("on: {owner_id: owner}", "on: {name: owner}").replace(
        "{out: outbound}", "{out: outbound, aut: outbound}"
    )
    report = run(write(tmp_path / "crm", TABLES, wrong))
    # of tables that are joined, or parts of a union; those of a deal stand under projects
    assert report.unread_columns == {"stage.csv": ["extra"], "owner.csv": ["owner_id"]}
    assert [each for each in report.assumptions if each.startswith("The mapping's")] == [
        "The mapping's join owner of leads finds a row of owner.csv for no row of contact.csv. Check the columns under "
        "on.",
        "The mapping's value map of direction of interactions, part calls has words that no row has: 'aut'. Check the "
        "spelling.",
    ]


def test_odd_files(tmp_path: Path, run: Extract, query: Query) -> None:
    folder = tmp_path / "crm"
    folder.mkdir()
    (folder / "Pipeline 2024.txt").write_bytes(
        'exported by someone\r\n\r\nL1¦Größe¦2024-03-01\r\nL2¦"a¦b"¦2024-03-02\r\nbroken¦row\r\n'.encode("cp1252")
    )
    (folder / "mapping.yml").write_text(
        """
name: odd
files:
  pipeline 2024.txt: {table: people, delimiter: "¦", header: [key, channel, day], encoding: windows-1252, skip_lines: 2}
tables:
  leads: {table: people, columns: {lead_id: key, source: channel, created_at: day}}
  interactions: {absent: true}
  appointments: {absent: true}
  projects: {absent: true}
""",
        encoding="utf-8",
    )
    run(folder)
    assert query("select lead_id, source from raw.leads order by 1") == [("L1", "Größe"), ("L2", "a¦b")]
    assert query("select line, reason from raw.rejects") == [(5, "malformed_row")]
    text = (folder / "mapping.yml").read_text().replace("pipeline 2024.txt", "other.txt")
    (folder / "mapping.yml").write_text(text)
    with pytest.raises(SourceContractError, match=r"expected the files that the mapping names, other.txt, found"):
        run(folder)


def test_nested_columns(tmp_path: Path, run: Extract, query: Query) -> None:
    """Paths into columns of Parquet that hold several values, keys and amounts of a union that are numbers already."""
    folder = tmp_path / "crm"
    folder.mkdir()
    leads = [{"id": str(n), "props": {"made": f"2024-03-0{n}T10:00:00Z", "ways": ["web", "ads"]}} for n in (1, 2)]
    pq.write_table(pa.Table.from_pylist(leads), folder / "people.parquet")
    deals: list[dict[str, Any]] = [{"id": "a", "of": 1.0, "sum": 1234.5, "made": "2024-03-04T10:00:00Z"}]
    pq.write_table(pa.Table.from_pylist(deals), folder / "deals.parquet")
    (folder / "old.csv").write_text('id;of;sum;made\nb;2;"1.234,50";2024-03-05T10:00:00Z\n')
    mapping = {
        "name": "nested",
        "tables": {
            "leads": {
                "table": "people",
                "columns": {"lead_id": "id", "created_at": "props.made", "source": "props.ways.1"},
            },
            "interactions": {"absent": True},
            "appointments": {"absent": True},
            "projects": {
                "union": {
                    part: {
                        "table": part,
                        "columns": {"project_id": "id", "lead_id": "of", "value": "sum", "proposed_at": "made"},
                    }
                    for part in ("deals", "old")
                },
            },
        },
    }
    path = folder / "mapping.yml"
    path.write_text(json.dumps(mapping))
    report = run(folder)
    assert query("select source, cast(created_at as varchar) from raw.leads order by lead_id") == [
        ("ads", "2024-03-01 10:00:00+00"),
        ("ads", "2024-03-02 10:00:00+00"),
    ]
    assert report.tables["projects"].rejects_by_reason == {"unparsable_number": 1}
    # a decimal comma cannot be said of numbers that are numbers already
    mapping["tables"]["projects"]["numbers"] = {"value": {"decimal": ",", "thousands": "."}}  # type: ignore[index]
    path.write_text(json.dumps(mapping))
    with pytest.raises(SourceContractError, match="expected numbers of value that are written in one way"):
        run(folder)
