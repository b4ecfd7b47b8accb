"""The warehouse: opened in turn, and clear about who holds it and what it lacks."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

from store.source.loading.load import open_warehouse
from store.warehouse.connection import table_exists
from store.warehouse.duckdb import engine
from store.warehouse.engine import WarehouseBusyError
from store.warehouse.warehouse import Extraction, NoExtractionError, Warehouse

if TYPE_CHECKING:
    from collections.abc import Iterator

HOLD = "import duckdb, sys; connection = duckdb.connect(sys.argv[1]); print('held', flush=True); input()"


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a warehouse in another process while the context lasts."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield
        process.kill()


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(address=f"duckdb:{tmp_path / 'home' / 'warehouse.duckdb'}")


def test_a_warehouse_that_another_process_holds_is_refused_by_name(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PATIENCE_SECONDS", 2)
    with warehouse.connect():
        pass
    with held(Path(warehouse.shown)), pytest.raises(WarehouseBusyError) as caught, warehouse.connect():
        pass
    message = str(caught.value)
    assert message.startswith(f"{warehouse.shown}: expected to open the warehouse, found it held by another process.")
    assert "published snapshot" in message
    assert "PID" in message
    with warehouse.connect() as connection:
        assert connection.execute("select 1").fetchall() == [(1,)]


def test_an_extraction_waits_for_the_warehouse_as_well(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PATIENCE_SECONDS", 1)
    with warehouse.connect():
        pass
    known = open_warehouse(warehouse.address).known
    with duckdb.connect() as scratch:
        with held(Path(warehouse.shown)), pytest.raises(WarehouseBusyError, match="PID"), known(scratch, {}):
            pass
        with known(scratch, {}) as existing:
            assert existing == set()


def test_times_are_utc_and_the_file_is_free_afterwards(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        assert connection.execute("select current_setting('TimeZone')").fetchall() == [("UTC",)]
        connection.execute("create schema raw")
        connection.execute("create table raw.leads as select 1 as lead_id")
        assert table_exists(connection, "raw", "leads")
        assert not table_exists(connection, "raw", "projects")
    with held(Path(warehouse.shown)):
        pass
    with warehouse.connect() as connection:
        assert connection.execute("select count(*) from raw.leads").fetchall() == [(1,)]


def test_a_warehouse_without_an_extraction_says_what_to_do(warehouse: Warehouse) -> None:
    with pytest.raises(NoExtractionError, match=r"expected an extraction in raw\.extraction, found none"):
        warehouse.extraction()
    with warehouse.connect() as connection:
        connection.execute("create schema raw")
        connection.execute(
            "create table raw.extraction (as_of timestamptz, source text, mapping text, closing_outcomes text, "
            "silence_closes_after_days bigint, horizon_days text, assumptions text)"
        )
    with pytest.raises(NoExtractionError, match="did not finish"):
        warehouse.extraction()


def test_a_list_that_closes_nothing_does_not_close_by_an_empty_text() -> None:
    extraction = Extraction(
        as_of=datetime(2026, 1, 1, tzinfo=UTC), load_number=1, source="crm", mapping="mine",
        closing={"closing_outcomes": ["it's over"], "closing_lead_statuses": []},
        silence_closes_after_days=None, horizon_days={}, assumptions=[],
    )  # fmt: skip
    assert (
        extraction.with_closing("({closing_outcomes}) ({closing_lead_statuses}) ({closing_words_of_tomorrow})")
        == "('it''s over') (null) (null)"
    )
