"""What closes a lead by the mapping: words in any case, statuses from when they were known, and earlier names."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from store.source.contract import SourceContractError
from tests.store.source.exports import Extract, Query, Rows, write_csv

if TYPE_CHECKING:
    from pathlib import Path

STORED = "select closing_outcomes, closing_lead_statuses, closing_project_statuses from raw.extraction"
CLOCK = datetime(2024, 3, 9, 8, 0, 1, tzinfo=UTC)
STATUSES = "select lead_id, value, known_at from raw.changes where column_name = 'status' order by 1, 3"


def test_every_spelling_of_a_closing_word_closes(
    tmp_path: Path, export: dict[str, Rows], run: Extract, query: Query
) -> None:
    """The store compares text as it is: the words of the mapping stand beside those of the source."""
    words = ("Not_Interested", "NOT_INTERESTED", "İptal", "ΑΠΟΡΡΙΨΗΣ", "reached")
    first = export["interactions"][0]
    export["interactions"] = [first | {"interaction_id": f"I{n}", "outcome": word} for n, word in enumerate(words)]
    export["leads"].append(export["leads"][0] | {"lead_id": "L3"})
    for row, status in zip(export["leads"], ("LOST", "open", "Verloren"), strict=True):
        row["status"] = status
    folder = write_csv(tmp_path / "crm", export)
    (folder / "mapping.yml").write_text(
        "name: mine\nbased_on: contract\ncloses:\n  outcomes: [not_interested, iptal, İPTAL, απορριψης, No]\n"
        "  lead_status: [lost, abandoned, Verloren]\n  project_status: [Lost]\n"
        "tables: {leads: {values: {status: {verloren: gone}}}}\n"
    )
    report = run(folder)
    assert [json.loads(each) for each in query(STORED)[0]] == [
        [
            "not_interested", "iptal", "İPTAL", "απορριψης", "No",
            "NOT_INTERESTED", "Not_Interested", "İptal", "ΑΠΟΡΡΙΨΗΣ",
        ],
        ["lost", "abandoned", "Verloren", "LOST"],
        ["lost"],
    ]  # fmt: skip
    assert [each for each in report.assumptions if "closes" in each] == [
        "The mapping's closes.outcomes has 1 word that no row of interactions has: 'No'. Check the spelling.",
        "The mapping's closes.lead_status has 'Verloren', which the value map of leads.status reads as 'gone': it "
        "closes nothing. Write 'gone' if that is meant.",
        "The mapping's closes.lead_status has 1 word that no row of leads has: 'abandoned'. Check the spelling.",
        "The mapping's closes.project_status has 1 word that no row of projects has: 'lost'. Check the spelling.",
    ]


def test_a_closing_project_without_a_time_is_said(tmp_path: Path, export: dict[str, Rows], run: Extract) -> None:
    export["projects"][0] |= {"status": "cancelled", "closed_at": ""}
    folder = write_csv(tmp_path / "crm", export)
    (folder / "mapping.yml").write_text("name: mine\nbased_on: contract\ncloses: {project_status: [cancelled]}\n")
    assert (
        "projects.closed_at is empty in 1 row whose status closes a lead: the time of the closing is unknown, so they "
        "close none."
    ) in run(folder).assumptions


def test_a_status_that_an_extraction_shows_closes_before_its_clock(
    tmp_path: Path, export: dict[str, Rows], run: Extract, query: Query
) -> None:
    """Also where the mapping says so later; another status counts from the clock, and a told one from its time."""
    for row, status in zip(export["leads"], ("Lost", "open"), strict=True):
        row["status"] = status
    folder = write_csv(tmp_path / "crm", export)
    assert run(folder).as_of == CLOCK
    first = [("L1", "Lost", CLOCK), ("L2", "open", CLOCK)]
    assert query(STATUSES) == first
    assert query(STORED) == [("[]", None, None)]
    (folder / "mapping.yml").write_text("name: mine\nbased_on: contract\ncloses: {lead_status: [lost]}\n")
    edge = timedelta(microseconds=1)
    for _ in range(2):
        assert run(folder).as_of == CLOCK
        assert query(STATUSES) == [("L1", "Lost", CLOCK - edge), *first]
    export["leads"][1]["status"] = "LOST"
    export["interactions"][0]["occurred_at"] = "2024-03-10T00:00:00Z"
    assert run(write_csv(tmp_path / "crm", export)).as_of == (later := datetime(2024, 3, 10, 0, 0, 1, tzinfo=UTC))
    assert query(STATUSES) == [("L1", "Lost", CLOCK - edge), *first, ("L2", "LOST", later - edge)]


def test_the_earlier_name_of_the_closing_outcomes_is_read_with_a_notice(
    tmp_path: Path, export: dict[str, Rows], run: Extract, query: Query
) -> None:
    """It says the same, and both names at once are an error."""
    export["interactions"][0]["outcome"] = "gone"
    folder = write_csv(tmp_path / "crm", export)
    path = folder / "mapping.yml"
    path.write_text("name: mine\nbased_on: contract\nclosing_outcomes: [gone]\n")
    assert run(folder).notices == [
        f"{path}: closing_outcomes is called closes now: write closes: {{outcomes: [gone]}}."
    ]
    before = query("from raw.extraction")
    path.write_text("name: mine\nbased_on: contract\ncloses: {outcomes: [gone]}\n")
    assert run(folder).notices == []
    assert query("from raw.extraction") == before
    path.write_text("name: mine\nbased_on: contract\ncloses: {outcomes: [gone]}\nclosing_outcomes: [gone]\n")
    with pytest.raises(SourceContractError, match=r"line 4, closing_outcomes: expected closes.outcomes alone"):
        run(folder)


def test_closes_refines_word_lists_one_by_one(
    tmp_path: Path, run: Extract, query: Query, export: dict[str, Rows]
) -> None:
    """What a mapping does not say of them stays as in the shipped one."""
    folder = write_csv(tmp_path / "crm", export)
    (folder / "mapping.yml").write_text("name: mine\nbased_on: bpi2012_crm\ncloses: {project_status: [cancelled]}\n")
    run(folder)
    outcomes, _, project_statuses = query(STORED)[0]
    assert json.loads(outcomes) == ["A_APPROVED", "A_DECLINED", "A_CANCELLED"]
    assert json.loads(project_statuses) == ["cancelled"]
