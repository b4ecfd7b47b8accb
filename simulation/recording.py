"""How the CRM records what happened: later than it happened, sometimes twice, sometimes wrongly, and only up to now.

The arrays that come in know the future; those that go out hold what the CRM holds at the end of the export.
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
"""What reps enter themselves, minutes or days later; the rest the CRM sees as it happens."""

LEAD_STATUS = ("new", "contacted", "qualified", "proposal", "won", "lost")
"""The values of `leads.status`, in the order of its codes."""

FAULTS = ("duplicate", "conflict", "orphan", "unknown_type")
"""The faults that add a row, in the order of their codes."""


@dataclass(frozen=True)
class Records:
    """What the CRM holds at the end of the export, by columns; `NEVER` stands for null.

    Attributes
    ----------
    leads : dict of arrays
        `status` (codes of `LEAD_STATUS`), `assigned_to`, `updated`.
    interactions : dict of arrays
        As in `Course`, and `number` within the lead, `recorded`, and `fault`: -1, or the code of `FAULTS` for a row
        that such a fault added.
    appointments, projects : dict of arrays
        As in `Course`.
    """

    leads: Columns
    interactions: Columns
    appointments: Columns
    projects: Columns


def record(world: World, traits: Traits, course: Course, *, leads: int, end: int, seed: int) -> Records:
    """Record what happened to some leads until the end of the export.

    Parameters
    ----------
    world : World
        Gives the faults.
    traits, course : Traits, Course
        The leads and what happened to them, also after the end.
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
    return Records(
        leads=_leads(traits, course, interactions, appointments, projects, end),
        interactions=_with_faults(world, interactions, leads, seed),
        appointments=appointments,
        projects=projects,
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
    # A few minutes, with a tail of hours; what the CRM sees itself takes less than two seconds.
    minutes = np.minimum(4.0 * (1.0 / wait - 1.0) ** 0.6, 600.0)
    delay = np.where(by_hand, minutes * MINUTE, 2.0 * wait * SECOND)
    share = world.faults.late
    late_delay = (1.0 + 9.0 * late / max(share, 1e-12)) * DAY
    rows["recorded"] = rows["occurred"] + np.where(by_hand & (late < share), late_delay, delay).astype(np.int64)
    known = (rows["recorded"] < end) & ~_unrecorded(world, rows["type"], rows["recorded"])
    return {name: values[known] for name, values in rows.items()}


def _unrecorded(world: World, types: Ints, at: Ints) -> Bools:
    """Return what does not reach the CRM, of some types of interactions at the times at which it would."""

    def of(some: World) -> Bools:
        return np.isin(types, [Type[name.upper()] for name in some.unrecorded])

    return of(world) if world.change is None else np.where(at < world.change.at, of(world), of(world.change.world))


def _leads(
    traits: Traits, course: Course, interactions: Columns, appointments: Columns, projects: Columns, end: int
) -> Columns:
    first, count = traits.numbers[0], len(traits.numbers)
    status = np.zeros(count, dtype=np.int64)

    def reach(columns: Columns, which: Bools, code: int) -> None:
        np.maximum.at(status, columns["lead"][which] - first, code)

    reach(interactions, interactions["direction"] == Direction.OUTBOUND, LEAD_STATUS.index("contacted"))
    reach(interactions, interactions["responded"] != NEVER, LEAD_STATUS.index("qualified"))
    reach(projects, np.ones(len(projects["lead"]), dtype=np.bool_), LEAD_STATUS.index("proposal"))
    closed = course.ended < end
    status[closed & (course.end == End.WON)] = LEAD_STATUS.index("won")
    status[closed & (course.end == End.NOT_INTERESTED)] = LEAD_STATUS.index("lost")
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
