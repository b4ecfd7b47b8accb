"""Compare the models of leaving customers with recency and frequency alone, and with the best possible ones.

The whole loop runs on two simulated companies, one without contracts and one with them, and on the purchases of CDNOW
if they lie beside the repository. A logistic regression on days since the last purchase and number of purchases learns
from the same rows and predicts the same held-out ones. Of a simulated company the true probability is known, and the
same estimator also learns from ten times as many customers.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.ceilings import ceiling
from benchmarks.measuring import REPOSITORY, Figure, Report, clean_environment, measured
from benchmarks.truth import LEADS, SEED, trained, training_set, with_more
from models.declared.registry import DECLARATIONS
from models.learning.splitting import temporal_split
from simulation import simulate

if TYPE_CHECKING:
    import pandas as pd

    from models.declaring.declaration import ModelDeclaration
    from models.versions.candidate import Candidate

CDNOW = REPOSITORY.parent / "shared" / "data" / "cdnow"
MODELS = ("churn_30d", "churn_60d")
PLAIN = ["days_since_last_purchase", "total_purchases"]


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
            more = with_more(versions, details, customers_only=True, contractual=contractual)
            figures += [replace(figure, name=f"{company}: {figure.name}") for figure in more]
            figures += [
                Figure(
                    name=f"{company}: AUC of the true probability of {version.model}",
                    value=ceiling(str(export), version.model, version)["auc"],
                    digits=3,
                )
                for version in versions
            ]
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
        frame = training_set(version)
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
