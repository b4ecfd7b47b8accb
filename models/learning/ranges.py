"""Ranges: what training has seen of the features that place an entity, and whether a row to be scored lies outside.

A model says something for every row. Where training has seen nothing like it, trees repeat what they learnt of the
nearest rows, and nothing measured says whether that holds.
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
"""Entities that must reach a value for it to count as seen: a share of them, within two bounds."""

RARE_SHARE = 0.1
"""Share of the entities from which on values that few entities each have had count all: as many of the held-out
entities have such a value, so what was measured holds for them."""

Range = dict[str, Any]
"""Of a number ``{"lower", "upper", "missing"}``, of a text ``{"values"}``, as JSON keeps it."""


def learnt_ranges(
    features: pd.DataFrame, entities: np.ndarray, names: tuple[str, ...], weight: RowWeight | None = None
) -> dict[str, Range]:
    """Return what enough entities have shown of some features.

    Parameters
    ----------
    features : DataFrame of shape (n_rows, n_features)
        A model input.
    entities : ndarray of int, shape (n_rows,)
        The entity of each row.
    names : tuple of str
        Those of them that are no features are left out.
    weight : RowWeight, optional
        A row stands for as many values ahead of its own as it weighs: a silence is observed again when it has lasted
        twice as long.

    Returns
    -------
    dict of str to Range
        For a number the least and the largest value that enough entities reach or pass, and whether as many
        have none; for a text the values that as many have had, those that share a category in learning, because
        each has few rows, where as many have had one of them, and all where `RARE_SHARE` have a value of few.
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
            # rare values share a category in learning, which is seen where they are enough together
            if len(np.unique(entities[column.isin(rare).to_numpy()])) >= enough:
                known |= rare
            few = set(seen.index[seen < enough])
            if len(np.unique(entities[column.isin(few).to_numpy()])) >= RARE_SHARE * len(np.unique(entities)):
                known |= few
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
    """Say of each row in which features training has seen nothing like it, or None.

    Parameters
    ----------
    features : DataFrame
        The model input.
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
