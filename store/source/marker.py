"""The marker: the row of ``raw.extraction``, which says what ``raw`` holds, and what a killed extraction leaves."""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from duckdb import DuckDBPyConnection

from models.artifacts import read_object
from store.source.comparing.closings import Closings
from store.source.contract import TABLES
from store.source.loading.stored import EXTRACTION_COLUMNS, Delta
from store.source.mapping.forms import ChosenMapping
from store.source.reading.sources import Source
from store.source.sql import one_row

ACCEPTED = "accepted.json"
"""The file that keeps what a person has accepted until the extraction is complete, for the case that it is killed."""


def write_marker(
    connection: DuckDBPyConnection,
    clock: datetime,
    load_number: int,
    reader: Source,
    chosen: ChosenMapping,
    closings: Closings,
    assumptions: Sequence[str],
    loaded: bool,
    *,
    delivered: str,
    accepted: Sequence[str],
) -> list[Delta]:
    """Create ``new_extraction``; return it to be written when something was loaded, or it says something else.

    ``delivered`` is what the next extraction compares with. Where nothing else differs, the extraction keeps its
    number, and its accepted findings stand.
    """
    definition = ", ".join(f"?::{sql_type} as {name}" for name, sql_type in EXTRACTION_COLUMNS.items())
    row: list[Any] = [
        clock,
        load_number,
        reader.description,
        chosen.mapping.name,
        json.dumps(closings.words["outcomes"]),
        # null where there is none, as before a mapping could name them
        *(json.dumps(words) if (words := closings.words[key]) else None for key in ("lead_status", "project_status")),
        chosen.mapping.silence_closes_after_days,
        json.dumps(chosen.mapping.horizon_days, sort_keys=True),
        json.dumps(list(assumptions)),
        delivered,
        json.dumps(list(accepted)) if accepted else None,
    ]
    connection.execute(f"create table new_extraction as select {definition}", row)
    marker = [Delta("extraction", "new_extraction", "replace")]
    compared = "* exclude (load_number, delivered, accepted)"
    one, differing = one_row(
        connection,
        "select (select count(*) from known_extraction) = 1, (select count(*) from "
        f"(select {compared} from new_extraction except select {compared} from known_extraction))",
    )
    if loaded or accepted or not one or differing:
        return marker
    connection.execute(
        "update new_extraction set load_number = k.load_number, accepted = k.accepted from known_extraction k"
    )
    (same,) = one_row(connection, "select (select delivered from known_extraction) is not distinct from ?", [delivered])
    return [] if same else marker


def raw_is_ahead(connection: DuckDBPyConnection) -> bool:
    """Say whether ``raw`` holds rows of an extraction that was killed before it said so."""
    numbers = " union all ".join(f"select load_number from known_{name}" for name in TABLES)
    ahead = f"(select max(load_number) from ({numbers})) > (select max(load_number) from known_extraction)"
    return bool(one_row(connection, f"select coalesce({ahead}, false)")[0])


def noted(note: Path, load_number: int) -> list[str]:
    """Return what a person had accepted of the extraction of this number, which was killed."""
    try:
        content = read_object(note)
        return [str(each) for each in content["accepted"]] if content["load_number"] == load_number else []
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError):
        return [f"What a person accepted of an extraction that was killed cannot be told: {note} is damaged."]
