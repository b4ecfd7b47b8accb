"""Customers of the simulated company: what the CRM shows of them, and what is true of them."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from simulation import simulate
from simulation.__main__ import main
from simulation.clientele import CONTRACTS, RETAIL
from simulation.customers.days import Mood, live
from simulation.customers.truth import CustomerTruth
from simulation.draws import stream_keys
from simulation.scenarios import CUSTOMER_SCENARIOS
from simulation.setting import Setting

Active = dict[str, tuple[CustomerTruth, npt.NDArray[np.str_], npt.NDArray]]
LEADS = 3000
MOMENT = np.datetime64("2026-01-05", "us")
"""The moment at which the truth is asked: half a year before the end."""
SINCE = date(2025, 10, 6)
TABLES = {
    "customers": (
        "customer_id, lead_id, created_at, name, email, phone, Segment, No. of Sites, Referred?, Satisfaction (0-10), "
        "File Colour, updated_at"
    ),
    "transactions": (
        "transaction_id, customer_id, occurred_at, recorded_at, kind, amount, cost, discount, quantity, currency, "
        "product, channel"
    ),
    "tickets": "ticket_id, customer_id, opened_at, resolved_at, kind",
    "usage": "usage_id, customer_id, occurred_at, metric, quantity",
    "offers": "offer_id, customer_id, offered_at, kind, cost, assigned, accepted_at",
}
# what is known of each table before the day of a scenario
KNOWN_BEFORE = {
    "customers": """select * exclude (updated_at, "Satisfaction (0-10)") from {} where created_at < {day}""",
    "transactions": "from {} where recorded_at < {day}",
    "tickets": "select * replace (case when resolved_at < {day} then resolved_at end as resolved_at) "
    "from {} where opened_at < {day}",
    "usage": "from {} where occurred_at < {day}",
    "offers": "select * replace (case when accepted_at < {day} then accepted_at end as accepted_at) "
    "from {} where offered_at < {day}",
    "interactions": "select * replace (case when opened_at < {day} then opened_at end as opened_at) "
    "from {} where occurred_at < {day}",
    "changes": "from {} where changed_at < {day}",
    "truth/moods": "from {} where since < {day}",
}


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the folder of a company by name: customers who stop buying, and customers with contracts."""
    folder = tmp_path_factory.mktemp("customers")
    simulate(folder / "retail", leads=LEADS, customers=True, progress=False)
    simulate(folder / "contracts", leads=LEADS, customers_only=True, contractual=True, progress=False)
    return {name: folder / name for name in ("retail", "contracts")}


@pytest.fixture(scope="module")
def active(exports: dict[str, Path]) -> Active:
    """Return the truth of each company, its active customers at the moment, and the moment for each of them."""
    found = {}
    for name, export in exports.items():
        truth = CustomerTruth.of(export)
        ids = truth.present(MOMENT, bought_within=90)
        found[name] = (truth, ids, np.repeat(MOMENT, len(ids)))
    return found


def rows(query: str) -> list[tuple]:
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    return connection.execute(query).fetchall()


def columns(path: Path) -> list[str]:
    return [name for name, *_ in rows(f"describe from '{path}'")]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_customers_change_nothing_of_leads(tmp_path: Path) -> None:
    for name, customers in (("without", False), ("with", True)):
        simulate(tmp_path / name, leads=300, months=6, format="csv", customers=customers, progress=False)
    before, after = content(tmp_path / "without"), content(tmp_path / "with")
    different = {name for name in before if before[name] != after[name]}
    assert different == {"changes.csv", "interactions.csv", "mapping.yml", "truth/simulation.json"}
    for name in ("changes", "interactions"):
        old, new = (f"read_csv('{tmp_path / each / name}.csv', all_varchar = true)" for each in ("without", "with"))
        of_leads = f"select * exclude (customer_id) from {new} where customer_id is null"
        assert rows(f"select count(*) from (({of_leads}) except all (from {old}))") == [(0,)]
        assert rows(f"select (select count(*) from ({of_leads})) = (select count(*) from {old})") == [(True,)]


def test_customers_are_drawn_alike(tmp_path: Path) -> None:
    alike: dict[str, dict[str, object]] = {
        "one": {},
        "chunk": {"chunk": 70},
        "alone": {"customers_only": True},
        "other": {"seed": 23},
    }
    for name, arguments in alike.items():
        simulate(tmp_path / name, **{"leads": 200, "months": 4, "customers": True, "progress": False} | arguments)  # type: ignore[arg-type]
    own = {f"{name}.parquet" for name in (*TABLES, "truth/customers", "truth/moods")}
    one, chunk, alone, other = (content(tmp_path / name) for name in ("one", "chunk", "alone", "other"))
    assert {name for name in own if one[name] != chunk[name]} == set()
    assert {name for name in own if one[name] != alone[name]} == {"customers.parquet"}
    assert {name for name in own if one[name] == other[name]} == set()
    assert set(one) - set(alone) == {
        f"{name}.parquet" for name in ("leads", "appointments", "projects", "truth/leads", "truth/decisions")
    }
    for table in (*TABLES, "interactions", "changes"):
        assert "lead_id" not in columns(tmp_path / "alone" / f"{table}.parquet")


def test_the_tables_are_those_of_the_contract(exports: dict[str, Path]) -> None:
    retail, contracts = exports["retail"], exports["contracts"]
    for name, expected in TABLES.items():
        assert ", ".join(columns(retail / f"{name}.parquet")) == expected
    added = set(columns(contracts / "customers.parquet")) - set(columns(retail / "customers.parquet"))
    assert added == {"plan", "closed_at"}
    keys = {name: expected.split(",")[0] for name, expected in TABLES.items()}
    for export in exports.values():
        for name, key in keys.items():
            assert rows(f"select count(*) = count(distinct {key}) from '{export / name}.parquet'") == [(True,)]
    # a won lead is a customer from then on; others never were leads, or have no row
    assert rows(f"""
        select count(*) filter (c.created_at = p.closed_at) = count(*), count(*) > 300
        from '{retail}/customers.parquet' c join '{retail}/projects.parquet' p using (lead_id)
        where p.status = 'won'""") == [(True, True)]
    assert rows(f"""
        select avg((lead_id is null)::int) between 0.3 and 0.6,
            min(created_at) < timestamptz '2024-01-01', max(created_at) > timestamptz '2026-06-01'
        from '{retail}/customers.parquet'""") == [(True, True, True)]
    assert rows(f"""
        select count(distinct customer_id) between 10 and 60 from '{retail}/transactions.parquet'
        where customer_id not in (select customer_id from '{retail}/customers.parquet')""") == [(True,)]
    kinds = f"""
        select count(distinct kind), count(*) filter (kind = 'refund' and amount < 0) > 100,
            count(*) filter (kind = 'refund' and amount > 0) > 100,
            count(*) filter (kind = 'refund' and recorded_at > occurred_at + interval 1 day) > 50,
            count(*) filter (kind = 'purchase' and (cost is null or amount <= 0)), max(recorded_at) < '2026-07-01'
        from '{retail}/transactions.parquet'"""
    assert rows(kinds) == [(4, True, True, True, 0, True)]
    assert rows(f"select count(distinct assigned) from '{retail}/offers.parquet'") == [(3,)]
    # nothing happens after the end of a contract
    for name, time in (("usage", "occurred_at"), ("tickets", "opened_at"), ("offers", "offered_at")):
        assert rows(f"""
            select count(*) from '{contracts / name}.parquet' join '{contracts}/customers.parquet' using (customer_id)
            where {time} > closed_at""") == [(0,)]
    assert rows(f"select count(*) > 50 from '{contracts}/changes.parquet' where column_name = 'plan'") == [(True,)]


@pytest.mark.parametrize("company", ["retail", "contracts"])
def test_usage_fades_before_a_customer_leaves_and_tickets_annoy(
    exports: dict[str, Path], active: Active, company: str
) -> None:
    moods, usage = (f"'{exports[company] / name}.parquet'" for name in ("truth/moods", "usage"))
    # of customers who leave at least a month after they begin to fade: logins in the month before the one and the other
    [(before_fading, before_leaving)] = rows(f"""
        with turns as (
            select *, lag(since) over each as faded, lag(mood) over each as last from {moods}
            window each as (partition by customer_id order by since)
        ),
        left_later as (
            from turns where mood = 'gone' and last = 'fading' and since > faded + interval 30 day
        )
        select count(*) filter (occurred_at between faded - interval 30 day and faded),
            count(*) filter (occurred_at between since - interval 30 day and since)
        from left_later join {usage} using (customer_id) where metric = 'login'""")
    assert before_fading > 200
    assert before_leaving < 0.5 * before_fading
    # how many of the content begin to fade within 30 days, with an annoying ticket in the 14 days before and without
    truth, ids, _ = active[company]
    moments = MOMENT - np.arange(0, 280, 28).astype("timedelta64[D]")
    first = dict(rows(f"select customer_id, created_at from '{exports[company]}/truth/customers.parquet'"))
    pairs = [(each, at) for at in moments for each in ids if first[each].replace(tzinfo=None) < at.item()]
    asked, at = (np.array(each) for each in zip(*pairs, strict=True))
    content = truth.hidden(asked, at).mood == Mood.CONTENT
    observed = pa.table({"customer_id": asked[content], "moment": at[content]})
    found = duckdb.connect()
    found.execute("set TimeZone = 'UTC'")
    found.register("observed", observed)
    shares = dict(
        found.execute(f"""
            with seen as (
                select exists (from '{exports[company]}/tickets.parquet' t where t.customer_id = o.customer_id
                        and kind in ('defect', 'billing')
                        and opened_at between moment - interval 14 day and moment) as annoyed,
                    exists (from {moods} m where m.customer_id = o.customer_id
                        and mood = 'fading' and since between moment and moment + interval 30 day) as fades
                from observed o
            )
            select annoyed, avg(fades::int) from seen group by annoyed""").fetchall()
    )
    assert shares[True] > 1.2 * shares[False]


@pytest.mark.parametrize("company", ["retail", "contracts"])
def test_true_probabilities_come_true(exports: dict[str, Path], active: Active, company: str) -> None:
    export = exports[company]
    truth, ids, at = active[company]
    day = np.datetime_as_string(MOMENT, "D")
    within = f"between timestamp '{day}' and timestamp '{day}' + interval {{}} day - interval 1 microsecond"
    for horizon in (30, 60):
        if company == "retail":
            bought = f"'{export}/transactions.parquet' where kind = 'purchase' and occurred_at"
            stays = {each for (each,) in rows(f"select distinct customer_id from {bought} {within.format(horizon)}")}
            left = np.array([each not in stays for each in ids])
        else:
            closed = f"'{export}/customers.parquet' where closed_at {within.format(horizon)}"
            gone = {each for (each,) in rows(f"select customer_id from {closed}")}
            left = np.array([each in gone for each in ids])
        chances = truth.leaving(ids, at, horizon_days=horizon, branches=60)
        probability = chances.probability
        assert 0.05 < probability.mean() < 0.4
        for fifth in np.array_split(np.argsort(probability), 5):
            noise = np.sqrt((probability[fifth] * (1 - probability[fifth])).sum() + 1.0)
            assert abs(left[fifth].sum() - probability[fifth].sum()) < 4 * noise
        order = np.argsort(probability)
        assert left[order[-100:]].mean() > 3 * left[order[:100]].mean() + 0.1
    value = truth.value(ids, at, horizon_days=90)
    earned = {
        each: (float(revenue), float(margin))
        for each, revenue, margin in rows(f"""
            with signed as (
                select customer_id, coalesce(cost, 0) as cost, case kind when 'purchase' then amount
                    when 'payment' then 0 else -abs(amount) end as revenue
                from '{export}/transactions.parquet' where occurred_at {within.format(90)}
            )
            select customer_id, sum(revenue), sum(revenue - cost) from signed group by customer_id""")
    }
    actual = np.array([earned.get(each, (0.0, 0.0)) for each in ids])
    for expected, column in ((value.revenue, 0), (value.margin, 1)):
        surplus = actual[:, column] - expected
        assert abs(surplus.sum()) < 4 * surplus.std() * np.sqrt(len(ids))
        assert np.corrcoef(actual[:, column], expected)[0, 1] > 0.6


@pytest.mark.parametrize("company", ["retail", "contracts"])
def test_the_truth_agrees_with_a_long_play(active: Active, company: str) -> None:
    truth, ids, at = active[company]
    some = np.repeat(np.arange(0, len(ids), len(ids) // 12)[:12], 3000)
    state = truth.hidden(ids, at).take(some)
    people = truth.people.take(truth._observed(ids, at)[0][some])
    keys = stream_keys(5, "long play", people.numbers, np.arange(len(some)))
    left = np.ones(len(some), dtype=np.bool_)
    for day in range(60):
        happened = live(truth.clientele, people, state, keys, MOMENT.astype("datetime64[D]").astype(np.int64) + day)
        left &= ~happened.buys
    if company == "contracts":
        left = state.mood == Mood.GONE
    counted = left.reshape(12, -1).mean(axis=1)
    told = truth.leaving(ids[some[::3000]], at[:12], branches=2000)
    noise = np.hypot(told.standard_error, np.sqrt((counted * (1 - counted) + 1e-3) / 3000))
    assert (np.abs(told.probability - counted) < 4.5 * noise).all()


@pytest.mark.parametrize("company", ["retail", "contracts"])
def test_offers_help_some_and_wake_up_others(active: Active, company: str) -> None:
    truth, ids, at = active[company]
    ids, at = ids[:240], at[:240]
    response = truth.people.response[truth._observed(ids, at)[0]]
    found = truth.uplift(ids, at, branches=20)
    assert found.leaving[response > 0.8].mean() < -0.003
    assert found.leaving[response < -0.4].mean() > 0.003
    assert found.margin[response > 0.8].mean() > 5.0
    assert found.margin[response < -0.4].mean() < -5.0
    worth = found.margin > found.cost
    assert 0.05 < worth.mean() < 0.6
    # a list gains what its customers gain; other lives gain it as well
    nobody, listed = (truth.play_offers(ids, at, each, branches=20) for each in (worth & False, worth))
    assert listed.margin - nobody.margin == pytest.approx(found.margin[worth].sum())
    assert listed.left - nobody.left == pytest.approx(found.leaving[worth].sum())
    assert listed.cost == worth.sum() * found.cost
    other = [truth.play_offers(ids, at, each, branches=20, luck=1).profit for each in (worth & False, worth, ~worth)]
    assert other[2] < other[0] < other[1]


def test_scenarios_change_what_follows_and_nothing_before(exports: dict[str, Path], tmp_path: Path) -> None:
    found = {}
    for name in (None, *CUSTOMER_SCENARIOS):
        out = tmp_path / str(name)
        simulate(
            out, leads=900, customers_only=True, scenario=name, scenario_date=SINCE if name else None, progress=False
        )
        later = f"between timestamp '{SINCE}' and timestamp '{SINCE}' + interval 21 day"
        found[name] = rows(f"""
            select (select avg(amount) from '{out}/transactions.parquet' where kind = 'purchase'
                    and occurred_at > timestamp '{SINCE}'),
                (select count(*) from '{out}/tickets.parquet' where opened_at {later}),
                (select count(*) from '{out}/usage.parquet' where occurred_at {later}),
                (select count(*) from '{out}/truth/moods.parquet' where mood = 'fading' and since > '{SINCE}')""")[0]
        for table, query in KNOWN_BEFORE.items():
            one, other = (
                query.format(f"'{each / table}.parquet'", day=f"timestamp '{SINCE}'")
                for each in (out, tmp_path / "None")
            )
            assert rows(f"select count(*) > 20 from ({one})") == [(True,)]
            assert rows(f"({one}) except all ({other})") == []
            assert rows(f"({other}) except all ({one})") == []
    usual, rise, outage = (np.array(found[name], dtype=np.float64) for name in (None, *CUSTOMER_SCENARIOS))
    assert rise[0] > 1.1 * usual[0]
    assert rise[3] > 1.2 * usual[3]
    assert outage[1] > 3 * usual[1]
    assert outage[2] < 0.4 * usual[2]
    assert outage[3] > usual[3]
    truth = CustomerTruth.of(tmp_path / "price_rise")
    ids = truth.present(MOMENT, bought_within=90)
    calm = CustomerTruth(RETAIL, truth.people, truth.seed)
    at = np.repeat(MOMENT, len(ids))
    assert truth.leaving(ids, at, branches=10).rate.rate > calm.leaving(ids, at, branches=10).rate.rate


def test_a_setting_with_customers_is_read_as_it_was_written(tmp_path: Path) -> None:
    for company in (RETAIL, replace(CONTRACTS, leave=0.5)):
        setting = replace(Setting.load(_simulated(tmp_path)), customers=company)
        setting.save(tmp_path / "crm")
        assert Setting.load(tmp_path / "crm") == setting


def _simulated(folder: Path) -> Path:
    simulate(folder / "crm", leads=5, progress=False)
    return folder / "crm"


def test_what_cannot_be_is_named(active: Active, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "crm")
    for arguments, message in (
        (["--contractual"], "contractual: expected it with customers"),
        (["--customers", "--shape", "plain"], "customers: expected them with shape contract, found 'plain'"),
        (["--scenario", "outage@2025-06-01"], "scenario: outage expected customers, found none"),
    ):
        with pytest.raises(SystemExit):
            main(["--out", out, "--leads", "20", *arguments])
        assert message in capsys.readouterr().err
    with pytest.raises(ValueError, match="expected a simulation with customers, found none"):
        CustomerTruth.of(_simulated(tmp_path))
    truth, ids, at = active["retail"]
    for asked, moments, message in (
        (["L0000001"], at[:1], "customer_ids: expected ids of this simulation, found 'L0000001'"),
        (ids[:1], at[:1] + np.timedelta64(5, "h"), "moments: expected midnights"),
        (ids[:1], at[:1] - np.timedelta64(3000, "D"), "expected none before the customer was created"),
        (ids[:2], at[:1], "as many customer_ids as moments"),
    ):
        with pytest.raises(ValueError, match=message):
            truth.leaving(asked, moments)
    with pytest.raises(ValueError, match="kind: expected one of voucher, gift, found 'cake'"):
        truth.uplift(ids[:1], at[:1], kind="cake")
