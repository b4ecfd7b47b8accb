"""The tables of a card that the UI shows as well, and how they write figures."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from models.declaring.declaration import ModelDeclaration
from models.evaluation.gates import Gate
from models.evaluation.records import BesideRule, Evaluation, Figure, Total
from models.evaluation.suspicion import sentences, suspicions, unconfirmed
from models.markdown import Markup, bullets, markdown_table, plain

HINDSIGHT_SHOWN = 5
"""Number of features that are shown for each measure of hindsight."""


def gates_table(gates: Iterable[Gate]) -> str:
    """Return the declared bounds beside their values, as Markdown."""
    rows = [
        (
            gate.name,
            number(gate.value) if gate.value is not None else f"undefined: {gate.undefined}",
            f"{'≤' if gate.at_most else '≥'} {gate.bound:g}",
            "met" if gate.met else Markup("**missed**"),
        )
        for gate in gates
    ]
    return "## Gates\n\n" + markdown_table(("gate", "value", "bound", ""), rows)


def census_table(evaluation: Evaluation) -> str:
    """Return the expected and the actual totals of a census, as Markdown."""
    census = evaluation.census
    if census is None:
        return "## Census\n\nNot measured on a census."
    task = evaluation.kind
    shown = (task.area, evaluation.primary_metric, "brier", task.loss)
    figures = ", ".join(
        f"{name} {interval(census.metrics[name])}" for name in dict.fromkeys(shown) if name in census.metrics
    )
    worth = ""
    if census.value_expected is not None and census.value_actual is not None:
        worth = (
            f" Value: {census.value_expected:,.0f} expected, {census.value_actual:,.0f} happened, with the "
            "values that are known today."
        )
    rows = [("all", "", f"{census.rows:,}", *_total(total)) for total in census.totals]
    rows += [
        (each.column, each.band, f"{each.rows:,}", *_total(total))
        for each in census.slices
        for total in each.totals
        if len(census.totals) == 1 or each.column == "clock"
    ]
    losses = [
        (each.column, each.band, f"{each.rows:,}", number(each.loss), number(each.trivial_loss))
        for each in census.slices
        if each.column != "grade"
    ]
    comparison = census.beside_rule
    return (
        f"## Census\n\nAll in scope that was open at {', '.join(census.clocks)} and has a label ({census.rows:,} "
        f"rows of {census.entities:,}), predicted by a pipeline that knew nothing from after the first clock: "
        f"{figures}; {task.loss_words} of the best constant {number(census.trivial_loss)}.{worth}\n\n"
        + markdown_table(("by", "", "rows", "outcome", "expected", "happened", "difference"), rows)
        + "\n\n"
        + markdown_table(("by", "", "rows", task.loss_words, "of its own best constant"), losses)
        + ("" if comparison is None else f"\n\n{_beside_rule(evaluation, comparison)}")
    )


def _beside_rule(evaluation: Evaluation, comparison: BesideRule) -> str:
    kind = evaluation.kind
    names = list(dict.fromkeys((evaluation.primary_metric, kind.loss)))
    stays = (
        "The version is better in both, beyond the intervals."
        if comparison.unbeaten(*names) is None
        else "The version is not better in both, beyond the intervals: **the rule stays**."
    )
    rows = [
        (
            kind.words.get(name, name),
            interval(comparison.rule[name]),
            interval(comparison.model[name]),
            interval(comparison.over_rule[name]),
        )
        for name in names
    ]
    return (
        f"Compared with the rule, on the {comparison.rows:,} rows ({comparison.entities:,} entities) for which it has "
        "a value. It may use amounts of today, which flatters it:\n\n"
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
        + f"\n\nThe values that most divide settled from open {entities}: how many of the other side have the value, "
        "of how many should have it by the rows of the clock (now) and by earlier rows:\n\n"
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


def costs_table(evaluation: Evaluation) -> str:
    """Return the declared costs of errors and what followed from them, as Markdown; nothing where there are none."""
    measured = evaluation.costs
    if measured is None:
        return ""
    declared = [
        (name, *(f"{cost:g}" for cost in line)) for name, line in zip(measured.choices, measured.costs, strict=True)
    ]
    effect = measured.weights
    if effect is None:
        weights = "**Weights of the classes** were not tried: the training side has too few rows to be split once more."
    else:
        named = ", ".join(f"{plain(name)} {weight:g}" for name, weight in effect.weights.items())
        weights = (
            f"**Weights of the classes** ({named}): **{'applied' if effect.applied else 'not applied'}**. In fits on "
            f"{effect.learnt_rows:,} rows of the training side, measured on {effect.rows:,} later ones of it, errors "
            f"cost {number(effect.without)} a row without weights and {number(effect.with_weights)} with them; "
            f"{effect.reason}. The predictions of a weighted fit are corrected for the weights, and scaled."
        )
    threshold = "**The choice** is the class with the least expected cost by the probabilities of a row."
    trial = measured.threshold
    if trial is not None:
        of_rows = "" if trial.of_rows is None else f", cheapest on {trial.rows:,} validation rows {trial.of_rows:.4g}"
        threshold = (
            f"**Threshold {trial.threshold:.4g}**: rows of this probability or more are acted on. The threshold of the "
            f"costs is {trial.of_costs:.4g}{of_rows}; {trial.reason}."
        )
    if measured.chosen:
        picked = ", ".join(f"{name} {interval(each)}" for name, each in measured.chosen.items())
        threshold += f" On the held-out rows: {picked}."
    rows = [
        (
            of,
            each.name,
            ", ".join(f"{chosen:.1%}" for chosen in each.shares),
            number(each.expected),
            interval(each.cost),
            "" if place == 0 else interval(each.over_this),
        )
        for of, ways in (("held-out rows", measured.held_out), ("census", measured.census))
        for place, each in enumerate(ways)
    ]
    columns = ("of", "way", f"chosen: {', '.join(measured.choices)}", "expected cost", "cost", "over this version")
    return (
        "## Costs of errors\n\nA line for each class that happens, a column for each class that is chosen:\n\n"
        + markdown_table(("", *measured.choices), declared)
        + f"\n\n{weights}\n\n{threshold}\n\nCosts per row:\n\n"
        + markdown_table(columns, rows)
    )


def interval(figure: Figure) -> str:
    """Return a figure with its interval."""
    if figure.value is None:
        return "undefined"
    if figure.lower is None or figure.upper is None:
        return number(figure.value)
    if abs(figure.value) >= 1000:
        return f"{figure.value:,.0f} ({figure.lower:,.0f} to {figure.upper:,.0f})"
    return f"{figure.value:.3f} ({figure.lower:.3f} to {figure.upper:.3f})"


def number(value: float | None) -> str:
    """Return a figure of a metric."""
    if value is None:
        return "undefined"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def share(value: float | None) -> str:
    """Return a share; nothing where it is undefined."""
    return "" if value is None else f"{value:.3f}"
