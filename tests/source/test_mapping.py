"""Source mappings: which one applies, what it inherits, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from assets.source.contract import TABLES, SourceContractError
from assets.source.mapping import Flag, bind, choose_mapping

if TYPE_CHECKING:
    from pathlib import Path

CONTRACT = {name: list(table.column_names) for name, table in TABLES.items()}
PLAIN = {
    "leads": ["id", "source", "status", "created_at", "assigned_to"],
    "interactions": ["lead_id", "type", "timestamp", "outcome", "direction", "opened", "response_received"],
    "appointments": ["lead_id", "scheduled_at", "completed", "result"],
    "projects": ["lead_id", "value", "status", "closed_at"],
}


def test_resolution_order(tmp_path: Path) -> None:
    """Argument, mapping.yml, the folder's name, the columns."""
    folder = tmp_path / "bpi2012_crm"
    folder.mkdir()
    (path := tmp_path / "other.yml").write_text("name: other\nbased_on: contract\n")
    assert choose_mapping(argument=None, folder=tmp_path, found=CONTRACT).mapping.name == "contract"
    assert choose_mapping(argument=None, folder=tmp_path, found=PLAIN).mapping.name == "plain"
    assert choose_mapping(argument=None, folder=None, found=PLAIN).mapping.name == "plain"
    assert choose_mapping(argument=None, folder=folder, found=CONTRACT).mapping.name == "bpi2012_crm"
    (folder / "mapping.yml").write_text("name: own\nbased_on: plain\n")
    assert choose_mapping(argument=None, folder=folder, found=CONTRACT).mapping.name == "own"
    assert choose_mapping(argument="plain", folder=folder, found=CONTRACT).mapping.name == "plain"
    chosen = choose_mapping(argument=str(path), folder=folder, found=CONTRACT)
    assert (chosen.mapping.name, chosen.reason) == ("other", f"asked for by path: {path}")


def test_none_fits_lists_what_each_misses(tmp_path: Path) -> None:
    """The found columns are listed as well."""
    found = PLAIN | {"leads": ["id", "origin"], "interactions": ["lead_id"]}
    with pytest.raises(SourceContractError) as caught:
        choose_mapping(argument=None, folder=tmp_path, found=found)
    for words in ("contract misses leads.lead_id", "plain misses leads.created_at", "leads (id, origin)"):
        assert words in str(caught.value)


def test_inheritance_refines_single_columns(tmp_path: Path) -> None:
    """What the own mapping does not say stays; a key that it names is not derived."""
    (path := tmp_path / "own.yml").write_text(
        "name: own\nbased_on: plain\nclosing_outcomes: [gone]\ntables:\n  interactions:\n"
        "    columns: {interaction_id: uid, opened_at: {flag: seen, known: {after: occurred_at, hours: 2}}}\n"
        "    values: {type: {brieftaube: note, true: web}}\n"
    )
    chosen = choose_mapping(argument=str(path), folder=None, found={})
    spec = chosen.mapping.tables["interactions"]
    assert spec.id is None
    assert spec.columns["occurred_at"] == "timestamp"
    assert (spec.values["type"]["brieftaube"], spec.values["type"]["true"], spec.values["type"]["phone"]) == (
        "note", "web", "call",
    )  # fmt: skip
    found = {"interactions": ["UID ", *PLAIN["interactions"], "seen"]}
    binding = bind(chosen, TABLES["interactions"], found=found, place="interactions.csv")
    assert binding.forms["interaction_id"] == "UID "
    assert isinstance(flag := binding.forms["opened_at"], Flag)
    assert flag.flag == "seen"
    assert binding.derive_from == ()


def test_optional_columns_of_a_shipped_mapping_may_be_missing() -> None:
    """A plain CRM without opens is a plain CRM; a typing error in one's own mapping is an error."""
    found = PLAIN | {"interactions": ["lead_id", "type", "timestamp", "direction"]}
    chosen = choose_mapping(argument=None, folder=None, found=found)
    binding = bind(chosen, TABLES["interactions"], found=found, place="interactions.csv")
    assert binding.forms["opened_at"] is None


def test_required_column_that_the_mapping_does_not_supply() -> None:
    """The message names table, file, column, what was found, and the remedy."""
    chosen = choose_mapping(argument="contract", folder=None, found={})
    with pytest.raises(SourceContractError) as caught:
        bind(chosen, TABLES["leads"], found={"leads": ["id", "source"]}, place="leads.csv")
    for words in (
        "table leads, leads.csv",
        "required columns lead_id, created_at",
        "columns id, source",
        "mapping.yml",
    ):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "the source mapping is not valid"),
        ("name: x\nbased_on: nothing", "based_on: expected one of bpi2012_crm, contract, plain"),
        (
            "name: x\ntables: {lead: {}}",
            "tables: expected leads, interactions, appointments, projects, lead_changes; found lead",
        ),
        (
            "name: x\ntables: {lead_changes: {values: {value: {a: b}}}}",
            "tables.lead_changes.values: expected change_id, lead_id, column_name; found value",
        ),
        ("name: x\ntables: {leads: {absent: true}}", "the leads table cannot be absent"),
        ("name: x\ntables: {leads: {columns: {phone: tel}}}", "tables.leads.columns: expected lead_id"),
        ("name: x\ntables: {leads: {units: {zip_code: 2}}}", "tables.leads.units: expected property_value"),
        ("name: x\ntables: {leads: {watermark: status}}", "tables.leads.watermark"),
        ("name: x\ntables: {leads: {columns: {updated_at: {flag: u}}, watermark: updated_at}}", "must be a column"),
        ("name: x\ntables: {leads: {columns: {created_at: {flag: u}}}}", "found created_at"),
        ("name: x\ntables: {leads: {columns: {status: {first_of: [a]}}}}", "needs a vocabulary"),
        (
            "name: x\ntables: {projects: {columns: {proposed_at: {substitute: earliest_of, of: [closed_at]}}}}",
            "required",
        ),
        (
            "name: x\ntables: {projects: {columns: {proposed_at: {substitute: earliest_of, of: [value]}}}}",
            "found value",
        ),
        ("name: x\nhorizon_days: {conversion: 0}", "horizon_days"),
        ("name: x\nhorizon_days: {converison: 30}", "expected conversion, next_best_action; found converison"),
    ],
)
def test_invalid_mappings_are_refused(content: str, words: str, tmp_path: Path) -> None:
    """Each with the place in the file."""
    (path := tmp_path / "own.yml").write_text(content)
    with pytest.raises(SourceContractError) as caught:
        choose_mapping(argument=str(path), folder=None, found={})
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_unknown_name_lists_the_shipped_mappings() -> None:
    """A name is neither guessed nor taken for an empty mapping."""
    with pytest.raises(SourceContractError, match="bpi2012_crm, contract, plain"):
        choose_mapping(argument="hubspot", folder=None, found={})
