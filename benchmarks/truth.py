"""Compare the models with the best possible ones, on simulated companies whose truth is known.

The whole loop runs on the default company and on the chaotic one, whose reps leave their playbook in half of the cases.
`benchmarks.ceilings` computes the ceilings. The last figure shows the effect of more data: the same estimator learns
from ten times as many leads of the same company, and predicts the same held-out rows.
"""

from __future__ import annotations

import json
import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from benchmarks.ceilings import ceiling
from benchmarks.compiled import DATABASE, FAULTLESS, build, for_simulations
from benchmarks.measuring import Figure, Report, clean_environment, measured
from models.declared.registry import DECLARATIONS
from models.learning.fitting import fit, predict
from models.learning.frames import model_input
from models.learning.splitting import sample_weights
from models.versions.candidate import TRUTH, Candidate, load
from simulation import simulate

if TYPE_CHECKING:
    import pandas as pd

LEADS = 10_000
TIMES_MORE = 10
SEED, OTHER_SEED = 22, 23
NAMES = ("default", "chaotic")


def run() -> Report:
    """Run the loop on both companies, and the estimator on more leads."""
    figures: list[Figure] = []
    details: list[str] = []
    for company in NAMES:
        with tempfile.TemporaryDirectory(prefix="leadline-benchmark-") as folder:
            export, home = Path(folder) / company, Path(folder) / "home"
            simulate(export, leads=LEADS, seed=SEED, company=company, progress=False)
            measured(
                ("-m", "orchestration", "run"),
                clean_environment(home, LEADLINE_SOURCE=str(export)),
                Path(folder) / "run.log",
            )
            versions = trained(home)
            figures += in_company(company, export, versions, details)
            if company == "default":
                figures.append(with_more_leads(home, versions["conversion"][0], details))
    return Report(name="truth", figures=figures, details=details)


def trained(home: Path) -> dict[str, tuple[Candidate, dict[str, Any], list[str]]]:
    """Return the latest version of each model of a home, with its metrics and missed gates."""
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        rows = connection.execute(
            "select model, artifact, metrics, missed_gates from ml.ml_models order by created_at"
        ).fetchall()
    return {
        model: (load(home / "artifacts" / "models" / model / artifact), json.loads(metrics), json.loads(missed))
        for model, artifact, metrics, missed in rows
    }


def in_company(
    company: str, export: Path, versions: dict[str, tuple[Candidate, dict[str, Any], list[str]]], details: list[str]
) -> list[Figure]:
    """Return the figures of one company, compared with their ceilings."""
    figures = []
    for name, (version, metrics, missed) in versions.items():
        known = ceiling(str(export), DECLARATIONS[name].label, version)
        details.append(f"{company}, {name}: " + ("all gates met" if not missed else "missed: " + "; ".join(missed)))
        found = {**metrics, **{f"recall_{outcome}": value for outcome, value in metrics.get("recall", {}).items()}}
        details += [f"  {metric} {found[metric]:.4f}, ceiling {best:.4f}" for metric, best in known.items()]
        default = company == "default"
        if name == "next_best_action":
            figures += [
                Figure(
                    name=f"{company}: accuracy of {name} over its ceiling",
                    value=metrics["accuracy"] / known["accuracy"],
                    bound=0.97 if default else None,
                    digits=3,
                    more_is_better=True,
                ),
                Figure(name=f"{company}: ceiling of the accuracy", value=known["accuracy"], digits=3),
            ]
        else:
            figures += [
                Figure(name=f"{company}: AUC of {name}", value=metrics["auc"], digits=3),
                Figure(name=f"{company}: AUC of the true probability", value=known["auc"], digits=3),
            ]
        figures.append(
            Figure(
                name=f"{company}: gates that {name} misses", value=len(missed), bound=0 if default else None, digits=0
            )
        )
    return figures


def with_more_leads(home: Path, version: Candidate, details: list[str]) -> Figure:
    """Return how much the AUC of conversion rises when the model learns from ten times as many leads."""
    from sklearn.metrics import roc_auc_score

    declared = DECLARATIONS[version.model]
    cut = datetime.fromisoformat(version.manifest["split"]["cut"])
    held_out = version.held_out()
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.register("held_out", held_out)
        later = connection.execute(
            f"select features.*, labels.converted {_FROM} semi join held_out using (lead_id, as_of)"
        ).df()
    with tempfile.TemporaryDirectory(prefix="leadline-benchmark-") as folder:
        more = _matured_rows(Path(folder), LEADS * TIMES_MORE, cut)
    more = more[more["lead_created_at"] < cut]
    features = version.features
    fitted = fit(
        declared,
        model_input(more, features),
        more[declared.label_column],
        sample_weights(more, declared, cut),  # type: ignore[arg-type]
    )
    probability = predict(fitted, model_input(later, features), declared.task)[:, 0]
    much = float(roc_auc_score(later[declared.label_column], probability))
    own = float(roc_auc_score(held_out[TRUTH].astype(int), held_out[f"probability_{declared.outcomes[0]}"]))
    details.append(f"conversion learnt from {len(more):,} rows of {more['lead_id'].nunique():,} leads: AUC {much:.4f}")
    return Figure(name="AUC of conversion: what ten times as many leads add", value=much - own, bound=0.02, digits=3)


_FROM = "from features.lead_features as features inner join labels.conversion as labels using (lead_id, as_of)"


def _matured_rows(folder: Path, leads: int, matured_by: datetime) -> pd.DataFrame:
    """Return features and conversions of a larger export, for labels that had matured by a moment."""
    export = folder / "crm"
    simulate(export, leads=leads, seed=OTHER_SEED, progress=False, company=FAULTLESS)
    models = for_simulations(folder, matured_by)
    with duckdb.connect(str(folder / f"{DATABASE}.duckdb")) as connection:
        connection.execute("set TimeZone = 'UTC'")
        build(connection, export, (model for model in models if model.name != "next_action"))
        return connection.execute(f"select features.*, labels.converted {_FROM}").df()
