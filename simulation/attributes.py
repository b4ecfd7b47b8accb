"""Attributes: columns of leads beside those of the contract, with effects of known size on what leads do.

An attribute shifts the hidden intent or the hidden budget of a lead from its creation on, or the chance to win from a
later moment on. The CRM shows its values, and keeps a history of some of them; what it shows first may be wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from simulation.draws import Bools, Draws, Floats, Ints
from simulation.world import DAY, NEVER, day_of


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """An attribute of leads.

    Attributes
    ----------
    name : str
        The name that the mapping gives it.
    label : str
        The column of the CRM.
    kind : {"category", "number", "flag", "date", "choices"}
    matters : bool
        Whether it has an effect.
    history : bool
        Whether the CRM keeps a history of it.
    """

    name: str
    label: str
    kind: str
    matters: bool = True
    history: bool = False


ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute(name="industry", label="Industry", kind="category"),
    Attribute(name="country", label="Country", kind="category"),
    Attribute(name="landing_page", label="Landing Page", kind="category"),
    Attribute(name="campaign", label="Campaign", kind="category"),
    Attribute(name="job_title", label="Job Title", kind="category"),
    Attribute(name="employees", label="No. of Employees", kind="number", history=True),
    Attribute(name="revenue", label="Annual Revenue (EUR)", kind="number"),
    Attribute(name="size", label="Größe (m²)", kind="number"),
    Attribute(name="minutes", label="Minutes on Site", kind="number"),
    Attribute(name="newsletter", label="Newsletter", kind="flag"),
    Attribute(name="budget_approved", label="Budget approved?", kind="flag"),
    Attribute(name="desired_start", label="Desired Start", kind="date"),
    Attribute(name="founded", label="Gegründet am", kind="date"),
    Attribute(name="interests", label="Interests", kind="choices", history=True),
    Attribute(name="urgency", label="Q1: How urgent is it? (1-5)", kind="number"),
    Attribute(name="decides", label="Q2: Do you decide yourself?", kind="flag"),
    Attribute(name="price_range", label="Q3: Which budget do you have in mind?", kind="category"),
    Attribute(name="present_heating", label="Q4: What do you heat with today?", kind="category"),
    Attribute(name="sites", label="Q5: How many sites do you have?", kind="number", matters=False),
    Attribute(name="best_time", label="Best Time to call", kind="category"),
    Attribute(name="browser", label="Browser", kind="category", matters=False),
    Attribute(name="form_variant", label="Form Variant", kind="category", matters=False),
    Attribute(name="batch_number", label="Batch-Nr.", kind="number", matters=False),
    Attribute(name="price_list", label="Price List of", kind="date", matters=False),
)
"""The attributes, in the order of their columns."""

NEW_FIELD_DAYS = 200
"""Days from the start until the form asks for the best time to call."""

GROWTH_WIN, INTEREST_WIN = 1.2, 1.0
"""What a company that grows, and an interest that is added, add to the logit of the chance to win from then on."""

Effects = Mapping[str, tuple[float, float]]
"""By value: its relative frequency, and its effect."""

INDUSTRIES: Effects = {
    "Retail": (0.28, 0.0), "Construction": (0.20, 0.5), "Hospitality": (0.17, -0.5), "Health care": (0.15, 0.65),
    "Logistics": (0.13, -0.15), "Public sector": (0.07, -0.85),
}  # fmt: skip
COUNTRIES: Effects = {
    "Germany": (0.90, 0.0), "Austria": (0.05, 0.2), "Switzerland": (0.03, 0.7),
    **dict.fromkeys(
        ("France", "Italy", "Poland", "Spain", "Czechia", "Denmark", "Belgium", "Hungary", "Portugal", "Sweden"),
        (0.002, -0.9),
    ),
}  # fmt: skip
LANDING_PAGES: Effects = {
    f"/lp/{number + 1:02d}": ((number + 1) ** -1.1, 0.8 * float(np.sin(2.4 * (number + 1)))) for number in range(40)
}
JOB_TITLES: Effects = {
    "Owner": (0.3, 0.6), "Manager": (0.4, 0.2), "Assistant": (0.2, -0.2), "Other": (0.1, 0.1)
}  # fmt: skip
INTERESTS: Effects = {
    "Heating": (0.45, 0.15), "Solar": (0.35, 0.4), "Windows": (0.25, -0.15), "Insulation": (0.25, 0.0),
    "Storage": (0.15, 0.5), "Smart home": (0.15, -0.4), "Facade": (0.08, 0.0), "Roof": (0.05, -0.2),
    "Wallbox": (0.0, 0.0),
}  # fmt: skip
"""By option: how often it is named at creation, and its effect then. The last one is only ever added later."""
PRICE_RANGES: Effects = {
    "below 50,000": (0.2, -0.12), "50,000 to 150,000": (0.35, -0.04), "150,000 to 400,000": (0.3, 0.05),
    "more": (0.15, 0.14),
}  # fmt: skip
"""The effect is on the logarithm of the budget."""
HEATINGS: Effects = {
    "Gas": (0.45, 0.1), "Oil": (0.25, 0.45), "Heat pump": (0.1, -0.6), "Wood": (0.1, -0.1), "District": (0.1, -0.3)
}  # fmt: skip
BEST_TIMES: Effects = {
    "morning": (0.35, 0.25), "noon": (0.15, -0.1), "evening": (0.3, -0.25), "any": (0.2, 0.05)
}  # fmt: skip
BROWSERS: Effects = {
    "Chrome": (0.5, 0.0), "Safari": (0.25, 0.0), "Firefox": (0.12, 0.0), "Edge": (0.1, 0.0), "Opera": (0.03, 0.0)
}  # fmt: skip
_THEMES = ("Solar weeks", "Autumn check", "Cold feet", "Fair", "Neighbours", "Roof first", "Warm home")


@dataclass(frozen=True)
class Step:
    """What the CRM shows of an attribute from some moments on, one per lead.

    Attributes
    ----------
    since : array of int64
        Microseconds since 1970; `NEVER` if the lead has no such step.
    values : array
    missing : array of bool
    win : array of float
        What the logit of the chance to win gains from then on.
    """

    since: Ints
    values: npt.NDArray[np.generic]
    missing: Bools
    win: Floats


@dataclass(frozen=True)
class History:
    """The values and the effects of an attribute, for some leads.

    Attributes
    ----------
    steps : tuple of Step
        The first has the creation of the lead as its time.
    intent, budget : array of float
        What the lead's true value adds to the logit of the intent, and to the logarithm of the budget.
    """

    steps: tuple[Step, ...]
    intent: Floats
    budget: Floats


@dataclass(frozen=True)
class Lift:
    """What all attributes of some leads do.

    Attributes
    ----------
    intent, budget : array of float
        Shifts of the logit of the intent and of the logarithm of the budget.
    pushed_at : array of int64, shape (leads, pushes)
        When the chance to win changes.
    push : array of float, shape (leads, pushes)
        By how much, in logits.
    """

    intent: Floats
    budget: Floats
    pushed_at: Ints
    push: Floats

    @classmethod
    def none(cls, leads: int) -> "Lift":
        """Return that of leads without attributes."""
        return cls(np.zeros(leads), np.zeros(leads), np.empty((leads, 0), dtype=np.int64), np.empty((leads, 0)))

    @classmethod
    def of(cls, histories: Mapping[str, History], later: "Later") -> "Lift":
        """Return that of leads with attributes, and what happens to these later."""
        return cls(
            intent=np.sum([each.intent for each in histories.values()], axis=0),
            budget=np.sum([each.budget for each in histories.values()], axis=0),
            pushed_at=later.times,
            push=np.tile([GROWTH_WIN, INTEREST_WIN], (len(later.grown), 1)),
        )


@dataclass(frozen=True)
class Later:
    """What happens to the attributes of some leads after their creation and has an effect. `NEVER` stands for never.

    Attributes
    ----------
    grown, added : array of int64
        When the company has grown, and when the lead names another interest.
    """

    grown: Ints
    added: Ints

    @property
    def times(self) -> Ints:
        """One column each."""
        return np.stack([self.grown, self.added], axis=1)

    @classmethod
    def drawn(cls, created: Ints, draws: Draws) -> "Later":
        """Draw it."""
        rows = np.arange(len(created))

        def some(share: float, days: float) -> Ints:
            happens = draws.chance(rows, share)
            at = created - (days * np.log(draws.uniform(rows)) * DAY).astype(np.int64)
            return np.where(happens, at, NEVER)

        return cls(grown=some(0.35, 45.0), added=some(0.35, 25.0))


def attributes_of(numbers: Ints, created: Ints, start: int, seed: int) -> tuple[dict[str, History], Later]:
    """Return the attributes of some leads.

    Parameters
    ----------
    numbers, created : array of int64
        Number and creation of each lead.
    start : int
        The first day of the simulation, in microseconds since 1970.
    seed : int
        The seed of the simulation.

    Returns
    -------
    dict of str to History
        By the names in `ATTRIBUTES`.
    Later
        What happens later, which their later steps show.
    """
    rows = np.arange(len(numbers))
    later = Later.drawn(created, Draws(seed, "later attributes", numbers))
    found: dict[str, History] = {}
    nothing, never_missing = np.zeros(len(numbers)), np.zeros(len(numbers), dtype=np.bool_)

    def of(name: str) -> Draws:
        return Draws(seed, f"attribute {name}", numbers)

    def one_of(effects: Effects, draws: Draws) -> tuple[npt.NDArray[np.str_], Floats]:
        cumulative = np.cumsum([share for share, _ in effects.values()])
        code = np.searchsorted(cumulative / cumulative[-1], draws.uniform(rows), side="right")
        return np.array(list(effects))[code], np.array([effect for _, effect in effects.values()])[code]

    def add(
        name: str, values: npt.NDArray[np.generic], intent: Floats = nothing, budget: Floats = nothing, *,
        missing: Bools = never_missing, then: tuple[Step, ...] = (),
    ) -> None:  # fmt: skip
        found[name] = History((Step(created, values, missing, nothing), *then), intent, budget)

    # A seventh of the industries are wrong, until the rep finds out.
    draws = of("industry")
    industry, effect = one_of(INDUSTRIES, draws)
    wrong, _ = one_of(INDUSTRIES, draws)
    corrected = created + (draws.between(rows, 3.0, 40.0) * DAY).astype(np.int64)
    is_wrong = draws.chance(rows, 1.0 / 7.0) & (wrong != industry)
    correction = Step(np.where(is_wrong, corrected, NEVER), industry, never_missing, nothing)
    add("industry", np.where(is_wrong, wrong, industry), effect, then=(correction,))

    for name, effects in (("country", COUNTRIES), ("landing_page", LANDING_PAGES)):
        add(name, *one_of(effects, of(name)))

    # One starts each month, runs for three, and never comes again.
    draws = of("campaign")
    months = (created.astype("datetime64[us]")).astype("datetime64[M]").astype(np.int64)
    campaign = months - (draws.uniform(rows) * 3.0).astype(np.int64)
    by_campaign, missing = np.array([_campaign(int(each)) for each in campaign], dtype=np.str_), draws.chance(rows, 0.4)
    add("campaign", by_campaign, np.where(missing, 0.0, 0.5 * np.sin(1.7 * campaign)), missing=missing)

    # Who leaves the field empty wants less.
    draws = of("job_title")
    title, effect = one_of(JOB_TITLES, draws)
    missing = draws.chance(rows, 0.45)
    add("job_title", title, np.where(missing, -0.5, effect), missing=missing)

    draws = of("employees")
    spread = draws.normal(rows)
    employees = np.ceil(25.0 * np.exp(1.4 * spread)).astype(np.int64)
    grown = np.ceil(employees * (1.25 + draws.uniform(rows))).astype(np.int64)
    growth = Step(later.grown, grown, never_missing, np.full(len(rows), GROWTH_WIN))
    add("employees", employees, 0.35 * np.clip(spread, -2.5, 2.5), then=(growth,))
    # The database of companies that the CRM asks has a newer figure some time later, and the older one is gone.
    draws = of("revenue")
    revenue = np.round(90_000.0 * employees * np.exp(0.6 * draws.normal(rows)), -3)
    renewed = created + (draws.between(rows, 60.0, 300.0) * DAY).astype(np.int64)
    newer = np.round(revenue * draws.between(rows, 0.97, 1.12), -3)
    add(
        "revenue", revenue, budget=0.05 * np.clip(np.log(revenue / 2_250_000.0), -4.0, 4.0),
        then=(Step(renewed, newer, never_missing, nothing),),
    )  # fmt: skip
    spread = of("size").normal(rows)
    add("size", np.round(140.0 * np.exp(0.5 * spread), 1), 0.35 - 0.45 * np.abs(spread))
    draws = of("minutes")
    minutes = np.round(4.0 * np.exp(1.2 * draws.normal(rows)), 1) * ~draws.chance(rows, 0.25)
    add("minutes", minutes, 0.35 * np.log1p(minutes) - 0.45)

    newsletter = of("newsletter").chance(rows, 0.3)
    add("newsletter", np.where(newsletter, "yes", "no"), np.where(newsletter, 0.4, -0.15))
    approved = of("budget_approved").chance(rows, 0.25)
    add("budget_approved", approved, np.where(approved, 0.9, -0.3))

    draws = of("desired_start")
    ahead, missing = 60.0 * np.exp(0.9 * draws.normal(rows)), draws.chance(rows, 0.2)
    wanted = created.astype("datetime64[us]").astype("datetime64[D]") + ahead.astype(np.int64)
    add("desired_start", wanted, np.where(missing, -0.35, 0.9 * np.exp(-ahead / 45.0) - 0.25), missing=missing)
    age = 250.0 + 9_000.0 * of("founded").uniform(rows) ** 1.5
    founded = created.astype("datetime64[us]").astype("datetime64[D]") - age.astype(np.int64)
    add("founded", founded, np.where(age < 1_500.0, -0.4, 0.15))

    draws = of("interests")
    options, shares = np.array(list(INTERESTS)), np.array([share for share, _ in INTERESTS.values()])
    has = np.stack([draws.chance(rows, share) for share in shares], axis=1)
    effect = has @ np.array([effect for _, effect in INTERESTS.values()])
    # The first that the lead has not named, from a drawn place on.
    place = (draws.uniform(rows) * len(options)).astype(np.int64)
    order = (place[:, None] + np.arange(len(options))) % len(options)
    more = has.copy()
    more[rows, order[rows, np.argmin(has[rows[:, None], order], axis=1)]] = True
    added = Step(later.added, _joined(options, more), never_missing, np.full(len(rows), INTEREST_WIN))
    add("interests", _joined(options, has), effect - 0.3, missing=has.sum(axis=1) == 0, then=(added,))

    # All or nothing: who does not answer the questionnaire wants less.
    silent = of("questionnaire").chance(rows, 0.4)
    urgency = 1 + (of("urgency").uniform(rows) * 5.0).astype(np.int64)
    add("urgency", urgency, np.where(silent, -0.4, 0.35 * (urgency - 3)), missing=silent)
    decides = of("decides").chance(rows, 0.6)
    add("decides", decides, np.where(silent, 0.0, np.where(decides, 0.3, -0.4)), missing=silent)
    price, effect = one_of(PRICE_RANGES, of("price_range"))
    add("price_range", price, budget=np.where(silent, 0.0, effect), missing=silent)
    heating, effect = one_of(HEATINGS, of("present_heating"))
    add("present_heating", heating, np.where(silent, 0.0, effect), missing=silent)
    sites = 1 + np.floor(-1.5 * np.log(of("sites").uniform(rows))).astype(np.int64)
    add("sites", sites, missing=silent)

    best, effect = one_of(BEST_TIMES, of("best_time"))
    missing = created < start + NEW_FIELD_DAYS * DAY
    add("best_time", best, np.where(missing, 0.0, effect), missing=missing)

    add("browser", one_of(BROWSERS, of("browser"))[0])
    add("form_variant", np.where(of("form_variant").chance(rows, 0.5), "A", "B"))
    add("batch_number", (of("batch_number").uniform(rows) * 1e6).astype(np.int64))
    # It changes each quarter, for all.
    add("price_list", np.array([_quarter(int(each)) for each in created], dtype="datetime64[D]"))
    return {each.name: found[each.name] for each in ATTRIBUTES}, later


def shown(history: History, at: int) -> tuple[npt.NDArray[np.generic], Bools]:
    """Return the values that the CRM shows before a moment, and which are missing."""
    first = history.steps[0]
    values, missing = first.values, first.missing
    for step in history.steps[1:]:
        known = step.since < at
        values, missing = np.where(known, step.values, values), np.where(known, step.missing, missing)
    return values, missing


def mapping_lines() -> str:
    """Return what a mapping says of the attributes, below ``leads:``."""
    lines = ["    attributes:"]
    for each in ATTRIBUTES:
        at = ', at: ";"' if each.kind == "choices" else ""
        lines.append(f'      {each.name}: {{column: "{each.label}", type: {each.kind}{at}}}')
    return "\n".join(lines) + "\n"


def _joined(options: npt.NDArray[np.str_], has: Bools) -> npt.NDArray[np.str_]:
    return np.array(["; ".join(options[row]) for row in has], dtype=np.str_)


def _campaign(month: int) -> str:
    year, index = divmod(month, 12)
    return f"{_THEMES[month % len(_THEMES)]} {1970 + year}-{index + 1:02d}"


def _quarter(moment: int) -> str:
    day = day_of(moment)
    return date(day.year, 3 * ((day.month - 1) // 3) + 1, 1).isoformat()
