"""Addresses of PostgreSQL databases: the one form that every client reads alike, its parts, and what may be shown.

dbt, dlt, SQLAlchemy and ADBC all end in libpq, but each reads another part of an address itself, and has defaults of
its own where the address says nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMES = ("postgresql://", "postgres://", "postgresql+psycopg2://")
FORM = "postgresql://<user>:<password>@<host>:<port>/<database>"

_NEEDED = {"user": "a user", "host": "a host", "dbname": "a database"}
"""Parts that an address must have, by their names in libpq: the defaults differ between its builds and dbt."""

_VARIABLES = {"user": "PGUSER", "password": "PGPASSWORD", "host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE"}
"""Where libpq looks for what an address does not say; dbt gives it a value for each of these, so that it does not look.
Other variables of libpq (``PGSSLMODE``, ``PGPASSFILE``, …) it reads itself for every client."""

DEFAULT_PORT = "5432"

_HIDDEN = "password|secret|scram_.*_key"
"""Parameters of libpq in an address that nobody may see."""


class AddressError(ValueError):
    """An address that cannot be used; the message says, without a password, what was expected and found, what to do."""


def is_database(address: str) -> bool:
    """Say whether an address is one of a PostgreSQL database."""
    return address.startswith(SCHEMES)


def canonical(address: str, environment: Mapping[str, str]) -> str:
    """Return an address as every client reads it alike; of one that is so already, itself.

    It names user, host, port and database, the password if there is one (not where it is in a password file, which
    libpq reads for every client), and a host that is the folder of a Unix socket as a parameter.

    Parameters
    ----------
    address : str
    environment : mapping of str to str
        Has libpq's variables, which stand in for what the address does not say.

    Raises
    ------
    AddressError
        If there is no such form.
    """
    found = f"expected {FORM}, found {without_password(address)}"
    given = parsed(address)
    if "service" in given or environment.get("PGSERVICE"):
        raise AddressError(
            f"{found} with a service (PGSERVICE), whose password would not reach dbt. Write its parts into the "
            "address, and unset PGSERVICE."
        )
    parts = {part: environment[name] for part, name in _VARIABLES.items() if environment.get(name)} | given
    parts.setdefault("port", DEFAULT_PORT)
    if missing := [part for part in _NEEDED if part not in parts]:
        raise AddressError(
            f"{found} without {' and '.join(_NEEDED[part] for part in missing)}. Add what is missing, or set "
            f"{' and '.join(_VARIABLES[part] for part in missing)}: the clients have other defaults, and would use "
            "different databases."
        )
    if "," in parts["host"] or "@" in parts["host"][1:] or not parts["port"].isdecimal():
        # what was found may be a part of a password
        raise AddressError(
            f"{found}. Name one host, with its port as a number, be it here or in PGHOST and PGPORT, and "
            "percent-encode special characters in the password."
        )
    written = _written(parts)
    if differing := _differing(written, parts):
        raise AddressError(
            f"{found}, whose {' and '.join(differing)} not every client reads alike. Avoid blanks and unusual "
            "characters there; a password with a blank at an end has to be changed."
        )
    return written


def parsed(address: str) -> dict[str, str]:
    """Return the parts of an address by their names in libpq, which reads it itself.

    Raises
    ------
    AddressError
        If it cannot.
    """
    from psycopg2 import ProgrammingError
    from psycopg2.extensions import parse_dsn

    try:
        parts = parse_dsn("postgresql://" + address.partition("://")[2])
    except ProgrammingError:
        # its message may quote a part of a password
        raise AddressError(
            f"expected {FORM}, found {without_password(address)}, which PostgreSQL cannot read. Percent-encode special "
            "characters, above all in the password, and name only parameters that libpq has."
        ) from None
    return {part: value for part, value in parts.items() if value}


def _written(parts: Mapping[str, str]) -> str:
    host = parts["host"]
    parameters = {part: value for part, value in parts.items() if part not in _VARIABLES}
    if host.startswith(("/", "@")):
        parameters, host = {"host": host, **parameters}, ""
    elif ":" in host:
        host = f"[{host}]"
    user, database = quote(parts["user"], safe=""), quote(parts["dbname"], safe="")
    password = f":{quote(parts['password'], safe='')}" if "password" in parts else ""
    query = "&".join(f"{part}={quote(value, safe='/')}" for part, value in parameters.items())
    return f"postgresql://{user}{password}@{host}:{parts['port']}/{database}{'?' if query else ''}{query}"


def _differing(written: str, parts: Mapping[str, str]) -> list[str]:
    """Return the parts of a written address that SQLAlchemy or dlt would pass to libpq as something else."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(written)
        named = {**url.translate_connect_args(username="user", database="dbname"), **url.query}
        by_sqlalchemy = {part: str(value) for part, value in named.items()}
        # which writes the address anew, with SQLAlchemy, and takes the blanks off a password
        by_dlt = parsed(url.render_as_string(hide_password=False))
    except (ArgumentError, ValueError):
        return sorted(parts)
    if "password" in by_dlt:
        by_dlt["password"] = by_dlt["password"].strip()
    return sorted(part for part in parts if {by_sqlalchemy.get(part), by_dlt.get(part)} != {parts[part]})


def same_place(one: str, other: str) -> bool:
    """Say whether two sources, as they are stored and shown, are the same, whatever the passwords and parameters."""
    return _place(one) == _place(other)


def _place(source: str) -> tuple[str | None, ...]:
    if not is_database(source):
        return (source,)
    parts = {"port": DEFAULT_PORT, **parsed(source)}
    return tuple(parts.get(part) for part in ("user", "host", "port", "dbname"))


def without_password(address: str) -> str:
    """Return an address fit to be shown: with ``***`` for each password, be it before the host or in the query.

    In what is no address, and may be one that is written wrongly, for all that may be a password.
    """
    scheme, found, rest = address.partition("://")
    if not found:
        hidden = re.sub(rf"((?:{_HIDDEN})\s*=).*", r"\1***", address, flags=re.IGNORECASE | re.DOTALL)
        return re.sub(":.*@", ":***@", hidden, flags=re.DOTALL)
    before, mark, query = rest.partition("?")
    if "@" in query:
        # it may belong to a password that is not percent-encoded, so that nobody can say where that ends
        return f"{scheme}://***"
    login, at, place = before.rpartition("@")
    user, colon, _ = login.partition(":")
    shown = f"{user}{colon}{'***' if colon else ''}{at}{place}"
    parameters = "&".join(map(_without_secret, query.split("&"))) if query else ""
    return f"{scheme}://{shown}{mark}{parameters}"


def _without_secret(parameter: str) -> str:
    name, equals, _ = parameter.partition("=")
    if not equals:
        # the rest of a value, perhaps a password's, whose & is not percent-encoded
        return "***"
    return f"{name}=***" if re.search(_HIDDEN, unquote(name), re.IGNORECASE) else parameter
