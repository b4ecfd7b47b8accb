"""How leads react to what reps do: calls, e-mails, appointments, proposals, and their answers.

Each method changes the state of some leads at their present moment and writes the facts. The time of a coming reply,
appointment or answer is put into `State.due`; the outcome of an answer is drawn when it comes, so that events in
between can change it.
"""

from enum import IntEnum

import numpy as np

from simulation.draws import Draws, Floats, Ints
from simulation.facts import (
    NOBODY,
    SYSTEM,
    AppointmentStatus,
    Direction,
    Outcome,
    ProjectStatus,
    Table,
    Type,
)
from simulation.state import LONG_AGO, Coming, End, State
from simulation.world import DAY, HOUR, MINUTE, NEVER, SECOND, World


class Mood(IntEnum):
    """The content of a response."""

    INTERESTED = 0
    LATER = 1
    NOT_INTERESTED = 2


EXPIRY_DAYS = 45
"""Age from which on a proposal without an answer is withdrawn."""

PAGE = 40 * SECOND
"""Time from one page of a web visit to the next."""

_TRIES = 100
"""Most draws of a pending event until it lies ahead; if none does, the event stays as it was."""

_CALL_OUTCOME = np.array([Outcome.REACHED, Outcome.LATER, Outcome.NOT_INTERESTED])
_REPLY_OUTCOME = np.array([Outcome.INTERESTED, Outcome.LATER, Outcome.NOT_INTERESTED])


class Dynamics:
    """Some leads, the events that change them, and the resulting facts.

    Parameters
    ----------
    world : World
        The parameters.
    state : State
        The leads; changed in place.
    draws : Draws
        The streams of the same leads.
    skill : array of float
        The skill of each rep, in logits of the chance to win.
    table : type of Table
        The kind of table that facts are written into.
    """

    def __init__(self, world: World, state: State, draws: Draws, skill: Floats, table: type[Table] = Table) -> None:
        self.world = world
        self.state = state
        self.draws = draws
        self.skill = skill
        self.interactions = table(
            lead="i8",
            type="i1",
            direction="i1",
            occurred="i8",
            performer="i2",
            outcome="i1",
            opened="i8",
            responded="i8",
        )
        self.responses = table(row="i8", at="i8")
        self.appointments = table(
            lead="i8", number="i8", booked="i8", scheduled="i8", status="i1", ended="i8", moved_from="i8"
        )
        self.projects = table(lead="i8", number="i8", value="f8", cost="f8", status="i1", proposed="i8", closed="i8")

    # ------------------------------------------------------------------------------------------------ what leads do

    def make_known(self) -> None:
        """Write the first contact of each lead, by the type of its source."""
        traits = self.state.traits
        types = np.array([Type[source.first_contact.upper()] for source in self.world.sources])[traits.source]
        performer = np.where(types == Type.WEB, NOBODY, traits.rep)
        self._write(np.arange(len(self.state)), traits.created, types, Direction.INBOUND, performer=performer)

    def visit(self, rows: Ints, until: Ints) -> None:
        """Let the leads visit the web site between now and the given times; older leads visit more rarely."""
        state = self.state
        fade = self.world.interest_days * DAY
        age = state.now[rows] - state.traits.created[rows]
        share = np.exp(-age / fade) - np.exp(-(until - state.traits.created[rows]) / fade)
        expected = state.traits.visits[rows] * share * np.where(state.proposed[rows] != NEVER, 2.0, 1.0)
        # Geometric rather than Poisson: visits come in bunches.
        visits_drawn = np.log(self.draws.uniform(rows)) / np.log(expected / (1.0 + expected) + 1e-300)
        count = np.minimum(visits_drawn, 400.0).astype(np.int64)
        visitors, when = self.draws.repeated(rows, count)
        position = np.repeat(np.arange(len(rows)), count)
        start, stop = state.now[rows][position], until[position]
        at = start + (when * (stop - start)).astype(np.int64)
        # The hour of the day follows the habits of the source, unless the visit would leave the interval.
        _, hour_draw = self.draws.repeated(rows, count)
        habitual = at // DAY * DAY + (self._hour_of_day(visitors, hour_draw) * HOUR).astype(np.int64)
        at = np.where((start < habitual) & (habitual < stop), habitual, at)
        # A visit has a few pages, one after the other.
        _, page_draw = self.draws.repeated(rows, count)
        pages = 1 + np.floor(np.log(page_draw) / np.log(1.0 - 1.0 / self.world.pages)).astype(np.int64)
        page_at = np.repeat(at, pages) + (np.arange(pages.sum()) - np.repeat(np.cumsum(pages) - pages, pages)) * PAGE
        in_time = page_at < np.repeat(stop, pages)
        self._write(np.repeat(visitors, pages)[in_time], page_at[in_time], Type.WEB, Direction.INBOUND)

    def _hour_of_day(self, rows: Ints, uniform: Floats) -> Floats:
        habits = np.array([source.hours for source in self.world.sources], dtype=np.float64)
        edges = np.concatenate([np.zeros((len(habits), 1)), habits.cumsum(axis=1)], axis=1)
        edges /= edges[:, -1:]
        source = self.state.traits.source[rows]
        hours = np.empty(len(rows))
        for index, edge in enumerate(edges):
            of_source = source == index
            hours[of_source] = np.interp(uniform[of_source], edge, np.arange(25))
        return hours

    def reply(self, rows: Ints) -> None:
        """Write the replies that are due, and let the leads respond."""
        state = self.state
        state.due[rows, Coming.REPLY] = NEVER
        mood, channel = state.reply_mood[rows], state.reply_type[rows]
        outcome = np.where((channel == Type.CALL) & (mood == Mood.INTERESTED), Outcome.CALLBACK, _REPLY_OUTCOME[mood])
        performer = np.where(channel == Type.CALL, state.rep(rows, state.now[rows]), NOBODY)
        self._write(rows, state.now[rows], channel, Direction.INBOUND, performer=performer, outcome=outcome)
        self.responses.append(len(rows), row=state.reply_to[rows], at=state.now[rows])
        self._respond(rows, mood)

    def _respond(self, rows: Ints, mood: Ints) -> None:
        state = self.state
        now = state.now[rows]
        state.last_response[rows] = now
        self._finish(rows[mood == Mood.NOT_INTERESTED], End.NOT_INTERESTED)
        waiting = (state.booked[rows] != NEVER) | (state.proposed[rows] != NEVER)
        keen = rows[(mood == Mood.INTERESTED) & ~waiting]
        state.engaged[keen] = state.now[keen]
        state.put_off[rows[mood == Mood.INTERESTED]] = LONG_AGO
        later = rows[mood == Mood.LATER]
        state.put_off[later] = state.now[later]
        state.engaged[later] = NEVER
        noted = state.now[later] + (self.draws.between(later, 2, 40) * MINUTE).astype(np.int64)
        self._write(
            later, noted, Type.NOTE, Direction.INTERNAL, performer=state.rep(later, noted), outcome=Outcome.LATER
        )
        # A lead that talks about an open proposal may answer it sooner.
        pushed = rows[(mood != Mood.NOT_INTERESTED) & (state.proposed[rows] != NEVER)]
        state.pushed[pushed] = state.now[pushed]
        soon = self._sooner(pushed)
        state.due[pushed, Coming.ANSWER] = np.minimum(soon, state.due[pushed, Coming.ANSWER])

    def _sooner(self, rows: Ints) -> Ints:
        """Draw when leads answer a proposal because of a push; `NEVER` for a push without effect."""
        soon = self.state.pushed[rows] + (self.draws.between(rows, 0.5, 4.0) * DAY).astype(np.int64)
        return np.where(self.draws.chance(rows, 0.45), soon, NEVER)

    def _mood(self, rows: Ints) -> Ints:
        """Draw the `Mood` of the responses of the leads."""
        state = self.state
        intent = state.traits.intent[rows]
        waiting = (state.booked[rows] != NEVER) | (state.proposed[rows] != NEVER)
        refuse = np.minimum(0.06 + 0.45 * (1.0 - intent) ** 2 + 0.4 * state.fatigue(rows), 0.9)
        refuse = np.where(waiting, 0.5 * refuse, refuse)
        later = np.where(waiting, 0.0, 0.22 + 0.2 * (1.0 - intent))
        draw = self.draws.uniform(rows)
        return np.where(
            draw < refuse, Mood.NOT_INTERESTED, np.where(draw < refuse + later, Mood.LATER, Mood.INTERESTED)
        ).astype(np.int64)

    # ------------------------------------------------------------------------------------------------- what reps do

    def call(self, rows: Ints) -> None:
        """Call the leads."""
        state, draws = self.state, self.draws
        now = state.now[rows]
        reached = draws.chance(rows, (0.2 + 0.2 * state.traits.intent[rows]) * np.exp(-state.fatigue(rows)))
        mood = self._mood(rows)
        voicemail = draws.chance(rows, 0.45)
        rings = (draws.between(rows, 4, 25) * SECOND).astype(np.int64)
        outcome = np.where(reached, _CALL_OUTCOME[mood], np.where(voicemail, Outcome.VOICEMAIL, Outcome.NO_ANSWER))
        numbers = self._write(
            rows,
            now,
            Type.CALL,
            Direction.OUTBOUND,
            performer=state.rep(rows, now),
            outcome=outcome,
            responded=np.where(reached, now + rings, NEVER),
        )
        state.count_contact(rows, now)
        state.calls[rows] += 1
        calls_back = ~reached & voicemail & draws.chance(rows, 0.05 + 0.15 * state.traits.intent[rows])
        at = now + self._reply_wait(rows)
        self._expect_reply(rows[calls_back], at[calls_back], mood[calls_back], Type.CALL, numbers[calls_back])
        self._respond(rows[reached], mood[reached])

    def email(self, rows: Ints) -> None:
        """Write an e-mail to the leads."""
        state, draws = self.state, self.draws
        now = state.now[rows]
        intent, tired = state.traits.intent[rows], np.exp(-state.fatigue(rows))
        opened = draws.chance(rows, (0.3 + 0.45 * intent) * tired)
        replies = opened & draws.chance(rows, 0.05 + 0.3 * intent)
        mood = self._mood(rows)
        reply_at = now + self._reply_wait(rows)
        read_at = now + np.minimum(4 * np.exp(1.4 * draws.normal(rows)) * HOUR, 30 * DAY).astype(np.int64)
        read_before_reply = now + (draws.between(rows, 0.1, 0.95) * (reply_at - now)).astype(np.int64)
        opened_at = np.where(replies, read_before_reply, np.where(opened, read_at, NEVER))
        numbers = self._write(
            rows, now, Type.EMAIL, Direction.OUTBOUND, performer=state.rep(rows, now), opened=opened_at
        )
        state.count_contact(rows, now)
        state.emails[rows] += 1
        self._expect_reply(rows[replies], reply_at[replies], mood[replies], Type.EMAIL, numbers[replies])

    def _reply_wait(self, rows: Ints) -> Ints:
        wait = np.minimum(1.3 * np.exp(1.1 * self.draws.normal(rows)) * HOUR, 20 * DAY) + 3 * MINUTE
        return wait.astype(np.int64)

    def _expect_reply(self, rows: Ints, at: Ints, mood: Ints, channel: Type, answers: Ints) -> None:
        state = self.state
        state.due[rows, Coming.REPLY] = at
        state.reply_mood[rows] = mood
        state.reply_type[rows] = channel
        state.reply_to[rows] = answers

    def book(self, rows: Ints) -> None:
        """Book an appointment with the leads and confirm it by SMS."""
        state = self.state
        lead_days = np.floor(self.draws.between(rows, 8, 13))
        self._put_in_calendar(rows, state.now[rows] + (lead_days * DAY).astype(np.int64), moved_from=-1)
        confirmed = state.now[rows] + (self.draws.between(rows, 1, 5) * MINUTE).astype(np.int64)
        self._write(rows, confirmed, Type.SMS, Direction.OUTBOUND, performer=SYSTEM, outcome=Outcome.CONFIRMATION)
        state.engaged[rows] = NEVER

    def _put_in_calendar(self, rows: Ints, around: Ints, moved_from: Ints | int) -> None:
        state, draws = self.state, self.draws
        day = around // DAY
        weekday = (day + 3) % 7
        day = day + np.where(weekday >= 5, 7 - weekday, 0)
        scheduled = day * DAY + np.floor(draws.between(rows, 16, 34)).astype(np.int64) * (HOUR // 2)
        intent, responded = state.traits.intent[rows], state.last_response[rows] > state.now[rows] - 14 * DAY
        uninvited = (0.3 + 0.35 * intent) * self.world.uninvited
        state.chance_to_keep[rows] = np.where(responded, 0.72 + 0.2 * intent, uninvited) * np.exp(
            -0.5 * state.fatigue(rows)
        )
        state.booked[rows] = state.now[rows]
        state.scheduled[rows] = scheduled
        state.moved_from[rows] = moved_from
        state.appointment_fate[rows], state.due[rows, Coming.APPOINTMENT] = self._appointment_course(rows)

    def _appointment_course(self, rows: Ints) -> tuple[Ints, Ints]:
        """Draw the fates of the booked appointments, and their times."""
        state, draws = self.state, self.draws
        booked, scheduled, keeps = state.booked[rows], state.scheduled[rows], state.chance_to_keep[rows]
        draw = draws.uniform(rows)
        # The other leads stay away, cancel, or move the date.
        excess = np.clip((draw - keeps) / (1.0 - keeps), 0.0, 1.0)
        fate = np.select(
            [draw < keeps, excess < 0.4, excess < 0.65],
            [AppointmentStatus.COMPLETED, AppointmentStatus.NO_SHOW, AppointmentStatus.CANCELLED],
            default=AppointmentStatus.RESCHEDULED,
        )
        before = booked + (draws.between(rows, 0.3, 0.98) * (scheduled - booked)).astype(np.int64)
        held = scheduled + (draws.between(rows, 35, 100) * MINUTE).astype(np.int64)
        missed = scheduled + (draws.between(rows, 15, 60) * MINUTE).astype(np.int64)
        at = np.select(
            [fate == AppointmentStatus.COMPLETED, fate == AppointmentStatus.NO_SHOW], [held, missed], default=before
        )
        return fate.astype(np.int64), at

    def appointment(self, rows: Ints) -> None:
        """Let the appointments that are due be kept, missed, cancelled or moved."""
        state = self.state
        fate = state.appointment_fate[rows]
        scheduled = state.scheduled[rows]
        numbers = self._end_appointment(rows, fate)
        kept = fate == AppointmentStatus.COMPLETED
        held = rows[kept]
        self._write(
            held,
            scheduled[kept],
            Type.MEETING,
            Direction.INBOUND,
            performer=state.rep(held, scheduled[kept]),
            outcome=Outcome.HELD,
        )
        state.meetings[held] += 1
        state.last_response[held] = state.now[held]
        unproposed = held[state.proposed[held] == NEVER]
        state.met[unproposed] = state.now[unproposed]
        called_off, moved = fate == AppointmentStatus.CANCELLED, fate == AppointmentStatus.RESCHEDULED
        missed = rows[called_off | (fate == AppointmentStatus.NO_SHOW)]
        state.missed[missed] = state.now[missed]
        for which, outcome in ((called_off, Outcome.CANCELLED), (moved, Outcome.RESCHEDULED)):
            self._write(rows[which], state.now[rows[which]], Type.SMS, Direction.INBOUND, outcome=outcome)
        movers = rows[moved]
        self._put_in_calendar(
            movers,
            scheduled[moved] + (self.draws.between(movers, 3, 8) * DAY).astype(np.int64),
            moved_from=numbers[moved],
        )

    def _end_appointment(self, rows: Ints, status: Ints | AppointmentStatus) -> Ints:
        state = self.state
        ended = np.where(np.asarray(status) == AppointmentStatus.SCHEDULED, NEVER, state.now[rows])
        numbers = state.appointments[rows]
        self.appointments.append(
            len(rows),
            lead=state.traits.numbers[rows],
            number=numbers,
            booked=state.booked[rows],
            scheduled=state.scheduled[rows],
            status=status,
            ended=ended,
            moved_from=state.moved_from[rows],
        )
        state.appointments[rows] += 1
        state.booked[rows] = NEVER
        state.due[rows, Coming.APPOINTMENT] = NEVER
        return numbers

    def propose(self, rows: Ints) -> None:
        """Send the leads a proposal; a second one is cheaper."""
        state, draws = self.state, self.draws
        now = state.now[rows]
        reduction = np.where(state.refusals[rows] > 0, 0.94, 1.0)
        price = state.traits.value[rows] * draws.between(rows, 0.9, 1.08) * reduction
        state.offer[rows] = np.round(price, -2)
        state.cost[rows] = np.round(price * draws.between(rows, 0.72, 0.88), 2)
        state.proposed[rows] = now
        state.follow_ups[rows] = 0
        state.met[rows] = NEVER
        state.refused[rows] = NEVER
        state.engaged[rows] = NEVER
        state.proposal_row[rows] = self._write(
            rows, now, Type.PROPOSAL, Direction.OUTBOUND, performer=state.rep(rows, now)
        )
        state.pushed[rows] = LONG_AGO
        state.due[rows, Coming.ANSWER] = self._answer_time(rows)

    def _answer_time(self, rows: Ints) -> Ints:
        """Draw when the leads answer the open proposal without a push, or else when it is withdrawn."""
        state, draws = self.state, self.draws
        answers = draws.chance(rows, 0.55 + 0.35 * state.traits.intent[rows])
        wait = np.minimum(1.0 + 8.0 * np.exp(0.65 * draws.normal(rows)), 40.0)
        expiry = draws.between(rows, EXPIRY_DAYS, EXPIRY_DAYS + 30.0)
        return state.proposed[rows] + (np.where(answers, wait, expiry) * DAY).astype(np.int64)

    def answer(self, rows: Ints) -> None:
        """Let the proposals that are due be won, refused, or withdrawn after a long silence."""
        state = self.state
        silent = state.now[rows] - state.proposed[rows] >= EXPIRY_DAYS * DAY
        self._end_project(rows[silent], ProjectStatus.CANCELLED)
        answering = rows[~silent]
        won = self.draws.chance(answering, self._chance_to_win(answering))
        gives_up = self.draws.chance(answering, 0.25 + 0.5 * (1.0 - state.traits.intent[answering]))
        outcome = np.where(won, Outcome.ACCEPTED, np.where(gives_up, Outcome.NOT_INTERESTED, Outcome.DECLINED))
        now = state.now[answering]
        self._write(answering, now, Type.EMAIL, Direction.INBOUND, outcome=outcome)
        self.responses.append(len(answering), row=state.proposal_row[answering], at=now)
        state.last_response[answering] = now
        refusing = answering[~won]
        self._end_project(refusing, ProjectStatus.LOST)
        state.refusals[refusing] += 1
        state.refused[refusing] = state.now[refusing]
        self._end_project(answering[won], ProjectStatus.WON)
        self._finish(answering[won], End.WON)
        self._finish(answering[~won & gives_up], End.NOT_INTERESTED)

    def _chance_to_win(self, rows: Ints) -> Floats:
        state, world = self.state, self.world
        now = state.now[rows]
        price_over_budget = np.log(state.offer[rows] / state.traits.budget[rows])
        logit = (
            world.at(now, lambda then: then.win_logit)
            + world.at(now, lambda then: then.win_by_intent) * (state.traits.intent[rows] - 0.5)
            - world.at(now, lambda then: then.win_by_price) * price_over_budget
            + self.skill[state.rep(rows, now)]
            + world.win_by_meeting * np.minimum(state.meetings[rows], 1)
            + 0.35 * np.minimum(state.follow_ups[rows], 2)
            - 1.5 * state.fatigue(rows)
            + (state.traits.push[rows] * (state.traits.pushed_at[rows] <= now[:, None])).sum(axis=1)
        )
        return 1.0 / (1.0 + np.exp(-logit))

    def _end_project(self, rows: Ints, status: ProjectStatus) -> None:
        state = self.state
        closed = NEVER if status == ProjectStatus.OPEN else state.now[rows]
        self.projects.append(
            len(rows),
            lead=state.traits.numbers[rows],
            number=state.projects[rows],
            value=state.offer[rows],
            cost=state.cost[rows],
            status=status,
            proposed=state.proposed[rows],
            closed=closed,
        )
        state.projects[rows] += 1
        state.proposed[rows] = NEVER
        state.due[rows, Coming.ANSWER] = NEVER

    # -------------------------------------------------------------------------------------------------- what may come

    def draw_again(self) -> None:
        """Draw the pending events of all leads again, given that they have not happened yet.

        These are the fates of appointments and the times of answers to proposals; of several pushes only the last one
        counts. A pending reply stays as it is: most come within hours.
        """
        state = self.state

        def undecided(pending: Coming) -> Ints:
            return np.flatnonzero(state.due[:, pending] != NEVER)

        rows = undecided(Coming.APPOINTMENT)
        for _ in range(_TRIES):
            fate, at = self._appointment_course(rows)
            valid = at >= state.now[rows]
            state.appointment_fate[rows[valid]], state.due[rows[valid], Coming.APPOINTMENT] = fate[valid], at[valid]
            rows = rows[~valid]
        # An answer comes at the earlier of two drawn times. It has not come, so both lie ahead.
        rows = undecided(Coming.ANSWER)
        answer = np.full(len(state), NEVER)
        for draw in (self._answer_time, self._sooner):
            remaining = rows
            for _ in range(_TRIES):
                at = draw(remaining)
                valid = at >= state.now[remaining]
                answer[remaining[valid]] = np.minimum(answer[remaining[valid]], at[valid])
                remaining = remaining[~valid]
            rows = np.setdiff1d(rows, remaining, assume_unique=True)
        state.due[rows, Coming.ANSWER] = answer[rows]

    # ------------------------------------------------------------------------------------------------------- writing

    def _finish(self, rows: Ints, end: End) -> None:
        """End the leads: open appointments are cancelled, and open proposals lost."""
        state = self.state
        self._end_appointment(rows[state.booked[rows] != NEVER], AppointmentStatus.CANCELLED)
        self._end_project(rows[state.proposed[rows] != NEVER], ProjectStatus.LOST)
        state.end[rows] = end
        state.ended[rows] = state.now[rows]
        state.due[rows] = NEVER

    def leave_open(self) -> None:
        """Write down the appointments and proposals that are still open when the simulation stops."""
        everyone = np.arange(len(self.state))
        self._end_appointment(everyone[self.state.booked != NEVER], AppointmentStatus.SCHEDULED)
        self._end_project(everyone[self.state.proposed != NEVER], ProjectStatus.OPEN)

    def _write(
        self,
        rows: Ints,
        at: Ints,
        type_: Ints | Type,
        direction: Direction,
        *,
        performer: Ints | int = NOBODY,
        outcome: Ints | Outcome = Outcome.NONE,
        opened: Ints | int = NEVER,
        responded: Ints | int = NEVER,
    ) -> Ints:
        return self.interactions.append(
            len(rows),
            lead=self.state.traits.numbers[rows],
            type=type_,
            direction=direction,
            occurred=at,
            performer=performer,
            outcome=outcome,
            opened=opened,
            responded=responded,
        )
