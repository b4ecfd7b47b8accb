"""Compare the expected outcomes of a census with the actual ones: simulated companies, and a real funnel.

No design choice was based on the five companies. Models score them at three clocks; each model learns from labels
matured by the clock, and is compared with the ninety days (for actions, seven) after it. *Before* is an earlier model:
without observations of silences, without weights, with a hundred trees. The companies are pooled, because the total of
one company varies by 6 to 8 % by chance.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.compiled import DATABASE, FAULTLESS, build, for_simulations
from benchmarks.measuring import Figure, Report, clean_environment, measured, table
from benchmarks.real_funnel import FUNNEL
from models.declared.registry import DECLARATIONS
from models.declaring.columns import AS_OF
from models.evaluation.census import NORMAL_95, NORMAL_99, totals
from models.learning.fitting import fit, predict
from models.learning.frames import feature_kinds, model_input
from models.learning.splitting import sample_weights
from models.tasks.measures import once
from models.tasks.task import Predictions
from simulation import simulate
from store.features.compiled import Build, in_order
from store.features.training_rows import census_in
from store.warehouse.warehouse import Warehouse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import pandas as pd

    from models.declaring.declaration import ModelDeclaration
    from store.warehouse.connection import Connection

SEEDS = (1009, 1013, 1019, 1021, 1031)
"""Seeds of companies on which no design choice was based."""
LEADS = 10_000
END = datetime(2026, 6, 30, tzinfo=UTC)
CLOCKS = (datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))
SILENCE = "days_since_last_fact"
BANDS = (0, 7, 28, 56, 112)

MOST_OFF = 0.1
"""Greatest difference of the expected total of a clock from the actual one, as a share of the actual one."""
SHARE_OF_ALL = 0.02
"""A smaller difference in a band, as a share of all outcomes of a clock, is ignored, whatever the interval says."""


ENOUGH = 20
"""Least rows of a band of the real funnel for its frequencies to be judged."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A census of one company at one clock, as a model scored it; `silence` is in days."""

    clock: datetime
    model: str
    silence: np.ndarray
    predictions: Predictions
    trivial: np.ndarray


def run() -> Report:
    """Score the companies, pool them, and run the real funnel."""
    scored = list(_companies())
    figures: list[Figure] = []
    details = [f"{len(SEEDS)} companies of {LEADS:,} leads, seeds {', '.join(map(str, SEEDS))}, pooled", ""]
    for clock in CLOCKS:
        figures += _conversion(clock, scored, details)
        figures += _actions(clock, scored, details)
    figures += _funnel(details)
    return Report(name="census", figures=figures, details=details)


def _companies() -> Iterator[Scored]:
    with tempfile.TemporaryDirectory(prefix="leadline-benchmark-") as folder:
        models = for_simulations(Path(folder), END)
        whole = Build(variables={"as_of": END.isoformat()}, models=in_order(models))
        for seed in SEEDS:
            export = Path(folder) / f"crm_{seed}"
            simulate(export, leads=LEADS, seed=seed, company=FAULTLESS, progress=False)
            (Path(folder) / f"{DATABASE}.duckdb").unlink(missing_ok=True)
            with Warehouse(address=f"duckdb:{Path(folder) / f'{DATABASE}.duckdb'}").connect() as connection:
                build(connection, export, models)
                yield from _of_company(connection, whole)


def _of_company(connection: Connection, whole: Build) -> Iterator[Scored]:
    for name in ("conversion", "next_best_action"):
        declared = DECLARATIONS[name]
        clocks = [_timestamp(each) for each in CLOCKS]
        with connection.scratch(f"census_{name}", whole.relations) as space:
            census = census_in(connection, space, whole, declared, clocks)
        success = ", labels.succeeded_at" if declared.success_weight != 1 else ""
        rows = connection.execute(
            f"select features.*, labels.{declared.label_column}{success} from features.lead_features as features "
            f"inner join labels.{declared.label} as labels using (lead_id, as_of) order by lead_id, as_of"
        ).df()
        for clock in clocks:
            known = rows[rows[AS_OF] + _days(declared.horizon_days) <= clock]
            open_leads = census[census[AS_OF] == clock]
            yield _scored(declared, name, known, open_leads, clock)
            if name == "conversion":
                before = replace(declared, estimator=_estimator_before, row_weight=None)
                yield _scored(before, "before", known[known["observation_kind"] != "silence"], open_leads, clock)


def _scored(
    declared: ModelDeclaration, model: str, known: pd.DataFrame, census: pd.DataFrame, clock: pd.Timestamp
) -> Scored:
    import numpy as np

    kinds = feature_kinds(known, declared.not_features)
    label = declared.task.cast(known[declared.label_column])
    fitted = fit(declared, model_input(known, kinds), label, sample_weights(known, declared, clock))
    truth = declared.task.truth(declared.task.cast(census[declared.label_column]))
    silence = census[SILENCE].to_numpy(dtype="float64")
    return Scored(
        clock=clock.to_pydatetime(),
        model=model,
        silence=silence,
        trivial=_trivial(
            _place(known[SILENCE].to_numpy(dtype="float64")),
            declared.task.truth(label),
            _place(silence),
            truth,
        ),
        predictions=Predictions(
            task=declared.task,
            truth=truth,
            predicted=predict(fitted, model_input(census, kinds), declared.task),
            group=np.arange(len(census)),
        ),
    )


def _trivial(known_band: np.ndarray, known: np.ndarray, band: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the log-loss of each row, predicted by the frequencies of its band of silence in the earlier rows."""
    import numpy as np

    # half a row is added to each outcome, so that no frequency is 0
    counts = np.full((len(BANDS), truth.max() + 1), 0.5)
    np.add.at(counts, (known_band, known), 1)
    return -np.log((counts / counts.sum(axis=1, keepdims=True))[band, truth])


def _place(silence: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.searchsorted(BANDS, silence, side="right") - 1


def _estimator_before() -> object:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        learning_rate=0.05, max_iter=100, max_leaf_nodes=7, min_samples_leaf=100, l2_regularization=1.0,
        max_features=0.3, early_stopping=False,
    )  # fmt: skip


def _pooled(scored: Sequence[Scored], model: str, clock: datetime) -> tuple[Predictions, np.ndarray]:
    import numpy as np

    matching = [each for each in scored if each.model == model and each.clock == clock]
    predictions = [each.predictions for each in matching]
    rows = sum(map(len, predictions))
    return (
        Predictions(
            task=predictions[0].task,
            truth=np.concatenate([each.truth for each in predictions]),
            predicted=np.concatenate([each.predicted for each in predictions]),
            group=np.arange(rows),
        ),
        _place(np.concatenate([each.silence for each in matching])),
    )


def _conversion(clock: datetime, scored: Sequence[Scored], details: list[str]) -> list[Figure]:
    now, band = _pooled(scored, "conversion", clock)
    before, _ = _pooled(scored, "before", clock)
    whole, whole_before = totals(now)[0], totals(before)[0]
    measures = {name: each.measured(once(each.groups)) for name, each in (("now", now), ("before", before))}
    lines = [("silent for", "leads", "expected", "before", "happened", "within", "")]
    beyond = 0
    for place in range(len(BANDS)):
        inside = band == place
        total, earlier = totals(now.rows(inside))[0], totals(before.rows(inside))[0]
        allowed = max((total.upper - total.lower) / 2 * NORMAL_99 / NORMAL_95, SHARE_OF_ALL * whole.actual)
        off = abs(total.expected - total.actual) > allowed
        beyond += off
        lines.append(
            (_band(place), f"{inside.sum():,}", f"{total.expected:,.1f}", f"{earlier.expected:,.1f}",
             f"{total.actual:,}", f"±{allowed:,.1f}", "OFF" if off else "")
        )  # fmt: skip
    lines.append(
        ("all", f"{len(now):,}", f"{whole.expected:,.1f}", f"{whole_before.expected:,.1f}", f"{whole.actual:,}", "", "")
    )
    details += [f"conversion, {clock:%Y-%m-%d}", *table(lines), ""]
    day = f"{clock:%Y-%m-%d}"
    return [
        Figure(name=f"{day}: total off, of what happened", value=abs(whole.expected / whole.actual - 1),
               bound=MOST_OFF, digits=3),
        Figure(name=f"{day}: total off, before", value=abs(whole_before.expected / whole.actual - 1), digits=3),
        Figure(name=f"{day}: bands of silence off beyond chance", value=beyond, bound=0, digits=0),
        Figure(name=f"{day}: census AUC", value=float(measures["now"]["auc"][0]),
               bound=float(measures["before"]["auc"][0]), digits=4, more_is_better=True),
        Figure(name=f"{day}: census log-loss", value=float(measures["now"]["log_loss"][0]),
               bound=float(measures["before"]["log_loss"][0]), digits=4),
    ]  # fmt: skip


def _actions(clock: datetime, scored: Sequence[Scored], details: list[str]) -> list[Figure]:
    import numpy as np

    actions, band = _pooled(scored, "next_best_action", clock)
    before = np.concatenate(
        [each.trivial for each in scored if (each.model, each.clock) == ("next_best_action", clock)]
    )
    lines = [("silent for", "leads", "log-loss", "of its own frequencies", "of those known before")]
    worse = {"its own frequencies": 0, "frequencies known before": 0}
    for place in range(len(BANDS)):
        inside = actions.rows(band == place)
        loss, own, known = (
            float(inside.losses().mean()),
            inside.task.trivial_loss(inside),
            float(before[band == place].mean()),
        )
        worse["its own frequencies"] += loss >= own
        worse["frequencies known before"] += loss >= known
        lines.append((_band(place), f"{len(inside):,}", f"{loss:.4f}", f"{own:.4f}", f"{known:.4f}"))
    details += [f"next_best_action, {clock:%Y-%m-%d}", *table(lines), ""]
    return [
        Figure(name=f"{clock:%Y-%m-%d}: bands in which actions are no better than {of}", value=bands, bound=0, digits=0)
        for of, bands in worse.items()
    ]


def _funnel(details: list[str]) -> list[Figure]:
    """Train on the real funnel as a user would, and show the censuses of its candidates."""
    if not FUNNEL.exists():
        details.append(f"real funnel: skipped, {FUNNEL.name} is not there, beside the repository")
        return []
    import duckdb

    with tempfile.TemporaryDirectory(prefix="leadline-benchmark-") as folder:
        home = Path(folder) / "home"
        measured(
            ("-m", "orchestration", "run"), clean_environment(home, LEADLINE_SOURCE=str(FUNNEL)),
            Path(folder) / "run.log",
        )  # fmt: skip
        with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
            censuses = dict(connection.execute("select model, census from ml.ml_models order by model").fetchall())
    figures: list[Figure] = []
    for model, text in censuses.items():
        figures += _of_funnel(model, json.loads(text), details)
    return figures


def _of_funnel(model: str, census: dict[str, Any], details: list[str]) -> list[Figure]:
    lines = [("by", "", "rows", "outcome", "expected", "happened", "99 % of the difference", "")]
    slices = [each for each in census["slices"] if each["column"] in (SILENCE, "lead_age_days")]
    happened = {total["outcome"]: total["actual"] for total in census["totals"]}
    beyond = worse = 0
    for each in slices:
        worse += each["rows"] >= ENOUGH and each["loss"] >= each["trivial_loss"]
        for total in each["totals"]:
            difference = total["expected"] - total["actual"]
            half = (total["upper"] - total["lower"]) / 2 * NORMAL_99 / NORMAL_95
            off = abs(difference) > max(half, SHARE_OF_ALL * happened[total["outcome"]])
            beyond += off
            lines.append(
                (each["column"], each["band"], f"{each['rows']:,}", total["outcome"], f"{total['expected']:,.1f}",
                 f"{total['actual']:,}", f"{difference - half:+.1f} to {difference + half:+.1f}", "OFF" if off else "")
            )  # fmt: skip
    details += [f"real funnel, {model}, clocks {', '.join(census['clocks'])}", *table(lines, left=2), ""]
    most = max(census["totals"], key=lambda total: abs(total["expected"] - total["actual"]))
    return [
        Figure(name=f"real funnel, {model}: total most off, of all", value=abs(most["expected"] - most["actual"])
               / sum(happened.values()), digits=3),
        Figure(name=f"real funnel, {model}: census log-loss", value=census["metrics"]["log_loss"]["value"],
               bound=census["trivial_loss"], digits=4),
        Figure(name=f"real funnel, {model}: bands of age and silence off beyond chance", value=beyond, bound=0,
               digits=0),
        Figure(name=f"real funnel, {model}: bands no better than their own frequencies", value=worse, bound=0,
               digits=0),
    ]  # fmt: skip


def _band(place: int) -> str:
    if place == len(BANDS) - 1:
        return f"{BANDS[place]} days and more"
    return f"{BANDS[place]} to {BANDS[place + 1] - 1} days"


def _timestamp(moment: datetime) -> pd.Timestamp:
    import pandas as pd

    return pd.Timestamp(moment)


def _days(days: int) -> pd.Timedelta:
    import pandas as pd

    return pd.Timedelta(days=days)
