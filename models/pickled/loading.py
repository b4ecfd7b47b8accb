"""How a stored pipeline is read, also one that names classes at places which they have left."""

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
"""Where the classes lie now that versions up to recipe 5 name elsewhere."""

_ZLIB = b"\x78"
"""With which zlib's format begins, and no pickle."""


class _Unpickler(NumpyUnpickler):  # type: ignore[misc]
    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(MOVED.get((module, name), module), name)


def unpickled(content: bytes) -> Any:
    """Return what `joblib.dump` has written, of which the caller knows that it may be run."""
    file = io.BytesIO(content)
    return _Unpickler("", BinaryZlibFile(file) if content.startswith(_ZLIB) else file, True).load()
