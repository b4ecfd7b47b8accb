"""What attributes are worth beside their truth, and which columns are taken for known at the creation of a lead.

A simulated company has 24 attributes, whose effects and values at every moment are known. A model learns from what
Leadline publishes, another one from the true values in their place, a third one from the true effects in logits: the
published attributes must be worth as much as the true ones, and not more. Beside them stand a model without attributes,
and what could be known at best.

Into twenty more companies, twenty columns that were filled or overwritten after the creation are planted, and six that
only look so (`benchmarks.planted_attributes`).
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.compiled import DATABASE, compiled
from benchmarks.measuring import Figure, Report, table
from benchmarks.planted_attributes import PLANTED, plant
from models.declared.registry import DECLARATIONS
from models.declaring.columns import AS_OF
from models.declaring.declaration import Horizons
from models.learning.fitting import fit, predict
from models.learning.frames import feature_kinds, model_input
from models.learning.splitting import sample_weights, temporal_split
from simulation import simulate
from simulation.attributes import ATTRIBUTES, INTERESTS
from simulation.truth import Truth
from store.features.dbt_project import settings_of
from store.features.training_rows import training_rows
from store.source.extract import extract
from store.warehouse.warehouse import Warehouse

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

LEADS, SEED = 10_000, 22
SEEDS, PLANTED_LEADS = tuple(range(1, 21)), 10_000
PRESENT = datetime(2027, 1, 1, tzinfo=UTC)
LAYERS = ("staging", "intermediate", "features", "labels")
MODEL = "conversion"
OVERWRITTEN = frozenset({"industry", "revenue"})
"""Attributes without a history that change after the creation: either answer is right."""
DEAL, OF_LEAD = "deal_", "attribute_"
"""The beginning of the names of the features that follow from histories of deals, and from attributes of leads."""
TRUTH_ROWS = 2_000
"""Rows of which the probability that the truth gives is simulated."""


def run() -> Report:
    """Measure both."""
    details: list[str] = []
    with tempfile.TemporaryDirectory(prefix="leadline-benchmark-") as folder:
        export = Path(folder) / "crm"
        simulate(export, leads=LEADS, seed=SEED, attributes=True, deals=True, progress=False)
        figures = worth(export, Path(folder), details)
        figures += [*caught(Path(folder), details)]
    return Report(name="attributes", figures=figures, details=details)


def worth(export: Path, folder: Path, details: list[str]) -> list[Figure]:
    """Compare models on the rows that were held out."""
    from sklearn.metrics import roc_auc_score

    frame = features_of(export, folder)
    declared = DECLARATIONS[MODEL]
    sides = temporal_split(frame, declared)
    label = declared.task.cast(frame[declared.label_column])
    test = frame[sides.test]

    def auc(columns: pd.DataFrame, rows: np.ndarray[Any, Any] | None = None) -> float:
        kinds = feature_kinds(columns, declared.not_features)
        features = model_input(columns, kinds)
        weights = sample_weights(columns[sides.train], declared, sides.cut)
        fitted = fit(declared, features[sides.train], label[sides.train], weights)
        chances = predict(fitted, features[sides.test], declared.task)[:, 0]
        expected = label[sides.test]
        return float(roc_auc_score(expected, chances) if rows is None else roc_auc_score(expected[rows], chances[rows]))

    ours = [name for name in frame.columns if name.startswith(OF_LEAD)]
    without = frame.drop(columns=ours)
    values, effects = true_values(export, frame), true_effects(export, frame)
    at_creation = (test["as_of"] - test["lead_created_at"]).dt.total_seconds().to_numpy() <= 86_400
    published, true = auc(frame), auc(without.join(values))
    figures = [
        Figure(name="AUC without attributes", value=auc(without), digits=4),
        Figure(name="AUC with the published attributes", value=published, digits=4),
        Figure(name="AUC with their truth", value=true, digits=4),
        Figure(name="AUC with their true effects", value=auc(without.join(effects)), digits=4),
        Figure(name="published and true attributes: difference of the AUC", value=abs(true - published), bound=0.01,
               digits=4),
        Figure(name="on the first day: AUC without attributes", value=auc(without, at_creation), digits=4),
        Figure(name="on the first day: AUC with the published attributes", value=auc(frame, at_creation), digits=4),
        Figure(name="on the first day: AUC with their truth", value=auc(without.join(values), at_creation), digits=4),
    ]  # fmt: skip
    deals = [name for name in frame.columns if name.startswith(DEAL)]
    if deals:
        has_deal = (test["open_proposals_count"] > 0).to_numpy()
        figures += [
            Figure(name="with an open deal: AUC without its history", value=auc(frame.drop(columns=deals), has_deal),
                   digits=4),
            Figure(name="with an open deal: AUC with its history", value=auc(frame, has_deal), digits=4),
        ]  # fmt: skip
    truth, some = Truth.of(export), test.sample(min(TRUTH_ROWS, len(test)), random_state=0)
    chances = truth.conversion(
        some[declared.feature_view.key].to_numpy(),
        some[AS_OF].dt.tz_convert(None).to_numpy(),
        horizon_days=declared.horizon_days,
    )
    chance_auc = roc_auc_score(label[some.index], chances.probability)
    figures.append(Figure(name="AUC of the true probability, which knows hidden traits", value=chance_auc, digits=4))
    first = test[at_creation].drop_duplicates(declared.feature_view.key)
    known = truth.at_creation(first[declared.feature_view.key].to_numpy(), horizon_days=declared.horizon_days)
    figures.append(
        Figure(
            name="on the first day: AUC of the probability given the true attributes",
            value=roc_auc_score(label[first.index], known.probability), digits=4,
        )
    )  # fmt: skip
    details += [
        f"{len(frame):,} rows, {int(sides.train.sum()):,} to learn from, {len(test):,} held out; "
        f"{int(at_creation.sum()):,} of the first day; {len(ours)} features of attributes, {len(deals)} of deals"
    ]
    return figures


def features_of(export: Path, folder: Path) -> pd.DataFrame:
    """Extract an export, build its features, and return the labelled rows of the model."""
    warehouse = Warehouse(address=f"duckdb:{folder / f'{DATABASE}.duckdb'}")
    extract(
        source=str(export), warehouse=warehouse.address, state_dir=folder / "state", as_of=None, present=PRESENT,
        models=DECLARATIONS,
    )  # fmt: skip
    extraction = warehouse.extraction()
    variables = settings_of(extraction, Horizons(overrides={})) | {
        "as_of": extraction.as_of.isoformat(timespec="microseconds")
    }
    models = compiled(folder, variables, LAYERS)
    declared = DECLARATIONS[MODEL]
    with warehouse.connect() as connection:
        for model in models:
            model.create(connection)
        frame = training_rows(connection, declared, f"labels.{declared.label}")
    return frame.sort_values([declared.feature_view.key, AS_OF], kind="stable", ignore_index=True)


def true_values(export: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the attributes as the CRM showed them at each moment, by the names and types of the features."""
    import pandas as pd

    known = _known(export, frame, "name, arg_max(struct_pack(v := value), since).v as value", "name")
    texts = known.pivot(index="row", columns="name", values="value").reindex(range(len(frame)))
    columns: dict[str, Any] = {}
    for each in ATTRIBUTES:
        text = texts[each.name]
        name = f"{OF_LEAD}{each.name}"
        if each.kind == "number":
            columns[name] = pd.to_numeric(text)
        elif each.kind == "flag":
            columns[name] = text.map({"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0})
        elif each.kind == "date":
            columns[f"{name}_days"] = (frame[AS_OF] - pd.to_datetime(text, utc=True)).dt.total_seconds() / 86_400
        elif each.kind == "choices":
            named = text.str.split("; ")
            columns[f"{name}_count"] = named.map(len, na_action="ignore").astype(float)
            for option in INTERESTS:
                has = named.map(lambda options, one=option: float(one in options), na_action="ignore")
                columns[f"{name}_has_{option.lower().replace(' ', '_')}"] = has.astype(float)
        else:
            columns[name] = text
    return pd.DataFrame(columns, index=frame.index)


def true_effects(export: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """Return what the attributes add at each moment to the logits of intent and chance to win, and to the budget."""
    sums = ", ".join(f"sum({name}) as {OF_LEAD}{name}" for name in ("intent", "log_budget", "win"))
    return _known(export, frame, sums, "").set_index("row").reindex(range(len(frame)))


def _known(export: Path, frame: pd.DataFrame, columns: str, by: str) -> pd.DataFrame:
    """Aggregate the true attributes that were there at the moment of each row."""
    import duckdb

    rows = frame[["lead_id", AS_OF]].reset_index(names="row")
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'; set threads = 2")
        connection.register("rows_", rows)
        return connection.execute(
            f"select row, {columns} from rows_ inner join read_parquet('{export}/truth/attributes.parquet') as known "
            f"using (lead_id) where since < {AS_OF} group by row{', ' + by if by else ''}"
        ).df()


def caught(folder: Path, details: list[str]) -> list[Figure]:
    """Count the planted columns that are taken for known at the creation, and the others that are not."""
    hindsight = {each.name for each in PLANTED if each.hindsight}
    missed: dict[str, int] = {}
    false: dict[str, int] = {}
    reasons: dict[str, str] = {}
    for seed in SEEDS:
        export = folder / f"planted_{seed}"
        simulate(export, leads=PLANTED_LEADS, seed=seed, attributes=True, progress=False)
        plant(export)
        warehouse = Warehouse(address=f"duckdb:{folder / f'planted_{seed}.duckdb'}")
        extract(
            source=str(export), warehouse=warehouse.address, state_dir=folder / f"state_{seed}", as_of=None,
            present=PRESENT, models=DECLARATIONS,
        )  # fmt: skip
        told = {each.name: each for each in warehouse.extraction().attributes}
        for name in hindsight & told.keys():
            missed[name] = missed.get(name, 0) + (told[name].known == "creation")
        for name in {each.name for each in ATTRIBUTES} | {each.name for each in PLANTED if not each.hindsight}:
            if name not in OVERWRITTEN and (name not in told or told[name].known == "extraction"):
                false[name] = false.get(name, 0) + 1
                reasons[name] = told[name].why if name in told else "it was left out"
    missed = {name: count for name, count in missed.items() if count}
    lines = [("column", "companies", "why, in the last of them")]
    lines += [(f"{name}: filled later, and counts from the creation", str(n), "") for name, n in missed.items()]
    lines += [(f"{name}: there from the creation, and does not count from then on", str(n), reasons[name])
              for name, n in false.items()]  # fmt: skip
    details += ["", *table(lines, left=1)]
    return [
        Figure(
            name=f"planted columns, {len(hindsight)} in each of {len(SEEDS)} companies: not found",
            value=sum(missed.values()), bound=0, digits=0,
        ),
        Figure(
            name="columns of the creation: not known from then on", value=sum(false.values()), bound=0, digits=0
        ),
    ]  # fmt: skip
