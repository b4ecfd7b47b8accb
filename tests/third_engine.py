"""A minimal third engine: a folder with a DuckDB file, whose readers get the marts as Parquet files."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.warehouse.connection import Place
from store.warehouse.duckdb.engine import DuckDBConnection, MemoryScratch, opened
from store.warehouse.engine import Engine, Found, Readers, measure_standing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from duckdb import DuckDBPyConnection

    from store.warehouse.connection import Connection, Name, Scratch
    from store.warehouse.engine import Excerpt, Standing

SCHEME = "folder:"


class SchemasBeside(Place):
    """Schemas of the file itself, named after the place."""

    def schema(self, name: str) -> str:
        return f'"{self.name}_{name}"'

    def drop(self) -> None:
        for name in self.schemas:
            self.connection.execute(f"drop schema {self.schema(name)} cascade")


class FolderScratch(MemoryScratch):
    """Scratch space with places in the file, and worlds in memory."""

    max_facts = 800
    places = SchemasBeside


class FolderConnection(DuckDBConnection):
    """A connection that appends row by row."""

    def append(self, schema: str, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        places = ", ".join("?" * len(columns))
        self.opened.executemany(f"insert into {schema}.{table} ({', '.join(columns)}) values ({places})", rows)

    @contextmanager
    def scratch(self, prefix: str, reads: Collection[Name] = ()) -> Iterator[Scratch]:
        yield FolderScratch(self.opened, prefix)


class ParquetReaders(Readers):
    """Readers of one Parquet file for each mart."""

    after_loss = "nobody takes its history back"

    def __init__(self, folder: Path) -> None:
        self.place = self.where = str(folder)
        self._folder = folder

    def found(self, connection: Connection, names: Sequence[str], last: Standing) -> Found:
        connection.execute("create schema if not exists published")
        for path in self._folder.glob("*.parquet"):
            connection.execute(f"create or replace view published.{path.stem} as from '{path}'")
        return Found(standing=measure_standing(connection, names, schema="published"))

    def replace(
        self,
        connection: Connection,
        names: Sequence[str],
        last: Standing,
        review: Callable[[Connection, Found, Standing], None],
        warn: Callable[[str], None],
    ) -> tuple[Standing, Mapping[str, Any]]:
        built = measure_standing(connection, names)
        review(connection, self.found(connection, names, last), built)
        for name in names:
            connection.execute(f"copy marts.{name} to '{self._folder / name}.parquet'")
        return built, {"folder": self.place}


@dataclass(frozen=True)
class Folder(Engine):
    """The engine of ``folder:<path>``."""

    is_file = False
    marts = "marts"

    @property
    def shown(self) -> str:
        return self.address.partition(":")[2]

    def environment(self) -> dict[str, str]:
        return {"LEADLINE_DBT_TARGET": "duckdb", "LEADLINE_DUCKDB_PATH": f"{self.shown}/warehouse.duckdb"}

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        with closing(opened(f"{self.shown}/warehouse.duckdb")) as connection:
            yield FolderConnection(connection)

    @contextmanager
    def analyze(self, excerpts: Sequence[Excerpt]) -> Iterator[DuckDBPyConnection]:
        with opened() as memory:
            memory.execute(f"attach '{self.shown}/warehouse.duckdb' as file (read_only)")
            for each in excerpts:
                memory.execute(f"create schema if not exists {each.schema}")
                where = each.where or "true"
                memory.execute(
                    f"create table {each.schema}.{each.table} as from file.{each.schema}.{each.table} where {where}"
                )
            memory.execute("detach file")
            yield memory

    def readers(self, published: Path, group: str | None = None) -> Readers:
        return ParquetReaders(Path(self.shown))
