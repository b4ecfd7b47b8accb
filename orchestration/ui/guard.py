"""What the servers of Leadline answer: who asks for an address of theirs, and changes that come from their own pages.

A browser sends requests to 127.0.0.1 for any page that it shows. A page that has had its own name point to 127.0.0.1
(DNS rebinding) gives that name as ``Host``; a page of another origin that has a form sent, or opens a WebSocket, gives
that origin as ``Origin``. Neither is answered.
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
"""``Host`` of who asks from this machine; the port is another one through a tunnel."""

READING = ("GET", "HEAD")

JSON = ("application/json", "application/graphql")
"""What no form of a page can send."""

GRAPHQL = "graphql"

HEADERS = {
    # who is shown in the frame of another page is made to click on what he does not see
    "X-Frame-Options": "SAMEORIGIN",
    # a value from the CRM that is shown makes the browser ask no other server for anything
    "Content-Security-Policy": (
        "img-src 'self' data: blob:; media-src 'self' data:; font-src 'self' data:; connect-src 'self'; "
        "frame-src 'self'; form-action 'self'; frame-ancestors 'self'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Sent with every answer of the UI, beside those of Dagster's own."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is known of a request before it is answered.

    Attributes
    ----------
    method : str
        In capitals; of a WebSocket ``WEBSOCKET``.
    path : str
    headers : sequence of (str, str)
        Names in small letters, and values.
    """

    method: str
    path: str
    headers: Sequence[tuple[str, str]]

    def all(self, name: str) -> list[str]:
        """Return the values of a header, of which there may be several."""
        return [value.strip() for each, value in self.headers if each == name]


@dataclass(frozen=True)
class Refusal:
    """A request that is not answered: the status, and one sentence that says why and what to do."""

    status: int
    reason: str


def wrong_host(
    hosts: Sequence[str], addresses: Collection[str], setting: str = "LEADLINE_UI_ADDRESSES"
) -> Refusal | None:
    """Refuse who has not asked for one of our addresses.

    Parameters
    ----------
    hosts : sequence of str
        The values of the header ``Host``.
    addresses : collection of str
        Those of the settings, beside those of this machine.
    setting : str
        The setting that the refusal names.
    """
    host = hosts[0].lower() if len(hosts) == 1 else ""
    if _LOCAL.fullmatch(host) or host in {urlsplit(each).netloc for each in addresses}:
        return None
    return Refusal(
        421,
        f"Host: expected localhost, 127.0.0.1, [::1] or an address of {setting}, found {_shown(hosts)}. "
        "Open one of these, or add the address of your proxy to that setting.",
    )


def refused(request: Request, addresses: Collection[str]) -> Refusal | None:
    """Refuse a request that is not for us, or that could change something and does not come from our own pages.

    Parameters
    ----------
    request : Request
    addresses : collection of str
        At which the UI is reached through a proxy, as browsers show them.

    Returns
    -------
    Refusal or None
        None for a request that may be answered.
    """
    if refusal := wrong_host(request.all("host"), addresses):
        return refusal
    if request.method in READING:
        # of GraphQL only the page on which a person writes queries, which executes none by itself; Dagster's routes
        # match more paths than the one that they are written for
        if GRAPHQL not in request.path.lower() or any("text/html" in each for each in request.all("accept")[:1]):
            return None
        return Refusal(403, "GraphQL: expected POST, found GET, which changes nothing here. Send the query by POST.")
    if refusal := _foreign(request, addresses):
        return refusal
    if request.method == "WEBSOCKET":
        return None
    types = [each.split(";")[0].strip().lower() for each in request.all("content-type")]
    if len(types) != 1 or types[0] not in JSON:
        return Refusal(
            403, f"Content-Type: expected {JSON[0]} for what may change something, found {_shown(types)}. Send JSON."
        )
    return None


def _foreign(request: Request, addresses: Collection[str]) -> Refusal | None:
    """Refuse what a page of another origin has sent; programs that are no browser name no origin."""
    host, origins, sites = request.all("host")[0].lower(), request.all("origin"), request.all("sec-fetch-site")
    ours = {*addresses, *([f"http://{host}"] if _LOCAL.fullmatch(host) else [])}
    is_by_browser = origins or sites or request.method == "WEBSOCKET"
    if not is_by_browser or (len(origins) == 1 and origins[0].lower() in ours and set(sites) <= {"same-origin"}):
        return None
    return Refusal(
        403,
        f"Origin: expected a page of Leadline's own ({' or '.join(sorted(ours))}), found {_shown(origins)}. "
        "Use the UI itself, or add the address of your proxy to LEADLINE_UI_ADDRESSES.",
    )


def _shown(values: Sequence[str]) -> str:
    """Return values of a header as they may be sent back: short, and without what a terminal or page would take."""
    return ", ".join(ascii(each[:100]) for each in values[:3]) or "none"


class Guard:
    """An ASGI application in front of another one, which gets only the requests that `refused` does not refuse.

    Parameters
    ----------
    application : ASGI application
    addresses : iterable of str
        At which it is reached through a proxy.
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
            # before it is accepted: the server answers 403, of which browsers show no text
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
