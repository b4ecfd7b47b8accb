"""A question for features is answered row by row, by the SQL of the store, on both engines."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import dagster as dg
import pandas as pd
import pytest
import yaml
from pandas.testing import assert_frame_equal

from assets.features.questions import question_job
from store.artifacts import ArtifactStore
from store.features.certificates import CompiledSql
from store.features.compiled import NotCompiledError, write
from store.features.features_at import QuestionError, features_at, stored_ids
from store.warehouse.postgres.engine import PostgresConnection
from store.warehouse.warehouse import StaleFeaturesError
from tests.dbt.random_crm import CLOCK
from tests.homes import documentation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.replayed import Store

LABELS = ["conversion", "next_action"]
KEY = ["lead_id", "as_of"]


@pytest.fixture(params=["duckdb", "postgres"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue("random_store" if request.param == "duckdb" else "postgres_store")
    return found


def ask(store: Store, question: object, folder: Path, labels: Sequence[str] | None = None) -> pd.DataFrame:
    compiled = folder / "feature_store.json"
    write(compiled, store.build)
    with store.warehouse.connect() as connection:
        connection.execute("drop table if exists features.feature_clock")
        connection.execute(f"create table features.feature_clock as select timestamptz '{CLOCK.isoformat()}' as as_of")
        connection.execute("drop table if exists raw.extraction")
        connection.execute(
            f"create table raw.extraction as select timestamptz '{CLOCK.isoformat()}' as as_of, 'here' as source, "
            "'contract' as mapping, '[]' as closing_outcomes, 30 as silence_closes_after_days, '{}' as horizon_days, "
            "'[]' as assumptions"
        )
    return features_at(question, labels=labels or [], warehouse=store.warehouse, compiled=compiled)


def frame(store: Store, query: str) -> pd.DataFrame:
    with store.warehouse.connect() as connection:
        found: pd.DataFrame = connection.execute(query).df()
    return found


def test_observations_of_the_store_have_the_features_and_labels_of_the_store(store: Store, tmp_path: Path) -> None:
    stored = frame(
        store,
        "select features.*, converted, conversion.matures_at as conversion_matures_at, next_action, "
        "next_action.matures_at as next_action_matures_at, succeeded_at from features.lead_features as features "
        "left join labels.conversion using (lead_id, as_of) left join labels.next_action using (lead_id, as_of)",
    )
    shuffled = stored.sample(frac=1, random_state=3, ignore_index=True)

    answer = ask(store, shuffled[KEY], tmp_path, LABELS)

    assert set(answer["entity_state"]) == {"open"}
    columns = [name for name in shuffled.columns if name != "observation_kind"]
    assert sorted(answer.columns) == sorted([*columns, "entity_state"])
    assert answer["converted"].notna().any()
    assert answer["converted"].isna().any()
    assert_frame_equal(answer[columns], shuffled[columns])


def test_the_answer_has_the_rows_of_the_question_in_its_order(store: Store, tmp_path: Path) -> None:
    # a lead that begins with its creation, for a fact may be older than its lead
    created = frame(
        store,
        "select lead_id, created_at from raw.leads inner join intermediate.timeline using (lead_id) "
        "where fact = 'lead_created' and fact_number = 1 order by created_at, lead_id limit 2",
    )
    lead, at = created["lead_id"][0], created["created_at"][0].to_pydatetime()
    other = at + timedelta(days=9, hours=5, microseconds=1)
    question = pd.DataFrame(
        {
            "mine": [7, 6, 5, 4, 3],
            "lead_id": [lead, "nobody", lead, lead, lead],
            "as_of": [other, other, at, other, at + timedelta(microseconds=1)],
        },
        index=[10, 10, 3, 4, 5],
    )

    answer = ask(store, question, tmp_path, ["conversion"])

    assert_frame_equal(answer[["mine", *KEY]], question.assign(as_of=question["as_of"].dt.as_unit("us")))
    assert list(answer["entity_state"].iloc[1:3]) == ["unknown", "not_created"]
    features = answer.columns.drop([*question.columns, "entity_state"])
    assert answer[features].iloc[[1, 2]].isna().all(axis=None)
    assert_frame_equal(answer.iloc[[0]].drop(columns="mine").reset_index(drop=True),
                       answer.iloc[[3]].drop(columns="mine").reset_index(drop=True))  # fmt: skip
    assert list(answer["facts_count_lifetime"].iloc[[4]]) == [1]
    assert answer["lead_age_days"].iloc[0] == pytest.approx(9 + 5 / 24, abs=1e-9)


def test_a_closed_lead_has_features_and_no_label(store: Store, tmp_path: Path) -> None:
    closed = frame(
        store,
        "select lead_id, closed_us from intermediate.lead_closings inner join staging.stg_leads using (lead_id) "
        "where known_us < closed_us and closed_us < "
        f"{(CLOCK - timedelta(days=60)).timestamp() * 1_000_000:.0f} order by lead_id limit 5",
    )
    at = pd.to_datetime(closed["closed_us"], unit="us", utc=True)
    question = pd.concat(
        [
            pd.DataFrame({"lead_id": closed["lead_id"], "as_of": at}),
            pd.DataFrame({"lead_id": closed["lead_id"], "as_of": at + pd.Timedelta(microseconds=1)}),
        ],
        ignore_index=True,
    )

    answer = ask(store, question, tmp_path, ["conversion"])

    assert list(answer["entity_state"]) == ["open"] * 5 + ["closed"] * 5
    assert list(answer["converted"].notna()) == [True] * 5 + [False] * 5
    assert answer["facts_count_lifetime"].notna().all()


def test_nothing_is_known_of_what_comes_at_the_moment_or_after_it(store: Store, tmp_path: Path) -> None:
    facts = frame(store, "select lead_id, known_us from intermediate.timeline order by lead_id, known_us, fact_number")
    some = facts.drop_duplicates().groupby("lead_id").nth(2)
    some = some[some["known_us"] <= CLOCK.timestamp() * 1_000_000]
    times = pd.to_datetime(some["known_us"], unit="us", utc=True)

    answer = ask(store, pd.DataFrame({"lead_id": some["lead_id"], "as_of": times}), tmp_path)

    assert len(answer) > 50
    earlier = [
        int(((facts["lead_id"] == lead) & (facts["known_us"] < at)).sum())
        for lead, at in zip(some["lead_id"], some["known_us"], strict=True)
    ]
    there = answer["entity_state"].isin(["open", "closed"]).to_numpy()
    assert list(answer["facts_count_lifetime"][there]) == [
        n for n, is_there in zip(earlier, there, strict=True) if is_there
    ]


def test_a_question_may_be_a_file_or_a_table(random_store: Store, tmp_path: Path) -> None:
    question = frame(random_store, "select lead_id, as_of from features.lead_features order by as_of, lead_id limit 20")
    question.to_parquet(tmp_path / "question.parquet", index=False)
    text = question.assign(as_of=[each.isoformat() for each in question["as_of"]])
    text.to_csv(tmp_path / "question.csv", index=False)
    with random_store.warehouse.connect() as connection:
        connection.register("question", question)
        connection.execute("create or replace table main.asked_by_me as select * from question order by as_of, lead_id")

    answers = [
        ask(random_store, each, tmp_path, LABELS)
        for each in (tmp_path / "question.parquet", str(tmp_path / "question.csv"), "main.asked_by_me", question)
    ]

    for each in answers[:3]:
        assert_frame_equal(each, answers[3], check_dtype=False)


def test_an_empty_question_has_an_empty_answer(random_store: Store, tmp_path: Path) -> None:
    question = frame(random_store, "select lead_id, as_of from features.lead_features limit 0")
    answer = ask(random_store, question, tmp_path, LABELS)
    assert len(answer) == 0
    assert {"converted", "next_action", "facts_count_7d"} <= set(answer.columns)


AT = pd.Timestamp("2024-05-01", tz="UTC")


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"lead_id": ["L1"]}, r"expected the columns lead_id and as_of, found \['lead_id'\]; as_of is missing"),
        ({"lead_id": ["L1"], "as_of": [AT.tz_localize(None)]}, r"times with a zone in as_of.*found times without one"),
        ({"lead_id": ["L1", "L2"], "as_of": ["2024-05-01T00:00:00Z", "2024-05-01"]}, r"without one in 1 of 2 .*row 2"),
        ({"lead_id": ["L1"], "as_of": ["2024-15-01T00:00:00Z"]}, r"found other text in 1 of 1 rows"),
        (
            {"lead_id": ["L1", None], "as_of": [AT, AT]},
            r"expected a value in lead_id in every row, found none in 1 of 2",
        ),
        (
            {"lead_id": ["L1"], "as_of": [CLOCK + timedelta(microseconds=1)]},
            r"up to the clock of the store, 2024-09-27",
        ),
        ({"lead_id": [1.0], "as_of": [AT]}, r"expected text in lead_id, found decimals"),
        ({"lead_id": ["L1"], "as_of": [AT], "calls_count_7d": [3]}, r"found \['calls_count_7d'\]. Rename them"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    random_store: Store, tmp_path: Path, question: dict[str, list[object]], message: str
) -> None:
    with pytest.raises(QuestionError, match=message):
        ask(random_store, pd.DataFrame(question), tmp_path)


def test_what_is_given_twice_is_refused(random_store: Store, tmp_path: Path) -> None:
    question = pd.DataFrame({"lead_id": ["L1"], "as_of": [AT]})
    with pytest.raises(QuestionError, match=r"expected each once, found \['conversion', 'conversion'\]"):
        ask(random_store, question, tmp_path, ["conversion", "conversion"])
    with pytest.raises(QuestionError, match=r"expected one column lead_id .*found \['lead_id', 'lead_id', 'as_of'\]"):
        ask(random_store, question[["lead_id", "lead_id", "as_of"]], tmp_path)


def test_identifiers_of_a_file_are_text_whatever_they_look_like(random_store: Store, tmp_path: Path) -> None:
    path = tmp_path / "question.csv"
    ids = ["NA", "null", "007", "1.0"]
    path.write_text("lead_id,as_of\n" + "".join(f"{each},2024-05-01T00:00:00Z\n" for each in ids), encoding="utf-8")
    assert list(ask(random_store, path, tmp_path)["lead_id"]) == ids
    path.write_text("lead_id,as_of\n,2024-05-01T00:00:00Z\n", encoding="utf-8")
    with pytest.raises(QuestionError, match="expected a value in lead_id"):
        ask(random_store, path, tmp_path)
    # other columns come back as they are written
    path.write_text("lead_id,as_of,zip\nL1,2024-05-01T00:00:00Z,00745\nL1,2024-05-01T00:00:00Z,NA\n", encoding="utf-8")
    assert list(ask(random_store, path, tmp_path)["zip"]) == ["00745", "NA"]


def test_times_of_a_question_are_read_as_those_of_the_source_are(random_store: Store, tmp_path: Path) -> None:
    path = tmp_path / "question.csv"
    spellings = ["2024-05-01T02:00:00+02:00", "20240501T0000Z", "2024-05-01 00:00:00 UTC", "2024-05-01T00Z"]
    path.write_text("\ufefflead_id,as_of\n" + "".join(f"L1,{each}\n" for each in spellings), encoding="utf-8")
    assert list(ask(random_store, path, tmp_path)["as_of"]) == [AT] * 4


def test_unknown_labels_tables_and_files_are_refused(random_store: Store, tmp_path: Path) -> None:
    known = (
        r"expected some of \['churn_30d', 'churn_60d', 'conversion', 'deal_value', 'next_action'\], found \['churn'\]"
    )
    with pytest.raises(QuestionError, match=known):
        ask(random_store, pd.DataFrame({"lead_id": ["L1"], "as_of": [AT]}), tmp_path, ["churn"])
    for entities in ("no.table", "nothing", str(tmp_path / "no.csv")):
        with pytest.raises(QuestionError, match="expected"):
            ask(random_store, entities, tmp_path)


def test_what_is_no_question_at_all_is_refused(random_store: Store, tmp_path: Path) -> None:
    with pytest.raises(
        QuestionError, match="expected a data frame, a file or a table of the warehouse, found NoneType"
    ):
        ask(random_store, None, tmp_path)
    for name, content, found in (
        (
            "twice.csv",
            b"lead_id,as_of,lead_id\nL1,2024-05-01T00:00:00Z,L2\n",
            r"one column lead_id .*'as_of', 'lead_id'",
        ),
        ("utf16.csv", "lead_id,as_of\n".encode("utf-16"), r"utf16\.csv: expected a CSV file in UTF-8"),
        ("more.csv", b"lead_id,as_of\nL1,2024-05-01T00:00:00Z,L2\n", r"more\.csv: expected .* as many fields"),
        ("cut.parquet", b"PAR1", r"cut\.parquet: expected a Parquet file"),
        ("garbage.csv", b"\xf5\x00" * 100, r"garbage\.csv: expected a CSV file in UTF-8"),
        ("garbage.parquet", b"\xf5\x00" * 100, r"garbage\.parquet: expected a Parquet file"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(QuestionError, match=found):
            ask(random_store, tmp_path / name, tmp_path)
    (tmp_path / "empty.csv").write_text("", encoding="utf-8")
    with pytest.raises(QuestionError, match=r"empty\.csv: expected the columns lead_id and as_of, found an empty file"):
        ask(random_store, tmp_path / "empty.csv", tmp_path)
    with pytest.raises(QuestionError, match=r"expected a list such as \['conversion'\], found 'conversion'"):
        ask(random_store, pd.DataFrame({"lead_id": ["L1"], "as_of": [AT]}), tmp_path, "conversion")


def test_another_build_than_that_of_the_store_is_refused(random_store: Store, tmp_path: Path) -> None:
    question = pd.DataFrame({"lead_id": ["L1"], "as_of": [AT]})
    ask(random_store, question, tmp_path)
    with pytest.raises(NotCompiledError, match="found no file"):
        features_at(question, warehouse=random_store.warehouse, compiled=tmp_path / "none.json")
    other = {**random_store.build.variables, "as_of": "2024-01-01T00:00:00.000000+00:00"}
    write(tmp_path / "other.json", type(random_store.build)(variables=other, models=random_store.build.models))
    with pytest.raises(StaleFeaturesError, match="found that of 2024-01-01"):
        features_at(question, warehouse=random_store.warehouse, compiled=tmp_path / "other.json")


def test_the_clock_is_that_of_the_state_that_answers(postgres_store: Store, tmp_path: Path) -> None:
    question = pd.DataFrame({"lead_id": ["L1"], "as_of": [AT]})
    ask(postgres_store, question, tmp_path)
    compiled = tmp_path / "feature_store.json"
    with (
        ThreadPoolExecutor(max_workers=1) as executor,
        closing(PostgresConnection(postgres_store.warehouse.address)) as build,
    ):
        build.begin()
        build.execute("lock table staging.stg_leads in access exclusive mode")
        build.execute("update features.feature_clock set as_of = as_of + interval '1 day'")
        asking = executor.submit(features_at, question, warehouse=postgres_store.warehouse, compiled=compiled)
        waiting = "select 1 from pg_locks where not granted and relation = 'staging.stg_leads'::regclass"
        while build.execute(waiting).fetchone() is None:
            assert not asking.done(), "the question does not wait for the build"
            time.sleep(0.05)
        build.commit()
        with pytest.raises(StaleFeaturesError, match="features and labels built from the last extraction"):
            asking.result()


def test_a_view_that_a_build_drops_meanwhile_is_no_failure_of_the_question(postgres_store: Store) -> None:
    reads = [("elsewhere", "facts"), ("elsewhere", "latest")]
    with closing(PostgresConnection(postgres_store.warehouse.address)) as build:
        build.execute("create schema elsewhere")
        build.execute("create table elsewhere.facts as select 1 as n")
        build.execute("create view elsewhere.latest as select * from elsewhere.facts")
        build.begin()
        build.execute("lock table elsewhere.facts in access exclusive mode")

        def ask() -> list[tuple[int]]:
            with postgres_store.warehouse.connect() as connection, connection.scratch("asked", reads):
                return connection.execute("select n from elsewhere.facts").fetchall()

        with ThreadPoolExecutor(max_workers=1) as executor:
            asking = executor.submit(ask)
            waiting = "select 1 from pg_locks where not granted and relation = 'elsewhere.facts'::regclass"
            while build.execute(waiting).fetchone() is None:
                assert not asking.done(), "the question does not wait for the build"
                time.sleep(0.05)
            build.execute("drop table elsewhere.facts cascade")
            build.execute("create table elsewhere.facts as select 2 as n")
            build.commit()
            assert asking.result() == [(2,)]
        build.execute("drop schema elsewhere cascade")


def test_the_job_answers_from_the_launchpad(random_store: Store, tmp_path: Path) -> None:
    question = frame(random_store, "select lead_id, as_of from features.lead_features order by as_of, lead_id limit 9")
    question = pd.concat([question, question.head(1), pd.DataFrame({"lead_id": ["nobody"], "as_of": [AT]})])
    question.to_parquet(tmp_path / "question.parquet", index=False)
    expected = ask(random_store, question, tmp_path, ["conversion"])
    block = re.search(r"```yaml\n(ops:\n  answer:.*?)```", documentation(), re.DOTALL)
    assert block is not None

    def asked(entities: Path) -> dg.ExecuteInProcessResult:
        return question_job.execute_in_process(
            resources={
                "warehouse": random_store.warehouse,
                "artifacts": ArtifactStore(root=str(tmp_path), reports_address=""),
                "compiled": CompiledSql(root=str(tmp_path)),
            },
            run_config=yaml.safe_load(block[1].replace("/path/to/question.csv", str(entities))),
            raise_on_error=False,
        )

    done = asked(tmp_path / "question.parquet")

    assert done.success
    (output,) = [event for event in done.all_events if event.event_type == dg.DagsterEventType.STEP_OUTPUT]
    shown = output.step_output_data.metadata
    assert shown["dagster/row_count"].value == len(question) == 11
    assert shown["entity_states"].value == {"open": 10, "unknown": 1}
    assert shown["labelled"].value == {"conversion": int(expected["converted"].notna().sum())}
    answer = pd.read_parquet(shown["answer"].value)
    assert_frame_equal(answer, expected.reset_index(drop=True), check_dtype=False)

    refused = asked(tmp_path / "none.csv")
    assert not refused.success
    (failed,) = refused.get_step_failure_events()
    assert "expected a file with the columns lead_id and as_of, found none" in str(failed.step_failure_data)


def test_a_question_passes_the_door_of_the_source(store: Store, tmp_path: Path) -> None:
    """Its identifiers are read as those of leads are, and all that it brings comes back as it is written."""
    (lead,) = frame(store, f"select min(lead_id) as lead_id from staging.stg_leads where created_at < '{CLOCK}'")[
        "lead_id"
    ]
    (path := tmp_path / "question.csv").write_text(
        f"lead_id,as_of,zip,note\n\u200b{lead}\u00a0,{CLOCK.isoformat()},00745,NA\n", encoding="utf-8"
    )
    (row,) = ask(store, path, tmp_path).to_dict("records")
    assert row["entity_state"] in ("open", "closed")
    assert (row["lead_id"], row["zip"], row["note"]) == (f"\u200b{lead}\u00a0", "00745", "NA")


def test_identifiers_that_are_contacts_are_asked_for_by_their_pseudonym() -> None:
    """As the extraction stores them."""
    ids = pd.Series(["ada@example.org", "+31\u202f612345678", "007", "ada@example.org"], index=[3, 1, 4, 5])
    assert list(stored_ids(ids)) == [
        "pseudonym-cfe00dde46ef", "pseudonym-9311548f2750", "007", "pseudonym-cfe00dde46ef",
    ]  # fmt: skip
