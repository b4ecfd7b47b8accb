"""The source contract as data: tables, columns, types, vocabularies, and which columns are required.

What the rest of the package asks of a column is declared here once; no other module lists columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "EARLIER_NAMES",
    "FROM_CREATION",
    "OVERWRITTEN",
    "SQL_TYPES",
    "TABLES",
    "Column",
    "SourceContractError",
    "Table",
]

Kind = Literal["text", "time", "number"]

SQL_TYPES: Mapping[Kind, str] = {"text": "varchar", "time": "timestamptz", "number": "decimal(18,2)"}
"""The DuckDB type of each kind of column."""


class SourceContractError(Exception):
    """The source cannot be extracted; the message says what was expected, found, where, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the contract.

    Attributes
    ----------
    name : str
        Its name in the contract and in schema ``raw``.
    kind : {"text", "time", "number"}
        Text, a time in UTC (microseconds), or a number that is never negative (two decimals).
    required : bool
        Whether a row without a value is rejected.
    vocabulary : tuple of str
        The values allowed, in lower case; empty when any text is.
    not_before : str or None
        The time column of the same row that this time cannot precede.
    planned : bool
        A time that somebody intends: it may lie in the future, and says nothing of when the export was made.
    fact_when : tuple of str
        The values of ``status`` under which this time has happened. Under any other, and under none, it is what
        somebody intends. Empty when it has always happened.
    plan : str or None
        The planned column of the same row that keeps this time where it has not happened.
    added : bool
        The contract had no such column at first: where it is empty, a row has the hash that it had without it.
    free_text_limit : int or None
        The number of characters beyond which the value is taken for free text and left behind.
    postal : bool
        A postal code, which a telephone number cannot be told from.
    selects : bool
        Rows with a value outside the vocabulary are left behind rather than rejected.
    default : str or None
        What stands for a missing value.
    of_lead : bool
        A value of the column of leads that the row names, and read as that column is.
    """

    name: str
    kind: Kind = "text"
    required: bool = False
    vocabulary: tuple[str, ...] = ()
    not_before: str | None = None
    planned: bool = False
    fact_when: tuple[str, ...] = ()
    plan: str | None = None
    added: bool = False
    free_text_limit: int | None = None
    postal: bool = False
    selects: bool = False
    default: str | None = None
    of_lead: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table of the contract; its first column is the key.

    Attributes
    ----------
    name : str
    columns : tuple of Column
    optional : bool
        Whether a source may be without it.
    """

    name: str
    columns: tuple[Column, ...]
    optional: bool = False

    @property
    def key(self) -> str:
        """Name of the key column."""
        return self.columns[0].name

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of all columns, in the order of the contract."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """Return the column of that name; raises ``KeyError`` when there is none."""
        return {column.name: column for column in self.columns}[name]


OVERWRITTEN = ("status", "assigned_to", "property_value", "zip_code")
"""The columns of leads that a CRM overwrites, and whose history is kept."""

FROM_CREATION = ("property_value", "zip_code")
"""Those that are mostly entered with the lead: what its first extraction shows is assumed known from its creation."""

TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        Table(
            name="leads",
            columns=(
                Column(name="lead_id", required=True),
                Column(name="source", default="unknown"),
                Column(name="created_at", kind="time", required=True),
                Column(name="assigned_to"),
                Column(name="property_value", kind="number"),
                Column(name="zip_code", postal=True),
                Column(name="status"),
                Column(name="updated_at", kind="time"),
            ),
        ),
        Table(
            name="interactions",
            columns=(
                Column(name="interaction_id", required=True),
                Column(name="lead_id", required=True),
                Column(
                    name="type",
                    required=True,
                    vocabulary=("call", "email", "sms", "meeting", "web", "proposal", "note"),
                ),
                Column(name="direction", required=True, vocabulary=("inbound", "outbound", "internal")),
                Column(name="occurred_at", kind="time", required=True),
                Column(name="recorded_at", kind="time"),
                Column(name="performed_by"),
                Column(name="outcome", free_text_limit=64),
                Column(name="opened_at", kind="time", not_before="occurred_at"),
                Column(name="responded_at", kind="time", not_before="occurred_at"),
            ),
        ),
        Table(
            name="appointments",
            columns=(
                Column(name="appointment_id", required=True),
                Column(name="lead_id", required=True),
                Column(name="booked_at", kind="time", required=True),
                Column(name="scheduled_at", kind="time", required=True, planned=True),
                Column(name="status", vocabulary=("scheduled", "completed", "no_show", "cancelled", "rescheduled")),
                Column(
                    name="ended_at",
                    kind="time",
                    not_before="booked_at",
                    fact_when=("completed", "no_show", "cancelled", "rescheduled"),
                    plan="scheduled_at",
                ),
                Column(name="rescheduled_from"),
            ),
        ),
        Table(
            name="projects",
            columns=(
                Column(name="project_id", required=True),
                Column(name="lead_id", required=True),
                Column(name="value", kind="number"),
                Column(name="cost", kind="number"),
                Column(name="status", vocabulary=("open", "won", "lost", "cancelled")),
                Column(name="proposed_at", kind="time", required=True),
                Column(
                    name="closed_at",
                    kind="time",
                    not_before="proposed_at",
                    fact_when=("won", "lost", "cancelled"),
                    plan="expected_close_at",
                ),
                Column(name="expected_close_at", kind="time", planned=True, added=True),
            ),
        ),
        Table(
            name="changes",
            optional=True,
            columns=(
                Column(name="change_id", required=True),
                Column(name="lead_id", required=True),
                Column(name="column_name", required=True, vocabulary=OVERWRITTEN, selects=True),
                Column(name="value", of_lead=True),
                Column(name="changed_at", kind="time", required=True),
            ),
        ),
    )
}
"""The tables by name; leads come first, because the others refer to them.

They are read in the opposite order. A history that is read before the leads can lack their last change, which the
comparison then adds; one read after them would seem to be contradicted by older values.
"""

EARLIER_NAMES: Mapping[str, str] = {"changes": "lead_changes"}
"""Names of tables in an earlier state of the contract, by their present ones: sources and warehouses may have them."""

CLOSED_STATUSES = ("won", "lost")
"""The project statuses that are worth nothing to a label without the time of the closing."""
