"""What the values of a source mean: times, numbers, words, missing values and contact data.

The functions on one value are asked over a scratch DuckDB; whole extractions show what becomes of rows.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import phonenumbers
import pytest

from store.source.checking.numbers import number_text
from store.source.contract import SourceContractError
from store.source.mapping.spellings import NumberForm
from store.source.values.functions import create_functions, spelling
from store.source.values.texts import folded, is_contact
from tests.store.source.exports import PRESENT, Extract, Query, Rows, write_csv

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duckdb import DuckDBPyConnection

    from tests.store.source.server import Server

Export = dict[str, Rows]

CASES = Path(__file__).parents[4] / "shared" / "cases"
MOMENT = "2024-07-01 09:30:00+00"
END_OF_DAY = timedelta(days=1) - timedelta(microseconds=1)


@pytest.fixture(scope="module")
def scratch() -> Iterator[DuckDBPyConnection]:
    """Return a scratch database with the functions on one value."""
    with duckdb.connect() as connection:
        connection.execute("set global TimeZone = 'UTC'")
        create_functions(connection)
        yield connection


def ask(scratch: DuckDBPyConnection, expression: str, value: str | None) -> Any:
    """Return an expression over the text ``v``."""
    return scratch.execute(f"select {expression} from (select ?::varchar as v)", [value]).fetchall()[0][0]


def mapped(folder: Path, text: str) -> Path:
    """Write a mapping that refines the contract into a source folder."""
    (folder / "mapping.yml").write_text(f"name: mine\nbased_on: contract\n{text}\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2024-07-01T09:30:00Z", MOMENT),
        ("2024-07-01 09:30:00 -0500", "2024-07-01 14:30:00+00"),
        ("2024-07-01 09:30:00-05", "2024-07-01 14:30:00+00"),
        ("2024-07-01T09:30:00.000+0000", MOMENT),
        ("2024-07-01T09:30:00+0530", "2024-07-01 04:00:00+00"),
        ("20240701T0930Z", MOMENT),
        ("20240701T093000.25+0530", "2024-07-01 04:00:00.25+00"),
        ("2024-07-01T09Z", "2024-07-01 09:00:00+00"),
        ("2024-07-01t09:30z", MOMENT),
        # of all names of zones this one has one meaning, and databases write it
        ("2024-07-01 09:30:00 UTC", MOMENT),
        ("20240701 0930 UTC", MOMENT),
        ("2024-07-01T09:30:00,5Z", "2024-07-01 09:30:00.5+00"),
        ("2024-07-01T09:30:00.123456789Z", "2024-07-01 09:30:00.123456+00"),
        ("2024-07-01 09:30", MOMENT),
        ("20240701", "2024-07-01 00:00:00+00"),
        # dashes that are no hyphens, marks of direction and full-width digits, as spreadsheets and mail write them
        ("2024\u201107\u201101\u00a009:30", MOMENT),
        ("\u200e2024-07-01T09:30:00\u221205", "2024-07-01 14:30:00+00"),
        ("\uff12024-07-01", "2024-07-01 00:00:00+00"),
        # out of range, and refused as such
        ("infinity", "infinity"),
        ("0044-03-15 BC", "-infinity"),
        ("12024-07-01", "infinity"),
        *(
            (text, None)
            for text in (
                "2024-07-01 09:30:00 BST", "2024-07-01 09:30:00 Europe/Berlin", "2024-07-01 09:30:00 EUTC",
                "2024-07-01 09:30:00 GMT+1", "2024-07-01 09:30:00 PM",
                "2024-07-01 09:30:00+25", "2024-07-01 09:30:00+15",
                "2024/07/01 09:30", "2024-7-1", "24-07-01", "01.07.2024", "2024-W27-1", "2024-183", "2024-07",
                "2024-07-01T24:00:00Z", "2024-07-01T09:30:60Z", "2024-02-30", "20240230", "1719826200", "1719826200000",
                "45474.39", "epoch", "today", "09:30:00+02", "2024-0701",
            )
        ),
    ],
)  # fmt: skip
def test_a_time_is_iso_8601_and_nothing_else(text: str, meant: str | None, scratch: DuckDBPyConnection) -> None:
    """Its usual spellings, whatever the signs; no names of zones, which mean another hour elsewhere."""
    said = spelling(["iso"], "UTC", "plain(cleaned(v))")
    assert ask(scratch, f"({said.value})::varchar", text) == meant


@pytest.mark.parametrize(
    ("formats", "text", "wall", "is_date"),
    [
        (["%d/%m/%Y %H:%M", "%d/%m/%Y"], "01/07/2024 09:30", "2024-07-01 09:30:00", False),
        (["%d/%m/%Y %H:%M", "%d/%m/%Y"], "1/7/2024", "2024-07-01 00:00:00", True),
        (["%d/%m/%Y %H:%M", "%d/%m/%Y"], "2024-07-01", None, None),
        (["%d/%m/%Y"], "31/02/2024", None, True),
        (["%m/%d/%Y %I:%M %p"], "7/1/2024 9:30 PM", "2024-07-01 21:30:00", False),
        (["%Y-%m-%d %H:%M:%S UTC"], "2024-07-01 09:30:00 UTC", "2024-07-01 09:30:00", False),
        (["iso", "excel_days"], "45474.395833333336", "2024-07-01 09:30:00", False),
        (["iso", "excel_days"], "2024-07-01 09:30", "2024-07-01 09:30:00", False),
        (["excel_days"], "45474", "2024-07-01 00:00:00", True),
    ],
)
def test_a_mapping_states_the_format_of_a_time(
    formats: list[str], text: str, wall: str | None, is_date: bool | None, scratch: DuckDBPyConnection
) -> None:
    """The first that fits; what the clock on the wall shows is a time of the zone."""
    said = spelling(formats, "Europe/Berlin", "v")
    assert ask(scratch, f"({said.wall})::varchar", text) == wall
    if wall is not None:
        assert ask(scratch, said.is_date, text) is is_date
        zoned = ask(scratch, f"({said.value})::varchar", text)
        assert zoned == ask(scratch, f"timezone('Europe/Berlin', timestamp '{wall}')::varchar", text)


@pytest.mark.parametrize(
    ("name", "text", "meant"),
    [
        ("epoch_s", "1719826200", MOMENT),
        ("epoch_s", "1719826200.5", "2024-07-01 09:30:00.5+00"),
        ("epoch_ms", "1719826200000.0", MOMENT),
        ("epoch_ms", "99999999999999999999", None),
        ("epoch_s", "soon", None),
        ("epoch_s", "20240701093000", None),
        ("epoch_s", "9999999999999", None),
        ("%d/%m/%Y %H:%M %z", "01/07/2024 11:30 +0200", MOMENT),
    ],
)
def test_a_format_that_names_the_moment_needs_no_zone(
    name: str, text: str, meant: str | None, scratch: DuckDBPyConnection
) -> None:
    """Seconds since 1970 and offsets are the same everywhere."""
    assert ask(scratch, f"({spelling([name], 'Asia/Tokyo', 'v').value})::varchar", text) == meant


GERMAN = NumberForm(decimal=",", thousands=".", strip=["€", "EUR", "%"])


@pytest.mark.parametrize(
    ("form", "text", "meant"),
    [
        *((None, text, text) for text in ("1250.50", "-5", "+5", ".5", "5.", "1e3", "2.5E+05")),
        (None, "\uff11\uff12", "12"),
        (None, "\u22125", "-5"),
        (None, "12\u00b2", None),
        (None, "5\u00bd", None),
        *(
            (None, text, None)
            for text in ("1_000", "0x10", "Infinity", "NaN", "1,5", "1 250", "1\u202f250", "$5", "12%", "1e999", "five")
        ),
        (GERMAN, "1.250,50 €", "1250.50"),
        (GERMAN, "EUR 250.000", "250000"),
        (GERMAN, "eur 250", "250"),
        (GERMAN, "12,5 %", "12.5"),
        (GERMAN, "-5,00", "-5.00"),
        (GERMAN, "1,250.50", None),
        (GERMAN, "1.25", None),
        (GERMAN, "1.2500", None),
        (NumberForm(thousands=",", strip=["$"]), "$1,250.50", "1250.50"),
        (NumberForm(strip=["Rs"]), "Rs.500", "500"),
        (NumberForm(strip=["$"]), "$.50", ".50"),
        (NumberForm(strip=["CHF", ".-"]), "CHF 250.-", "250"),
        (NumberForm(strip=["per month", "EUR"]), "-EUR 250 per month", "-250"),
        (NumberForm(decimal=",", strip=["€", "h"]), "12€50", None),
        (NumberForm(decimal=",", strip=["€", "h"]), "5h30", None),
        (NumberForm(thousands=",", strip=["$"]), "-$1,234,567", "-1234567"),
        (NumberForm(thousands=","), "12,34,567.5", "1234567.5"),
        (NumberForm(thousands=" ", decimal=","), "1\u202f250\u00a0000,5", "1250000.5"),
        (NumberForm(thousands="'", strip=["CHF"]), "CHF 1\u2019250.50", "1250.50"),
        (NumberForm(decimal=","), "250.000", None),
    ],
)
def test_a_number_is_read_as_the_mapping_says(
    form: NumberForm | None, text: str, meant: str | None, scratch: DuckDBPyConnection
) -> None:
    """A decimal point, unless it is said to be another sign; groups of digits only where they are said to be there."""
    assert ask(scratch, number_text(form, "plain(cleaned(v))"), text) == meant


@pytest.mark.parametrize(
    "text",
    [
        "+33\u00a06\u00a012\u00a034\u00a056\u00a078", "+31\u202f6 12345678", "06\u202f12 34 56 78",
        "+49\u2011151\u20112345\u20116789", "\u202a+1 555 010 9999\u202c", "tel:+31612345678", "+1 (555) 010-9999 x12",
        "+1 (555) 010-9999 ext. 12", "(555) 010\u20139999", "https://example.org/?email=ada%40example.org&x=1",
        "mailto:ada@example.org", "\u0438\u0432\u0430\u043d@\u043f\u0440\u0438\u043c\u0435\u0440.\u0440\u0444",
        "ada\uff20example.org", "ada@example\u200b.org", "ada (at) example.org", "ada [at] example [dot] org",
        "+\u0663\u0663 \u0666 \u0661\u0662 \u0663\u0664 \u0665\u0666 \u0667\u0668", "\uff0b33612345678",
        "+33 6 12 34 56 78 / +33 6 12 34 56 79", "061 234 5678; 062 345 6789", "06 12 34 56 78 (mobile)",
        "Tel. 0612345678", "ada@localhost", "Ada <ada@example.org>", "'+31612345678", "\u201c0612345678\u201d",
        "ada@example\u3002org", "Mobil 0151 23456789 abends", "whatsapp:+31612345678", "sms:+15550109999;ext=5",
        "call 5550109999", "Phone: 555-0100", "Ada Lovelace, 06 12 34 56 78", "+33 (0)6 12 34 56 78",
        "Fax 030/1234567",
        "0049 151 23456789", "\uff11\uff12\uff13-456-7890",
        "1 (800) 555-0199", "8(495)123-45-67", "030 / 12 34 56", "0 532 123 45 67", "06 - 12345678", "+ 49 30 123456",
        "+49 (0) 30 / 12 34 56-78", "T\u00e9l. 0612345678", "Telefonnr. 5550109999", "Phone number: 5550109999",
        "Cep: 5321234567", "Tlf 12 34 56 78", '="0612345678"', "https://wa.me/31612345678", "callto:5550109999",
        "\uff0b\uff14\uff19\u30fc\uff11\uff15\uff11\u30fc\uff12\uff13\uff14\uff15\uff16\uff17\uff18",
        "+49%20151%2023456789", "+49&nbsp;151&nbsp;23456789", "ada&#64;example.org", "ada@ example.org",
        "ada @example.org", "ada AT example DOT org", "ada@[192.168.1.1]",
    ],
)  # fmt: skip
def test_contact_data_gets_a_pseudonym_however_it_is_written(text: str, scratch: DuckDBPyConnection) -> None:
    """The signs of other keyboards, several numbers, and numbers within a text."""
    cleaned = ask(scratch, "cleaned(v)", text)
    expected = "pseudonym-" + hashlib.sha256(cleaned.encode()).hexdigest()[:12]
    assert ask(scratch, "contact_free(cleaned(v))", text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "1001", "0000012345", "34617ab6-3ff1-3b5a-59ca-f550f4616943", "12345678-3ff1-3b5a-59ca-f550f4616943",
        "ORD-2024-000123", "INV 2024/00123", "Ref. 012 345 678", "Auftrag 0649123824", "L-0123-456789",
        "rep-0612345678",
        "DE89 3704 0044 0532 0130 00", "978-3-16-148410-0", "2024-07-01", "2024-07-01 09:30:00", "20240701", "00745",
        "12345-6789", "1,250,000.00", "1.250.000 €", "1\u202f250\u202f000", "v1.2.3", "192.168.100.100", "Q3 2024 (12)",
        "19\u201312\u20132026", "call on 01.07.2024 10:00", "Campaign 2024-07 #08123456", "@acme", "3 @ 5.99 EUR",
        "Leads @ 2024-01", "50% off", "Order (2024) 12-34", "12 (2024) 1234-56",
        "01.07.2024 - 31.07.2024", "2024-07-01 / 2024-07-31", "1 000 000 - 2 000 000", "look at this dot here",
        "Order 555-010-9999", "Contract no. 0123 456 789", "Zo\u00eb",
        # cannot be told from an id: a limit that the document states
        "5550109999", "31612345678",
    ],
)  # fmt: skip
def test_ids_dates_and_prices_stay_as_they_are(text: str, scratch: DuckDBPyConnection) -> None:
    """A row of digits is a telephone number only if it is written like one."""
    assert ask(scratch, "contact_free(cleaned(v))", text) == text


def test_telephone_numbers_of_all_countries() -> None:
    """With the sign of the country each is found, in a text too; without it those with a leading zero or brackets."""
    national, total = 0, 0
    kinds = (phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.MOBILE)
    formats = phonenumbers.PhoneNumberFormat
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in kinds:
            if (number := phonenumbers.example_number_for_type(region, kind)) is None:
                continue
            for form in (formats.INTERNATIONAL, formats.RFC3966, formats.E164):
                written = phonenumbers.format_number(number, form)
                assert is_contact(written), written
                assert is_contact(f"Ada Lovelace {written} (office)"), written
            total += 1
            national += is_contact(phonenumbers.format_number(number, formats.NATIONAL))
    assert national / total > 0.5


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("\u0130ptal", "IPTAL"), ("\u0130NTERNET", "internet"), ("A\u00c7IK", "a\u00e7\u0131k"),
        ("\u039a\u0397\u03a0\u039f\u03a3", "\u03ba\u03ae\u03c0\u03bf\u03c2".replace("\u03ae", "\u03b7")),
        ("STRA\u1e9eE", "strasse"), ("Stra\u00dfe", "STRASSE"), ("Zoe\u0308", "ZO\u00cb"),
        ("\uff37\uff2f\uff2e", "won"),
        ("no\u2011show", "No-Show"), ("not\u00a0interested", "Not Interested"), ("\ufb01eld", "FIELD"),
    ],
)  # fmt: skip
def test_words_are_compared_by_case_folding(left: str, right: str, scratch: DuckDBPyConnection) -> None:
    """Of all scripts, in Python as in SQL."""
    assert folded(left) == folded(right) == ask(scratch, "folded(cleaned(v))", left)


def test_spellings_of_one_key_join(export: Export, tmp_path: Path, run: Extract, query: Query) -> None:
    """Composed or not, and whatever nobody sees at the ends."""
    export["leads"][0]["lead_id"] = "Zoe\u0308\u00a0"
    for table in ("interactions", "appointments", "projects"):
        for row in export[table]:
            if row["lead_id"] == "L1":
                row["lead_id"] = "\ufeff\u200bZo\u00eb\u200b"
    run(write_csv(tmp_path / "crm", export))
    assert query("select reason from raw.rejects") == []
    assert query("select distinct lead_id from raw.interactions order by 1") == [("L2",), ("Zo\u00eb",)]


def test_a_word_that_says_that_there_is_none_is_none(
    export: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    """In any column; counted, and not where the value map knows the word."""
    words = ["NULL", "n/a", "-", "--", "None", "nan", "#N/A", "(empty)", r"\N", "N/A ", "rep-1", "Nullmeier"]
    lead = export["leads"][1]
    export["leads"] = [
        export["leads"][0] | {"assigned_to": "rep-2"},
        *(lead | {"lead_id": f"L{2 + place}", "assigned_to": word} for place, word in enumerate(words)),
    ]
    export["leads"][1] |= {"property_value": "NULL"}
    export["interactions"][0] |= {"direction": "none", "responded_at": "N/A"}
    export["projects"][0] |= {"cost": "-"}
    source = mapped(
        write_csv(tmp_path / "crm", export), "tables: {interactions: {values: {direction: {none: internal}}}}"
    )
    report = run(source)
    assert query("select assigned_to, count(*) from raw.leads group by 1 order by 1 nulls first") == [
        (None, 10), ("Nullmeier", 1), ("rep-1", 1), ("rep-2", 1),
    ]  # fmt: skip
    assert query("select direction, responded_at from raw.interactions where interaction_id = 'I1'") == [
        ("internal", None)
    ]
    assert query("select reason from raw.rejects") == []
    assert report.tables["leads"].missing_words == {"assigned_to": 10, "property_value": 1}
    assert report.tables["interactions"].missing_words == {"responded_at": 1}
    assert report.tables["leads"].pseudonymised == 0
    assert "leads.assigned_to says in 10 values that there is none (missing): they are left out." in report.assumptions
    # a mapping names others
    report = run(mapped(source, "missing: [nobody, NULLMEIER]"), warehouse=f"duckdb:{tmp_path / 'other.duckdb'}")
    assert report.tables["leads"].missing_words == {"assigned_to": 1}
    assert (
        "The mapping's list of missing has 1 word that no row has: 'nobody'. Check the spelling." in report.assumptions
    )
    assert report.tables["leads"].rejects_by_reason == {"unparsable_number": 1}


def test_a_value_map_knows_contact_data_and_brings_none_in(
    export: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    """A word is looked up as the source has it; what it is mapped to is no contact either."""
    lead = export["leads"][0]
    export["leads"] = [
        lead | {"assigned_to": "Ada@example.org"},
        *(lead | {"lead_id": f"L{place + 2}", "assigned_to": word} for place, word in enumerate(("R1", "b@x.org"))),
    ]
    export["changes"] = [
        {"change_id": f"C{place}", "lead_id": "L1", "column_name": "assigned_to", "value": word,
         "changed_at": f"2024-03-0{place + 1}T12:00:00Z"}
        for place, word in enumerate(("b@x.org", "ADA@EXAMPLE.ORG"))
    ]  # fmt: skip
    folder = mapped(
        write_csv(tmp_path / "crm", export),
        "tables: {leads: {values: {assigned_to: {ada@example.org: Ada, R1: r1@example.org}}}}",
    )
    report = run(folder)

    def pseudonym(text: str) -> str:
        return f"pseudonym-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    assert query("select assigned_to from raw.leads order by lead_id") == [
        ("Ada",), (pseudonym("r1@example.org"),), (pseudonym("b@x.org"),)
    ]  # fmt: skip
    assert query("select value from raw.changes where origin = 'source' order by change_id") == [
        (pseudonym("b@x.org"),), ("Ada",)
    ]  # fmt: skip
    assert (report.tables["leads"].pseudonymised, report.tables["changes"].pseudonymised) == (1, 1)


@pytest.mark.parametrize(
    ("factor", "number", "meant"),
    [
        ("0.0000365", "1000000000", "36500.00"),
        ("1000000", "1.23456789", "1234567.89"),
        ("1000000000000", "12.345", "12345000000000.00"),
        ("0.01", "1250.5", "12.51"),
    ],
)
def test_a_unit_is_exact(
    factor: str, number: str, meant: str, export: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    """Whatever the digits of the factor and of the number are."""
    export["projects"][0]["value"] = number
    run(mapped(write_csv(tmp_path / "crm", export), f"tables: {{projects: {{units: {{value: {factor}}}}}}}"))
    assert query("select value::varchar from raw.projects") == [(meant,)]


def test_a_missing_source_of_a_lead_is_unknown(export: Export, tmp_path: Path, run: Extract, query: Query) -> None:
    """Its row serves all the same; that all sources go missing is a loss that stops the next extraction."""
    lead = export["leads"][1]
    export["leads"] += [lead | {"lead_id": f"N{number}", "source": "web"} for number in range(20)]
    export["leads"][1] |= {"source": ""}
    folder = write_csv(tmp_path / "crm", export)
    report = run(folder)
    assert query("select source from raw.leads where lead_id = 'L2'") == [("unknown",)]
    assert report.tables["leads"].defaults == {"source": 1}
    assert "leads.source has no value in 1 rows: they count as unknown." in report.assumptions
    for row in export["leads"]:
        row["source"] = "N/A"
    with pytest.raises(
        SourceContractError, match=r"leads\.source: a value in 21 rows .* 21 of them are words that stand"
    ):
        run(write_csv(tmp_path / "crm", export))


def test_reps_that_were_stored_as_null_are_lost_by_name(
    export: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    """A home of an earlier version holds them as reps: that they become missing is asked for first."""
    lead = export["leads"][1]
    export["leads"] = [
        export["leads"][0] | {"assigned_to": "rep-1"},
        *(lead | {"lead_id": f"N{number}", "assigned_to": "NULL" if number < 15 else "rep-1"} for number in range(60)),
    ]
    folder = mapped(write_csv(tmp_path / "crm", export), "missing: []")
    run(folder)
    assert query("select count(*) from raw.leads where assigned_to = 'NULL'") == [(15,)]
    (folder / "mapping.yml").unlink()
    with pytest.raises(SourceContractError) as caught:
        run(folder)
    assert (
        "leads.assigned_to: a value in 61 rows that were read again before; 15 of them are words that stand for a "
        "missing value now, such as N/A (missing, in the mapping)."
    ) in str(caught.value)


def test_a_key_that_a_home_holds_in_the_clear_is_asked_for_once(
    export: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    """An earlier version did not see that it is a telephone number: the lead would be there twice."""
    clear = "+33\u00a06\u00a012\u00a034\u00a056\u00a078"
    folder = write_csv(tmp_path / "crm", export)
    run(folder)
    with duckdb.connect(str(tmp_path / "home" / "warehouse.duckdb")) as connection:
        connection.execute("update raw.leads set lead_id = ? where lead_id = 'L2'", [clear])
    for row in [*export["leads"], *export["interactions"]]:
        row["lead_id"] = row["lead_id"].replace("L2", clear)
    with pytest.raises(SourceContractError) as caught:
        run(write_csv(tmp_path / "crm", export))
    assert "leads.lead_id: 1 row of leads.csv are stored under a key that is read differently now" in str(caught.value)
    accept = str(caught.value).split("LEADLINE_ACCEPT_EXTRACTION=")[1][:12]
    assert len(run(folder, accept=accept).accepted) == 1
    assert run(folder).accepted == []
    assert query("select count(*) from raw.leads where lead_id like 'pseudonym-%'") == [(1,)]


def test_a_closing_outcome_is_one_in_any_case(export: Export, tmp_path: Path, run: Extract, query: Query) -> None:
    """What is stored stays as it was delivered; the spellings that end a lead are those of the data."""
    export["interactions"][0] |= {"outcome": "Not_Interested"}
    export["interactions"][1] |= {"outcome": "NOT_INTERESTED"}
    export["interactions"][2] |= {"outcome": "reached"}
    folder = mapped(write_csv(tmp_path / "crm", export), "closing_outcomes: [not_interested]")
    spelled = ["not_interested", "NOT_INTERESTED", "Not_Interested"]
    run(folder)
    assert query("select outcome from raw.interactions where interaction_id = 'I1'") == [("Not_Interested",)]
    assert [json.loads(row[0]) for row in query("select closing_outcomes from raw.extraction")] == [spelled]
    assert not any(table.rows_changed for table in run(folder).tables.values())


def test_times_of_a_zone(export: Export, tmp_path: Path, run: Extract, query: Query) -> None:
    """A date ends with its day there; an hour that the clock skipped or showed twice is counted."""
    export["leads"][0] |= {"created_at": "01/03/2024 09:30"}
    export["leads"][1] |= {"created_at": "02/03/2024"}
    first = export["interactions"][0]
    export["interactions"] = [
        first | {"interaction_id": f"I{place}", "occurred_at": text}
        for place, text in enumerate(
            ["2024-07-01 09:30", "2024-07-01T09:30Z", "2024-03-31 02:30", "2024-10-27 02:30", "2024-03-31"]
        )
    ]
    folder = mapped(
        write_csv(tmp_path / "crm", export),
        'time_zone: Europe/Berlin\ntables: {leads: {times: {created_at: ["%d/%m/%Y %H:%M", "%d/%m/%Y"]}}, '
        "projects: {times: {proposed_at: {zone: UTC}}}}",
    )
    report = run(folder)
    assert query("select lead_id, created_at from raw.leads order by 1") == [
        ("L1", datetime(2024, 3, 1, 8, 30, tzinfo=UTC)),
        ("L2", datetime(2024, 3, 1, 23, tzinfo=UTC) + END_OF_DAY),
    ]
    assert [row[0] for row in query("select occurred_at from raw.interactions order by interaction_id")] == [
        datetime(2024, 7, 1, 7, 30, tzinfo=UTC),
        datetime(2024, 7, 1, 9, 30, tzinfo=UTC),
        datetime(2024, 3, 31, 1, 30, tzinfo=UTC),
        datetime(2024, 10, 27, 1, 30, tzinfo=UTC),
        # the day of the change has 23 hours
        datetime(2024, 3, 31, 22, tzinfo=UTC) - timedelta(microseconds=1),
    ]
    assert query("select * from raw.rejects") == []
    for sentence in (
        "interactions.occurred_at names no time zone in 4 values: they are times of Europe/Berlin. 1 of them lie in an "
        "hour that the clock skipped, and are read as if it had not. 1 of them lie in an hour that the clock showed "
        "twice: the later one counts.",
        "leads.created_at has no time of day in 1 of 2 values: these count from the end of their day (Europe/Berlin).",
    ):
        assert sentence in report.assumptions
    assert not any(table.rows_changed + table.rows_new for table in run(folder).tables.values())


@pytest.mark.parametrize("form", ["parquet", "postgres"])
def test_typed_times_of_a_zone(
    form: str, export: Export, tmp_path: Path, run: Extract, query: Query, server: Server
) -> None:
    """A timestamp without a zone, a date and a number of milliseconds; a timestamp with a zone names its moment."""
    folder = write_csv(tmp_path / "crm", export)
    columns = (
        "'A' || i as appointment_id, 'L1' as lead_id, timestamp '2024-07-01 09:30:00' as booked_at, "
        "timestamptz '2024-07-01 09:30:00+00' as scheduled_at, 'completed' as status, date '2024-07-02' as ended_at"
    )
    place = str(folder)
    if form == "parquet":
        (folder / "appointments.csv").unlink()
        duckdb.sql(f"copy (select {columns} from range(2) r(i)) to '{folder / 'appointments.parquet'}'")
    else:
        server.do(
            f"create table appointments as select {columns} from generate_series(0, 1) as r(i)",
            *(
                f"create table {name} ({', '.join(f'{column} text' for column in rows[0])})"
                for name, rows in export.items()
                if name != "appointments"
            ),
            *(
                f"insert into {name} values ({', '.join(repr(str(value)) for value in row.values())})"
                for name, rows in export.items()
                if name != "appointments"
                for row in rows
            ),
        )
        place = server.address
    mapping = tmp_path / "mine.yml"
    mapping.write_text("name: mine\nbased_on: contract\ntime_zone: Europe/Berlin\n")
    run(place, mapping=str(mapping))
    assert query("select distinct booked_at, scheduled_at, ended_at from raw.appointments") == [
        (
            datetime(2024, 7, 1, 7, 30, tzinfo=UTC),
            datetime(2024, 7, 1, 9, 30, tzinfo=UTC),
            datetime(2024, 7, 2, 22, tzinfo=UTC) - timedelta(microseconds=1),
        )
    ]


def test_numbers_with_a_comma_are_read_by_the_mapping_or_not_at_all(
    export: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    """250.000 beside 1.250,50 is a quarter of a million, or nothing."""
    deal = export["projects"][0]
    export["projects"] = [
        deal | {"project_id": f"P{place}", "value": text}
        for place, text in enumerate(["1.250,50", "250.000", "99.5", "1.250.000"])
    ]
    folder = write_csv(tmp_path / "crm", export)
    run(folder)
    assert query("select key, reason, message from raw.rejects where key = 'P1'") == [
        (
            "P1",
            "ambiguous_number",
            "projects.csv, line 3, column value: expected a number that can be read in one way, as 2 others of the "
            'column have a decimal comma, found "250.000". State the signs in the mapping, such as numbers: '
            "{value: {decimal: ',', thousands: '.'}}, or {decimal: '.'} if it is a decimal point.",
        )
    ]
    assert query("select key, reason from raw.rejects where key <> 'P1' order by key") == [
        ("P0", "unparsable_number"), ("P3", "unparsable_number"),
    ]  # fmt: skip
    mapped(folder, "tables: {projects: {numbers: {value: {decimal: ',', thousands: '.'}}}}")
    run(folder)
    # what was loaded of P2 before stays
    assert [float(value) for (value,) in query("select value from raw.projects order by project_id")] == [
        1250.5, 250000.0, 99.5, 1250000.0,
    ]  # fmt: skip
    assert query("select key, reason from raw.rejects") == [("P2", "unparsable_number")]


def test_a_column_of_thousandths_is_said(export: Export, tmp_path: Path, run: Extract) -> None:
    """Nothing tells whether they are groups of digits: it is said how they were read."""
    deal = export["projects"][0]
    export["projects"] = [deal | {"project_id": f"P{place}", "value": f"{place + 1}50.000"} for place in range(3)]
    report = run(write_csv(tmp_path / "crm", export))
    assert (
        "projects.value has three digits after the point in each number with one (3): they are decimals. If they "
        "are groups of digits, say so in the mapping (numbers: {decimal: ',', thousands: '.'})."
    ) in report.assumptions


@pytest.mark.parametrize("text", ["03/01/2024", "01.02.2024 09:30", "2024-7-1", "1.250,50"])
def test_what_could_not_be_read_is_shown(text: str, scratch: DuckDBPyConnection) -> None:
    """A date is written like a telephone number, which a message must not hide."""
    assert ask(scratch, "shown_figure(v)", text) == text
    assert ask(scratch, "shown_figure(v)", "06 12 34 56 78").startswith("pseudonym-")
    assert ask(scratch, "shown_figure(v)", "+34 612 345 678").startswith("pseudonym-")
    assert ask(scratch, "shown_figure(v)", "ada@example.org").startswith("pseudonym-")


def test_flags_of_other_languages(export: Export, tmp_path: Path, run: Extract, query: Query) -> None:
    """Yes is yes; another word is rejected."""
    said = {"ja": True, "WAHR": True, "oui": True, "1.0": True, "nein": False, "0.0": False, "": False, "perhaps": None}
    export["interactions"] = [
        export["interactions"][0] | {"interaction_id": f"I {word}", "opened": word} for word in said
    ]
    mapping = "tables: {interactions: {columns: {opened_at: {flag: opened}}}}"
    run(mapped(write_csv(tmp_path / "crm", export), mapping))
    assert dict(query("select interaction_id, opened_at is not null from raw.interactions")) == {
        f"I {word}".strip(): is_set for word, is_set in said.items() if is_set is not None
    }
    assert query("select key, reason from raw.rejects") == [("I perhaps", "unknown_flag")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("time_zone: CEST", "expected a time zone of the IANA database such as Europe/Berlin or UTC, found CEST"),
        ("tables: {leads: {times: {created_at: '%d/%m'}}}", "does not name year, month and day"),
        ("tables: {leads: {times: {created_at: '%d/%m/%Y %Z'}}}", "%Z is not one of"),
        ("tables: {leads: {times: {created_at: '%d/%m/%Y %I:%M'}}}", "takes %p"),
        ("tables: {leads: {times: {source: iso}}}", "tables.leads.times.source: expected one of created_at"),
        ("tables: {projects: {numbers: {value: {thousands: .}}}}", "expected two signs"),
        (
            "tables: {leads: {times: {updated_at: epoch_s}, watermark: updated_at}}",
            "expected a time that the database knows as one",
        ),
    ],
)
def test_a_format_that_cannot_be_is_refused(
    text: str, words: str, export: Export, tmp_path: Path, run: Extract
) -> None:
    """With the place in the mapping."""
    with pytest.raises(SourceContractError) as caught:
        run(mapped(write_csv(tmp_path / "crm", export), text))
    assert words in str(caught.value)


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not at ../shared/cases")
def test_cases_of_values(run: Extract, query: Query, tmp_path: Path) -> None:
    """Contact data, times and words of other scripts, as they were reported."""
    present = {"present": PRESENT}
    run(CASES / "12_contact_data_not_in_ascii" / "crm", **present)
    assert query("select assigned_to from raw.leads where assigned_to not like 'pseudonym-%'") == [("5550109999",)]
    for case in ("10_turkish_and_greek_capitals", "11_zone_names_taken_for_iso"):
        home = tmp_path / case
        options = {"warehouse": f"duckdb:{home}.duckdb", "state_dir": home, **present}
        if case.startswith("11"):
            # most of its times are none
            with pytest.raises(
                SourceContractError, match=r"interactions: 26 of 35 rows .* do not fit: 25 unp"
            ) as caught:
                run(CASES / case / "crm", **options)
            options["accept"] = re.findall(r"LEADLINE_ACCEPT_EXTRACTION=(\w+)", str(caught.value))[0]
        run(CASES / case / "crm", **options)
    with duckdb.connect(str(tmp_path / "10_turkish_and_greek_capitals.duckdb"), read_only=True) as connection:
        found = connection.execute("select lead_id, source from raw.leads where lead_id < 'L3' order by 1").fetchall()
        assert found == [("L0", "web"), ("L1", "fair"), ("L2", "fair")]
        found = connection.execute("select status from raw.projects order by project_id").fetchall()
        assert found == [("cancelled",), ("open",)]
    with duckdb.connect(str(tmp_path / "11_zone_names_taken_for_iso.duckdb"), read_only=True) as connection:
        accepted = {key for (key,) in connection.execute("select interaction_id from raw.interactions").fetchall()}
    with (CASES / "11_zone_names_taken_for_iso" / "crm" / "interactions.csv").open(encoding="utf-8") as file:
        times = {row["interaction_id"]: row["occurred_at"] for row in csv.DictReader(file)}
    assert {times[key] for key in accepted} == {
        "2024-07-01T09:30:00.000+0000", "2024-07-01T09:30:00+0530", "20240701", "2024-07-01T09:30:00,5Z",
        "2024-07-01T09:30:00.123456789Z", "2024-07-01T09:30Z", "2024-07-01T09Z", "2024-07-01 09:30:00 -0500",
        "2024-07-01 09:30:00 UTC",
    }  # fmt: skip


def test_columns_of_other_types_of_postgresql(
    export: Export, tmp_path: Path, run: Extract, query: Query, server: Server
) -> None:
    """Their text is read by the same rules: a value, or a row set aside with its reason."""
    server.do(
        "drop type if exists stage",
        "create type stage as enum ('New', 'Won')",
        "create table leads (lead_id uuid, source text[], created_at timestamptz, assigned_to jsonb, "
        "property_value money, zip_code char(8), status stage, updated_at timestamp)",
        "insert into leads select ('00000000-0000-0000-0000-00000000000' || i)::uuid, '{web,ads}', "
        "case i when 1 then 'infinity' when 2 then '0044-03-15 BC' else '2024-03-01 08:00+01' end::timestamptz, "
        """'{"id": 7}', 1250.5, '00745', 'Won', '2024-03-02 09:30' from generate_series(0, 3) as r(i)""",
        "update leads set created_at = null where lead_id::text like '%3'",
        "create table interactions (interaction_id bigint, lead_id uuid, type text, direction text, "
        "occurred_at timetz)",
        "insert into interactions select 1, lead_id, 'call', 'outbound', '09:30+02' from leads limit 1",
    )
    (mapping := tmp_path / "mine.yml").write_text(
        "name: mine\nbased_on: contract\ntables:\n"
        '  leads: {numbers: {property_value: {thousands: ",", strip: [$]}}}\n'
        "  appointments: {absent: true}\n  projects: {absent: true}\n"
    )
    run(server.address, mapping=str(mapping))
    assert query("select * exclude (row_hash, extracted_at, load_number) from raw.leads") == [
        (
            "00000000-0000-0000-0000-000000000000", "{web,ads}", datetime(2024, 3, 1, 7, tzinfo=UTC), '{"id": 7}',
            1250.5, "00745", "Won", datetime(2024, 3, 2, 9, 30, tzinfo=UTC),
        )
    ]  # fmt: skip
    assert query("select right(key, 1), reason, value from raw.rejects order by 1, 2") == [
        ("1", "time_out_of_range", "infinity"), ("1", "unparsable_time", "09:30:00+02"),
        ("2", "time_out_of_range", "0044-03-15 00:00:00+00 BC"), ("3", "missing_required", None),
    ]  # fmt: skip


def test_columns_of_other_types_of_parquet(export: Export, tmp_path: Path, run: Extract, query: Query) -> None:
    """Decimals, booleans, binary texts, nanoseconds and numbers that are none."""
    folder = write_csv(tmp_path / "crm", export)
    (folder / "leads.csv").unlink()
    duckdb.sql(
        "copy (select 'L' || i as lead_id, 'web' as source, timestamp_ns '2024-03-01 08:00:00.123456' as "
        "created_at, true as assigned_to, case when i = 1 then 'nan'::double else 1250.5 end as property_value, "
        f"'00745'::blob as zip_code, 7::decimal(9,3) as status from range(1, 3) r(i)) to '{folder / 'leads.parquet'}'"
    )
    run(folder)
    assert query("select * exclude (updated_at, row_hash, extracted_at, load_number) from raw.leads order by 1") == [
        ("L1", "web", datetime(2024, 3, 1, 8, 0, 0, 123456, UTC), "true", None, "00745", "7.000"),
        ("L2", "web", datetime(2024, 3, 1, 8, 0, 0, 123456, UTC), "true", 1250.5, "00745", "7.000"),
    ]
