"""The catalogue of features, in ``features.catalogue``."""

from collections.abc import Mapping
from typing import Any

from models.declared.registry import DECLARATIONS
from models.declaring.feature_view import FeatureView
from models.versions.candidate import evaluate
from store.artifacts import ArtifactStore
from store.ledger.champions import load_champion
from store.warehouse.connection import Connection, insert_rows

COLUMNS = {
    "feature_view": "text",
    "feature": "text",
    "feature_group": "text",
    "description": "text",
    "data_type": "text",
    "unit": "text",
    "feature_window": "text",
    "null_means": "text",
    "null_rate": "double precision",
    "constant": "boolean",
    "most_correlated_with": "text",
    "correlation": "double precision",
    "redundant": "boolean",
    "dropped_for": "text",
    **{f"importance_{name}": "double precision" for name in DECLARATIONS},
}
"""The columns of the table, with their types."""

IMPORTANT = ("feature", "importance", "feature_group", "unit", "null_rate", "description")
"""The columns of a list of the most important features."""


def described(
    view: FeatureView,
    columns: Mapping[str, Mapping[str, Any]],
    measured: Mapping[tuple[str, str], list[Any]],
    importance: Mapping[str, Mapping[str, float]],
) -> list[tuple[Any, ...]]:
    """Return the catalogue rows of a feature view, in the order of its columns.

    Parameters
    ----------
    view : FeatureView
    columns : mapping of str to mapping
        Columns of the dbt model, as `store.features.dbt_project.described_columns` returns them.
    measured : mapping of (str, str) to list
        By view and feature: share of nulls, constant, closest feature, correlation, redundant. A feature that was not
        measured gets nulls.
    importance : mapping of str to mapping of str to float
        By model and feature: the rise of the loss of the held-out rows when the feature is shuffled among them.
    """
    return [
        (
            view.name, name, column["meta"]["group"], column["description"].strip(), column["data_type"],
            column["meta"]["unit"], column["meta"]["window"], column["meta"]["null_means"],
            *measured.get((view.name, name), [None] * 5),
            column["meta"].get("dropped"),
            # the other view may have a feature of the same name
            *(
                importance[model].get(name) if each.feature_view.name == view.name else None
                for model, each in DECLARATIONS.items()
            ),
        )
        for name, column in columns.items()
        if "group" in column["meta"]
    ]  # fmt: skip


def replace(connection: Connection, rows: list[tuple[Any, ...]]) -> None:
    """Replace all rows of the catalogue, in one transaction."""
    connection.begin()
    connection.execute("drop table if exists features.catalogue")
    connection.execute(
        f"create table features.catalogue ({', '.join(f'{name} {kind}' for name, kind in COLUMNS.items())}, "
        "primary key (feature_view, feature))"
    )
    insert_rows(connection, "features", "catalogue", list(COLUMNS), rows)
    connection.commit()


def most_important(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the five features that each model would miss most: the model, and `IMPORTANT` of each."""
    found = []
    for model in DECLARATIONS:
        features = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        missed = [each | {"importance": each[f"importance_{model}"]} for each in features]
        missed = [each for each in missed if (each["importance"] or 0) > 0]
        missed.sort(key=lambda each: (-each["importance"], each["feature"]))
        found += [(model, *(each[name] for name in IMPORTANT)) for each in missed[:5]]
    return found


def importance_of(connection: Connection, artifacts: ArtifactStore, model: str) -> dict[str, float]:
    """Return by feature how much the loss of a model's champion rises when the feature is shuffled; {} if none."""
    if (champion := load_champion(connection, artifacts, model)) is None:
        return {}
    return {each.feature: each.rise for each in evaluate(champion).validation.importance}
