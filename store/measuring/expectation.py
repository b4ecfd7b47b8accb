"""What a first run would take: an estimate from the number of observations."""

from dataclasses import dataclass

FIXED_SECONDS, SECONDS_PER_OBSERVATION = 60.0, 0.0005
"""CPU time of a run."""

FIXED_BYTES, BYTES_PER_OBSERVATION = 1_000_000_000, 4_000


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """An estimate of what a first run takes.

    Attributes
    ----------
    cpu_seconds : float
    peak_bytes : int
        The memory of all its processes together.
    """

    cpu_seconds: float
    peak_bytes: int


def expected_of_run(observations: int) -> Expectation:
    """Estimate the time and the memory of a first run from the rows of its feature view."""
    return Expectation(
        cpu_seconds=FIXED_SECONDS + SECONDS_PER_OBSERVATION * observations,
        peak_bytes=FIXED_BYTES + BYTES_PER_OBSERVATION * observations,
    )
