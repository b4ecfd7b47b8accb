"""Source mappings: which one applies, what it inherits, and what is refused."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from models.declared.registry import DECLARATIONS
from store.source.contract import TABLES, SourceContractError
from store.source.mapping.binding import bind
from store.source.mapping.choosing import choose_mapping
from store.source.mapping.forms import Flag, shipped_names
from store.source.suggesting.shapes import shape_of

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
    assert (
        choose_mapping(argument=None, folder=tmp_path, found=CONTRACT, models=DECLARATIONS).mapping.name == "contract"
    )
    assert choose_mapping(argument=None, folder=tmp_path, found=PLAIN, models=DECLARATIONS).mapping.name == "plain"
    assert choose_mapping(argument=None, folder=None, found=PLAIN, models=DECLARATIONS).mapping.name == "plain"
    assert (
        choose_mapping(argument=None, folder=folder, found=CONTRACT, models=DECLARATIONS).mapping.name == "bpi2012_crm"
    )
    # a folder of that name may hold something else
    for name in ("deals", "plain"):
        (other := tmp_path / name).mkdir()
        chosen = choose_mapping(argument=None, folder=other, found=CONTRACT, models=DECLARATIONS)
        assert chosen.mapping.name == "contract"
        # as make map says
        assert shape_of(CONTRACT, name, DECLARATIONS) is None
    (folder / "mapping.yml").write_text("name: own\nbased_on: plain\n")
    assert choose_mapping(argument=None, folder=folder, found=CONTRACT, models=DECLARATIONS).mapping.name == "own"
    assert choose_mapping(argument="plain", folder=folder, found=CONTRACT, models=DECLARATIONS).mapping.name == "plain"
    chosen = choose_mapping(argument=str(path), folder=folder, found=CONTRACT, models=DECLARATIONS)
    assert (chosen.mapping.name, chosen.reason) == ("other", f"asked for by path: {path}")


def test_none_fits_lists_what_each_misses(tmp_path: Path) -> None:
    """The found columns are listed as well."""
    found = PLAIN | {"leads": ["id", "origin"], "interactions": ["lead_id"]}
    with pytest.raises(SourceContractError) as caught:
        choose_mapping(argument=None, folder=tmp_path, found=found, models=DECLARATIONS)
    for words in ("contract misses leads.lead_id", "plain misses leads.created_at", "leads (id, origin)"):
        assert words in str(caught.value)


def test_inheritance_refines_single_columns(tmp_path: Path) -> None:
    """What the own mapping does not say stays; a key that it names is not derived."""
    (path := tmp_path / "own.yml").write_text(
        "name: own\nbased_on: plain\nclosing_outcomes: [gone]\ntables:\n  interactions:\n"
        "    columns: {interaction_id: uid, opened_at: {flag: seen, known: {after: occurred_at, hours: 2}}}\n"
        "    values: {type: {brieftaube: note, true: web}}\n"
    )
    chosen = choose_mapping(argument=str(path), folder=None, found={}, models=DECLARATIONS)
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
    chosen = choose_mapping(argument=None, folder=None, found=found, models=DECLARATIONS)
    binding = bind(chosen, TABLES["interactions"], found=found, place="interactions.csv")
    assert binding.forms["opened_at"] is None


def test_required_column_that_the_mapping_does_not_supply() -> None:
    """The message names table, file, column, what was found, and the remedy."""
    chosen = choose_mapping(argument="contract", folder=None, found={}, models=DECLARATIONS)
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
        ("name: x\nbased_on: nothing", f"line 2, based_on: expected one of {', '.join(shipped_names())} (a"),
        (
            "name: x\ntables: {lead: {}}",
            f"line 2, tables.lead: expected one of {', '.join(TABLES)}, found 'lead'. Write 'leads', if that is meant.",
        ),
        (
            "name: x\ntables: {changes: {values: {value: {a: b}}}}",
            "tables.changes.values.value: expected one of change_id, lead_id, column_name, project_id, customer_id (a "
            "text), found 'value'",
        ),
        (
            "name: x\ntables: {leads: &no {absent: true}, customers: *no, transactions: *no}",
            "expected a table of leads or of customers (customers or transactions), found that all are absent",
        ),
        ("name: x\ntables: {leads: {columns: {phone: tel}}}", "tables.leads.columns.phone: expected one of lead_id"),
        (
            "name: x\ntables: {leads: {units: {zip_code: 2}}}",
            "tables.leads.units.zip_code: expected one of property_value",
        ),
        ("name: x\ntables: {leads: {watermark: status}}", "tables.leads.watermark"),
        (
            "name: x\ntables: {leads: {columns: {updated_at: {flag: u}}, watermark: updated_at}}",
            "found updated_at, which is made by a flag",
        ),
        ("name: x\ntables: {leads: {columns: {created_at: {flag: u}}}}", "found 'created_at'"),
        ("name: x\ntables: {leads: {columns: {status: {first_of: [a]}}}}", "needs a vocabulary"),
        (
            "name: x\ntables: {projects: {columns: {proposed_at: {substitute: earliest_of, of: [closed_at]}}}}",
            "required",
        ),
        (
            "name: x\ntables: {projects: {columns: {proposed_at: {substitute: earliest_of, of: [value]}}}}",
            "expected one of closed_at, expected_close_at, extraction, found 'value'",
        ),
        ("name: x\nhorizon_days: {conversion: 0}", "horizon_days"),
        ("name: x\ntables: {deals: {}}", "found 'deals'. Write 'projects', if that is meant."),
        ("name: x\ntables: {leads: {columns: {zip: a}}}", "found 'zip'. Write 'zip_code', if that is meant."),
        ("name: x\ntables: {leads: {units: {property_value: 1e18}}}", "expected a factor of at most 18 digits"),
        ("name: x\ntables: {leads: {numbers: {property_value: {strip: [Rs, '.']}}}}", "found '.', which can be part"),
        ("name: x\ntables: {leads: {numbers: {property_value: {strip: [k0]}}}}", "found 'k0', which can be part"),
        ("name: x\ntables: {leads: {times: {created_at: '%d/%m/%Y %'}}}", "it cannot be read: each % needs a letter"),
        ("name: x\ntime_zone: localtime", "expected a time zone of the IANA database"),
        ("name: x\ncloses: {project_status: [Verloren]}", "(statuses of a project that has ended, as the value map"),
        (
            "name: x\nhorizon_days: {converison: 30}",
            f"expected one of {', '.join(DECLARATIONS)}, found 'converison'",
        ),
    ],
)
def test_invalid_mappings_are_refused(content: str, words: str, tmp_path: Path) -> None:
    """Each with the place in the file."""
    (path := tmp_path / "own.yml").write_text(content)
    with pytest.raises(SourceContractError) as caught:
        choose_mapping(argument=str(path), folder=None, found={}, models=DECLARATIONS)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_the_documented_mappings_are_valid(tmp_path: Path) -> None:
    page = Path(__file__).parents[3] / "docs" / "mapping.md"
    blocks = re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1
    (path := tmp_path / "own.yml").write_text(blocks[0])
    (tmp_path / "projects.sql").write_text("select 1")
    mapping = choose_mapping(argument=str(path), folder=None, found={}, models=DECLARATIONS).mapping
    assert {name for name, table in mapping.tables.items() if table.union or table.sql or table.join} == {
        "leads",
        "interactions",
        "projects",
    }


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    """One plain sentence each, with its line, in the order of the file."""
    (path := tmp_path / "own.yml").write_text(
        "nam: x\n"
        "tables:\n"
        "  leads:\n"
        "    colums: {lead_id: id}\n"
        "    columns: {created_at: {flagg: c}, updated_at: [a]}\n"
        "    values: {status: {Won: a, won: b}}\n"
        "    units: {property_value: abc}\n"
        "  projects:\n"
        "    absent: perhaps\n"
        "    values:\n"
        "      status: {Ja: wonn, Nein: open}\n"
        "silence_closes_after_days: 0\n"
        "name: a\n"
        "name: b\n"
    )
    with pytest.raises(SourceContractError) as caught:
        choose_mapping(argument=str(path), folder=None, found={}, models=DECLARATIONS)
    form = (
        "expected the name of a source column, or a form with one of the keys substitute, flag, first_of, absent, "
        "constant, coalesce, concat, date, latest, earliest, split, cases, found"
    )
    first, *faults = str(caught.value).splitlines()
    assert first == f"{path}: the source mapping is not valid. Its format is in docs/mapping.md."
    assert [fault.split(" (")[0] for fault in faults] == [
        "- line 1, nam: expected one of name, source, based_on, schema, time_zone, missing, files, names, "
        "recognised_by, tables, without_times, currency, closes, closing_outcomes, silence_closes_after_days, "
        "horizon_days, found the unknown key 'nam'. Write 'name', if that is meant.",
        "- line 4, tables.leads.colums: expected one of table, absent, optional, each, join, where, one, union, sql, "
        "columns, values, attributes, units, times, numbers, id, watermark, overlap_minutes, found the unknown key "
        "'colums'. Write 'columns', if that is meant.",
        f"- line 5, tables.leads.columns.created_at: {form} the key flagg. Write one of these.",
        f"- line 5, tables.leads.columns.updated_at: {form} a list. Write one of these.",
        "- line 6, tables.leads.values.status.won: expected each word once, in any case, found 'Won' as well, which "
        "stands for 'a'. Remove one.",
        "- line 7, tables.leads.units.property_value: expected a number, found 'abc'. Correct it.",
        "- line 9, tables.projects.absent: expected true or false",
        "- line 11, tables.projects.values.status.ja: expected one of open, won, lost, cancelled, found 'wonn'. Write "
        "'won', if that is meant.",
        "- line 12, silence_closes_after_days: expected a number of at least 1",
        "- line 14, name: expected each key once, found it in line 13 as well. Remove one.",
    ]


BOMB = b"a0: &a0 [x]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (level, level, b",".join([b"*a%d" % (level - 1)] * 10)) for level in range(1, 9)
)
"""A few lines whose aliases stand for a hundred million words."""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file: expected keys with values, found an empty file."),
        (b"# nothing yet\n", "found an empty file"),
        (b"- name: x\n", "the file: expected keys with values, found a list."),
        (b"just text", "the file: expected keys with values, found 'just text'."),
        (b"name: x\ntables:\n\tleads: {}\n", "line 3: expected spaces, found a tab. Indent with spaces alone."),
        (b"name: x\n---\nname: y\n", "line 2: expected YAML, found what cannot be read"),
        (b"name: x\ntables: *others\n", "line 2: expected YAML, found what cannot be read (found undefined alias"),
        (b"name: x\ntables: &all {leads: *all}\n", "found an alias of an outer part"),
        (b"name: !!python/name:os.system x\n", "found the tag tag:yaml.org,2002:python/name:os.system"),
        (b"name: x\n? [a]\n: b\n", "line 2: expected a word before the colon, found a list or a map."),
        (b"name: x\n<<: abc\n", "line 2, <<: expected a map to merge, found none. Write *<name>."),
        (b"name: caf\xe9\n", "expected YAML in UTF-8"),
        (b"name: x\ntables: " + b"[" * 10_000, "line 2: expected 50 lists and maps in each other at most, found more."),
        (b"\n".join(b" " * level + b"a:" for level in range(3_000)), "line 50: expected 50 lists and maps"),
        (BOMB, "the file: expected 100,000 words, lists and maps at most, found more: each alias counts as all that"),
        (b"name: x\ntables: {leads: }\n", "line 2, tables.leads: expected keys with values, found nothing."),
        (
            b"name: x\ntables: {leads: {columns: {status: }}}\n",
            "line 2, tables.leads.columns.status: expected the name",
        ),
        (b"name: x\ntables: {leads: {units: {property_value: 0}}}\n", "expected a number above 0, found '0'"),
    ],
)
def test_what_is_no_mapping_is_said_in_one_sentence(content: bytes, words: str, tmp_path: Path) -> None:
    """Of a file that is no YAML, or no mapping."""
    (path := tmp_path / "own.yml").write_bytes(content)
    with pytest.raises(SourceContractError) as caught:
        choose_mapping(argument=str(path), folder=None, found={}, models=DECLARATIONS)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2


WORDS = ("Yes", "No", "on", "off", "y", "1.0", "010", "0x1F", "1e3", "2024-01-01", "12:30:45", "null", "~", "NULL",
         "True", "=", "1_000", ".inf")  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_words_are_what_is_written(encoding: str, tmp_path: Path) -> None:
    """YAML reads many words as other types, as keys and as values; here they are text."""
    lines = "".join(
        f"      {word}: {word}\n" if word not in ("null", "~", "NULL") else f"      {word}: x\n" for word in WORDS
    )
    (path := tmp_path / "own.yml").write_bytes(
        f"name: 2024-01-01\nclosing_outcomes: [No, 1.0, off, null, ~]\nhorizon_days: {{conversion: 30}}\n"
        f"tables:\n  leads:\n    values: {{source: {{a: null, b: ~, c: }}}}\n"
        f"  interactions:\n    values:\n     outcome:\n{lines}"
        "  projects: {absent: yes}\n".encode(encoding)
    )
    own = choose_mapping(argument=str(path), folder=None, found={}, models=DECLARATIONS).own
    assert (own.name, own.closing_outcomes, own.horizon_days) == (
        "2024-01-01",
        ["No", "1.0", "off", "null", "~"],
        {"conversion": 30},
    )
    assert own.tables["projects"].absent is True
    assert own.tables["leads"].values["source"] == {"a": None, "b": None, "c": None}
    assert own.tables["interactions"].values["outcome"] == {
        word.lower(): "x" if word in ("null", "~", "NULL") else word for word in WORDS
    }


def test_a_mapping_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "mapping.yml")
    with pytest.raises(SourceContractError, match=r"mapping\.yml'.* found neither. Correct the name or the path"):
        choose_mapping(argument=str(pipe), folder=None, found={}, models=())
    with pytest.raises(SourceContractError, match=r"found mapping\.yml, which is not read"):
        choose_mapping(argument=None, folder=tmp_path, found={}, models=())


def test_anchors_and_merges_mean_what_yaml_says(tmp_path: Path) -> None:
    """What is merged gives way to what is written."""
    (path := tmp_path / "own.yml").write_text(
        "name: x\ntables:\n  interactions: &one\n    watermark: occurred_at\n    table: events\n"
        "  appointments: {<<: *one, table: meetings, watermark: booked_at}\n"
    )
    own = choose_mapping(argument=str(path), folder=None, found={}, models=DECLARATIONS).own
    spec = own.tables["appointments"]
    assert (spec.table, spec.watermark, own.tables["interactions"].table) == ("meetings", "booked_at", "events")


@pytest.mark.parametrize("name", ["mapping.yaml", "Mapping.yml", "MAPPING.YAML"])
def test_a_mapping_under_another_name_is_read(name: str, tmp_path: Path) -> None:
    """Many systems know one ending or the other, and some write names in capitals."""
    (tmp_path / name).write_text("name: own\nbased_on: plain\n")
    chosen = choose_mapping(argument=None, folder=tmp_path, found=CONTRACT, models=DECLARATIONS)
    assert (chosen.mapping.name, chosen.reason) == ("own", f"{name} in the source folder")


@pytest.mark.parametrize(
    "name",
    ["mapping.yml.txt", "mapping.json", "mappings.yml", "mapping (1).yml", "mapping.yml.yml", ".mapping.yml", "mapping",
     "mapping.toml", "mapping-2.yaml", "mapping copy.yml", "mapping - Copy.yml", "mapping (copy).yml", "mapping_v2.yml",
     "mapping-old.yml", "crm_mapping.yaml"],
)  # fmt: skip
def test_a_mapping_that_would_not_be_read_is_named(name: str, tmp_path: Path) -> None:
    """Alone, and beside one that is read."""
    (tmp_path / name).write_text("name: own\nbased_on: plain\n")
    with pytest.raises(SourceContractError, match=re.escape(f"found {name}, which is not read. Rename it")):
        choose_mapping(argument=None, folder=tmp_path, found=CONTRACT, models=DECLARATIONS)
    (tmp_path / "mapping.yaml").write_text("name: own\n")
    with pytest.raises(SourceContractError, match="expected one mapping, found ") as caught:
        choose_mapping(argument=None, folder=tmp_path, found=CONTRACT, models=DECLARATIONS)
    assert name in str(caught.value)


def test_other_files_are_no_mappings(tmp_path: Path) -> None:
    """Tables, backups, and what a Mac leaves beside a file."""
    for name in ("mapping.csv", "mapping.yml.bak", "._mapping.yml", "mapping.yml~", "mapping.yml.orig", "mapping.md"):
        (tmp_path / name).write_text("name: own\n")
    assert (
        choose_mapping(argument=None, folder=tmp_path, found=CONTRACT, models=DECLARATIONS).mapping.name == "contract"
    )


def test_unknown_name_lists_the_shipped_mappings() -> None:
    """A name is neither guessed nor taken for an empty mapping."""
    with pytest.raises(SourceContractError, match=", ".join(shipped_names())):
        choose_mapping(argument="hubspot", folder=None, found={}, models=DECLARATIONS)
