"""stub"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from store.source.attributes.kinds import KindFound, kind_of
from store.source.sql import of_source


@dataclass(frozen=True)
class Chosen:
    name: str
    column: str
    found: KindFound


def identifier(text: str, taken: Collection[str] = ()) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:40]
    return name if name not in taken else name + "_2"


def choose(
    connection: Any, relation: str, columns: Sequence[str], taken: Collection[str]
) -> tuple[list[Chosen], dict[str, str]]:
    chosen, left = [], {}
    for column in columns:
        found = kind_of(connection, relation, of_source(column))
        if found.kind is None:
            left[column] = found.why
        else:
            chosen.append(Chosen(identifier(column, taken), column, found))
    return chosen, left
