"""Each bad input of the table in docs/bad-inputs.md gives the error or reject that is promised there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

from models.declared.registry import DECLARATIONS
from store.source.checking.checks import REMEDIES
from store.source.contract import SourceContractError
from store.source.extract import extract
from tests.store.source.exports import PRESENT, Extract, Rows, valid_export, write_csv

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.source.report import ExtractionReport

DOCUMENT = Path(__file__).parents[3] / "docs" / "bad-inputs.md"
Export = dict[str, Rows]


@dataclass(frozen=True)
class Stop:
    """An input that stops the extraction: how it is made, and words of the error."""

    number: int
    make: Callable[[Path], None]
    words: tuple[str, ...]


@dataclass(frozen=True)
class Reject:
    """A row that is set aside: the changes that make it from the table's first row, or its whole line."""

    number: int
    code: str
    table: str
    changes: dict[str, str] | str

    def lines(self, first: dict[str, str]) -> list[str]:
        """Return the lines that the case adds to the file."""
        if isinstance(self.changes, str):
            return [self.changes]
        key = next(iter(first))
        row = first | {key: f"C{self.number}"} | self.changes
        # a conflict takes two
        rows = [first | {key: f"C{self.number}"}, row] if self.code == "conflicting_duplicate" else [row]
        return [",".join(one.values()) for one in rows]


def _text(table: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Change the bytes of one file of a valid export."""

    def make(folder: Path) -> None:
        write_csv(folder, valid_export())
        path = folder / f"{table}.csv"
        path.write_bytes(change(path.read_bytes()))

    return make


def _file(name: str, content: str | None) -> Callable[[Path], None]:
    """Write (or, with None, remove) a file of a valid export."""

    def make(folder: Path) -> None:
        write_csv(folder, valid_export())
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_text(content, encoding="utf-8")

    return make


def _nothing(folder: Path) -> None:
    assert not folder.exists()


def _twice(folder: Path) -> None:
    write_csv(folder, valid_export())
    duckdb.sql(f"copy (select 1 as lead_id) to '{folder / 'leads.parquet'}'")


MAPPING = "name: mine\nbased_on: contract\n"
STOPS = [
    Stop(1, _nothing, ("expected a folder", "found nothing")),
    Stop(2, _file("leads.csv", None), ("'leads'", "found appointments, interactions, projects")),
    Stop(3, _file("projects.csv", None), ("'projects'", "declare it absent")),
    Stop(4, _twice, ("leads.csv and leads.parquet", "Remove one")),
    Stop(
        5,
        _text("interactions", lambda text: text.replace(b"direction", b"way", 1)),
        ("contract misses interactions.direction", "interactions (interaction_id, lead_id, type, way", "mapping.yml"),
    ),
    Stop(
        6,
        _file("mapping.yml", f"{MAPPING}tables: {{leads: {{columns: {{zip_code: postcode}}}}}}\n"),
        ("expected the column postcode, which the mapping names", "found the columns lead_id"),
    ),
    Stop(7, _file("mapping.yml", f"{MAPPING}closing_outcome: [lost]\n"), ("closing_outcome", "unknown key")),
    Stop(8, _file("mapping.yml", "name: [\n"), ("mapping.yml", "line 2: expected YAML")),
    Stop(
        9,
        _file("mapping.yml", f"{MAPPING}tables: {{interactions: {{values: {{type: {{fax: telefax}}}}}}}}\n"),
        ("line 3, tables.interactions.values.type.fax", "found 'telefax'"),
    ),
    Stop(
        10,
        _text("leads", lambda text: text.replace(b"ads", "café".encode("latin-1"))),
        ("leads.csv", "UTF-8", "iconv"),
    ),
    Stop(11, _text("leads", lambda text: text.splitlines(keepends=True)[0]), ("expected leads", "found 0")),
    Stop(12, _text("leads", lambda _: b""), ("leads.csv, line 1", "expected a header line")),
    Stop(
        13,
        _text("leads", lambda text: text.replace(b"source", b"lead_id", 1)),
        ("'lead_id'", "more than once"),
    ),
    Stop(
        14,
        _text("interactions", lambda text: text.replace(b"call", b'"call', 1)),
        ("interactions.csv, line 2", "closing quote"),
    ),
]
REJECTS = [
    Reject(15, "malformed_row", "interactions", "C15,L1,call,outbound,2024-03-01T09:00:00Z,,,,more,fields"),
    Reject(16, "malformed_row", "interactions", "C16,L1"),
    Reject(17, "missing_required", "interactions", {"direction": " "}),
    Reject(18, "missing_required", "interactions", {"interaction_id": ""}),
    Reject(19, "unparsable_time", "interactions", {"occurred_at": "01/03/2024"}),
    Reject(20, "time_out_of_range", "interactions", {"opened_at": "0001-01-01"}),
    Reject(21, "time_in_future", "interactions", {"opened_at": "2026-01-02T00:00:01Z"}),
    Reject(22, "unparsable_number", "projects", {"value": "1.250.000"}),
    Reject(23, "negative_number", "projects", {"value": "-1"}),
    Reject(24, "unknown_type", "interactions", {"type": "telepathy"}),
    Reject(25, "unknown_direction", "interactions", {"direction": "sideways"}),
    Reject(26, "unknown_status", "projects", {"status": "maybe"}),
    Reject(27, "orphan", "interactions", {"lead_id": "C17"}),
    Reject(28, "conflicting_duplicate", "interactions", {"type": "sms"}),
    Reject(29, "end_before_start", "interactions", {"opened_at": "2024-03-01T08:59:59Z"}),
    Reject(30, "end_before_start", "appointments", {"ended_at": "2024-03-03T07:00:00Z"}),
    Reject(31, "end_before_start", "projects", {"closed_at": "2024-03-05"}),
    Reject(32, "closed_without_time", "projects", {"closed_at": ""}),
    Reject(33, "ambiguous_number", "projects", {"value": "250.000"}),
    Reject(34, "number_out_of_range", "projects", {"value": "4111111111111111"}),
]


@pytest.mark.parametrize("case", STOPS, ids=lambda case: str(case.number))
def test_input_stops_the_extraction(case: Stop, tmp_path: Path, run: Extract) -> None:
    """The error says what the document promises, and the warehouse is not touched."""
    folder = tmp_path / "crm"
    case.make(folder)
    with pytest.raises(SourceContractError) as caught:
        run(folder)
    for words in case.words:
        assert words in str(caught.value)
    assert not (tmp_path / "home" / "warehouse.duckdb").exists()


def _mostly_valid() -> dict[str, Rows]:
    """Return an export with so many valid rows that those of every case are the smaller part of each table."""
    export = valid_export()
    for name, rows in export.items():
        key = f"{name.removesuffix('s')}_id"
        if name != "leads":
            rows += [rows[-1] | {key: f"{rows[-1][key]}-{number}"} for number in range(len(REJECTS))]
    return export


@pytest.fixture(scope="module")
def rejected(tmp_path_factory: pytest.TempPathFactory) -> tuple[ExtractionReport, list[tuple[str, int, str, str]]]:
    """Return the report and the rejects of one export that holds the rows of every case."""
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("crm")
    export = _mostly_valid()
    write_csv(folder, export)
    for case in REJECTS:
        with (folder / f"{case.table}.csv").open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in case.lines(export[case.table][0]))
    warehouse = home / "warehouse.duckdb"
    report = extract(
        source=str(folder),
        warehouse=f"duckdb:{warehouse}",
        state_dir=home / "dlt",
        as_of=None,
        present=PRESENT,
        models=DECLARATIONS,
    )
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        rejects = connection.execute("select table_name, line, reason, message from raw.rejects").fetchall()
    return report, rejects


@pytest.mark.parametrize("case", REJECTS, ids=lambda case: f"{case.number}-{case.code}")
def test_row_is_set_aside_with_its_line_and_reason(
    case: Reject, rejected: tuple[ExtractionReport, list[tuple[str, int, str, str]]]
) -> None:
    """The reject names the line of the file, also behind malformed lines, and says what to do."""
    export = _mostly_valid()
    first = export[case.table][0]
    before = [
        line for other in REJECTS[: REJECTS.index(case)] if other.table == case.table for line in other.lines(first)
    ]
    start = 2 + len(export[case.table]) + len(before)
    lines = range(start, start + len(case.lines(first)))
    found = {(line, reason): message for table, line, reason, message in rejected[1] if table == case.table}
    for line in lines:
        message = found[line, case.code]
        assert re.match(rf"{case.table}\.csv, line {line}\b.*: expected .+, found .+\. .+\.$", message)
        assert message.endswith(REMEDIES[case.code] + ".")


def test_nothing_else_is_set_aside(rejected: tuple[ExtractionReport, list[tuple[str, int, str, str]]]) -> None:
    """The rows of the valid export stay, and every row read is accounted for."""
    report, rejects = rejected
    assert len(rejects) == sum(len(case.lines(valid_export()[case.table][0])) for case in REJECTS)
    for name, table in report.tables.items():
        assert table.rows_new == len(_mostly_valid().get(name, []))
        assert table.rows_read == table.rows_new + table.rows_rejected
        assert table.rows_rejected == sum(table.rejects_by_reason.values())


def test_the_document_and_the_cases_have_the_same_numbers_and_codes() -> None:
    """The table of bad inputs is what runs here, and names every reason that one row can give."""
    rows = re.findall(r"^\| (\d+) \|.*\| `(\w+)` \|$", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    cases = [(stop.number, "error") for stop in STOPS] + [(reject.number, reject.code) for reject in REJECTS]
    assert [(int(number), code) for number, code in rows] == cases
    assert len(cases) >= 20
    others = {
        "unknown_currency", "unknown_flag", "unknown_kind", "unknown_assigned", "rewritten_history", "far_from_others",
    }  # fmt: skip
    assert {code for _, code in cases} == {"error", *REMEDIES} - others
