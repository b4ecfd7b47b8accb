"""The model card: what a version is for, what it learnt from, and how good it is, for people.

After M. Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.declaring.columns import AS_OF
from models.declaring.declaration import ModelDeclaration
from models.evaluation.gates import Gate
from models.evaluation.held_out import RESAMPLES, SEGMENT_ROWS
from models.evaluation.records import Evaluation
from models.markdown import Markup, bullets, markdown_table, plain
from models.versions.candidate import Candidate
from models.versions.card_tables import census_table, costs_table, gates_table, hindsight_table, interval, number, share

CARD = "card.md"


@dataclass(frozen=True, kw_only=True)
class Card:
    """A model card.

    Attributes
    ----------
    text : str
        Markdown that refers to its images by their names.
    images : mapping of str to bytes
        PNGs by name.
    """

    text: str
    images: Mapping[str, bytes]

    def embedded(self) -> str:
        """Return the Markdown with its images in it, for a reader that cannot open files."""
        text = self.text
        for name, image in self.images.items():
            # brackets in texts from data are escaped, so only links of the card match
            place, data = rf"(?<!\\)\]\({re.escape(name)}\)", base64.b64encode(image).decode()
            text = re.sub(place, f"](data:image/png;base64,{data})", text)
        return text

    def write(self, directory: Path) -> None:
        """Write the card and its images beside the version; files that are equal stay untouched."""
        contents = {CARD: self.text.encode(), **self.images}
        for name, content in contents.items():
            path = directory / name
            if not path.exists() or path.read_bytes() != content:
                path.write_bytes(content)


def model_card(
    declaration: ModelDeclaration,
    candidate: Candidate,
    evaluation: Evaluation,
    gates: Sequence[Gate],
    confirmed: Collection[str] = (),
    warning: str = "",
) -> Card:
    """Describe a version.

    Parameters
    ----------
    declaration : ModelDeclaration
    candidate : Candidate
    evaluation : Evaluation
        The evaluation of the candidate.
    gates : sequence of Gate
    confirmed : collection of str
        Features of which a person says that they were known at the time.
    warning : str
        What a reader must know before anything else; empty for nothing.
    """
    from models.versions.plots import prediction_plots, validation_plots

    sections = (
        _head(declaration, candidate, evaluation),
        warning and f"**{plain(warning)}**",
        _data(declaration, candidate, evaluation),
        census_table(evaluation),
        hindsight_table(declaration, evaluation, confirmed),
        _metrics(evaluation),
        _contest(evaluation),
        costs_table(evaluation),
        gates_table(gates),
        _classes(evaluation),
        _segments(declaration, evaluation),
        "![calibration, gain and confusion](card_predictions.png)",
        evaluation.confusion.labels and f"Confusion: shares are of the line. {declaration.task.predicted_is}",
        _calibration(evaluation),
        _gains(evaluation),
        "![importance, learning curve and cross-validation](card_validation.png)",
        _validation(declaration, evaluation),
        _limits(declaration),
    )
    return Card(
        text="\n\n".join(section for section in sections if section) + "\n",
        images={
            "card_predictions.png": prediction_plots(evaluation),
            "card_validation.png": validation_plots(evaluation),
        },
    )


def metrics_table(evaluation: Evaluation) -> str:
    """Return the metrics of the model, the linear model and the trivial baseline, as Markdown."""
    rows = [
        (
            f"{name}{' (less is better)' if name in evaluation.kind.less_is_better else ''}",
            interval(evaluation.intervals[name]),
            interval(evaluation.linear_intervals[name]),
            interval(evaluation.baseline_intervals[name]),
            interval(evaluation.over_linear[name]),
        )
        for name in evaluation.metrics
    ]
    return markdown_table(("metric", "model", "linear", "trivial", "better than linear by"), rows)


def _head(declaration: ModelDeclaration, candidate: Candidate, evaluation: Evaluation) -> str:
    manifest, about = candidate.manifest, declaration.feature_view.entity.description
    scope = f"**Scope**: observations with `{declaration.scope}`, and no others.\n\n" if declaration.scope else ""
    rule = f"**Rule**, in force where this version is not better: {declaration.rule}.\n\n" if declaration.rule else ""
    return (
        f"# {declaration.name} {candidate.version}\n\n"
        f"{declaration.description}{f' {about}' if about else ''}\n\n"
        f"**Intended use**: to order open {declaration.feature_view.entity.plural} and to plan with their "
        f"{declaration.task.quantity}, over the horizon of {manifest['horizon_days']} days. **Not intended**: to "
        "decide about a person without a person, or to say what an action would cause.\n\n"
        f"{scope}{rule}**Owner**: {declaration.owner}. **Estimator**: "
        f"{manifest.get('estimator') or type(declaration.estimator()).__name__}, "
        f"{'with' if evaluation.calibration.applied else 'without'} scaled {declaration.task.quantity}."
    )


def _data(declaration: ModelDeclaration, candidate: Candidate, evaluation: Evaluation) -> str:
    manifest, sides = candidate.manifest, candidate.manifest["split"]
    entities = declaration.feature_view.entity.plural
    return (
        "## Data\n\n"
        f"{manifest['rows']:,} observations of {manifest['entities']:,} {entities}, `{AS_OF}` from "
        f"{manifest['first_as_of'][:10]} to {manifest['last_as_of'][:10]}, {len(manifest['features'])} features; "
        f"labels matured by {manifest['as_of'][:10]}."
        + labelled_since(manifest)
        + (
            f" These are the rows of {manifest['share']:.0%} of all {entities}, drawn by their keys, because there are "
            "more than a training needs."
            if "share" in manifest
            else ""
        )
        + f"\n\nSplit (temporal, cut {sides['cut'][:10]}): learnt from {sides['train_rows']:,} rows of "
        f"{sides['train_entities']:,} {entities}, measured on {sides['test_rows']:,} rows of "
        f"{sides['test_entities']:,}; {sides['rows_on_neither_side']:,} rows on neither side. The published pipeline "
        f"learnt from all rows.\n\n"
        f"Intervals hold 95 of 100 resamples of the {entities} ({RESAMPLES} of them, on {evaluation.interval_rows:,} "
        f"held-out rows); the linear model learnt from {evaluation.linear_rows:,} rows."
    )


def labelled_since(manifest: Mapping[str, Any]) -> str:
    """Return a sentence if the labels begin later than the history, else an empty text."""
    since = manifest.get("labelled_since")
    if since is None:
        return ""
    return (
        f" The source records outcomes from about **{since[:10]}** on: earlier observations have no label, and nothing "
        "was learnt from them."
    )


def _metrics(evaluation: Evaluation) -> str:
    undefined = "".join(f"\n\n{name} is undefined: {plain(reason)}." for name, reason in evaluation.undefined.items())
    return f"## Metrics\n\n{metrics_table(evaluation)}{undefined}"


def _contest(evaluation: Evaluation) -> str:
    if not evaluation.contest:
        return ""
    first = evaluation.contest[0]
    rows = [
        (
            each.name,
            number(each.loss),
            "" if each is first else f"{each.over_first:+.4g} (at most {each.over_first_at_most:+.4g})",
            Markup("**chosen**") if each.chosen else "",
        )
        for each in evaluation.contest
    ]
    return (
        f"## Estimators\n\nEach learnt from {first.learnt_rows:,} rows of the training side and was measured on "
        f"{first.rows:,} later ones of it; one that beats the first beyond noise takes its place.\n\n"
        + markdown_table(("estimator", evaluation.kind.loss_words, "over the first", ""), rows)
    )


def _classes(evaluation: Evaluation) -> str:
    if not evaluation.classes:
        return ""
    measures = ("share", "precision", "recall", "f1", "auc")
    rows = [
        (outcome, *(interval(measured[name]) for name in measures)) for outcome, measured in evaluation.classes.items()
    ]
    return "## By class\n\n" + markdown_table(("class", *measures), rows)


def _segments(declaration: ModelDeclaration, evaluation: Evaluation) -> str:
    if not evaluation.segments:
        return ""
    means = len(declaration.outcomes) == 1
    rows = [
        (
            each.column,
            each.value,
            f"{each.rows:,}",
            f"{each.entities:,}",
            "too few" if each.primary is None else interval(each.primary),
            "" if each.loss is None else interval(each.loss),
            *((share(each.predicted), share(each.observed)) if means else ()),
        )
        for each in evaluation.segments
    ]
    columns = (
        "column",
        "value",
        "rows",
        f"{declaration.feature_view.entity.plural}",
        evaluation.primary_metric,
        evaluation.kind.loss,
    )
    return (
        "## By segment\n\n"
        + markdown_table((*columns, "predicted", "observed") if means else columns, rows)
        + f"\n\nToo few: fewer than {SEGMENT_ROWS} rows, or one value of the label. Each column is shown with its "
        "most frequent values." + "".join(f" {sentence}" for sentence in declaration.feature_view.segment_notes)
    )


def _calibration(evaluation: Evaluation) -> str:
    measured = evaluation.calibration
    scaling = measured.scaling
    if not evaluation.kind.scaled:
        return (
            f"## Calibration\n\nMean distance between predicted and actual {evaluation.kind.quantity}, in bins of "
            f"equally many rows: {interval(measured.error_before)}."
        )
    if scaling is None:
        fitted = "No scaling was fitted"
    elif scaling.method == "temperature":
        fitted = f"Temperature {1 / scaling.slope:.3f}"
    else:
        fitted = f"Slope {scaling.slope:.3f}, intercept {scaling.intercept:.3f}"
    return (
        "## Calibration\n\n"
        f"{fitted} ({measured.rows:,} out-of-fold rows of the training side): "
        f"**{'applied' if measured.applied else 'not applied'}**, {measured.reason}. Expected calibration error on the "
        f"held-out rows: {interval(measured.error_before)} before, {interval(measured.error_after)} after."
    )


def _gains(evaluation: Evaluation) -> str:
    if not evaluation.gains:
        return ""
    shares = list(evaluation.gains[0].lift)
    rows = [(each.outcome, *(f"{each.lift[share]:.2f}" for share in shares)) for each in evaluation.gains]
    return "## Lift\n\n" + markdown_table(("outcome", *(f"first {share} of the rows" for share in shares)), rows)


def _validation(declaration: ModelDeclaration, evaluation: Evaluation) -> str:
    entity, loss = declaration.feature_view.entity, evaluation.kind.loss_words
    entities = entity.plural
    validation, scores = evaluation.validation, evaluation.validation.cross_validation
    if scores is None:
        folds = f"No cross-validation: {plain(validation.note)}."
    else:
        folds = (
            f"Cross-validation by {entity.name} ({scores.rows:,} training rows of {scores.entities:,} {entities}): "
            f"{evaluation.primary_metric} {scores.mean:.4f} ± {scores.std:.4f}, a spread of {scores.spread:.1%}."
        )
    rows = [
        (f"{point.entities:,}", f"{point.rows:,}", number(point.primary), number(point.loss))
        for point in validation.learning_curve
    ]
    return (
        f"## Validation\n\n{folds} Importance: the rise of the {loss} of {validation.importance_rows:,} held-out "
        "rows when a feature is shuffled among them; features that say the same cover for each other.\n\n"
        + markdown_table((f"{entities} learnt from", "rows", evaluation.primary_metric, loss), rows)
        + f"\n\nThe last line is of all training rows, the others of a sample with fewer rows of each {entity.name}."
    )


def _limits(declaration: ModelDeclaration) -> str:
    entities = declaration.feature_view.entity.plural
    held_out = "observed" if declaration.feature_view.entity.lasting else "created"
    limits = [
        f"The figures are of {entities} that were {held_out} later than those learnt from, in one company's history. "
        "They may not hold for another company, or after a change, for which the drift checks look.",
        "The published pipeline learnt from the held-out rows as well, so it was not itself measured.",
        "Numbers beyond the 0.1 % and 99.9 % quantiles of the training rows count as those quantiles.",
        f"The metrics are of observations, of which busy {entities} have more; the census is like what is scored.",
    ]
    if declaration.success_weight != 1:
        limits.append(
            f"Rows of {entities} that succeeded count {declaration.success_weight:g} times in learning, so "
            f"predicted {declaration.task.quantity} differ from observed ones."
        )
    return "## Limits\n\n" + bullets(limits)
