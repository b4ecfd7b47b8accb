"""Plots of what was measured, as images that the UI can show."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.evaluation import Evaluation


def calibration_plot(evaluation: Evaluation) -> bytes:
    """Draw predicted probabilities against observed rates, with the number of held-out rows in each bin below.

    Returns
    -------
    bytes
        A PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 6.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    curve, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    curve.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1, label="perfectly calibrated")
    outcomes = list(dict.fromkeys(each.outcome for each in evaluation.calibration))
    width = 0.08 / len(outcomes)
    for number, outcome in enumerate(outcomes):
        bins = [each for each in evaluation.calibration if each.outcome == outcome]
        (line,) = curve.plot(
            [each.mean_probability for each in bins], [each.observed_rate for each in bins], marker="o", label=outcome
        )
        counts.bar(
            [each.lower + 0.01 + (number + 0.5) * width for each in bins],
            [each.n for each in bins],
            width=width,
            color=line.get_color(),
        )
    curve.set(
        title=f"Calibration of {evaluation.model} {evaluation.version}\non {evaluation.n:,} held-out rows",
        ylabel="observed rate",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    curve.legend(loc="upper left")
    curve.grid(alpha=0.3)
    counts.set(xlabel="predicted probability", ylabel="rows")
    counts.set_yscale("log")
    counts.grid(alpha=0.3)
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
