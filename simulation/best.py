"""The best action for a lead, by what a rep can see.

Visible states are divided into cells: the stage and the plan of the playbook, how often the lead has been contacted,
whether it has responded recently. The value of an action in a cell is the share of leads that are won within 90 days
if the reps take that action now and whenever the lead is in that cell again, and follow the playbook everywhere else.
It is the mean over those leads of a practice population whose visible state falls into the cell, and so over their
hidden traits. The best action is that of the highest value, or the playbook's if no other is better beyond the noise.

"Whenever again" matters: an action that is worth trying once (another invitation after a missed appointment) can fail
as a habit. When actions were tried only once, with the playbook afterwards (one step of policy improvement), some best
actions made a policy that won half as many leads as the playbook.

Limits: this is the best change of the playbook in one cell at a time, not the optimum over all plans; changes in
several cells may add up to less, or more. All leads of a cell get one action, although a finer division might separate
them. The mix of hidden traits in a cell is that of leads that the company has treated in its way.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from simulation.arrivals import Traits
from simulation.draws import Draws, Floats, Ints, stream_keys, uniform_at
from simulation.engine import Lives, RowPolicy, company_policy
from simulation.facts import Table, UnkeptTable
from simulation.policy import Action, Stage, playbook, possible, stage
from simulation.state import End, Visible
from simulation.world import DAY, World

HORIZON_DAYS = 90
"""Days within which a lead must be won to count for an action."""
CONTACTS = (3, 6, 10)
"""Lower bounds of the bands of the number of calls and e-mails, above the lowest band."""
RECENT_DAYS = 14
"""Days for which a response counts as recent."""
NOISE = 3.0
"""Standard errors by which an action must be better than the playbook's."""
FEWEST = 100
"""A cell with fewer decisions keeps the action of the playbook."""

_LEVELS = (len(Stage), len(Action), len(CONTACTS) + 1, 2, 2)
_CELLS = int(np.prod(_LEVELS))


def cells(seen: Visible) -> Ints:
    """Return the cell of each lead, a function of its visible state alone."""
    contacts = np.digitize(seen.calls + seen.emails, CONTACTS)
    recent = seen.now - seen.last_response < RECENT_DAYS * DAY
    # A lead that awaits an appointment may have an open proposal; every other stage tells whether it has one.
    levels = (stage(seen), playbook(seen), contacts, recent, ~possible(seen)[:, Action.SEND_PROPOSAL])
    return np.ravel_multi_index(tuple(level.astype(np.int64) for level in levels), _LEVELS).astype(np.int64)


@dataclass(frozen=True)
class BestActions:
    """The best action by cell; a policy that always takes it.

    Attributes
    ----------
    value, standard_error : array of float, shape (cells, 5)
        Share of leads won by each action, and its standard error; NaN where it is not known or cannot be taken.
    best : array of int64
        The `Action`, or -1 where the action of the playbook is kept.
    """

    value: Floats
    standard_error: Floats
    best: Ints

    def actions(self, seen: Visible) -> Ints:
        """Return the best `Action` for each lead."""
        best = self.best[cells(seen)]
        return np.where(best < 0, playbook(seen), best)

    def __call__(self, seen: Visible) -> Floats:
        """Return the probability of each action: 1 for the best."""
        return np.eye(len(Action))[self.actions(seen)]


def learn_best(
    world: World,
    practice: Iterable[tuple[Traits, int]],
    skill: Floats,
    *,
    decisions_per_cell: int = 400,
    branches: int = 4,
) -> BestActions:
    """Find the best actions by simulating each possible one.

    Parameters
    ----------
    world : World
        The parameters.
    practice : iterable of (Traits, int)
        Leads to learn from, each group with the seed of its streams.
    skill : array of float
        The skill of each rep.
    decisions_per_cell : int
        The most decisions per cell, in a group, on which the actions are tried.
    branches : int
        How often to try each action on a decision.

    Returns
    -------
    BestActions
        Equal for equal arguments.
    """
    decision_cells, outcomes = [], []
    for traits, seed in practice:
        cell, lead, at = _some_decisions(world, traits, skill, seed, decisions_per_cell)
        decision_cells.append(cell)
        outcomes.append(_shares_won(world, traits.take(lead), skill, seed, cell, at, branches))
    return _improved(np.concatenate(decision_cells), np.concatenate(outcomes))


def _some_decisions(world: World, traits: Traits, skill: Floats, seed: int, per_cell: int) -> tuple[Ints, Ints, Ints]:
    """Let the company treat the leads; return cell, row of the lead and time of a random sample of its decisions."""
    company, cells_seen = company_policy(world), []

    def recording(seen: Visible) -> Floats:
        cells_seen.append(cells(seen))
        return company(seen)

    lives = Lives.born(world, traits, skill, seed, Table)
    lives.play(traits.created + 2 * HORIZON_DAYS * DAY, recording, visits=False)
    decisions = lives.course().decisions
    cell = np.concatenate(cells_seen)
    lots = uniform_at(stream_keys(seed, "tried decisions", decisions["lead"], decisions["at"]), np.zeros_like(cell))
    order = np.lexsort((lots, cell))
    starts = np.flatnonzero(np.diff(cell[order], prepend=-1))
    rank = np.arange(len(cell)) - np.repeat(starts, np.diff(starts, append=len(cell)))
    chosen = order[rank < per_cell]
    return cell[chosen], decisions["lead"][chosen] - traits.numbers[0], decisions["at"][chosen]


def _shares_won(world: World, traits: Traits, skill: Floats, seed: int, cell: Ints, at: Ints, branches: int) -> Floats:
    """Return the share of leads won if each action is taken at each decision, and again in the same cell.

    The shape is (decisions, 5), with NaN where the action cannot be taken.
    """
    lives = Lives.born(world, traits, skill, seed)
    lives.play(at, company_policy(world), visits=False)
    able = possible(lives.state.visible(np.arange(len(at))))
    won = np.full(able.shape, np.nan)
    for action in Action:
        chosen = np.flatnonzero(able[:, action])
        # The same streams for every action make the difference of two actions less noisy than each of them.
        state = lives.state.take(np.repeat(chosen, branches))
        branch = np.tile(np.arange(branches), len(chosen))
        draws = Draws(seed, "tried actions", state.traits.numbers, state.now, branch)
        future = Lives(world, state, draws, skill, UnkeptTable)
        stop = state.now + HORIZON_DAYS * DAY
        future.force(np.arange(len(state)), np.full(len(state), action))
        future.play_by_row(stop, _habit(np.repeat(cell[chosen], branches), action), visits=False)
        won[chosen, action] = (state.end == End.WON).reshape(-1, branches).mean(axis=1)
    return won


def _habit(own: Ints, action: Action) -> RowPolicy:
    """Return the policy that takes the action in each lead's own cell, and follows the playbook elsewhere."""

    def policy(seen: Visible, rows: Ints) -> Floats:
        return np.eye(len(Action))[np.where(cells(seen) == own[rows], action, playbook(seen))]

    return policy


def _improved(cell: Ints, won: Floats) -> BestActions:
    planned = np.unravel_index(cell, _LEVELS)[1]
    gain = won - won[np.arange(len(cell)), planned][:, None]
    count = np.bincount(cell, minlength=_CELLS)[:, None]
    value, error = _by_cell(cell, won)
    better_by, noise = _by_cell(cell, gain)
    # A cell has one plan and one set of possible actions, so an action is known for all of its decisions or for none.
    better = (count >= FEWEST) & (better_by > NOISE * noise)
    best = np.where(better.any(axis=1), np.where(better, better_by, -np.inf).argmax(axis=1), -1)
    return BestActions(value=value, standard_error=error, best=best.astype(np.int64))


def _by_cell(cell: Ints, values: Floats) -> tuple[Floats, Floats]:
    """Return mean and standard error of the columns by cell."""
    count = np.bincount(cell, minlength=_CELLS).astype(np.float64)[:, None]
    moments = [
        np.stack([np.bincount(cell, weights=column, minlength=_CELLS) for column in power.T], axis=1)
        for power in (values, values**2)
    ]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = moments[0] / count
        return mean, np.sqrt((moments[1] / count - mean**2).clip(min=0.0) / count)
