"""The features and labels of customers once more, as a plain loop over what was known before ``as_of``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tests.dbt.features_oracle import attribute_values
from tests.dbt.random_crm import DAY, Crm

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from models.declaring.attribute import Attribute

MONDAY = datetime(1970, 1, 5, tzinfo=UTC)
FORTNIGHT = 14 * DAY
HOUR = timedelta(hours=1)
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A row of the source, or a part of one, with the moment from which it was known, and when it happened."""

    kind: str
    known: datetime
    row: Row
    happened: datetime

    @property
    def is_purchase(self) -> bool:
        """Whether something was bought."""
        return self.kind == "transactions" and self.row["kind"] == "purchase"

    @property
    def revenue(self) -> float:
        """What the company got or gave back, in hundredths."""
        if self.kind != "transactions" or self.row["amount"] is None or self.row["kind"] == "payment":
            return 0
        size = int(abs(self.row["amount"]) * 100)
        return size if self.is_purchase else -size


def known_facts(crm: Crm) -> dict[str, list[Fact]]:
    """Return the facts of each customer, in the order in which they were known."""
    found: dict[str, list[Fact]] = {}

    def add(kind: str, known: datetime, row: Row, happened: datetime | None = None) -> None:
        if row["customer_id"] is not None:
            fact = Fact(kind=kind, known=known, row=row, happened=happened or known)
            found.setdefault(row["customer_id"], []).append(fact)

    for row in crm["customers"]:
        add("customers", row["created_at"], row)
    for row in crm["transactions"]:
        add("transactions", max(row["occurred_at"], row["recorded_at"] or row["occurred_at"]), row, row["occurred_at"])
    for row in crm["interactions"]:
        if row.get("customer_id") is not None:
            known = max(row["occurred_at"], row["recorded_at"] or row["occurred_at"])
            add("interactions", known, row, row["occurred_at"])
            if row["opened_at"]:
                add("opened", max(row["opened_at"], known), row, row["opened_at"])
    for table, first, last, end in (
        ("tickets", "opened_at", "resolved_at", "resolved"),
        ("offers", "offered_at", "accepted_at", "accepted"),
    ):
        for row in crm[table]:
            add(table, row[first], row)
            if row[last]:
                add(end, row[last], row)
    for row in crm["usage"]:
        add("usage", row["occurred_at"], row)
    keys = {"transactions": "transaction_id"}
    for facts in found.values():
        facts.sort(
            key=lambda fact: (
                fact.known,
                fact.row.get("occurred_at", fact.known),
                str(fact.row[keys[fact.kind]]).encode() if fact.kind in keys else b"",
            )
        )
    return found


def begun(facts: Sequence[Fact]) -> datetime:
    """Return when a customer was known: by its row or its first transaction."""
    return min(fact.known for fact in facts if fact.kind in ("customers", "transactions"))


def closed(crm: Crm, customer_id: str) -> datetime | None:
    """Return when a customer closed."""
    ends: list[datetime] = [row["closed_at"] for row in crm["customers"] if row["customer_id"] == customer_id]
    return ends[0] if ends else None


def has_row(facts: Sequence[Fact], moment: datetime) -> bool:
    """Say whether the row of a customer was known before a moment."""
    return any(fact.kind == "customers" and fact.known < moment for fact in facts)


def observed(crm: Crm, clock: datetime) -> dict[tuple[str, datetime], str]:
    """Return the kind of each observation."""
    found = {}
    for customer_id, facts in known_facts(crm).items():
        moment = MONDAY
        while moment <= clock:
            if moment > begun(facts):
                found[customer_id, moment] = "grid"
            moment += FORTNIGHT
        if clock > begun(facts):
            found[customer_id, clock] = "clock"
    ends = {customer_id: closed(crm, customer_id) or clock for customer_id, _ in found}
    return {key: kind for key, kind in found.items() if key[1] <= ends[key[0]]}


def churned(crm: Crm, clock: datetime, days: int, *, by_closing: bool) -> dict[tuple[str, datetime], int]:
    """Return the label of each matured observation."""
    facts, labels = known_facts(crm), {}
    for customer_id, as_of in observed(crm, clock):
        matures = as_of + days * DAY
        if matures > clock:
            continue
        end = closed(crm, customer_id)
        if by_closing and not has_row(facts[customer_id], matures):
            # only a row tells whether a customer has closed
            continue
        bought = any(
            fact.is_purchase and fact.row["occurred_at"] >= as_of and fact.known < matures
            for fact in facts[customer_id]
        )
        labels[customer_id, as_of] = int(end is not None and as_of <= end < matures) if by_closing else int(not bought)
    return labels


def expected_features(
    crm: Crm, clock: datetime, attributes: Sequence[Attribute] = (), *, by_closing: bool = False
) -> dict[tuple[Any, ...], Row]:
    """Return the row of features of every observation, by customer_id and as_of."""
    facts = known_facts(crm)
    ends = {customer_id: closed(crm, customer_id) for customer_id in facts}
    rows: dict[tuple[Any, ...], Row] = {}
    ranks: dict[datetime, _Ranks] = {}
    for (customer_id, as_of), kind in observed(crm, clock).items():
        at = MONDAY + (as_of - MONDAY) // FORTNIGHT * FORTNIGHT
        if at not in ranks:
            ranks[at] = _Ranks(facts, ends, at, by_closing=by_closing)
        changes = [row for row in crm["changes"] if row.get("customer_id") == customer_id and row["known_at"] < as_of]
        own = _features(facts[customer_id], as_of)
        rows[customer_id, as_of] = {
            "customer_id": customer_id,
            "as_of": as_of,
            "observation_kind": kind,
            "customer_created_at": begun(facts[customer_id]),
            **own,
            **_plan(changes, as_of),
            **attribute_values({"customers": changes}, attributes, as_of),
            "is_active": int(has_row(facts[customer_id], as_of))
            if by_closing
            else int((own["days_since_last_purchase"] or math.inf) <= 90),
            **ranks[at].of(own),
        }
    return rows


def _features(facts: Sequence[Fact], as_of: datetime) -> Row:
    known = [fact for fact in facts if fact.known < as_of]

    def of(condition: Callable[[Fact], bool], first: float = math.inf, last: float = 0) -> list[Fact]:
        """Return the facts that meet a condition, and happened from `first` to `last` days before as_of."""
        return [
            fact
            for fact in known
            if condition(fact)
            and (first == math.inf or fact.happened >= as_of - first * DAY)
            and (last == 0 or fact.happened < as_of - last * DAY)
        ]

    def kind(name: str) -> Callable[[Fact], bool]:
        return lambda fact: fact.kind == name

    def of_kind(name: str) -> Callable[[Fact], bool]:
        return lambda fact: fact.kind == "transactions" and fact.row["kind"] == name

    def is_email(fact: Fact) -> bool:
        return (fact.row["type"], fact.row["direction"]) == ("email", "outbound")

    def used(login: bool) -> Callable[[Fact], bool]:
        return lambda fact: fact.kind == "usage" and (fact.row["metric"] == "login") == login

    def since(chosen: Sequence[Fact]) -> float | None:
        return (as_of - max(fact.happened for fact in chosen)) / DAY if chosen else None

    def trend(condition: Callable[[Fact], bool], days: int, before: int | None = None) -> float:
        before = days if before is None else before
        return len(of(condition, days)) / days - len(of(condition, days + before, days)) / before

    tenure = (as_of - begun(facts)) / DAY
    months = max(tenure / 30, 1)
    bought = of(lambda fact: fact.is_purchase)
    amounts = [int(fact.row["amount"] * 100) for fact in bought if fact.row["amount"] is not None]
    discounts = sum(int((fact.row["discount"] or 0) * 100) for fact in bought)
    refunds = sum(-fact.revenue for fact in known if fact.revenue < 0)
    quantities = [float(fact.row["quantity"]) for fact in bought if fact.row["quantity"] is not None]
    costed = [
        (int(fact.row["amount"] * 100), int(fact.row["cost"] * 100))
        for fact in bought
        if fact.row["amount"] is not None and fact.row["cost"] is not None
    ]
    products = [fact.row["product"] for fact in bought if fact.row["product"] is not None]
    gaps = [later - earlier for earlier, later in pairwise(fact.known for fact in bought)]
    times = sorted(fact.happened for fact in bought)
    span = times[-1] - times[0] if times else timedelta()
    seconds = [gap // timedelta(seconds=1) for gap in gaps]
    emails = of(lambda fact: fact.kind == "interactions" and is_email(fact))
    opened = of(lambda fact: fact.kind == "opened" and is_email(fact))
    tickets, resolved, offers = of(kind("tickets")), of(kind("resolved")), of(kind("offers"))
    uses, logins = of(used(login=False)), of(used(login=True))
    spent = sum(fact.revenue for fact in known)
    first_usage = min((fact.known for fact in (*uses, *logins)), default=None)
    last = bought[-1].row if bought else None
    is_bought, is_paid = (lambda fact: fact.is_purchase), of_kind("payment")

    def revenue(first: int, last: int = 0) -> int:
        return int(sum(fact.revenue for fact in of(lambda _: True, first, last)))

    return {
        **{f"purchases_count_{days}d": len(of(is_bought, days)) for days in (30, 90, 365)},
        "total_purchases": len(bought),
        **{f"revenue_{days}d": revenue(days) / 100 for days in (30, 90, 365)},
        "total_spent": spent / 100,
        "average_purchase_value": sum(amounts) / len(amounts) / 100 if amounts else None,
        "last_purchase_value": last and last["amount"],
        "largest_purchase_value": max(amounts) / 100 if amounts else None,
        "purchase_frequency": len(bought) / months,
        "spending_per_month": spent / 100 / months,
        "purchases_trend_60d": trend(is_bought, 30),
        "purchases_trend_180d": trend(is_bought, 90),
        "revenue_trend_180d": (revenue(90) - revenue(180, 90)) / 9000,
        "quantity_per_purchase": sum(quantities) / len(quantities) if quantities else None,
        "products_owned": len(set(products)),
        "top_product_share_lifetime": max(map(products.count, products)) / len(products) if products else None,
        "last_channel": last and (last["channel"] or "unknown"),
        "discount_share_lifetime": _share(discounts, sum(amounts) + discounts) if amounts else None,
        "margin_share_lifetime": _share(sum(a - c for a, c in costed), sum(a for a, _ in costed)),
        "refunds_count_lifetime": len(of(of_kind("refund"))),
        "refund_share_lifetime": _share(refunds, sum(amounts)),
        "days_since_last_refund": since(of(of_kind("refund"))),
        "chargebacks_count_lifetime": len(of(of_kind("chargeback"))),
        "payments_count_90d": len(of(is_paid, 90)),
        "days_since_last_payment": since(of(is_paid)),
        "tenure_days": tenure,
        "days_since_first_purchase": (as_of - times[0]) / DAY if times else None,
        "days_since_last_purchase": since(bought),
        "avg_purchase_gap_days": span / DAY / len(gaps) if gaps else None,
        "sd_purchase_gap_days": _deviation(seconds) / 86400 if len(seconds) > 1 else None,
        "last_purchase_gap_days": gaps[-1] / DAY if gaps else None,
        "longest_purchase_gap_days": max(gaps) / DAY if gaps else None,
        "gaps_since_last_purchase": (as_of - times[-1]) * len(gaps) / span if gaps and span else None,
        "emails_sent_count_90d": len(of(lambda fact: fact.kind == "interactions" and is_email(fact), 90)),
        "emails_opened_count_90d": len(of(lambda fact: fact.kind == "opened" and is_email(fact), 90)),
        "email_open_rate": _share(len(opened), len(emails)),
        "is_engaged": int(len(opened) > len(emails) / 2),
        "days_since_last_email_opened": since(opened),
        "contacts_count_90d": len(
            of(lambda fact: fact.kind == "interactions" and fact.row["direction"] != "internal", 90)
        ),
        "days_since_last_inbound": since(
            of(lambda fact: fact.kind == "interactions" and fact.row["direction"] == "inbound")
        ),
        "offers_count_90d": len(of(kind("offers"), 90)),
        "offers_count_lifetime": len(offers),
        "offer_acceptance_rate": _share(len(of(kind("accepted"))), len(offers)),
        "days_since_last_offer": since(offers),
        **{f"tickets_count_{days}d": len(of(kind("tickets"), days)) for days in (30, 90)},
        "tickets_count_lifetime": len(tickets),
        "open_tickets_count": len(tickets) - len(resolved),
        "avg_resolution_hours": sum((fact.known - fact.row["opened_at"] for fact in resolved), timedelta())
        / HOUR
        / len(resolved)
        if resolved
        else None,
        "days_since_last_ticket": since(tickets),
        "support_interaction_rate": _share(len(tickets), len(tickets) + len(bought)),
        **{f"logins_count_{days}d": len(of(used(login=True), days)) for days in (7, 30, 90)},
        **{f"uses_count_{days}d": len(of(used(login=False), days)) for days in (30, 90)},
        "days_since_last_login": since(logins),
        "login_frequency": len(logins) / months,
        "logins_trend_30d": trend(used(login=True), 7, 23),
        "logins_trend_60d": trend(used(login=True), 30),
        "logins_trend_180d": trend(used(login=True), 90),
        "uses_trend_60d": trend(used(login=False), 30),
        "usage_quantity_30d": sum(int((fact.row["quantity"] or 0) * 100) for fact in of(used(login=False), 30)) / 100,
        "feature_usage_normalized": len(of(used(login=False), 30))
        * max((as_of - first_usage) / DAY / 30, 1)
        / len(uses)
        if uses and first_usage
        else None,
    }


def _plan(changes: Sequence[Row], as_of: datetime) -> Row:
    at: dict[datetime, Any] = {}
    for row in sorted(changes, key=lambda row: (row["known_at"], row["change_id"].encode())):
        if row["column_name"] == "plan":
            at[row["known_at"]] = row["value"]
    taken: list[tuple[datetime, Any]] = []
    for known, value in at.items():
        if value != (taken[-1][1] if taken else None):
            taken.append((known, value))
    plan = taken[-1][1] if taken else None
    return {
        "plan_as_of": plan,
        "plan_changes_count_lifetime": max(len(taken) - 1, 0),
        "days_since_last_plan_change": None if plan is None else (as_of - taken[-1][0]) / DAY,
    }


class _Ranks:
    """What customers are compared with, as known at a moment of the grid."""

    def __init__(
        self, facts: dict[str, list[Fact]], ends: dict[str, datetime | None], at: datetime, *, by_closing: bool
    ) -> None:
        self.spent: list[float] = []
        self.active: list[tuple[float, int, float]] = []
        for customer_id, own in facts.items():
            if begun(own) >= at:
                continue
            known = [fact for fact in own if fact.known < at]
            spent = sum(fact.revenue for fact in known) / 100
            self.spent.append(spent)
            bought = [fact.happened for fact in known if fact.is_purchase]
            if not bought:
                continue
            end, days = ends[customer_id], (at - max(bought)) / DAY
            if (has_row(own, at) and (end is None or end >= at)) if by_closing else days <= 90:
                self.active.append((days, len(bought), spent))

    def of(self, own: Row) -> Row:
        """Return the ranks of a customer."""
        days, count, spent = (own[name] for name in ("days_since_last_purchase", "total_purchases", "total_spent"))
        scores: list[int | None] = [None, None, None]
        if self.active and days is not None:
            latest, most, dearest = (sorted(values) for values in zip(*self.active, strict=True))
            scores = [
                1 + sum(-days > cut for cut in _cuts([-each for each in reversed(latest)])),
                1 + sum(count > cut for cut in _cuts(most)),
                1 + sum(spent > cut for cut in _cuts(dearest)),
            ]
        r, f, m = scores
        return {
            "is_high_value": int(bool(self.spent) and spent > _at(sorted(self.spent), 0.75)),
            "recency_score": r,
            "frequency_score": f,
            "monetary_score": m,
            "recency_frequency": r and f and r * f,
            "recency_monetary": r and m and r * m,
            "frequency_monetary": f and m and f * m,
            "rfm_segment": _segment(r, f, m) if r and f and m else "unranked" if count else "no_purchase",
        }


def _cuts(values: Sequence[float]) -> list[float]:
    return [_at(values, share) for share in (0.2, 0.4, 0.6, 0.8)]


def _at(values: Sequence[float], share: float) -> float:
    """Return the first value up to which at least a share of all lies."""
    return values[max(math.ceil(round(share * len(values), 9)), 1) - 1]


def _segment(r: int, f: int, m: int) -> str:
    if r >= 3:
        if r >= 4 and min(f, m) >= 4:
            return "champions"
        if f >= 4:
            return "loyal"
        return "new" if r >= 4 and f == 1 else "promising"
    if min(f, m) >= 4:
        return "cannot_lose"
    return "at_risk" if max(f, m) >= 3 else "hibernating"


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _deviation(values: Sequence[int]) -> float:
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
