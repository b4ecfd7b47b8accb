"""The course of events: from one moment at which something comes for a lead to the next, until nothing comes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from simulation.arrivals import Traits
from simulation.draws import Draws, Floats, Ints
from simulation.dynamics import Dynamics
from simulation.facts import Table
from simulation.policy import Action, first_look, next_look, probabilities
from simulation.state import Coming, State
from simulation.world import NEVER, World

Columns = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Course:
    """What happened to some leads, by columns. Times are microseconds since 1970; `NEVER` stands for none.

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


def run(world: World, traits: Traits, skill: Floats, until: int, seed: int) -> Course:
    """Let some leads live from their creation on.

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
        The same whichever leads are simulated together.
    """
    state = State(traits)
    draws = Draws(seed, "life", traits.numbers)
    dynamics = Dynamics(world, state, draws, skill)
    decisions = Table(lead="i8", at="i8", action="i1")
    chances: list[Floats] = [np.empty((0, len(Action)))]
    open_rows = np.arange(len(state))
    dynamics.make_known()
    state.due[:, Coming.DECISION] = first_look(traits.created, draws.uniform(open_rows))

    while len(open_rows):
        coming = state.due[open_rows]
        kind = coming.argmin(axis=1)
        moment = np.minimum(coming[np.arange(len(open_rows)), kind], until)
        dynamics.visit(open_rows, moment)
        state.now[open_rows] = moment
        alive = moment < until
        open_rows, kind = open_rows[alive], kind[alive]

        dynamics.reply(open_rows[kind == Coming.REPLY])
        dynamics.appointment(open_rows[kind == Coming.APPOINTMENT])
        dynamics.answer(open_rows[kind == Coming.ANSWER])
        deciding = open_rows[kind == Coming.DECISION]
        probability = probabilities(state.visible(deciding), world.deviation)
        # The last column is left out of the comparison: rounding must not yield a sixth action.
        action = (draws.uniform(deciding)[:, None] > probability.cumsum(axis=1)[:, :-1]).sum(axis=1)
        decisions.append(len(deciding), lead=traits.numbers[deciding], at=state.now[deciding], action=action)
        chances.append(probability)
        dynamics.call(deciding[action == Action.CALL_IMMEDIATE])
        dynamics.email(deciding[action == Action.EMAIL_NURTURE])
        dynamics.book(deciding[action == Action.SCHEDULE_APPOINTMENT])
        dynamics.propose(deciding[action == Action.SEND_PROPOSAL])

        open_rows = open_rows[state.ended[open_rows] == NEVER]
        state.due[open_rows, Coming.DECISION] = next_look(state.visible(open_rows), draws.uniform(open_rows))

    dynamics.leave_open()
    interactions = dynamics.interactions.columns()
    responses = dynamics.responses.columns()
    interactions["responded"][responses["row"]] = responses["at"]
    return Course(
        interactions=interactions,
        appointments=dynamics.appointments.columns(),
        projects=dynamics.projects.columns(),
        decisions=decisions.columns() | {"chances": np.concatenate(chances)},
        end=state.end,
        ended=state.ended,
    )
