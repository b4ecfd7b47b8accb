"""A suggestion for a table of deals as a refinement of the shipped mapping that is made for such a table."""

from collections.abc import Mapping

from store.source.mapping.forms import SourceMapping
from store.source.suggesting.suggestion import Line
from store.source.values.texts import folded

DEALS = "deals"
"""The shipped mapping of one table in which a deal is the lead; its table has the same name."""

LEADS, PROJECTS = ("tables", "leads"), ("tables", "projects")


def as_deals(lines: list[Line], base: SourceMapping) -> list[Line]:
    """Return the lines of a table of deals, without what the shipped mapping says, and with its names for columns.

    Parameters
    ----------
    lines : list of Line
        The lines of leads and projects that are one table.
    base : SourceMapping
        The shipped mapping `DEALS`.
    """
    names: dict[str, Line] = {}
    for line in sorted(lines, key=_says_less):
        if (called := _called(line, base)) is not None:
            names.setdefault(called, line)
    forms = [form for of in (LEADS, PROJECTS) for form in base.tables[of[1]].columns.values()]
    table = next(line for line in lines if line.place == (*LEADS, "table"))
    renamed = [Line(("names", DEALS, "table"), table.value, table.why, table.confidence)]
    renamed += [
        Line(("names", DEALS, "columns", called), one.value, one.why, one.confidence)
        for called in dict.fromkeys(form for form in forms if isinstance(form, str))
        if (one := names.get(called)) is not None
    ]
    source_names = {line.value: called for called, line in names.items()}
    kept = [_with_names(line, source_names) for line in lines if not _is_said(line, base, source_names)]
    return [*renamed, *kept]


def is_another(lines: list[Line], base: SourceMapping) -> bool:
    """Say whether an attribute is read from a column that has a name which the shipped mapping has for another one."""
    forms = [form for of in (LEADS, PROJECTS) for form in base.tables[of[1]].columns.values()]
    names = {folded(form) for form in forms if isinstance(form, str)}
    return any(folded(line.value["column"]) in names for line in lines if line.place[2:3] == ("attributes",))


def _says_less(line: Line) -> int:
    """Rank the lines of one column: the reason of the close date and the status say more than those of their copies."""
    if line.place[:2] == LEADS:
        return 0 if line.place[-1] != "status" else 2
    return 1 if line.place[-1] in ("closed_at", "status", "value") else 2


def _called(line: Line, base: SourceMapping) -> str | None:
    """Return the name that the shipped mapping has for the source column of a line, or None."""
    if line.place[:2] not in (LEADS, PROJECTS) or line.place[2:3] != ("columns",) or not isinstance(line.value, str):
        return None
    form = base.tables[line.place[1]].columns.get(line.place[3])
    return form if isinstance(form, str) else None


def _is_said(line: Line, base: SourceMapping, source_names: Mapping[str, str]) -> bool:
    """Say whether the shipped mapping says what a line says."""
    place = line.place
    if place[:2] in (LEADS, PROJECTS):
        said = base.tables[place[1]]
        if place[2] == "table" or (place[2] == "columns" and _called(line, base) is not None):
            return True
        if place[2] == "values":
            return said.values.get(place[3], {}).get(folded(place[4])) == line.value
        if place[2] == "where":
            ((name, words),) = line.value.items()
            known = [
                {folded(word) for word in condition}
                for each in said.where
                if isinstance(condition := each.get(source_names.get(name, name)), list)
            ]
            return bool(known) and {folded(word) for word in words} <= known[0]
        return place[2:] == ("columns", "property_value")
    if place[0] == "closes":
        return set(line.value) <= set(getattr(base.closes, place[1]))
    return place[-1] == "absent"


def _with_names(line: Line, source_names: Mapping[str, str]) -> Line:
    """Return a line with the shipped mapping's names for the columns in a condition."""
    if line.place != (*PROJECTS, "where"):
        return line
    value = {source_names.get(name, name): words for name, words in line.value.items()}
    return Line(line.place, value, line.why, line.confidence)
