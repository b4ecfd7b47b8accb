"""The split of a training frame into training rows and held-out rows, and the weights of training rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.declaring.columns import AS_OF, SUCCEEDED_AT
from models.declaring.declaration import ModelDeclaration
from models.learning.frames import ObservationError
from models.untrainable import UntrainableError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Split:
    """Row masks of a training frame.

    Attributes
    ----------
    train, test : ndarray of bool, shape (n_rows,)
        The two sides share no entity, unless entities last (`Entity.lasting`). Rows in neither have labels that had not
        matured at `cut`.
    cut : Timestamp
        The creation of the first held-out entity, or the first held-out observation: the moment at which the fitted
        model could have been trained.
    train_entities, test_entities : int
    """

    train: np.ndarray
    test: np.ndarray
    cut: pd.Timestamp
    train_entities: int
    test_entities: int


def temporal_split(frame: pd.DataFrame, declaration: ModelDeclaration) -> Split:
    """Hold out the entities created last, and train on labels that had matured when the first of them was created.

    Entities are ordered by creation and key. The last `test_share` of them are held out with all their rows. Training
    rows are those rows of the other entities whose label had matured when the first held-out entity was created.

    Of entities that last, the observations are ordered in place of the entities: the last `test_share` of them are held
    out, and training rows are those whose label had matured at the first of these. As in scoring, most entities are
    then known to the model, and nothing of what happens to them later is.

    Raises
    ------
    UntrainableError
        If a side has no rows or a single value of the label.
    """
    import pandas as pd

    outcomes = frame[declaration.label_column].unique()
    if len(outcomes) < 2:
        # a shorter horizon may help, even if nothing has succeeded: over it, later observations have labels
        raise UntrainableError(
            f"All {len(frame)} rows with a matured label over {declaration.horizon_days} days have {outcomes[0]} as "
            f"{declaration.label_column}, so nothing tells outcomes apart. Load "
            f"{declaration.feature_view.entity.plural} of other outcomes as well."
        )
    view = declaration.feature_view
    if view.entity.lasting:
        ordered = frame[AS_OF].sort_values(kind="stable")
    else:
        ordered = frame.groupby(view.key, sort=True)[view.created].min().sort_values(kind="stable")
    held_out = max(1, len(ordered) - int(len(ordered) * (1 - declaration.test_share)))
    cut = ordered.iloc[-held_out]
    test = (
        (frame[AS_OF] >= cut).to_numpy()
        if view.entity.lasting
        else frame[view.key].isin(ordered.index[-held_out:]).to_numpy()
    )
    matured = (frame[AS_OF] + pd.Timedelta(days=declaration.horizon_days) <= cut).to_numpy()
    train = ~test & matured
    for side, mask in (("training", train), ("held-out", test)):
        counts = frame.loc[mask, declaration.label_column].value_counts()
        if len(counts) < 2:
            found = ", ".join(f"{int(n)} of {name}" for name, n in counts.items()) or "none"
            what, were = (
                (f"observations of {view.entity.plural}", "lie")
                if view.entity.lasting
                else (view.entity.plural, "were created")
            )
            raise UntrainableError(
                f"The {side} rows need two values of {declaration.label_column}, found {found}: "
                f"{len(ordered)} {what} with matured labels {were} from "
                f"{ordered.iloc[0]:%Y-%m-%d} to {ordered.iloc[-1]:%Y-%m-%d}, {held_out} of them are held out from "
                f"{cut:%Y-%m-%d %H:%M} on, and labels mature after {declaration.horizon_days} days. Load more history."
            )
    return Split(
        train=train,
        test=test,
        cut=cut,
        train_entities=int(frame.loc[train, view.key].nunique()),
        test_entities=int(frame.loc[test, view.key].nunique()),
    )


def row_weights(frame: pd.DataFrame, declaration: ModelDeclaration) -> np.ndarray:
    """Return how much of a census each row stands for, by what was known at its ``as_of``.

    Returns
    -------
    ndarray of float64, shape (n_rows,)
        1 for all rows of a model that declares no weight.

    Raises
    ------
    ObservationError
        If the declared column is missing, or null in a row.
    """
    import numpy as np

    weight = declaration.row_weight
    if weight is None:
        return np.ones(len(frame))
    if weight.column not in frame.columns or frame[weight.column].isna().any():
        found = "no such column" if weight.column not in frame.columns else "rows without a value"
        raise ObservationError(
            f"model {declaration.name!r}: rows are weighted by {weight.column}, expected a value in every row, found "
            f"{found}"
        )
    return np.maximum(weight.at_least, frame[weight.column].to_numpy(dtype="float64"))


def sample_weights(frame: pd.DataFrame, declaration: ModelDeclaration, cut: pd.Timestamp) -> np.ndarray:
    """Return the weights of rows in learning, higher for entities that were known at `cut` to have succeeded.

    Parameters
    ----------
    frame : DataFrame
        With ``succeeded_at`` if the label model has it.
    declaration : ModelDeclaration
    cut : Timestamp
        A success that came later is not known to the model.

    Returns
    -------
    ndarray of float64, shape (n_rows,)
        `row_weights`, times `success_weight` for the rows of these entities.
    """
    import numpy as np

    weights = row_weights(frame, declaration)
    if SUCCEEDED_AT not in frame.columns:
        if declaration.success_weight != 1:
            raise ValueError(
                f"model {declaration.name!r}: success_weight is {declaration.success_weight}, but the "
                "training set has no "
                f"column {SUCCEEDED_AT!r}; add it to the label model {declaration.label!r}, or declare a weight of 1"
            )
        return weights
    return np.where((frame[SUCCEEDED_AT] < cut).to_numpy(), declaration.success_weight, 1.0) * weights
