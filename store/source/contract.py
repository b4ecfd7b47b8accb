"""The source contract as data: one record per source table. Every list of source tables derives from it."""

from collections.abc import Mapping

from store.source.record import Column, Counterfactual, Part, Table
from store.source.values.currencies import CURRENCIES


class SourceContractError(Exception):
    """The source cannot be extracted; the message says what was expected, found, where, and what to do."""


class SourceUnavailableError(SourceContractError):
    """The database of the source does not answer now."""


def texts(*values: str) -> tuple[str, ...]:
    """Return text literals."""
    return tuple(f"'{value}'" for value in values)


OVERWRITTEN: Mapping[str, tuple[str, ...]] = {
    "leads": ("status", "assigned_to", "property_value", "zip_code"),
    "projects": ("stage", "value", "expected_close_at"),
    "customers": ("plan",),
}
"""The columns that a CRM overwrites, and whose history Leadline keeps, by table."""

FROM_CREATION: Mapping[str, tuple[str, ...]] = {
    "leads": ("property_value", "zip_code"),
    "projects": ("value",),
    # a plan changes with the customer: that of today tells who has stayed long enough to move up
    "customers": (),
}
"""Overwritten columns that are mostly entered with the row: their first value counts as known from its creation."""

AMOUNTS: Mapping[str, tuple[str, ...]] = {
    "projects": ("value", "cost"),
    "transactions": ("amount", "cost", "discount"),
}
"""The columns with amounts of money in the currency of their row, by table."""

CUSTOMERS = ("customers", "transactions")
"""A source has customers if it has one of these tables."""

SUCCESS = "'won'"
"""The end of a project that closes its lead, as SQL."""

_TYPES = ("call", "email", "sms", "meeting", "web", "proposal", "note")

_ENDS = ("completed", "no_show", "cancelled", "rescheduled")

TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        Table(
            name="leads",
            description="One row per lead of the CRM that fits the source contract.",
            called=("account", "compan", "contact", "customer", "person"),
            columns=(
                Column(name="lead_id", required=True),
                Column(
                    name="source",
                    default="unknown",
                    words_kept=True,
                    staged="lead_source",
                    watched=True,
                    categories=True,
                ),
                Column(name="created_at", kind="time", required=True),
                Column(name="assigned_to", altered="with_people"),
                Column(name="property_value", kind="number", altered="often", watched=True),
                Column(name="zip_code", postal=True, altered="often", watched=True),
                Column(name="status", words_kept=True, altered="freely"),
                Column(name="updated_at", kind="time", altered="freely"),
            ),
            occurred="created_at",
            history="changes",
            attributes=("attribute", "the lead"),
            feed="'leads'",
            proof=Counterfactual(
                drawn={"source": texts("proof")},
                kinds=("source",),
                overwritten={
                    "status": "null",
                    "assigned_to": "null",
                    "updated_at": "created_at",
                    "property_value": "null",
                    "zip_code": "null",
                },
            ),
        ),
        Table(
            name="interactions",
            description="One row per call, e-mail, message, meeting, web event, proposal message or note.",
            of="leads",
            or_of=("customers",),
            called=("activit", "call", "email", "event", "note", "task"),
            columns=(
                Column(name="interaction_id", required=True),
                # an interaction has a lead or a customer
                Column(name="lead_id"),
                Column(name="customer_id", added=True),
                Column(
                    name="type",
                    required=True,
                    vocabulary=_TYPES,
                    words_kept=True,
                    staged="interaction_type",
                    categories=True,
                ),
                Column(
                    name="direction", required=True, vocabulary=("inbound", "outbound", "internal"), words_kept=True
                ),
                Column(name="occurred_at", kind="time", required=True),
                Column(name="recorded_at", kind="time"),
                Column(name="performed_by", altered="with_people", watched=True),
                Column(name="outcome", free_text_limit=64, words_kept=True, watched=True, categories=True),
                Column(name="opened_at", kind="time", not_before="occurred_at"),
                Column(name="responded_at", kind="time", not_before="occurred_at"),
            ),
            occurred="occurred_at",
            recorded="recorded_at",
            parts=(Part(time="opened_at", feed="openings"), Part(time="responded_at", feed="answers")),
            ages=True,
            type="type",
            feed="'interactions: ' || concat_ws(' ', interaction_type, direction)",
            proof=Counterfactual(
                drawn={
                    "type": texts(*_TYPES),
                    # in about the proportions of a CRM
                    "direction": texts("inbound", "outbound", "outbound", "internal"),
                    "performed_by": texts("proof", "another_proof"),
                    "outcome": ("null", "'proof'"),
                },
                kept=("outcome",),
                kinds=("type", "direction", "outcome"),
            ),
        ),
        Table(
            name="appointments",
            description="One row per appointment.",
            of="leads",
            called=("booking", "meeting"),
            columns=(
                Column(name="appointment_id", required=True),
                Column(name="lead_id", required=True),
                Column(name="booked_at", kind="time", required=True),
                Column(name="scheduled_at", kind="time", required=True, planned=True),
                Column(
                    name="status",
                    vocabulary=("scheduled", *_ENDS),
                    words_kept=True,
                    words_left=("scheduled", "rescheduled"),
                ),
                Column(name="ended_at", kind="time", not_before="booked_at", fact_when=_ENDS, plan="scheduled_at"),
                Column(name="rescheduled_from"),
            ),
            occurred="booked_at",
            parts=(
                Part(
                    time="ended_at",
                    feed="appointment ends",
                    before={"status": "'scheduled'"},
                    drawn={"status": texts(*_ENDS)},
                ),
            ),
            staged_known="booked_us",
            ages=True,
            feed="'appointments'",
            proof=Counterfactual(overwritten={"scheduled_at": "booked_at"}, kinds=("status",)),
        ),
        Table(
            name="projects",
            description="One row per project (deal).",
            of="leads",
            called=("deal", "offer", "opportunit", "quote"),
            columns=(
                Column(name="project_id", required=True),
                Column(name="lead_id", required=True),
                Column(name="value", kind="number", altered="often", staged="current_value", watched=True),
                Column(name="cost", kind="number", altered="often"),
                Column(
                    name="currency",
                    vocabulary=CURRENCIES,
                    codes="a currency of ISO 4217 such as EUR",
                    words_kept=True,
                    added=True,
                ),
                Column(
                    name="status",
                    vocabulary=("open", "won", "lost", "cancelled"),
                    words_kept=True,
                    words_left=("open",),
                ),
                Column(name="proposed_at", kind="time", required=True),
                Column(
                    name="closed_at",
                    kind="time",
                    not_before="proposed_at",
                    fact_when=("won", "lost", "cancelled"),
                    plan="expected_close_at",
                ),
                Column(name="expected_close_at", kind="time", planned=True, added=True),
                Column(name="stage", altered="freely", added=True),
            ),
            occurred="proposed_at",
            parts=(
                Part(
                    time="closed_at",
                    feed="project ends",
                    before={"status": "'open'"},
                    drawn={"status": (SUCCESS, SUCCESS, *texts("lost", "cancelled"))},
                ),
            ),
            staged_known="proposed_us",
            attributes=("project", "the last project proposed before as_of"),
            feed="'projects'",
            proof=Counterfactual(
                overwritten={
                    "value": "null",
                    "cost": "null",
                    "currency": "null",
                    "expected_close_at": "null",
                    "stage": "null",
                },
                kinds=("status",),
            ),
        ),
        Table(
            name="customers",
            description="One row per customer of the CRM that fits the source contract.",
            optional=True,
            called=("client", "customer", "kunde", "member", "subscriber"),
            columns=(
                Column(name="customer_id", required=True),
                # the lead that became this customer
                Column(name="lead_id"),
                Column(name="created_at", kind="time", required=True),
                Column(name="plan", words_kept=True, altered="often", staged="current_plan", watched=True),
                # the end of a contract is often entered before it comes
                Column(name="closed_at", kind="time", ahead=True),
                Column(name="updated_at", kind="time", altered="freely"),
            ),
            occurred="created_at",
            parts=(Part(time="closed_at", feed="customer ends"),),
            history="changes",
            attributes=("customer", "the customer"),
            feed="'customers'",
            proof=Counterfactual(overwritten={"plan": "null", "updated_at": "created_at"}),
        ),
        Table(
            name="transactions",
            description="One row per purchase, refund, payment or chargeback of a customer.",
            of="customers",
            begins="customers",
            key_from=("customer_id", "occurred_at", "amount", "product"),
            optional=True,
            called=("order", "payment", "purchase", "sale", "transaction"),
            columns=(
                Column(name="transaction_id", required=True),
                Column(name="customer_id", required=True),
                Column(name="occurred_at", kind="time", required=True),
                Column(name="recorded_at", kind="time"),
                Column(
                    name="kind",
                    vocabulary=("purchase", "refund", "payment", "chargeback"),
                    default="purchase",
                    default_below_zero=("amount", "refund"),
                    words_kept=True,
                    categories=True,
                ),
                # refunds and chargebacks come with either sign
                Column(name="amount", kind="number", signed=True, unsigned_where=("kind", "purchase"), watched=True),
                Column(name="cost", kind="number", signed=True),
                Column(name="discount", kind="number"),
                Column(name="quantity", kind="number", signed=True),
                Column(
                    name="currency", vocabulary=CURRENCIES, codes="a currency of ISO 4217 such as EUR", words_kept=True
                ),
                Column(name="product", words_kept=True, watched=True),
                Column(name="channel", words_kept=True, categories=True),
            ),
            occurred="occurred_at",
            recorded="recorded_at",
            ages=True,
            type="kind",
            feed="'transactions: ' || kind",
            proof=Counterfactual(
                drawn={
                    "kind": texts("purchase", "purchase", "purchase", "refund", "payment", "chargeback"),
                    "amount": ("null", "0", "1", "77", "1234"),
                    "cost": ("null", "1", "55"),
                    "discount": ("null", "0", "9"),
                    "quantity": ("null", "1", "3"),
                    "product": ("null", "'proof'", "'another proof'"),
                    "channel": ("null", "'proof'"),
                },
                kinds=("kind",),
            ),
        ),
        Table(
            name="tickets",
            description="One row per support request of a customer.",
            of="customers",
            optional=True,
            called=("case", "complaint", "support", "ticket"),
            columns=(
                Column(name="ticket_id", required=True),
                Column(name="customer_id", required=True),
                Column(name="opened_at", kind="time", required=True),
                Column(name="resolved_at", kind="time", not_before="opened_at"),
                Column(name="kind", free_text_limit=64, words_kept=True, categories=True),
            ),
            occurred="opened_at",
            parts=(Part(time="resolved_at", feed="ticket ends"),),
            staged_known="opened_us",
            ages=True,
            feed="'tickets'",
            proof=Counterfactual(drawn={"kind": ("null", "'proof'")}, kinds=("kind",)),
        ),
        Table(
            name="usage",
            description="One row per use of the product by a customer: a login, or a quantity of a metric.",
            of="customers",
            key_from=("customer_id", "occurred_at", "metric"),
            optional=True,
            called=("event", "login", "session", "usage"),
            columns=(
                Column(name="usage_id", required=True),
                Column(name="customer_id", required=True),
                Column(name="occurred_at", kind="time", required=True),
                Column(name="metric", default="login", free_text_limit=64, words_kept=True, categories=True),
                Column(name="quantity", kind="number"),
            ),
            occurred="occurred_at",
            ages=True,
            type="metric",
            feed="'usage: ' || metric",
            proof=Counterfactual(
                drawn={"metric": texts("login", "login", "proof"), "quantity": ("null", "1", "77")}, kinds=("metric",)
            ),
        ),
        Table(
            name="offers",
            description="One row per offer that was made to keep a customer.",
            of="customers",
            optional=True,
            called=("campaign", "offer", "promotion"),
            columns=(
                Column(name="offer_id", required=True),
                Column(name="customer_id", required=True),
                Column(name="offered_at", kind="time", required=True),
                Column(name="kind", free_text_limit=64, words_kept=True, categories=True),
                Column(name="cost", kind="number"),
                Column(name="assigned", vocabulary=("random", "rule", "person"), words_kept=True),
                Column(name="accepted_at", kind="time", not_before="offered_at"),
            ),
            occurred="offered_at",
            parts=(Part(time="accepted_at", feed="accepted offers"),),
            staged_known="offered_us",
            ages=True,
            feed="'offers'",
            proof=Counterfactual(drawn={"kind": ("null", "'proof'")}, kinds=("kind",)),
        ),
        Table(
            name="changes",
            description=(
                "One row per lead, project or customer, overwritten column and moment at which a value became known: "
                "told by the CRM's own history, or seen by an extraction."
            ),
            of="leads",
            or_of=("projects", "customers"),
            optional=True,
            called=("histor",),
            columns=(
                Column(name="change_id", required=True),
                # a change of a project has the lead of the project
                Column(name="lead_id"),
                Column(
                    name="column_name",
                    required=True,
                    vocabulary=tuple(name for names in OVERWRITTEN.values() for name in names),
                    selects=True,
                ),
                Column(name="value", of_owner=True),
                Column(name="changed_at", kind="time", required=True),
                Column(name="project_id", added=True),
                Column(name="customer_id", added=True),
            ),
            occurred="known_at",
            from_source="origin = 'source'",
            proof=Counterfactual(
                kinds=("column_name",),
                # of attributes the values that occur are drawn: their names and kinds are those of the source
                added=[
                    {"column_name": f"'{column}'", "project_id": about, "value": value}
                    for about, columns in {
                        "null": {
                            "status": texts("proof", "won", "lost"),
                            "assigned_to": texts("proof", "another_proof"),
                            "property_value": texts("1", "77", "123456"),
                            "zip_code": texts("99999", "11111"),
                            # of a customer
                            "plan": texts("proof", "another_proof"),
                        },
                        "'a project'": {
                            "stage": texts("proof", "another_proof"),
                            "value": texts("1", "77", "123456"),
                            "expected_close_at": texts("2001-01-01T00:00:00.000000Z", "2101-01-01T00:00:00.000000Z"),
                        },
                    }.items()
                    for column, values in columns.items()
                    for value in ("null", *values)
                ],
                coarser={"project_id": "case when project_id is not null then 'a project' end"},
                # a project of the lead, or one that the proof adds
                finer={
                    "project_id": (
                        "coalesce((select min(own.project_id) from raw.projects as own "
                        "where own.lead_id = told.lead_id), 'proof ' || told.lead_id || ' projects 1')"
                    )
                },
                # the amount of a project that is won later
                kept_facts="column_name = 'value'",
            ),
        ),
    )
}
"""The tables by name; leads come first, because the others refer to them.

They are read in the opposite order. A history that is read before the leads may lack their last change, which the
comparison then adds. A history that is read after them could hold changes that the leads do not show yet, and the
comparison would undo these.
"""

ENTITIES = ("lead", "customer")
"""The entities that a source may have."""

CHANGES = "changes"
"""The table with the history of leads, projects and customers."""

EARLIER_NAMES: Mapping[str, str] = {"changes": "lead_changes"}
"""Earlier names of tables by their present names: sources and warehouses may still have them."""

CLOSED_STATUSES = ("won", "lost")
"""The project statuses that need the time of the closing: a label cannot use them without it."""
