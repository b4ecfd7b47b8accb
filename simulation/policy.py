"""How reps act on what they see: pure functions from the visible state to actions, probabilities and calendar days.

The playbook is sensible, not optimal: it ignores the intent of a lead, waits where a push would win, and pauses by the
calendar.
"""

from enum import IntEnum

import numpy as np

from simulation.draws import Bools, Floats, Ints
from simulation.state import Visible
from simulation.world import DAY, HOUR, NEVER

PUT_OFF_DAYS = 21
ANSWER_DAYS = 21
FOLLOW_UPS = 4
PAUSE_DAYS = 30
RETRY_DAYS = 2
SATURDAY = 5
DORMANT_AGE_DAYS = 60
FILED_AGE_DAYS = 200
"""Age from which on nobody looks at a dormant lead any more."""


DEVIATION_WEIGHTS = (3.0, 3.0, 1.0, 1.0, 2.0)
"""Relative frequencies of the actions of reps who deviate from the playbook, in the order of `Action`: calls and
e-mails are frequent, appointments and proposals are rare."""


class Action(IntEnum):
    """The actions of a rep; the columns of the recorded probabilities."""

    CALL_IMMEDIATE = 0
    EMAIL_NURTURE = 1
    SCHEDULE_APPOINTMENT = 2
    SEND_PROPOSAL = 3
    NO_ACTION = 4


class Stage(IntEnum):
    """The stage of a lead in the playbook; the first one that applies counts."""

    AWAITING_APPOINTMENT = 0
    AWAITING_ANSWER = 1
    FOLLOWING_UP = 2
    UNANSWERED = 3
    RESTING = 4
    TO_PROPOSE = 5
    REFUSED = 6
    MISSED = 7
    ENGAGED = 8
    DORMANT = 9
    PAUSED = 10
    REACHING_OUT = 11


def stage(seen: Visible) -> Ints:
    """Return the `Stage` of each lead."""
    proposed = seen.proposed != NEVER
    silent = _days_since(seen, seen.last_response) > PAUSE_DAYS
    dormant = silent & (_days_since(seen, seen.created) > DORMANT_AGE_DAYS)
    # Interest after a refused proposal calls for a better proposal, not for another meeting.
    improved = (seen.engaged != NEVER) & (seen.refusals > 0)
    conditions = [
        seen.booked != NEVER,
        proposed & (_days_since(seen, seen.proposed) < ANSWER_DAYS),
        proposed & (seen.follow_ups < FOLLOW_UPS),
        proposed,
        _days_since(seen, seen.put_off) < PUT_OFF_DAYS,
        (seen.met != NEVER) | improved,
        seen.refused != NEVER,
        seen.missed != NEVER,
        seen.engaged != NEVER,
        dormant,
        _days_since(seen, seen.fifth_last_contact) < PAUSE_DAYS,
    ]
    return np.select(conditions, list(Stage)[:-1], default=Stage.REACHING_OUT).astype(np.int64)


def playbook(seen: Visible) -> Ints:
    """Return the `Action` that the playbook names for each lead."""
    call, email = Action.CALL_IMMEDIATE, Action.EMAIL_NURTURE
    # The less used channel; at the first contact, a call if the lead looks promising.
    reach_out = np.where(
        seen.calls == seen.emails, np.where(seen.warm, call, email), np.where(seen.calls < seen.emails, call, email)
    )
    by_stage = np.full(len(Stage), Action.NO_ACTION)
    by_stage[Stage.TO_PROPOSE] = Action.SEND_PROPOSAL
    by_stage[Stage.ENGAGED] = Action.SCHEDULE_APPOINTMENT
    by_stage[[Stage.REFUSED, Stage.MISSED, Stage.FOLLOWING_UP]] = call
    now_at = stage(seen)
    return np.where(now_at == Stage.REACHING_OUT, reach_out, by_stage[now_at]).astype(np.int64)


def possible(seen: Visible) -> Bools:
    """Return which actions are possible: one appointment and one proposal at a time. Shape (leads, actions)."""
    able = np.ones((len(seen.now), len(Action)), dtype=np.bool_)
    able[:, Action.SCHEDULE_APPOINTMENT] = seen.booked == NEVER
    able[:, Action.SEND_PROPOSAL] = seen.proposed == NEVER
    return able


def probabilities(seen: Visible, deviation: float) -> Floats:
    """Return the probability of each action.

    Parameters
    ----------
    seen : Visible
        The visible state of the leads.
    deviation : float
        Probability of deviating from the playbook; `DEVIATION_WEIGHTS` divide it among the other possible actions.

    Returns
    -------
    array of float, shape (leads, 5)
        Rows add up to 1; the columns are those of `Action`.
    """
    rows = np.arange(len(seen.now))
    planned = playbook(seen)
    others = possible(seen) * np.array(DEVIATION_WEIGHTS)
    others[rows, planned] = 0.0
    chances: Floats = others * (deviation / others.sum(axis=1, keepdims=True))
    chances[rows, planned] = 1.0 - deviation
    return chances


def first_look(created: Ints, uniform: Floats) -> Ints:
    """Return when a rep first looks at new leads: within hours, or on the next working morning."""
    at = created + ((0.5 + 2.0 * uniform) * HOUR).astype(np.int64)
    hour = at % DAY // HOUR
    before_work, after_work = hour < 8, hour >= 17
    morning = (at // DAY + after_work) * DAY + ((8.0 + 2.0 * uniform) * HOUR).astype(np.int64)
    look = np.where(before_work | after_work, morning, at)
    weekday = _weekday(look)
    return np.where(weekday >= SATURDAY, look + (7 - weekday) * DAY, look)


def next_look(seen: Visible, uniform: Floats) -> Ints:
    """Return when a rep looks at each lead again; `NEVER` if the rep waits for an event.

    Parameters
    ----------
    seen : Visible
        The visible state of the leads, now.
    uniform : array of float
        Draws on (0, 1) that place the look within the working day.

    Returns
    -------
    array of int64
        Microseconds since 1970, on working days from 9 to 16 UTC.
    """
    today = seen.now // DAY

    def on_day(since: Ints, *waits: int) -> Ints:
        # If the day has passed, the rep has deviated then, and looks again after two days.
        due = today + RETRY_DAYS
        for wait in reversed(waits):
            due = np.where(since // DAY + wait > today, since // DAY + wait, due)
        return due

    never = np.full_like(today, NEVER // DAY)
    by_stage = {
        Stage.AWAITING_APPOINTMENT: np.where(_days_since(seen, seen.booked) < 3, on_day(seen.booked, 3), never),
        Stage.AWAITING_ANSWER: on_day(seen.proposed, 2, ANSWER_DAYS),
        Stage.FOLLOWING_UP: on_day(seen.last_contact, 5),
        Stage.UNANSWERED: today + 14,
        Stage.RESTING: on_day(seen.put_off, 4, PUT_OFF_DAYS),
        Stage.TO_PROPOSE: np.where(seen.met != NEVER, on_day(seen.met, 8), on_day(seen.engaged, 3)),
        Stage.REFUSED: on_day(seen.refused, 8),
        Stage.MISSED: on_day(seen.missed, 1),
        Stage.ENGAGED: on_day(seen.engaged, 4),
        Stage.DORMANT: np.where(_days_since(seen, seen.created) < FILED_AGE_DAYS, today + 28, never),
        Stage.PAUSED: on_day(seen.fifth_last_contact, PAUSE_DAYS),
        Stage.REACHING_OUT: on_day(seen.last_contact, 3),
    }
    day = np.choose(stage(seen), [by_stage[each] for each in Stage])
    some_day = np.where(day == never, today, day)
    look = some_day * DAY + ((9.0 + 7.0 * uniform) * HOUR).astype(np.int64)
    # Looks of a Saturday move to Monday, those of a Sunday to Tuesday, so that Mondays do not get all of them.
    look = look + np.where(_weekday(look) >= SATURDAY, 2, 0) * DAY
    return np.where(day == never, NEVER, look)


def _days_since(seen: Visible, since: Ints) -> Ints:
    # Reps count calendar days. `LONG_AGO` gives a large number of days, `NEVER` a negative one.
    return seen.now // DAY - since // DAY


def _weekday(at: Ints) -> Ints:
    # 1970-01-01 was a Thursday: three days after a Monday.
    return (at // DAY + 3) % 7
