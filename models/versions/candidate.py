"""Candidates: trained versions of models, as files that are verified against their manifest when they are read."""

from __future__ import annotations

import hashlib
import json
import platform
import warnings
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.artifacts import (
    MANIFEST,
    ArtifactMismatchError,
    UnreadableFileError,
    read_manifest,
    read_object,
    sha256,
)
from models.declaring.columns import Kind
from models.evaluation.records import EVALUATION, Evaluation
from models.learning.fitting import predict
from models.learning.frames import model_input
from models.tasks.registry import task_of
from models.tasks.task import Task

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline


PIPELINE = "pipeline.joblib"

HELD_OUT = "evaluation.parquet"

PREDICTIONS = "predictions.parquet"

LIBRARIES = ("scikit-learn", "numpy", "pandas", "joblib")

COST = "cost.json"
"""The cost of the training. It depends on the machine, so the manifest has no hash of this file."""

COST_FIGURES = ("training_minutes", "prediction_milliseconds")

RECIPE = 6
"""Raise it whenever this package trains another version from the same rows and declaration, or reads versions in
another way."""

STORED_PREDICTIONS = 200

TIMED_PREDICTIONS = 9

TOLERANCE = 1e-9
"""The largest difference to stored predictions that is allowed under other library versions."""

NOT_RECORDED = ""
"""In place of the SHA-256 of a version that the ledger does not have."""

TRUTH = "truth"

_RENAMED = {
    "log_loss": "loss",
    "trivial_log_loss": "trivial_loss",
    "mean_probability": "mean_predicted",
    "observed_rate": "mean_actual",
}
"""Present names of fields in evaluations of earlier states; only records that count rows have such fields."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A trained version of a model.

    Attributes
    ----------
    model, version : str
    directory : Path
    manifest : dict
        Everything that scoring needs, beside the pipeline.
    reused : bool
        Whether an earlier training has made it.
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
    def task(self) -> Task:
        """The task of the model."""
        return task_of(self.manifest["task"], self.manifest["outcomes"])

    @property
    def outcomes(self) -> tuple[str, ...]:
        """The names of the outcomes."""
        return self.task.outcomes

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
            If the file is not the one of the manifest, because unpickling a file runs its content.
        """
        from models.pickled.loading import unpickled

        content = (self.directory / PIPELINE).read_bytes()
        expected, found = self.manifest["files"].get(PIPELINE, "no such file"), hashlib.sha256(content).hexdigest()
        if found != expected:
            raise ArtifactMismatchError(
                f"{self.directory / PIPELINE}: expected SHA-256 {expected}, found {found}", _remedy(self.directory)
            )
        return unpickled(content)

    def cost(self) -> dict[str, float]:
        """Return the figures for `models.declaring.policies.COST_GATES`, without ``entities``.

        Raises
        ------
        ArtifactMismatchError
            If the file is missing or unreadable.
        """
        path = self.directory / COST
        try:
            stored = read_object(path)
            cost = {name: float(stored[name]) for name in COST_FIGURES}
        except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
            found = error.found if isinstance(error, UnreadableFileError) else repr(error)
            raise ArtifactMismatchError(
                f"{path}: expected the cost of the training, found {found}", _remedy(self.directory)
            ) from error
        return {**cost, "file_megabytes": (self.directory / PIPELINE).stat().st_size / 1e6}

    def held_out(self) -> pd.DataFrame:
        """Read the held-out predictions: key, ``as_of``, ``truth`` and `Task.stored_columns`."""
        import pandas as pd

        return pd.read_parquet(self.directory / HELD_OUT)


def load(directory: Path, recorded: str | None = None, *, reused: bool = False) -> Candidate:
    """Load a version and verify that it is the trained one; nothing is unpickled before its file is verified.

    Parameters
    ----------
    directory : Path
    recorded : str, optional
        The SHA-256 of the manifest in the ledger. By default the manifest is trusted, as the caller has written it.
    reused : bool

    Raises
    ------
    ArtifactMismatchError
        If a file's SHA-256 is not the recorded one, or the libraries or the recipe are not those of its training and
        the stored predictions are not reproduced.
    """
    if recorded is not None:
        path = directory / MANIFEST
        actual = sha256(path) if path.is_file() else "no file"
        if actual != recorded:
            expected = f"SHA-256 {recorded}, as recorded in the ledger" if recorded else "a version of the ledger"
            raise ArtifactMismatchError(
                f"{path}: expected {expected}, found {actual if recorded else 'one that it does not have'}",
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
    import pandas as pd

    path = candidate.directory / PREDICTIONS
    stored = pd.read_parquet(path)
    expected = stored[candidate.task.stored_columns].to_numpy()
    origin = f"{candidate.manifest['libraries']} by recipe {candidate.manifest.get('recipe', 2)}"
    libraries = f"trained with {origin}, running with {found} by recipe {RECIPE}"
    # if the libraries are the same, only the recipe differs
    or_libraries = (
        ""
        if candidate.manifest["libraries"] == found
        else f", or install the libraries that {candidate.version} was trained with"
    )
    remedy = (
        f"train a new version by the job whole_loop (`make run`){or_libraries}: the scores published so far stay as "
        "they are"
    )
    try:
        with warnings.catch_warnings():
            # scikit-learn warns that other versions may predict otherwise, which is verified here
            warnings.simplefilter("ignore")
            predicted = predict(candidate.pipeline, model_input(stored, candidate.features), candidate.task)
    except Exception as error:
        raise ArtifactMismatchError(f"{path}: {libraries}, and predicting failed with {error!r}", remedy) from error
    difference = float(abs(predicted - expected).max())
    if not difference <= TOLERANCE:
        raise ArtifactMismatchError(
            f"{path}: {libraries}; expected the stored predictions within {TOLERANCE}, found a difference "
            f"of {difference:.3g}",
            remedy,
        )


def evaluate(candidate: Candidate) -> Evaluation:
    """Read the evaluation of a candidate."""
    from pydantic import TypeAdapter

    content = json.loads((candidate.directory / EVALUATION).read_bytes(), object_hook=_with_present_names)
    return TypeAdapter(Evaluation).validate_python(content)


def _with_present_names(fields: dict[str, Any]) -> dict[str, Any]:
    counts_rows = "rows" in fields or "n" in fields
    return {_RENAMED.get(name, name): value for name, value in fields.items()} if counts_rows else fields
