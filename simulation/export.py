"""The export of the simulated CRM: its tables as files, and the truth that the CRM does not know."""

import calendar
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from tqdm import tqdm

from simulation.arrivals import Traits, endow, rep_skill
from simulation.attributes import ATTRIBUTES, History, attributes_of, mapping_lines, shown
from simulation.clientele import CONTRACTS, RETAIL, Clientele
from simulation.columns import (
    in_order,
    joined,
    lead_ids,
    members,
    money,
    numbered,
    repeated,
    texts,
    times,
    words,
)
from simulation.contacts import contacts
from simulation.customers.deeds import deeds
from simulation.customers.people import mapping_lines as customer_mapping_lines
from simulation.customers.people import others, people
from simulation.customers.tables import Tables, customer_tables
from simulation.customers.tables import true_tables as customer_truth
from simulation.deals import DEAL_COLUMNS, ENDED, STAGES, eagerness, histories
from simulation.draws import Floats, Ints
from simulation.engine import Columns, Course, run
from simulation.facts import NOBODY, SYSTEM, AppointmentStatus, Direction, Outcome, ProjectStatus, Type
from simulation.policy import Action
from simulation.recording import CHANGED, FAULTS, LEAD_STATUS, Records, record
from simulation.scenarios import Scenario
from simulation.setting import Setting
from simulation.shapes import SHAPES
from simulation.state import End
from simulation.world import COMPANIES, DAY, World

FORMATS = ("parquet", "csv")
CONTRACT = "contract"
"""The shape of the source contract."""
HORIZON_DAYS = 90
"""Days after its creation within which a won lead counts as converted in the summary."""
AFTERMATH_DAYS = 180
"""Days for which the simulation continues after the end of the export, so that the truth has the ends of leads."""

CUSTOMERS = 25_000
"""Number of customers that are simulated at a time."""

MAPPING = """\
name: simulated_crm
based_on: contract
"""
CLOSES = "closes: {outcomes: [not_interested]}\n"


@dataclass(frozen=True, kw_only=True)
class SimulationSummary:
    """A summary of a written simulation.

    Attributes
    ----------
    out : Path
        The folder.
    company : str
        The simulated company.
    start, end : date
        First day, and the day after the last.
    scenario : str or None
        The change of the company.
    scenario_date : date or None
        Its first day.
    rows : dict of str to int
        Rows by table.
    faults : dict of str to int
        Rows of the interactions that a fault added, by fault.
    conversion_rate : float or None
        Share of the leads won within 90 days of their creation, among those created at least 90 days before the end;
        None if there are none.
    """

    out: Path
    company: str
    start: date
    end: date
    scenario: str | None
    scenario_date: date | None
    rows: dict[str, int]
    faults: dict[str, int]
    conversion_rate: float | None


class _Writer(Protocol):
    def write_table(self, table: pa.Table) -> None: ...

    def close(self) -> None: ...


class _Files:
    """The files of one folder, each opened with its first rows: columns that later rows lack are null in them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._writers: dict[str, _Writer] = {}
        self._columns: dict[str, pa.Schema] = {}
        self.rows: Counter[str] = Counter()

    def write(self, name: str, columns: dict[str, pa.Array], file_format: str) -> None:
        table = pa.table(columns)
        if name in self._columns:
            table = pa.table(
                {
                    field.name: columns[field.name] if field.name in columns else pa.nulls(len(table), field.type)
                    for field in self._columns[name]
                }
            )
        else:
            self._columns[name] = table.schema
            path = self._folder / f"{name}.{file_format}"
            if file_format == "csv":
                writer = pyarrow.csv.CSVWriter(
                    path, table.schema, write_options=pyarrow.csv.WriteOptions(quoting_style="needed")
                )
            else:
                writer = pyarrow.parquet.ParquetWriter(path, table.schema)
            self._writers[name] = self._stack.enter_context(writer)
        self._writers[name].write_table(table)
        self.rows[name] += table.num_rows


def simulate(
    out: Path,
    leads: int = 10_000,
    *,
    months: int = 18,
    seed: int = 22,
    start: date = date(2025, 1, 1),
    format: str = "parquet",  # noqa: A002 - the word of --format
    company: str | World = "default",
    scenario: str | None = None,
    scenario_date: date | None = None,
    progress: bool = True,
    shape: str = "contract",
    attributes: bool = False,
    deals: bool = False,
    customers: bool | Clientele = False,
    contractual: bool = False,
    customers_only: bool = False,
    chunk: int = 2_500,
) -> SimulationSummary:
    """Simulate a CRM and write its export.

    The folder appears only when it is complete: a run that is killed leaves an earlier folder as it was.

    Parameters
    ----------
    out : Path
        The folder to write. An earlier simulation there is replaced.
    leads : int
        How many leads arrive.
    months : int
        The number of months over which they arrive.
    seed : int
        The same seed gives the same rows.
    start : date
        The first day.
    format : {"parquet", "csv"}
        The format of the tables of the CRM; the truth is always Parquet.
    company : str or World
        The name of a company (`simulation.world.COMPANIES`) or the parameters of another one.
    scenario : str or None
        A change of the company (`simulation.scenarios.SCENARIOS`).
    scenario_date : date or None
        Its first day; until then the rows are those without the scenario.
    progress : bool
        Whether to show a progress bar on standard error.
    shape : str
        ``contract`` for the tables of the source contract, or one of `simulation.shapes.SHAPES`.
    attributes : bool
        Whether leads have attributes (`simulation.attributes`), which act on what they do.
    deals : bool
        Whether the CRM keeps histories of deals (`simulation.deals`). Nothing else depends on it.
    customers : bool or Clientele
        Whether won leads become customers (`simulation.customers`), or their parameters. Nothing else depends on it.
    contractual : bool
        Whether these have contracts, and close them.
    customers_only : bool
        Whether to write the tables of customers alone; the customers are the same.
    chunk : int
        Number of leads that are simulated at a time: memory grows with it, the rows do not depend on it.

    Returns
    -------
    SimulationSummary
        Folder, rows and faults of the export.

    Raises
    ------
    ValueError
        If an argument is out of range.
    FileExistsError
        If `out` exists and is not a simulation.
    """
    for name, value in (("leads", leads), ("months", months), ("chunk", chunk)):
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, found {value}")
    if format not in FORMATS:
        raise ValueError(f"format: expected one of {', '.join(FORMATS)}, found {format!r}")
    if isinstance(company, str) and company not in COMPANIES:
        raise ValueError(f"company: expected one of {', '.join(COMPANIES)}, found {company!r}")
    if shape not in (CONTRACT, *SHAPES):
        raise ValueError(f"shape: expected one of {', '.join((CONTRACT, *SHAPES))}, found {shape!r}")
    if attributes and shape != CONTRACT:
        raise ValueError(f"attributes: expected them with shape {CONTRACT}, found {shape!r}, which has none of them")
    clientele = _clientele(customers or customers_only, contractual=contractual)
    if clientele is not None and shape != CONTRACT:
        raise ValueError(f"customers: expected them with shape {CONTRACT}, found {shape!r}, which has none of them")
    if (scenario is None) != (scenario_date is None):
        raise ValueError(f"scenario: expected a name and a date, found {scenario} and {scenario_date}")
    setting = Setting(
        company=COMPANIES[company] if isinstance(company, str) else company,
        leads=leads,
        start=start,
        end=_months_later(start, months),
        seed=seed,
        scenario=None if scenario is None or scenario_date is None else Scenario(scenario, scenario_date),
        attributes=attributes,
        deals=deals,
        customers=clientele,
    )
    _refuse_to_overwrite(out)
    world, end = setting.world, setting.end_us
    partial = out.with_name(f"{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "truth").mkdir(parents=True)
    written = format if shape == CONTRACT else "parquet"

    faults: Counter[str] = Counter(dict.fromkeys(FAULTS, 0))
    mature, converted = 0, 0
    won: list[tuple[Ints, Ints, Floats]] = []
    skill = rep_skill(world, seed)
    with ExitStack() as stack:
        crm, truth = _Files(partial, stack), _Files(partial / "truth", stack)
        bar = stack.enter_context(tqdm(total=leads, unit="lead", desc="Simulating", disable=not progress))
        for first in range(0, leads, chunk):
            last = min(first + chunk, leads)
            traits = endow(world, setting.arrivals, first, last, seed, setting.attributes_from)
            course = run(world, traits, skill, end + AFTERMATH_DAYS * DAY, seed)
            records = record(world, traits, course, leads=leads, end=end, seed=seed)
            tables = _crm_tables(world, traits, records, seed)
            true_tables = _truth_tables(traits, course, end)
            if setting.attributes_from is not None:
                told, _ = attributes_of(traits.numbers, traits.created, setting.attributes_from, seed)
                _add_attributes(tables, true_tables, traits, told, end)
            if deals:
                _add_deals(tables, true_tables, world, traits, records, end, seed)
            if clientele is not None:
                became = np.flatnonzero((course.end == End.WON) & (course.ended < end))
                won.append((traits.numbers[became], course.ended[became], traits.intent[became]))
                for name in ("interactions", "changes"):
                    nobody = pa.nulls(len(next(iter(tables[name].values()))), pa.string())
                    tables[name] = tables[name] | {"customer_id": nobody}
            if not customers_only:
                for name, columns in tables.items():
                    crm.write(name, columns, written)
                for name, columns in true_tables.items():
                    truth.write(name, columns, "parquet")
                planted = records.interactions["fault"]
                faults.update({name: int((planted == code).sum()) for code, name in enumerate(FAULTS)})
            is_mature = traits.created <= end - HORIZON_DAYS * DAY
            in_time = (course.end == End.WON) & (course.ended - traits.created < HORIZON_DAYS * DAY)
            mature += int(is_mature.sum())
            converted += int((is_mature & in_time).sum())
            bar.update(last - first)
        if setting.clientele is not None:
            for tables, true_tables in _customers(setting, setting.clientele, won, leads_too=not customers_only):
                for name, columns in tables.items():
                    crm.write(name, columns, written)
                for name, columns in true_tables.items():
                    truth.write(name, columns, "parquet")
    rows = dict(crm.rows)
    mapping: str | None = _mapping(
        attributes=attributes and not customers_only, leads=not customers_only, customers=clientele is not None
    )
    if shape != CONTRACT:
        rows, mapping = SHAPES[shape].write(partial, format), SHAPES[shape].mapping
    if mapping is not None:
        (partial / "mapping.yml").write_text(mapping, encoding="utf-8")
    setting.save(partial)
    _publish(partial, out)
    rows |= {f"truth/{name}": count for name, count in truth.rows.items()}
    return SimulationSummary(
        out=out,
        company=world.name,
        start=setting.start,
        end=setting.end,
        scenario=scenario,
        scenario_date=scenario_date,
        rows=rows,
        faults=dict(faults),
        conversion_rate=converted / mature if mature else None,
    )


def _clientele(customers: bool | Clientele, *, contractual: bool) -> Clientele | None:
    """Return the parameters of the customers, if there are any."""
    if isinstance(customers, Clientele):
        return replace(customers, contractual=contractual or customers.contractual)
    if contractual and not customers:
        raise ValueError("contractual: expected it with customers, found none")
    return (CONTRACTS if contractual else RETAIL) if customers else None


def _mapping(*, attributes: bool, leads: bool, customers: bool) -> str:
    """Return the mapping that tells Leadline how to read the tables of the contract."""
    tables = (f"  leads:\n{mapping_lines()}" if attributes else "") + (
        f"  customers:\n{customer_mapping_lines()}" if customers else ""
    )
    return MAPPING + (CLOSES if leads else "") + (f"tables:\n{tables}" if tables else "")


def _customers(
    setting: Setting, clientele: Clientele, won: list[tuple[Ints, Ints, Floats]], *, leads_too: bool
) -> Iterator[tuple[Tables, Tables]]:
    """Yield the tables of the customers and their truth, by groups: those who were leads, and the others."""
    numbers, created, intent = (np.concatenate(parts) for parts in zip(*won, strict=True))
    other_numbers, other_created = others(clientele, setting.leads, setting.start, setting.end, setting.seed)
    was_lead = np.repeat([True, False], [len(numbers), len(other_numbers)])
    numbers, created = np.concatenate([numbers, other_numbers]), np.concatenate([created, other_created])
    intent = np.concatenate([intent, np.zeros(len(other_numbers))])
    for first in range(0, len(numbers), CUSTOMERS):
        part = slice(first, first + CUSTOMERS)
        group = people(clientele, numbers[part], created[part], intent[part], setting.seed, was_lead=was_lead[part])
        done = deeds(clientele, group, setting.seed, setting.end_us // DAY)
        of_lead = dict(zip(numbers[part].tolist(), intent[part].tolist(), strict=True))
        intents = np.array([of_lead[number] for number in group.numbers.tolist()])
        yield (
            customer_tables(clientele, group, done, setting.end_us, setting.seed, leads=leads_too),
            customer_truth(group, intents, done, setting.end_us),
        )


def _months_later(start: date, months: int) -> date:
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    return date(year, month + 1, min(start.day, calendar.monthrange(year, month + 1)[1]))


def _refuse_to_overwrite(out: Path) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not Setting.is_in(out):
        raise FileExistsError(
            f"{out}: expected a new folder, an empty one or an earlier simulation, found something "
            "else; name another folder or remove this one"
        )


def _publish(partial: Path, out: Path) -> None:
    previous = out.with_name(f"{out.name}.previous")
    shutil.rmtree(previous, ignore_errors=True)
    if out.exists():
        out.rename(previous)
    partial.rename(out)
    shutil.rmtree(previous, ignore_errors=True)


def _crm_tables(world: World, traits: Traits, records: Records, seed: int) -> dict[str, dict[str, pa.Array]]:
    reps = tuple(f"rep-{number + 1:02d}" for number in range(world.reps))
    rows, appointments, projects = records.interactions, records.appointments, records.projects
    changes = records.changes
    # An orphan, or a row of an unknown type, is no copy of another row, so it has an id of its own.
    added = np.isin(rows["fault"], [FAULTS.index("orphan"), FAULTS.index("unknown_type")])
    performers = np.where(rows["performer"] == SYSTEM, world.reps, rows["performer"])
    suffix = words(("", "x"), added.astype(np.int64))
    ordinal = pc.binary_join_element_wise(numbered("", rows["number"], 1), suffix, "")
    appointment_of = numbered("A", appointments["lead"], 7)
    moved = appointments["moved_from"]
    return {
        "leads": {
            "lead_id": lead_ids(traits.numbers),
            "source": words(tuple(source.name for source in world.sources), traits.source),
            "created_at": times(traits.created),
            **contacts(traits.numbers, seed),
            "assigned_to": words(reps, records.leads["assigned_to"]),
            "property_value": money(traits.value, ~traits.value_known),
            "zip_code": pa.array(traits.zip_code, mask=~traits.zip_known).cast(pa.string()),
            "status": words(LEAD_STATUS, records.leads["status"]),
            "updated_at": times(records.leads["updated"]),
        },
        "interactions": {
            "interaction_id": joined(numbered("I", rows["lead"], 7), ordinal),
            "lead_id": lead_ids(rows["lead"]),
            "type": members(Type, rows["type"]),
            "direction": members(Direction, rows["direction"]),
            "occurred_at": times(rows["occurred"]),
            "recorded_at": times(rows["recorded"]),
            "performed_by": words((*reps, "system"), performers, performers == NOBODY),
            "outcome": members(Outcome, rows["outcome"], rows["outcome"] == Outcome.NONE),
            "opened_at": times(rows["opened"]),
            "responded_at": times(rows["responded"]),
        },
        "appointments": {
            "appointment_id": joined(appointment_of, numbered("", appointments["number"], 1)),
            "lead_id": lead_ids(appointments["lead"]),
            "booked_at": times(appointments["booked"]),
            "scheduled_at": times(appointments["scheduled"]),
            "status": members(AppointmentStatus, appointments["status"]),
            "ended_at": times(appointments["ended"]),
            "rescheduled_from": pc.if_else(
                pa.array(moved < 0), pa.scalar(None, pa.string()), joined(appointment_of, numbered("", moved, 1))
            ),
        },
        "projects": {
            "project_id": joined(numbered("P", projects["lead"], 7), numbered("", projects["number"], 1)),
            "lead_id": lead_ids(projects["lead"]),
            "value": money(projects["value"]),
            "cost": money(projects["cost"]),
            "status": members(ProjectStatus, projects["status"]),
            "proposed_at": times(projects["proposed"]),
            "closed_at": times(projects["closed"]),
        },
        "changes": {
            "change_id": joined(
                numbered("H", changes["lead"], 7),
                joined(words(("status", "owner"), changes["column"]), numbered("", changes["number"], 1)),
            ),
            "lead_id": lead_ids(changes["lead"]),
            "column_name": words(CHANGED, changes["column"]),
            "value": pc.if_else(
                pa.array(changes["column"] == CHANGED.index("status")),
                words(LEAD_STATUS, np.minimum(changes["value"], len(LEAD_STATUS) - 1)),
                words(reps, np.minimum(changes["value"], len(reps) - 1)),
            ),
            "changed_at": times(changes["changed"]),
        },
    }


def _truth_tables(traits: Traits, course: Course, end: int) -> dict[str, dict[str, pa.Array]]:
    decisions: Columns = course.decisions
    order = np.lexsort((decisions["at"], decisions["lead"]))
    order = order[decisions["at"][order] < end]
    chances = decisions["chances"][order]
    return {
        "decisions": {
            "lead_id": lead_ids(decisions["lead"][order]),
            "decided_at": times(decisions["at"][order]),
            "action": members(Action, decisions["action"][order]),
            **{f"probability_{action.name.lower()}": pa.array(chances[:, action]) for action in Action},
        },
        "leads": {
            "lead_id": lead_ids(traits.numbers),
            "property_value": money(traits.value),
            "intent": pa.array(traits.intent),
            "budget": money(np.round(traits.budget, 2)),
            "patience": pa.array(traits.patience),
            "outcome": members(End, course.end),
            "outcome_at": times(course.ended),
        },
    }


def _add_attributes(
    tables: dict[str, dict[str, pa.Array]],
    truth: dict[str, dict[str, pa.Array]],
    traits: Traits,
    told: dict[str, History],
    end: int,
) -> None:
    """Add the attributes to the leads, their histories to the changes, and all of both to the truth."""
    ids = lead_ids(traits.numbers)
    updated = np.zeros(len(traits.numbers), dtype=np.int64)
    changes, true = [], []
    for each in ATTRIBUTES:
        history = told[each.name]
        values, missing = shown(history, end)
        tables["leads"][each.label] = pa.array(values, mask=missing)
        for number, step in enumerate(history.steps):
            known = pa.array(step.since < end)
            updated = np.where(step.since < end, np.maximum(updated, step.since), updated)
            value = texts(pa.array(step.values, mask=step.missing))
            since = times(step.since)
            first = number == 0
            nothing = np.zeros(len(traits.numbers))
            true.append(
                pa.table(
                    {
                        "lead_id": ids,
                        "name": repeated(each.name, len(ids)),
                        "value": value,
                        "since": since,
                        "intent": pa.array(history.intent if first else nothing),
                        "log_budget": pa.array(history.budget if first else nothing),
                        "win": pa.array(step.win),
                    }
                ).filter(known)
            )
            if each.history:
                change_ids = pc.binary_join_element_wise(
                    numbered("H", traits.numbers, 7), f"attributes.{each.name}", str(number), "-"
                )
                changes.append(
                    pa.table(
                        {
                            "change_id": change_ids,
                            "lead_id": ids,
                            "column_name": repeated(f"attributes.{each.name}", len(ids)),
                            "value": value,
                            "changed_at": since,
                        }
                    ).filter(pc.and_(known, pc.is_valid(value)))
                )
    tables["changes"] = _appended(tables["changes"], changes)
    known_until = pc.cast(pc.cast(tables["leads"]["updated_at"], pa.timestamp("us")), pa.int64()).to_numpy()
    tables["leads"]["updated_at"] = times(np.maximum(known_until, updated))
    truth["attributes"] = in_order(pa.concat_tables(true), "lead_id", "name", "since")


def _add_deals(
    tables: dict[str, dict[str, pa.Array]],
    truth: dict[str, dict[str, pa.Array]],
    world: World,
    traits: Traits,
    records: Records,
    end: int,
    seed: int,
) -> None:
    """Add stage, expected close date and today's amount to the projects, and their histories to the changes."""
    told, now = histories(world, traits, records.projects, end, seed)
    projects = tables["projects"]
    truth["deals"] = {
        "project_id": projects["project_id"],
        "eagerness": pa.array(eagerness(world, traits, records.projects)),
    }
    projects["value"] = money(now["value"])
    projects["expected_close_at"] = times(now["expected_close_at"].astype(np.int64))
    projects["stage"] = words(STAGES + ENDED, now["stage"])
    project = pa.array(told["project"])
    ids = projects["project_id"].take(project)
    column, value = told["column"], told["value"]
    stage = words(STAGES + ENDED, np.where(column == DEAL_COLUMNS.index("stage"), value, 0))
    amount = pc.cast(money(np.where(column == DEAL_COLUMNS.index("value"), value, 0.0)), pa.string())
    plan = np.where(column == DEAL_COLUMNS.index("expected_close_at"), value, 0.0).astype(np.int64)
    changes = pa.table(
        {
            "change_id": joined(ids, joined(words(DEAL_COLUMNS, column), numbered("", told["number"], 1))),
            "lead_id": projects["lead_id"].take(project),
            "column_name": words(DEAL_COLUMNS, column),
            "value": pc.choose(pa.array(column), stage, amount, texts(times(plan))),
            "changed_at": times(told["changed"]),
            "project_id": ids,
        }
    )
    none = pa.nulls(len(tables["changes"]["change_id"]), pa.string())
    tables["changes"] = _appended(tables["changes"] | {"project_id": none}, [changes])


def _appended(columns: dict[str, pa.Array], more: list[pa.Table]) -> dict[str, pa.Array]:
    """Return the changes of some leads with more of them."""
    return in_order(pa.concat_tables([pa.table(columns), *more]), "lead_id", "changed_at", "change_id")
