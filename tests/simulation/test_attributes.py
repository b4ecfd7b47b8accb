"""Attributes of the simulated leads: what they do, and what the CRM shows of them."""

from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest

from simulation import simulate
from simulation.attributes import ATTRIBUTES
from simulation.draws import Draws
from simulation.dynamics import Dynamics
from simulation.facts import UnkeptTable
from simulation.setting import Setting
from simulation.state import State
from simulation.truth import Truth
from simulation.world import COMPANIES, DAY

LEADS = 1500


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("attributes") / "crm"
    simulate(out, leads=LEADS, attributes=True, deals=True, progress=False)
    return out


@pytest.fixture(scope="module")
def crm(export: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    for name in ("leads", "changes", "truth/leads", "truth/attributes"):
        connection.execute(f"create view {name.replace('/', '_')} as from read_parquet('{export}/{name}.parquet')")
    return connection


def test_the_effects_add_up_to_the_hidden_intent(crm: duckdb.DuckDBPyConnection) -> None:
    # What is left after the effects of the source and of the attributes is the spread that the lead has without them.
    sources = ", ".join(f"'{source.name}': {source.intent}" for source in COMPANIES["default"].sources)
    found = crm.execute(f"""
        with effects as (select lead_id, sum(intent) as effect from truth_attributes group by lead_id)
        select effect, ln(intent / (1 - intent)) - effect - map {{{sources}}}[source] as rest
        from truth_leads join effects using (lead_id) join leads using (lead_id)""").df()
    assert found["effect"].std() > 1.2
    assert abs(found["rest"].std() - 1.1) < 4 * 1.1 / np.sqrt(2 * LEADS)
    assert abs(found["rest"].mean()) < 4 * 1.1 / np.sqrt(LEADS)
    assert abs(np.corrcoef(found["effect"], found["rest"])[0, 1]) < 4 / np.sqrt(LEADS)


def test_the_crm_shows_what_the_truth_says_it_shows(crm: duckdb.DuckDBPyConnection) -> None:
    different, several = {}, set()
    for each in ATTRIBUTES:
        text = f'cast("{each.label}" as text)'
        if each.kind == "date":
            text = f"""strftime("{each.label}", '%Y-%m-%dT00:00:00.000000Z')"""
        last = f"""select lead_id, arg_max(coalesce(value, ''), since) as value, count(*) as steps
            from truth_attributes where name = '{each.name}' group by lead_id"""
        if each.kind == "number":
            equal = f'try_cast(last.value as double) is not distinct from cast("{each.label}" as double)'
        else:
            equal = f"last.value = coalesce({text}, '')"
        [(rows, same, changed)] = crm.execute(
            f"select count(*), count(*) filter ({equal}), max(steps) from leads join ({last}) as last using (lead_id)"
        ).fetchall()
        if rows != LEADS or same != LEADS:
            different[each.name] = LEADS - same
        if changed > 1:
            several.add(each.name)
    assert different == {}
    assert several == {"industry", "employees", "revenue", "interests"}
    # the history of the CRM is that of the truth, for the attributes of which it keeps one
    assert {each.name for each in ATTRIBUTES if each.history} == {"employees", "interests"}
    told = "select lead_id, column_name, value, changed_at from changes where column_name like 'attributes.%'"
    true = """select lead_id, 'attributes.' || name, value, since from truth_attributes
        where name in ('employees', 'interests') and value is not null"""
    assert crm.execute(f"select count(*) > {2 * LEADS} from ({told})").fetchall() == [(True,)]
    assert crm.execute(f"({told}) except all ({true})").fetchall() == []
    assert crm.execute(f"({true}) except all ({told})").fetchall() == []


def test_campaigns_and_form_fields_come_and_go(crm: duckdb.DuckDBPyConnection) -> None:
    ask = crm.execute
    longest = """select max(months), count(*) from (
        select count(distinct date_trunc('month', created_at)) as months from leads
        where "Campaign" is not null group by "Campaign")"""
    assert ask(longest).fetchall() == [(3, 20)]
    assert ask("""select min(created_at) > timestamptz '2025-07-19', count(*) > 500 from leads
        where "Best Time to call" is not null""").fetchall() == [(True, True)]
    questions = [f'"{each.label}"' for each in ATTRIBUTES if each.label.startswith("Q")]
    filled = " + ".join(f"({question} is not null)::int" for question in questions)
    assert ask(f"select distinct {filled} from leads order by 1").fetchall() == [(0,), (5,)]


def test_what_is_known_at_the_creation_is_worth_what_the_truth_says(
    crm: duckdb.DuckDBPyConnection, export: Path
) -> None:
    leads = crm.execute("""
        select lead_id, outcome = 'won' and outcome_at < created_at + interval 90 day as won
        from truth_leads join leads using (lead_id) order by lead_id""").df()
    truth = Truth.of(export)
    probability = truth.at_creation(leads["lead_id"].to_numpy(), branches=40).probability
    won = leads["won"].to_numpy()
    for fifth in np.array_split(np.argsort(probability), 5):
        noise = np.sqrt((probability[fifth] * (1 - probability[fifth])).sum() + 1.0)
        assert abs(won[fifth].sum() - probability[fifth].sum()) < 4 * noise
    assert won[np.argsort(probability)[-300:]].mean() > 5 * won[np.argsort(probability)[:300]].mean()
    some = truth.at_creation(leads["lead_id"].to_numpy()[7:9], branches=40).probability
    assert (some == probability[7:9]).all()
    with pytest.raises(ValueError, match="expected ids from L0000001"):
        truth.at_creation(["L9999999"])


def test_a_change_adds_to_the_chance_to_win_from_its_time_on(export: Path) -> None:
    truth = Truth.of(export)
    traits = truth._traits.take(np.flatnonzero(truth._traits.pushed_at[:, 0] < truth.setting.end_us)[:50])
    dynamics = Dynamics(truth.setting.world, State(traits), Draws(1, "test", traits.numbers), truth._skill, UnkeptTable)
    rows = np.arange(50)
    dynamics.state.offer[:] = traits.budget
    dynamics.state.traits = replace(
        traits, pushed_at=np.column_stack([traits.pushed_at[:, 0], traits.created + 900 * DAY])
    )
    logits = []
    for moment in (traits.pushed_at[:, 0] - 1, traits.pushed_at[:, 0]):
        dynamics.state.now = moment
        chance = dynamics._chance_to_win(rows)
        logits.append(np.log(chance / (1 - chance)))
    # beside a change of the rep
    assert np.isclose(logits[1] - logits[0], 1.2).mean() > 0.9


def test_rows_of_both_options_do_not_depend_on_the_chunk(export: Path, tmp_path: Path) -> None:
    for chunk in ("40", "1000"):
        simulate(tmp_path / chunk, leads=100, attributes=True, deals=True, chunk=int(chunk), progress=False)
    for name in ("leads", "changes", "projects", "truth/attributes", "truth/deals"):
        rows = [duckdb.sql(f"from '{tmp_path / chunk}/{name}.parquet'").fetchall() for chunk in ("40", "1000")]
        assert rows[0] == rows[1], name
    assert Setting.load(export).attributes
    assert Setting.load(export).deals


def test_another_shape_has_no_attributes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="attributes: expected them with shape contract, found 'plain'"):
        simulate(tmp_path / "crm", leads=5, attributes=True, shape="plain", progress=False)
