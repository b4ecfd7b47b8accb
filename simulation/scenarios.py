"""Scenarios: named changes of the parameters of a company from some day on.

`price_shock`, `source_mix`, `new_category` and `concept_change` change the world; `broken_feed` and `null_spike` change
only the CRM; `price_rise` and `outage` change the customers. Traits of a lead depend on its creation, so they change
for leads that arrive from that day on; parameters of events, such as the chance to win, change at once for all leads.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date

from simulation.clientele import Clientele
from simulation.world import Change, Source, World, midnight

_SHIFTS = {"web": -0.23, "ads": 0.23}
_SOCIAL = Source(
    name="social",
    share=0.2,
    intent=-0.3,
    value_factor=0.8,
    first_contact="web",
    warm=False,
    hours=(4, 2, 1, 1, 1, 1, 2, 4, 6, 5, 5, 6, 9, 7, 5, 5, 6, 8, 11, 13, 15, 14, 11, 7),
    weekdays=(8.0, 8.0, 8.0, 8.0, 9.0, 11.0, 12.0),
)


def _price_shock(world: World) -> World:
    return replace(world, price_level=1.375 * world.price_level, budget_level=1.1 * world.budget_level)


def _source_mix(world: World) -> World:
    shifted = tuple(replace(source, share=source.share + _SHIFTS.get(source.name, 0.0)) for source in world.sources)
    return replace(world, sources=shifted)


def _concept_change(world: World) -> World:
    return replace(world, win_by_intent=-world.win_by_intent, win_by_price=0.0)


def _broken_feed(world: World) -> World:
    return replace(world, unrecorded=("email",))


def _null_spike(world: World) -> World:
    return replace(world, value_missing=0.8, zip_missing=0.8)


def _new_category(world: World) -> World:
    kept = tuple(replace(source, share=(1.0 - _SOCIAL.share) * source.share) for source in world.sources[:-1])
    return replace(world, sources=(*kept, _SOCIAL))


_CHANGES: dict[str, Callable[[World], World]] = {
    "price_shock": _price_shock,
    "source_mix": _source_mix,
    "concept_change": _concept_change,
    "broken_feed": _broken_feed,
    "null_spike": _null_spike,
    "new_category": _new_category,
}
SCENARIOS = tuple(_CHANGES)
"""The names of the scenarios.

- `price_shock`: property values of new leads are 37.5 % higher, their budgets 10 %, so that wins get rarer.
- `source_mix`: 45 % of the new leads instead of 22 % come from ads, 11 % instead of 34 % from the web.
- `concept_change`: leads with the least intent are now won most often, prices no longer matter, and about half as many
  proposals are won.
- `broken_feed`: e-mails, their openings and their answers no longer reach the CRM. The world stays as it was.
- `null_spike`: 80 % of the new leads come without a property value, and 80 % without a zip code.
- `new_category`: 20 % of the new leads come from a new source, `social`.
"""

_OF_CUSTOMERS: dict[str, Callable[[Clientele, int], Clientele]] = {
    "price_rise": lambda clientele, at: replace(clientele, price_rise_at=at),
    "outage": lambda clientele, at: replace(clientele, outage_at=at),
}
CUSTOMER_SCENARIOS = tuple(_OF_CUSTOMERS)
"""The names of the scenarios that need customers.

- `price_rise`: all prices rise by 20 %; customers buy less, and more of them leave.
- `outage`: for three weeks customers cannot log in well, open many tickets, and are annoyed.
"""


@dataclass(frozen=True)
class Scenario:
    """A named change, and the day from which on it holds.

    Attributes
    ----------
    name : str
        One of `SCENARIOS` or `CUSTOMER_SCENARIOS`.
    since : date
        Its first day.

    Raises
    ------
    ValueError
        If there is no such scenario.
    """

    name: str
    since: date

    def __post_init__(self) -> None:
        """Refuse an unknown scenario."""
        if self.name not in (*SCENARIOS, *CUSTOMER_SCENARIOS):
            raise ValueError(
                f"scenario: expected one of {', '.join((*SCENARIOS, *CUSTOMER_SCENARIOS))}, found {self.name!r}"
            )

    def switched_on(self, world: World) -> World:
        """Return the world with the scenario; up to its day every row stays the same."""
        if self.name in CUSTOMER_SCENARIOS:
            return world
        if self.name == "new_category":
            # The source has its code from the start, and no lead before the day of the scenario.
            world = replace(world, sources=(*world.sources, replace(_SOCIAL, share=0.0)))
        return replace(world, change=Change(midnight(self.since), _CHANGES[self.name](world)))

    def switched_on_for(self, clientele: Clientele) -> Clientele:
        """Return the customers with the scenario; up to its day every row stays the same."""
        change = _OF_CUSTOMERS.get(self.name)
        return clientele if change is None else change(clientele, midnight(self.since))

    @classmethod
    def parse(cls, text: str) -> "Scenario":
        """Read `NAME@YYYY-MM-DD`.

        Raises
        ------
        ValueError
            If the text has another form, or there is no such scenario.
        """
        name, _, since = text.partition("@")
        try:
            return cls(name, date.fromisoformat(since))
        except ValueError as error:
            raise ValueError(
                "scenario: expected NAME@YYYY-MM-DD with one of "
                f"{', '.join((*SCENARIOS, *CUSTOMER_SCENARIOS))}, found {text!r}"
            ) from error
