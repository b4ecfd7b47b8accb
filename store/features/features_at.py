"""Features and labels of any entities at any times: a question has rows of (key, as_of), the answer the same rows.

The compiled SQL of the last build computes the answer, with the question in place of the observations. No feature is
implemented a second time, and only the rows of the question are computed. From Python::

    from store.features.features_at import features_at
    rows = features_at("question.csv", labels=["conversion"])
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.declared.registry import DECLARATIONS, FEATURE_VIEWS
from models.declaring.columns import AS_OF
from models.declaring.entity import Entity
from models.declaring.feature_view import FeatureView
from store.features.compiled import Build, closings_of, observed, read
from store.home import refuse_other_warehouse
from store.places import OWN_SERVER, SettingError
from store.settings import settings
from store.source.reading.tables import first_line
from store.source.values.functions import create_functions
from store.warehouse.connection import Connection, Place, Scratch, columns_of, named
from store.warehouse.warehouse import CLOCKS, Extraction, StaleFeaturesError, Warehouse

if TYPE_CHECKING:
    import pandas as pd

STATE = "entity_state"
"""The state of the entity at ``as_of``; see `answer`."""

NOT_ANSWERED = "observation_kind"
"""The column of a view that says why the store has an observation; an answer leaves it out."""

_ASKED = "leadline_asked"

_TABLE = re.compile(r"[A-Za-z_]\w*\.[A-Za-z_]\w*")


class QuestionError(ValueError):
    """A question that cannot be answered; the message says what was expected, what was found, and where."""


def features_at(
    entities: pd.DataFrame | str | Path,
    *,
    labels: Sequence[str] = (),
    view: str | None = None,
    warehouse: Warehouse | None = None,
    compiled: Path | None = None,
) -> pd.DataFrame:
    """Answer a question for features, and labels, of entities at times.

    Parameters
    ----------
    entities : DataFrame or str or Path
        The question: a frame, a CSV or Parquet file, or ``schema.table`` of the warehouse, with the key of the entities
        and ``as_of`` (with a zone). Other columns are returned unchanged.
    labels : sequence of str
        Label models, such as ``conversion``.
    view : str, optional
        The feature view. By default the one of the labels, or the only one.
    warehouse : Warehouse, optional
        By default the one of the settings.
    compiled : Path, optional
        The file with the SQL of its last build; by default the one of the settings.

    Returns
    -------
    DataFrame
        As `answer` returns it.

    Raises
    ------
    QuestionError
        If the question cannot be answered.
    NotCompiledError, StaleFeaturesError
        If the store has to be built first.
    WarehouseUnavailableError
        If the database does not answer, or the connection is lost. In a step of a run, a lost connection raises
        the error of the warehouse's `when_lost` instead.
    """
    if warehouse is None or compiled is None:
        current = settings()
        refuse_other_warehouse(current)
        if warehouse is None and current.warehouse == OWN_SERVER:
            raise SettingError(
                f"LEADLINE_WAREHOUSE: expected the address of a database, found {OWN_SERVER}. Start that server with "
                "`make ui WAREHOUSE=postgres`, which prints its address, and set that or pass `warehouse`."
            )
        warehouse = warehouse or Warehouse(address=current.warehouse)
        compiled = compiled or current.compiled / "feature_store.json"
    build = read(compiled)
    with warehouse.connect() as connection:
        extraction = warehouse.extraction(connection)
        asked_of = view_of(view, labels, extraction)
        key = asked_of.key
        frame = asked(entities, connection, key)
        with connection.scratch("asked", {*build.relations, *CLOCKS}) as space:
            clock = warehouse.built_extraction(connection).as_of
            if build.as_of != clock:
                raise StaleFeaturesError(
                    f"{compiled}: expected the SQL of the features in {warehouse.shown}, whose clock is "
                    f"{clock.isoformat()}, found that of {build.as_of.isoformat()}. "
                    "Materialize staging, intermediate, features and labels again."
                )
            return answer(connection, space, build, asked_of, checked(frame, clock, key), labels)


def view_of(view: str | None, labels: Sequence[str], extraction: Extraction) -> FeatureView:
    """Return the feature view that a question is about; by default the one that fits, of an entity of the source.

    Raises
    ------
    QuestionError
        If no view or several fit, a label belongs to another view, or a label is asked for twice.
    """
    if isinstance(labels, str):
        raise QuestionError(f"labels: expected a list such as [{labels!r}], found {labels!r}.")
    if view is not None and view not in FEATURE_VIEWS:
        raise QuestionError(f"view: expected one of {sorted(FEATURE_VIEWS)}, found {view!r}.")
    views: dict[str, set[str]] = {}
    for each in DECLARATIONS.values():
        views.setdefault(each.label, set()).add(each.feature_view.name)
    known = [label for label, names in views.items() if view is None or view in names]
    if unknown := sorted(set(labels) - set(known)):
        raise QuestionError(f"labels: expected some of {sorted(known)}, found {unknown}.")
    if len(set(labels)) < len(labels):
        raise QuestionError(f"labels: expected each once, found {list(labels)}.")
    there = {name for name, each in FEATURE_VIEWS.items() if not extraction.lacks(each.entity)}
    candidates = there.intersection(*(views[label] for label in labels)) if view is None else {view}
    if len(candidates) != 1:
        raise QuestionError(
            f"view: expected the feature view of the question, found {sorted(candidates) or 'none'} for the labels "
            f"{list(labels)}. Name one of {sorted(FEATURE_VIEWS)}, and labels of the models that learn from it."
        )
    return FEATURE_VIEWS[candidates.pop()]


def asked(entities: pd.DataFrame | str | Path, connection: Connection, key: str) -> pd.DataFrame:
    """Return a question as a frame, from a frame, a file or a table.

    Parameters
    ----------
    entities : DataFrame or str or Path
    connection : Connection
    key : str
        The column that identifies an entity.

    Raises
    ------
    QuestionError
        If it is neither a CSV or Parquet file nor a table of the warehouse.
    """
    import pandas as pd

    if isinstance(entities, pd.DataFrame):
        return entities
    if not isinstance(entities, str | Path):
        raise QuestionError(
            f"question: expected a data frame, a file or a table of the warehouse, found {type(entities).__name__}."
        )
    path, text = Path(entities), str(entities)
    if path.suffix.lower() in (".csv", ".parquet"):
        if not path.is_file():
            raise QuestionError(f"{path}: expected a file with the columns {key} and {AS_OF}, found none.")
        try:
            if path.suffix.lower() == ".parquet":
                return pd.read_parquet(path)
            # every value stays as it is written: identifiers such as 007 and NA, and the other columns
            frame = pd.read_csv(path, dtype=str, keep_default_na=False, header=None, index_col=False)
        except pd.errors.EmptyDataError:
            raise QuestionError(
                f"{path}: expected the columns {key} and {AS_OF}, found an empty file. Write these at least."
            ) from None
        except (ValueError, OSError) as error:
            kind = "CSV file in UTF-8 with as many fields in each row as it has columns"
            raise QuestionError(
                f"{path}: expected a {kind if path.suffix.lower() == '.csv' else 'Parquet file'}, found "
                f"{first_line(error)}. Write it again."
            ) from None
        # the header is read as a row, because pandas would rename the second of two columns of one name
        frame = frame.iloc[1:].set_axis(list(frame.iloc[0]), axis="columns").reset_index(drop=True)
        asked_for = [name for name in (key, AS_OF) if list(frame.columns).count(name) == 1]
        return frame.assign(**{name: frame[name].mask(frame[name] == "") for name in asked_for})
    schema, _, table = text.partition(".")
    if not _TABLE.fullmatch(text) or not columns_of(connection, schema, table):
        raise QuestionError(
            f"{text}: expected a .csv or .parquet file, or a table of the warehouse as schema.table; found neither."
        )
    return connection.execute(f"select * from {text}").df()


def checked(question: pd.DataFrame, clock: datetime, key: str) -> pd.DataFrame:
    """Return a question with its identifiers as text and its times in UTC.

    Raises
    ------
    QuestionError
        If a column is missing, occurs twice or has an empty value, or a time has no zone or lies after the clock.
    """
    import pandas as pd

    if missing := [name for name in (key, AS_OF) if name not in question.columns]:
        raise QuestionError(
            f"question: expected the columns {key} and {AS_OF}, found {list(question.columns)}; "
            f"{' and '.join(missing)} is missing."
        )
    if repeated := [name for name in (key, AS_OF) if list(question.columns).count(name) > 1]:
        raise QuestionError(
            f"question: expected one column {key} and one {AS_OF}, found {list(question.columns)}. "
            f"Drop or rename those of {' and '.join(repeated)} that are not meant."
        )
    columns = (key, AS_OF)
    for name in columns:
        _refuse(
            columns,
            question,
            question[name].isna(),
            f"a value in {name} in every row",
            "none",
            "Fill it, or drop the row.",
        )
    ids = question[key]
    numbers = pd.api.types.is_float_dtype(ids.dtype)
    _refuse(columns, question, pd.Series(numbers, index=ids.index), f"text in {key}", "decimals", "Pass them as text.")
    times = _utc(question, columns)
    _refuse(
        columns, question, times > pd.Timestamp(clock),
        f"times up to the clock of the store, {clock.isoformat()}", "later ones",
        "What will be known then is not known yet: extract and build first, or ask for earlier times.",
    )  # fmt: skip
    return question.assign(**{key: ids.map(str), AS_OF: times})


def answer(
    connection: Connection,
    space: Scratch,
    build: Build,
    view: FeatureView,
    question: pd.DataFrame,
    labels: Sequence[str],
) -> pd.DataFrame:
    """Answer a question that has been checked.

    Parameters
    ----------
    connection : Connection
        To the warehouse that holds the build.
    space : Scratch
        Scratch place of this connection.
    build : Build
    view : FeatureView
    question : DataFrame
        As `checked` returns it.
    labels : sequence of str
        Labels of models that learn from the view, each once.

    Returns
    -------
    DataFrame
        One row for each row of the question, in its order, with these columns: those of the question;
        ``entity_state``, the state of the entity at ``as_of`` (``open``, ``closed``, ``not_created`` yet, or
        ``unknown``; the last two have no features); the features; and for each label its columns and
        ``<label>_matures_at``, null where the label has not matured or the entity is not open.

    Raises
    ------
    QuestionError
        If the question has a column with the name of a column of the answer.
    """
    import pandas as pd

    key, of_view = view.key, (view.schema, view.name)
    tables = [of_view, *(("labels", label) for label in labels)]
    selected = {STATE: STATE}
    for table in tables:
        for name in columns_of(connection, *table):
            if name in (key, AS_OF, NOT_ANSWERED):
                continue
            value = f"{table[1]}.{name}"
            if table == of_view:
                selected[name] = value
            else:
                # a closed entity has no outcome: nobody decides about it any more
                column = f"{table[1]}_{name}" if name == "matures_at" else name
                selected[column] = f"case when {STATE} = 'open' then {value} end"
    if clash := sorted(selected.keys() & set(question.columns)):
        raise QuestionError(
            f"question: expected columns of other names than those of the answer, found {clash}. Rename them."
        )
    connection.register(_ASKED, _as_rows(question, key))
    observations = named(view.entity.observations)
    with space.place() as place:
        place.make(observations, _observed(place, view.entity))
        place.run(build.affected_by([observations], tables))
        joined = " ".join(
            f"left join {place.relation(table)} as {table[1]} on states.{key} = {table[1]}.{key} "
            f"and states.as_of = {table[1]}.as_of"
            for table in tables
        )
        listed = ", ".join(f"{value} as {name}" for name, value in selected.items())
        found = connection.execute(
            f"with states as ({_states(place, view.entity)}) select {listed} from states {joined} order by place"
        ).df()
    connection.unregister(_ASKED)
    return pd.concat([question.reset_index(drop=True), found], axis="columns").set_index(question.index)


def _as_rows(question: pd.DataFrame, key: str) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {
            "place": range(len(question)),
            key: stored_ids(question[key].astype("str")).array,
            AS_OF: question[AS_OF].array,
            "as_of_us": question[AS_OF].astype("int64").array,
        }
    )


def stored_ids(ids: pd.Series[Any]) -> pd.Series[Any]:
    """Return identifiers as the extraction stores them: cleaned, and as a pseudonym where they are contact data."""
    stored = _of_source(ids, "contact_free(cleaned(v))")
    return ids.map(lambda text: stored[text][0])


def _of_source(texts: pd.Series[Any], columns: str) -> dict[str, tuple[Any, ...]]:
    """Return by text the values of some SQL columns over it (``v``), with the functions of the source."""
    import duckdb

    with duckdb.connect() as door:
        door.execute("set TimeZone = 'UTC'")
        create_functions(door)
        door.register("asked_texts", texts.drop_duplicates().astype("str").to_frame("v"))
        return {text: tuple(made) for text, *made in door.execute(f"select v, {columns} from asked_texts").fetchall()}


def _observed(place: Place, entity: Entity) -> str:
    """Return the query for the observations of the question, each once, of entities known before ``as_of``."""
    joined = f"inner join {_ASKED} as asked on entities.{entity.key} = asked.{entity.key}"
    existing = observed(place, entity, "asked.as_of", "asked.as_of_us", joined)
    return f"select distinct * from ({existing} where entities.known_us < asked.as_of_us) as observed"


def _states(place: Place, entity: Entity) -> str:
    closed = "when closings.closed_us < asked.as_of_us then 'closed' " if entity.closings else ""
    return (
        f"select asked.place, asked.{entity.key}, asked.as_of, case when entities.{entity.key} is null then 'unknown' "
        f"when entities.known_us >= asked.as_of_us then 'not_created' {closed}else 'open' end as {STATE} "
        f"from {_ASKED} as asked left join {place.relation(named(entity.table))} as entities "
        f"on asked.{entity.key} = entities.{entity.key}{closings_of(place, entity)}"
    )


def _utc(question: pd.DataFrame, columns: Sequence[str]) -> pd.Series[Any]:
    import pandas as pd

    times = question[AS_OF]
    wanted = f"times with a zone in {AS_OF}, such as 2026-01-31T00:00:00Z"
    if pd.api.types.is_datetime64_dtype(times.dtype):
        _refuse(
            columns,
            question,
            times.notna(),
            wanted,
            "times without one",
            "Say which: frame['as_of'].dt.tz_localize(…).",
        )
    if isinstance(times.dtype, pd.DatetimeTZDtype):
        return times.dt.tz_convert("UTC").dt.as_unit("us")
    texts = times.map(str)
    read = _of_source(texts, "iso_moment(plain(cleaned(v)))::varchar, iso_wall(plain(cleaned(v))) is not null")
    _refuse(columns, question, texts.map(lambda text: read[text][1]), wanted, "times without one", "Add it.")
    _refuse(columns, question, texts.map(lambda text: read[text][0] is None), wanted, "other text", "Correct it.")
    parsed = pd.to_datetime(texts.map(lambda text: read[text][0]), utc=True, format="ISO8601", errors="coerce")
    _refuse(columns, question, parsed.isna(), wanted, "times beyond all years", "Correct it.")
    return parsed.dt.as_unit("us")


def _refuse(
    columns: Sequence[str], question: pd.DataFrame, wrong: pd.Series[Any], expected: str, found: str, remedy: str
) -> None:
    if wrong.any():
        place = int(wrong.to_numpy().argmax())
        row = question.iloc[place][[name for name in columns if name in question.columns]].to_dict()
        raise QuestionError(
            f"question: expected {expected}, found {found} in {int(wrong.sum()):,} of {len(question):,} rows, "
            f"the first being row {place + 1}: {row}. {remedy}"
        )
