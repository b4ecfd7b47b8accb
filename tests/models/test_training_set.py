"""Training sets are frozen once, whole, and only from labels that may be learnt from."""

from __future__ import annotations

import pandas as pd
import pytest

from models.artifacts import ArtifactMismatchError, new_directory
from models.learning.frames import ObservationError
from models.training.training_set import DATA, TrainingDataError, content_hash, freeze, load
from models.untrainable import UntrainableError
from tests.models.conftest import CENSUS_CLOCKS, open_at

CLOCK = pd.Timestamp("2025-12-31", tz="UTC")


def test_manifest_says_what_is_in_it(conversion_set):
    manifest, frame = conversion_set.manifest, conversion_set.frame()
    assert (manifest["rows"], manifest["entities"]) == (1500, 500) == (len(frame), frame["lead_id"].nunique())
    assert manifest["horizon_days"] == 30
    assert manifest["as_of"] == CLOCK.isoformat()
    assert manifest["last_as_of"] == frame["as_of"].max().isoformat()
    assert manifest["outcome_counts"] == {"0": int((frame["converted"] == 0).sum()), "1": int(frame["converted"].sum())}
    assert conversion_set.features == {
        "always_missing": "number",
        "always_one": "number",
        "calls_count_7d": "number",
        "days_since_last_fact": "number",
        "noise_days": "number",
        "source_channel": "text",
    }


def test_equal_content_is_written_once(frame, conversion, tmp_path):
    rows = frame.drop(columns="next_action")
    first = freeze(rows, conversion, tmp_path, CLOCK)
    written = (first.directory / DATA).stat().st_ino
    shuffled = rows.sample(frac=1, random_state=3)[rows.columns[::-1]].astype({"calls_count_7d": "Int64"})
    again = freeze(shuffled, conversion, tmp_path, CLOCK + pd.Timedelta(days=1))
    assert again.id == first.id
    assert (again.directory / DATA).stat().st_ino == written
    assert again.manifest == first.manifest
    assert [path.name for path in tmp_path.iterdir()] == [first.id]


def test_another_value_is_another_set(frame, conversion, tmp_path):
    rows = frame.drop(columns="next_action")
    first = freeze(rows, conversion, tmp_path, CLOCK)
    rows.loc[0, "noise_days"] += 1e-12
    assert freeze(rows, conversion, tmp_path, CLOCK).id != first.id


def test_text_boundaries_enter_the_hash(frame, conversion, tmp_path):
    rows = frame.drop(columns="next_action").head(2)
    ids = {
        freeze(rows.assign(source_channel=pair), conversion, tmp_path, CLOCK).id for pair in (["ab", "c"], ["a", "bc"])
    }
    assert len(ids) == 2


def test_the_hash_is_that_of_the_values(conversion):
    """A hash that changes would give every training set and version another name."""
    rows = pd.DataFrame({"text": ["ab", None, "c", "ab"], "mixed": pd.Series([1, True, None, "x"], dtype=object)})
    known = "824844a87976087b9dcc5d0ef2f04d8d001e2b88241c924d64f466aafd151aa9"
    assert content_hash(rows, conversion) == known
    assert content_hash(rows.assign(mixed=pd.Series([1, 1, None, "x"], dtype=object)), conversion) != known


def test_times_of_the_label_model_are_no_features(frame, conversion, tmp_path):
    rows = frame.drop(columns="next_action").assign(matures_at=frame["as_of"] + pd.Timedelta(days=30), horizon_days=30)
    frozen = freeze(rows, conversion, tmp_path, CLOCK)
    assert not {"matures_at", "horizon_days", "succeeded_at", "converted"} & set(frozen.features)


def test_a_success_column_of_nulls_is_accepted(frame, conversion, tmp_path):
    frozen = freeze(frame.drop(columns="next_action").assign(succeeded_at=None), conversion, tmp_path, CLOCK)
    assert frozen.frame()["succeeded_at"].isna().all()


def test_whom_a_lead_is_assigned_to_may_be_unknown(frame, conversion, tmp_path):
    rows = frame.drop(columns="next_action")
    assigned = [rows.assign(assigned_to=rows["lead_id"].where(rows.index > 0, rep)) for rep in (None, "", "nan")]
    frozen = [freeze(each, conversion, tmp_path, CLOCK) for each in assigned]
    assert len({each.id for each in frozen}) == 3
    assert frozen[0].frame()["assigned_to"].isna().sum() == 1


def write_half(target):
    with new_directory(target) as unfinished:
        (unfinished / DATA).write_text("half")
        raise KeyboardInterrupt


def test_what_a_killed_writer_left_is_replaced(frame, conversion, tmp_path):
    rows = frame.drop(columns="next_action")
    frozen_id = freeze(rows, conversion, tmp_path / "elsewhere", CLOCK).id
    target = tmp_path / frozen_id
    with pytest.raises(KeyboardInterrupt):
        write_half(target)
    assert not target.exists()
    assert len(freeze(rows, conversion, tmp_path, CLOCK).frame()) == len(rows)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda directory: (directory / DATA).write_bytes(b"x"), "expected SHA-256 .*, found .*remove"),
        (lambda directory: (directory / DATA).unlink(), "found no file"),
        (lambda directory: (directory / "manifest.json").write_text("{"), "readable manifest"),
        (lambda directory: (directory / "manifest.json").unlink(), "readable manifest"),
    ],
)
def test_a_damaged_set_is_refused_and_frozen_again(frame, conversion, tmp_path, damage, message):
    rows = frame.drop(columns="next_action")
    directory = freeze(rows, conversion, tmp_path, CLOCK).directory
    damage(directory)
    with pytest.raises(ArtifactMismatchError, match=message):
        load(directory)
    told = []
    again = freeze(rows, conversion, tmp_path, CLOCK, warn=told.append)
    assert (again.directory, len(load(directory).frame())) == (directory, len(rows))
    assert told[0].endswith(f"The training set is frozen again; what was there is now {directory}.damaged-1.")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.assign(converted=rows["converted"].astype("Int64").where(rows.index > 0)), "null label"),
        (lambda rows: rows.assign(converted=rows["converted"].where(rows.index > 0, 7)), r"unknown outcomes \['7'\]"),
        (lambda rows: rows[["lead_id", "as_of", "lead_created_at", "converted"]], "no feature columns"),
        (lambda rows: rows.assign(as_of=rows["as_of"] + pd.Timedelta(days=330)), "mature after the clock"),
        (lambda rows: rows.assign(succeeded_at=CLOCK + pd.Timedelta(days=1)), "succeeded_at after the clock"),
    ],
)
def test_rows_that_no_model_may_learn_from(frame, conversion, tmp_path, change, message):
    with pytest.raises(TrainingDataError, match=message):
        freeze(change(frame.drop(columns="next_action")), conversion, tmp_path, CLOCK)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: pd.concat([rows, rows.head(2)]), "2 doubled rows"),
        (lambda rows: rows.assign(as_of=rows["as_of"].dt.tz_localize(None)), "zone UTC"),
        (lambda rows: rows.assign(succeeded_at=rows["succeeded_at"].dt.tz_localize(None)), "'succeeded_at'.*zone UTC"),
        (lambda rows: rows.drop(columns="converted"), r"\['converted'\] are missing"),
        (lambda rows: rows.assign(won_at=rows["as_of"]), "'won_at'"),
    ],
)
def test_rows_that_are_no_observations(frame, conversion, tmp_path, change, message):
    with pytest.raises(ObservationError, match=message):
        freeze(change(frame.drop(columns="next_action")), conversion, tmp_path, CLOCK)


def test_no_row_is_no_fault_of_the_data(frame, conversion, tmp_path):
    with pytest.raises(UntrainableError, match=r"no label over 30 days has matured by .* Load more history"):
        freeze(frame.drop(columns="next_action").head(0), conversion, tmp_path, CLOCK)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_class_is_named(frame, next_action, tmp_path):
    rows = frame.drop(columns="converted").assign(next_action="fax")
    with pytest.raises(TrainingDataError, match=r"\['fax'\].*email_nurture"):
        freeze(rows, next_action, tmp_path, CLOCK)


def test_boolean_labels_are_those_of_zero_and_one(frame, conversion, conversion_set, tmp_path):
    rows = frame.drop(columns="next_action").assign(converted=frame["converted"].astype(bool))
    census = open_at(CENSUS_CLOCKS).drop(columns="next_action")
    census = census.assign(converted=census["converted"].astype(bool))
    assert freeze(rows, conversion, tmp_path, CLOCK, census).id == conversion_set.id


def test_another_census_is_another_set(frame, conversion, tmp_path):
    rows, census = frame.drop(columns="next_action"), open_at(CENSUS_CLOCKS).drop(columns="next_action")
    first = freeze(rows, conversion, tmp_path, CLOCK, census)
    assert freeze(rows, conversion, tmp_path, CLOCK, census.sample(frac=1, random_state=1)).id == first.id
    others = [
        None,
        census.iloc[1:],
        census.assign(value=census["value"].where(census.index > 0, 1)),
        census.assign(converted=census["converted"].where(census.index > 0, 1 - census["converted"])),
    ]
    ids = {freeze(rows, conversion, tmp_path, CLOCK, each).id for each in others}
    assert len(ids | {first.id}) == 5
    # no open lead is no census
    assert freeze(rows, conversion, tmp_path, CLOCK, census.head(0)).id == freeze(rows, conversion, tmp_path, CLOCK).id


def recent_rows() -> pd.DataFrame:
    """Return leads twenty days before the clock, and those at the clock that were not settled in between."""
    rows = open_at([CLOCK - pd.Timedelta(days=20), CLOCK]).drop(columns=["next_action", "converted", "value"])
    settled = rows["lead_id"] < "L0150"
    moments = pd.Series(CLOCK - pd.Timedelta(days=5), index=rows.index).where(settled)
    return rows.assign(settled_at=moments)[~settled | (rows["as_of"] < CLOCK)]


def test_what_recent_rows_show_is_kept_and_makes_another_set(frame, conversion, tmp_path):
    rows, recent = frame.drop(columns="next_action"), recent_rows()
    first = freeze(rows, conversion, tmp_path, CLOCK, None, recent)
    assert load(first.directory).one_sided == first.one_sided
    assert {each.feature for each in first.one_sided} == set(first.features)
    assert all(each.seen > 0.3 for each in first.one_sided)
    assert freeze(rows, conversion, tmp_path, CLOCK, None, recent.sample(frac=1, random_state=1)).id == first.id

    entered = recent.assign(always_missing=pd.Series(7.0, index=recent.index).where(recent["settled_at"].notna()))
    other = freeze(rows, conversion, tmp_path, CLOCK, None, entered)
    found = other.one_sided[0]
    assert (found.feature, found.side, found.having, found.others) == ("always_missing", "settled", 150, 150)
    nothing = freeze(rows, conversion, tmp_path, CLOCK)
    assert nothing.one_sided == ()
    assert len({first.id, other.id, nothing.id}) == 3
    assert freeze(rows, conversion, tmp_path, CLOCK, None, recent.head(0)).id == nothing.id


def test_the_census_lies_beside_the_rows(conversion_set):
    census = conversion_set.census()
    assert conversion_set.manifest["census"] == [each.isoformat() for each in CENSUS_CLOCKS]
    assert sorted(census["as_of"].unique()) == CENSUS_CLOCKS
    assert {"value", "converted", *conversion_set.features} <= set(census.columns)
    assert "succeeded_at" not in census.columns
    assert not set(conversion_set.features) & {"value", "converted"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.assign(as_of=rows["as_of"] + pd.Timedelta(days=60)), "mature after the clock"),
        (lambda rows: rows.assign(converted=7), r"unknown outcomes \['7'\]"),
    ],
)
def test_a_census_whose_outcomes_are_not_known_is_refused(frame, conversion, tmp_path, change, message):
    census = change(open_at(CENSUS_CLOCKS).drop(columns="next_action"))
    with pytest.raises(TrainingDataError, match=message):
        freeze(frame.drop(columns="next_action"), conversion, tmp_path, CLOCK, census)
    assert list(tmp_path.iterdir()) == []
