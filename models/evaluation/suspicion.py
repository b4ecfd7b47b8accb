"""Suspicions: a pure function from an evaluation to the features that seem to know the outcome.

A suspicion is no proof. Only somebody who knows how the source is filled can say whether a value was there at the time,
so a version waits until a person has confirmed each suspected feature by name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from models.declaring.declaration import ModelDeclaration
from models.evaluation.hindsight import ENOUGH_HAPPENED
from models.evaluation.one_sided import OneSided
from models.evaluation.records import Evaluation, Figure

CONFIRMED_FEATURES = "LEADLINE_CONFIRMED_FEATURES"
"""The setting by which a person confirms features, as ``<model>.<feature>``."""

SELDOM = 0.05
"""A value is one-sided if at most this share of the entities has it that should have it on the other side. In 20
simulated companies and a real funnel this share was .34 or more for every value of every feature."""

MAX_AUC = 0.99
"""A model with a larger area under the ROC curve is too good, whatever its skill. The bound is high, because the area
rises where outcomes are rare: for wins within three days an honest model reached .975 (2,500 simulated, seed 2),
while a model that knew the price of each deal reached .972 over 90 days."""

LEANS = 0.5
"""A feature with at least this share of the largest importance is named beside the most important one."""


@dataclass(frozen=True, kw_only=True)
class Suspicion:
    """A feature that seems to know the outcome.

    Attributes
    ----------
    feature : str
    kind : str
        The measure that found it: ``one_sided``, ``alone`` or ``model``.
    figures : str
        The figures, in words that go on after the name of the feature; for ``model`` those of the whole model, which
        leans on the feature.
    """

    feature: str
    kind: str
    figures: str


def sentences(suspected: Sequence[Suspicion]) -> list[str]:
    """Return a sentence on each suspected feature, and one on a whole model that is too good and its features."""
    leans = [each for each in suspected if each.kind == "model"]
    found = [f"{each.feature} {each.figures}" for each in suspected if each.kind != "model"]
    if leans:
        names = " and ".join(each.feature for each in leans)
        found.append(f"the whole model is too good: {leans[0].figures}; it leans most on {names}")
    return found


def suspicions(declaration: ModelDeclaration, evaluation: Evaluation) -> tuple[Suspicion, ...]:
    """Name the features that seem to know the outcome, each with its figures.

    If the model as a whole is too good and no feature stands out, these are the features on which it leans most.
    """
    if evaluation.hindsight is None:
        return ()
    found = [
        Suspicion(
            feature=each.feature, kind="one_sided", figures=_one_sided(each, declaration.feature_view.entity.plural)
        )
        for each in evaluation.hindsight.one_sided
        if each.seen <= SELDOM
    ]
    found += [
        Suspicion(
            feature=each.feature,
            kind="alone",
            figures=f"alone predicts {each.outcome} with a skill of {each.skill:.2f} (at most "
            f"{declaration.max_skill_alone:g} is believed)"
            + ("" if each.auc is None else f" and an AUC of {each.auc:.3f}"),
        )
        for each in evaluation.hindsight.alone
        if each.skill > declaration.max_skill_alone or (each.auc or 0) > MAX_AUC
    ]
    too_good = _too_good(declaration, evaluation)
    if too_good and not found:
        ranked = evaluation.validation.importance
        found = [
            Suspicion(feature=each.feature, kind="model", figures=too_good)
            for each in ranked
            if each is ranked[0] or each.rise >= LEANS * ranked[0].rise
        ]
    return tuple(found)


def unconfirmed(suspected: Iterable[Suspicion], confirmed: Collection[str]) -> tuple[Suspicion, ...]:
    """Return the suspicions of features that nobody has confirmed."""
    return tuple(each for each in suspected if each.feature not in confirmed)


def why_suspected(model: str, suspected: Sequence[Suspicion]) -> str:
    """Return what is suspected, and what a person can do, as sentences."""
    names = ",".join(f"{model}.{name}" for name in dict.fromkeys(each.feature for each in suspected))
    return (
        f"Suspected of hindsight: {'; '.join(sentences(suspected))}. Find out how the source comes by these "
        "values. Where they are entered or changed when the outcome is known, leave the column out of the source. "
        f"Where they were there at the time, confirm them: {CONFIRMED_FEATURES}={names}."
    )


def unknown_confirmations(model: str, confirmed: Iterable[str], features: Mapping[str, object]) -> str | None:
    """Return which confirmed names are no features of a model, and what to do; None if all are features."""
    unknown = [name for name in confirmed if name not in features]
    if not unknown:
        return None
    from difflib import get_close_matches

    close = list(dict.fromkeys(match for name in unknown for match in get_close_matches(name, features, n=2)))
    meant = f" Did you mean {' or '.join(close)}?" if close else ""
    return (
        f"{CONFIRMED_FEATURES}: expected features that {model} learns from, found "
        f"{', '.join(f'{model}.{name}' for name in unknown)}.{meant} Correct or remove them; the check hindsight of "
        "the candidate names the features that are suspected."
    )


def _one_sided(value: OneSided, entities: str) -> str:
    expected = f"{value.seen_now:,.0f}, where {value.expected_now:,.0f} were to be expected"
    if value.side == "settled":
        return (
            f"is {value.value} in {value.having:,} {entities} before they were settled; of the {value.others:,} open "
            f"ones it is so in {expected}"
        )
    return (
        f"is {value.value} in {value.having:,} open {entities}; of the {value.others:,} settled ones it was so, before "
        f"they were settled, in {expected}"
    )


def _too_good(declaration: ModelDeclaration, evaluation: Evaluation) -> str:
    """Return the figures of a model that are too good for an honest source, beyond chance; empty if none are."""
    found, entities = [], declaration.feature_view.entity.plural
    for each in quality(evaluation):
        if each.happened is not None and each.happened < ENOUGH_HAPPENED:
            continue
        for name, figure, bound, digits in (
            ("a skill", each.skill, declaration.max_skill, 2),
            ("an AUC", each.area, MAX_AUC, 3),
        ):
            if figure.value is not None and figure.lower is not None and figure.lower > bound:
                counted = len(declaration.outcomes) == 1 and each.happened is not None
                counts = f" with {each.happened:,} {entities} to which it happened" if counted else ""
                found.append(
                    f"{name} of {figure.value:.{digits}f} on {each.where}{counts} (beyond chance at least "
                    f"{figure.lower:.{digits}f}, at most {bound:g} is believed)"
                )
    return " and ".join(found)


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How good a model is on some rows; `happened` counts entities of all but the commonest outcome, None: unknown."""

    where: str
    skill: Figure
    area: Figure
    happened: int | None


def quality(evaluation: Evaluation) -> list[Quality]:
    """Return how good a model is on held-out rows and, where there is one, on its census."""
    task = evaluation.kind
    measured = [("held-out rows", evaluation.intervals, evaluation.baseline[task.loss], evaluation.happened_to)]
    if (census := evaluation.census) is not None:
        measured.append(("the census", census.metrics, census.trivial_loss, census.happened_to))
    undefined, found = Figure(value=None, lower=None, upper=None), []
    for where, figures, trivial, happened_to in measured:
        loss, skill = figures[task.loss], undefined
        if trivial and loss.value is not None and loss.lower is not None and loss.upper is not None:
            skill = Figure(
                value=1 - loss.value / trivial, lower=1 - loss.upper / trivial, upper=1 - loss.lower / trivial
            )
        counts = sorted(happened_to.values())
        found.append(
            Quality(
                where=where,
                skill=skill,
                area=undefined if task.area is None else figures[task.area],
                happened=sum(counts if len(counts) == 1 else counts[:-1]) if counts else None,
            )
        )
    return found
