"""Declarations of leaks of every kind that the proof must catch, and of controls that only look like leaks.

`benchmarks.planting` plants them into a feature store, `benchmarks.leaks` counts how many the proof names, and tests
use some of each kind. In texts ``{db}`` is the quoted name of the database, ``{clock}`` the clock in microseconds, and
``{folder}`` a folder for files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

DUCKDB, POSTGRES = "duckdb", "postgres"
HOUR = 3_600_000_000
DAY = 24 * HOUR
LEAD, CUSTOMER = "lead", "customer"
VIEW = "features.lead_features"
CUSTOMER_VIEW = "features.customer_features"
VIEWS = {LEAD: VIEW, CUSTOMER: CUSTOMER_VIEW}

TIMELINE = '{db}."intermediate"."timeline"'
"""The facts of leads; each answer, opening and end is a fact of its own."""
INTERACTIONS = '{db}."staging"."stg_interactions"'
APPOINTMENTS = '{db}."staging"."stg_appointments"'
PROJECTS = '{db}."staging"."stg_projects"'
CHANGES = '{db}."staging"."stg_changes"'
DEALS = '{db}."intermediate"."deal_history"'
"""What the CRM showed of projects, from moment to moment."""
LEADS_NOW = '{db}."raw"."leads"'
"""Leads with the present values of the CRM."""
OF_SOURCE = (
    "(select own.lead_id, others.lead_id as other_id, others.known_us "
    'from {db}."staging"."stg_leads" as own '
    'inner join {db}."staging"."stg_leads" as others on own.lead_source = others.lead_source)'
)
"""For each lead all leads of its source."""
WINS_OF_SOURCE = (
    "(select own.lead_id, facts.lead_id as other_id, facts.known_us "
    'from {db}."intermediate"."timeline" as facts '
    'inner join {db}."staging"."stg_leads" as leads on facts.lead_id = leads.lead_id '
    'inner join {db}."staging"."stg_leads" as own on leads.lead_source = own.lead_source '
    "where facts.fact = 'project_closed' and facts.outcome = 'won')"
)
"""For each lead the deals that were won with leads of its source."""
WON_OF_SOURCE = (
    "(select own.lead_id, deals.lead_id as other_id, deals.won_us, deals.age_us "
    'from {db}."intermediate"."won_deals" as deals '
    'inner join {db}."staging"."stg_leads" as leads on deals.lead_id = leads.lead_id '
    'inner join {db}."staging"."stg_leads" as own on leads.lead_source = own.lead_source)'
)
"""For each lead the ways of the deals that were won with leads of its source."""


@dataclass(frozen=True, kw_only=True)
class Leak:
    """A leak, or a control, to plant into the feature store.

    Attributes
    ----------
    name : str
        For a feature, the name of its column.
    kind : str
    engines : tuple of str
    feature : str
        An additional feature, as an expression over ``scored`` (a row of the view) and ``observed`` (its observation).
    of : str
        The entity of the view that gets the feature.
    over : str
        A relation with the key of the entity: the feature is then an aggregate over ``observed`` and its rows,
        ``facts``.
    model, old, new : str
        A model, a text in its SQL, and the text that replaces it.
    statement : str
        A statement that runs after this model has been built.
    before : tuple of str
        Statements that run in the warehouse before.
    head, column, place : str
        A text before the template of the model `place`, and an additional column that it selects.
    files : mapping of str to str
        Additional files of the dbt project, or texts that are appended to existing files.
    refused : bool
        Whether the proof must refuse it; a replay that fails with its name is accepted as well.
    named : tuple of str
        Columns that the proof must name, or texts that a refusal must hold. By default the column of the feature.
    batch : str
        Leaks of one batch are planted together: no two of them reach the same column, and none hides another.
    sampled : mapping of str to int
        Limits of the proof, beyond which it takes a sample.
    """

    name: str
    kind: str
    engines: tuple[str, ...] = (DUCKDB, POSTGRES)
    feature: str = ""
    of: str = LEAD
    over: str = ""
    model: str = ""
    old: str = ""
    new: str = ""
    statement: str = ""
    before: tuple[str, ...] = ()
    head: str = ""
    column: str = ""
    place: str = ""
    files: Mapping[str, str] = field(default_factory=dict, hash=False)
    refused: bool = False
    named: tuple[str, ...] = ()
    batch: str = ""
    sampled: Mapping[str, int] = field(default_factory=dict, hash=False)

    @property
    def is_template(self) -> bool:
        """Whether the leak is in the templates of dbt, and not in the compiled SQL."""
        return bool(self.head or self.column or self.files)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns or texts that the proof must name."""
        if self.named:
            return self.named
        return (self.place,) if self.is_template else (f"{VIEWS[self.of]}.{self.name}",)


def _count(condition: str) -> str:
    return f"count(case when {condition} then 1 end)"


def _ahead(of: int, condition: str = "1 = 1") -> str:
    """Return a count of facts known from a moment until `of` microseconds later."""
    return _count(f"facts.known_us >= observed.as_of_us and facts.known_us < observed.as_of_us + {of} and {condition}")


def _window(back: int, condition: str = "1 = 1", before: str = "facts.known_us < observed.as_of_us") -> str:
    return _count(f"{before} and facts.known_us >= observed.as_of_us - {back} and {condition}")


def _over_facts(kind: str, features: Mapping[str, str], over: str = TIMELINE, of: str = LEAD) -> list[Leak]:
    return [Leak(name=name, kind=kind, feature=feature, over=over, of=of) for name, feature in features.items()]


def _refused(
    kind: str, name: str, feature: str, *named: str, engines: tuple[str, ...] = (DUCKDB, POSTGRES),
    before: tuple[str, ...] = (), at: str = VIEW, batch: str = "",
) -> Leak:  # fmt: skip
    return Leak(
        name=name, kind=kind, engines=engines, feature=feature, before=before, refused=True, named=(at, *named),
        batch=batch,
    )  # fmt: skip


CONTROL = "control"
MOMENTS = "moments"
RARE = "rare values and short reaches"
PARTS = "parts read before they were known"
OVERWRITTEN = "overwritten columns"
OTHERS = "totals, ranks, other leads"
WINDOWS = "windows"
LABELS = "labels"
INTERMEDIATE = "intermediate tables"
ALTERED = "stores altered after the build"
RELATIONS = "relations the replay does not see"
CLOCKS = "wall clocks and the session"
COMPILED = "computed while dbt compiles"

_REPLAYED = [
    *_over_facts(MOMENTS, {
        "facts_with_as_of_count_7d": _window(7 * DAY, before="facts.known_us <= observed.as_of_us"),
        "ahead_at_the_clock": _ahead(DAY, "observed.observation_kind = 'clock'"),
        "ahead_where_asked": _ahead(DAY, "observed.observation_kind = 'asked'"),
        "ahead_at_odd_seconds": _ahead(DAY, "mod(observed.as_of_us, 60000000) <> 0"),
        "ahead_off_midnight": _ahead(HOUR, f"mod(observed.as_of_us, {DAY}) <> 0"),
        "ahead_at_midnight": _ahead(DAY, f"mod(observed.as_of_us, {DAY}) = 0"),
        "ahead_on_some_weekdays": _ahead(
            2 * DAY, f"mod((observed.as_of_us - mod(observed.as_of_us, {DAY})) / {DAY}, 7) in (1, 2)"
        ),
        "ahead_in_spring": _ahead(25 * DAY, "date_part('month', observed.as_of) in (3, 4, 5)"),
        "ahead_at_midnights_in_spring": _ahead(
            6 * HOUR, f"date_part('month', observed.as_of) in (3, 4) and mod(observed.as_of_us, {DAY}) = 0"
        ),
        "ahead_at_night": _ahead(12 * HOUR, f"mod(observed.as_of_us, {DAY}) between {HOUR} and {6 * HOUR}"),
        "ahead_in_silence": _ahead(30 * DAY, "observed.observation_kind = 'silence'"),
        "happened_but_not_recorded_count": _count(
            "facts.occurred_us < observed.as_of_us and facts.fact = 'interaction'"
        ),
    }),
    *_over_facts(RARE, {
        "notes_of_the_next_hour": _ahead(HOUR, "facts.interaction_type = 'note'"),
        "messages_of_the_next_minute": _ahead(HOUR // 60, "facts.interaction_type = 'sms'"),
        "meetings_of_the_next_minute_but_not_at_once": _count(
            f"facts.known_us > observed.as_of_us and facts.known_us < observed.as_of_us + {HOUR // 60} "
            "and facts.interaction_type = 'meeting'"
        ),
        "cancelled_deals_of_the_next_hour": _ahead(
            HOUR, "facts.fact = 'project_closed' and facts.outcome = 'cancelled'"
        ),
        "moved_appointments_of_the_next_hour": _ahead(
            HOUR, "facts.fact = 'appointment_ended' and facts.outcome = 'rescheduled'"
        ),
        "answers_of_the_next_hour": _ahead(HOUR, "facts.fact = 'responded' and facts.interaction_type = 'proposal'"),
        "openings_of_the_next_second": _ahead(1_000_000, "facts.fact = 'opened'"),
        "facts_of_the_next_two_days_but_not_of_one": _count(
            f"facts.known_us >= observed.as_of_us + {DAY} and facts.known_us < observed.as_of_us + {2 * DAY}"
        ),
        "proposals_of_the_next_month_alone": _count(
            f"facts.fact = 'project_proposed' and facts.known_us >= observed.as_of_us + {20 * DAY} "
            f"and facts.known_us < observed.as_of_us + {30 * DAY}"
        ),
    }),
    # few deals are so large, in the random CRM and in the simulated one
    *_over_facts(RARE, {"largest_deals_of_the_next_hour": _ahead(HOUR, "facts.value > {large_deal}")}, DEALS),
    *_over_facts(RARE, {
        "price_of_the_next_hour": (
            f"max(case when facts.lead_column = 'property_value' and facts.known_us >= observed.as_of_us "
            f"and facts.known_us < observed.as_of_us + {HOUR} then facts.value end)"
        ),
        "status_of_the_next_minute": (
            f"max(case when facts.lead_column = 'status' or facts.lead_column = 'lead_status' then "
            f"case when facts.known_us >= observed.as_of_us and facts.known_us < observed.as_of_us + {HOUR // 60} "
            "then facts.value end end)"
        ),
    }, CHANGES),
    *_over_facts(RARE, {"ahead_of_one_source": _count(
        f"facts.known_us >= observed.as_of_us and facts.known_us < observed.as_of_us + {DAY} "
        "and facts.lead_source = 'referral'"
    )}, (
        '(select facts.lead_id, facts.known_us, leads.lead_source from {db}."intermediate"."timeline" as facts '
        'inner join {db}."staging"."stg_leads" as leads on facts.lead_id = leads.lead_id)'
    )),
    *_over_facts(PARTS, {
        "answers_counted_when_asked": _count("facts.known_us < observed.as_of_us and facts.responded_us is not null"),
        "openings_counted_when_sent": _count("facts.known_us < observed.as_of_us and facts.opened_us is not null"),
        "hours_until_answers_to_come": (
            "sum(case when facts.known_us < observed.as_of_us then facts.responded_us - facts.occurred_us end)"
        ),
    }, INTERACTIONS),
    *_over_facts(PARTS, {
        "missed_when_booked": _count("facts.booked_us < observed.as_of_us and facts.final_status = 'no_show'"),
        "ended_when_booked": "max(case when facts.booked_us < observed.as_of_us then facts.ended_us end)",
    }, APPOINTMENTS),
    *_over_facts(PARTS, {
        "lost_when_proposed": _count("facts.proposed_us < observed.as_of_us and facts.final_status = 'lost'"),
        "closed_when_proposed": _count("facts.proposed_us < observed.as_of_us and facts.closed_us is not null"),
    }, PROJECTS),
    *_over_facts(PARTS, {
        "end_of_known_proposals": (
            "max(case when facts.known_us < observed.as_of_us and facts.fact = 'project_proposed' "
            "then facts.closed_us end)"
        ),
        "next_fact_of_the_last": "max(case when facts.known_us < observed.as_of_us then facts.next_known_us end)",
    }),
    *_over_facts(OVERWRITTEN, {
        "status_of_today": "max(facts.status)",
        "owner_of_today": "max(facts.assigned_to)",
        "price_of_today": "max(facts.property_value)",
        "area_of_today": "max(facts.zip_code)",
        "changed_today": "max(facts.updated_at)",
    }, LEADS_NOW),
    *_over_facts(OVERWRITTEN, {
        "planned_as_of_today": "max(case when facts.booked_at < observed.as_of then facts.scheduled_at end)",
        "status_of_known_appointments": _count("facts.booked_at < observed.as_of and facts.status = 'completed'"),
    }, '{db}."raw"."appointments"'),
    *_over_facts(OVERWRITTEN, {
        "costs_of_today": _count("facts.proposed_at < observed.as_of and facts.cost is not null"),
    }, '{db}."raw"."projects"'),
    *(
        Leak(name=name, kind=OTHERS, feature=feature)
        for name, feature in {
            "rows_of_all": "count(*) over ()",
            "rows_of_its_lead": "count(*) over (partition by observed.lead_id)",
            "next_observation": (
                "lead(observed.as_of_us) over (partition by observed.lead_id order by observed.as_of_us)"
            ),
            "rank_among_all": "rank() over (order by scored.facts_count_lifetime)",
            "share_of_the_most": (
                "cast(scored.facts_count_lifetime as double precision) / max(scored.facts_count_lifetime) over ()"
            ),
            "dearest_of_its_source": "max(scored.property_value) over (partition by scored.lead_source)",
            "last_of_all": "max(observed.as_of_us) over () - observed.as_of_us",
        }.items()
    ),
    *_over_facts(OTHERS, {
        "leads_of_its_source": "count(facts.other_id)",
        "leads_of_its_source_that_come": _ahead(DAY),
    }, OF_SOURCE),
    *_over_facts(OTHERS, {
        "record_with_its_own_deal": _count(
            "facts.known_us < observed.as_of_us or facts.other_id = observed.lead_id"
        ),
        "record_up_to_as_of": _count("facts.known_us <= observed.as_of_us"),
        "record_of_later_deals": _count("facts.other_id <> observed.lead_id"),
    }, WINS_OF_SOURCE),
    *_over_facts(OTHERS, {
        "typical_deal_with_its_own": (
            "cast(sum(case when facts.won_us < observed.as_of_us or facts.other_id = observed.lead_id "
            "then facts.age_us end) as bigint)"
        ),
    }, WON_OF_SOURCE),
    *_over_facts(OVERWRITTEN, {
        "next_change_of_the_deal": "max(case when facts.known_us < observed.as_of_us then facts.until_us end)",
        "pushes_of_any_time": "max(facts.close_pushes_count)",
    }, DEALS),
    *_over_facts(WINDOWS, {
        "facts_of_a_day_more_count_7d": _window(8 * DAY),
        "facts_of_a_microsecond_more_count_30d": _window(30 * DAY + 1),
        "calls_of_an_hour_more_count_90d": _window(90 * DAY + HOUR, "facts.interaction_type = 'call'"),
        "deals_of_a_day_more_count_30d": _window(31 * DAY, "facts.fact = 'project_closed'"),
        "answers_of_two_weeks_count_7d": _window(14 * DAY, "facts.fact = 'responded'"),
        "last_contact_us_90d": (
            "max(case when facts.known_us < observed.as_of_us and facts.direction = 'inbound' then facts.known_us end)"
        ),
    }),
]  # fmt: skip
"""Features that have other values in a replay."""

_EDITED = [
    Leak(
        name="a label that knows a week after it has matured", kind=LABELS, batch="1",
        model="conversion",
        old="facts.known_us < matured.matures_us",
        new=f"facts.known_us < matured.matures_us + 7 * {DAY}",
        named=("labels.conversion.converted",),
    ),
    Leak(
        name="a horizon that begins a day before its moment", kind=LABELS, batch="1",
        model="next_action",
        old="actions.occurred_us >= matured.as_of_us",
        new=f"actions.occurred_us >= matured.as_of_us - {DAY}",
        named=("labels.next_action.next_action",),
    ),
    Leak(
        name="a label that is there a week before it has matured", kind=LABELS, batch="2",
        model="conversion",
        old="<= {clock}",
        new=f"<= {{clock}} + 7 * {DAY}",
        named=("labels.conversion.(row)",),
    ),
    Leak(
        name="successes after the clock", kind=LABELS, batch="2",
        model="next_action",
        old="facts.known_us < {clock}",
        new=f"facts.known_us < {{clock}} + 365 * {DAY}",
        named=("labels.next_action.succeeded_at",),
    ),
    Leak(
        name="a label that knows the moment at which it matures", kind=LABELS, batch="3",
        model="conversion",
        old="facts.known_us < matured.matures_us",
        new="facts.known_us <= matured.matures_us",
        named=("labels.conversion.converted",),
    ),
    Leak(
        name="an action that is recorded after its label has matured", kind=LABELS, batch="3",
        model="next_action",
        old="actions.known_us < matured.matures_us",
        new="actions.occurred_us < matured.matures_us",
        named=("labels.next_action.next_action",),
    ),
    Leak(
        name="a label that says that it has matured a day before it has", kind=LABELS, batch="4",
        model="conversion",
        old="(matured.matures_us)",
        new=f"(matured.matures_us - {DAY})",
        named=("labels.conversion.(row)",),
    ),
    Leak(
        name="a horizon that begins a microsecond before its moment", kind=LABELS, batch="4",
        model="next_action",
        old="actions.occurred_us >= matured.as_of_us",
        new="actions.occurred_us >= matured.as_of_us - 1",
        named=("labels.next_action.next_action",),
    ),
    Leak(
        name="a status that holds what it was last", kind=INTERMEDIATE, batch="1",
        model="lead_history",
        old="over (partition by lead_id, lead_status_number) as lead_status,",
        new="over (partition by lead_id) as lead_status,",
        named=(f"{VIEW}.status_as_of",),
    ),
    Leak(
        name="track records that know what closes at the moment", kind=INTERMEDIATE, batch="1",
        model="track_records",
        old="1 as tie_rank",
        new="3 as tie_rank",
        named=(f"{VIEW}.source_closed_leads_count_lifetime",),
    ),
    Leak(
        name="a stage that holds what it was last", kind=INTERMEDIATE, batch="1",
        model="deal_history",
        old="over (partition by project_id, stage_number) as stage_held",
        new="over (partition by project_id) as stage_held",
        named=(f"{VIEW}.deal_stage_as_of",),
    ),
    Leak(
        name="an attribute that holds what it was last", kind=INTERMEDIATE, batch="1",
        model="lead_attributes",
        old="over so_far as packed_1,",
        new="over (partition by lead_id) as packed_1,",
        named=(f"{VIEW}.attribute_category",),
    ),
    Leak(
        name="typical deals that are won at any time", kind=INTERMEDIATE, batch="1",
        model="open_deals",
        old="all_deals as (order by moment_us, tie_rank rows unbounded preceding)",
        new="all_deals as (order by moment_us, tie_rank rows between unbounded preceding and unbounded following)",
        named=(f"{VIEW}.deal_age_days_vs_won", f"{VIEW}.deal_value_vs_won"),
    ),
    Leak(
        name="typical deals that are won at the moment", kind=INTERMEDIATE, batch="2",
        model="open_deals",
        old="1 as tie_rank",
        new="3 as tie_rank",
        named=(f"{VIEW}.deal_age_days_vs_won",),
    ),
    Leak(
        name="an attribute of a project that is told at the moment", kind=INTERMEDIATE, batch="2",
        model="lead_features",
        old="and of_project.known_us < observations.as_of_us",
        new="and of_project.known_us <= observations.as_of_us",
        named=(f"{VIEW}.project_category",),
    ),
    Leak(
        name="amounts that are corrected after their label has matured", kind=LABELS, batch="2",
        model="deal_value",
        old="and history.known_us < won.matures_us",
        new=f"and history.known_us < won.matures_us + {DAY}",
        named=("labels.deal_value.deal_value",),
    ),
    Leak(
        name="a median of deals that are won at the moment", kind=INTERMEDIATE, batch="1",
        model="lead_values",
        old="clocks.as_of_us > facts.known_us",
        new="clocks.as_of_us >= facts.known_us",
        named=("intermediate.lead_values.value",),
    ),
    Leak(
        name="prices compared with the next one", kind=INTERMEDIATE, batch="2",
        model="lead_history",
        old="lag(price)",
        new="lead(price)",
        named=(f"{VIEW}.property_value_rises_count_lifetime",),
    ),
    Leak(
        name="the rep of a closed lead as of today", kind=INTERMEDIATE, batch="2",
        model="closed_leads_now",
        old="case when facts.known_us <= closings.closed_us and facts.fact",
        new="case when facts.fact",
        named=(f"{VIEW}.rep_closed_leads_count_lifetime",),
    ),
    Leak(
        name="the value of a proposal that comes at the moment", kind=INTERMEDIATE, batch="2",
        model="lead_values",
        old="proposed.known_us < census.as_of_us",
        new="proposed.known_us <= census.as_of_us",
        named=("intermediate.lead_values.value",),
    ),
    Leak(
        name="answers that are known when the question is", kind=INTERMEDIATE, batch="3",
        model="timeline",
        old="greatest(responded_us, known_us) as known_us",
        new="known_us",
        named=(f"{VIEW}.response_rate",),
    ),
    Leak(
        name="interactions that are known when they happen", kind=INTERMEDIATE, batch="5",
        model="stg_interactions",
        old="greatest(occurred_at, coalesce(recorded_at, occurred_at))",
        new="occurred_at",
        named=(f"{VIEW}.interactions_count_lifetime",),
    ),
    Leak(
        name="observations of leads that will close alone", kind=INTERMEDIATE, batch="6",
        model="observations",
        old="and (closings.closed_us is null or moments.as_of_us <= closings.closed_us)",
        new="and moments.as_of_us <= closings.closed_us",
        named=(f"{VIEW}.(row)",),
    ),
    Leak(
        name="silences that nothing ends within two hours", kind=INTERMEDIATE, batch="6",
        model="observations",
        old="where as_of_us <= until_us",
        new=f"where as_of_us + {2 * HOUR} <= until_us",
        named=("intermediate.observations.(row)",),
    ),
    Leak(
        name="features that a statement has changed", kind=ALTERED, batch="7",
        model="lead_features",
        statement="update features.lead_features set calls_count_7d = calls_count_7d + 1",
        named=(f"{VIEW}.calls_count_7d",),
    ),
    Leak(
        name="labels that a statement has changed", kind=ALTERED, batch="7",
        model="conversion",
        statement="update labels.conversion set converted = 1 - converted",
        named=("labels.conversion.converted",),
    ),
    Leak(
        name="rows of labels that are gone", kind=ALTERED, batch="7",
        model="next_action",
        statement="delete from labels.next_action where next_action = 'no_action'",
        named=("labels.next_action.(row)",),
    ),
    Leak(
        name="values that a statement has changed", kind=ALTERED, batch="7",
        model="lead_values",
        statement="update intermediate.lead_values set value = 1 + coalesce(value, 0)",
        named=("intermediate.lead_values.value",),
    ),
    Leak(
        name="features of which a sample is proved", kind=ALTERED, batch="8", sampled={"max_facts": 3_000},
        model="lead_features",
        statement="update features.lead_features set engagement_score = engagement_score + 1",
        named=(f"{VIEW}.engagement_score",),
    ),
    Leak(
        name="facts that a statement has made earlier, of which a sample is proved", kind=ALTERED, batch="9",
        sampled={"max_facts": 3_000},
        model="timeline",
        statement=f"update intermediate.timeline set known_us = known_us - 3 * {DAY} where fact = 'responded'",
        named=("intermediate.timeline.(row)",),
    ),
]  # fmt: skip
"""Models with changed SQL, or whose tables a statement changes after the build."""

_NOW = "(select max(leads.status) from {0} as leads where leads.lead_id = observed.lead_id)"
_SEEN = [
    _refused(RELATIONS, "two_parts", _NOW.format("raw.leads"), "raw.leads"),
    _refused(RELATIONS, "two_parts_quoted", _NOW.format('"raw"."leads"'), '"raw"."leads"'),
    _refused(RELATIONS, "three_parts_in_part_quoted", _NOW.format('{db}.raw."leads"'), '.raw."leads"'),
    _refused(RELATIONS, "three_parts_not_quoted", _NOW.format("{name}.raw.leads"), ".raw.leads"),
    _refused(RELATIONS, "other_case", _NOW.format('{db}."RAW"."LEADS"'), "LEADS", engines=(DUCKDB,)),
    _refused(
        RELATIONS, "file_of_columns", _NOW.format("read_parquet('{folder}/leads.parquet')"), "leads.parquet",
        engines=(DUCKDB,), before=("copy raw.leads to '{folder}/leads.parquet' (format parquet)",),
    ),
    _refused(
        RELATIONS, "file_of_text", _NOW.format("read_csv('{folder}/leads.csv')"), "leads.csv",
        engines=(DUCKDB,), before=("copy raw.leads to '{folder}/leads.csv' (header)",),
    ),
    _refused(
        RELATIONS, "file_as_a_table", _NOW.format("'{folder}/as_table.parquet'"), "as_table.parquet",
        engines=(DUCKDB,), before=("copy raw.leads to '{folder}/as_table.parquet' (format parquet)",),
    ),
    _refused(RELATIONS, "name_as_text", _NOW.format("query_table('raw.leads')"), "query_table", engines=(DUCKDB,)),
    _refused(
        RELATIONS, "query_as_text",
        "(select max(ends.won) from query('select count(*) as won from raw.leads') as ends)", "query",
        engines=(DUCKDB,),
    ),
    _refused(
        RELATIONS, "macro_of_the_database", "status_of(observed.lead_id)", "status_of()", engines=(DUCKDB,),
        before=("create macro status_of(id) as (select max(status) from raw.leads where lead_id = id)",),
    ),
    _refused(
        RELATIONS, "macro_that_is_a_table", _NOW.format("leads_of_today()"), "leads_of_today", engines=(DUCKDB,),
        before=("create macro leads_of_today() as table select lead_id, status from raw.leads",),
    ),
    _refused(
        RELATIONS, "function_of_the_database", "public.status_of(observed.lead_id)", "status_of", engines=(POSTGRES,),
        before=(
            "create function public.status_of(text) returns text stable language sql as "
            "'select max(status) from raw.leads where lead_id = $1'",
        ),
    ),
    _refused(
        RELATIONS, "function_with_a_known_name", "round(observed.lead_id)", "round", engines=(POSTGRES,),
        before=(
            "create function public.round(text) returns text stable language sql as "
            "'select max(status) from raw.leads where lead_id = $1'",
        ),
    ),
    _refused(
        RELATIONS, "function_as_a_column", "observed.wins_of_today", "wins_of_today", engines=(POSTGRES,),
        before=(
            "create function public.wins_of_today(anyelement) returns bigint stable language sql as "
            "'select count(*) from raw.leads where status = ''won'''",
        ),
    ),
    _refused(
        RELATIONS, "operator_of_the_database", "observed.lead_id + observed.lead_id", "+", engines=(POSTGRES,),
        before=(
            "create function public.wins(text, text) returns bigint stable language sql as "
            "'select count(*) from raw.leads where status = ''won'' and lead_id <> $1'",
            "create operator public.+ (leftarg = text, rightarg = text, function = public.wins)",
        ),
    ),
    _refused(
        RELATIONS, "cast_of_the_database", "cast(observed.observation_kind as bigint)", "text to bigint",
        engines=(POSTGRES,), at="the cast from", batch="alone",
        before=(
            "create function public.counted(text) returns bigint stable language sql as "
            "'select count(*) from raw.leads where status = ''won'' and lead_id <> $1'",
            "create cast (text as bigint) with function public.counted(text)",
        ),
    ),
    _refused(
        RELATIONS, "table_found_on_the_path", _NOW.format("leads_found"), "leads_found",
        before=("create table {path}leads_found as select lead_id, status from raw.leads",),
    ),
    _refused(
        RELATIONS, "view_of_another_schema", _NOW.format('{db}."other"."leads_now"'), at="other.leads_now",
        before=("create schema other", "create view other.leads_now as select lead_id, status from raw.leads"),
    ),
    _refused(
        RELATIONS, "table_of_a_hook", _NOW.format('{db}."raw"."leads_of_today"'), at="raw.leads_of_today",
        before=("create table raw.leads_of_today as select lead_id, status from raw.leads",),
    ),
    _refused(
        RELATIONS, "table_of_a_hook_beside_the_models", _NOW.format('{db}."intermediate"."ends"'),
        at="intermediate.ends",
        before=("create table intermediate.ends as select lead_id, status from raw.leads",),
    ),
    _refused(
        RELATIONS, "catalog", "(select max(tables.table_name) from information_schema.tables as tables)",
        "information_schema.tables",
    ),
]  # fmt: skip

_CLOCKS = [
    *(
        _refused(CLOCKS, name, feature, named)
        for name, feature, named in (
            ("days_to_current_date", "current_date - cast(observed.as_of as date)", "current_date()"),
            ("since_current_timestamp", "current_timestamp > observed.as_of", "current_timestamp()"),
            ("since_transaction", "transaction_timestamp() > observed.as_of", "transaction_timestamp()"),
            ("age_to_today", "age(cast(observed.as_of as timestamp))", "age()"),
            ("local_time", "localtimestamp > cast(observed.as_of as timestamp)", "localtimestamp()"),
            ("hour_of_the_build", "extract(hour from localtime)", "localtime()"),
            ("by_chance", "random()", "rand()"),
            ("by_random_key", "cast(gen_random_uuid() as text)", "uuid()"),
            ("who_asks", "current_user", "current_user()"),
            ("asked_setting", "current_setting('TimeZone')", "current_setting()"),
            ("order_of_storage", "(select count(distinct facts.{row_id}) from {db}.\"raw\".\"leads\" as facts "
             "where facts.lead_id = observed.lead_id)", "the column"),
        )
    ),
    *(
        _refused(CLOCKS, name, feature, named, engines=(DUCKDB,))
        for name, feature, named in (
            ("since_now", "now() > observed.as_of", "now()"),
            ("today", "date_diff('day', observed.as_of, cast(today() as timestamptz))", "current_date()"),
            ("current_localtimestamp", "cast(current_localtimestamp() as date)", "localtimestamp()"),
            ("current_localtime", "extract(hour from current_localtime())", "current_localtime()"),
            ("get_current_time", "cast(get_current_time() as text)", "current_time()"),
            ("get_current_timestamp", "cast(get_current_timestamp() as date)", "get_current_timestamp()"),
            ("quoted_date", 'cast("current_date" as timestamptz) > observed.as_of', "current_date"),
            ("quoted_local_time", 'date_trunc(\'day\', "localtimestamp")', "localtimestamp"),
            ("age_by_method", "(observed.as_of).age()", "age()"),
            ("key_with_its_time", "cast(uuidv7() as text)", "uuidv7()"),
            ("query_of_itself", "current_query()", "current_query()"),
            ("variable", "coalesce(getvariable('proved'), 0)", "getvariable()"),
        )
    ),
    *(
        _refused(CLOCKS, name, feature, named, engines=(POSTGRES,))
        for name, feature, named in (
            ("since_now", "now() > observed.as_of", "current_timestamp()"),
            ("clock_timestamp", "clock_timestamp() > observed.as_of", "clock_timestamp()"),
            ("statement_timestamp", "statement_timestamp() > observed.as_of", "statement_timestamp()"),
            ("timeofday", "timeofday()", "timeofday()"),
            ("text_now", "cast('now' as timestamptz) > observed.as_of", "now"),
            ("text_today", "date 'today' - cast(observed.as_of as date)", "today"),
            ("text_of_parts", "cast('to' || 'day' as timestamptz) > observed.as_of", "is made of text"),
            ("text_now_without_a_cast", "observed.as_of < 'now'", "'now'"),
            ("text_today_among_values", "greatest(observed.as_of, 'today')", "'today'"),
            ("text_of_tomorrow", "nullif(observed.as_of, ' Tomorrow ')", "Tomorrow"),
            ("start_of_the_server", "pg_postmaster_start_time() > observed.as_of", "pg_postmaster_start_time()"),
            ("transaction_number", "txid_current()", "txid_current()"),
            ("row_version", "(select count(distinct cast(facts.xmin as text)) from {db}.\"raw\".\"leads\" as facts)",
             "xmin"),
            ("role_of_the_session", "user", "user"),
        )
    ),
]  # fmt: skip

_TEMPLATES = [
    Leak(name="run_query", kind=COMPILED, place="intermediate.timeline", named=("intermediate.timeline: run_query",),
         head="{% set newest = run_query('select max(created_at) from raw.leads').columns[0][0] if execute %}",
         column="'{{ newest }}'"),
    Leak(name="run_started_at", kind=COMPILED, place="intermediate.lead_history",
         named=("intermediate.lead_history: run_started_at",), column="'{{ run_started_at }}'"),
    Leak(name="the clock as a variable", kind=COMPILED, place="intermediate.lead_values",
         named=("intermediate.lead_values: var('as_of')",), column="'{{ var('as_of')[:10] }}'"),
    Leak(name="the clock as a variable of another name", kind=COMPILED, place="intermediate.lead_closings",
         named=("intermediate.lead_closings: var",), head="{% set asked = var %}", column="'{{ asked('as_of') }}'"),
    Leak(name="days to the clock by arithmetic", kind=COMPILED, place="intermediate.track_records",
         named=("intermediate.track_records: clock_us()",), column="{{ (clock_us() | int) // 86400000000 }}"),
    Leak(name="days to the clock by a block", kind=COMPILED, place="intermediate.closed_leads_now",
         named=("intermediate.closed_leads_now: clock_us()",),
         head="{% set clock %}{{ clock_us() }}{% endset %}", column="{{ (clock | int) // 86400000000 }}"),
    Leak(name="days to the clock by a macro", kind=COMPILED, place="labels.conversion",
         named=("labels.conversion: clock_of_the_build()",), column="{{ (clock_of_the_build() | int) // 86400000000 }}",
         files={"macros/clock_of_the_build.sql": "{% macro clock_of_the_build() -%} {{ clock_us() }} {%- endmacro %}"}),
    Leak(name="the time of the compiler", kind=COMPILED, place="intermediate.observations",
         named=("intermediate.observations: modules",), column="'{{ modules.datetime.datetime.now() }}'"),
    Leak(name="a query of a macro", kind=COMPILED, place="labels.next_action",
         named=("macro newest, which labels.next_action uses: run_query",), column="'{{ newest() }}'",
         files={"macros/newest.sql": "{% macro newest() %}{% if execute %}"
                "{{ run_query('select max(created_at) from raw.leads').columns[0][0] }}{% endif %}{% endmacro %}"}),
    Leak(name="a query of the adapter", kind=COMPILED, place="staging.stg_leads",
         named=("staging.stg_leads: .execute",),
         column="{{ adapter.execute('select 1 as one', fetch=true)[1].columns[0][0] if execute else 0 }}"),
    Leak(name="a query of the adapter by its name", kind=COMPILED, place="staging.stg_projects",
         named=("staging.stg_projects: [",),
         column="{{ adapter['execute']('select 1 as one', fetch=true)[1].columns[0][0] if execute else 0 }}"),
    Leak(name="a query of the adapter by a filter", kind=COMPILED, place="staging.stg_appointments",
         named=("staging.stg_appointments: adapter under another name",),
         column="{{ ([adapter] | map(attribute='execute') | first)('select 1 as one', fetch=true)[1].columns[0][0] "
                "if execute else 0 }}"),
    Leak(name="a statement", kind=COMPILED, place="staging.stg_changes",
         named=("staging.stg_changes: statement",),
         head="{% call statement('newest', fetch_result=true) %}select max(created_at) from raw.leads{% endcall %}",
         column="'{{ load_result('newest')['data'][0][0] if execute }}'"),
    Leak(name="the environment", kind=COMPILED, place="staging.stg_interactions",
         named=("staging.stg_interactions: env_var",), column="'{{ env_var('HOME') }}'"),
    Leak(name="a hook that changes rows", kind=COMPILED, place="intermediate.closed_leads",
         named=("intermediate.closed_leads: the hook update",),
         head="{{ config(post_hook='update {{ this }} set won_us = closed_us') }}", column="1"),
    Leak(name="a hook that makes a table", kind=COMPILED, place="intermediate.track_record_changes",
         named=("intermediate.track_record_changes: the hook create",),
         head="{{ config(pre_hook='create table raw.ends as select * from raw.projects') }}"),
    Leak(name="a hook of the run", kind=COMPILED, named=("on-run-start",),
         files={"dbt_project.yml": "\non-run-start: ['create table raw.ends as select * from raw.projects']\n"}),
    Leak(name="a function of dbt by dispatch", kind=COMPILED, place="staging.touched_leads",
         named=("staging.touched_leads: dispatch()",),
         head="{% set checked = adapter.dispatch('test_unique', 'dbt')('raw.leads', 'lead_id') %}"),
    Leak(name="what the last build left", kind=COMPILED, place="intermediate.observations_due",
         named=("intermediate.observations_due: the relation",), column="(select count(*) from {{ this }})"),
    Leak(name="the number of the run", kind=COMPILED, place="features.feature_clock",
         named=("features.feature_clock: invocation_id",), column="'{{ invocation_id }}'"),
    Leak(name="a query under its own name", kind=COMPILED, place=VIEW, named=(f"{VIEW}: run_query",),
         head="{% set run_query = run_query %}",
         column="{{ run_query('select count(*) from raw.leads').columns[0][0] if execute else 0 }}"),
    Leak(name="a model in Python", kind=COMPILED, engines=(DUCKDB,), named=("intermediate.guessed: expected SQL",),
         files={"models/intermediate/guessed.py": "def model(dbt, session):\n    return dbt.ref('lead_history')\n"}),
    Leak(name="days_to_the_clock", kind=COMPILED, feature=f"({{clock}} - observed.as_of_us) / {DAY}"),
]  # fmt: skip
"""Values that dbt computes while it compiles."""

LEAKS = [*_REPLAYED, *_EDITED, *_SEEN, *_CLOCKS, *_TEMPLATES]


def _of_customers(kind: str, over: str, features: Mapping[str, str]) -> list[Leak]:
    return _over_facts(kind, features, over, CUSTOMER)


CUSTOMER_LEAKS = [
    *_of_customers(MOMENTS, '{db}."intermediate"."customer_timeline"', {
        "purchases_with_as_of": _count("facts.fact = 'purchase' and facts.known_us <= observed.as_of_us"),
        "purchases_that_happened_but_are_not_recorded": _count(
            "facts.fact = 'purchase' and facts.occurred_us < observed.as_of_us"
        ),
        "price_of_the_next_purchase": (
            "max(case when facts.fact = 'purchase' and facts.known_us >= observed.as_of_us "
            f"and facts.known_us < observed.as_of_us + {HOUR} then facts.amount end)"
        ),
        "chargebacks_of_the_next_week": _ahead(7 * DAY, "facts.fact = 'chargeback'"),
        "purchases_of_a_day_more_count_30d": _window(31 * DAY, "facts.fact = 'purchase'"),
    }),
    *_of_customers(PARTS, '{db}."intermediate"."customer_timeline"', {
        "refunds_of_any_time": "sum(case when facts.fact = 'refund' then facts.amount end)",
        "purchases_until_it_closes": _count(
            "facts.known_us < observed.as_of_us or facts.fact = 'customer_closed'"
        ),
    }),
    *_of_customers(PARTS, '{db}."staging"."stg_tickets"', {
        "tickets_resolved_when_opened": _count(
            "facts.opened_us < observed.as_of_us and facts.resolved_us is not null"
        ),
        "hours_until_tickets_will_be_resolved": (
            "sum(case when facts.opened_us < observed.as_of_us then facts.resolved_us - facts.opened_us end)"
        ),
    }),
    *_of_customers(PARTS, '{db}."staging"."stg_offers"', {
        "offers_accepted_when_made": _count(
            "facts.offered_us < observed.as_of_us and facts.accepted_us is not null"
        ),
    }),
    *_of_customers(PARTS, '{db}."staging"."stg_interactions"', {
        "emails_opened_when_sent": _count("facts.known_us < observed.as_of_us and facts.opened_us is not null"),
    }),
    *_of_customers(MOMENTS, '{db}."intermediate"."customer_usage"', {
        "logins_of_the_next_day": _ahead(DAY, "facts.is_login = 1"),
    }),
    *_of_customers(OVERWRITTEN, '{db}."raw"."customers"', {
        "plan_of_today": "max(facts.plan)",
        "left_by_today": _count("facts.closed_at is not null"),
        "updated_today": "max(facts.updated_at)",
    }),
    *_of_customers(OVERWRITTEN, '{db}."intermediate"."customer_history"', {
        "next_change_of_the_plan": "max(case when facts.known_us < observed.as_of_us then facts.until_us end)",
    }),
    *(
        Leak(name=name, kind=OTHERS, feature=feature, of=CUSTOMER)
        for name, feature in {
            "rank_of_spending_among_all_rows": "rank() over (order by scored.total_spent)",
            "spends_more_than_the_mean_of_all_rows": (
                "case when scored.total_spent > avg(scored.total_spent) over () then 1 else 0 end"
            ),
        }.items()
    ),
    Leak(
        name="a flag of leaving in an attribute that counts from the beginning", kind=INTERMEDIATE, of=CUSTOMER,
        batch="1",
        model="customer_attributes",
        old="over so_far as packed_3,",
        new="over (partition by customer_id) as packed_3,",
        named=(f"{CUSTOMER_VIEW}.customer_flag",),
    ),
    Leak(
        name="quintiles of the next moment of the grid", kind=OTHERS, of=CUSTOMER, batch="1",
        model="customer_quintiles_now",
        old=f"+ 14 * {DAY} as as_of_us",
        new="as as_of_us",
        named=(f"{CUSTOMER_VIEW}.monetary_score",),
    ),
    Leak(
        name="purchases that are recorded after churn has matured", kind=LABELS, of=CUSTOMER, batch="1",
        model="churn_60d",
        old="facts.known_us < matured.matures_us",
        new="facts.occurred_us < matured.matures_us",
        named=("labels.churn_60d.churned_60d",),
    ),
    Leak(
        name="a label of churn that is there a week before it has matured", kind=LABELS, of=CUSTOMER, batch="1",
        model="churn_30d",
        old="<= {clock}",
        new=f"<= {{clock}} + 7 * {DAY}",
        named=("labels.churn_30d.(row)",),
    ),
]  # fmt: skip
"""Leaks into the features and labels of customers, all of which can be planted together."""

CONTROLS = [
    *_over_facts(CONTROL, {
        "answers_known_count": _count("facts.known_us < observed.as_of_us and facts.fact = 'responded'"),
        "facts_by_day_count_7d": _window(7 * DAY),
        "facts_that_happened_count_7d": _count(
            f"facts.known_us < observed.as_of_us and facts.occurred_us >= observed.as_of_us - 7 * {DAY}"
        ),
        "facts_up_to_a_microsecond_before": _count("facts.known_us <= observed.as_of_us - 1"),
        "proposals_that_are_open": _count(
            "facts.known_us < observed.as_of_us and facts.fact = 'project_proposed' "
            "and (facts.closed_us is null or facts.closed_us >= observed.as_of_us)"
        ),
        "last_fact_without_a_next": (
            "max(case when facts.known_us < observed.as_of_us "
            "and (facts.next_known_us is null or facts.next_known_us >= observed.as_of_us) then facts.known_us end)"
        ),
        "kind_of_the_unknown": (
            "max(case when facts.known_us < observed.as_of_us then coalesce(facts.outcome, 'unknown') end)"
        ),
    }),
    *_over_facts(CONTROL, {
        "answered_within_hours": (
            "sum(case when facts.known_us < observed.as_of_us and facts.responded_us < observed.as_of_us "
            "then facts.responded_us - facts.occurred_us end)"
        ),
    }, INTERACTIONS),
    *_over_facts(CONTROL, {
        "missed_as_was_known": _count(
            "facts.ended_us < observed.as_of_us and facts.booked_us < observed.as_of_us "
            "and facts.final_status = 'no_show'"
        ),
    }, APPOINTMENTS),
    *_over_facts(CONTROL, {
        "leads_of_its_source_until_then": _count("facts.known_us < observed.as_of_us"),
    }, OF_SOURCE),
    *_over_facts(CONTROL, {
        "record_of_others": _count("facts.other_id <> observed.lead_id and facts.known_us < observed.as_of_us"),
    }, WINS_OF_SOURCE),
    *_over_facts(CONTROL, {
        "price_of_then": (
            "max(case when facts.known_us < observed.as_of_us and (facts.until_us is null "
            "or facts.until_us >= observed.as_of_us) then facts.property_value end)"
        ),
    }, '{db}."intermediate"."lead_history"'),
    *(
        Leak(name=name, kind=CONTROL, feature=feature)
        for name, feature in {
            "day_of_creation": "cast(observed.lead_created_at as date)",
            "days_since_a_day": "extract(epoch from observed.as_of - timestamptz '2024-01-01 00:00:00+00:00')",
            "hash_of_its_key": "md5(observed.lead_id)",
            "month_of_the_year": "extract(month from observed.as_of at time zone 'UTC')",
            "text_with_now_in_a_word": "case when scored.lead_source = 'known' then 'nowadays' else 'unknown' end",
        }.items()
    ),
    Leak(
        name="a label up to the microsecond before it matures", kind=CONTROL,
        model="conversion",
        old="facts.known_us < matured.matures_us",
        new="facts.known_us <= matured.matures_us - 1",
    ),
    Leak(
        name="a value up to the microsecond before", kind=CONTROL,
        model="lead_values",
        old="clocks.as_of_us > facts.known_us",
        new="clocks.as_of_us - 1 >= facts.known_us",
    ),
]  # fmt: skip
"""Features and models that look like leaks and are none: the proof must pass with all of them."""
