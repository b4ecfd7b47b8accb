"""The environment: `settings` is the one function that reads it, and what is set for other libraries is set here."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from assets import permissions
from assets.addresses import (
    FORM,
    AddressError,
    canonical,
    hidden,
    is_database,
    parsed,
    same_place,
    without_password,
    without_secrets,
)
from assets.faults import explained
from assets.permissions import AccessError
from models.artifacts import make_folder, replace_file
from models.declaration import SPLITS, Split
from models.registry import DECLARATIONS
from models.suspicion import CONFIRMED_FEATURES

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT = Path(__file__).resolve().parents[1]

TELEMETRY_OFF = {
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "DO_NOT_TRACK": "1",
}
"""Dagster, dbt, dlt and Evidently (which honours DO_NOT_TRACK) each phone home unless told not to."""

IDLE_THREADS_YIELD = {"GOMP_SPINCOUNT": "1000"}
"""OpenMP threads spin while they wait for each other, by default so long that trees took ten times longer to fit beside
two other busy processes on four cores. Not spinning at all doubles the time on idle cores; this little costs nothing
there. Read once, when the OpenMP runtime is loaded."""


OWN_SERVER = "postgres"
"""The warehouse that is a PostgreSQL server of Leadline's own."""

OWN_NAMES = frozenset(
    {
        "artifacts", "compiled", "dagster", "errors.log", "extraction", "on_postgres", "postgres",
        "postgres.unfinished", "postgres_password", "publication.json", "published", "simulated_crm",
        "warehouse.duckdb", "warehouse_of_this_home",
    }
)  # fmt: skip
"""What lies in a home; the homes of other sources lie beside it in the default one."""


_NOT_IN_PATHS = "?\\'%="
"""What DuckDB and dlt take for parameters, quotes, templates and partitions in the paths that they write."""

_DBT_READS = {
    "host": "HOST",
    "port": "PORT",
    "user": "USER",
    "password": "PASSWORD",
    "dbname": "DATABASE",
    "sslmode": "SSLMODE",
    "sslcert": "SSLCERT",
    "sslkey": "SSLKEY",
    "sslrootcert": "SSLROOTCERT",
}
"""Of each part of an address, by its name in libpq: the end of the name of the variable that dbt's profile reads."""

_ADDRESS = re.compile(r"https?://(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
"""An origin as browsers send it: scheme, host and port, the last where it is not the scheme's."""

MAKE_NAMES = {"LEADLINE_CONVERSION_HORIZON_DAYS": "HORIZON"}
"""The names that the Makefile has for horizons."""


class SettingError(ValueError):
    """A setting that cannot be used; the message names it, what was expected, what was found, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the environment says, checked and resolved.

    Attributes
    ----------
    home : Path
        Where everything lies that a run writes (``LEADLINE_HOME``).
    warehouse : str
        Address of the warehouse (``LEADLINE_WAREHOUSE``): ``duckdb:<path>``, ``postgresql://…``, or ``postgres`` for a
        server of Leadline's own, whose files lie in the home. Addresses of databases, here and below, are as
        `canonical` writes them.
    dagster_storage : str or None
        ``postgresql://`` address of the database for Dagster's own storage (``LEADLINE_DAGSTER_STORAGE``), or
        ``warehouse`` for that of the warehouse; None for files in the home.
    source : str or None
        Folder or ``postgresql://`` address of the CRM (``LEADLINE_SOURCE``); None for the simulated one.
    mapping : str or None
        Name or path of the source mapping (``LEADLINE_MAPPING``); None to choose it by the source.
    as_of : datetime or None
        The clock (``LEADLINE_AS_OF``); None for the present of a database and the last fact of a folder.
    accept_new_source : bool
        Whether the warehouse may go on with another source than the one that it was filled from
        (``LEADLINE_ACCEPT_NEW_SOURCE``).
    accept_extraction : str
        The beginning of the hash of what an extraction would lose, which goes on all the same
        (``LEADLINE_ACCEPT_EXTRACTION``); empty for none.
    new_grades : bool
        Whether the grades of this run's champions are cut anew, in place of those in force (``LEADLINE_NEW_GRADES``).
    accept_proof : str
        The beginning of the hash of a build's SQL, which goes on although its proof has failed
        (``LEADLINE_ACCEPT_PROOF``); empty for none.
    accept_publication : str
        The beginning of the hash of what a publication would lose, which is published all the same
        (``LEADLINE_ACCEPT_PUBLICATION``); empty for none.
    confirmed_features : mapping of str to tuple of str
        Features of which a person says that they were known at the time, by model (``LEADLINE_CONFIRMED_FEATURES``).
    source_accepted_since : datetime or None
        From when on the source counts as it should be (``LEADLINE_SOURCE_ACCEPTED_SINCE``): a change that was meant is
        no broken feed.
    split : str
        How held-out rows are chosen: ``temporal``, or ``stratified`` for comparison (``LEADLINE_SPLIT``).
    horizon_days : mapping of str to int
        Horizons that replace those of the declarations, by model (``LEADLINE_<MODEL>_HORIZON_DAYS``).
    reports_port : int
        Where drift reports and dbt docs are served while the UI runs (``LEADLINE_REPORTS_PORT``).
    ui_addresses : tuple of str
        At which browsers reach the UI and the reports through a proxy (``LEADLINE_UI_ADDRESSES``).
    published_in : Path or None
        The folder of the file that readers open (``LEADLINE_PUBLISHED``); None for one in the home.
    published_group : str or None
        The group that may read it (``LEADLINE_PUBLISHED_GROUP``); None for its owner alone.
    simulation_leads, simulation_months, simulation_seed : int
        The simulated CRM (``LEADLINE_SIMULATION_LEADS``, ``_MONTHS``, ``_SEED``).
    """

    home: Path
    warehouse: str
    dagster_storage: str | None
    source: str | None
    mapping: str | None
    as_of: datetime | None
    accept_new_source: bool
    accept_extraction: str
    new_grades: bool
    accept_proof: str
    accept_publication: str
    confirmed_features: Mapping[str, tuple[str, ...]]
    source_accepted_since: datetime | None
    split: Split
    horizon_days: Mapping[str, int]
    reports_port: int
    ui_addresses: tuple[str, ...]
    published_in: Path | None
    published_group: str | None
    simulation_leads: int
    simulation_months: int
    simulation_seed: int

    @property
    def shown_source(self) -> str:
        """The source, fit to be shown: without a password."""
        return "the simulated CRM" if self.source is None else without_password(self.source)

    @property
    def warehouse_of_home(self) -> str:
        """The warehouse as the home remembers it: what lies in it moves with it, and no password is written."""
        if self.warehouse == OWN_SERVER or self._is_on_own_server:
            return OWN_SERVER
        path = Path(self.warehouse.removeprefix("duckdb:"))
        if path.is_relative_to(self.home):
            return f"duckdb:{path.relative_to(self.home)}"
        return without_password(self.warehouse)

    @property
    def _is_on_own_server(self) -> bool:
        if not is_database(self.warehouse):
            return False
        sockets = {str(self.own_server)}
        running = self.own_server / "postmaster.pid"
        if running.is_file():
            # its socket lies elsewhere where the path of the home is too long for one
            sockets.update(running.read_text(encoding="utf-8", errors="replace").splitlines()[4:5])
        return parsed(self.warehouse).get("host") in sockets

    @property
    def belonging(self) -> Path:
        """The file in which the home remembers its warehouse."""
        return self.home / "warehouse_of_this_home"

    @property
    def dagster_home(self) -> Path:
        """Home of the Dagster instance."""
        return self.home / "dagster"

    @property
    def artifacts(self) -> Path:
        """What is frozen, and reports."""
        return self.home / "artifacts"

    @property
    def compiled(self) -> Path:
        """The SQL of the last build of the feature store, and its certificate."""
        return self.home / "compiled"

    @property
    def own_server(self) -> Path:
        """Files of the PostgreSQL server of Leadline's own."""
        return self.home / "postgres"

    @property
    def published(self) -> Path:
        """The snapshot that readers open, of a warehouse that is a DuckDB file."""
        return (self.published_in or self.home / "published") / "leadline.duckdb"

    @property
    def publication_record(self) -> Path:
        """What the home remembers of its last publication."""
        return self.home / "publication.json"


def settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings.

    Parameters
    ----------
    environment : mapping of str to str, optional
        By default that of the process. Empty values count as unset.

    Raises
    ------
    SettingError
        If a value cannot be used.
    """
    given = os.environ if environment is None else environment
    values = {name: value.strip() for name, value in given.items() if value.strip()}
    source = _source(values.get("LEADLINE_SOURCE"), given)
    home = _home(values.get("LEADLINE_HOME"), source, values.get("LEADLINE_WAREHOUSE"))
    warehouse = _warehouse(values.get("LEADLINE_WAREHOUSE"), home, given)
    if warehouse.startswith("duckdb:"):
        _refuse_path("LEADLINE_HOME", str(home), _NOT_IN_PATHS)
    horizons = {}
    for name in DECLARATIONS:
        variable = _horizon_variable(name)
        if variable in values:
            horizons[name] = _whole_number(variable, values[variable], least=1)
    return Settings(
        home=home,
        warehouse=warehouse,
        dagster_storage=_dagster_storage(values.get("LEADLINE_DAGSTER_STORAGE"), warehouse, given),
        source=source,
        mapping=values.get("LEADLINE_MAPPING"),
        as_of=_moment("LEADLINE_AS_OF", values.get("LEADLINE_AS_OF")),
        accept_new_source=_switch("LEADLINE_ACCEPT_NEW_SOURCE", values.get("LEADLINE_ACCEPT_NEW_SOURCE", "0")),
        accept_extraction=_hash(
            "LEADLINE_ACCEPT_EXTRACTION",
            values.get("LEADLINE_ACCEPT_EXTRACTION", ""),
            of="what an extraction would lose, as its refusal names it",
        ),
        new_grades=_switch("LEADLINE_NEW_GRADES", values.get("LEADLINE_NEW_GRADES", "0")),
        accept_proof=_hash(
            "LEADLINE_ACCEPT_PROOF",
            values.get("LEADLINE_ACCEPT_PROOF", ""),
            of="a build's SQL, as the failure of its proof names it",
        ),
        accept_publication=_hash(
            "LEADLINE_ACCEPT_PUBLICATION",
            values.get("LEADLINE_ACCEPT_PUBLICATION", ""),
            of="what a publication would lose, as its refusal names it",
        ),
        confirmed_features=_confirmed(values.get(CONFIRMED_FEATURES, "")),
        source_accepted_since=_moment("LEADLINE_SOURCE_ACCEPTED_SINCE", values.get("LEADLINE_SOURCE_ACCEPTED_SINCE")),
        split=_split(values.get("LEADLINE_SPLIT", "temporal")),
        horizon_days=horizons,
        reports_port=_whole_number("LEADLINE_REPORTS_PORT", values.get("LEADLINE_REPORTS_PORT", "3001"), least=1),
        ui_addresses=_addresses("LEADLINE_UI_ADDRESSES", values.get("LEADLINE_UI_ADDRESSES", "")),
        published_in=_published(values.get("LEADLINE_PUBLISHED"), warehouse),
        published_group=_published_group(
            values.get("LEADLINE_PUBLISHED_GROUP"), _published(values.get("LEADLINE_PUBLISHED"), warehouse), home
        ),
        simulation_leads=_whole_number(
            "LEADLINE_SIMULATION_LEADS", values.get("LEADLINE_SIMULATION_LEADS", "10000"), least=1
        ),
        simulation_months=_whole_number(
            "LEADLINE_SIMULATION_MONTHS", values.get("LEADLINE_SIMULATION_MONTHS", "18"), least=1
        ),
        simulation_seed=_whole_number(
            "LEADLINE_SIMULATION_SEED", values.get("LEADLINE_SIMULATION_SEED", "22"), least=0
        ),
    )


def _hash(variable: str, value: str, *, of: str) -> str:
    if value and not re.fullmatch("[0-9a-f]{12,64}", value):
        raise SettingError(
            f"{variable}: expected the beginning of the hash of {of}, 12 digits or more of 0 to 9 and a to f, "
            f"found {value!r}."
        )
    return value


def session_options() -> str:
    """Return what libpq sets for every session (``PGOPTIONS``), for a client that would leave it out."""
    return os.environ.get("PGOPTIONS", "")


def language_and_paths() -> dict[str, str]:
    """Return the environment of a program that shall know none of the settings, for they may hold passwords."""
    kept = ("PATH", "LANG", "LANGUAGE", "TZ")
    return {name: value for name, value in os.environ.items() if name in kept or name.startswith("LC_")}


def shown(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Return a text without the passwords that the environment holds."""
    given = os.environ if environment is None else environment
    for name in ("LEADLINE_SOURCE", "LEADLINE_WAREHOUSE", "LEADLINE_DAGSTER_STORAGE"):
        if is_database(address := given.get(name, "").strip()):
            try:
                text = without_secrets(text, address)
            except AddressError:
                continue
    return hidden(text, given.get("PGPASSWORD", ""))


def horizon_setting(model: str) -> str:
    """Return the name by which the horizon of a model is set: make's, where it has one."""
    variable = _horizon_variable(model)
    return MAKE_NAMES.get(variable, variable)


def _horizon_variable(model: str) -> str:
    return f"LEADLINE_{model.upper()}_HORIZON_DAYS"


def prepare_process() -> None:
    """Tell the libraries of this process, and of those that it starts, to keep quiet and to share the cores."""
    os.environ.update({**TELEMETRY_OFF, **IDLE_THREADS_YIELD})


def dbt_target() -> str:
    """Return the target of dbt's profile: the engine of this process, once `point_at_home` has been called."""
    return os.environ.get("LEADLINE_DBT_TARGET", "duckdb")


def refuse_other_warehouse(chosen: Settings) -> None:
    """Refuse a home of another warehouse, to which its models and its compiled SQL belong, or of another user.

    Raises
    ------
    SettingError
        If it does.
    """
    belongs_to = _belongs_to(chosen)
    if belongs_to is None:
        return
    if not same_place(belongs_to, chosen.warehouse_of_home):
        raise SettingError(
            f"LEADLINE_WAREHOUSE: expected {belongs_to}, the warehouse of the home {chosen.home}, found "
            f"{chosen.warehouse_of_home}. Give another home (HOME_DIR=<folder> with make, else LEADLINE_HOME), or that "
            f"warehouse; if it is the same at a new place, delete {chosen.belonging}."
        )


def make_home(chosen: Settings) -> None:
    """Make the home, and have this process and its children write files that their owner alone can read.

    Raises
    ------
    SettingError
        If the home cannot be closed to others.
    """
    os.umask(permissions.OTHERS)
    try:
        permissions.close_home(chosen.home)
    except AccessError as error:
        raise SettingError(f"LEADLINE_HOME: {error}") from None


def _belongs_to(chosen: Settings) -> str | None:
    """Return the warehouse that the home remembers; None where it has none yet.

    A warehouse that lies in the home is its own, whatever has become of the file that says so.
    """
    try:
        if not chosen.belonging.exists():
            return None
    except PermissionError:
        raise SettingError(
            f"LEADLINE_HOME: expected a home of yours, found {chosen.home}, which is closed to all but its owner. "
            "Give another home (HOME_DIR=<folder> with make, else LEADLINE_HOME)."
        ) from None
    try:
        text = chosen.belonging.read_text(encoding="utf-8")
    except (IsADirectoryError, UnicodeDecodeError):
        text = ""
    said = text.strip()
    is_warehouse = said == OWN_SERVER or said.startswith("duckdb:") or is_database(said)
    # a file that was cut short may name another one
    if is_warehouse and (text.endswith("\n") or same_place(said, chosen.warehouse_of_home)):
        return said
    if any(path.exists() for path in _in_home(chosen)):
        return None
    raise SettingError(
        f"{chosen.belonging}: expected the warehouse of the home {chosen.home}, found a damaged file. Write "
        f"{chosen.warehouse_of_home} into it if that is the one that has filled this home; else give that one."
    )


def _in_home(chosen: Settings) -> list[Path]:
    """Return where the warehouse that was chosen lies in the home, if it does."""
    if chosen.warehouse_of_home == OWN_SERVER:
        return [chosen.own_server / "PG_VERSION"]
    path = Path(chosen.warehouse.removeprefix("duckdb:"))
    return [path] if chosen.warehouse.startswith("duckdb:") and path.is_relative_to(chosen.home) else []


def point_at_home(chosen: Settings) -> None:
    """Make the home and tell this process and its children (Dagster, dbt) where it is.

    Raises
    ------
    SettingError
        As `refuse_other_warehouse` and `make_home`; if the home cannot be written; or if the folder of the published
        file cannot be given to its group.
    """
    refuse_other_warehouse(chosen)
    make_home(chosen)
    if chosen.published_in is not None:
        try:
            permissions.prepare_published(
                chosen.published, chosen.published_group, chosen.home, is_new=not chosen.publication_record.exists()
            )
        except AccessError as error:
            raise SettingError(f"LEADLINE_PUBLISHED: {error}") from None
        os.environ["LEADLINE_PUBLISHED"] = str(chosen.published_in)
    try:
        make_folder(chosen.dagster_home)
        replace_file(chosen.belonging, chosen.warehouse_of_home + "\n")
    except OSError as error:
        raise SettingError(
            explained(str(error), chosen.home)
            or f"LEADLINE_HOME: expected a folder that can be written, found {chosen.home} ({error}). Name another."
        ) from error
    os.environ.update(
        {
            "LEADLINE_HOME": str(chosen.home),
            "DAGSTER_HOME": str(chosen.dagster_home),
            "LEADLINE_WAREHOUSE": chosen.warehouse,
            "LEADLINE_DBT_TARGET": "duckdb" if chosen.warehouse.startswith("duckdb:") else "postgres",
        }
    )
    if chosen.source is not None and is_database(chosen.source):
        os.environ["LEADLINE_SOURCE"] = chosen.source
    if chosen.dagster_storage is not None:
        # which driver a plain address means depends on the version of SQLAlchemy
        url = chosen.dagster_storage.replace("postgresql://", "postgresql+psycopg2://", 1)
        os.environ.update({"LEADLINE_DAGSTER_STORAGE": chosen.dagster_storage, "LEADLINE_DAGSTER_URL": url})
    if chosen.warehouse.startswith("duckdb:"):
        os.environ["LEADLINE_DUCKDB_PATH"] = chosen.warehouse.removeprefix("duckdb:")
    else:
        os.environ.update(_postgres_environment(chosen.warehouse))


def _published(value: str | None, warehouse: str) -> Path | None:
    if value is None:
        return None
    if not warehouse.startswith("duckdb:"):
        raise SettingError(
            f"LEADLINE_PUBLISHED: expected a warehouse that is a DuckDB file, found {without_password(warehouse)}, "
            "whose readers find the marts in its schema marts. Unset the variable."
        )
    folder = Path(value).expanduser().resolve()
    _refuse_path("LEADLINE_PUBLISHED", str(folder), "?\\")
    return folder


def _published_group(value: str | None, folder: Path | None, home: Path) -> str | None:
    if value is None:
        return None
    if folder is None or folder.is_relative_to(home):
        raise SettingError(
            f"LEADLINE_PUBLISHED_GROUP: expected LEADLINE_PUBLISHED with a folder outside of the home {home}, which "
            f"its owner alone can enter, found {'none' if folder is None else folder}. Set it as well."
        )
    try:
        permissions.group_number(value)
    except AccessError as error:
        raise SettingError(f"LEADLINE_PUBLISHED_GROUP: {error}") from None
    return value


def _home(value: str | None, source: str | None, warehouse: str | None) -> Path:
    return default_home(source, warehouse) if value is None else Path(value).expanduser().resolve()


def default_home(source: str | None, warehouse: str | None = None) -> Path:
    """Return the home of a source where none is set; with a warehouse in PostgreSQL it is another one.

    Raises
    ------
    SettingError
        If the source is a folder with a name that Leadline needs there itself.
    """
    default = PROJECT / ".leadline"
    on_postgres = warehouse is not None and (warehouse == OWN_SERVER or is_database(warehouse))
    if source is None or "://" in source:
        return default / "on_postgres" if on_postgres else default
    name = Path(source).name
    if name in OWN_NAMES:
        raise SettingError(
            f"LEADLINE_SOURCE: expected a folder whose name can name its home under {default}, found {name!r}, "
            "which is a name of Leadline's own there. Set LEADLINE_HOME, or rename the folder."
        )
    ending = "_on_postgres" if on_postgres else ""
    # where somebody else owns the default home, it is closed, and that is said when it is used
    with suppress(PermissionError):
        if (default / f"{name}{ending}").exists():
            return default / f"{name}{ending}"
    return default / f"{name.translate(dict.fromkeys(map(ord, _NOT_IN_PATHS), '_'))}{ending}"


def _source(value: str | None, environment: Mapping[str, str]) -> str | None:
    if value is None:
        return None
    if is_database(value):
        return database_address("LEADLINE_SOURCE", value, environment, by_libpq=True)
    folder = Path(value).expanduser().resolve()
    shown = without_password(value)
    # what names no folder may be an address that is written wrongly, and a home would be named after it
    if "://" in value or (shown != value and not folder.exists()):
        raise SettingError(
            "LEADLINE_SOURCE: expected a folder of CSV or Parquet files, or postgresql://<address of a database>, "
            f"found {shown!r}. Correct it."
        )
    return str(folder)


def _warehouse(value: str | None, home: Path, environment: Mapping[str, str]) -> str:
    if value is None:
        return f"duckdb:{home / 'warehouse.duckdb'}"
    if value == OWN_SERVER:
        return value
    if is_database(value):
        address = database_address("LEADLINE_WAREHOUSE", value, environment)
        if unknown := sorted(parsed(address).keys() - _DBT_READS.keys()):
            raise SettingError(
                f"LEADLINE_WAREHOUSE: expected {FORM}, found {without_password(address)}, whose "
                f"{' and '.join(unknown)} would not reach dbt. Remove it; of parameters, dbt takes "
                f"{', '.join(part for part in _DBT_READS if part.startswith('ssl'))}."
            )
        return address
    if not value.startswith("duckdb:") or value == "duckdb:":
        raise SettingError(
            f"LEADLINE_WAREHOUSE: expected duckdb:<path of a file>, postgresql://<address of a database>, or "
            f"{OWN_SERVER} for a server that Leadline starts itself, found {without_password(value)!r}. Unset the "
            "variable to use the DuckDB file under LEADLINE_HOME."
        )
    path = Path(value.removeprefix("duckdb:")).expanduser().resolve()
    _refuse_path("LEADLINE_WAREHOUSE", str(path), "?\\")
    return f"duckdb:{path}"


def _refuse_path(name: str, path: str, characters: str) -> None:
    if found := [each for each in characters if each in path]:
        raise SettingError(
            f"{name}: expected a path without any of {' '.join(characters)}, which DuckDB and dlt take for something "
            f"else, found {found[0]} in {without_password(path)}. Name another folder."
        )


def _dagster_storage(value: str | None, warehouse: str, environment: Mapping[str, str]) -> str | None:
    if value is None:
        return None
    if is_database(value):
        return database_address("LEADLINE_DAGSTER_STORAGE", value, environment)
    if value != "warehouse":
        raise SettingError(
            f"LEADLINE_DAGSTER_STORAGE: expected postgresql://<address of a database>, or warehouse, found "
            f"{without_password(value)!r}. Unset the variable to keep Dagster's storage in files under LEADLINE_HOME."
        )
    if warehouse.startswith("duckdb:"):
        raise SettingError(
            "LEADLINE_DAGSTER_STORAGE: expected postgresql://<address of a database>, found warehouse, which is a "
            "DuckDB file. Set LEADLINE_WAREHOUSE to a PostgreSQL database as well, or unset this variable."
        )
    return warehouse


def database_address(
    name: str, value: str, environment: Mapping[str, str] | None = None, *, by_libpq: bool = False
) -> str:
    """Return the address of a PostgreSQL database in a setting as every client reads it alike.

    Parameters
    ----------
    name, value : str
        The setting.
    environment : mapping of str to str, optional
        By default that of the process.
    by_libpq : bool
        Whether libpq alone reads it.

    Raises
    ------
    SettingError
        If there is no such form.
    """
    try:
        return canonical(value, os.environ if environment is None else environment, by_libpq=by_libpq)
    except AddressError as error:
        raise SettingError(f"{name}: {error}") from None


def _postgres_environment(address: str) -> dict[str, str]:
    """Return what dbt's profile reads of an address; the host of a Unix socket is its folder."""
    parts = parsed(address)
    return {f"LEADLINE_POSTGRES_{name}": parts.get(part, "") for part, name in _DBT_READS.items()}


def _moment(name: str, value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise SettingError(
            f"{name}: expected a date or time such as 2026-01-31 or 2026-01-31T12:00:00Z, found {value!r}."
        ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _whole_number(name: str, value: str, *, least: int) -> int:
    if not value.isdecimal() or int(value) < least:
        raise SettingError(f"{name}: expected a whole number of {least} or more, found {value!r}.")
    return int(value)


def _split(value: str) -> Split:
    for split in SPLITS:
        if value == split:
            return split
    raise SettingError(f"LEADLINE_SPLIT: expected one of {', '.join(SPLITS)}, found {value!r}.")


def _confirmed(value: str) -> dict[str, tuple[str, ...]]:
    """Return features by model; whether a model learns from them is known once it is trained."""
    confirmed: dict[str, tuple[str, ...]] = {}
    for each in filter(None, (part.strip() for part in value.split(","))):
        model, _, feature = each.partition(".")
        if model not in DECLARATIONS or not feature:
            raise SettingError(
                f"{CONFIRMED_FEATURES}: expected <model>.<feature>, separated by commas, with one of the models "
                f"{', '.join(DECLARATIONS)}, found {each!r}."
            )
        confirmed[model] = tuple(dict.fromkeys((*confirmed.get(model, ()), feature)))
    return confirmed


def _addresses(name: str, value: str) -> tuple[str, ...]:
    addresses = tuple(each for part in value.split(",") if (each := part.strip().lower()))
    for each in addresses:
        # browsers leave out the port of the scheme
        if not _ADDRESS.fullmatch(each) or re.fullmatch("http:.*:80|https:.*:443", each):
            raise SettingError(
                f"{name}: expected addresses as a browser shows them, without a path, such as "
                f"https://leadline.example.com, separated by commas, found {without_password(each)!r}."
            )
    return addresses


def _switch(name: str, value: str) -> bool:
    if value not in ("0", "1"):
        raise SettingError(f"{name}: expected 0 or 1, found {value!r}.")
    return value == "1"
