"""Stored pipelines that name classes at places which these have left."""

from __future__ import annotations

import io
import pickle

import joblib

from models.pickled.columns import FilledNumbers, TextColumns
from models.pickled.estimators import QuantileClipper
from models.pickled.loading import MOVED, unpickled
from models.pickled.scaling import Scaling

STORED = [TextColumns(), FilledNumbers(), Scaling(method="sigmoid", slope=0.9, intercept=0.1)]


def test_a_class_is_found_where_it_lies_now() -> None:
    # the oldest protocol names a class in plain text
    text = pickle.dumps([*STORED, QuantileClipper(upper=0.9)], protocol=0)
    for (module, name), moved_to in MOVED.items():
        text = text.replace(f"c{moved_to}\n{name}\n".encode(), f"c{module}\n{name}\n".encode())
    assert b"models.pickled" not in text

    *found, clipper = unpickled(text)

    assert found == STORED
    assert (type(clipper), clipper.upper) == (QuantileClipper, 0.9)


def test_what_joblib_has_written_is_read_as_joblib_reads_it() -> None:
    for compress in (0, 3):
        file = io.BytesIO()
        joblib.dump(STORED, file, compress=compress)
        assert unpickled(file.getvalue()) == STORED
