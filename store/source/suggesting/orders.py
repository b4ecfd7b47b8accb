"""The mapping of a table of orders without leads: its rows are transactions, and those who order are customers."""

from store.source.suggesting.columns import is_time_of_row, key_of, may_be_time, outcomes_of
from store.source.suggesting.evidence import Column, Profile, Table
from store.source.suggesting.lines import TableLines, counted, has_words, is_amount, is_free_text, unique
from store.source.suggesting.names import is_out, role_of, singular
from store.source.suggesting.suggestion import Draft
from store.source.suggesting.vocabulary import ORDERS, REQUESTS, spoken
from store.source.values.currencies import CURRENCIES

REPEATED = 1.2
"""Rows per customer from which a column names who orders, and not the row itself."""

OTHERS = ("interactions", "appointments", "projects")


def orders_of(profile: Profile) -> Table | None:
    """Return the table of orders of a source that tells of no leads; None if there is none, or another reading."""
    tables = [table for name, table in profile.tables.items() if table.rows and not is_out(name)]
    named = [table for table in tables if _is_named(table)]
    others = [table for table in tables if table not in named]
    roles = [role for table in others if (role := role_of(table.name)) is not None]
    if any(outcomes_of(table) is not None for table in tables) or any(
        role in OTHERS or word in REQUESTS for role, word in roles
    ):
        return None
    found = [table for table in (named or tables if len(tables) == 1 else named) if _columns(table) is not None]
    return found[0] if len(found) == 1 else None


def _is_named(table: Table) -> bool:
    words = spoken(table.name).split("_")
    return bool(ORDERS & {*words, *map(singular, words)})


def _columns(table: Table) -> tuple[Column, Column, Column] | None:
    """Return who orders, when, and for how much; None if that does not stand in the table."""
    lines = TableLines("transactions", table, Draft({}))
    customer = lines.find("customer_id", lambda each: not may_be_time(each) and each.distinct * REPEATED <= each.filled)
    time = lines.find("occurred_at", may_be_time)
    times = [each for each in table.columns.values() if is_time_of_row(each, table)]
    amount = lines.find("amount", is_amount)
    if customer is None or amount is None or (time is None and len(times) != 1):
        return None
    return customer[0], times[0] if time is None else time[0], amount[0]


def orders_lines(table: Table, profile: Profile, draft: Draft) -> None:
    """Add the lines of a table of orders."""
    columns = _columns(table)
    if columns is None:
        raise AssertionError(f"{table.name} was taken for a table of orders")
    customer, time, amount = columns
    lines = TableLines("transactions", table, draft)
    lines.line("table", table.name, f"{counted(table.rows, 'row')} that name who bought, when and for how much", "sure")
    key = key_of(table, profile)
    if key is not None and key != customer.name:
        lines.take("transaction_id", table.columns[key], unique(table, table.columns[key]), "sure")
    else:
        draft.notes.append(f"{table.name} has no key: one is made of customer, time, amount and product.")
    named = f"{counted(customer.distinct, 'customer')} in {counted(customer.filled, 'row')}"
    lines.take("customer_id", customer, named, "likely")
    lines.take("occurred_at", time, lines.of_time(time), "likely")
    lines.take("amount", amount, lines.of_number(amount), "likely")
    if (kind := lines.find("kind", has_words("transactions", "kind"))) is not None:
        lines.vocabulary("kind", kind[0])
    for name in ("quantity", "cost", "discount"):
        lines.number(name)
    lines.text(
        "currency", lambda column: bool(column.words) and {word.upper() for word, _ in column.words} <= {*CURRENCIES}
    )
    lines.text("product", lambda column: not is_free_text(column))
    lines.text("channel")
    lines.finish()
    draft.notes.append("Nothing here tells of leads, so the customers are what models are about.")
