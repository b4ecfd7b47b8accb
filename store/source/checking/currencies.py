"""The currency of amounts: those in another one are converted by the rates of the mapping, or the extraction stops."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from duckdb import DuckDBPyConnection

from store.source.checking.numbers import times
from store.source.checking.validation import Validated
from store.source.contract import TABLES, SourceContractError
from store.source.mapping.spellings import Currency
from store.sql import literal

PROJECTS = TABLES["projects"]

AMOUNTS = tuple(column.name for column in PROJECTS.columns if column.kind == "number")


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
    """Convert the amounts in ``typed_projects`` to one currency; the column ``currency`` stays as it is.

    Parameters
    ----------
    connection : DuckDBPyConnection
        The scratch database, with ``typed_projects`` (where the source has projects) and ``known_projects``.
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
    place = validated["projects"].place if "projects" in validated else "projects"
    found, without = _rows(connection, is_read="projects" in validated)
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
    for code, rate in stated.rates.items() if stated is not None and "projects" in validated else ():
        multiplied = ", ".join(f"{name} = {times(name, rate)}" for name in AMOUNTS)
        connection.execute(
            f"update typed_projects set {multiplied} where check_no is null and currency = {literal(code)}"
        )
    return Converted(currency=currency, sentences=tuple(_sentences(currency, stated, found, without, validated)))


def _rows(connection: DuckDBPyConnection, *, is_read: bool) -> tuple[dict[str, int], int]:
    """Count the rows with an amount, read or only stored: by currency, the most frequent first; and without one."""
    bits = sum(1 << PROJECTS.column_names[1:].index(name) for name in AMOUNTS)
    accepted = "(select * from typed_projects where check_no is null)"
    stored = f"select currency from known_projects k where filled & {bits} <> 0"
    rows = stored
    if is_read:
        rows = (
            f"select currency from {accepted} where coalesce({', '.join(AMOUNTS)}) is not null "
            f"union all {stored} and {PROJECTS.key} not in (select {PROJECTS.key} from {accepted})"
        )
    counted = connection.execute(f"select currency, count(*) from ({rows}) group by 1 order by 2 desc, 1").fetchall()
    found = dict(counted)
    return found, found.pop(None, 0)


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
    found: Mapping[str, int],
    without: int,
    validated: Mapping[str, Validated],
) -> Iterator[str]:
    if currency is None:
        return
    for code, rate in {} if stated is None else stated.rates.items():
        if code in found:
            yield (
                f"projects: in {_counted(found[code])} with amounts in {code}, 1 {code} counts as {rate:f} {currency}, "
                "at all times (currency, in the mapping)."
            )
        else:
            yield f"The mapping's rate of {code} (currency) is not used: no project with an amount has it."
    if without:
        yield f"projects: amounts without a currency, in {_counted(without)}, count as {currency}."
    if validated["leads"].binding.forms["property_value"] is not None:
        yield f"leads.property_value has no currency: it counts as {currency}."
