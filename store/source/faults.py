"""Errors of a source are collected while the work can go on, so that a person sees all of them at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from store.source.contract import SourceContractError, SourceUnavailableError


class Faults:
    """Errors that are raised together."""

    def __init__(self) -> None:
        self._found: list[SourceContractError] = []

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Keep the error of a source; a database that does not answer ends the work at once."""
        try:
            yield
        except SourceUnavailableError:
            raise
        except SourceContractError as fault:
            self._found.append(fault)

    def refuse(self) -> None:
        """Raise what was collected, if anything.

        Raises
        ------
        SourceContractError
            With the messages of all errors.
        """
        if self._found:
            raise SourceContractError("\n".join(map(str, self._found))) from self._found[0]
