"""The Evidently report of a drift measurement, on a sample: people read it, no decision uses it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from models.artifacts import replace_file
from models.declaring.columns import Kind
from store.pages import UnknownPageError, in_script, with_policy

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SAMPLE = 2_000
"""Rows of each side that the report is drawn from."""

KEPT = 30
"""Reports kept of a model: each has 5 MB. The figures of deleted reports stay in the warehouse."""

BINS = 100
"""A number of bins that no histogram of the report exceeds."""

VALUES = 30
"""Values of a text that are drawn, the commonest ones: Evidently takes ten seconds for 3,000."""

OTHERS = "(others)"

_OPENINGS = (re.compile(r"<script>\s+var \w+ = "), re.compile(r";\s+var additional_graphs_\w+ = "))
"""The text before each of the two pieces of JSON that hold the data in Evidently's page."""

_ENDING = re.compile(r";\s+</script>")
"""The text after them."""


def write_report(reference: pd.DataFrame, current: pd.DataFrame, kinds: Mapping[str, Kind], path: Path) -> bool:
    """Write the report as one HTML file that needs no network.

    Parameters
    ----------
    reference, current : DataFrame of shape (n_rows, n_columns)
        Columns of any type that a model can learn from. A column without any value on one side is left out.
    kinds : mapping of str to {"number", "text"}
        How each column is learnt, measured and drawn. A number that has no histogram (all values infinite, or so large
        that neighbouring floats are further apart than bins) is drawn like text, by its commonest values.
    path : Path
        Written whole or not at all; an existing report is replaced. Of the reports in the folder the last `KEPT` by
        name are kept, the others deleted.

    Returns
    -------
    bool
        Whether there was anything to draw.
    """
    drawn = {name: kinds[name] for name in kinds if reference[name].notna().any() and current[name].notna().any()}
    if not drawn:
        return False
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    from models.learning.frames import model_input

    # Evidently fails on booleans, decimals and nullable types
    frames = [model_input(side, drawn) for side in (current, reference)]
    numbers = [name for name in drawn if drawn[name] == "number" and _has_histogram(*(side[name] for side in frames))]
    categories = [name for name in drawn if name not in numbers]
    for name in categories:
        _keep_commonest(name, frames)
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=categories)
    sides = [Dataset.from_pandas(side, data_definition=definition) for side in frames]
    # Evidently's verdicts do not count here: the report shows shapes. The methods are named because for few rows
    # Evidently would choose tests that divide by the share of a value, which may be 0 on one side
    shapes = DataDriftPreset(num_method="wasserstein", cat_method="jensenshannon")
    snapshot = Report([shapes]).run(current_data=sides[0], reference_data=sides[1])
    replace_file(path, with_policy(safe(snapshot.get_html_str(as_iframe=False))))
    for outdated in sorted(path.parent.glob("*.html"))[:-KEPT]:
        outdated.unlink()
    return True


def safe(page: str) -> str:
    """Return a page of Evidently whose data cannot be read as a part of the page.

    Parameters
    ----------
    page : str
        Evidently writes its data as JSON into a script, where a browser obeys ``</script>`` even within a text.

    Raises
    ------
    UnknownPageError
        If the data are not at the place where Evidently 0.7 writes them.
    """
    parts: list[str] = []
    begin = 0
    for opening in _OPENINGS:
        # the first may be anywhere; the second must follow the first piece of JSON
        found = opening.match(page, begin) if parts else opening.search(page)
        if found is None:
            raise _unknown(opening, page, begin)
        _, end = json.JSONDecoder().raw_decode(page, found.end())
        parts += [page[begin : found.end()], in_script(page[found.end() : end])]
        begin = end
    if _ENDING.match(page, begin) is None:
        raise _unknown(_ENDING, page, begin)
    return "".join([*parts, page[begin:]])


def _unknown(expected: re.Pattern[str], page: str, place: int) -> UnknownPageError:
    return UnknownPageError(
        f"the page of Evidently: expected {expected.pattern!r} after {place:,} characters, found "
        f"{page[place : place + 80]!r}. Install the evidently of requirements.lock, or adapt "
        "store/measuring/drift_report.py to the new page."
    )


def _keep_commonest(name: str, sides: list[pd.DataFrame]) -> None:
    import pandas as pd

    texts = [side[name].astype(str) for side in sides]
    commonest = pd.concat(texts).value_counts().index[:VALUES]
    for side, text in zip(sides, texts, strict=True):
        # Plotly reads "<b>" and "<a href=…>" in labels as bold text and a link
        side[name] = text.where(text.isin(commonest), OTHERS).map(lambda each: html.escape(each, quote=False))


def _has_histogram(*sides: pd.Series) -> bool:
    """Say whether each side, and both together, have values that can be divided into bins."""
    import numpy as np

    finite = [side[np.isfinite(side)].to_numpy() for side in sides]
    return all(each.size and _can_be_divided(each) for each in (*finite, np.concatenate(finite)))


def _can_be_divided(values: np.ndarray) -> bool:
    import numpy as np

    with np.errstate(over="ignore", invalid="ignore"):
        # a histogram of a constant is 1 wide
        width = (np.ptp(values) or 1.0) / BINS
        return bool(np.isfinite(np.var(values)) and width > np.spacing(np.abs(values).max()))
