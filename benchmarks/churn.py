"""Compare the models of leaving customers with recency and frequency alone, and with the best possible ones.

The whole loop runs on two simulated companies, one without contracts and one with them, and on the purchases of CDNOW
if they lie beside the repository. A logistic regression on days since the last purchase and number of purchases learns
from the same rows and predicts the same held-out ones. Of a simulated company the true probability is known, and the
same estimator also learns from ten times as many customers.
"""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from benchmarks.compiled import DATABASE, FAULTLESS, build, for_simulations
from benchmarks.measuring import REPOSITORY, Figure, Report, clean_environment, measured
from benchmarks.truth import trained
from models.declared.registry import DECLARATIONS
from models.learning.fitting import fit, predict
from models.learning.frames import model_input
from models.learning.splitting import sample_weights, temporal_split
from models.training.training_set import load
from models.versions.candidate import TRUTH
from simulation import simulate
from simulation.customers.truth import CustomerTruth

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from models.declaring.declaration import ModelDeclaration
    from models.versions.candidate import Candidate

CDNOW = REPOSITORY.parent / "shared" / "data" / "cdnow"
LEADS = 10_000
TIMES_MORE = 10
SEED, OTHER_SEED = 22, 23
MODELS = ("churn_30d", "churn_60d")
PLAIN = ["days_since_last_purchase", "total_purchases"]
SAMPLE = 2_000
"""Held-out rows whose true probability is played."""


def run() -> Report:
    """Run the loop on the companies, and compare their models."""
    figures: list[Figure] = []
    details: list[str] = []
    for company, contractual in (("without contracts", False), ("with contracts", True)):
        with tempfile.TemporaryDirectory(prefix="leadline-benchmark-") as folder:
            export = Path(folder) / "crm"
            simulate(export, leads=LEADS, seed=SEED, customers_only=True, contractual=contractual, progress=False)
            # without attributes, which the features of the larger company lack
            (export / "mapping.yml").write_text("name: simulated_crm\nbased_on: contract\n", encoding="utf-8")
            versions = _in_company(company, export, Path(folder) / "home", figures, details)
            figures += with_more_customers(company, versions, contractual=contractual)
            figures += [_ceiling(company, export, version, details) for version in versions]
    if CDNOW.exists():
        with tempfile.TemporaryDirectory(prefix="leadline-benchmark-") as folder:
            _in_company("CDNOW", CDNOW, Path(folder) / "home", figures, details)
    else:
        details.append("shared/data/cdnow is not there, beside the repository")
    return Report(name="churn", figures=figures, details=details)


def _in_company(company: str, export: Path, home: Path, figures: list[Figure], details: list[str]) -> list[Candidate]:
    """Run the loop on a company, and add the figures of its models beside plain ones."""
    usage = measured(
        ("-m", "orchestration", "run"), clean_environment(home, LEADLINE_SOURCE=str(export)), home.parent / "run.log"
    )
    details.append(f"{company}: make run took {usage.seconds:.0f} s, {usage.cpu_seconds:.0f} s of CPU")
    versions = trained(home)
    for name in MODELS:
        version, metrics, missed = versions[name]
        details.append(f"{company}, {name}: " + ("all gates met" if not missed else "missed: " + "; ".join(missed)))
        details.append("  " + ", ".join(f"{each} {metrics[each]:.4f}" for each in ("auc", "pr_auc", "log_loss")))
        frame = load(home / "artifacts" / "training_sets" / name / version.manifest["training_set"]).frame()
        figures += [
            Figure(name=f"{company}: AUC of {name}", value=metrics["auc"], digits=4),
            Figure(
                name=f"{company}: AUC of {name} less that of recency and frequency alone",
                value=metrics["auc"] - _plain(frame, DECLARATIONS[name]),
                bound=0.0,
                digits=4,
                more_is_better=True,
            ),
        ]
    return [versions[name][0] for name in MODELS]


def _plain(frame: pd.DataFrame, declaration: ModelDeclaration) -> float:
    """Return the AUC on held-out rows of a logistic regression on recency and frequency, or on their logarithms."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    sides, truth = temporal_split(frame, declaration), frame[declaration.label_column].astype(int)
    plain = frame[PLAIN].astype(float)
    # who has never bought has not bought for longer than anybody
    plain = plain.fillna(plain.max())
    return max(
        float(
            roc_auc_score(
                truth[sides.test],
                make_pipeline(StandardScaler(), LogisticRegression())
                .fit(columns[sides.train], truth[sides.train])
                .predict_proba(columns[sides.test])[:, 1],
            )
        )
        for columns in (plain, np.log1p(plain))
    )


def _ceiling(company: str, export: Path, version: Candidate, details: list[str]) -> Figure:
    """Return the AUC of the true probability on a sample of the held-out rows, as far as they lie at midnights."""
    from sklearn.metrics import roc_auc_score

    held_out = version.held_out()
    rows = held_out[held_out["as_of"] == held_out["as_of"].dt.normalize()]
    rows = rows.sample(min(SAMPLE, len(rows)), random_state=0)
    chances = CustomerTruth.of(export).leaving(
        rows[version.key].to_numpy(),
        rows["as_of"].dt.tz_convert(None).to_numpy(),
        horizon_days=version.manifest["horizon_days"],
    )
    truth = rows[TRUTH].astype(int)
    own = float(roc_auc_score(truth, rows[f"probability_{version.manifest['outcomes'][0]}"]))
    best = float(roc_auc_score(truth, chances.probability))
    details.append(f"{company}, {version.model}: on {len(rows):,} rows AUC {own:.4f}, of the truth {best:.4f}")
    return Figure(name=f"{company}: AUC of the true probability of {version.model}", value=best, digits=3)


def with_more_customers(company: str, versions: Sequence[Candidate], *, contractual: bool) -> list[Figure]:
    """Return how much the AUC of each model rises when it learns from ten times as many customers."""
    from sklearn.metrics import roc_auc_score

    cuts = {version.model: datetime.fromisoformat(version.manifest["split"]["cut"]) for version in versions}
    figures = []
    with tempfile.TemporaryDirectory(prefix="leadline-benchmark-") as folder:
        export = Path(folder) / "crm"
        simulate(
            export, leads=LEADS * TIMES_MORE, seed=OTHER_SEED, customers_only=True, contractual=contractual,
            progress=False, company=FAULTLESS,
        )  # fmt: skip
        models = for_simulations(Path(folder), max(cuts.values()), contractual=contractual)
        with duckdb.connect(str(Path(folder) / f"{DATABASE}.duckdb")) as connection:
            connection.execute("set TimeZone = 'UTC'")
            build(connection, export, models)
            for version in versions:
                declared, cut = DECLARATIONS[version.model], cuts[version.model]
                more = connection.execute(
                    f"select features.*, labels.{declared.label_column} from {declared.scoped_view} as features "
                    f"inner join labels.{declared.label} as labels using (customer_id, as_of) where matures_at <= $1",
                    [cut],
                ).df()
                held_out = version.held_out()
                fitted = fit(
                    declared,
                    model_input(more, version.features),
                    more[declared.label_column],
                    sample_weights(more, declared, cut),  # type: ignore[arg-type]
                )
                frame = load(
                    version.directory.parents[2] / "training_sets" / version.model / version.manifest["training_set"]
                ).frame()
                later = held_out[["customer_id", "as_of"]].merge(frame, on=["customer_id", "as_of"])
                probability = predict(fitted, model_input(later, version.features), declared.task)[:, 0]
                much = float(roc_auc_score(later[declared.label_column].astype(int), probability))
                own = float(roc_auc_score(held_out[TRUTH].astype(int), held_out[f"probability_{declared.outcomes[0]}"]))
                figures.append(
                    Figure(
                        name=f"{company}: AUC of {version.model}: what ten times as many customers add",
                        value=much - own,
                        bound=0.02,
                        digits=4,
                    )
                )
    return figures
