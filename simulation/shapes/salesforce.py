"""Salesforce: the simulated CRM as Fivetran's connector loads it, and as the Data Loader exports it.

What Salesforce does to its data is in here:

- A lead converts when its first opportunity is opened. From then on it is frozen, its activities hang on the contact
  and the opportunity, and later changes of its owner are those of the opportunity.
- A close date is a plan. A win moves it to the day of the win if it lies ahead; a loss never does.
- The amount of an opportunity is overwritten: a win brings a discount, a loss empties it.
- A calendar entry says neither whether the lead came nor that it was moved; what is called off is deleted. Some
  meetings are entered into the calendar afterwards.
- Deleted and merged records stay, with a flag; to-dos that are not done lie among the activities that took place.

It has no SMS, and no result of an e-mail. Each time is a whole second.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from simulation.shapes.shape import Shape

_MAPPING = """\
name: simulated_crm
based_on: {base}
closes: {{outcomes: [not_interested]}}
tables:
  leads:
    columns: {{property_value: {property_value}}}
  interactions:
    values: {{outcome: {{Callback: callback}}}}
"""

_WORDS = """\
statuses as (
    select * from (values
        ('new', 'Open - Not Contacted'), ('contacted', 'Working - Contacted'), ('qualified', 'Working - Qualified'),
        ('proposal', 'Closed - Converted'), ('lost', 'Closed - Not Converted')
    ) as words (status, word)
),
results as (
    select * from (values
        ('reached', 'Meaningful Connect'), ('later', 'Call Back Later'), ('not_interested', 'Not Interested'),
        ('voicemail', 'Left Voicemail'), ('no_answer', 'No Answer'), ('callback', 'Callback')
    ) as words (outcome, word)
),
deal_words as (
    select * from (values
        ('in review', 'Perception Analysis'), ('negotiation', 'Negotiation/Review'),
        ('contract drafted', 'Contract Drafted'), ('won', 'Closed Won'), ('lost', 'Closed Lost')
    ) as words (stage, word)
),
kinds as (
    select * from (values
        ('call', 'Call', 'Call'), ('email', 'Email', 'Email'), ('proposal', 'Email', 'Send Quote'),
        ('meeting', 'Task', 'Meeting'), ('web', 'Task', 'Web Visit'), ('note', 'Task', null)
    ) as words (type, subtype, word)
)"""


def _id(prefix: str, number: str, ordinal: str = "0") -> str:
    """Return an id of 18 characters: three of the object, twelve digits, and three that tell capitals."""
    capitals = "EAA" if prefix[2].isupper() else "AAA"
    return f"('{prefix}' || {number} || lpad(cast({ordinal} as text), 5, '0') || '{capitals}')"


def _user(rep: str) -> str:
    return _id("005", f"lpad(split_part({rep}, '-', 2), 7, '0')")


_INTEGRATION = _id("005", "'9999999'")
"""The user by whom marketing tools write what leads do on the website."""

_OF_LEAD = "substr(lead_id, 2)"
"""The seven digits of a lead."""


def _ordinal(key: str) -> str:
    """Return the number of a row within its lead."""
    return f"split_part({key}, '-', 2)"


# What the other tables are made of. Salesforce keeps its keys unique and its references whole, so the rows that the
# faults of the simulation added are left out.
_COMMON = f"""\
with recursive {_WORDS},
people as (
    select
        leads.*, {_OF_LEAD} as number, cast({_OF_LEAD} as integer) as nth, converted_at, opportunity,
        coalesce(converted_at, timestamptz 'infinity') as frozen_at
    from leads
    left join (
        select
            lead_id, min(proposed_at) as converted_at,
            arg_min({_id("006", _OF_LEAD, _ordinal("project_id"))}, proposed_at) as opportunity
        from projects group by lead_id
    ) using (lead_id)
),
deals as (
    select
        projects.*, number, nth, opportunity, assigned_to, {_id("006", "number", _ordinal("project_id"))} as id,
        projects.status in ('won', 'lost', 'cancelled') as closed,
        cast(coalesce(planned_close_at, proposed_at + interval 30 day) as date) as planned,
        coalesce(deal_words.word, 'Proposal/Price Quote') as open_stage
    from projects left join deal_words on deal_stage = deal_words.stage inner join people using (lead_id)
),
activities as (
    select
        rows.*, number, nth, opportunity, subtype, kinds.word as kind, results.word as result, frozen_at,
        people.assigned_to, cast({_ordinal("interaction_id")} as integer) as ordinal,
        -- what is newer than the conversion may lack the contact or the opportunity, or belong to a later opportunity
        case
            when opportunity is null then {_id("00Q", "number")}
            when recorded_at < frozen_at or ordinal % 11 <> 3 then {_id("003", "number")}
        end as who,
        case
            when recorded_at < frozen_at then opportunity
            when ordinal % 7 <> 2 or who is null then (
                select arg_max(id, proposed_at) from deals
                where lead_id = rows.lead_id and proposed_at <= recorded_at
            )
        end as what
    from (
        select * from (select distinct * from interactions)
        qualify count(*) over (partition by interaction_id) = 1
    ) as rows
    inner join people using (lead_id)
    inner join kinds on rows.type = kinds.type
    left join results on rows.type = 'call' and rows.outcome = results.outcome
),
meetings as (
    select appointment_id as first_id, booked_at as first_booked_at, * from appointments where rescheduled_from is null
    union all
    select first_id, first_booked_at, moved.*
    from appointments as moved inner join meetings on moved.rescheduled_from = meetings.appointment_id
),
owners as (
    select
        changes.*, number, frozen_at, opportunity,
        lag(value) over (partition by lead_id order by changed_at) as earlier
    from changes inner join people using (lead_id) where column_name = 'assigned_to'
),
stages as (
    select
        changes.*, number, word, lag(word) over (partition by lead_id order by changed_at) as earlier
    from changes inner join people using (lead_id) inner join statuses on value = statuses.status
    where column_name = 'status' and changed_at <= frozen_at
),
told as (select max(recorded_at) as until from interactions),
entered_later as (
    from activities where type = 'meeting' and nth % 2 = 1 and recorded_at > occurred_at + interval 1 second
)
"""

_WHO = f"case when opportunity is null then {_id('00Q', 'number')} else {_id('003', 'number')} end"


@dataclass(frozen=True, kw_only=True)
class _Object:
    """A table: its columns as SQL by name, and the query that they are taken from."""

    columns: Mapping[str, str]
    rows: str

    def query(self, *, api: bool) -> str:
        """Return the query; `api` for the names and texts of the API in place of those of Fivetran."""
        columns = ", ".join(
            f'{_text(name, sql) if api else sql} as "{_api(name) if api else name}"'
            for name, sql in self.columns.items()
            if not (api and name.startswith("_fivetran"))
        )
        return f"{_COMMON} select {columns} from ({self.rows})"


_DATES = ("close_date", "activity_date", "converted_date")


def _is_time(name: str) -> bool:
    return name.endswith(("_date", "_date_time", "_modstamp")) and name not in _DATES


def _text(name: str, sql: str) -> str:
    return f"strftime({sql}, '%Y-%m-%dT%H:%M:%S.000Z')" if _is_time(name) else sql


def _api(name: str) -> str:
    """Return the name of a field in the API: ``who_id`` is ``WhoId``, ``stage_c`` is ``Stage__c``."""
    if name.endswith("_c"):
        return "_".join(part.title() for part in name[:-2].split("_")) + "__c"
    return "".join(part.title() for part in name.split("_"))


def _second(sql: str) -> str:
    return f"date_trunc('second', {sql})"


def _kept(**columns: str) -> dict[str, str]:
    """Return the columns of a table with those that every table has."""
    return {
        **columns,
        "is_deleted": columns.get("is_deleted", "false"),
        "_fivetran_synced": "(select until from told)",
    }


_OBJECTS: Mapping[str, _Object] = {
    "account": _Object(
        columns=_kept(id=_id("001", "number"), name="name", created_date=_second("converted_at")),
        rows="select * from people where converted_at is not null",
    ),
    "contact": _Object(
        columns=_kept(
            id=_id("003", "number"),
            account_id=_id("001", "number"),
            name="name",
            email="email",
            phone="phone",
            created_date=_second("converted_at"),
        ),
        rows="select * from people where converted_at is not null",
    ),
    "lead": _Object(
        # each fifteenth lead has a double, which was merged into it
        columns=_kept(
            id=_id("00Q", "number", "double"),
            name="name",
            email="email",
            phone="phone",
            lead_source="source",
            status="word",
            owner_id=_user("owner"),
            postal_code="zip_code",
            property_value_c="property_value",
            created_date=_second("created_at"),
            last_modified_date=_second("least(updated_at, frozen_at)"),
            is_converted="double = 0 and converted_at is not null",
            converted_date="case when double = 0 then cast(converted_at as date) end",
            converted_contact_id=f"case when double = 0 and converted_at is not null then {_id('003', 'number')} end",
            converted_account_id=f"case when double = 0 and converted_at is not null then {_id('001', 'number')} end",
            converted_opportunity_id="case when double = 0 then opportunity end",
            master_record_id=f"case when double = 1 then {_id('00Q', 'number')} end",
            is_deleted="double = 1",
        ),
        rows="""
            select people.*, double, owner, word
            from people
            cross join (values (0), (1)) as doubles (double)
            left join (
                select lead_id, arg_max(value, changed_at) as owner
                from owners where changed_at <= frozen_at group by lead_id
            ) using (lead_id)
            left join (select lead_id, arg_max(word, changed_at) as word from stages group by lead_id) using (lead_id)
            where double = 0 or nth % 15 = 0""",
    ),
    "lead_history": _Object(
        columns=_kept(
            id=_id("017", "number", "ordinal"),
            lead_id=_id("00Q", "number"),
            field="field",
            data_type="data_type",
            old_value="old",
            new_value="new",
            created_date=_second("moment"),
        ),
        rows=f"""
            select number, 0 as ordinal, 'created' as field, 'Text' as data_type, null as old, null as new,
                created_at as moment
            from people
            union all
            select number, 1, 'leadConverted', 'Text', null, null, converted_at
            from people where converted_at is not null
            union all
            select number, 10 + row_number() over (partition by lead_id order by changed_at), 'Status', 'DynamicEnum',
                earlier, word, changed_at
            from stages qualify earlier is not null
            union all
            select number, 20, 'Owner', 'EntityId', {_user("earlier")}, {_user("value")}, changed_at
            from owners where earlier is not null and changed_at <= frozen_at
            union all
            select number, 30, 'Owner', 'Text', earlier, value, changed_at
            from owners where earlier is not null and changed_at <= frozen_at""",
    ),
    "opportunity": _Object(
        # each twentieth lead has an opportunity that was entered twice, and a neighbour who never was a lead
        columns=_kept(
            id="id",
            account_id="account",
            name="'Offer'",
            record_type_id=_id("012", "'0000001'"),
            stage_name="stage",
            amount="amount",
            probability="case when won then 100 when closed then 0 else 60 end",
            forecast_category="case when won then 'Closed' when closed then 'Omitted' else 'Pipeline' end",
            close_date="close_date",
            is_closed="closed",
            is_won="won",
            owner_id="owner",
            created_date=_second("opened"),
            last_stage_change_date=_second("closed_at"),
            last_modified_date=_second("coalesce(closed_at, opened)"),
            is_deleted="deleted",
        ),
        rows=f"""
            select
                id, {_id("001", "number")} as account, {_user("assigned_to")} as owner, closed,
                coalesce(deals.status = 'won', false) as won, closed_at, proposed_at as opened, false as deleted,
                case deals.status when 'won' then 'Closed Won' when 'open' then open_stage
                    else 'Closed Lost' end as stage,
                case deals.status when 'won' then cast(value * 0.95 as decimal(18, 2)) when 'open' then value end
                    as amount,
                case deals.status when 'won' then least(planned, cast(closed_at as date)) else planned end as close_date
            from deals
            union all
            select
                {_id("006", "number", "90000 + extra")}, {_id("001", "number", "extra")}, {_user("assigned_to")}, true,
                true, converted_at, converted_at, extra = 1, 'Closed Won', 1000, cast(converted_at as date)
            from people cross join (values (1), (2)) as extras (extra)
            where converted_at is not null and nth % 20 = 0""",
    ),
    "opportunity_contact_role": _Object(
        columns=_kept(
            id=_id("00K", "number", "ordinal"),
            opportunity_id="opportunity_id",
            contact_id="contact_id",
            is_primary="is_primary",
            created_date=_second("moment"),
        ),
        rows=f"""
            select number, id as opportunity_id, {_id("003", "number")} as contact_id, true as is_primary,
                {_ordinal("project_id")} as ordinal, proposed_at as moment
            from deals
            union all
            select number, id, {_id("003", "number", "1")}, false, {_ordinal("project_id")} || '1', proposed_at
            from deals where nth % 3 = 0
            union all
            select number, {_id("006", "number", "90002")}, {_id("003", "number", "2")}, true, '90002', converted_at
            from people where converted_at is not null and nth % 20 = 0""",
    ),
    "opportunity_history": _Object(
        # a row per change of stage, amount or close date: opened, close date put off, closed, and an amount mended
        columns=_kept(
            id=_id("008", "number", "ordinal"),
            opportunity_id="id",
            stage_name="stage",
            amount="amount",
            close_date="close_date",
            forecast_category="category",
            created_date=_second("moment"),
        ),
        rows=f"""
            with snapshots as (
                select
                    project_id, changed_at as moment, row_number() over in_order as place,
                    last_value(max(value) filter (column_name = 'stage') ignore nulls) over in_order as now_in,
                    last_value(max(value) filter (column_name = 'value') ignore nulls) over in_order as amount,
                    last_value(max(value) filter (column_name = 'expected_close_at') ignore nulls) over in_order
                        as planned_until
                from histories group by project_id, changed_at
                window in_order as (partition by project_id order by changed_at)
            )
            select
                id, number, {_ordinal("project_id")} || '5' || lpad(cast(place as text), 2, '0') as ordinal,
                coalesce(deal_words.word, 'Proposal/Price Quote') as stage,
                case now_in when 'won' then 'Closed' when 'lost' then 'Omitted' else 'Pipeline' end as category,
                case when now_in <> 'lost' then cast(amount as decimal(18, 2)) end as amount,
                least(
                    cast(cast(planned_until as timestamptz) as date),
                    case when now_in = 'won' then cast(moment as date) end
                ) as close_date,
                moment
            from snapshots inner join deals using (project_id) left join deal_words on now_in = deal_words.stage
            union all
            select id, number, {_ordinal("project_id")} || step as ordinal, stage, category, amount,
                close_date, moment
            from (
                select *, '1' as step, 'Proposal/Price Quote' as stage, 'Pipeline' as category, value as amount,
                    planned - 14 as close_date, proposed_at as moment
                from deals where not exists (from histories)
                union all
                select *, '2', 'Proposal/Price Quote', 'Pipeline', value, planned, proposed_at + interval 16 day
                from deals
                where coalesce(closed_at, (select until from told)) > proposed_at + interval 16 day
                    and not exists (from histories)
                union all
                select *, '3', case status when 'won' then 'Closed Won' else 'Closed Lost' end,
                    case status when 'won' then 'Closed' else 'Omitted' end,
                    case status when 'won' then value end, planned, closed_at
                from deals where closed and not exists (from histories)
                union all
                select *, '4', 'Closed Won', 'Closed', cast(value * 0.95 as decimal(18, 2)),
                    if(deal_stage is null, planned, least(planned, cast(closed_at as date))),
                    closed_at + interval 2 day
                from deals where status = 'won' and closed_at + interval 2 day < (select until from told)
            )""",
    ),
    "opportunity_field_history": _Object(
        columns=_kept(
            id=_id("017", "number", "70000 + ordinal"),
            opportunity_id="id",
            field="field",
            data_type="data_type",
            old_value="old",
            new_value="new",
            created_date=_second("moment"),
        ),
        rows=f"""
            select number, cast({_ordinal("project_id")} as bigint) as ordinal, id,
                case id when opportunity then 'opportunityCreatedFromLead' else 'created' end as field,
                'Text' as data_type, null as old, null as new, proposed_at as moment
            from deals
            union all
            select number, 5000, opportunity, 'Owner', 'EntityId', {_user("earlier")}, {_user("value")}, changed_at
            from owners where earlier is not null and changed_at > frozen_at
            union all
            select number, 6000, opportunity, 'Owner', 'Text', earlier, value, changed_at
            from owners where earlier is not null and changed_at > frozen_at""",
    ),
    "record_type": _Object(
        columns={"id": _id("012", "'0000001'"), "name": "'Sales'", "sobject_type": "'Opportunity'"}, rows="select 1"
    ),
    "user": _Object(
        columns={"id": "id", "name": "name", "is_active": "true", "_fivetran_deleted": "false"},
        rows=f"""
            select distinct {_user("value")} as id, value as name from owners
            union all select {_INTEGRATION}, 'Marketing Integration'""",
    ),
    "task": _Object(
        columns=_kept(
            id=_id("00T", "number", "ordinal"),
            who_id="who",
            what_id="what",
            owner_id="owner",
            subject="subject",
            type="kind",
            task_subtype="subtype",
            call_type="call_type",
            call_disposition="result",
            status="case when done is null then 'Not Started' else 'Completed' end",
            is_closed="done is not null",
            is_recurrence="false",
            activity_date="due",
            completed_date_time=_second("done"),
            created_date=_second("created"),
            last_modified_date=_second("changed"),
            is_archived="coalesce(done < (select until from told) - interval 1 year, false)",
            is_deleted="deleted",
        ),
        # each fifth call was a to-do first; its due date is the day before or after
        rows=f"""
            select
                number, ordinal, who, what,
                case when performed_by is not null then {_user("performed_by")} when type = 'web' then {_INTEGRATION}
                    else {_user("assigned_to")} end as owner,
                subtype, kind, result,
                case when type = 'call' and (direction = 'inbound' or ordinal % 2 = 0)
                    then upper(direction[1]) || direction[2:] end as call_type,
                coalesce(kind, 'Note') as subject,
                case when type = 'call' and direction = 'outbound' and ordinal % 5 = 0
                    then recorded_at - interval 2 day else recorded_at end as created,
                cast(occurred_at as date)
                + case when type = 'call' and ordinal % 5 = 0 then nth % 3 - 1 else 0 end
                    as due,
                recorded_at as done, false as deleted,
                case when recorded_at < frozen_at and opportunity is not null then frozen_at else recorded_at end
                    as changed
            from activities anti join entered_later using (interaction_id)
            union all
            select
                number, 88888, {_WHO}, opportunity, {_user("assigned_to")}, 'Task', null, null, null, 'Call again',
                updated_at, cast((select until from told) as date) + 7, null, false, updated_at
            from people where nth % 2 = 0
            union all
            select
                number, 88889, {_WHO}, opportunity, {_user("assigned_to")}, 'Call', 'Call', 'Meaningful Connect',
                'Outbound', 'Entered by mistake', created_at, cast(created_at as date), created_at, true, created_at
            from people where nth % 10 = 0
            union all
            select
                number, 88890, null, {_id("001", "number")}, {_user("assigned_to")}, 'Task', 'Other', null, null,
                'Send the invoice', converted_at, cast(converted_at as date), converted_at, false, converted_at
            from people where converted_at is not null and nth % 10 = 0""",
    ),
    "event": _Object(
        columns=_kept(
            id=_id("00U", "number", "ordinal"),
            who_id="who",
            what_id="opportunity",
            owner_id=_user("assigned_to"),
            subject="'Visit'",
            start_date_time=_second("start"),
            end_date_time=_second("start + interval 1 hour"),
            activity_date_time=_second("start"),
            activity_date="cast(start as date)",
            is_child="is_child",
            is_recurrence="false",
            created_date=_second("booked"),
            last_modified_date=_second("changed"),
            is_deleted="deleted",
        ),
        # each tenth lead has the copies that invited colleagues have in their calendars
        rows=f"""
            select
                number, {_ordinal("first_id")} || (case when is_child then '1' else '0' end) as ordinal,
                {_WHO} as who, opportunity, assigned_to, is_child, first_booked_at as booked, scheduled_at as start,
                coalesce(ended_at, booked_at) as changed, meetings.status = 'cancelled' as deleted
            from (select * from meetings qualify row_number() over (partition by first_id order by booked_at desc) = 1)
                as meetings
            inner join people using (lead_id)
            cross join (values (false), (true)) as children (is_child)
            where not is_child or nth % 10 = 0
            union all
            select
                number, cast(50000 + ordinal as text), who, what, performed_by, false, recorded_at,
                occurred_at, recorded_at, false
            from entered_later""",
    ),
    "email_message": _Object(
        columns=_kept(
            id=_id("02s", "number", "ordinal"),
            activity_id=_id("00T", "number", "ordinal"),
            related_to_id="opportunity",
            incoming="incoming",
            message_date=_second("occurred_at"),
            first_opened_date=_second("opened_at"),
            reply_to_email_message_id=f"case when asked is not null then {_id('02s', 'number', 'asked')} end",
            created_date=_second("recorded_at"),
        ),
        rows="""
            select mails.*, mails.direction = 'inbound' as incoming, asking.ordinal as asked
            from activities as mails
            left join activities as asking
                on mails.direction = 'inbound' and asking.subtype = 'Email' and asking.direction = 'outbound'
                and mails.lead_id = asking.lead_id and mails.occurred_at = asking.responded_at
            where mails.subtype = 'Email'""",
    ),
}
"""The tables by their names at Fivetran."""

SALESFORCE_FIVETRAN = Shape(
    name="salesforce_fivetran",
    tables={name: table.query(api=False) for name, table in _OBJECTS.items()},
    mapping=_MAPPING.format(base="salesforce_fivetran", property_value="property_value_c"),
)

SALESFORCE_CSV = Shape(
    name="salesforce_csv",
    tables={_api(name): table.query(api=True) for name, table in _OBJECTS.items()},
    mapping=_MAPPING.format(base="salesforce_csv", property_value="Property_Value__c"),
    file_format="csv",
)
