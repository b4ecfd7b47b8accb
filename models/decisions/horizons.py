"""Shorter horizons: which of them would have passed after a model was refused, and the advice on them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class HorizonTrial:
    """The result of the trial of a horizon.

    Attributes
    ----------
    horizon_days : int
    passes : bool
        Whether the model would be promoted if there were no champion.
    primary : float or None
        The primary metric on held-out rows; None where nothing could be measured.
    reason : str
        Why it passes or does not.
    """

    horizon_days: int
    passes: bool
    primary: float | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class ShorterHorizons:
    """Shorter horizons that were tried after a refusal, the longest first, or why none could be tried.

    Attributes
    ----------
    setting : str
        The name of the setting of the horizon.
    metric : str
        The primary metric.
    trials : tuple of HorizonTrial
        Empty only with a `failure`.
    failure : str or None
        Why none could be tried.
    """

    setting: str
    metric: str
    trials: tuple[HorizonTrial, ...]
    failure: str | None = None

    @property
    def advice(self) -> str:
        """A sentence on the horizons that would pass, as far as a trial on a sample tells."""
        if self.failure is not None:
            return f"No shorter horizon could be tried: {self.failure.rstrip('.')}."
        passing = [
            f"{self.setting}={each.horizon_days} would probably pass ({self.metric} {each.primary:.3f})"
            for each in self.trials
            if each.passes
        ]
        if passing:
            return (
                f"{', '.join(passing)}. A shorter horizon answers another question, and only a training looks for "
                "hindsight."
            )
        days = [str(each.horizon_days) for each in self.trials]
        choices = f"{', '.join(days[:-1])} or {days[-1]}" if len(days) > 1 else days[0]
        return f"No shorter horizon that was tried would pass ({self.setting}={choices})."
