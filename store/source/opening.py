"""Opening a source: its reader, the mapping that applies, and the contract's tables bound to what it has."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from store.source.assembling.assembly import as_plain, assembled
from store.source.assembling.queries import tables_of
from store.source.assembling.source import AssembledSource
from store.source.contract import CHANGES, CUSTOMERS, OVERWRITTEN, TABLES, SourceContractError
from store.source.faults import Faults
from store.source.mapping.binding import TableBinding, bind, is_another, missing_table, with_owners
from store.source.mapping.choosing import choose_mapping, with_earlier_tables
from store.source.mapping.forms import ChosenMapping, PartMapping, TableMapping, is_assembled
from store.source.mapping.without_times import with_made_up_times
from store.source.mapping.yaml_file import nearest
from store.source.reading.sources import describe, open_source
from store.source.record import Table
from store.source.values.texts import folded


def check_source(source: str, mapping: str | None, models: Collection[str], in_home: Path | None = None) -> None:
    """Refuse a source whose place, mapping or columns `extract` would refuse, without reading rows.

    Parameters
    ----------
    source, mapping, models, in_home
        As `extract` takes them.

    Raises
    ------
    SourceContractError
        If the source is refused.
    """
    bindings_of(*open_mapped(source, mapping, models, in_home))


def open_mapped(
    source: str, mapping: str | None, models: Collection[str], in_home: Path | None
) -> tuple[ChosenMapping, AssembledSource]:
    """Return the mapping that applies to a source, and its reader; the arguments are those of `extract`.

    Raises
    ------
    SourceContractError
        If the source cannot be opened, or no mapping applies.
    """
    choose = partial(choose_mapping, argument=mapping, models=models, in_home=in_home, source=describe(source))
    if "://" in source and (mapping is not None or (in_home is not None and in_home.exists())):
        # the mapping may name the schema of the database, so it is chosen first
        chosen = choose(folder=None, found={})
        is_named = "schema_" in chosen.own.model_fields_set
        reader = open_source(source, schema=chosen.mapping.schema_ if is_named else None)
    else:
        reader = open_source(source)
        chosen = choose(folder=reader.folder, found=reader.columns())
        if chosen.mapping.files and reader.folder is not None:
            reader = open_source(source, dialects={name: form.dialect() for name, form in chosen.mapping.files.items()})
    found = reader.columns()
    return with_made_up_times(with_earlier_tables(chosen, found), found), AssembledSource(reader)


def bindings_of(chosen: ChosenMapping, reader: AssembledSource) -> dict[str, TableBinding | None]:
    """Return the contract's tables as they are read; None for those that the source does not have.

    Raises
    ------
    SourceContractError
        If tables or columns are missing; the message lists all of them.
    """
    found: dict[str, TableBinding | None] = {}
    faults = Faults()
    # a table with a fault is there
    is_there = dict.fromkeys(TABLES, True)
    # whether other tables may be missing depends on these, in this order
    for name in sorted(TABLES, key=lambda name: (*CUSTOMERS, "leads", name).index(name)):
        with faults.collected():
            customers_alone = any(is_there[each] for each in CUSTOMERS) and (name == "leads" or not is_there["leads"])
            found[name] = _bound(chosen, TABLES[name], reader, optional=customers_alone)
            is_there[name] = found[name] is not None
    of_leads = [name for name, table in TABLES.items() if is_there[name] and table.of == "leads" and not table.or_of]
    if not is_there["leads"] and (of_leads or not any(is_there[each] for each in CUSTOMERS)):
        with faults.collected():
            raise _without_entities(chosen, reader)
    faults.refuse()
    bindings = {name: _of_present(found[name], is_there) for name in TABLES}
    if unused := list(_unused_names(chosen, reader, bindings)):
        raise SourceContractError("\n".join(unused))
    bound = [binding for binding in bindings.values() if binding is not None]
    for binding in bound:
        also_read = frozenset(reader.read_of(binding.source_table, bound))
        free = tuple(column for column in binding.free if column not in also_read)
        bindings[binding.table.name] = replace(binding, also_read=also_read, free=free)
    if (history := bindings[CHANGES]) is not None:
        owners = owners_in(bindings)
        bindings[CHANGES] = with_owners(history, owners) if owners else None
    return bindings


def entities_in(bindings: Mapping[str, TableBinding | None]) -> list[str]:
    """Return the entities that a source has: ``lead``, ``customer``."""
    customers = any(bindings[name] is not None for name in CUSTOMERS)
    return [*(["lead"] if bindings["leads"] is not None else []), *(["customer"] if customers else [])]


def _of_present(binding: TableBinding | None, is_there: Mapping[str, bool]) -> TableBinding | None:
    """Return a binding that reads no keys of leads where the source has customers alone."""
    if binding is None or not binding.table.or_of or is_there["leads"]:
        return binding
    return replace(binding, forms={**binding.forms, "lead_id": None})


def owners_in(bindings: Mapping[str, TableBinding | None]) -> list[TableBinding]:
    """Return the bindings of the tables whose history is kept."""
    return [binding for name in OVERWRITTEN if (binding := bindings[name]) is not None]


def _unused_names(
    chosen: ChosenMapping, reader: AssembledSource, bindings: Mapping[str, TableBinding | None]
) -> Iterator[str]:
    """Yield a fault for each name of the source that a person has stated, and that nothing reads: a typing error."""
    for table, names in chosen.own.names.items():
        read = {column for assembly in reader.assemblies for column in assembly.used(table)}
        for binding in bindings.values():
            if binding is not None and reader.is_base(binding.source_table, table):
                read.update(binding.source_columns)
        for called in (each for each in names.columns if each not in read):
            yield (
                f"names.{table}.columns.{called}: expected a column that the mapping {chosen.mapping.name!r} reads "
                f"from {table}, found {called}, which it does not. {nearest(called, sorted(read))}"
            )


def customers_close(bindings: Mapping[str, TableBinding | None]) -> bool:
    """Say whether the customers of a source have contracts that end: the source tells when one closed."""
    return (customers := bindings["customers"]) is not None and customers.forms["closed_at"] is not None


def _without_entities(chosen: ChosenMapping, reader: AssembledSource) -> SourceContractError:
    if chosen.mapping.tables.get("leads", TableMapping()).absent:
        return SourceContractError(
            f"source {reader.description}: expected a table leads, or {' or '.join(CUSTOMERS)} of customers alone, "
            f"found none, as the mapping {chosen.mapping.name!r} declares leads absent. Name one of them there."
        )
    return missing_table("leads", "leads", reader.columns())


def _named_elsewhere(chosen: ChosenMapping, table: Table) -> bool:
    """Say whether a mapping that says nothing of an optional contract table reads the table of its name as another."""
    mapping = chosen.mapping
    spec = mapping.tables.get(table.name, TableMapping())
    if not table.optional or spec.table is not None or spec.columns or is_assembled(spec):
        return False
    named: list[str | None] = []
    for spec in mapping.tables.values():
        parts: list[TableMapping | PartMapping] = [spec, *spec.union.values()]
        named += [spec.table, *(part.table or name for name, part in spec.union.items())]
        named += [join.table for part in parts for join in part.join.values()]
    named += [names.table for names in mapping.names.values()]
    named += [name for query in chosen.queries.values() for name in tables_of(query)]
    return folded(table.name) in {folded(name) for name in named if name is not None}


def _bound(
    chosen: ChosenMapping, table: Table, reader: AssembledSource, *, optional: bool = False
) -> TableBinding | None:
    """Bind a contract table to its source; None if it is declared absent, or is optional and the source lacks it."""
    spec, found = chosen.mapping.tables.get(table.name, TableMapping()), reader.columns()
    source_table = spec.table or table.name
    if spec.absent or _named_elsewhere(chosen, table):
        return None
    if (assembly := assembled(chosen, table, reader.reader)) is not None:
        if not assembly.is_there:
            return None
        reader.add(assembly)
        bound = bind(as_plain(chosen, assembly), table, found=found, place=assembly.place)
        return replace(bound, origin=assembly.origin)
    may_lack = table.optional or (optional and table.name not in chosen.own.tables)
    if source_table not in found and (spec.optional or (may_lack and spec.table is None)):
        return None
    if source_table not in found:
        raise missing_table(table.name, source_table, found)
    if spec.table is None and table.name not in chosen.own.tables and is_another(table, found[source_table]):
        return None
    place = reader.place(source_table)
    bound = bind(chosen, table, found=found, place=place)
    # a folder is always read whole
    mark = bound.watermark if reader.folder is None else None
    if (
        mark is not None
        and isinstance(form := bound.forms[mark], str)
        and (kind := reader.type_of(source_table, form)) is not None
        and not kind.startswith(("timestamp", "date"))
    ):
        raise SourceContractError(
            f"table {table.name}, {place}: expected a watermark that is a time in the database, found {form}, which "
            f"is {kind}. Name another column in the mapping, or leave the watermark out: the table is then read in "
            "full."
        )
    return bound
