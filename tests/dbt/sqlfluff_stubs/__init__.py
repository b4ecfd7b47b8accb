"""What dbt puts into the Jinja context and sqlfluff does not, so that the SQL is linted as it is compiled for DuckDB.

sqlfluff imports this package by the ``library_path`` in ``.sqlfluff``; its names become names of the templates.
"""

from __future__ import annotations

import datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

_VARIABLES: dict[str, Any] = {
    "as_of": "2026-01-31T00:00:00+00:00",
    "load_number": 4,
    "build_code": "hash",
    "features_and_labels": ["lead_features"],
    "built_load_number": 3,
    "built_us": 1769817600000000,
    "range_from_us": None,
    "range_until_us": None,
    "closing_outcomes": ["declined", "withdrawn"],
    "closing_lead_statuses": ["lost"],
    "closing_project_statuses": ["lost"],
    "silence_closes_after_days": 90,
    "attribute_features": [
        {"column": f"{prefix}_{form}", "entity": entity, "stored": f"attributes.{form}", "form": form, "option": "tea"}
        for prefix, entity in (("attribute", "leads"), ("project", "projects"), ("customer", "customers"))
        for form in ("text", "number", "flag", "days", "count", "has")
    ],
    "conversion_since_us": 1735689600000000,
    "churn_risk_bounds": [0.5, 0.25],
    "customers_close": False,
    "churn_30d_horizon_days": 30,
    "churn_60d_horizon_days": 60,
    "conversion_horizon_days": 90,
    "deal_value_horizon_days": 90,
    "next_action_horizon_days": 7,
    "property_value_tier_bounds": [10000, 50000],
    "track_record_prior_leads": 20,
}


def _raise_compiler_error(message: str) -> NoReturn:
    raise ValueError(message)


def _dispatch(macro: str, _package: str) -> Callable[..., str]:
    # the macro of an engine is a call or an expression: to the linter both are a call
    return lambda *arguments: f"{macro}({', '.join(str(each) for each in arguments)})"


def var(name: str, default: object = None) -> object:
    """Return a value for a variable of ``dbt_project.yml``, such that every branch of the templates is rendered."""
    # the label of a model that was added has its horizon there
    return _VARIABLES[name] if default is None else default


def _get_relation(database: str, schema: str, identifier: str) -> str:
    return identifier


adapter = SimpleNamespace(dispatch=_dispatch, get_relation=_get_relation)
execute = True
this = SimpleNamespace(database="warehouse", schema="schema")
exceptions = SimpleNamespace(raise_compiler_error=_raise_compiler_error)
modules = SimpleNamespace(datetime=datetime)
target = SimpleNamespace(schema="leadline")
