"""The model card: what a version is for, what it learnt from, and how good it is, for people.

After M. Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.declaring.columns import AS_OF
from models.declaring.declaration import ModelDeclaration
from models.evaluation.gates import Gate
from models.evaluation.held_out import RESAMPLES, SEGMENT_ROWS
from models.evaluation.records import BesideRule, Evaluation, Figure, Total
from models.evaluation.suspicion import sentences, suspicions, unconfirmed
from models.markdown import Markup, bullets, markdown_table, plain
from models.versions.candidate import Candidate

CARD = "card.md"

HINDSIGHT_SHOWN = 5
"""Features that are shown by each measure of hindsight."""


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
            # in a text from data the bracket is escaped
            place, data = rf"(?<!\\)\]\({re.escape(name)}\)", base64.b64encode(image).decode()
            text = re.sub(place, f"](data:image/png;base64,{data})", text)
        return text

    def write(self, directory: Path) -> None:
        """Write the card and its images beside the version; what is there already and is equal stays untouched."""
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
        That of the candidate.
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


def gates_table(gates: Iterable[Gate]) -> str:
    """Return the declared bounds beside their values, as Markdown."""
    rows = [
        (
            gate.name,
            _number(gate.value) if gate.value is not None else f"undefined: {gate.undefined}",
            f"{'≤' if gate.at_most else '≥'} {gate.bound:g}",
            "met" if gate.met else Markup("**missed**"),
        )
        for gate in gates
    ]
    return "## Gates\n\n" + markdown_table(("gate", "value", "bound", ""), rows)


def metrics_table(evaluation: Evaluation) -> str:
    """Return the metrics of the model, the linear model and the trivial baseline, as Markdown."""
    rows = [
        (
            f"{name}{' (less is better)' if name in evaluation.kind.less_is_better else ''}",
            _interval(evaluation.intervals[name]),
            _interval(evaluation.linear_intervals[name]),
            _interval(evaluation.baseline_intervals[name]),
            _interval(evaluation.over_linear[name]),
        )
        for name in evaluation.metrics
    ]
    return markdown_table(("metric", "model", "linear", "trivial", "better than linear by"), rows)


def census_table(evaluation: Evaluation) -> str:
    """Return what was expected of a census beside what happened, as Markdown."""
    census = evaluation.census
    if census is None:
        return "## Census\n\nNot measured on a census."
    task = evaluation.kind
    shown = (task.area, evaluation.primary_metric, "brier", task.loss)
    figures = ", ".join(
        f"{name} {_interval(census.metrics[name])}" for name in dict.fromkeys(shown) if name in census.metrics
    )
    worth = ""
    if census.value_expected is not None and census.value_actual is not None:
        worth = (
            f" Value: {census.value_expected:,.0f} expected, {census.value_actual:,.0f} happened, by what "
            "is known of values today."
        )
    rows = [("all", "", f"{census.rows:,}", *_total(total)) for total in census.totals]
    rows += [
        (each.column, each.band, f"{each.rows:,}", *_total(total))
        for each in census.slices
        for total in each.totals
        if len(census.totals) == 1 or each.column == "clock"
    ]
    losses = [
        (each.column, each.band, f"{each.rows:,}", _number(each.loss), _number(each.trivial_loss))
        for each in census.slices
        if each.column != "grade"
    ]
    beside = census.beside_rule
    return (
        f"## Census\n\nAll in scope that was open at {', '.join(census.clocks)} and has a label ({census.rows:,} "
        f"rows of {census.entities:,}), by a pipeline that knew nothing of what came after: {figures}; "
        f"{task.loss_words} of the best constant {_number(census.trivial_loss)}.{worth}\n\n"
        + markdown_table(("by", "", "rows", "outcome", "expected", "happened", "difference"), rows)
        + "\n\n"
        + markdown_table(("by", "", "rows", task.loss_words, "of its own best constant"), losses)
        + ("" if beside is None else f"\n\n{_beside_rule(evaluation, beside)}")
    )


def _beside_rule(evaluation: Evaluation, beside: BesideRule) -> str:
    kind = evaluation.kind
    names = list(dict.fromkeys((evaluation.primary_metric, kind.loss)))
    stays = (
        "The version is better in both, beyond the intervals."
        if beside.beaten(names) == names
        else "The version is not better in both, beyond the intervals: **the rule stays**."
    )
    rows = [
        (
            kind.words.get(name, name),
            _interval(beside.rule[name]),
            _interval(beside.model[name]),
            _interval(beside.over_rule[name]),
        )
        for name in names
    ]
    return (
        f"Beside the rule, on the {beside.rows:,} rows ({beside.entities:,} entities) of which it says something; the "
        "amount that it goes by may be the one of today, which flatters it:\n\n"
        + markdown_table(("", "the rule", "the version", "better than the rule by"), rows)
        + f"\n\n{stays}"
    )


def hindsight_table(declaration: ModelDeclaration, evaluation: Evaluation, confirmed: Collection[str] = ()) -> str:
    """Return the features that are suspected of hindsight, and those that come closest to it, as Markdown."""
    measured = evaluation.hindsight
    if measured is None:
        return "## Hindsight\n\nNot measured."
    found = suspicions(declaration, evaluation)
    unclear = unconfirmed(found, confirmed)
    suspected = [Markup(plain(each)) for each in sentences(unclear)]
    suspected += [
        Markup(f"{plain(each)} (**confirmed** by a person)")
        for each in sentences([each for each in found if each not in unclear])
    ]
    alone = [
        (each.feature, each.outcome, f"{each.skill:.3f}", "" if each.auc is None else f"{each.auc:.3f}")
        for each in measured.alone[:HINDSIGHT_SHOWN]
    ]
    one_sided = [
        (
            each.feature,
            each.value,
            f"{each.having:,} {each.side}",
            f"{each.seen_now:,.0f} of {each.expected_now:,.0f}",
            f"{each.seen_before:,.0f} of {each.expected_before:,.0f}",
        )
        for each in measured.one_sided[:HINDSIGHT_SHOWN]
    ]
    entities = declaration.feature_view.entity.plural
    return (
        "## Hindsight\n\n"
        + (bullets(suspected) if suspected else "No feature seems to know the outcome.")
        + "\n\nThe features that predict best alone:\n\n"
        + markdown_table(("feature", "outcome", "skill", "AUC"), alone)
        + f"\n\nThe values that most divide {entities} that were settled from those that are open: seen on the other "
        "side, of what was to be expected by the rows of the clock and by earlier rows:\n\n"
        + markdown_table(("feature", "value", f"{entities} with it", "by now", "by earlier rows"), one_sided)
    )


def _total(total: Total) -> tuple[str, str, str, str]:
    difference = f"{total.expected - total.actual:+.1f} ({total.lower:+.1f} to {total.upper:+.1f})"
    return (
        total.outcome,
        f"{total.expected:,.1f}",
        f"{total.actual:,.{0 if float(total.actual).is_integer() else 1}f}",
        difference,
    )


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
        + f"\n\nSplit (temporal, cut {sides['cut'][:10]}): learnt from {sides['train_rows']:,} rows of "
        f"{sides['train_entities']:,} {entities}, measured on {sides['test_rows']:,} rows of "
        f"{sides['test_entities']:,}; {sides['rows_on_neither_side']:,} rows on neither side. The published pipeline "
        f"learnt from all rows.\n\n"
        f"Intervals hold 95 of 100 resamples of the {entities} ({RESAMPLES} of them, on {evaluation.interval_rows:,} "
        f"held-out rows); the linear model learnt from {evaluation.linear_rows:,} rows."
    )


def labelled_since(manifest: Mapping[str, Any]) -> str:
    """Say where the labels begin later than the history; nothing where they do not."""
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
            _number(each.loss),
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


def costs_table(evaluation: Evaluation) -> str:
    """Return the declared costs of errors and what followed from them, as Markdown; nothing where there are none."""
    measured = evaluation.costs
    if measured is None:
        return ""
    declared = [
        (name, *(f"{cost:g}" for cost in line)) for name, line in zip(measured.choices, measured.costs, strict=True)
    ]
    tried = measured.weights
    if tried is None:
        weights = "**Weights of the classes** were not tried: the training side has too few rows to be split once more."
    else:
        named = ", ".join(f"{plain(name)} {weight:g}" for name, weight in tried.weights.items())
        weights = (
            f"**Weights of the classes** ({named}): **{'applied' if tried.applied else 'not applied'}**. Learnt from "
            f"{tried.learnt_rows:,} rows of the training side and measured on {tried.rows:,} later ones of it, errors "
            f"cost {_number(tried.without)} a row without weights and {_number(tried.with_weights)} with them; "
            f"{tried.reason}. What a weighted fit predicts is corrected for the weights, and scaled."
        )
    threshold = "**What is chosen** is what costs least by the probabilities of a row."
    at = measured.threshold
    if at is not None:
        of_rows = "" if at.of_rows is None else f", cheapest on {at.rows:,} validation rows {at.of_rows:.4g}"
        threshold = (
            f"**Threshold {at.threshold:.4g}**: acted on is what is as probable or more. That of the costs is "
            f"{at.of_costs:.4g}{of_rows}; {at.reason}."
        )
    rows = [
        (
            of,
            each.name,
            ", ".join(f"{share:.1%}" for share in each.shares),
            _number(each.expected),
            _interval(each.cost),
            "" if number == 0 else _interval(each.over_this),
        )
        for of, ways in (("held-out rows", measured.held_out), ("census", measured.census))
        for number, each in enumerate(ways)
    ]
    columns = ("of", "way", f"chosen: {', '.join(measured.choices)}", "expected cost", "cost", "over this version")
    return (
        "## Costs of errors\n\nBy what happens (one line each) and what is chosen:\n\n"
        + markdown_table(("", *measured.choices), declared)
        + f"\n\n{weights}\n\n{threshold}\n\nCosts per row:\n\n"
        + markdown_table(columns, rows)
    )


def _classes(evaluation: Evaluation) -> str:
    if not evaluation.classes:
        return ""
    measures = ("share", "precision", "recall", "f1", "auc")
    rows = [
        (outcome, *(_interval(measured[name]) for name in measures)) for outcome, measured in evaluation.classes.items()
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
            "too few" if each.primary is None else _interval(each.primary),
            "" if each.loss is None else _interval(each.loss),
            *((_share(each.predicted), _share(each.observed)) if means else ()),
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
        + f"\n\nToo few: fewer than {SEGMENT_ROWS} rows, or one value of the label. Of each column the most frequent "
        "values." + "".join(f" {sentence}" for sentence in declaration.feature_view.segment_notes)
    )


def _calibration(evaluation: Evaluation) -> str:
    measured = evaluation.calibration
    scaling = measured.scaling
    if not evaluation.kind.scaled:
        return (
            f"## Calibration\n\nMean distance of the {evaluation.kind.quantity} from what came, in bins of as many "
            f"rows: {_interval(measured.error_before)}."
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
        f"held-out rows: {_interval(measured.error_before)} before, {_interval(measured.error_after)} after."
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
    validation, crossed = evaluation.validation, evaluation.validation.cross_validation
    if crossed is None:
        folds = f"No cross-validation: {plain(validation.note)}."
    else:
        folds = (
            f"Cross-validation by {entity.name} ({crossed.rows:,} training rows of {crossed.entities:,} {entities}): "
            f"{evaluation.primary_metric} {crossed.mean:.4f} ± {crossed.std:.4f}, a spread of {crossed.spread:.1%}."
        )
    rows = [
        (f"{point.entities:,}", f"{point.rows:,}", _number(point.primary), _number(point.loss))
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
    limits = [
        f"The figures are of {entities} that were created later than those learnt from, in one company's history; "
        "another company, or a changed one, is another question, which the drift checks ask.",
        "The published pipeline learnt from the held-out rows as well, so it was not itself measured.",
        "Numbers beyond the 0.1 % and 99.9 % quantiles of the training rows count as those quantiles.",
        f"The metrics are of decision points, of which busy {entities} have more; the census is of what is scored.",
    ]
    if declaration.success_weight != 1:
        limits.append(
            f"Rows of {entities} that succeeded count {declaration.success_weight:g} times in learning, so "
            f"{declaration.task.quantity} lean away from what is observed."
        )
    return "## Limits\n\n" + bullets(limits)


def _interval(figure: Figure) -> str:
    if figure.value is None:
        return "undefined"
    if figure.lower is None or figure.upper is None:
        return _number(figure.value)
    if abs(figure.value) >= 1000:
        return f"{figure.value:,.0f} ({figure.lower:,.0f} to {figure.upper:,.0f})"
    return f"{figure.value:.3f} ({figure.lower:.3f} to {figure.upper:.3f})"


def _number(value: float | None) -> str:
    if value is None:
        return "undefined"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
