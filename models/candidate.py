"""Candidates: a trained version of a model, as files that say what they are and are verified when they are read."""

from __future__ import annotations

import hashlib
import io
import json
import math
import platform
import warnings
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from importlib.metadata import version as installed_version
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

from models.artifacts import (
    MANIFEST,
    ArtifactMismatchError,
    UnreadableFileError,
    new_directory,
    read_manifest,
    read_object,
    set_aside,
    sha256,
    write_manifest,
)
from models.assessment import assess
from models.calibration import scale
from models.census import census_rows
from models.declaration import AS_OF, ModelDeclaration
from models.frames import Kind, model_input
from models.learning import fit, predict
from models.ranges import learnt_ranges
from models.splitting import baseline_of, row_weights, sample_weights, split
from models.validation import Observed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    import pandas as pd
    from sklearn.pipeline import Pipeline

    from models.training_set import TrainingSet

PIPELINE = "pipeline.joblib"
HELD_OUT = "evaluation.parquet"
PREDICTIONS = "predictions.parquet"
LIBRARIES = ("scikit-learn", "numpy", "pandas", "joblib")
COST = "cost.json"
"""What training cost. It depends on the machine and the hour, so the manifest does not vouch for it."""

COST_FIGURES = ("training_minutes", "prediction_milliseconds")

RECIPE = 5
"""To be raised whenever code of this package makes another version of the same rows and declaration, or reads
versions otherwise."""

STORED_PREDICTIONS = 200
TIMED_PREDICTIONS = 9
TOLERANCE = 1e-9
"""Within which stored predictions must be reproduced under other library versions."""

NOT_RECORDED = ""
"""In place of the SHA-256 of a version that the ledger does not have."""

TRUTH = "truth"
PROBABILITY = "probability_"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A trained version of a model.

    Attributes
    ----------
    model, version : str
    directory : Path
    manifest : dict
        Everything that is needed to score with it, beside the pipeline.
    reused : bool
        Whether it had been trained before.
    """

    model: str
    version: str
    directory: Path
    manifest: dict[str, Any]
    reused: bool = False

    @property
    def key(self) -> str:
        """The column that identifies the entity."""
        return str(self.manifest["key"])

    @property
    def outcomes(self) -> tuple[str, ...]:
        """The outcomes for which it gives probabilities."""
        return tuple(self.manifest["outcomes"])

    @property
    def features(self) -> dict[str, Kind]:
        """Feature names and kinds, in the order of the model input."""
        return dict(self.manifest["features"])

    @cached_property
    def pipeline(self) -> Pipeline:
        """The fitted pipeline.

        Raises
        ------
        ArtifactMismatchError
            If its file is not the one of the manifest: to unpickle a file is to run what is in it.
        """
        import joblib

        content = (self.directory / PIPELINE).read_bytes()
        expected, found = self.manifest["files"].get(PIPELINE, "no such file"), hashlib.sha256(content).hexdigest()
        if found != expected:
            raise ArtifactMismatchError(
                f"{self.directory / PIPELINE}: expected SHA-256 {expected}, found {found}", _remedy(self.directory)
            )
        return joblib.load(io.BytesIO(content))

    def cost(self) -> dict[str, float]:
        """Return what it is held to beside its metrics: `models.declaration.COST_GATES` without ``leads``.

        Beside them ``assessment_minutes``, the part of ``training_minutes`` that was spent on measuring.

        Raises
        ------
        ArtifactMismatchError
            If the file is missing or unreadable.
        """
        path = self.directory / COST
        try:
            said = {name: float(value) for name, value in read_object(path).items()}
            _ = [said[name] for name in COST_FIGURES]
        except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
            found = error.found if isinstance(error, UnreadableFileError) else repr(error)
            raise ArtifactMismatchError(
                f"{path}: expected what training cost, found {found}", _remedy(self.directory)
            ) from error
        return {**said, "file_megabytes": (self.directory / PIPELINE).stat().st_size / 1e6}

    def held_out(self) -> pd.DataFrame:
        """Read the held-out predictions: key, ``as_of``, ``truth`` and one ``probability_<outcome>`` per outcome."""
        import pandas as pd

        return pd.read_parquet(self.directory / HELD_OUT)


def train(
    declaration: ModelDeclaration,
    training_set: TrainingSet,
    directory: Path,
    *,
    recorded: Mapping[str, str] | None = None,
    warn: Callable[[str], object] = lambda _: None,
) -> Candidate:
    """Train a version of a model.

    The declared pipeline is fitted on the training side of the split, to be measured on the held-out rows; then on
    all rows, to be published. Both are the same declaration, and both scale their probabilities or neither does: the
    published pipeline has seen more, and later, leads than the one that was measured.

    Parameters
    ----------
    declaration : ModelDeclaration
    training_set : TrainingSet
    directory : Path
        The version is written to ``<directory>/<version>/``.
    recorded : mapping of str to str, optional
        The versions that the ledger has, with the SHA-256 of their manifests: no other is used again. By default all
        are, for whoever has no ledger and has written the directory alone.
    warn : callable
        Is told of a version that is damaged, or not recorded: it is set aside, and trained again.

    Returns
    -------
    Candidate
        The stored one, with `reused`, if this training set, declaration and these libraries gave a version before.

    Raises
    ------
    UntrainableError
        If the rows cannot be split, or no feature tells them apart.
    """
    import joblib
    import pandas as pd

    found = (training_set.manifest["model"], training_set.manifest["horizon_days"])
    if found != (declaration.name, declaration.horizon_days):
        raise ValueError(
            f"training set {training_set.directory}: expected one of model {declaration.name!r} over "
            f"{declaration.horizon_days} days, "
            f"found {found[0]!r} over {found[1]} days; freeze one for this declaration"
        )
    libraries = library_versions()
    fingerprint = declaration.fingerprint()
    identity = json.dumps([RECIPE, training_set.manifest["content_hash"], fingerprint, libraries], sort_keys=True)
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
    sides = split(frame, declaration, clock)
    rows = Observed(
        features=features,
        label=label,
        weights=sample_weights(frame, declaration, sides.cut),
        stands_for=row_weights(frame, declaration),
        entities=pd.factorize(frame[view.key])[0],
    )
    baseline = baseline_of(label[sides.train], declaration)
    segments = frame.loc[sides.test, [name for name in view.segments if name in frame.columns]]
    assessment = assess(
        declaration,
        version,
        rows.rows(sides.train),
        rows.rows(sides.test),
        baseline,
        segments,
        _census(declaration, training_set, sides.cut),
        training_set.one_sided,
    )
    assessed = perf_counter()

    held_out = frame.loc[sides.test, [view.key, AS_OF]].assign(**{TRUTH: label[sides.test].astype(str)})
    held_out = _with_probabilities(held_out, assessment.probability, declaration.outcomes)
    published = fit(declaration, features, label, sample_weights(frame, declaration, clock))
    if assessment.scaling is not None:
        published = scale(published, assessment.scaling)
    sample = features.iloc[:: max(1, math.ceil(len(features) / STORED_PREDICTIONS))]
    reproduced = _with_probabilities(sample, predict(published, sample, declaration.outcomes), declaration.outcomes)
    trained = perf_counter()

    with new_directory(target) as unfinished:
        joblib.dump(published, unfinished / PIPELINE, compress=3)
        held_out.to_parquet(unfinished / HELD_OUT, index=False)
        reproduced.to_parquet(unfinished / PREDICTIONS, index=False)
        assessment.evaluation.write(unfinished)
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
                "task": declaration.task,
                "horizon_days": declaration.horizon_days,
                "outcomes": list(declaration.outcomes),
                "features": training_set.features,
                "typical": _typical(features, training_set.features),
                "baseline": baseline,
                "ranges": learnt_ranges(features, rows.entities, view.ranges, declaration.row_weight),
                "rows": len(frame),
                "entities": training_set.manifest["entities"],
                "split": {
                    "kind": declaration.split,
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
            "assessment_minutes": (assessed - started) / 60,
            "prediction_milliseconds": _milliseconds_of_one(published, features, declaration.outcomes),
        }
        (unfinished / COST).write_text(json.dumps(cost) + "\n", encoding="utf-8")
    return Candidate(model=declaration.name, version=version, directory=target, manifest=manifest)


def load(directory: Path, recorded: str | None = None, *, reused: bool = False) -> Candidate:
    """Load a version, and refuse it unless it is what was trained; nothing is unpickled before it is vouched for.

    Parameters
    ----------
    directory : Path
    recorded : str, optional
        The SHA-256 of the manifest in the ledger. By default the manifest is believed, for whoever has written it.
    reused : bool

    Raises
    ------
    ArtifactMismatchError
        If a file's SHA-256 is not the recorded one, or the libraries or the recipe are not those of its training and
        the stored predictions are not reproduced.
    """
    if recorded is not None:
        path = directory / MANIFEST
        there = sha256(path) if path.is_file() else "no file"
        if there != recorded:
            expected = f"SHA-256 {recorded}, as recorded in the ledger" if recorded else "a version of the ledger"
            raise ArtifactMismatchError(
                f"{path}: expected {expected}, found {there if recorded else 'one that it does not have'}",
                "restore the version from a backup, or train again: the scores published so far stay as they are",
            )
    manifest = read_manifest(directory)
    candidate = Candidate(
        model=manifest["model"], version=manifest["version"], directory=directory, manifest=manifest, reused=reused
    )
    found = library_versions()
    if manifest["libraries"] != found or manifest.get("recipe") != RECIPE:
        _require_reproduction(candidate, found)
    return candidate


def _remedy(directory: Path) -> str:
    return f"remove {directory} and train again, or restore it from a backup"


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries on which predictions depend."""
    return {"python": platform.python_version(), **{name: installed_version(name) for name in LIBRARIES}}


def _require_reproduction(candidate: Candidate, found: dict[str, str]) -> None:
    import numpy as np
    import pandas as pd

    path = candidate.directory / PREDICTIONS
    stored = pd.read_parquet(path)
    expected = stored[[PROBABILITY + name for name in candidate.outcomes]].to_numpy()
    then = f"{candidate.manifest['libraries']} by recipe {candidate.manifest.get('recipe', 2)}"
    libraries = f"trained with {then}, running with {found} by recipe {RECIPE}"
    remedy = f"train a new version, or install the libraries that {candidate.version} was trained with"
    try:
        with warnings.catch_warnings():
            # scikit-learn warns that other versions may predict otherwise, which is what is being verified here
            warnings.simplefilter("ignore")
            predicted = predict(candidate.pipeline, model_input(stored, candidate.features), candidate.outcomes)
    except Exception as error:
        raise ArtifactMismatchError(f"{path}: {libraries}, and predicting failed with {error!r}", remedy) from error
    difference = float(np.abs(predicted - expected).max())
    if not difference <= TOLERANCE:
        raise ArtifactMismatchError(
            f"{path}: {libraries}; expected the stored predictions within {TOLERANCE}, found a difference "
            f"of {difference:.3g}",
            remedy,
        )


def _census(
    declaration: ModelDeclaration, training_set: TrainingSet, cut: pd.Timestamp
) -> tuple[Observed, pd.DataFrame] | None:
    """Return the census of a training set, where the measured pipeline knows nothing of its outcomes."""
    census = training_set.census()
    if census is None or declaration.split != "temporal":
        return None
    if census[AS_OF].min() < cut:
        raise ValueError(
            f"training set {training_set.directory}: expected a census of clocks from {cut} on, where what is "
            f"measured has learnt from, found one of {census[AS_OF].min()}; freeze a new one"
        )
    return census_rows(declaration, census, training_set.features), census


def _with_probabilities(rows: pd.DataFrame, probabilities: np.ndarray, outcomes: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    # not column by column: a model input has a block of memory for each, and pandas warns of a hundred of them
    columns = [PROBABILITY + name for name in outcomes]
    return pd.concat([rows, pd.DataFrame(probabilities, index=rows.index, columns=columns)], axis=1)


def _milliseconds_of_one(pipeline: Pipeline, features: pd.DataFrame, outcomes: tuple[str, ...]) -> float:
    took = []
    for row in range(min(len(features), TIMED_PREDICTIONS)):
        started = perf_counter()
        predict(pipeline, features.iloc[[row]], outcomes)
        took.append(1000 * (perf_counter() - started))
    return median(took)


def _typical(features: pd.DataFrame, kinds: dict[str, Kind]) -> dict[str, float | str | None]:
    typical: dict[str, float | str | None] = {}
    for name, kind in kinds.items():
        if kind == "text":
            typical[name] = str(features[name].mode().iloc[0])
        else:
            mostly_missing = features[name].isna().mean() > 0.5
            typical[name] = None if mostly_missing else float(features[name].median())
    return typical
