"""All models of the project. To add one, declare it in a module of its own and list it here."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from models.conversion import CONVERSION
from models.declaration import DeclarationError, ModelDeclaration
from models.next_best_action import NEXT_BEST_ACTION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def register(declarations: Iterable[ModelDeclaration]) -> Mapping[str, ModelDeclaration]:
    """Return the declarations by name.

    Raises
    ------
    DeclarationError
        If two share a name, or would publish the same column.
    """
    registered: dict[str, ModelDeclaration] = {}
    publishers: dict[str, str] = {}
    for each in declarations:
        if each.name in registered:
            raise DeclarationError(f"two models are named {each.name!r}; rename one of them")
        for column in each.published_columns:
            if column in publishers:
                raise DeclarationError(
                    f"models {publishers[column]!r} and {each.name!r} both publish {column!r}; rename the "
                    "outcome of one of them"
                )
            publishers[column] = each.name
        registered[each.name] = each
    return MappingProxyType(registered)


DECLARATIONS = register((CONVERSION, NEXT_BEST_ACTION))


def declaration(name: str) -> ModelDeclaration:
    """Return the declaration of a model.

    Raises
    ------
    DeclarationError
        If there is none of that name.
    """
    if name not in DECLARATIONS:
        raise DeclarationError(f"no model is named {name!r}; declared are {list(DECLARATIONS)}")
    return DECLARATIONS[name]
