"""The files of a table, and paths that DuckDB takes for nothing else: patterns, formats, SQL, partitions."""

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from store.source.contract import SourceContractError
from store.source.reading.csv_form import Csv


@dataclass(frozen=True)
class FilePart:
    """One file of a table.

    Attributes
    ----------
    path : Path
    shown : str
        Its name in messages.
    state : tuple of int
        Size, time and number of the file as it was opened.
    names : mapping of str to str
        The columns as the file spells them, in its order, by their cleaned names in lower case.
    csv : Csv or None
        How a CSV file is written; None of Parquet.
    types : mapping of str to str
        Of Parquet the types of the columns, as Arrow names them.
    """

    path: Path
    shown: str
    state: tuple[int, ...]
    names: Mapping[str, str]
    csv: Csv | None = None
    types: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def linked(path: Path, name: str) -> Iterator[str]:
    """Give a file or a folder a path in which nothing but letters, digits and the like stands.

    Parameters
    ----------
    path : Path
    name : str
        The last part of the path that is given.

    Raises
    ------
    SourceContractError
        If the folder for temporary files has another path.
    """
    with tempfile.TemporaryDirectory(prefix="leadline-") as folder:
        if (found := re.search(r"[^\w/.\-+ ]", folder)) is not None:
            raise SourceContractError(
                f"the folder for temporary files: expected a path of letters and digits, found {found[0]} in "
                f"{Path(folder).parent}. Set TMPDIR to another folder."
            )
        link = Path(folder) / name
        link.symlink_to(path.resolve())
        yield str(link)
