"""Ranges: which values of some features training has seen, and whether a row to be scored lies outside of them.

A model predicts something for every row. For a row unlike any training row, trees repeat the prediction of the nearest
rows, and no measured figure says whether it is right.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from models.declaring.declaration import RowWeight
from models.learning.pipelines import FREQUENT_ROWS

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

FEWEST, LEAST_SHARE, ENOUGH = 2, 0.02, 20
"""A value counts as seen if enough entities reach it: `LEAST_SHARE` of all, at least `FEWEST` and at most `ENOUGH`."""

RARE_SHARE = 0.1
"""If this share of the entities has rare values, each of which few entities have, all values count as seen: about as
many held-out entities have rare values, so that the measured figures hold for them."""

Range = dict[str, Any]
"""As stored in JSON: ``{"lower", "upper", "missing"}`` of a number, ``{"values"}`` of a text."""


def learnt_ranges(
    features: pd.DataFrame, entities: np.ndarray, names: tuple[str, ...], weight: RowWeight | None = None
) -> dict[str, Range]:
    """Return the ranges of some features that enough entities have reached.

    Parameters
    ----------
    features : DataFrame of shape (n_rows, n_features)
        A model input.
    entities : ndarray of int, shape (n_rows,)
        The entity of each row.
    names : tuple of str
        The features; names that are not in `features` are left out.
    weight : RowWeight, optional
        If it weighs rows by one of the features, a row stands for the values up to its own plus its weight: a silent
        entity is observed again when its silence has lasted twice as long.

    Returns
    -------
    dict of str to Range
        For a number the least and the largest value that enough entities reach or pass, and whether enough have none.
        For a text the values that enough entities have had; all values that share a category in learning, if enough
        have had one of them; and all rare values, if `RARE_SHARE` of the entities have had one.
    """
    import numpy as np

    ranges: dict[str, Range] = {}
    enough = min(ENOUGH, max(FEWEST, math.ceil(LEAST_SHARE * len(np.unique(entities)))))
    for name in (each for each in names if each in features.columns):
        column = features[name]
        if column.dtype == object:
            rows = column.value_counts()
            rare = set(rows.index[rows < FREQUENT_ROWS])
            seen = column.to_frame("value").assign(entity=entities).drop_duplicates()["value"].value_counts()
            known = set(seen.index[seen >= enough])
            # values with few rows share a category in learning, which counts as seen if enough entities have it
            if len(np.unique(entities[column.isin(rare).to_numpy()])) >= enough:
                known |= rare
            rare_values = set(seen.index[seen < enough])
            if len(np.unique(entities[column.isin(rare_values).to_numpy()])) >= RARE_SHARE * len(np.unique(entities)):
                known |= rare_values
            ranges[name] = {"values": sorted(map(str, known))}
            continue
        reached = column + np.maximum(weight.at_least, column) if weight and weight.column == name else column
        least, largest = column.groupby(entities).min().dropna(), reached.groupby(entities).max().dropna()
        ranges[name] = {
            "lower": float(np.sort(least)[min(enough, len(least)) - 1]) if len(least) else None,
            "upper": float(np.sort(largest)[-min(enough, len(largest))]) if len(largest) else None,
            "missing": bool(column.isna().groupby(entities).any().sum() >= enough),
        }
    return ranges


def outside(features: pd.DataFrame, ranges: Mapping[str, Range]) -> list[str | None]:
    """Return for each row the features of which training has seen no such value, as a remark, or None.

    Parameters
    ----------
    features : DataFrame
        A model input.
    ranges : mapping of str to Range
        As `learnt_ranges` returns them.
    """
    import numpy as np

    remarks: list[list[str]] = [[] for _ in range(len(features))]
    for name, seen in ranges.items():
        column = features[name]
        if "values" in seen:
            for row in np.flatnonzero(~column.isin(seen["values"]).to_numpy()):
                remarks[row].append(f"{name} = {column.iloc[row]} (seldom or never learnt from)")
            continue
        values = column.to_numpy(dtype="float64")
        if not seen["missing"]:
            for row in np.flatnonzero(np.isnan(values)):
                remarks[row].append(f"{name} is missing (seldom or never learnt from)")
        for row in np.flatnonzero(values < (-np.inf if seen["lower"] is None else seen["lower"])):
            remarks[row].append(f"{name} = {values[row]:.4g} (learnt from {seen['lower']:.4g} on)")
        for row in np.flatnonzero(values > (np.inf if seen["upper"] is None else seen["upper"])):
            remarks[row].append(f"{name} = {values[row]:.4g} (learnt from up to {seen['upper']:.4g})")
    return ["; ".join(each) or None for each in remarks]


def named(remark: str) -> list[str]:
    """Return the features that a remark of `outside` names."""
    return re.findall(r"(?:^|; )(\w+) (?:= .*? |is missing )\((?:learnt|seldom)", remark)
