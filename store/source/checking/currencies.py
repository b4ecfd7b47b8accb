"""The currency of amounts: those in another one are converted by the rates of the mapping, or the extraction stops."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from duckdb import DuckDBPyConnection

from store.source.checking.numbers import times
from store.source.checking.validation import Validated
from store.source.contract import AMOUNTS, TABLES, SourceContractError
from store.source.mapping.spellings import Currency
from store.sql import literal


@dataclass(frozen=True, kw_only=True)
class Converted:
    """The amounts of an extraction, all in one currency.

    Attributes
    ----------
    currency : str or None
        None if the source tells none.
    sentences : tuple of str
        Sentences about assumptions.
    """

    currency: str | None
    sentences: tuple[str, ...]


def convert(
    connection: DuckDBPyConnection, stated: Currency | None, validated: Mapping[str, Validated], before: str | None
) -> Converted:
    """Convert the amounts of projects and transactions to one currency; the column ``currency`` stays as it is.

    Parameters
    ----------
    connection : DuckDBPyConnection
        The scratch database, with ``typed_<table>`` (where the source has it) and ``known_<table>``.
    stated : Currency or None
        As in the mapping.
    validated : mapping of str to Validated
        By contract table.
    before : str or None
        The currency of the stored amounts.

    Raises
    ------
    SourceContractError
        If there are several currencies and the mapping does not say how to convert each; or if the stored amounts are
        in another currency, in which models have learnt what they predict.
    """
    places = [validated[name].place for name in AMOUNTS if name in validated]
    place = " and ".join(dict.fromkeys(places)) or next(iter(AMOUNTS))
    by_table = {name: _rows(connection, name, is_read=name in validated) for name in AMOUNTS}
    without = {name: rows.pop("", 0) for name, rows in by_table.items()}
    total = sum(map(Counter, by_table.values()), Counter[str]())
    found = dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))
    if stated is None and len(found) > 1:
        main = before if before in found else next(iter(found))
        others = [code for code in found if code != main]
        raise SourceContractError(_refusal(place, found, "one currency", main, {}, others))
    if stated is not None and (others := [code for code in found if code not in {stated.main, *stated.rates}]):
        expected = f"a rate in {stated.main} for each other currency"
        raise SourceContractError(_refusal(place, found, expected, stated.main, stated.rates, others))
    currency = next(iter(found), None) if stated is None else stated.main
    if before is not None and currency != before:
        raise SourceContractError(
            f"{place}: expected amounts in {before}, in which the models of this home have learnt amounts, found "
            f"amounts in {currency or 'no known currency'}. Keep it (currency: {{main: {before}}}, in the mapping), or "
            "begin a new home (LEADLINE_HOME)."
        )
    rates = {} if stated is None else stated.rates
    for table, code in ((table, code) for table in AMOUNTS if table in validated for code in rates):
        multiplied = ", ".join(f"{name} = {times(name, rates[code])}" for name in AMOUNTS[table])
        connection.execute(
            f"update typed_{table} set {multiplied} where check_no is null and currency = {literal(code)}"
        )
    return Converted(currency=currency, sentences=tuple(_sentences(currency, stated, by_table, without, validated)))


def _rows(connection: DuckDBPyConnection, table: str, *, is_read: bool) -> dict[str, int]:
    """Count the rows with an amount, read or only stored, by currency; those without one under an empty text."""
    key, columns = TABLES[table].key, TABLES[table].column_names[1:]
    bits = sum(1 << columns.index(name) for name in AMOUNTS[table])
    accepted = f"(select * from typed_{table} where check_no is null)"
    stored = f"select currency from known_{table} k where filled & {bits} <> 0"
    rows = stored
    if is_read:
        rows = (
            f"select currency from {accepted} where coalesce({', '.join(AMOUNTS[table])}) is not null "
            f"union all {stored} and {key} not in (select {key} from {accepted})"
        )
    counted = f"select coalesce(currency, ''), count(*) from ({rows}) group by 1"
    return dict(connection.execute(counted).fetchall())


def _refusal(
    place: str, found: Mapping[str, int], expected: str, main: str, rates: Mapping[str, object], others: list[str]
) -> str:
    counts = ", ".join(f"{code} in {_counted(rows)}" for code, rows in found.items())
    listed = {**{code: f"{rate:f}" for code, rate in rates.items()}, **dict.fromkeys(others, "…")}
    lines = ", ".join(f"{code}: {rate}" for code, rate in listed.items())
    return (
        f"{place}: expected amounts with {expected}, found {counts}; write into the mapping, with what one unit of "
        f"each currency is worth in the main one:\ncurrency:\n  main: {main}\n  rates: {{{lines}}}"
    )


def _counted(rows: int) -> str:
    return f"{rows:,} row{'' if rows == 1 else 's'}"


def _sentences(
    currency: str | None,
    stated: Currency | None,
    by_table: Mapping[str, Mapping[str, int]],
    without: Mapping[str, int],
    validated: Mapping[str, Validated],
) -> Iterator[str]:
    if currency is None:
        return
    for code, rate in {} if stated is None else stated.rates.items():
        for table, found in by_table.items():
            if code in found:
                yield (
                    f"{table}: in {_counted(found[code])} with amounts in {code}, 1 {code} counts as {rate:f} "
                    f"{currency}, at all times (currency, in the mapping)."
                )
        if all(code not in found for found in by_table.values()):
            yield f"The mapping's rate of {code} (currency) is not used: no row with an amount has it."
    for table, rows in without.items():
        if rows:
            yield f"{table}: amounts without a currency, in {_counted(rows)}, count as {currency}."
    for table, column in (("leads", "property_value"), ("offers", "cost")):
        if table in validated and validated[table].binding.forms[column] is not None:
            yield f"{table}.{column} has no currency: it counts as {currency}."
