"""The rows in which hindsight is looked for: observations of the last months, with when their entity was settled."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from assets.compiled import microseconds
from models.hindsight import RECENT_DAYS, SETTLED_AT

if TYPE_CHECKING:
    import pandas as pd

    from assets.warehouse import Connection, Extraction
    from models.declaration import ModelDeclaration

ROWS_READ = 100_000
"""Observations, about: those of some entities, chosen by a hash, where there are more."""


def recent_rows(connection: Connection, declaration: ModelDeclaration, extraction: Extraction) -> pd.DataFrame | None:
    """Read the observations of the last months as `models.hindsight.measure_one_sided` takes them.

    Parameters
    ----------
    connection : Connection
        To a warehouse whose features are those of the extraction.
    declaration : ModelDeclaration
    extraction : Extraction

    Returns
    -------
    DataFrame or None
        The columns of the feature view, and ``settled_at``. None where the view does not say what settles an entity.
    """
    import pandas as pd

    view = declaration.feature_view
    if not view.settles:
        return None
    source, since = f"{view.schema}.{view.name}", extraction.as_of - timedelta(days=RECENT_DAYS)
    rows = connection.execute(f"select count(*) from {source} where as_of >= $1", [since]).fetchall()[0][0]
    share = min(1.0, ROWS_READ / max(1, rows))
    chosen = "" if share == 1 else f"and substr(md5({view.key}), 1, 3) < '{round(share * 16**3):03x}'"
    outcomes = ", ".join("'" + each.replace("'", "''") + "'" for each in extraction.closing_outcomes) or "''"
    frame: pd.DataFrame = connection.execute(
        f"with settled as (select {view.key}, min(known_us) as settled_us from {view.facts} "
        f"where known_us < $1 and ({view.settles.format(closing_outcomes=outcomes)}) group by {view.key}) "
        f"select features.*, settled.settled_us from {source} as features left join settled using ({view.key}) "
        f"where as_of >= $2 {chosen}",
        [microseconds(extraction.as_of), since],
    ).df()
    settled = pd.to_datetime(frame.pop("settled_us").astype("Int64"), unit="us", utc=True)
    return frame.assign(**{SETTLED_AT: settled})
