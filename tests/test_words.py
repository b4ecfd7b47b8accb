"""The words of one entity, such as lead, may only stand where that entity is declared."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]

LEAD = re.compile(r"\bleads?\b|\blead_\w+", re.IGNORECASE)

OWN_PLACES = ("models/declared/", "store/source/")
"""Folders that may name leads: their declarations, and the source."""

SQL_FUNCTION = {
    ("store/measuring/distributions.py", "lead(value)"),
    ("store/features/sql_review.py", "last_value lead least"),
}
"""Lines in which ``lead`` is the window function of SQL."""


def test_only_declarations_and_the_source_know_leads() -> None:
    found = []
    for folder in ("store", "models", "assets", "orchestration"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            place = path.relative_to(ROOT).as_posix()
            if place.startswith(OWN_PLACES):
                continue
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
                is_function = any(place == file and text in line for file, text in SQL_FUNCTION)
                if LEAD.search(line) and not is_function:
                    found.append(f"{place}:{number}: {line.strip()}")
    assert found == []
