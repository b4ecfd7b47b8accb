"""The truth, which nobody in the company knows: how likely each lead is to convert, and its best action.

The dynamics are known, so the truth is simulated and not estimated from data: the streams of a lead bring it to a
moment exactly as in the export, and from there it is simulated many times with fresh streams.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from simulation.arrivals import Traits, arrive, endow, rep_skill, with_other_hidden
from simulation.best import BestActions, learn_best
from simulation.ceiling import micros
from simulation.draws import Bools, Draws, Floats, Ints, stream_keys
from simulation.engine import Lives, Policy, company_policy
from simulation.facts import UnkeptTable
from simulation.policy import Action, possible, probabilities
from simulation.setting import Setting
from simulation.state import End, Visible
from simulation.world import DAY, NEVER

POLICIES = ("company", "playbook", "uniform", "best")
"""The policies with a name: that of the reps, deviations included; the playbook; any possible action with the same
probability; the best action by what a rep can see."""

_ROWS = 200_000
"""Number of lives that are simulated at a time; they take about 150 MB."""


@dataclass(frozen=True)
class Chances:
    """True conversion probabilities, one per lead and moment.

    Attributes
    ----------
    probability : array of float
        Share of the continuations in which the lead converts.
    standard_error : array of float
        The standard error of that share, with half a success and half a failure added: a share of 0 is not certain.
    """

    probability: Floats
    standard_error: Floats

    @classmethod
    def counted(cls, won: Floats, branches: int) -> "Chances":
        """Return the chances of leads of whose continuations so many are won."""
        smoothed = (won + 0.5) / (branches + 1.0)
        return cls(won / branches, np.sqrt(smoothed * (1.0 - smoothed) / branches))

    @property
    def rate(self) -> "Rate":
        """The mean over these leads and moments; its error is that of the simulation, not of the choice of leads."""
        error = float(np.sqrt((self.standard_error**2).sum()) / len(self.probability))
        return Rate(float(self.probability.mean()), error)


@dataclass(frozen=True)
class Rate:
    """A true conversion rate.

    Attributes
    ----------
    rate, standard_error : float
        The share that converts, and its standard error.
    """

    rate: float
    standard_error: float


class Truth:
    """The truth about a simulation.

    Parameters
    ----------
    setting : Setting
        The setting of the simulation; `Truth.of` reads it from an export.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self._skill = rep_skill(setting.world, setting.seed)

    @classmethod
    def of(cls, export: Path) -> "Truth":
        """Return the truth about an export.

        Raises
        ------
        FileNotFoundError
            If the folder is no simulation.
        """
        return cls(Setting.load(export))

    def conversion(
        self,
        lead_ids: npt.ArrayLike,
        moments: npt.ArrayLike,
        *,
        horizon_days: int = 30,
        branches: int = 200,
        policy: str | Policy = "company",
    ) -> Chances:
        """Return how likely leads are to be won within a horizon, seen from some moments.

        All earlier events and the hidden traits are known. Each continuation draws the coming events anew: the fates of
        appointments, and the times of answers to proposals; only a pending reply is kept. So the probability is a
        ceiling for a model, which must infer the traits from the records.

        Parameters
        ----------
        lead_ids : array of str
            Ids of the export; a lead may be named more than once.
        moments : array of datetime
            One for each of them, in UTC. A lead that has ended before has probability 0.
        horizon_days : int
            A lead converts if it is won from the moment on and before this many days later.
        branches : int
            Continuations for each lead and moment.
        policy : str or Policy
            How the reps act from the moment on: one of `POLICIES`, or a function of what they see.

        Returns
        -------
        Chances
            In the order of `lead_ids`. The numbers for a lead do not depend on the other leads.

        Raises
        ------
        ValueError
            If a lead does not exist, or not yet at the moment; if there is no such policy, or it asks for what cannot
            be done.
        """
        if branches < 1:
            raise ValueError(f"branches: expected at least 1, found {branches}")
        numbers, at = self._observed(lead_ids, moments)
        playing = self._policy(policy)
        won = np.zeros(len(numbers))
        size = max(1, _ROWS // branches)
        for first in range(0, len(numbers), size):
            lives = self._replayed(numbers[first : first + size], at[first : first + size])
            rows = np.repeat(np.flatnonzero(lives.state.ended == NEVER), branches)
            branch = np.arange(len(rows)) % branches
            state = lives.state.take(rows)
            draws = Draws(self.setting.seed, "branch", state.traits.numbers, state.now, branch)
            future = Lives(self.setting.world, state, draws, self._skill, UnkeptTable)
            future.dynamics.draw_again()
            future.play(state.now + horizon_days * DAY, playing, visits=False)
            np.add.at(won, first + rows, state.end == End.WON)
        return Chances.counted(won, branches)

    def at_creation(self, lead_ids: npt.ArrayLike, *, horizon_days: int = 90, branches: int = 200) -> Chances:
        """Return how likely leads are to be won within a horizon of their creation, by what can be known then.

        Source, values, attributes and rep are known; the hidden traits, and what will change in the attributes, are
        drawn anew for each life that is played. So a perfect model that sees the true attributes at the creation of the
        leads would give these probabilities: no other one ranks the leads better.

        Parameters
        ----------
        lead_ids : array of str
            Ids of the export.
        horizon_days : int
            A lead converts if it is won before this many days have passed.
        branches : int
            Lives of each lead.

        Returns
        -------
        Chances
            In the order of `lead_ids`. The numbers for a lead do not depend on the other leads.

        Raises
        ------
        ValueError
            If a lead does not exist.
        """
        if branches < 1:
            raise ValueError(f"branches: expected at least 1, found {branches}")
        numbers = self._numbers(np.asarray(lead_ids, dtype=np.str_))
        setting = self.setting
        won = np.zeros(len(numbers))
        size = max(1, _ROWS // branches)
        for first in range(0, len(numbers), size):
            some = numbers[first : first + size]
            rows = np.repeat(np.arange(len(some)), branches)
            branch = np.arange(len(rows)) % branches
            hidden, life = (Draws(setting.seed, name, some[rows], branch) for name in ("hidden again", "life again"))
            traits = with_other_hidden(
                setting.world, self._traits.take(some), rows, hidden, setting.seed, setting.attributes_from
            )
            lives = Lives.born(setting.world, traits, self._skill, setting.seed, draws=life)
            lives.play(traits.created + horizon_days * DAY, company_policy(setting.world), visits=False)
            np.add.at(won, first + rows, lives.state.end == End.WON)
        return Chances.counted(won, branches)

    def play(self, policy: str | Policy, *, leads: int = 20_000, horizon_days: int = 90) -> Rate:
        """Play a policy forward on fresh leads of the same company, from their creation on.

        Parameters
        ----------
        policy : str or Policy
            One of `POLICIES`, or a function from what a rep sees of some leads to the probabilities of the actions.
        leads : int
            How many; the same ones for every policy.
        horizon_days : int
            It counts to be won within this many days of the creation.

        Returns
        -------
        Rate
            The share of the leads that is won, and its standard error.

        Raises
        ------
        ValueError
            If there is no such policy, or `leads` is less than 1.
        """
        if leads < 1:
            raise ValueError(f"leads: expected at least 1, found {leads}")
        playing = self._policy(policy)
        won: list[Bools] = []
        for traits, seed in self._fresh("fresh leads", leads):
            lives = Lives.born(self.setting.world, traits, self._skill, seed)
            lives.play(traits.created + horizon_days * DAY, playing, visits=False)
            won.append(lives.state.end == End.WON)
        rate = float(np.concatenate(won).mean())
        return Rate(rate, float(np.sqrt(rate * (1.0 - rate) / leads)))

    def best_action(self, lead_ids: npt.ArrayLike, moments: npt.ArrayLike) -> npt.NDArray[np.str_]:
        """Return the best action on what can be seen of leads at some moments; for a lead that has ended, `no_action`.

        See `simulation.best` for what best means, and for its limits. The parameters are those of `conversion`.
        """
        names = np.array([action.name.lower() for action in Action])
        lives = self._replayed(*self._observed(lead_ids, moments))
        actions = self.best.actions(lives.state.visible(np.arange(len(lives.state))))
        return names[np.where(lives.state.ended == NEVER, actions, Action.NO_ACTION)]

    @cached_property
    def best(self) -> BestActions:
        """The best actions on what can be seen, learnt from leads other than those of the export and of `play`.

        These come all through the time of the export; with a scenario, before its day and after it.
        """
        return learn_best(self.setting.world, self._fresh("practice leads", 10_000), self._skill)

    def _policy(self, policy: str | Policy) -> Policy:
        if not isinstance(policy, str):
            return _checked(policy)
        by_name: dict[str, Policy] = {
            "company": company_policy(self.setting.world),
            "playbook": lambda seen: probabilities(seen, 0.0),
            "uniform": _uniform,
        }
        if policy == "best":
            return self.best
        if policy not in by_name:
            raise ValueError(f"policy: expected one of {', '.join(POLICIES)} or a function, found {policy!r}")
        return by_name[policy]

    @cached_property
    def _traits(self) -> Traits:
        setting = self.setting
        return endow(setting.world, setting.arrivals, 0, setting.leads, setting.seed, setting.attributes_from)

    def _fresh(self, purpose: str, leads: int) -> Iterator[tuple[Traits, int]]:
        """Yield other leads of the same company, by groups, with the seed of their streams."""
        setting, size = self.setting, 20_000
        seed = int(stream_keys(setting.seed, purpose)[0])
        arrivals = arrive(setting.world, leads, setting.start, setting.end, seed)
        for first in range(0, leads, size):
            last = min(first + size, leads)
            yield endow(setting.world, arrivals, first, last, seed, setting.attributes_from), seed

    def _observed(self, lead_ids: npt.ArrayLike, moments: npt.ArrayLike) -> tuple[Ints, Ints]:
        """Return numbers of leads and moments in microseconds."""
        ids, at = np.asarray(lead_ids, dtype=np.str_), micros(moments)
        if len(ids) != len(at) or not len(ids):
            raise ValueError(
                f"expected as many lead_ids as moments, and at least one, found {len(ids):,} and {len(at):,}"
            )
        return self._numbers(ids), at

    def _numbers(self, ids: npt.NDArray[np.str_]) -> Ints:
        numbered = np.char.startswith(ids, "L") & np.char.isdigit(np.char.lstrip(ids, "L"))
        numbers = np.where(numbered, np.char.lstrip(ids, "L"), "0").astype(np.int64)
        unknown = (numbers < 1) | (numbers > self.setting.leads)
        if unknown.any():
            raise ValueError(
                f"lead_ids: expected ids from L0000001 to L{self.setting.leads:07d}, found {str(ids[unknown][0])!r} "
                f"({unknown.sum():,} of {len(ids):,} are none); name leads of this simulation"
            )
        return numbers - 1

    def _replayed(self, numbers: Ints, at: Ints) -> Lives:
        traits = self._traits.take(numbers)
        early = np.flatnonzero(at < traits.created)
        if len(early):
            lead, moment, created = (int(values[early[0]]) for values in (numbers, at, traits.created))
            raise ValueError(
                f"moments: expected none before the lead was created, found {np.datetime64(moment, 'us')} for lead "
                f"L{lead + 1:07d} of {np.datetime64(created, 'us')}"
            )
        lives = Lives.born(self.setting.world, traits, self._skill, self.setting.seed)
        lives.play(at, company_policy(self.setting.world))
        return lives


def _checked(policy: Policy) -> Policy:
    def checked(seen: Visible) -> Floats:
        chances = policy(seen)
        expected = (len(seen.now), len(Action))
        if chances.shape != expected:
            raise ValueError(f"policy: expected probabilities of shape {expected}, found {chances.shape}")
        wrong = (chances < 0.0).any(axis=1) | (np.abs(chances.sum(axis=1) - 1.0) > 1e-9)
        wrong |= ((chances > 0.0) & ~possible(seen)).any(axis=1)
        if wrong.any():
            raise ValueError(
                "policy: expected probabilities that add up to 1, and 0 for what simulation.policy.possible excludes, "
                f"found {chances[wrong][0].tolist()}"
            )
        return chances

    return checked


def _uniform(seen: Visible) -> Floats:
    able = possible(seen)
    return able / able.sum(axis=1, keepdims=True)
