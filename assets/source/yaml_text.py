"""YAML as people mean it: every scalar is the text that stands there, every key is there once and has its line.

YAML 1.1 makes ``Yes`` a boolean, ``1.0`` a number and ``2024-01-01`` a date, and of two equal keys the last one counts.
In a mapping, where words of a CRM are keys, all of that alters what was written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Document", "Fault", "Place", "read_yaml"]

Place = tuple[str | int, ...]
TAG = "tag:yaml.org,2002:"
SCALARS = ("str", "int", "float", "bool", "null", "timestamp", "value", "merge")
MOST_LEVELS = 50
"""Levels of lists and maps in each other; a mapping has six."""
_TOO_DEEP = f"expected {MOST_LEVELS} lists and maps in each other at most, found more. Close those that are open."
MOST_PARTS = 100_000
"""Words, lists and maps of a file in which each alias stands for all that it names."""


@dataclass(frozen=True)
class Fault:
    """What is wrong in one place of a file: its line, where that is known, the keys that lead there, and a sentence."""

    line: int | None
    place: Place
    sentence: str

    def __str__(self) -> str:
        """Return it as a line of a message."""
        where = [*([] if self.line is None else [f"line {self.line}"]), ".".join(map(str, self.place))]
        return f"{', '.join(filter(None, where)) or 'the file'}: {self.sentence}"


@dataclass(frozen=True)
class Document:
    """A file that was read.

    Attributes
    ----------
    content : Any
        Dictionaries, lists, text, and None for a key whose value is empty or ``null``.
    lines : dict of Place to int
        The line of each key and item.
    faults : list of Fault
        What is wrong with it as YAML; `content` has the rest.
    """

    content: Any = None
    lines: dict[Place, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def line(self, place: Place) -> int | None:
        """Return the line of a place, whatever the case of its words, or of what it is in."""
        lines = {_folded(each): line for each, line in reversed(self.lines.items())}
        wanted = _folded(place)
        return next((lines[wanted[:end]] for end in range(len(wanted), 0, -1) if wanted[:end] in lines), None)


def _folded(place: Place) -> Place:
    return tuple(part.strip().lower() if isinstance(part, str) else part for part in place)


def read_yaml(content: bytes) -> Document:
    """Read a YAML file; what is wrong with it is among the faults.

    Parameters
    ----------
    content : bytes
        UTF-8, or UTF-16 with a byte order mark.
    """
    try:
        root = yaml.compose(content, Loader=_Shallow)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return Document(faults=[Fault(None if mark is None else mark.line + 1, (), _of_syntax(error))])
    except yaml.YAMLError as error:
        found = str(error).splitlines()[0]
        return Document(faults=[Fault(None, (), f"expected YAML in UTF-8, found {found}. Save it as UTF-8.")])
    if root is None:
        return Document(faults=[Fault(None, (), "expected keys with values, found an empty file.")])
    try:
        return _Reading().document(root)
    except _TooLargeError:
        return Document(
            faults=[
                Fault(
                    None,
                    (),
                    f"expected {MOST_PARTS:,} words, lists and maps at most, found more, for an alias stands for all "
                    "that it names. Write out what is meant.",
                )
            ]
        )


def _of_syntax(error: yaml.MarkedYAMLError) -> str:
    problem = " ".join(str(each) for each in (error.context, error.problem) if each)
    if problem == _TOO_DEEP:
        return problem
    if "'\\t'" in problem:
        return "expected spaces, found a tab. Indent with spaces alone."
    return (
        f"expected YAML, found what cannot be read ({problem}). Check the indentation, and put text with special "
        "characters into quotes."
    )


class _Shallow(yaml.SafeLoader):
    """Reads no deeper than a person writes: what is deeper would end in Python's own limit."""

    _levels = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._levels += 1
        if self._levels > MOST_LEVELS:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(None, None, _TOO_DEEP, mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self._levels -= 1


class _TooLargeError(ValueError):
    """A file whose aliases make more of it than can be meant."""


class _Reading:
    """The nodes of one file, as content with lines and faults."""

    def __init__(self) -> None:
        self._lines: dict[Place, int] = {}
        self._faults: list[Fault] = []
        self._within: list[yaml.Node] = []
        self._parts = 0

    def document(self, root: yaml.Node) -> Document:
        return Document(self._content(root, ()), self._lines, self._faults)

    def _fault(self, node: yaml.Node, place: Place, sentence: str) -> None:
        self._faults.append(Fault(node.start_mark.line + 1, place, sentence))

    def _content(self, node: yaml.Node, place: Place) -> Any:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise _TooLargeError
        self._lines.setdefault(place, node.start_mark.line + 1)
        if any(node is outer for outer in self._within):
            self._fault(node, place, f"expected content, found an alias of what it stands in. Write {node.tag!r} out.")
            return None
        known = node.tag.removeprefix(TAG)
        if known not in (*SCALARS, "map", "seq"):
            self._fault(node, place, f"expected text without a tag, found the tag {node.tag}. Remove the tag.")
        if isinstance(node, yaml.ScalarNode):
            # in a list `null` is a word as well: there is no key that could be without a value
            in_list = bool(self._within) and isinstance(self._within[-1], yaml.SequenceNode)
            return None if known == "null" and not in_list else node.value
        self._within.append(node)
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self._content(item, (*place, number)) for number, item in enumerate(node.value)]
            return self._mapping(node, place)
        finally:
            self._within.pop()

    def _mapping(self, node: yaml.Node, place: Place) -> dict[str, Any]:
        content: dict[str, Any] = {}
        merged: list[Mapping[str, Any]] = []
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._fault(key, place, "expected a word before the colon, found a list or a map.")
            elif key.tag == f"{TAG}merge":
                others = self._content(value, (*place, key.value))
                merged += [
                    each for each in (others if isinstance(others, list) else [others]) if isinstance(each, dict)
                ]
            elif (there := (*place, key.value)) in self._lines and key.value in content:
                self._fault(
                    key, there, f"expected each key once, found it in line {self._lines[there]} as well. Remove one."
                )
            else:
                self._lines[there] = key.start_mark.line + 1
                content[key.value] = self._content(value, there)
        for other in merged:
            content = {**other, **content}
        return content
