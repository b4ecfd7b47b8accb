"""The export of the simulated CRM, as its readers find it."""

import ast
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pytest

from simulation import SimulationSummary, simulate
from simulation.arrivals import arrive, endow, rep_skill
from simulation.engine import run
from simulation.recording import record
from simulation.world import COMPANIES, DAY, NEVER, Faults, World

ROOT = Path(__file__).parents[2]
CONTRACT = {
    "leads": ["lead_id", "source", "created_at", "assigned_to", "property_value", "zip_code", "status", "updated_at"],
    "interactions": [
        "interaction_id",
        "lead_id",
        "type",
        "direction",
        "occurred_at",
        "recorded_at",
        "performed_by",
        "outcome",
        "opened_at",
        "responded_at",
    ],
    "appointments": [
        "appointment_id",
        "lead_id",
        "booked_at",
        "scheduled_at",
        "status",
        "ended_at",
        "rescheduled_from",
    ],
    "projects": ["project_id", "lead_id", "value", "cost", "status", "proposed_at", "closed_at"],
    "changes": ["change_id", "lead_id", "column_name", "value", "changed_at"],
}
ACTIONS = ["call_immediate", "email_nurture", "schedule_appointment", "send_proposal", "no_action"]
END = "timestamptz '2026-07-01 00:00:00+00'"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> SimulationSummary:
    return simulate(tmp_path_factory.mktemp("crm") / "export", leads=4000, progress=False)


@pytest.fixture(scope="module")
def crm(simulated: SimulationSummary) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    for path in sorted(simulated.out.rglob("*.parquet")):
        name = "_".join(path.relative_to(simulated.out).with_suffix("").parts)
        connection.execute(f"create table {name} as from read_parquet('{path}')")
    # The facts without the rows that faults added.
    connection.execute("""
        create table facts as
        select distinct * from interactions
        where lead_id in (select lead_id from leads) and type <> 'fax'
        qualify count(distinct coalesce(performed_by, '')) over (partition by interaction_id) = 1""")
    return connection


def one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        simulate(tmp_path / name, leads=300, months=6, seed=seed, progress=False)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    different = {name for name, content in files(tmp_path / "a").items() if files(tmp_path / "c")[name] != content}
    assert different == set(files(tmp_path / "a")) - {"mapping.yml"}


def test_the_default_company_keeps_its_rows(tmp_path: Path) -> None:
    # Figures in the documentation rest on them: who changes the dynamics or the parameters, changes these knowingly.
    summary = simulate(tmp_path / "crm", leads=500, months=12, seed=1, progress=False)
    assert summary.rows == {
        "leads": 500,
        "interactions": 12210,
        "appointments": 354,
        "projects": 333,
        "changes": 2359,
        "truth/decisions": 5185,
        "truth/leads": 500,
    }


def test_the_rows_do_not_depend_on_the_chunk(tmp_path: Path) -> None:
    for chunk in (37, 1000):
        simulate(tmp_path / str(chunk), leads=1000, months=9, format="csv", chunk=chunk, progress=False)
    small, large = files(tmp_path / "37"), files(tmp_path / "1000")
    for name in small:
        if name.endswith(".parquet"):
            rows = [duckdb.sql(f"from '{tmp_path / chunk / name}'").fetchall() for chunk in ("37", "1000")]
            assert rows[0] == rows[1], name
        else:
            assert small[name] == large[name], name


def test_the_export_has_the_tables_of_the_contract(
    simulated: SimulationSummary, crm: duckdb.DuckDBPyConnection
) -> None:
    for table, columns in CONTRACT.items():
        types = {row[0]: row[1] for row in crm.execute(f"describe {table}").fetchall()}
        assert [name for name in types if name not in ("name", "email", "phone")] == columns
        for name, type_ in types.items():
            money = name in ("value", "cost", "property_value") and table != "changes"
            expected = "TIMESTAMP WITH TIME ZONE" if name.endswith("_at") else "DECIMAL(18,2)" if money else "VARCHAR"
            assert type_ == expected, (table, name)
        assert one(crm, f"select count(*) from {table}")[0] == simulated.rows[table]
    assert one(crm, "select count(name), count(email), count(phone) from leads") == (simulated.rows["leads"],) * 3
    mapping = "name: simulated_crm\nbased_on: contract\ncloses: {outcomes: [not_interested]}\n"
    assert (simulated.out / "mapping.yml").read_text() == mapping


def test_csv_and_parquet_hold_the_same(tmp_path: Path) -> None:
    for file_format in ("csv", "parquet"):
        simulate(tmp_path / file_format, leads=200, months=6, format=file_format, progress=False)
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    for table in CONTRACT:
        parquet = f"read_parquet('{tmp_path}/parquet/{table}.parquet')"
        types = {row[0]: row[1] for row in connection.execute(f"describe from {parquet}").fetchall()}
        casts = ", ".join(f"cast({name} as {type_}) as {name}" for name, type_ in types.items())
        csv = f"(select {casts} from read_csv('{tmp_path}/csv/{table}.csv', all_varchar = true))"
        assert one(connection, f"select count(*) from (from {csv} except all from {parquet})")[0] == 0
        assert one(connection, f"select count(*) from (from {parquet} except all from {csv})")[0] == 0


def test_nothing_is_known_before_it_happens_or_after_the_end(crm: duckdb.DuckDBPyConnection) -> None:
    for table, column in (
        ("leads", "created_at"),
        ("leads", "updated_at"),
        ("interactions", "occurred_at"),
        ("interactions", "recorded_at"),
        ("interactions", "opened_at"),
        ("interactions", "responded_at"),
        ("appointments", "booked_at"),
        ("appointments", "ended_at"),
        ("projects", "proposed_at"),
        ("projects", "closed_at"),
        ("changes", "changed_at"),
        ("truth_decisions", "decided_at"),
    ):
        assert one(crm, f"select count(*), max({column}) < {END} from {table} where {column} is not null")[1], column
    for table, condition in (
        ("interactions", "recorded_at < occurred_at or opened_at < occurred_at or responded_at < occurred_at"),
        ("appointments", "ended_at < booked_at or scheduled_at < booked_at"),
        ("projects", "closed_at < proposed_at"),
        ("appointments", "(status = 'scheduled') <> (ended_at is null)"),
        ("projects", "(status = 'open') <> (closed_at is null)"),
        ("facts join leads using (lead_id)", "occurred_at < created_at"),
        ("changes join leads using (lead_id)", "changed_at < created_at"),
    ):
        assert one(crm, f"select count(*) from {table} where {condition}")[0] == 0, condition


def test_an_earlier_export_is_what_the_crm_held_then() -> None:
    world = replace(COMPANIES["default"], faults=Faults(duplicate=0, conflict=0, orphan=0, unknown_type=0))
    start, end = date(2025, 1, 1), date(2025, 9, 1)
    traits = endow(world, arrive(world, 500, start, end, 4), 0, 500, 4)
    last = (end - date(1970, 1, 1)).days * DAY
    course = run(world, traits, rep_skill(world, 4), last, 4)
    early_end = last - 100 * DAY
    early, late = (record(world, traits, course, leads=500, end=at, seed=4) for at in (early_end, last))
    known = late.interactions["recorded"] < early_end
    for name, values in late.interactions.items():
        expected = values[known]
        if name in ("opened", "responded"):
            expected = np.where(expected < early_end, expected, NEVER)
        assert (early.interactions[name] == expected).all(), name
    assert ((late.interactions["opened"] != NEVER) & known).sum() > (early.interactions["opened"] != NEVER).sum()
    assert (early.projects["closed"] != NEVER).sum() < (late.projects["closed"] != NEVER).sum()
    assert early.projects["closed"][early.projects["closed"] != NEVER].max() < early_end
    known = late.changes["changed"] < early_end
    assert 0 < known.sum() < len(known)
    for name, values in late.changes.items():
        assert (early.changes[name] == values[known]).all(), name


@pytest.mark.parametrize(("company", "followed"), [("default", 0.9), ("chaotic", 0.5)])
def test_actions_come_as_often_as_their_recorded_probability(tmp_path: Path, company: str, followed: float) -> None:
    simulate(tmp_path / "crm", leads=2000, company=company, progress=False)
    decisions = duckdb.sql(f"from '{tmp_path}/crm/truth/decisions.parquet'").df()
    chances = decisions[[f"probability_{action}" for action in ACTIONS]].to_numpy()
    assert np.allclose(chances.sum(axis=1), 1.0)
    taken = decisions["action"].map(ACTIONS.index).to_numpy()
    bound = 4 / np.sqrt(len(decisions))
    assert abs((chances.argmax(axis=1) == taken).mean() - followed) < bound
    assert (chances[np.arange(len(taken)), taken] > 0).all()
    for index in range(len(ACTIONS)):
        assert abs((taken == index).mean() - chances[:, index].mean()) < bound


def test_each_decision_leaves_its_fact(crm: duckdb.DuckDBPyConnection) -> None:
    for action, fact in (
        ("send_proposal", "select lead_id, proposed_at from projects"),
        ("schedule_appointment", "select lead_id, booked_at from appointments where rescheduled_from is null"),
        (
            "email_nurture",
            "select lead_id, occurred_at from interactions where type = 'email' "
            "and direction = 'outbound' and lead_id in (select lead_id from leads)",
        ),
    ):
        decided = f"select lead_id, decided_at from truth_decisions where action = '{action}'"
        assert one(crm, f"select count(*) from ({fact})")[0] > 2000
        assert one(crm, f"select count(*) from ({decided} except {fact})")[0] == 0
        assert one(crm, f"select count(*) from ({fact} except {decided})")[0] == 0
    # Calls are entered by hand, so the latest may not be recorded yet.
    assert (
        one(
            crm,
            f"""select count(*) from truth_decisions d
        anti join interactions i on i.lead_id = d.lead_id and i.occurred_at = d.decided_at and i.type = 'call'
        where d.action = 'call_immediate' and d.decided_at < {END} - interval 11 days""",
        )[0]
        == 0
    )
    assert (
        one(
            crm,
            """select count(*) from projects p anti join interactions i
        on i.lead_id = p.lead_id and i.occurred_at = p.proposed_at and i.type = 'proposal'""",
        )[0]
        == 0
    )


def test_a_lead_that_has_ended_is_left_alone(crm: duckdb.DuckDBPyConnection) -> None:
    closed = """(select lead_id, min(t) as closed from (
        select lead_id, closed_at as t from projects where status = 'won'
        union all select lead_id, occurred_at from facts where outcome = 'not_interested') group by all)"""
    assert one(crm, f"select count(*) from {closed}")[0] > 1000
    for later in (
        "select lead_id, decided_at as t from truth_decisions",
        "select lead_id, booked_at from appointments",
        "select lead_id, proposed_at from projects",
        "select lead_id, occurred_at from facts",
    ):
        assert (
            one(
                crm,
                f"""select count(*) from {closed} join ({later}) later(lead_id, t) using (lead_id)
            where t > closed""",
            )[0]
            == 0
        )


def test_truth_and_crm_agree_on_how_leads_end(crm: duckdb.DuckDBPyConnection) -> None:
    assert (
        one(
            crm,
            f"""select count(*) from leads l join truth_leads t using (lead_id)
        where (l.status = 'won') <> (t.outcome = 'won' and t.outcome_at < {END})
           or (l.status = 'lost') <> (t.outcome = 'not_interested' and t.outcome_at < {END})""",
        )[0]
        == 0
    )
    assert (
        one(
            crm,
            "select count(*) from (select lead_id from projects where status = 'won' except "
            "select lead_id from leads where status = 'won')",
        )[0]
        == 0
    )
    assert one(crm, f"select count(*) from truth_leads where outcome_at >= {END}")[0] > 0
    interested, other = one(
        crm,
        """select avg(intent) filter (outcome = 'won'), avg(intent) filter (outcome <> 'won')
        from truth_leads""",
    )
    assert interested > other + 0.05


def test_the_history_of_a_lead_ends_with_what_it_shows(crm: duckdb.DuckDBPyConnection) -> None:
    last = """select lead_id, column_name, last(value order by changed_at) as value, count(*) as n
        from changes group by all"""
    for column, more in (("status", 0.5), ("assigned_to", 0.01)):
        shown, told, changed = one(
            crm,
            f"""select count(*), count(*) filter (value = {column}), avg((n > 1)::int)
            from leads left join ({last}) as told on told.lead_id = leads.lead_id and column_name = '{column}'""",
        )
        assert shown == told
        assert changed > more
    # a status goes on and never back, and no two changes of one column are equal or fall on one moment
    stages = "['new', 'contacted', 'qualified', 'proposal', 'won', 'lost']"
    assert one(
        crm,
        f"""select count(*) from (select *, lag(value) over lead as before, lag(changed_at) over lead as earlier
            from changes window lead as (partition by lead_id, column_name order by changed_at))
        where value = before or changed_at = earlier
            or column_name = 'status' and list_position({stages}, value) < list_position({stages}, before)""",
    ) == (0,)
    # nobody is called won before the project is
    assert one(
        crm,
        """select count(*) from changes join projects using (lead_id)
        where changes.value = 'won' and projects.status = 'won' and changed_at <> closed_at""",
    ) == (0,)


def test_planted_faults_are_counted(simulated: SimulationSummary, crm: duckdb.DuckDBPyConnection) -> None:
    assert all(count > 0 for count in simulated.faults.values())
    orphans = one(crm, "select count(*) from interactions where lead_id not in (select lead_id from leads)")[0]
    unknown = one(crm, "select count(*) from interactions where type = 'fax'")[0]
    rows, ids, contents = one(
        crm,
        """select count(*), count(distinct interaction_id),
        (select count(*) from (select distinct * from interactions)) from interactions""",
    )
    assert simulated.faults == {
        "duplicate": rows - contents,
        "conflict": contents - ids,
        "orphan": orphans,
        "unknown_type": unknown,
    }
    for table, key in (
        ("leads", "lead_id"),
        ("appointments", "appointment_id"),
        ("projects", "project_id"),
        ("changes", "change_id"),
    ):
        assert one(crm, f"select count(*) - count(distinct {key}) from {table}")[0] == 0
    assert (
        one(
            crm,
            """select count(*) from appointments a anti join appointments b
        on b.appointment_id = a.rescheduled_from and b.lead_id = a.lead_id and b.status = 'rescheduled'
        where a.rescheduled_from is not null""",
        )[0]
        == 0
    )


def test_faults_can_be_switched_off(tmp_path: Path) -> None:
    world = World(faults=Faults(late=0, duplicate=0, conflict=0, orphan=0, unknown_type=0))
    summary = simulate(tmp_path / "crm", leads=500, company=world, progress=False)
    assert set(summary.faults.values()) == {0}
    rows, ids, slowest = duckdb.sql(f"""select count(*), count(distinct interaction_id),
        max(recorded_at - occurred_at) < interval 1 day from '{tmp_path}/crm/interactions.parquet'""").fetchall()[0]
    assert rows == ids
    assert slowest


def test_the_default_company_is_as_described(simulated: SimulationSummary, crm: duckdb.DuckDBPyConnection) -> None:
    assert simulated.conversion_rate is not None
    assert 0.12 < simulated.conversion_rate < 0.20
    mean, most = one(crm, "select avg(n), max(n) from (select count(*) as n from facts group by lead_id)")
    assert 20 < mean < 30
    assert most > 10 * mean
    late, entered = one(
        crm,
        """select avg((recorded_at - occurred_at > interval 1 day)::int), count(*) from facts
        where type in ('call', 'meeting', 'note')""",
    )
    assert late == pytest.approx(0.03, abs=4 * np.sqrt(0.03 / entered))
    shares = crm.execute("select count(*) / sum(count(*)) over () from truth_decisions group by action").fetchall()
    assert len(shares) == 5
    assert min(shares)[0] > 0.05
    for table, expected in (
        ("appointments", ["cancelled", "completed", "no_show", "rescheduled", "scheduled"]),
        ("projects", ["cancelled", "lost", "open", "won"]),
        ("leads", ["contacted", "lost", "new", "proposal", "qualified", "won"]),
    ):
        assert [row[0] for row in crm.sql(f"select distinct status from {table} order by all").fetchall()] == expected
    weekend = one(crm, "select avg((isodow(created_at) > 5)::int) from leads where source in ('phone', 'partner')")[0]
    assert weekend < 0.1 < one(crm, "select avg((isodow(created_at) > 5)::int) from leads where source = 'fair'")[0]


def test_a_killed_run_leaves_no_export_and_the_next_one_succeeds(tmp_path: Path) -> None:
    out = tmp_path / "crm"
    arguments = [sys.executable, "-m", "simulation", "--out", str(out), "--leads", "1000000"]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        # The progress bar's first sign of life comes when the partial folder is there.
        assert process.stderr.read(1)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not out.exists()
    assert (tmp_path / "crm.partial").exists()
    simulate(out, leads=50, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["crm"]


def test_an_earlier_simulation_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    simulate(tmp_path / "crm", leads=20, months=2, progress=False)
    simulate(tmp_path / "crm", leads=30, months=2, format="csv", progress=False)
    assert sorted(path.name for path in (tmp_path / "crm").iterdir()) == [
        "appointments.csv",
        "changes.csv",
        "interactions.csv",
        "leads.csv",
        "mapping.yml",
        "projects.csv",
        "truth",
    ]
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "leads.csv").write_text("lead_id\n1\n")
    with pytest.raises(FileExistsError, match=r"expected a new folder.*name another folder"):
        simulate(foreign, leads=20, progress=False)
    assert files(foreign) == {"leads.csv": b"lead_id\n1\n"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"leads": 0}, "leads: expected at least 1, found 0"),
        ({"months": -1}, "months: expected at least 1, found -1"),
        ({"format": "xlsx"}, "format: expected one of parquet, csv, found 'xlsx'"),
        ({"company": "other"}, "company: expected one of default, chaotic, found 'other'"),
    ],
)
def test_wrong_arguments_are_named(tmp_path: Path, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        simulate(tmp_path / "crm", progress=False, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_wrong_parameters_are_named() -> None:
    with pytest.raises(ValueError, match="fault 'late': expected a share"):
        Faults(late=2.0)
    with pytest.raises(ValueError, match="deviation: expected a probability"):
        World(deviation=1.0)
    with pytest.raises(ValueError, match="shares that add up to 1"):
        World(sources=World().sources[:2])


def test_the_command_line_explains_itself_and_reports(tmp_path: Path) -> None:
    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "simulation", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )

    explained = command("--help")
    assert explained.returncode == 0
    for option in ("--out", "--leads", "--months", "--seed", "--start", "--format", "--company"):
        assert option in explained.stdout
    done = command("--out", str(tmp_path / "crm"), "--leads", "40", "--start", "2024-02-01", "--months", "4")
    assert done.returncode == 0
    assert "2024-02-01 to 2024-06-01" in done.stdout
    assert "40/40" in done.stderr
    refused = command("--out", str(tmp_path / "other"), "--leads", "0")
    assert refused.returncode == 2
    assert "expected at least 1" in refused.stderr


def test_the_simulation_imports_nothing_of_the_rest() -> None:
    allowed = set(sys.stdlib_module_names) | {"simulation", "numpy", "pyarrow", "tqdm"}
    for path in sorted((ROOT / "simulation").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            assert {name.split(".")[0] for name in names} <= allowed, path
