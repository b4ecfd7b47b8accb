"""Read and check the settings that name places: home, source, warehouse, mapping, publication, Dagster's storage."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from store import permissions
from store.addresses import (
    AddressError,
    canonical,
    is_database,
    refuse_characters,
    without_password,
)
from store.warehouse.warehouse import engine_of, is_address

PROJECT = Path(__file__).resolve().parents[1]

OWN_SERVER = "postgres"
"""The value of ``LEADLINE_WAREHOUSE`` for a PostgreSQL server that Leadline starts itself."""

MAPPING = "mapping.yml"
"""The mapping of a source, in its folder or in the home."""

OWN_NAMES = frozenset(
    {
        "artifacts", "compiled", "dagster", "errors.log", "extraction", MAPPING, "on_postgres", "postgres",
        "postgres.unfinished", "postgres_password", "publication.json", "published", "simulated_crm",
        "warehouse.duckdb", "warehouse_of_this_home",
    }
)  # fmt: skip
"""Names of Leadline's own files in a home. The default home also holds the homes of named sources."""

NOT_IN_PATHS = "?\\'%="
"""Characters that DuckDB or dlt read as parameters, quotes, templates or partitions in paths that they write."""


class SettingError(ValueError):
    """A setting that cannot be used; the message names it, what was expected, what was found, and what to do."""


@contextmanager
def of_setting(name: str) -> Iterator[None]:
    """Turn the error of an address or a folder into a `SettingError` that names the setting."""
    try:
        yield
    except (AddressError, permissions.AccessError) as error:
        raise SettingError(f"{name}: {error}") from None


def published_in(value: str | None, warehouse: str, home: Path) -> Path | None:
    """Return the folder of the published file (``LEADLINE_PUBLISHED``); None for the default, in the home."""
    if value is None:
        return None
    if not engine_of(warehouse).is_file:
        raise SettingError(
            f"LEADLINE_PUBLISHED: expected a warehouse that is a DuckDB file, found {without_password(warehouse)}, "
            "whose readers find the marts in its schema marts. Unset the variable."
        )
    folder = path_of("LEADLINE_PUBLISHED", value, "a folder")
    with of_setting("LEADLINE_PUBLISHED"):
        refuse_characters(str(folder), "?\\")
    if folder == home or any(folder.is_relative_to(home / name) for name in OWN_NAMES - {"published"}):
        raise SettingError(
            f"LEADLINE_PUBLISHED: expected a folder for the published file alone, found {folder}, which is one of "
            f"Leadline's own in the home {home}. Name one outside of the home, or unset the variable."
        )
    return folder


def group_of_published(value: str | None, folder: Path | None, home: Path) -> str | None:
    """Return the group that may read the published file (``LEADLINE_PUBLISHED_GROUP``)."""
    if value is None:
        return None
    if folder is None or folder.is_relative_to(home):
        raise SettingError(
            f"LEADLINE_PUBLISHED_GROUP: expected LEADLINE_PUBLISHED with a folder outside of the home {home}, which "
            f"its owner alone can enter, found {'none' if folder is None else folder}. Set it as well."
        )
    with of_setting("LEADLINE_PUBLISHED_GROUP"):
        permissions.group_number(value)
    return value


def default_home(source: str | None, warehouse: str | None = None) -> Path:
    """Return the default home of a source; a warehouse in PostgreSQL has another one.

    Raises
    ------
    SettingError
        If the folder of the source has one of `OWN_NAMES`.
    """
    default = PROJECT / ".leadline"
    on_postgres = warehouse is not None and (warehouse == OWN_SERVER or is_database(warehouse))
    if source is None or "://" in source:
        return default / "on_postgres" if on_postgres else default
    if (name := Path(source).name) in OWN_NAMES:
        raise SettingError(
            f"LEADLINE_SOURCE: expected a folder whose name can name its home under {default}, found {name!r}, "
            "which is a name of Leadline's own there. Set LEADLINE_HOME, or rename the folder."
        )
    ending = "_on_postgres" if on_postgres else ""
    # if somebody else owns the default home, `refuse_other_warehouse` says so later
    with suppress(PermissionError):
        if (default / f"{name}{ending}").exists():
            return default / f"{name}{ending}"
    return default / f"{name.translate(dict.fromkeys(map(ord, NOT_IN_PATHS), '_'))}{ending}"


def source_of(value: str | None, environment: Mapping[str, str]) -> str | None:
    """Return the source (``LEADLINE_SOURCE``): a folder or the address of a database."""
    if value is None:
        return None
    if is_database(value):
        return database_address("LEADLINE_SOURCE", value, environment, by_libpq=True)
    expected = "a folder of CSV or Parquet files, or postgresql://<address of a database>"
    return str(path_of("LEADLINE_SOURCE", value, expected))


def path_of(name: str, value: str, expected: str) -> Path:
    """Return the path that a setting names, and refuse an address that was meant for another setting."""
    shown = without_password(value)
    try:
        path = Path(value).expanduser().resolve()
    except RuntimeError:
        raise SettingError(
            f"{name}: expected {expected}, found {shown!r}, which begins with the home of a user whom this machine "
            "does not know. Correct it."
        ) from None
    # a path that does not exist may be an address with a typing error: no folder gets its name
    if "://" in value or (shown != value and not path.exists()):
        raise SettingError(f"{name}: expected {expected}, found {shown!r}. Correct it.")
    return path


def mapping_of(value: str | None) -> str | None:
    """Return the mapping (``LEADLINE_MAPPING``): a name or a path."""
    if value is not None:
        path_of("LEADLINE_MAPPING", value, "the name of a shipped mapping, or a file")
    return value


def warehouse_of(value: str | None, home: Path, environment: Mapping[str, str]) -> str:
    """Return the address of the warehouse (``LEADLINE_WAREHOUSE``)."""
    if value is None:
        return f"duckdb:{home / 'warehouse.duckdb'}"
    if value == OWN_SERVER:
        return value
    if not is_address(value) or value == "duckdb:":
        raise SettingError(
            f"LEADLINE_WAREHOUSE: expected duckdb:<path of a file>, postgresql://<address of a database>, or "
            f"{OWN_SERVER} for a server that Leadline starts itself, found {without_password(value)!r}. Unset the "
            "variable to use the DuckDB file under LEADLINE_HOME."
        )
    with of_setting("LEADLINE_WAREHOUSE"):
        address = engine_of(value).canonical(environment)
    if engine_of(address).is_file:
        _refuse_no_file(value, Path(engine_of(address).shown), home)
    return address


def _refuse_no_file(value: str, path: Path, home: Path) -> None:
    """Refuse a warehouse that is no file, except at the place of the home's own: there it counts as damaged later."""
    found = None
    if value == "duckdb::memory:":
        found = "which would be a warehouse that is gone at the end of each step"
    elif path.is_dir():
        found = "which is a folder"
    elif path.exists() and not path.is_file():
        found = "which is a device or a pipe"
    if found is not None and path != home / "warehouse.duckdb":
        raise SettingError(
            f"LEADLINE_WAREHOUSE: expected duckdb:<path of a file>, found {value}, {found}. Name a file, or unset the "
            "variable to use the one under LEADLINE_HOME."
        )


def storage_of(value: str | None, warehouse: str, environment: Mapping[str, str]) -> str | None:
    """Return where Dagster's own storage lies (``LEADLINE_DAGSTER_STORAGE``)."""
    if value is None:
        return None
    if is_database(value):
        return database_address("LEADLINE_DAGSTER_STORAGE", value, environment)
    if value != "warehouse":
        raise SettingError(
            f"LEADLINE_DAGSTER_STORAGE: expected postgresql://<address of a database>, or warehouse, found "
            f"{without_password(value)!r}. Unset the variable to keep Dagster's storage in files under LEADLINE_HOME."
        )
    if engine_of(warehouse).is_file:
        raise SettingError(
            "LEADLINE_DAGSTER_STORAGE: expected postgresql://<address of a database>, found warehouse, which is a "
            "DuckDB file. Set LEADLINE_WAREHOUSE to a PostgreSQL database as well, or unset this variable."
        )
    return warehouse


def database_address(name: str, value: str, environment: Mapping[str, str], *, by_libpq: bool = False) -> str:
    """Return the address of a PostgreSQL database in a setting, in the form that every client reads alike.

    Parameters
    ----------
    name, value : str
        The setting.
    environment : mapping of str to str
    by_libpq : bool
        Whether only libpq reads it.

    Raises
    ------
    SettingError
        If the address cannot be written in this form.
    """
    with of_setting(name):
        return canonical(value, environment, by_libpq=by_libpq)
