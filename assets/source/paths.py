"""Paths for libraries that take characters of a path for something else: patterns, formats, SQL, partitions."""

from __future__ import annotations

import re
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from assets.source.contract import SourceContractError

if TYPE_CHECKING:
    from collections.abc import Iterator


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
