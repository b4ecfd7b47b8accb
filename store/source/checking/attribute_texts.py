"""The one canonical text of a value of an attribute."""

from collections.abc import Sequence

from duckdb import DuckDBPyConnection

from models.declaring.attribute import SEPARATOR, AttributeKind
from store.source.checking.checks import FALSE, TRUE
from store.source.checking.numbers import number_text
from store.source.mapping.binding import BoundAttribute, TableBinding
from store.source.mapping.spellings import NumberForm
from store.source.sql import of_source, quoted
from store.source.values.functions import ISO, UTC_ZONE, spelling
from store.source.values.texts import MISSING
from store.sql import literal, literals


def create_attributes(connection: DuckDBPyConnection, binding: TableBinding) -> None:
    """Create ``attributes_<table>``: a row per row of ``source_<table>`` and attribute with a text.

    ``record`` and ``column_name`` tell which, ``value`` is the canonical text, and ``unread`` the text where it has none.
    Attributes that are read alike are read together: DuckDB plans an expression for a second.
    """
    name = binding.table.name
    connection.execute(
        f"create table attributes_{name} (record bigint, column_name varchar, value varchar, unread varchar)"
    )
    alike: dict[str, list[BoundAttribute]] = {}
    for each in binding.attributes:
        alike.setdefault(attribute_text(each, "text", binding.time_zone), []).append(each)
    for value, attributes in alike.items():
        columns = ", ".join(f"cast({of_source(each.column)} as varchar) as {quoted(each.stored)}" for each in attributes)
        names = ", ".join(quoted(each.stored) for each in attributes)
        connection.execute(
            f"insert into attributes_{name} select record, column_name, value, case when value is null then text end "
            f"from (select record, column_name, text, {value} as value from (select record, column_name, said(text) as text "
            f"from (select record, {columns} from source_{name}) unpivot (text for column_name in ({names}))) "
            "where text is not null)"
        )


def attribute_text(attribute: BoundAttribute, text: str, zone: str) -> str:
    """Return SQL for the canonical text of a value of an attribute, whose kind must have been found."""
    if attribute.kind is None:
        raise AssertionError(f"attribute {attribute.name}: its kind is found before its values are read")
    return canonical(
        attribute.kind, text, at=attribute.at, numbers=attribute.numbers, formats=attribute.formats, zone=zone
    )


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
