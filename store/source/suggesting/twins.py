"""Tables that look alike, such as the deals of two regions or years: read as one table if their keys differ."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from store.source.sql import one_row
from store.source.suggesting.columns import key_of
from store.source.suggesting.evidence import NEARLY, Profile, Table
from store.source.suggesting.lines import counted
from store.source.suggesting.names import is_out, role_of
from store.source.suggesting.profile import measured_table
from store.source.suggesting.references import references
from store.source.suggesting.scratch import Scratch, Texts
from store.source.suggesting.suggestion import Draft, Line, Place, Question
from store.source.suggesting.vocabulary import spoken
from store.source.values.texts import folded

ALIKE = 0.8
"""Share of the columns that two tables must have in common."""

SHOWN = 3

OF_WHOLE = ("substitute", "flag", "first_of")
"""The forms of a column that stand on the whole of a union."""


def united(scratch: Scratch, found: Profile, texts: dict[str, Texts]) -> Profile:
    """Return what a source holds, with one table in place of tables that look alike and have different keys.

    Parameters
    ----------
    scratch : Scratch
    found : Profile
    texts : dict of str to Texts
        By table; gets those of the unions.
    """
    tables, unions, alike = dict(found.tables), dict[str, tuple[Table, ...]](), list[tuple[str, ...]]()
    for group in _groups(found):
        parts = [found.tables[name] for name in group]
        if _shared_keys(scratch, parts, texts, found) > 1 - NEARLY:
            alike.append(group)
            continue
        name = " + ".join(group if len(group) <= SHOWN else (group[0], f"{len(group) - 1} others"))
        texts[name] = scratch.united([texts[each] for each in group])
        tables[name] = measured_table(scratch, name, ", ".join(each.place for each in parts), texts[name])
        unions[name] = tuple(parts)
        for each in group:
            del tables[each]
    if not unions:
        return replace(found, alike=tuple(alike))
    again = tuple(references(scratch, tables, texts))
    return replace(found, tables=tables, references=again, unions=unions, alike=tuple(alike))


def _groups(found: Profile) -> list[tuple[str, ...]]:
    """Return the names of tables that have one role and nearly the same columns."""
    groups: list[list[str]] = []
    for name, table in found.tables.items():
        # activities of several tables are a union anyway, whatever their columns
        role = role_of(name)
        if is_out(name) or len(table.columns) < 2 or (role is not None and role[0] == "interactions"):
            continue
        for group in groups:
            if role_of(group[0]) == role and _is_like(found.tables[group[0]], table):
                group.append(name)
                break
        else:
            groups.append([name])
    filled = [[name for name in group if found.tables[name].rows] for group in groups]
    # one that is still empty belongs to several that are not
    return [tuple(group) for group, some in zip(groups, filled, strict=True) if len(some) > 1]


def _is_like(one: Table, other: Table) -> bool:
    of_one, of_other = ({folded(column) for column in table.columns} for table in (one, other))
    return len(of_one & of_other) >= ALIKE * len(of_one | of_other)


def _shared_keys(scratch: Scratch, parts: Sequence[Table], texts: Mapping[str, Texts], found: Profile) -> float:
    """Return the share of the keys that stand in several tables; of tables without a key, of the rows."""
    parts = [part for part in parts if part.rows]
    keys = {key_of(part, found) for part in parts}
    (key,) = keys if len(keys) == 1 else (None,)
    columns = [column for column in parts[0].columns if all(column in part.columns for part in parts)]
    wanted = [key] if key is not None else columns
    selects = []
    for number, part in enumerate(parts):
        places = [texts[part.name].columns.index(column) for column in wanted]
        listed = ", ".join(f"c{place} as v{each}" for each, place in enumerate(places))
        selects.append(f"select distinct {number} as part, {listed} from t{texts[part.name].number}")
    values = ", ".join(f"v{each}" for each in range(len(wanted)))
    shared, all_keys = one_row(
        scratch.connection,
        f"select count(*) filter (n > 1), count(*) from (select count(*) as n from ({' union all '.join(selects)}) "
        f"group by {values})",
    )
    # of a key that stands in two tables, both rows must have been read
    return float(shared / max(1, all_keys) / min(texts[part.name].share for part in parts))


def chosen_of(found: Profile, draft: Draft) -> Profile:
    """Return what a source holds, with one of each of the tables that look alike and have the same keys."""
    for group in found.alike:
        first = group[0]
        chosen = draft.ask(
            Question(
                key=f"alike:{first}",
                text=f"{', '.join(group)} have the same columns and many equal keys. Which one is read?",
                options={name: f"{name} ({counted(found.tables[name].rows_in_all, 'row')})" for name in group},
                default=first,
            )
        )
        left = {name for name in group if name != chosen}
        for name in sorted(left):
            draft.left[name] = f"it has the columns of {chosen}, and keys that stand there too"
            draft.tables[name] = found.tables[name].rows_in_all
        found = replace(
            found,
            tables={name: table for name, table in found.tables.items() if name not in left},
            references=tuple(each for each in found.references if not {each.table, each.to_table} & left),
        )
    return found


def as_unions(lines: Iterable[Line], unions: Mapping[str, tuple[Table, ...]]) -> list[Line]:
    """Return lines in which each table that looks like one is the union of the tables of the source.

    Parameters
    ----------
    lines : iterable of Line
    unions : mapping of str to tuple of Table
        By the name of such a table: its parts.
    """
    listed = list(_joined_with_each(lines, unions))
    tables = {line.place[:-1]: line for line in listed if line.place[-1] == "table" and line.value in unions}
    written: list[Line] = []
    for line in listed:
        place = next((each for each in tables if line.place[: len(each)] == each), None)
        if place is None or line.place[len(place)] in ("times", "numbers"):
            written.append(line)
        else:
            written += _of_parts(line, place, unions[tables[place].value], listed)
    return written


def _of_parts(line: Line, place: Place, parts: Sequence[Table], lines: Sequence[Line]) -> list[Line]:
    """Return the lines of the parts of a union, for a line of the whole."""
    is_part = "union" in place
    places = {
        part.name: (*place[:-1], f"{place[-1]}_{number}") if is_part else (*place, "union", spoken(part.name))
        for number, part in enumerate(parts, start=1)
    }
    key, rest = line.place[len(place)], line.place[len(place) :]
    if key == "table":
        columns = {folded(column) for part in parts for column in part.columns}
        made = []
        for part in parts:
            lacks = len(columns) - len(part.columns)
            why = f"{counted(part.rows_in_all, 'row')}, with {'nearly ' if lacks else ''}the columns of the other parts"
            why += f", and other keys; {line.why}" if part is parts[0] else ", and other keys"
            confidence = "likely" if line.confidence == "sure" else line.confidence
            made.append(Line((*places[part.name], key), part.name, why, confidence))
        return made
    if (
        key == "columns"
        and isinstance(line.value, dict)
        and (form := next((form for form in (*OF_WHOLE, "absent") if form in line.value), None))
    ):
        named = [line.value["flag"]] if form == "flag" else line.value[form] if form == "first_of" else []
        return [line, *_passed(named, places, parts)]
    if key == "attributes":
        return [line, *_passed([line.value["column"]], places, parts)]
    if key == "id":
        called = {
            each.value: each.place[-1]
            for each in lines
            if each.place[: len(place)] == place and each.place[-2] == "columns" and isinstance(each.value, str)
        }
        named = [called.get(name, name) for name in line.value["derive_from"]]
        passed = [name for name in line.value["derive_from"] if name not in called]
        return [Line(line.place, {"derive_from": named}, line.why, line.confidence), *_passed(passed, places, parts)]
    if key == "values" and not is_part:
        return [line]
    return [
        Line((*places[part.name], *rest), line.value, line.why, line.confidence)
        for part in parts
        if not (key == "columns" and isinstance(line.value, str) and _is_lacking(line.value, part, parts))
    ]


def _is_lacking(name: str, part: Table, parts: Sequence[Table]) -> bool:
    return name not in part.columns and any(name in other.columns for other in parts)


def _passed(names: Iterable[str], places: Mapping[str, Place], parts: Sequence[Table]) -> list[Line]:
    """Return the lines by which the parts have columns that the whole reads."""
    return [
        Line((*places[part.name], "columns", name), name, "the whole reads it")
        for name in names
        for part in parts
        if name in part.columns
    ]


def _joined_with_each(lines: Iterable[Line], unions: Mapping[str, tuple[Table, ...]]) -> Iterable[Line]:
    """Yield lines in which a join with such a table is a join with each of its parts."""
    aliases: dict[Place, dict[str, list[str]]] = {}
    for line in lines:
        if "join" in line.place and line.value["table"] in unions:
            parts = {spoken(part.name): part.name for part in unions[line.value["table"]]}
            aliases.setdefault(line.place[:-2], {})[line.place[-1]] = list(parts)
            for alias, table in parts.items():
                value = {**line.value, "table": table}
                yield Line((*line.place[:-1], alias), value, line.why, line.confidence)
        elif "columns" in line.place and (of := aliases.get(line.place[:-2])) is not None:
            yield replace(line, value=_of_aliases(line.value, of))
        else:
            yield line


def _of_aliases(value: Any, aliases: Mapping[str, Sequence[str]]) -> Any:
    if isinstance(value, dict):
        return {key: _of_aliases(each, aliases) if key != "constant" else each for key, each in value.items()}
    if isinstance(value, list):
        return [_of_aliases(each, aliases) for each in value]
    alias, dot, column = str(value).partition(".")
    if not dot or alias not in aliases:
        return value
    return {"coalesce": [f"{each}.{column}" for each in aliases[alias]]}
