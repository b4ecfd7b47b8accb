"""The setting of a simulation, which is stored with its truth and suffices to make it again."""

import json
from dataclasses import asdict, dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

from simulation.arrivals import Arrivals, arrive
from simulation.clientele import Clientele
from simulation.scenarios import CUSTOMER_SCENARIOS, Scenario
from simulation.world import Faults, Source, World, midnight

_FILE = Path("truth") / "simulation.json"
_SCENARIO_FILE = Path("truth") / "scenario.json"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The arguments of a simulation.

    Attributes
    ----------
    company : World
        The parameters, before a scenario changes them.
    leads : int
        How many leads arrive.
    start, end : date
        First day, and the day after the last.
    seed : int
        The seed.
    scenario : Scenario or None
        The change of the company.
    attributes : bool
        Whether leads have attributes.
    deals : bool
        Whether the CRM keeps histories of deals.
    customers : Clientele or None
        The parameters of the customers, before a scenario changes them; None for a company of which nobody asks.

    Raises
    ------
    ValueError
        If the scenario begins before the first day or after the last, or needs customers and there are none.
    """

    company: World
    leads: int
    start: date
    end: date
    seed: int
    scenario: Scenario | None = None
    attributes: bool = False
    deals: bool = False
    customers: Clientele | None = None

    def __post_init__(self) -> None:
        """Refuse a scenario that begins outside of the simulated time, or changes what is not simulated."""
        if self.scenario is not None and not self.start <= self.scenario.since < self.end:
            raise ValueError(
                f"scenario: expected a day from {self.start} on and before {self.end}, found {self.scenario.since}"
            )
        if self.scenario is not None and self.scenario.name in CUSTOMER_SCENARIOS and self.customers is None:
            raise ValueError(f"scenario: {self.scenario.name} expected customers, found none; simulate with customers")

    @cached_property
    def clientele(self) -> Clientele | None:
        """The parameters of the customers, with the scenario in them."""
        if self.customers is None or self.scenario is None:
            return self.customers
        return self.scenario.switched_on_for(self.customers)

    @cached_property
    def world(self) -> World:
        """The parameters, with the scenario in them."""
        return self.company if self.scenario is None else self.scenario.switched_on(self.company)

    @cached_property
    def arrivals(self) -> Arrivals:
        """When the leads arrive, and from where."""
        return arrive(self.world, self.leads, self.start, self.end, self.seed)

    @property
    def end_us(self) -> int:
        """The end, in microseconds since 1970."""
        return midnight(self.end)

    @property
    def attributes_from(self) -> int | None:
        """The first day, in microseconds since 1970, if leads have attributes."""
        return midnight(self.start) if self.attributes else None

    def save(self, export: Path) -> None:
        """Write `truth/simulation.json`, and `truth/scenario.json` if there is one."""
        content = {
            "seed": self.seed,
            "leads": self.leads,
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "company": asdict(self.company),
            # only where they are on: other exports stay as they were
            **{name: True for name in ("attributes", "deals") if getattr(self, name)},
            **({} if self.customers is None else {"customers": asdict(self.customers)}),
        }
        (export / _FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        if self.scenario is not None:
            scenario = {"name": self.scenario.name, "since": self.scenario.since.isoformat()}
            (export / _SCENARIO_FILE).write_text(json.dumps(scenario, indent=2) + "\n", encoding="utf-8")

    @staticmethod
    def is_in(export: Path) -> bool:
        """Say whether a folder is a simulation, whose setting was stored."""
        return (export / _FILE).is_file()

    @classmethod
    def load(cls, export: Path) -> "Setting":
        """Read the setting of an export.

        Raises
        ------
        FileNotFoundError
            If the folder is no simulation, or one that was made before settings were stored.
        """
        if not cls.is_in(export):
            raise FileNotFoundError(f"{export}: expected a simulation with {_FILE}, found none; simulate it again")
        content = json.loads((export / _FILE).read_text(encoding="utf-8"))
        company = content["company"]
        sources = tuple(
            Source(**source | {"hours": tuple(source["hours"]), "weekdays": tuple(source["weekdays"])})
            for source in company["sources"]
        )
        parameters = company | {
            "sources": sources,
            "faults": Faults(**company["faults"]),
            "season": tuple(company["season"]),
            "unrecorded": tuple(company["unrecorded"]),
        }
        scenario = None
        if (export / _SCENARIO_FILE).is_file():
            written = json.loads((export / _SCENARIO_FILE).read_text(encoding="utf-8"))
            scenario = Scenario(written["name"], date.fromisoformat(written["since"]))
        return cls(
            company=World(**parameters),
            leads=content["leads"],
            start=date.fromisoformat(content["start"]),
            end=date.fromisoformat(content["end"]),
            seed=content["seed"],
            scenario=scenario,
            attributes=content.get("attributes", False),
            deals=content.get("deals", False),
            customers=Clientele.read(content["customers"]) if "customers" in content else None,
        )
