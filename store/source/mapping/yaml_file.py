"""Read a YAML file and validate it with a pydantic model; all faults are reported at once, each with its line.

Every scalar is read as text. YAML 1.1 would read ``Yes`` as a boolean, ``1.0`` as a number and ``2024-01-01`` as a
date, and would take the last of two equal keys. That would alter keys of a mapping, which are words of a CRM.
"""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import takewhile
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Place = tuple[str | int, ...]

TAG = "tag:yaml.org,2002:"

SCALARS = ("str", "int", "float", "bool", "null", "timestamp", "value", "merge")

MOST_LEVELS = 50
"""Most levels of nested lists and maps; a mapping has six."""

_TOO_DEEP = f"expected {MOST_LEVELS} lists and maps in each other at most, found more. Close those that are open."

MOST_PARTS = 100_000
"""Most words, lists and maps of a file, with aliases written out."""


@dataclass(frozen=True)
class Fault:
    """A fault in a file: its line if known, the keys that lead to the place, and a sentence."""

    line: int | None
    place: Place
    sentence: str

    def __str__(self) -> str:
        parts = [*([] if self.line is None else [f"line {self.line}"]), ".".join(map(str, self.place))]
        return f"{', '.join(filter(None, parts)) or 'the file'}: {self.sentence}"


@dataclass(frozen=True)
class Document:
    """The content of a YAML file.

    Attributes
    ----------
    content : Any
        Dictionaries, lists, text, and None for a key whose value is empty or ``null``.
    lines : dict of Place to int
        The line of each key and item.
    faults : list of Fault
        The faults of the YAML; `content` has the rest.
    """

    content: Any = None
    lines: dict[Place, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def line(self, place: Place) -> int | None:
        """Return the line of a place, or else of the nearest place around it; case does not matter."""
        lines = {_folded(each): line for each, line in reversed(self.lines.items())}
        wanted = _folded(place)
        return next((lines[wanted[:end]] for end in range(len(wanted), 0, -1) if wanted[:end] in lines), None)


def _folded(place: Place) -> Place:
    return tuple(part.strip().lower() if isinstance(part, str) else part for part in place)


def read_yaml(content: bytes) -> Document:
    """Read a YAML file; errors of its syntax are faults of the document.

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
                    f"expected {MOST_PARTS:,} words, lists and maps at most, found more: each alias counts as all that "
                    "it refers to. Use fewer aliases.",
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
    """A loader that stops at `MOST_LEVELS`: a deeper file would reach Python's limit of recursion."""

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
    """A file that is too large once its aliases are written out."""


class _Reading:
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
            self._fault(node, place, f"expected content, found an alias of an outer part. Write {node.tag!r} out.")
            return None
        if (known := node.tag.removeprefix(TAG)) not in (*SCALARS, "map", "seq"):
            self._fault(node, place, f"expected text without a tag, found the tag {node.tag}. Remove the tag.")
        if isinstance(node, yaml.ScalarNode):
            # `null` in a list is a word; as the value of a key it means no value
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
                maps = self._content(value, (*place, key.value))
                for each in maps if isinstance(maps, list) else [maps]:
                    if isinstance(each, dict):
                        merged.append(each)
                    else:
                        self._fault(value, (*place, key.value), "expected a map to merge, found none. Write *<name>.")
            elif (inner := (*place, key.value)) in self._lines and key.value in content:
                self._fault(
                    key, inner, f"expected each key once, found it in line {self._lines[inner]} as well. Remove one."
                )
            else:
                self._lines[inner] = key.start_mark.line + 1
                content[key.value] = self._content(value, inner)
        for base in merged:
            content = {**base, **content}
        return content


Model = TypeVar("Model", bound=BaseModel)

ROUNDS = 20
"""Most rounds of validation: each one removes the wrong parts, so that the rest is validated as well."""


def form_tag(model: type[BaseModel] | type[str]) -> str:
    """Return the tag of a model that is one of several forms; its brackets tell it from the keys of a file."""
    return f"<{model.__name__}>"


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return the remedy for a name that is not allowed: the nearest allowed name, if one is near."""
    listed = list(allowed)
    if not (found := get_close_matches(name.casefold(), listed, n=1)) and len(name) > 2:
        found = [each for each in listed if each.startswith(name.casefold())]
    return f"Write {found[0]!r}, if that is meant." if found else "Correct or remove it."


def validated(model: type[Model], document: Document, forms: Mapping[str, str]) -> tuple[Model | None, list[Fault]]:
    """Validate a file; wrong parts are removed, and the rest is validated again.

    Parameters
    ----------
    model : type
    document : Document
    forms : mapping of str to str
        For each field whose values have several forms, a description of them for messages.

    Returns
    -------
    tuple of Model or None, list of Fault
        The model of the valid parts, or None if it cannot be made; and the faults.
    """
    faults: list[Fault] = list(document.faults)
    content = deepcopy(document.content)
    if not isinstance(content, dict):
        if not faults:
            faults.append(Fault(document.line(()), (), f"expected keys with values, found {_shown(content)}."))
        return None, faults
    for _ in range(ROUNDS):
        try:
            return model.model_validate(content), faults
        except ValidationError as error:
            wrong: list[Place] = []
            for each in error.errors():
                place = tuple(part for part in each["loc"] if not _is_tag(part) and part != "[key]")
                if place not in {fault.place for fault in document.faults}:
                    faults.append(Fault(document.line(place), place, _sentence(model, each, forms)))
                wrong.append(_to_leave_out(each))
            for place in dict.fromkeys(wrong):
                _leave_out(content, place)
    return None, faults


def _is_tag(part: str | int) -> bool:
    return isinstance(part, str) and part.startswith("<")


def _to_leave_out(error: ErrorDetails) -> Place:
    """Return the place that is removed so that the rest can be validated: a whole form, item or key."""
    place = list(takewhile(lambda part: isinstance(part, str) and not _is_tag(part), error["loc"]))
    if error["type"] == "missing" and len(place) == len(error["loc"]) > 1:
        place = place[:-1]
    return tuple(place)


def _leave_out(content: Any, place: Place) -> None:
    *parents, last = place
    for part in parents:
        if not isinstance(content.get(part), dict):
            # a short form has no parts
            last = part
            break
        content = content[part]
    if last in content:
        del content[last]
    else:
        # a required key at the top is missing: any value takes its place
        content[last] = "?"


def _sentence(model: type[BaseModel], error: ErrorDetails, forms: Mapping[str, str]) -> str:
    *parents, last = error["loc"]
    models = _models_at(model, parents)
    found, kind, context = _shown(error["input"]), error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        allowed = [field.alias or name for each in models for name, field in each.model_fields.items()]
        return f"expected one of {', '.join(allowed)}, found the unknown key {last!r}. {nearest(str(last), allowed)}"
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        field = next((str(part) for part in reversed(error["loc"]) if part in forms), "")
        return f"expected {forms.get(field, 'another form')}, found {found}. Write one of these."
    if kind == "value_error":
        # a validator of the model says itself what it expected and found
        return f"{error['msg'].removeprefix('Value error, ')}. Correct it."
    expected = {
        "missing": "a value",
        "string_type": "text",
        "list_type": "a list such as [a, b]",
        "tuple_type": "a list such as [a, b]",
        "dict_type": "keys with values",
        "model_type": "keys with values",
        "too_short": "at least one item",
        "string_too_short": "text",
        "int_type": "a whole number",
        "int_parsing": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number",
        "float_parsing": "a number",
        "decimal_type": "a number",
        "decimal_parsing": "a number",
        "finite_number": "a number",
        "bool_type": "true or false",
        "bool_parsing": "true or false",
        "literal_error": str(context.get("expected", "another word")),
        "greater_than": f"a number above {context.get('gt')}",
        "greater_than_equal": f"a number of at least {context.get('ge')}",
        "less_than_equal": f"a number of at most {context.get('le')}",
    }.get(kind, error["msg"])
    if kind == "missing":
        found = "none"
    about: str | int = last if isinstance(last, str) or not parents else parents[-1]
    meaning = _meaning(_models_at(model, parents[:-1]) if about is not last else models, about)
    return f"expected {expected}{meaning}, found {found}. Correct it."


def _meaning(models: Sequence[type[BaseModel]], name: str | int) -> str:
    fields = ((field.alias or key, field) for each in models for key, field in each.model_fields.items())
    return next((f" ({field.description})" for key, field in fields if key == name and field.description), "")


def _models_at(model: type[BaseModel], place: Sequence[str | int]) -> list[type[BaseModel]]:
    models: list[type[BaseModel]] = [model]
    for part in place:
        if _is_tag(part):
            models = [each for each in models if form_tag(each) == part]
            continue
        for each in models:
            fields = {field.alias or name: field for name, field in each.model_fields.items()}
            if part in fields:
                models = _models_in(fields[str(part)].annotation)
                break
    return models


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return f"the key{'' if len(value) == 1 else 's'} {', '.join(map(str, value))}" if value else "no key"
    if isinstance(value, list | tuple):
        return "a list"
    return repr(value)
