"""The rows in which the pipeline looks for hindsight: recent observations, and when their entities were settled."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from models.declaring.declaration import ModelDeclaration
from models.evaluation.hindsight import RECENT_DAYS
from models.evaluation.one_sided import SETTLED_AT
from store.features.compiled import microseconds
from store.warehouse.connection import GROUPS, Connection, in_groups
from store.warehouse.warehouse import Extraction

if TYPE_CHECKING:
    import pandas as pd

ROWS_READ = 100_000
"""About how many observations are read; if there are more, those of some entities, chosen by a hash."""


def recent_rows(connection: Connection, declaration: ModelDeclaration, extraction: Extraction) -> pd.DataFrame | None:
    """Read the observations of the last months as `models.evaluation.one_sided.measure_one_sided` takes them.

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
    if not view.entity.settles:
        return None
    source, since = f"{declaration.scoped_view} as features", extraction.as_of - timedelta(days=RECENT_DAYS)
    rows = connection.execute(f"select count(*) from {source} where as_of >= $1", [since]).fetchall()[0][0]
    chosen = in_groups(view.key, round(GROUPS * ROWS_READ / max(1, rows)))
    settling = [
        f"select {view.key}, known_us from {view.entity.facts} where {extraction.with_closing(view.entity.settles)}",
        *([extraction.with_closing(view.entity.settling_statuses)] if view.entity.settling_statuses else []),
    ]
    frame: pd.DataFrame = connection.execute(
        f"with settled as (select {view.key}, min(known_us) as settled_us from ({' union all '.join(settling)}) "
        f"as settling where known_us < $1 group by {view.key}) "
        f"select features.*, settled.settled_us from {source} left join settled using ({view.key}) "
        f"where as_of >= $2 and {chosen}",
        [microseconds(extraction.as_of), since],
    ).df()
    settled = pd.to_datetime(frame.pop("settled_us").astype("Int64"), unit="us", utc=True)
    return frame.assign(**{SETTLED_AT: settled})
