"""How the CRM records events: late, sometimes twice, sometimes wrongly, and only up to the end of the export.

The input arrays hold later events as well; the output holds what the CRM holds at the end of the export.
"""

from dataclasses import dataclass

import numpy as np

from simulation.arrivals import Traits
from simulation.draws import Bools, Floats, Ints, stream_keys, uniform_at
from simulation.engine import Columns, Course
from simulation.facts import NOBODY, AppointmentStatus, Direction, ProjectStatus, Type
from simulation.state import End
from simulation.world import DAY, MINUTE, NEVER, SECOND, World

BY_HAND = (Type.CALL, Type.MEETING, Type.NOTE)
"""Types that reps enter themselves, minutes or days later; the CRM records all others at once."""

LEAD_STATUS = ("new", "contacted", "qualified", "proposal", "won", "lost")
"""The values of `leads.status`, in the order of its codes."""

CHANGED = ("status", "assigned_to")
"""The columns of leads of which the CRM keeps a history, in the order of their codes."""

FAULTS = ("duplicate", "conflict", "orphan", "unknown_type")
"""The faults that add a row, in the order of their codes."""


@dataclass(frozen=True)
class Records:
    """The rows of the CRM at the end of the export, by columns; `NEVER` stands for null.

    Attributes
    ----------
    leads : dict of arrays
        `status` (codes of `LEAD_STATUS`), `assigned_to`, `updated`.
    interactions : dict of arrays
        As in `Course`, with `number` within the lead, `recorded`, and `fault`: the code in `FAULTS` of the fault that
        added the row, else -1.
    appointments, projects : dict of arrays
        As in `Course`.
    changes : dict of arrays
        The history of the leads: `lead`, `column` (codes of `CHANGED`), `value` (codes of `LEAD_STATUS` or reps),
        `changed`, and `number` within the lead and column.
    """

    leads: Columns
    interactions: Columns
    appointments: Columns
    projects: Columns
    changes: Columns


def record(world: World, traits: Traits, course: Course, *, leads: int, end: int, seed: int) -> Records:
    """Record the events of some leads until the end of the export.

    Parameters
    ----------
    world : World
        Gives the faults.
    traits, course : Traits, Course
        The leads and their events, also those after the end.
    leads : int
        How many leads there are in the whole export; orphans get numbers from there on.
    end : int
        The end of the export, in microseconds since 1970: nothing later is recorded.
    seed : int
        The seed of the simulation.

    Returns
    -------
    Records
        Sorted by lead and time.
    """
    interactions = _interactions(world, course, end, seed)
    appointments = _until(course.appointments, "booked", end)
    unknown = appointments["ended"] >= end
    appointments["status"][unknown] = AppointmentStatus.SCHEDULED
    appointments["ended"][unknown] = NEVER
    projects = _until(course.projects, "proposed", end)
    unknown = projects["closed"] >= end
    projects["status"][unknown] = ProjectStatus.OPEN
    projects["closed"][unknown] = NEVER
    status_times = _status_times(traits, course, interactions, projects, end)
    return Records(
        leads=_leads(traits, status_times, interactions, appointments, projects, end),
        interactions=_with_faults(world, interactions, leads, seed),
        appointments=appointments,
        projects=projects,
        changes=_changes(traits, status_times, end),
    )


def _until(columns: Columns, time: str, end: int) -> Columns:
    order = np.lexsort((columns[time], columns["lead"]))
    chosen = order[columns[time][order] < end]
    return {name: values[chosen] for name, values in columns.items()}


def _row_draws(seed: int, purpose: str, interactions: Columns) -> Floats:
    return uniform_at(stream_keys(seed, purpose, interactions["lead"]), interactions["number"])


def _interactions(world: World, course: Course, end: int, seed: int) -> Columns:
    rows = _until(course.interactions, "occurred", end)
    lead = rows["lead"]
    starts = np.flatnonzero(np.diff(lead, prepend=-1))
    rows["number"] = np.arange(len(lead)) - np.repeat(starts, np.diff(starts, append=len(lead)))
    for answer in ("opened", "responded"):
        rows[answer][(rows[answer] >= end) | _unrecorded(world, rows["type"], rows[answer])] = NEVER
    wait, late = _row_draws(seed, "recording", rows), _row_draws(seed, "lateness", rows)
    by_hand = np.isin(rows["type"], BY_HAND)
    # By hand: a few minutes, with a tail of hours; by the CRM itself: less than two seconds.
    minutes = np.minimum(4.0 * (1.0 / wait - 1.0) ** 0.6, 600.0)
    delay = np.where(by_hand, minutes * MINUTE, 2.0 * wait * SECOND)
    share = world.faults.late
    late_delay = (1.0 + 9.0 * late / max(share, 1e-12)) * DAY
    rows["recorded"] = rows["occurred"] + np.where(by_hand & (late < share), late_delay, delay).astype(np.int64)
    known = (rows["recorded"] < end) & ~_unrecorded(world, rows["type"], rows["recorded"])
    return {name: values[known] for name, values in rows.items()}


def _unrecorded(world: World, types: Ints, at: Ints) -> Bools:
    """Return which interactions do not reach the CRM, by type and the time at which they would."""

    def of(some: World) -> Bools:
        return np.isin(types, [Type[name.upper()] for name in some.unrecorded])

    return of(world) if world.change is None else np.where(at < world.change.at, of(world), of(world.change.world))


def _status_times(traits: Traits, course: Course, interactions: Columns, projects: Columns, end: int) -> Ints:
    """Return when each lead first reached each status, one row per status of `LEAD_STATUS`."""
    first, count = traits.numbers[0], len(traits.numbers)
    times = np.full((len(LEAD_STATUS), count), NEVER)

    def reach(status: str, columns: Columns, which: Bools, at: Ints) -> None:
        np.minimum.at(times[LEAD_STATUS.index(status)], columns["lead"][which] - first, at[which])

    recorded, responded = interactions["recorded"], interactions["responded"]
    reach("contacted", interactions, interactions["direction"] == Direction.OUTBOUND, recorded)
    reach("qualified", interactions, responded != NEVER, np.maximum(responded, recorded))
    reach("proposal", projects, np.ones(len(projects["lead"]), dtype=np.bool_), projects["proposed"])
    times[LEAD_STATUS.index("new")] = traits.created
    for status, how in (("won", End.WON), ("lost", End.NOT_INTERESTED)):
        closed = (course.ended < end) & (course.end == how)
        times[LEAD_STATUS.index(status), closed] = course.ended[closed]
    return times


def _changes(traits: Traits, status_times: Ints, end: int) -> Columns:
    """Return the history of the columns of leads that the CRM overwrites, the first values included."""
    # a lead that answers before a call is recorded is qualified, and does not go back to contacted
    next_status_at = np.minimum.accumulate(status_times[::-1], axis=0)[::-1]
    next_status_at = np.vstack([next_status_at[1:], np.full((1, next_status_at.shape[1]), NEVER)])
    code, lead = np.nonzero(status_times < next_status_at)
    handed_over = np.flatnonzero(traits.handed_over != NEVER)
    everybody = np.arange(len(traits.numbers))
    owned = np.concatenate([everybody, handed_over])
    changes = {
        "lead": traits.numbers[np.concatenate([lead, owned])],
        "column": np.repeat([CHANGED.index("status"), CHANGED.index("assigned_to")], [len(lead), len(owned)]),
        "value": np.concatenate([code, traits.rep, traits.next_rep[handed_over]]),
        "changed": np.concatenate([status_times[code, lead], traits.created, traits.handed_over[handed_over]]),
    }
    # a lead has at most two owners, and each status at most once
    changes["number"] = np.concatenate([code, np.repeat([0, 1], [len(everybody), len(handed_over)])])
    order = np.lexsort((changes["number"], changes["column"], changes["changed"], changes["lead"]))
    order = order[changes["changed"][order] < end]
    return {name: values[order] for name, values in changes.items()}


def _leads(
    traits: Traits, status_times: Ints, interactions: Columns, appointments: Columns, projects: Columns, end: int
) -> Columns:
    first = traits.numbers[0]
    reached = status_times < NEVER
    status = len(LEAD_STATUS) - 1 - np.argmax(reached[::-1], axis=0)
    updated = traits.created.copy()
    for columns, names in (
        (interactions, ("recorded", "opened", "responded")),
        (appointments, ("booked", "ended")),
        (projects, ("proposed", "closed")),
    ):
        for name in names:
            known = columns[name] != NEVER
            np.maximum.at(updated, columns["lead"][known] - first, columns[name][known])
    return {
        "status": status,
        "assigned_to": np.where(traits.handed_over < end, traits.next_rep, traits.rep),
        "updated": updated,
    }


def _with_faults(world: World, interactions: Columns, leads: int, seed: int) -> Columns:
    faults = world.faults
    thresholds = np.cumsum([getattr(faults, name) for name in FAULTS])
    code = np.searchsorted(thresholds, _row_draws(seed, "faults", interactions), side="right")
    faulty = code < len(FAULTS)
    source = np.repeat(np.arange(len(code)), 1 + faulty)
    added = np.diff(source, prepend=-1) == 0
    rows = {name: values[source] for name, values in interactions.items()}
    rows["fault"] = np.where(added, code[source], -1)
    conflict = rows["fault"] == FAULTS.index("conflict")
    performer = rows["performer"][conflict]
    rows["performer"][conflict] = np.where(performer <= NOBODY, 0, (performer + 1) % world.reps)
    rows["lead"][rows["fault"] == FAULTS.index("orphan")] += leads
    rows["type"][rows["fault"] == FAULTS.index("unknown_type")] = Type.FAX
    return rows
