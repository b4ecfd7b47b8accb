"""Which columns of a table are its key, its creation, its status and its outcome, and which references are likely."""

from store.source.suggesting.evidence import NEARLY, Column, Profile, Reference, Table, may_be_key
from store.source.suggesting.names import bare_names, meaning, name_rank, role_of, singular
from store.source.suggesting.vocabulary import COLUMN_NAMES, CONTACT_NAMES, KEYS, PEOPLE, TEXT_NAMES, spoken, words_of

MOST_TIMES = 0.8
"""Share of the values of a column that must be times."""

FIRST = 0.97
"""Share of the rows in which a creation is not after another time of the row."""

CREATED = 0.8
"""Share of the rows that must have a time which no name calls the creation."""

ANY_TIME = frozenset(words_of("date datum datetime date_time timestamp zeit zeitpunkt zeitstempel fecha jour"))
"""Names of a time that say nothing of what it is: of the times of a row, the one of the row itself."""

FOUND = 0.9
"""Share of values that must be found in a key if the name of the column does not say that it names one."""

FOUND_OF_NAMED = 0.5

FEW_ROWS = 5

_IS_WON = frozenset(("is_won", "won", "is_closed_won", "gewonnen"))

_IS_CLOSED = frozenset(("is_closed", "closed", "is_deal_closed", "geschlossen", "abgeschlossen"))

SMALL_DIGITS = 7

_KEY_ENDS = ("_no", "_number", "nummer", "nr", "id")

_KEY_BEGINNINGS = ("id_", "no_", "num_", "numero_", "nr_", "ref_", "reference_")

LONGEST_KEY = 64

KNOWN_KINDS = 0.5
"""Share of the rows of a table that must have a known kind of activity."""


def is_time(column: Column) -> bool:
    """Say whether nearly all values of a column are times by themselves."""
    return column.times is not None and column.times.share >= MOST_TIMES and not column.times.is_figure


def is_time_of_row(column: Column, table: Table) -> bool:
    """Say whether a column has times of what happened with a row: the birthday of a person is none."""
    return is_time(column) and not CONTACT_NAMES & set(bare_names(column.name, table.name))


def may_be_time(column: Column) -> bool:
    """Say whether the values are times, or figures that a name can make times."""
    return column.times is not None and column.times.share >= MOST_TIMES


def key_of(table: Table, profile: Profile) -> str | None:
    """Return the column that tells the rows of a table apart, or None."""
    role = role_of(table.name)
    own = {"id", "record_id"} | ({f"{role[1]}_id", f"{role[0].removesuffix('s')}_id"} if role else set())
    referenced = {
        each.to_column for each in profile.references if each.to_table == table.name and is_plausible(each, profile)
    }
    # a column that names another row is no key, even if no two rows name the same one
    named_back = {(each.to_table, each.to_column, each.table, each.column): each.share for each in profile.references}
    referring = {
        each.column
        for each in profile.references
        if each.table == table.name
        and not is_of_facts(each.to_table)
        and named_back.get((each.table, each.column, each.to_table, each.to_column), 0.0) < each.share
        and is_plausible(each, profile)
    }
    ranks: list[tuple[int, int, str]] = []
    for place, column in enumerate(table.columns.values()):
        if not may_be_key(table, column):
            continue
        said = spoken(column.name)
        # a text of a person is no key, even if no two are equal
        if (column.name in referring and said not in own) or column.longest > LONGEST_KEY or said in TEXT_NAMES:
            continue
        bare = bare_names(column.name, table.name)[-1]
        if said in own:
            rank = 0
        elif bare in KEYS or said.endswith(_KEY_ENDS) or said.startswith(_KEY_BEGINNINGS):
            rank = 1
        elif not column.is_unique or column.filled < table.rows:
            continue
        elif column.name in referenced and not column.contact:
            rank = 2
        elif column.contact or "mail" in said:
            rank = 4
        else:
            rank = 3
        ranks.append((rank, place, column.name))
    best = min(ranks, default=None)
    # that no two values are equal may be chance
    if best is None or (best[0] == 3 and table.columns[best[2]].numbers is not None):
        return None
    return best[2]


def tells_activities(table: Table) -> bool:
    """Say whether a column of a table has kinds of activities, such as call and e-mail, in most of its rows."""
    for column in table.columns.values():
        known = [rows for word, rows in column.words if meaning("interactions", "type", word) is not None]
        if len(known) > 1 and sum(known) >= KNOWN_KINDS * table.rows:
            return True
    return False


def is_of_facts(name: str) -> bool:
    """Say whether the name of a table says that its rows are activities, appointments or changes."""
    role = role_of(name)
    return role is not None and role[0] in ("interactions", "appointments", "changes")


def created_of(table: Table) -> str | None:
    """Return the time at which the rows of a table began, or None."""
    ranked = [
        (rank, place, column.name)
        for place, column in enumerate(table.columns.values())
        if may_be_time(column) and (rank := name_rank("leads", "created_at", column.name, table.name)) is not None
    ]
    if ranked:
        return min(ranked)[2]
    others = [
        column.name
        for column in table.columns.values()
        # nearly every row has a creation
        if is_time_of_row(column, table)
        and column.filled >= CREATED * table.rows
        and all(
            name_rank(of, each, column.name, table.name) is None
            for of, each in (("leads", "updated_at"), ("projects", "closed_at"), ("projects", "expected_close_at"))
        )
    ]
    first = [name for name in others if spoken(name) in ANY_TIME] or [
        name
        for name in others
        if all(table.in_order.get((name, other), 1.0) >= FIRST for other in table.columns if other != name)
    ]
    return first[0] if len(first) == 1 else None


def says_won(column: Column) -> bool:
    """Say whether a column is a flag for deals that were won."""
    return column.is_flag and bool(_IS_WON & set(bare_names(column.name)))


def says_closed(column: Column, table: str) -> bool:
    """Say whether a column of a table is a flag for deals that have ended."""
    return column.is_flag and bool(_IS_CLOSED & set(bare_names(column.name, table)))


def may_be_status(column: Column, table: str) -> bool:
    """Say whether a column of a table may tell how deals ended, by its name or its words."""
    is_named = name_rank("projects", "status", column.name, table) is not None or says_closed(column, table)
    return is_named or says_won(column) or any(meaning("projects", "status", word) == "won" for word, _ in column.words)


def outcomes_of(table: Table) -> str | None:
    """Return the column that says which deals were won, or None."""
    found: list[tuple[int, int, str]] = []
    for place, column in enumerate(table.columns.values()):
        rank = name_rank("projects", "status", column.name, table.name)
        meanings = {meaning("projects", "status", word) for word, _ in column.words}
        if "won" in meanings or says_won(column):
            found.append((len(COLUMN_NAMES["projects"]["status"]) if rank is None else rank, place, column.name))
    return min(found)[2] if found else None


def status_of(table: Table) -> str | None:
    """Return the status of a table of deals, even if none of its words is known; None if there is no such column."""
    if (known := outcomes_of(table)) is not None:
        return known
    named = [
        (rank, place, column.name)
        for place, column in enumerate(table.columns.values())
        if column.words and (rank := name_rank("projects", "status", column.name, table.name)) is not None
    ]
    return min(named)[2] if named else None


def is_plausible(reference: Reference, profile: Profile) -> bool:
    """Say whether a column names the rows of another table, or has its values by chance."""
    column, key = reference.column, profile.tables[reference.to_table].columns[reference.to_column]
    said = spoken(column)
    if said == "lead_id" or said == spoken(reference.to_column) != "id":
        return reference.share >= 1 / 20
    target = spoken(reference.to_table)
    of_target = {target, singular(target), *target.split("_"), *map(singular, target.split("_"))}
    if (role := role_of(reference.to_table)) is not None:
        of_target |= (
            PEOPLE if role[0] == "leads" else {role[1], "deal", "opportunity"} if role[0] == "projects" else set()
        )
    parts = set(said.split("_"))
    has_id = bool(parts & {*KEYS, "id"}) or said.endswith("id")
    if parts & of_target or any(part.removesuffix("id") in of_target for part in parts):
        return reference.share >= FOUND_OF_NAMED
    own = profile.tables[reference.table].columns[column]
    if reference.share < FOUND or own.distinct < FEW_ROWS:
        return False
    # small numbers stand in any key: the name must say that it names a row, and none of another table
    return not is_small(key) or (has_id and said != "id" and not parts & _words_of_others(profile, reference.to_table))


def _words_of_others(profile: Profile, table: str) -> set[str]:
    words = {word for other in profile.tables if other != table for word in spoken(other).split("_")}
    return (words | set(map(singular, words))) - {*KEYS, "id"}


def is_small(key: Column) -> bool:
    """Say whether a key consists of small numbers, which other columns have by chance."""
    return key.numbers is not None and key.numbers.share >= NEARLY and key.longest <= SMALL_DIGITS
