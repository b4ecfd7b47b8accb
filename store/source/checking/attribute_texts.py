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

LONGEST_WORD = 240
"""A longer value of a category, or a longer option, is a text that somebody wrote: it counts as unreadable."""


def create_attributes(connection: DuckDBPyConnection, binding: TableBinding) -> None:
    """Create ``attributes_<table>``: a row per row of ``source_<table>`` and attribute with a text.

    ``record`` and ``column_name`` tell which, ``value`` is the canonical text, and ``unread`` the text where there is
    none. Attributes that are read alike are read by one expression, which DuckDB takes long to plan.
    """
    name = binding.table.name
    connection.execute(
        f"create table attributes_{name} (record bigint, column_name varchar, value varchar, unread varchar)"
    )
    alike: dict[str, list[BoundAttribute]] = {}
    for each in binding.attributes:
        alike.setdefault(attribute_text(each, "text", binding.time_zone), []).append(each)
    for value, attributes in alike.items():
        columns = ", ".join(
            f"cast({of_source(each.column)} as varchar) as {quoted(each.stored)}" for each in attributes
        )
        names = ", ".join(quoted(each.stored) for each in attributes)
        connection.execute(
            f"insert into attributes_{name} select record, column_name, value, case when value is null then text end "
            f"from (select record, column_name, text, {value} as value from "
            f"(select record, column_name, said(text) as text from (select record, {columns} from source_{name}) "
            f"unpivot (text for column_name in ({names}))) where text is not null)"
        )


def attribute_text(attribute: BoundAttribute, text: str, zone: str) -> str:
    """Return SQL for the canonical text of a value of an attribute, whose kind must have been found."""
    if attribute.kind is None:
        raise AssertionError(f"attribute {attribute.name}: its kind is found before its values are read")
    return canonical(
        attribute.kind, text, at=attribute.at, numbers=attribute.numbers, formats=attribute.formats, zone=zone
    )


def _once(text: str, name: str, of: str) -> str:
    """Return SQL of an expression over `name`, which stands for a text: DuckDB would plan the text at each place."""
    return f"list_transform([{text}], lambda {name}: {of})[1]"


def text_of(column: str) -> str:
    """Return SQL for the cleaned text of a column; words for a missing value are null."""
    is_missing = f"length(raw) <= {max(map(len, MISSING))} and folded(raw) in ({literals(MISSING)})"
    return _once(f"cleaned({column})", "raw", f"case when {is_missing} then null else raw end")


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
        number = f"try_cast({number_text(numbers, 'plain_text')} as double)"
        of = _once(number, "figure", "case when isfinite(figure) then cast(figure as varchar) end")
        return _once(f"plain({_bare(text, numbers)})", "plain_text", of)
    if kind == "flag":
        words = f"when word in ({literals(TRUE)}) then 'true' when word in ({literals(FALSE)}) then 'false'"
        return _once(f"folded({text})", "word", f"case {words} end")
    if kind == "date":
        wall = f"timezone('UTC', {spelling(formats, zone, 'plain_text').value})"
        is_near = "isfinite(wall) and year(wall) between 1 and 9999"
        of = _once(wall, "wall", f"case when {is_near} then strftime(wall, '%Y-%m-%dT%H:%M:%S.%fZ') end")
        return _once(f"plain({text})", "plain_text", of)
    if kind == "choices":
        option = _short_contact_free("cleaned_text(replace(each, ';', ','))")
        options = f"list_transform(string_split({text}, {literal(at)}), lambda each: {option})"
        options = f"list_sort(list_distinct(list_filter({options}, lambda each: each is not null)))"
        return f"nullif(array_to_string({options}, {literal(SEPARATOR)}), '')"
    return _short_contact_free(text)


def _short_contact_free(text: str) -> str:
    return _once(text, "free", f"case when length(free) <= {LONGEST_WORD} then contact_free(free) end")


def _bare(text: str, numbers: NumberForm | None) -> str:
    # ² is a digit to Unicode, and a form strips no digits
    return f"replace(replace({text}, '²', ''), '³', '')" if numbers is not None and numbers.strip else text
