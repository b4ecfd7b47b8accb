"""A publication compared with what it replaces: what is refused, what is honest, and what is taken back."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import duckdb
import pytest

from assets.platform.keys import SNAPSHOT
from assets.publishing.last_publication import recorded, why_lost
from store.ledger.schema import ensure
from store.publishing.publications import Publication, Replacement, digest, findings, lost_by_groups, read
from store.warehouse.duckdb.marts import PUBLISHED, attached, take_back
from store.warehouse.engine import Standing
from store.warehouse.warehouse import Warehouse
from tests.postgres import database, execute, rows
from tests.snapshots import published_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.warehouse.connection import Connection

SCORES, HISTORY = "lead_scores", "lead_score_history"
OTHERS, OF_OTHERS = "customer_scores", "customer_score_history"

PUBLISHED_SCORES = Standing(
    as_of={SCORES: "2026-06-30T00:00:00+00:00"},
    rows={SCORES: 193, HISTORY: 373},
    columns={SCORES: ["lead_id", "grade"]},
    scored={"conversion": 193, "next_best_action": 193},
    versions={"conversion": ["c1"], "next_best_action": ["a1"]},
)
RETIRED = {"conversion": "The champion c1, of an earlier recipe, scores no longer."}
KNOWN = frozenset({("conversion", "c1"), ("next_best_action", "a1")})
NOT_ONE = "marts.lead_scores: 193 of 193 leads are published with a score of {}, 0 of 190 would have one"


def found(lost: int = 0, known: frozenset[tuple[str, str]] = KNOWN, **built: Any) -> list[str]:
    """Return the findings of what would take the place of the published scores, where it is another."""
    by_default = {"as_of": {SCORES: "2026-07-01T00:00:00+00:00"}, "rows": {SCORES: 190, HISTORY: 563}}
    scored = {"conversion": built.get("rows", by_default["rows"])[SCORES], "next_best_action": 190}
    standing = replace(PUBLISHED_SCORES, **{**by_default, "scored": scored, **built})
    return findings(Replacement(published=PUBLISHED_SCORES, built=standing, lost={HISTORY: lost}, known_versions=known))


def test_an_ordinary_night_loses_nothing() -> None:
    assert found() == []


def test_a_table_that_would_be_emptied_is_named_once() -> None:
    none = {"conversion": 0, "next_best_action": 0}
    emptied = "marts.lead_scores: 193 rows are published, none would take their place"
    assert found(as_of={}, rows={SCORES: 0, HISTORY: 373}, scored=none) == [emptied]
    # not even a clock of before the first lead empties a table by itself
    long_ago = {SCORES: "2020-01-01T00:00:00+00:00"}
    assert found(as_of=long_ago, rows={SCORES: 0, HISTORY: 373}, scored=none) == [emptied]


@pytest.mark.parametrize(("leads", "refused"), [(97, False), (96, True)])
def test_most_leads_may_not_go_in_a_night(leads: int, refused: bool) -> None:
    expected = ["marts.lead_scores: 193 leads are published, 96 would take their place"] if refused else []
    scored = {"conversion": leads, "next_best_action": leads}
    assert found(rows={SCORES: leads, HISTORY: 563}, scored=scored) == expected
    # leads that nobody had yet are not there as of an earlier clock
    earlier = {SCORES: "2025-07-01T00:00:00+00:00"}
    assert found(rows={SCORES: leads, HISTORY: 563}, scored=scored, as_of=earlier) == []


def test_a_few_leads_may_close_in_a_day() -> None:
    few = replace(PUBLISHED_SCORES, rows={SCORES: 19, HISTORY: 19}, scored={"conversion": 19})
    one = replace(few, rows={SCORES: 1, HISTORY: 20}, scored={"conversion": 1})
    assert findings(Replacement(published=few, built=one, lost={}, known_versions=KNOWN)) == []


def test_the_scores_of_a_model_may_go_if_the_ledger_says_why_and_not_otherwise() -> None:
    scored = {"conversion": 0, "next_best_action": 190}
    assert found(scored=scored, reasons=RETIRED) == []
    assert found(scored=scored) == [NOT_ONE.format("conversion")]
    # a lost warehouse has a reason too, but knows nothing of the version that has scored
    never = "The model has never been trained: run the job whole_loop"
    assert found(scored=scored, reasons={"conversion": f"{never}."}, known=frozenset({("next_best_action", "a1")})) == [
        f"{NOT_ONE.format('conversion')} ({never})"
    ]
    assert found(scored={"conversion": 94, "next_best_action": 190}, reasons=RETIRED) == [
        "marts.lead_scores: 193 of 193 leads are published with a score of conversion, 94 of 190 would have one "
        "(The champion c1, of an earlier recipe, scores no longer)"
    ]


def test_a_row_of_history_and_a_column_are_not_lost_in_silence() -> None:
    assert found(lost=1, columns={SCORES: ["lead_id"]}) == [
        "marts.lead_score_history: 373 rows are published, 1 of them would be lost, and 563 rows would be there",
        "marts.lead_scores: 2 columns are published, grade among them, which is not built any more",
    ]


def test_a_record_knows_the_history_by_clock_so_that_new_rows_do_not_stand_in_for_lost_ones() -> None:
    before, after = (
        [["monday", "c1", None, 10], ["tuesday", "c1", "a1", 20]],
        [["tuesday", "c1", "a1", 15], ["wednesday", "c1", "a1", 25]],
    )
    published, built = (
        Standing(rows={HISTORY: 30}, history={HISTORY: before}),
        Standing(rows={HISTORY: 40}, history={HISTORY: after}),
    )
    assert lost_by_groups(published, built, HISTORY) == 15
    assert lost_by_groups(replace(published, history={}), built, HISTORY) == 0
    assert lost_by_groups(replace(published, history={}, rows={HISTORY: 41}), built, HISTORY) == 1


def test_a_record_of_an_earlier_release_has_one_clock_and_one_history(tmp_path: Path) -> None:
    of_earlier = {
        "rows": {SCORES: 30, HISTORY: 30, "rep_scores": 3},
        **{name: {} for name in ("columns", "scored", "versions", "reasons")},
    }
    record = tmp_path / "publication.json"
    for clock, history in (("2026-06-30T00:00:00+00:00", [["monday", "c1", None, 30]]), (None, None)):
        standing = {**of_earlier, "as_of": clock, "history": history}
        record.write_text(json.dumps({"standing": standing, "accepted": []}))
        read_back = read(record)
        assert read_back is not None
        assert read_back.standing.as_of == ({} if clock is None else {SCORES: clock})
        assert read_back.standing.history == ({} if history is None else {HISTORY: history})


# what lies in warehouses and before readers


@dataclass(frozen=True, kw_only=True)
class Place:
    """A warehouse, and where its readers look."""

    warehouse: Warehouse
    publication: Publication

    def build(self, day: int, *, scored: bool = True, leads: int = 30, customers: int = 0) -> None:
        """Build the marts of a day of January 2026 as a run does: the histories by appending, the scores anew."""
        versions = "'c1' as conversion_model_version, 'a1' as action_model_version"
        if not scored:
            versions = "cast(null as text) as conversion_model_version, cast(null as text) as action_model_version"
        value = 0.5 if scored else "cast(null as double precision)"
        unscored = "cast(null as text)" if scored else "'The model has never been trained.'"
        marts = self.warehouse.engine.marts
        rows_of_day = (
            f"select 'L' || n as lead_id, timestamptz '2026-01-{day:02} 00:00:00+00' as as_of, {versions}, "
            f"{value} as conversion_probability, {value} as action_confidence"
        )
        listed = f"from generate_series(1, {leads}) as numbers (n)"
        history = f"create table if not exists {marts}.{HISTORY} as {rows_of_day} {listed}"
        execute(
            self.warehouse,
            f"create schema if not exists {marts}",
            "create schema if not exists raw",
            "drop table if exists raw.extraction",
            f"create table raw.extraction as select timestamptz '2026-01-{day:02} 00:00:00+00' as as_of, "
            "'x' as source, 'contract' as mapping, '[]' as closing_outcomes, '{}' as horizon_days, "
            "'[]' as assumptions, cast(null as integer) as silence_closes_after_days",
            f"drop table if exists {marts}.{SCORES}",
            f"create table {marts}.{SCORES} as {rows_of_day}, {unscored} as conversion_unscored_reason, "
            f"{unscored} as action_unscored_reason {listed}",
            f"{history} limit 0",
            *([f"insert into {marts}.{HISTORY} {rows_of_day} {listed}"] if scored else []),
            *self._others(f"timestamptz '2026-01-{day:02} 00:00:00+00' as as_of", customers),
        )
        if scored:
            self.train()

    def _others(self, as_of: str, customers: int) -> list[str]:
        """Return the statements that build the marts of another entity."""
        marts = self.warehouse.engine.marts
        rows_of_day = (
            f"select 'C' || n as customer_id, {as_of}, 0.5 as churn_30d_probability, 'l1' as churn_30d_model_version, "
            "cast(null as text) as churn_60d_model_version from generate_series(1, "
        )
        return [
            f"drop table if exists {marts}.customer_segments",
            f"create table {marts}.customer_segments as {rows_of_day}{customers}) as numbers (n)",
            f"drop table if exists {marts}.{OTHERS}",
            f"create table {marts}.{OTHERS} as {rows_of_day}{customers}) as numbers (n)",
            f"create table if not exists {marts}.{OF_OTHERS} as {rows_of_day}0) as numbers (n)",
            f"insert into {marts}.{OF_OTHERS} {rows_of_day}{customers}) as numbers (n)",
        ]

    def train(self) -> None:
        """Have the ledger know both versions."""
        with self.warehouse.connect() as connection:
            ensure(connection)
            for model, version in KNOWN:
                connection.execute(
                    "insert into ml.ml_models (model, version, training_set_id, horizon_days, rows, entities, "
                    "first_as_of, last_as_of, artifact, manifest_sha256, metrics, baseline, missed_gates, libraries, "
                    "created_at) select $1, $2, 't', 30, 1, 1, timestamptz '2026-01-01', "
                    "timestamptz '2026-01-01', 'a', 's', '{}', '{}', '[]', '{}', timestamptz '2026-01-01' "
                    "where not exists (select 1 from ml.ml_models where version = $2)",
                    [model, version],
                )

    def publish(self, *, accepted: str = "") -> dict[str, Any]:
        """Publish, and return the metadata."""
        publication = Publication(path=self.publication.path, record=self.publication.record, accepted=accepted)
        result = published_snapshot()(dg.build_asset_context(), warehouse=self.warehouse, publication=publication)
        assert isinstance(result, dg.MaterializeResult)
        return dict(result.metadata or {})

    def refused(self, **settings: str) -> str:
        """Publish in vain, and return the reason."""
        before = self.published()
        with pytest.raises(dg.Failure) as failure:
            self.publish(**settings)
        assert not failure.value.allow_retries
        assert self.published() == before
        return failure.value.description or ""

    def published(self) -> tuple[int, int, list[tuple[int, int]]]:
        """Return what readers see: leads, leads with a score, and rows of history by day."""
        counts = f"select count(*), count(conversion_probability) from marts.{SCORES}"
        days = f"select cast(extract(day from as_of) as integer), count(*) from marts.{HISTORY} group by 1 order by 1"
        if not self.warehouse.engine.is_file:
            return *rows(self.warehouse, counts)[0], rows(self.warehouse, days)
        with duckdb.connect(self.publication.path, read_only=True) as readers:
            readers.execute("set TimeZone = 'UTC'")
            return *readers.execute(counts).fetchall()[0], readers.execute(days).fetchall()


@pytest.fixture
def file(tmp_path: Path) -> Place:
    return Place(warehouse=Warehouse(address=f"duckdb:{tmp_path / 'warehouse.duckdb'}"), publication=_in(tmp_path))


@pytest.fixture(params=["duckdb", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "duckdb":
        yield request.getfixturevalue("file")
        return
    with database(request.getfixturevalue("running")) as address:
        yield Place(warehouse=Warehouse(address=address), publication=_in(tmp_path))


def _in(home: Path) -> Publication:
    return Publication(path=str(home / "published" / "leadline.duckdb"), record=str(home / "publication.json"))


def lose(place: Place) -> None:
    """Delete the file of a warehouse, or empty its database."""
    if place.warehouse.engine.is_file:
        execute(place.warehouse, "checkpoint")
        Path(place.warehouse.shown).unlink()
        return
    execute(
        place.warehouse,
        *(f"drop schema if exists {name} cascade" for name in ("raw", "ml", "marts", "marts_unpublished")),
    )


def test_scores_that_go_with_a_ledger_are_kept_until_a_person_says_that_it_is_meant(place: Place) -> None:
    place.build(1)
    assert place.publish()["dagster/row_count"] == 30
    execute(place.warehouse, "delete from ml.ml_models")
    place.build(2, scored=False)

    reason = place.refused()

    assert (
        "marts.lead_scores: 30 of 30 leads are published with a score of conversion, 0 of 30 would have one" in reason
    )
    assert "Versions of published scores (c1, a1) are not in ml.ml_models" in reason
    (accepted, clock) = re.findall(r"LEADLINE_ACCEPT_PUBLICATION=(\S+) LEADLINE_AS_OF=([^`]+)`", reason)[0]
    assert clock == "2026-01-02T00:00:00+00:00"
    assert "LEADLINE_ACCEPT_PUBLICATION" in place.refused(accepted=digest(["others"])[:12])

    assert "score of conversion, 0 of 30" in place.publish(accepted=accepted)["accepted"].md_str
    assert place.published() == (30, 0, [(1, 30)])
    record = read_record(place)
    assert [each.rpartition(" (")[0] for each in record] == [
        f"marts.lead_scores: 30 of 30 leads are published with a score of {model}, 0 of 30 would have one"
        for model in ("conversion", "next_best_action")
    ]
    # what is lost is lost, and the next publication has nothing to say of it
    place.build(3)
    place.publish()
    assert read_record(place) == []


def test_a_column_that_an_earlier_state_lacks_makes_no_row_another_one(place: Place) -> None:
    """A history that readers have without `value_model_version` gains it, and a version of it makes rows of its own."""
    place.build(1)
    place.publish()
    marts = place.warehouse.engine.marts
    for table in (SCORES, HISTORY):
        execute(place.warehouse, f"alter table {marts}.{table} add column value_model_version text")
    place.publish()
    assert place.published() == (30, 30, [(1, 30)])

    execute(
        place.warehouse,
        f"create table raw.again as select * from {marts}.{HISTORY}",
        "update raw.again set value_model_version = 'd1'",
        f"insert into {marts}.{HISTORY} select * from raw.again where lead_id in ('L1', 'L2')",
    )
    place.publish()
    assert place.published() == (30, 30, [(1, 32)])


def test_a_row_of_another_version_of_the_value_does_not_stand_in_for_a_lost_one(file: Place) -> None:
    file.build(1)
    for table in (SCORES, HISTORY):
        execute(file.warehouse, f"alter table marts.{table} add column value_model_version text")
    execute(file.warehouse, f"update marts.{HISTORY} set value_model_version = 'd1' where lead_id in ('L1', 'L2')")
    file.publish()

    execute(file.warehouse, f"update marts.{HISTORY} set value_model_version = 'd2' where lead_id in ('L1', 'L2')")

    assert "30 rows are published, 2 of them would be lost, and 30 rows would be there" in file.refused()


def read_record(place: Place) -> list[str]:
    record = read(Path(place.publication.record))
    assert record is not None
    return record.accepted


def test_rows_that_leave_the_history_of_the_warehouse_do_not_leave_that_of_the_readers(place: Place) -> None:
    for day in (1, 2):
        place.build(day)
        place.publish()
    execute(
        place.warehouse, f"delete from {place.warehouse.engine.marts}.{HISTORY} where lead_id in ('L1', 'L2', 'L3')"
    )
    place.build(3)
    if place.warehouse.engine.is_file:
        reason = place.refused()
        assert "60 rows are published, 6 of them would be lost, and 84 rows would be there" in reason
        assert "not in ml.ml_models" not in reason
    else:
        # rows are only ever added to the table that they read
        place.publish()
        assert place.published() == (30, 30, [(1, 30), (2, 30), (3, 30)])


def test_columns_that_are_built_no_more_do_not_leave_in_silence(place: Place) -> None:
    place.build(1)
    place.publish()
    place.build(2)
    marts = place.warehouse.engine.marts
    execute(
        place.warehouse,
        f"alter table {marts}.{HISTORY} drop column action_confidence",
        f"alter table {marts}.{SCORES} drop column action_unscored_reason",
    )
    reason = place.refused()
    gone = "columns are published, {} among them, which is not built any more"
    assert f"marts.lead_scores: 8 {gone.format('action_unscored_reason')}" in reason
    # a table to which rows are added keeps its columns
    of_history = f"marts.lead_score_history: 6 {gone.format('action_confidence')}"
    assert (of_history in reason) == place.warehouse.engine.is_file


def test_what_readers_had_is_remembered_where_it_is_gone_as_well(place: Place) -> None:
    for day in (1, 2):
        place.build(day)
        place.publish()
    lose(place)
    if place.warehouse.engine.is_file:
        Path(place.publication.path).unlink()
    place.build(2)
    with pytest.raises(dg.Failure) as refused:
        place.publish()
    reason = refused.value.description or ""
    assert (
        "marts.lead_score_history: 60 rows are published, 30 of them would be lost, and 30 rows would be there"
        in reason
    )
    accepted = reason.split("LEADLINE_ACCEPT_PUBLICATION=")[1].split()[0]
    place.publish(accepted=accepted)
    assert place.published() == (30, 30, [(2, 30)])


@pytest.mark.parametrize("damage", ["gone", "empty", "header", "middle", "cut"])
def test_a_published_file_that_is_gone_or_damaged_is_written_anew_and_that_is_said(
    file: Place, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file.build(1)
    file.publish()
    path = Path(file.publication.path)
    content = bytearray(path.read_bytes())
    # whole blocks, as a disk loses them
    for start in {"header": [0], "middle": range(12_288, len(content), 4096)}.get(damage, ()):
        content[start : start + 4096] = bytes(4096)
    path.write_bytes({"empty": b"", "cut": content[: len(content) // 2]}.get(damage, content))
    if damage == "gone":
        path.unlink()
    file.build(2)
    file.publish()
    assert file.published() == (30, 30, [(1, 30), (2, 30)])
    assert "30 rows of lead_scores" in capsys.readouterr().err


def test_a_reader_who_opened_the_file_to_write_holds_nothing_up(file: Place) -> None:
    file.build(1)
    file.publish()
    opened = (
        f"import duckdb, sys; c = duckdb.connect({file.publication.path!r}); print(1, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", opened], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "1\n"
        execute(file.warehouse, f"delete from marts.{HISTORY} where lead_id = 'L1'")
        file.build(2)
        with pytest.raises(dg.Failure, match="30 rows are published, 1 of them would be lost"):
            file.publish()
        reader.communicate()
    assert [each.name for each in sorted(_folder(file).iterdir())] == ["leadline.duckdb"]


def _folder(place: Place) -> Path:
    return Path(place.publication.path).parent


def test_each_scored_table_is_guarded_previewed_and_taken_back(place: Place) -> None:
    place.build(1, customers=40)
    metadata = place.publish()
    assert metadata["dagster/row_count"] == 70
    assert {f"first_rows_{name}" for name in (SCORES, OTHERS)} <= set(metadata)
    place.build(2, customers=7)
    reason = place.refused()
    assert f"marts.{OTHERS}: 40 customers are published, 7 would take their place" in reason
    assert f"marts.{SCORES}" not in reason

    lose(place)
    with dg.DagsterInstance.ephemeral() as instance:
        lost = why_lost(place.warehouse, place.publication, instance) or ""
    assert "30 leads as of 2026-01-01T00:00:00+00:00 and 30 rows of history" in lost
    assert "40 customers as of 2026-01-01T00:00:00+00:00 and 40 rows of history" in lost
    if place.warehouse.engine.is_file:
        with beside_what_is_published(place) as connection:
            assert take_back(connection, lambda _: []) == {HISTORY: 30, OF_OTHERS: 40}


def test_an_earlier_clock_takes_the_place_of_a_later_one_and_that_is_said(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.build(9)
    place.publish()
    place.build(2, leads=12)
    place.publish()
    assert place.published() == (12, 12, [(2, 12), (9, 30)])
    assert "the scores as of 2026-01-02T00:00:00+00:00 take the place of later ones" in capsys.readouterr().err


@contextmanager
def beside_what_is_published(place: Place) -> Iterator[Connection]:
    with place.warehouse.connect() as connection, attached(connection, _folder(place) / "leadline.duckdb") as problem:
        assert problem is None
        yield connection


def test_a_new_warehouse_takes_the_whole_history_back_as_it_was_published(file: Place) -> None:
    for day in (1, 2):
        file.build(day)
        file.publish()
    lose(file)
    with beside_what_is_published(file) as connection:
        assert take_back(connection, lambda _: ["as_of"]) == {HISTORY: 60, OF_OTHERS: 0}
        ensure(connection)
        assert take_back(connection, lambda _: ["as_of"]) == {HISTORY: 0, OF_OTHERS: 0}
        assert connection.execute(f"from marts.{HISTORY} except from {PUBLISHED}.marts.{HISTORY}").fetchall() == []
        never_null = connection.execute(
            "select column_name from duckdb_columns() where database_name <> $1 and table_name = $2 "
            "and not is_nullable order by 1",
            [PUBLISHED, HISTORY],
        ).fetchall()
    assert never_null == [("as_of",)]


def test_an_older_warehouse_takes_back_what_its_ledger_does_not_know_and_not_what_was_removed(file: Place) -> None:
    for day in (1, 2, 3):
        file.build(day)
        file.publish()
    # as a backup of the second day has it, from which a person has erased a lead
    execute(
        file.warehouse,
        f"delete from marts.{HISTORY} where as_of >= '2026-01-03' or lead_id = 'L7'",
        *(
            f"insert into ml.ml_scoring_logs values ('conversion', '2026-01-0{day} 00:00:00+00', 'c1', 30, 30, null, "
            "'2026-01-01', 0)"
            for day in (1, 2)
        ),
    )
    with beside_what_is_published(file) as connection:
        assert take_back(connection, lambda _: []) == {HISTORY: 30, OF_OTHERS: 0}
        assert take_back(connection, lambda _: []) == {HISTORY: 0, OF_OTHERS: 0}
        # at a clock that it has scored itself, and with a version that it has never trained
        connection.execute("delete from ml.ml_models where version = 'a1'")
        assert take_back(connection, lambda _: []) == {HISTORY: 2, OF_OTHERS: 0}


def test_a_lost_warehouse_is_known_by_what_it_has_published(place: Place) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert why_lost(place.warehouse, place.publication, instance) is None
        place.build(1)
        place.publish()
        assert why_lost(place.warehouse, place.publication, instance) is None
        lose(place)
        lost = why_lost(place.warehouse, place.publication, instance) or ""
        assert "published 30 leads as of 2026-01-01T00:00:00+00:00 and 30 rows of history, found one in which" in lost
        kept = "is taken back" if place.warehouse.engine.is_file else "only a backup brings them back"
        assert kept in lost
        # a night that has filled it again, in vain, does not hide it
        place.build(2, scored=False)
        assert why_lost(place.warehouse, place.publication, instance) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"standing": 1, "accepted": []}',
        '{"standing": {"unknown": 1}}',
        '{"standing": {"rows": null}, "accepted": []}',
        '{"standing": {}, "accepted": null}',
    ],
)
def test_a_record_that_is_damaged_is_as_if_there_were_none(text: str, tmp_path: Path) -> None:
    path = tmp_path / "publication.json"
    assert read(path) is None
    path.write_text(text)
    assert read(path) is None


def test_a_home_of_an_earlier_state_knows_its_publication_from_the_event_log(place: Place) -> None:
    place.build(1)
    with dg.DagsterInstance.ephemeral() as instance:
        assert recorded(place.publication, instance) == Standing()
        counts = {SCORES: 193, HISTORY: 373}
        instance.report_runless_asset_event(
            dg.AssetMaterialization(SNAPSHOT, metadata={"rows": dg.MetadataValue.json(counts)})
        )
        assert recorded(place.publication, instance) == Standing(rows=counts)
        lose(place)
        lost = why_lost(place.warehouse, place.publication, instance) or ""
        assert "published 193 leads and 373 rows of history" in lost
