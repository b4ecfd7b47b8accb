"""How a version is trained from a training set."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from models.artifacts import (
    ArtifactMismatchError,
    new_directory,
    set_aside,
    write_manifest,
)
from models.declaring.columns import AS_OF, Kind
from models.declaring.declaration import ModelDeclaration
from models.evaluation.assessment import assess
from models.evaluation.calibration import scale
from models.evaluation.census import census_rows
from models.evaluation.costs import choice_of
from models.evaluation.validation import Observed
from models.learning.fitting import fit, predict
from models.learning.frames import model_input
from models.learning.pipelines import fingerprint as fingerprint_of
from models.learning.ranges import learnt_ranges
from models.learning.splitting import row_weights, sample_weights, temporal_split
from models.tasks.task import Task
from models.training.contest import choose_estimator, rehearse
from models.training.segments import telling
from models.training.training_set import TrainingSet
from models.versions.candidate import (
    COST,
    HELD_OUT,
    NOT_RECORDED,
    PIPELINE,
    PREDICTIONS,
    RECIPE,
    STORED_PREDICTIONS,
    TIMED_PREDICTIONS,
    TRUTH,
    Candidate,
    library_versions,
    load,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from sklearn.pipeline import Pipeline


def train(
    declaration: ModelDeclaration,
    training_set: TrainingSet,
    directory: Path,
    *,
    assumed: Collection[str] = (),
    ends: bool | None = None,
    recorded: Mapping[str, str] | None = None,
    warn: Callable[[str], object] = lambda _: None,
) -> Candidate:
    """Train a version of a model.

    The declared pipeline is fitted twice: on the training side of the split, to be measured on the held-out rows, and
    on all rows, to be published. Either both scale their predictions or neither does. The published pipeline has seen
    more and later entities than the measured one.

    Parameters
    ----------
    declaration : ModelDeclaration
    training_set : TrainingSet
    directory : Path
        The version is written to ``<directory>/<version>/``.
    assumed : collection of str
        Features whose first values count as known from the creation by an assumption, which later changes may refute.
    ends : bool, optional
        Whether the source tells when an entity ends, if labels mean something else where it does.
    recorded : mapping of str to str, optional
        The versions in the ledger, with the SHA-256 of their manifests: only these are reused. By default all versions
        in the directory are, for a caller that has no ledger and writes the directory alone.
    warn : callable
        Receives a message if a stored version is damaged or not recorded; it is set aside and trained again.

    Returns
    -------
    Candidate
        The stored version, with `reused`, if the same training set, declaration and libraries gave one before.

    Raises
    ------
    UntrainableError
        If the rows cannot be split, or no feature tells them apart.
    """
    import joblib
    import pandas as pd

    from models.pickled.estimators import learner

    found = (training_set.manifest["model"], training_set.manifest["horizon_days"])
    if found != (declaration.name, declaration.horizon_days):
        raise ValueError(
            f"training set {training_set.directory}: expected one of model {declaration.name!r} over "
            f"{declaration.horizon_days} days, "
            f"found {found[0]!r} over {found[1]} days; freeze one for this declaration"
        )
    libraries = library_versions()
    fingerprint = fingerprint_of(declaration)
    assumed = sorted({*assumed}.intersection(training_set.features))
    identity = json.dumps(
        [
            RECIPE,
            training_set.manifest["content_hash"],
            fingerprint,
            libraries,
            *filter(None, [assumed]),
            *([] if ends is None else [f"ends: {ends}"]),
        ],
        sort_keys=True,
    )
    last_as_of = datetime.fromisoformat(training_set.manifest["last_as_of"])
    version = f"{last_as_of:%Y%m%d}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"
    target = directory / version
    if target.exists():
        try:
            stored = load(target, None if recorded is None else recorded.get(version, NOT_RECORDED), reused=True)
            stored.cost()
        except ArtifactMismatchError as error:
            warn(f"{error.found}. The version is trained again; what was there is now {set_aside(target)}.")
        else:
            return stored

    started = perf_counter()
    frame = training_set.frame()
    view = declaration.feature_view
    label = frame[declaration.label_column]
    features = model_input(frame, training_set.features)
    clock = pd.Timestamp(training_set.manifest["as_of"])
    sides = temporal_split(frame, declaration)
    rows = Observed(
        features=features,
        label=label,
        weights=sample_weights(frame, declaration, sides.cut),
        stands_for=row_weights(frame, declaration),
        entities=frame[view.key].factorize()[0],
    )
    task = declaration.task
    baseline = task.baseline(label[sides.train])
    training_rows, testing_rows = rows.rows(sides.train), rows.rows(sides.test)
    chosen, contest = choose_estimator(declaration, frame[sides.train], training_rows)
    chosen, rehearsal = rehearse(chosen, frame[sides.train], training_rows)
    further = telling(frame[sides.train], view.further_segments)
    segments = frame.loc[sides.test, [*(name for name in view.segments if name in frame.columns), *further]]
    evaluation, predicted = assess(
        chosen,
        version,
        training_rows,
        testing_rows,
        baseline,
        segments,
        _census(declaration, training_set, sides.cut),
        training_set.one_sided,
        rehearsal,
    )

    evaluation = replace(evaluation, contest=contest)
    choice = choice_of(task, evaluation.costs)
    held_out = frame.loc[sides.test, [view.key, AS_OF]].assign(**{TRUTH: label[sides.test].astype(str)})
    held_out = _with_predictions(held_out, predicted, task)
    published = fit(chosen, features, label, sample_weights(frame, declaration, clock))
    if evaluation.calibration.applied and evaluation.calibration.scaling is not None:
        published = scale(published, evaluation.calibration.scaling)
    sample = features.iloc[:: max(1, math.ceil(len(features) / STORED_PREDICTIONS))]
    reproduced = _with_predictions(sample, predict(published, sample, task), task)
    trained = perf_counter()

    with new_directory(target) as unfinished:
        joblib.dump(published, unfinished / PIPELINE, compress=3)
        held_out.to_parquet(unfinished / HELD_OUT, index=False)
        reproduced.to_parquet(unfinished / PREDICTIONS, index=False)
        evaluation.write(unfinished)
        manifest = write_manifest(
            unfinished,
            {
                "model": declaration.name,
                "version": version,
                "training_set": training_set.id,
                "as_of": training_set.manifest["as_of"],
                "first_as_of": training_set.manifest["first_as_of"],
                "last_as_of": training_set.manifest["last_as_of"],
                "labelled_since": training_set.manifest.get("labelled_since"),
                "declaration": fingerprint,
                "libraries": libraries,
                "recipe": RECIPE,
                "key": view.key,
                "task": task.name,
                "estimator": next(
                    (each.name for each in contest if each.chosen), type(learner(chosen.estimator())).__name__
                ),
                "horizon_days": declaration.horizon_days,
                "outcomes": list(declaration.outcomes),
                "features": training_set.features,
                "typical": {name: _typical(features[name], kind) for name, kind in training_set.features.items()},
                "baseline": baseline,
                # versions without such features keep the manifest that they had before
                **({"assumed": assumed} if assumed else {}),
                **({} if ends is None else {"ends": ends}),
                # versions without costs keep the manifest that they had before costs existed
                **({"choice": choice} if choice else {}),
                "interval": task.residuals(testing_rows.predicted(predicted, task)),
                "ranges": learnt_ranges(features, rows.entities, view.ranges, declaration.row_weight),
                "rows": len(frame),
                "entities": training_set.manifest["entities"],
                **({"share": training_set.manifest["share"]} if "share" in training_set.manifest else {}),
                "split": {
                    "cut": sides.cut.isoformat(),
                    "train_rows": int(sides.train.sum()),
                    "test_rows": int(sides.test.sum()),
                    "rows_on_neither_side": int((~sides.train & ~sides.test).sum()),
                    "train_entities": sides.train_entities,
                    "test_entities": sides.test_entities,
                },
            },
        )
        cost = {
            "training_minutes": (trained - started) / 60,
            "prediction_milliseconds": _milliseconds_of_one(published, features, task),
        }
        (unfinished / COST).write_text(json.dumps(cost) + "\n", encoding="utf-8")
    return Candidate(model=declaration.name, version=version, directory=target, manifest=manifest)


def _census(
    declaration: ModelDeclaration, training_set: TrainingSet, cut: pd.Timestamp
) -> tuple[Observed, pd.DataFrame] | None:
    """Return the census of a training set, if it has one; the measured pipeline must not know its outcomes."""
    census = training_set.census()
    if census is None:
        return None
    if census[AS_OF].min() < cut:
        raise ValueError(
            f"training set {training_set.directory}: expected a census of clocks from {cut} on, up to which the "
            f"measured pipeline has learnt, found one of {census[AS_OF].min()}; freeze a new one"
        )
    return census_rows(declaration, census, training_set.features), census


def _with_predictions(rows: pd.DataFrame, predicted: np.ndarray, task: Task) -> pd.DataFrame:
    import pandas as pd

    # not column by column: pandas warns about frames of a hundred blocks of memory
    return pd.concat([rows, pd.DataFrame(predicted, index=rows.index, columns=task.stored_columns)], axis=1)


def _milliseconds_of_one(pipeline: Pipeline, features: pd.DataFrame, task: Task) -> float:
    durations = []
    for row in range(min(len(features), TIMED_PREDICTIONS)):
        started = perf_counter()
        predict(pipeline, features.iloc[[row]], task)
        durations.append(1000 * (perf_counter() - started))
    return median(durations)


def _typical(column: pd.Series, kind: Kind) -> float | str | None:
    """Return the most frequent text, or the median of numbers; None if most of them are missing."""
    if kind == "text":
        return str(column.mode().iloc[0])
    return None if column.isna().mean() > 0.5 else float(column.median())
