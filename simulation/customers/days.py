"""The days of the customers: mood and strain, purchases, tickets, offers, and changes of plan.

A day draws from its own place in the stream of a customer. So a day that is changed (by a scenario, or by an offer)
leaves the draws of all others as they are, and two ways to treat a customer are compared on the same luck.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np

from simulation.clientele import Clientele
from simulation.customers.people import People
from simulation.draws import Bools, Floats, Ints, Keys, stream_keys, uniform_at
from simulation.world import DAY

NEVER_BEFORE = -(10**6)
"""A day before everything, for what has not happened yet."""
CHARGE_DAYS = 30
"""Days from one payment for a plan to the next."""
SEASON = (0.95, 0.9, 0.95, 1.0, 1.0, 0.95, 0.9, 0.85, 1.05, 1.15, 1.2, 1.1)
"""Relative number of purchases by month, January first."""
TICKETS = ("question", "delivery", "defect", "billing")
_TICKET_SHARES = (0.35, 0.25, 0.2, 0.2)
_TICKET_STRAIN = (0.0, 0.35, 0.6, 0.5)
WAYS = ("random", "rule", "person")
"""How an offer is assigned, in the order of their codes."""
OFFERS = ("voucher", "gift")
OFFER_COST = (8.0, 20.0)
OFFER_STRENGTH = (1.0, 1.5)
WAKES = 0.8
"""What an offer adds to the strain of a customer whose response is -1."""
_STRAIN = 2.5
"""Most strain, and most of its opposite."""


class Mood(IntEnum):
    """The mood of a customer."""

    CONTENT = 0
    FADING = 1
    GONE = 2


class Draw(IntEnum):
    """The places of a day in the stream of a customer."""

    MOOD = 0
    PURCHASE = 1
    TICKET = 2
    OFFER = 3
    PLAN = 4
    TICKET_KIND = 5
    TICKET_HOURS = 6
    OFFER_KIND = 7
    OFFER_ACCEPTED = 8


PLACES = 16


@dataclass
class State:
    """The state of some customers at midnight; each array has a position per customer.

    Attributes
    ----------
    mood : array of int64
        A `Mood`.
    strain : array of float
    since : array of int64
        The day on which the mood began.
    bought : array of int64
        The day of the last purchase.
    waits : array of int64
        The first day on which no ticket is open.
    offered : array of int64
        The day of the last offer.
    plan : array of int64
    """

    mood: Ints
    strain: Floats
    since: Ints
    bought: Ints
    waits: Ints
    offered: Ints
    plan: Ints

    @classmethod
    def fresh(cls, people: People) -> "State":
        """Return that of customers at the end of the day of their creation."""
        day = people.created // DAY
        never = np.full_like(day, NEVER_BEFORE)
        return cls(
            mood=np.zeros_like(day),
            strain=np.zeros(len(day)),
            since=day.copy(),
            bought=day.copy(),
            waits=never.copy(),
            offered=never.copy(),
            plan=people.plan.copy(),
        )

    def take(self, rows: Ints | slice) -> "State":
        """Return the state of some of the customers: a copy, or a view if a slice is asked for."""
        return State(**{each.name: getattr(self, each.name)[rows] for each in fields(self)})

    def put(self, rows: Ints, others: "State") -> None:
        """Let some of the customers have the states of others."""
        for each in fields(self):
            getattr(self, each.name)[rows] = getattr(others, each.name)


@dataclass(frozen=True)
class Day:
    """What happened on a day, a position per customer.

    Attributes
    ----------
    chance : array of float
        The probability of the purchase.
    buys : array of bool
    leaves : array of float
        The probability that the customer has gone on that day; of those that were gone before, 0.
    charged : array of bool
        Whether it pays for its plan.
    tickets, offers : array of int64
        The rows of customers with a new ticket, and of those with an offer.
    ticket_kind, ticket_hours : array
        Of these tickets: codes of `TICKETS`, and hours until they are resolved.
    offer_kind, way, accepted : array
        Of these offers: codes of `OFFERS` and `WAYS`, and whether it is accepted.
    """

    chance: Floats
    buys: Bools
    leaves: Floats
    charged: Bools
    tickets: Ints
    ticket_kind: Ints
    ticket_hours: Floats
    offers: Ints
    offer_kind: Ints
    way: Ints
    accepted: Bools


def days(clientele: Clientele, people: People, seed: int, until: int) -> Iterator[tuple[int, slice, State, Day]]:
    """Yield each day of the customers before `until`, given in days since 1970.

    Yields
    ------
    int, slice, State, Day
        The day; the customers who lived through it, which are those created earlier; their state after it, a view that
        the next day changes; and what happened.
    """
    state, keys = State.fresh(people), stream_keys(seed, "customer days", people.numbers)
    created = people.created // DAY
    for day in range(int(created.min(initial=until)) + 1, until):
        part = slice(0, int(np.searchsorted(created, day)))
        some = state.take(part)
        yield day, part, some, live(clientele, people.take(part), some, keys[part], np.asarray(day))


def season(day: Ints) -> Floats:
    """Return the relative number of purchases on days since 1970."""
    month = day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12
    return np.array(SEASON)[month]


def live(
    clientele: Clientele,
    people: People,
    state: State,
    keys: Keys,
    day: Ints,
    *,
    silent: bool = False,
    stays: bool = False,
    own_offers: bool = True,
) -> Day:
    """Let some customers live through a day.

    Parameters
    ----------
    clientele : Clientele
        The parameters.
    people, state : People, State
        The customers; the state is changed in place.
    keys : array of uint64
        The stream of each.
    day : array of int64
        Days since 1970, one per customer or one for all.
    silent, stays : bool
        Whether nobody buys, and whether nobody leaves, whatever is drawn: to compute the probability that it is so.
    own_offers : bool
        Whether the company makes offers.
    """
    draws = uniform_at(keys[None, :], np.atleast_2d(day) * PLACES + np.arange(Draw.PLAN + 1)[:, None])
    out, risen = clientele.out(day), clientele.risen(day)
    strain = state.strain
    strain *= clientele.calm
    strain += clientele.waiting * (state.waits > day) + clientele.outage_strain * out
    strain += clientele.rise_strain * people.sensitivity * (day == clientele.price_rise_at // DAY)
    np.clip(strain, -_STRAIN, _STRAIN, out=strain)
    pressure = np.exp(strain)
    root = np.sqrt(pressure)

    leaves = _new_moods(clientele, people, state, day, draws[Draw.MOOD], pressure, risen, stays=stays)
    eager = np.array(clientele.bought)[state.mood] * np.where(risen, clientele.rise_bought, 1.0) / np.sqrt(root)
    chance = -np.expm1(-people.rate * eager * season(day))
    here = state.mood != Mood.GONE
    charged = here & ((day - people.created // DAY) % CHARGE_DAYS == 0) & clientele.contractual
    buys = (draws[Draw.PURCHASE] < chance) & (not silent)
    state.bought[:] = np.where(buys | charged, day, state.bought)

    likely = people.ticket * np.where(state.mood == Mood.FADING, clientele.ticket_fading, 1.0)
    likely = likely * np.where(out, clientele.outage_ticket, 1.0) * here
    tickets = np.flatnonzero((draws[Draw.TICKET] < likely) & (state.waits <= day))
    kind, hours = _complain(state, tickets, keys, day)

    if clientele.contractual:
        up = (state.mood == Mood.CONTENT) & (draws[Draw.PLAN] < clientele.upgrade)
        down = (state.mood == Mood.FADING) & (draws[Draw.PLAN] < clientele.downgrade)
        state.plan[:] = np.clip(state.plan + up - down, 0, len(clientele.plans) - 1)

    offers, way = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    if own_offers:
        offers, way = _chosen(clientele, state, day, draws[Draw.OFFER])
    offer_kind = np.where(
        way == WAYS.index("random"),
        (uniform_at(keys[offers], _place(day, offers, Draw.OFFER_KIND)) < 0.5).astype(np.int64),
        (way == WAYS.index("person")).astype(np.int64),
    )
    accepted = offer(people, state, keys, day, offers, offer_kind)
    return Day(chance, buys, leaves, charged, tickets, kind, hours, offers, offer_kind, way, accepted)


def offer(people: People, state: State, keys: Keys, day: Ints, rows: Ints, kind: Ints) -> Bools:
    """Make an offer to some of the customers on a day, and return who accepts it.

    One that is accepted takes from the strain. A customer whose response is negative is woken up, and has more of it.
    """
    response = people.response[rows]
    accepted = uniform_at(keys[rows], _place(day, rows, Draw.OFFER_ACCEPTED)) < people.accept[rows]
    helps = np.where(accepted, response, 0.0) * np.array(OFFER_STRENGTH)[kind]
    state.strain[rows] -= np.where(response > 0.0, helps, WAKES * response)
    state.offered[rows] = day if day.ndim == 0 else day[rows]
    return accepted


def _place(day: Ints, rows: Ints, draw: Draw) -> Ints:
    return (day if day.ndim == 0 else day[rows]) * PLACES + np.full(len(rows), draw)


def _new_moods(
    clientele: Clientele,
    people: People,
    state: State,
    day: Ints,
    draw: Floats,
    pressure: Floats,
    risen: Bools,
    *,
    stays: bool,
) -> Floats:
    """Draw the moods of the day, and return how likely it was that the customer leaves."""
    mood = state.mood
    fading = mood == Mood.FADING
    fade = people.fade * pressure * np.where(risen, clientele.rise_fade, 1.0)
    leave = np.minimum(clientele.leave * np.sqrt(pressure), 0.5)
    # of those who stay in any case, as many become content as of those who happen to stay
    recover = np.minimum(clientele.recover / pressure, 0.4) / (1.0 - leave if stays else 1.0)
    recovers = fading & (draw > 1.0 - recover)
    gone = fading & (draw < leave) & (not stays)
    comes_back = (mood == Mood.GONE) & (draw < clientele.come_back / pressure)
    fades = (mood == Mood.CONTENT) & (draw < fade)
    new = np.where(recovers | comes_back, Mood.CONTENT, np.where(gone, Mood.GONE, np.where(fades, Mood.FADING, mood)))
    state.since[:] = np.where(new != mood, day, state.since)
    state.mood[:] = new
    return np.where(fading, leave, 0.0)


def _complain(state: State, rows: Ints, keys: Keys, day: Ints) -> tuple[Ints, Floats]:
    """Open tickets for some of the customers."""
    kind = np.searchsorted(
        np.cumsum(_TICKET_SHARES)[:-1], uniform_at(keys[rows], _place(day, rows, Draw.TICKET_KIND)), side="right"
    )
    luck = uniform_at(keys[rows], _place(day, rows, Draw.TICKET_HOURS))
    hours = np.clip(20.0 * (1.0 / luck - 1.0) ** 0.7, 0.5, 600.0)
    state.strain[rows] += np.array(_TICKET_STRAIN)[kind]
    state.waits[rows] = (day if day.ndim == 0 else day[rows]) + 1 + (hours / 24.0).astype(np.int64)
    return kind, hours


def _chosen(clientele: Clientele, state: State, day: Ints, draw: Floats) -> tuple[Ints, Ints]:
    """Return to whom the company makes an offer, and how it came to that."""
    by_rule = (day - state.bought > clientele.rule_days) | (state.waits > day)
    by_person = state.mood == Mood.FADING
    bounds = np.cumsum(
        [
            np.full(len(draw), clientele.random_offer),
            np.where(by_rule, clientele.rule_offer, 0.0),
            np.where(by_person, clientele.person_offer, 0.0),
        ],
        axis=0,
    )
    able = (day - state.offered > clientele.offer_pause) & (day - state.bought < 365)
    if clientele.contractual:
        able &= state.mood != Mood.GONE
    rows = np.flatnonzero(able & (draw < bounds[-1]))
    return rows, (draw[rows] >= bounds[:-1, rows]).sum(axis=0)
