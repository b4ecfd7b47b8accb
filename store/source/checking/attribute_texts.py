"""The one canonical text of a value of an attribute."""

from collections.abc import Sequence

from models.declaring.attribute import SEPARATOR, AttributeKind
from store.source.checking.checks import FALSE, TRUE
from store.source.checking.numbers import number_text
from store.source.mapping.spellings import NumberForm
from store.source.values.functions import ISO, UTC_ZONE, spelling
from store.source.values.texts import MISSING
from store.sql import literal, literals


def text_of(column: str) -> str:
    """Return SQL for the cleaned text of a column; words for a missing value are null."""
    cleaned = f"cleaned({column})"
    longest = max(map(len, MISSING))
    return (
        f"case when length({cleaned}) <= {longest} and folded({cleaned}) in ({literals(MISSING)}) then null "
        f"else {cleaned} end"
    )


def canonical(
    kind: AttributeKind,
    text: str,
    *,
    at: str = "",
    numbers: NumberForm | None = None,
    formats: Sequence[str] = (ISO,),
    zone: str = UTC_ZONE,
) -> str:
    """Return SQL for the canonical text of a value; null if the value is not of the kind.

    Parameters
    ----------
    kind : {"category", "number", "flag", "date", "choices"}
    text : str
        SQL of the cleaned text; see `text_of`. A typed column is read by its text, too.
    at : str
        What stands between options.
    numbers : NumberForm or None
        The spelling of numbers.
    formats : sequence of str
        The formats of dates.
    zone : str
        The time zone of dates that name none.
    """
    if kind == "number":
        number = f"try_cast({number_text(numbers, f'plain({_bare(text, numbers)})')} as double)"
        return f"case when isfinite({number}) then cast({number} as varchar) end"
    if kind == "flag":
        word = f"folded({text})"
        return f"case when {word} in ({literals(TRUE)}) then 'true' when {word} in ({literals(FALSE)}) then 'false' end"
    if kind == "date":
        moment = spelling(formats, zone, f"plain({text})").value
        wall = f"timezone('UTC', {moment})"
        return (
            f"case when isfinite({moment}) and year({wall}) between 1 and 9999 "
            f"then strftime({wall}, '%Y-%m-%dT%H:%M:%S.%fZ') end"
        )
    if kind == "choices":
        each = "contact_free(cleaned_text(replace(x, ';', ',')))"
        parts = f"list_transform(string_split({text}, {literal(at)}), lambda x: {each})"
        options = f"list_sort(list_distinct(list_filter({parts}, lambda x: x is not null)))"
        return f"nullif(array_to_string({options}, {literal(SEPARATOR)}), '')"
    return f"contact_free({text})"


def _bare(text: str, numbers: NumberForm | None) -> str:
    # ² is a digit to Unicode, and a form strips no digits
    return f"replace(replace({text}, '²', ''), '³', '')" if numbers is not None and numbers.strip else text
