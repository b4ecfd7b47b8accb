"""The parameters of the simulated world: its sources, its leads, its reps and the faults of its CRM.

This module has only the numbers, their change at some moment, and the units of time. `arrivals`, `dynamics`, `policy`
and `recording` use them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NEVER = 2**63 - 1
"""A time, in microseconds since 1970, that never comes."""

_EPOCH = date(1970, 1, 1)
_OFFICE_HOURS = (0, 0, 0, 0, 0, 0, 0, 1, 5, 9, 10, 9, 6, 7, 9, 9, 7, 4, 1, 0, 0, 0, 0, 0)
_WAKING_HOURS = (2, 1, 1, 1, 1, 1, 2, 4, 6, 7, 7, 7, 8, 7, 6, 6, 7, 8, 10, 12, 13, 12, 8, 4)
_OFFICE_WEEK = (10.0, 10.0, 9.0, 9.0, 8.0, 1.0, 0.3)
_WHOLE_WEEK = (9.0, 8.0, 8.0, 8.0, 7.0, 7.0, 9.0)


def midnight(day: date) -> int:
    """Return when a day begins, in microseconds since 1970."""
    return (day - _EPOCH).days * DAY


def day_of(moment: int) -> date:
    """Return the day of a moment, given in microseconds since 1970."""
    return _EPOCH + timedelta(days=moment // DAY)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A source of leads.

    Attributes
    ----------
    name : str
        The value of `leads.source`.
    share : float
        Its share of all leads; the shares add up to 1.
    intent : float
        Shift of the hidden intent of its leads, in logits.
    value_factor : float
        Factor on the property value of its leads.
    first_contact : str
        The interaction type by which its leads make themselves known.
    warm : bool
        Whether reps would rather call than write to its leads.
    hours, weekdays : tuple of float
        Relative frequency of arrivals by hour (UTC) and by weekday (Monday first).
    """

    name: str
    share: float
    intent: float
    value_factor: float
    first_contact: str
    warm: bool
    hours: tuple[int, ...]
    weekdays: tuple[float, ...]


SOURCES = (
    Source(
        name="web",
        share=0.34,
        intent=0.0,
        value_factor=1.0,
        first_contact="web",
        warm=False,
        hours=_WAKING_HOURS,
        weekdays=_WHOLE_WEEK,
    ),
    Source(
        name="ads",
        share=0.22,
        intent=-0.55,
        value_factor=0.85,
        first_contact="web",
        warm=False,
        hours=_WAKING_HOURS,
        weekdays=_WHOLE_WEEK,
    ),
    Source(
        name="referral",
        share=0.14,
        intent=0.8,
        value_factor=1.2,
        first_contact="email",
        warm=True,
        hours=_OFFICE_HOURS,
        weekdays=_OFFICE_WEEK,
    ),
    Source(
        name="phone",
        share=0.12,
        intent=0.4,
        value_factor=1.0,
        first_contact="call",
        warm=True,
        hours=_OFFICE_HOURS,
        weekdays=_OFFICE_WEEK,
    ),
    Source(
        name="partner",
        share=0.10,
        intent=0.3,
        value_factor=1.35,
        first_contact="email",
        warm=True,
        hours=_OFFICE_HOURS,
        weekdays=_OFFICE_WEEK,
    ),
    Source(
        name="fair",
        share=0.08,
        intent=-0.25,
        value_factor=1.1,
        first_contact="meeting",
        warm=False,
        hours=_OFFICE_HOURS,
        weekdays=(1.0, 1.0, 2.0, 3.0, 8.0, 12.0, 10.0),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Faults:
    """How often the CRM records something wrong: shares of the interactions.

    Attributes
    ----------
    late : float
        Share of the rows entered by hand that are recorded one to ten days late.
    duplicate : float
        Share recorded twice, identically.
    conflict : float
        Share recorded twice under one id with two contents.
    orphan : float
        Share followed by a row of a lead that does not exist.
    unknown_type : float
        Share followed by a row whose type is outside the vocabulary.
    """

    late: float = 0.03
    duplicate: float = 0.005
    conflict: float = 0.0002
    orphan: float = 0.00005
    unknown_type: float = 0.00005

    def __post_init__(self) -> None:
        """Refuse a value that is no share."""
        for name, value in vars(self).items():
            if not 0.0 <= value <= 0.25:
                raise ValueError(f"fault {name!r}: expected a share between 0 and 0.25, found {value}")


@dataclass(frozen=True, kw_only=True)
class World:
    """A company, its market and its CRM.

    Attributes
    ----------
    name : str
        The name of the company.
    deviation : float
        Probability that a rep does not follow the playbook.
    sources : tuple of Source
        The sources of leads.
    season : tuple of float
        Relative frequency of arrivals by month, January first.
    reps : int
        Number of reps.
    rep_skill : float
        Standard deviation of the reps' skill, in logits of the chance to win.
    reassigned : float
        Share of leads that change hands.
    median_value : float
        Median property value.
    value_spread : float
        Standard deviation of the logarithm of the property value.
    price_level, budget_level : float
        Factors on every property value and every budget. The value that a rep considers high stays the same.
    value_missing, zip_missing : float
        Shares of leads whose property value or zip code the CRM does not have.
    budget_spread : float
        Standard deviation of the logarithm of budget over property value.
    patience : float
        Mean number of contacts that a lead takes without tiring.
    visits : float
        Median number of web visits of a lead of middling intent; the mean is much higher.
    visits_spread : float
        Standard deviation of the logarithm of that number: the heavy tail.
    pages : float
        Mean number of pages of a web visit, above 1; the CRM has a row for each.
    interest_days : float
        Time constant by which web visits fade.
    win_logit : float
        Logit of the chance that an answered proposal is won, for a middling lead.
    win_by_intent, win_by_price, win_by_meeting : float
        What full intent adds to that logit, compared with no intent; what a price of e times the budget subtracts from
        it; and what a meeting with the lead adds.
    uninvited : float
        Factor on the chance that a lead keeps an appointment if it has not responded recently.
    unrecorded : tuple of str
        Types of interactions that do not reach the CRM.
    faults : Faults
        How often the CRM records something wrong.
    change : Change or None
        The change of the world at some moment.
    """

    name: str = "default"
    deviation: float = 0.1
    sources: tuple[Source, ...] = SOURCES
    season: tuple[float, ...] = (0.85, 0.95, 1.15, 1.25, 1.2, 1.05, 0.85, 0.75, 1.1, 1.15, 1.0, 0.7)
    reps: int = 24
    rep_skill: float = 0.3
    reassigned: float = 0.05
    median_value: float = 320_000.0
    value_spread: float = 0.45
    price_level: float = 1.0
    budget_level: float = 1.0
    value_missing: float = 0.12
    zip_missing: float = 0.06
    budget_spread: float = 0.25
    patience: float = 9.0
    visits: float = 4.5
    visits_spread: float = 1.1
    pages: float = 1.9
    interest_days: float = 30.0
    win_logit: float = -3.7
    win_by_intent: float = 4.0
    win_by_price: float = 2.5
    win_by_meeting: float = 2.4
    uninvited: float = 0.1
    unrecorded: tuple[str, ...] = ()
    faults: Faults = Faults()
    change: "Change | None" = None

    def __post_init__(self) -> None:
        """Refuse parameters that no company can have."""
        if not 0.0 <= self.deviation < 1.0:
            raise ValueError(f"deviation: expected a probability below 1, found {self.deviation}")
        if not self.pages > 1.0:
            raise ValueError(f"pages: expected a mean above 1, found {self.pages}")
        shares = sum(source.share for source in self.sources)
        if abs(shares - 1.0) > 1e-9:
            raise ValueError(f"sources: expected shares that add up to 1, found {shares:.4f}")

    def at(self, moments: npt.NDArray[np.int64], parameter: Callable[["World"], float]) -> npt.NDArray[np.float64]:
        """Return a parameter as it is at some moments, in microseconds since 1970."""
        if self.change is None:
            return np.full(len(moments), parameter(self))
        return np.where(moments < self.change.at, parameter(self), parameter(self.change.world))


@dataclass(frozen=True)
class Change:
    """The change of a world at some moment.

    Attributes
    ----------
    at : int
        The moment, in microseconds since 1970.
    world : World
        The parameters from then on. Only those read by `World.at`, the shares of the sources and the unrecorded types
        change.
    """

    at: int
    world: World


_DEFAULT = World()
COMPANIES = {world.name: world for world in (_DEFAULT, replace(_DEFAULT, name="chaotic", deviation=0.5))}
"""The companies that `--company` accepts."""
