"""What a first run would take: an estimate from the number of observations, with which most of its work grows.

The time was measured on two busy cores: 179 s of CPU with 14,183 simulated observations, and 293 s with 114,489. These
runs took 1.0 and 1.1 GB of memory. Folds are fitted in as many processes as cores are free, so a run on four idle cores
took 2.7 GB with 228,000 observations in an earlier release. The estimate of the memory follows that run.
"""

from dataclasses import dataclass

FIXED_SECONDS, SECONDS_PER_OBSERVATION = 163.0, 1.14e-3
"""CPU time of a run."""

FIXED_BYTES, BYTES_PER_OBSERVATION = 1_000_000_000, 8_000


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """An estimate of what a first run takes.

    Attributes
    ----------
    cpu_seconds : float
    peak_bytes : int
        The memory of all its processes together, if several cores are free.
    """

    cpu_seconds: float
    peak_bytes: int


def expected_of_run(observations: int) -> Expectation:
    """Estimate the time and the memory of a first run from the rows of its feature view."""
    return Expectation(
        cpu_seconds=FIXED_SECONDS + SECONDS_PER_OBSERVATION * observations,
        peak_bytes=FIXED_BYTES + BYTES_PER_OBSERVATION * observations,
    )
