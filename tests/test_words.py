"""The words of one entity, such as lead or customer, may only stand where that entity is declared."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]

ENTITIES = re.compile(r"\b(leads?|customers?)\b|\b(lead|customer)_\w+", re.IGNORECASE)

OWN_PLACES = ("models/declared/", "store/source/")
"""Folders that may name entities: their declarations, and the source."""

OTHER_MEANING = {
    # the window function of SQL
    ("store/measuring/distributions.py", "lead(value)"),
    ("store/features/sql_review.py", "last_value lead least"),
    # what the simulated company has
    ("store/settings.py", "Whether it has customers"),
    ("assets/platform/resources.py", "customers=self.simulation_customers"),
}
"""Lines in which the word stands for something else."""


def test_only_declarations_and_the_source_know_leads_and_customers() -> None:
    found = []
    for folder in ("store", "models", "assets", "orchestration"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            place = path.relative_to(ROOT).as_posix()
            if place.startswith(OWN_PLACES):
                continue
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
                is_other = any(place == file and text in line for file, text in OTHER_MEANING)
                if ENTITIES.search(line) and not is_other:
                    found.append(f"{place}:{number}: {line.strip()}")
    assert found == []
