"""Promotion: a pure function decides from evidence whether a candidate becomes champion; its caller measures and acts.

All rules are in this module, in the order in which they are checked.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from models.decisions.horizons import ShorterHorizons
from models.declaring.declaration import ModelDeclaration
from models.evaluation.census import is_band_off, is_off
from models.evaluation.records import BesideRule, CensusSlice, Evaluation, Figure, Total
from models.evaluation.suspicion import Suspicion, suspicions, unconfirmed, why_suspected
from models.untrainable import Untrainable


@dataclass(frozen=True, kw_only=True)
class SharedRows:
    """Losses of candidate, champion and trivial baseline on the same rows, from which none has learnt.

    `lost_at_least` is the skill that the candidate loses against the champion, at the lower end of the 95 % interval
    over resampled entities; below 0 if the candidate may be better.
    """

    rows: int
    candidate_loss: float
    champion_loss: float
    baseline_loss: float
    lost_at_least: float


@dataclass(frozen=True, kw_only=True)
class ChampionEvidence:
    """The evidence on the champion.

    Attributes
    ----------
    version : str
    horizon_days : int
    loss, baseline_loss : float or None
        Losses of the champion and of its baseline, on the champion's held-out rows.
    on_census : bool
        Whether it was measured on a census; versions before recipe 4 were not.
    shared : SharedRows or None
        None if candidate and champion could not be compared on the same rows.
    learnt_wrong : str
        Why the champion may not be used for what it has learnt; empty if it may.
    """

    version: str
    horizon_days: int
    loss: float | None
    baseline_loss: float | None
    on_census: bool = True
    shared: SharedRows | None = None
    learnt_wrong: str = ""


@dataclass(frozen=True, kw_only=True)
class PromotionEvidence:
    """The evidence on which a promotion is decided.

    Attributes
    ----------
    model, version : str
        The candidate.
    horizon_days : int
        The horizon that it was trained over.
    primary_metric, loss : str
        Two metrics, which may be the same: a candidate must beat the baseline in both.
    metrics, baseline : dict of str to float or None
        Metrics of the candidate and of the trivial baseline, on the candidate's held-out rows.
    over_baseline : dict of str to Figure
        By how much the candidate is better than the baseline, in the primary metric and in the loss: the interval is
        that of the difference, over resampled entities.
    census : tuple of Total
        The totals of the candidate, by outcome; empty if it was not measured on a census.
    silence : tuple of CensusSlice
        The slices of the census by silence.
    max_census_off, max_skill_loss : float
    rule : str
        The declared rule, which must be beaten, in words; empty if there is none.
    beside_rule : BesideRule or None
        The candidate compared with the rule, on the census; None if that was not measured.
    words : dict of str to str
        Readable names of metrics whose identifiers are not clear.
    suspected : tuple of Suspicion or None
        The features that seem to know the outcome; None if hindsight was not measured.
    confirmed : tuple of str
        Features of which a person says that they were known at the time.
    champion : ChampionEvidence or None
        None if there is no champion yet.
    shorter : ShorterHorizons or None
        The shorter horizons that were tried after a refusal.
    """

    model: str
    version: str
    horizon_days: int
    primary_metric: str
    loss: str
    metrics: dict[str, float | None]
    baseline: dict[str, float | None]
    over_baseline: dict[str, Figure]
    census: tuple[Total, ...]
    max_census_off: float
    max_skill_loss: float
    champion: ChampionEvidence | None
    silence: tuple[CensusSlice, ...] = ()
    rule: str = ""
    beside_rule: BesideRule | None = None
    words: dict[str, str] = field(default_factory=dict)
    suspected: tuple[Suspicion, ...] | None = ()
    confirmed: tuple[str, ...] = ()
    shorter: ShorterHorizons | None = None


@dataclass(frozen=True, kw_only=True)
class UntrainableEvidence:
    """The evidence on a model that could not be trained.

    Attributes
    ----------
    model : str
    version : str
        Always ``"none"``.
    horizon_days : int
    untrainable : Untrainable
    shorter : ShorterHorizons or None
        The shorter horizons that were tried, if one may help.
    """

    model: str
    version: str = "none"
    horizon_days: int
    untrainable: Untrainable
    shorter: ShorterHorizons | None = None


@dataclass(frozen=True)
class Decision:
    """A decision with its reason, as the ledger keeps it.

    Attributes
    ----------
    outcome : {"promote", "keep", "refuse"}
        ``keep``: the candidate is the champion already.
    rule : str
        The rule that decided, as an identifier.
    reason : str
        A sentence with the figures.
    kind : str
    """

    outcome: Literal["promote", "keep", "refuse"]
    rule: str
    reason: str
    kind: str = "promotion"


def promotion_evidence(
    declaration: ModelDeclaration,
    evaluation: Evaluation,
    champion: ChampionEvidence | None,
    confirmed: tuple[str, ...] = (),
) -> PromotionEvidence:
    """Gather the evidence on which the promotion of an evaluated candidate is decided."""
    census = evaluation.census
    slices = () if census is None else census.slices
    return PromotionEvidence(
        model=declaration.name,
        version=evaluation.version,
        horizon_days=declaration.horizon_days,
        primary_metric=declaration.primary_metric,
        loss=declaration.task.loss,
        metrics=evaluation.metrics,
        baseline=evaluation.baseline,
        over_baseline={
            name: evaluation.over_baseline[name] for name in (declaration.primary_metric, declaration.task.loss)
        },
        census=() if census is None else census.totals,
        silence=tuple(each for each in slices if each.column == declaration.feature_view.silence),
        max_census_off=declaration.max_census_off,
        rule=declaration.rule,
        beside_rule=None if census is None else census.beside_rule,
        words=dict(declaration.task.words),
        max_skill_loss=declaration.max_skill_loss,
        champion=champion,
        suspected=None if evaluation.hindsight is None else suspicions(declaration, evaluation),
        confirmed=confirmed,
    )


def decide_promotion(evidence: PromotionEvidence) -> Decision:
    """Decide whether a candidate becomes the champion.

    A candidate must beat the trivial baseline in the primary metric and in the loss of its task, beyond the interval of
    the difference: a model that ranks well and misstates probabilities would falsify the published expected values. A
    candidate has seen later data than the champion, so it need not beat the champion; it may lose at most
    `max_skill_loss` of skill, 1 - loss / loss of the baseline.

    A candidate must also beat a declared rule in these two metrics, on the census and beyond chance. The rule is
    checked before the baseline: a rule that is as good is simpler, and keeping it is no failure.

    A candidate whose expected total over a census (`models.evaluation.census`) lies further from the actual one than
    `max_census_off`, beyond chance, is refused, because people plan with the sum of its predictions. So is a candidate
    that is off by as much in a band of silence: the opposite error elsewhere may hide it in the total. A champion that
    was never measured on a census is replaced by a candidate that was.

    A candidate with features that seem to know the outcome (`models.evaluation.suspicion`) is refused before any other
    figure is checked, because a leak flatters every figure. A person may confirm such features by name, and the reason
    of a promotion says so.

    Candidate and champion are compared on the same rows if there are enough that neither learnt from: after a change of
    the world, the champion's skill from before says little. On the same rows a loss of skill counts only beyond its
    interval, because such rows can be of few entities, and the candidate that is measured has learnt from fewer
    entities than the one that is published. Otherwise each is measured on its own held-out rows: skill compares models
    on different rows better than any raw metric. A champion over another horizon answers another question, so its
    figures are not compared.
    """
    decision = _decide(evidence)
    suspected = dict.fromkeys(each.feature for each in evidence.suspected or ())
    names = ", ".join(name for name in suspected if name in evidence.confirmed)
    if decision.outcome != "promote" or not names:
        return decision
    return replace(decision, reason=f"{decision.reason} Suspected of hindsight, and confirmed by a person: {names}.")


def _decide(evidence: PromotionEvidence) -> Decision:
    champion = evidence.champion
    if champion is not None and champion.version == evidence.version:
        return Decision("keep", SAME_VERSION, f"{evidence.version} is the champion of {evidence.model} already.")

    if evidence.suspected is None:
        return Decision(
            "refuse",
            "hindsight_missing",
            f"Nobody has looked whether the features of {evidence.version} know the outcome; train it anew.",
        )
    unclear = unconfirmed(evidence.suspected, evidence.confirmed)
    if unclear:
        return Decision(
            "refuse", "hindsight", f"{evidence.version} is not promoted. {why_suspected(evidence.model, unclear)}"
        )

    if evidence.rule:
        stays = _rule_stays(evidence)
        if stays is not None:
            return stays

    for name in dict.fromkeys((evidence.primary_metric, evidence.loss)):
        value, trivial, better = evidence.metrics[name], evidence.baseline[name], evidence.over_baseline[name]
        if value is None or trivial is None or better.value is None or better.lower is None:
            return Decision(
                "refuse",
                "metric_undefined",
                f"{name} of {evidence.version} is undefined on its held-out rows, so it cannot be compared.",
            )
        if not better.lower > 0:
            return Decision(
                "refuse",
                "baseline_not_beaten",
                f"{evidence.version} does not beat the trivial baseline beyond the interval: {name} {value:.4f}, "
                f"baseline {trivial:.4f}, better by {better.value:.4f} ({better.lower:.4f} to {better.upper:.4f}). So "
                "nothing in the features is shown to predict this outcome on the rows that were held out.",
            )

    if not evidence.census:
        return Decision(
            "refuse",
            "census_missing",
            f"{evidence.version} was not measured on a census, so nothing says whether its predictions hold for open "
            "entities; train it anew.",
        )
    departures = _off_census(evidence)
    if departures:
        return Decision(
            "refuse",
            "census_off",
            f"What {evidence.version} expects of the open entities of past days is off by more than "
            f"{evidence.max_census_off:.0%}, and by more than chance: {'; '.join(departures)}.",
        )

    skill = _skill(evidence.metrics[evidence.loss], evidence.baseline[evidence.loss])
    if champion is not None and not champion.on_census:
        return Decision(
            "promote",
            "champion_not_on_census",
            f"{evidence.version} beats the trivial baseline ({_figures(evidence)}) and holds on a census, on which the "
            f"champion {champion.version}, of an earlier recipe, was not measured.",
        )
    if champion is None:
        return Decision(
            "promote",
            "first_champion",
            f"{evidence.version} beats the trivial baseline ({_figures(evidence)}) and there is no champion yet.",
        )
    if champion.horizon_days != evidence.horizon_days:
        return Decision(
            "promote",
            "horizon_changed",
            f"{evidence.version} beats the trivial baseline ({_figures(evidence)}) and answers the question that is "
            f"asked now, over {evidence.horizon_days} days; the champion {champion.version} answers one over "
            f"{champion.horizon_days} days.",
        )
    if champion.learnt_wrong:
        return Decision(
            "promote",
            "champion_learnt_wrong",
            f"{evidence.version} beats the trivial baseline ({_figures(evidence)}), and the champion "
            f"{champion.version} {champion.learnt_wrong}.",
        )
    champion_skill = _skill(champion.loss, champion.baseline_loss)
    where = "each on its own held-out rows"
    if champion.shared is not None:
        shared = champion.shared
        skill = _skill(shared.candidate_loss, shared.baseline_loss)
        champion_skill = _skill(shared.champion_loss, shared.baseline_loss)
        where = (
            f"both on the {shared.rows:,} held-out rows of entities that the champion has not seen, a loss of at least "
            f"{shared.lost_at_least:.4f}"
        )
    if skill is None or champion_skill is None:
        return Decision(
            "refuse",
            "skill_undefined",
            f"The skill of {evidence.version} or of the champion {champion.version} is undefined, so they cannot be "
            "compared. Train again once there are more labels.",
        )
    figures = (
        f"skill {skill:.4f}, champion {champion.version} {champion_skill:.4f}, "
        f"tolerated loss {evidence.max_skill_loss:.4f}, {where}"
    )
    lost_skill = champion_skill - skill if champion.shared is None else champion.shared.lost_at_least
    if lost_skill > evidence.max_skill_loss:
        return Decision("refuse", "skill_lost", f"{evidence.version} falls too far below the champion: {figures}.")
    return Decision(
        "promote", "skill_held", f"{evidence.version} beats the trivial baseline and holds the skill: {figures}."
    )


def decide_untrainable(evidence: UntrainableEvidence) -> Decision:
    """Refuse a model that could not be trained; a champion that exists stays."""
    return Decision("refuse", "untrainable", evidence.untrainable.reason)


SAME_VERSION = "same_version"
"""The rule of a candidate that is the champion already."""

RULE_NOT_BEATEN, RULE_UNMEASURED = "rule_not_beaten", "rule_unmeasured"
"""Refusals after which the declared rule stays in use."""

HORIZON_MATTERS = frozenset({"metric_undefined", "baseline_not_beaten", "census_off"})
"""Refusals that a shorter horizon may avoid."""


def with_advice(decision: Decision, shorter: ShorterHorizons | None) -> Decision:
    """Add to the reason of a refusal which shorter horizons would have passed."""
    return decision if shorter is None else replace(decision, reason=f"{decision.reason} {shorter.advice}")


def _off_census(evidence: PromotionEvidence) -> list[str]:
    """Say where a census is off, as a whole and by silence; empty where it holds."""
    bound = evidence.max_census_off
    off = [("", total) for total in evidence.census if is_off(total, bound)]
    off += [
        (f" where {each.column} is {each.band}", total)
        for each in evidence.silence
        for total, whole in zip(each.totals, evidence.census, strict=True)
        if is_band_off(total, bound * whole.actual)
    ]
    return [
        f"{total.outcome}{where} expected {total.expected:,.0f}{_times(total)}, happened {total.actual:,.0f}"
        f"{_times(total)} (difference {total.lower:,.0f} to {total.upper:,.0f})"
        for where, total in off
    ]


def _times(total: Total) -> str:
    # an integer is a count of events, a float a sum of values
    return " times" if isinstance(total.actual, int) else ""


def _rule_stays(evidence: PromotionEvidence) -> Decision | None:
    """Refuse a candidate that does not beat the declared rule; None if it does."""
    comparison = evidence.beside_rule
    if comparison is None:
        return Decision(
            "refuse",
            RULE_UNMEASURED,
            f"{evidence.version} was not compared with the rule, {evidence.rule}, on a census, so nothing says that it "
            "is better; the rule stays.",
        )
    name = comparison.unbeaten(evidence.primary_metric, evidence.loss)
    if name is None:
        return None
    better = comparison.over_rule[name]
    return Decision(
        "refuse",
        RULE_NOT_BEATEN,
        f"The rule, {evidence.rule}, is as good or better: {evidence.words.get(name, name)} "
        f"{_amount(comparison.rule[name].value)} against {_amount(comparison.model[name].value)} of {evidence.version} "
        f"on {comparison.rows:,} rows of the census, better by {_amount(better.value)} ({_amount(better.lower)} to "
        f"{_amount(better.upper)}); the rule stays.",
    )


def _amount(value: float | None) -> str:
    if value is None:
        return "undefined"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _skill(loss: float | None, baseline: float | None) -> float | None:
    return None if loss is None or not baseline else 1 - loss / baseline


def _figures(evidence: PromotionEvidence) -> str:
    return ", ".join(
        f"{name} {evidence.metrics[name]:.4f} against {evidence.baseline[name]:.4f}"
        for name in dict.fromkeys((evidence.primary_metric, evidence.loss))
    )
