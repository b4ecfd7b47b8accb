"""The playbook, as a pure function of what a rep sees."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from simulation.policy import Action, first_look, next_look, playbook, possible, probabilities
from simulation.state import LONG_AGO, Visible
from simulation.world import DAY, HOUR, NEVER

MONDAY = (date(2025, 3, 3) - date(1970, 1, 1)).days * DAY
NOW = MONDAY + 10 * HOUR


def seen(**changes: int | bool) -> Visible:
    """Return one lead that came yesterday and was not contacted yet, with changes."""
    usual = {
        "now": NOW,
        "created": NOW - DAY,
        "warm": False,
        "calls": 0,
        "emails": 0,
        "last_contact": LONG_AGO,
        "fifth_last_contact": LONG_AGO,
        "last_response": LONG_AGO,
        "put_off": LONG_AGO,
        "booked": NEVER,
        "proposed": NEVER,
        "met": NEVER,
        "missed": NEVER,
        "refused": NEVER,
        "engaged": NEVER,
        "follow_ups": 0,
        "refusals": 0,
    }
    return Visible(**{name: np.array([value]) for name, value in (usual | changes).items()})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Action.EMAIL_NURTURE),
        ({"warm": True}, Action.CALL_IMMEDIATE),
        ({"emails": 1}, Action.CALL_IMMEDIATE),
        ({"calls": 1, "warm": True}, Action.EMAIL_NURTURE),
        ({"engaged": NOW - DAY}, Action.SCHEDULE_APPOINTMENT),
        ({"engaged": NOW - DAY, "refusals": 1}, Action.SEND_PROPOSAL),
        ({"booked": NOW - DAY, "engaged": NOW - DAY}, Action.NO_ACTION),
        ({"met": NOW - DAY}, Action.SEND_PROPOSAL),
        ({"missed": NOW - DAY}, Action.CALL_IMMEDIATE),
        ({"proposed": NOW - 20 * DAY}, Action.NO_ACTION),
        ({"proposed": NOW - 21 * DAY}, Action.CALL_IMMEDIATE),
        ({"proposed": NOW - 30 * DAY, "follow_ups": 4}, Action.NO_ACTION),
        ({"refused": NOW - 3 * DAY}, Action.CALL_IMMEDIATE),
        ({"put_off": NOW - 20 * DAY}, Action.NO_ACTION),
        ({"put_off": NOW - 21 * DAY}, Action.EMAIL_NURTURE),
        ({"fifth_last_contact": NOW - 29 * DAY}, Action.NO_ACTION),
        ({"fifth_last_contact": NOW - 30 * DAY}, Action.EMAIL_NURTURE),
        ({"created": NOW - 61 * DAY}, Action.NO_ACTION),
        ({"created": NOW - 61 * DAY, "last_response": NOW - 30 * DAY}, Action.EMAIL_NURTURE),
    ],
)
def test_the_playbook_follows_what_is_seen(changes: dict[str, int], expected: Action) -> None:
    assert playbook(seen(**changes))[0] == expected


@pytest.mark.parametrize("deviation", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("changes", [{}, {"booked": NOW - DAY}, {"proposed": NOW - DAY}, {"met": NOW - DAY}])
def test_probabilities_add_up_and_leave_out_the_impossible(changes: dict[str, int], deviation: float) -> None:
    lead = seen(**changes)
    chances = probabilities(lead, deviation)
    assert chances.sum() == pytest.approx(1.0)
    assert chances[0, playbook(lead)[0]] == pytest.approx(1.0 - deviation)
    assert (chances[~possible(lead)] == 0.0).all()


def test_one_appointment_and_one_proposal_at_a_time() -> None:
    assert not possible(seen(booked=NOW - DAY))[0, Action.SCHEDULE_APPOINTMENT]
    assert not possible(seen(proposed=NOW - DAY))[0, Action.SEND_PROPOSAL]
    assert possible(seen()).all()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"last_contact": NOW},
        {"engaged": NOW},
        {"booked": NOW},
        {"proposed": NOW},
        {"proposed": NOW - 40 * DAY},
        {"put_off": NOW},
        {"met": NOW},
        {"missed": NOW},
        {"refused": NOW},
        {"fifth_last_contact": NOW - 5 * DAY},
        {"created": NOW - 70 * DAY},
        {"proposed": NOW - 60 * DAY, "follow_ups": 4},
    ],
)
@pytest.mark.parametrize("weekday", range(7))
def test_the_next_look_is_on_a_later_working_day(changes: dict[str, int], weekday: int) -> None:
    lead = seen(**changes)
    shifted = {
        name: values + weekday * DAY
        if values.dtype == np.int64
        and LONG_AGO < values[0] < NEVER
        and name not in ("calls", "emails", "follow_ups", "refusals")
        else values
        for name, values in vars(lead).items()
    }
    lead = replace(lead, **shifted)
    look = next_look(lead, np.array([0.5]))[0]
    assert look // DAY > lead.now[0] // DAY
    assert (look - MONDAY) // DAY % 7 < 5
    assert 9 * HOUR <= look % DAY < 16 * HOUR


def test_what_only_the_outside_brings_back_is_not_looked_at() -> None:
    assert next_look(seen(booked=NOW - 4 * DAY), np.array([0.5]))[0] == NEVER
    assert next_look(seen(created=NOW - 300 * DAY), np.array([0.5]))[0] == NEVER


@pytest.mark.parametrize(
    ("created", "day", "hours"),
    [
        (MONDAY + 10 * HOUR, 0, (10, 13)),
        (MONDAY + 3 * HOUR, 0, (8, 10)),
        (MONDAY + 20 * HOUR, 1, (8, 10)),
        (MONDAY + 5 * DAY + 12 * HOUR, 7, (12, 15)),
        (MONDAY + 4 * DAY + 20 * HOUR, 7, (8, 10)),
    ],
)
@pytest.mark.parametrize("uniform", [0.001, 0.999])
def test_a_new_lead_is_looked_at_soon(created: int, day: int, hours: tuple[int, int], uniform: float) -> None:
    look = first_look(np.array([created]), np.array([uniform]))[0]
    assert (look - MONDAY) // DAY == day
    assert hours[0] <= look % DAY / HOUR <= hours[1]
    assert look > created
