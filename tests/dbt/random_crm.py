"""A small random CRM with what point-in-time code gets wrong: ties, midnights, late records, later answers."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from models.declaring.attribute import SEPARATOR, Attribute

if TYPE_CHECKING:
    from collections.abc import Mapping

Crm = dict[str, list[dict[str, Any]]]

COLUMNS: Mapping[str, Mapping[str, str]] = {
    "leads": {
        "lead_id": "text",
        "source": "text",
        "created_at": "timestamptz",
        "assigned_to": "text",
        "property_value": "decimal(18, 2)",
        "zip_code": "text",
        "status": "text",
        "updated_at": "timestamptz",
    },
    "interactions": {
        "interaction_id": "text",
        "lead_id": "text",
        "customer_id": "text",
        "type": "text",
        "direction": "text",
        "occurred_at": "timestamptz",
        "recorded_at": "timestamptz",
        "performed_by": "text",
        "outcome": "text",
        "opened_at": "timestamptz",
        "responded_at": "timestamptz",
    },
    "appointments": {
        "appointment_id": "text",
        "lead_id": "text",
        "booked_at": "timestamptz",
        "scheduled_at": "timestamptz",
        "status": "text",
        "ended_at": "timestamptz",
        "rescheduled_from": "text",
    },
    "projects": {
        "project_id": "text",
        "lead_id": "text",
        "value": "decimal(18, 2)",
        "cost": "decimal(18, 2)",
        "status": "text",
        "proposed_at": "timestamptz",
        "closed_at": "timestamptz",
        "expected_close_at": "timestamptz",
        "stage": "text",
    },
    "customers": {
        "customer_id": "text",
        "lead_id": "text",
        "created_at": "timestamptz",
        "plan": "text",
        "closed_at": "timestamptz",
        "updated_at": "timestamptz",
    },
    "transactions": {
        "transaction_id": "text",
        "customer_id": "text",
        "occurred_at": "timestamptz",
        "recorded_at": "timestamptz",
        "kind": "text",
        "amount": "decimal(18, 2)",
        "cost": "decimal(18, 2)",
        "discount": "decimal(18, 2)",
        "quantity": "decimal(18, 2)",
        "currency": "text",
        "product": "text",
        "channel": "text",
    },
    "tickets": {
        "ticket_id": "text",
        "customer_id": "text",
        "opened_at": "timestamptz",
        "resolved_at": "timestamptz",
        "kind": "text",
    },
    "usage": {
        "usage_id": "text",
        "customer_id": "text",
        "occurred_at": "timestamptz",
        "metric": "text",
        "quantity": "decimal(18, 2)",
    },
    "offers": {
        "offer_id": "text",
        "customer_id": "text",
        "offered_at": "timestamptz",
        "kind": "text",
        "cost": "decimal(18, 2)",
        "assigned": "text",
        "accepted_at": "timestamptz",
    },
    "changes": {
        "change_id": "text",
        "lead_id": "text",
        "column_name": "text",
        "value": "text",
        "changed_at": "timestamptz",
        "project_id": "text",
        "customer_id": "text",
        "known_at": "timestamptz",
        "origin": "text",
    },
}
"""The columns of schema ``raw`` that the models read, with types that DuckDB and PostgreSQL share."""

START = datetime(2024, 1, 1, tzinfo=UTC)
CLOCK = datetime(2024, 9, 27, 15, 4, 55, 123457, tzinfo=UTC)
DAY = timedelta(days=1)

TYPES = ("call", "email", "sms", "meeting", "web", "proposal", "note")
DIRECTIONS = ("inbound", "outbound", "outbound", "internal")
OUTCOMES = ("reached", "voicemail", "DECLINED", "won't say", None, None, None, None, None, None, None, None)
CLOSING_OUTCOMES = ["DECLINED", "won't say"]
CLOSES: Mapping[str, list[str]] = {
    "closing_outcomes": CLOSING_OUTCOMES,
    "closing_lead_statuses": ["lost", "won't buy"],
    "closing_project_statuses": ["lost"],
}
"""All that may close a lead, beside a won project and silence."""
TIER_VALUES = ("9999.99", "10000.00", "49999.99", "50000.00", "250000.00", "999999.99", "1000000.00")


STAGES = ("contacted", "Contacted", "offer", "won't say", "signed")
OPTIONS = ("Räder", "it's", "a, b", "c")
ATTRIBUTES = tuple(
    Attribute(
        entity=entity,
        prefix=prefix,
        name=kind,
        label=kind,
        kind=kind,
        known="creation",
        options=options,  # type: ignore[arg-type]
    )
    for entity, prefix in (("leads", "attribute"), ("projects", "project"), ("customers", "customer"))
    for kind, options in (
        ("category", ()),
        ("number", ()),
        ("flag", ()),
        ("date", ()),
        ("choices", tuple((option, f"option_{number}") for number, option in enumerate(OPTIONS))),
    )
)
"""An attribute of each kind, of leads, of projects and of customers; all have the same names."""
ATTRIBUTE_FEATURES = [each.variable for one in ATTRIBUTES for each in one.features]


def random_crm(seed: int, *, leads: int = 80) -> Crm:
    """Return the rows of the tables; every row fits the source contract.

    Parameters
    ----------
    seed : int
    leads : int
    """
    rng = random.Random(seed)
    crm: Crm = {table: [] for table in COLUMNS}
    for number in range(leads):
        # upper and lower case sort differently by byte and by the rules of a language
        lead_id = rng.choice(("L", "l")) + str(number)
        created = _moment(rng, START, START + 200 * DAY)
        tier = rng.choice((None, rng.choice(TIER_VALUES), f"{rng.uniform(0, 2e6):.2f}"))
        crm["leads"].append(
            {
                "lead_id": lead_id,
                "source": rng.choice(("web", "referral", "ads")),
                "created_at": created,
                "assigned_to": rng.choice(("R1", "R2", None)),
                "property_value": None if tier is None else Decimal(tier),
                "zip_code": rng.choice((None, "1011", "10999", "04109", "SW1A 1AA", "7")),
                "status": rng.choice(("new", "won", "lost")),
                "updated_at": CLOCK,
            }
        )
        end = created + rng.choice((20, 60, 150)) * DAY
        for _ in range(rng.choice((0, 3, 10, 30))):
            crm["interactions"].append(_interaction(rng, crm, lead_id, created, end))
        for _ in range(rng.choice((0, 0, 1, 3))):
            crm["appointments"].append(_appointment(rng, crm, lead_id, created, end))
        for _ in range(rng.choice((0, 0, 1, 3))):
            crm["projects"].append(_project(rng, crm, lead_id, created, end))
        for column in ("status", "assigned_to", "property_value", "zip_code"):
            for _ in range(rng.choice((0, 1, 1, 2, 5))):
                crm["changes"].append(_change(rng, crm, lead_id, column, created, end))
    _add_histories(random.Random(seed + 1), crm)
    _add_customers(random.Random(seed + 2), crm, leads // 2)
    return crm


PRODUCTS = ("Basic", "basic", "pro & co", None)
PLANS = ("S", "M", "m", None)


def _add_customers(rng: random.Random, crm: Crm, number: int) -> None:
    """Add customers with all that they do; a third have no row, and some a row after their first transaction."""
    for place in range(number):
        customer_id = rng.choice(("C", "c")) + str(place)
        created = _moment(rng, START, START + 200 * DAY)
        end = created + rng.choice((20, 60, 150)) * DAY
        has_row = rng.random() < 0.67
        for count in range(rng.choice((0, 1, 3, 8, 20)) if has_row else rng.choice((1, 3, 8))):
            crm["transactions"].append(_transaction(rng, crm, customer_id, created, end, is_first=not count))
        if has_row:
            born = created + rng.choice((0, 0, 0, 9)) * DAY
            closed = _moment(rng, max(born, end), max(born, end) + 60 * DAY)
            crm["customers"].append(
                {
                    "customer_id": customer_id,
                    "lead_id": rng.choice((None, rng.choice(crm["leads"])["lead_id"])),
                    "created_at": born,
                    "plan": rng.choice(PLANS),
                    "closed_at": rng.choice((None, closed)),
                    "updated_at": CLOCK,
                }
            )
            _add_customer_history(rng, crm, customer_id, created, end)
        for _ in range(rng.choice((0, 3, 10))):
            row = _interaction(rng, crm, None, created, end)
            # one in ten belongs to a lead as well
            other = rng.choice(crm["leads"])["lead_id"] if rng.random() < 0.1 else None
            if rng.random() < 0.7:
                row |= {"type": "email", "direction": "outbound"}
            crm["interactions"].append({**row, "lead_id": other, "customer_id": customer_id})
        for _ in range(rng.choice((0, 0, 1, 4))):
            opened = _moment(rng, created, end)
            resolved = rng.choice((None, opened, _moment(rng, opened, opened + 20 * DAY)))
            crm["tickets"].append(
                {"ticket_id": f"T{len(crm['tickets'])}", "customer_id": customer_id, "opened_at": opened}
                | {"resolved_at": resolved, "kind": rng.choice(("bill", None))}
            )
        for _ in range(rng.choice((0, 0, 20, 60))):
            metric = rng.choice(("login", "login", "report"))
            quantity = rng.choice((None, Decimal(f"{rng.uniform(0, 50):.2f}")))
            crm["usage"].append(
                {"usage_id": f"U{len(crm['usage'])}", "customer_id": customer_id, "metric": metric}
                | {"occurred_at": _moment(rng, created - 2 * DAY, end), "quantity": quantity}
            )
        for _ in range(rng.choice((0, 0, 1, 3))):
            offered = _moment(rng, created, end)
            crm["offers"].append(
                {"offer_id": f"O{len(crm['offers'])}", "customer_id": customer_id, "offered_at": offered}
                | {
                    "kind": rng.choice(("cheaper", None)),
                    "cost": Decimal(5),
                    "assigned": rng.choice(("random", "rule")),
                }
                | {"accepted_at": rng.choice((None, offered, _moment(rng, offered, offered + 9 * DAY)))}
            )


def _transaction(
    rng: random.Random, crm: Crm, customer_id: str, start: datetime, end: datetime, *, is_first: bool
) -> dict[str, Any]:
    earlier = [row["occurred_at"] for row in crm["transactions"] if row["customer_id"] == customer_id]
    occurred = rng.choice(earlier) if earlier and rng.random() < 0.2 else _moment(rng, start, end)
    recorded = rng.choice((None, occurred, occurred - DAY, _moment(rng, occurred, occurred + 6 * DAY)))
    kind = "purchase" if rng.random() < 0.7 else rng.choice(("refund", "payment", "chargeback", "refund"))
    amount = rng.choice((None, *[Decimal(f"{rng.uniform(0, 900):.2f}")] * 6, Decimal("20.00")))
    if amount is not None and kind != "purchase" and rng.random() < 0.5:
        amount = -amount
    return {
        "transaction_id": rng.choice(("x", "X")) + str(len(crm["transactions"])),
        "customer_id": customer_id,
        "occurred_at": start if is_first else occurred,
        "recorded_at": None if is_first else recorded,
        "kind": kind,
        "amount": amount,
        "cost": rng.choice((None, Decimal(f"{rng.uniform(0, 600):.2f}"))),
        "discount": rng.choice((None, None, Decimal("0.00"), Decimal("12.50"))),
        "quantity": rng.choice((None, Decimal("1.00"), Decimal("2.50"))),
        "product": rng.choice(PRODUCTS),
        "channel": rng.choice(("web", "Shop", None)),
    }


def _add_customer_history(rng: random.Random, crm: Crm, customer_id: str, start: datetime, end: datetime) -> None:
    about: dict[str, Any] = {"customer_id": customer_id}
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        earlier = [row["known_at"] for row in crm["changes"] if row.get("customer_id") == customer_id]
        known = rng.choice((start, *earlier)) if rng.random() < 0.3 else _moment(rng, start, end)
        _tell(rng, crm, None, "plan", rng.choice(PLANS), known, **about)
    for column, value in _attribute_values(rng, "customers"):
        _tell(rng, crm, None, column, value, rng.choice((start, _moment(rng, start, CLOCK))), **about)


def _add_histories(rng: random.Random, crm: Crm) -> None:
    """Add the histories of projects, and of the attributes of leads and projects."""
    for row in crm["leads"]:
        for column, value in _attribute_values(rng, "leads"):
            known = rng.choice((row["created_at"], row["created_at"], _moment(rng, row["created_at"], CLOCK)))
            _tell(rng, crm, row["lead_id"], column, value, known)
    for row in crm["projects"]:
        proposed, end = row["proposed_at"], row["closed_at"] or row["proposed_at"] + 60 * DAY
        about = {"project_id": row["project_id"]}
        # the first value counts from the proposal; some change before it, or after the end
        if row["value"] is not None:
            _tell(rng, crm, row["lead_id"], "value", f"{row['value']}", proposed, **about)
        for _ in range(rng.choice((0, 0, 1, 3))):
            at = _moment(rng, proposed - 2 * DAY, end + 5 * DAY)
            value = rng.choice((*[f"{rng.uniform(100, 90000):.2f}"] * 8, "0.00", None))
            _tell(rng, crm, row["lead_id"], "value", value, at, **about)
        for _ in range(rng.choice((0, 1, 3, 6))):
            at = _moment(rng, proposed, end)
            _tell(rng, crm, row["lead_id"], "stage", rng.choice((*STAGES, *STAGES, None)), at, **about)
        for _ in range(rng.choice((0, 1, 3))):
            at = _moment(rng, proposed, end)
            value = rng.choice((*[iso(_moment(rng, proposed, end + 30 * DAY))] * 5, None))
            _tell(rng, crm, row["lead_id"], "expected_close_at", value, at, **about)
        for column, value in _attribute_values(rng, "projects"):
            at = rng.choice((proposed, _moment(rng, proposed - 2 * DAY, end)))
            _tell(rng, crm, row["lead_id"], column, value, at, **about)


def _attribute_values(rng: random.Random, entity: str) -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = []
    for each in (one for one in ATTRIBUTES if one.entity == entity):
        for _ in range(rng.choice((0, 1, 1, 3))):
            value = {
                "category": rng.choice(("Bau", "IT", "it", "söhne & co")),
                "number": rng.choice(("12.5", "-3", "1e3", "0", f"{rng.uniform(-9, 1e6)}")),
                "flag": rng.choice(("true", "false")),
                "date": iso(_moment(rng, START - 900 * DAY, CLOCK + 300 * DAY)),
                "choices": SEPARATOR.join(sorted(rng.sample(OPTIONS, rng.randint(1, 3)))),
            }[each.kind]
            found.append((each.stored, rng.choice((*[value] * 6, None))))
    return found


def _tell(
    rng: random.Random, crm: Crm, lead_id: str | None, column: str, value: str | None, known: datetime, **about: str
) -> None:
    crm["changes"].append(
        {
            "change_id": f"{rng.choice(('t', 'T'))}{len(crm['changes'])}",
            "lead_id": lead_id,
            "column_name": column,
            "value": value,
            "changed_at": known,
            "known_at": known,
            "origin": "source",
            **about,
        }
    )


def iso(moment: datetime) -> str:
    """Return a moment as ``raw.changes`` writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _interaction(rng: random.Random, crm: Crm, lead_id: str | None, start: datetime, end: datetime) -> dict[str, Any]:
    # one in fifty is older than its lead, and half of the others tie with another fact of it
    earlier = [row["occurred_at"] for row in crm["interactions"] if row["lead_id"] == lead_id]
    occurred = rng.choice(earlier) if earlier and rng.random() < 0.2 else _moment(rng, start, end)
    if rng.random() < 0.02:
        occurred = start - 3 * DAY
    recorded = rng.choice((None, occurred, occurred - DAY, *[_moment(rng, occurred, occurred + 6 * DAY)] * 3))
    return {
        "interaction_id": rng.choice(("i", "I")) + str(len(crm["interactions"])),
        "lead_id": lead_id,
        "type": rng.choice(TYPES),
        "direction": rng.choice(DIRECTIONS),
        "occurred_at": occurred,
        "recorded_at": recorded,
        "performed_by": rng.choice(("R1", "R2", None)),
        "outcome": rng.choice(OUTCOMES),
        "opened_at": rng.choice((None, _moment(rng, occurred, occurred + 9 * DAY))),
        "responded_at": rng.choice((None, _moment(rng, occurred, occurred + 20 * DAY))),
    }


def _appointment(rng: random.Random, crm: Crm, lead_id: str, start: datetime, end: datetime) -> dict[str, Any]:
    booked = _moment(rng, start, end)
    ended = rng.choice((None, booked, *[_moment(rng, booked, booked + 25 * DAY)] * 3))
    status = (
        "scheduled" if ended is None else rng.choice(("completed", "completed", "no_show", "cancelled", "rescheduled"))
    )
    return {
        "appointment_id": f"A{len(crm['appointments'])}",
        "lead_id": lead_id,
        "booked_at": booked,
        "scheduled_at": booked + 10 * DAY,
        "status": status,
        "ended_at": ended,
        "rescheduled_from": None,
    }


def _project(rng: random.Random, crm: Crm, lead_id: str, start: datetime, end: datetime) -> dict[str, Any]:
    proposed = _moment(rng, start, end)
    closed = rng.choice((None, proposed, *[_moment(rng, proposed, proposed + 60 * DAY)] * 2))
    return {
        "project_id": f"P{len(crm['projects'])}",
        "lead_id": lead_id,
        "value": rng.choice((None, *[Decimal(f"{rng.uniform(100, 90000):.2f}")] * 4)),
        "cost": None,
        "status": "open" if closed is None else rng.choice(("won", "lost", "lost", "cancelled")),
        "proposed_at": proposed,
        "closed_at": closed,
    }


def _change(rng: random.Random, crm: Crm, lead_id: str, column: str, start: datetime, end: datetime) -> dict[str, Any]:
    # some at the creation, some at one moment with another change of the lead
    earlier = [row["known_at"] for row in crm["changes"] if row["lead_id"] == lead_id]
    known = rng.choice((start, *earlier)) if rng.random() < 0.3 else _moment(rng, start, end)
    value = {
        "status": ("new", "open", "won", None),
        "assigned_to": ("R1", "R2", None),
        "property_value": (*TIER_VALUES, "0.00", "0.00", f"{rng.uniform(0, 2e6):.2f}", None),
        "zip_code": ("1011", "10999", "04109", "SW1A 1AA", None),
    }[column]
    number = len(crm["changes"])
    change_id, chosen = rng.choice(("h", "H")) + str(number), rng.choice(value)
    if chosen == "open" and number % 5 < 2:
        chosen = ("lost", "won't buy")[number % 5]
    return {
        "change_id": change_id,
        "lead_id": lead_id,
        "column_name": column,
        "value": chosen,
        "changed_at": known,
        "known_at": known,
        "origin": "source",
    }


def _moment(rng: random.Random, start: datetime, end: datetime) -> datetime:
    """Return a moment in [start, end + 1 d): a third at midnight, a third at one of few hours, a third anywhere."""
    moment = start + timedelta(microseconds=rng.randint(0, (end - start) // timedelta(microseconds=1)))
    grid = rng.choice((DAY, 6 * timedelta(hours=1), timedelta(microseconds=1)))
    return moment + (START - moment) % grid
