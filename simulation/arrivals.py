"""The arrival of leads and their traits, before anybody has acted on them."""

from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from simulation.attributes import Later, Lift, attributes_of
from simulation.draws import Bools, Draws, Floats, Ints
from simulation.world import DAY, HOUR, NEVER, World, day_of, midnight


@dataclass(frozen=True)
class Arrivals:
    """Creation time and source of every lead, in order of creation; the position is the lead number.

    Attributes
    ----------
    created : array of int64
        Microseconds since 1970.
    source : array of int8
        Index into `World.sources`.
    """

    created: Ints
    source: npt.NDArray[np.int8]


@dataclass(frozen=True)
class Traits:
    """The traits of some leads: those that the CRM learns, and the hidden ones.

    Attributes
    ----------
    numbers, created : array of int64
        Lead number and creation time.
    source : array of int8
        Index into `World.sources`.
    warm : array of bool
        Whether reps would rather call than write.
    value : array of float
        The property value.
    value_known, zip_known : array of bool
        Whether the CRM has the property value and the zip code.
    zip_code : array of int64
        Five digits.
    rep, next_rep, handed_over : array of int64
        The first rep, the second, and when the second takes over.
    intent : array of float
        Hidden: how much the lead wants to buy, between 0 and 1.
    budget : array of float
        Hidden: what the lead can pay.
    patience : array of float
        Hidden: how many contacts the lead takes without tiring.
    visits : array of float
        Hidden: the expected number of web visits of the lead.
    pushed_at : array of int64, shape (leads, pushes)
        When attributes change the chance to win.
    push : array of float, shape (leads, pushes)
        By how much, in logits.
    """

    numbers: Ints
    created: Ints
    source: npt.NDArray[np.int8]
    warm: Bools
    value: Floats
    value_known: Bools
    zip_known: Bools
    zip_code: Ints
    rep: Ints
    next_rep: Ints
    handed_over: Ints
    intent: Floats
    budget: Floats
    patience: Floats
    visits: Floats
    pushed_at: Ints
    push: Floats

    def take(self, rows: Ints) -> "Traits":
        """Return the traits of some of the leads, which may be named more than once."""
        return Traits(**{name: values[rows] for name, values in vars(self).items()})


def _pick(weights: npt.ArrayLike, uniform: Floats) -> Ints:
    cumulative = np.cumsum(np.asarray(weights, dtype=np.float64))
    return np.searchsorted(cumulative / cumulative[-1], uniform, side="right").astype(np.int64)


def arrive(world: World, leads: int, start: date, end: date, seed: int) -> Arrivals:
    """Let leads arrive by source, season, weekday and hour.

    Parameters
    ----------
    world : World
        Gives the sources and the seasons.
    leads : int
        How many.
    start, end : date
        First day, and the day after the last.
    seed : int
        The seed of the simulation.

    Returns
    -------
    Arrivals
        Sorted by creation time.
    """
    created, source = _draw_arrivals(world, np.arange(leads), start, end, Draws(seed, "arrivals", np.arange(leads)))
    change = world.change
    if change is not None and change.world.sources != world.sources:
        # The change keeps the number of later leads; their sources and hours are drawn anew.
        later = np.flatnonzero(created >= change.at)
        draws = Draws(seed, "arrivals after the change", np.arange(leads))
        created[later], source[later] = _draw_arrivals(change.world, later, day_of(change.at), end, draws)
    order = np.argsort(created, kind="stable")
    return Arrivals(created=created[order], source=source[order].astype(np.int8))


def _draw_arrivals(world: World, rows: Ints, start: date, end: date, draws: Draws) -> tuple[Ints, Ints]:
    """Draw the creation time and the source of the leads."""
    source = _pick([source.share for source in world.sources], draws.uniform(rows))
    day_draw, hour_draw, second_draw = (draws.uniform(rows) for _ in range(3))
    days = [start + timedelta(days=offset) for offset in range((end - start).days)]
    season = np.array([world.season[day.month - 1] for day in days])
    weekday = np.array([day.weekday() for day in days])
    created = np.empty(len(rows), dtype=np.int64)
    for index, parameters in enumerate(world.sources):
        of_source = source == index
        day = _pick(season * np.asarray(parameters.weekdays)[weekday], day_draw[of_source])
        hour = _pick(parameters.hours, hour_draw[of_source])
        within = (second_draw[of_source] * HOUR).astype(np.int64)
        created[of_source] = midnight(start) + day * DAY + hour * HOUR + within
    return created, source


def endow(
    world: World, arrivals: Arrivals, first: int, last: int, seed: int, attributes_from: int | None = None
) -> Traits:
    """Give the leads number `first` up to, not including, `last` their traits.

    `attributes_from` is the first day of the simulation, in microseconds since 1970, if leads have attributes.
    """
    numbers = np.arange(first, last)
    rows = np.arange(last - first)
    draws = Draws(seed, "traits", numbers)
    source = arrivals.source[first:last]
    created = arrivals.created[first:last]
    spread = np.exp(world.value_spread * draws.normal(rows))
    median = world.median_value * np.array([s.value_factor for s in world.sources])[source]
    value = np.round(median * spread * world.at(created, lambda now: now.price_level), -2)
    known = ~draws.chance(rows, world.at(created, lambda now: now.value_missing))
    warm_source = np.array([s.warm for s in world.sources])[source]
    lift = Lift.none(len(rows))
    if attributes_from is not None:
        lift = Lift.of(*attributes_of(numbers, created, attributes_from, seed))
    intent_draw = draws.normal(rows)
    rep = (draws.uniform(rows) * world.reps).astype(np.int64)
    # The second rep is any but the first.
    next_rep = (rep + 1 + (draws.uniform(rows) * (world.reps - 1)).astype(np.int64)) % world.reps
    handed_over = created + (draws.between(rows, 5.0, 60.0) * DAY).astype(np.int64)
    handed_over[~draws.chance(rows, world.reassigned)] = NEVER
    zip_known = ~draws.chance(rows, world.at(created, lambda now: now.zip_missing))
    zip_code = 10_000 + np.floor(draws.uniform(rows) ** 1.6 * 89) * 1_000 + np.floor(draws.uniform(rows) * 60) * 10
    normal = (intent_draw, draws.normal(rows), draws.normal(rows), draws.normal(rows))
    hidden = _Hidden.of(world, source, created, value, lift, normal)
    return Traits(
        numbers=numbers,
        created=created,
        source=source,
        warm=warm_source | (known & (value >= 1.5 * world.median_value)),
        value=value,
        value_known=known,
        zip_known=zip_known,
        zip_code=zip_code.astype(np.int64),
        rep=rep,
        next_rep=next_rep,
        handed_over=handed_over,
        intent=hidden.intent,
        budget=hidden.budget,
        patience=hidden.patience,
        visits=hidden.visits,
        pushed_at=lift.pushed_at,
        push=lift.push,
    )


@dataclass(frozen=True)
class _Hidden:
    """The hidden traits."""

    intent: Floats
    budget: Floats
    patience: Floats
    visits: Floats

    @classmethod
    def of(
        cls,
        world: World,
        source: npt.NDArray[np.int8],
        created: Ints,
        value: Floats,
        lift: Lift,
        normal: tuple[Floats, Floats, Floats, Floats],
    ) -> "_Hidden":
        """Make them from a standard normal draw for each."""
        by_intent, by_budget, by_patience, by_visits = normal
        intent_logit = np.array([s.intent for s in world.sources])[source] + 1.1 * by_intent + lift.intent
        intent = 1.0 / (1.0 + np.exp(-intent_logit))
        # Budgets follow the values of the market as they were: both levels are relative to the undisturbed value.
        budget_level = world.at(created, lambda now: now.budget_level / now.price_level)
        return cls(
            intent=intent,
            budget=budget_level * value * np.exp(world.budget_spread * by_budget) * np.exp(lift.budget),
            patience=world.patience * np.exp(0.4 * by_patience - 0.08),
            visits=world.visits * np.exp(world.visits_spread * by_visits) * (0.4 + 1.2 * intent),
        )


def with_other_hidden(
    world: World, traits: Traits, rows: Ints, draws: Draws, seed: int, attributes_from: int | None
) -> Traits:
    """Return leads that are as some others at their creation for everybody who sees them, and hidden otherwise.

    Parameters
    ----------
    world : World
        The parameters.
    traits : Traits
        The leads that they are like.
    rows : array of int64
        For each new lead its position there.
    draws : Draws
        A stream for each new lead.
    seed, attributes_from : int, int or None
        As for `endow`.
    """
    each = np.arange(len(rows))
    taken = traits.take(rows)
    lift, pushed_at = Lift.none(len(traits.numbers)), taken.pushed_at
    if attributes_from is not None:
        lift = Lift.of(*attributes_of(traits.numbers, traits.created, attributes_from, seed))
        pushed_at = Later.drawn(taken.created, draws).times
    lift = replace(lift, intent=lift.intent[rows], budget=lift.budget[rows])
    normal = (draws.normal(each), draws.normal(each), draws.normal(each), draws.normal(each))
    hidden = _Hidden.of(world, taken.source, taken.created, taken.value, lift, normal)
    return replace(
        taken,
        intent=hidden.intent,
        budget=hidden.budget,
        patience=hidden.patience,
        visits=hidden.visits,
        pushed_at=pushed_at,
    )


def rep_skill(world: World, seed: int) -> Floats:
    """Return the skill of each rep, in logits of the chance to win."""
    reps = np.arange(world.reps)
    return world.rep_skill * Draws(seed, "reps", reps).normal(reps)
