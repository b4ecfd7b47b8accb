"""Customers and what they did as the tables of the CRM, which records nothing after the end, and as the truth."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulation.clientele import Clientele
from simulation.columns import in_order, joined, lead_ids, members, money, numbered, repeated, texts, times, words
from simulation.contacts import contacts
from simulation.customers.days import OFFER_COST, OFFERS, TICKETS, WAYS, Mood
from simulation.customers.deeds import KINDS, METRICS, Deeds
from simulation.customers.people import ATTRIBUTES, CHANNELS, COLOURS, SEGMENTS, People
from simulation.draws import Bools, Floats, Ints
from simulation.engine import Columns
from simulation.world import DAY, NEVER

Tables = dict[str, dict[str, pa.Array]]


def customer_tables(clientele: Clientele, people: People, done: Deeds, end: int, seed: int, *, leads: bool) -> Tables:
    """Return the tables of the CRM.

    Parameters
    ----------
    clientele, people, done
        The parameters, the customers, and what they did.
    end : int
        The end of the export, in microseconds since 1970: nothing later is recorded.
    seed : int
        The seed of the simulation.
    leads : bool
        Whether the export has leads as well, so that customers name them.

    Returns
    -------
    dict of str to dict of arrays
        ``customers``, ``transactions``, ``tickets``, ``usage`` and ``offers``; and what they add to ``interactions``
        and ``changes``. Sorted by customer and time.
    """
    return {
        "customers": _customers(clientele, people, done, end, seed, leads=leads),
        "transactions": _transactions(clientele, people, done.transactions, end),
        "tickets": _tickets(people, done.tickets, end),
        "usage": _usage(people, done.usage),
        "offers": _offers(people, done.offers, end),
        "interactions": _mails(people, done.mails, end),
        "changes": _changes(clientele, people, done, end),
    }


def true_tables(people: People, intent: Floats, done: Deeds, end: int) -> Tables:
    """Return what the CRM does not know: the hidden traits, and the history of the moods."""
    moods = done.moods
    mood = np.zeros(len(people), dtype=np.int64)
    # the days are in their order, so the last mood stays
    mood[moods["row"]] = moods["mood"]
    customers: dict[str, pa.Array] = {
        "customer_id": _ids(people.numbers),
        "created_at": times(people.created),
        "listed": pa.array(people.listed),
        "intent": pa.array(intent, mask=~people.was_lead),
        **{name: pa.array(getattr(people, name)) for name in _HIDDEN},
        "mood": members(Mood, mood),
        "closed_at": times(_before(done.closed, end)),
    }
    return {
        "customers": in_order(pa.table(customers), "customer_id"),
        "moods": in_order(
            pa.table(
                {
                    "customer_id": _ids(people.numbers[moods["row"]]),
                    "since": times(moods["day"] * DAY),
                    "mood": members(Mood, moods["mood"]),
                }
            ),
            "customer_id",
            "since",
        ),
    }


_HIDDEN = ("loyalty", "rate", "spend", "discounts", "login", "ticket", "opens", "sensitivity", "response", "accept")


def _ids(numbers: Ints) -> pa.Array:
    return numbered("C", numbers, 7)


def _before(moments: Ints, end: int) -> Ints:
    return np.where(moments < end, moments, NEVER)


def _chosen(people: People, columns: Columns, time: str, known: Bools) -> Columns:
    """Return the rows that are known, by customer and time."""
    order = np.lexsort((columns[time], people.numbers[columns["row"]]))
    order = order[known[order]]
    return {name: values[order] for name, values in columns.items()}


def _row_ids(prefix: str, people: People, columns: Columns, time: str) -> pa.Array:
    """Return ids for rows of which a customer has one a day."""
    return joined(numbered(prefix, people.numbers[columns["row"]], 7), pa.array(columns[time] // DAY).cast(pa.string()))


def _customers(
    clientele: Clientele, people: People, done: Deeds, end: int, seed: int, *, leads: bool
) -> dict[str, pa.Array]:
    closed = _before(done.closed, end)
    updated = np.where(closed == NEVER, people.created, closed)
    satisfaction, plan = np.full(len(people), -1), people.plan.copy()
    for history, shown in ((done.answers, satisfaction), (done.plans, plan)):
        rows = np.flatnonzero(history["changed"] < end)
        # the days are in their order, so the last value stays
        shown[history["row"][rows]] = history["value"][rows]
        np.maximum.at(updated, history["row"][rows], history["changed"][rows])
    kept = np.flatnonzero(people.listed)
    kept = kept[np.argsort(people.numbers[kept])]
    numbers = people.numbers[kept]
    values = {
        "segment": words(tuple(SEGMENTS), people.segment),
        "sites": pa.array(people.sites),
        "referred": pa.array(people.referred),
        "satisfaction": pa.array(satisfaction, mask=satisfaction < 0),
        "file_colour": words(COLOURS, people.colour),
    }
    columns = {"customer_id": _ids(numbers)}
    if leads:
        columns["lead_id"] = _where(people.was_lead[kept], lead_ids(numbers))
    columns |= {"created_at": times(people.created[kept]), **contacts(numbers, seed)}
    if clientele.contractual:
        columns["plan"] = words(tuple(each.name for each in clientele.plans), plan[kept])
        columns["closed_at"] = times(closed[kept])
    columns |= {each.label: values[each.name].take(pa.array(kept)) for each in ATTRIBUTES}
    return columns | {"updated_at": times(updated[kept])}


def _where(known: Bools, values: pa.Array) -> pa.Array:
    return pc.if_else(pa.array(known), values, pa.scalar(None, values.type))


def _transactions(clientele: Clientele, people: People, columns: Columns, end: int) -> dict[str, pa.Array]:
    known = (columns["recorded"] < end) & (columns["occurred"] < end)
    rows = _chosen(people, columns, "occurred", known)
    kind, channel = rows["kind"], rows["channel"]
    purchase = kind == KINDS.index("purchase")
    returned = (kind == KINDS.index("refund")) | (kind == KINDS.index("chargeback"))
    # the shop writes what it gives back with a minus, the other channels do not
    sign = np.where(returned & (channel == 0), -1.0, 1.0)
    products = tuple(each.name for each in clientele.products) + tuple(f"plan {each.name}" for each in clientele.plans)
    number = pa.array(rows["number"]).cast(pa.string())
    return {
        "transaction_id": joined(_row_ids("T", people, rows | {"bought": rows["day"] * DAY}, "bought"), number),
        "customer_id": _ids(people.numbers[rows["row"]]),
        "occurred_at": times(rows["occurred"]),
        "recorded_at": times(rows["recorded"]),
        "kind": words(KINDS, kind),
        "amount": money(sign * rows["amount"]),
        "cost": money(rows["cost"], ~purchase),
        "discount": money(rows["discount"], ~purchase),
        "quantity": pa.array(rows["quantity"], mask=~purchase),
        "currency": repeated("EUR", len(kind)),
        "product": words(products, rows["product"]),
        "channel": words((*CHANNELS, "contract"), channel),
    }


def _tickets(people: People, columns: Columns, end: int) -> dict[str, pa.Array]:
    rows = _chosen(people, columns, "opened", columns["opened"] < end)
    return {
        "ticket_id": _row_ids("K", people, rows, "opened"),
        "customer_id": _ids(people.numbers[rows["row"]]),
        "opened_at": times(rows["opened"]),
        "resolved_at": times(_before(rows["resolved"], end)),
        "kind": words(TICKETS, rows["kind"]),
    }


def _usage(people: People, columns: Columns) -> dict[str, pa.Array]:
    rows = _chosen(people, columns, "occurred", np.ones(len(columns["row"]), dtype=np.bool_))
    return {
        "usage_id": joined(_row_ids("U", people, rows, "occurred"), pa.array(rows["metric"]).cast(pa.string())),
        "customer_id": _ids(people.numbers[rows["row"]]),
        "occurred_at": times(rows["occurred"]),
        "metric": words(METRICS, rows["metric"]),
        "quantity": pa.array(rows["quantity"]),
    }


def _offers(people: People, columns: Columns, end: int) -> dict[str, pa.Array]:
    rows = _chosen(people, columns, "offered", columns["offered"] < end)
    return {
        "offer_id": _row_ids("O", people, rows, "offered"),
        "customer_id": _ids(people.numbers[rows["row"]]),
        "offered_at": times(rows["offered"]),
        "kind": words(OFFERS, rows["kind"]),
        "cost": money(np.array(OFFER_COST)[rows["kind"]]),
        "assigned": words(WAYS, rows["way"]),
        "accepted_at": times(_before(rows["accepted"], end)),
    }


def _mails(people: People, columns: Columns, end: int) -> dict[str, pa.Array]:
    rows = _chosen(people, columns, "sent", columns["sent"] < end)
    count = len(rows["row"])
    return {
        "interaction_id": _row_ids("M", people, rows, "sent"),
        "customer_id": _ids(people.numbers[rows["row"]]),
        "type": repeated("email", count),
        "direction": repeated("outbound", count),
        "occurred_at": times(rows["sent"]),
        "recorded_at": times(rows["sent"]),
        "performed_by": repeated("system", count),
        "outcome": pa.nulls(count, pa.string()),
        "opened_at": times(_before(rows["opened"], end)),
        "responded_at": times(np.full(count, NEVER)),
    }


def _changes(clientele: Clientele, people: People, done: Deeds, end: int) -> dict[str, pa.Array]:
    """Return the histories of the satisfaction and, with contracts, of the plan, of those who have a row."""
    histories: dict[str, tuple[Columns, tuple[str, ...] | None]] = {"attributes.satisfaction": (done.answers, None)}
    if clientele.contractual:
        histories["plan"] = (done.plans, tuple(each.name for each in clientele.plans))
    told = []
    for column, (history, names) in histories.items():
        known = (history["changed"] < end) & people.listed[history["row"]]
        rows = _chosen(people, history, "changed", known)
        value = pa.array(rows["value"]) if names is None else words(names, rows["value"])
        day = pa.array(rows["changed"] // DAY).cast(pa.string())
        told.append(
            pa.table(
                {
                    "change_id": joined(
                        numbered("H-C", people.numbers[rows["row"]], 7),
                        joined(repeated(column.removeprefix("attributes."), len(day)), day),
                    ),
                    "customer_id": _ids(people.numbers[rows["row"]]),
                    "column_name": repeated(column, len(day)),
                    "value": texts(value),
                    "changed_at": times(rows["changed"]),
                }
            )
        )
    return in_order(pa.concat_tables(told), "customer_id", "changed_at", "change_id")
