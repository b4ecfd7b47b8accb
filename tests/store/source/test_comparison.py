"""What an export lost since the last one: named with its figures before anything is overwritten, and accepted once."""

from __future__ import annotations

import re
import shutil
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from models.declared.registry import DECLARATIONS
from simulation import simulate
from store.source.comparing.comparison import compare
from store.source.comparing.evidence import ColumnEvidence, Evidence, TableEvidence
from store.source.contract import TABLES, SourceContractError
from store.source.extract import extract
from store.source.loading.load import DuckdbTarget
from tests.store.source.exports import PRESENT, Extract, Query, Rows, write_csv
from tests.store.source.nights import export as export_of_night

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.source.report import ExtractionReport
    from tests.store.source.server import Server

Export = dict[str, Rows]
CASE = Path(__file__).parents[4] / "shared" / "cases" / "04_optional_column_renamed_between_exports"
MAPPING = "name: mine\nbased_on: contract\nclosing_outcomes: [not_interested]\n"


OF_LEADS = ("leads", "interactions", "appointments", "projects", "changes")


def company(leads: int = 40) -> Export:
    """Return a company with all columns: three interactions and a deal of each lead, two deals in three closed."""
    start = datetime(2024, 3, 1, 8, tzinfo=UTC)
    export: Export = {name: [] for name in OF_LEADS}
    for number in range(1, leads + 1):
        lead, created = f"L{number}", start + timedelta(days=number)
        outcome = ("not_interested", "reached", "")[number % 3]
        status = ("won", "lost", "open")[number % 3]

        def at(days: float, created: datetime = created) -> str:
            return (created + timedelta(days=days)).isoformat()

        export["leads"].append(
            {
                "lead_id": lead, "source": ("web", "ads")[number % 2], "created_at": at(0),
                "assigned_to": f"rep-{number % 4}", "property_value": f"{number}00", "zip_code": f"{10000 + number}",
                "status": ("new", "contacted")[number % 2], "updated_at": at(20),
            }
        )  # fmt: skip
        for each, kind in enumerate(("call", "email", "web"), start=1):
            export["interactions"].append(
                {
                    "interaction_id": f"{number}0{each}", "lead_id": lead, "type": kind,
                    "direction": "inbound" if kind == "web" else "outbound", "occurred_at": at(each),
                    "recorded_at": at(each + 0.5), "performed_by": f"rep-{number % 4}",
                    "outcome": outcome if kind == "call" else "", "opened_at": at(each + 1) if kind == "email" else "",
                    "responded_at": at(each + 2) if kind == "email" and number % 2 else "",
                }
            )  # fmt: skip
        export["appointments"].append(
            {
                "appointment_id": f"A{number}", "lead_id": lead, "booked_at": at(4), "scheduled_at": at(8),
                "status": ("completed", "no_show")[number % 2], "ended_at": at(8), "rescheduled_from": "",
            }
        )  # fmt: skip
        export["projects"].append(
            {
                "project_id": f"P{number}", "lead_id": lead, "value": f"{number}000", "cost": f"{number}00",
                "status": status, "proposed_at": at(10), "closed_at": at(60) if status != "open" else "",
            }
        )  # fmt: skip
        export["changes"].append(
            {
                "change_id": f"H{number}", "lead_id": lead, "column_name": "status",
                "value": export["leads"][-1]["status"], "changed_at": at(0),
            }
        )  # fmt: skip
    return export


def emptied(table: str, column: str, rows: int | None = None) -> Callable[[Export], object]:
    """Return a change that empties a column in its first rows with a value, by default in all."""

    def change(export: Export) -> None:
        for row in [row for row in export[table] if row[column]][:rows]:
            row[column] = ""

    return change


def renamed(table: str, column: str, to: str) -> Callable[[Export], object]:
    def change(export: Export) -> None:
        for row in export[table]:
            row[to] = row.pop(column)

    return change


def words(table: str, column: str, before: str, after: str) -> Callable[[Export], object]:
    def change(export: Export) -> None:
        for row in export[table]:
            row[column] = after if row[column] == before else row[column]

    return change


def kept(table: str, rows: int) -> Callable[[Export], object]:
    def change(export: Export) -> None:
        del export[table][rows:]

    return change


def rewritten(
    table: str, column: str, how: Callable[[str], str], rows: int | None = None
) -> Callable[[Export], object]:
    def change(export: Export) -> None:
        for row in export[table][:rows]:
            row[column] = how(row[column])

    return change


def shifted(hours: float) -> Callable[[str], str]:
    return lambda time: (datetime.fromisoformat(time) + timedelta(hours=hours)).isoformat()


def without(table: str) -> Callable[[Export], object]:
    def change(export: Export) -> None:
        del export[table]

    return change


ON_ALL: dict[str, tuple[Callable[[Export], object], list[str]]] = {
    "column gone": (
        renamed("interactions", "outcome", "Result"),
        [
            "interactions.outcome: a value in 27 of 120 rows before, read from 'outcome'; {interactions} has no such "
            "column any more; columns that are not read: Result"
        ],
    ),
    "column empty": (
        emptied("interactions", "responded_at"),
        [
            "interactions.responded_at: a value in 20 rows that were read again before; all 120 rows read have none",
        ],
    ),
    "values lost": (
        emptied("interactions", "recorded_at", 12),
        ["interactions.recorded_at: a value in 120 rows that were read again before; 12 of them have none now"],
    ),
    "rows gone": (
        kept("interactions", 108),
        ["interactions: 120 rows before; {interactions} lacks 12 of them, and has 108 rows in all"],
    ),
    "rows rejected": (
        rewritten("projects", "proposed_at", lambda _: "3/9/2024"),
        [
            "projects: 40 rows before; {projects} lacks 40 of them, 40 of them rejected now (most: unparsable_time "
            "in proposed_at), and has 0 rows in all"
        ],
    ),
    "table gone": (
        without("changes"),
        ["changes: 40 rows before; the source has no such table, or the mapping declares it absent"],
    ),
    "word renamed": (
        words("interactions", "outcome", "not_interested", "Not interested"),
        [
            "interactions.outcome: another value in 13 of 27 rows that were read again ('not_interested' is "
            "'Not interested' in 13)"
        ],
    ),
    "times moved": (
        rewritten("leads", "created_at", shifted(-1)),
        ["leads.created_at: another time in 40 of 40 rows, by -1:00:00 at the median"],
    ),
}
SIBLINGS: dict[str, tuple[Callable[[Export], object], list[str]]] = {
    "status of deals gone": (
        renamed("projects", "status", "state"),
        [
            "projects.status: a value in 40 of 40 rows before, read from 'status'; {projects} has no such column any "
            "more; columns that are not read: state",
            "projects.closed_at: a value in 27 rows that were read again before; all 40 rows read have none; 27 rows "
            "read have one that is a plan, by their status",
        ],
    ),
    "recorded_at gone": (
        renamed("interactions", "recorded_at", "created_on"),
        [
            "interactions.recorded_at: a value in 120 of 120 rows before, read from 'recorded_at'; {interactions} has "
            "no such column any more; columns that are not read: created_on"
        ],
    ),
    "two columns gone": (
        lambda export: [renamed("leads", *each)(export) for each in (("zip_code", "zip"), ("assigned_to", "owner"))],
        [
            "leads.assigned_to: a value in 40 of 40 rows before, read from 'assigned_to'; {leads} has no such column "
            "any more; columns that are not read: zip, owner",
            "leads.zip_code: a value in 40 of 40 rows before, read from 'zip_code'; {leads} has no such column any "
            "more; columns that are not read: zip, owner",
        ],
    ),
    "owners empty": (
        emptied("leads", "assigned_to"),
        ["leads.assigned_to: a value in 40 rows that were read again before; all 40 rows read have none"],
    ),
    "statuses empty": (
        emptied("projects", "status"),
        [
            "projects.status: a value in 40 rows that were read again before; all 40 rows read have none",
            "projects.closed_at: a value in 27 rows that were read again before; all 40 rows read have none; 27 rows "
            "read have one that is a plan, by their status",
        ],
    ),
    "outcomes taken for text": (
        rewritten("interactions", "outcome", lambda outcome: outcome and outcome + " " * 3 + "and more " * 9),
        [
            "interactions.outcome: a value in 27 rows that were read again before; all 120 rows read have none",
        ],
    ),
    "leads gone": (
        kept("leads", 20),
        ["leads: 40 rows before; {leads} lacks 20 of them, and has 20 rows in all"],
    ),
    "keys in another form": (
        rewritten("interactions", "interaction_id", lambda key: f"{key}.0"),
        ["interactions: 120 rows before; {interactions} lacks 120 of them, and has 120 rows in all"],
    ),
    "all but the header": (
        kept("appointments", 1),
        [
            "appointments: 40 rows before; {appointments} lacks 39 of them, and has 1 row in all",
        ],
    ),
    "sources renamed": (
        words("leads", "source", "web", "Website"),
        ["leads.source: another value in 20 of 40 rows that were read again ('web' is 'Website' in 20)"],
    ),
    "statuses of leads renamed": (
        words("leads", "status", "new", "neu"),
        ["leads.status: 'new' in 20 rows before; none has it now; new is 'neu', in 20 rows"],
    ),
    "wins reopened": (
        words("projects", "status", "won", "open"),
        [
            "projects.closed_at: a value in 27 rows that were read again before; 13 of them have none now; 13 rows "
            "read have one that is a plan, by their status",
            "projects.status: another value in 13 of 40 rows that were read again ('won' is 'open' in 13)",
        ],
    ),
    "dates alone": (
        rewritten("interactions", "occurred_at", lambda time: time[:10]),
        ["interactions.occurred_at: another time in 120 of 120 rows, by +15:59:59.999999 at the median"],
    ),
    "winter time in some months": (
        rewritten("projects", "proposed_at", shifted(1), rows=10),
        ["projects.proposed_at: another time in 10 of 40 rows, by +1:00:00 at the median"],
    ),
    "bookings moved": (
        rewritten("appointments", "booked_at", shifted(-24 * 365)),
        ["appointments.booked_at: another time in 40 of 40 rows, by -365 days, 0:00:00 at the median"],
    ),
}
SIBLINGS |= {
    "cents instead of euros": (
        rewritten("projects", "value", lambda value: f"{value}00"),
        ["projects.value: 100 times what it was in 40 of 40 rows that were read again"],
    ),
    "dollars instead of euros in some rows": (
        rewritten("leads", "property_value", lambda value: f"{float(value) * 1.08:.2f}", rows=12),
        ["leads.property_value: 1.08 times what it was in 12 of 40 rows that were read again"],
    ),
    "most of a word's rows have another": (
        rewritten("interactions", "direction", lambda _: "inbound", rows=100),
        [
            "interactions.direction: another value in 67 of 120 rows that were read again ('outbound' is 'inbound' in "
            "67)"
        ],
    ),
    "won and lost swapped": (
        rewritten("projects", "status", lambda status: {"won": "lost", "lost": "won"}.get(status, status)),
        [
            "projects.status: another value in 27 of 40 rows that were read again ('lost' is 'won' in 14, 'won' is "
            "'lost' in 13)"
        ],
    ),
    "some wins lost": (
        rewritten("projects", "status", lambda status: status.replace("won", "lost"), rows=30),
        ["projects.status: another value in 10 of 40 rows that were read again ('won' is 'lost' in 10)"],
    ),
    "rows of other leads": (
        rewritten("interactions", "lead_id", lambda lead: f"L{1 + int(lead[1:]) % 40}"),
        ["interactions.lead_id: another value in 120 of 120 rows that were read again"],
    ),
    "imported anew": (
        rewritten("interactions", "recorded_at", lambda _: "2024-06-01T00:00:00Z"),
        ["interactions.recorded_at: another value in 120 of 120 rows that were read again"],
    ),
    "closed on the day of the migration": (
        rewritten("projects", "closed_at", lambda time: time and "2024-06-09T07:00:00Z"),
        ["projects.closed_at: another value in 27 of 27 rows that were read again"],
    ),
    "values are 0": (
        rewritten("projects", "value", lambda _: "0"),
        ["projects.value: 0 times what it was in 40 of 40 rows that were read again"],
    ),
    "value and cost swapped": (
        lambda export: [row.update(value=row["cost"], cost=row["value"]) for row in export["projects"]],
        [
            "projects.value: 0.1 times what it was in 40 of 40 rows that were read again",
            "projects.cost: 10 times what it was in 40 of 40 rows that were read again",
        ],
    ),
    "another value in each deal": (
        lambda export: [
            row.update(value=f"{float(row['value']) * (1.02 + number / 50):.2f}")
            for number, row in enumerate(export["projects"])
        ],
        ["projects.value: another value in 40 of 40 rows that were read again"],
    ),
    "the exporting user owns all": (
        rewritten("leads", "assigned_to", lambda _: "admin"),
        ["leads.assigned_to: another value in 40 of 40 rows that were read again"],
    ),
    "zip codes masked": (
        rewritten("leads", "zip_code", lambda code: f"{code[:2]}***"),
        ["leads.zip_code: another value in 40 of 40 rows that were read again"],
    ),
    "an older export": (
        lambda export: [
            row.update(status="open", closed_at="") for row in export["projects"] if row["closed_at"] > "2024-06-08"
        ],
        [
            "the last fact: 2024-06-09T08:00:01Z before, 2024-06-06T08:00:01Z now; this is an older export, and would "
            "undo the changes of the newer one"
        ],
    ),
}
HONEST: dict[str, Callable[[Export], object]] = {
    "nothing": lambda _: None,
    "some values corrected away": emptied("interactions", "recorded_at", 5),
    "a colleague has left": words("leads", "assigned_to", "rep-1", ""),
    "a deal is reopened": emptied("projects", "status", 1),
    "rows are deleted": kept("interactions", 115),
    "every new lead was called": words("leads", "status", "new", "contacted"),
    "every open deal was lost": words("projects", "status", "open", "cancelled"),
    "appointments moved": rewritten("appointments", "scheduled_at", shifted(24 * 7)),
    "some deals are valued anew": lambda export: [
        row.update(value=f"{float(row['value']) * (1.02 + number / 50):.2f}")
        for number, row in enumerate(export["projects"][:7])
    ],
    "cents are rounded": rewritten("projects", "value", lambda value: f"{float(value) + 0.4:.0f}"),
    "a colleague has another name": rewritten("interactions", "performed_by", lambda name: name.replace("-1", "-one")),
    "the oldest interactions are archived": lambda export: export["interactions"].__delitem__(slice(60)),
    "deals are closed": lambda export: [
        row.update(status="won", closed_at="2024-06-08T08:00:00+00:00")
        for row in export["projects"]
        if row["status"] == "open"
    ],
    "one source of leads serves less": rewritten("leads", "source", lambda _: "ads", rows=10),
    "some times corrected": rewritten("leads", "created_at", shifted(-3), rows=2),
    "columns in another order and case": lambda export: [
        renamed("interactions", name, name.upper())(export) for name in ("outcome", "responded_at")
    ],
}


class Place:
    """A kind of source and a warehouse, which holds the company."""

    def __init__(self, kind: str, folder: Path, server: Server | None) -> None:
        self.kind, self._folder, self._server = kind, folder, server
        self._warehouse = f"duckdb:{folder / 'warehouse.duckdb'}"
        if kind.endswith("to postgres") and server is not None:
            self._warehouse = server.address

    def extract(self, export: Export, **options: Any) -> ExtractionReport:
        """Extract an export from the source of this place."""
        folder = self._folder / "crm"
        for stale in folder.glob("*"):
            stale.unlink()
        write_csv(folder, export)
        (self._folder / "mapping.yml").write_text(options.pop("mapping", MAPPING))
        source = str(folder)
        if self.kind.startswith("parquet"):
            with duckdb.connect() as connection:
                for table in export:
                    csv = folder / f"{table}.csv"
                    columns = f"read_csv('{csv}', header = true, all_varchar = true)"
                    connection.execute(f"copy (from {columns}) to '{csv.with_suffix('.parquet')}' (format parquet)")
                    csv.unlink()
        elif self.kind.startswith("postgres") and self._server is not None:
            source = self._server.address
            for table in TABLES:
                self._server.do(f"drop table if exists {table}")
            for table, rows in export.items():
                self._server.do(f"create table {table} ({', '.join(f'{quoted(name)} text' for name in rows[0])})")
                values = ", ".join(f"({', '.join(literal(value) for value in row.values())})" for row in rows)
                self._server.do(f"insert into {table} values {values}")
        return extract(
            source=source, warehouse=self._warehouse, state_dir=self._folder / "state", as_of=None, present=PRESENT,
            models=DECLARATIONS, **{"mapping": str(self._folder / "mapping.yml"), **options},
        )  # fmt: skip

    def place(self, table: str) -> str:
        """Return what a message calls a table."""
        return f"public.{table}" if self.kind.startswith("postgres") else f"{table}.{self.kind.split()[0]}"

    def stored(self) -> list[Any]:
        """Return all that is stored."""
        if self._server is not None and self._warehouse == self._server.address:
            return [self._server.rows(f"select t::text from raw.{name} t order by 1") for name in STORED]
        with duckdb.connect(self._warehouse.removeprefix("duckdb:"), read_only=True) as connection:
            return [connection.execute(f"select t::varchar from raw.{name} t order by 1").fetchall() for name in STORED]

    def load_number(self) -> int:
        """Return the number of the last extraction that brought something."""
        query = "select load_number from raw.extraction"
        if self._server is not None and self._warehouse == self._server.address:
            return int(self._server.rows(query)[0][0])
        with duckdb.connect(self._warehouse.removeprefix("duckdb:"), read_only=True) as connection:
            return int(connection.execute(query).fetchall()[0][0])


STORED = [*TABLES, "rejects", "extraction"]


def quoted(name: str) -> str:
    return f'"{name}"'


def literal(value: str) -> str:
    return "null" if value == "" else "'" + value.replace("'", "''") + "'"


@pytest.fixture(scope="module", params=["parquet to duckdb", "postgres to postgres"])
def place(request: pytest.FixtureRequest, of_module: Server, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return each kind of warehouse, filled once: an extraction that stops changes nothing. Siblings come from CSV."""
    of_module.empty()
    found = Place(request.param, tmp_path_factory.mktemp("place"), of_module)
    found.extract(company())
    return found


@pytest.fixture(scope="module")
def csv_filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a filled place, to be copied."""
    folder = tmp_path_factory.mktemp("csv")
    Place("csv to duckdb", folder, None).extract(company())
    return folder


@pytest.fixture
def csv_place(csv_filled: Path, tmp_path: Path) -> Place:
    """Return a filled place for one test alone."""
    shutil.copytree(csv_filled, tmp_path / "place")
    return Place("csv to duckdb", tmp_path / "place", None)


def findings(place: Place, export: Export, **options: Any) -> list[str]:
    """Return what an extraction stops at."""
    with pytest.raises(SourceContractError) as stopped:
        place.extract(export, **options)
    message = str(stopped.value)
    assert re.search(r"LEADLINE_ACCEPT_EXTRACTION=[0-9a-f]{12}( |$)", message)
    return [line[2:-1] for line in message.splitlines() if line.startswith("- ")]


def accepted(place: Place, export: Export, **options: Any) -> str:
    """Return the hash by which what an extraction stops at is accepted."""
    with pytest.raises(SourceContractError) as stopped:
        place.extract(export, **options)
    return str(stopped.value).split("LEADLINE_ACCEPT_EXTRACTION=")[1][:12]


def changed(change: Callable[[Export], object], export: Export | None = None) -> Export:
    export = company() if export is None else deepcopy(export)
    change(export)
    return export


def expected(place: Place, sentences: list[str]) -> list[str]:
    return [each.format(**{table: place.place(table) for table in TABLES}) for each in sentences]


@pytest.mark.parametrize("fault", ON_ALL)
def test_what_vanishes_stops_the_extraction_and_is_named(place: Place, fault: str) -> None:
    """On both kinds of warehouse; nothing is written."""
    change, sentences = ON_ALL[fault]
    before = place.stored()
    assert findings(place, changed(change)) == expected(place, sentences)
    assert place.stored() == before


def apart(faults: dict[str, tuple[Callable[[Export], object], list[str]]]) -> list[list[str]]:
    """Return the faults in groups, in each of which no two are of one column; one of whole rows is a group alone."""
    groups: list[tuple[set[str], list[str]]] = []
    for fault, (_, sentences) in faults.items():
        columns = {sentence.split(": ")[0] for sentence in sentences}
        of_rows = any("." not in column for column in columns)
        for taken, group in groups:
            if not of_rows and not taken & {*columns, "rows"}:
                taken |= columns
                group.append(fault)
                break
        else:
            groups.append(({*columns, "rows"} if of_rows else columns, [fault]))
    return [group for _, group in groups]


@pytest.mark.parametrize("faults", apart(SIBLINGS), ids=lambda group: group[0])
def test_siblings_are_named_as_well(faults: list[str], csv_place: Place) -> None:
    """Faults of different columns come together, and each is named as if it were alone."""
    export, before = company(), csv_place.stored()
    for fault in faults:
        SIBLINGS[fault][0](export)
    sentences = [sentence for fault in faults for sentence in SIBLINGS[fault][1]]
    assert sorted(findings(csv_place, export)) == sorted(expected(csv_place, sentences))
    assert csv_place.stored() == before


@pytest.mark.parametrize("start", range(4))
def test_what_people_change_in_a_day_passes(start: int, csv_place: Place) -> None:
    export = company()
    for change in [*HONEST.values()][start::4]:
        change(export)
    assert csv_place.extract(export).accepted == []


def test_a_small_company_is_not_stopped_by_one_change(tmp_path: Path) -> None:
    """Of five leads: one row of each kind may change, but a column that vanishes is missed."""
    place, small = Place("csv to duckdb", tmp_path, None), company(5)
    place.extract(small)
    small["leads"][0] |= {"assigned_to": "", "source": "fair", "zip_code": "", "status": "won"}
    small["projects"][1] |= {"status": "open", "closed_at": ""}
    del small["interactions"][3]
    assert place.extract(small).accepted == []
    assert findings(place, changed(renamed("leads", "zip_code", "zip"), small)) == [
        "leads.zip_code: a value in 4 of 5 rows before, read from 'zip_code'; leads.csv has no such column any more; "
        "columns that are not read: zip"
    ]


def test_findings_are_accepted_once(server: Server, tmp_path: Path) -> None:
    """By their hash, for one extraction; then what is gone is missed no more, and what comes back can go again."""
    place = Place("csv to postgres", tmp_path, server)
    place.extract(company())
    lost = changed(renamed("interactions", "outcome", "Result"))
    less = changed(kept("interactions", 100), lost)
    accept = accepted(place, lost)
    assert accepted(place, less, accept=accept) != accept
    with pytest.raises(SourceContractError, match=f"LEADLINE_ACCEPT_EXTRACTION={accept} is for others"):
        place.extract(less, accept=accept)
    assert place.extract(lost, accept=accept[:8]).accepted == [
        "interactions.outcome: a value in 27 of 120 rows before, read from 'outcome'; interactions.csv has no such "
        "column any more; columns that are not read: Result"
    ]
    before = place.stored()
    assert place.extract(lost).accepted == []
    assert place.stored() == before
    assert place.extract(company()).accepted == []
    assert accepted(place, lost, accept=accept) != accept


def test_rows_that_were_gone_before_are_not_missed_again(csv_place: Place) -> None:
    """They stay in the warehouse; the same goes for a table."""
    less = changed(kept("interactions", 60), changed(without("changes")))
    assert len(csv_place.extract(less, accept=accepted(csv_place, less)).accepted) == 2
    assert csv_place.extract(less).accepted == []
    assert findings(csv_place, changed(kept("interactions", 40), less)) == [
        "interactions: 60 rows before; interactions.csv lacks 20 of them, and has 40 rows in all"
    ]


def test_words_are_compared_in_the_rows_that_are_left(csv_place: Place) -> None:
    """After most rows of a table were accepted as gone."""
    less = changed(kept("leads", 10), changed(kept("interactions", 48)))
    csv_place.extract(less, accept=accepted(csv_place, less))
    assert findings(csv_place, changed(words("interactions", "type", "email", "note"), less)) == [
        "interactions.type: another value in 16 of 48 rows that were read again ('email' is 'note' in 16)"
    ]


def test_what_is_accepted_may_move_on_a_little(csv_place: Place) -> None:
    """A live database gains and loses rows while a person reads."""
    lost = changed(renamed("interactions", "outcome", "Result"))
    accept = accepted(csv_place, lost)
    moved = changed(lambda export: export["interactions"].__delitem__(slice(117, 119)), lost)
    assert len(csv_place.extract(moved, accept=accept).accepted) == 1


def test_a_clock_after_the_present_is_refused(run: Extract, tmp_path: Path) -> None:
    with pytest.raises(SourceContractError, match=r"as_of: expected a clock no later than a day after the present"):
        run(write_csv(tmp_path / "crm", company(2)), as_of=datetime(2031, 1, 1, tzinfo=UTC))


def test_a_mapping_that_changes_what_is_stored_is_a_change(csv_place: Place) -> None:
    """Another column, other words, and closing outcomes that are gone; the same content by another name is none."""
    export = changed(lambda export: [row.update(result="reached") for row in export["interactions"]])
    assert csv_place.extract(export).accepted == []
    columns = MAPPING + "tables: {interactions: {columns: {outcome: result}}}\n"
    assert findings(csv_place, export, mapping=columns) == [
        "interactions.outcome: 'not_interested' in 13 rows before; none has it now",
        "interactions.outcome: read from 'outcome' before, from 'result' now; 106 of 120 rows change",
    ]
    units = MAPPING + "tables: {projects: {units: {value: 1000}}}\n"
    assert findings(csv_place, export, mapping=units) == [
        "projects.value: read from 'value' before, from 'value' times 1000 now; 40 of 40 rows change"
    ]
    assert findings(csv_place, export, mapping="name: mine\nbased_on: contract\n") == [
        "closes.outcomes: not_interested ended leads before, in 13 rows of interactions; the mapping names it no more"
    ]
    again = changed(renamed("interactions", "outcome", "Result"), company())
    named = MAPPING + "tables: {interactions: {columns: {outcome: Result}}}\n"
    assert csv_place.extract(again, mapping=named).accepted == []


@pytest.mark.parametrize("kind", ["csv to duckdb", "csv to postgres"])
def test_a_warehouse_of_an_earlier_version_goes_on_and_is_compared(kind: str, server: Server, tmp_path: Path) -> None:
    """It says nothing of how columns were read; a rerun adds that and nothing else."""
    place = Place(kind, tmp_path, server)
    place.extract(company())
    drop = (
        "alter table raw.extraction drop column delivered",
        "alter table raw.extraction drop column accepted",
        # dlt's own memory of the columns
        "delete from raw._dlt_version",
    )
    if kind.endswith("duckdb"):
        with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
            for statement in drop:
                connection.execute(statement)
    else:
        server.do(*drop)
    assert findings(place, changed(renamed("interactions", "outcome", "Result"))) == [
        "interactions.outcome: a value in 27 of 120 rows before; interactions.csv has no such column any more; columns "
        "that are not read: Result"
    ]
    before, number = place.stored(), place.load_number()
    assert place.extract(company()).accepted == []
    assert place.stored()[:-1] == before[:-1]
    assert place.load_number() == number == 1
    assert findings(place, changed(kept("interactions", 60))) == [
        "interactions: 120 rows before; interactions.csv lacks 60 of them, and has 60 rows in all"
    ]


@pytest.mark.parametrize(
    ("described", "lost", "kinds"), [(False, 30, []), (True, 30, ["values_lost"]), (False, 40, [])]
)
def test_plans_of_an_earlier_version_are_not_missed(described: bool, lost: int, kinds: list[str]) -> None:
    """It stored the close date of an open deal as its end, and those of a source without a status alike."""
    closed = ColumnEvidence(
        column="closed_at", before="'closed_at'" if described else None, now="'closed_at'",
        stored=40, again=40, lost=lost, found=40 - lost, fresh=40 - lost,
    )  # fmt: skip
    table = TableEvidence(
        table="projects", place="projects.csv", described=described, stored=50, read=50, present=50, again=50,
        changed=50, columns=(closed,),
    )  # fmt: skip
    assert [each.kind for each in compare(Evidence(tables=(table,), reopened={}))] == kinds


@pytest.fixture
def live(server: Server, tmp_path: Path) -> tuple[Server, Callable[..., ExtractionReport]]:
    """Return a database that is read by watermarks, and its extraction."""
    server.do(
        "create table leads (lead_id text, source text, created_at timestamptz, assigned_to text, zip_code text, "
        "updated_at timestamptz)",
        "create table interactions (interaction_id text, lead_id text, type text, direction text, occurred_at "
        "timestamptz)",
        "create table appointments (appointment_id text, lead_id text, booked_at timestamptz, scheduled_at "
        "timestamptz)",
        "create table projects (project_id text, lead_id text, status text, proposed_at timestamptz, closed_at "
        "timestamptz)",
        "insert into leads select 'L' || n, 'web', t, 'rep', '10115', t from (select n, timestamptz '2024-03-01 08:00' "
        "+ n * interval '1 day' as t from generate_series(1, 600) n) as days",
    )
    mapping = tmp_path / "mine.yml"
    mapping.write_text("name: mine\nbased_on: contract\ntables: {leads: {watermark: updated_at}}\n")
    call = partial(
        extract, models=DECLARATIONS, source=server.address, warehouse=f"duckdb:{tmp_path / 'warehouse.duckdb'}",
        state_dir=tmp_path / "state", as_of=None, present=PRESENT, mapping=str(mapping),
    )  # fmt: skip
    assert call().tables["leads"].rows_read == 600
    return server, call


def test_a_table_read_by_its_watermark_is_compared_in_all(
    live: tuple[Server, Callable[..., ExtractionReport]],
) -> None:
    """Its columns, its rows and its values are counted in the database, whatever rows are read again."""
    server, call = live

    def stops(change: str, undo: str) -> list[str]:
        server.do(change)
        with pytest.raises(SourceContractError) as stopped:
            call()
        server.do(undo)
        return [line for line in str(stopped.value).splitlines() if line.startswith("- ")]

    assert stops("alter table leads rename zip_code to zip", "alter table leads rename zip to zip_code") == [
        "- leads.zip_code: a value in 600 of 600 rows before, read from 'zip_code'; public.leads has no such column "
        "any more; columns that are not read: zip."
    ]
    assert stops("update leads set zip_code = null", "update leads set zip_code = '10115'") == [
        "- leads.zip_code: a value in 600 of 600 rows before; public.leads lacks 600 of these values, in rows that are "
        "not read again."
    ]
    server.do("create table gone as select * from leads where lead_id < 'L2'")
    assert stops("delete from leads where lead_id < 'L2'", "insert into leads select * from gone") == [
        "- leads: 600 rows before; public.leads lacks 111 of them, and has 489 rows in all."
    ]
    # fewer than one row in twenty; whoever changes leads has stopped to write the column
    assert stops(
        "update leads set updated_at = '2025-12-01', zip_code = null where lead_id like 'L51%' or lead_id like 'L52%'",
        "update leads set updated_at = created_at, zip_code = '10115'",
    ) == [
        "- leads.zip_code: a value in 23 rows that were read again before; 22 of them have none now, and no row that "
        "is new or has changed has one."
    ]


def test_rows_that_never_fitted_hide_none_that_vanish(
    live: tuple[Server, Callable[..., ExtractionReport]],
) -> None:
    """The database counts them, and the warehouse has none of them."""
    server, call = live
    server.do(
        "insert into leads select 'X' || n, 'web', null, 'rep', '10115', timestamptz '2025-11-01 08:00' "
        "from generate_series(1, 200) n"
    )
    assert call().tables["leads"].rows_rejected == 200
    server.do("delete from leads where lead_id < 'L2'")
    with pytest.raises(SourceContractError, match=r"leads: 600 rows before; public.leads lacks 111 of them"):
        call()


def test_a_table_with_a_watermark_is_read_whole_where_that_is_needed(
    live: tuple[Server, Callable[..., ExtractionReport]], tmp_path: Path
) -> None:
    """Where the mapping reads it otherwise, after rows have come whose watermark lies far back, and for own keys."""
    server, call = live
    assert call().tables["leads"].rows_read < 20
    # rows that do not fit are read again each time, and are not taken for others
    server.do(
        "insert into leads select 'X' || n, 'web', null, 'rep', '10115', timestamptz '2025-11-01 08:00' "
        "from generate_series(1, 50) n"
    )
    for _ in range(2):
        assert call().tables["leads"].rows_rejected == 50
    mapping = tmp_path / "mine.yml"
    mapping.write_text(
        "name: mine\nbased_on: contract\ntables: {leads: {watermark: updated_at, columns: {assigned_to: source}}}\n"
    )
    with pytest.raises(SourceContractError, match="from 'source' now; 600 of 600 rows change"):
        call()
    mapping.write_text("name: mine\nbased_on: contract\ntables: {leads: {watermark: updated_at}}\n")
    server.do(
        "insert into leads select 'N' || n, 'web', timestamptz '2024-03-01', 'rep', '10115', timestamptz '2024-03-01' "
        "from generate_series(1, 99) n union all "
        "select 'ada@example.org', 'web', timestamptz '2024-03-01', 'rep', '10115', timestamptz '2024-03-01'"
    )
    late = call()
    assert (late.tables["leads"].rows_new, late.tables["leads"].rows_total) == (0, 600)
    assert (
        "leads: 100 rows have come to public.leads with a watermark before the last one that was loaded. The next "
        "extraction reads the table whole."
    ) in late.assumptions
    assert call().tables["leads"].rows_total == 700
    server.do("delete from leads where lead_id like 'X%'")
    call()
    assert call().tables["leads"].rows_read < 20
    # rows that are not read again would keep a word that means nothing now
    mapping.write_text("name: mine\nbased_on: contract\nmissing: [nobody]\ntables: {leads: {watermark: updated_at}}\n")
    assert call().tables["leads"].rows_read == 700
    assert call(source_ids=True).source_ids == 1


def test_a_watermark_that_is_ahead_hides_no_rows(live: tuple[Server, Callable[..., ExtractionReport]]) -> None:
    """It counts to the clock of the extraction that has read it."""
    server, call = live
    server.do("update leads set updated_at = '2026-01-01 20:00' where lead_id = 'L1'")
    call()
    server.do("update leads set updated_at = '2026-01-01 00:30', zip_code = '20095' where lead_id = 'L2'")
    assert call().tables["leads"].rows_changed == 1


def test_a_row_whose_key_is_derived_from_a_plan_may_be_moved(tmp_path: Path) -> None:
    """It has another key then, and is not missed; rows that are gone, and all that get other keys, are."""
    place = Place("csv to duckdb", tmp_path, None)
    mapping = MAPPING + "tables: {appointments: {id: {derive_from: [lead_id, scheduled_at]}}}\n"
    export = changed(lambda export: [row.pop("appointment_id") for row in export["appointments"]])
    place.extract(export, mapping=mapping)
    move = partial(rewritten, "appointments", "scheduled_at")
    moved = changed(move(shifted(24), rows=15), export)
    for _ in range(2):
        assert place.extract(moved, mapping=mapping).accepted == []
    assert findings(place, changed(kept("appointments", 30), moved), mapping=mapping) == [
        "appointments: 40 rows before; appointments.csv lacks 10 of them, and has 30 rows in all"
    ]
    assert findings(place, changed(move(shifted(1)), moved), mapping=mapping) == [
        "appointments: 40 rows before; appointments.csv lacks 40 of them, and has 40 rows in all"
    ]


def test_what_was_accepted_of_an_extraction_that_is_killed_is_said_by_the_one_that_completes_it(
    csv_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = changed(renamed("interactions", "outcome", "Result"))
    accept = accepted(csv_place, lost)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(DuckdbTarget, "write_marker", killed)
        with pytest.raises(KeyboardInterrupt):
            csv_place.extract(lost, accept=accept)
    (sentence,) = csv_place.extract(lost).accepted
    assert sentence.startswith("interactions.outcome: a value in 27 of 120 rows before")
    assert csv_place.extract(lost).accepted == []


def test_a_table_read_by_its_watermark_may_change_row_by_row(
    live: tuple[Server, Callable[..., ExtractionReport]],
) -> None:
    """All three rows of a day lose their owner, and that is honest; so it goes on day by day."""
    server, call = live
    for day in (6, 7):
        server.do(
            f"update leads set updated_at = '2025-12-0{day}', assigned_to = null where lead_id in "
            f"('L{day}', 'L{day}1', 'L{day}2')",
            f"delete from leads where lead_id = 'L{day}3'",
        )
        report = call()
        assert (report.accepted, report.tables["leads"].rows_changed) == ([], 3)


@pytest.mark.parametrize("seed", [3])
def test_night_after_night_of_a_simulated_crm_passes(seed: int, tmp_path: Path, run: Extract) -> None:
    """With late rows, rows that are changed, moved and deleted, and a rep who leaves."""
    simulate(tmp_path / "simulated", leads=120, months=6, seed=seed, progress=False)
    last = datetime(2025, 7, 1, tzinfo=UTC)
    first = last - timedelta(days=60)
    changes = 0
    for days in (38, 39, 41, 48, 60):
        night = first + timedelta(days=days)
        report = run(export_of_night(tmp_path / "simulated", tmp_path / "crm", night, first))
        assert report.accepted == []
        changes += report.tables["interactions"].rows_changed + report.tables["leads"].rows_changed
    assert changes > 0


@pytest.mark.skipif(not CASE.exists(), reason="../shared/cases is not there")
def test_case_04_an_optional_column_is_renamed_between_exports(run: Extract, query: Query) -> None:
    run(CASE / "monday")
    outcomes = query("select interaction_id, outcome from raw.interactions order by 1")
    with pytest.raises(SourceContractError, match=r"interactions\.outcome: a value in 6 of 12 rows before"):
        run(CASE / "tuesday")
    assert query("select interaction_id, outcome from raw.interactions order by 1") == outcomes
