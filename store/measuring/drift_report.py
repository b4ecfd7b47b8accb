"""The Evidently report of a drift measurement: for people, on a sample. It decides nothing."""

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
"""Reports that are kept of a model: each has 5 MB, and its figures stay in the warehouse."""

BINS = 100
"""More than any of the report's histograms has."""

VALUES = 30
"""The commonest values of a text, which are drawn one by one: Evidently takes ten seconds over 3,000."""

OTHERS = "(others)"

_OPENINGS = (re.compile(r"<script>\s+var \w+ = "), re.compile(r";\s+var additional_graphs_\w+ = "))
"""What stands in Evidently's page before each of the two texts of JSON that hold the data."""

_ENDING = re.compile(r";\s+</script>")
"""What stands after them."""


def write_report(reference: pd.DataFrame, current: pd.DataFrame, kinds: Mapping[str, Kind], path: Path) -> bool:
    """Write the report as one HTML file that needs no network.

    Parameters
    ----------
    reference, current : DataFrame of shape (n_rows, n_columns)
        Columns of any type that can be learnt from. One that has no value on one side is left out: there is nothing
        to draw beside the other.
    kinds : mapping of str to {"number", "text"}
        What each column is learnt from and measured as, and so drawn as. A number that has no histogram (all infinite,
        or of a size at which neighbouring floats are further apart than bins) is drawn like text, by its commonest
        values.
    path : Path
        Written whole or not at all; a report that is there is replaced, and of the others in the folder those go that
        come first by name, until `KEPT` are left.

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
    given = [model_input(side, drawn) for side in (current, reference)]
    numbers = [name for name in drawn if drawn[name] == "number" and _has_histogram(*(side[name] for side in given))]
    categories = [name for name in drawn if name not in numbers]
    for name in categories:
        _keep_commonest(name, given)
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=categories)
    sides = [Dataset.from_pandas(side, data_definition=definition) for side in given]
    # its own verdicts use other measures than those that decide here: the sample shows shapes. They are named, for
    # of few rows it would take tests that divide by the share of a value, which is 0 where one side has none
    shapes = DataDriftPreset(num_method="wasserstein", cat_method="jensenshannon")
    snapshot = Report([shapes]).run(current_data=sides[0], reference_data=sides[1])
    replace_file(path, with_policy(safe(snapshot.get_html_str(as_iframe=False))))
    for outdated in sorted(path.parent.glob("*.html"))[:-KEPT]:
        outdated.unlink()
    return True


def safe(page: str) -> str:
    """Return a page of Evidently in which no text of the data is read as a part of the page.

    Parameters
    ----------
    page : str
        Evidently writes its data as JSON into a script, in which a browser looks for ``</script>`` also within texts.

    Raises
    ------
    UnknownPageError
        If the data do not stand where Evidently 0.7 has them.
    """
    written: list[str] = []
    begin = 0
    for opening in _OPENINGS:
        # the first wherever it comes, the second where the first text of JSON ends
        found = opening.match(page, begin) if written else opening.search(page)
        if found is None:
            raise _unknown(opening, page, begin)
        _, end = json.JSONDecoder().raw_decode(page, found.end())
        written += [page[begin : found.end()], in_script(page[found.end() : end])]
        begin = end
    if _ENDING.match(page, begin) is None:
        raise _unknown(_ENDING, page, begin)
    return "".join([*written, page[begin:]])


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
        # Plotly takes "<b>" and "<a href=…>" in labels for bold text and a link
        side[name] = text.where(text.isin(commonest), OTHERS).map(lambda each: html.escape(each, quote=False))


def _has_histogram(*sides: pd.Series) -> bool:
    """Tell whether each side, and both together, can be divided into bins and have a spread."""
    import numpy as np

    finite = [side[np.isfinite(side)].to_numpy() for side in sides]
    return all(each.size and _can_be_divided(each) for each in (*finite, np.concatenate(finite)))


def _can_be_divided(values: np.ndarray) -> bool:
    import numpy as np

    with np.errstate(over="ignore", invalid="ignore"):
        # a histogram of a constant is 1 wide
        width = (np.ptp(values) or 1.0) / BINS
        return bool(np.isfinite(np.var(values)) and width > np.spacing(np.abs(values).max()))
