"""What a mapping says and the source does not have is said; keys that do not meet stop the extraction."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from store.source.contract import SourceContractError
from tests.store.source.exports import Extract, Query, Rows, write_csv

if TYPE_CHECKING:
    from pathlib import Path

MAPPING = """
name: mine
based_on: contract
schema: sales
missing: [nobody, .]
tables:
  leads:
    values: {source: {WEB: internet, fairs: fair}, assigned_to: {bob: Robert}}
    units: {property_value: 1000}
    watermark: updated_at
  interactions:
    values: {type: {Call: call, fax: note}, outcome: {reached: yes}}
  appointments:
    columns: {ended_at: {flag: status}}
  projects: {absent: true, units: {value: 2}}
"""


def test_entries_that_match_nothing_are_said(
    tmp_path: Path, export: dict[str, Rows], run: Extract, query: Query
) -> None:
    """In the report and in `raw.extraction`; of free words, those that the value map lacks."""
    folder = write_csv(tmp_path / "crm", export)
    (folder / "mapping.yml").write_text(MAPPING)
    notes = run(folder).assumptions
    expected = [
        "The mapping's schema 'sales' is not used: a folder has none.",
        "The mapping's watermark of leads is not used: a folder is always read whole.",
        "The mapping's value map of leads.source has 1 word that no row has: 'fairs'. Check the spelling.",
        "leads.source: 1 word in 1 row stays as it is, for the value map lacks it: 'ads' (1).",
        "The mapping's value map of leads.assigned_to is not used: the column is not read from words of the source.",
        "The mapping's value map of interactions.type has 1 word that no row has: 'fax'. Check the spelling.",
        "The mapping's value map of interactions.outcome has 1 word that no row has: 'reached'. Check the spelling.",
        "The mapping declares projects absent, and projects.csv is there: it is not read.",
        "The mapping's entries of projects are not used: it declares the table absent.",
        "The mapping's list of missing has 2 words that no row has: 'nobody', '.'. Check the spelling.",
    ]
    assert [note for note in notes if "mapping" in note or "value map" in note] == expected
    ((stored,),) = query("select assumptions from raw.extraction")
    assert all(note in stored for note in expected)


def test_shipped_mappings_say_nothing_of_the_kind(tmp_path: Path, export: dict[str, Rows], run: Extract) -> None:
    """They fit a family of CRMs: a mapping based on one answers for its own words alone."""
    folder = write_csv(tmp_path / "crm", export)
    (folder / "mapping.yml").write_text("name: mine\nbased_on: contract\n")
    assert not [note for note in run(folder).assumptions if "mapping" in note]


@pytest.mark.parametrize(
    ("ours", "theirs", "advice"),
    [
        ("1{:03}", "1{:03}.0", "as pandas writes whole numbers of a column with gaps"),
        ("Ab{:03}", "aB{:03}", "they differ in upper and lower case"),
        ("0015g00000Xy{:03}", "0015g00000Xy{:03}AAQ", "one of them has the 15 characters of Salesforce"),
        ("9{:03}", "009{:03}", "leading zeros"),
        ("9{:03}", "L-9{:03}", "letters before or after the number"),
        ("a{:03}", "b{:03}", "Export the leads as well"),
    ],
)
def test_keys_that_do_not_meet_stop_the_extraction(
    ours: str, theirs: str, advice: str, tmp_path: Path, export: dict[str, Rows], run: Extract
) -> None:
    """Before anything is written, with keys of both sides; a few rows without a lead are rejected as ever."""
    lead, interaction = export["leads"][0], export["interactions"][0]
    export["leads"] = [lead | {"lead_id": ours.format(number)} for number in range(30)]
    export["interactions"] = [
        interaction | {"interaction_id": f"I{number}", "lead_id": theirs.format(number)} for number in range(30)
    ]
    export["appointments"] = [export["appointments"][0] | {"lead_id": ours.format(0)}]
    export["projects"] = [export["projects"][0] | {"lead_id": ours.format(0)}]
    with pytest.raises(SourceContractError) as caught:
        run(write_csv(tmp_path / "crm", export))
    assert "interactions.csv: expected the lead_id of a lead in most rows, found 30 of 30 rows" in str(caught.value)
    assert f"Keys of leads.csv: {ours.format(0)!r}, {ours.format(1)!r}" in str(caught.value)
    assert f"of interactions.csv: {theirs.format(0)!r}" in str(caught.value)
    assert advice in str(caught.value)
    assert not (tmp_path / "home" / "warehouse.duckdb").exists()
    for row in export["interactions"][:4]:
        row["lead_id"] = ours.format(1)
    folder = write_csv(tmp_path / "crm", export)
    if "Salesforce" in advice:
        # a few are as wrong
        with pytest.raises(SourceContractError, match=advice):
            run(folder)
        return
    report = run(folder, as_of=datetime(2025, 1, 1, tzinfo=UTC))
    assert report.tables["interactions"].rejects_by_reason == {"orphan": 26}


TIMELESS = """
name: timeless
based_on: contract
tables:
  leads: {columns: {created_at: {substitute: earliest_of, of: [extraction]}}}
  interactions: {columns: {occurred_at: {substitute: earliest_of, of: [extraction]}}}
  appointments: {absent: true}
  projects: {absent: true}
"""


def test_a_source_without_times_needs_a_clock(tmp_path: Path, run: Extract, query: Query) -> None:
    """Nothing tells when such an export was made; all of it is known from the clock that is asked for."""
    folder = write_csv(
        tmp_path / "crm",
        {
            "leads": [{"lead_id": "1", "source": "web"}],
            "interactions": [{"interaction_id": "1", "lead_id": "1", "type": "call", "direction": "outbound"}],
        },
    )
    (folder / "mapping.yml").write_text(TIMELESS)
    with pytest.raises(SourceContractError, match=r"expected a time at which something happened.*set the clock"):
        run(folder)
    clock = datetime(2025, 1, 1, tzinfo=UTC)
    assert run(folder, as_of=clock).as_of == clock
    assert query("select created_at, occurred_at from raw.leads join raw.interactions using (lead_id)") == [
        (clock, clock)
    ]
