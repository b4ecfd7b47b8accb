"""Read, check and write addresses of PostgreSQL databases, and hide the secrets in them.

dbt, dlt, SQLAlchemy and ADBC all connect through libpq, but each parses an address itself and has its own defaults.
`canonical` writes an address in the one form that all of them read alike.

Parsing, writing and hiding are one module because they must agree.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain, takewhile
from pathlib import Path
from urllib.parse import quote, quote_plus, unquote

SCHEMES = ("postgresql://", "postgres://", "postgresql+psycopg2://")

FORM = "postgresql://<user>:<password>@<host>:<port>/<database>"

_NEEDED = {"user": "a user", "host": "a host", "dbname": "a database"}
"""Parts that an address must have, by their names in libpq: libpq and dbt have different defaults for them."""

_VARIABLES = {"user": "PGUSER", "password": "PGPASSWORD", "host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE"}
"""Variables from which libpq takes a part that the address lacks. dbt passes a value for each of these parts, so that
libpq does not read them there. libpq reads its other variables (``PGSSLMODE``, ``PGPASSFILE``, …) for every client."""

DEFAULT_PORT = "5432"

_VARIABLES_OF_LIBPQ = {"options": "PGOPTIONS", "connect_timeout": "PGCONNECT_TIMEOUT"}
"""Further variables that apply to an address that only libpq reads."""

_SERVICES, _SERVICES_OF_ALL = "~/.pg_service.conf", "/etc/postgresql-common"
"""The user's file of services, and the machine's folder of them, where no variable names them."""

_HIDDEN = "password|secret|scram_.*_key"
"""Names of parameters of libpq whose values are hidden."""

_HIDDEN_SETTINGS = "pass|pwd|secret|token|jwt|credential|auth|key|private"
"""Names of settings of a session (``options``) whose values are hidden."""

_HOSTS = re.compile(r"(?!.*%(?:3A|40))(?:(?:[^:/\[\]@,]*|\[[0-9A-Fa-f:.%]+\])(?::[0-9]{0,5})?(?:,|$))*", re.IGNORECASE)
"""Hosts with numeric ports. Other text after a colon may be a password whose ``@`` is missing."""

_SHORT = 3
"""A secret with fewer characters is replaced only where it is a whole word."""

_SAME_ROWS = re.compile(
    "application_name|client_min_messages|.*_timeout|tcp_.*|work_mem|temp_buffers|maintenance_work_mem|jit.*|enable_.*|"
    "max_parallel_.*|parallel_.*|geqo.*|.*_cost|log_.*|debug_.*|default_transaction_read_only"
)
"""Settings of a session that change neither which rows it reads nor their values."""


class AddressError(ValueError):
    """An address that cannot be used; the message says what was expected, what was found (no password), what to do."""


def is_database(address: str) -> bool:
    """Say whether an address is one of a PostgreSQL database."""
    return address.startswith(SCHEMES)


def refuse_characters(path: str, characters: str) -> None:
    """Refuse a path that has one of some characters.

    Raises
    ------
    AddressError
        If the path has one.
    """
    if found := [each for each in characters if each in path]:
        raise AddressError(
            f"expected a path without any of {' '.join(characters)}, which DuckDB and dlt take for something else, "
            f"found {found[0]} in {without_password(path)}. Name another folder."
        )


def canonical(address: str, environment: Mapping[str, str], *, by_libpq: bool = False) -> str:
    """Return an address in the form that every client reads alike; an address in that form is returned unchanged.

    The form names user, host, port and database, and the password unless a password file holds it, which libpq reads
    for every client. A host that is the folder of a Unix socket becomes a parameter.

    Parameters
    ----------
    address : str
    environment : mapping of str to str
        Environment variables. Those of libpq fill in the parts that the address lacks.
    by_libpq : bool
        Whether only libpq reads the address, so that everything that libpq accepts is allowed. A service is then
        replaced by the parts in its file. Settings of ``PGOPTIONS``, the service and the address are joined; of two
        with one name, the later counts.

    Raises
    ------
    AddressError
        If the address cannot be written in this form.
    """
    found = f"expected {FORM}, found {without_password(address)}"
    address_parts = parsed(address)
    if by_libpq:
        return _written(_by_libpq(found, address_parts, environment))
    if "service" in address_parts or environment.get("PGSERVICE"):
        raise AddressError(
            f"{found} with a service (PGSERVICE), whose password would not reach dbt. Write its parts into the "
            "address, and unset PGSERVICE."
        )
    parts = _of_environment(_VARIABLES, environment) | address_parts
    parts.setdefault("port", DEFAULT_PORT)
    _refuse_missing(found, parts)
    if "," in parts["host"] or "@" in parts["host"][1:] or not parts["port"].isdecimal():
        # the message does not quote the part, which may belong to a password
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


def _of_environment(variables: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    return {part: environment[name] for part, name in variables.items() if environment.get(name)}


def _refuse_missing(found: str, parts: Mapping[str, str]) -> None:
    if missing := [part for part in _NEEDED if part not in parts and not (part == "host" and "hostaddr" in parts)]:
        raise AddressError(
            f"{found} without {' and '.join(_NEEDED[part] for part in missing)}. Add what is missing, or set "
            f"{' and '.join(_VARIABLES[part] for part in missing)}: the clients have other defaults, and would use "
            "different databases."
        )


def _by_libpq(found: str, address_parts: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the parts of an address that only libpq reads, completed from its service and the environment."""
    address_parts = dict(address_parts)
    service = _service(found, address_parts, environment)
    environment_parts = _of_environment(_VARIABLES | _VARIABLES_OF_LIBPQ, environment)
    # libpq prefers a service to variables
    parts = environment_parts | service | address_parts
    if "hostaddr" not in parts or "host" in parts:
        parts.setdefault("port", DEFAULT_PORT)
    _refuse_missing(found, parts)
    if re.search(r"[^\d,]", parts.get("port", "")) or "@" in parts.get("host", "")[1:]:
        # the message does not quote the part, which may belong to a password
        raise AddressError(
            f"{found}. Write the port as a number, be it here or in PGPORT, and percent-encode special characters in "
            "the password."
        )
    if "options" in parts:
        option_sets = [_options(each.get("options", "")) for each in (environment_parts, service, address_parts)]
        parts["options"] = _written_options(list(dict(chain(*option_sets)).items()))
    return parts


def _service(found: str, address_parts: dict[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Remove the service from the parts of an address, and return the parts in its file, as libpq reads it."""
    name, own_file = address_parts.pop("service", environment.get("PGSERVICE")), address_parts.pop("servicefile", None)
    if not name:
        return {}
    files = [
        Path(own_file or environment.get("PGSERVICEFILE") or _SERVICES).expanduser(),
        Path(environment.get("PGSYSCONFDIR") or _SERVICES_OF_ALL, "pg_service.conf"),
    ]
    for file in files:
        try:
            lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
        except FileNotFoundError:
            continue
        except (OSError, UnicodeError):
            raise AddressError(
                f"{found} with the service {name}, whose file {file} cannot be read. Let the user who runs Leadline "
                "read it, and write it in UTF-8."
            ) from None
        if f"[{name}]" in lines:
            return _of_service(f"{found} with the service {name}", file, lines[lines.index(f"[{name}]") + 1 :])
    raise AddressError(
        f"{found} with the service {name}, which is neither in {files[0]} nor in {files[1]}. Correct its name, or name "
        "its file (PGSERVICEFILE)."
    )


def _of_service(found: str, file: Path, lines: Sequence[str]) -> dict[str, str]:
    parts: dict[str, str] = {}
    for line in takewhile(lambda line: not line.startswith("["), lines):
        if line and not line.startswith("#"):
            part, equals, value = line.partition("=")
            if not equals or not re.fullmatch("[a-z_]+", part) or part.startswith(("ldap", "service")):
                # the message does not quote the line: its value may be a password
                raise AddressError(
                    f"{found}, of which {file} has a line that is not <parameter>=<value>. Correct it, or write the "
                    "parts of the address out."
                )
            parts.setdefault(part, value)
    return {part: value for part, value in parts.items() if value}


def _options(text: str) -> list[tuple[str, str | None]]:
    """Return the settings in ``options`` as names and values. Any other switch of the server has the value None."""
    words = [re.sub(r"\\(.)", r"\1", word) for word in re.findall(r"(?:\\.|[^\s\\])+", text)]
    found: list[tuple[str, str | None]] = []
    while words:
        word = words.pop(0)
        if word in ("-c", "--") and words:
            word += words.pop(0)
        name, equals, value = word[2:].partition("=")
        if word.startswith(("-c", "--")) and equals:
            found.append((name.lower().replace("-", "_") if word.startswith("--") else name.lower(), value))
        else:
            found.append((word, None))
    return found


def _written_options(settings: Sequence[tuple[str, str | None]]) -> str:
    words = (name if value is None else f"-c{name}={value}" for name, value in settings)
    return " ".join(re.sub(r"([\s\\])", r"\\\1", word) for word in words)


def session_settings(address: str) -> tuple[tuple[str, str], ...]:
    """Return the settings of a session in the ``options`` of an address, in their order."""
    found = _options(parsed(address).get("options", ""))
    return tuple((name, value) for name, value in found if value is not None)


def without_secrets(text: str, address: str) -> str:
    """Return a message of the server without the password of the address and the secrets among its settings."""
    secrets = [value for name, value in parsed(address).items() if re.search(_HIDDEN, name, re.IGNORECASE)]
    secrets += [value for name, value in session_settings(address) if re.search(_HIDDEN_SETTINGS, name)]
    for secret in secrets:
        text = hidden(text, secret)
    return text


def hidden(text: str, secret: str) -> str:
    """Return a text with ``***`` in place of a secret, written plainly or percent-encoded."""
    if not secret:
        return text
    # a short secret may be a part of other words
    within = r"(?<!\w){}(?!\w)" if len(secret) < _SHORT else "{}"
    for form in (secret, quote(secret, safe=""), quote(secret), quote_plus(secret)):
        text = re.sub(within.format(re.escape(form)), "***", text)
    return text


def described(address: str) -> str:
    """Return an address without its secrets, as it is stored and shown.

    Raises
    ------
    AddressError
        If the address cannot be read.
    """
    from sqlalchemy import URL

    parts = parsed(address)
    more = {part: value for part, value in parts.items() if part not in _VARIABLES}
    host, port = parts.get("host", ""), parts.get("port", "")
    if not re.fullmatch(r"[\d,]*", port):
        raise AddressError(
            f"expected {FORM}, found an address that cannot be read. Write the port as a number, and percent-encode "
            "special characters in the password."
        )
    if not host or "," in host or host.startswith(("/", "@")):
        more |= {"host": host} if host else {}
        host = "localhost" if host and "," not in host else ""
    if "," in port:
        more["port"] = port
    url = URL.create(
        "postgresql+psycopg2",
        parts.get("user"),
        parts.get("password"),
        host or None,
        int(port) if port.isdecimal() else None,
        parts.get("dbname"),
        more,
    )
    before, mark, query = url.render_as_string(hide_password=False).partition("?")
    return without_password(before + mark + query.replace("+", "%20"))


def parsed(address: str) -> dict[str, str]:
    """Return the parts of an address by their names in libpq, as libpq itself parses it.

    Raises
    ------
    AddressError
        If libpq cannot parse the address.
    """
    from psycopg2 import ProgrammingError
    from psycopg2.extensions import parse_dsn

    try:
        parts = parse_dsn("postgresql://" + address.partition("://")[2])
    except ProgrammingError:
        # libpq's message may quote a part of a password
        raise AddressError(
            f"expected {FORM}, found {without_password(address)}, which PostgreSQL cannot read. Percent-encode special "
            "characters, above all in the password, and name only parameters that libpq has."
        ) from None
    return {part: value for part, value in parts.items() if value}


def _written(parts: Mapping[str, str]) -> str:
    host, port = parts.get("host", ""), parts.get("port", "")
    parameters = {part: value for part, value in parts.items() if part not in _VARIABLES}
    if "," in host + port:
        parameters, host, port = {"host": host, "port": port, **parameters}, "", ""
    elif host.startswith(("/", "@")):
        parameters, host = {"host": host, **parameters}, ""
    elif ":" in host:
        host = f"[{host}]"
    user, database = quote(parts.get("user", ""), safe=""), quote(parts.get("dbname", ""), safe="")
    password = f":{quote(parts['password'], safe='')}" if "password" in parts else ""
    query = "&".join(f"{part}={quote(value, safe='/')}" for part, value in parameters.items())
    login, at = f"{user}{password}", "@" if user or password else ""
    return f"postgresql://{login}{at}{host}{':' if port else ''}{port}/{database}{'?' if query else ''}{query}"


def _differing(written: str, parts: Mapping[str, str]) -> list[str]:
    """Return the parts of a written address that SQLAlchemy or dlt would pass to libpq as something else."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(written)
        named = {**url.translate_connect_args(username="user", database="dbname"), **url.query}
        by_sqlalchemy = {part: str(value) for part, value in named.items()}
        # dlt writes the address again with SQLAlchemy, and strips the password
        by_dlt = parsed(url.render_as_string(hide_password=False))
    except (ArgumentError, ValueError):
        return sorted(parts)
    if "password" in by_dlt:
        by_dlt["password"] = by_dlt["password"].strip()
    return sorted(part for part in parts if {by_sqlalchemy.get(part), by_dlt.get(part)} != {parts[part]})


def same_place(one: str, other: str) -> bool:
    """Say whether two sources, as they are stored and shown, are the same. Passwords and most parameters do not count.

    Settings of the session count unless they cannot change the rows: a database may tell tenants apart by a setting.
    """
    return _place(one) == _place(other)


def _place(source: str) -> tuple[object, ...]:
    if not is_database(source):
        return (source,)
    parts = {"port": DEFAULT_PORT, **parsed(source)}
    settings = {
        name: value
        for name, value in _options(parts.get("options", ""))
        if value is not None and not _SAME_ROWS.fullmatch(name)
    }
    places = ("user", "host", "hostaddr", "port", "dbname", "service")
    return (*(parts.get(part) for part in places), settings)


def without_password(address: str) -> str:
    """Return an address that may be shown: ``***`` replaces each password, before the host or in the query.

    A secret setting of the session becomes ``***`` and some digits of a hash, so that two secrets can be told apart.
    In a text that is no valid address, ``***`` replaces everything that may be a password: only a scheme, a user, a
    host, a file and parameters that libpq knows and that are no secrets are shown.
    """
    scheme, found, after_scheme = address.partition("://")
    if not found:
        return _without_what_may_be_a_password(address)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        return "***"
    before, mark, query = after_scheme.partition("?")
    if "@" in query:
        # the @ may belong to a password that is not percent-encoded, whose end is unknown
        return f"{scheme}://***"
    login, at, place = before.rpartition("@")
    user, colon, _ = login.partition(":")
    shown_login = "***" if "@" in user else f"{user}{colon}{'***' if colon else ''}"
    if not _HOSTS.fullmatch(place.partition("/")[0]):
        first = place.partition(":")[0]
        return f"{scheme}://{shown_login}{at}{f'{first}:' if _HOSTS.fullmatch(first) else ''}***"
    if not is_database(address):
        place = re.sub("#.*", "#***", place, flags=re.DOTALL)
    parameters = "&".join(map(_without_secret, query.split("&"))) if query else ""
    return f"{scheme}://{shown_login}{at}{place}{mark}{parameters}"


def _without_what_may_be_a_password(text: str) -> str:
    is_path = text.removeprefix("duckdb:").startswith(("/", "~", "."))
    names = _HIDDEN if is_path else f"{_HIDDEN}|{_HIDDEN_SETTINGS}"
    replaced = [(rf"((?:{names})\w*\s*=).*", r"\1***"), (":.*@", ":***@"), (r"(\?.*?=).*", r"\1***")]
    if not is_path:
        # a text that is no path may be just a user and a password
        replaced += [("/.*@", "/***@"), ("^([^@:]*):[^@]+$", r"\1:***")]
    for pattern, instead in replaced:
        text = re.sub(pattern, instead, text, flags=re.IGNORECASE | re.DOTALL)
    return text


def _without_secret(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    if not equals:
        # this may be the rest of a password whose & is not percent-encoded
        return "***"
    if unquote(name).lower() == "options":
        return f"{name}={_without_secret_settings(value)}"
    is_secret = re.search(_HIDDEN, unquote(name), re.IGNORECASE) or not _is_parameter(unquote(name))
    return f"{name}=***" if is_secret else parameter


@lru_cache
def _is_parameter(name: str) -> bool:
    """Say whether libpq knows a parameter of this name; the value of an unknown one may be a password."""
    from psycopg2 import ProgrammingError
    from psycopg2.extensions import parse_dsn

    try:
        return bool(re.fullmatch("[a-z_]+", name) and parse_dsn(f"{name}=x"))
    except ProgrammingError:
        return False


def _without_secret_settings(value: str) -> str:
    settings = _options(unquote(value))
    if not (secret := [name for name, _ in settings if re.search(_HIDDEN_SETTINGS, name, re.IGNORECASE)]):
        return value
    # a switch that is no setting is left out: it may be the rest of a secret that has a blank
    shown_settings = [
        (name, value if value is None or name not in secret else _digits(name, value))
        for name, value in settings
        if value is not None
    ]
    return quote(_written_options(shown_settings), safe="/*")


@lru_cache
def _digits(name: str, value: str) -> str:
    if re.fullmatch(r"\*\*\*[0-9a-f]{8}", value):
        return value
    # slow on purpose, so that nobody finds a short secret by trying
    return "***" + hashlib.scrypt(value.encode(), salt=name.encode(), n=2**14, r=8, p=1).hex()[:8]
