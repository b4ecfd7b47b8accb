"""Plots of an evaluation, as small images that a model card can hold."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from models.evaluation.records import CalibrationBin, Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 80

SHOWN_FEATURES = 15
"""So many of the most important features are drawn."""


def prediction_plots(evaluation: Evaluation) -> bytes:
    """Draw calibration before and after scaling, the gain curve and the confusion matrix of the held-out rows.

    Returns
    -------
    bytes
        A PNG.
    """
    figure = _figure()
    names = evaluation.confusion.labels
    calibration, gain, *confusion = figure.subplots(1, 3 if names else 2)
    measured = evaluation.calibration
    outcomes = dict.fromkeys(each.outcome for each in measured.bins_before)
    colours = {name: f"C{number}" for number, name in enumerate(outcomes)}

    lowest, highest = evaluation.kind.range_shown(measured.bins_before)
    calibration.plot([lowest, highest], [lowest, highest], color="0.6", linestyle="--", linewidth=1)
    for table, published in (
        (measured.bins_before, not measured.applied),
        (measured.bins_after, measured.applied),
    ):
        _draw_calibration(calibration, table, colours, published=published)
    dotted = "without the scaling" if measured.applied else "if it were scaled"
    calibration.set(
        title=f"calibration (dotted: {dotted})" if evaluation.kind.scaled else "calibration",
        xlabel="mean of the predictions",
        ylabel="mean of the actual values",
        xlim=(lowest, highest),
        ylim=(lowest, highest),
    )
    calibration.legend(loc="upper left", fontsize="small")

    gain.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1)
    for each in evaluation.gains:
        steps = len(each.found) - 1
        gain.plot([step / steps for step in range(steps + 1)], each.found, color=colours.get(each.outcome))
    gain.set(
        title="gain", xlabel="rows looked at, highest prediction first", ylabel="share found", xlim=(0, 1), ylim=(0, 1)
    )

    for axes in confusion:
        _draw_confusion(axes, evaluation)
    for axes in (calibration, gain):
        axes.grid(alpha=0.3)
    return _png(figure)


def validation_plots(evaluation: Evaluation) -> bytes:
    """Draw the importance of features, the learning curve, and the folds of the cross-validation.

    Returns
    -------
    bytes
        A PNG.
    """
    figure = _figure()
    importance, curve, folds = figure.subplots(1, 3, width_ratios=(1.2, 1, 0.6))
    validation = evaluation.validation

    ranked = validation.importance[:SHOWN_FEATURES][::-1]
    importance.barh([each.feature for each in ranked], [each.rise for each in ranked], color="C0")
    importance.set(title="importance", xlabel="rise of the loss when shuffled")
    importance.tick_params(axis="y", labelsize="small")

    points = [point for point in validation.learning_curve if point.primary is not None]
    curve.plot([point.entities for point in points], [point.primary for point in points], marker="o")
    curve.set(title="learning curve", xlabel="entities learnt from", ylabel=evaluation.primary_metric)
    curve.set_xscale("log")
    curve.set_xticks(
        [point.entities for point in points], [f"{point.entities:,}" for point in points], fontsize="small"
    )
    curve.set_xticks([], minor=True)

    cross_validation = validation.cross_validation
    if cross_validation is not None:
        folds.plot(range(1, len(cross_validation.folds) + 1), cross_validation.folds, "o")
        folds.axhline(cross_validation.mean, color="0.6", linestyle="--", linewidth=1)
    folds.set(title="cross-validation", xlabel="fold", ylabel=evaluation.primary_metric)
    for axes in (importance, curve, folds):
        axes.grid(alpha=0.3)
    return _png(figure)


def _draw_calibration(
    axes: Axes, table: tuple[CalibrationBin, ...], colours: dict[str, str], *, published: bool
) -> None:
    for outcome, colour in colours.items():
        bins = [each for each in table if each.outcome == outcome]
        axes.plot(
            [each.mean_predicted for each in bins],
            [each.mean_actual for each in bins],
            color=colour,
            marker="o" if published else None,
            markersize=4,
            linestyle="-" if published else ":",
            label=outcome if published else None,
        )


def _draw_confusion(axes: Axes, evaluation: Evaluation) -> None:
    labels, rows = evaluation.confusion.labels, evaluation.confusion.rows
    shares = [[count / max(1, sum(row)) for count in row] for row in rows]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for line, row in enumerate(rows):
        for column, count in enumerate(row):
            share = shares[line][column]
            axes.text(
                column,
                line,
                f"{count:,}\n{share:.0%}",
                ha="center",
                va="center",
                fontsize="small",
                color="white" if share > 0.5 else "black",
            )
    axes.set_xticks(range(len(labels)), labels, rotation=30, ha="right", fontsize="small")
    axes.set_yticks(range(len(labels)), labels, fontsize="small")
    axes.set(title="confusion", xlabel="predicted", ylabel="happened")


def _figure() -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(13.5, 4.4), dpi=DPI, layout="constrained")


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    # without the version of the library, equal figures are equal bytes
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
