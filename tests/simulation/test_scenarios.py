"""What happens to the company from a day on, and nothing before."""

from datetime import date
from pathlib import Path

import duckdb
import pytest

from simulation import simulate
from simulation.__main__ import main
from simulation.scenarios import SCENARIOS, Scenario
from simulation.setting import Setting
from simulation.truth import Truth
from simulation.world import COMPANIES

SINCE = date(2025, 5, 1)
DAY = f"timestamptz '{SINCE} 00:00:00+00'"
KNOWN_BEFORE = {
    "leads": f"""select * exclude (status, assigned_to, updated_at) from {{}} where created_at < {DAY}""",
    "interactions": f"""
        select * replace (
            case when opened_at < {DAY} then opened_at end as opened_at,
            case when responded_at < {DAY} then responded_at end as responded_at
        ) from {{}} where recorded_at < {DAY}""",
    "appointments": f"""
        select * replace (
            case when ended_at < {DAY} then status else 'scheduled' end as status,
            case when ended_at < {DAY} then ended_at end as ended_at
        ) from {{}} where booked_at < {DAY}""",
    "projects": f"""
        select * replace (
            case when closed_at < {DAY} then status else 'open' end as status,
            case when closed_at < {DAY} then closed_at end as closed_at
        ) from {{}} where proposed_at < {DAY}""",
    "changes": f"select * from {{}} where changed_at < {DAY}",
    "truth/decisions": f"select * from {{}} where decided_at < {DAY}",
}


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the folder of the export without a scenario, and with each of them."""
    folder = tmp_path_factory.mktemp("scenarios")
    for name in (None, *SCENARIOS):
        simulate(
            folder / str(name),
            leads=2000,
            months=9,
            seed=6,
            scenario=name,
            scenario_date=SINCE if name else None,
            progress=False,
        )
    return {str(name): folder / str(name) for name in (None, *SCENARIOS)}


def rows(query: str) -> list[tuple]:
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    return connection.execute(query).fetchall()


def differences(one: str, other: str) -> int:
    return rows(f"select count(*) from (({one} except all {other}) union all ({other} except all {one}))")[0][0]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_until_its_day_nothing_is_different(exports: dict[str, Path], scenario: str) -> None:
    different = set()
    for table, query in KNOWN_BEFORE.items():
        files = [f"'{exports[name] / table}.parquet'" for name in (scenario, "None")]
        assert rows(f"select count(*) > 300 from ({query.format(files[1])})") == [(True,)]
        assert differences(*(query.format(file) for file in files)) == 0
        if differences(*(f"from {file}" for file in files)):
            different.add(table)
    assert "interactions" in different


def new_leads(export: Path, select: str) -> tuple:
    return rows(f"""
        select {select} from '{export}/leads.parquet' as leads join '{export}/truth/leads.parquet' as truth
        using (lead_id) where created_at >= {DAY}""")[0]


def test_a_price_shock_raises_values_and_lowers_wins(exports: dict[str, Path]) -> None:
    usual, shocked = exports["None"], exports["price_shock"]
    value = "avg(truth.property_value), avg(truth.budget), avg((outcome = 'won')::int)"
    (value_before, budget_before, won_before), (value_after, budget_after, won_after) = (
        new_leads(export, value) for export in (usual, shocked)
    )
    assert 1.35 < value_after / value_before < 1.40
    assert 1.05 < budget_after / budget_before < 1.15
    assert won_after < 0.9 * won_before


def test_a_source_mix_shifts_to_ads_and_brings_no_new_source(exports: dict[str, Path]) -> None:
    shares = "avg((source = 'ads')::int), avg((source = 'web')::int), count(distinct source), count(*)"
    usual, shifted = (new_leads(exports[name], shares) for name in ("None", "source_mix"))
    assert shifted[0] == pytest.approx(0.45, abs=0.06)
    assert shifted[1] == pytest.approx(0.11, abs=0.04)
    assert shifted[2:] == usual[2:]


def test_a_new_category_takes_a_fifth(exports: dict[str, Path]) -> None:
    social = "avg((source = 'social')::int), count(*)"
    assert new_leads(exports["None"], social)[0] == 0
    share, count = new_leads(exports["new_category"], social)
    assert share == pytest.approx(0.2, abs=0.05)
    assert count == new_leads(exports["None"], social)[1]


def test_a_null_spike_empties_values_and_zip_codes(exports: dict[str, Path]) -> None:
    missing = "avg((leads.property_value is null)::int), avg((zip_code is null)::int), avg(truth.property_value)"
    usual, spiked = (new_leads(exports[name], missing) for name in ("None", "null_spike"))
    assert max(usual[:2]) < 0.2
    assert spiked[:2] == pytest.approx((0.8, 0.8), abs=0.05)
    assert spiked[2] == usual[2]


def test_a_broken_feed_loses_records_and_changes_nothing_in_the_world(exports: dict[str, Path]) -> None:
    usual, broken = exports["None"], exports["broken_feed"]
    for table in ("truth/leads", "truth/decisions", "appointments", "projects"):
        assert differences(f"from '{broken / table}.parquet'", f"from '{usual / table}.parquet'") == 0
    lost = f"type = 'email' and recorded_at >= {DAY}"
    assert rows(f"select count(*) from '{broken}/interactions.parquet' where {lost}") == [(0,)]
    kept = """select * exclude (opened_at, responded_at) from '{}/interactions.parquet'"""
    assert differences(kept.format(broken), f"{kept.format(usual)} where not ({lost})") == 0
    answered = f"""
        select count(*) from '{{}}/interactions.parquet'
        where type = 'email' and recorded_at < {DAY} and (opened_at >= {DAY} or responded_at >= {DAY})"""
    assert rows(answered.format(broken)) == [(0,)]
    assert rows(answered.format(usual))[0][0] > 0


def test_a_concept_change_turns_round_who_wins_and_leaves_the_inputs(exports: dict[str, Path]) -> None:
    usual, changed = exports["None"], exports["concept_change"]
    inputs = "avg(leads.property_value), count(zip_code), avg(intent), avg(truth.budget), min(source), count(*)"
    assert new_leads(usual, inputs) == new_leads(changed, inputs)
    answered = """
        select avg((p.status = 'won')::int), avg((p.status = 'won')::int) filter (intent >= 0.6),
            avg((p.status = 'won')::int) filter (intent < 0.6)
        from '{0}/projects.parquet' as p join '{0}/truth/leads.parquet' using (lead_id)
        where p.closed_at >= {1} and p.status in ('won', 'lost')"""
    overall_before, eager_before, reluctant_before = rows(answered.format(usual, DAY))[0]
    overall_after, eager_after, reluctant_after = rows(answered.format(changed, DAY))[0]
    assert eager_before > 1.3 * reluctant_before
    assert eager_after < reluctant_after / 1.3
    assert overall_after < 0.75 * overall_before
    # It holds for leads that were there before.
    old = " and proposed_at < {1}"
    assert rows((answered + old).format(changed, DAY))[0][1] < rows((answered + old).format(usual, DAY))[0][1]


def test_the_truth_knows_the_scenario(exports: dict[str, Path]) -> None:
    truth = Truth.of(exports["concept_change"])
    assert truth.setting.scenario == Scenario("concept_change", SINCE)
    assert (exports["concept_change"] / "truth" / "scenario.json").read_text().split() == [
        "{",
        '"name":',
        '"concept_change",',
        '"since":',
        '"2025-05-01"',
        "}",
    ]
    assert not (exports["None"] / "truth" / "scenario.json").exists()
    assert Truth.of(exports["None"]).play("company").rate > 1.2 * truth.play("company").rate


@pytest.mark.parametrize("scenario", [None, *(Scenario(name, SINCE) for name in SCENARIOS)])
def test_a_setting_is_read_as_it_was_written(tmp_path: Path, scenario: Scenario | None) -> None:
    setting = Setting(
        company=COMPANIES["chaotic"],
        leads=7,
        start=date(2025, 1, 1),
        end=date(2025, 8, 1),
        seed=2**64 - 1,
        scenario=scenario,
    )
    (tmp_path / "truth").mkdir()
    setting.save(tmp_path)
    assert Setting.load(tmp_path) == setting
    assert Setting.load(tmp_path).world == setting.world


@pytest.mark.parametrize(
    ("scenario", "since", "message"),
    [
        ("price_shok", SINCE, "scenario: expected one of price_shock, .*, found 'price_shok'"),
        ("price_shock", None, "scenario: expected a name and a date, found price_shock and None"),
        (
            "price_shock",
            date(2024, 12, 31),
            "expected a day from 2025-01-01 on and before 2025-07-01, found 2024-12-31",
        ),
        ("price_shock", date(2025, 7, 1), "found 2025-07-01"),
    ],
)
def test_wrong_scenarios_are_named(tmp_path: Path, scenario: str, since: date | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        simulate(tmp_path / "crm", leads=20, months=6, scenario=scenario, scenario_date=since, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_tells_scenario_and_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "crm")
    main(["--out", out, "--leads", "50", "--scenario", "source_mix@2025-06-01"])
    assert "Scenario source_mix from 2025-06-01 on" in capsys.readouterr().out
    main(["truth", "--in", out, "--leads", "500"])
    told = capsys.readouterr().out
    assert [line.split()[0] for line in told.splitlines()] == ["Won", "company", "playbook", "uniform", "best"]
    for arguments, message in (
        (["--out", out, "--scenario", "source_mix"], "expected NAME@YYYY-MM-DD"),
        (["truth", "--in", str(tmp_path)], "expected a simulation"),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        assert message in capsys.readouterr().err
