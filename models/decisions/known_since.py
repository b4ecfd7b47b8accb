"""From when on the first value of an attribute counts as known: a pure decision on the evidence of one export.

A value that was there when the row was created has, among all rows of an age, a share that does not follow from that
age. A value that is entered or overwritten later does. Two tests look for it:

**Closing.** Rows with a value must not have been closed faster of late than before, at equal ages. If a value is
entered when rows are closed, the rows that have it now are all closed, while older ones with it were once open. Only
rows with one value are compared, so it does not matter which values a season has, nor how well they predict; a change
of pace of all rows is taken out.

**Age.** The share of a value among the youngest rows must not differ more from that of the next older ones than
neighbouring stretches of time differed before, at equal ages and among open rows. So campaigns that come and go and
slow trends do not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import erfc, inf, sqrt
from typing import TYPE_CHECKING, Any

from models.declaring.attribute import Known

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

ALL, FILLED, EMPTY, COMMONEST, OTHERS = "all", "filled", "empty", "the commonest", "not the commonest"
"""Rows that are counted beside those of each value: all, those with a value and without one, with the
commonest value and without it."""

CHANCE = 1e-4
"""The probability of a finding by chance, over all tests of an attribute."""

LEAST_YOUNG = 50
"""So many rows must be younger than `YOUNG_DAYS`."""

YOUNG_DAYS = 28

FEW = 4
"""A share of fewer rows is none."""

SPANS = (2, 4, 8, 16)
"""The times before now, in units of time, of which the closings are compared with those before."""

WINDOWS = (1, 2, 3, 4, 6, 8)
"""Lengths of the youngest stretch, in units of time, in the test of age."""

WINDOW_DAYS = (14, 28, 56)
"""Further lengths, where the unit is shorter than a week."""

LEAST_RATIO = 1.5
"""A smaller ratio of odds is no finding of the test of closing: effects of attributes change, too."""

LEAST_SHIFT = 0.08
"""A smaller difference of shares is no finding of the test of age."""

FEW_PLACEBOS = 5
"""So many earlier differences tell how large they are without a reason."""

MARGIN = 2.0
"""Standard deviations by which a test must be able to exceed its bound, to count as one that would show."""

SURELY = 30
"""So many times less probable than its bound a finding must be, to count as one that would show."""

LEAST_EMPTY = 0.05
"""Share of empty rows from which a removal of values must be able to show."""

LEAST_GONE = 8
"""So many young closed rows with a value must be expected, to say that it is gone."""

NO_VALUE = "no value"

STEEP_DAYS = 28
"""The longest youngest stretch in which a change is one with age, even if closed rows show it, too."""

PRECEDENT = 1.5
"""So many times larger than any difference before a finding of the test of age must be."""

APART = 2.5
"""Standard deviations by which open rows must have changed more than closed ones."""

CLEAR = 6.0
"""So much better must a shape fit than another one, in deviance."""

DECAY_DAYS = (1, 3, 7, 14, 28, 56)

Cell = tuple[int, int | None, int]
"""An age and the time from creation to closing, both in whole units of time, and the rows with both."""


@dataclass(frozen=True, kw_only=True)
class Counted:
    """The rows with one value.

    Attributes
    ----------
    label : str
        The value for people, or one of `ALL`, `FILLED`, `EMPTY`, `COMMONEST`, `OTHERS`.
    cells : tuple of (int, int or None, int)
        Their age, the time until they were closed (None: open), and their number.
    """

    label: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class KnownEvidence:
    """What one export tells of the time at which a column was filled.

    Attributes
    ----------
    unit_days : int
        The unit of time.
    counted : tuple of Counted
        `ALL`, `FILLED`, `EMPTY`, `COMMONEST` and `OTHERS`, then the frequent values.
    called : str
        The rows for people, in the plural.
    commonest : str
        The commonest value for people; ``no value`` if most rows have none.
    has_times : bool
        Whether the rows have times of creation of their own.
    from_history : bool
        Whether the source has a history of the column.
    """

    unit_days: int
    counted: tuple[Counted, ...]
    called: str = "rows"
    commonest: str = ""
    has_times: bool = True
    from_history: bool = False


@dataclass(frozen=True, kw_only=True)
class _Finding:
    chance: float
    sentence: str


def known_since(evidence: KnownEvidence) -> tuple[Known, str]:
    """Decide from when on the first value of an attribute counts as known, and say why.

    Parameters
    ----------
    evidence : KnownEvidence

    Returns
    -------
    (Known, str)
        ``creation`` only if the evidence would show a value that is entered when rows are closed, and does not.
    """
    if evidence.from_history:
        return "history", "the source's own history tells when each value was entered"
    if not evidence.has_times:
        return "extraction", f"the {evidence.called} have no times of creation that could show when it was filled"
    rows = _Rows(evidence)
    if not rows.of[FILLED].number:
        return "extraction", "it has no value"
    findings = sorted((*_closing(rows), *_age(rows)), key=lambda each: each.chance)
    if findings:
        return "extraction", findings[0].sentence
    if (thin := _too_few(rows)) is not None:
        return "extraction", thin
    return "creation", _vouched(rows)


class _Rows:
    """The rows of the evidence, by value."""

    def __init__(self, evidence: KnownEvidence) -> None:
        self.evidence = evidence
        unit = evidence.unit_days
        self.windows = sorted({*WINDOWS, *(days // unit for days in WINDOW_DAYS if days // unit > max(WINDOWS))})
        self.recent = max(1, YOUNG_DAYS // unit)
        # the oldest age is one of all older rows
        self.ages = max((age for each in evidence.counted for age, *_ in each.cells), default=0) + 1
        self.of = {each.label: _Table(each, self.ages) for each in evidence.counted}

    def days(self, units: int) -> int:
        return units * self.evidence.unit_days

    def tested(self, *without: str) -> dict[str, _Table]:
        return {label: each for label, each in self.of.items() if label not in (ALL, *without) and each.number}

    def contrasts(self, of: _Table, window: int) -> list[_Contrast | None]:
        """Return the differences between neighbouring stretches of time, the youngest first."""
        starts = range(0, self.ages - 3 * window, window)
        return [_contrast(self.of[ALL].open, of.open, start, window) for start in starts]

    def by_state(self, of: _Table, window: int) -> tuple[_Contrast, _Contrast] | None:
        """Return the youngest difference among open and among closed rows, of rows from the same time."""
        import numpy as np

        ages, everything = np.arange(window), self.of[ALL]
        open_, ended = everything.open[ages, ages], everything.ended[ages, ages]
        weights = open_ * ended / np.maximum(open_ + ended, 1)
        one = _contrast(everything.open, of.open, 0, window, weights)
        other = _contrast(everything.ended, of.ended, 0, window, weights)
        return None if one is None or other is None else (one, other)

    def phrase(self, label: str) -> str:
        of, none, commonest = self.evidence.called, f"have {NO_VALUE}", self.evidence.commonest
        if label == EMPTY or (label == COMMONEST and commonest == NO_VALUE):
            return f"{of} that {none}"
        if label == FILLED or (label == OTHERS and commonest == NO_VALUE):
            return f"{of} that have a value"
        if label == OTHERS:
            return f"{of} with another value than {commonest}"
        return f"{of} with {commonest if label == COMMONEST else label}"


class _Table:
    """The rows with one value, by their age now and at each age before.

    Attributes
    ----------
    open : array
        Rows by age now (row) that were open at the beginning of an age (column).
    events : array
        Those of them that were closed until its end. The unit in which a row is now is not over, and counts nowhere.
    """

    def __init__(self, counted: Counted, ages: int) -> None:
        import numpy as np

        by_end = np.zeros((ages, ages + 1))
        for age, after, rows in counted.cells:
            by_end[age, ages if after is None else min(after, age)] += rows
        self.by_age = by_end.sum(axis=1)
        reached = np.arange(ages)[:, None] >= np.arange(ages)[None, :]
        self.open = by_end[:, ::-1].cumsum(axis=1)[:, ::-1][:, :ages] * reached
        self.ended = self.by_age[:, None] * reached - self.open
        self.events = by_end[:, :ages] * (np.arange(ages)[:, None] > np.arange(ages)[None, :])
        self.still_open = by_end[:, ages]

    @cached_property
    def number(self) -> int:
        return int(self.by_age.sum())

    def young(self, units: int) -> int:
        return int(self.by_age[:units].sum())

    def risk(self, span: int, *, only_closed: bool = False) -> _Risk:
        """Count, by age, rows that were open at its beginning and those then closed, of late and before.

        Parameters
        ----------
        span : int
            The time before now that counts as late, in units; what is older than twice of it counts as before.
        only_closed : bool
            Whether late rows count only if they are closed: the rows that a value would have that is entered then.
        """
        import numpy as np

        ages = np.arange(len(self.by_age))
        ago = ages[:, None] - ages[None, :]
        late, before = (ago > 0) & (ago <= span), ago > 2 * span
        at_risk = self.open - self.still_open[:, None] if only_closed else self.open
        return _Risk(
            late=(at_risk * late).sum(axis=0),
            late_closed=(self.events * late).sum(axis=0),
            before=(self.open * before).sum(axis=0),
            before_closed=(self.events * before).sum(axis=0),
        )


@dataclass(frozen=True, kw_only=True)
class _Risk:
    late: Array
    late_closed: Array
    before: Array
    before_closed: Array

    @property
    def pace(self) -> float | None:
        """How many times faster rows were closed of late than before, at equal ages (Mantel and Haenszel)."""
        import numpy as np

        both = np.maximum(self.late + self.before, 1)
        late = float((self.late_closed * self.before / both).sum())
        before = float((self.before_closed * self.late / both).sum())
        return late / before if late and before else None

    def closings(self, pace: float) -> _Closings:
        """Say how probable it is that so many of the closings are late ones."""
        import numpy as np

        both = (self.late > 0) & (self.before > 0)
        late, before = self.late[both], self.before[both]
        late_closed, before_closed = self.late_closed[both], self.before_closed[both]
        closings, hits = float((late_closed + before_closed).sum()), float(late_closed.sum())
        if not closings:
            return _Closings(late=0, expected=0.0, chance=1.0, ratio=1.0)
        share = float(((late_closed + before_closed) * late * pace / (late * pace + before)).sum()) / closings
        own = self.pace or (inf if hits else 1e-9)
        return _Closings(
            late=round(hits),
            expected=float((late * pace * before_closed / np.maximum(before, 1)).sum()),
            chance=_tail(hits, closings, share),
            ratio=max(own / pace, pace / own),
        )


@dataclass(frozen=True, kw_only=True)
class _Closings:
    late: int
    expected: float
    chance: float
    ratio: float


@dataclass(frozen=True, kw_only=True)
class _Contrast:
    young: float
    older: float
    variance: float

    @property
    def shift(self) -> float:
        return self.young - self.older


def _contrast(
    everything: Array, values: Array, start: int, window: int, weights: Array | None = None
) -> _Contrast | None:
    """Compare the share of a value in a stretch of time with that in the next older ones, at equal ages of the rows.

    Parameters
    ----------
    everything, values : array
        Rows by their age now (row) at each age before (column): all, and those with the value.
    start, window : int
        The ages now of the younger stretch; the older one is twice as long.
    weights : array or None
        Of the ages; None for the numbers of rows in the younger stretch.
    """
    import numpy as np

    ages = np.arange(window)
    young, young_with = everything[start + ages, ages], values[start + ages, ages]
    stretch = slice(start + window, start + 3 * window)
    older, older_with = everything[stretch, :window].sum(axis=0), values[stretch, :window].sum(axis=0)
    weights = young if weights is None else weights
    has = weights > 0
    if young[has].sum() < FEW or not (older[has] > 0).all() or not (young[has] > 0).all():
        return None
    weights, young, older = weights[has] / weights[has].sum(), young[has], older[has]
    young_share = float((weights * young_with[has] / young).sum())
    older_share = float((weights * older_with[has] / older).sum())
    of_young = float((weights**2 / young).sum())
    # a row of the older stretch counts at several ages: of two ages, those of one are among those of the other
    of_older = float((weights[:, None] * weights[None, :] / np.maximum(older[:, None], older[None, :])).sum())
    share = (young_share / of_young + older_share / of_older + 1) / (1 / of_young + 1 / of_older + 2)
    return _Contrast(young=young_share, older=older_share, variance=share * (1 - share) * (of_young + of_older))


def _closing(rows: _Rows) -> Iterator[_Finding]:
    """Compare how fast rows with a value were closed of late with how fast they were before."""
    tested = rows.tested()
    bound = CHANCE / 2 / (len(tested) * len(SPANS))
    for span in SPANS:
        if (pace := rows.of[ALL].risk(span).pace) is None:
            continue
        for label, each in tested.items():
            found = each.risk(span).closings(pace)
            if found.chance < bound and found.ratio > LEAST_RATIO:
                yield _Finding(
                    chance=found.chance,
                    sentence=f"{found.late:,} {rows.phrase(label)} were closed in the last {rows.days(span)} days, "
                    f"but {found.expected:,.0f} would be by the pace of older ones: it is entered, changed or removed "
                    "when one is closed",
                )


def _age(rows: _Rows) -> Iterator[_Finding]:
    """Compare the youngest rows with the next older ones, and with what such differences were before."""
    tested = rows.tested(EMPTY, COMMONEST, OTHERS)
    bound = CHANCE / 2 / (len(tested) * len(rows.windows))
    for window in rows.windows:
        found = {label: rows.contrasts(each, window) for label, each in tested.items()}
        before = {label: [each for each in contrasts[2:] if each] for label, contrasts in found.items()}
        if len(before[FILLED]) < FEW_PLACEBOS:
            continue
        # what has happened before to one value may happen now to another one
        largest = max(_largest(each) for each in before.values())
        for label, (now, *_) in found.items():
            if now is None:
                continue
            chance = erfc(abs(now.shift) / sqrt(now.variance) / sqrt(2))
            if chance > bound or abs(now.shift) < max(_least(before[label]), PRECEDENT * largest):
                continue
            is_steep = rows.days(window) <= STEEP_DAYS
            if not _is_of_open(rows, tested[label], window) and (
                not is_steep or not _follows_age(rows, label, now, before[label])
            ):
                continue
            days = rows.days(window)
            said = "filled" if label == FILLED else f"it is {label}"
            yield _Finding(
                chance=chance,
                sentence=f"{said} for {_percent(now.young)} of the open {rows.evidence.called} of the last {days} days "
                f"and for {_percent(now.older)} of those {days} to {3 * days} days old that were open at that age, and "
                "no earlier time shows such a change: it is entered or changed after the creation",
            )


def _largest(before: Sequence[_Contrast]) -> float:
    return max((max(0.0, abs(each.shift) - 2.5 * sqrt(each.variance)) for each in before), default=0.0)


def _least(before: Sequence[_Contrast]) -> float:
    """Return the least shift of a share that differs from those before."""
    excess = sum(each.shift**2 - each.variance for each in before) / len(before)
    return max(LEAST_SHIFT, 4 * sqrt(max(0.0, excess)), PRECEDENT * _largest(before))


def _is_of_open(rows: _Rows, values: _Table, window: int) -> bool:
    """Say whether open rows have changed more than closed ones of the same time: it was no change of all rows."""
    if (both := rows.by_state(values, window)) is None:
        return False
    one, other = both
    further = abs(one.shift) - other.shift * (1 if one.shift > 0 else -1)
    return further > max(abs(one.shift) / 2, APART * sqrt(one.variance + other.variance))


def _follows_age(rows: _Rows, label: str, now: _Contrast, before: Sequence[_Contrast]) -> bool:
    """Say whether a value is entered, or given up, with age, and not from a day on, as a campaign begins and ends."""
    if label == FILLED:
        # what is filled only for new rows is a new field of a form
        return now.shift < 0
    ages = 3 * STEEP_DAYS // rows.evidence.unit_days
    whole, hits = rows.of[ALL].by_age[:ages], rows.of[label].by_age[:ages]
    step, ramp = _step(whole, hits), _ramp(whole, hits, rows.evidence.unit_days)
    is_new = now.shift > 0 and max((each.older for each in before), default=0.0) < 0.02
    return ramp + CLEAR < step if is_new else ramp < step + CLEAR


def _step(whole: Array, hits: Array) -> float:
    """Return the deviance of a share that changes once."""
    import numpy as np

    found = []
    for cut in range(1, len(whole)):
        parts = [(hits[part].sum() + 0.5) / (whole[part].sum() + 1) for part in (slice(cut), slice(cut, None))]
        found.append(_deviance(whole, hits, np.repeat(parts, (cut, len(whole) - cut))))
    return min(found)


def _ramp(whole: Array, hits: Array, unit_days: int) -> float:
    """Return the deviance of a share that decays with age to another one."""
    import numpy as np

    found = []
    for length in DECAY_DAYS:
        x = np.exp(-np.arange(len(whole)) * unit_days / length)
        middle, mean = (whole * x).sum() / whole.sum(), hits.sum() / whole.sum()
        slope = ((x - middle) * (hits - whole * mean)).sum() / max((whole * (x - middle) ** 2).sum(), 1e-9)
        found.append(_deviance(whole, hits, mean + slope * (x - middle)))
    return min(found)


def _deviance(whole: Array, hits: Array, shares: Array) -> float:
    import numpy as np

    fitted = np.clip(shares, 0.005, 0.995)
    return float(-2 * (hits * np.log(fitted) + (whole - hits) * np.log(1 - fitted)).sum())


def _too_few(rows: _Rows) -> str | None:
    """Say what is missing for a test, or None."""
    called = rows.evidence.called
    everything, others = rows.of[ALL], rows.of[OTHERS]
    if (young := everything.young(rows.recent)) < LEAST_YOUNG:
        return f"too few {called} to tell: {young:,} are of the last {YOUNG_DAYS} days, and {LEAST_YOUNG} are needed"
    # of all values that a row may have before it is closed, the commonest leaves the fewest rows to tell; and a value
    # may be removed then
    needed = [COMMONEST if _is_gone(rows, OTHERS) else OTHERS]
    if rows.of[EMPTY].number >= LEAST_EMPTY * everything.number and not _is_gone(rows, EMPTY):
        needed.append(EMPTY)
    if not all(_would_show(rows, label) for label in needed):
        is_open = int(everything.still_open.sum())
        rare = min(others.number, everything.number - others.number) / everything.number
        return (
            f"too few {called} to tell: of {everything.number:,}, {is_open:,} are open, and {_percent(rare)} differ "
            "from the others in it; so it would not show if it were entered when one is closed"
        )
    return None


def _would_show(rows: _Rows, label: str) -> bool:
    """Say whether the tests would show a value that is entered when rows are closed."""
    values = rows.of[label]
    bound = CHANCE / 2 / (len(rows.tested()) * len(SPANS)) / SURELY
    for span in SPANS:
        if (pace := rows.of[ALL].risk(span).pace) is None:
            continue
        found = values.risk(span, only_closed=True).closings(pace)
        if found.chance < bound and found.ratio > LEAST_RATIO:
            return True
    for window in rows.windows:
        now, *rest = rows.contrasts(values, window) or [None]
        before = [each for each in rest[1:] if each]
        if len(before) < FEW_PLACEBOS or now is None or (both := rows.by_state(values, window)) is None:
            continue
        shift = min(now.older, 1 - now.older)
        if shift > max(
            _least(before),
            (5 + MARGIN) * sqrt(now.variance),
            (APART + MARGIN) * sqrt(sum(each.variance for each in both)),
        ):
            return True
    return False


def _is_gone(rows: _Rows, label: str) -> bool:
    """Say whether no young row has a value any more, be it open or closed, though older ones were closed with it."""
    window = max(WINDOWS)
    young, whole = rows.of[label].young(window), rows.of[ALL].young(window)
    if rows.ages <= 3 * window or young > 0.02 * whole:
        return False
    closed = _contrast(rows.of[ALL].ended, rows.of[label].ended, 0, window)
    ended = sum(float(rows.of[ALL].ended[age, age]) for age in range(window))
    return closed is not None and closed.older * ended >= LEAST_GONE


def _vouched(rows: _Rows) -> str:
    filled, everything = rows.of[FILLED], rows.of[ALL]
    young, all_young = filled.young(rows.recent), everything.young(rows.recent)
    older = (filled.number - young) / max(1, everything.number - all_young)
    return (
        f"filled for {_percent(young / all_young)} of the {rows.evidence.called} of the last {YOUNG_DAYS} days and for "
        f"{_percent(older)} of older ones, and neither fill nor values follow their age or their closing"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _tail(hits: float, trials: float, share: float) -> float:
    """Return the two-sided binomial probability of so many hits, or of more extreme numbers."""
    from scipy.special import betainc

    if not 0 < share < 1:
        return 1.0
    if hits > share * trials:
        return min(1.0, 2 * float(betainc(hits, trials - hits + 1, share)))
    return min(1.0, 2 * float(betainc(trials - hits, hits + 1, 1 - share))) if hits < trials else 1.0
