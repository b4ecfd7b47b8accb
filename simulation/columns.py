"""Columns of Arrow from codes, numbers and times."""

from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from simulation.draws import Bools, Floats, Ints
from simulation.world import NEVER

TIME = pa.timestamp("us", tz="UTC")
MONEY = pa.decimal128(18, 2)


def times(values: Ints) -> pa.Array:
    """Return times; `NEVER` becomes null."""
    return pa.array(values, mask=values == NEVER).cast(TIME)


def words(names: tuple[str, ...], codes: npt.NDArray[Any], missing: Bools | None = None) -> pa.Array:
    """Return the words of codes."""
    return pa.array(names).take(pa.array(codes.astype(np.int64), mask=missing))


def members(enum: type[IntEnum], codes: npt.NDArray[Any], missing: Bools | None = None) -> pa.Array:
    """Return the names of the members of an enumeration, in lower case."""
    return words(tuple(member.name.lower() for member in enum), codes, missing)


def numbered(prefix: str, numbers: npt.NDArray[Any], width: int) -> pa.Array:
    """Return ids: a prefix and the number of an entity, which counts from 1."""
    digits = pc.utf8_lpad(pc.cast(pa.array(numbers + 1), pa.string()), width, "0")
    return pc.binary_join_element_wise(prefix, digits, "")


def joined(left: pa.Array, right: pa.Array) -> pa.Array:
    """Return two texts with a hyphen between."""
    return pc.binary_join_element_wise(left, right, "-")


def money(values: Floats, missing: Bools | None = None) -> pa.Array:
    """Return amounts with two decimals."""
    return pa.array(values, mask=missing).cast(MONEY)


def lead_ids(numbers: Ints) -> pa.Array:
    """Return the ids of leads."""
    return numbered("L", numbers, 7)


def repeated(text: str, count: int) -> pa.Array:
    """Return a column of one text."""
    return pa.repeat(text, count)


def texts(values: pa.Array) -> pa.Array:
    """Return values as texts; times and dates as times in UTC."""
    if pa.types.is_date(values.type) or pa.types.is_timestamp(values.type):
        return pc.strftime(pc.cast(values, pa.timestamp("us")), "%Y-%m-%dT%H:%M:%SZ")
    return pc.cast(values, pa.string())


def in_order(table: pa.Table, *keys: str) -> dict[str, pa.Array]:
    """Return the columns of a table, sorted."""
    ordered = table.sort_by([(key, "ascending") for key in keys])
    return dict(zip(ordered.column_names, ordered.columns, strict=True))
