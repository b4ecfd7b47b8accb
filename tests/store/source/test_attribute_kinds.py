"""Attributes: the kinds of columns, their canonical texts, and the columns that `auto` takes."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import duckdb
import pytest

from store.source.attributes import choosing
from store.source.checking.attribute_texts import canonical, text_of
from store.source.suggesting.fit import choose, name_of, options_of
from store.source.suggesting.kinds import kind_of
from store.source.values.functions import create_functions
from tests.store.source.exports import write_csv

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duckdb import DuckDBPyConnection


@pytest.fixture(scope="module")
def scratch() -> Iterator[DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("set global TimeZone = 'UTC'")
        create_functions(connection)
        yield connection


DAY = "T00:00:00.000000Z"

COLUMNS = [
    ("number", {"1.200 €": "1200.0", "950 €": "950.0", "12.500 €": "12500.0"}),
    ("number", {"£1,200.50": "1200.5", "£300": "300.0"}),
    ("number", {"EUR 1.200": "1200.0", "EUR 950": "950.0", "EUR 3.400": "3400.0", "EUR 80": "80.0"}),
    ("number", {"12,5 %": "12.5", "7 %": "7.0", "100 %": "100.0"}),
    ("number", {"1.234,5": "1234.5", "22,75": "22.75", "3": "3.0"}),
    ("number", {"52.520": "52.52", "13.405": "13.405", "48.137": "48.137"}),
    ("number", {"9.9 kW": "9.9", "12 kW": "12.0"}),
    ("number", {"120 m²": "120.0", "95 m²": "95.0"}),
    ("number", {"45300": "45300.0", "45301": "45301.0", "46000": "46000.0"}),
    ("number", {"2019": "2019.0", "1e3": "1000.0", "-4": "-4.0"}),
    ("flag", {"ja": "true", "Nein": "false", "JA": "true"}),
    ("flag", {"Oui": "true", "non": "false"}),
    ("flag", {"1": "true", "0": "false"}),
    ("flag", {"x": "true", "n/a": None, "0": "false"}),
    ("date", {"31.01.2026": f"2026-01-31{DAY}", "01.12.2025": f"2025-12-01{DAY}"}),
    ("date", {"1/31/2026": f"2026-01-31{DAY}", "12/1/2025": f"2025-12-01{DAY}"}),
    ("date", {"2026-01-31T10:00:00+02:00": "2026-01-31T08:00:00.000000Z", "2026-02-01": f"2026-02-01{DAY}"}),
    ("date", {"20240131": f"2024-01-31{DAY}", "20231201": f"2023-12-01{DAY}"}),
    ("choices", {"Solar; Öl": "Solar; Öl", "Öl;Gas ": "Gas; Öl", "Öl": "Öl", "Gas; Öl; Gas": "Gas; Öl"}),
    ("choices", {"a@b.de|x": "pseudonym-363a175f6578; x", "x|y": "x; y", "y|x": "x; y"}),
    ("category", {"50-100": "50-100", "1-49": "1-49"}),
    ("category", {"01067": "01067", "80331": "80331"}),
    ("category", {"C-17": "C-17", "C-18": "C-18"}),
    ("category", {"x": "x", "y": "y"}),
    ("category", {"Yes, definitely": "Yes, definitely", "No, never": "No, never"}),
]


@pytest.mark.parametrize("garbage", [0.0, 0.01])
@pytest.mark.parametrize(
    ("kind", "texts"), COLUMNS, ids=lambda each: each if isinstance(each, str) else next(iter(each))
)
def test_a_column_has_a_kind_and_its_values_one_text(scratch, kind, texts, garbage):
    draw = random.Random(1)
    values = ["?? k.A." if draw.random() < garbage else draw.choice(list(texts)) for _ in range(1_000)]
    scratch.execute("create or replace temp table t as select unnest(?::varchar[]) as v", [values])
    found = kind_of(scratch, "t", "v")
    assert found.kind == kind
    if kind in ("number", "flag", "date"):
        assert found.unreadable == values.count("?? k.A.")
        assert found.examples == (("?? k.A.",) if garbage else ())
    read = canonical(found.kind, text_of("v"), at=found.at, numbers=found.numbers, formats=found.formats)
    for text, meant in texts.items():
        assert scratch.execute(f"select {read} from (select ?::varchar as v)", [text]).fetchall() == [(meant,)]


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        ("7::bigint", "number", "7.0"),
        ("1.5::decimal(10,2)", "number", "1.5"),
        ("true", "flag", "true"),
        ("date '2026-01-01'", "date", f"2026-01-01{DAY}"),
        ("timestamptz '2026-01-01 10:00+01'", "date", "2026-01-01T09:00:00.000000Z"),
        ("[1, 2]", None, None),
        ("'\\xAA'::blob", None, None),
        ("repeat('some words ', 20)", None, None),
        ("'text ' || i", None, None),
        ("null", None, None),
    ],
)
def test_a_typed_column_is_read_by_its_type(scratch, value, kind, text):
    relation = "(select * from range(30) as r(i))"
    found = kind_of(scratch, relation, value)
    assert found.kind == kind
    assert found.kind is not None or found.why
    if found.kind is not None:
        read = canonical(found.kind, text_of(value), formats=found.formats)
        assert scratch.execute(f"select distinct {read} from {relation}").fetchall() == [(text,)]


def test_infinite_far_and_long_values_have_no_text(scratch):
    far = [
        ("number", "1e99"),
        ("number", "inf"),
        ("date", "infinity"),
        ("date", "12000-01-01"),
        ("category", "x" * 241),
    ]
    for kind, text in far:
        expected = "1e+99" if text == "1e99" else None
        assert scratch.execute(f"select {canonical(kind, 'v')} from (select ?::varchar as v)", [text]).fetchall() == [
            (expected,)
        ]


FIRST = ("Anna", "Peter", "Maria", "Jürgen", "Sophie", "Lukas", "Emma", "Paul", "Léa", "Carlos", "Inês", "Tom")
LAST = ("Müller", "Schmidt", "Weber", "Fischer", "Wagner", "Becker", "Koch", "Richter", "Klein", "Wolf", "Braun")


@pytest.fixture(scope="module")
def wide(scratch) -> dict[str, str]:
    """Create a wide table, and return its columns."""
    draw = random.Random(3)
    makers = {
        "Lead-Nr.": lambda i: str(10_000 + i), "Vorname": lambda i: draw.choice(FIRST),
        "Name": lambda i: draw.choice(LAST), "Inhaber": lambda i: f"{draw.choice(FIRST)} {draw.choice(LAST)}",
        "Kontaktweg": lambda i: f"x{i}@b.de" if i % 10 == 0 else "Formular",
        "Telefonnummer": lambda i: f"0171 {draw.randint(1_000_000, 9_999_999)}",
        "Straße": lambda i: f"Weg {i % 50}", "Date of birth": lambda i: f"{1950 + i % 50}-01-01",
        "Dirección": lambda i: f"Calle {i % 9}", "E-Mail": lambda i: "a@b.de",
        "Bemerkung intern": lambda i: f"ruft an {i % 100}", "Contact name": lambda i: draw.choice(FIRST),
        "Tel2": lambda i: str(draw.randint(100_000, 999_999)), "DOB": lambda i: f"{1950 + i % 50}-01-01",
        "Rückruf": lambda i: str(draw.randint(10**9, 10**10)), "Note1": lambda i: draw.choice("ab"),
        "IBAN": lambda i: f"DE{i % 40}", "LinkedIn URL": lambda i: f"https://linkedin.com/in/{i % 100}",
        "Freitext": lambda i: "bla " * 20 + str(i), "leer": lambda i: None, "konstant": lambda i: "DE",
        "Session ID": lambda i: f"s{i % 500}", "Zeile": lambda i: str(i), "Firma": lambda i: f"Firma {i} GmbH",
        "Branche": lambda i: draw.choice(("Bau", "Handel", "IT", "Öffentliche Hand")),
        "Anzahl Mitarbeiter": lambda i: f"{draw.randint(1, 9_999):,}".replace(",", "."),
        "E-Mail Opt-in": lambda i: draw.choice(("ja", "nein")), "Campaign ID": lambda i: draw.choice("789"),
        "1. Frage: Eigentümer?": lambda i: draw.choice(("Ja", "Nein", "Ja, zur Hälfte", "weiß nicht")),
        "Interessen": lambda i: "; ".join(draw.sample(("Solar", "Wärmepumpe", "Wallbox"), draw.randint(1, 3))),
        "Product name": lambda i: draw.choice("AB"), "visit": lambda i: f"2025-{1 + i % 12:02d}-01",
        "visit_days": lambda i: str(draw.randint(0, 9)), "行业": lambda i: draw.choice("甲乙丙"),
        "Auto": lambda i: draw.choice(("ja", "nein")), "Landing Page": lambda i: draw.choice(("/a", "/b", "/c")),
    }  # fmt: skip
    rows = {label: [maker(i) for i in range(1_200)] for label, maker in makers.items()}
    rows["Branche 2"] = rows["Branche"]
    rows["employees"] = [each.replace(".", "") for each in rows["Anzahl Mitarbeiter"]]
    rows["Seite"] = rows["Landing Page"]
    columns = {label: f"c{place}" for place, label in enumerate(rows)}
    scratch.execute(
        "create table wide as select "
        + ", ".join(f"unnest($c{place}::varchar[]) as c{place}" for place in range(len(rows))),
        {f"c{place}": values for place, values in enumerate(rows.values())},
    )
    return columns


def test_fit_columns_are_chosen_and_others_left_with_a_reason(scratch, wide):
    chosen, left = choose(scratch, "wide", wide, ["Lead-Nr.", "Landing Page"])
    assert {each.name: (each.label, each.found.kind) for each in chosen} == {
        "branche": ("Branche", "category"),
        "anzahl_mitarbeiter": ("Anzahl Mitarbeiter", "number"),
        "e_mail_opt_in": ("E-Mail Opt-in", "flag"),
        "campaign_id": ("Campaign ID", "category"),
        "column_1_frage_eigentuemer": ("1. Frage: Eigentümer?", "category"),
        "interessen": ("Interessen", "choices"),
        "product_name": ("Product name", "category"),
        "visit": ("visit", "date"),
        "visit_days_2": ("visit_days", "number"),
        "column": ("行业", "category"),
        "auto_2": ("Auto", "flag"),
    }
    why = {each.label: each.why for each in left}
    assert set(why) == set(wide) - {each.label for each in chosen} - {"Lead-Nr.", "Landing Page"}
    assert why["Branche 2"] == "repeats Branche"
    assert why["employees"] == "repeats Anzahl Mitarbeiter"
    assert why["Seite"] == "repeats Landing Page"
    assert why["leer"] == "no value"
    assert why["konstant"] == "the same value in all rows"
    assert why["Kontaktweg"] == "contact data"
    assert why["Inhaber"] == "looks like names of people or companies"
    assert why["Zeile"] == "a number that counts the rows"


def test_options_have_distinct_short_identifiers(scratch):
    options = ("Wärmepumpe und Speicher mit langem Namen A", "Wärmepumpe und Speicher mit langem Namen B", "Öl")
    scratch.execute("create or replace temp table o as select unnest(?::varchar[]) as v", [["; ".join(options)] * 20])
    prefix = "attribute_" + "x" * 30 + "_has_"
    found = options_of(scratch, "o", "v", prefix)
    assert {option for option, _ in found} == set(options)
    assert len({identifier for _, identifier in found}) == 3
    assert max(len(prefix + identifier) for _, identifier in found) <= 63


@pytest.mark.parametrize(
    ("label", "used", "name"),
    [
        ("Größe (m²)", (), "groesse_m2"),
        ("Straße", (), "strasse"),
        ("  ", (), "column"),
        ("Café-Größe", ("cafe_groesse",), "cafe_groesse_2"),
        ("x" * 60, ("x" * 40,), "x" * 38 + "_2"),
        ("interests has solar", ("interests",), "interests_solar"),
    ],
)
def test_names_are_identifiers(label, used, name):
    assert name_of(label, used) == name


def test_auto_takes_what_is_fit(export, tmp_path, run, query, monkeypatch):
    """It takes no more columns in later nights than in the first."""
    monkeypatch.setattr(choosing, "MOST_ATTRIBUTES", 2)
    folder = tmp_path / "crm"
    leads = [
        {
            "lead_id": f"L{number}",
            "created_at": f"2024-03-{1 + number % 28:02d}T08:00:00Z",
            "source": "web",
            "Vorname": FIRST[number % 12],
            "Größe": str(number % 7),
            "Kanal": "ab"[number % 2],
            "Kanal 2": "ab"[number % 2],
            "Region": "abc"[number % 3],
        }
        for number in range(60)
    ]
    write_csv(folder, {**export, "leads": leads})
    (folder / "mapping.yml").write_text(
        "name: mine\nbased_on: contract\ntables:\n  leads:\n    attributes: auto\n", encoding="utf-8"
    )
    run(folder)
    stored = json.loads(query("select attributes from raw.extraction")[0][0])
    assert {each["name"]: (each["label"], each["kind"], each["known"]) for each in stored} == {
        "groesse": ("Größe", "number", "extraction"),
        "kanal": ("Kanal", "category", "extraction"),
    }
    assert {each.name for each in run(folder).attributes} == {"groesse", "kanal"}
