"""Shipped mappings that fit a source, where the source may have other names for the tables."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from store.source.contract import CUSTOMERS, TABLES, SourceContractError
from store.source.mapping.binding import is_another, missing_columns
from store.source.mapping.choosing import RECOGNISED, TRIED, choose_mapping, fitting_mapping
from store.source.mapping.forms import Names, PartMapping, SourceMapping, TableMapping, is_assembled
from store.source.suggesting.names import bare_names, singular
from store.source.suggesting.vocabulary import CONTACT_NAMES, spoken
from store.source.values.texts import folded

IDENTITY = TRIED[0]
"""The mapping of the contract's own tables, which has nothing to add to what the data show."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A shipped mapping that fits a source.

    Attributes
    ----------
    name : str
    why : str
    tables : mapping of str to str
        By table of a folder that has another name than the mapping expects: that name.
    contact : tuple of str
        Columns that have contact data by their names, as ``table.column``.
    says_ends : bool
        Whether the mapping says what ends a lead, beside a won deal.
    created : tuple of (str, str) or None
        The table and column of the creation of leads.
    attributes : mapping of str to bool
        By contract table with attributes: whether its rows are those of one table, whose further columns can all be
        taken.
    """

    name: str
    why: str
    tables: Mapping[str, str]
    contact: tuple[str, ...]
    says_ends: bool
    created: tuple[str, str] | None
    attributes: Mapping[str, bool]


def shape_of(columns: Mapping[str, Sequence[str]], folder: str | None, models: Collection[str]) -> Shape | None:
    """Return the shipped mapping that fits a source, or None.

    Parameters
    ----------
    columns : mapping of str to sequence of str
        By table of the source.
    folder : str or None
        The name of the folder; None for a database.
    models : collection of str
        Names of the models.
    """
    if (fitting := _fitting(columns, folder, models)) is None:
        return None
    mapping, why, tables = fitting
    return Shape(
        name=mapping.name,
        why=why,
        tables=tables,
        contact=tuple(
            f"{table}.{column}"
            for table, found in columns.items()
            for column in found
            if CONTACT_NAMES - {"name"} & set(bare_names(column, table))
        ),
        # customers end by a column of their own
        says_ends=any(mapping.closes.model_dump().values()) or is_of_customers(mapping, columns),
        created=_creation_of(mapping, tables, columns),
        attributes=_with_attributes(mapping, columns),
    )


def is_of_customers(mapping: SourceMapping, columns: Mapping[str, Sequence[str]]) -> bool:
    """Say whether a shipped mapping reads customers alone from a source."""
    leads = mapping.tables.get("leads", TableMapping())
    return not is_assembled(leads) and folded(leads.table or "leads") not in _names_of(mapping, columns)


def _names_of(mapping: SourceMapping, columns: Mapping[str, Sequence[str]]) -> set[str]:
    return {*map(folded, columns), *map(folded, mapping.recognised_by), *map(folded, mapping.names)}


def own_tables(columns: Mapping[str, Sequence[str]], models: Collection[str]) -> tuple[str, ...]:
    """Return the tables of customers that a source with leads has as the contract has them."""
    if "leads" not in columns:
        return ()
    contract = choose_mapping(argument=IDENTITY, folder=None, found={}, models=models)
    return tuple(
        name
        for name, table in TABLES.items()
        if (name in CUSTOMERS or table.of == "customers")
        and name in columns
        and not is_another(table, columns[name])
        and not missing_columns(contract, name, columns)
    )


def _with_attributes(mapping: SourceMapping, columns: Mapping[str, Sequence[str]]) -> dict[str, bool]:
    """Return the contract tables that have attributes, each table of the source once: whether they are one table."""
    of_customers = is_of_customers(mapping, columns)
    found: dict[str, bool] = {}
    read: set[str] = set()
    for of in (name for name, table in TABLES.items() if table.attributes is not None):
        spec = mapping.tables.get(of, TableMapping())
        table = folded(spec.table or of)
        lacks = (of_customers or TABLES[of].optional) and table not in _names_of(mapping, columns)
        if not spec.absent and not lacks and table not in read:
            read.add(table)
            found[of] = not spec.union and spec.sql is None
    return found


def _fitting(
    columns: Mapping[str, Sequence[str]], folder: str | None, models: Collection[str]
) -> tuple[SourceMapping, str, dict[str, str]] | None:
    """Return the shipped mapping that fits a source, why, and the tables that have other names."""
    try:
        fitting = fitting_mapping(folder, columns, models).mapping
    except SourceContractError:
        # only files can be given other names
        for name in RECOGNISED if folder is not None else ():
            mapping = choose_mapping(argument=name, folder=None, found={}, models=models).mapping
            if tables := tables_of(mapping, columns):
                return mapping, "its columns are all there, in files of other names", tables
        return None
    if fitting.files:
        return fitting, "its files are there", {}
    if fitting.name == IDENTITY and not is_of_customers(fitting, columns):
        return None
    return fitting, "its tables and columns are all there", {}


def _creation_of(
    mapping: SourceMapping, tables: Mapping[str, str], columns: Mapping[str, Sequence[str]]
) -> tuple[str, str] | None:
    """Return the source's table and column of the creation of leads, as far as a shipped mapping names one column."""
    leads = mapping.tables.get("leads", TableMapping())
    table, column = leads.table or "leads", leads.columns.get("created_at", "created_at")
    known = next((names for each, names in mapping.names.items() if folded(each) == folded(table)), Names())
    table = known.table or table
    source = next((each for each in columns if folded(tables.get(each, each)) == folded(table)), None)
    if source is None or not isinstance(column, str):
        return None
    wanted = folded(known.columns.get(column, column))
    found = next((each for each in columns[source] if folded(each) == wanted), None)
    return None if found is None else (source, found)


def tables_of(mapping: SourceMapping, columns: Mapping[str, Sequence[str]]) -> dict[str, str] | None:
    """Return which tables of a source are those of a mapping, where the names differ; None if it does not fit."""
    found: dict[str, str] = {}
    read = columns_by_table(mapping)
    for table, needed in mapping.recognised_by.items():
        fitting = {
            source: names for source, names in columns.items() if set(map(folded, needed)) <= set(map(folded, names))
        }
        if (best := _best(table, read[table] | set(needed), fitting, found)) is None:
            return None
        found[best] = table
    for table, used in read.items():
        if table not in found.values() and (best := _best(table, used, columns, found)) is not None:
            found[best] = table
    return {source: table for source, table in found.items() if folded(source) != folded(table)}


def _best(
    table: str, read: Collection[str], columns: Mapping[str, Sequence[str]], taken: Mapping[str, str]
) -> str | None:
    """Return the source table that has the name, or most of the columns, of a table of a mapping."""
    ranked = []
    name = [singular(word) for word in spoken(table).split("_")]
    for source, found in columns.items():
        words = [singular(word) for word in spoken(source).split("_")]
        is_named = any(words[start : start + len(name)] == name for start in range(len(words)))
        has = len(set(map(folded, read)) & set(map(folded, found)))
        if source not in taken and has and (is_named or has * 2 >= len(read)):
            # of two names that hold that of the table, the shorter one is meant
            ranked.append((is_named, has, -len(words), source))
    best = sorted(ranked, reverse=True)[:2]
    # two tables that fit alike are not told apart
    return None if not best or (len(best) > 1 and best[0][:3] == best[1][:3]) else best[0][3]


def columns_by_table(mapping: SourceMapping) -> dict[str, set[str]]:
    """Return the columns that a mapping reads, by table, as the source calls both, as far as their names say it."""
    found: dict[str, set[str]] = {table: set() for table in mapping.recognised_by}
    renamed = {folded(table): names for table, names in mapping.names.items()}

    def note(table: str, names: Iterable[str]) -> None:
        known = renamed.get(folded(table), Names())
        source = known.table or table
        # a mapping may spell a table in several cases
        source = next((each for each in found if folded(each) == folded(source)), source)
        found.setdefault(source, set()).update(known.columns.get(name, name) for name in names)

    for name, spec in mapping.tables.items():
        if spec.absent:
            continue
        for part_name, part in spec.union.items() or [(name, spec)]:
            used = list(_names_in(part))
            note(part.table or part_name, [each for each in used if each.partition(".")[0] not in part.join])
            for alias, join in part.join.items():
                of_alias = [each.partition(".")[2] for each in used if each.partition(".")[0] == alias]
                note(join.table, [*join.on, *of_alias])
    return found


def _names_in(part: PartMapping | TableMapping) -> Iterator[str]:
    for conditions in part.where:
        yield from conditions
    for form in part.columns.values():
        yield from _names(form)


def _names(form: object) -> Iterator[str]:
    """Yield the names of columns in an expression."""
    if isinstance(form, str):
        yield form
    for key in ("coalesce", "concat", "latest", "earliest", "first_of"):
        for each in getattr(form, key, ()):
            yield from _names(each)
    for key in ("split", "date", "time", "flag", "otherwise"):
        if (inner := getattr(form, key, None)) is not None:
            yield from _names(inner)
    for case in getattr(form, "cases", ()):
        yield from _names(case.then)
        for conditions in case.where:
            yield from conditions
