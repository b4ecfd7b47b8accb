"""What the name of a table or a column says, and what a word of a source means."""

from functools import lru_cache

from store.source.suggesting.vocabulary import (
    COLUMN_NAMES,
    ENDING_WORDS,
    ENTITIES,
    OUT,
    TABLE_NAMES,
    WORDS,
    spoken,
)


def meaning(table: str, column: str, word: str) -> str | None:
    """Return the word of a vocabulary that a source's word stands for, or None if the lists do not say."""
    said = spoken(word)
    return _meanings(table, column).get(said)


@lru_cache
def _meanings(table: str, column: str) -> dict[str, str]:
    listed = WORDS[table, column]
    found: dict[str, str] = {}
    for meant, words in listed.items():
        for word in (meant, *words):
            found.setdefault(spoken(word), meant)
    return found


def is_ending(word: str) -> bool:
    """Say whether a status says that nobody works on a lead any more."""
    return spoken(word) in ENDING_WORDS


def is_out(name: str) -> bool:
    """Say whether the name of a table says that its rows were deleted, or are a test."""
    return bool(OUT & {*spoken(name).split("_")})


def singular(name: str) -> str:
    """Return a spoken name of a table without its plural, as far as simple rules reach."""
    for ending, instead in (("ies", "y"), ("aten", "at"), ("ses", "s"), ("s", ""), ("en", ""), ("e", "")):
        if name.endswith(ending) and len(name) > len(ending) + 2:
            return name[: -len(ending)] + instead
    return name


def role_of(name: str) -> tuple[str, str] | None:
    """Return the contract table that the name of a table stands for, and the word that says so; None if none does."""
    said = spoken(name)
    forms = [said, singular(said)]
    parts = said.split("_")
    # the last words of a name say most: all-deals, export_2026_contacts
    forms += ["_".join(parts[start:stop]) for stop in range(len(parts), 0, -1) for start in range(stop)]
    # Kunden, Anfragen
    forms += [other for form in forms for other in (singular(form), form.removesuffix("n"))]
    known = {each: role for role, names in TABLE_NAMES.items() for each in names}
    found = [form for form in dict.fromkeys(forms) if form in known]
    # a history of leads is a history, and the activities of a deal are activities
    order = ("changes", "appointments", "interactions", "projects", "leads")
    exact = [form for form in found if form in (said, singular(said), said.removesuffix("n"))]
    for chosen in (exact, found):
        for role in order:
            for form in chosen:
                if known[form] == role:
                    return role, form
    return None


def name_rank(table: str, column: str, name: str, of_table: str = "") -> int | None:
    """Return the place of a source column among the usual names of a contract column; None if it is no such name.

    Parameters
    ----------
    table, column : str
        Of the contract.
    name : str
        The source column.
    of_table : str
        The source table, whose own name may precede that of the column.
    """
    if spoken(name) == spoken(column):
        return -1
    names = COLUMN_NAMES.get(table, {}).get(column, ())
    for form in bare_names(name, of_table):
        if form in names:
            return names.index(form)
    return None


@lru_cache(maxsize=1 << 14)
def bare_names(name: str, of_table: str = "") -> tuple[str, ...]:
    """Return the spoken name of a column, and the name without words for the row itself."""
    said = spoken(name)
    parts = said.split("_")
    own = {*ENTITIES, *spoken(of_table).split("_"), *(singular(each) for each in spoken(of_table).split("_"))}
    forms = [said]
    while len(parts) > 1 and (parts[0] in own or singular(parts[0]) in own):
        parts = parts[1:]
        forms.append("_".join(parts))
    return tuple(forms)
