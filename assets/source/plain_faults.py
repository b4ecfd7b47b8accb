"""What a pydantic model finds wrong with a YAML file: all of it at once, each as one plain sentence with its line."""

from __future__ import annotations

from copy import deepcopy
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from assets.source.yaml_text import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pydantic_core import ErrorDetails

    from assets.source.yaml_text import Document, Place

__all__ = ["form_tag", "nearest", "validated"]

Model = TypeVar("Model", bound=BaseModel)

ROUNDS = 20
"""How often what is wrong is left out, so that the rest is looked at as well."""


def form_tag(model: type[BaseModel] | type[str]) -> str:
    """Return the tag under which a model is one of several forms; `validated` knows it from the keys of a file."""
    return f"<{model.__name__}>"


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return the remedy for a name that is not allowed: the nearest one that is, where one is near."""
    listed = list(allowed)
    found = get_close_matches(name.casefold(), listed, n=1)
    if not found and len(name) > 2:
        found = [each for each in listed if each.startswith(name.casefold())]
    return f"Write {found[0]!r}, if that is meant." if found else "Correct or remove it."


def validated(model: type[Model], document: Document, forms: Mapping[str, str]) -> tuple[Model | None, list[Fault]]:
    """Validate a file; what is wrong is left out, and the rest validated again.

    Parameters
    ----------
    model : type
    document : Document
    forms : mapping of str to str
        By the name of a field whose values have several forms: what is expected of them.

    Returns
    -------
    tuple of Model or None, list of Fault
        The model of what is right; None where nothing is.
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
    """Return the place without which the rest can be judged: a form, an item or a key goes as a whole."""
    place: list[str | int] = []
    for part in error["loc"]:
        if isinstance(part, int) or _is_tag(part):
            break
        place.append(part)
    if error["type"] == "missing" and len(place) == len(error["loc"]) > 1:
        place = place[:-1]
    return tuple(place)


def _leave_out(content: Any, place: Place) -> None:
    *parents, last = place
    for part in parents:
        if not isinstance(content.get(part), dict):
            # a short form, which has no parts
            last = part
            break
        content = content[part]
    if last in content:
        del content[last]
    else:
        # of the keys at the top one is required: anything stands in for it
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
        # of a validator of our own, which says what it expected and found
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
    for each in models:
        for field_name, field in each.model_fields.items():
            if (field.alias or field_name) == name and field.description:
                return f" ({field.description})"
    return ""


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
