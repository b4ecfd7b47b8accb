"""All models of the project. To add one, declare it in a module of its own in this folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType
from typing import TypeVar

import models.declared
from models.declaring.declaration import ModelDeclaration
from models.declaring.entity import DeclarationError
from models.declaring.scored_table import ScoredTable

Declared = TypeVar("Declared")


def register(declarations: Iterable[ModelDeclaration]) -> Mapping[str, ModelDeclaration]:
    """Return the declarations by name.

    Raises
    ------
    DeclarationError
        If two declarations share a name, publish the same column or learn from one label over different horizons, or if
        `horizon_of` names no model.
    """
    registered: dict[str, ModelDeclaration] = {}
    publishers: dict[str, str] = {}
    for each in declarations:
        if each.name in registered:
            raise DeclarationError(f"two models are named {each.name!r}; rename one of them")
        for column in each.task.columns:
            if column in publishers:
                raise DeclarationError(
                    f"models {publishers[column]!r} and {each.name!r} both publish {column!r}; rename the "
                    "outcome of one of them"
                )
            publishers[column] = each.name
        registered[each.name] = each
    for each in registered.values():
        if each.horizon_of and each.horizon_of not in registered:
            raise DeclarationError(
                f"model {each.name!r}: horizon_of must be one of {sorted(registered)}, found {each.horizon_of!r}"
            )
    label_horizons(registered.values())
    return MappingProxyType(registered)


def label_horizons(declarations: Iterable[ModelDeclaration]) -> dict[str, int]:
    """Return the horizon of each label, in days: that of the models that learn from it.

    Raises
    ------
    DeclarationError
        If the models of a label have different horizons: a label model has one row per observation, over one horizon.
    """
    learners: dict[str, ModelDeclaration] = {}
    for each in declarations:
        other = learners.setdefault(each.label, each)
        if other.horizon_days != each.horizon_days:
            raise DeclarationError(
                f"labels.{each.label}: expected one horizon of the models that learn from it, found {other.name!r} "
                f"over {other.horizon_days} days and {each.name!r} over {each.horizon_days}. Give both the same, in "
                "their declarations, in horizon_days of the mapping or by LEADLINE_<MODEL>_HORIZON_DAYS, or give one "
                "of them a label model of its own in dbt_project/models/labels."
            )
    return {label: each.horizon_days for label, each in learners.items()}


def declared(kind: type[Declared]) -> list[Declared]:
    """Return the declarations of a kind that stand in the modules of this folder, by the names of the modules."""
    # without this module itself
    names = sorted({each.name for each in iter_modules(models.declared.__path__)} - {__name__.rpartition(".")[2]})
    modules = [import_module(f"{__package__}.{name}") for name in names]
    found = [each for module in modules for each in vars(module).values() if isinstance(each, kind)]
    # a module may import the declaration of another one, which is then found twice
    return list({id(each): each for each in found}.values())


def register_tables(tables: Iterable[ScoredTable]) -> Mapping[str, ScoredTable]:
    """Return the scored tables by name.

    Raises
    ------
    DeclarationError
        If two tables share a name or a history, or have scores of one model.
    """
    registered: dict[str, ScoredTable] = {}
    owners: dict[str, str] = {}
    for each in tables:
        for what in (*(f"mart {mart!r}" for mart in (each.name, each.history)), *(f"model {m!r}" for m in each.models)):
            other = owners.setdefault(what, each.name)
            if other != each.name or each.name in registered:
                raise DeclarationError(
                    f"scored tables {other!r} and {each.name!r}: expected a {what.partition(' ')[0]} in one table "
                    f"alone, found {what} in both. Rename it, or leave it out of one of them."
                )
        registered[each.name] = each
    return MappingProxyType(registered)


DECLARATIONS = register(declared(ModelDeclaration))

SCORED_TABLES = register_tables(declared(ScoredTable))
"""The declared scored tables, by name."""

FEATURE_VIEWS = {each.feature_view.name: each.feature_view for each in DECLARATIONS.values()}
