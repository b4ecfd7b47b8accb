"""The dbt docs: dbt's own page, filled with what dbt would fill in, and with nothing that is not for its readers."""

from __future__ import annotations

import html
import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from assets.publishing.documentation import CATALOG, MANIFEST, DocsPageError, page, published_manifest
from store.features.dbt_project import DBT, DBT_PROJECT, manifest_path
from tests.browser import TEN_SECONDS, browse, needs_browser
from tests.homes import PATIENCE, REPOSITORY, Home, filled_in

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def docs(filled: Home) -> str:
    return filled.docs.read_text(encoding="utf-8")


def test_every_table_and_column_of_the_project_is_described(docs: str) -> None:
    manifest, catalog = filled_in(docs)
    models = {name for name, each in manifest["nodes"].items() if each["resource_type"] == "model"}
    assert catalog["nodes"].keys() == models
    assert catalog["sources"].keys() == manifest["sources"].keys()
    silent = [
        f"{unique_id}: {column or 'itself'}"
        for section in ("nodes", "sources")
        for unique_id, table in catalog[section].items()
        for said in [manifest[section][unique_id]]
        for column in [None, *table["columns"]]
        if not (said if column is None else said["columns"].get(column, {})).get("description")
    ]
    assert silent == []


def test_the_catalog_is_that_of_dbt(own: Home, docs: str, tmp_path: Path) -> None:
    generated = subprocess.run(
        [DBT, "--quiet", "docs", "generate", "--no-compile", "--profiles-dir", ".", "--target-path", str(tmp_path),
         "--log-path", str(tmp_path)],
        cwd=DBT_PROJECT, env=own.environment(LEADLINE_DUCKDB_PATH=str(own.warehouse)),
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert generated.returncode == 0, generated.stdout
    expected = json.loads((tmp_path / "catalog.json").read_text())
    found = filled_in(docs)[1]
    for section in ("nodes", "sources"):
        assert found[section].keys() == expected[section].keys()
        for unique_id, table in expected[section].items():
            shown = found[section][unique_id]
            columns, dbts = (
                {name: (column["type"], column["index"]) for name, column in each["columns"].items()}
                for each in (shown, table)
            )
            assert columns == dbts, unique_id
            for name in ("type", "database", "schema", "name"):
                assert shown["metadata"][name] == table["metadata"][name], unique_id


def test_the_page_tells_nothing_of_the_machine_and_its_readers_to_nobody(docs: str, filled: Home) -> None:
    assert [mark for mark in (str(REPOSITORY), str(filled.path)) if mark in docs] == []
    manifest, _ = filled_in(docs)
    assert manifest["metadata"]["send_anonymous_usage_stats"] is False
    assert {each["package_name"] for each in manifest["macros"].values()} == {"leadline"}


def test_what_a_manifest_tells_of_machine_moment_and_another_database_is_left_out() -> None:
    manifest = json.loads(manifest_path().read_text(encoding="utf-8"))
    expected = published_manifest(json.loads(json.dumps(manifest)), "mine")
    manifest["metadata"] |= {"env": {"KEY": "open-sesame"}, "user_id": "me", "generated_at": "2026-01-01", "host": "h"}
    for section in ("nodes", "sources", "macros", "docs", "unit_tests"):
        for each in manifest[section].values():
            each |= {"created_at": 1.5, "root_path": "/home/me"}
    for node in manifest["nodes"].values():
        node |= {"build_path": "/home/me", "compiled_path": "/home/me", "database": "another"}
        if node["relation_name"]:
            node["relation_name"] = node["relation_name"].replace('"warehouse"', '"another"')
    shown = published_manifest(manifest, "mine")
    assert shown == expected
    assert shown["nodes"]["model.leadline.lead_scores"]["relation_name"] == '"mine"."marts"."lead_scores"'
    # a column of that name stays
    assert "created_at" in shown["nodes"]["model.leadline.stg_leads"]["columns"]


def test_text_cannot_end_the_script_that_it_stands_in(tmp_path: Path) -> None:
    template = tmp_path / "index.html"
    template.write_text(f"<head></head><script>f({{manifest:{MANIFEST},catalog:{CATALOG}}})</script>")
    manifest, catalog = {"description": "</script><b><!--<script>&"}, {"nodes": {}}
    text = page(template, manifest, catalog)
    assert re.findall("<.", text.partition("</head>")[2]) == ["<s", "</"]
    assert filled_in(text) == (manifest, catalog)


def test_a_page_of_another_dbt_is_refused(tmp_path: Path) -> None:
    template = tmp_path / "index.html"
    template.write_text(f"<head></head><script>{MANIFEST}</script>")
    with pytest.raises(DocsPageError, match=r"expected .CATALOG\.JSON INLINE DATA. once.*found it 0 times"):
        page(template, {}, {})


@needs_browser
@pytest.mark.parametrize("place", ["overview", "model/model.leadline.lead_features", "macro/macro.leadline.epoch_us"])
def test_a_browser_without_a_network_shows_it(place: str, filled: Home, docs: str, tmp_path: Path) -> None:
    address = f"{filled.docs.as_uri()}#!/{place}"
    shown = browse(address, tmp_path, TEN_SECONDS, "--host-resolver-rules=MAP * ~NOTFOUND")
    assert shown.returncode == 0, shown.stderr[-3000:]
    assert [line for line in shown.stderr.splitlines() if "CONSOLE" in line and "Error" in line] == []
    text = " ".join(html.unescape(shown.stdout).split())
    manifest, _ = filled_in(docs)
    if place == "overview":
        assert "Leadline turns the records of a CRM into scored leads." in text
        linked = re.findall(r'href="#!/(?:model|source)/([\w.]+)"', shown.stdout)
        assert {"model.leadline.lead_scores", "source.leadline.raw.leads"} <= set(linked)
        assert set(linked) <= {*manifest["nodes"], *manifest["sources"]}
    elif place.startswith("model"):
        columns = manifest["nodes"]["model.leadline.lead_features"]["columns"].values()
        assert [each["name"] for each in columns if " ".join(each["description"].split()) not in text] == []
    else:
        assert "epoch_us" in text
