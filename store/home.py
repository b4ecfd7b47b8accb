"""The home: its owner, its warehouse, and the environment by which this process and its children find it."""

import os
from pathlib import Path

from models.artifacts import make_folder, replace_file
from store import permissions
from store.addresses import (
    is_database,
    same_place,
)
from store.faults import explained
from store.places import OWN_SERVER, SettingError, of_setting
from store.settings import Settings
from store.warehouse.warehouse import engine_of, is_address


def refuse_other_warehouse(chosen: Settings) -> None:
    """Refuse a home that belongs to another warehouse or another user.

    The models and the compiled SQL of a home belong to its warehouse.

    Raises
    ------
    SettingError
        If the home belongs to another.
    """
    if (belongs_to := _belongs_to(chosen)) is not None and not same_place(belongs_to, chosen.warehouse_of_home):
        raise SettingError(
            f"LEADLINE_WAREHOUSE: expected {belongs_to}, the warehouse of the home {chosen.home}, found "
            f"{chosen.warehouse_of_home}. Give another home (HOME_DIR=<folder> with make, else LEADLINE_HOME), or that "
            f"warehouse; if it is the same at a new place, delete {chosen.belonging}."
        )


def make_home(chosen: Settings) -> None:
    """Make the home, and let this process and its children write files that only their owner can read.

    Raises
    ------
    SettingError
        If the home cannot be closed to others.
    """
    os.umask(permissions.OTHERS)
    with of_setting("LEADLINE_HOME"):
        permissions.close_home(chosen.home)


def _belongs_to(chosen: Settings) -> str | None:
    """Return the warehouse that the home remembers; None where it has none yet.

    None also if the file is damaged and the chosen warehouse lies in the home: then it belongs to the home.
    """
    try:
        text = chosen.belonging.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise SettingError(
            f"LEADLINE_HOME: expected a home of yours, found {chosen.home}, which is closed to all but its owner. "
            "Give another home (HOME_DIR=<folder> with make, else LEADLINE_HOME)."
        ) from None
    except (IsADirectoryError, UnicodeDecodeError):
        text = ""
    except OSError as error:
        raise SettingError(
            f"LEADLINE_HOME: expected a folder that is there or can be made, found {chosen.home}: {error.strerror}. "
            "Name another."
        ) from None
    address = text.strip()
    is_warehouse = address == OWN_SERVER or is_address(address)
    # a file that was cut short may name another warehouse
    if is_warehouse and (text.endswith("\n") or same_place(address, chosen.warehouse_of_home)):
        return address
    if any(path.exists() for path in _in_home(chosen)):
        return None
    raise SettingError(
        f"{chosen.belonging}: expected the warehouse of the home {chosen.home}, found a damaged file. Write "
        f"{chosen.warehouse_of_home} into it if that is the one that has filled this home; else give that one."
    )


def _in_home(chosen: Settings) -> list[Path]:
    if chosen.warehouse_of_home == OWN_SERVER:
        return [chosen.own_server / "PG_VERSION"]
    engine = engine_of(chosen.warehouse)
    path = Path(engine.shown)
    return [path] if engine.is_file and path.is_relative_to(chosen.home) else []


def point_at_home(chosen: Settings) -> None:
    """Make the home and tell this process and its children (Dagster, dbt) where it is.

    Raises
    ------
    SettingError
        As `refuse_other_warehouse` and `make_home`; also if the home cannot be written, or the folder of the published
        file cannot be given to its group.
    """
    refuse_other_warehouse(chosen)
    make_home(chosen)
    if chosen.published_in is not None:
        with of_setting("LEADLINE_PUBLISHED"):
            permissions.prepare_published(
                chosen.published, chosen.published_group, chosen.home, is_new=not chosen.publication_record.exists()
            )
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
            **engine_of(chosen.warehouse).environment(),
        }
    )
    if chosen.source is not None and is_database(chosen.source):
        os.environ["LEADLINE_SOURCE"] = chosen.source
    if chosen.dagster_storage is not None:
        # the driver of a plain address depends on the version of SQLAlchemy
        url = chosen.dagster_storage.replace("postgresql://", "postgresql+psycopg2://", 1)
        os.environ.update({"LEADLINE_DAGSTER_STORAGE": chosen.dagster_storage, "LEADLINE_DAGSTER_URL": url})
