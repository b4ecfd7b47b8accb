"""The SQL of a build is kept whole, is run elsewhere word for word, and says which certificate is its own."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from assets.platform.resources import Proving
from store.features.certificates import CompiledSql, UnprovedError, acceptance, failed
from store.features.compiled import Build, NotCompiledError, in_order, of_run, read, write
from store.proof.counterfactuals import UndeclaredTableError, records_of
from store.warehouse.connection import Model, columns_of
from tests.dbt.random_crm import CLOCK
from tests.replayed import VARIABLES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.replayed import Store

VIEW = ("features", "lead_features")
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def table(name: str, sql: str) -> Model:
    return Model(name=name, schema="s", materialized="table", sql=sql)


def ran(target: Path, **models: str) -> Path:
    """Write what dbt leaves of an invocation: of each model the text, or the status of one that did not succeed."""
    nodes, results = {}, []
    for name, sql in models.items():
        key = f"model.leadline.{name}"
        nodes[key] = {
            "name": name, "schema": "s", "config": {"materialized": "table"}, "resource_type": "model",
            "fqn": ["leadline", "features", name], "raw_code": sql,
        }  # fmt: skip
        ok = sql not in ("error", "skipped")
        results.append({"unique_id": key, "status": "success" if ok else sql, "compiled_code": sql})
    results.append({"unique_id": "test.leadline.some", "status": "pass", "compiled_code": "select 1"})
    target.mkdir(exist_ok=True)
    (target / "manifest.json").write_text(
        json.dumps({"nodes": nodes, "macros": {}, "metadata": {"project_name": "leadline"}})
    )
    (target / "run_results.json").write_text(json.dumps({"results": results}))
    return target


def test_what_dbt_ran_is_kept_in_order_and_read_again(random_store: Store, tmp_path: Path) -> None:
    names = [model.relation for model in random_store.build.models]
    assert set(names) >= {VIEW, ("intermediate", "observations"), ("staging", "stg_leads"), ("labels", "conversion")}
    for place, model in enumerate(random_store.build.models):
        assert all(names.index(read) < place for read in model.reads if read in names)
        assert "{{" not in model.sql

    write(tmp_path / "compiled" / "build.json", random_store.build)

    assert read(tmp_path / "compiled" / "build.json") == random_store.build
    assert [path.name for path in (tmp_path / "compiled").iterdir()] == ["build.json"]
    assert random_store.build.as_of == CLOCK


def test_a_part_that_is_built_again_replaces_its_part_of_the_same_clock_and_drops_one_of_another(
    tmp_path: Path,
) -> None:
    first = of_run(ran(tmp_path / "a", one="select 1", two='select * from "w"."s"."one"'), VARIABLES)
    part = of_run(ran(tmp_path / "b", one="select 11"), VARIABLES, first)
    assert [(model.name, model.sql) for model in part.models] == [
        ("one", "select 11"), ("two", 'select * from "w"."s"."one"')
    ]  # fmt: skip
    later = of_run(ran(tmp_path / "b", one="select 11"), {**VARIABLES, "as_of": "2025-01-01T00:00:00+00:00"}, first)
    assert [model.name for model in later.models] == ["one"]
    with pytest.raises(NotCompiledError, match=r"expected the model s\.two, found s\.one"):
        later.needed_for([("s", "two")])


def test_what_did_not_succeed_is_not_kept(tmp_path: Path) -> None:
    build = of_run(ran(tmp_path / "a", one="select 1", two="error", three="skipped"), VARIABLES)
    assert [model.name for model in build.models] == ["one"]


def test_only_what_a_change_reaches_runs_anew() -> None:
    models = in_order(
        [
            table("facts", 'select * from "w"."raw"."leads"'),
            table("moments", 'select * from "w"."s"."facts"'),
            table("view", 'select * from "w"."s"."moments" join "w"."s"."facts" using (a)'),
            table("label", 'select * from "w"."s"."moments"'),
        ]
    )
    build = Build(variables=VARIABLES, models=models)
    assert [model.name for model in build.affected_by([("s", "moments")], [("s", "view")])] == ["view"]
    assert [model.name for model in build.needed_for([("s", "label")])] == ["facts", "moments", "label"]


@pytest.mark.parametrize("kind", ["random_store", "postgres_store"])
def test_the_text_runs_beside_the_store_and_leaves_nothing(kind: str, request: pytest.FixtureRequest) -> None:
    store: Store = request.getfixturevalue(kind)
    with store.warehouse.connect() as connection:

        def tables() -> list[tuple[str, ...]]:
            return connection.execute(
                "select table_catalog, table_schema, table_name from information_schema.tables order by 1, 2, 3"
            ).fetchall()

        before = tables()
        # dbt stores the columns in the order of the contract
        columns = ", ".join(columns_of(connection, *VIEW))
        query = f"select {columns} from features.lead_features order by lead_id, as_of"
        expected = connection.execute(query).fetchall()
        with connection.scratch("elsewhere") as beside, beside.place() as place:
            for name in ("leads", "interactions", "appointments", "projects"):
                place.fill(("raw", name), f'select * from "any"."raw"."{name}"')
            place.run(store.build.needed_for([VIEW]))
            found = connection.execute(query.replace("features.lead_features", place.relation(VIEW))).fetchall()
            assert len(tables()) > len(before)
        assert found == expected
        assert tables() == before


def test_an_undeclared_table_is_refused() -> None:
    with pytest.raises(UndeclaredTableError, match=r"raw\.visits: expected a table of .*source/contract\.py"):
        records_of("visits")


def test_a_certificate_counts_for_its_own_build_alone(random_store: Store, tmp_path: Path) -> None:
    store = CompiledSql(root=str(tmp_path))
    build = random_store.build
    assert store.certificate("lead_features", CLOCK) is None
    with pytest.raises(NotCompiledError, match="found no file"):
        store.build(CLOCK)
    write(store.path, build)
    certificate = json.dumps({"as_of": build.as_of.isoformat(), "sql_sha256": build.sha256})
    store.certify("lead_features", certificate)

    assert store.build(CLOCK) == build
    assert store.certificate("lead_features", CLOCK) == certificate
    assert store.certificate("lead_features", CLOCK + timedelta(days=1)) is None
    with pytest.raises(NotCompiledError, match="found that of 2024-09-27"):
        store.build(CLOCK + timedelta(days=1))
    # an increment at the same clock: the SQL is the same, the rows are not
    store.advance(CLOCK)
    assert store.certificate("lead_features", CLOCK) is None
    store.certify("lead_features", certificate)
    assert store.certificate("lead_features", CLOCK) == certificate
    changed = replace(build.models[0], sql=build.models[0].sql + "\n-- changed")
    write(store.path, replace(build, models=(changed, *build.models[1:])))
    assert store.certificate("lead_features", CLOCK) is None


def test_without_a_proof_that_passed_or_was_accepted_nothing_goes_on(random_store: Store, tmp_path: Path) -> None:
    store = CompiledSql(root=str(tmp_path))
    build = random_store.build
    write(store.path, build)
    with pytest.raises(UnprovedError, match=r"lead_features as of 2024-09-27.*found none of the last build"):
        store.require_proof("lead_features", CLOCK)

    store.certify("lead_features", failed(build, "features.x: the function now()", NOW, accepted=False))
    with pytest.raises(UnprovedError, match=rf"failed: features\.x: the function now.*{build.sha256[:12]}"):
        store.require_proof("lead_features", CLOCK)

    accepted = failed(build, "features.x: the function now()", NOW, accepted=True)
    store.certify("lead_features", accepted)
    store.require_proof("lead_features", CLOCK)
    assert acceptance(accepted) == (
        "A person accepted the features of this version although their proof had failed: features.x: the function now()"
    )
    assert acceptance(None) == acceptance(failed(build, "no", NOW, accepted=False)) == ""
    # the rows are others, if the SQL is the same
    store.advance(CLOCK)
    with pytest.raises(UnprovedError, match="found none of the last build"):
        store.require_proof("lead_features", CLOCK)


def test_a_person_accepts_one_build_alone(random_store: Store) -> None:
    digest = random_store.build.sha256

    assert Proving(accepted=digest[:12]).accepts(digest)
    assert not Proving(accepted=digest[:12]).accepts(random_store.build.at(CLOCK + timedelta(days=1)).sha256)
    assert not Proving().accepts(digest)


def test_a_build_whose_templates_nobody_reviewed_is_not_proved(random_store: Store, tmp_path: Path) -> None:
    path = tmp_path / "build.json"
    write(path, random_store.build)
    content = json.loads(path.read_text())
    assert content.pop("refused") == []
    path.write_text(json.dumps(content))

    with pytest.raises(NotCompiledError, match="that an earlier version of Leadline made"):
        read(path).reviewed()


def test_a_label_over_another_horizon_is_that_of_a_build_over_it(random_store: Store) -> None:
    label = ("labels", "conversion")
    with random_store.warehouse.connect() as connection, connection.scratch("other") as beside:
        with beside.place() as place:
            place.run(
                random_store.build.over("conversion", 3).needed_for([label], random_store.build.relations - {label})
            )
            rows, days = connection.execute(
                f"select count(*), count(distinct matures_at - as_of) from {place.relation(label)} "
                "where matures_at - as_of = interval '3 days'"
            ).fetchall()[0]
        kept = connection.execute("select count(*) from labels.conversion").fetchall()[0][0]
    assert days == 1
    assert rows > kept > 0
    with pytest.raises(NotCompiledError, match="expected its horizon as"):
        replace(random_store.build, models=()).over("conversion", 3)
