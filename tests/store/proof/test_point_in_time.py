"""The proof passes on a store that is right, on both engines, and catches and names every leak that is planted."""

from __future__ import annotations

import json
import os
import re
import signal
from datetime import UTC, datetime, timedelta
from threading import Timer
from typing import TYPE_CHECKING

import adbc_driver_manager
import duckdb
import pytest

from assets.features.proof import result
from benchmarks.leaks import of_templates, refused
from benchmarks.planted_leaks import CLOCKS, COMPILED, CONTROLS, CUSTOMER, CUSTOMER_LEAKS, LEAKS, RARE, RELATIONS
from benchmarks.planting import SUBJECT, SUBJECTS, Store, copied, planted
from store.proof.point_in_time import prove
from store.proof.sample import chosen
from store.warehouse.connection import ReplayError
from store.warehouse.warehouse import Warehouse
from tests.replayed import LEADS, VARIABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from store.features.certificates import Certificate
    from store.warehouse.connection import Connection

NOW = datetime(2026, 11, 21, tzinfo=UTC)
CAUGHT_BY = {
    "features.lead_features.status_of_today": {"removed", "scrambled"},
    "features.lead_features.owner_of_today": {"removed", "scrambled"},
    "features.lead_features.answers_counted_when_asked": {"removed", "scrambled"},
    "features.lead_features.facts_with_as_of_count_7d": {"scrambled"},
    "features.lead_features.facts_of_a_day_more_count_7d": {"forgotten_7d"},
    "features.lead_features.facts_of_a_microsecond_more_count_30d": {"forgotten_30d"},
    "features.lead_features.ahead_on_some_weekdays": {"staggered"},
    "features.lead_features.ahead_in_spring": {"staggered"},
    "features.lead_features.ahead_at_night": {"staggered"},
    "features.lead_features.ahead_at_midnights_in_spring": {"staggered"},
    "features.lead_features.happened_but_not_recorded_count": {"removed", "scrambled"},
    "features.lead_features.record_with_its_own_deal": {"removed", "scrambled"},
    "features.lead_features.record_up_to_as_of": {"scrambled"},
    "features.lead_features.record_of_later_deals": {"removed", "scrambled"},
    "features.lead_features.typical_deal_with_its_own": {"removed", "scrambled"},
    "features.lead_features.next_change_of_the_deal": {"removed", "scrambled"},
    "features.lead_features.pushes_of_any_time": {"removed", "scrambled"},
    "features.lead_features.deal_stage_as_of": {"removed", "scrambled"},
    "features.lead_features.attribute_category": {"removed", "scrambled"},
    "features.lead_features.deal_age_days_vs_won": {"removed", "scrambled"},
    "labels.next_action.next_action": {"past"},
    "labels.conversion.converted": {"removed", "scrambled"},
}
"""Some planted leaks, and replays that show them."""
TOGETHER = [leak for leak in LEAKS if not leak.refused and not leak.is_template and (leak.feature or leak.batch == "1")]
"""Leaks that are planted together, of all kinds that a replay shows: no two of them reach the same column."""
REFUSED = ("two_parts_quoted", "table_of_a_hook", "days_to_current_date", "quoted_date", "function_as_a_column",
           "cast_of_the_database", "text_now_without_a_cast")  # fmt: skip
"""Leaks that must be refused: of each kind and engine some, and those that only a replay refuses."""


def proved(store: Store, **options: int) -> Certificate:
    with store.warehouse.connect() as connection:
        return prove(connection, store.build, SUBJECT, NOW, **options)


@pytest.fixture(scope="module")
def store(random_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Return a store with more features that are right."""
    folder = tmp_path_factory.mktemp("right")
    with copied(random_store, folder) as copy:
        yield planted(copy, CONTROLS, folder)


@pytest.fixture(scope="module")
def certificate(store: Store) -> Certificate:
    return proved(store)


@pytest.fixture(scope="module")
def leaking(random_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Return what was proved of a store with many leaks at once."""
    folder = tmp_path_factory.mktemp("leaking")
    with copied(random_store, folder) as copy:
        return proved(planted(copy, TOGETHER, folder))


def test_a_store_that_is_right_passes(store: Store, certificate: Certificate) -> None:
    assert certificate.differences == []
    assert certificate.passed
    assert (certificate.entities, certificate.entities_share) == (LEADS, 1.0)
    assert certificate.sql_sha256 == store.build.sha256
    rows = certificate.rows_by_variant
    assert set(rows) == {
        "store", "staggered", "removed", "scrambled", "forgotten_7d", "forgotten_30d", "forgotten_90d", "past"
    }  # fmt: skip
    assert min(rows.values()) > 10, "too few rows to tell"
    *before, clock = certificate.moments
    assert clock == store.build.as_of
    assert len(before) == 3
    with store.warehouse.connect() as connection:
        for each in certificate.comparisons:
            if each.variant == "scrambled" and each.table == "features.lead_features":
                (asked,) = connection.execute(
                    "select count(*) from staging.stg_leads as leads left join intermediate.lead_closings as closings "
                    "using (lead_id) where known_us < epoch_us($1) and coalesce(closed_us >= epoch_us($1), true)",
                    [each.moment],
                ).fetchone()
                (there,) = connection.execute(
                    "select count(*) from features.lead_features where as_of < $1 and not list_contains($2, as_of)",
                    [each.moment, before],
                ).fetchone()
                # at the own moment of a lead it is compared by `staggered` alone
                assert 0 <= there + asked - each.rows < LEADS / 4
    own = [name for name in certificate.not_exercised if name not in {control.name for control in CONTROLS}]
    assert own == ["lead_age_days", "as_of_weekday", "is_weekend"]


def test_the_same_build_gives_the_same_proof_and_leaves_the_store_as_it_was(
    store: Store, certificate: Certificate
) -> None:
    def without_times(certificate: Certificate) -> dict[str, object]:
        return {
            name: value for name, value in json.loads(certificate.to_json(accepted=False)).items() if name != "seconds"
        }

    assert without_times(proved(store)) == without_times(certificate)
    with store.warehouse.connect() as connection:
        assert connection.execute("select distinct database_name from duckdb_tables()").fetchall() == [("warehouse",)]


def test_of_many_leads_some_are_replayed_and_compared_with_a_replay_of_themselves(store: Store) -> None:
    certificate = proved(store, max_facts=1600)

    assert certificate.passed
    assert 20 < certificate.entities < LEADS / 2
    assert 0 < certificate.entities_share < 0.5
    assert certificate.rows_by_variant["removed"] > 100


def test_of_many_observations_those_of_some_leads_are_compared_with_the_store(
    store: Store, certificate: Certificate
) -> None:
    some = proved(store, max_observations=300)

    assert some.passed
    assert 20 < some.entities < LEADS / 2
    assert 0 < some.entities_share < 0.5
    assert 100 < some.rows_by_variant["removed"] < certificate.rows_by_variant["removed"] / 2
    assert 10 < some.rows_by_variant["past"] < certificate.rows_by_variant["past"]
    with store.warehouse.connect() as connection:
        connection.execute("create table kept as from features.lead_features")
        # whoever is in the sample: all have another value now
        connection.execute("update features.lead_features set source_closed_leads_count_lifetime = -1")
    try:
        differing = proved(store, max_observations=300).differing_columns
    finally:
        with store.warehouse.connect() as connection:
            connection.execute("create or replace table features.lead_features as from kept; drop table kept")
    assert differing == ["features.lead_features.source_closed_leads_count_lifetime"]


@pytest.mark.parametrize("column", CAUGHT_BY)
def test_a_planted_leak_is_caught_and_named(leaking: Certificate, column: str) -> None:
    found = [each for each in leaking.differences if f"{each.table}.{each.column}" == column]

    assert CAUGHT_BY[column] <= {each.variant for each in found}
    for each in found:
        assert each.stored != each.replayed
        assert each.rows >= 1
        assert each.key[0] in "Ll"
        assert column in each.sentence


def test_all_that_is_planted_is_named_and_no_feature_besides(leaking: Certificate) -> None:
    planted_ones = {name for leak in TOGETHER for name in leak.names}
    assert planted_ones >= set(CAUGHT_BY)
    assert planted_ones - set(leaking.differing_columns) == set()
    besides = set(leaking.differing_columns) - planted_ones
    # some leaks lie in tables between, and reach more than one column
    reached = {name.removeprefix("features.lead_features.") for name in besides}
    assert {name for name in reached if not name.startswith(("rep_", "source_")) and not name.endswith("_vs_won")} <= {
        "days_since_last_status_change",
        "days_since_last_deal_stage_change",
    }
    assert not leaking.passed
    shown = result(leaking, SUBJECT.view)
    assert not shown.passed
    assert "features.lead_features.status_of_today" in (shown.description or "")
    listed = {tuple(each.data.values())[:2] for each in shown.metadata["differences"].value.records}
    assert ("features.lead_features.answers_counted_when_asked", "removed") in listed


def test_leaks_of_customers_are_caught_and_nothing_else_is_named(random_store: Store, tmp_path: Path) -> None:
    assert len(CUSTOMER_LEAKS) >= 12
    with copied(random_store, tmp_path) as copy:
        store = planted(copy, CUSTOMER_LEAKS, tmp_path)
        with store.warehouse.connect() as connection:
            certificate = prove(connection, store.build, SUBJECTS[CUSTOMER], NOW)
    found = set(certificate.differing_columns)
    named = {name for leak in CUSTOMER_LEAKS for name in leak.names}
    assert named - found == set()
    # the quintiles reach all that is compared with them
    scores = re.compile(r"features\.customer_features\.((recency|frequency|monetary|rfm)_\w+|is_high_value)")
    assert {name for name in found - named if not scores.fullmatch(name)} == set()
    planted_ones = {leak.name for leak in CUSTOMER_LEAKS}
    assert [name for name in certificate.not_exercised if name not in planted_ones] == []


@pytest.mark.parametrize("kind", ["random_store", "postgres_store"])
def test_what_no_replay_can_vary_is_refused_by_name(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    store: Store = request.getfixturevalue(kind)
    here = [leak for leak in LEAKS if leak.name in REFUSED and store.engine in leak.engines]
    assert {leak.kind for leak in here} == {CLOCKS, RELATIONS}
    for batch in {leak.batch for leak in here}:
        caught = refused([leak for leak in here if leak.batch == batch], store, tmp_path)
        assert [leak.name for leak, is_caught in caught.items() if not is_caught] == []


def test_what_dbt_computes_while_it_compiles_is_refused_by_name(random_store: Store, tmp_path: Path) -> None:
    caught = of_templates(random_store, tmp_path, {}, VARIABLES)
    assert len(caught) > 20
    assert [leak.name for leak, is_caught in caught.items() if not is_caught] == []


def test_a_store_that_other_sql_has_made_is_caught(store: Store) -> None:
    with store.warehouse.connect() as connection:
        ((changed,), (gone,)) = connection.execute(
            "select lead_id from features.lead_features group by lead_id order by min(as_of), lead_id limit 2"
        ).fetchall()
        connection.execute("create table kept as from features.lead_features")
        connection.execute(
            "update features.lead_features set calls_count_7d = calls_count_7d + 1 where lead_id = $1", [changed]
        )
        connection.execute("delete from features.lead_features where lead_id = $1", [gone])
    try:
        certificate = proved(store)
    finally:
        with store.warehouse.connect() as connection:
            connection.execute("create or replace table features.lead_features as from kept; drop table kept")
    assert {"features.lead_features.calls_count_7d", "features.lead_features.(row)"} <= set(
        certificate.differing_columns
    )
    assert {each.key for each in certificate.differences} == {changed, gone}
    missing = next(each for each in certificate.differences if each.key == gone)
    assert (missing.stored, missing.replayed) == ("missing", "there")


def test_leaks_are_caught_on_postgresql_as_well(postgres_store: Store, tmp_path: Path) -> None:
    before = _schemas(postgres_store)
    certificate = proved(postgres_store)
    assert certificate.differences == []
    assert min(certificate.rows_by_variant.values()) > 5
    assert _schemas(postgres_store) == before
    # some of every kind that is in the SQL, but none at few moments: this store has few leads
    some = [leak for leak in TOGETHER if CAUGHT_BY.get(leak.names[0], {"staggered"}) != {"staggered"}]
    some += [leak for leak in TOGETHER if leak.kind == RARE][::4]
    assert {leak.kind for leak in some} >= {leak.kind for leak in TOGETHER} - {COMPILED}
    with copied(postgres_store, tmp_path) as copy:
        certificate = proved(planted(copy, some, tmp_path))
    assert {name for leak in some for name in leak.names} - set(certificate.differing_columns) == set()


def _schemas(store: Store) -> list[tuple[str, ...]]:
    with store.warehouse.connect() as connection:
        return connection.execute("select schema_name from information_schema.schemata order by 1").fetchall()


NOT_OF_THE_STORE = ("select * from nowhere", "select cast('a' as int) as a", "select nothing(1)", "select from (")
ENDLESS = "select count(*) as n from generate_series(1, 1000000000000) as made"


def _run(warehouse: Warehouse, query: str, before: Callable[[Connection], object] = lambda _: None) -> None:
    with warehouse.connect() as opened, opened.scratch("t") as beside, beside.world() as found:
        before(opened)
        found.make(("a", "b"), query)


def test_what_the_machine_or_a_person_does_is_no_failed_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Warehouse(address=f"duckdb:{tmp_path / 'w.duckdb'}")
    for query in NOT_OF_THE_STORE:
        with pytest.raises(ReplayError):
            _run(file, query)
    # when DuckDB looks for Ctrl-C is its own affair: this is how it says that it has found one
    with pytest.raises(KeyboardInterrupt), file.connect():
        raise RuntimeError("Query interrupted")
    connect, bounds = duckdb.connect, {"memory_limit": "20MB", "max_temp_directory_size": "0KB"}
    monkeypatch.setattr(duckdb, "connect", lambda path, config=None: connect(path, config={**(config or {}), **bounds}))
    with pytest.raises(duckdb.OutOfMemoryException):
        _run(file, "select list(i) as i from range(100000000) as made(i)")


def test_what_a_server_or_a_person_does_is_no_failed_proof(warehouse: Warehouse) -> None:
    for query in NOT_OF_THE_STORE:
        with pytest.raises(ReplayError):
            _run(warehouse, query)
    with pytest.raises(adbc_driver_manager.OperationalError, match="statement timeout"):
        _run(warehouse, ENDLESS, lambda opened: opened.execute("set local statement_timeout = 50"))
    # Ctrl-C, which the driver takes for itself
    pressed = Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt) as caught:
        _run(warehouse, ENDLESS, lambda _: pressed.start())
    pressed.join()
    assert isinstance(caught.value.__cause__, adbc_driver_manager.OperationalError)


def test_a_moment_is_chosen_by_its_rows_and_another_clock_chooses_another() -> None:
    days = [(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day), day) for day in range(300)]

    assert chosen(days, "seed") == chosen(days, "seed")
    picked = [chosen(days, f"{seed}") for seed in range(400)]
    assert len(set(picked)) > 100
    assert days[0][0] not in picked
    assert 80 < sum(each < days[150][0] for each in picked) < 120, "of the rows a quarter is there"
    assert chosen(days[1:2], "seed") == days[1][0]
