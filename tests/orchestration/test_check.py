"""``make check``: what it says of a source is what a run finds and does, and it says all faults at once."""

from __future__ import annotations

import json
import logging
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestration.__main__ import main
from orchestration.commands.check import lines, measured
from orchestration.commands.plot import Scale, bars
from store.settings import settings
from tests.conftest import source_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.homes import Home


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """Give the root logger back as it was: dbt adds handlers to it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.slow(10)
def test_it_finds_what_a_run_found(filled: Home, tmp_path: Path) -> None:
    source = source_of(filled)
    current = settings(filled.environment(LEADLINE_SOURCE=source))
    found = measured(current, source, tmp_path)

    (leads,) = found.entities
    ((clock,),) = filled.ask("select as_of from raw.extraction")
    assert found.extraction.as_of == clock
    assert filled.ask("select count(*) from features.lead_features") == [(leads.observations,)]
    assert filled.ask("select count(*) from marts.lead_scores") == [(leads.open,)]
    closed = sum(each.entities for each in leads.closings)
    assert filled.ask("select count(*) from intermediate.lead_closings where closed_us < epoch_us($1)", clock) == [
        (closed,)
    ]
    assert closed == leads.known - leads.open
    assert filled.ask("select table_name, reason, count(*) from raw.rejects group by all order by 3 desc, 1, 2") == [
        (each.table, each.reason, each.rows) for each in found.rejected
    ]
    (interactions,) = (each for each in found.feeds if each.name == "interactions")
    assert filled.ask("select count(*) from raw.interactions") == [(sum(interactions.by_day.values()),)]

    conversion, *_ = found.models
    assert [each.horizon_days for each in conversion.rates] == [30, 60, 90, 180]
    assert filled.ask(
        "select count(*), count(distinct lead_id), sum(converted), count(distinct lead_id) filter (converted = 1) "
        "from labels.conversion"
    ) == [
        (each.observations, each.entities, each.happened, each.happened_entities)
        for each in conversion.rates
        if each.horizon_days == conversion.horizon_days
    ]
    for model in found.models:
        (manifest,) = (filled.path / "artifacts/models" / model.model).glob("*/manifest.json")
        split = json.loads(manifest.read_text())["split"]
        assert model.sides is not None
        assert {name: getattr(model.sides, name) for name in ("train_rows", "train_entities", "test_rows")} == {
            name: split[name] for name in ("train_rows", "train_entities", "test_rows")
        }

    text = lines(current, found)
    assert f"clock      {clock.isoformat(timespec='seconds')} (the second after the last fact)" in text


def export(folder: Path, **tables: str) -> Path:
    """Write a small export; a table that is given replaces its own."""
    folder.mkdir()
    days = [date(2025, 1 + month, 1) for month in range(12)]
    written = {
        "leads": "lead_id,created_at,email\n"
        + "".join(f"L{place},{day}T09:00:00Z,l{place}@example.org\n" for place, day in enumerate(days)),
        "interactions": "interaction_id,lead_id,type,direction,occurred_at\nI1,L1,call,inbound,2025-03-01T10:00:00Z\n"
        "I2,gone,call,inbound,2025-03-01T10:00:00Z\n",
        "appointments": "appointment_id,lead_id,booked_at,scheduled_at\n",
        "projects": "project_id,lead_id,value,status,proposed_at,closed_at\n",
        **tables,
    }
    for name, content in written.items():
        (folder / f"{name}.csv").write_text(content, encoding="utf-8")
    return folder


def checked(monkeypatch: pytest.MonkeyPatch, source: Path, home: Path, **given: str) -> int:
    for name, value in {"LEADLINE_SOURCE": str(source), "LEADLINE_HOME": str(home), **given}.items():
        monkeypatch.setenv(name, value)
    return main(["check"])


@pytest.mark.slow(10)
def test_it_says_what_will_not_be_trained_and_why_and_writes_no_home(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    crm = export(tmp_path / "crm")
    (crm / "mapping.yml").write_text(
        "name: mine\nbased_on: contract\ntables: {leads: {attributes: {born: {column: created_at, type: date}}}}\n"
    )
    assert checked(monkeypatch, crm, home) == 0
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert not home.exists()
    assert "conversion: will not be trained. No project was won in the whole source" in out
    assert "next_best_action: will not be trained. The source has no outbound interaction" in out
    assert "rejects    1 interactions (orphan):\n" in out
    assert "interactions.csv, line 3, column lead_id: expected" in out
    assert "outside    leads: not read: email\n" in out
    assert "attributes attribute  kind column     known from why\n" in out
    assert "           leads.born date created_at extraction too few leads to tell" in out
    assert "leads             █···█···█" in out


@pytest.mark.slow(4)
def test_it_says_all_faults_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    crm = export(tmp_path / "crm", leads="lead_id\nL1\n", projects="project_id,lead_id,value,status\n")
    (crm / "mapping.yml").write_text("name: mine\nbased_on: contract\n")
    assert checked(monkeypatch, crm, tmp_path / "home") == 1
    refusal = capsys.readouterr().err
    assert "leads.csv" in refusal
    assert "projects.csv" in refusal
    assert refusal.endswith("\nA run would not start.\n")

    # what is found while the rows are read
    crm = export(tmp_path / "other")
    for name, row in (("interactions", b"call,inbound,2025-03-01"), ("appointments", b"2025-03-01,2025-03-01")):
        with (crm / f"{name}.csv").open("ab") as file:
            file.write(b"\xfc,L1," + row + b"\n")
    assert checked(monkeypatch, crm, tmp_path / "home") == 1
    refusal = capsys.readouterr().err
    assert "interactions.csv, line 4: expected text in UTF-8" in refusal
    assert "appointments.csv, line 2: expected text in UTF-8" in refusal


def test_a_plot_has_a_bounded_width_and_shows_the_smallest_count() -> None:
    days = {date(2001, 1, 1): 1, date(2001, 2, 28): 1000}
    for last, unit in (
        (date(2001, 3, 1), "day"),
        (date(2002, 2, 1), "week"),
        (date(2005, 12, 31), "month"),
        (date(2015, 12, 31), "quarter"),
        (date(2060, 1, 1), "year"),
    ):
        scale = Scale.over(date(2001, 1, 1), last)
        assert scale.unit == unit
        counts = scale.counts({**days, last: 5})
        assert len(counts) <= 60
        assert sum(counts) == 1006
        assert scale.axis().startswith("2001")
    assert bars([0, 1, 1000, 500]) == "·▁█▄"
