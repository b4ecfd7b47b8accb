"""Addresses of PostgreSQL databases: the one form that every client reads alike, its parts, and what may be shown.

dbt, dlt, SQLAlchemy and ADBC all end in libpq, but each reads another part of an address itself, and has defaults of
its own where the address says nothing.

The module is longer than others, because what reads an address, writes it and hides its password must agree.
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
"""Parts that an address must have, by their names in libpq: the defaults differ between its builds and dbt."""

_VARIABLES = {"user": "PGUSER", "password": "PGPASSWORD", "host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE"}
"""Where libpq looks for what an address does not say; dbt gives it a value for each of these, so that it does not look.
Other variables of libpq (``PGSSLMODE``, ``PGPASSFILE``, …) it reads itself for every client."""

DEFAULT_PORT = "5432"

_VARIABLES_OF_LIBPQ = {"options": "PGOPTIONS", "connect_timeout": "PGCONNECT_TIMEOUT"}
"""Further variables that count for an address which libpq alone reads."""

_SERVICES, _SERVICES_OF_ALL = "~/.pg_service.conf", "/etc/postgresql-common"
"""The file of the services of a user, and the folder of those of a machine, where no variable names them."""

_HIDDEN = "password|secret|scram_.*_key"
"""Parameters of libpq in an address that nobody may see."""

_HIDDEN_SETTINGS = "pass|pwd|secret|token|jwt|credential|auth|key|private"
"""Names of settings of a session (``options``) whose values nobody may see."""

_HOSTS = re.compile(r"(?!.*%(?:3A|40))(?:(?:[^:/\[\]@,]*|\[[0-9A-Fa-f:.%]+\])(?::[0-9]{0,5})?(?:,|$))*", re.IGNORECASE)
"""Hosts with their ports: what stands after a colon and is no number may be a password, whose ``@`` is missing."""

_SHORT = 3
"""Characters of a secret below which it is looked for as a word of its own alone."""

_SAME_ROWS = re.compile(
    "application_name|client_min_messages|.*_timeout|tcp_.*|work_mem|temp_buffers|maintenance_work_mem|jit.*|enable_.*|"
    "max_parallel_.*|parallel_.*|geqo.*|.*_cost|log_.*|debug_.*|default_transaction_read_only"
)
"""Settings of a session that do not decide which rows it reads, nor what they say."""


class AddressError(ValueError):
    """An address that cannot be used; the message says, without a password, what was expected and found, what to do."""


def is_database(address: str) -> bool:
    """Say whether an address is one of a PostgreSQL database."""
    return address.startswith(SCHEMES)


def refuse_characters(path: str, characters: str) -> None:
    """Refuse a path that has one of some characters.

    Raises
    ------
    AddressError
        If it does.
    """
    if found := [each for each in characters if each in path]:
        raise AddressError(
            f"expected a path without any of {' '.join(characters)}, which DuckDB and dlt take for something else, "
            f"found {found[0]} in {without_password(path)}. Name another folder."
        )


def canonical(address: str, environment: Mapping[str, str], *, by_libpq: bool = False) -> str:
    """Return an address as every client reads it alike; of one that is so already, itself.

    It names user, host, port and database, the password if there is one (not where it is in a password file, which
    libpq reads for every client), and a host that is the folder of a Unix socket as a parameter.

    Parameters
    ----------
    address : str
    environment : mapping of str to str
        Has libpq's variables, which stand in for what the address does not say.
    by_libpq : bool
        Whether libpq alone reads the address, so that all that it knows will do. A service then becomes the parts that
        its file has for it, and the settings of ``PGOPTIONS``, of the service and of the address are joined, of which
        the later ones come first.

    Raises
    ------
    AddressError
        If there is no such form.
    """
    found = f"expected {FORM}, found {without_password(address)}"
    given = parsed(address)
    if by_libpq:
        return _written(_by_libpq(found, given, environment))
    if "service" in given or environment.get("PGSERVICE"):
        raise AddressError(
            f"{found} with a service (PGSERVICE), whose password would not reach dbt. Write its parts into the "
            "address, and unset PGSERVICE."
        )
    parts = _of_environment(_VARIABLES, environment) | given
    parts.setdefault("port", DEFAULT_PORT)
    _refuse_missing(found, parts)
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


def _of_environment(variables: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    return {part: environment[name] for part, name in variables.items() if environment.get(name)}


def _refuse_missing(found: str, parts: Mapping[str, str]) -> None:
    if missing := [part for part in _NEEDED if part not in parts and not (part == "host" and "hostaddr" in parts)]:
        raise AddressError(
            f"{found} without {' and '.join(_NEEDED[part] for part in missing)}. Add what is missing, or set "
            f"{' and '.join(_VARIABLES[part] for part in missing)}: the clients have other defaults, and would use "
            "different databases."
        )


def _by_libpq(found: str, given: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the parts of an address that libpq alone reads, with what stands in the environment."""
    given = dict(given)
    service = _service(found, given, environment)
    environment_parts = _of_environment(_VARIABLES | _VARIABLES_OF_LIBPQ, environment)
    # to libpq, a service comes before variables
    parts = environment_parts | service | given
    if "hostaddr" not in parts or "host" in parts:
        parts.setdefault("port", DEFAULT_PORT)
    _refuse_missing(found, parts)
    if re.search(r"[^\d,]", parts.get("port", "")) or "@" in parts.get("host", "")[1:]:
        # what was found may be a part of a password
        raise AddressError(
            f"{found}. Write the port as a number, be it here or in PGPORT, and percent-encode special characters in "
            "the password."
        )
    if "options" in parts:
        told = [_options(each.get("options", "")) for each in (environment_parts, service, given)]
        parts["options"] = _written_options(list(dict(chain(*told)).items()))
    return parts


def _service(found: str, given: dict[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Take the service out of the parts of an address, and return what its file says of it, as libpq reads it."""
    name, own = given.pop("service", environment.get("PGSERVICE")), given.pop("servicefile", None)
    if not name:
        return {}
    files = [
        Path(own or environment.get("PGSERVICEFILE") or _SERVICES).expanduser(),
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
                # a value may be a password
                raise AddressError(
                    f"{found}, of which {file} has a line that is not <parameter>=<value>. Correct it, or write the "
                    "parts of the address out."
                )
            parts.setdefault(part, value)
    return {part: value for part, value in parts.items() if value}


def _options(text: str) -> list[tuple[str, str | None]]:
    """Return the settings of ``options`` by name, and other switches of the server, whose value is None."""
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
    """Return the settings of a session that an address makes by its ``options``, in their order."""
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
    """Return a text without a secret, as it is and as an address has it."""
    if not secret:
        return text
    # a short one is a part of other words
    within = r"(?<!\w){}(?!\w)" if len(secret) < _SHORT else "{}"
    for form in (secret, quote(secret, safe=""), quote(secret), quote_plus(secret)):
        text = re.sub(within.format(re.escape(form)), "***", text)
    return text


def described(address: str) -> str:
    """Return how the database of an address is named in what is stored and shown.

    Raises
    ------
    AddressError
        If it cannot be read.
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
        # which writes the address anew, with SQLAlchemy, and takes the blanks off a password
        by_dlt = parsed(url.render_as_string(hide_password=False))
    except (ArgumentError, ValueError):
        return sorted(parts)
    if "password" in by_dlt:
        by_dlt["password"] = by_dlt["password"].strip()
    return sorted(part for part in parts if {by_sqlalchemy.get(part), by_dlt.get(part)} != {parts[part]})


def same_place(one: str, other: str) -> bool:
    """Say whether two sources, as they are stored and shown, are the same, whatever the passwords and most parameters.

    Settings of the session count, unless they say nothing of the rows: by them a database knows its tenants apart.
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
    """Return an address fit to be shown: with ``***`` for each password, be it before the host or in the query.

    A secret among the settings of the session leaves some digits of a hash, by which two of them are told apart. In
    what is no address, and may be one that is written wrongly, ``***`` stands for all that may be a password: what is
    shown is certainly a scheme, a user, a host, a file, or a parameter that libpq knows and that is no secret.
    """
    scheme, found, rest = address.partition("://")
    if not found:
        return _without_what_may_be_a_password(address)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        return "***"
    before, mark, query = rest.partition("?")
    if "@" in query:
        # it may belong to a password that is not percent-encoded, so that nobody can say where that ends
        return f"{scheme}://***"
    login, at, place = before.rpartition("@")
    user, colon, _ = login.partition(":")
    shown = "***" if "@" in user else f"{user}{colon}{'***' if colon else ''}"
    if not _HOSTS.fullmatch(place.partition("/")[0]):
        first = place.partition(":")[0]
        return f"{scheme}://{shown}{at}{f'{first}:' if _HOSTS.fullmatch(first) else ''}***"
    if not is_database(address):
        place = re.sub("#.*", "#***", place, flags=re.DOTALL)
    parameters = "&".join(map(_without_secret, query.split("&"))) if query else ""
    return f"{scheme}://{shown}{at}{place}{mark}{parameters}"


def _without_what_may_be_a_password(text: str) -> str:
    is_path = text.removeprefix("duckdb:").startswith(("/", "~", "."))
    names = _HIDDEN if is_path else f"{_HIDDEN}|{_HIDDEN_SETTINGS}"
    replaced = [(rf"((?:{names})\w*\s*=).*", r"\1***"), (":.*@", ":***@"), (r"(\?.*?=).*", r"\1***")]
    if not is_path:
        # of what begins with neither, there may be no more than a user and a password
        replaced += [("/.*@", "/***@"), ("^([^@:]*):[^@]+$", r"\1:***")]
    for pattern, instead in replaced:
        text = re.sub(pattern, instead, text, flags=re.IGNORECASE | re.DOTALL)
    return text


def _without_secret(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    if not equals:
        # the rest of a value, perhaps a password's, whose & is not percent-encoded
        return "***"
    if unquote(name).lower() == "options":
        return f"{name}={_without_secret_settings(value)}"
    is_secret = re.search(_HIDDEN, unquote(name), re.IGNORECASE) or not _is_parameter(unquote(name))
    return f"{name}=***" if is_secret else parameter


@lru_cache
def _is_parameter(name: str) -> bool:
    """Say whether libpq knows a parameter of this name; a value under another may be a password."""
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
    # a switch that is no setting may be the rest of a secret with a blank
    shown = [
        (name, value if value is None or name not in secret else _digits(name, value))
        for name, value in settings
        if value is not None
    ]
    return quote(_written_options(shown), safe="/*")


@lru_cache
def _digits(name: str, value: str) -> str:
    if re.fullmatch(r"\*\*\*[0-9a-f]{8}", value):
        return value
    # slow on purpose: a short secret is not found by trying
    return "***" + hashlib.scrypt(value.encode(), salt=name.encode(), n=2**14, r=8, p=1).hex()[:8]
