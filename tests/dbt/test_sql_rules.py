"""What no model may say: the wall clock, chance, and columns that the CRM overwrites."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.dbt.warehouses import DBT_PROJECT

if TYPE_CHECKING:
    from pathlib import Path

MODELS = sorted((DBT_PROJECT / "models").rglob("*.sql"))
SQL = [*MODELS, *sorted((DBT_PROJECT / "macros").rglob("*.sql")), *sorted((DBT_PROJECT / "tests").rglob("*.sql"))]
FORBIDDEN = (
    r"current_(date|time|timestamp)|local(time|timestamp)|now|getdate|sysdate|today|(clock|statement|transaction)_timestamp"
    r"|get_current_timestamp|run_started_at|modules\.datetime\.datetime\.(now|utcnow|today)"
    r"|random|rand|setseed|uuid|gen_random_uuid|tablesample|using\s+sample"
)
CRM_STATUS = r"status|assigned_to|updated_at"
"""Columns of the raw tables that the CRM overwrites."""


def _code(path: Path) -> str:
    """Return the file without its comments, which may name what the code may not."""
    text = path.read_text(encoding="utf-8")
    return re.sub(r"\{#.*?#\}|/\*.*?\*/|--[^\n]*", "", text, flags=re.DOTALL)


def _words(pattern: str, code: str) -> list[str]:
    return [found.group() for found in re.finditer(rf"(?<![\w.])({pattern})(?!\w)", code, flags=re.IGNORECASE)]


def _name(path: Path) -> str:
    return path.relative_to(DBT_PROJECT).as_posix()


@pytest.mark.parametrize("path", SQL, ids=_name)
def test_sql_reads_neither_the_wall_clock_nor_chance(path: Path) -> None:
    """The clock is a variable; a rerun gives the same rows."""
    assert not _words(FORBIDDEN, _code(path))


def _layer(path: Path) -> str:
    return path.relative_to(DBT_PROJECT / "models").parts[0]


@pytest.mark.parametrize("path", MODELS, ids=_name)
def test_overwritten_columns_stay_out_of_the_past(path: Path) -> None:
    """Today's owner and status, at a past as_of, leak the future."""
    code = _code(path)
    layer = _layer(path)

    if layer != "staging":
        assert "source('raw'" not in code, "raw tables are read by staging alone"
        assert not re.findall(rf"\b({CRM_STATUS})\b", code), "the overwritten column as such leaves staging nowhere"
    if layer not in ("staging", "marts"):
        assert "current_assigned_to" not in code
        assert not re.findall(r"\bleads\.(?:property_value|zip_code)\b", code), "features take these from lead_history"
    if layer == "features":
        assert "final_status" not in code


def test_staging_of_leads_lets_today_s_owner_pass_and_no_more() -> None:
    """The owner passes under a name that says so; status and updated_at do not pass at all."""
    code = _code(DBT_PROJECT / "models/staging/stg_leads.sql").split("renamed as (")[1]

    assert re.findall(rf"\b({CRM_STATUS})\b", code) == ["assigned_to"]
    assert "assigned_to as current_assigned_to" in code


@pytest.mark.parametrize("table", ["appointments", "projects"])
def test_final_status_is_bound_to_its_time(table: str) -> None:
    """A status passes only where the time from which it holds is there, and then as the final one."""
    code = _code(DBT_PROJECT / f"models/staging/stg_{table}.sql")

    assert re.findall(r"[^\n]*\bstatus\b[^\n]*", code) == re.findall(
        r"[^\n]*case when \w+_at is not null then status end as final_status[^\n]*", code
    )
