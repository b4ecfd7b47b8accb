"""Choose the mapping of a source, resolve what it inherits, and replace earlier names in it."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from store.addresses import same_place
from store.source.contract import CUSTOMERS, EARLIER_NAMES, TABLES, SourceContractError
from store.source.mapping.binding import is_another, missing_columns, missing_table
from store.source.mapping.expressions import Conditions
from store.source.mapping.faults import faults_of, repeated_words
from store.source.mapping.forms import (
    EXPECTED_FORMS,
    SHIPPED,
    ChosenMapping,
    Closes,
    Names,
    PartMapping,
    Query,
    SourceMapping,
    TableMapping,
    Values,
    shipped_names,
)
from store.source.mapping.yaml_file import Document, Fault, read_yaml, validated
from store.source.reading.tables import Tables, find_column, shown_columns
from store.source.record import Table

TRIED = ("contract", "plain")
"""The shipped mappings that are tried on a source with the tables of the contract, in this order."""

RECOGNISED = ("hubspot_fivetran", "hubspot_csv", "salesforce_fivetran", "salesforce_csv", "pipedrive", "deals")
"""The shipped mappings that recognise a source by tables and columns of its own, in this order."""

OF_FILES = ("cdnow",)
"""The shipped mappings that recognise a source by its files, whose form they state."""

LIKE_A_MAPPING = re.compile(r".*mappings?([^a-z].*)?\.(ya?ml|json|toml)(\W.*)?|\.?mappings?(\.(txt|cfg|ini))?")
"""Names, in lower case, of files that look like a mapping."""

READ = ("mapping.yml", "mapping.yaml")

NO_MAPPING = re.compile(r"^\._|~$|\.(bak|old|orig|rej|save|sw[a-p])$", re.IGNORECASE)
"""Names of copies that a Mac or an editor leaves beside a file."""


def _read(path: Path, models: Collection[str]) -> tuple[SourceMapping, Document]:
    try:
        document = _with_present_names(read_yaml(path.read_bytes()))
    except OSError as error:
        raise SourceContractError(
            f"{path}: expected a source mapping, found that it cannot be read ({error.strerror}). Check the file."
        ) from error
    mapping, faults = validated(SourceMapping, document, EXPECTED_FORMS)
    found = [*repeated_words(document.content), *(() if mapping is None else faults_of(mapping, models))]
    faults += [Fault(document.line(place), place, sentence) for place, sentence in found]
    if mapping is None or faults:
        raise _not_valid(path, faults)
    return _renamed(mapping), document


def _renamed(mapping: SourceMapping) -> SourceMapping:
    if "closing_outcomes" in mapping.model_fields_set:
        closes = mapping.closes.model_copy(update={"outcomes": mapping.closing_outcomes})
        mapping = mapping.model_copy(update={"closes": closes})
    return mapping


def _with_present_names(document: Document) -> Document:
    """Return a mapping with the present names of tables; both names of one table are a fault."""
    tables = document.content.get("tables") if isinstance(document.content, dict) else None
    for name, earlier in EARLIER_NAMES.items():
        if isinstance(tables, dict) and earlier in tables:
            place = ("tables", earlier)
            if name in tables:
                sentence = f"expected tables.{name} alone, found {earlier}, its earlier name, as well. Remove one."
                document.faults.append(Fault(document.line(place), place, sentence))
            tables = {name if each == earlier else each: spec for each, spec in tables.items() if each != name}
            document.content["tables"] = tables
            moved = {("tables", name, *each[2:]): line for each, line in document.lines.items() if each[:2] == place}
            document.lines.update(moved)
    return document


def _notices(mapping: SourceMapping, path: Path, document: Document) -> Iterator[str]:
    for name, earlier in EARLIER_NAMES.items():
        if ("tables", earlier) in document.lines:
            yield f"{path}: the table {earlier} is called {name} now: rename it under tables."
    if "closing_outcomes" in mapping.model_fields_set:
        listed = ", ".join(mapping.closing_outcomes)
        yield f"{path}: closing_outcomes is called closes now: write closes: {{outcomes: [{listed}]}}."


def _not_valid(path: Path, faults: Sequence[Fault]) -> SourceContractError:
    ordered = sorted(dict.fromkeys(faults), key=lambda fault: (fault.line or 0, list(map(str, fault.place))))
    listed = "\n".join(f"- {fault}" for fault in ordered)
    return SourceContractError(f"{path}: the source mapping is not valid. Its format is in docs/mapping.md.\n{listed}")


def _inherit(
    own: SourceMapping, document: Document, path: Path, models: Collection[str]
) -> tuple[SourceMapping, dict[str, Query]]:
    """Return a mapping with all that it inherits, and its queries by contract table."""
    queries = _queries(own, document, path)
    if own.based_on is None:
        return own, queries
    base_path = SHIPPED / f"{own.based_on}.yml"
    base, inherited = _inherit(*_read(base_path, models), base_path, models)
    fields_set = own.model_fields_set
    merged = SourceMapping(
        name=own.name,
        based_on=own.based_on,
        schema=own.schema_ if "schema_" in fields_set else base.schema_,
        files={**base.files, **own.files},
        names={
            name: Names(
                table=own.names.get(name, Names()).table or base.names.get(name, Names()).table,
                columns={**base.names.get(name, Names()).columns, **own.names.get(name, Names()).columns},
            )
            for name in {**base.names, **own.names}
        },
        recognised_by=own.recognised_by,
        tables={
            name: _merged(table, base.tables.get(name, TableMapping()), own.tables.get(name, TableMapping()))
            for name, table in TABLES.items()
        },
        closes=Closes(
            **{
                name: getattr((own if name in own.closes.model_fields_set else base).closes, name)
                for name in Closes.model_fields
            }
        ),
        **{
            name: getattr(own if name in fields_set else base, name)
            for name in (
                "time_zone",
                "missing",
                "without_times",
                "currency",
                "silence_closes_after_days",
                "horizon_days",
            )
            if name in fields_set | base.model_fields_set
        },
    )
    # a mapping that is valid by itself may not fit the one that it refines
    if found := [
        Fault(document.line(place), place, sentence) for place, sentence in faults_of(merged, models, inherited=True)
    ]:
        raise _not_valid(path, found)
    return merged, {name: query for name, query in {**inherited, **queries}.items() if merged.tables[name].sql}


def _queries(own: SourceMapping, document: Document, path: Path) -> dict[str, Query]:
    queries: dict[str, Query] = {}
    faults: list[Fault] = []
    for name, spec in own.tables.items():
        if spec.sql is not None:
            try:
                queries[name] = Query(path.parent / spec.sql, (path.parent / spec.sql).read_text(encoding="utf-8"))
            except (OSError, UnicodeError) as error:
                found = getattr(error, "strerror", None) or "other bytes"
                place = ("tables", name, "sql")
                sentence = (
                    f"expected a file in UTF-8 beside the mapping, found {spec.sql!r}: {found}. Correct the name."
                )
                faults.append(Fault(document.line(place), place, sentence))
    if faults:
        raise _not_valid(path, faults)
    return queries


def _merged(table: Table, lower: TableMapping, upper: TableMapping) -> TableMapping:
    """Return the mapping of a table by two mappings, of which the upper one refines the lower one."""
    # a refining mapping that names other rows takes nothing of the rows of the other
    origin: dict[str, Any] = {"table": upper.table, "union": upper.union, "sql": upper.sql}
    joined = upper.sql is None
    if upper.union:
        parts = {**lower.union, **upper.union}
        origin["union"] = {name: _merged_part(lower.union.get(name), part) for name, part in parts.items()}
    elif upper.table is not None:
        joined = not lower.union and lower.sql is None
    elif upper.sql is None:
        origin = {"table": lower.table, "union": lower.union, "sql": lower.sql}
    return TableMapping(
        **origin,
        each=upper.each or (lower.each if joined else None),
        where=_both(lower.where if joined else [], upper.where),
        one=upper.one or (lower.one if joined else None),
        join={**(lower.join if joined else {}), **upper.join},
        absent=upper.absent or lower.absent,
        optional=upper.optional or lower.optional,
        columns={**lower.columns, **upper.columns},
        values=_merged_values(lower.values, upper.values),
        attributes={**lower.attributes, **upper.attributes},
        units={**lower.units, **upper.units},
        times={**lower.times, **upper.times},
        numbers={**lower.numbers, **upper.numbers},
        # if the refining mapping names the key, the key is not derived
        id=upper.id or (None if table.key in upper.columns else lower.id),
        watermark=upper.watermark or lower.watermark,
        overlap_minutes=(upper if "overlap_minutes" in upper.model_fields_set else lower).overlap_minutes,
    )


def _merged_part(lower: PartMapping | None, upper: PartMapping) -> PartMapping:
    if lower is None or lower is upper:
        return upper
    return PartMapping(
        table=upper.table or lower.table,
        absent=upper.absent or lower.absent,
        each=upper.each or lower.each,
        where=_both(lower.where, upper.where),
        one=upper.one or lower.one,
        join={**lower.join, **upper.join},
        columns={**lower.columns, **upper.columns},
        values=_merged_values(lower.values, upper.values),
    )


def _both(lower: Sequence[Conditions], upper: Sequence[Conditions]) -> list[Conditions]:
    """Return conditions that hold where both hold; of two conditions on one column the upper one counts."""
    return [{**one, **other} for one in lower or [{}] for other in upper or [{}] if one or other]


def _merged_values(lower: Values, upper: Values) -> Values:
    return {column: {**lower.get(column, {}), **upper.get(column, {})} for column in {**lower, **upper}}


def _named(path: Path, reason: str, models: Collection[str]) -> ChosenMapping:
    own, document = _read(path, models)
    # an optional column of a shipped mapping may be missing, because it fits a family of CRMs; in a person's own
    # mapping a missing column may be a typing error, and is reported
    reported = SourceMapping(name=own.name) if path.parent == SHIPPED else own
    mapping, queries = _inherit(own, document, path, models)
    return ChosenMapping(
        mapping=mapping,
        own=reported,
        reason=reason,
        queries=queries,
        notices=tuple(_notices(own, path, document)),
    )


def _in_folder(folder: Path) -> Path | None:
    """Return the mapping of a source folder: ``mapping.yml`` or ``mapping.yaml``, in any case.

    Another file that looks like a mapping is an error: otherwise the source would be read without it.
    """
    found = sorted(
        path
        for path in folder.iterdir()
        if LIKE_A_MAPPING.fullmatch(path.name.casefold())
        and not NO_MAPPING.search(path.name)
        and (path.is_file() or path.suffix)
    )
    if len(found) > 1:
        raise SourceContractError(
            f"source {folder}: expected one mapping, found {', '.join(path.name for path in found)}. "
            "Remove all but one."
        )
    if found and not (found[0].is_file() and found[0].name.casefold() in READ):
        raise SourceContractError(
            f"source {folder}: expected a file mapping.yml (or mapping.yaml), found {found[0].name}, which is not "
            "read. Rename it, or move it to another folder."
        )
    return found[0] if found else None


def with_earlier_tables(chosen: ChosenMapping, found: Mapping[str, Sequence[str]]) -> ChosenMapping:
    """Return a mapping that reads tables of a source by their earlier names, if it names no other table.

    Raises
    ------
    SourceContractError
        If the source has a table under both names, and the mapping does not say which one is meant.
    """
    for name, earlier in EARLIER_NAMES.items():
        spec = chosen.mapping.tables.get(name, TableMapping())
        if spec.absent or spec.table is not None or earlier not in found:
            continue
        if name in found and not is_another(TABLES[name], found[name]):
            raise SourceContractError(
                f"table {name}: expected one table, found {name} and {earlier}, its earlier name. Remove one, or say "
                f"in a mapping.yml which is meant (tables: {{{name}: {{table: {earlier}}}}})."
            )
        tables = {**chosen.mapping.tables, name: spec.model_copy(update={"table": earlier})}
        notice = f"the table {earlier} of the source is called {name} now: it is read, and may be renamed."
        chosen = replace(
            chosen,
            mapping=chosen.mapping.model_copy(update={"tables": tables}),
            notices=(*chosen.notices, notice),
        )
    return chosen


def recognises(mapping: SourceMapping, found: Mapping[str, Sequence[str]]) -> bool:
    """Say whether a source has all tables and columns, or files, by which a shipped mapping recognises it."""
    if mapping.files and isinstance(found, Tables):
        return {*map(str.casefold, mapping.files)} <= {*map(str.casefold, found.others)}
    return bool(mapping.recognised_by) and all(
        table in found and all(find_column(column, found[table], table) is not None for column in columns)
        for table, columns in mapping.recognised_by.items()
    )


def _of_home(path: Path, source: str, models: Collection[str]) -> ChosenMapping:
    chosen = _named(path, f"{path}, in the home", models)
    if (meant := chosen.own.source) is not None and not same_place(meant, source):
        raise SourceContractError(
            f"{path}: expected the source that this mapping is for, {meant}, found {source}. Give another home "
            "(HOME_DIR=<folder> with make, else LEADLINE_HOME); if it is the same source at a new place, correct the "
            "key source in the file."
        )
    return chosen


def choose_mapping(
    *,
    argument: str | None,
    folder: Path | None,
    found: Mapping[str, Sequence[str]],
    models: Collection[str],
    in_home: Path | None = None,
    source: str = "",
) -> ChosenMapping:
    """Choose the mapping of a source and say why.

    The first of these counts: the argument (the name of a shipped mapping, or a path); the mapping in the source
    folder; the mapping in the home; the shipped mapping that fits (`fitting_mapping`).

    Parameters
    ----------
    argument : str or None
        Name of a shipped mapping, or a path.
    folder : Path or None
        The source folder; None for a database.
    found : mapping of str to sequence of str
        Columns by table (file stem) of the source.
    models : collection of str
        Names of the models, for which a mapping may set a horizon.
    in_home : Path or None
        The mapping in the home, which need not exist; None if the home has none for this source.
    source : str
        The source without secrets, which the mapping in the home may name.

    Raises
    ------
    SourceContractError
        If the named mapping is missing or invalid, or none fits; the message lists the columns that each one misses.
        Also if the folder has several mappings, or a mapping with a name that is not read, or if the mapping in the
        home is for another source.
    """
    shipped = shipped_names()
    if argument is not None:
        if argument in shipped:
            return _named(SHIPPED / f"{argument}.yml", f"asked for by name: the shipped mapping {argument!r}", models)
        if not Path(argument).is_file():
            raise SourceContractError(
                f"mapping {argument!r}: expected a file or the name of a shipped mapping ({', '.join(shipped)}), "
                "found neither. Correct the name or the path."
            )
        return _named(Path(argument), f"asked for by path: {argument}", models)
    if folder is not None and (own_path := _in_folder(folder)) is not None:
        return _named(own_path, f"{own_path.name} in the source folder", models)
    if in_home is not None and in_home.exists():
        return _of_home(in_home, source, models)
    return fitting_mapping(None if folder is None else folder.name, found, models)


def _has_customers(found: Mapping[str, Sequence[str]]) -> bool:
    """Say whether a source without a mapping has customers who can be seen to leave; else they may be its leads."""
    there = [name for name in CUSTOMERS if name in found and not is_another(TABLES[name], found[name])]
    closes = "customers" in there and find_column("closed_at", found["customers"], "customers") is not None
    return "transactions" in there or closes


def fitting_mapping(folder: str | None, found: Mapping[str, Sequence[str]], models: Collection[str]) -> ChosenMapping:
    """Choose the shipped mapping that fits a source: by its name first, then in the order of `TRIED` and `RECOGNISED`.

    Parameters
    ----------
    folder : str or None
        The name of the source folder; None for a database.
    found : mapping of str to sequence of str
        Columns by table of the source.
    models : collection of str

    Raises
    ------
    SourceContractError
        If none fits; the message lists the columns that each one misses.
    """
    # a folder of such a name may hold something else
    reasons = {folder: "the shipped mapping with the folder's name"} if folder in shipped_names() else {}
    tried = {name: f"the shipped mapping {name!r}, whose required columns are all there" for name in TRIED}
    recognised = {name: f"the shipped mapping {name!r}, which recognises the tables and columns" for name in RECOGNISED}
    recognised |= {name: f"the shipped mapping {name!r}, which recognises the files" for name in OF_FILES}
    # another CRM may have a table that is called as one of customers
    reasons |= tried | recognised if "leads" in found else recognised | tried
    # the mappings of the contract's own tables need each table under its own name
    absent = [name for name, table in TABLES.items() if name not in found and not table.optional]
    if "leads" in absent and _has_customers(found):
        absent = ["leads"] if any(name in found for name in ("appointments", "projects")) else []
    misses: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        candidate = _named(SHIPPED / f"{name}.yml", reason, models)
        if candidate.mapping.recognised_by or candidate.mapping.files:
            if recognises(candidate.mapping, found):
                return candidate
            continue
        misses[name] = [
            fault
            for contract, table in TABLES.items()
            if contract in found and not is_another(table, found[contract])
            for fault in missing_columns(candidate, contract, found)
        ]
        if not misses[name] and not absent:
            return candidate
    faults = [str(missing_table(name, name, found)) for name in absent]
    # a table that fits one of the mappings has no fault
    if all(misses.values()):
        listed = "; ".join(f"{name} misses {', '.join(missing)}" for name, missing in misses.items())
        listing = "; ".join(f"{table} ({shown_columns(found[table])})" for table in sorted(TABLES) if table in found)
        faults.append(
            f"no shipped mapping fits the source: {listed}. Found: {listing}. "
            "Write a mapping.yml for this source (docs/mapping.md)."
        )
    faults.append("To have a mapping proposed: make map SOURCE=…")
    raise SourceContractError("\n".join(faults))
