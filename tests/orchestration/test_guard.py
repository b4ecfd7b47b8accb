"""The guard of the UI: what it refuses, and what a foreign page in a real browser can do with and without it."""

from __future__ import annotations

import html
import re
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import dagster as dg
import pytest
import uvicorn
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster_webserver.app import create_app_from_workspace_process_context
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from models.markdown import bullets, markdown_table
from orchestration.ui.guard import Guard, Request, refused
from orchestration.ui.webserver import UnknownServiceError, behind_guard
from tests.browser import TEN_SECONDS, browse, foreign_site, needs_browser
from tests.homes import PATIENCE, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = ("host", "127.0.0.1:3000")
OWN = ("origin", "http://127.0.0.1:3000")
JSON = ("content-type", "application/json")
PROXY = "https://leadline.example.com"


def status(method: str, *headers: tuple[str, str], path: str = "/graphql") -> int:
    refusal = refused(Request(method=method, path=path, headers=headers), [PROXY])
    return 200 if refusal is None else refusal.status


@pytest.mark.parametrize(
    ("hosts", "answered"),
    [
        (["127.0.0.1:3000"], True),
        (["localhost:8080"], True),  # through a tunnel
        (["LOCALHOST"], True),
        (["[::1]:3000"], True),
        (["leadline.example.com"], True),
        ([], False),
        (["127.0.0.1:3000", "127.0.0.1:3000"], False),
        (["evil.example:3000"], False),
        (["127.0.0.1.evil.example"], False),
        (["localhost.evil.example"], False),
        (["evil.example@127.0.0.1"], False),
        (["127.0.0.1:3000@evil.example"], False),
        (["127.0.0.1:"], False),
        (["localhost."], False),
        (["0.0.0.0:3000"], False),
        (["leadline.example.com:8443"], False),
        (["www.leadline.example.com"], False),
    ],
)
def test_only_who_asks_for_an_address_of_ours_is_answered(hosts: list[str], answered: bool) -> None:
    assert status("GET", *(("host", each) for each in hosts), path="/runs") == (200 if answered else 421)


@pytest.mark.parametrize(
    ("method", "headers", "answered"),
    [
        # the UI, here and through a proxy that names itself or the UI as host, and programs that are no browsers
        ("POST", [HOST, OWN, JSON, ("sec-fetch-site", "same-origin")], True),
        ("POST", [("host", "leadline.example.com"), ("origin", PROXY), JSON], True),
        ("POST", [HOST, ("origin", PROXY), ("content-type", "application/json; charset=utf-8")], True),
        ("POST", [HOST, JSON], True),
        ("WEBSOCKET", [HOST, OWN], True),
        # pages of other origins, also on this machine, in frames without one, and reached without encryption
        ("POST", [HOST, ("origin", "http://evil.example"), JSON], False),
        ("POST", [HOST, ("origin", "http://127.0.0.1:8888"), JSON], False),
        ("POST", [HOST, ("origin", "http://localhost:3000"), JSON], False),
        ("POST", [HOST, ("origin", "https://127.0.0.1:3000"), JSON], False),
        ("POST", [HOST, ("origin", "null"), JSON], False),
        ("POST", [HOST, ("origin", ""), JSON], False),
        ("POST", [HOST, OWN, ("origin", "http://evil.example"), JSON], False),
        ("POST", [HOST, OWN, JSON, ("sec-fetch-site", "cross-site")], False),
        ("POST", [HOST, JSON, ("sec-fetch-site", "same-site")], False),
        ("POST", [("host", "leadline.example.com"), ("origin", "http://leadline.example.com"), JSON], False),
        ("WEBSOCKET", [HOST], False),
        ("WEBSOCKET", [HOST, ("origin", "http://evil.example")], False),
        ("DELETE", [HOST, ("origin", "http://evil.example"), JSON], False),
        ("OPTIONS", [HOST, ("origin", "http://evil.example")], False),
        # what a form can send, and GraphQL in the address
        ("POST", [HOST, OWN], False),
        ("POST", [HOST, OWN, ("content-type", "text/plain; application/json")], False),
        ("POST", [HOST, OWN, ("content-type", "application/x-www-form-urlencoded")], False),
        ("POST", [HOST, OWN, JSON, JSON], False),
        ("GET", [HOST, OWN], False),
        ("HEAD", [HOST], False),
        ("GET", [HOST, ("accept", "application/json"), ("accept", "text/html")], False),
        # the page on which a person writes queries
        ("GET", [HOST, ("accept", "text/html,*/*")], True),
    ],
)
def test_changes_come_from_pages_of_ours(method: str, headers: list[tuple[str, str]], answered: bool) -> None:
    assert status(method, *headers) == (200 if answered else 403)


def test_a_path_that_dagster_takes_for_that_of_graphql_is_refused_as_well() -> None:
    assert [status("GET", HOST, path=path) for path in ("/graphql\n", "/prefix/graphql", "/GraphQL/")] == [403] * 3


def test_a_refusal_is_one_sentence_that_a_terminal_can_show() -> None:
    refusal = refused(Request(method="GET", path="/", headers=[("host", "evil\x1b[31m" + "x" * 500)]), [])
    assert refusal is not None
    assert refusal.reason == (
        "Host: expected localhost, 127.0.0.1, [::1] or an address of LEADLINE_UI_ADDRESSES, found "
        f"'evil\\x1b[31m{'x' * 91}'. Open one of these, or add the address of your proxy to that setting."
    )


def test_dagster_starts_the_guarded_server_and_nothing_unknown() -> None:
    assert behind_guard(["python", "-m", "dagster_webserver", "--port", "1"]) == [
        "python", "-m", "orchestration.ui.webserver", "--port", "1",
    ]  # fmt: skip
    daemon = ["python", "-m", "dagster._daemon", "run"]
    assert behind_guard(daemon) == daemon
    for other in (["dagster-webserver", "--port", "1"], ["python", "-m", "dagit", "--port"]):
        with pytest.raises(UnknownServiceError, match=r"found '.*'\. Install the dagster of requirements\.lock"):
            behind_guard(other)


def mutation(key: str) -> str:
    return f'mutation {{ setConcurrencyLimit(concurrencyKey: "{key}", limit: 3) }}'


def page(ui: str) -> str:
    """Return a page that tries to change something in every way, and shows what it could read; then it is loaded."""
    socket = ui.replace("http", "ws", 1)
    return (
        """<html><body><img src="/hold"><iframe name="hidden"></iframe><script>
const ui = "UI", url = key => `${ui}/graphql?query=` + encodeURIComponent(query(key))
const query = key => 'MUTATION'.replace('KEY', key), said = []
const form = (key, type, how) => {
  const made = document.createElement('form')
  Object.assign(made, {action: url(key), method: how, enctype: type, target: 'hidden'})
  if (how == 'get') { const field = document.createElement('input'); field.name = 'query'; field.value = query(key)
                      made.appendChild(field) }
  document.body.appendChild(made); made.submit()
}
const json = key => JSON.stringify({query: query(key)})
const tries = {
  form: async key => form(key, 'text/plain', 'post'),
  image: async key => { const image = new Image(); image.src = url(key); await image.decode() },
  get: async key => (await fetch(url(key))).text(),
  hidden_get: async key => fetch(url(key), {mode: 'no-cors'}),
  json: async key => (await fetch(ui + '/graphql',
    {method: 'POST', body: json(key), headers: {'Content-Type': 'application/json'}})).text(),
  text: async key => fetch(ui + '/graphql', {method: 'POST', mode: 'no-cors', body: json(key),
    headers: {'Content-Type': 'text/plain;application/json'}}),
  beacon: async key => navigator.sendBeacon(url(key), ''),
  socket: key => new Promise((done, fail) => {
    const socket = new WebSocket('SOCKET/graphql', 'graphql-ws')
    socket.onopen = () => socket.send('{"type": "connection_init"}')
    socket.onmessage = event => done(event.data)
    socket.onerror = fail
  }),
}
;(async () => {
  for (const name in tries) {
    try { said.push(name + ': ' + await tries[name](name)) } catch (error) { said.push(name + ': refused') }
  }
  await new Promise(done => setTimeout(done, 1000))
  document.body.append(said.join('; '))
  fetch('/done')
})()
</script></body></html>""".replace("UI", ui)
        .replace("SOCKET", socket)
        .replace("MUTATION", mutation("KEY"))
    )


WAYS = {"form", "image", "get", "hidden_get", "json", "text", "beacon"}
"""Of changing something; a socket reads."""


@contextmanager
def served(home: Path, *, guarded: bool, port: int, own: str = "") -> Iterator[dg.DagsterInstance]:
    """Serve Dagster's UI on an instance of its own, and a page of the same origin at ``/own``."""
    home.mkdir(exist_ok=True)
    with (
        dg.DagsterInstance.local_temp(
            str(home), {"telemetry": {"enabled": False}, "nux": {"enabled": False}}
        ) as instance,
        WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as context,
    ):
        dagster: Any = create_app_from_workspace_process_context(context)
        done = threading.Event()
        dagster.router.routes[:0] = [
            Route("/own", lambda _: HTMLResponse(own)),
            Route("/hold", lambda _: Response(status_code=204 if done.wait(PATIENCE) else 500)),
            Route("/done", lambda _: Response(done.set())),
        ]
        application = Guard(dagster) if guarded else dagster
        server = uvicorn.Server(uvicorn.Config(application, port=port, log_level="critical"))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            for _ in range(10 * PATIENCE):
                if server.started:
                    break
                time.sleep(0.1)
            yield instance
        finally:
            server.should_exit = True
            server.force_exit = True
            thread.join(PATIENCE)


def changed(instance: dg.DagsterInstance) -> set[str]:
    return set(instance.event_log_storage.get_concurrency_keys())


@needs_browser
@pytest.mark.parametrize("guarded", [False, True])
def test_a_foreign_page_changes_and_reads_nothing(guarded: bool, tmp_path: Path) -> None:
    """Without the guard the same page changes something, so the test sees what it is to see."""
    port = free_port()
    (tmp_path / "site").mkdir()
    (tmp_path / "site/index.html").write_text(page(f"http://127.0.0.1:{port}"))
    with served(tmp_path / "home", guarded=guarded, port=port) as instance, foreign_site(tmp_path / "site") as (at, _):
        shown = browse(f"{at}/index.html", tmp_path / "profile").stdout
        # a name of the attacker's that points to this machine by now
        rebound = browse(
            f"http://rebound.example:{port}/server_info", tmp_path / "profile",
            "--host-resolver-rules=MAP rebound.example 127.0.0.1"
        ).stdout  # fmt: skip
        found = changed(instance)
    if guarded:
        assert found == set()
        assert "socket: refused" in shown
        assert "Host: expected localhost" in rebound
        assert "dagster_version" not in rebound
    else:
        assert found >= {"form", "image", "hidden_get", "text", "beacon"}
        assert "socket: {" in shown
        assert "dagster_version" in rebound


HOSTILE = (
    "</script><script>document.title='RAN'</script>",
    "<img src='SITE/tag' onerror=\"document.title='RAN'\">",
    "![](SITE/image)",
    "[![](SITE/both)](SITE/link)",
    "[click](javascript:document.title='RAN')",
    "<javascript:document.title='RAN'>",
    "[reference]: SITE/reference",
    "`a|b` | c \\| d",
    "# {{constructor.constructor(\"document.title='RAN'\")()}}",
    "&lt;b&gt; **bold** __bold__ ~~gone~~ snake_case",
    "two\nlines\r\n\u2028<svg onload=document.title='RAN'>",
)


@needs_browser
def test_the_own_ui_reads_and_changes_and_shows_texts_as_they_are(tmp_path: Path) -> None:
    port = free_port()
    ui = f"http://127.0.0.1:{port}"
    (tmp_path / "site").mkdir()
    with (
        foreign_site(tmp_path / "site") as (site, asked),
        served(tmp_path / "home", guarded=True, port=port, own=page(ui)) as instance,
    ):
        values = [each.replace("SITE", site) for each in HOSTILE]
        instance.report_runless_asset_event(
            dg.AssetMaterialization(
                "hostile",
                metadata={
                    "table": dg.MetadataValue.md(markdown_table(("value", "rows"), [(each, 1) for each in values])),
                    "list": dg.MetadataValue.md(bullets(values)),
                    "text": values[1],
                },
            )
        )
        own = browse(f"{ui}/own", tmp_path / "profile").stdout
        found = changed(instance)
        shown = browse(f"{ui}/assets/hostile?view=events", tmp_path / "profile", TEN_SECONDS)
    assert found == {"json"}
    assert 'socket: {"type":"connection_ack"}' in own
    text = html.unescape(re.sub("<[^>]*>", "", shown.stdout))
    expected = [" ".join(each.splitlines()) for each in values]
    # in the table and in the list, and a text that is no Markdown as it is
    assert {each: text.count(each) for each in expected} == {each: 2 + (each == values[1]) for each in expected}
    assert re.findall("<(?:img|svg onload)[^>]*>", shown.stdout) == []
    assert {urlsplit(each).scheme for each in re.findall('href="([^"]*)"', shown.stdout)} <= {"", "http"}
    assert ">Assets | hostile</title>" in shown.stdout
    assert "Content Security Policy" not in shown.stderr
    assert asked == []
