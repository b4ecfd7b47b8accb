"""Attributes: columns beside those of the contract, their stored texts, and from when on they count as known."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from store.source.contract import SourceContractError
from tests.store.source.exports import Extract, Query, Rows, write_csv

if TYPE_CHECKING:
    from pathlib import Path

    from store.source.report import ExtractionReport

Export = dict[str, Rows]
FIRST, SECOND = datetime(2024, 3, 9, 8, 0, 1, tzinfo=UTC), datetime(2024, 5, 1, tzinfo=UTC)
CREATED = datetime(2024, 3, 1, 8, tzinfo=UTC)
PROPOSED = datetime(2024, 3, 6, 8, tzinfo=UTC)
ATTRIBUTES = (
    "select lead_id, project_id, column_name, value, known_at from raw.changes "
    "where starts_with(column_name, 'attributes.') order by lead_id, project_id nulls first, column_name"
)
MAPPING = """
name: mine
based_on: contract
tables:
  leads:
    attributes:
      industry: {column: Branche, known: creation}
      employees: {column: No. of Employees, type: number, known: extraction}
      newsletter: {column: Newsletter, type: flag, known: creation}
      renewal: {column: Renewal, type: date, known: creation}
      interests: {column: Interests, type: choices, at: ";", known: creation}
  projects:
    attributes: {product: {column: Product, type: category, known: creation}}
"""


@pytest.fixture
def export(export: Export) -> Export:
    """Return an export whose leads and projects have columns of their own."""
    first, second = export["leads"]
    first |= {"Branche": "Öl & Gas", "No. of Employees": "12", "Newsletter": "ja", "Renewal": "2024-12-31"}
    first |= {"Interests": "Golf;Ski; Golf"}
    second |= {
        "Branche": "ada@example.org",
        "No. of Employees": "many",
        "Newsletter": "",
        "Renewal": "",
        "Interests": "",
    }
    export["projects"][0]["Product"] = "Roof"
    return export


def _write(folder: Path, export: Export, mapping: str = MAPPING) -> Path:
    write_csv(folder, export)
    (folder / "mapping.yml").write_text(mapping)
    return folder


def test_attributes_are_kept_in_the_history(export: Export, tmp_path: Path, run: Extract, query: Query) -> None:
    """One text per kind; contact data stays outside, unreadable values are counted, a change counts from its night."""
    folder = _write(tmp_path / "crm", export)
    report = run(folder)
    (pseudonym,) = query("select value from raw.changes where lead_id = 'L2' and column_name = 'attributes.industry'")[
        0
    ]
    assert pseudonym.startswith("pseudonym-")
    assert query(ATTRIBUTES.replace("where", "where value not like 'pseudonym-%' and")) == [
        ("L1", None, "attributes.employees", "12.0", FIRST),
        ("L1", None, "attributes.industry", "Öl & Gas", CREATED),
        ("L1", None, "attributes.interests", "Golf; Ski", CREATED),
        ("L1", None, "attributes.newsletter", "true", CREATED),
        ("L1", None, "attributes.renewal", "2024-12-31T00:00:00.000000Z", CREATED),
        ("L1", "P1", "attributes.product", "Roof", PROPOSED),
    ]
    assert "Branche" not in str(query("describe raw.leads"))
    assert (
        "leads: the attribute employees has 1 of 2 values that are no numbers, such as many: they are left out."
        in report.assumptions
    )
    export["leads"][0] |= {"Branche": "", "No. of Employees": "13"}
    run(_write(folder, export), as_of=SECOND)
    assert query(ATTRIBUTES.replace("where", f"where known_at >= '{SECOND}' and")) == [
        ("L1", None, "attributes.employees", "13.0", SECOND),
        ("L1", None, "attributes.industry", None, SECOND),
    ]
    # a home keeps what it has decided
    stored = json.loads(query("select attributes from raw.extraction")[0][0])
    assert {each["name"]: (each["kind"], each["known"]) for each in stored} == {
        "industry": ("category", "creation"),
        "employees": ("number", "extraction"),
        "newsletter": ("flag", "creation"),
        "renewal": ("date", "creation"),
        "interests": ("choices", "creation"),
        "product": ("category", "creation"),
    }
    assert next(each["options"] for each in stored if each["name"] == "interests") == [["Golf", "golf"], ["Ski", "ski"]]
    with pytest.raises(SourceContractError, match=r"attribute employees: expected the type number.*found category"):
        run(_write(folder, export, MAPPING.replace("type: number", "type: category")))
    with pytest.raises(SourceContractError, match=r"attribute employees: expected known: extraction.*found creation"):
        run(_write(folder, export, MAPPING.replace("known: extraction", "known: creation")))


def test_an_attribute_that_vanishes_stops_the_extraction(
    export: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    """A person may accept that; its values stay in the history, and it has the same kind if it comes back."""
    folder = _write(tmp_path / "crm", export)
    run(folder)
    before = query("select count(*) from raw.changes")
    without = MAPPING.replace("industry: {column: Branche, known: creation}", "")
    with pytest.raises(SourceContractError, match=r"leads\.attributes\.industry: a value in 2 rows before") as stopped:
        run(_write(folder, export, without), as_of=SECOND)
    accept = str(stopped.value).split("LEADLINE_ACCEPT_EXTRACTION=")[1]
    run(folder, as_of=SECOND, accept=accept)
    assert query("select count(*) from raw.changes") == before
    # raw.changes would hold words and numbers under one name
    with pytest.raises(SourceContractError, match=r"attribute industry: expected the type category.*found number"):
        run(_write(folder, export, MAPPING.replace("Branche,", "Branche, type: number,")))
    assert "industry" in {each.name for each in run(_write(folder, export)).attributes}


def test_a_value_that_an_extraction_has_missed_counts_from_a_later_one(
    export: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    """Even if the attribute counts from the creation, and no row had a value then."""
    for each in export["leads"]:
        each["Branche"] = ""
    mapping = MAPPING.replace("Branche,", "Branche, type: category,")
    run(_write(tmp_path / "crm", export, mapping))
    export["leads"][0]["Branche"] = "Bank"
    export["leads"].append(export["leads"][0] | {"lead_id": "L3"})
    run(_write(tmp_path / "crm", export, mapping), as_of=SECOND)
    assert query("select lead_id, known_at from raw.changes where column_name = 'attributes.industry' order by 1") == [
        ("L1", SECOND),
        ("L3", CREATED),
    ]


def test_values_that_go_on_changing_do_not_count_from_the_creation(
    export: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    """Later nights withdraw what the first one assumed, for the past and for new leads; once, and in the summary."""
    first = datetime(2024, 3, 1, tzinfo=UTC)
    lead = export["leads"][0]
    export["leads"] = [
        {**lead, "lead_id": f"L{number}", "created_at": f"{first - timedelta(days=10 * number):%Y-%m-%dT08:00:00Z}"}
        for number in range(1, 41)
    ]
    export["leads"].append({**lead, "lead_id": "new", "created_at": "2024-03-01T00:00:00Z"})

    def night(days: int) -> ExtractionReport:
        return run(_write(tmp_path / "crm", export), as_of=first + timedelta(days=days))

    night(0)
    for number in range(1, 5):
        for each in export["leads"][5 * number : 5 * number + 2]:
            each["Branche"] = f"Trade {number}"
        report = night(10 * number)
        assert not any("count no longer" in each for each in report.assumptions)
    export["leads"][-1] |= {"lead_id": "newer", "created_at": "2024-04-25T00:00:00Z"}
    report = night(60)
    (said,) = (each for each in report.assumptions if "count no longer" in each)
    assert said.startswith("leads: the first values of industry count no longer as known from the creation")
    assert "8 of its values have changed from 2024-03-01 to 2024-04-10" in said

    def known(lead_id: str) -> list[tuple[object, ...]]:
        return query(
            "select known_at, value from raw.changes where column_name = 'attributes.industry' "
            f"and lead_id = '{lead_id}' order by known_at, change_id"
        )

    born = datetime(2024, 3, 1, 8, tzinfo=UTC) - timedelta(days=60)
    assert known("L6") == [
        (born, "Öl & Gas"),
        (born, None),
        # the first extraction had an earlier clock than its facts
        (FIRST, "Öl & Gas"),
        (first + timedelta(days=10), "Trade 1"),
    ]
    # seen on the night of its creation, and after the withdrawal
    assert known("new") == [(first, "Öl & Gas")]
    assert known("newer") == [(first + timedelta(days=60), "Öl & Gas")]
    rows = query("select count(*) from raw.changes")
    # the mapping still says that it is known from the creation
    assert said in night(70).assumptions
    assert query("select count(*) from raw.changes") == rows


def test_a_column_that_was_empty_is_not_known_from_the_creation(
    export: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    """What `auto` has left at first counts from the extraction that takes it, whatever one export tells."""
    start = datetime(2023, 1, 1, tzinfo=UTC)
    leads = [
        {"lead_id": f"L{number}", "created_at": f"{start + timedelta(hours=8 * number):%Y-%m-%dT%H:%M:%SZ}"}
        | {"size": str(number * 7919 % 13), "plan": ""}
        for number in range(1_500)
    ]
    folder = tmp_path / "crm"
    mapping = "name: mine\nbased_on: contract\ntables: {leads: {attributes: auto}}\n"
    others = {table: export[table] for table in ("interactions", "appointments", "projects")}
    run(_write(folder, {**others, "leads": leads}, mapping), as_of=datetime(2024, 6, 1, tzinfo=UTC))
    for each in leads:
        each["plan"] = str(int(each["size"]) % 3)
    run(_write(folder, {**others, "leads": leads}, mapping), as_of=datetime(2024, 6, 2, tzinfo=UTC))
    stored = {each["name"]: each for each in json.loads(query("select attributes from raw.extraction")[0][0])}
    assert {*stored} == {"size", "plan"}
    assert (stored["plan"]["known"], stored["plan"]["why"]) == (
        "extraction",
        "earlier extractions saw the column, and it was none to learn from",
    )


def test_two_attributes_have_no_feature_of_one_name(export: Export, tmp_path: Path, run: Extract) -> None:
    """A date and a number would both fill attribute_renewal_days."""
    mapping = MAPPING.replace("employees:", "renewal_days:")
    with pytest.raises(SourceContractError, match="attribute_renewal_days of renewal_days and of renewal"):
        run(_write(tmp_path / "crm", export, mapping))


def test_many_lists_have_fewer_features_each(export: Export, tmp_path: Path, run: Extract) -> None:
    """A row of all features fits into a page of PostgreSQL: the attributes of a table have at most 400."""
    lists = [f"list_{number}" for number in range(60)]
    for lead in export["leads"]:
        lead |= dict.fromkeys(lists, "A;B;C;D;E;F;G;H")
    named = "".join(f"      {name}: {{column: {name}, type: choices, at: ';', known: creation}}\n" for name in lists)
    mapping = "name: mine\nbased_on: contract\ntables:\n  leads:\n    attributes:\n" + named
    report = run(_write(tmp_path / "crm", export, mapping))
    assert {len(each.features) for each in report.attributes} == {1 + 5}


def test_rows_of_one_key_that_differ_in_attributes_are_one_row(
    export: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    """Nothing tells which value is right, so none is kept."""
    export["leads"].append(export["leads"][0] | {"Branche": "Bank"})
    report = run(_write(tmp_path / "crm", export))
    assert (report.tables["leads"].duplicates_collapsed, report.tables["leads"].rows_rejected) == (1, 0)
    assert query("select count(*) from raw.changes where lead_id = 'L1' and column_name = 'attributes.industry'") == [
        (0,)
    ]
    assert query("select count(*) from raw.changes where lead_id = 'L1' and column_name = 'attributes.renewal'") == [
        (1,)
    ]


def test_a_history_of_attributes_and_projects(export: Export, tmp_path: Path, run: Extract, query: Query) -> None:
    """It names columns as the source does; a project gives its changes the lead, and amounts their currency."""
    export["projects"][0] |= {"stage": "Vertrag", "currency": "USD"}
    export["changes"] = [
        {"change_id": f"H{number}", "lead_id": lead, "project_id": project, "column_name": name, "value": value,
         "changed_at": f"2024-03-0{number}T12:00:00Z"}
        for number, (lead, project, name, value) in enumerate(
            [
                ("L1", "", "Branche", "Gas"),
                ("", "P1", "stage", "Angebot"),
                ("L2", "P1", "value", "9000"),
                ("", "P1", "expected_close_at", "2024-04-01"),
                ("", "P1", "Product", "Wall"),
                ("", "P9", "stage", "Angebot"),
                ("", "", "status", "won"),
                ("", "P1", "zip_code", "10115"),
                ("L1", "", "stage", "Angebot"),
            ],
            1,
        )
    ]  # fmt: skip
    mapping = MAPPING + "currency: {main: EUR, rates: {USD: 0.5}}\n"
    folder = _write(tmp_path / "crm", export, mapping)
    for _ in range(2):
        report = run(folder)
        assert report.tables["changes"].rejects_by_reason == {"missing_required": 1, "orphan": 1}
    assert report.tables["changes"].columns_ignored == ["changes of stage", "changes of zip_code"]
    assert query(
        "select lead_id, project_id, column_name, value, origin from raw.changes "
        "where project_id = 'P1' or column_name = 'attributes.industry' and lead_id = 'L1' order by 3, known_at"
    ) == [
        ("L1", None, "attributes.industry", "Gas", "source"),
        ("L1", None, "attributes.industry", "Öl & Gas", "extraction"),
        ("L1", "P1", "attributes.product", "Wall", "source"),
        ("L1", "P1", "attributes.product", "Roof", "extraction"),
        ("L1", "P1", "expected_close_at", "2024-04-01T00:00:00.000000Z", "source"),
        ("L1", "P1", "expected_close_at", None, "extraction"),
        ("L1", "P1", "stage", "Angebot", "source"),
        ("L1", "P1", "stage", "Vertrag", "extraction"),
        ("L1", "P1", "value", "4500.00", "source"),
        ("L1", "P1", "value", "2500.00", "extraction"),
    ]


def test_a_set_without_times(tmp_path: Path, run: Extract, query: Query) -> None:
    """Its leads get times that are made up: those that have ended end a day after their creation, the rest is open."""
    leads = [
        {
            "id": f"L{number}",
            "Origin": "web" if number % 3 else "ads",
            "Converted": "" if number > 97 else str(number % 2),
        }
        for number in range(100)
    ]
    mapping = (
        "name: set\ntables:\n  leads: {columns: {lead_id: id}, attributes: {origin: Origin}}\n"
        'without_times: {outcome: Converted, won: "1"}\n'
    )
    folder = _write(tmp_path / "crm", {"leads": leads}, mapping)
    report = run(folder)
    assert report.as_of == datetime(2013, 3, 9, tzinfo=UTC)
    assert query(
        "select status, count(*), bool_and(closed_at - proposed_at = interval 1 day) from raw.projects group by all "
        "order by all"
    ) == [("lost", 49, True), ("won", 49, True)]
    assert query("select count(*) from raw.leads where lead_id < 'L98' group by created_at order by created_at") == [
        (10,), (10,), (10,), (10,), (9,), (10,), (10,), (29,)
    ]  # fmt: skip
    assert query(
        "select distinct as_of - created_at = interval 1 second from raw.leads, raw.extraction "
        "where lead_id in ('L98', 'L99')"
    ) == [(True,)]
    assert query(
        "select distinct known_at = created_at from raw.changes join raw.leads using (lead_id) "
        "where column_name = 'attributes.origin'"
    ) == [(True,)]
    assert query("select caveat like 'The set has no times%' from raw.extraction") == [(True,)]
    with pytest.raises(SourceContractError, match=r"without_times: expected one table.*found interactions"):
        run(
            _write(
                folder,
                {"leads": leads},
                mapping.replace("tables:\n", "tables:\n  interactions: {table: leads}\n"),
            )
        )
    for wrong, found in (
        ("outcome: Converted", r"outcome: expected a column of leads \(id, Origin, Converted\), found 'Convrted'"),
        ('won: "1"', "won: expected a word for a won lead that Converted has, found 'yes'.*none of 98 leads"),
    ):
        word = wrong.replace("Converted", "Convrted").replace('"1"', '"yes"')
        with pytest.raises(SourceContractError, match=found):
            run(_write(folder, {"leads": leads}, mapping.replace(wrong, word)))
