"""Steps of a pipeline that turn columns into others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class TextColumns:
    """Selects the text columns of a model input.

    This is an object and not a function, because the fingerprint contains its repr, which must not vary by process.
    """

    def __call__(self, frame: pd.DataFrame) -> list[str]:
        """Return the names of the text columns."""
        return list(frame.select_dtypes(exclude="number").columns)


@dataclass(frozen=True)
class FilledNumbers:
    """Selects the numeric columns with enough values to learn from.

    HistGradientBoosting of scikit-learn 1.9 fails on a column without a value, also when only the 200,000 rows that
    it draws to find its bins have none. A column with one value in `rows_per_value` rows almost certainly has one among
    them.
    """

    rows_per_value: int = 10_000

    def __call__(self, frame: pd.DataFrame) -> list[str]:
        """Return the names of the numeric columns that are filled and not constant."""
        numbers = frame.select_dtypes("number")
        enough = max(2, math.ceil(len(frame) / self.rows_per_value))
        present = numbers.count()
        varied = (present < len(frame)) | (numbers.min() < numbers.max())
        kept = (present >= enough) & varied
        return [str(name) for name in numbers.columns[kept]]
