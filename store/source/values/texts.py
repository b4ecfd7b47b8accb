"""Texts as people type them: their comparison, words for a missing value, and contact data in them.

Contact data are e-mail addresses and telephone numbers. The country of a text is unknown: a row of digits counts as a
telephone number if it is written like one.
"""

import re
import unicodedata
from functools import lru_cache
from html import unescape
from itertools import groupby
from urllib.parse import unquote

MISSING = (
    "null", "n/a", "#n/a", "n.a.", "-", "--", "none", "nan", "nat", "nil", "(empty)", "(null)", "(none)", "(blank)",
    "<null>", r"\n", "#null!", "undefined", "na", "<na>", "#nv", "-none-", "[null]", "(no value)", "(leer)", "(vide)",
    "#ref!", "#value!", "#div/0!", "#name?", "#wert!", "#bezug!", "0000-00-00", "0000-00-00 00:00:00",
)  # fmt: skip
r"""Words for a missing value unless a mapping names others; they are folded, so that `\n` is PostgreSQL's `\N`."""

ASCII_BLANKS = " \t\n\v\f\r\x1c\x1d\x1e\x1f"
"""The invisible characters of ASCII at the ends of a text."""

_MINUS = "\u2212"

_DOTLESS = str.maketrans({"\u0131": "i", "\u0307": None})


# Telephone numbers as people write them. A bare row of digits counts as one only if it starts like a national number
# (0, then not 0, ten or eleven digits); otherwise it may be an id.
PHONES = (
    r"\+\s?\d[\d\s().\-/]{5,22}\d",
    r"(?:[0178][\s.\-]*)?\(\d{2,5}\)[\d\s.\-/]{4,14}\d",
    r"0[1-9]\d{8,9}",
    r"00[1-9]\d{9,12}",
    r"00[1-9][\d\s().\-/]{9,18}",
    r"0(?:\d{1,4}|\s\d{2,4})(?:\s?[./\-]\s?|\s)\d[\d\s./\-]{4,12}\d",
    r"(1[\s.\-])?\d{3}[\s.\-]\d{3}[\s.\-]\d{4}",
)

EMAIL = r"[^\s@<>,;]+@[^\s@<>,;]+\.[A-Za-z]{2,}"

_PHONE = re.compile("|".join(PHONES))

# among other words, a leading zero alone does not make a telephone number
_IN_TEXT = re.compile("|".join((*PHONES[:2], *PHONES[3:5], PHONES[6], r"0\d{1,4}(?:[\s./\-]\d{2,4}){2,5}")))

_HINTED = re.compile(r"[+(]?\d[\d\s().\-/]{5,20}\d")

_ADDRESS = re.compile(
    r"[^\s@<>,;:=?&/]+(?:@|@\s|\s@)(?:[^\W_]|-)+(?:\.(?:[^\W_]|-)+)*\.[^\W\d_](?:[^\W_]|-)+"
    r"|[^\s@<>,;:=?&/]+@(?:[^\W_]|-)+(?:\.(?:[^\W_]|-)+)+"
    r"|[^\s@<>,;:=?&/]+@\[[\d.]+\]"
    r"|^(?:mailto:)?[\w.+\-]+@[\w\-]+$"
    r"|[\w.+\-]+\s+at\s+[\w\-]+\s+dot\s+(?:com|org|net|edu|gov|info|biz|[a-z]{2})\b"
    r"|[\w.+\-]+\s*[(\[{]\s*(?:at|@)\s*[)\]}]\s*[\w\-]+\s*(?:\.|[(\[{]\s*(?:dot|\.)\s*[)\]}])\s*\w{2,}",
    re.IGNORECASE,
)

_RUN = re.compile(r"[+(]*\d[\d\s().\-/]*")

_HINT = re.compile(
    r"(?:t[e\u00e9]l(?:efono?|ephone|efone|\u00e9phone|\u00e9fono|f)?|phone|ph|mob(?:ile?|il)?|cell(?:ulare)?|fon|"
    r"handy|fax|tlf|cep|gsm|movil|m\u00f3vil|portable|whats\s?app|wa\.me|call(?:\s?to)?|sms|"
    r"\u260e|\u260f|\U0001f4de|\U0001f4f1)(?:\W?(?:nr|no|num(?:mer|ber|ero)?))?\W*$",
    re.IGNORECASE,
)

_HINT_AFTER = re.compile(
    r"\W*(?:x\W?\d|ext\b|(?:mobile?|mobil|cell|tel|phone|fax|handy|whats\s?app|home|work|office|private?)\b)",
    re.IGNORECASE,
)

_REFERENCE = re.compile(
    r"(?:#|\b(?:no|nr|num|number|id|ref|reference|order|invoice|inv|case|ticket|iban|bic|account|acct|contract|policy|"
    r"isbn|ean|vat|version|v|auftrag|rechnung|vertrag|konto|kunde|customer|zip|plz)\b)\W*$",
    re.IGNORECASE,
)

_DATE = re.compile(r"(?:\d{1,2}[./\-]\d{1,2}[./\-]\d{2}(?:\d{2})?|\d{4}[./\-]\d{1,2}[./\-]\d{1,2})(?!\d)")

_ATTACHED = re.compile(r"(?:[^\W_][^\w\s:;,=(\[{<\"']*|_)$")

_DRAWN_OUT = re.compile(r"(?<=\d)\u30fc+(?=\d)")

_QUOTES = "='\"`\u00b4\u2018\u2019\u201a\u201c\u201d\u201e "

_MIN_DIGITS = 7


@lru_cache(maxsize=1 << 16)
def plain(text: str) -> str:
    """Return a text in plain characters, as far as they have the same meaning.

    Compatible forms become one (full-width digits and signs), format characters are removed, all digits become 0 to 9,
    all dashes hyphens, and all spaces the common one. Superscripts, subscripts and fractions stay: 12² is not 122.
    """
    if text.isascii():
        return text.strip()
    compatible = (
        "".join(part) if is_raised else unicodedata.normalize("NFKC", "".join(part))
        for is_raised, part in groupby(
            text, lambda each: unicodedata.decomposition(each).startswith(("<super>", "<sub>", "<fraction>"))
        )
    )
    return "".join(map(_plain, "".join(compatible))).strip()


def _plain(character: str) -> str:
    if character < "\x80":
        return " " if character in ASCII_BLANKS else character
    match unicodedata.category(character):
        case "Cf":
            return ""
        case "Zs" | "Zl" | "Zp":
            return " "
        case "Pd":
            return "-"
        case "Nd":
            return str(unicodedata.digit(character))
    return "-" if character == _MINUS else character


@lru_cache(maxsize=1 << 16)
def folded(text: str) -> str:
    """Return the common form of all spellings of a word: Unicode's case folding, and one form of the letter i.

    Turkish writes i with and without a dot, in capitals too: İptal, IPTAL and iptal are one word.
    """
    return unicodedata.normalize("NFKC", plain(text).casefold().translate(_DOTLESS))


@lru_cache(maxsize=1 << 16)
def is_contact(text: str) -> bool:
    """Say whether a text holds an e-mail address or a telephone number."""
    # the Japanese sign for a long vowel is used as a dash between digits
    return is_address(text) or _holds_number(_DRAWN_OUT.sub("-", plain(_decoded(text))).strip(_QUOTES))


def is_address(text: str) -> bool:
    """Say whether a text holds an e-mail address."""
    shown_text = plain(_decoded(text)).strip(_QUOTES).replace("\u3002", ".")
    return ("@" in shown_text or "at" in shown_text.lower()) and _ADDRESS.search(shown_text) is not None


def _decoded(text: str) -> str:
    """Return a text with entities of HTML and percent-encoded characters decoded."""
    decoded = unescape(text) if "&" in text else text
    return unquote(decoded) if "%" in decoded else decoded


def _holds_number(text: str) -> bool:
    if sum(map(str.isdigit, text)) < _MIN_DIGITS:
        return False
    is_number = _PHONE.fullmatch(text) is not None and not _DATE.match(text)
    return is_number or any(_is_number(text, run) for run in _RUN.finditer(text))


def _is_number(text: str, run: re.Match[str]) -> bool:
    """Say whether a row of digits within a text is a telephone number, or holds one."""
    digits = run.group().rstrip("\t\n ()./-")
    before, after = text[: run.start()], text[run.start() + len(digits) :]
    is_hinted = bool(_HINT.search(before) or _HINT_AFTER.match(after))
    # the digits are a part of a longer sign, such as an id
    if not is_hinted and (_ATTACHED.search(before) or re.match(r"\w", after)):
        return False
    is_reference = not is_hinted and bool(_REFERENCE.search(before))
    # there may be two numbers in one text
    for part in (digits, *re.split(r"(?=\+)|\s/\s|\s-\s", digits)):
        number = part.strip(" ./-")
        number = number if number.count("(") == number.count(")") else number.strip("()")
        if _DATE.match(number) or sum(map(str.isdigit, number)) < _MIN_DIGITS:
            continue
        if is_hinted and _HINTED.fullmatch(number):
            return True
        if (number.startswith("+") or not is_reference) and _IN_TEXT.fullmatch(number):
            return True
    return False
