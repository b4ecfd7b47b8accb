"""The state of each lead at a moment: what a rep can see, and the events that are due.

The state is a structure of arrays, one position per lead, so that a moment of many leads is one step.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from simulation.arrivals import Traits
from simulation.draws import Bools, Floats, Ints
from simulation.world import NEVER

LONG_AGO = -(2**62)
"""A time before everything, for what has not happened yet."""

REMEMBERED_CONTACTS = 5
"""Number of latest contacts that a rep looks at before pausing."""


class Coming(IntEnum):
    """Kinds of events that can be due for a lead; the columns of `State.due`."""

    DECISION = 0
    REPLY = 1
    APPOINTMENT = 2
    ANSWER = 3


class End(IntEnum):
    """How a lead ended."""

    OPEN = 0
    WON = 1
    NOT_INTERESTED = 2


@dataclass(frozen=True)
class Visible:
    """What a rep sees of some leads at the moment of a decision. Times are microseconds since 1970.

    Attributes
    ----------
    now, created : array of int64
        The moment, and the creation of the lead.
    warm : array of bool
        Whether the source or the property value suggests a call.
    calls, emails : array of int64
        Number of calls and e-mails to the lead so far.
    last_contact, fifth_last_contact, last_response : array of int64
        Times of contacts and responses; `LONG_AGO` if never.
    put_off : array of int64
        When the lead last asked to be contacted later; `LONG_AGO` if never.
    booked : array of int64
        When the coming appointment was booked; `NEVER` if there is none.
    proposed : array of int64
        When the open proposal was made; `NEVER` if none is open.
    met, missed, refused, engaged : array of int64
        Since when the lead has been met and got no proposal; has missed an appointment, or refused a proposal, and not
        been contacted since; has shown interest and got neither appointment nor proposal. `NEVER` if not so.
    follow_ups : array of int64
        Contacts since the open proposal was made.
    refusals : array of int64
        Proposals refused so far.
    """

    now: Ints
    created: Ints
    warm: Bools
    calls: Ints
    emails: Ints
    last_contact: Ints
    fifth_last_contact: Ints
    last_response: Ints
    put_off: Ints
    booked: Ints
    proposed: Ints
    met: Ints
    missed: Ints
    refused: Ints
    engaged: Ints
    follow_ups: Ints
    refusals: Ints


class State:
    """The state of some leads.

    Parameters
    ----------
    traits : Traits
        The traits of the same leads, in the same order.
    """

    def __init__(self, traits: Traits) -> None:
        leads = len(traits.numbers)

        def times(value: int) -> Ints:
            return np.full(leads, value, dtype=np.int64)

        self.traits = traits
        self.now = traits.created.copy()
        self.due = np.full((leads, len(Coming)), NEVER, dtype=np.int64)

        self.calls, self.emails = times(0), times(0)
        self.contacts = np.full((leads, REMEMBERED_CONTACTS), LONG_AGO, dtype=np.int64)
        self.last_response, self.put_off = times(LONG_AGO), times(LONG_AGO)
        self.booked, self.proposed = times(NEVER), times(NEVER)
        self.met, self.missed, self.refused, self.engaged = times(NEVER), times(NEVER), times(NEVER), times(NEVER)
        self.follow_ups, self.refusals = times(0), times(0)
        self.meetings = times(0)

        # The mood and the channel of the next reply, and the row of the interaction that it answers.
        self.reply_mood, self.reply_type, self.reply_to = times(0), times(0), times(-1)
        self.scheduled, self.appointment_fate = times(NEVER), times(0)
        self.chance_to_keep = np.zeros(leads)
        # When the lead was pushed to answer the open proposal sooner.
        self.pushed = times(LONG_AGO)
        self.appointments, self.moved_from = times(0), times(-1)
        self.projects, self.proposal_row = times(0), times(-1)
        self.offer = np.zeros(leads)
        self.cost = np.zeros(leads)

        self.end = np.zeros(leads, dtype=np.int64)
        self.ended = times(NEVER)

    def __len__(self) -> int:
        """Return the number of leads."""
        return len(self.now)

    def take(self, rows: Ints) -> "State":
        """Return a copy of the state of some leads, which may be named more than once."""
        taken = State(self.traits.take(rows))
        for name, values in vars(self).items():
            if name != "traits":
                setattr(taken, name, values[rows])
        return taken

    def rep(self, rows: Ints, at: Ints) -> Ints:
        """Return the rep in charge of each lead at the given time."""
        traits = self.traits
        return np.where(at < traits.handed_over[rows], traits.rep[rows], traits.next_rep[rows])

    def count_contact(self, rows: Ints, at: Ints) -> None:
        """Count a call or e-mail to the leads: a missed appointment or a refusal is thereby followed up."""
        self.contacts[rows, 1:] = self.contacts[rows, :-1]
        self.contacts[rows, 0] = at
        self.missed[rows] = NEVER
        self.refused[rows] = NEVER
        self.follow_ups[rows] += self.proposed[rows] != NEVER

    def fatigue(self, rows: Ints) -> Floats:
        """Return by how much the contacts so far exceed the patience of the leads, as a share of it."""
        used = (self.calls[rows] + self.emails[rows]) / self.traits.patience[rows]
        return np.maximum(0.0, used - 1.0)

    def visible(self, rows: Ints) -> Visible:
        """Return what a rep sees of the leads now."""
        return Visible(
            now=self.now[rows],
            created=self.traits.created[rows],
            warm=self.traits.warm[rows],
            calls=self.calls[rows],
            emails=self.emails[rows],
            last_contact=self.contacts[rows, 0],
            fifth_last_contact=self.contacts[rows, -1],
            last_response=self.last_response[rows],
            put_off=self.put_off[rows],
            booked=self.booked[rows],
            proposed=self.proposed[rows],
            met=self.met[rows],
            missed=self.missed[rows],
            refused=self.refused[rows],
            engaged=self.engaged[rows],
            follow_ups=self.follow_ups[rows],
            refusals=self.refusals[rows],
        )
