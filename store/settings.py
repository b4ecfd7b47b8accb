"""The environment: only this module reads it, and it sets variables for other libraries."""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from models.decisions.retention import KEEP_DAYS
from models.declared.registry import DECLARATIONS
from models.evaluation.suspicion import CONFIRMED_FEATURES
from store.addresses import (
    AddressError,
    hidden,
    is_database,
    parsed,
    refuse_characters,
    without_password,
    without_secrets,
)
from store.places import (
    NOT_IN_PATHS,
    OWN_SERVER,
    SettingError,
    default_home,
    group_of_published,
    mapping_of,
    of_setting,
    path_of,
    published_in,
    source_of,
    storage_of,
    warehouse_of,
)
from store.warehouse.warehouse import engine_of

MOST_PORT = 65_535

MOST_DAYS = 36_500
"""Longest horizon, and longest period that a home keeps, in days: longer ones exceed the range of times."""

MOST_MONTHS = 1_200

_ADDRESS = re.compile(r"https?://(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
"""An origin as browsers send it: scheme and host, and the port unless it is the default of the scheme."""

_PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?")
"""A path of an address without escapes, ``.`` and ``..``: a browser writes it as it is."""

TELEMETRY_OFF = {
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "DO_NOT_TRACK": "1",
}
"""Dagster, dbt, dlt and Evidently (which obeys DO_NOT_TRACK) send usage data unless these are set."""

IDLE_THREADS_YIELD = {"GOMP_SPINCOUNT": "1000"}
"""OpenMP threads spin while they wait for each other. By default they spin so long that fitting trees took ten times
longer beside two other busy processes on four cores. No spinning at all doubles the time on idle cores; this value
costs nothing there. OpenMP reads the variable once, when it is loaded."""


BY_COMMANDS = "LEADLINE_STARTED_BY"
"""What the commands set for the services of Dagster that they start."""


def say_that_commands_started_it() -> None:
    """Tell the processes that this one starts that it is one of Leadline's commands."""
    os.environ[BY_COMMANDS] = "make ui"


def is_dagster_dev() -> bool:
    """Say whether ``dagster dev`` (or ``dg dev``) has started this process, and none of Leadline's commands."""
    # DAGSTER_IS_DEV_CLI is set by every command of dg
    return "DAGSTER_verbose" in os.environ and BY_COMMANDS not in os.environ


def dbt_target() -> str:
    """Return the target of dbt's profile: the engine of this process, once `point_at_home` has been called."""
    return os.environ.get("LEADLINE_DBT_TARGET", "duckdb")


def dbt_database() -> str:
    """Return the name of the database in dbt's SQL, once `point_at_home` has been called."""
    if dbt_target() == "duckdb":
        return Path(os.environ.get("LEADLINE_DUCKDB_PATH", "warehouse.duckdb")).stem
    return os.environ.get("LEADLINE_POSTGRES_DATABASE", "leadline")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of the environment, checked and resolved.

    Attributes
    ----------
    home : Path
        The folder of everything that a run writes (``LEADLINE_HOME``).
    warehouse : str
        Address of the warehouse (``LEADLINE_WAREHOUSE``): ``duckdb:<path>``, ``postgresql://…``, or ``postgres`` for a
        server of Leadline's own, whose files lie in the home. Addresses of databases, here and below, have the form of
        `canonical`.
    dagster_storage : str or None
        ``postgresql://`` address of the database for Dagster's own storage (``LEADLINE_DAGSTER_STORAGE``), or
        ``warehouse`` for the database of the warehouse; None for files in the home.
    source : str or None
        Folder or ``postgresql://`` address of the CRM (``LEADLINE_SOURCE``); None for the simulated one.
    mapping : str or None
        Name or path of the source mapping (``LEADLINE_MAPPING``); None to choose it by the source.
    as_of : datetime or None
        The clock (``LEADLINE_AS_OF``); None for the present of a database and the last fact of a folder.
    accept_new_source : bool
        Whether the warehouse accepts another source than the one that filled it (``LEADLINE_ACCEPT_NEW_SOURCE``).
    source_ids : bool
        Whether the CRM's own keys are kept where keys are pseudonyms (``LEADLINE_SOURCE_IDS``).
    accept_extraction : str
        The beginning of the hash of the losses with which an extraction may go on (``LEADLINE_ACCEPT_EXTRACTION``);
        empty for none.
    new_grades : bool
        Whether this run sets new grades for its champions (``LEADLINE_NEW_GRADES``).
    accept_proof : str
        The beginning of the hash of the SQL of a build that may go on although its proof failed
        (``LEADLINE_ACCEPT_PROOF``); empty for none.
    accept_publication : str
        The beginning of the hash of the losses with which a publication may go on (``LEADLINE_ACCEPT_PUBLICATION``);
        empty for none.
    confirmed_features : mapping of str to tuple of str
        Features that a person says were known at the time, by model (``LEADLINE_CONFIRMED_FEATURES``).
    source_accepted_since : datetime or None
        The time from which a person accepts the source (``LEADLINE_SOURCE_ACCEPTED_SINCE``): an intended change then
        does not count as a broken feed.
    horizon_days : mapping of str to int
        Horizons that replace those of the declarations, by model (``LEADLINE_<MODEL>_HORIZON_DAYS``).
    reports_port : int
        Port of drift reports and dbt docs while the UI runs (``LEADLINE_REPORTS_PORT``).
    reports_address : str
        Address at which browsers reach drift reports and dbt docs (``LEADLINE_REPORTS_ADDRESS``), without a ``/`` at
        its end; by default that port of this machine.
    ui_addresses : tuple of str
        Addresses at which browsers reach the UI and the reports through a proxy (``LEADLINE_UI_ADDRESSES``).
    keep_days : int
        Days for which runs, their logs, drift reports and answers are kept (``LEADLINE_KEEP_DAYS``).
    published_in : Path or None
        The folder of the file that readers open (``LEADLINE_PUBLISHED``); None for the one in the home.
    published_group : str or None
        The group that may read it (``LEADLINE_PUBLISHED_GROUP``); None for its owner alone.
    simulation_leads, simulation_months, simulation_seed : int
        Size and seed of the simulated CRM (``LEADLINE_SIMULATION_LEADS``, ``_MONTHS``, ``_SEED``).
    simulation_customers : bool
        Whether it has customers (``LEADLINE_SIMULATION_CUSTOMERS``).
    """

    home: Path
    warehouse: str
    dagster_storage: str | None
    source: str | None
    mapping: str | None
    as_of: datetime | None
    accept_new_source: bool
    source_ids: bool
    accept_extraction: str
    new_grades: bool
    accept_proof: str
    accept_publication: str
    confirmed_features: Mapping[str, tuple[str, ...]]
    source_accepted_since: datetime | None
    horizon_days: Mapping[str, int]
    reports_port: int
    reports_address: str
    ui_addresses: tuple[str, ...]
    keep_days: int
    published_in: Path | None
    published_group: str | None
    simulation_leads: int
    simulation_months: int
    simulation_seed: int
    simulation_customers: bool

    @property
    def addresses_of_reports(self) -> tuple[str, ...]:
        """The origins at which browsers reach the reports through a proxy."""
        origin = "/".join(self.reports_address.split("/")[:3])
        return (*self.ui_addresses, origin)

    @property
    def shown_source(self) -> str:
        """The source without passwords, for messages."""
        return "the simulated CRM" if self.source is None else without_password(self.source)

    @property
    def warehouse_of_home(self) -> str:
        """The warehouse as the home records it: relative to the home if it lies there, and without a password."""
        if self.warehouse == OWN_SERVER or self._is_on_own_server:
            return OWN_SERVER
        path = Path(self.warehouse.removeprefix("duckdb:"))
        if path.is_relative_to(self.home):
            return f"duckdb:{path.relative_to(self.home)}"
        return without_password(self.warehouse) if is_database(self.warehouse) else self.warehouse

    @property
    def _is_on_own_server(self) -> bool:
        if not is_database(self.warehouse):
            return False
        sockets, running = [str(self.own_server)], self.own_server / "postmaster.pid"
        if running.is_file():
            # the socket lies in another folder if the path of the home is too long for one
            sockets += running.read_text(encoding="utf-8", errors="replace").splitlines()[4:5]
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
        """Folder of training sets, versions, answers and reports."""
        return self.home / "artifacts"

    @property
    def compiled(self) -> Path:
        """Folder of the SQL of the last build of the feature store, and of its certificates."""
        return self.home / "compiled"

    @property
    def own_server(self) -> Path:
        """Files of the PostgreSQL server of Leadline's own."""
        return self.home / "postgres"

    @property
    def published(self) -> Path:
        """The snapshot that readers open, if the warehouse is a DuckDB file."""
        return (self.published_in or self.home / "published") / "leadline.duckdb"

    @property
    def publication_record(self) -> Path:
        """The file in which the home records its last publication."""
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
    process_environment = os.environ if environment is None else environment
    values = {name: value.strip() for name, value in process_environment.items() if value.strip()}
    source = source_of(values.get("LEADLINE_SOURCE"), process_environment)
    home = (
        path_of("LEADLINE_HOME", values["LEADLINE_HOME"], "a folder")
        if "LEADLINE_HOME" in values
        else default_home(source, values.get("LEADLINE_WAREHOUSE"))
    )
    warehouse = warehouse_of(values.get("LEADLINE_WAREHOUSE"), home, process_environment)
    if engine_of(warehouse).is_file:
        with of_setting("LEADLINE_HOME"):
            refuse_characters(str(home), NOT_IN_PATHS)
    reports_port = whole_number(
        "LEADLINE_REPORTS_PORT", values.get("LEADLINE_REPORTS_PORT", "3001"), least=1, most=MOST_PORT
    )
    published = published_in(values.get("LEADLINE_PUBLISHED"), warehouse, home)
    return Settings(
        home=home,
        warehouse=warehouse,
        dagster_storage=storage_of(values.get("LEADLINE_DAGSTER_STORAGE"), warehouse, process_environment),
        source=source,
        mapping=mapping_of(values.get("LEADLINE_MAPPING")),
        as_of=_moment("LEADLINE_AS_OF", values.get("LEADLINE_AS_OF")),
        accept_new_source=_switch("LEADLINE_ACCEPT_NEW_SOURCE", values.get("LEADLINE_ACCEPT_NEW_SOURCE", "0")),
        source_ids=_switch("LEADLINE_SOURCE_IDS", values.get("LEADLINE_SOURCE_IDS", "0")),
        accept_extraction=_hash(
            "LEADLINE_ACCEPT_EXTRACTION",
            values.get("LEADLINE_ACCEPT_EXTRACTION", ""),
            subject="what an extraction would lose, as its refusal names it",
        ),
        new_grades=_switch("LEADLINE_NEW_GRADES", values.get("LEADLINE_NEW_GRADES", "0")),
        accept_proof=_hash(
            "LEADLINE_ACCEPT_PROOF",
            values.get("LEADLINE_ACCEPT_PROOF", ""),
            subject="a build's SQL, as the failure of its proof names it",
        ),
        accept_publication=_hash(
            "LEADLINE_ACCEPT_PUBLICATION",
            values.get("LEADLINE_ACCEPT_PUBLICATION", ""),
            subject="what a publication would lose, as its refusal names it",
        ),
        confirmed_features=_confirmed(values.get(CONFIRMED_FEATURES, "")),
        source_accepted_since=_moment("LEADLINE_SOURCE_ACCEPTED_SINCE", values.get("LEADLINE_SOURCE_ACCEPTED_SINCE")),
        horizon_days={
            name: whole_number(variable, values[variable], least=1, most=MOST_DAYS)
            for name in DECLARATIONS
            if (variable := _horizon_variable(name)) in values
        },
        reports_port=reports_port,
        reports_address=_address_with_path(
            "LEADLINE_REPORTS_ADDRESS", values.get("LEADLINE_REPORTS_ADDRESS", f"http://127.0.0.1:{reports_port}")
        ),
        ui_addresses=_addresses("LEADLINE_UI_ADDRESSES", values.get("LEADLINE_UI_ADDRESSES", "")),
        keep_days=whole_number(
            "LEADLINE_KEEP_DAYS", values.get("LEADLINE_KEEP_DAYS", str(KEEP_DAYS)), least=1, most=MOST_DAYS
        ),
        published_in=published,
        published_group=group_of_published(values.get("LEADLINE_PUBLISHED_GROUP"), published, home),
        simulation_leads=whole_number(
            "LEADLINE_SIMULATION_LEADS", values.get("LEADLINE_SIMULATION_LEADS", "10000"), least=1
        ),
        simulation_months=whole_number(
            "LEADLINE_SIMULATION_MONTHS", values.get("LEADLINE_SIMULATION_MONTHS", "18"), least=1, most=MOST_MONTHS
        ),
        simulation_seed=whole_number("LEADLINE_SIMULATION_SEED", values.get("LEADLINE_SIMULATION_SEED", "22"), least=0),
        simulation_customers=_switch("LEADLINE_SIMULATION_CUSTOMERS", values.get("LEADLINE_SIMULATION_CUSTOMERS", "1")),
    )


def _shown(value: str) -> str:
    """Return a value for a message, without passwords: the address of another setting may be there by mistake."""
    return without_password(value) if "://" in value or "@" in value else value


def _hash(variable: str, value: str, *, subject: str) -> str:
    if value and not re.fullmatch("[0-9a-f]{12,64}", value):
        raise SettingError(
            f"{variable}: expected the beginning of the hash of {subject}, 12 digits or more of 0 to 9 and a to f, "
            f"found {_shown(value)!r}."
        )
    return value


def session_options() -> str:
    """Return the value of ``PGOPTIONS``, for a client that does not use it by itself."""
    return os.environ.get("PGOPTIONS", "")


def language_and_paths() -> dict[str, str]:
    """Return the environment for a program that must not see the settings, which may hold passwords."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in ("PATH", "LANG", "LANGUAGE", "TZ") or name.startswith("LC_")
    }


def shown(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Return a text without the passwords in the environment."""
    process_environment = os.environ if environment is None else environment
    for name in ("LEADLINE_SOURCE", "LEADLINE_WAREHOUSE", "LEADLINE_DAGSTER_STORAGE"):
        if is_database(address := process_environment.get(name, "").strip()):
            with suppress(AddressError):
                text = without_secrets(text, address)
    return hidden(text, process_environment.get("PGPASSWORD", ""))


def horizon_setting(model: str) -> str:
    """Return the name of the setting of a model's horizon, the shorter one of the Makefile if it has one."""
    return "HORIZON" if model == "conversion" else _horizon_variable(model)


def _horizon_variable(model: str) -> str:
    return f"LEADLINE_{model.upper()}_HORIZON_DAYS"


def _moment(name: str, value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise SettingError(
            f"{name}: expected a date or time such as 2026-01-31 or 2026-01-31T12:00:00Z, found {_shown(value)!r}."
        ) from None


def whole_number(name: str, value: str, *, least: int, most: int | None = None) -> int:
    """Return the whole number that a setting names.

    Raises
    ------
    SettingError
        If the value is no whole number within the bounds.
    """
    if value.isdecimal() and least <= int(value) and (most is None or int(value) <= most):
        return int(value)
    bound = "" if most is None else f" and at most {most}"
    raise SettingError(f"{name}: expected a whole number of {least} or more{bound}, found {_shown(value)!r}.")


def _confirmed(value: str) -> dict[str, tuple[str, ...]]:
    """Return the confirmed features by model; only the training checks that the model learns from them."""
    confirmed: dict[str, tuple[str, ...]] = {}
    for each in filter(None, (part.strip() for part in value.split(","))):
        model, _, feature = each.partition(".")
        if model not in DECLARATIONS or not feature:
            raise SettingError(
                f"{CONFIRMED_FEATURES}: expected <model>.<feature>, separated by commas, with one of the models "
                f"{', '.join(DECLARATIONS)}, found {_shown(each)!r}."
            )
        confirmed[model] = tuple(dict.fromkeys((*confirmed.get(model, ()), feature)))
    return confirmed


def _addresses(name: str, value: str) -> tuple[str, ...]:
    addresses = tuple(each for part in value.split(",") if (each := part.strip().lower()))
    for each in addresses:
        if not _is_origin(each):
            raise SettingError(
                f"{name}: expected addresses as a browser shows them, without a path, such as "
                f"https://leadline.example.com, separated by commas, found {without_password(each)!r}."
            )
    return addresses


def _is_origin(address: str) -> bool:
    # browsers leave out the port of the scheme
    return _ADDRESS.fullmatch(address) is not None and not re.fullmatch("http:.*:80|https:.*:443", address)


def _address_with_path(name: str, value: str) -> str:
    scheme, separator, place = value.partition("://")
    host, slash, path = place.partition("/")
    origin = f"{scheme}{separator}{host}".lower()
    if not _is_origin(origin) or not _PATH.fullmatch(f"{slash}{path}"):
        raise SettingError(
            f"{name}: expected one address as a browser shows it, with a path or without, such as "
            f"https://reports.example.com or https://example.com/reports, found {without_password(value)!r}."
        )
    return f"{origin}{slash}{path}".removesuffix("/")


def _switch(name: str, value: str) -> bool:
    if value not in ("0", "1"):
        raise SettingError(f"{name}: expected 0 or 1, found {_shown(value)!r}.")
    return value == "1"


def prepare_process() -> None:
    """Switch off telemetry, and let OpenMP threads yield, in this process and those that it starts."""
    os.environ.update({**TELEMETRY_OFF, **IDLE_THREADS_YIELD})
