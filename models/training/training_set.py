"""Training sets: frozen, hashed snapshots of observations, their features and their matured labels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.artifacts import ArtifactMismatchError, new_directory, read_manifest, set_aside, write_manifest
from models.declaring.columns import AS_OF, SUCCEEDED_AT, VALUE, Kind
from models.declaring.declaration import ModelDeclaration
from models.evaluation.one_sided import SETTLED_AT, OneSided, measure_one_sided
from models.learning.frames import ObservationError, check_observations, feature_kinds, model_input
from models.untrainable import UntrainableError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

DATA = "training_set.parquet"

CENSUS = "census.parquet"


class TrainingDataError(ValueError):
    """Rows that no model may learn from; the message says which, and what to do."""


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """A frozen training set.

    Attributes
    ----------
    id : str
        The first 16 digits of the hash of its content.
    directory : Path
    manifest : dict
    """

    id: str
    directory: Path
    manifest: dict[str, Any]

    @property
    def features(self) -> dict[str, Kind]:
        """Feature names and kinds."""
        return dict(self.manifest["features"])

    @property
    def one_sided(self) -> tuple[OneSided, ...]:
        """The one-sided values of the features, as measured when the set was frozen."""
        return tuple(OneSided(**each) for each in self.manifest.get("one_sided", []))

    def frame(self) -> pd.DataFrame:
        """Read the rows, sorted by key and ``as_of``."""
        import pandas as pd

        return pd.read_parquet(self.directory / DATA)

    def census(self) -> pd.DataFrame | None:
        """Read the open entities of past clocks with their features and outcomes; None where none were frozen."""
        import pandas as pd

        path = self.directory / CENSUS
        return pd.read_parquet(path) if path.exists() else None


def freeze(
    frame: pd.DataFrame,
    declaration: ModelDeclaration,
    directory: Path,
    as_of: pd.Timestamp,
    census: pd.DataFrame | None = None,
    recent: pd.DataFrame | None = None,
    labelled_since: datetime | None = None,
    share: float = 1.0,
    warn: Callable[[str], object] = lambda _: None,
) -> TrainingSet:
    """Freeze the rows that a model learns from.

    Parameters
    ----------
    frame : DataFrame
        One row per observation: the columns of the feature view and the label column; of the other columns of the
        label model only ``succeeded_at`` is kept (the time at which the entity succeeded, if ever). All remaining
        columns are features.
    declaration : ModelDeclaration
    directory : Path
        The set is written to ``<directory>/<id>/``. Equal content has an equal id and is written once.
    as_of : Timestamp
        The clock, in UTC. Labels that have not matured by then are refused.
    census : DataFrame, optional
        All entities that were open at past clocks (`models.evaluation.census.census_clocks`), with the columns of
        `frame` and, where it is known, ``value``. Nothing is learnt from it.
    recent : DataFrame, optional
        Rows for `models.evaluation.one_sided.measure_one_sided`. The manifest keeps the result, not the rows.
    labelled_since : datetime, optional
        The moment before which there are no labels, because the source recorded no outcomes then.
    share : float
        The share of all entities whose rows these are.
    warn : callable
        Receives a message if a set of the same content is damaged; it is set aside and frozen again.

    Raises
    ------
    UntrainableError
        If there are no rows.
    TrainingDataError
        If there are no features, a label is null, unknown or not yet matured, or a success lies after
        the clock.
    ObservationError
        If the rows are not observations in UTC, or a column is neither number nor text.
    """
    view = declaration.feature_view
    refuse_no_rows(frame, declaration, as_of)
    missing = [name for name in (view.key, AS_OF, view.created, declaration.label_column) if name not in frame.columns]
    if missing:
        raise ObservationError(
            f"model {declaration.name!r}: columns {missing} are missing; expected the columns of "
            f"{view.schema}.{view.name} and of the label {declaration.label!r}, found {list(frame.columns)}"
        )
    check_observations(frame, view.key, times=(AS_OF, view.created))
    if SUCCEEDED_AT in frame.columns:
        frame = frame.assign(**{SUCCEEDED_AT: _utc_or_null(frame[SUCCEEDED_AT])})
    _check_labels(frame, declaration, as_of)
    features = feature_kinds(frame, declaration.not_features)
    if not features:
        raise TrainingDataError(
            f"model {declaration.name!r}: no feature columns beside {sorted(declaration.not_features)}"
        )

    rows = _stored(frame, declaration, features, [SUCCEEDED_AT])
    content = content_hash(rows, declaration)
    open_rows: pd.DataFrame | None = None
    if census is not None and len(census):
        check_observations(census, view.key)
        _check_labels(census, declaration, as_of)
        open_rows = _stored(census, declaration, features, [VALUE])
        of_census = content_hash(open_rows, declaration)
        content = hashlib.sha256(f"{content}\0{of_census}".encode()).hexdigest()
    one_sided: list[dict[str, Any]] = []
    if recent is not None and len(recent):
        check_observations(recent, view.key, times=(AS_OF, view.created))
        recent = recent.assign(**{SETTLED_AT: _utc_or_null(recent[SETTLED_AT])})
        recent = recent.sort_values([view.key, AS_OF], kind="stable", ignore_index=True)
        one_sided = [asdict(each) for each in measure_one_sided(recent, declaration, features, as_of)]
        content = hashlib.sha256(f"{content}\0{json.dumps(one_sided)}".encode()).hexdigest()
    target = directory / content[:16]
    if target.exists():
        try:
            return load(target)
        except ArtifactMismatchError as error:
            warn(f"{error.found}. The training set is frozen again; what was there is now {set_aside(target)}.")
    with new_directory(target) as unfinished:
        rows.to_parquet(unfinished / DATA, index=False)
        if open_rows is not None:
            open_rows.to_parquet(unfinished / CENSUS, index=False)
        manifest = write_manifest(
            unfinished,
            {
                "model": declaration.name,
                "content_hash": content,
                "rows": len(rows),
                "entities": int(rows[view.key].nunique()),
                **({"share": round(share, 4)} if share < 1 else {}),
                "first_as_of": rows[AS_OF].min().isoformat(),
                "last_as_of": rows[AS_OF].max().isoformat(),
                "as_of": as_of.isoformat(),
                "horizon_days": declaration.horizon_days,
                "label": declaration.label,
                "labelled_since": None if labelled_since is None else labelled_since.isoformat(),
                "outcome_counts": declaration.task.summary(rows[declaration.label_column]),
                "features": features,
                "census": [] if open_rows is None else [each.isoformat() for each in sorted(open_rows[AS_OF].unique())],
                "one_sided": one_sided,
            },
        )
    return TrainingSet(id=target.name, directory=target, manifest=manifest)


def refuse_no_rows(frame: pd.DataFrame, declaration: ModelDeclaration, as_of: pd.Timestamp) -> None:
    """Refuse to learn from no rows.

    Raises
    ------
    UntrainableError
        If there are none.
    """
    if frame.empty:
        where = f"where {declaration.scope} " if declaration.scope else ""
        remedy = f"There must be rows with {declaration.scope}, or more history." if where else "Load more history."
        raise UntrainableError(
            f"There are no rows to learn from: no label over {declaration.horizon_days} days {where}has matured by "
            f"{as_of:%Y-%m-%d %H:%M}. {remedy}"
        )


def _stored(
    frame: pd.DataFrame, declaration: ModelDeclaration, features: dict[str, Kind], further: list[str]
) -> pd.DataFrame:
    """Return rows as they are stored: sorted, with the columns that are not features, the label and the features."""
    view = declaration.feature_view
    kept = [*view.not_features, declaration.label_column, *further]
    rows = frame.sort_values([view.key, AS_OF], kind="stable", ignore_index=True)
    rows = rows[[name for name in kept if name in frame.columns]].join(model_input(rows, features))
    for name in rows.columns.intersection([AS_OF, view.created, SUCCEEDED_AT]):
        rows[name] = rows[name].dt.tz_convert("UTC").dt.as_unit("us")
    if VALUE in further and VALUE in rows.columns:
        rows[VALUE] = rows[VALUE].astype("float64")
    rows[declaration.label_column] = declaration.task.cast(rows[declaration.label_column])
    return rows


def load(directory: Path) -> TrainingSet:
    """Load a frozen training set.

    Raises
    ------
    ArtifactMismatchError
        If a file is not the one that was frozen.
    """
    return TrainingSet(id=directory.name, directory=directory, manifest=read_manifest(directory))


def content_hash(rows: pd.DataFrame, declaration: ModelDeclaration) -> str:
    """Hash the values of sorted rows: not the bytes of a file, which change with the library that writes it."""
    digest = hashlib.sha256(f"{declaration.name}\0{declaration.label}\0{declaration.horizon_days}".encode())
    for name in rows.columns:
        digest.update(f"\0{name}\0".encode())
        digest.update(_canonical_bytes(rows[name]))
    return digest.hexdigest()


_NO_TEXT = b"\xff" * 8
"""Stands for a missing text, in place of the length of a text, which is never so large."""


def _canonical_bytes(column: pd.Series) -> bytes:
    import numpy as np
    import pandas as pd

    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return _little_endian(column.astype("int64").to_numpy())
    if pd.api.types.is_numeric_dtype(column.dtype):
        values = column.to_numpy(dtype="float64")
        # NaN has many bit patterns and zero has two
        return _little_endian(np.where(np.isnan(values), np.nan, values) + 0.0)
    # mapped to text first: factorize treats values such as 1 and True as equal, whose texts differ
    positions, found = pd.factorize(column.map(str, na_action="ignore"))
    texts = [value.encode() for value in found]
    # a missing value has the position -1
    pieces = [*(len(text).to_bytes(8, "little") + text for text in texts), _NO_TEXT]
    return b"".join(pieces[position] for position in positions.tolist())


def _little_endian(values: np.ndarray) -> bytes:
    return values.astype(values.dtype.newbyteorder("<")).tobytes()


def _check_labels(frame: pd.DataFrame, declaration: ModelDeclaration, as_of: pd.Timestamp) -> None:
    import pandas as pd

    def refuse(wrong: pd.Series, what: str, remedy: str) -> None:
        if wrong.any():
            first = frame.loc[wrong, [declaration.feature_view.key, AS_OF]].iloc[0].tolist()
            raise TrainingDataError(
                f"model {declaration.name!r}: {what} in {int(wrong.sum())} of {len(frame)} rows, the first "
                f"at {first}; {remedy}"
            )

    label = frame[declaration.label_column]
    refuse(label.isna(), f"null label {declaration.label_column!r}", "leave out rows without a matured label")
    unknown, expected = declaration.task.unknown(label)
    found = sorted(map(str, label[unknown].unique()))
    refuse(
        unknown,
        f"unknown outcomes {found}, expected {expected},",
        "correct the label model or the declared outcomes",
    )
    unmatured = frame[AS_OF] + pd.Timedelta(days=declaration.horizon_days) > as_of
    refuse(
        unmatured,
        f"labels over {declaration.horizon_days} days that mature after the clock {as_of}",
        "leave them out: an open outcome is not a negative one",
    )
    if SUCCEEDED_AT in frame.columns:
        refuse(frame[SUCCEEDED_AT] > as_of, f"{SUCCEEDED_AT} after the clock {as_of}", "null it: it is not known yet")


def _utc_or_null(times: pd.Series) -> pd.Series:
    import pandas as pd

    if times.isna().all():
        # a column of nulls alone has no type of its own when it comes from a database
        return pd.Series(pd.NaT, index=times.index, dtype="datetime64[us, UTC]")
    if not isinstance(times.dtype, pd.DatetimeTZDtype):
        raise ObservationError(f"column {times.name!r}: expected times with the zone UTC, found {times.dtype}")
    return times
