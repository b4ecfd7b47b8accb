"""Amounts in several currencies are converted by stated rates, or stop the extraction; they are never mixed."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from store.source.contract import SourceContractError
from tests.store.source.exports import Extract, Query, Rows, write_csv

if TYPE_CHECKING:
    from pathlib import Path

Export = dict[str, Rows]
AMOUNTS = "select project_id, value, cost, currency from raw.projects order by project_id"


def _mapping(folder: Path, currency: str) -> None:
    (folder / "mapping.yml").write_text(f"name: x\nbased_on: contract\ncurrency: {currency}\n", encoding="utf-8")


def _projects(export: Export, *amounts: tuple[str, str, str]) -> None:
    first: dict[str, Any] = export["projects"][0]
    export["projects"] = [
        first | {"project_id": f"P{number}", "value": value, "cost": cost, "currency": currency}
        for number, (value, cost, currency) in enumerate(amounts, start=1)
    ]


def test_one_currency_is_kept_and_said(export: Export, tmp_path: Path, run: Extract, query: Query) -> None:
    _projects(export, ("10", "", " eur"), ("20", "", "€"), ("30", "", ""), ("40", "", "Taler"), ("", "", "USD"))
    folder = write_csv(tmp_path / "crm", export)
    (folder / "mapping.yml").write_text(
        "name: x\nbased_on: contract\ntables: {projects: {values: {currency: {€: EUR}}}}", encoding="utf-8"
    )
    report = run(folder)
    assert query(AMOUNTS) == [
        ("P1", Decimal(10), None, "EUR"),
        ("P2", Decimal(20), None, "EUR"),
        ("P3", Decimal(30), None, None),
        # a row without an amount adds to no sum
        ("P5", None, None, "USD"),
    ]
    assert query("select key, reason from raw.rejects") == [("P4", "unknown_currency")]
    assert query("select value_currency from raw.extraction") == [("EUR",)]
    assert [each for each in report.assumptions if "EUR" in each] == [
        "projects: amounts without a currency, in 1 row, count as EUR.",
        "leads.property_value has no currency: it counts as EUR.",
    ]


def test_several_currencies_stop_the_extraction_until_the_mapping_has_rates(
    export: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    _projects(export, ("1", "", "USD"), ("1000.01", "7", "USD"), ("1000", "", "EUR"), ("5", "", "GBP"))
    folder = write_csv(tmp_path / "crm", export)
    with pytest.raises(SourceContractError) as refused:
        run(folder)
    assert str(refused.value).endswith(
        "projects.csv: expected amounts with one currency, found USD in 2 rows, EUR in 1 row, GBP in 1 row; write into "
        "the mapping, with what one unit of each currency is worth in the main one:\n"
        "currency:\n  main: USD\n  rates: {EUR: …, GBP: …}"
    )
    _mapping(folder, "{main: eur, rates: {USD: 0.925}}")
    with pytest.raises(SourceContractError, match=r"main: EUR\n  rates: \{USD: 0.925, GBP: …\}"):
        run(folder)

    _mapping(folder, "{main: eur, rates: {USD: 0.925, GBP: 1.2, CHF: 1}}")
    report = run(folder)
    assert query(AMOUNTS) == [
        ("P1", Decimal("0.93"), None, "USD"),
        ("P2", Decimal("925.01"), Decimal("6.48"), "USD"),
        ("P3", Decimal(1000), None, "EUR"),
        ("P4", Decimal(6), None, "GBP"),
    ]
    said = "\n".join(report.assumptions)
    assert "in 2 rows with amounts in USD, 1 USD counts as 0.925 EUR" in said
    assert "rate of CHF (currency) is not used" in said

    # the models of the home have learnt amounts in the main currency
    _mapping(folder, "{main: USD, rates: {EUR: 1.1, GBP: 1.3}}")
    with pytest.raises(SourceContractError, match=r"expected amounts in EUR, .* found amounts in USD. Keep it"):
        run(folder)


def test_a_home_of_an_earlier_state_gets_the_currency(
    export: Export, tmp_path: Path, run: Extract, query: Query
) -> None:
    _projects(export, *[("10", "", "")] * 12)
    folder = write_csv(tmp_path / "crm", export)
    run(folder)
    hashes = query("select project_id, row_hash from raw.projects order by 1")
    with duckdb.connect(str(tmp_path / "home" / "warehouse.duckdb")) as connection:
        connection.execute("alter table raw.projects drop currency")
        connection.execute("alter table raw.extraction drop value_currency")
        # dlt's own memory of the columns
        connection.execute("delete from raw._dlt_version")
    run(folder)
    assert query("select project_id, row_hash from raw.projects order by 1") == hashes
    assert query("select distinct currency from raw.projects") == [(None,)], "the feature store reads it at once"
    _projects(export, *[("10", "", "CHF")] * 12)
    run(write_csv(folder, export))
    assert query("select distinct currency, value_currency from raw.projects, raw.extraction") == [("CHF", "CHF")]


@pytest.mark.parametrize(
    ("currency", "words"),
    [
        ("{main: Euro}", "expected a currency of ISO 4217 such as EUR, found 'Euro'"),
        ("{main: EUR, rates: {EUR: 1}}", "found one of EUR, which is the main one"),
        ("{main: EUR, rates: {USD: 0}}", "expected a number above 0"),
    ],
)
def test_what_is_no_currency_or_rate_is_refused(
    currency: str, words: str, export: Export, tmp_path: Path, run: Extract
) -> None:
    folder = write_csv(tmp_path / "crm", export)
    _mapping(folder, currency)
    with pytest.raises(SourceContractError, match=re.escape(words)):
        run(folder)
