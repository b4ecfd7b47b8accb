"""Which columns ``attributes: auto`` takes, under which names, and why others are left."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from string import digits
from typing import TYPE_CHECKING

from models.declaring.attribute import COLUMN_LENGTH, NAME_LENGTH, SEPARATOR
from store.source.checking.attribute_texts import canonical, text_of
from store.source.mapping.forms import AUTO
from store.source.sql import one_row
from store.source.suggesting.kinds import UNIQUE, KindFound, kind_of
from store.source.suggesting.names import bare_names
from store.source.suggesting.vocabulary import CONTACT_NAMES, TEXT_NAMES, spoken, words_of
from store.source.values.texts import is_contact
from store.sql import literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MOST_ATTRIBUTES = 200

MOST_OPTIONS = 12
"""Options of a list that get a feature of their own."""

OPTION_SHARE = 0.01
"""Share of the rows that an option needs for a feature of its own."""

CONTACT_SHARE = 0.02
"""Share of the different values with an e-mail address or a telephone number from which a column is contact data."""

FEW_WORDS = 60
"""A text with at most so many different values is a vocabulary, whatever its name says of texts and identifiers."""

PEOPLE_SHARE = 0.6
"""Share of the different values that look like the name of a person."""

VALUES = 500

LONG_NUMBER = r"\s*\d{9,15}(\.0)?\s*"
"""Numbers as long as those of telephones, as a regular expression: no figure has so many digits in most rows."""

WHOLE = frozenset(
    {
        *CONTACT_NAMES,
        *TEXT_NAMES,
        *words_of(
            "surname given_name family_name middle_name maiden_name salutation_name nickname username user_name login "
            "skype linkedin xing facebook twitter instagram whatsapp telegram website homepage webpage url "
            "lat latitude lon lng longitude geo ip ip_address ssn passport bic swift signature avatar photo picture "
            "hausnummer house_number strasse_nr anschrift wohnort_strasse geburtstag geburtsdatum steuernummer "
            "telefax mobilnummer rufnummer festnetz ansprechpartner kontaktperson personne apellido anrede_name "
            "calle domicilio fecha_nacimiento date_de_naissance naissance adresse_postale numero_fiscal dni nif cif "
            "question remarks remark freitext freetext free_text memo feedback_text anmerkung anmerkungen hinweis "
            "commentaires comentarios observaciones mensaje "
        ),
    }
)
"""Names of columns with data of a person, or with texts that people write."""

PERSONAL = frozenset(
    words_of(
        "email mail phone telephone telefon telefono tel mobile mobil handy fax telefax cell gsm whatsapp iban bic "
        "street strasse rue calle address adresse anschrift direccion domicilio birthday birthdate birth geburtstag "
        "dob geburtsdatum naissance nacimiento vorname nachname firstname lastname surname prenom apellido apellidos "
        "steuernummer steuer ssn passport linkedin xing facebook twitter instagram skype courriel correo ip"
    )
)
"""Words in the names of columns with data of a person."""

STEMS = tuple(
    words_of(
        "telefon telephone mobilnummer handynummer faxnummer emailadresse mailadresse strasse anschrift geburts "
        "vorname nachname steuernummer kontonummer whatsapp linkedin bemerkung kommentar"
    )
)
"""Beginnings and ends of such words, which German joins to others."""

OF_PERSON = frozenset(
    words_of("first last full given family middle contact customer lead client person kunde kunden kontakt")
)
"""Words beside which ``name`` is that of a person."""

IDENTIFIERS = frozenset(words_of("id ids uuid guid gid gclid fbclid msclkid hash token session cookie key kennung"))
"""Words in the names of columns that tell rows apart."""

_PERSON = re.compile(
    r"(?:(?:Herr|Frau|Mr|Mrs|Ms|Dr|Prof)\.? )*[A-ZÀ-ÖØ-Þ][^\W\d_]+(?:[ -](?:(?:von|van|de|der|la|el|bin|al)[ -])*"
    r"[A-ZÀ-ÖØ-Þ][^\W\d_]+){1,3}|[A-ZÀ-ÖØ-Þ][^\W\d_]+, [A-ZÀ-ÖØ-Þ][^\W\d_]+"
)

_GERMAN = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "æ": "ae", "ø": "oe", "å": "a", "œ": "oe", "ł": "l"}
)


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A column that becomes an attribute.

    Attributes
    ----------
    name : str
        Of the attribute.
    label : str
        The name of the column in the source.
    found : KindFound
        Its kind, and how its values are read.
    """

    name: str
    label: str
    found: KindFound


@dataclass(frozen=True, kw_only=True)
class Left:
    """A column that becomes no attribute, and why: a part of a sentence."""

    label: str
    why: str


def choose(
    connection: DuckDBPyConnection,
    relation: str,
    columns: Mapping[str, str],
    taken: Collection[str],
    *,
    names: Collection[str] = (),
    table: str = "",
    most: int = MOST_ATTRIBUTES,
) -> tuple[list[Chosen], list[Left]]:
    """Choose the columns that are fit as attributes.

    Parameters
    ----------
    connection : DuckDBPyConnection
        A scratch database with the functions on one value.
    relation : str
        SQL of the relation, with a row per lead or project.
    columns : mapping of str to str
        By source column its SQL.
    taken : collection of str
        The source columns that the mapping reads already: none of them becomes an attribute, and none that repeats one.
    names : collection of str
        Names of attributes that the mapping gives.
    table : str
        The name of the source table, whose own name may precede those of its columns.
    most : int
        At most so many columns are chosen.
    """
    found: list[Chosen] = []
    left: list[Left] = []
    # what a mapping says beside the names of attributes is no name of one
    used = [*names, AUTO]
    for label, column in columns.items():
        if label in taken:
            continue
        kind = kind_of(connection, relation, column)
        if (why := _why_not(connection, relation, label, column, kind, table)) is not None:
            left.append(Left(label=label, why=why))
            continue
        if kind.kind == "number" and IDENTIFIERS.intersection(spoken(label).split("_")):
            # the numbers of a few campaigns are names
            kind = replace(kind, kind="category", numbers=None)
        found.append(Chosen(name=name_of(label, used), label=label, found=kind))
        used.append(found[-1].name)
    repeats = _repeats(connection, relation, columns, taken, found)
    left += [Left(label=label, why=f"repeats {of}") for label, of in repeats.items()]
    fit = [each for each in found if each.label not in repeats]
    left += [Left(label=each.label, why=f"more than {MOST_ATTRIBUTES} columns are fit") for each in fit[most:]]
    places = {label: place for place, label in enumerate(columns)}
    return fit[:most], sorted(left, key=lambda each: places[each.label])


def name_of(label: str, used: Collection[str] = ()) -> str:
    """Return the name of an attribute: a lower-case identifier that no other attribute's features share.

    Parameters
    ----------
    label : str
        The name of the column in the source.
    used : collection of str
        Names of other attributes.
    """
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFC", label).casefold().translate(_GERMAN))
    text = "_".join(re.findall("[a-z0-9]+", "".join(each for each in text if not unicodedata.combining(each))))
    if not text or text[0].isdigit():
        text = f"column_{text}".rstrip("_")
    # `<name>_has_<option>` is a feature of a list
    text = text.replace("_has_", "_")[:NAME_LENGTH].rstrip("_")
    name, number = text, 2
    while any(_clash(name, other) for other in used):
        end = f"_{number}"
        name, number = f"{text[: NAME_LENGTH - len(end)].rstrip('_')}{end}", number + 1
    return name


def _clash(one: str, other: str) -> bool:
    """Say whether features of two attributes could have one name, as of `visit_days` and of the date `visit`."""
    return one == other or any(
        long in (f"{short}_days", f"{short}_count") for long, short in ((one, other), (other, one))
    )


def options_of(
    connection: DuckDBPyConnection, relation: str, value: str, prefix: str, most: int = MOST_OPTIONS
) -> tuple[tuple[str, str], ...]:
    """Return the frequent options of a list, the most frequent first, each with the end of its column's name.

    Parameters
    ----------
    connection : DuckDBPyConnection
    relation : str
    value : str
        SQL of the canonical text.
    prefix : str
        The beginning of the names of the columns, such as ``attribute_interests_has_``.
    most : int
        At most so many are returned.
    """
    found = connection.execute(
        f"select o from (select unnest(string_split({value}, {literal(SEPARATOR)})) as o from {relation}) "
        f"where o <> '' group by 1 having count(*) >= {OPTION_SHARE} * (select count(*) from {relation}) "
        f"order by count(*) desc, 1 limit {most}"
    ).fetchall()
    options: list[tuple[str, str]] = []
    longest = COLUMN_LENGTH - len(prefix)
    for (option,) in found:
        used = {each for _, each in options}
        identifier = text = name_of(option)[:longest].rstrip("_")
        number = 2
        while identifier in used:
            end = f"_{number}"
            identifier, number = f"{text[: longest - len(end)]}{end}", number + 1
        options.append((option, identifier))
    return tuple(options)


def _why_not(
    connection: DuckDBPyConnection, relation: str, label: str, column: str, found: KindFound, table: str
) -> str | None:
    if found.filled == 0 and found.kind is None:
        return found.why
    if (why := _personal_name(label, table, found)) is not None:
        return why
    if found.kind is None:
        return found.why
    if found.distinct == 1 and found.filled == found.rows:
        return "the same value in all rows"
    parts = set(spoken(label).split("_"))
    is_unique = found.distinct > 0.95 * found.filled
    if parts & IDENTIFIERS and (found.distinct > FEW_WORDS or is_unique):
        return "an identifier"
    if found.kind == "number" and is_unique and found.filled == found.rows and found.rows > FEW_WORDS:
        (counts,) = one_row(
            connection,
            f"select max(n) - min(n) + 1 = count(*) from (select try_cast({column} as hugeint) as n from {relation}) "
            "where n is not null",
        )
        if counts:
            return "a number that counts the rows"
    if found.kind == "number" and found.distinct > max(FEW_WORDS, UNIQUE * found.filled):
        (are_long,) = one_row(
            connection,
            f"select avg(regexp_full_match(cast({column} as varchar), {literal(LONG_NUMBER)})::integer) > {UNIQUE} "
            f"from {relation} where {column} is not null",
        )
        if are_long:
            return "long numbers that are different, such as those of telephones and accounts"
    if found.kind not in ("category", "choices"):
        return None
    values = [
        value
        for (value,) in connection.execute(
            f"select distinct v from (select {text_of(column)} as v from {relation}) where v is not null "
            f"order by hash(v) limit {VALUES}"
        ).fetchall()
    ]
    if sum(map(is_contact, values)) > max(1, CONTACT_SHARE * len(values)):
        return "contact data"
    if found.distinct > FEW_WORDS and sum(map(bool, map(_PERSON.fullmatch, values))) > PEOPLE_SHARE * len(values):
        return "looks like names of people or companies"
    return None


def _personal_name(label: str, table: str, found: KindFound) -> str | None:
    """Say why the name of a column forbids to take it, or None."""
    # Tel2 and Note1 are a telephone number and a note
    forms = {each.rstrip(f"{digits}_") for each in bare_names(label, table)}
    parts = [each.rstrip(digits) for each in spoken(label).split("_")]
    is_text = found.kind in (None, "category", "choices")
    if forms & WHOLE:
        return "free text" if forms & TEXT_NAMES else "contact data, by its name"
    # "e-mail opt-in" and "number of calls by phone" say nothing of a person
    is_figure = found.kind in ("flag", "date") or (found.kind == "number" and found.distinct <= FEW_WORDS)
    born = {"birth", "dob", "birthday", "birthdate", "geburtstag", "geburtsdatum", "naissance", "nacimiento"}
    is_personal = bool(set(parts) & PERSONAL) or any(
        part.startswith(STEMS) or part.endswith(STEMS) for part in (*parts, "".join(parts))
    )
    if is_personal and (not is_figure or set(parts) & born):
        return "contact data, by its name"
    if "name" in parts and set(parts) & OF_PERSON and is_text:
        return "contact data, by its name"
    if is_text and found.distinct > FEW_WORDS and set(parts) & TEXT_NAMES:
        return "free text"
    return None


def _repeats(
    connection: DuckDBPyConnection,
    relation: str,
    columns: Mapping[str, str],
    taken: Collection[str],
    found: Sequence[Chosen],
) -> dict[str, str]:
    """Return the columns that repeat an earlier one exactly, or one that the mapping reads."""
    labels = [label for label in columns if label in taken]
    kinds = {each.label: each.found for each in found}
    both = [*labels, *kinds]
    if not kinds:
        return {}
    # each step has its own SELECT: an expression would be planned again wherever another one uses it
    read = ", ".join(f"{text_of(columns[label])} as c{place}" for place, label in enumerate(both))
    rows = f"(select {read} from {relation})"
    forms = ", ".join(
        f"{_canonical(kinds[label], f'c{place}')} as d{place}" for place, label in enumerate(both) if label in kinds
    )
    rows = f"(select row_number() over () as n, *, {forms} from {rows})"
    # columns that the mapping reads are compared by their texts, all others by what the texts mean
    texts = [(label, f"c{place}") for place, label in enumerate(both)]
    meant = [(label, f"d{place}") for place, label in enumerate(both) if label in kinds]
    hashes = ", ".join(f"sum(hash(n || ' ' || {text})::hugeint)" for _, text in (*texts, *meant))
    values = one_row(connection, f"select {hashes} from {rows}")
    repeats: dict[str, str] = {}
    for compared, of in ((texts, values[: len(texts)]), (meant, values[len(texts) :])):
        seen: dict[object, str] = {}
        for (label, _), value in zip(compared, of, strict=True):
            if value is not None and seen.setdefault(value, label) != label and label in kinds:
                repeats.setdefault(label, seen[value])
    return repeats


def _canonical(found: KindFound, text: str) -> str:
    return canonical(found.kind or "category", text, at=found.at, numbers=found.numbers, formats=found.formats)
