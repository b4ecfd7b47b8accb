"""Files of a folder that are not read by themselves: with another ending, or in an older encoding."""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from store.source.reading.files import BYTE_ORDER_MARKS, DELIMITERS, Dialect

ENDINGS = (".txt", ".dat", ".asc", ".psv", ".tab", ".exp")
"""Endings of files that may be tables."""

ENCODING = "windows-1252"
"""What a file that is not UTF-8 is written in, if it comes from a spreadsheet of western Europe or America."""

BLOCK_BYTES = 1 << 20

HEAD_BYTES = 1 << 15


@dataclass(frozen=True)
class OddFile:
    """A file that is read in a form that a mapping states.

    Attributes
    ----------
    name, table : str
        The file, and the table that it is.
    encoding : str or None
    why : str
    """

    name: str
    table: str
    encoding: str | None
    why: str

    @property
    def dialect(self) -> Dialect:
        """The form as a reader takes it."""
        return Dialect(table=self.table, encoding=self.encoding)

    @property
    def form(self) -> dict[str, str]:
        """The form as a mapping states it."""
        return {"table": self.table} if self.encoding is None else {"table": self.table, "encoding": self.encoding}


def odd_files(folder: Path) -> Iterator[OddFile]:
    """Yield the files of a folder that can be read in another form than their names say."""
    stems = {path.stem.casefold() for path in folder.iterdir() if path.suffix.lower() == ".csv"}
    for path in sorted(folder.iterdir()):
        ending = path.suffix.lower()
        if path.name.startswith((".", "~$")) or not path.is_file() or ending not in (".csv", ".tsv", *ENDINGS):
            continue
        is_text = ending in ENDINGS
        if is_text and (path.stem.casefold() in stems or not _is_table(path)):
            continue
        encoding = None if _is_unicode(path) else ENCODING
        if is_text or encoding is not None:
            reasons = [
                *(["its lines have equally many values, as those of a CSV file"] if is_text else []),
                *(["it has bytes that are not UTF-8"] if encoding else []),
            ]
            yield OddFile(path.name, path.stem, encoding, ", and ".join(reasons))


def _is_unicode(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        # UTF-16 has bytes of 0, and no older encoding has
        if head.startswith(tuple(mark for mark, _ in BYTE_ORDER_MARKS)) or b"\0" in head:
            return True
        try:
            decoder.decode(head)
            while block := file.read(BLOCK_BYTES):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _is_table(path: Path) -> bool:
    """Say whether the first lines of a file have equally many values between delimiters."""
    with path.open("rb") as file:
        lines = file.read(HEAD_BYTES).decode("latin-1").splitlines()[:20]
    bare = [re.sub('"[^"]*"', "", line) for line in lines if line.strip()]
    if len(bare) < 2:
        return False
    delimiter = max(DELIMITERS, key=bare[0].count)
    # the last line may be cut off
    return bare[0].count(delimiter) > 0 and len({line.count(delimiter) for line in bare[:-1] or bare}) == 1
