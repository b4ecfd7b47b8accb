"""The job that answers questions for the features and labels of any entities at any times."""

import os

import dagster as dg
from pydantic import Field

from assets.platform.resources import WAREHOUSE_POOL
from models.artifacts import make_folder, sha256
from models.declared.registry import DECLARATIONS
from models.declaring.columns import AS_OF
from store.artifacts import ArtifactStore
from store.features.certificates import CompiledSql
from store.features.features_at import STATE, QuestionError, features_at, view_of
from store.warehouse.warehouse import Warehouse


class Question(dg.Config):
    """A question for features, and labels."""

    entities: str = Field(
        description=(
            "A CSV or Parquet file, or schema.table of the warehouse, with the key of the entities and as_of (with a "
            "zone). The answer has as many rows, in the same order."
        )
    )
    labels: list[str] = Field(default=[], description="Labels to add to the features.")
    view: str | None = Field(
        default=None, description="The feature view; by default the view of the labels, or the only view of the source."
    )


@dg.op(
    pool=WAREHOUSE_POOL,
    description="Answer a question with the SQL of the feature store. The answer is a Parquet file named by its hash.",
    out=dg.Out(dg.Nothing),
)
def answer(
    context: dg.OpExecutionContext,
    config: Question,
    warehouse: dg.ResourceParam[Warehouse],
    artifacts: dg.ResourceParam[ArtifactStore],
    compiled: dg.ResourceParam[CompiledSql],
) -> dg.Output[None]:
    """Answer a question.

    Raises
    ------
    dagster.Failure
        If the question cannot be answered, with the reason.
    """
    try:
        view = view_of(config.view, config.labels, warehouse.extraction())
        frame = features_at(
            config.entities, labels=config.labels, view=view.name, warehouse=warehouse, compiled=compiled.path
        )
    except QuestionError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
    folder = artifacts.answers(view.name)
    make_folder(folder)
    unfinished = folder / f"{os.getpid()}.tmp"
    frame.to_parquet(unfinished, index=False)
    path = folder / f"{sha256(unfinished)[:16]}.parquet"
    unfinished.replace(path)
    context.log.info(f"{len(frame):,} rows answer the question: {path}")
    return dg.Output(
        None,
        metadata={
            "answer": dg.MetadataValue.path(path),
            "dagster/row_count": len(frame),
            "question": config.entities,
            "entities": int(frame[view.key].nunique()),
            "labelled": dg.MetadataValue.json(
                {
                    each.label: int(frame[each.label_column].notna().sum())
                    for each in DECLARATIONS.values()
                    if each.label in config.labels
                }
            ),
            "entity_states": dg.MetadataValue.json({str(k): int(n) for k, n in frame[STATE].value_counts().items()}),
            "first_as_of": str(frame[AS_OF].min()),
            "last_as_of": str(frame[AS_OF].max()),
        },
    )


@dg.job(
    name="answer_question",
    description=(
        "Answer a question for the features, and labels, of any entities at any times. The configuration names the "
        "question; the output of the step names the Parquet file of the answer."
    ),
)
def question_job() -> None:
    """Run `answer`."""
    answer()
