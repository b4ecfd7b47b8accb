"""The warehouse: its engines, its connections, and the marker of the last extraction."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from models.declared.earlier import ENTITY
from models.declaring.attribute import Attribute
from models.declaring.entity import Entity
from store.addresses import SCHEMES
from store.sql import literals
from store.warehouse.connection import Connection, columns_of, table_exists
from store.warehouse.duckdb.engine import DuckDB
from store.warehouse.engine import Engine, Excerpt, WarehouseUnavailableError
from store.warehouse.postgres.engine import Postgres

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


ENGINES: dict[str, type[Engine]] = {"duckdb:": DuckDB, **dict.fromkeys(SCHEMES, Postgres), "postgres": Postgres}
"""Engines by the beginning of an address. ``postgres`` alone is Leadline's own server, whose address is known once it
runs."""


FEATURE_CLOCK = ("features", "feature_clock")

CLOCKS = (("raw", "extraction"), FEATURE_CLOCK)
"""The tables that hold the clocks of facts and of features."""


def engine_of(address: str) -> Engine:
    """Return the engine of a warehouse.

    Raises
    ------
    ValueError
        If no engine has such addresses; the message shows only the scheme, because an address may hold a password.
    """
    for scheme, engine in ENGINES.items():
        if address.startswith(scheme):
            return engine(address)
    raise ValueError(
        f"warehouse: expected duckdb:<path> or postgresql://…, found {address.split(':', 1)[0]!r}. "
        "Correct the warehouse's address."
    )


def is_address(text: str) -> bool:
    """Say whether a text is the address of a warehouse."""
    return text.startswith(tuple(scheme for scheme in ENGINES if ":" in scheme))


class NoExtractionError(RuntimeError):
    """Nothing has been extracted yet."""


class StaleFeaturesError(RuntimeError):
    """Features and labels are not those of the last extraction."""


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """The marker of the last extraction, which is written when it is complete.

    Attributes
    ----------
    as_of : datetime
        The clock, UTC.
    load_number : int
        Number of the last extraction that loaded rows, from 1; 0 in a warehouse of a release that did not count them.
    source, mapping : str
    closing : mapping of str to list of str
        The words that close an entity in the source mapping, by their variable of the dbt project.
    silence_closes_after_days : int or None
    horizon_days : dict of str to int
        The mapping's default horizons by model.
    assumptions : list of str
    accepted : list of str
        Sentences about lost data that a person has accepted.
    entities : tuple of str
        The entities that the source has, by name.
    ends : mapping of str to bool
        Whether the source tells when an entity ends, by the variable of the dbt project, for entities of which only
        some sources tell it.
    value_currency : str or None
        The currency of all amounts, as a code of ISO 4217; None if the source tells none.
    attributes : tuple of Attribute
        The columns of the source beside those of the contract that models learn from.
    caveat : str or None
        A sentence that stands beside every figure that follows from the extraction.
    """

    as_of: datetime
    load_number: int
    source: str
    mapping: str
    closing: Mapping[str, list[str]]
    silence_closes_after_days: int | None
    horizon_days: dict[str, int]
    assumptions: list[str]
    accepted: list[str] = field(default_factory=list)
    entities: tuple[str, ...] = (ENTITY,)
    ends: Mapping[str, bool] = field(default_factory=dict)
    value_currency: str | None = None
    attributes: tuple[Attribute, ...] = ()
    caveat: str | None = None

    def lacks(self, entity: Entity) -> str:
        """Say that the source has no such entity; an empty text where it has."""
        return "" if (entity.of or entity.name) in self.entities else f"The source has no {entity.plural}."

    def with_closing(self, sql: str) -> str:
        """Return SQL in which the lists of words that close an entity replace their names in braces.

        An empty or unknown list becomes ``null``, which equals nothing, not even an empty text.
        """
        listed = {name: literals(words) for name, words in self.closing.items() if words}
        return sql.format_map(defaultdict(lambda: "null", listed))


def tables_ahead(connection: Connection, load_number: int) -> list[str]:
    """Return the tables of schema ``raw`` that have rows of an extraction with a higher number."""
    # tables of an earlier release have no number
    numbered = connection.execute(
        "select table_name from information_schema.columns where table_schema = 'raw' and column_name = 'load_number' "
        "and table_name <> 'extraction' and table_catalog = current_database() order by table_name"
    ).fetchall()
    later = "select 1 from raw.{} where load_number > $1 limit 1"
    return [name for (name,) in numbered if connection.execute(later.format(name), [load_number]).fetchone()]


@dataclass(frozen=True, kw_only=True)
class Warehouse:
    """The database that the pipeline writes: a DuckDB file, or a PostgreSQL database.

    Parameters
    ----------
    address : str
        ``duckdb:<path>`` or ``postgresql://…``.
    when_lost : callable
        Gets the error of a lost connection, and may raise another error in its place.
    """

    address: str
    when_lost: Callable[[Exception], object] = lambda _: None

    @property
    def engine(self) -> Engine:
        """The engine."""
        return engine_of(self.address)

    @property
    def shown(self) -> str:
        """The warehouse without a password, for messages."""
        return self.engine.shown

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Open the warehouse as its engine does.

        Raises
        ------
        WarehouseBusyError, WarehouseDamagedError
            As `store.warehouse.engine.Engine.connect`.
        WarehouseUnavailableError
            If the database does not answer, or the connection is lost.
        """
        with self.engine.connect() as opened, self._may_be_lost():
            yield opened

    @contextmanager
    def analyze(self, *excerpts: Excerpt) -> Iterator[DuckDBPyConnection]:
        """Open tables of the warehouse under their names, for analysis in DuckDB's SQL.

        A DuckDB file is opened itself, with all its tables. From a PostgreSQL database only the excerpts are copied
        into memory. Only temporary tables may be written.

        Raises
        ------
        WarehouseBusyError, WarehouseDamagedError, WarehouseUnavailableError
            As `connect`; a connection to PostgreSQL can be lost only while the excerpts are copied.
        """
        with ExitStack() as stack:
            with self._may_be_lost():
                opened = stack.enter_context(self.engine.analyze(excerpts))
            yield opened

    @contextmanager
    def _may_be_lost(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if self.engine.is_interrupted(error):
                raise KeyboardInterrupt from error
            if not self.engine.is_lost(error):
                raise
            self.when_lost(error)
            raise WarehouseUnavailableError(
                f"warehouse {self.shown}: expected a connection that lasts, found it lost: {str(error).strip()}. "
                "Check that the server runs and can be reached, and try again."
            ) from error

    def extraction(self, within: Connection | None = None) -> Extraction:
        """Return the marker of the last extraction.

        Parameters
        ----------
        within : Connection, optional
            An open connection to this warehouse, to read in its transaction.

        Raises
        ------
        NoExtractionError
            If nothing has been extracted.
        """
        with self.connect() if within is None else nullcontext(within) as connection:
            if not table_exists(connection, "raw", "extraction"):
                raise NoExtractionError(
                    f"{self.shown}: expected an extraction in raw.extraction, found none. "
                    "Materialize the crm assets first, or run `make run`."
                )
            columns = columns_of(connection, "raw", "extraction")
            row = connection.execute(f"select {', '.join(columns)} from raw.extraction").fetchone()
        if row is None:
            raise NoExtractionError(
                f"{self.shown}: raw.extraction is empty, so the last extraction did not finish. "
                "Materialize the crm assets again; nothing that was loaded is lost."
            )
        marker = dict(zip(columns, row, strict=True))
        return Extraction(
            as_of=marker["as_of"],
            # a warehouse of an earlier release lacks some columns
            load_number=marker.get("load_number") or 0,
            source=marker["source"],
            mapping=marker["mapping"],
            closing={name: json.loads(words or "[]") for name, words in marker.items() if name.startswith("closing_")},
            silence_closes_after_days=marker["silence_closes_after_days"],
            horizon_days=json.loads(marker["horizon_days"]),
            assumptions=json.loads(marker["assumptions"]),
            accepted=json.loads(marker.get("accepted") or "[]"),
            entities=tuple(json.loads(marker.get("entities") or json.dumps([ENTITY]))),
            ends={name: told is True for name, told in marker.items() if name.endswith("_close")},
            value_currency=marker.get("value_currency"),
            attributes=tuple(
                each
                for each in map(Attribute.of_json, json.loads(marker.get("attributes") or "[]"))
                if not each.is_gone
            ),
            caveat=marker.get("caveat"),
        )

    def built_extraction(self, within: Connection | None = None) -> Extraction:
        """Return the marker of the last extraction, if features and labels are built from it.

        Parameters
        ----------
        within : Connection, optional
            An open connection to this warehouse, to read in its transaction.

        Raises
        ------
        StaleFeaturesError
            If they were built from another extraction or not at all, or a later extraction has begun to load rows:
            views would show these rows, and tables would not.
        """
        with self.connect() if within is None else nullcontext(within) as connection:
            extraction = self.extraction(connection)
            built = None
            if columns := columns_of(connection, *FEATURE_CLOCK):
                counted = "load_number" if "load_number" in columns else "0"
                built = connection.execute(f"select as_of, {counted} from features.feature_clock").fetchone()
            later = tables_ahead(connection, extraction.load_number)
        expected = (
            f"{self.shown}: expected features and labels built from the last extraction, number "
            f"{extraction.load_number} as of {extraction.as_of.isoformat()}, found"
        )
        if built is None or (built[0], built[1] or 0) != (extraction.as_of, extraction.load_number):
            found = "none" if built is None else f"those of number {built[1] or 0} as of {built[0].isoformat()}"
            raise StaleFeaturesError(f"{expected} {found}. Materialize features and labels again.")
        if later:
            raise StaleFeaturesError(
                f"{expected} rows of a later one in {', '.join(f'raw.{name}' for name in later)}: it is under way, or "
                "did not end. Wait until its run has ended, or materialize the crm assets, features and labels again."
            )
        return extraction
