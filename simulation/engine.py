"""The course of events: leads go from one due event to the next, until none is due."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from simulation.arrivals import Traits
from simulation.draws import Draws, Floats, Ints
from simulation.dynamics import Dynamics
from simulation.facts import Table, UnkeptTable
from simulation.policy import Action, first_look, next_look, probabilities
from simulation.state import Coming, State, Visible
from simulation.world import NEVER, World

Columns = dict[str, npt.NDArray[Any]]
Policy = Callable[[Visible], Floats]
"""A function from what a rep sees of some leads to the probability of each action, of shape (leads, 5)."""
RowPolicy = Callable[[Visible, Ints], Floats]
"""A policy that also gets the rows of the leads, and may treat each in its own way."""


@dataclass(frozen=True)
class Course:
    """The events of some leads, by columns. Times are microseconds since 1970; `NEVER` stands for none.

    Attributes
    ----------
    interactions, appointments, projects : dict of arrays
        The facts, with the codes of `simulation.facts`.
    decisions : dict of arrays
        `lead`, `at`, `action` and `chances`, the probability that each action had, of shape (decisions, 5).
    end, ended : array of int64
        How (`simulation.state.End`) and when each lead ended.
    """

    interactions: Columns
    appointments: Columns
    projects: Columns
    decisions: Columns
    end: Ints
    ended: Ints


class Lives:
    """The lives of some leads, as far as they have been simulated.

    Parameters
    ----------
    world : World
        The parameters.
    state : State
        The leads; changed in place.
    draws : Draws
        A stream for each lead.
    skill : array of float
        The skill of each rep.
    table : type of Table
        The kind of table that facts and decisions are written into.
    """

    def __init__(self, world: World, state: State, draws: Draws, skill: Floats, table: type[Table]) -> None:
        self.state = state
        self.dynamics = Dynamics(world, state, draws, skill, table)
        self._draws = draws
        self._decisions = table(lead="i8", at="i8", action="i1", **{action.name: "f8" for action in Action})

    @classmethod
    def born(
        cls,
        world: World,
        traits: Traits,
        skill: Floats,
        seed: int,
        table: type[Table] = UnkeptTable,
        draws: Draws | None = None,
    ) -> "Lives":
        """Return the lives of leads that have just arrived, by default with the streams of the export."""
        draws = draws or Draws(seed, "life", traits.numbers)
        lives = cls(world, State(traits), draws, skill, table)
        lives.dynamics.make_known()
        lives.state.due[:, Coming.DECISION] = first_look(traits.created, draws.uniform(np.arange(len(lives.state))))
        return lives

    def play(self, until: Ints | int, policy: Policy, *, visits: bool = True) -> None:
        """Simulate the leads further under one policy for all of them; otherwise as `play_by_row`."""
        self.play_by_row(until, lambda seen, _: policy(seen), visits=visits)

    def play_by_row(self, until: Ints | int, policy: RowPolicy, *, visits: bool = True) -> None:
        """Simulate the leads further.

        Parameters
        ----------
        until : int or array of int64
            When to stop, for all leads or for each, in microseconds since 1970. Events at that very moment stay due.
        policy : RowPolicy
            How the reps act.
        visits : bool
            Whether leads visit the web site. Visits change nothing but the facts, but they use the stream.
        """
        state, dynamics = self.state, self.dynamics
        stop = np.broadcast_to(np.asarray(until, dtype=np.int64), (len(state),))
        open_rows = np.flatnonzero(state.ended == NEVER)
        while len(open_rows):
            coming = state.due[open_rows]
            kind = coming.argmin(axis=1)
            moment = np.minimum(coming[np.arange(len(open_rows)), kind], stop[open_rows])
            if visits:
                dynamics.visit(open_rows, moment)
            state.now[open_rows] = moment
            alive = moment < stop[open_rows]
            open_rows, kind = open_rows[alive], kind[alive]

            dynamics.reply(open_rows[kind == Coming.REPLY])
            dynamics.appointment(open_rows[kind == Coming.APPOINTMENT])
            dynamics.answer(open_rows[kind == Coming.ANSWER])
            deciding = open_rows[kind == Coming.DECISION]
            probability = policy(state.visible(deciding), deciding)
            # Without the last column, because rounding must not yield a sixth action.
            drawn = self._draws.uniform(deciding)[:, None] > probability.cumsum(axis=1)[:, :-1]
            self._act(deciding, drawn.sum(axis=1), probability)
            open_rows = open_rows[state.ended[open_rows] == NEVER]
            self._look_again(open_rows)

    def force(self, rows: Ints, action: Ints) -> None:
        """Let the reps take an action for each lead now, whatever is due."""
        self._act(rows, action, np.eye(len(Action))[action])
        self._look_again(rows[self.state.ended[rows] == NEVER])

    def _act(self, rows: Ints, action: Ints, probability: Floats) -> None:
        state, dynamics = self.state, self.dynamics
        chances = {each.name: probability[:, each] for each in Action}
        self._decisions.append(len(rows), lead=state.traits.numbers[rows], at=state.now[rows], action=action, **chances)
        dynamics.call(rows[action == Action.CALL_IMMEDIATE])
        dynamics.email(rows[action == Action.EMAIL_NURTURE])
        dynamics.book(rows[action == Action.SCHEDULE_APPOINTMENT])
        dynamics.propose(rows[action == Action.SEND_PROPOSAL])

    def _look_again(self, rows: Ints) -> None:
        state = self.state
        state.due[rows, Coming.DECISION] = next_look(state.visible(rows), self._draws.uniform(rows))

    def course(self) -> Course:
        """Write the appointments and proposals that are still open, and return all events."""
        self.dynamics.leave_open()
        interactions = self.dynamics.interactions.columns()
        responses = self.dynamics.responses.columns()
        interactions["responded"][responses["row"]] = responses["at"]
        decisions = self._decisions.columns()
        chances = np.stack([decisions.pop(action.name) for action in Action], axis=1)
        return Course(
            interactions=interactions,
            appointments=self.dynamics.appointments.columns(),
            projects=self.dynamics.projects.columns(),
            decisions=decisions | {"chances": chances},
            end=self.state.end,
            ended=self.state.ended,
        )


def company_policy(world: World) -> Policy:
    """Return the policy of the company's reps: the playbook, with the deviation of the company."""
    return lambda seen: probabilities(seen, world.deviation)


def run(world: World, traits: Traits, skill: Floats, until: int, seed: int) -> Course:
    """Simulate some leads from their creation on, and return their events.

    Parameters
    ----------
    world : World
        The parameters.
    traits : Traits
        The leads.
    skill : array of float
        The skill of each rep.
    until : int
        When to stop, in microseconds since 1970.
    seed : int
        The seed of the simulation.

    Returns
    -------
    Course
        The same, whichever leads are simulated together.
    """
    lives = Lives.born(world, traits, skill, seed, Table)
    lives.play(until, company_policy(world))
    return lives.course()
