"""Frames of observations: which columns are features, of which kind, and the cast that training and scoring share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from models.declaring.columns import AS_OF, Kind

if TYPE_CHECKING:
    import pandas as pd

MISSING = "(missing)"
"""The category of a text feature without a value."""

_NUMBERS = frozenset({"integer", "floating", "mixed-integer-float", "decimal", "boolean"})


class ObservationError(ValueError):
    """A frame of observations that cannot be learnt from or scored; the message names the columns or rows."""


def feature_kind(column: pd.Series) -> Kind:
    """Return whether models learn from a column as a number (also: decimal, boolean) or as a category.

    Raises
    ------
    ObservationError
        If it is neither: a time, say, which is a feature only as a distance from ``as_of``.
    """
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column.dtype):
        return "number"
    found = pd.api.types.infer_dtype(column, skipna=True)
    if found in _NUMBERS:
        return "number"
    # a column of nulls has nothing to learn from; as text it can be cast whatever it holds later
    if found in ("string", "empty", "categorical"):
        return "text"
    raise ObservationError(
        f"column {column.name!r}: expected numbers, booleans or text, found {found}; express it as a "
        "number in the feature "
        "view, or list it in the view's not_features"
    )


def feature_kinds(frame: pd.DataFrame, not_features: frozenset[str]) -> dict[str, Kind]:
    """Return the kind of every feature column, by name, in alphabetical order."""
    return {name: feature_kind(frame[name]) for name in sorted(set(frame.columns) - not_features)}


def model_input(frame: pd.DataFrame, features: Mapping[str, Kind]) -> pd.DataFrame:
    """Cast the features of a frame to the types that every pipeline receives, in training and in scoring.

    Parameters
    ----------
    frame : DataFrame
        One row per observation; columns that are no features are ignored.
    features : mapping of str to {"number", "text"}
        As found in the training set.

    Returns
    -------
    DataFrame of shape (n_rows, n_features)
        float64 with NaN for the numbers, objects with a category of its own for missing text; the columns in the
        order of `features`, the index of `frame`.

    Raises
    ------
    ObservationError
        If a feature is missing, or holds text where numbers were learnt.
    """
    import pandas as pd

    missing = [name for name in features if name not in frame.columns]
    if missing:
        raise ObservationError(
            f"feature columns {missing} are missing; expected all of {list(features)}: build the feature view that "
            "the model was trained on, or train a new version"
        )
    columns = {}
    for name, kind in features.items():
        column = frame[name]
        if kind == "text":
            present = column.notna()
            columns[name] = column.astype(object).where(present, MISSING).map(str).astype(object)
        elif column.notna().any() and feature_kind(column) != "number":
            raise ObservationError(
                f"feature {name!r}: expected numbers, as in training, found text such as {column.dropna().iloc[0]!r}"
            )
        else:
            columns[name] = pd.Series(column.to_numpy(dtype="float64", na_value=float("nan")), index=frame.index)
    return pd.DataFrame(columns, index=frame.index, columns=list(features), copy=False)


def check_observations(frame: pd.DataFrame, key: str, *, times: Sequence[str] = (AS_OF,)) -> None:
    """Refuse a frame whose rows are not observations: one per key and ``as_of``, both present, all times in UTC.

    Raises
    ------
    ObservationError
        The message names what is missing, null, doubled or not in UTC.
    """
    import pandas as pd

    missing = [name for name in (key, *times) if name not in frame.columns]
    if missing:
        raise ObservationError(f"columns {missing} are missing; found {list(frame.columns)}")
    for name in (key, *times):
        nulls = int(frame[name].isna().sum())
        if nulls:
            raise ObservationError(
                f"column {name!r}: expected a value in every row, found {nulls} nulls in {len(frame)} rows"
            )
    for name in times:
        dtype = frame[name].dtype
        if not isinstance(dtype, pd.DatetimeTZDtype) or str(dtype.tz) not in ("UTC", "Etc/UTC"):
            raise ObservationError(
                f"column {name!r}: expected times with the zone UTC, found {dtype}; convert them with tz_convert('UTC')"
            )
    duplicated = frame.duplicated([key, AS_OF])
    if duplicated.any():
        first = frame.loc[duplicated, [key, AS_OF]].iloc[0].tolist()
        raise ObservationError(
            f"expected one row per ({key}, {AS_OF}), found {int(duplicated.sum())} doubled rows, the first at "
            f"{first}; look for a join that fans out"
        )
