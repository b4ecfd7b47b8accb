"""The ceiling: how well the next action can be predicted at best, by the recorded probabilities."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from simulation.draws import Ints
from simulation.policy import Action
from simulation.world import DAY

_NAMES = tuple(action.name.lower() for action in Action)


@dataclass(frozen=True)
class ActionCeiling:
    """How often the plans of the playbook, without its random deviations, name the right label.

    Attributes
    ----------
    accuracy : float
        Share of the observations whose label is the one that the plans name.
    recall : dict of str to float
        The same by label, for the labels that occur.
    predicted : array of str
        The label that the plans name for each observation.
    largest_probability : float
        Mean over all decisions of the largest recorded probability: the accuracy on a single decision.
    """

    accuracy: float
    recall: dict[str, float]
    predicted: npt.NDArray[np.str_]
    largest_probability: float


def action_ceiling(
    decisions: pa.Table,
    lead_ids: npt.ArrayLike,
    as_of: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    horizon_days: int = 7,
) -> ActionCeiling:
    """Measure how well the plans of the playbook predict the next action; random deviations cannot be predicted.

    For each observation the prediction is the first plan other than `no_action` among the decisions in
    [as_of, as_of + horizon), else `no_action`. A plan is the most probable action of a decision. The prediction uses
    more than the records tell, because it knows the later situations of the lead; it is wrong for deviations, and for
    labels that no decision made: appointments that leads move, calls recorded too late.

    Parameters
    ----------
    decisions : pyarrow.Table
        `truth/decisions.parquet` of an export.
    lead_ids, as_of, labels : array
        The observations: lead, moment (UTC), and the action that followed within the horizon, by name.
    horizon_days : int
        The horizon of the labels.

    Returns
    -------
    ActionCeiling
        Over all of the observations.

    Raises
    ------
    ValueError
        If there is no observation, the arrays differ in length, or a label is no action.
    """
    actual = np.asarray(labels, dtype=np.str_)
    observed_at = micros(as_of)
    if not len(actual) or not len(actual) == len(observed_at) == len(np.asarray(lead_ids)):
        raise ValueError(
            "observations: expected as many lead_ids as as_of and labels, and at least one, found "
            f"{len(np.asarray(lead_ids))}, {len(observed_at)} and {len(actual)}"
        )
    unknown = np.setdiff1d(actual, _NAMES)
    if len(unknown):
        raise ValueError(f"labels: expected {', '.join(_NAMES)}, found {', '.join(unknown)}")
    chances = np.stack([decisions[f"probability_{name}"].to_numpy() for name in _NAMES], axis=1)
    plans = chances.argmax(axis=1)
    active = plans != Action.NO_ACTION
    ids = pa.concat_arrays(
        [
            pa.array(np.asarray(lead_ids, dtype=object), pa.string()),
            decisions["lead_id"].filter(active).combine_chunks(),
        ]
    )
    lead = pc.dictionary_encode(ids).indices.to_numpy().astype(np.int64)
    decided_at = micros(decisions["decided_at"].filter(active).combine_chunks())
    count = len(actual)
    following = _following(lead[:count], observed_at, lead[count:], decided_at, horizon_days * DAY)
    plan = np.append(plans[active], Action.NO_ACTION)[following]
    predicted = np.array(_NAMES)[plan]
    right = predicted == actual
    return ActionCeiling(
        accuracy=float(right.mean()),
        recall={name: float(right[actual == name].mean()) for name in _NAMES if (actual == name).any()},
        predicted=predicted,
        largest_probability=float(chances.max(axis=1).mean()),
    )


def _following(lead: Ints, at: Ints, event_lead: Ints, event_at: Ints, horizon: int) -> Ints:
    """Return for each observation the first event of its lead from then on and within the horizon, else -1."""
    leads, times = np.concatenate([lead, event_lead]), np.concatenate([at, event_at])
    # An event at the very moment of an observation follows it.
    is_event = np.arange(len(leads)) >= len(lead)
    order = np.lexsort((is_event, times, leads))
    place = np.where(is_event[order], np.arange(len(order)), len(order))
    following = np.minimum.accumulate(place[::-1])[::-1]
    row = np.append(order, -1)[following]
    within_horizon = (row >= 0) & (leads[row] == leads[order]) & (times[row] < times[order] + horizon)
    events = np.empty(len(order), dtype=np.int64)
    events[order] = np.where(within_horizon, row - len(lead), -1)
    return events[: len(lead)]


def micros(moments: npt.ArrayLike) -> Ints:
    """Return moments, in whatever array they come, as microseconds since 1970; those without a zone are UTC."""
    if isinstance(moments, np.ndarray) and moments.dtype.kind == "M":
        # pyarrow would read the numbers of days as microseconds
        return moments.astype("datetime64[us]").astype(np.int64)
    return np.asarray(pa.array(moments, type=pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy())
