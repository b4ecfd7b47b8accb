"""Count which columns that are filled after the creation of a lead are told from those that are filled with it.

Leads arrive over 18 months. What is known of them at their creation decides whether and when they are won or lost, and
the columns that a CRM fills or overwrites later follow from that.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pandas as pd

from benchmarks.measuring import Figure, Report, table
from models.decisions.known_since import known_since
from store.source.attributes.known_since import measure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.declaring.attribute import AttributeKind

CLOCK = datetime(2026, 6, 30, tzinfo=UTC)
DAYS = 540
SIZES = (600, 2_000, 10_000)
SEEDS = tuple(range(1, 21))

Column = tuple["AttributeKind", "np.ndarray[Any, Any]"]


class Leads:
    """Leads with attributes of their creation, and with columns that were filled later."""

    def __init__(self, size: int, seed: int, pace: float = 1.0) -> None:
        draw = np.random.default_rng([seed, size])
        self.draw, self.size, self.slow = draw, size, pace
        self.age = np.sort(draw.uniform(0, DAYS, size))
        self.day = DAYS - self.age
        self.nothing = np.full(size, None, dtype=object)
        self.true: dict[str, Column] = {}
        self._attributes()
        self._outcomes()
        self.later: dict[str, Column] = {}
        self._filled_later()

    def _category(self, words: list[str], shares: list[float]) -> np.ndarray[Any, Any]:
        return self.draw.choice(np.array(words, dtype=object), self.size, p=np.array(shares) / sum(shares))

    def _attributes(self) -> None:
        draw, size, day = self.draw, self.size, self.day
        page = self._category(list("ABCDEF"), [30, 25, 20, 12, 8, 5])
        industry = self._category(["retail", "health", "building", "law", "food", "metal", "other"],
                                  [25, 20, 15, 12, 10, 10, 8])  # fmt: skip
        employees = np.round(np.exp(draw.normal(3, 1.6, size)))
        budget = np.round(np.exp(draw.normal(10, 1, size)), -2)
        no_budget = draw.random(size) < 0.4
        urgent = draw.random(size) < 0.3
        score = draw.normal(0, 1, size)
        fading = self._category(["yes", "no"], [40, 60])
        interests = [draw.random(size) < p for p in (0.5, 0.4, 0.25, 0.1)]
        # campaigns come and go: each has a window, and leads of no campaign have no value
        campaign = np.full(size, None, dtype=object)
        start, number = draw.uniform(-60, 20), 0
        while start < DAYS:
            end = start + draw.uniform(30, 110)
            campaign[(day >= start) & (day < end) & (draw.random(size) < draw.uniform(0.2, 0.6))] = f"campaign {number}"
            start, number = end + draw.uniform(-30, 40), number + 1
        field_day = draw.uniform(100, 480)
        trend = draw.random(size) < 0.2 + 0.4 * day / DAYS
        switched = np.where(day < draw.uniform(60, 480), "form v1", "form v2").astype(object)
        season = np.where(draw.random(size) < 0.5 + 0.3 * np.sin(2 * np.pi * day / 365), "garden", "house")
        planned = self.day + draw.uniform(20, 300, size)
        self.logit = (
            -1.0
            + 0.9 * np.select([page == "A", page == "B", page == "F"], [1.0, -1.0, 1.5], 0.0)
            + 0.5 * np.isin(industry, ["health", "law"])
            + 0.3 * (np.log(employees + 1) - 3)
            - 0.9 * no_budget + 0.4 * np.where(no_budget, 0, np.log(budget) - 10)
            + 0.8 * urgent + 1.5 * score
            + 1.2 * (fading == "yes") * (1 - day / DAYS)
            + 0.7 * interests[0] - 0.8 * interests[2] + 0.8 * (campaign == "campaign 2")
        )  # fmt: skip
        self.pace = np.exp(-0.6 * urgent - 0.4 * (industry == "retail") + 0.3 * (page == "C") - 0.3 * (score > 1))
        names = ("roof", "heat", "solar", "pump")
        self.true = {
            "landing page": ("category", page),
            "industry": ("category", industry),
            "employees": ("number", _texts(employees)),
            "budget": ("number", np.where(no_budget, self.nothing, _texts(budget))),
            "urgent": ("flag", np.where(urgent, "true", "false")),
            "questionnaire": ("number", _texts(np.round(score, 2))),
            "fading effect": ("category", fading),
            "interests": (
                "choices",
                np.array(
                    ["; ".join(sorted(n for n, has in zip(names, each, strict=True) if has)) or None
                     for each in zip(*interests, strict=True)],
                    dtype=object,
                ),
            ),
            "campaign": ("category", campaign),
            "new form field": (
                "category",
                np.where(
                    (day > field_day) & (draw.random(size) < 0.9), self._category(["x", "y"], [1, 1]), self.nothing
                ),
            ),
            "trend": ("flag", np.where(trend, "true", "false")),
            "form": ("category", switched),
            "season": ("category", season),
            "planned date": ("date", _moments(planned)),
            "founded": ("date", _moments(-np.minimum(np.exp(draw.normal(8, 0.8, size)), 70_000))),
            "noise": ("category", self._category(list("KLMN"), [1, 1, 1, 1])),
            "heavy noise": ("number", _texts(np.round(draw.pareto(1.1, size) * 100))),
            "rare": ("category", np.where(draw.random(size) < 0.06, "voucher", self.nothing)),
        }  # fmt: skip

    def _outcomes(self) -> None:
        draw, size = self.draw, self.size
        wins = draw.random(size) < 1 / (1 + np.exp(-self.logit))
        ends = draw.random(size) < 0.85
        takes = np.exp(draw.normal(np.where(wins, np.log(55), np.log(40)), 0.8)) * self.pace * self.slow
        self.closed = ends & (takes < self.age)
        self.takes = np.where(self.closed, takes, np.inf)
        self.won, self.lost = self.closed & wins, self.closed & ~wins
        self.closed_day = np.where(self.closed, self.day + np.where(self.closed, takes, 0), np.nan)
        # how far it has got: the stage that it had reached by now
        self.lasted = np.minimum(self.takes, self.age)
        self.progress = np.clip(self.lasted / np.where(ends, takes, 400) + draw.normal(0, 0.1, size), 0, 1)
        self.wins = wins

    def _filled_later(self) -> None:
        draw, size, won, lost, closed = self.draw, self.size, self.won, self.lost, self.closed
        nothing = self.nothing
        reason = self._category(["price", "timing", "no answer", "competitor"], [3, 2, 3, 2])
        product = self._category(["P1", "P2", "P3", "P4"], [1, 1, 1, 1])
        rewritten = closed & (draw.random(size) < 0.3)
        rated = (self.lasted > 14 + draw.exponential(20, size)) & (draw.random(size) < 0.9)
        activities = draw.poisson(1 + self.lasted / 8 + 2 * won)
        last = self.day + np.maximum(0, np.minimum(self.lasted, self.age) - draw.exponential(6, size))
        qualified_after = draw.exponential(15, size)
        qualified = (qualified_after < self.age) & ((qualified_after < self.lasted) | closed)
        answered = won & (draw.random(size) < 0.4) & (self.age > self.takes + 5)
        stage = np.select([won, lost, self.progress > 0.6, self.progress > 0.25],
                          ["customer", "lost", "opportunity", "qualified"], "lead").astype(object)  # fmt: skip
        self.later = {
            "lost reason": ("category", np.where(lost, reason, nothing)),
            "won amount": ("number", np.where(won, _texts(np.round(np.exp(draw.normal(9, 1, size)))), "0.0")),
            "customer": ("flag", np.where(won, "true", "false")),
            "contract": ("category", np.where(won, np.array([f"C-{n}" for n in range(size)], dtype=object), nothing)),
            "rating": (
                "category",
                np.where(rated, np.where(self.wins ^ (draw.random(size) < 0.25), "hot", "cold"), nothing),
            ),
            "activities": ("number", _texts(activities.astype(float))),
            "last activity": ("date", _moments(np.minimum(last, DAYS))),
            "lifecycle stage": ("category", stage),
            "overwritten 30 %": ("category", np.where(rewritten, "P1", product)),
            "by outcome 30 %": ("category", np.where(rewritten, np.where(won, "P1", "P2"), product)),
            "default replaced": ("category", np.where(qualified, product, "to be qualified")),
            "nulled after loss": ("category", np.where(lost & (draw.random(size) < 0.8), nothing, product)),
            "satisfaction": ("number", np.where(answered, _texts(draw.integers(5, 11, size).astype(float)), nothing)),
            "closing date": ("date", np.where(closed, _moments(np.where(closed, self.closed_day, 0.0)), nothing)),
            "enriched": ("category", np.where((self.age > 20) & (draw.random(size) < 0.85), product, nothing)),
            "follow-up date": (
                "date",
                np.where(closed, nothing, _moments(DAYS + draw.uniform(-3, 20, size))),
            ),
            "emptied when closed": (
                "flag",
                np.where(closed, nothing, np.where(draw.random(size) < 0.5, "true", "false")),
            ),
        }

    def frame(self) -> pd.DataFrame:
        """Return a row per lead, with the columns ``c0``, …."""
        columns = {f"c{place}": values for place, (_, values) in enumerate({**self.true, **self.later}.values())}
        closed_at = pd.Series(pd.NaT, index=range(self.size), dtype="datetime64[ns, UTC]")
        closed_at[self.closed] = _times(self.closed_day[self.closed])
        return pd.DataFrame({"created_at": _times(self.day), "closed_at": closed_at, **columns})


def _texts(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.array([str(float(each)) for each in values], dtype=object)


def _times(days: np.ndarray[Any, Any]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(pd.Timestamp(CLOCK) + pd.to_timedelta(np.asarray(days) - DAYS, unit="D"))


def _moments(days: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.array(_times(days).strftime("%Y-%m-%dT%H:%M:%S.%fZ"), dtype=object)


def answers(size: int, seed: int, pace: float = 1.0) -> dict[str, tuple[bool, str, str]]:
    """Return by column whether it was filled later, what is said of it, and why."""
    leads = Leads(size, seed, pace)
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.register("leads", leads.frame())
        found: dict[str, tuple[bool, str, str]] = {}
        for place, (name, (kind, _)) in enumerate({**leads.true, **leads.later}.items()):
            evidence = measure(connection, "leads", kind=kind, clock=CLOCK, value=f"c{place}")
            found[name] = (name in leads.later, *known_since(evidence))
        return found


def said(known: str, why: str) -> str:
    """Return the class of an answer: creation, found, or too few."""
    if known == "creation":
        return known
    return "too few" if why.startswith(("only", "too few", "the leads")) else "found"


def run(sizes: tuple[int, ...] = SIZES, seeds: tuple[int, ...] = SEEDS) -> Report:
    """Count the answers by column and size."""
    counted: dict[tuple[bool, str, int], dict[str, int]] = {}
    for size in sizes:
        for seed in seeds:
            for name, (later, known, why) in answers(size, seed).items():
                of = counted.setdefault((later, name, size), {"creation": 0, "found": 0, "too few": 0})
                of[said(known, why)] += 1
    rows: list[tuple[str, ...]] = [("column", *(f"{size:,} leads" for size in sizes))]
    names: Mapping[tuple[bool, str], None] = {(later, name): None for later, name, _ in counted}
    for later, name in names:
        each = [counted[later, name, size] for size in sizes]
        rows.append(
            (
                f"{'later: ' if later else ''}{name}",
                *(f"{one['creation']} / {one['found']} / {one['too few']}" for one in each),
            )
        )
    missed = sum(of["creation"] for (later, _, _), of in counted.items() if later)
    false = sum(of["found"] for (later, _, _), of in counted.items() if not later)
    return Report(
        name="known_since",
        figures=[
            Figure(name="columns filled later that count from the creation", value=missed, digits=0),
            Figure(name="columns of the creation said to be filled later", value=false, bound=0, digits=0),
        ],
        details=["answers: creation / found to be filled later / too few leads to tell", *table(rows)],
    )
