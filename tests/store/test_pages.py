"""Pages that are made from data, in a real browser: what stands in a text is shown, and neither run nor fetched."""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from assets.publishing.documentation import catalog_of, page, published_manifest
from models.decisions.drift import DriftEvidence, Performance, Reference, Verdict
from models.markdown import printable
from store.features.dbt_project import manifest_path
from store.measuring.drift_report import headed, heading, safe, write_report
from store.pages import UnknownPageError
from tests.browser import TEN_SECONDS, browse, foreign_site, needs_browser

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN = "document.title='RAN';new Image().src='SITE/run'"
HOSTILE = (
    f"</script><script>{RUN}</script>",
    f"</ScRiPt x><svg onload={RUN}>",
    "<!--<script>",
    f'<img src=x onerror="{RUN}">',
    "<img src='SITE/tag'>",
    "![](SITE/image)",
    "[click](javascript:document.title='RAN')",
    '<a href="SITE/link">click</a>',
    "<b>bold</b> &lt;i&gt; & `a|b` <br>",
    "{{constructor.constructor(\"document.title='RAN'\")()}}",
    "\u2028*/ alert`1` //\u2029",
)
EVIDENCE = DriftEvidence(
    model="<b>model</b>", version="v1", as_of=datetime(2026, 6, 1, tzinfo=UTC), window_days=30,
    reference=Reference(
        trained_at=datetime(2026, 3, 1, tzinfo=UTC), last_as_of=datetime(2026, 3, 1, tzinfo=UTC),
        performance=Performance(rows=0, entities=0, ranking={}, bias={}),
    ),
    rows_reference=1, rows_current=1, entities_reference=1, entities_current=1, features=(), predictions=(),
    performance=Performance(rows=0, entities=0, ranking={}, bias={}), new_labels=0,
)  # fmt: skip
POLICY = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
OPENED = """
<script>setTimeout(() => document.querySelectorAll('td button').forEach(each => each.click()), 1500)</script>
</body>"""
"""Opens all that a page of Evidently has closed."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    (tmp_path / "site").mkdir()
    with foreign_site(tmp_path / "site") as found:
        yield found


@needs_browser
def test_a_report_shows_the_values_of_a_text_as_they_are(site: tuple[str, list[str]], tmp_path: Path) -> None:
    values = [each.replace("SITE", site[0]) for each in HOSTILE]
    # a value is escaped for Plotly as well, a name is not
    columns = ("one", values[0])
    now, before = (pd.DataFrame(dict.fromkeys(columns, values * times)) for times in (3, 2))
    report = tmp_path / "report.html"
    verdicts = [Verdict(check="features", failed=True, statement=each, value=1.0) for each in values]
    top = heading(EVIDENCE, verdicts, "leads")
    assert write_report(before, now, dict.fromkeys(columns, "text"), report, title=values[0], top=top)
    assert report.read_text(encoding="utf-8").count(POLICY) == 1
    report.write_text(report.read_text(encoding="utf-8").replace("</body>", OPENED), encoding="utf-8")
    shown = browse(report.as_uri(), tmp_path / "profile", TEN_SECONDS)
    labels = re.findall('<g class="xtick"><text[^>]*>(.*?)</text>', shown.stdout)
    drawn = [html.unescape(re.sub("<[^>]*>", "", label)).strip() for label in labels]
    assert {each.strip(): drawn.count(each.strip()) for each in values} == {each.strip(): 2 for each in values}
    said = re.findall("<td>failed</td><td>(.*?)</td></tr>", shown.stdout.partition("Leadline's verdicts")[2])
    assert [html.unescape(each) for each in said[: len(values)]] == [printable(each) for each in values]
    # drawings have titles too
    assert html.unescape(re.findall("<title>(.*?)</title>", shown.stdout)[0]) == values[0]
    assert ">RAN<" not in shown.stdout
    # nor did it try to fetch anything, which its policy would have prevented and the console have said
    assert "Content Security Policy" not in shown.stderr
    assert site[1] == []


@needs_browser
def test_a_page_of_docs_runs_and_fetches_nothing_of_a_description(site: tuple[str, list[str]], tmp_path: Path) -> None:
    from dbt.task.docs import DOCS_INDEX_FILE_PATH

    said = " ".join(each.replace("SITE", site[0]) for each in HOSTILE)
    manifest = published_manifest(json.loads(manifest_path().read_text(encoding="utf-8")), "warehouse")
    model = manifest["nodes"]["model.leadline.lead_scores"]
    for each in (model, *model["columns"].values()):
        each["description"] = said
    docs = tmp_path / "index.html"
    docs.write_text(page(Path(DOCS_INDEX_FILE_PATH), manifest, catalog_of(manifest, {})), encoding="utf-8")
    shown = browse(f"{docs.as_uri()}#!/model/model.leadline.lead_scores", tmp_path / "profile", TEN_SECONDS)
    assert "</script><script>document.title=" in html.unescape(shown.stdout)
    assert ">RAN<" not in shown.stdout
    assert 'href="javascript:document' not in shown.stdout
    # dbt's page makes images of what Markdown has for images: its policy prevents that they are fetched
    assert f"Loading the image '{site[0]}/image' violates" in shown.stderr
    assert site[1] == []


@pytest.mark.parametrize(
    "other",
    [
        "<script>var x = {}; var y = {};</script>",
        "<script>\n var x = {};\n var additional_graphs_x = {}, z = 1;</script>",
        "<p>none</p>",
    ],
)
def test_a_page_of_another_evidently_is_refused(other: str) -> None:
    with pytest.raises(UnknownPageError, match=r"the page of Evidently: expected .* Install the evidently of"):
        safe(f"<html><head></head><body>{other}</body></html>")


def test_a_page_of_evidently_without_its_body_is_refused() -> None:
    with pytest.raises(UnknownPageError, match=r"the page of Evidently: expected .*</head>.* Install the evidently of"):
        headed("<html><head></head><main></main>", "title", "<h1>top</h1>")
