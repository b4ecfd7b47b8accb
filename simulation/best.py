"""The best action on what a rep can see of a lead.

What can be seen is put into cells: the playbook's stage and what it plans, how often the lead has been contacted,
whether it has responded of late. The value of an action in a cell is the share of leads that are won within 90 days
when the reps take that action now and whenever the lead is in that cell again, and follow the playbook everywhere else;
averaged over the leads of a practice population whose visible state falls into the cell. So what is hidden is
integrated out, by its distribution among such leads. The best action is the one of highest value; the playbook's, where
no other is better by more than the noise.

Why "whenever again": an action that is worth trying once (another invitation after a missed appointment) can be a trap
as a habit. Taken only now, with the playbook afterwards (one step of policy improvement), some best actions made a
policy that won half as many leads as the playbook.

Limits. It is the best change of the playbook in one cell at a time, not the optimum over all plans: changes in several
cells may add up to less, or more. Leads of one cell that a finer look would tell apart get one action. The mix of
hidden traits in a cell is that of leads treated as the company treats them.
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
"""Within which a lead must be won to count for an action."""
CONTACTS = (3, 6, 10)
"""From which numbers of calls and e-mails on a lead is told from those contacted less."""
RECENT_DAYS = 14
"""For how long a response counts as recent."""
NOISE = 3.0
"""By how many standard errors an action must be better than the playbook's."""
FEWEST = 100
"""Decisions below which a cell is left to the playbook."""

_LEVELS = (len(Stage), len(Action), len(CONTACTS) + 1, 2, 2)
_CELLS = int(np.prod(_LEVELS))


def cells(seen: Visible) -> Ints:
    """Return the cell of each lead: a function of what can be seen alone."""
    contacts = np.digitize(seen.calls + seen.emails, CONTACTS)
    recent = seen.now - seen.last_response < RECENT_DAYS * DAY
    # A proposal may be open behind an appointment; in every other stage the stage says so.
    levels = (stage(seen), playbook(seen), contacts, recent, ~possible(seen)[:, Action.SEND_PROPOSAL])
    return np.ravel_multi_index(tuple(level.astype(np.int64) for level in levels), _LEVELS).astype(np.int64)


@dataclass(frozen=True)
class BestActions:
    """The best action by cell; as a policy, it is always taken.

    Attributes
    ----------
    value, standard_error : array of float, shape (cells, 5)
        Share of leads won by each action, and its standard error; NaN where it is not known or cannot be taken.
    best : array of int64
        The `Action`, or -1 where the playbook's is kept.
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
    """Find the best actions by playing each possible one out.

    Parameters
    ----------
    world : World
        The parameters.
    practice : iterable of (Traits, int)
        Leads to learn from, each group with the seed of its streams.
    skill : array of float
        The skill of each rep.
    decisions_per_cell : int
        How many of the decisions about these leads to try the actions on, at most, in a group.
    branches : int
        How often to try each action on a decision.

    Returns
    -------
    BestActions
        The same for the same arguments.
    """
    tried, outcomes = [], []
    for traits, seed in practice:
        cell, lead, at = _some_decisions(world, traits, skill, seed, decisions_per_cell)
        tried.append(cell)
        outcomes.append(_tried(world, traits.take(lead), skill, seed, cell, at, branches))
    return _improved(np.concatenate(tried), np.concatenate(outcomes))


def _some_decisions(world: World, traits: Traits, skill: Floats, seed: int, per_cell: int) -> tuple[Ints, Ints, Ints]:
    """Let the company treat the leads; return cell, row of the lead and time of some of its decisions, at random."""
    company, noted = company_policy(world), []

    def noting(seen: Visible) -> Floats:
        noted.append(cells(seen))
        return company(seen)

    lives = Lives.born(world, traits, skill, seed, Table)
    lives.play(traits.created + 2 * HORIZON_DAYS * DAY, noting, visits=False)
    decisions = lives.course().decisions
    cell = np.concatenate(noted)
    lot = uniform_at(stream_keys(seed, "tried decisions", decisions["lead"], decisions["at"]), np.zeros_like(cell))
    order = np.lexsort((lot, cell))
    starts = np.flatnonzero(np.diff(cell[order], prepend=-1))
    rank = np.arange(len(cell)) - np.repeat(starts, np.diff(starts, append=len(cell)))
    chosen = order[rank < per_cell]
    return cell[chosen], decisions["lead"][chosen] - traits.numbers[0], decisions["at"][chosen]


def _tried(world: World, traits: Traits, skill: Floats, seed: int, cell: Ints, at: Ints, branches: int) -> Floats:
    """Try each action on the decisions, and again in the same cell.

    Return the share of leads won, shape (decisions, 5); NaN where the action cannot be taken.
    """
    lives = Lives.born(world, traits, skill, seed)
    lives.play(at, company_policy(world), visits=False)
    able = possible(lives.state.visible(np.arange(len(at))))
    won = np.full(able.shape, np.nan)
    for action in Action:
        chosen = np.flatnonzero(able[:, action])
        # The same streams for every action: their difference is less noisy than they are.
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
    """Return the policy of taking the action in the cell that each lead is tried in, else following the playbook."""

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
