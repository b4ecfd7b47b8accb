"""The Evidently report of a drift measurement: for people, on a sample. It decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

SAMPLE = 2_000
"""Rows of each side that the report is drawn from."""

KEPT = 30
"""Reports that are kept of a model: each has 5 MB, and its figures stay in the warehouse."""


def write_report(reference: pd.DataFrame, current: pd.DataFrame, path: Path) -> bool:
    """Write the report as one HTML file that needs no network.

    Parameters
    ----------
    reference, current : DataFrame of shape (n_rows, n_columns)
        Columns without a value on either side are left out: there is nothing to draw.
    path : Path
        Written whole or not at all; a report that is there is replaced, and of the others in the folder those go that
        come first by name, until `KEPT` are left.

    Returns
    -------
    bool
        Whether there was anything to draw.
    """
    drawn = [name for name in reference.columns if reference[name].notna().any() and current[name].notna().any()]
    if not drawn:
        return False
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    numbers = [name for name in drawn if reference[name].dtype.kind in "ifb"]
    definition = DataDefinition(
        numerical_columns=numbers, categorical_columns=[name for name in drawn if name not in numbers]
    )
    sides = [Dataset.from_pandas(side[drawn], data_definition=definition) for side in (current, reference)]
    # its own verdicts use other measures than those that decide here: the sample shows shapes
    snapshot = Report([DataDriftPreset()]).run(current_data=sides[0], reference_data=sides[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    snapshot.save_html(str(unfinished))
    unfinished.replace(path)
    for outdated in sorted(path.parent.glob("*.html"))[:-KEPT]:
        outdated.unlink()
    return True
