"""What can happen to a company from some day on: named changes of its parameters.

Of the world itself change the price shock, the source mix, the new category and the concept; of the CRM alone the
broken feed and the null spike. What depends on when a lead came, its traits, changes for leads that come from that day
on; what depends on when something happens, such as the chance to win, changes at once for everybody.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date

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
- `source_mix`: of the new leads 45 % instead of 22 % come from ads, 11 % instead of 34 % from the web.
- `concept_change`: those who want to buy least now win most, prices no longer matter, and about half as many
  proposals are won.
- `broken_feed`: no e-mail reaches the CRM any more, nor that one was opened or answered. The world goes on as before.
- `null_spike`: 80 % of the new leads come without a property value, and 80 % without a zip code.
- `new_category`: 20 % of the new leads come from a source that there was not before, `social`.
"""


@dataclass(frozen=True)
class Scenario:
    """A named change, and the day from which on it holds.

    Attributes
    ----------
    name : str
        One of `SCENARIOS`.
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
        """Refuse what is no scenario."""
        if self.name not in _CHANGES:
            raise ValueError(f"scenario: expected one of {', '.join(SCENARIOS)}, found {self.name!r}")

    def switched_on(self, world: World) -> World:
        """Return the world in which the scenario happens: until its day as it was, row by row."""
        if self.name == "new_category":
            # The source has its code from the start, and no lead before its time.
            world = replace(world, sources=(*world.sources, replace(_SOCIAL, share=0.0)))
        return replace(world, change=Change(midnight(self.since), _CHANGES[self.name](world)))

    @classmethod
    def parse(cls, text: str) -> "Scenario":
        """Read `NAME@YYYY-MM-DD`.

        Raises
        ------
        ValueError
            If the text is none, or there is no such scenario.
        """
        name, _, since = text.partition("@")
        try:
            return cls(name, date.fromisoformat(since))
        except ValueError as error:
            raise ValueError(
                f"scenario: expected NAME@YYYY-MM-DD with one of {', '.join(SCENARIOS)}, found {text!r}"
            ) from error
