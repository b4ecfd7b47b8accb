"""A company's history up to a clock, and the same history in which what came after a moment is another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from models.evaluation.census import census_clocks
from models.learning.splitting import temporal_split

if TYPE_CHECKING:
    from models.declaring.declaration import ModelDeclaration

START = pd.Timestamp("2024-01-01", tz="UTC")
CLOCK = START + pd.Timedelta(days=730)
LEADS = 300
OBSERVED_AFTER = (1, 4, 11, 25, 53, 109, 221)
"""Days from the creation of a lead to its observations, give or take two."""

SOURCES = ("web", "referral", "event", *(f"list {number}" for number in range(12)))
"""The last twelve are rare."""


@dataclass(frozen=True, kw_only=True)
class History:
    """What a model learns from and what it is measured on.

    Attributes
    ----------
    declaration : ModelDeclaration
    cut : Timestamp
        The creation of the first held-out lead: the moment at which the measured pipeline could have been made.
    rows, census : DataFrame
        As `models.training.training_set.freeze` takes them.
    """

    declaration: ModelDeclaration
    cut: pd.Timestamp
    rows: pd.DataFrame
    census: pd.DataFrame

    @property
    def known(self) -> np.ndarray:
        """Say of each row whether its lead had come by the cut and its label had matured."""
        matures_at = self.rows["as_of"] + pd.Timedelta(days=self.declaration.horizon_days)
        return ((self.rows["lead_created_at"] < self.cut) & (matures_at <= self.cut)).to_numpy()


def history(declaration: ModelDeclaration) -> History:
    """Return two years, in which busy leads are won more often and the source decides what is done next."""
    rng = np.random.default_rng(1)
    created = START + pd.to_timedelta(np.sort(rng.uniform(0, 600, LEADS)), unit="D").floor("s")
    busy = rng.normal(size=LEADS)
    won_at = pd.Series(created + pd.to_timedelta(rng.uniform(10, 150, LEADS), unit="D"))
    won_at = won_at.where((rng.random(LEADS) < 1 / (1 + np.exp(-3 * busy))) & (won_at <= CLOCK))

    def observed(lead: np.ndarray, as_of: pd.DatetimeIndex) -> pd.DataFrame:
        rows = pd.DataFrame(
            {
                "lead_id": [f"L{number:04d}" for number in lead],
                "as_of": as_of,
                "observation_kind": "activity",
                "lead_created_at": created[lead],
                "assigned_to": rng.choice(["Ada", "Bo", "Cy"], len(lead)),
                **features(rng, len(lead), busy[lead]),
                "succeeded_at": won_at[lead].to_numpy(),
            }
        )
        rows = rows.assign(
            # columns that the company began to use late
            is_partner=rows["is_partner"].where(as_of > START + pd.Timedelta(days=650)),
            campaign=rows["campaign"].where(as_of > START + pd.Timedelta(days=650)),
            currency=rows["currency"].where(as_of > START + pd.Timedelta(days=650), 1.0),
        )
        ends = rows["as_of"] + pd.Timedelta(days=declaration.horizon_days)
        rows[declaration.label_column] = outcomes(rng, rows, declaration, rows["succeeded_at"] < ends)
        is_open = (rows["lead_created_at"] < rows["as_of"]) & ~(rows["succeeded_at"] <= rows["as_of"])
        return rows[is_open & (ends <= CLOCK)].reset_index(drop=True)

    lead = np.repeat(np.arange(LEADS), len(OBSERVED_AFTER))
    days = np.tile(OBSERVED_AFTER, LEADS) + rng.integers(0, 3, len(lead))
    rows = observed(lead, (created[lead] + pd.to_timedelta(days, unit="D")).normalize())
    cut = temporal_split(rows, declaration).cut
    clocks = census_clocks(cut, CLOCK, declaration.horizon_days)
    census = observed(np.tile(np.arange(LEADS), len(clocks)), pd.DatetimeIndex(np.repeat(clocks, LEADS)))
    census = census.drop(columns="succeeded_at").assign(value=rng.uniform(1_000, 9_000, len(census)))
    return History(declaration=declaration, cut=cut, rows=rows, census=census)


def features(rng: np.random.Generator, rows: int, busy: np.ndarray) -> dict[str, Any]:
    """Return features as a CRM has them: counts, sums with outliers, gaps, rare texts, columns that say nothing."""
    gaps = rng.random((rows, 2)) < (0.3, 0.6)
    return {
        "calls_count_7d": rng.poisson(np.exp(0.8 * busy)).astype(float),
        "days_since_last_fact": np.round(rng.exponential(20, rows), 1),
        "lead_age_days": np.round(rng.uniform(0, 300, rows), 1),
        "property_value": np.where(gaps[:, 0], np.nan, np.round(rng.lognormal(12, 1, rows))),
        "answer_hours": np.where(gaps[:, 1], np.nan, rng.exponential(5, rows) - busy),
        "noise_days": rng.normal(size=rows),
        "lead_source": rng.choice(SOURCES, rows, p=[0.4, 0.2, 0.16, *[0.02] * 12]).astype(object),
        "zip_prefix": np.where(rng.random(rows) < 0.1, None, rng.integers(100, 140, rows).astype(str)),
        "is_partner": pd.array(rng.random(rows) < 0.5, dtype="boolean"),
        "campaign": rng.choice(["spring", "autumn"], rows).astype(object),
        "currency": rng.integers(1, 4, rows).astype(float),
        "always_one": np.ones(rows),
    }


def outcomes(rng: np.random.Generator, rows: pd.DataFrame, declaration: ModelDeclaration, won: pd.Series) -> pd.Series:
    """Return labels: whether a lead was won, or what was done next."""
    if declaration.task.name == "binary":
        return won.astype("int64")
    call, email, _, proposal, nothing = declaration.outcomes
    usual = rows["lead_source"].map({"web": call, "referral": proposal, "event": nothing}).fillna(email)
    return usual.where(rng.random(len(rows)) < 0.8, nothing)


def with_other_rows(base: History) -> History:
    """Change every row that was not known at the cut, add and remove such rows, and replace the leads that came later.

    As many leads are held out, from the same moment on, for it is they who say where the cut lies. Whom a lead is
    assigned to is the rep of today, so it changes everywhere.
    """
    rng = np.random.default_rng(2)
    rows = _with_later_successes(base, rng).assign(assigned_to=rng.choice(["Di", "Ed"], len(base.rows)))
    known = rows[base.known]
    later = rows[~base.known].copy()
    came = later["lead_created_at"] >= base.cut
    # sooner than they did, under names that come before or after all others
    sooner = base.cut + (later["lead_created_at"] - base.cut) / 2
    later["lead_created_at"] = later["lead_created_at"].where(~came, sooner)
    renamed = later["lead_id"].str[1:].astype(int).map(lambda number: f"{'AZ'[number % 2]}{number:04d}")
    later["lead_id"] = later["lead_id"].where(~came, renamed)
    added = later.assign(as_of=later["as_of"] + pd.Timedelta(hours=12))
    matures_at = added["as_of"] + pd.Timedelta(days=base.declaration.horizon_days)
    added = added[(matures_at <= CLOCK) & (rng.random(len(added)) < 0.3)]
    # one row of each lead stays, for as many leads decide which are held out
    stays = ~later.duplicated("lead_id") | (rng.random(len(later)) < 0.6)
    later = _strange(pd.concat([later[stays], added], ignore_index=True), base.declaration, rng)
    return replace(base, rows=pd.concat([later, known], ignore_index=True))


def with_other_outcomes(base: History) -> History:
    """Change outcomes and successes that were not known at the cut, of rows and census alike, and no feature."""
    rng = np.random.default_rng(3)
    rows, census = _with_later_successes(base, rng), base.census.copy()
    name = base.declaration.label_column
    rows[name] = rows[name].where(base.known, _others(rows[name], base.declaration, rng))
    census[name] = _others(census[name], base.declaration, rng)
    return replace(base, rows=rows, census=census)


def with_another_census(base: History) -> History:
    """Change the census alone: its clocks, leads, features, outcomes and values."""
    rng = np.random.default_rng(4)
    census = base.census[rng.random(len(base.census)) < 0.7].reset_index(drop=True)
    first = census["as_of"].min()
    census["as_of"] = census["as_of"].where(census["as_of"] == first, census["as_of"] - pd.Timedelta(days=1))
    census = _strange(census, base.declaration, rng).assign(value=rng.uniform(1, 10, len(census)))
    return replace(base, census=census)


def _with_later_successes(base: History, rng: np.random.Generator) -> pd.DataFrame:
    """Let leads succeed at other times from the cut on, or not at all, where no success was known at the cut."""
    rows = base.rows.copy()
    times = base.cut + pd.to_timedelta(rng.choice([0, 40, 150, 300], len(rows)), unit="D")
    others = pd.Series(times, index=rows.index).where(rng.random(len(rows)) < 0.7)
    rows["succeeded_at"] = rows["succeeded_at"].where(rows["succeeded_at"] < base.cut, others)
    return rows


def _others(label: pd.Series, declaration: ModelDeclaration, rng: np.random.Generator) -> pd.Series:
    """Return other outcomes: also classes that had never occurred."""
    if declaration.task.name == "binary":
        return (1 - label).where(rng.random(len(label)) < 0.7, label)
    return pd.Series(rng.choice(declaration.outcomes, len(label)), index=label.index)


def _strange(rows: pd.DataFrame, declaration: ModelDeclaration, rng: np.random.Generator) -> pd.DataFrame:
    """Return rows with other values in every feature, also nulls, new categories and other outcomes."""
    changed = {}
    for name in features(rng, 1, np.zeros(1)):
        if not pd.api.types.is_numeric_dtype(rows[name].dtype):
            values = rng.choice(["new 1", "new 2", "list 1", None], len(rows), p=[0.4, 0.2, 0.3, 0.1]).astype(object)
        elif pd.api.types.is_bool_dtype(rows[name].dtype):
            values = pd.array(rng.random(len(rows)) < 0.5, dtype="boolean")
        elif name == "days_since_last_fact":
            values = 400 + 10 * rows[name]
        else:
            values = 1_000 - 50 * rows[name].fillna(rng.normal(3))
            values = values.where(rng.random(len(rows)) < 0.8)
        changed[name] = values
    changed[declaration.label_column] = _others(rows[declaration.label_column], declaration, rng)
    return rows.assign(**changed)
