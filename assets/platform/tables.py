"""Tables in the metadata of assets and checks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import dagster as dg

from models.markdown import printable


def metadata_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> dg.TableMetadataValue:
    """Return a table as the UI shows it.

    Parameters
    ----------
    columns : sequence of str
    rows : iterable of sequence
        Their values are shown as text.
    """
    return dg.MetadataValue.table(
        [dg.TableRecord(dict(zip(columns, map(printable, row), strict=True))) for row in rows],
        dg.TableSchema([dg.TableColumn(name) for name in columns]),
    )
