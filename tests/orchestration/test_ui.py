"""The Dagster UI on a filled home: what a data engineer sees there."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from tests.homes import PATIENCE, REPOSITORY, Home, free_port

Query = Callable[[str], dict[str, Any]]

MODELS = ("conversion", "next_best_action")
REPORTS = "https://reports.example.com/leadline"
"""At which a proxy would bring the reports."""

CHECKS = "assetChecksOrError { ... on AssetChecks { checks { name executionForLatestMaterialization { status } } } }"


@pytest.fixture
def reports_port() -> int:
    """Return a port for the reports; the links that the filled home holds name the default one."""
    return free_port()


@pytest.fixture
def port() -> int:
    """Return a port for the UI."""
    return free_port()


@pytest.fixture
def ui(own: Home, reports_port: int, port: int) -> Iterator[Query]:
    """Start ``python -m orchestration ui`` and return a query on its GraphQL interface."""
    log = own.path / "ui.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestration", "ui", "--port", str(port)],
            cwd=REPOSITORY,
            env=own.environment(LEADLINE_REPORTS_PORT=str(reports_port), LEADLINE_REPORTS_ADDRESS=REPORTS),
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip

        def ask(query: str) -> dict[str, Any]:
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/graphql",
                json.dumps({"query": query}).encode(),
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                answer = json.load(response)
            assert "errors" not in answer, answer
            return answer["data"]

        try:
            _wait_until_it_answers(process, ask, log.read_text)
            yield ask
        finally:
            tree = [*psutil.Process(process.pid).children(recursive=True), process]
            for each in tree:
                try:
                    each.kill()
                except psutil.NoSuchProcess:
                    continue
            process.wait(PATIENCE)


def _wait_until_it_answers(process: subprocess.Popen[bytes], ask: Query, log: Callable[[], str]) -> None:
    for _ in range(2 * PATIENCE):
        assert process.poll() is None, log()
        try:
            found = ask("{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }")
        except (urllib.error.URLError, ConnectionError):
            found = {"repositoriesOrError": {}}
        if found["repositoriesOrError"].get("nodes"):
            return
        time.sleep(0.5)
    raise AssertionError(f"the UI did not answer within {PATIENCE} s:\n{log()[-3000:]}")


@pytest.mark.slow(60)
def test_assets_checks_runs_reports_schedule_and_sensor_are_there(
    ui: Query, own: Home, reports_port: int, port: int
) -> None:
    nodes = ui(
        "{ assetNodes { assetKey { path } groupName description kinds owners { ... on TeamAssetOwner { team } } "
        "assetMaterializations(limit: 1) { metadataEntries { label ... on IntMetadataEntry { intValue } "
        "... on FloatMetadataEntry { floatValue } ... on MarkdownMetadataEntry { mdStr } "
        "... on TableMetadataEntry { table { records } } "
        "... on PathMetadataEntry { path } ... on UrlMetadataEntry { url } } } " + CHECKS + " } }"
    )["assetNodes"]
    assets = {"/".join(node["assetKey"]["path"]): node for node in nodes}
    metadata = {
        name: {entry["label"]: entry for entry in node["assetMaterializations"][0]["metadataEntries"]}
        for name, node in assets.items()
        if node["assetMaterializations"]
    }
    # nobody has asked for the days of an entity that the source does not have
    assert assets.keys() - metadata.keys() == {"features/customer_features_by_day"}
    assert all(node["description"] and node["groupName"] and node["kinds"] and node["owners"] for node in nodes)
    for name, table in (
        ("crm/leads", "raw.leads"),
        ("crm/rejects", "raw.rejects"),
        ("features/lead_features", "features.lead_features"),
        ("labels/conversion", "labels.conversion"),
        ("marts/lead_scores", "marts.lead_scores"),
    ):
        assert metadata[name]["dagster/row_count"]["intValue"] == own.ask(f"select count(*) from {table}")[0][0], name
    assert "conflicting_duplicate" in "".join(metadata["crm/rejects"]["rejects_by_reason"]["table"]["records"])
    for model in MODELS:
        assert metadata[f"candidate/{model}"]["log_loss"]["floatValue"] > 0
        assert "](data:image/png;base64," in metadata[f"candidate/{model}"]["card"]["mdStr"]
        assert "| metric | model | linear | trivial |" in metadata[f"candidate/{model}"]["metrics"]["mdStr"]
        assert next(iter(metadata[f"candidate/{model}"])) == "card"
    for name, preview in (
        ("scores/conversion", "highest_predictions"),
        ("champion/conversion", "last_decisions"),
        ("retrain_decision/conversion", "last_decisions"),
        ("features/catalogue", "most_important"),
        ("published/snapshot", "first_rows_lead_scores"),
    ):
        assert metadata[name][preview]["table"]["records"], name
    first = json.loads(metadata["published/snapshot"]["first_rows_lead_scores"]["table"]["records"][0])
    ((likeliest, value),) = own.ask(
        "select lead_id, expected_value from marts.lead_scores order by expected_value desc nulls last, lead_id limit 1"
    )
    assert (first["lead_id"], first["expected_value"]) == (likeliest, f"{value:,.0f}")
    # the process that the command starts is the guarded one
    for path, host, refused in (
        ("/server_info", "evil.example", 421),
        ("/graphql?query=%7Bversion%7D", "localhost", 403),
    ):
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Host": host})
        with pytest.raises(urllib.error.HTTPError, match=str(refused)):
            urllib.request.urlopen(request, timeout=PATIENCE)
    said = (own.path / "ui.log").read_text()
    # Dagster recommends it, and Leadline refuses it
    assert "dg dev" not in said
    assert f"described at {REPORTS}/dbt_docs/index.html" in said
    for report in (*(metadata[f"drift/{model}"]["report"] for model in MODELS), metadata["reports/dbt_docs"]["docs"]):
        link = urllib.parse.urlsplit(report["url"])
        assert (link.scheme, link.netloc) == ("http", "127.0.0.1:3001")
        proxied = urllib.request.Request(
            f"http://127.0.0.1:{reports_port}{link.path}", headers={"Host": "reports.example.com"}
        )
        with urllib.request.urlopen(proxied, timeout=PATIENCE) as response:
            assert response.status == 200
            assert response.headers.get_content_type() == "text/html"
            assert b"<html" in response.read(10_000)
    assert metadata["published/snapshot"]["path"]["path"]

    checks = {
        (name, check["name"]): check["executionForLatestMaterialization"]
        for name, node in assets.items()
        for check in node["assetChecksOrError"].get("checks", [])
    }
    # a check that was planned and gave no verdict is skipped or in progress for ever
    verdicts = {"SUCCEEDED", "FAILED"}
    assert {key: last for key, last in checks.items() if last is None or last["status"] not in verdicts} == {}
    assert checks["marts/lead_scores", "unique_lead_scores_lead_id"]["status"] == "SUCCEEDED"
    assert checks["crm/leads", "few_rejects"]["status"] == "SUCCEEDED"
    # a home in which nothing is wrong has no yellow check
    assert {key for key, last in checks.items() if last["status"] == "FAILED"} == set()

    runs = ui("{ runsOrError { ... on Runs { results { jobName status } } } }")["runsOrError"]["results"]
    assert runs == [{"jobName": "whole_loop", "status": "SUCCESS"}]
    # the page of a job, and the time line, ask for the runs of a job of the code location
    (of_job,) = ui(
        '{ pipelineOrError(params: {pipelineName: "whole_loop", repositoryName: "__repository__", '
        'repositoryLocationName: "leadline"}) { ... on Pipeline { runs(limit: 9) { runId } } } }'
    )["pipelineOrError"]["runs"]
    # of the two that may judge it, the daemon is told not to
    for _ in range(2 * PATIENCE):
        found = ui("{ assetNodes { assetKey { path } freshnessStatusInfo { freshnessStatus } } }")["assetNodes"]
        fresh = {
            "/".join(each["assetKey"]["path"]): each["freshnessStatusInfo"]["freshnessStatus"]
            for each in found
            if each["freshnessStatusInfo"] is not None
        }
        if "UNKNOWN" not in fresh.values():
            break
        time.sleep(0.5)
    assert {name for name, status in fresh.items() if status == "HEALTHY"} == {
        name for name in assets if name.startswith(("crm/", "marts/")) or name == "published/snapshot"
    }
    again = ui(
        f'mutation {{ launchRunReexecution(reexecutionParams: {{parentRunId: "{of_job["runId"]}", '
        "strategy: ALL_STEPS}) { __typename ... on LaunchRunSuccess { run { runId } } } }"
    )["launchRunReexecution"]
    assert again["__typename"] == "LaunchRunSuccess"
    ended = ui(
        f'mutation {{ terminateRun(runId: "{again["run"]["runId"]}", terminatePolicy: MARK_AS_CANCELED_IMMEDIATELY) '
        "{ __typename } }"
    )["terminateRun"]
    assert ended["__typename"] == "TerminateRunSuccess"
    repository = ui(
        "{ repositoriesOrError { ... on RepositoryConnection { nodes { jobs { name } "
        "schedules { name cronSchedule scheduleState { status } } sensors { name sensorState { status } } } } } }"
    )["repositoriesOrError"]["nodes"][0]
    assert {"whole_loop", "score_leads"} <= {job["name"] for job in repository["jobs"]}
    assert repository["schedules"] == [
        {"name": "nightly_scores", "cronSchedule": "30 2 * * *", "scheduleState": {"status": "RUNNING"}}
    ]
    assert repository["sensors"] == [
        {"name": name, "sensorState": {"status": "RUNNING"}} for name in ("retrain_sensor", "tidy_sensor")
    ]
