"""What the days of the customers leave behind, with amounts, hours, and what is recorded late."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from simulation.clientele import Clientele
from simulation.customers.days import Mood, days
from simulation.customers.people import CHANNELS, People
from simulation.draws import Floats, Ints, Keys, stream_keys, uniform_at
from simulation.engine import Columns
from simulation.facts import Table
from simulation.world import DAY, HOUR, MINUTE, NEVER, SECOND

MAIL_DAYS = 28
"""Days from one e-mail to a customer to the next."""
MAILED_AFTER = 180
"""Days for which the company goes on writing to a customer who has gone."""
ASKED_DAYS = 182
"""Days from one question for the satisfaction to the next; half of the customers answer."""
KINDS = ("purchase", "refund", "payment", "chargeback")
METRICS = ("login", "configurator")
FADING_LOGIN = 0.8
"""Share of its logins that a customer keeps when it begins to fade."""
OPENED = (1.0, 0.5, 0.08)
"""Factor on the share of e-mails that are opened, by mood."""
NOISE = 0.35
"""Standard deviation of the logarithm of an amount."""
DISCOUNT = (0.1, 0.25)
"""The smallest and the largest discount."""
FULL_REFUND = 0.6
"""Share of the refunds of the whole amount; the others are of half."""
REFUND_DAYS, CHARGEBACK_DAYS = (2, 31), (10, 61)
"""Days until a purchase is refunded or charged back: the first, and the one after the last; all are equally likely."""
LATE_PURCHASE, LATE_REFUND = 0.015, 0.2
"""Shares of the purchases, and of the refunds and chargebacks, that are recorded one to six days late."""
_PLACES = 32


class _Draw(IntEnum):
    """The places of a day in the second stream of a customer, which has no effect on what follows."""

    HOUR = 0
    PRODUCT = 1
    QUANTITY = 2
    RADIUS = 3
    ANGLE = 4
    DISCOUNTED = 5
    DISCOUNT = 6
    RETURNED = 7
    FULL = 8
    RETURN_DAY = 9
    RECORDED = 10
    LATE = 11
    RETURN_LATE = 12
    PAID = 13
    LOGIN = 14
    LOGIN_HOUR = 15
    LOGINS = 16
    FEATURE = 17
    MAIL_HOUR = 18
    OPENED = 19
    OPEN_RADIUS = 20
    OPEN_ANGLE = 21
    TICKET_HOUR = 22
    OFFER_HOUR = 23
    ACCEPT_HOUR = 24
    CLOSE_HOUR = 25
    PLAN_HOUR = 26
    ANSWERS = 27
    ANSWER_RADIUS = 28
    ANSWER_ANGLE = 29
    CHANNEL = 30


@dataclass(frozen=True)
class Deeds:
    """What some customers did, by columns. `row` is a row of the customers, times are microseconds since 1970.

    Attributes
    ----------
    transactions : dict of arrays
        `row`, `day` (of the purchase), `number` within the day, `kind` (codes of `KINDS`), `occurred`, `recorded`,
        `amount` and `cost` (of a refund, what is given back), `discount`, `quantity`, `product` (an index, plans after
        products), `channel` (codes of `CHANNELS`, and one more), and `mood` at the purchase.
    tickets : dict of arrays
        `row`, `opened`, `resolved`, `kind`.
    usage : dict of arrays
        `row`, `occurred`, `metric`, `quantity`.
    mails : dict of arrays
        `row`, `sent`, `opened`; `NEVER` if it was not opened.
    offers : dict of arrays
        `row`, `offered`, `kind`, `way`, `accepted`; `NEVER` if not accepted.
    plans, answers : dict of arrays
        The history of the plans and of the satisfaction: `row`, `changed`, `value`. The first plan is in it.
    moods : dict of arrays
        The changes of mood: `row`, `day`, `mood`.
    closed : array of int64
        When each customer closed its contract; `NEVER` if it did not.
    """

    transactions: Columns
    tickets: Columns
    usage: Columns
    mails: Columns
    offers: Columns
    plans: Columns
    answers: Columns
    moods: Columns
    closed: Ints


def deeds(clientele: Clientele, people: People, seed: int, until: int) -> Deeds:
    """Return what some customers do before a day, given in days since 1970."""
    keys = stream_keys(seed, "customer deeds", people.numbers)
    purchases = Table(row="i8", day="i8", mood="i8", plan="i8")
    tickets = Table(row="i8", day="i8", kind="i8", hours="f8")
    logins, mails = Table(row="i8", day="i8"), Table(row="i8", day="i8", mood="i8")
    offers = Table(row="i8", day="i8", kind="i8", way="i8", accepted="?")
    plans, asked = Table(row="i8", day="i8", value="i8"), Table(row="i8", day="i8", mood="i8")
    moods = Table(row="i8", day="i8", mood="i8")
    created = people.created // DAY
    first = np.flatnonzero(created < until)
    plan = people.plan.copy()
    purchases.append(
        len(first), row=first, day=created[first], mood=0, plan=plan[first] if clientele.contractual else -1
    )
    plans.append(len(first), row=first, day=created[first], value=plan[first])
    asked.append(len(first), row=first, day=created[first], mood=0)
    faded = np.exp(-np.arange(until - int(created.min(initial=until)) + 1) / clientele.faded_days) * FADING_LOGIN
    for day, part, state, happened in days(clientele, people, seed, until):
        mood = state.mood
        for rows, of_plan in ((np.flatnonzero(happened.buys), None), (np.flatnonzero(happened.charged), state.plan)):
            purchases.append(
                len(rows), row=rows, day=day, mood=mood[rows], plan=-1 if of_plan is None else of_plan[rows]
            )
        tickets.append(
            len(happened.tickets),
            row=happened.tickets,
            day=day,
            kind=happened.ticket_kind,
            hours=happened.ticket_hours,
        )
        offers.append(
            len(happened.offers),
            row=happened.offers,
            day=day,
            kind=happened.offer_kind,
            way=happened.way,
            accepted=happened.accepted,
        )
        level = np.where(mood == Mood.CONTENT, 1.0, np.where(mood == Mood.FADING, faded[day - state.since], 0.0))
        often = people.login[part] * level * (clientele.outage_login if clientele.out(np.asarray(day)) else 1.0)
        rows = np.flatnonzero(_drawn(keys[part], day, _Draw.LOGIN) < -np.expm1(-often))
        logins.append(len(rows), row=rows, day=day)
        written = (mood != Mood.GONE) | (not clientele.contractual and day - state.since < MAILED_AFTER)
        rows = np.flatnonzero((people.numbers[part] % MAIL_DAYS == day % MAIL_DAYS) & written)
        mails.append(len(rows), row=rows, day=day, mood=mood[rows])
        rows = np.flatnonzero(((day - created[part]) % ASKED_DAYS == 0) & (mood != Mood.GONE))
        asked.append(len(rows), row=rows, day=day, mood=mood[rows])
        rows = np.flatnonzero(state.plan != plan[part])
        plans.append(len(rows), row=rows, day=day, value=state.plan[rows])
        plan[part] = state.plan
        rows = np.flatnonzero(state.since == day)
        moods.append(len(rows), row=rows, day=day, mood=mood[rows])
    turned = moods.columns()
    gone = turned["mood"] == Mood.GONE
    closed = np.full(len(people), NEVER)
    if clientele.contractual:
        closed[turned["row"][gone]] = _hour(keys, turned["row"][gone], turned["day"][gone], _Draw.CLOSE_HOUR, 9, 18)
    return Deeds(
        transactions=_transactions(clientele, people, keys, purchases.columns()),
        tickets=_tickets(keys, tickets.columns()),
        usage=_usage(keys, logins.columns()),
        mails=_mails(people, keys, mails.columns()),
        offers=_offers(keys, offers.columns()),
        plans=_plans(people, keys, plans.columns()),
        answers=_answers(people, keys, asked.columns()),
        moods=turned,
        closed=closed,
    )


def price(people: People, clientele: Clientele) -> tuple[Floats, Floats]:
    """Return the expected amount and cost of a purchase of each customer, at the first prices."""
    prices = np.array([each.price for each in clientele.products])
    costs = np.array([each.cost for each in clientele.products])
    usual = people.spend * (people.taste @ prices)
    return usual * (1.0 - people.discounts * sum(DISCOUNT) / 2.0), people.spend * (people.taste @ (prices * costs))


def _drawn(keys: Keys, day: Ints | int, draw: _Draw) -> Floats:
    return uniform_at(keys, np.atleast_1d(np.asarray(day, dtype=np.int64)) * _PLACES + int(draw))


def _hour(keys: Keys, rows: Ints, day: Ints, draw: _Draw, first: int, last: int) -> Ints:
    """Return a moment of a day between two hours."""
    return day * DAY + ((first + (last - first) * _drawn(keys[rows], day, draw)) * HOUR).astype(np.int64)


def _normal(keys: Keys, day: Ints, radius: _Draw, angle: _Draw) -> Floats:
    return np.sqrt(-2.0 * np.log(_drawn(keys, day, radius))) * np.cos(2.0 * np.pi * _drawn(keys, day, angle))


def _transactions(clientele: Clientele, people: People, every: Keys, bought: Columns) -> Columns:
    row, day, plan = bought["row"], bought["day"], bought["plan"]
    charge = plan >= 0
    # a charge and a purchase of the same day have streams of their own
    keys = every[row] + charge.astype(np.uint64)

    def drawn(draw: _Draw) -> Floats:
        return _drawn(keys, day, draw)

    taste = np.cumsum(people.taste, axis=1)[:, :-1]
    product = (taste[row] < drawn(_Draw.PRODUCT)[:, None]).sum(axis=1)
    prices, costs = (np.array([getattr(each, name) for each in clientele.products]) for name in ("price", "cost"))
    fees = np.array([each.price for each in clientele.plans])[plan] * people.rebate[row]
    noise = np.exp(NOISE * _normal(keys, day, _Draw.RADIUS, _Draw.ANGLE) - NOISE**2 / 2.0)
    listed = np.where(charge, fees, people.spend[row] * prices[product] * noise)
    low, high = DISCOUNT
    discounted = ~charge & (drawn(_Draw.DISCOUNTED) < people.discounts[row])
    discount = np.where(discounted, low + (high - low) * drawn(_Draw.DISCOUNT), 0.0)
    asked = np.round(listed * clientele.price_level(day), 2)
    discount = np.round(asked * discount, 2)
    cost = np.round(listed * np.where(charge, clientele.plan_cost, costs[product]), 2)
    first = day == people.created[row] // DAY
    hour = np.where(charge, 6.0 + drawn(_Draw.HOUR), 7.0 + 14.0 * drawn(_Draw.HOUR))
    occurred = np.where(first, people.created[row], day * DAY + (hour * HOUR).astype(np.int64))
    purchase: Columns = {
        "row": row,
        "day": day,
        "number": charge.astype(np.int64),
        "kind": np.full(len(row), KINDS.index("purchase")),
        "occurred": occurred,
        "recorded": occurred + _delay(drawn(_Draw.RECORDED), drawn(_Draw.LATE), LATE_PURCHASE),
        "amount": asked - discount,
        "cost": cost,
        "discount": discount,
        "quantity": np.where(charge, 1, 1 + np.floor(-0.7 * np.log(drawn(_Draw.QUANTITY)))).astype(np.int64),
        "product": np.where(charge, len(clientele.products) + plan, product),
        # one purchase of five is made in the next channel; charges have one of their own
        "channel": np.where(
            charge, len(CHANNELS), (people.channel[row] + (drawn(_Draw.CHANNEL) < 0.2)) % len(CHANNELS)
        ),
        "mood": bought["mood"],
    }
    luck, when, how_much = drawn(_Draw.RETURNED), drawn(_Draw.RETURN_DAY), drawn(_Draw.FULL)
    refunded = luck < np.array(clientele.refund)[bought["mood"]]
    charged_back = luck > 1.0 - clientele.chargeback
    after = np.where(refunded, _between(REFUND_DAYS, when), _between(CHARGEBACK_DAYS, when))
    share = np.where(refunded & (how_much >= FULL_REFUND), 0.5, 1.0)
    late = drawn(_Draw.RETURN_LATE)
    came_back = occurred + after * DAY
    returned = purchase | {
        "number": purchase["number"] + 2,
        "kind": np.where(refunded, KINDS.index("refund"), KINDS.index("chargeback")),
        "occurred": came_back,
        "recorded": came_back + _delay(drawn(_Draw.RECORDED), late, LATE_REFUND),
        "amount": np.round(purchase["amount"] * share, 2),
        "cost": np.zeros(len(row)),
        "discount": np.zeros(len(row)),
    }
    paid_at = occurred + ((5.0 + 30.0 * drawn(_Draw.PAID)) * DAY).astype(np.int64)
    paid = purchase | {
        "number": purchase["number"] + 4,
        "kind": np.full(len(row), KINDS.index("payment")),
        "occurred": paid_at,
        "recorded": paid_at + SECOND,
        "cost": np.zeros(len(row)),
        "discount": np.zeros(len(row)),
    }
    blocks = ((purchase, slice(None)), (returned, refunded | charged_back), (paid, people.invoiced[row] & ~charge))
    return {name: np.concatenate([block[name][rows] for block, rows in blocks]) for name in purchase}


def _between(bounds: tuple[int, int], uniform: Floats) -> Ints:
    return bounds[0] + np.floor((bounds[1] - bounds[0]) * uniform).astype(np.int64)


def _delay(uniform: Floats, late: Floats, share: float) -> Ints:
    """Return how long it takes to record something: seconds, or days for a share of it."""
    return np.where(late < share, (1.0 + 5.0 * uniform) * DAY, (1.0 + 299.0 * uniform) * SECOND).astype(np.int64)


def _tickets(keys: Keys, columns: Columns) -> Columns:
    opened = _hour(keys, columns["row"], columns["day"], _Draw.TICKET_HOUR, 7, 20)
    resolved = opened + (columns["hours"] * HOUR).astype(np.int64)
    return {"row": columns["row"], "opened": opened, "resolved": resolved, "kind": columns["kind"]}


def _usage(keys: Keys, columns: Columns) -> Columns:
    row, day = columns["row"], columns["day"]
    at = _hour(keys, row, day, _Draw.LOGIN_HOUR, 6, 22)
    times = 1 + np.floor(-0.8 * np.log(_drawn(keys[row], day, _Draw.LOGINS))).astype(np.int64)
    feature = _drawn(keys[row], day, _Draw.FEATURE)
    uses = feature < 0.35
    return {
        "row": np.concatenate([row, row[uses]]),
        "occurred": np.concatenate([at, at[uses] + 5 * MINUTE]),
        "metric": np.repeat([0, 1], [len(row), int(uses.sum())]),
        "quantity": np.concatenate([times, 1 + (feature[uses] / 0.35 * 4.0).astype(np.int64)]),
    }


def _mails(people: People, keys: Keys, columns: Columns) -> Columns:
    row, day = columns["row"], columns["day"]
    sent = _hour(keys, row, day, _Draw.MAIL_HOUR, 9, 11)
    hours = np.minimum(5.0 * np.exp(1.3 * _normal(keys[row], day, _Draw.OPEN_RADIUS, _Draw.OPEN_ANGLE)), 480.0)
    opens = _drawn(keys[row], day, _Draw.OPENED) < people.opens[row] * np.array(OPENED)[columns["mood"]]
    return {"row": row, "sent": sent, "opened": np.where(opens, sent + (hours * HOUR).astype(np.int64), NEVER)}


def _offers(keys: Keys, columns: Columns) -> Columns:
    row, day = columns["row"], columns["day"]
    offered = _hour(keys, row, day, _Draw.OFFER_HOUR, 8, 10)
    accepted = _hour(keys, row, day, _Draw.ACCEPT_HOUR, 11, 35)
    return {
        "row": row,
        "offered": offered,
        "kind": columns["kind"],
        "way": columns["way"],
        "accepted": np.where(columns["accepted"], accepted, NEVER),
    }


def _plans(people: People, keys: Keys, columns: Columns) -> Columns:
    row, day = columns["row"], columns["day"]
    at = _hour(keys, row, day, _Draw.PLAN_HOUR, 8, 18)
    first = day == people.created[row] // DAY
    return {"row": row, "changed": np.where(first, people.created[row], at), "value": columns["value"]}


def _answers(people: People, keys: Keys, columns: Columns) -> Columns:
    """Return the satisfaction of those who answer; the first is asked for at the creation."""
    row, day = columns["row"], columns["day"]
    first = day == people.created[row] // DAY
    feels = 7.0 + people.loyalty[row] + 1.4 * _normal(keys[row], day, _Draw.ANSWER_RADIUS, _Draw.ANSWER_ANGLE)
    value = np.clip(np.round(feels - 2.5 * (columns["mood"] == Mood.FADING)), 0, 10).astype(np.int64)
    answers = _drawn(keys[row], day, _Draw.ANSWERS) < 0.5
    at = np.where(first, people.created[row], _hour(keys, row, day, _Draw.PLAN_HOUR, 10, 20))
    return {"row": row[answers], "changed": at[answers], "value": value[answers]}
