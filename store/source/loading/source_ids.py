"""The source's own keys of leads whose keys are pseudonyms; kept only where a person asks for it.

They are contact data. Only the marts read them.
"""

from collections.abc import Collection

from duckdb import DuckDBPyConnection

from store.source.checking.validation import Validated
from store.source.loading.stored import Delta
from store.source.mapping.binding import columns_of
from store.source.sql import of_source, one_row
from store.sql import literal

TABLE = "source_ids"

COLUMNS = {"lead_id": "varchar", "source_id": "varchar"}

PSEUDONYM = f"pseudonym-{'_' * 12}"
"""The pattern of a pseudonym, for ``like``; ``lead_scores.sql`` has the same."""

_IS_PSEUDONYM = f"lead_id like {literal(PSEUDONYM)}"


def lacks_ids(connection: DuckDBPyConnection) -> bool:
    """Say whether stored leads have pseudonyms as keys, and no key is kept yet: then all leads are read again."""
    pseudonyms = f"select 1 from known_leads where {_IS_PSEUDONYM}"
    asked = f"select not exists (select 1 from known_{TABLE}) and exists ({pseudonyms})"
    return bool(one_row(connection, asked)[0])


def write_source_ids(
    connection: DuckDBPyConnection, leads: Validated | None, existing: Collection[str], *, keep: bool
) -> list[Delta]:
    """Create ``new_source_ids``; return its delta if it differs from the stored table.

    Parameters
    ----------
    connection : DuckDBPyConnection
        The scratch database, with ``source_leads``, ``typed_leads`` and ``known_source_ids``.
    leads : Validated or None
        None if the source has none.
    existing : collection of str
        The tables of schema ``raw``.
    keep : bool
        Whether the keys are kept; else the table is emptied.
    """
    names = columns_of(leads.binding.forms[leads.binding.table.key]) if keep and leads is not None else []
    rows = f"select * from known_{TABLE} where false"
    if names:
        own = ", ".join(f"cleaned(s.{of_source(name)})" for name in names)
        rows = (
            f"select t.lead_id, coalesce({own}, null) as source_id "
            "from typed_leads t join source_leads s on s.record = t.record "
            f"where t.check_no is null and t.{_IS_PSEUDONYM} "
            # leads that are not read again
            f"union all select * from known_{TABLE} where lead_id not in "
            "(select lead_id from typed_leads where check_no is null)"
        )
    connection.execute(f"create table new_{TABLE} as {rows}")
    new, known = f"from new_{TABLE}", f"from known_{TABLE}"
    (differs,) = one_row(connection, f"select exists ({new} except {known}) or exists ({known} except {new})")
    return [Delta(TABLE, f"new_{TABLE}", "replace")] if differs or TABLE not in existing else []
