"""Suggested mappings: what follows from a source's names and values, that the file is valid, and when there is none."""

from __future__ import annotations

import csv
import json
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from models.declared.registry import DECLARATIONS
from store.source.contract import TABLES, SourceContractError
from store.source.mapping.choosing import RECOGNISED, choose_mapping
from store.source.mapping.forms import SourceMapping, shipped_names
from store.source.suggesting.names import meaning, role_of
from store.source.suggesting.shapes import columns_by_table, shape_of, tables_of
from store.source.suggesting.suggest import measured, suggest, text_of
from store.source.suggesting.suggestion import Draft, NoMappingError
from store.source.suggesting.vocabulary import COLUMN_NAMES, WORDS
from store.source.suggesting.writing import flow
from tests.homes import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from tests.store.source.exports import Extract, Query

MAVEN = REPOSITORY.parent / "shared" / "data" / "maven_crm"

ATTRIBUTES_OF = {
    "deals": {"leads"},
    "hubspot_csv": {"leads", "projects"},
    "hubspot_fivetran": {"leads", "projects"},
    "pipedrive": set(),
    "salesforce_csv": {"leads"},
    "salesforce_fivetran": {"leads"},
}
"""By shipped mapping the contract tables of which all fit columns can be taken."""

FIRST = datetime(2024, 1, 1, 9)  # noqa: DTZ001 - texts of a source without a zone


def _write(path: Path, rows: Iterable[Mapping[str, Any]], delimiter: str = ",", encoding: str = "utf-8") -> None:
    listed = list(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, list(listed[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(listed)


def _measured(folder: Path) -> Callable[..., tuple[Draft, str, dict[str, Any]]]:
    """Measure a folder, and return what makes of answers a suggestion, its text, and the text as YAML."""
    found, shape = measured(str(folder), DECLARATIONS)

    def with_answers(**answers: str) -> tuple[Draft, str, dict[str, Any]]:
        suggestion = suggest(found, answers, shape)
        text = text_of(suggestion, str(folder), answers, DECLARATIONS, for_home=False)
        # as a mapping is read: every word is text
        return suggestion, text, yaml.load(text, yaml.BaseLoader)

    return with_answers


def test_a_deal_is_the_lead_if_nobody_else_has_a_creation_time(tmp_path: Path, run: Extract, query: Query) -> None:
    """The amount of a deal that is entered with its end is known only then; what is left is said, with the reason."""
    stages = {0: ("Won", 500), 1: ("Lost", 0), 2: ("Engaging", "")}
    _write(
        tmp_path / "crm" / "pipeline.csv",
        (
            {
                "opportunity_id": f"D{number}",
                "agent": f"rep {number % 3}",
                "account": f"Company {number % 10}",
                "deal_stage": stages[number % 3][0],
                "engage_date": "" if number == 5 else f"{FIRST + timedelta(days=number):%Y-%m-%d}",
                "close_date": "" if number % 3 == 2 else f"{FIRST + timedelta(days=number + 20):%Y-%m-%d}",
                "close_value": stages[number % 3][1],
            }
            for number in range(90)
        ),
    )
    _write(tmp_path / "crm" / "accounts.csv", ({"account": f"Company {n}", "sector": "steel"} for n in range(10)))

    suggestion, text, _ = _measured(tmp_path / "crm")()

    notes = "\n".join(suggestion.notes)
    assert "close_value: A leak: it is above 0 in 100 % of won, 0 % of lost, 0 % of open deals" in notes
    assert "1 row of 90 in pipeline have no engage_date" in notes
    assert "account: {column: account, type: category}  # sure: 10 words in 100 % of the rows" in text
    # every line says why
    assert not [line for line in text.splitlines() if re.match(r"\s+\S+: [^{\s#]", line) and "#" not in line]

    (tmp_path / "crm" / "mapping.yml").write_text(text, encoding="utf-8")
    run(tmp_path / "crm")
    assert query("select status, count(*), count(closed_at), sum(value) from raw.projects group by 1 order by 1") == [
        ("lost", 30, 30, 0),
        ("won", 30, 30, 15000),
    ]
    assert query("select count(*), min(created_at)::date::text, max(assigned_to) from raw.leads") == [
        (89, "2024-01-01", "rep 2")
    ]
    (closing,) = query("select closing_lead_statuses, closing_project_statuses from raw.extraction")
    lead_statuses, project_statuses = ({word.lower() for word in json.loads(words)} for words in closing)
    assert {"won", "lost"} <= lead_statuses
    assert "lost" in project_statuses


def test_a_german_export(tmp_path: Path, run: Extract, query: Query) -> None:
    """Semicolons, an older encoding, day-first dates, decimal commas, German names and words; no value of a person."""
    folder = tmp_path / "crm"
    people = [
        {
            "Kundennummer": f"K-{number}",
            "Nachname": "Müller",
            "E-Mail": f"kunde{number}@example.com",
            "Telefon": f"+49 30 {1000000 + number}",
            "PLZ": 10115 + number,
            "Angelegt am": f"{FIRST + timedelta(days=number):%d.%m.%Y %H:%M}",
            "Quelle": ("Messe", "Website")[number % 2],
            "Bemerkung": f"Möchte im Frühjahr noch einmal angerufen werden, am liebsten am Vormittag. {number}" * 2,
        }
        for number in range(60)
    ]
    ends = ("beauftragt", "abgelehnt", "Nachfassen")
    offers = [
        {
            "Angebotsnummer": f"A{number}",
            "Kunde": f"K-{number}",
            "Angebotsdatum": f"{FIRST + timedelta(days=number + 5):%d.%m.%Y}",
            "Status": ends[number % 3],
            "Betrag": f"{number + 1}.{number % 9}50,50 €",
            "Abschlussdatum": "" if number % 3 == 2 else f"{FIRST + timedelta(days=number + 30):%d.%m.%Y}",
        }
        for number in range(45)
    ]
    _write(folder / "Interessenten.csv", people, ";", "windows-1252")
    _write(folder / "Angebote.csv", offers, ";")
    (folder / "Angebote.csv").rename(folder / "Angebote.txt")

    suggestion, text, content = _measured(folder)()

    assert content["files"] == {
        "Angebote.txt": {"table": "Angebote"},
        "Interessenten.csv": {"table": "Interessenten", "encoding": "windows-1252"},
    }
    projects = content["tables"]["projects"]
    assert projects["values"]["status"] == {"beauftragt": "won", "abgelehnt": "lost", "Nachfassen": "open"}
    assert projects["times"] == {"proposed_at": "%d.%m.%Y", "closed_at": "%d.%m.%Y"}
    assert projects["numbers"] == {"value": {"decimal": ",", "thousands": ".", "strip": ["€"]}}
    assert content["closes"]["project_status"] == ["lost"]
    assert suggestion.contact == ["Interessenten.Nachname", "Interessenten.E-Mail", "Interessenten.Telefon"]
    assert "Interessenten.Bemerkung: free text" in text
    assert not re.search(r"@example|\+49|Müller|Frühjahr", text)

    (folder / "mapping.yml").write_text(text, encoding="utf-8")
    run(folder)
    assert query("select count(*) from raw.rejects") == [(0,)]
    assert query("select value, closed_at::date::text from raw.projects where project_id = 'A1'") == [
        (pytest.approx(2150.5), "2024-02-01")
    ]


def test_a_wide_table(tmp_path: Path, run: Extract, query: Query) -> None:
    """One table of all kinds of columns: flags behind many answers tell the end, and what is fit is an attribute."""
    folder = tmp_path / "crm"
    rows = []
    for number in range(300):
        born, ended = FIRST + timedelta(days=number), number < 260
        rows.append(
            {
                "Vorgangsnr": f"V-{number}",
                "Vorname": ("Jürgen", "Øznur", "Léa")[number % 3],
                "Rückruf unter": f"0171 {2000000 + 7 * number}",
                **{f"Frage {place}: Möchten Sie?": ("Ja", "Nein")[number % (place + 2) == 0] for place in range(14)},
                "Letzte Messe": "" if number % 2 else f"{born - timedelta(days=200):%d.%m.%Y}",
                "Datum": f"{born:%d.%m.%Y %H:%M}",
                "Gewonnen": "Ja" if ended and number % 3 == 0 else "Nein",
                "Abgeschlossen": "Ja" if ended else "Nein",
                "Datum Abschluss": f"{born + timedelta(days=9):%d.%m.%Y}" if ended else "",
                "Verlustgrund": "Preis" if ended and number % 3 else "",
                "Größe (m²)": f"{number % 40 + 80},50 m²",
                "Interessen": ("Solar", "Solar;Speicher", "Speicher;Wallbox", "")[number % 4],
                "Wunschfarbe": ("rot", "grün", "weiß")[number % 3],
                "Neues Feld": ("A", "B")[number % 2] if number >= 255 else "",
                "Leer": "",
                "Mandant": "01",
            }
        )
    _write(folder / "export.csv", rows, ";", "windows-1252")

    suggested = _measured(folder)
    suggestion, text, content = suggested()

    leads = content["tables"]["leads"]
    assert leads["columns"]["created_at"] == "Datum"
    assert content["tables"]["projects"]["columns"]["closed_at"] == "Datum Abschluss"
    assert leads["attributes"] == {
        **{
            f"frage_{place}_moechten_sie": {"column": f"Frage {place}: Möchten Sie?", "type": "flag"}
            for place in range(14)
        },
        "letzte_messe": {"column": "Letzte Messe", "type": "date"},
        "groesse_m2": {"column": "Größe (m²)", "type": "number"},
        "interessen": {"column": "Interessen", "type": "choices", "at": ";"},
        "wunschfarbe": {"column": "Wunschfarbe", "type": "category"},
        "neues_feld": {"column": "Neues Feld", "type": "category"},
    }
    assert suggestion.contact == ["export.Vorname", "export.Rückruf unter"]
    assert suggestion.left == {
        "export.Verlustgrund": "it has a value in 0 % of won, 100 % of lost, 0 % of open rows, as what is entered with "
        "the outcome",
        "export.Leer": "no value",
        "export.Mandant": "the same value in all rows",
    }
    assert not re.search("Jürgen|Øznur|0171", text)
    _, _, answered = suggested(**{"known:leads": "creation"})
    assert {each["known"] for each in answered["tables"]["leads"]["attributes"].values()} == {"creation"}

    (folder / "mapping.yml").write_text(text, encoding="utf-8")
    run(folder)
    assert query("select status, count(*), count(closed_at) from raw.projects group by 1 order by 1") == [
        ("lost", 173, 173),
        ("won", 87, 87),
    ]
    assert query("select count(*) from raw.leads") == [(300,)]
    assert query("select value from raw.changes where lead_id = 'V-1' and column_name like 'attributes.gr%'") == [
        ("81.5",)
    ]


def test_a_set_without_times(tmp_path: Path, run: Extract, query: Query) -> None:
    """The outcome is read by its name or its words; else a person must say which column it is, or that none is."""
    ends = ("Gewonnen", "Verloren", "Offen", "Verloren")
    rows = [
        {
            "Lead-Nr": f"L{number}",
            "Rückruf": ("Ja", "Nein")[number % 5 == 0],
            "Branche": ("Bau", "Handel", "IT")[number % 3],
            "Grund": ("", "Preis", "", "Zeit")[number % 4],
            "Ergebnis": ends[number % 4],
        }
        for number in range(120)
    ]
    _write(tmp_path / "clear" / "leads.csv", rows)
    suggestion, text, content = _measured(tmp_path / "clear")()
    assert content["without_times"] == {"outcome": "Ergebnis", "won": ["Gewonnen"], "open": ["Offen"]}
    assert list(content["tables"]["leads"]["attributes"]) == ["rueckruf", "branche"]
    assert "leads.Grund: it has a value in 0 % of won, 100 % of lost, 0 % of open rows" in text
    assert any(note.startswith("The set has no times: every attribute counts as known") for note in suggestion.notes)
    assert not any(each.is_essential for each in suggestion.questions.values())
    (tmp_path / "clear" / "mapping.yml").write_text(text, encoding="utf-8")
    run(tmp_path / "clear")
    assert query("select status, count(*) from raw.projects group by 1 order by 1") == [("lost", 60), ("won", 30)]
    assert query("select count(*) from raw.leads") == [(120,)]

    # two columns of yes and no, and no name that says which is the outcome
    doubtful = [{"Lead-Nr": row["Lead-Nr"], "Rückruf": row["Rückruf"], "Zusage": row["Rückruf"]} for row in rows]
    _write(tmp_path / "doubtful" / "leads.csv", doubtful)
    suggested = _measured(tmp_path / "doubtful")
    assert suggested()[0].questions["without_times"].is_essential
    assert suggested(without_times="Zusage")[2]["without_times"] == {"outcome": "Zusage", "won": ["Ja"]}
    with pytest.raises(NoMappingError, match="leads lacks a time at which its rows were created"):
        suggested(without_times="")


def test_the_stage_of_deals(tmp_path: Path) -> None:
    """A column beside the status is the stage; without one, a status whose words for open deals are several steps."""
    _write(tmp_path / "a" / "leads.csv", ({"id": f"L{n}", "created_at": f"2024-01-{n:02}"} for n in range(10, 30)))
    deals = [
        {
            "deal_id": f"D{n}",
            "lead_id": f"L{n}",
            "status": ("won", "lost", "open", "open")[n % 4],
            "close_date": "" if n % 4 > 1 else f"2024-02-{n:02}",
            "Phase": ("Vertrag", "Vertrag", "Bedarf", "Angebot")[n % 4],
        }
        for n in range(10, 30)
    ]
    _write(tmp_path / "a" / "deals.csv", deals)
    assert _measured(tmp_path / "a")()[2]["tables"]["projects"]["columns"]["stage"] == "Phase"
    for row in deals:
        step = row.pop("Phase")
        row["status"] = step if row["status"] == "open" else row["status"]
    _write(tmp_path / "a" / "deals.csv", deals)
    projects = _measured(tmp_path / "a")()[2]["tables"]["projects"]
    assert (projects["columns"]["stage"], projects["columns"]["status"]) == ("status", "status")


def test_activities_in_several_tables(tmp_path: Path, run: Extract, query: Query) -> None:
    """They make a union. A call finds its lead by the deal, an e-mail by the address; the .0 of a data frame goes."""
    folder, times = tmp_path / "crm", "%m/%d/%Y %I:%M %p"
    numbers = range(40)
    _write(
        folder / "Contacts.csv",
        (
            {
                "Contact ID": 500 + n,
                "Email": f"p{n}@example.com",
                "Created Date": f"{FIRST + timedelta(days=n):{times}}",
            }
            for n in numbers
        ),
    )
    _write(
        folder / "Deals.csv",
        (
            {
                "Deal ID": f"D{n}",
                "Contact ID": f"{500 + n}.0",
                "Stage": ("Closed Won", "Closed Lost", "Demo booked")[n % 3],
                "Close Date": f"{FIRST + timedelta(days=n + 60):%m/%d/%Y}",
                "Create Date": f"{FIRST + timedelta(days=n + 1):{times}}",
            }
            for n in numbers
        ),
    )
    calls = [
        {"ID": n, "Deal ID": f"D{n}", "Call Time": f"{FIRST + timedelta(days=n + 2):{times}}", "Direction": way}
        for n in numbers
        for way in [("Inbound", "Outbound")[n % 2]]
    ]
    _write(folder / "Calls.csv", calls)
    emails = [
        {"ID": n, "Recipient Email": f"p{n}@example.com", "Sent At": f"{FIRST + timedelta(days=n + 3):{times}}"}
        for n in numbers
    ]
    _write(folder / "Emails.csv", emails)

    suggested = _measured(folder)
    suggestion, text, content = suggested()

    parts = content["tables"]["interactions"]["union"]
    assert parts["calls"]["join"] == {"deals": {"table": "Deals", "on": {"Deal ID": "Deal ID"}}}
    assert parts["emails"]["join"] == {"contacts": {"table": "Contacts", "on": {"Email": "Recipient Email"}}}
    assert parts["calls"]["columns"]["type"] == {"constant": "call"}
    assert content["tables"]["interactions"]["times"] == {"occurred_at": times}
    assert content["tables"]["projects"]["columns"]["lead_id"] == {"split": "Contact ID", "at": ".0"}
    assert "Deals.Close Date: 100 % of the open deals have one. It is a plan" in "\n".join(suggestion.notes)
    assert set(suggestion.questions) == {
        "closes.project_status",
        "direction:Emails",
        "time_zone",
    }
    _, _, answered = suggested(**{"direction:Emails": "inbound", "time_zone": "America/New_York"})
    emails_of_answers = answered["tables"]["interactions"]["union"]["emails"]
    assert emails_of_answers["columns"]["direction"] == {"constant": "inbound"}
    assert answered["time_zone"] == "America/New_York"

    (folder / "mapping.yml").write_text(text, encoding="utf-8")
    run(folder)
    assert query("select type, direction, count(*) from raw.interactions group by all order by all") == [
        ("call", "inbound", 20),
        ("call", "outbound", 20),
        ("email", "outbound", 40),
    ]
    assert query("select count(*) from raw.rejects") == [(0,)]


def test_tables_that_look_alike_are_one(tmp_path: Path, run: Extract, query: Query) -> None:
    """They make a union, which a call reaches by the deal that it names; a broken number of a lead is no other lead."""
    folder = tmp_path / "crm"
    deals: list[dict[str, Any]] = []
    for year, first in ((2023, 0), (2024, 60)):
        people = [
            {"Kontaktnummer": 700 + n, "Angelegt am": f"{FIRST + timedelta(days=n):%d.%m.%Y}", "Quelle": "Messe"}
            for n in range(first, first + 60)
        ]
        _write(folder / f"kontakte_{year}.csv", people, ";")
        deals = [
            {
                "Deal": f"D{n}",
                # as a data frame writes numbers of which some are missing
                "Kontakt": {3: "705.5", 64: "705.7", 7: ""}.get(n, f"{700 + n}.0"),
                "Status": ("gewonnen", "verloren", "offen")[n % 3],
                "Erstellt am": f"{FIRST + timedelta(days=n + 3):%d.%m.%Y}",
                "Abschlussdatum": f"{FIRST + timedelta(days=n + 30):%d.%m.%Y}",
                **({"Region": "Süd"} if first else {}),
            }
            for n in range(first, first + 60)
        ]
        _write(folder / f"deals_{year}.csv", deals, ";")
    _write(folder / "deals_deleted.csv", deals, ";")
    calls = [
        {
            "Nr": n,
            "Deal": f"D{n}",
            "Datum": f"{FIRST + timedelta(days=n + 9):%d.%m.%Y}",
            "Uhrzeit": "" if n == 1 else f"{8 + n % 10}:30",
            "Ende": "23:00",
            "Richtung": "ausgehend",
        }
        for n in range(120)
    ]
    _write(folder / "Anrufe.csv", calls, ";")

    suggestion, text, content = _measured(folder)()

    tables = content["tables"]
    assert list(tables["leads"]["union"]) == ["kontakte_2023", "kontakte_2024"]
    assert tables["interactions"]["columns"]["occurred_at"] == {"date": "Datum", "time": "Uhrzeit"}
    assert "2 rows with another will be set aside (orphan)" in text
    assert suggestion.left["deals_deleted"] == "by its name, its rows were deleted or are a test"

    (folder / "mapping.yml").write_text(text, encoding="utf-8")
    run(folder)
    assert query("select table_name, reason, count(*) from raw.rejects group by all order by all") == [
        ("interactions", "missing_required", 1),
        ("interactions", "orphan", 2),
        ("projects", "missing_required", 1),
        ("projects", "orphan", 2),
    ]
    assert query("select count(*), count(distinct lead_id) from raw.projects") == [(117, 117)]
    assert query("select occurred_at::text from raw.interactions where interaction_id = '0'") == [
        ("2024-01-10 08:30:00+00",)
    ]


def test_of_tables_with_equal_keys_one_is_read(tmp_path: Path) -> None:
    for name, rows in (("deals_1", 30), ("deals_2", 40)):
        _write(
            tmp_path / f"{name}.csv",
            (
                {"id": n, "created": FIRST + timedelta(days=n), "status": ("won", "lost", "open")[n % 3]}
                for n in range(rows)
            ),
        )
    suggested = _measured(tmp_path)
    suggestion, _, content = suggested()
    assert content["names"]["deals"]["table"] == "deals_1"
    assert suggestion.left == {"deals_2": "it has the columns of deals_1, and keys that stand there too"}
    _, _, content = suggested(**{"alike:deals_1": "deals_2"})
    assert content["names"]["deals"]["table"] == "deals_2"


@pytest.mark.parametrize("folder", ["plain", "own"])
def test_what_ends_a_lead_is_measured(tmp_path: Path, folder: str) -> None:
    """A word counts by what follows it; what a shipped mapping does not say is asked for as well."""
    numbers = range(120)
    _write(
        tmp_path / folder / "leads.csv",
        (
            {
                "id": f"L{n}",
                "source": "web",
                "status": ("lost", "contacted", "won")[n % 3],
                "created_at": FIRST + timedelta(days=n),
                "assigned_to": "a",
            }
            for n in numbers
        ),
    )
    # lost leads end with a word that no list knows, after a "declined"; those that are open go on until the end
    outcomes = {0: ["declined", "declined", "XQ9"], 1: ["reached"] * 20, 2: ["reached", "reached", "accepted"]}
    _write(
        tmp_path / folder / "interactions.csv",
        (
            {
                "lead_id": f"L{n}",
                "type": "call",
                "timestamp": FIRST + timedelta(days=n + 10 * step),
                "outcome": word,
                "direction": "outbound",
                "opened": "false",
                "response_received": "false",
            }
            for n in numbers
            for step, word in enumerate(outcomes[n % 3], start=1)
        ),
    )
    _write(
        tmp_path / folder / "projects.csv",
        (
            {
                "lead_id": f"L{n}",
                "value": 5,
                "status": "won" if n % 3 == 2 else "lost",
                "closed_at": FIRST + timedelta(days=n + (30 if n % 3 == 2 else 5)),
            }
            for n in numbers
        ),
    )
    _write(
        tmp_path / folder / "appointments.csv",
        [{"lead_id": "L1", "scheduled_at": FIRST + timedelta(days=9), "completed": "true", "result": ""}],
    )
    suggested = _measured(tmp_path / folder)
    suggestion, text, content = suggested()
    # calls follow a lost deal, and the outcome of a won deal ends nothing that the deal does not end
    assert content["closes"] == {"outcomes": ["XQ9"], "lead_status": ["lost"]}
    assert "likely: after 0 % of its 40 rows something happens with the lead on a later day" in text
    assert {each.key: each.default for each in suggestion.questions.values() if each.key.startswith("closes")} == {
        "closes.outcomes": "yes",
        "closes.lead_status": "yes",
        "closes.project_status.doubtful": "no",
    }
    _, _, content = suggested(**{"closes.outcomes": "no", "closes.project_status.doubtful": "yes"})
    assert content["closes"] == {"project_status": ["lost"], "lead_status": ["lost"]}


def test_dates_that_do_not_tell_day_from_month_are_asked_for(tmp_path: Path) -> None:
    """There is no mapping without an answer; the answer is the format."""
    _write(tmp_path / "leads.csv", ({"id": n, "created": f"0{n % 9 + 1}/0{n % 7 + 1}/2024"} for n in range(30)))
    suggested = _measured(tmp_path)
    suggestion, _, _ = suggested()
    (question,) = [each for each in suggestion.questions.values() if each.is_essential]
    assert question.options == {"day": "the day (%d/%m/%Y)", "month": "the month (%m/%d/%Y)"}
    _, _, content = suggested(**{question.key: "month"})
    assert content["tables"]["leads"]["times"] == {"created_at": "%m/%d/%Y"}


def test_words_that_nobody_knows_are_asked_for(tmp_path: Path) -> None:
    """Until somebody answers, their rows are set aside, and a note says so."""
    _write(
        tmp_path / "leads.csv",
        ({"id": f"L{n}", "created_at": FIRST + timedelta(days=n)} for n in range(60)),
    )
    _write(
        tmp_path / "projects.csv",
        (
            {"id": f"P{n}", "lead_id": f"L{n}", "status": ("alpha", "won", "open")[n % 3], "closed_at": end}
            for n in range(60)
            for end in ["" if n % 3 == 2 else FIRST + timedelta(days=n + 9)]
        ),
    )
    suggested = _measured(tmp_path)
    suggestion, _, content = suggested()
    assert "values" not in content["tables"]["projects"]
    assert any("'alpha' (20 rows) is not known: its rows are set aside" in note for note in suggestion.notes)
    _, _, content = suggested(**{"projects.status:alpha": "lost"})
    assert content["tables"]["projects"]["values"] == {"status": {"alpha": "lost"}}
    assert content["closes"]["project_status"] == ["lost"]


def test_without_a_key_or_a_creation_time_there_is_no_mapping(tmp_path: Path) -> None:
    """The message says of each table what it lacks."""
    _write(tmp_path / "leads.csv", [{"name": "a", "created_at": "2024-01-01"}] * 2)
    _write(tmp_path / "deals.csv", [{"id": "1", "status": "won"}, {"id": "2", "status": "lost"}])
    _write(tmp_path / "calls.csv", [{"1": "2", "2024-01-01": "2024-01-02"}])
    found, shape = measured(str(tmp_path), DECLARATIONS)
    with pytest.raises(NoMappingError) as caught:
        suggest(found, {}, shape)
    assert str(caught.value).splitlines()[1:4] == [
        "- calls lacks a header line, it seems: name the columns (files: {calls.csv: {header: […]}})",
        "- deals lacks a time at which its rows were created",
        "- leads lacks a column without two equal values that is its key",
    ]


def test_tables_of_a_shipped_mapping_are_found_by_their_columns() -> None:
    """A name counts more than columns; two tables that fit alike are not told apart."""
    content: dict[str, Any] = {
        "name": "ui",
        "recognised_by": {"contacts": ["Record ID", "Create Date"], "deals": ["Record ID", "Is Closed Won"]},
        "tables": {
            "leads": {"table": "contacts", "columns": {"lead_id": "Record ID", "created_at": "Create Date"}},
            "projects": {
                "table": "deals",
                "columns": {"value": "Amount", "status": {"cases": [
                    {"where": {"Is Closed Won": ["true"]}, "then": {"constant": "won"}}]}},
            },
            "interactions": {"union": {"calls": {"table": "calls", "columns": {
                "interaction_id": {"concat": ["Record ID", "Called"]}, "outcome": "Result"}}}},
        },
    }  # fmt: skip
    mapping = SourceMapping.model_validate(content)
    contacts, deals = ["Record ID", "Create Date", "Email"], ["Record ID", "Create Date", "Is Closed Won", "Amount"]
    calls = ["Record ID", "Called", "Result"]
    found = {"all-contacts-2026": contacts, "export_1": calls, "export_2": deals}
    assert tables_of(mapping, found) == {"all-contacts-2026": "contacts", "export_2": "deals", "export_1": "calls"}
    assert tables_of(mapping, {"contacts": contacts}) is None
    assert tables_of(mapping, {"a": contacts, "b": contacts, "deals": deals}) is None


@pytest.mark.parametrize("name", sorted(set(RECOGNISED) & set(shipped_names())))
def test_a_shipped_mapping_is_recognised_whatever_its_tables_are_called(name: str) -> None:
    mapping = choose_mapping(argument=name, folder=None, found={}, models=DECLARATIONS).mapping
    read = columns_by_table(mapping)
    for table, needed in mapping.recognised_by.items():
        read[table].update(needed)
    renamed = {
        f"all {table} 2026-11": sorted({column.casefold() for column in columns}) for table, columns in read.items()
    }
    found = shape_of(renamed, "crm", DECLARATIONS)
    assert found is not None
    assert found.name == name
    assert set(mapping.recognised_by) <= set(found.tables.values())
    assert all(source == f"all {table} 2026-11" for source, table in found.tables.items())
    # all fit columns of one table, which no other contract table reads
    is_one = {of for of, one in found.attributes.items() if one}
    assert is_one == ATTRIBUTES_OF[name]


def test_the_word_lists_are_of_the_contract() -> None:
    """Each word stands for one word of the vocabulary, and each list of names for a column that exists."""
    for (table, column), words in WORDS.items():
        assert set(words) <= set(TABLES[table].column(column).vocabulary), (table, column)
        for meant, listed in words.items():
            assert {meaning(table, column, word) for word in (meant, *listed)} == {meant}, (table, column, meant)
    for table, columns in COLUMN_NAMES.items():
        assert set(columns) <= set(TABLES[table].column_names)
    assert role_of("hubspot-all-deals-2026") == ("projects", "deal")
    assert role_of("Kontakthistorie") == ("interactions", "kontakthistorie")


@pytest.mark.parametrize(
    "text", ["null", "a: b", "x #y", '"', "[a", "ä b-c", "1.0", "a\tb", "\ufeff", "-", "", "é\u2028"]
)
def test_a_text_is_the_same_after_yaml(text: str) -> None:
    assert yaml.load(f"- {flow([text])}", yaml.BaseLoader) == [[text]]


@pytest.mark.skipif(not MAVEN.is_dir(), reason="the table of deals (shared/data/maven_crm) is not here")
def test_maven_is_mapped_as_the_page_of_such_tables_maps_it() -> None:
    suggestion, _, content = _measured(MAVEN)()
    page = (REPOSITORY / "docs" / "connectors" / "deals.md").read_text(encoding="utf-8")
    documented = yaml.load(page.split("```yaml")[1].split("```")[0], yaml.BaseLoader)
    columns = documented["names"]["deals"]["columns"]
    assert content == {
        "name": "maven_crm",
        "based_on": "deals",
        "names": {"deals": {"table": "sales_pipeline", "columns": {**columns, "close_date": "close_date"}}},
        "tables": {
            "leads": {"attributes": {name: {"column": name, "type": "category"} for name in ("product", "account")}}
        },
    }
    assert list(suggestion.questions) == ["known:leads"]


def test_a_file_that_cannot_be_read_stops_nothing(tmp_path: Path) -> None:
    """The text has passed the check of a run, which a text that lacks a table does not pass."""
    _write(tmp_path / "leads.csv", ({"lead_id": f"L{n}", "created_at": FIRST + timedelta(days=n)} for n in range(9)))
    (tmp_path / "extra.csv").write_text('[{"a": 1}]', encoding="utf-8")
    suggestion, _, _ = _measured(tmp_path)()
    assert suggestion.left["extra"].startswith("it cannot be read: extra.csv: expected CSV, found JSON")
    lines = [line for line in suggestion.lines if line.place != ("tables", "projects", "absent")]
    with pytest.raises(SourceContractError, match="table projects"):
        text_of(Draft({}, lines=lines), str(tmp_path), {}, DECLARATIONS, for_home=False)


@pytest.mark.parametrize(
    ("statuses", "answers", "read"),
    [
        # a time that open deals have as well is no end
        (("gewonnen", "verloren", "offen"), {}, "proposed_at"),
        (("gewonnen", "verloren"), {"end:Angebote.Datum": "end"}, "closed_at"),
        (("gewonnen", "verloren"), {}, None),
    ],
)
def test_the_only_time_of_deals(
    statuses: tuple[str, ...], answers: dict[str, str], read: str | None, tmp_path: Path
) -> None:
    day = [f"{FIRST + timedelta(days=number):%Y-%m-%d}" for number in range(90)]
    _write(tmp_path / "crm" / "Kontakte.csv", ({"Nr": f"K{n}", "angelegt": day[n]} for n in range(60)))
    offers = (
        {"Nr": n, "Kontakt": f"K{n}", "Status": statuses[n % len(statuses)], "Datum": day[n + 9]} for n in range(60)
    )
    _write(tmp_path / "crm" / "Angebote.csv", offers)
    _, _, mapping = _measured(tmp_path / "crm")(**answers)
    columns = mapping["tables"]["projects"]["columns"]
    assert [name for name, value in columns.items() if value == "Datum"] == [read][: read is not None]
