"""The truth about customers: how likely each is to leave, what each will spend, and what an offer does.

As for leads, it is played and not estimated: the streams of a customer bring it to a midnight exactly as in the export,
and from there it lives on many times with fresh streams. A probability is not counted but multiplied up, day by day,
on lives in which nobody buys (or closes), so that few lives give an exact figure.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from simulation.ceiling import micros
from simulation.clientele import Clientele
from simulation.customers.answers import Outcome, Uplift, Value
from simulation.customers.days import OFFER_COST, OFFERS, Day, Mood, State, days, live, offer
from simulation.customers.deeds import (
    CHARGEBACK_DAYS,
    FULL_REFUND,
    KINDS,
    REFUND_DAYS,
    Deeds,
    deeds,
    price,
)
from simulation.customers.people import People, people
from simulation.draws import Bools, Floats, Ints, stream_keys
from simulation.setting import Setting
from simulation.truth import Chances
from simulation.world import DAY

_LIVES = 50_000
"""Number of lives that are played at a time."""


class CustomerTruth:
    """The truth about the customers of a simulation.

    Moments are midnights in UTC: facts of earlier days are known. Numbers for a customer do not depend on the others.

    Parameters
    ----------
    clientele : Clientele
        The parameters, with the scenario in them.
    everybody : People
        All customers.
    seed : int
        The seed of the simulation.
    """

    def __init__(self, clientele: Clientele, everybody: People, seed: int) -> None:
        self.clientele = clientele
        self.people = everybody
        self.seed = seed
        self._asked: tuple[Ints, Ints, State] | None = None

    @classmethod
    def of(cls, export: Path) -> "CustomerTruth":
        """Return the truth about an export.

        Raises
        ------
        FileNotFoundError
            If the folder is no simulation.
        ValueError
            If the simulated company has no customers.
        """
        setting = Setting.load(export)
        if setting.clientele is None:
            raise ValueError(
                f"{export}: expected a simulation with customers, found none; simulate it with --customers"
            )
        known = pq.read_table(export / "truth" / "customers.parquet", columns=["customer_id", "created_at", "intent"])
        numbers = np.array([int(each[1:]) - 1 for each in known["customer_id"].to_pylist()], dtype=np.int64)
        everybody = people(
            setting.clientele,
            numbers,
            micros(known["created_at"].combine_chunks()),
            known["intent"].fill_null(0.0).to_numpy(),
            setting.seed,
            was_lead=known["intent"].is_valid().to_numpy(),
        )
        return cls(setting.clientele, everybody, setting.seed)

    def present(self, moment: npt.ArrayLike, *, bought_within: int | None = None) -> npt.NDArray[np.str_]:
        """Return the ids of the customers who have begun before a moment and have not closed their contract.

        With `bought_within`, only those who have bought within so many days before.
        """
        [day] = _days(np.atleast_1d(np.asarray(moment)))
        rows = np.flatnonzero(self.people.created < day * DAY)
        state = self._at(rows, np.full(len(rows), day))
        here = (state.mood != Mood.GONE) | (not self.clientele.contractual)
        if bought_within is not None:
            here &= state.bought >= day - bought_within
        return customer_ids(self.people.numbers[rows[here]])

    def hidden(self, customer_ids: npt.ArrayLike, moments: npt.ArrayLike) -> State:
        """Return the hidden state of some customers: mood, strain and since when."""
        return self._at(*self._observed(customer_ids, moments))

    def leaving(
        self, customer_ids: npt.ArrayLike, moments: npt.ArrayLike, *, horizon_days: int = 60, branches: int = 100
    ) -> Chances:
        """Return how likely customers are to leave within a horizon, by all that is hidden at some moments.

        To leave is not to buy in [moment, moment + horizon), whether active before or not; in a contractual company
        to close the contract then. So it is a ceiling for a model, which must infer the mood from the records.

        Parameters
        ----------
        customer_ids : array of str
            Ids of the export; a customer may be named more than once. One who has closed before has probability 0.
        moments : array of datetime
            A midnight (UTC) for each of them.
        horizon_days : int
        branches : int
            Lives for each customer and moment.

        Raises
        ------
        ValueError
            If a customer does not exist, or not yet; or if a moment is no midnight.
        """
        rows, day = self._observed(customer_ids, moments)
        mean, error = _moments(self._left(rows, day, horizon_days, branches))
        return Chances(mean, error)

    def value(
        self, customer_ids: npt.ArrayLike, moments: npt.ArrayLike, *, horizon_days: int = 90, branches: int = 40
    ) -> Value:
        """Return what customers will spend and earn within a horizon, expected by all that is hidden at some moments.

        Refunds of earlier purchases that are under way are known, and are taken from both. The parameters are those of
        `leaving`.
        """
        rows, day = self._observed(customer_ids, moments)
        found = self._worth(rows, day, horizon_days, branches)
        returned = self._under_way(rows, day, horizon_days)
        (revenue, margin), (revenue_error, margin_error) = _moments(found)
        return Value(revenue - returned, revenue_error, margin - returned, margin_error)

    def uplift(
        self,
        customer_ids: npt.ArrayLike,
        moments: npt.ArrayLike,
        *,
        kind: str = "voucher",
        horizon_days: int = 90,
        branches: int = 100,
        luck: int = 0,
    ) -> Uplift:
        """Return what an offer at a moment changes. The company goes on with its own offers in either case.

        `kind` is one of `simulation.customers.days.OFFERS`; the other parameters are those of `leaving`. Another `luck`
        plays other lives: a list that was chosen on one of them is measured fairly only on another.
        """
        rows, day = self._observed(customer_ids, moments)
        some = np.full(len(rows), _kind(kind))
        none = np.full(len(rows), -1)
        left, left_error = _moments(
            self._left(rows, day, horizon_days, branches, some, luck)
            - self._left(rows, day, horizon_days, branches, none, luck)
        )
        (revenue, margin), (revenue_error, margin_error) = _moments(
            self._worth(rows, day, horizon_days, branches, some, luck)
            - self._worth(rows, day, horizon_days, branches, none, luck)
        )
        return Uplift(
            left, left_error, revenue, revenue_error, margin, margin_error, cost=OFFER_COST[OFFERS.index(kind)]
        )

    def play_offers(
        self,
        customer_ids: npt.ArrayLike,
        moments: npt.ArrayLike,
        offered: npt.ArrayLike,
        *,
        kind: str = "voucher",
        horizon_days: int = 90,
        branches: int = 100,
        luck: int = 0,
    ) -> Outcome:
        """Play the company forward from some moments, with an offer to those who are on a list.

        Two lists are played on the same luck: the difference of their outcomes is that of the lists.

        Parameters
        ----------
        customer_ids, moments
            As for `leaving`.
        offered : array of bool
            For each of them, whether it is on the list.
        kind, horizon_days, branches, luck
            As for `uplift`.
        """
        rows, day = self._observed(customer_ids, moments)
        listed = np.asarray(offered, dtype=np.bool_)
        if listed.shape != rows.shape:
            raise ValueError(f"offered: expected one for each of {len(rows):,} customers, found {listed.shape}")
        kinds = np.where(listed, _kind(kind), -1)
        left, left_error = _moments(self._left(rows, day, horizon_days, branches, kinds, luck))
        (revenue, margin), (_, margin_error) = _moments(self._worth(rows, day, horizon_days, branches, kinds, luck))
        returned = float(self._under_way(rows, day, horizon_days).sum())
        return Outcome(
            revenue=float(revenue.sum()) - returned,
            margin=float(margin.sum()) - returned,
            cost=float(listed.sum()) * OFFER_COST[OFFERS.index(kind)],
            left=float(left.sum()),
            margin_error=float(np.sqrt((margin_error**2).sum())),
            left_error=float(np.sqrt((left_error**2).sum())),
        )

    # ------------------------------------------------------------------------------------------------------ playing

    def _left(
        self, rows: Ints, day: Ints, horizon: int, branches: int, kinds: Ints | None = None, luck: int = 0
    ) -> Floats:
        """Return for each customer and life how likely it is to leave."""
        by_contract = self.clientele.contractual
        blocks = []
        for some, state, lives in self._lives(rows, day, branches, kinds, luck):
            # of one who has closed before there is nothing to leave
            here = (state.mood != Mood.GONE) | (not by_contract)
            stays = np.ones(len(some))
            for happened, _ in lives(horizon, silent=not by_contract, stays=by_contract):
                stays *= 1.0 - (happened.leaves if by_contract else happened.chance)
            blocks.append((here * (1.0 - stays) if by_contract else stays).reshape(-1, branches))
        return np.concatenate(blocks)

    def _worth(
        self, rows: Ints, day: Ints, horizon: int, branches: int, kinds: Ints | None = None, luck: int = 0
    ) -> Floats:
        """Return revenue and margin for each customer and life, of shape (2, customers, branches)."""
        clientele = self.clientele
        fees = np.array([each.price for each in clientele.plans])
        refund = np.array(clientele.refund) * (FULL_REFUND + 0.5 * (1.0 - FULL_REFUND))
        blocks = []
        for some, state, lives in self._lives(rows, day, branches, kinds, luck):
            amount, cost = price(some, clientele)
            revenue, margin = np.zeros(len(some)), np.zeros(len(some))
            for number, (happened, today) in enumerate(lives(horizon)):
                remaining = horizon - number
                back = refund[state.mood] * _by_then(REFUND_DAYS, remaining)
                kept = 1.0 - back - clientele.chargeback * _by_then(CHARGEBACK_DAYS, remaining)
                level = clientele.price_level(today)
                fee = fees[state.plan] * some.rebate * happened.charged
                income = (happened.chance * amount + fee) * level * kept
                revenue += income
                margin += income - happened.chance * cost - fee * clientele.plan_cost
            blocks.append(np.stack([revenue, margin]).reshape(2, -1, branches))
        return np.concatenate(blocks, axis=1)

    def _lives(
        self, rows: Ints, day: Ints, branches: int, kinds: Ints | None, luck: int
    ) -> Iterator[tuple[People, State, "_Lives"]]:
        """Yield customers, by groups, as often as there are branches, at their moments and after their offers."""
        if branches < 2:
            raise ValueError(f"branches: expected at least 2, found {branches}")
        state = self._at(rows, day)
        size = max(1, _LIVES // branches)
        for first in range(0, len(rows), size):
            group = np.arange(first, min(first + size, len(rows)))
            repeated = np.repeat(group, branches)
            some, standing, start = self.people.take(rows[repeated]), state.take(repeated), day[repeated]
            branch = np.arange(len(repeated)) % branches + luck * 2**32
            keys = stream_keys(self.seed, "customer branch", some.numbers, start, branch)
            if kinds is not None:
                able = (standing.mood != Mood.GONE) | (not self.clientele.contractual)
                given = np.flatnonzero((kinds[repeated] >= 0) & able)
                offer(some, standing, keys, start, given, kinds[repeated][given])
            yield some, standing, _Lives(self.clientele, some, standing, keys, start)

    @cached_property
    def _deeds(self) -> dict[int, Deeds]:
        return {}

    def _under_way(self, rows: Ints, day: Ints, horizon: int) -> Floats:
        """Return the refunds and chargebacks within a horizon of what was bought before the moments."""
        last = int(day.max())
        if last not in self._deeds:
            self._deeds[last] = deeds(self.clientele, self.people, self.seed, last)
        found = self._deeds[last].transactions
        back = np.isin(found["kind"], [KINDS.index("refund"), KINDS.index("chargeback")])
        row, bought, amount = found["row"][back], found["day"][back], found["amount"][back]
        returned = found["occurred"][back] // DAY
        total = np.zeros(len(rows))
        for each in np.unique(day):
            pending = (bought < each) & (returned >= each) & (returned < each + horizon)
            by_row = np.bincount(row[pending], weights=amount[pending], minlength=len(self.people))
            total[day == each] = by_row[rows[day == each]]
        return total

    def _at(self, rows: Ints, day: Ints) -> State:
        """Return the state of customers at midnights; that of the last question is kept for the next."""
        if self._asked is not None and np.array_equal(self._asked[0], rows) and np.array_equal(self._asked[1], day):
            return self._asked[2].take(np.arange(len(rows)))
        wanted, place = np.unique(rows, return_inverse=True)
        some = self.people.take(wanted)
        found = State.fresh(some).take(place)
        asked = np.unique(day)
        for today, part, state, _ in days(self.clientele, some, self.seed, int(day.max(initial=0))):
            if today + 1 in asked:
                now = np.flatnonzero((day == today + 1) & (place < part.stop))
                found.put(now, state.take(place[now]))
        self._asked = (rows, day, found)
        return found.take(np.arange(len(rows)))

    def _observed(self, customer_ids: npt.ArrayLike, moments: npt.ArrayLike) -> tuple[Ints, Ints]:
        """Return rows of customers, and moments in days since 1970."""
        ids, day = np.asarray(customer_ids, dtype=np.str_), _days(moments)
        if len(ids) != len(day) or not len(ids):
            raise ValueError(
                f"expected as many customer_ids as moments, and at least one, found {len(ids):,} and {len(day):,}"
            )
        numbered = np.char.startswith(ids, "C") & np.char.isdigit(np.char.lstrip(ids, "C"))
        numbers = np.where(numbered, np.char.lstrip(ids, "C"), "0").astype(np.int64) - 1
        order = np.argsort(self.people.numbers)
        place = np.minimum(np.searchsorted(self.people.numbers, numbers, sorter=order), len(order) - 1)
        rows = order[place]
        unknown = self.people.numbers[rows] != numbers
        if unknown.any():
            raise ValueError(
                f"customer_ids: expected ids of this simulation, found {str(ids[unknown][0])!r} "
                f"({unknown.sum():,} of {len(ids):,} are none)"
            )
        early = np.flatnonzero(day * DAY <= self.people.created[rows])
        if len(early):
            raise ValueError(
                "moments: expected none before the customer was created, found "
                f"{np.datetime64(int(day[early[0]]), 'D')} for customer {ids[early[0]]} of "
                f"{np.datetime64(int(self.people.created[rows[early[0]]]), 'us')}"
            )
        return rows, day


@dataclass(frozen=True)
class _Lives:
    """Lives that go on from their days."""

    clientele: Clientele
    people: People
    state: State
    keys: npt.NDArray[np.uint64]
    start: Ints

    def __call__(self, horizon: int, *, silent: bool = False, stays: bool = False) -> Iterator[tuple[Day, Ints]]:
        for number in range(horizon):
            today = self.start + number
            yield live(self.clientele, self.people, self.state, self.keys, today, silent=silent, stays=stays), today


def customer_ids(numbers: Ints) -> npt.NDArray[np.str_]:
    """Return the ids of customers."""
    return np.array([f"C{number + 1:07d}" for number in numbers], dtype=np.str_)


def _moments(lives: Floats) -> tuple[Floats, Floats]:
    """Return mean and standard error over lives, the last axis."""
    return lives.mean(axis=-1), lives.std(axis=-1, ddof=1) / np.sqrt(lives.shape[-1])


def _by_then(bounds: tuple[int, int], remaining: int) -> float:
    """Return the share of the returns that come before so many days, counted from the day of the purchase."""
    first, last = bounds
    return min(max(remaining - first, 0), last - first) / (last - first)


def _kind(name: str) -> int:
    if name not in OFFERS:
        raise ValueError(f"kind: expected one of {', '.join(OFFERS)}, found {name!r}")
    return OFFERS.index(name)


def _days(moments: npt.ArrayLike) -> Ints:
    at = micros(moments)
    odd: Bools = at % DAY != 0
    if odd.any():
        raise ValueError(f"moments: expected midnights (UTC), found {np.datetime64(int(at[odd][0]), 'us')}")
    return at // DAY
