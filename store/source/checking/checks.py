"""The checks on a row: one condition for each way in which a column may be wrong, and the remedy for each reason."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from store.source.checking.numbers import Points, is_ambiguous
from store.source.checking.times import LATEST, stated
from store.source.contract import CLOSED_STATUSES, OVERWRITTEN, TABLES
from store.source.mapping.binding import TableBinding
from store.source.mapping.forms import Flag, Substitute
from store.source.owners import tables_about
from store.source.record import Column
from store.source.values.functions import ISO
from store.sql import literal, literals

TRUE = (
    "true",
    "t",
    "yes",
    "y",
    "1",
    "1.0",
    "x",
    "on",
    "ja",
    "j",
    "wahr",
    "oui",
    "vrai",
    "verdadero",
    "si",
    "s\u00ed",
    "sim",
)

FALSE = ("false", "f", "no", "n", "0", "0.0", "off", "nein", "falsch", "non", "faux", "nee", "n\u00e3o", "falso")

KEPT: Mapping[str, tuple[str, ...]] = {
    kind: tuple(
        name for table, names in OVERWRITTEN.items() for name in names if TABLES[table].column(name).kind == kind
    )
    for kind in ("number", "time")
}
"""The columns with numbers and times whose history is kept."""

EARLIEST = "1970-01-01"

LARGEST = 10**14
"""Numbers are smaller: a hundred times as much fits into the 18 digits of a decimal, as features need it."""

FAR = "far_from_others"

REMEDIES: Mapping[str, str] = {
    "missing_required": "Fill it in the CRM, or supply it in the mapping",
    "unparsable_time": "Export times as ISO 8601 in UTC, such as 2026-01-31T09:30:00Z, or state their format in the "
    "mapping (times)",
    "time_out_of_range": "Correct the time in the CRM; leave it empty when it is not known",
    "time_in_future": "Correct the time in the CRM, or the time zone of the export",
    "unparsable_number": "Export numbers with a decimal point and without unit or thousands separator, or state their "
    "signs in the mapping (numbers)",
    "ambiguous_number": "State the signs in the mapping, such as numbers: {value: {decimal: ',', thousands: '.'}}, or "
    "{decimal: '.'} if it is a decimal point",
    "number_out_of_range": "Correct the number in the CRM, or map the right column; a unit in the mapping scales it "
    "(units)",
    "negative_number": "Correct the number in the CRM",
    "unknown_type": "Map the value in the source mapping (values)",
    "unknown_direction": "Map the value in the source mapping (values)",
    "unknown_status": "Map the value in the source mapping (values)",
    "unknown_kind": "Map the value in the source mapping (values)",
    "unknown_assigned": "Map the value in the source mapping (values)",
    "unknown_currency": "Map the value in the source mapping (values)",
    "unknown_flag": "Export the flag as true or false",
    "closed_without_time": "Enter the day of the closing in the CRM",
    "end_before_start": "Correct one of the two times in the CRM",
    "conflicting_duplicate": "Remove all but one of the rows in the CRM; until then none of them is loaded, and what "
    "was loaded of this key before stays as it was",
    "rewritten_history": "A stored change stays; enter the present value as a new change",
    FAR: "Correct the time in the CRM; if it is right, set a clock after it (AS_OF=…)",
    "orphan": "Export what the row is about as well, or mend it if it was rejected itself",
    "malformed_row": "Correct the row, or quote fields that hold the delimiter",
}
"""The remedy for each reason, by its code."""


@dataclass(frozen=True)
class Check:
    """A check: one way in which a row may not fit.

    Attributes
    ----------
    reason : str
        Code, a key of `REMEDIES`.
    column : str
        The column at fault.
    expected : str
        The expected value of the column, in words.
    condition : str
        SQL over the typed row, true when the row does not fit.
    """

    reason: str
    column: str
    expected: str
    condition: str


def checks_of(
    binding: TableBinding, latest: datetime, stated_names: frozenset[str], points: Mapping[str, Points]
) -> Iterator[Check]:
    """Yield the checks on a table, in the order in which they are applied.

    The checks of the key come first. The last ones (conflicting duplicate, orphan, rewritten history, far from others)
    compare rows and have no condition here. A time is checked as the source states it.
    """
    table = binding.table
    for column in table.columns:
        yield from _column_checks(column, binding, stated(stated_names, column.name), points.get(column.name))
    # where a flag or a substitute is mapped, it supplies the time later
    if table.name == "projects" and isinstance(binding.forms["closed_at"], str | None):
        yield Check(
            "closed_without_time",
            "closed_at",
            f"the time at which the project was closed, as its status is {' or '.join(CLOSED_STATUSES)}",
            f"status in ({literals(CLOSED_STATUSES)}) and closed_at is null",
        )
    for column in table.columns:
        if column.kind != "time" or not binding.reads(column.name):
            continue
        if (start := column.not_before) is not None and binding.reads(start):
            # the stated start is compared: a start that is a date may be any moment of its day
            before = f"{column.name} < {stated(stated_names, start)}"
            yield Check("end_before_start", column.name, f"a time not before {start}", before)
        if not column.planned and not column.ahead:
            yield Check(
                "time_in_future",
                column.name,
                f"a time no later than a day after the present ({latest:%Y-%m-%dT%H:%M:%SZ})",
                f"{column.name} is not null and {stated(stated_names, column.name)} > "
                f"timestamptz '{(latest + timedelta(days=1)).isoformat()}'",
            )
    yield Check("conflicting_duplicate", table.key, "one content for each key", "false")
    about = tables_about(table)
    if len(about) > 1:
        read = [owner for owner in about if binding.forms[owner.key] is not None]
        expected = "a value" if len(read) == 1 else " or ".join(f"a {owner.one}" for owner in read)
        yield Check(
            "missing_required", read[0].key, expected, f"coalesce({', '.join(each.key for each in read)}) is null"
        )
    for owner in about if table.begins is None else ():
        expected = f"the {owner.key} of a {owner.one} of the export or of an earlier one"
        yield Check("orphan", owner.key, expected, "false")
    if binding.owners:
        yield Check("rewritten_history", table.key, "the change that is stored under this key", "false")
    for name in binding.clock_facts:
        yield Check(FAR, name, "a time near those of other facts", "false")


def _column_checks(column: Column, binding: TableBinding, time: str, points: Points | None) -> Iterator[Check]:
    form, name, raw = binding.forms[column.name], column.name, f"raw_{column.name}"
    if isinstance(form, Flag):
        is_other = f"{raw} is not null and folded({raw}) not in ({literals(TRUE + FALSE)})"
        yield Check("unknown_flag", name, "true or false", is_other)
        return
    is_derived = bool(binding.derive_from) and name == binding.table.key
    if isinstance(form, Substitute) or (form is None and not is_derived):
        return
    if column.required:
        # a value map may map a text to null, which is allowed
        unless_read = "" if column.kind == "text" else f" and {raw} is null"
        yield Check("missing_required", name, "a value", f"{name} is null{unless_read}")
    if column.kind == "time":
        expected = " or ".join("in ISO 8601" if each == ISO else f"as {each}" for each in binding.formats(name))
        yield Check("unparsable_time", name, f"a time {expected}", f"{raw} is not null and {time} is null")
        expected, fits = f"a time after {EARLIEST}", f"{time} > timestamptz '{EARLIEST}'"
        if not column.ahead:
            expected += f" and before {LATEST}"
            fits += f" and isfinite({time}) and {time} < timestamptz '{LATEST}'"
        # many systems export a missing time as zero seconds since 1970
        yield Check("time_out_of_range", name, expected, f"not ({fits})")
    elif column.kind == "number":
        yield Check("unparsable_number", name, "a number", f"{raw} is not null and {name} is null")
        yield from _ambiguous(name, points)
        yield Check("number_out_of_range", name, f"a number below {LARGEST:,}", f"abs({name}) >= {LARGEST}")
        if not column.signed:
            yield Check("negative_number", name, "a number that is not negative", f"{name} < 0")
        elif column.unsigned_where is not None:
            other, value = column.unsigned_where
            expected = f"a number that is not negative where {other} is {value}"
            # a row that says nothing gets another value by its sign
            said = f"{other} = {literal(value)} and not is_default_{other}"
            yield Check("negative_number", name, expected, f"{name} < 0 and {said}")
    elif column.of_owner:
        said = f"said({raw}) is not null and column_name in"
        is_number = f"{said} ({literals(KEPT['number'])})"
        yield Check("unparsable_number", name, "a number", f"{is_number} and {name} is null")
        yield Check(
            "negative_number", name, "a number that is not negative", f"{is_number} and starts_with({name}, '-')"
        )
        yield from _ambiguous(name, points, f"{is_number} and ")
        is_time = f"{said} ({literals(KEPT['time'])})"
        yield Check(
            "unparsable_time", name, "a time in ISO 8601, or as the mapping says", f"{is_time} and {name} is null"
        )
    elif column.vocabulary and not column.selects:
        allowed = literals(column.vocabulary)
        expected = column.codes or f"one of {', '.join(column.vocabulary)}"
        yield Check(f"unknown_{name}", name, expected, f"{name} not in ({allowed})")


def _ambiguous(name: str, points: Points | None, condition: str = "") -> Iterator[Check]:
    if points is not None and points.is_ambiguous:
        expected = (
            f"a number that can be read in one way, as {points.commas:,} others of the column have a decimal comma"
        )
        yield Check("ambiguous_number", name, expected, f"{condition}{is_ambiguous(f'text_{name}')}")
