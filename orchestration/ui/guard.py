"""The guard of Leadline's servers: refuses requests for foreign addresses, and changes by pages of other origins.

A browser sends requests to 127.0.0.1 for any page that it shows. If the page's own name points to 127.0.0.1 (DNS
rebinding), the request has that name as ``Host``; if a page of another origin sends a form or opens a WebSocket, the
request has that origin as ``Origin``. Both are refused.
"""

import re
from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

_LOCAL = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?")
"""``Host`` of a request from this machine; a tunnel may use another port."""

READING = ("GET", "HEAD")

JSON = ("application/json", "application/graphql")
"""Content types that no HTML form can send."""

GRAPHQL = "graphql"

HEADERS = {
    # another page could show the UI in an invisible frame, and make a person click on it
    "X-Frame-Options": "SAMEORIGIN",
    # a value from the CRM must not make the browser send a request to another server
    "Content-Security-Policy": (
        "img-src 'self' data: blob:; media-src 'self' data:; font-src 'self' data:; connect-src 'self'; "
        "frame-src 'self'; form-action 'self'; frame-ancestors 'self'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""The headers that are added to every answer of the UI."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """The parts of a request that decide whether it is answered.

    Attributes
    ----------
    method : str
        In capitals; ``WEBSOCKET`` for a WebSocket.
    path : str
    headers : sequence of (str, str)
        Names in small letters, and values.
    """

    method: str
    path: str
    headers: Sequence[tuple[str, str]]

    def all(self, name: str) -> list[str]:
        """Return all values of a header."""
        return [value.strip() for each, value in self.headers if each == name]


@dataclass(frozen=True)
class Refusal:
    """The answer to a refused request: the status, and a sentence with the reason and the remedy."""

    status: int
    reason: str


def wrong_host(
    hosts: Sequence[str], addresses: Collection[str], setting: str = "LEADLINE_UI_ADDRESSES"
) -> Refusal | None:
    """Refuse a request whose ``Host`` is not an address of Leadline's servers.

    Parameters
    ----------
    hosts : sequence of str
        The values of the header ``Host``.
    addresses : collection of str
        The addresses of the settings; those of this machine are always allowed.
    setting : str
        The setting that the refusal names.
    """
    host = hosts[0].lower() if len(hosts) == 1 else ""
    if _LOCAL.fullmatch(host) or host in {urlsplit(each).netloc for each in addresses}:
        return None
    return Refusal(
        421,
        f"Host: expected localhost, 127.0.0.1, [::1] or an address of {setting}, found {_escaped(hosts)}. "
        "Open one of these, or add the address of your proxy to that setting.",
    )


def refused(request: Request, addresses: Collection[str]) -> Refusal | None:
    """Refuse a request for a foreign address, or one that could change something and is not from Leadline's own pages.

    Parameters
    ----------
    request : Request
    addresses : collection of str
        The addresses of the UI behind a proxy, as browsers show them.

    Returns
    -------
    Refusal or None
        None for a request that may be answered.
    """
    if refusal := wrong_host(request.all("host"), addresses):
        return refusal
    if request.method in READING:
        # GET of GraphQL is allowed for the page on which a person writes queries, because the page itself executes
        # none; Dagster's routes match more paths than /graphql, so the whole path is searched
        if GRAPHQL not in request.path.lower() or any("text/html" in each for each in request.all("accept")[:1]):
            return None
        return Refusal(403, "GraphQL: expected POST, found GET, which changes nothing here. Send the query by POST.")
    if refusal := _refuse_foreign(request, addresses):
        return refusal
    if request.method == "WEBSOCKET":
        return None
    types = [each.split(";")[0].strip().lower() for each in request.all("content-type")]
    if len(types) != 1 or types[0] not in JSON:
        return Refusal(
            403,
            f"Content-Type: expected {JSON[0]} for a request that may change something, found {_escaped(types)}. "
            "Send JSON.",
        )
    return None


def _refuse_foreign(request: Request, addresses: Collection[str]) -> Refusal | None:
    """Refuse a request by a page of another origin; programs other than browsers send no origin."""
    host, origins, sites = request.all("host")[0].lower(), request.all("origin"), request.all("sec-fetch-site")
    own_origins = {*addresses, *([f"http://{host}"] if _LOCAL.fullmatch(host) else [])}
    is_by_browser = origins or sites or request.method == "WEBSOCKET"
    if not is_by_browser or (len(origins) == 1 and origins[0].lower() in own_origins and set(sites) <= {"same-origin"}):
        return None
    return Refusal(
        403,
        f"Origin: expected a page of Leadline's own ({' or '.join(sorted(own_origins))}), found {_escaped(origins)}. "
        "Use the UI itself, or add the address of your proxy to LEADLINE_UI_ADDRESSES.",
    )


def _escaped(values: Sequence[str]) -> str:
    """Return values of a header for an answer: shortened, with control and non-ASCII characters escaped."""
    return ", ".join(ascii(each[:100]) for each in values[:3]) or "none"


class Guard:
    """An ASGI application in front of another one, which gets only the requests that `refused` does not refuse.

    Parameters
    ----------
    application : ASGI application
    addresses : iterable of str
        The addresses behind a proxy.
    """

    def __init__(self, application: Application, addresses: Iterable[str] = ()) -> None:
        self._application = application
        self._addresses = frozenset(addresses)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        request = Request(
            method=scope["method"] if scope["type"] == "http" else "WEBSOCKET",
            path=scope["path"],
            headers=[(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]],
        )
        if (refusal := refused(request, self._addresses)) is None:
            await self._application(scope, receive, _with_headers(send))
        elif scope["type"] == "http":
            await _refuse(refusal, send)
        else:
            # a close before the acceptance makes the server answer 403, whose text browsers do not show
            await send({"type": "websocket.close"})


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            added = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
            message["headers"] = [*message.get("headers", []), *added]
        await send(message)

    return sending


async def _refuse(refusal: Refusal, send: Send) -> None:
    body = f"{refusal.reason}\n".encode()
    headers = {
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(len(body)),
        "X-Content-Type-Options": "nosniff",
        **HEADERS,
    }
    await send(
        {
            "type": "http.response.start",
            "status": refusal.status,
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": body})
