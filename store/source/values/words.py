"""Texts as people type them: how they are compared, and which of them say that there is no value."""

import unicodedata
from functools import lru_cache
from itertools import groupby

MISSING = (
    "null", "n/a", "#n/a", "n.a.", "-", "--", "none", "nan", "nat", "nil", "(empty)", "(null)", "(none)", "(blank)",
    "<null>", r"\n", "#null!", "undefined", "na", "<na>", "#nv", "-none-", "[null]", "(no value)", "(leer)", "(vide)",
    "#ref!", "#value!", "#div/0!", "#name?", "#wert!", "#bezug!", "0000-00-00", "0000-00-00 00:00:00",
)  # fmt: skip
r"""Texts that stand for a missing value unless a mapping names others; as folded, so that `\n` is PostgreSQL's `\N`."""

ASCII_BLANKS = " \t\n\v\f\r\x1c\x1d\x1e\x1f"
"""The characters of ASCII that nobody sees at the ends of a text."""

_MINUS = "\u2212"

_DOTLESS = str.maketrans({"\u0131": "i", "\u0307": None})


@lru_cache(maxsize=1 << 16)
def plain(text: str) -> str:
    """Return a text in the characters of a keyboard, as far as they mean the same.

    Compatible forms are one (full-width digits and signs), format characters are gone, all digits are 0 to 9, all
    dashes are hyphens, and all spaces are the common one. Raised and lowered signs and fractions stay: 12² is not 122.
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
    """Return what two spellings of a word have in common: Unicode's case folding, and one kind of the letter i.

    Turkish has it with and without a dot, in capitals too: İptal, IPTAL and iptal are one word.
    """
    return unicodedata.normalize("NFKC", plain(text).casefold().translate(_DOTLESS))
