"""Random numbers that belong to a lead.

Each lead has a stream of its own, so its course does not depend on which and how many leads are simulated together.
The generator is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014),
evaluated for many streams at once.
"""

import hashlib

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Keys = npt.NDArray[np.uint64]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def _mix(values: Keys) -> Keys:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _to_uniform(bits: Keys) -> Floats:
    # The half keeps 0 and 1 out, so that logarithms of draws are finite.
    return ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def stream_keys(seed: int, purpose: str, *numbers: Ints) -> Keys:
    """Return one stream key per number, or per tuple of numbers.

    Parameters
    ----------
    seed : int
        The seed of the simulation.
    purpose : str
        The purpose of the stream; streams of different purposes are independent.
    *numbers : array of int
        Numbers of the owners: leads or reps. Further arrays of the same length distinguish several streams of one lead,
        by moment or branch.

    Returns
    -------
    array of uint64
        A key for each position of the arrays.
    """
    digest = hashlib.blake2b(f"{seed}:{purpose}".encode(), digest_size=8).digest()
    keys = np.array([int.from_bytes(digest, "little")], dtype=np.uint64)
    for each in numbers:
        keys = _mix(keys + _mix(each.astype(np.uint64) * _GAMMA))
    return keys


def uniform_at(keys: Keys, positions: Ints) -> Floats:
    """Return the draw at a position of each stream, uniform on the open interval (0, 1)."""
    return _to_uniform(_mix(keys + (positions.astype(np.uint64) + np.uint64(1)) * _GAMMA))


class Draws:
    """The streams of some leads, each read from its start.

    Parameters
    ----------
    seed : int
        The seed of the simulation.
    purpose : str
        The purpose of the streams.
    *numbers : array of int
        The arguments of `stream_keys`; the methods address a stream by its row in these arrays.
    """

    def __init__(self, seed: int, purpose: str, *numbers: Ints) -> None:
        self._keys = stream_keys(seed, purpose, *numbers)
        self._positions = np.zeros(len(self._keys), dtype=np.int64)

    def uniform(self, rows: Ints) -> Floats:
        """Draw once, uniform on (0, 1), for each of the rows, which must be distinct."""
        positions = self._positions[rows]
        self._positions[rows] = positions + 1
        return uniform_at(self._keys[rows], positions)

    def repeated(self, rows: Ints, counts: Ints) -> tuple[Ints, Floats]:
        """Draw `counts` times for each of the distinct rows; return the repeated rows and the draws."""
        repeated = np.repeat(rows, counts)
        within = np.arange(len(repeated)) - np.repeat(np.cumsum(counts) - counts, counts)
        positions = self._positions[repeated] + within
        self._positions[rows] += counts
        return repeated, uniform_at(self._keys[repeated], positions)

    def normal(self, rows: Ints) -> Floats:
        """Draw once from the standard normal distribution for each of the rows (Box and Muller, 1958)."""
        radius = np.sqrt(-2.0 * np.log(self.uniform(rows)))
        return radius * np.cos(2.0 * np.pi * self.uniform(rows))

    def between(self, rows: Ints, low: float, high: float) -> Floats:
        """Draw once, uniform on (low, high), for each of the rows."""
        return low + (high - low) * self.uniform(rows)

    def chance(self, rows: Ints, probability: Floats | float) -> Bools:
        """Draw whether something of the given probability happens, for each of the rows."""
        return self.uniform(rows) < probability
