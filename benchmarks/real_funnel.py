"""A real sales funnel: check that every label is right, and that the models are better than plain ones.

The funnel, its decision points and the script that scores predictions are no part of the project: they lie beside the
repository. If they are missing, this benchmark is skipped.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measuring import REPOSITORY, Figure, MeasurementError, Report, clean_environment, measured
from models.declared.registry import DECLARATIONS

if TYPE_CHECKING:
    from collections.abc import Hashable

    import pandas as pd

    from models.declaring.declaration import ModelDeclaration

DATA = REPOSITORY.parent / "shared" / "data"
FUNNEL = DATA / "bpi2012_crm"
REFERENCE = DATA / "bpi2012_reference.csv"
SCORER = DATA / "score_reference.py"
SCORED_ACTIONS = ("call_immediate", "no_action", "schedule_appointment", "send_proposal")
"""The funnel has no e-mails."""
SILENCE = "silence"
HORIZON_DAYS = {"conversion": 30, "next_best_action": 7}
"""The horizons of the reference."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A label of the reference, the model that predicts it, and the best figures of two plain models.

    Attributes
    ----------
    model : str
    label : str
        Column of the reference; empty in rows whose label has not matured.
    split : str
        Column of the reference that holds ``train`` and ``test``.
    figures : sequence of tuple
        Name in the scorer's output, the better value of two feature sets with one untuned model each, its digits, and
        whether more is better.
    """

    model: str
    label: str
    split: str
    figures: tuple[tuple[str, float, int, bool], ...]


TARGETS = (
    Target(
        model="conversion",
        label="won_30d",
        split="conversion_split",
        figures=(
            ("AUC", 0.766, 3, True),
            ("PR-AUC", 0.604, 3, True),
            ("Brier", 0.1796, 4, False),
            ("ECE10", 0.050, 3, False),
        ),
    ),
    Target(
        model="next_best_action",
        label="next_action_7d",
        split="action_split",
        figures=(
            ("accuracy", 0.675, 3, True),
            ("weighted F1", 0.607, 3, True),
            ("macro F1", 0.319, 3, True),
            ("macro AUC", 0.778, 3, True),
            ("log-loss", 0.777, 3, False),
        ),
    ),
)


def run() -> Report:
    """Build the feature store of the funnel, compare it with the reference, train, predict and score."""
    missing = [path.name for path in (FUNNEL, REFERENCE, SCORER) if not path.exists()]
    if missing:
        return Report(name="real_funnel", skipped=f"{', '.join(missing)} is not there, beside the repository")
    with tempfile.TemporaryDirectory(prefix="leadline-benchmark-") as folder:
        home = Path(folder) / "home"
        # this job trains nothing; only its extraction, features and labels are needed
        measured(
            ("-m", "orchestration", "run", "--job", "score_leads"),
            clean_environment(home, LEADLINE_SOURCE=str(FUNNEL)),
            Path(folder) / "run.log",
        )
        features, labels = feature_store(home / "warehouse.duckdb")
    reference = read_reference(REFERENCE)
    points = features[features["observation_kind"] != SILENCE]
    figures, details = decision_points(points, reference)
    for target in TARGETS:
        expected = reference.dropna(subset=[target.label]).set_index(["lead_id", "as_of"])[target.label]
        found = labels[target.model].loc[labels[target.model].index.intersection(points.index)]
        wrong = len(disagreements(found, expected))
        details.append(f"labels of {target.model}: {len(found):,} here, {len(expected):,} in the reference")
        figures.append(Figure(name=f"labels of {target.model} that differ", value=wrong, bound=0, digits=0))
    for target in TARGETS:
        declared = DECLARATIONS[target.model]
        line = scored(predictions(declared, features, labels[target.model], reference, target))
        details.append(line)
        figures += compared(line, target)
    return Report(name="real_funnel", figures=figures, details=details)


def feature_store(warehouse: Path) -> tuple[pd.DataFrame, dict[str, pd.Series]]:
    """Read the features of the observations before the clock, and the labels by model, indexed by lead and time."""
    import duckdb

    with duckdb.connect(str(warehouse), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        features = connection.execute(
            "select * from features.lead_features where observation_kind <> 'clock' order by lead_id, as_of"
        ).df()
        labels = {}
        for target in TARGETS:
            declared = DECLARATIONS[target.model]
            labels[target.model] = (
                connection.execute(f"select lead_id, as_of, {declared.label_column} from labels.{declared.label}")
                .df()
                .set_index(["lead_id", "as_of"])[declared.label_column]
            )
    return features.set_index(["lead_id", "as_of"], drop=False), labels


def read_reference(path: Path) -> pd.DataFrame:
    """Read the reference, with times in UTC."""
    import pandas as pd

    reference = pd.read_csv(path, dtype={"lead_id": str})
    return reference.assign(as_of=pd.to_datetime(reference["as_of"], utc=True, format="ISO8601").dt.as_unit("us"))


def decision_points(features: pd.DataFrame, reference: pd.DataFrame) -> tuple[list[Figure], list[str]]:
    """Compare the decision points with those of the reference."""
    ours, theirs = set(features.index), set(zip(reference["lead_id"], reference["as_of"], strict=True))
    details = [f"decision points: {len(ours):,} here, {len(theirs):,} in the reference"]
    details += [f"  only here: {lead} {as_of:%Y-%m-%d %H:%M}" for lead, as_of in sorted(ours - theirs)[:3]]
    details += [f"  only in the reference: {lead} {as_of:%Y-%m-%d %H:%M}" for lead, as_of in sorted(theirs - ours)[:3]]
    return [Figure(name="decision points that differ", value=len(ours ^ theirs), bound=0, digits=0)], details


def disagreements(ours: pd.Series, theirs: pd.Series) -> list[Hashable]:
    """Return the keys that only one of two label series has, or whose values differ."""
    left, right = ours.to_dict(), theirs.to_dict()
    return [key for key in {*left, *right} if key not in left or key not in right or left[key] != right[key]]


def predictions(
    declared: ModelDeclaration, features: pd.DataFrame, labels: pd.Series, reference: pd.DataFrame, target: Target
) -> pd.DataFrame:
    """Train a declared model on the train rows of the reference and on silences, and predict the test rows.

    The reference has no observations of long silences, but a real training has them. So those are added that belong to
    leads created before the first lead of the test rows, and whose label had matured by then. Rows are weighted as
    declared.

    Returns
    -------
    DataFrame
        The columns that the scorer reads: lead_id, as_of, and ``p`` or one column per action.
    """
    import pandas as pd

    from models.learning.fitting import fit, predict
    from models.learning.frames import feature_kinds, model_input
    from models.learning.splitting import row_weights

    rows = reference[reference[target.split].notna()].set_index(["lead_id", "as_of"])
    horizon = pd.Timedelta(days=HORIZON_DAYS[target.model])
    test = features.loc[rows.index[rows[target.split] == "test"]]
    first = test["lead_created_at"].min()
    silent = features["observation_kind"] == SILENCE
    of_that_time = (features["lead_created_at"] < first) & (features["as_of"] + horizon <= first)
    silences = features.index[silent & of_that_time].intersection(labels.index)
    train = features.loc[rows.index[rows[target.split] == "train"].append(silences)]
    label = declared.task.cast(labels.loc[train.index])
    kinds = feature_kinds(train, declared.not_features)
    fitted = fit(declared, model_input(train, kinds), label, row_weights(train, declared))
    probabilities = predict(fitted, model_input(test, kinds), declared.task)
    published = test[["lead_id", "as_of"]].reset_index(drop=True)
    if len(declared.outcomes) == 1:
        return published.assign(p=probabilities[:, 0])
    positions = {name: declared.outcomes.index(name) for name in SCORED_ACTIONS}
    return published.assign(**{name: probabilities[:, position] for name, position in positions.items()})


def scored(predicted: pd.DataFrame) -> str:
    """Return the line that the scorer of the reference prints for predictions."""
    with tempfile.TemporaryDirectory(prefix="leadline-benchmark-") as folder:
        path = Path(folder) / "predictions.csv"
        predicted.to_csv(path, index=False)
        finished = subprocess.run([sys.executable, str(SCORER), str(path)], capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise MeasurementError(f"{SCORER.name} refused the predictions:\n{finished.stderr[-3000:]}")
    return finished.stdout.strip()


def compared(line: str, target: Target) -> list[Figure]:
    """Read the figures of a target from the scorer's line, and bound them by the best figures of the plain models.

    Raises
    ------
    MeasurementError
        If the line lacks a figure.
    """
    found = dict(re.findall(r"([A-Za-z][\w -]*?)=(\d+\.\d+)", line))
    missing = [name for name, *_ in target.figures if name not in found]
    if missing:
        raise MeasurementError(f"{SCORER.name}: expected figures for {missing}, found {line!r}")
    return [
        Figure(
            name=f"{target.model}: {name}", value=float(found[name]), bound=plain, digits=digits, more_is_better=more
        )
        for name, plain, digits, more in target.figures
    ]
