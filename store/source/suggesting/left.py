"""What no line reads: contact data, and columns and tables that the contract has no place for."""

from store.source.contract import TABLES
from store.source.suggesting.columns import is_plausible, is_time
from store.source.suggesting.evidence import Column, Profile, Table
from store.source.suggesting.lines import counted, is_amount, is_free_text
from store.source.suggesting.names import bare_names, is_out, role_of
from store.source.suggesting.suggestion import Draft
from store.source.suggesting.vocabulary import CONTACT_NAMES, TEXT_NAMES

CONTACT = 0.05
"""Share of values that are e-mail addresses or telephone numbers from which a column has contact data."""

_NO_PLACE = "no column of the contract"


def what_is_left(leads: Table, profile: Profile, draft: Draft) -> None:
    """Note the columns and tables that no line reads and why, and the columns with contact data."""
    read_tables = {table for table, _ in draft.read}
    for name, table in profile.tables.items():
        role = role_of(name)
        is_of_people = name == leads.name or (role is not None and role[0] == "leads")
        contact_names = CONTACT_NAMES if is_of_people else CONTACT_NAMES - {"name"}
        for column in table.columns.values():
            place = f"{name}.{column.name}"
            if (name, column.name) in draft.read or place in draft.contact or not column.filled:
                continue
            if name in read_tables and column.name == TABLES["customers"].key and profile.own:
                # beside customers in the tables of the contract, it is read by its name
                continue
            if column.contact >= CONTACT or contact_names & set(bare_names(column.name, name)):
                draft.contact.append(place)
            elif place not in draft.left and name in read_tables:
                draft.left[place] = _why_left(column, table, profile)
        if name not in read_tables and name not in draft.left:
            draft.left[name] = _why_table_left(table, profile, leads)
        if name not in read_tables:
            draft.tables[name] = table.rows
    for name, why in profile.unread.items():
        draft.left[name] = f"it cannot be read: {why}"


def _why_left(column: Column, table: Table, profile: Profile) -> str:
    to = [
        each.to_table
        for each in profile.references
        if (each.table, each.column) == (table.name, column.name) and is_plausible(each, profile)
    ]
    if column.distinct == 1 and column.filled == table.rows:
        return "the same value in all rows"
    if is_free_text(column) or set(bare_names(column.name, table.name)) & TEXT_NAMES:
        return "free text"
    if to and not column.is_unique:
        return f"names a row of {to[0]}; {_NO_PLACE}"
    if is_time(column):
        return f"a time; {_NO_PLACE}"
    if column.words:
        return f"{counted(len(column.words), 'word')}; {_NO_PLACE}"
    return f"a number; {_NO_PLACE}" if is_amount(column) else _NO_PLACE


def _why_table_left(table: Table, profile: Profile, leads: Table) -> str:
    if not table.rows:
        return "no rows"
    if is_out(table.name):
        return "by its name, its rows were deleted or are a test"
    naming = [
        f"{each.table}.{each.column}"
        for each in profile.references
        if each.to_table == table.name and is_plausible(each, profile)
    ]
    if naming:
        return f"{', '.join(dict.fromkeys(naming))} names its rows; no table of the contract"
    if any(each.table == table.name and each.to_table == leads.name for each in profile.references):
        return f"it names rows of {leads.name}, but neither its name nor its words say what its rows are"
    if any(map(is_time, table.columns.values())):
        return f"it has times, but no column that names a row of {leads.name}, or a name that says nothing"
    return "no time, and no key that other tables name"
