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
from models.declaring.columns import AS_OF
from models.learning.fitting import fit, predict
from models.learning.frames import model_input
from models.learning.splitting import sample_weights
from models.training import training_set as frozen
from models.versions.candidate import TRUTH, Candidate, load
from simulation import simulate
from store.artifacts import ArtifactStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from models.declaring.declaration import ModelDeclaration

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
                figures += with_more([versions["conversion"][0]], details)
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
        if not known:
            continue
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


def with_more(versions: Sequence[Candidate], details: list[str], **company: Any) -> list[Figure]:
    """Return how much the AUC of each model rises when it learns from ten times as many leads of the same company.

    Parameters
    ----------
    versions : sequence of Candidate
        Of one home.
    details : list of str
    **company : object
        The company, as `simulation.simulate` takes it.
    """
    from sklearn.metrics import roc_auc_score

    figures = []
    cuts = {version.model: datetime.fromisoformat(version.manifest["split"]["cut"]) for version in versions}
    for version, (declared, more) in zip(versions, _learnt_before(cuts, company), strict=True):
        key = [version.key, AS_OF]
        held_out = version.held_out()
        later = held_out[key].merge(training_set(version), on=key, validate="one_to_one")
        fitted = fit(
            declared,
            model_input(more, version.features),
            more[declared.label_column],
            sample_weights(more, declared, cuts[version.model]),  # type: ignore[arg-type]
        )
        probability = predict(fitted, model_input(later, version.features), declared.task)[:, 0]
        much = float(roc_auc_score(later[declared.label_column].astype(int), probability))
        own = float(roc_auc_score(held_out[TRUTH].astype(int), held_out[f"probability_{declared.outcomes[0]}"]))
        entity = declared.feature_view.entity
        details.append(
            f"{version.model} learnt from {len(more):,} rows of {more[version.key].nunique():,} {entity.plural}: "
            f"AUC {much:.4f}"
        )
        figures.append(
            Figure(
                name=f"AUC of {version.model}: what ten times as many {entity.plural} add",
                value=much - own,
                bound=0.02,
                digits=4,
            )
        )
    return figures


def training_set(version: Candidate) -> pd.DataFrame:
    """Return the rows of the frozen training set of a version of a home."""
    sets = ArtifactStore(root=str(version.directory.parents[2]), reports_address="").training_sets(version.model)
    return frozen.load(sets / version.manifest["training_set"]).frame()


def _learnt_before(
    cuts: dict[str, datetime], company: dict[str, Any]
) -> Iterator[tuple[ModelDeclaration, pd.DataFrame]]:
    """Yield for each model the rows of a larger company whose labels had matured by a moment."""
    with tempfile.TemporaryDirectory(prefix="leadline-benchmark-") as folder:
        export = Path(folder) / "crm"
        simulate(export, leads=LEADS * TIMES_MORE, seed=OTHER_SEED, progress=False, **{"company": FAULTLESS, **company})
        models = for_simulations(Path(folder), max(cuts.values()), contractual=company.get("contractual", False))
        labels = {DECLARATIONS[name].label for name in cuts}
        with duckdb.connect(str(Path(folder) / f"{DATABASE}.duckdb")) as connection:
            connection.execute("set TimeZone = 'UTC'")
            build(connection, export, (model for model in models if model.schema != "labels" or model.name in labels))
            for name, cut in cuts.items():
                declared = DECLARATIONS[name]
                entity = declared.feature_view.entity
                before = "" if entity.lasting else f"and features.{entity.split_by} < $1"
                yield (
                    declared,
                    connection.execute(
                        f"select features.*, labels.{declared.label_column} from {declared.scoped_view} as features "
                        f"inner join labels.{declared.label} as labels using ({entity.key}, as_of) "
                        f"where labels.matures_at <= $1 {before}",
                        [cut],
                    ).df(),
                )
