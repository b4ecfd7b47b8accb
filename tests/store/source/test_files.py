"""Files as exports really have them: under any name, in any usual form of text, and what is refused."""

from __future__ import annotations

import codecs
import gzip
import os
import re
import unicodedata
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.declared.registry import DECLARATIONS
from store.source.contract import TABLES as CONTRACT
from store.source.contract import SourceContractError
from store.source.mapping.binding import bind
from store.source.mapping.choosing import choose_mapping
from store.source.reading.sources import FolderSource
from store.source.sql import of_source
from tests.store.source.exports import Extract, Query, valid_export, write_csv

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.source.reading.tables import MalformedRow

NAMES = ("lead_id", "source")
ROWS = [("L1", "web"), ("L2", "ads")]
TEXT = "lead_id,source\nL1,web\nL2,ads\n"
NEIGHBOUR = "lead_id,source\nX,other\n"


def _read(folder: Path, table: str = "leads", columns: tuple[str, ...] = NAMES) -> tuple[list[Any], list[MalformedRow]]:
    """Return the rows of a table, and its malformed ones; the rows are numbered from 0."""
    source = FolderSource(folder)
    assert set(columns) <= set(source.columns()[table])
    with duckdb.connect() as connection:
        reading = source.read(connection, table="t", source_table=table, columns=columns, since=None)
        listed = ", ".join(map(of_source, columns))
        rows = connection.execute(f"select record, {listed} from source_t order by record").fetchall()
    assert [row[0] for row in rows] == list(range(len(rows)))
    return [row[1:] for row in rows], list(reading.malformed)


def _refusal(folder: Path, table: str = "leads", columns: tuple[str, ...] = NAMES) -> str:
    with pytest.raises(SourceContractError) as caught:
        _read(folder, table, columns)
    return str(caught.value)


def _parquet(path: Path, columns: dict[str, Any] | None = None, **options: Any) -> None:
    pq.write_table(pa.table(columns or {"lead_id": ["L1", "L2"], "source": ["web", "ads"]}), path, **options)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    "name",
    ["crm[1]", "crm*", "crm?", "**", "cr{1,m}", "[!a]", "it's", 'q"q', r"back\[1\]", "back\\", "ü", "50%20", " a b ",
     "source=other", "%s", "$HOME", "a\nb"],
)  # fmt: skip
def test_a_path_is_no_pattern(name: str, kind: str, tmp_path: Path) -> None:
    """The neighbours that a pattern would find are not read, and a folder's name gives no column its value."""
    for neighbour in ("crm1", "crm", "crmx", "back1", "a"):
        (tmp_path / neighbour).mkdir()
        (tmp_path / neighbour / "leads.csv").write_text(NEIGHBOUR)
        _parquet(tmp_path / neighbour / "leads.parquet", {"lead_id": ["X"], "source": ["other"]})
    (tmp_path / name).mkdir()
    if kind == "csv":
        (tmp_path / name / "leads[1]*.csv").write_text(TEXT)
        (tmp_path / name / "leads1.csv").write_text(NEIGHBOUR)
    else:
        _parquet(tmp_path / name / "leads[1]*.parquet")
    assert _read(tmp_path / name, "leads[1]*") == (ROWS, [])


def test_an_extraction_reads_and_stores_the_folder_that_it_was_given(
    tmp_path: Path, run: Extract, query: Query
) -> None:
    neighbour = valid_export() | {"leads": [valid_export()["leads"][0] | {"source": "other"}]}
    write_csv(tmp_path / "crm1", neighbour)
    report = run(write_csv(tmp_path / "crm[1]", valid_export()))
    assert report.source == str(tmp_path / "crm[1]")
    assert query("select lead_id, source from raw.leads order by 1") == ROWS


UTF16 = codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le")
FORMS: dict[str, tuple[str, bytes]] = {
    "UTF-16, little end first": ("leads.csv", UTF16),
    "UTF-16, big end first": ("leads.csv", codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be")),
    "UTF-16 without a mark": ("leads.csv", TEXT.encode("utf-16-le")),
    "UTF-16 without a mark, big end first": ("leads.csv", TEXT.encode("utf-16-be")),
    "UTF-32": ("leads.csv", codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le")),
    "UTF-8 with a mark": ("leads.csv", codecs.BOM_UTF8 + TEXT.encode()),
    "UTF-8 with two marks": ("leads.csv", codecs.BOM_UTF8 * 2 + TEXT.encode()),
    "sep=": ("leads.csv", b"sep=;\r\n" + TEXT.replace(",", ";").replace("\n", "\r\n").encode()),
    "sep= spelt out": ("leads.csv", b"sep=\\t\n" + TEXT.replace(",", "\t").encode()),
    "a mark, and sep= in quotes": ("leads.csv", codecs.BOM_UTF8 + b'"SEP=|"\n' + TEXT.replace(",", "|").encode()),
    "sep= in UTF-16": ("leads.csv", codecs.BOM_UTF16_LE + f"sep=\t\n{TEXT}".replace(",", "\t").encode("utf-16-le")),
    "line ends of a Mac": ("leads.csv", TEXT.replace("\n", "\r").encode()),
    "line ends of two kinds": ("leads.csv", TEXT.replace("\n", "\r\n", 1).encode()),
    "names with what nobody sees": ("leads.csv", TEXT.replace("source", "\ufeff source\u00a0\u200b\0").encode()),
    "a delimiter in the quotes of a name": ("leads.csv", b'lead_id;source;"a,b,c,d"\nL1;web;\nL2;ads;\n'),
    "a line break in a name": ("leads.csv", b'lead_id,source,"a\nb"\r\nL1,web,1\r\nL2,ads,2\r\n'),
    "tabs": ("leads.tsv", TEXT.replace(",", "\t").encode()),
    "gzip": ("leads.csv.gz", gzip.compress(TEXT.encode())),
    "gzip in two pieces": ("LEADS.CSV.GZ", gzip.compress(TEXT.encode()[:20]) + gzip.compress(TEXT.encode()[20:])),
    "gzip of UTF-16": ("leads.tsv.gz", gzip.compress(UTF16)),
    "Zstandard": ("leads.csv.zst", pa.compress(TEXT.encode(), codec="zstd", asbytes=True)),
    "a note of 3 MB": ("leads.csv", b'lead_id,note,source\nL1,"' + b"x" * 3_000_000 + b'",web\nL2,,ads\n'),
}


@pytest.mark.parametrize("form", FORMS)
def test_reads_text_in_every_usual_form(form: str, tmp_path: Path) -> None:
    name, content = FORMS[form]
    (tmp_path / name).write_bytes(content)
    assert _read(tmp_path) == (ROWS, [])


def test_a_line_is_counted_from_the_first_of_the_file(tmp_path: Path) -> None:
    """The line with the delimiter counts, a person would look it up so."""
    (tmp_path / "leads.csv").write_text(f"sep=,\n{TEXT}L3\n")
    rows, ((line, found),) = _read(tmp_path)[0], [(row.line, row.found) for row in _read(tmp_path)[1]]
    assert (rows, line, found) == (ROWS, 5, "fewer fields")


OPEN = "lead_id,source,note\n"
SURPLUS: dict[str, tuple[str, list[tuple[str, str | None]], list[int]]] = {
    "a delimiter without quotes": (f"{OPEN}L1,Web, Messe,\nL2,ads,\n", [("L2", "ads")], [2]),
    "a quote escaped by a backslash": (f'{OPEN}L2,ads,\nL1,"Web\\", Messe",\n', [("L2", "ads")], [3]),
    "a decimal comma beside quotes": (f'{OPEN}L2,ads,"a,b\nc"\nL1,1000,50,\n\nL3,1,,""\n', [("L2", "ads")], [3, 5]),
    "beside other malformed rows": (f"{OPEN}L1\nL2,ads,\nL1,Web, Messe,\nL3,a,b,c\n", [("L2", "ads")], [2, 4, 5]),
    "line ends of two kinds": (f"{OPEN[:-1]}\r\nL1,Web, Messe,\nL2,ads,\n", [("L2", "ads")], [2]),
    "all last values are empty": (f"{OPEN}L1,web,,\nL2,ads,,\n", ROWS, []),
    "the same with a shifted row": (f"{OPEN}L1,Web, Messe,,\nL2,ads,,\n", [("L2", "ads")], [2]),
    "a delimiter at the end of each line": ("lead_id,source,\nL1,web,\nL2,ads,\n", ROWS, []),
    "only the header has none": (f"{TEXT.replace('web', 'web,').replace('ads', 'ads,')}L3\n", ROWS, [4]),
    "a quote that is open at the end": (f'{OPEN}L2,ads,\nL1,web,"a, b', [("L2", "ads")], [3]),
    "commas in quotes": (f'{OPEN}L1,web,"a,b"\nL2,ads,",,,"\n', ROWS, []),
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("case", SURPLUS)
def test_an_empty_surplus_field_is_malformed_unless_each_row_has_it(case: str, encoding: str, tmp_path: Path) -> None:
    """It falls out at the end where a value is cut in two, and all values after it stand in the wrong column."""
    text, rows, lines = SURPLUS[case]
    (tmp_path / "leads.csv").write_bytes(text.encode(encoding))
    read, malformed = _read(tmp_path)
    assert (read, [row.line for row in malformed]) == (rows, lines)
    assert {row.found for row in malformed} <= {"more fields", "fewer fields", "a quote that is not closed"}


NO_TEXT: dict[str, tuple[str, bytes, str]] = {
    "Windows-1252": ("leads.csv", TEXT.encode() + b"L3,caf\xe9\n", "leads.csv, line 4: expected text in UTF-8"),
    "a name in Windows-1252": ("leads.csv", b"lead_id,source,gr\xf6\xdfe\n", "leads.csv, line 1: expected text"),
    "Windows-1252 in gzip": ("leads.csv.gz", gzip.compress(TEXT.encode() + b"L3,\xe9\n"), "leads.csv.gz, line 4"),
    "UTF-16 cut short": ("leads.csv", UTF16[:-1], "expected text in UTF-16-LE, as the file begins"),
    "gzip cut short": ("leads.csv.gz", gzip.compress(TEXT.encode())[:-9], "leads.csv.gz: expected a whole compressed"),
    "gzip in name alone": ("leads.csv.gz", TEXT.encode(), "leads.csv.gz: expected a whole compressed file"),
    "Zstandard cut short": ("leads.csv.zst", pa.compress(TEXT.encode(), "zstd", asbytes=True)[:-9], "a whole compr"),
    "a workbook": ("leads.csv", b"PK\x03\x04\x14\0", "expected CSV, found a ZIP archive, such as an Excel workbook"),
    "Parquet": ("leads.csv", b"PAR1\x15", "expected CSV, found a Parquet file"),
    "a page of the web": ("leads.csv", b"\n<!DOCTYPE html>\n<html>", "expected CSV, found a page of HTML or XML"),
    "a page behind a mark": ("leads.csv", codecs.BOM_UTF8 + b"<html>", "expected CSV, found a page of HTML or XML"),
    "JSON": ("leads.csv", b'[\n {"lead_id": "L1"}]', "leads.csv: expected CSV, found JSON"),
    "JSON lines": ("leads.csv", b'{"lead_id": "L1"}\n', "leads.csv: expected CSV, found JSON"),
    "an unknown delimiter": ("leads.csv", b"sep=;;\na;;b\n", "leads.csv, line 1: expected one character after sep="),
    "a quote in the header": ("leads.csv", b'lead_id,"source\nL1,web\nL2,ads\n',
                              "leads.csv, line 1: expected a closing quote in the header, found none"),
    "one that closes in a row": ("leads.csv", b'lead_id,"source\nL1,"web"\nL2,ads\n',
                                 "leads.csv, line 1: expected a closing quote in the header, found none"),
    "CSV as Parquet": ("leads.parquet", TEXT.encode(), "leads.parquet: expected a Parquet file, found"),
    "nothing": ("leads.parquet", b"", "leads.parquet: expected a Parquet file, found"),
    "a carriage return in a line": ("leads.csv", b"lead_id,source\nL1,w\reb\n", "leads.csv, line 2: expected CSV in "
                                    "UTF-8 with one kind of line ending, found another kind within the line"),
    "a quote that is opened far out": ("leads.csv", b'lead_id,source\nL1,"' + b"x" * 20_000 + b"\nL2,ads\n",
                                       "leads.csv, line 2: expected a closing quote"),
}  # fmt: skip


@pytest.mark.parametrize("form", NO_TEXT)
def test_what_cannot_be_read_for_certain_stops_with_its_place(form: str, tmp_path: Path) -> None:
    name, content, message = NO_TEXT[form]
    (tmp_path / name).write_bytes(content)
    assert message in _refusal(tmp_path)


def test_a_line_beyond_the_bound_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows behind a quote that is never closed would be in it."""
    monkeypatch.setattr("store.source.reading.rows.MAX_LINE_BYTES", 100_000)
    (tmp_path / "leads.csv").write_text(f"{TEXT}L3,{'x' * 100_001}\n{'L4,' + 'y' * 100_001}\n")
    assert "leads.csv, line 4: expected a line of at most 100,000 bytes, found a longer one" in _refusal(tmp_path)


def test_only_tables_that_are_asked_for_are_opened(tmp_path: Path, run: Extract) -> None:
    """What lies beside them matters when a table is missed: then it is named."""
    folder = write_csv(tmp_path / "crm", valid_export())
    (folder / "._leads.csv").write_bytes(b"\0\5\x16\7\xff")
    (folder / "Attachments.csv").touch()
    (folder / "Notes.csv").write_bytes(b"caf\xe9")
    (folder / "Custom.csv").write_text("Name,name\n")
    (folder / "twice.csv").write_text("a\n")
    (folder / "twice.parquet").write_text("no Parquet")
    (folder / "~$leads.xlsx").touch()
    (folder / "archive.csv").mkdir()
    (folder / "gone.csv").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe.csv")
    for name in ("leads (1)", "Leads_2", "leads-part2", "Copy of leads", "leads - Copy", "leads_old", "leads2024x"):
        (folder / f"{name}.csv").touch()
    (folder / "projects.csv").write_text(
        "project_id,lead_id,proposed_at,Is Deleted,deleted_at\n"
        "P1,L1,2024-03-06,true,2024-03-07\nP2,L1,2024-03-06,f,\nP3,L1,2024-03-06,,N/A\n"
    )
    report = run(folder)
    notes = [each for each in report.assumptions if "leads.csv" in each or "deleted" in each]
    assert notes == [
        "leads: leads.csv is read, and Copy of leads.csv, Leads_2.csv, leads (1).csv, leads - Copy.csv, "
        "leads-part2.csv beside it are not. If they have more of its rows, put the files, and nothing else, into a "
        "folder leads.csv (or leads.parquet).",
        "projects: 1 of 3 rows that were read are marked as deleted (Is Deleted of projects.csv), and count like all "
        "others. Leave them out by where in the mapping.",
        "projects: 1 of 3 rows that were read are marked as deleted (deleted_at of projects.csv), and count like all "
        "others. Leave them out by where in the mapping.",
    ]
    assert (report.tables["leads"].rows_new, report.tables["interactions"].rows_new) == (2, 3)
    (folder / "leads.csv").rename(folder / "leads.xlsx")
    with pytest.raises(SourceContractError, match="expected 'leads'") as caught:
        run(folder)
    assert "(not read: ._leads.csv, gone.csv (a link to nothing), leads.xlsx, pipe.csv (a pipe), ~$leads.xlsx)" in str(
        caught.value
    )


@pytest.mark.parametrize("name", ["Leads.csv", "LEADS.CSV", "leads.CSV"])
def test_a_file_is_found_whatever_the_case_of_its_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(TEXT)
    source = FolderSource(tmp_path)
    assert (_read(tmp_path), source.place("leads"), "lead" in source.columns()) == ((ROWS, []), name, False)


ROW = "L1,Ada Lovelace,ada@example.org,+31 6 12345678"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (ROW, "leads (without a header, it seems: 4 names that look like values)"),
        ("L1,Ada Lovelace,2024-03-01T08:00:00Z,web", "leads (without a header, it seems: 4 names that look like"),
        (f"{ROW},,web,web", "leads.csv: expected a header line with the names of the columns, found 7 names that look"),
        ("lead_id,created_at,Name,name", "expected each column once, in whatever case, found 'Name', 'name' more than"),
    ],
)
def test_a_file_without_a_header_shows_nobody(header: str, message: str, tmp_path: Path, run: Extract) -> None:
    folder = write_csv(tmp_path / "crm", valid_export())
    (folder / "leads.csv").write_text(f"{header}\n")
    with pytest.raises(SourceContractError) as caught:
        run(folder)
    assert message in str(caught.value)
    assert not re.search("Ada|Lovelace|example|12345678", str(caught.value))


@pytest.mark.parametrize(
    ("header", "named"),
    [("GRÖẞE", unicodedata.normalize("NFD", "größe")), (unicodedata.normalize("NFD", "Quelle für"), "quelle für"),
     ("lead\u00a0source", "lead source"), ("LEAD_SOURCE\u200b", "Lead_Source"), ("K\u0130ND", "kind")],
)  # fmt: skip
def test_a_column_is_found_however_its_name_is_written(header: str, named: str, tmp_path: Path, run: Extract) -> None:
    """A name that is spelt so comes before one that looks so; of two of these none is taken."""
    folder = write_csv(tmp_path / "crm", valid_export())
    text = (folder / "leads.csv").read_text()
    (folder / "mapping.yml").write_text(
        f"name: mine\nbased_on: contract\ntables: {{leads: {{columns: {{source: {named!r}}}}}}}\n", encoding="utf-8"
    )
    (folder / "leads.csv").write_text(text.replace("source", header).replace("lead_id", "LEAD_\u0130D"))
    source = FolderSource(folder)
    chosen = choose_mapping(argument=None, folder=folder, found=source.columns(), models=DECLARATIONS)
    bound = bind(chosen, CONTRACT["leads"], found=source.columns(), place="leads.csv")
    assert (bound.forms["lead_id"], bound.forms["source"]) == ("LEAD_\u0130D", header.strip("\u200b"))
    with pytest.raises(SourceContractError, match=r"table leads: expected one column .+, which look alike"):
        bind(chosen, CONTRACT["leads"], found={"leads": ["lead_id", "created_at", header, f"{header}\u00ad"]}, place="")


def test_of_names_that_differ_in_case_the_exact_one_counts(tmp_path: Path) -> None:
    (tmp_path / "Leads.csv").write_text(NEIGHBOUR)
    (tmp_path / "LEADS.csv").write_text(NEIGHBOUR)
    assert "expected one table 'leads', found LEADS and Leads, which differ only in case" in _refusal(tmp_path)
    (tmp_path / "leads.csv").write_text(TEXT)
    assert _read(tmp_path)[0] == ROWS
    (tmp_path / "leads.csv.gz").touch()
    assert "expected one file per table, found leads.csv and leads.csv.gz" in _refusal(tmp_path)


def test_a_mapping_may_name_a_table_in_another_case_or_form_of_unicode(tmp_path: Path, run: Extract) -> None:
    folder = write_csv(tmp_path / "crm", valid_export())
    (folder / "leads.csv").rename(folder / unicodedata.normalize("NFD", "Übersicht.csv"))
    (folder / "mapping.yml").write_text("name: mine\nbased_on: contract\ntables: {leads: {table: übersicht}}\n")
    assert run(folder).tables["leads"].rows_new == 2


RESERVED = ("record", "RECORD", "line", "check_no", "raw_source", "rowid", "file_row_number", "filename", "derived_key",
            "k", "select", "c0", "stated_created_at", 'a"b', "a.b", "a b", "it's", "%s", "*", "x" * 3000)  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_source_column_may_have_any_name(kind: str, tmp_path: Path) -> None:
    columns = tuple(name for name in RESERVED if name != "RECORD")
    values = [[f"{name[:9]} {row}" for name in columns] for row in range(3)]
    if kind == "csv":
        quoted_names = ",".join('"' + name.replace('"', '""') + '"' for name in columns)
        (tmp_path / "leads.csv").write_text("\n".join([quoted_names, *map(",".join, values)]) + "\n")
    else:
        arrays = list(zip(*values, strict=True))
        pq.write_table(pa.table([pa.array(each) for each in arrays], names=columns), tmp_path / "leads.parquet")
    assert _read(tmp_path, columns=columns) == ([tuple(row) for row in values], [])


@pytest.mark.parametrize("name", ["record", "Record", "derived_key", "rowid", "raw_source"])
def test_such_a_column_serves_as_key_and_for_a_derived_one(
    name: str, tmp_path: Path, run: Extract, query: Query
) -> None:
    export = {
        table: [{name if key == "lead_id" else key: value for key, value in row.items()} for row in rows]
        if table in ("leads", "projects")
        else rows
        for table, rows in valid_export().items()
    }
    for row in export["projects"]:
        del row["project_id"]
    folder = write_csv(tmp_path / "crm", export)
    (folder / "mapping.yml").write_text(
        f"name: mine\nbased_on: contract\ntables:\n  leads: {{columns: {{lead_id: {name}}}}}\n"
        f"  projects: {{id: {{derive_from: [{name}, proposed_at]}}, columns: {{lead_id: {name}}}}}\n"
    )
    run(folder)
    assert query("select lead_id, source from raw.leads order by 1") == ROWS
    ((lead, key),) = query("select lead_id, project_id from raw.projects")
    assert (lead, bool(re.fullmatch("[0-9a-f]{24}-1", key))) == ("L1", True)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_reads_a_folder_of_parts_in_the_order_of_their_names(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / f"leads.{kind}"
    folder.mkdir()
    for number, (lead, source) in enumerate(ROWS):
        part = folder / f"part-{number:05}.{kind}"
        if kind == "csv":
            part.write_text(
                f"source,lead_id\n{source},{lead}\n" if number else f"lead_id,source\nbroken\n{lead},{source}\n"
            )
        else:
            _parquet(part, {"lead_id": [lead], "source": [source]}, row_group_size=1)
    (folder / "_SUCCESS").touch()
    (folder / ".part-00000.crc").touch()
    rows, malformed = _read(tmp_path)
    assert (rows, [row.line for row in malformed]) == (ROWS, [2] if kind == "csv" else [])


def _beside(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).mkdir()


PARTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a job that has not finished": (_beside("_temporary"), "and nothing else, found _temporary"),
    "a table with versions": (_beside("_delta_log"), "and nothing else, found _delta_log"),
    "partitions": (_beside("year=2026"), "and nothing else, found year=2026"),
    "another kind of file": (lambda folder: (folder / "part-1.csv").touch(), "and nothing else, found part-1.csv"),
    "other columns": (
        lambda folder: _parquet(folder / "part-1.parquet", {"lead_id": ["L2"]}),
        "leads.parquet: expected the same columns in all parts, found lead_id, source in part-0.parquet and lead_id in",
    ),
    "another type": (
        lambda folder: _parquet(folder / "part-1.parquet", {"lead_id": [2], "source": ["ads"]}),
        "leads.parquet/part-1.parquet: expected lead_id to be VARCHAR as in part-0.parquet, found BIGINT",
    ),
    "no part": (lambda folder: (folder / "part-0.parquet").unlink(), "a folder with .parquet files, found none"),
}


@pytest.mark.parametrize("case", PARTS)
def test_a_folder_that_may_hold_other_rows_is_refused(case: str, tmp_path: Path) -> None:
    make, message = PARTS[case]
    (tmp_path / "leads.parquet").mkdir()
    _parquet(tmp_path / "leads.parquet" / "part-0.parquet")
    make(tmp_path / "leads.parquet")
    assert message in _refusal(tmp_path)


WIDE = pa.array([Decimal(10**40 + 1), Decimal(2)], pa.decimal256(60, 0))


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        (pa.array([b"L1", b"L2"], pa.binary()), None),
        (pa.array(["L1", "L2"]).dictionary_encode(), None),
        (pa.array(["L1", "L2"], pa.large_string()), None),
        (pa.array([{"a": 1}, None]), "found STRUCT"),
        (pa.array([["L1"], ["L2"]]), "found VARCHAR[]"),
        (WIDE, "found DECIMAL of more than 38 digits"),
        (pa.array([b"L1", b"\xff"], pa.binary()), "leads.parquet: expected a Parquet file that can be read"),
    ],
)
def test_a_value_of_parquet_is_one_text_or_number_or_refused(ids: Any, found: str | None, tmp_path: Path) -> None:
    """What is not read may be anything."""
    unread = pa.array([[{"a": b"\xff"}], None])
    _parquet(tmp_path / "leads.parquet", {"lead_id": ids, "source": ["web", "ads"], "unread": unread, "wide": WIDE})
    if found is None:
        assert _read(tmp_path) == (ROWS, [])
    else:
        assert found in _refusal(tmp_path)


def test_the_type_of_a_column_is_known_before_it_is_read(tmp_path: Path) -> None:
    """So a nested column is not read for its name alone."""
    _parquet(tmp_path / "leads.parquet", {"lead_id": ["L1"], "Is_Deleted": pa.array([{"a": 1}]), "deleted": [True]})
    (tmp_path / "projects.csv").write_text(TEXT)
    source = FolderSource(tmp_path)
    assert (len(source.columns()["leads"]), len(source.columns()["projects"])) == (3, 2)
    kinds = [source.type_of("Leads", name) for name in ("lead_id", "Is_Deleted", "deleted")]
    assert kinds == ["string", "struct<a: int64>", "bool"]
    assert source.type_of("projects", "source") == "string"


def test_a_broken_page_of_parquet_is_named_with_its_file(tmp_path: Path) -> None:
    _parquet(tmp_path / "leads.parquet")
    content = (tmp_path / "leads.parquet").read_bytes()
    (tmp_path / "leads.parquet").write_bytes(content[:4] + b"\xff" * 60 + content[64:])
    assert re.match(r"leads\.parquet: expected a Parquet file that can be read, found .+ Export", _refusal(tmp_path))


def test_a_file_that_changes_while_it_is_read_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "leads.csv"
    path.write_text(TEXT)
    source = FolderSource(tmp_path)
    assert source.columns()["leads"] == list(NAMES)
    path.write_text("source,lead_id\nweb,L1\n")
    with (
        duckdb.connect() as connection,
        pytest.raises(SourceContractError, match=r"leads\.csv: expected a file that does not change"),
    ):
        source.read(connection, table="t", source_table="leads", columns=NAMES, since=None)


@pytest.mark.parametrize("method", ["open", "iterdir"])
def test_what_may_not_be_read_is_named(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "leads.csv").write_text(TEXT)
    monkeypatch.setattr(Path, method, denied)
    assert re.search(
        r"expected a (file|folder) that can be read, found Permission denied\. Let the user", _refusal(tmp_path)
    )
