"""The report of a drift measurement: Leadline's verdicts, and below them a sample that Evidently draws.

People read it, no decision uses it.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from models.artifacts import replace_file
from models.decisions.drift import DriftEvidence, Verdict
from models.declaring.columns import Kind
from models.markdown import printable
from store.pages import UnknownPageError, in_script, with_policy

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SAMPLE = 2_000
"""Rows of each side that the report is drawn from."""

BINS = 100
"""A number of bins that no histogram of the report exceeds."""

VALUES = 30
"""Values of a text that are drawn, the commonest ones: Evidently takes ten seconds for 3,000."""

SHOWN = 12
"""Number of features in the report, those that have moved most."""

OTHERS = "(others)"

_OPENINGS = (re.compile(r"<script>\s+var \w+ = "), re.compile(r";\s+var additional_graphs_\w+ = "))
"""The text before each of the two pieces of JSON that hold the data in Evidently's page."""

_ENDING = re.compile(r";\s+</script>")
"""The text after them."""

_BODY = re.compile(r"</head>\s+<body>")
"""The text of Evidently's page after the data and before everything that is shown."""

_STYLE = """<style>
.decided { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 2rem 1.5rem;
  color: #222; background: #fff; }
.decided table { border-collapse: collapse; margin: 1rem 0; }
.decided th, .decided td { border-bottom: 1px solid #ccc; padding: .4rem 1rem .4rem 0; text-align: left;
  vertical-align: top; overflow-wrap: anywhere; }
.decided th, .decided td:not(:last-child) { white-space: nowrap; }
.decided .sample { border-top: 4px solid #222; margin-top: 2rem; padding-top: 1rem; }
</style>"""

_TOP = """<section class="decided">
<h1>Drift of {model}</h1>
<table>{about}</table>
<h2>Leadline's verdicts</h2>
<p>These verdicts decide whether the model is trained anew (<code>retrain_decision/{model}</code>). They are measured on
all rows, not on the sample below.</p>
<table>{verdicts}</table>
<div class="sample">
<h2>A sample of both windows, drawn by Evidently</h2>
<p>For the eye alone: the predictions, and the {shown} features that have moved most, on at most {sample} rows of each
window. Evidently has thresholds of its own: what it says of drift below decides nothing.</p>
</div>
</section>"""


def heading(evidence: DriftEvidence, verdicts: Sequence[Verdict], entities: str, caveat: str = "") -> str:
    """Return the top of a report: the model, the windows, and the verdicts that decide.

    Parameters
    ----------
    evidence : DriftEvidence
    verdicts : sequence of Verdict
    entities : str
        The entities of the model, in the plural.
    caveat : str
        What a reader must know of every figure; empty for nothing.

    Returns
    -------
    str
        HTML.
    """
    windows = (
        ("Reference window", evidence.reference.trained_at, "when the version was trained",
         evidence.rows_reference, evidence.entities_reference),
        ("Current window", evidence.as_of, "the clock", evidence.rows_current, evidence.entities_current),
    )  # fmt: skip
    about = [
        *([("Caution", caveat)] if caveat else []),
        ("Version", evidence.version),
        ("Clock", _moment(evidence.as_of)),
        *(
            (name, f"{_moment(end - timedelta(days=evidence.window_days))} to {_moment(end)}, {what}: "
             f"{rows:,} observations of {counted:,} {entities}")
            for name, end, what, rows, counted in windows
        ),
    ]  # fmt: skip
    return _TOP.format(
        model=_text(evidence.model),
        about="".join(_row(name, value) for name, value in about),
        verdicts="".join(_row(each.check, _outcome(each), each.statement) for each in verdicts),
        shown=SHOWN,
        sample=f"{SAMPLE:,}",
    )


def _outcome(verdict: Verdict) -> str:
    if verdict.value is None:
        return "not measured"
    return "failed" if verdict.failed else "passed"


def _row(head: str, *cells: str) -> str:
    return f'<tr><th scope="row">{_text(head)}</th>{"".join(f"<td>{_text(each)}</td>" for each in cells)}</tr>'


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _text(value: str) -> str:
    return html.escape(printable(value))


def shows(path: Path, top: str) -> bool:
    """Say whether a report exists and has this top."""
    return path.is_file() and top in path.read_text(encoding="utf-8")


def write_report(
    reference: pd.DataFrame, current: pd.DataFrame, kinds: Mapping[str, Kind], path: Path, *, title: str, top: str
) -> bool:
    """Write the report as one HTML file that needs no network.

    Parameters
    ----------
    reference, current : DataFrame of shape (n_rows, n_columns)
        Columns of any type that a model can learn from. A column without any value on one side is left out.
    kinds : mapping of str to {"number", "text"}
        How each column is learnt, measured and drawn. A number that has no histogram (all values infinite, or so large
        that neighbouring floats are further apart than bins) is drawn like text, by its commonest values.
    path : Path
        Written whole or not at all; an existing report is replaced.
    title : str
        The title in the tab of a browser.
    top : str
        HTML above Evidently's part (`heading`).

    Returns
    -------
    bool
        Whether there was anything to draw.
    """
    drawn = {name: kinds[name] for name in kinds if reference[name].notna().any() and current[name].notna().any()}
    if not drawn:
        return False
    import numpy as np
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
    # its correlations divide by the deviation of a column, which may be 0
    with np.errstate(invalid="ignore"):
        snapshot = Report([shapes]).run(current_data=sides[0], reference_data=sides[1])
    page = headed(safe(snapshot.get_html_str(as_iframe=False)), title, top)
    replace_file(path, with_policy(page))
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


def headed(page: str, title: str, top: str) -> str:
    """Return a `safe` page of Evidently with a title, and with HTML above everything that is shown.

    Raises
    ------
    UnknownPageError
        If the page has no body where Evidently 0.7 has it.
    """
    found = _BODY.search(page)
    if found is None:
        raise _unknown(_BODY, page, 0)
    head, body = page[: found.start()], page[found.end() :]
    return f"{head}<title>{_text(title)}</title>{_STYLE}</head><body>{top}{body}"


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
