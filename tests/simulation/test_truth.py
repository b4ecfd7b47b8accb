"""The truth about a simulation: conversion probabilities, policies and the best action."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest

from simulation import SimulationSummary, simulate
from simulation.draws import Draws
from simulation.dynamics import Dynamics
from simulation.facts import AppointmentStatus, UnkeptTable
from simulation.policy import Action, possible
from simulation.state import Coming, End, Visible
from simulation.truth import POLICIES, Rate, Truth
from simulation.world import DAY, NEVER

LEADS = 3000


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> SimulationSummary:
    return simulate(tmp_path_factory.mktemp("truth") / "crm", leads=LEADS, seed=3, progress=False)


@pytest.fixture(scope="module")
def truth(export: SimulationSummary) -> Truth:
    return Truth.of(export.out)


@pytest.fixture(scope="module")
def outcomes(export: SimulationSummary) -> dict[str, npt.NDArray]:
    """Return id, creation, end and time of the end of every lead, in microseconds."""
    leads = pq.read_table(export.out / "leads.parquet", columns=["lead_id", "created_at"])
    true = pq.read_table(export.out / "truth" / "leads.parquet")
    return {
        "id": leads["lead_id"].to_numpy(),
        "created": micros(leads["created_at"].to_numpy()),
        "outcome": true["outcome"].to_numpy(),
        "at": np.where(true["outcome"].to_numpy() == "open", NEVER, micros(true["outcome_at"].fill_null(0).to_numpy())),
    }


def micros(times: npt.NDArray) -> npt.NDArray[np.int64]:
    return times.astype("datetime64[us]").astype(np.int64)


def moments(at: npt.NDArray[np.int64]) -> npt.NDArray:
    return at.astype("datetime64[us]")


def test_a_replayed_lead_is_in_the_state_of_the_export(
    export: SimulationSummary, truth: Truth, outcomes: dict[str, npt.NDArray]
) -> None:
    decisions = pq.read_table(export.out / "truth" / "decisions.parquet")
    lead, decided = decisions["lead_id"].to_numpy(), micros(decisions["decided_at"].to_numpy())
    action = decisions["action"].to_numpy()
    asked = np.arange(0, LEADS, 10)
    at = outcomes["created"][asked] + 25 * DAY
    within = at < micros(np.array([export.end], dtype="datetime64[us]"))[0]
    asked, at = asked[within], at[within]
    state = truth._replayed(asked, at).state
    for row, number in enumerate(asked):
        mine = (lead == outcomes["id"][number]) & (decided < at[row])
        assert state.calls[row] == (action[mine] == "call_immediate").sum()
        assert state.emails[row] == (action[mine] == "email_nurture").sum()
        assert (state.ended[row] == NEVER) == (outcomes["at"][number] >= at[row])
    assert state.calls.sum() > len(asked) / 2
    # To the last: the hidden course of each lead is that of the export.
    last = truth._replayed(asked, np.full(len(asked), truth.setting.end_us + 180 * DAY)).state
    assert [End(end).name.lower() for end in last.end] == outcomes["outcome"][asked].tolist()
    assert (last.ended == outcomes["at"][asked]).all()


def test_true_probabilities_come_true(truth: Truth, outcomes: dict[str, npt.NDArray]) -> None:
    at = outcomes["created"] + 14 * DAY
    asked = outcomes["at"] >= at
    chances = truth.conversion(outcomes["id"][asked], moments(at[asked]), horizon_days=60, branches=300)
    probability = chances.probability
    converted = (outcomes["outcome"] == "won") & (outcomes["at"] < at + 60 * DAY)
    surplus = converted[asked] - probability
    assert abs(surplus.sum()) < 4 * np.sqrt((probability * (1 - probability)).sum())
    # They tell leads apart as well: each fifth converts as often as it is said to.
    for fifth in np.array_split(np.argsort(probability), 5):
        noise = np.sqrt((probability[fifth] * (1 - probability[fifth])).sum() + 1.0)
        assert abs(surplus[fifth].sum()) < 4 * noise
    order = np.argsort(probability)
    assert converted[asked][order[-200:]].mean() > 5 * converted[asked][order[:1000]].mean() + 0.2
    assert chances.rate.rate == pytest.approx(probability.mean())
    assert 0.0 < chances.rate.standard_error < 0.003


def test_probabilities_do_not_depend_on_who_is_asked_for_beside(
    truth: Truth, outcomes: dict[str, npt.NDArray], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, at = outcomes["id"][:60], moments(outcomes["created"][:60] + 9 * DAY)
    together = truth.conversion(ids, at, branches=20)
    alone = truth.conversion(ids[7:9], at[7:9], branches=20)
    assert (together.probability[7:9] == alone.probability).all()
    monkeypatch.setattr("simulation.truth._ROWS", 100)
    assert (truth.conversion(ids, at, branches=20).probability == together.probability).all()


def test_the_horizon_begins_at_the_moment(truth: Truth, outcomes: dict[str, npt.NDArray]) -> None:
    won = np.flatnonzero(outcomes["outcome"] == "won")[:100]
    ids, at = outcomes["id"][won], outcomes["at"][won]
    # At that moment the answer is due and not yet drawn; an instant later the lead has been won before.
    assert (truth.conversion(ids, moments(at), branches=100).probability > 0).mean() > 0.95
    after = truth.conversion(ids, moments(at + 1), branches=100)
    assert (after.probability == 0).all()
    assert (after.standard_error > 0).all()


def test_what_lies_ahead_is_drawn_again(export: SimulationSummary, truth: Truth) -> None:
    table = pq.read_table(export.out / "appointments.parquet")
    number = np.array([int(lead[1:]) - 1 for lead in table["lead_id"].to_pylist()])
    booked, scheduled = (micros(table[name].to_numpy()) for name in ("booked_at", "scheduled_at"))
    for share in (0.0, 0.999):
        at = booked + 1 + (share * (scheduled - booked)).astype(np.int64)
        state = truth._replayed(number, at).state
        rows = np.flatnonzero((state.due[:, Coming.APPOINTMENT] != NEVER) & (state.booked == booked))
        state = state.take(np.repeat(rows, 20))
        state.appointment_fate[:] = AppointmentStatus.CANCELLED
        draws = Draws(1, "again", np.arange(len(state)))
        Dynamics(truth.setting.world, state, draws, truth._skill, UnkeptTable).draw_again()
        assert (state.due[:, Coming.APPOINTMENT] >= state.now).all()
        assert (state.due[:, Coming.ANSWER] >= state.now).all()
        kept = (state.appointment_fate == AppointmentStatus.COMPLETED).mean()
        gone = np.isin(state.appointment_fate, [AppointmentStatus.CANCELLED, AppointmentStatus.RESCHEDULED]).mean()
        if share == 0.0:
            # Nothing can have shown yet: the dice are those of the booking.
            assert kept == pytest.approx(state.chance_to_keep.mean(), abs=0.01)
            assert gone == pytest.approx(0.6 * (1 - state.chance_to_keep.mean()), abs=0.01)
        else:
            # By now it would have been called off or moved.
            assert gone == 0.0


@pytest.fixture(scope="module")
def played(truth: Truth) -> dict[str, Rate]:
    """Return what each policy wins."""
    return {policy: truth.play(policy, leads=12_000) for policy in POLICIES}


def test_playing_the_company_agrees_with_its_export(export: SimulationSummary, played: dict[str, Rate]) -> None:
    company = played["company"]
    assert export.conversion_rate is not None
    noise = np.hypot(company.standard_error, np.sqrt(0.17 * 0.83 / (0.8 * LEADS)))
    assert abs(company.rate - export.conversion_rate) < 4 * noise


def test_the_best_actions_win_more_than_the_reps(
    truth: Truth, played: dict[str, Rate], outcomes: dict[str, npt.NDArray]
) -> None:
    company, best = played["company"], played["best"]
    assert best.rate - company.rate > 5 * np.hypot(best.standard_error, company.standard_error)
    # From given moments on as well, and for leads treated by the company until then.
    ids, at = outcomes["id"][::5], moments(outcomes["created"][::5] + 5 * DAY)
    rates = [
        truth.conversion(ids, at, horizon_days=90, branches=10, policy=policy).rate for policy in ("company", "best")
    ]
    assert rates[1].rate - rates[0].rate > 5 * np.hypot(rates[0].standard_error, rates[1].standard_error)


def test_the_playbook_is_better_than_chance_and_worse_than_the_best(played: dict[str, Rate]) -> None:
    best, playbook, uniform = (played[policy] for policy in ("best", "playbook", "uniform"))
    for better, worse in ((best, playbook), (playbook, uniform)):
        assert better.rate - worse.rate > 5 * np.hypot(better.standard_error, worse.standard_error)


def test_the_best_action_can_be_taken_and_is_none_for_a_lead_that_has_ended(
    truth: Truth, outcomes: dict[str, npt.NDArray]
) -> None:
    # As a function it is checked at every decision.
    assert truth.play(truth.best, leads=1000) == truth.play("best", leads=1000)
    at = outcomes["created"] + 30 * DAY
    actions = truth.best_action(outcomes["id"], moments(at))
    assert set(actions) <= {action.name.lower() for action in Action}
    assert (actions[outcomes["at"] < at] == "no_action").all()
    assert len(set(actions[outcomes["at"] >= at])) > 2


@pytest.mark.parametrize(
    ("ids", "days", "message"),
    [
        (["L0000001", "L0009999"], 1, "expected ids from L0000001 to L0003000, found 'L0009999'"),
        (["X1", "L0000001"], 1, "found 'X1'"),
        (["L0000001", "L0000002"], -40, "expected none before the lead was created"),
        (["L0000001"], 1, "as many lead_ids as moments, and at least one, found 1 and 2"),
    ],
)
def test_observations_that_cannot_be_are_named(truth: Truth, ids: list[str], days: int, message: str) -> None:
    at = np.array(["2025-01-15"] * 2, dtype="datetime64[us]") + np.timedelta64(days, "D")
    with pytest.raises(ValueError, match=message):
        truth.conversion(ids, at)


def test_policies_that_cannot_be_are_named(truth: Truth) -> None:
    def everything(seen: Visible) -> npt.NDArray[np.float64]:
        return np.full((len(seen.now), len(Action)), 0.2)

    with pytest.raises(
        ValueError, match="expected one of company, playbook, uniform, best or a function, found 'luck'"
    ):
        truth.play("luck")
    with pytest.raises(ValueError, match=r"0 for what simulation\.policy\.possible excludes"):
        truth.play(everything, leads=500)
    with pytest.raises(ValueError, match="expected probabilities of shape"):
        truth.play(lambda seen: everything(seen)[:, :2], leads=10)
    with pytest.raises(ValueError, match="expected probabilities that add up to 1"):
        truth.play(lambda seen: 0.5 * possible(seen), leads=10)
    with pytest.raises(ValueError, match="leads: expected at least 1"):
        truth.play("company", leads=0)


def test_a_folder_that_is_no_simulation_has_no_truth(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected a simulation with truth/simulation.json"):
        Truth.of(tmp_path)
