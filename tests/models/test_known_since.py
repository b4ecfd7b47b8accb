"""From when on an attribute is known: planted columns are told from true ones, and thin evidence is no evidence."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import duckdb
import pytest

from benchmarks.known_since import CLOCK, Leads, answers, said
from models.decisions.known_since import ALL, COMMONEST, EMPTY, FILLED, OTHERS, Counted, KnownEvidence, known_since
from store.source.attributes.known_since import measure

UNTOLD = {"by outcome 30 %", "overwritten 30 %"}
"""A few values that turn into others of the same column: the hindsight check of candidates stands behind."""


@pytest.fixture(scope="module")
def found() -> dict[str, tuple[bool, str, str]]:
    return answers(4_000, 5)


def test_columns_that_are_filled_later_do_not_count_from_the_creation(found):
    later = {name: known for name, (is_later, known, _) in found.items() if is_later and name not in UNTOLD}
    assert len(later) >= 14
    assert [name for name, known in later.items() if known == "creation"] == []


def test_columns_of_the_creation_count_from_it(found):
    true = {name: (known, why) for name, (is_later, known, why) in found.items() if not is_later}
    assert len(true) >= 14
    assert [name for name, answer in true.items() if said(*answer) == "found"] == []
    # but those that few leads have, or that began lately
    assert {name for name, (known, _) in true.items() if known != "creation"} <= {"rare", "form", "new form field"}


def test_a_finding_names_its_figures(found):
    enriched = found["enriched"][2]
    assert re.match(r"filled for \d+ % of the open leads of the last \d+ days and for \d+ % of those \d+ to ", enriched)
    closed = r"[\d,]+ leads .+ were closed in the last \d+ days, but [\d,]+ would be by the pace of older ones"
    assert any(re.match(closed, why) for _, _, why in found.values())


def test_few_leads_tell_nothing():
    assert {known for _, known, _ in answers(150, 1).values()} == {"extraction"}


def evidence(value: str, closed_at: str = "null", rows: int = 3_000, days: int = 500) -> KnownEvidence:
    """Measure a value of leads that arrive evenly."""
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        relation = (
            f"(select timestamptz '{CLOCK.isoformat()}' - to_hours((i * {days} * 24.0 / {rows})::integer) "
            f"as created_at, {closed_at}::timestamptz as closed_at, {value} as value from range({rows}) as r(i))"
        )
        return measure(connection, relation, kind="category", clock=CLOCK)


def test_old_leads_alone_tell_nothing():
    closed = f"timestamptz '{datetime(2025, 12, 1, tzinfo=UTC).isoformat()}'"
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        relation = f"(select {closed} - to_days(i::integer % 200 + 1) as born, 'a' as v from range(2000) as r(i))"
        known, why = known_since(
            measure(connection, relation, kind="category", clock=CLOCK, value="v", created_at="born", closed_at=closed)
        )
    assert (known, said(known, why)) == ("extraction", "too few")


def test_leads_without_times_of_their_own_tell_nothing():
    known, why = known_since(evidence("'a'", days=0))
    assert known == "extraction"
    assert "no times of creation" in why


def test_an_empty_column_has_nothing_to_tell():
    assert known_since(evidence("null::varchar")) == ("extraction", "it has no value")


def test_what_comes_after_the_clock_is_not_counted():
    """A deal that is closed after the clock is open, and a lead that comes after it is none."""
    leads = Leads(400, 2)
    frame = leads.frame()
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.register("leads", frame)
        early = measure(connection, "leads", kind="category", clock=datetime(2025, 12, 31, tzinfo=UTC), value="c0")
    everything = next(each for each in early.counted if each.label == ALL)
    before = frame[frame.created_at <= "2025-12-31"]
    assert sum(rows for *_, rows in everything.cells) == len(before)
    is_open = ~(before.closed_at <= "2025-12-31")
    assert sum(rows for _, after, rows in everything.cells if after is None) == is_open.sum()


def test_a_history_vouches_for_itself():
    counted = tuple(Counted(label=each, cells=()) for each in (ALL, FILLED, EMPTY, COMMONEST, OTHERS))
    known, why = known_since(KnownEvidence(unit_days=7, counted=counted, from_history=True))
    assert known == "history"
    assert "history" in why
