"""Suspicion: from what was measured to the features that seem to know the outcome. Pure; promotion acts on it.

A suspicion is no proof. Only somebody who knows how the source is filled can say whether a value was there at the time,
so a version waits until a person has confirmed each suspected feature by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from models.declaration import ModelDeclaration
    from models.evaluation import Evaluation
    from models.hindsight import Alone, OneSided

CONFIRMED_FEATURES = "LEADLINE_CONFIRMED_FEATURES"
"""The setting by which a person confirms features, as ``<model>.<feature>``."""

SELDOM = 0.05
"""Share of what is to be expected on the other side up to which a value counts as occurring on one alone. In 20
simulated companies and a real funnel every value of every feature was seen in .34 of what was expected or more."""

MAX_AUC = 0.99
"""Area under the curve from which on a model is too good, whatever its skill. It says little by itself, for it rises
where outcomes are rare: of what is won within three days an honest model reached .975 (2,500 simulated leads, seed 2),
and one that knew the price of each deal reached .972 over 90 days."""

LEANS = 0.5
"""Share of the largest importance from which on a feature is named beside the one on which a model leans most."""


@dataclass(frozen=True, kw_only=True)
class Suspicion:
    """A feature that seems to know the outcome.

    Attributes
    ----------
    feature : str
    kind : str
        ``one_sided``, ``alone`` or ``model``: by which measure.
    figures : str
        What was measured, in words that go on after the name of the feature.
    """

    feature: str
    kind: str
    figures: str

    @property
    def sentence(self) -> str:
        """The feature and its figures."""
        return f"{self.feature} {self.figures}"


def suspicions(declaration: ModelDeclaration, evaluation: Evaluation) -> tuple[Suspicion, ...]:
    """Name the features that seem to know the outcome, each with its figures.

    Where the model as a whole is too good and no feature stands out, the features on which it leans most are named.
    """
    if evaluation.hindsight is None:
        return ()
    found = [
        Suspicion(feature=each.feature, kind="one_sided", figures=_one_sided(each, declaration.feature_view.entity))
        for each in evaluation.hindsight.one_sided
        if each.seen <= SELDOM
    ]
    found += [
        Suspicion(feature=each.feature, kind="alone", figures=_alone(each, declaration.max_skill_alone))
        for each in evaluation.hindsight.alone
        if each.skill > declaration.max_skill_alone or each.auc > MAX_AUC
    ]
    too_good = _too_good(declaration, evaluation)
    if too_good and not found:
        ranked = evaluation.validation.importance
        found = [
            Suspicion(feature=each.feature, kind="model", figures=f"carries a model that is too good: {too_good}")
            for each in ranked
            if each is ranked[0] or each.rise >= LEANS * ranked[0].rise
        ]
    return tuple(found)


def unconfirmed(suspected: Iterable[Suspicion], confirmed: Collection[str]) -> tuple[Suspicion, ...]:
    """Return the suspicions of features that nobody has confirmed."""
    return tuple(each for each in suspected if each.feature not in confirmed)


def why_suspected(model: str, suspected: Iterable[Suspicion]) -> str:
    """Return what is suspected, and what a person can do, as sentences."""
    each = list(suspected)
    names = ",".join(f"{model}.{name}" for name in dict.fromkeys(one.feature for one in each))
    return (
        f"Suspected of hindsight: {'; '.join(one.sentence for one in each)}. Find out how the source comes by these "
        "values. Where they are entered or changed when the outcome is known, leave the column out of the source. "
        f"Where they were there at the time, confirm them: {CONFIRMED_FEATURES}={names}."
    )


def unknown_confirmations(model: str, confirmed: Iterable[str], features: Mapping[str, object]) -> str | None:
    """Say which confirmed names are no features of a model, and what to do; None where all are."""
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


def _one_sided(value: OneSided, entity: str) -> str:
    expected = f"{value.seen_now:,.0f}, where {value.expected_now:,.0f} were to be expected"
    if value.side == "settled":
        return (
            f"is {value.value} in {value.having:,} {entity}s before they were settled; of the {value.others:,} open "
            f"ones it is so in {expected}"
        )
    return (
        f"is {value.value} in {value.having:,} open {entity}s; of the {value.others:,} settled ones it was so, before "
        f"they were settled, in {expected}"
    )


def _alone(alone: Alone, bound: float) -> str:
    return (
        f"alone predicts {alone.outcome} with a skill of {alone.skill:.2f} (at most {bound:g} is believed) and an AUC "
        f"of {alone.auc:.3f}"
    )


def _too_good(declaration: ModelDeclaration, evaluation: Evaluation) -> str:
    """Return the figures of a model that no honest source allows, or nothing."""
    said = []
    for where, (skill, area) in _quality(evaluation).items():
        figures = [(skill, declaration.max_skill, f"a skill of {skill:.2f}"), (area, MAX_AUC, f"an AUC of {area:.3f}")]
        if any(value > bound for value, bound, _ in figures):
            said.append(f"{' and '.join(text for value, _, text in figures if value == value)} on {where}")
    return f"{', '.join(said)} (at most {declaration.max_skill:g} and {MAX_AUC:g} are believed)" if said else ""


def skills(evaluation: Evaluation) -> list[float]:
    """Return the skill of a model on held-out rows and, where there is one, on its census; NaN where undefined."""
    return [skill for skill, _ in _quality(evaluation).values()]


def _quality(evaluation: Evaluation) -> dict[str, tuple[float, float]]:
    """Return skill and AUC by the rows on which they were measured; NaN where one is undefined."""
    measured = {"held-out rows": (evaluation.metrics, evaluation.baseline["log_loss"])}
    if evaluation.census is not None:
        figures = {name: figure.value for name, figure in evaluation.census.metrics.items()}
        measured["the census"] = figures, evaluation.census.trivial_log_loss
    found = {}
    for where, (metrics, trivial) in measured.items():
        loss, area = metrics["log_loss"], metrics.get("auc", metrics.get("macro_auc"))
        skill = float("nan") if loss is None or not trivial else 1 - loss / trivial
        found[where] = skill, float("nan") if area is None else area
    return found
