"""HubSpot: its tables as Fivetran's connector loads them, and the files that HubSpot's own pages export.

What the simulation knows and HubSpot has no place for is left out: page views, the answer to an e-mail, the direction
of a text message, the costs of a project, cancelled projects (they are lost deals), the appointment that was moved.
What HubSpot has, and a reader can fall for, is put in: contacts that were deleted or merged into another one, deleted
and merged deals, deals with several contacts, a pipeline of the company's own and an archived one, close dates of open
deals, close dates that somebody has changed, e-mails that are yet to be sent, open tasks, calls that were never made,
and e-mails that a machine has opened.
"""

from collections.abc import Mapping

from simulation.shapes.shape import Shape

# By word of the simulation: the key that HubSpot stores, and the label that its pages and exports show. The keys of
# the first three outcomes of calls are the same in every account; the others are outcomes of the company's own.
_CALL_OUTCOMES = {
    "reached": ("f240bbac-87c9-4f6e-bf70-924b57d47db7", "Connected"),
    "no_answer": ("73a0d17f-1163-4015-bdd5-ec830791da20", "No answer"),
    "voicemail": ("b2cf5968-551e-4856-9783-52b3da59a7d0", "Left voicemail"),
    "later": ("5b1f0c9e-2f0e-4b5c-9a31-6a0a5f1f7c01", "Later"),
    "callback": ("5b1f0c9e-2f0e-4b5c-9a31-6a0a5f1f7c02", "Callback"),
    "not_interested": ("5b1f0c9e-2f0e-4b5c-9a31-6a0a5f1f7c03", "Not interested"),
}
_LEAD_STATUS = {
    "new": ("NEW", "New"),
    "contacted": ("ATTEMPTED_TO_CONTACT", "Attempted to Contact"),
    "qualified": ("CONNECTED", "Connected"),
    "proposal": ("OPEN_DEAL", "Open Deal"),
    # an option of the company's own
    "won": ("customer", "Customer"),
    "lost": ("UNQUALIFIED", "Unqualified"),
}
_SOURCES = {
    "web": ("ORGANIC_SEARCH", "Organic Search"),
    "ads": ("PAID_SEARCH", "Paid Search"),
    "referral": ("REFERRALS", "Referrals"),
    "phone": ("DIRECT_TRAFFIC", "Direct Traffic"),
    "partner": ("OTHER_CAMPAIGNS", "Other Campaigns"),
    "fair": ("OFFLINE", "Offline Sources"),
    "social": ("SOCIAL_MEDIA", "Organic Social"),
}
_MEETING_OUTCOMES = {
    "scheduled": ("SCHEDULED", "Scheduled"),
    "completed": ("COMPLETED", "Completed"),
    "no_show": ("NO_SHOW", "No Show"),
    "cancelled": ("CANCELED", "Canceled"),
    "rescheduled": ("RESCHEDULED", "Rescheduled"),
}

_KEY, _LABEL = 0, 1

_STAGES = (
    # pipeline, its label, whether it is archived; stage, its label, whether it is closed, probability
    ("default", "Sales Pipeline", False, "contractsent", "Contract Sent", False, 0.9),
    ("default", "Sales Pipeline", False, "closedwon", "Closed Won", True, 1.0),
    ("default", "Sales Pipeline", False, "closedlost", "Closed Lost", True, 0.0),
    # a pipeline of the company's own: neither key nor label tells how a deal has ended
    ("7214310", "Partner Sales", False, "104319", "Won in principle", False, 0.9),
    ("7214310", "Partner Sales", False, "104321", "Signed", True, 1.0),
    ("7214310", "Partner Sales", False, "104322", "Rejected", True, 0.0),
    ("4410022", "Sales 2024", True, "88100", "Offer", False, 0.5),
    ("4410022", "Sales 2024", True, "88101", "Order", True, 1.0),
)
# The stages between the first and the last one, if there are histories of deals.
_BETWEEN = {
    "in review": {"default": "104331", "7214310": "104341", "4410022": "88111"},
    "negotiation": {"default": "104332", "7214310": "104342", "4410022": "88112"},
    "contract drafted": {"default": "104333", "7214310": "104343", "4410022": "88113"},
}
_STAGES_BETWEEN = tuple(
    (*pipeline, key, word.title(), False, 0.7)
    for word, keys in _BETWEEN.items()
    for pipeline, key in zip(dict.fromkeys(stage[:3] for stage in _STAGES), keys.values(), strict=True)
)
# A stage that was deleted before the connector came, so that none of its tables has it.
_GONE = ("4410022", "Sales 2024", True, "88102", "No order", True, 0.0)


def _words(column: str, words: Mapping[str, tuple[str, str]], spelling: int) -> str:
    cases = " ".join(f"when '{ours}' then '{theirs[spelling]}'" for ours, theirs in words.items())
    return f"case {column} {cases} end"


def _between(word: str) -> str:
    """Return the key of a stage between the first and the last one, in the pipeline of the deal; else null."""
    keys = (f"when {word} = '{ours}' then case pipeline_id {_cases(theirs)} end" for ours, theirs in _BETWEEN.items())
    return f"case {' '.join(keys)} end"


def _cases(keys: Mapping[str, str]) -> str:
    return " ".join(f"when '{pipeline}' then '{key}'" for pipeline, key in keys.items())


_NUMBER = "cast(substr(lead_id, 2) as bigint)"
_CONTACT = f"(3 * {_NUMBER} + 900)"
"""The keys of contacts are numbers; they differ in length, and there is room for older contacts."""
_DELETED = f"{_NUMBER} % 25 = 3"
"""Leads beside which there is a deleted contact, whose key is the last but one before theirs."""
_MERGED = f"{_NUMBER} % 30 = 7"
"""Leads into which another contact was merged, whose key is the last before theirs."""


def _owner(rep: str) -> str:
    """Return the key of the owner; none for the system."""
    return f"(32779800 + try_cast(substr({rep}, 5) as bigint))"


def _rep(rep: str) -> str:
    return f"'Rep ' || substr({rep}, 5)"


_END = "(select max(updated_at) from leads)"
_SYNCED = f"{_END} + interval 1 hour as _fivetran_synced"
_LIVES = "false as _fivetran_deleted"

# HubSpot has keys, and so nothing twice; and no faxes.
_EVENTS = """(
    select *, 19700000000 + row_number() over (order by interaction_id) as engagement_id
    from (
        select distinct *
        from interactions
        where type <> 'fax' and interaction_id not in (
            select interaction_id
            from (select distinct * from interactions)
            group by interaction_id
            having count(*) > 1
        )
    )
)"""

# A meeting is one record, which is booked and later held. One that was never booked is logged when it is over.
_MEETINGS = f"""(
    select
        34000000000 + row_number() over (order by appointment_id) as engagement_id, lead_id,
        booked_at as created_at, scheduled_at as start_time, scheduled_at + interval 1 hour as end_time, status,
        coalesce(ended_at, booked_at) as changed_at, assigned_to as performed_by
    from appointments
    inner join (select lead_id, assigned_to from leads) using (lead_id)
    union all
    select
        engagement_id, lead_id, recorded_at, occurred_at, occurred_at + interval 2 minute, 'completed', recorded_at,
        performed_by
    from {_EVENTS} as events
    where type = 'meeting' and not exists (
        select 1 from appointments as booked
        where booked.lead_id = events.lead_id and booked.scheduled_at = events.occurred_at
    )
)"""

# Offers are sent by e-mail; every other e-mail is one of the marketing.
_IS_MARKETING = "type = 'email' and direction = 'outbound' and engagement_id % 2 = 0"
_EMAILS = f"(select * from {_EVENTS} where type in ('email', 'proposal') and not ({_IS_MARKETING}))"
_MARKETING = f"""(
    select *, md5(interaction_id) as event_id, email
    from {_EVENTS} inner join (select lead_id, email from leads) using (lead_id)
    where {_IS_MARKETING}
)"""
# A part of the notes are tasks that are done.
_IS_TASK = "type = 'note' and engagement_id % 3 = 0"

_DEALS = f"""(
    select
        *, 54000000000 + number as deal_id,
        case when number % 5 = 0 then '7214310' when number % 5 = 1 then '4410022' else 'default' end as pipeline_id,
        case
            when status = 'open' and {_between("deal_stage")} is not null then {_between("deal_stage")}
            when status = 'open' then case number % 5 when 0 then '104319' when 1 then '88100' else 'contractsent' end
            when status = 'won' then case number % 5 when 0 then '104321' when 1 then '88101' else 'closedwon' end
            else case number % 5 when 0 then '104322' when 1 then '88102' else 'closedlost' end
        end as stage_id,
        -- while a deal is open its close date is a plan; some reps date the closing back
        case
            when closed_at is null then coalesce(planned_close_at, proposed_at + interval 30 day)
            when number % 8 = 3 then closed_at - interval 3 day
            else closed_at
        end as close_date,
        -- some amounts are raised when the deal is won, and some are not known before
        status = 'won' and number % 4 = 0 as is_raised, status = 'won' and number % 9 = 4 as is_late,
        if(status = 'won' and number % 4 = 0, value + 10000, value) as final_value
    from (select *, row_number() over (order by project_id) as number from projects)
)"""

_ENGAGEMENT = f"""
    {_LIVES}, {_SYNCED}, recorded_at as property_hs_createdate, occurred_at as property_hs_timestamp,
    recorded_at as property_hs_lastmodifieddate, {_owner("performed_by")} as property_hubspot_owner_id"""


_FIVETRAN = {
    "contact": f"""
        with contacts as (
            select
                *, {_CONTACT} as id, false as deleted,
                case when {_MERGED} then '12;' || cast({_CONTACT} - 1 as varchar) end as merged
            from leads
            union all
            select * replace (created_at - interval 1 day as created_at), {_CONTACT} - 2, true, null
            from leads where {_DELETED}
            union all
            -- the row of a contact that was merged stays as it was
            select
                * replace (created_at - interval 2 day as created_at, null as updated_at, 'new' as status),
                {_CONTACT} - 1, false, null
            from leads where {_MERGED}
        )

        select
            id, deleted as _fivetran_deleted, {_SYNCED}, created_at as property_createdate,
            coalesce(updated_at, created_at) as property_lastmodifieddate,
            split_part(name, ' ', 1) as property_firstname, split_part(name, ' ', 2) as property_lastname,
            case when deleted then null when id % 3 <> 0 then 'old.' else '' end || email as property_email,
            phone as property_phone, zip_code as property_zip, {_owner("assigned_to")} as property_hubspot_owner_id,
            {_words("status", _LEAD_STATUS, _KEY)} as property_hs_lead_status,
            case status when 'won' then 'customer' when 'proposal' then 'opportunity' else 'lead' end
                as property_lifecyclestage,
            {_words("source", _SOURCES, _KEY)} as property_hs_analytics_source,
            -- counted until today, and so overwritten
            coalesce(pages, 0) as property_hs_analytics_num_page_views,
            coalesce(deals, 0) as property_num_associated_deals, merged as property_hs_merged_object_ids,
            -- a property of the company's own
            property_value as property_house_value
        from contacts
        left join (select lead_id, count(*) as pages from {_EVENTS} where type = 'web' group by lead_id)
            using (lead_id)
        left join (select lead_id, count(*) as deals from projects group by lead_id) using (lead_id)""",
    "contact_property_history": f"""
        select
            {_CONTACT} as contact_id, if(column_name = 'status', 'hs_lead_status', 'hubspot_owner_id') as name,
            if(column_name = 'status', {_words("value", _LEAD_STATUS, _KEY)}, cast({_owner("value")} as varchar))
                as value,
            changed_at as timestamp, 'CRM_UI' as source, 'userId:1' as source_id, {_SYNCED}
        from changes
        union all
        select {_CONTACT}, 'zip', zip_code, created_at, 'FORM', null, {_SYNCED} from leads where zip_code is not null
        union all
        select {_CONTACT}, 'email', email, created_at, 'FORM', null, {_SYNCED} from leads""",
    "contact_form_submission": f"""
        select
            {_CONTACT} as contact_id, md5(interaction_id) as conversion_id, 'contact-us' as form_id,
            'https://example.com/contact' as page_url, occurred_at as timestamp, 'Contact us' as title, {_SYNCED}
        from {_EVENTS} inner join (select lead_id, created_at from leads) using (lead_id)
        where type = 'web' and occurred_at = created_at""",
    "owner": f"""
        select
            {_owner("rep")} as owner_id, 'Rep' as first_name, substr(rep, 5) as last_name,
            rep || '@example.com' as email, 'PERSON' as type, {_SYNCED}
        from (select distinct assigned_to as rep from leads union select distinct performed_by from interactions)
        where rep like 'rep-%'""",
    "deal": f"""
        with deals as (
            select *, false as deleted from {_DEALS}
            union all
            select * replace (deal_id - 1000000000 as deal_id, 'closedwon' as stage_id, 'won' as status), true
            from {_DEALS} where number % 20 = 0
            union all
            -- the row of a deal that was merged stays as it was
            select * replace (deal_id - 2000000000 as deal_id), false from {_DEALS} where number % 20 = 5
        )

        select
            -- a deal that HubSpot has deleted has one mark or the other
            deal_id, deleted and number % 40 = 0 as _fivetran_deleted, deleted and number % 40 <> 0 as is_deleted,
            {_SYNCED}, pipeline_id as deal_pipeline_id,
            stage_id as deal_pipeline_stage_id, {_owner("assigned_to")} as owner_id,
            'Deal ' || number as property_dealname, final_value as property_amount,
            'EUR' as property_deal_currency_code, close_date as property_closedate,
            proposed_at as property_createdate, proposed_at as property_hs_createdate,
            coalesce(closed_at, proposed_at) as property_hs_lastmodifieddate,
            cast(status <> 'open' as varchar) as property_hs_is_closed,
            cast(status = 'won' as varchar) as property_hs_is_closed_won,
            cast(status not in ('open', 'won') as varchar) as property_hs_is_closed_lost
        from deals inner join (select lead_id, assigned_to from leads) using (lead_id)""",
    "deal_contact": f"""
        with contacts as (
            select number, deal_id, lead_id from {_DEALS}
            union all select number, deal_id - 1000000000, lead_id from {_DEALS} where number % 20 = 0
            union all select number, deal_id - 2000000000, lead_id from {_DEALS} where number % 20 = 5
        )

        select {_CONTACT} as contact_id, deal_id, 3 as type_id, 'HUBSPOT_DEFINED' as category, {_SYNCED} from contacts
        union all
        -- an association with a label of its own is a second row
        select {_CONTACT}, deal_id, 34, 'USER_DEFINED', {_SYNCED} from contacts where number % 7 = 0
        union all
        select {_CONTACT} - 2, deal_id, 3, 'HUBSPOT_DEFINED', {_SYNCED} from contacts where {_DELETED}
        union all
        -- a younger contact of the same deal
        select {_CONTACT} + 3, deal_id, 3, 'HUBSPOT_DEFINED', {_SYNCED} from contacts
        where number % 6 = 0 and lead_id < (select max(lead_id) from leads)""",
    "deal_pipeline": f"""
        select distinct
            pipeline_id, label, not archived as active, archived as _fivetran_deleted, 0 as display_order, {_SYNCED}
        from (values {", ".join(str(stage[:3]) for stage in _STAGES)}) as pipelines (pipeline_id, label, archived)""",
    "deal_pipeline_stage": f"""
        select
            pipeline_id, stage_id, label, not archived as active, archived as _fivetran_deleted, is_closed, probability,
            0 as display_order, {_SYNCED}
        from (values {", ".join(str((*stage[:1], *stage[2:])) for stage in (*_STAGES, *_STAGES_BETWEEN))})
            as stages (pipeline_id, archived, stage_id, label, is_closed, probability)
        where probability <> 0.7 or exists (from histories)""",
    "deal_stage": f"""
        with first as (
            select
                *, case pipeline_id when '7214310' then '104319' when '4410022' then '88100' else 'contractsent' end
                    as first_stage_id
            from {_DEALS}
        ),

        entered as (
            select deal_id, proposed_at as date_entered, closed_at as left_at, first_stage_id as value
            from first where not exists (from histories)
            union all
            select
                deal_id, changed_at, lead(changed_at) over (partition by deal_id order by changed_at),
                coalesce({_between("histories.value")}, first_stage_id)
            from histories inner join first using (project_id)
            where column_name = 'stage'
            qualify histories.value not in ('won', 'lost')
            union all
            select deal_id, closed_at, null, stage_id from {_DEALS} where closed_at is not null
        )

        select
            deal_id, value, date_entered, 'CRM_UI' as source, 'userId:1' as source_id,
            left_at is null as _fivetran_active, date_entered as _fivetran_start,
            coalesce(left_at, timestamptz '9999-12-31') as _fivetran_end, {_SYNCED}
        from entered""",
    "merged_deal": f"""
        select deal_id, deal_id - 2000000000 as merged_deal_id, {_SYNCED} from {_DEALS} where number % 20 = 5""",
    "deal_property_history": f"""
        select
            deal_id, 'amount' as name, cast(value as varchar) as value,
            if(is_late, closed_at, proposed_at) as timestamp, 'CRM_UI' as source, 'userId:1' as source_id, {_SYNCED}
        from {_DEALS} where is_late or not exists (from histories)
        union all
        select deal_id, 'amount', histories.value, changed_at, 'CRM_UI', 'userId:1', {_SYNCED}
        from histories inner join {_DEALS} using (project_id) where column_name = 'value' and not is_late
        union all
        select
            deal_id, 'closedate', strftime(cast(histories.value as timestamptz), '%Y-%m-%dT%H:%M:%SZ'), changed_at,
            'CRM_UI', 'userId:1', {_SYNCED}
        from histories inner join {_DEALS} using (project_id) where column_name = 'expected_close_at'
        union all
        -- HubSpot sets it when a deal enters a closed stage
        select
            deal_id, 'closedate', strftime(close_date, '%Y-%m-%dT%H:%M:%S.%fZ'), closed_at, 'CRM_UI', 'userId:1',
            {_SYNCED}
        from {_DEALS} where closed_at is not null and exists (from histories)
        union all
        select
            deal_id, 'amount', cast(final_value as varchar), closed_at + interval 1 minute, 'CRM_UI', 'userId:1',
            {_SYNCED}
        from {_DEALS} where is_raised
        union all
        select deal_id, 'dealstage', value, date_entered, 'CRM_UI', 'userId:1', _fivetran_synced
        from shaped.deal_stage""",
    "engagement_call": f"""
        with calls as (
            select *, 'COMPLETED' as status, false as deleted from {_EVENTS} where type = 'call'
            union all
            select * replace (engagement_id - 1000000000 as engagement_id), 'COMPLETED', true
            from {_EVENTS} where type = 'call' and engagement_id % 40 = 0
            union all
            select * replace (engagement_id - 2000000000 as engagement_id), 'CANCELED', false
            from {_EVENTS} where type = 'call' and engagement_id % 40 = 1
        )

        select
            engagement_id, 'CALL' as type,
            -- calls that were logged by hand may have none
            if(direction = 'outbound' and engagement_id % 11 = 0, null, upper(direction)) as property_hs_call_direction,
            status as property_hs_call_status,
            {_words("outcome", _CALL_OUTCOMES, _KEY)} as property_hs_call_disposition,
            60000 as property_hs_call_duration, 'Call' as property_hs_call_title,
            {_ENGAGEMENT.replace("false as _fivetran_deleted", "deleted as _fivetran_deleted")}
        from calls""",
    "engagement_email": f"""
        with emails as (
            select *, 'SENT' as status from {_EMAILS}
            union all
            -- it is yet to be sent
            select
                * replace (engagement_id - 2000000000 as engagement_id, {_END} + interval 3 day as occurred_at),
                'SCHEDULED'
            from {_EMAILS} where direction = 'outbound' and engagement_id % 40 = 1
        )

        select
            engagement_id, 'EMAIL' as type,
            if(direction = 'inbound', 'INCOMING_EMAIL', 'EMAIL') as property_hs_email_direction,
            status as property_hs_email_status,
            if(type = 'proposal', 'Our offer', 'Hello') as property_hs_email_subject,
            if(opened_at is null, 0, 1) as property_hs_email_open_count, {_ENGAGEMENT}
        from emails""",
    "engagement_meeting": f"""
        select
            engagement_id, 'MEETING' as type, {_LIVES}, {_SYNCED}, created_at as property_hs_createdate,
            start_time as property_hs_timestamp, changed_at as property_hs_lastmodifieddate,
            {_owner("performed_by")} as property_hubspot_owner_id, start_time as property_hs_meeting_start_time,
            end_time as property_hs_meeting_end_time,
            {_words("status", _MEETING_OUTCOMES, _KEY)} as property_hs_meeting_outcome,
            'Meeting' as property_hs_meeting_title
        from {_MEETINGS}""",
    "engagement_note": f"""
        select engagement_id, 'NOTE' as type, 'A note' as property_hs_note_body, {_ENGAGEMENT}
        from {_EVENTS} where type = 'note' and not ({_IS_TASK})""",
    "engagement_task": f"""
        with tasks as (
            select *, occurred_at as completed_at, 'COMPLETED' as status from {_EVENTS} where {_IS_TASK}
            union all
            select
                * replace (engagement_id - 2000000000 as engagement_id, {_END} + interval 5 day as occurred_at), null,
                'NOT_STARTED'
            from {_EVENTS} where {_IS_TASK} and engagement_id % 2 = 0
        )

        select
            engagement_id, 'TASK' as type, status as property_hs_task_status, 'TODO' as property_hs_task_type,
            completed_at as property_hs_task_completion_date, {_LIVES}, {_SYNCED},
            coalesce(completed_at, recorded_at) - interval 1 hour as property_hs_createdate,
            -- a task is due at its time
            occurred_at + interval 1 day as property_hs_timestamp,
            {_owner("performed_by")} as property_hubspot_owner_id
        from tasks""",
    "engagement_communication": f"""
        select
            engagement_id, 'COMMUNICATION' as type, 'SMS' as property_hs_communication_channel_type,
            {_LIVES}, {_SYNCED}, recorded_at as property_hs_createdate, occurred_at as property_hs_timestamp,
            cast(null as bigint) as property_hubspot_owner_id
        from {_EVENTS} where type = 'sms'""",
    "engagement": """
        select engagement_id as id, type, _fivetran_synced from shaped.engagement_call
        union all select engagement_id, type, _fivetran_synced from shaped.engagement_email
        union all select engagement_id, type, _fivetran_synced from shaped.engagement_meeting
        union all select engagement_id, type, _fivetran_synced from shaped.engagement_note
        union all select engagement_id, type, _fivetran_synced from shaped.engagement_task
        union all select engagement_id, type, _fivetran_synced from shaped.engagement_communication""",
    "engagement_contact": f"""
        with links as (
            select engagement_id, lead_id from {_EVENTS}
            union all select engagement_id - 1000000000, lead_id from {_EVENTS}
            union all select engagement_id - 2000000000, lead_id from {_EVENTS}
            union all select engagement_id, lead_id from {_MEETINGS}
        )

        select distinct
            unnest(case when {_DELETED} then [{_CONTACT}, {_CONTACT} - 2] else [{_CONTACT}] end) as contact_id,
            engagement_id, type as engagement_type, 194 as type_id, 'HUBSPOT_DEFINED' as category, {_SYNCED}
        from links inner join shaped.engagement on engagement_id = id""",
    "engagement_deal": f"""
        select
            deal_id, engagement_id, 'EMAIL' as engagement_type, 210 as type_id, 'HUBSPOT_DEFINED' as category,
            {_SYNCED}
        from {_EMAILS} inner join {_DEALS} as deals using (lead_id)
        where type = 'proposal' and occurred_at = proposed_at""",
    "email_event": f"""
        select event_id as id, 'SENT' as type, occurred_at as created, null as sent_by_id, email as recipient,
            false as filtered_event, 75310262 as email_campaign_id, {_SYNCED}
        from {_MARKETING}
        union all
        select md5('open' || event_id), 'OPEN', opened_at, event_id, email, false, 75310262, {_SYNCED}
        from {_MARKETING} where opened_at is not null
        union all
        -- opened once more
        select md5('again' || event_id), 'OPEN', opened_at + interval 1 day, event_id, email, false, 75310262, {_SYNCED}
        from {_MARKETING} where opened_at is not null and engagement_id % 4 = 0
        union all
        -- opened by a scanner of the recipient's mail server
        select
            md5('scan' || event_id), 'OPEN', occurred_at + interval 2 second, event_id, email, true, 75310262, {_SYNCED}
        from {_MARKETING} where engagement_id % 10 = 0""",
}


def _at(time: str) -> str:
    """Return a time as HubSpot's exports write it: to the minute, and without a zone."""
    return f"strftime({time}, '%Y-%m-%d %H:%M')"


_ACTIVITY = f"""
    {_at("occurred_at")} as "Activity date", {_at("recorded_at")} as "Create Date",
    {_rep("performed_by")} as "Activity assigned to", cast({_CONTACT} as varchar) as "Associated Contact IDs\""""

_CSV = {
    "contacts": f"""
        select
            {_CONTACT} as "Record ID", split_part(name, ' ', 1) as "First Name",
            split_part(name, ' ', 2) as "Last Name",
            email as "Email", phone as "Phone Number", {_rep("assigned_to")} as "Contact owner",
            {_words("status", _LEAD_STATUS, _LABEL)} as "Lead Status",
            {_words("source", _SOURCES, _LABEL)} as "Original Source", zip_code as "Postal Code",
            {_at("created_at")} as "Create Date", {_at("updated_at")} as "Last Modified Date",
            property_value as "House value"
        from leads""",
    "deals": f"""
        select
            deal_id as "Record ID", 'Deal ' || number as "Deal Name", pipelines.label as "Pipeline",
            stages.label as "Deal Stage", final_value as "Amount", 'EUR' as "Currency",
            {_at("close_date")} as "Close Date", {_at("proposed_at")} as "Create Date",
            {_at("coalesce(closed_at, proposed_at)")} as "Date entered current stage",
            {_rep("assigned_to")} as "Deal owner", cast(status <> 'open' as varchar) as "Is Deal Closed?",
            cast(status = 'won' as varchar) as "Is Closed Won",
            -- a younger contact of the same deal stands before or after it
            case
                when number % 6 <> 0 or lead_id = (select max(lead_id) from leads) then cast({_CONTACT} as varchar)
                when number % 12 = 0 then concat_ws(';', {_CONTACT} + 3, {_CONTACT})
                else concat_ws(';', {_CONTACT}, {_CONTACT} + 3)
            end as "Associated Contact IDs"
        from {_DEALS} as deals
        inner join (select lead_id, assigned_to from leads) using (lead_id)
        left join (values {", ".join(str((stage[3], stage[4])) for stage in (*_STAGES, *_STAGES_BETWEEN, _GONE))})
            as stages (stage_id, label) using (stage_id)
        left join (values {", ".join(sorted({str(stage[:2]) for stage in _STAGES}))})
            as pipelines (pipeline_id, label) using (pipeline_id)""",
    "calls": f"""
        select
            engagement_id as "Record ID", 'Call' as "Call title", {_ACTIVITY},
            if(direction = 'outbound' and engagement_id % 11 = 0, null, upper(direction[1]) || direction[2:])
                as "Call direction",
            {_words("outcome", _CALL_OUTCOMES, _LABEL)} as "Call outcome", 'Completed' as "Call status"
        from {_EVENTS} where type = 'call'
        union all
        select
            engagement_id - 2000000000, 'Call', {_ACTIVITY}, upper(direction[1]) || direction[2:], null, 'Canceled'
        from {_EVENTS} where type = 'call' and engagement_id % 40 = 1""",
    "emails": f"""
        select
            engagement_id as "Record ID", if(type = 'proposal', 'Our offer', 'Hello') as "Email subject", {_ACTIVITY},
            if(direction = 'inbound', 'Incoming email', 'Outgoing email') as "Email direction",
            'Sent' as "Email send status", if(opened_at is null, 0, 1) as "Number of email opens"
        from {_EMAILS}""",
    "meetings": f"""
        select
            engagement_id as "Record ID", 'Meeting' as "Meeting name", {_at("start_time")} as "Activity date",
            {_at("created_at")} as "Create Date", {_at("start_time")} as "Meeting start time",
            {_at("end_time")} as "Meeting end time", {_at("changed_at")} as "Last Modified Date",
            {_words("status", _MEETING_OUTCOMES, _LABEL)} as "Meeting outcome",
            {_rep("performed_by")} as "Activity assigned to", {_CONTACT} as "Associated Contact IDs"
        from {_MEETINGS}""",
    "notes": f"""
        select engagement_id as "Record ID", 'A note' as "Note body", {_ACTIVITY}
        from {_EVENTS} where type = 'note' and not ({_IS_TASK})""",
    "tasks": f"""
        select
            engagement_id as "Record ID", 'Follow up' as "Task Title", 'Completed' as "Task Status",
            {_at("occurred_at")} as "Completed at", {_at("occurred_at + interval 1 day")} as "Due date",
            {_at("occurred_at - interval 1 hour")} as "Create Date", {_rep("performed_by")} as "Assigned to",
            {_CONTACT} as "Associated Contact IDs"
        from {_EVENTS} where {_IS_TASK}
        union all
        select
            engagement_id - 2000000000, 'Call again', 'Not started', null, {_at(f"{_END} + interval 5 day")},
            {_at("recorded_at")}, {_rep("performed_by")}, {_CONTACT}
        from {_EVENTS} where {_IS_TASK} and engagement_id % 2 = 0""",
}

HUBSPOT_FIVETRAN = Shape(name="hubspot_fivetran", tables=_FIVETRAN)
HUBSPOT_CSV = Shape(name="hubspot_csv", tables=_CSV, file_format="csv")
