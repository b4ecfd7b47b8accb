"""Histories of deals: stages, expected close dates and amounts as the CRM has overwritten them.

They follow from how eager the lead is at the time of the proposal, and from draws of their own. So they tell of how a
deal will end, and change nothing else.
"""

import numpy as np
import numpy.typing as npt

from simulation.arrivals import Traits
from simulation.draws import Draws, Floats, Ints
from simulation.engine import Columns
from simulation.facts import ProjectStatus
from simulation.world import DAY, NEVER, World

STAGES = ("offer sent", "in review", "negotiation", "contract drafted")
"""The stages of an open deal, in their order; each begins in the first."""
ENDED = ("won", "lost")
"""The last stage of a deal: one that is withdrawn is lost."""
DEAL_COLUMNS = ("stage", "value", "expected_close_at")
"""The columns of projects of which there is a history, in the order of their codes."""

MOST = 8
"""Most changes of each column of a deal, the first value and the last stage not counted."""
MOVE_DAYS, PUSH_DAYS, CUT_DAYS = 5.0, 9.0, 14.0
"""Mean days from one change of stage, of the close date, or of the amount to the next, for a deal of middling
eagerness."""
FORWARD, FORWARD_BY_EAGERNESS = 0.9, 1.1
"""Logit of the chance that a change of stage is a step forward and not back, and what eagerness adds to it."""
MOVE_BY_EAGERNESS, PUSH_BY_EAGERNESS, CUT_BY_EAGERNESS = -0.2, 0.6, 0.7
"""What eagerness adds to the logarithm of those mean days."""


def eagerness(world: World, traits: Traits, projects: Columns) -> Floats:
    """Return how eager the lead of each proposal is, of standard deviation 1 or so, and between -2 and 2.

    It is the part of the logit of the chance to win that is there from the proposal on: intent, and price over budget.
    """
    row = projects["lead"] - traits.numbers[0]
    proposed = projects["proposed"]
    logit = world.at(proposed, lambda then: then.win_by_intent) * (traits.intent[row] - 0.5) - world.at(
        proposed, lambda then: then.win_by_price
    ) * np.log(projects["value"] / traits.budget[row])
    return np.clip(logit / 1.1, -2.0, 2.0)


def histories(world: World, traits: Traits, projects: Columns, end: int, seed: int) -> tuple[Columns, Columns]:
    """Return the histories of the deals of some leads, and what the CRM shows of each deal at the end.

    Parameters
    ----------
    world : World
        The parameters.
    traits : Traits
        The leads.
    projects : dict of arrays
        As in `simulation.recording.Records`.
    end : int
        The end of the export, in microseconds since 1970.
    seed : int
        The seed of the simulation.

    Returns
    -------
    dict of arrays
        The changes, the first values included: `project` (a row of `projects`), `column` (codes of `DEAL_COLUMNS`),
        `number` within the deal and column, `value` (codes of `STAGES` and `ENDED`, an amount, or microseconds since
        1970), and `changed`. Sorted by deal, time and column.
    dict of arrays
        `stage`, `value` and `expected_close_at` of each deal.
    """
    deals = len(projects["lead"])
    rows = np.arange(deals)
    draws = Draws(seed, "deals", projects["lead"], projects["number"])
    eager = eagerness(world, traits, projects)
    proposed, closed = projects["proposed"], projects["closed"]
    stop = np.minimum(closed, end)

    def moments(mean_days: float, by_eagerness: float) -> Ints:
        """Return the times of the changes; `NEVER` from the closing on."""
        mean = mean_days * np.exp(by_eagerness * eager)
        days = np.cumsum(np.stack([-mean * np.log(draws.uniform(rows)) for _ in range(MOST)], axis=1), axis=1)
        at = proposed[:, None] + (days * DAY).astype(np.int64)
        return np.where(at < stop[:, None], at, NEVER)

    stage_at = moments(MOVE_DAYS, MOVE_BY_EAGERNESS)
    chance = 1.0 / (1.0 + np.exp(-(FORWARD + FORWARD_BY_EAGERNESS * eager)))
    stages = [np.zeros(deals)]
    for move in range(MOST):
        step = np.where(draws.chance(rows, chance), 1.0, -1.0)
        to = np.clip(stages[-1] + step, 0.0, len(STAGES) - 1.0)
        stage_at[to == stages[-1], move] = NEVER
        stages.append(to)

    day = proposed // DAY * DAY
    plans = [day + np.floor(draws.between(rows, 7.0, 28.0)).astype(np.int64) * DAY]
    for _ in range(MOST):
        plans.append(plans[-1] + np.floor(draws.between(rows, 5.0, 26.0)).astype(np.int64) * DAY)
    amounts = [projects["value"]]
    for _ in range(MOST):
        rises = draws.chance(rows, 0.12)
        factor = np.where(rises, draws.between(rows, 1.02, 1.06), draws.between(rows, 0.92, 0.98))
        amounts.append(np.round(amounts[-1] * factor, -2))

    last = np.where(projects["status"] == ProjectStatus.WON, len(STAGES), len(STAGES) + 1).astype(np.float64)
    told = (
        (np.stack([*stages, last], axis=1), np.column_stack([proposed, stage_at, closed])),
        (np.stack(amounts, axis=1), np.column_stack([proposed, moments(CUT_DAYS, CUT_BY_EAGERNESS)])),
        (
            np.stack(plans, axis=1).astype(np.float64),
            np.column_stack([proposed, moments(PUSH_DAYS, PUSH_BY_EAGERNESS)]),
        ),
    )
    changes: dict[str, list[npt.NDArray[np.generic]]] = {
        name: [] for name in ("project", "column", "number", "value", "changed")
    }
    shown: Columns = {}
    for code, (values, at) in enumerate(told):
        project, number = np.nonzero(at < NEVER)
        for name, column in (
            ("project", project),
            ("column", np.full(len(project), code)),
            ("number", number),
            ("value", values[project, number]),
            ("changed", at[project, number]),
        ):
            changes[name].append(column)
        latest = at.shape[1] - 1 - np.argmax((at < NEVER)[:, ::-1], axis=1)
        shown[DEAL_COLUMNS[code]] = values[rows, latest]
    found: Columns = {name: np.concatenate(blocks) for name, blocks in changes.items()}
    order = np.lexsort((found["column"], found["changed"], found["project"]))
    return {name: values[order] for name, values in found.items()}, shown
