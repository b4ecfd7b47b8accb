"""Reading a stored pipeline, also one that names classes by their earlier modules."""

from __future__ import annotations

import io
from typing import Any

from joblib.compressor import BinaryZlibFile
from joblib.numpy_pickle import NumpyUnpickler

MOVED = {
    ("models.learning", "TextColumns"): "models.pickled.columns",
    ("models.learning", "FilledNumbers"): "models.pickled.columns",
    ("models.estimators", "QuantileClipper"): "models.pickled.estimators",
    ("models.estimators", "ScaledClassifier"): "models.pickled.estimators",
    ("models.calibration", "Scaling"): "models.pickled.scaling",
}
"""The present modules of classes that versions up to recipe 5 name by earlier ones."""

_ZLIB = b"\x78"
"""The first byte of zlib's format, with which no pickle begins."""


class _Unpickler(NumpyUnpickler):  # type: ignore[misc]
    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(MOVED.get((module, name), module), name)


def unpickled(content: bytes) -> Any:
    """Load what `joblib.dump` has written. Loading runs the content, so the caller must have verified it."""
    file = io.BytesIO(content)
    return _Unpickler("", BinaryZlibFile(file) if content.startswith(_ZLIB) else file, True).load()
