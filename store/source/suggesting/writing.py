"""The file of a suggestion: YAML with the reason of each line beside it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from store.source.contract import TABLES
from store.source.reading.tables import shown_column
from store.source.suggesting.suggestion import Answers, Draft, Line

MOST_OPTIONS = 8
"""A question with more answers than this lists none of them."""

_PLAIN = re.compile(r"[^\W\d]\w*(?:[ ./-]\w+)*")

_NO_VALUE = "null"
"""The only word that is no text in a mapping."""

_OF_TABLE = ("absent", "table", "where", "join", "union", "id", "columns", "values", "times", "numbers", "attributes")

_ORDER = (
    "name",
    "source",
    "based_on",
    "schema",
    "names",
    "files",
    "time_zone",
    "missing",
    "tables",
    "without_times",
    "closes",
    "horizon_days",
)


def written(suggestion: Draft, source: str, answers: Answers) -> str:
    """Return the text of the file.

    Parameters
    ----------
    suggestion : Draft
    source : str
        The source without secrets.
    answers : mapping of str to str
        The answers that a person has given.
    """
    parts = [
        f"# `make map` has written this mapping for {_remark(source)}, and never writes over it.\n"
        "# Behind each line: how sure it is, and why. Look at the lines that are likely or unsure.\n"
        "# docs/mapping.md describes the format.\n",
        *_block(_tree(suggestion.lines), 0),
    ]
    if suggestion.notes:
        parts += ["\n# What to know\n", *_listed(suggestion.notes)]
    if open_questions := [each for each in suggestion.questions.values() if each.key not in answers]:
        sentences = [
            f"{each.text} Taken: {each.options[each.default]}. Else: "
            f"{'; '.join(meaning for answer, meaning in each.options.items() if answer != each.default)}."
            if len(each.options) <= MOST_OPTIONS
            else f"{each.text} Taken: {each.options[each.default]}."
            for each in open_questions
        ]
        parts += ["\n# Questions (`make map` asks them at a terminal)\n", *_listed(sentences)]
    if suggestion.contact:
        parts += [
            "\n# Contact data, which stays in the CRM\n",
            *_listed(f"{table}: {', '.join(names)}" for table, names in _by_table(suggestion.contact).items()),
        ]
    if suggestion.left:
        parts += [
            "\n# Left\n",
            *_listed(f"{_shown_place(place)}: {why}" for place, why in sorted(suggestion.left.items())),
        ]
    return "".join(parts)


def _by_table(places: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for place in places:
        table, _, column = place.partition(".")
        found.setdefault(table, []).append(shown_column(column))
    return found


def _shown_place(place: str) -> str:
    table, dot, column = place.partition(".")
    return f"{table}{dot}{shown_column(column)}"


def _listed(sentences: Iterable[str]) -> list[str]:
    return [f"# - {_remark(each)}\n" for each in sentences]


def _remark(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)


Tree = dict[str, "Tree | Line"]


def _tree(lines: Sequence[Line]) -> Tree:
    root: Tree = {key: {} for key in _ORDER}
    for line in lines:
        branch: Any = root
        for key in line.place[:-1]:
            branch = branch.setdefault(key, {})
        branch[line.place[-1]] = line
    tables = root["tables"]
    if isinstance(tables, dict):
        root["tables"] = {
            name: _ordered(table, TABLES[name].column_names)
            for name in TABLES
            if isinstance(table := tables.get(name), dict)
        }
    return {key: each for key, each in root.items() if each}


def _ordered(table: Tree, columns: Sequence[str]) -> Tree:
    """Return the lines of a table in the order in which people read them, its columns in that of the contract."""
    ordered: Tree = {key: table[key] for key in sorted(table, key=lambda key: _place_in(_OF_TABLE, key))}
    for key, each in ordered.items():
        if key == "union" and isinstance(each, dict):
            ordered[key] = {
                part: _ordered(lines, columns) if isinstance(lines, dict) else lines for part, lines in each.items()
            }
        elif key in ("columns", "times", "numbers") and isinstance(each, dict):
            ordered[key] = {name: each[name] for name in sorted(each, key=lambda name: _place_in(columns, name))}
    return ordered


def _place_in(order: Sequence[str], key: str) -> int:
    return order.index(key) if key in order else len(order)


def _block(tree: Mapping[str, Any], depth: int) -> list[str]:
    lines: list[str] = []
    indent = "  " * depth
    for key, each in tree.items():
        if isinstance(each, Line):
            lines.append(f"{indent}{scalar(key)}: {flow(each.value)}{_reason(each)}\n")
        else:
            lines += [f"{indent}{scalar(key)}:\n", *_block(each, depth + 1)]
    return lines


def _reason(line: Line) -> str:
    said = ": ".join(each for each in (line.confidence, _remark(line.why)) if each)
    return f"  # {said}" if said else ""


def flow(value: Any) -> str:
    """Return a value in one line of YAML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(str(key))}: {flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    return str(value).lower() if isinstance(value, int) else scalar(str(value))


def scalar(text: str) -> str:
    """Return a text as YAML, in quotes unless it needs none."""
    if _PLAIN.fullmatch(text) and text.isprintable() and text.casefold() != _NO_VALUE:
        return text
    escaped = "".join(
        f"\\{each}" if each in '"\\' else each if each.isprintable() else f"\\U{ord(each):08x}" for each in text
    )
    return f'"{escaped}"'
