"""Where readers find the marts."""

from dataclasses import dataclass

_REACHED: set[str] = set()
"""The records of the publications that have reached readers from this process."""


@dataclass(frozen=True, kw_only=True)
class Publication:
    """Where readers find the marts, and which losses a person has accepted.

    Parameters
    ----------
    path : str
        The file that readers open, of a warehouse that is a DuckDB file.
    group : str or None
        The group that may read it; None for its owner alone.
    record : str
        The file in which the home remembers its last publication.
    accepted : str
        The beginning of the hash of what may be lost; empty for none.
    """

    path: str
    group: str | None = None
    record: str
    accepted: str = ""

    def accepts(self, digest: str) -> bool:
        """Say whether what would be lost is what a person has accepted."""
        return self.accepted != "" and digest.startswith(self.accepted)

    def reached_readers(self) -> None:
        """Remember that readers have the marts of this process, whatever becomes of its run."""
        _REACHED.add(self.record)


def has_published(record: str) -> bool:
    """Say whether this process has published, by the file in which the home remembers its last publication."""
    return record in _REACHED
