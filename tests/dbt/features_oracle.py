"""The features once more, as a plain loop over the facts known before ``as_of``: slow, obvious, and not SQL."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from models.declaring.attribute import SEPARATOR, Attribute
from tests.dbt.random_crm import DAY, DIRECTIONS, Crm

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

WINDOWS = {"7d": 7, "30d": 30, "90d": 90, "lifetime": None}
COUNTED_TYPES = {
    "calls": "call",
    "emails": "email",
    "sms": "sms",
    "meetings": "meeting",
    "web_visits": "web",
    "proposal_messages": "proposal",
    "notes": "note",
}
COUNTED_CONTACTS = {
    "outbound_calls": ("outbound", "call"),
    "inbound_calls": ("inbound", "call"),
    "outbound_emails": ("outbound", "email"),
    "inbound_emails": ("inbound", "email"),
}
QUESTIONS = ("call", "email", "sms")
FACTS = {
    "created": "lead_created",
    "interaction": "interaction",
    "opened": "opened",
    "responded": "responded",
    "booked": "appointment_booked",
    "ended": "appointment_ended",
    "proposed": "project_proposed",
    "closed": "project_closed",
}
"""The names of the timeline, by which facts of one time are ordered."""
TIER_BOUNDS = (10000, 50000, 250000, 1000000)
PRIOR_LEADS = 20
HOUR = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Something that happened to a lead, and when it could be known."""

    kind: str
    occurred: datetime
    known: datetime
    key: str = ""
    type: str | None = None
    direction: str | None = None
    outcome: str | None = None
    delay: timedelta | None = None
    by: str | None = None
    closed: datetime | None = None

    @property
    def contact(self) -> bool:
        """Whether lead and rep were in touch."""
        return self.kind == "interaction" and self.direction != "internal"

    @property
    def outbound(self) -> bool:
        """Whether a rep got in touch with the lead."""
        return self.kind == "interaction" and self.direction == "outbound"


@dataclass(frozen=True, kw_only=True)
class Closing:
    """What a closed lead tells about its rep and its source, and from when on."""

    lead_id: str
    closed: datetime
    won: datetime | None
    rep: str | None
    source: str
    delay: timedelta | None


@dataclass(frozen=True, kw_only=True)
class Deal:
    """What was known of a project at a moment."""

    lead_id: str
    at: datetime
    proposed: datetime
    stages: Sequence[tuple[datetime, str | None]]
    values: Sequence[tuple[datetime, Decimal | None]]
    closes: Sequence[tuple[datetime, datetime | None]]

    @property
    def value(self) -> Decimal | None:
        """The value of the project."""
        return self.values[-1][1] if self.values else None

    @property
    def steps(self) -> tuple[int, int] | None:
        """How many steps forward it made, and how many back."""
        named = [stage for _, stage in self.stages if stage is not None]
        return (len(set(named)) - 1, len(named) - len(set(named))) if named else None

    @property
    def pushes(self) -> tuple[int, timedelta] | None:
        """How often its expected close was pushed, and by how much in all."""
        moved = [b - a for (_, a), (_, b) in pairwise(self.closes) if a is not None and b is not None and b > a]
        return (len(moved), sum(moved, timedelta())) if self.closes else None

    @property
    def change(self) -> tuple[Decimal, Decimal] | None:
        """The value less the first one, and the larger of the two."""
        if self.value is None:
            return None
        first = self.values[0][1]
        assert first is not None
        return self.value - first, max(self.value, first)

    def days_in(self, stage: str) -> float | None:
        """Return for how many days it had been in a stage."""
        ends = [*(at for at, _ in self.stages[1:]), self.at]
        spells = [(end - at) / DAY for (at, named), end in zip(self.stages, ends, strict=False) if named == stage]
        return sum(spells) if spells else None


def expected_features(
    crm: Crm, clock: datetime, closes: Mapping[str, Sequence[str]], attributes: Sequence[Attribute] = ()
) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the row of features of every observation, by lead_id and as_of."""
    rows = {}
    facts_of = {lead["lead_id"]: _facts(crm, lead) for lead in crm["leads"]}
    closed_leads = [
        closing
        for lead in crm["leads"]
        if (closing := _closing(crm, lead, facts_of[lead["lead_id"]], closes)) is not None
    ]
    won_deals = [
        _deal(crm, row, won)
        for row in crm["projects"]
        if row["status"] == "won" and (won := max(row["closed_at"], row["proposed_at"])) is not None
    ]
    for lead in crm["leads"]:
        facts = facts_of[lead["lead_id"]]
        others = [closing for closing in closed_leads if closing.lead_id != lead["lead_id"]]
        others_deals = [deal for deal in won_deals if deal.lead_id != lead["lead_id"]]
        changes = [row for row in crm["changes"] if row["lead_id"] == lead["lead_id"] and row.get("project_id") is None]
        closings = _closing_moments(crm, lead, facts, closes)
        for as_of, kind in _observations(lead["created_at"], facts, clock).items():
            if as_of <= min(closings, default=clock):
                known = [fact for fact in facts if fact.known < as_of]
                rows[lead["lead_id"], as_of] = {
                    "lead_id": lead["lead_id"],
                    "as_of": as_of,
                    "observation_kind": kind,
                    "lead_created_at": lead["created_at"],
                    **_features(lead, known, as_of),
                    **_own_history([row for row in changes if row["known_at"] < as_of], as_of),
                    **_track_records(lead, known, as_of, others),
                    **_deals(crm, lead, as_of, [deal for deal in others_deals if deal.at < as_of]),
                    **attribute_values(_known_changes(crm, lead, as_of, changes), attributes, as_of),
                }
    return rows


def _facts(crm: Crm, lead: dict[str, Any]) -> list[Fact]:
    def own(table: str) -> Iterable[dict[str, Any]]:
        return (row for row in crm[table] if row["lead_id"] == lead["lead_id"])

    facts = [Fact(kind="created", occurred=lead["created_at"], known=lead["created_at"])]
    for row in own("interactions"):
        occurred = row["occurred_at"]
        known = max(occurred, row["recorded_at"] or occurred)
        same = {"key": row["interaction_id"], "type": row["type"], "direction": row["direction"]}
        facts.append(
            Fact(
                kind="interaction",
                occurred=occurred,
                known=known,
                outcome=row["outcome"],
                by=row["performed_by"],
                **same,
            )
        )
        for kind, at in (("opened", row["opened_at"]), ("responded", row["responded_at"])):
            if at:
                facts.append(Fact(kind=kind, occurred=at, known=max(at, known), delay=at - occurred, **same))
    for row in own("appointments"):
        facts.append(Fact(kind="booked", occurred=row["booked_at"], known=row["booked_at"]))
        if row["ended_at"]:
            facts.append(Fact(kind="ended", occurred=row["ended_at"], known=row["ended_at"], outcome=row["status"]))
    for row in own("projects"):
        proposed = {"occurred": row["proposed_at"], "known": row["proposed_at"], "closed": row["closed_at"]}
        facts.append(Fact(kind="proposed", **proposed))
        if row["closed_at"]:
            closed = {"occurred": row["closed_at"], "known": row["closed_at"]}
            facts.append(Fact(kind="closed", outcome=row["status"], **closed))
    return facts


def _closing_moments(
    crm: Crm, lead: dict[str, Any], facts: Sequence[Fact], closes: Mapping[str, Sequence[str]]
) -> list[datetime]:
    words = {
        "closed": ["won", *closes.get("closing_project_statuses", ())],
        "interaction": closes.get("closing_outcomes", ()),
    }
    statuses = closes.get("closing_lead_statuses", ())
    return [
        *(fact.known for fact in facts if fact.outcome in words.get(fact.kind, ())),
        *(
            row["known_at"]
            for row in crm["changes"]
            if (row["lead_id"], row["column_name"]) == (lead["lead_id"], "status") and row["value"] in statuses
        ),
    ]


def _closing(
    crm: Crm, lead: dict[str, Any], facts: Sequence[Fact], closes: Mapping[str, Sequence[str]]
) -> Closing | None:
    moments = _closing_moments(crm, lead, facts, closes)
    if not moments:
        return None
    closed = max(min(moments), lead["created_at"])
    won = min((fact.known for fact in facts if fact.kind == "closed" and fact.outcome == "won"), default=None)
    until_then = [fact for fact in facts if fact.known <= closed]
    return Closing(
        lead_id=lead["lead_id"],
        closed=closed,
        won=None if won is None else max(won, closed),
        rep=_rep(until_then),
        source=lead["source"],
        delay=_first_outbound(lead, until_then),
    )


def _rep(known: Sequence[Fact]) -> str | None:
    named = [fact for fact in known if fact.outbound and fact.by is not None]
    last = max(named, key=lambda fact: (fact.known, fact.occurred, fact.key.encode()), default=None)
    return last and last.by


def _first_outbound(lead: dict[str, Any], known: Sequence[Fact]) -> timedelta | None:
    first = min((fact.occurred for fact in known if fact.outbound), default=None)
    return None if first is None else max(first - lead["created_at"], timedelta())


def _track_records(
    lead: dict[str, Any], known: Sequence[Fact], as_of: datetime, others: Sequence[Closing]
) -> dict[str, Any]:
    everyone = [closing for closing in others if closing.closed < as_of]
    rep = _rep(known)
    records = {
        "rep": [closing for closing in everyone if rep is not None and closing.rep == rep],
        "source": [closing for closing in everyone if closing.source == lead["source"]],
    }
    features: dict[str, Any] = {}
    for name, record in records.items():
        won = [float(closing.won is not None and closing.won < as_of) for closing in record]
        won_everywhere = [float(closing.won is not None and closing.won < as_of) for closing in everyone]
        features[f"{name}_closed_leads_count_lifetime"] = len(record)
        features[f"{name}_win_rate_lifetime"] = _shrunk(won, won_everywhere)
        features[f"{name}_first_outbound_hours_lifetime"] = _shrunk(_hours(record), _hours(everyone))
    return features


def _hours(closings: Sequence[Closing]) -> list[float]:
    return [closing.delay / HOUR for closing in closings if closing.delay is not None]


def _shrunk(values: Sequence[float], everywhere: Sequence[float]) -> float | None:
    """Return the mean of the values and of PRIOR_LEADS more that are as the mean of all."""
    if not everywhere:
        return None
    return (math.fsum(values) + PRIOR_LEADS * math.fsum(everywhere) / len(everywhere)) / (len(values) + PRIOR_LEADS)


def _observations(created: datetime, facts: Sequence[Fact], clock: datetime) -> dict[datetime, str]:
    known = sorted(fact.known for fact in facts)
    moments = {
        moment: "silence"
        for since, until in pairwise([*known, clock])
        for moment in (_midnight_after(since) + 7 * 2**doubled * DAY for doubled in range(8))
        if moment <= until
    }
    moments |= {_midnight_after(created) + week * 7 * DAY: "heartbeat" for week in range(1, 9)}
    moments |= {_midnight_after(fact.known): "activity" for fact in facts}
    moments |= {clock: "clock"}
    return {as_of: kind for as_of, kind in moments.items() if created < as_of <= clock}


def _midnight_after(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0) + DAY


def _features(lead: dict[str, Any], known: Sequence[Fact], as_of: datetime) -> dict[str, Any]:
    interactions = [fact for fact in known if fact.kind == "interaction"]
    proposed, closed = _of(known, "proposed"), _of(known, "closed")
    booked, ended = _of(known, "booked"), _of(known, "ended")
    last = max(interactions, key=lambda fact: (fact.known, fact.occurred, fact.key.encode()), default=None)
    first_contact = min((fact.occurred for fact in known if fact.contact), default=None)
    since_contact = _days_since([fact for fact in known if fact.contact], as_of)
    contacts = sorted(fact.known for fact in known if fact.contact)
    gaps = [(later - earlier) / DAY for earlier, later in pairwise(contacts)]
    first_outbound = _first_outbound(lead, known)
    still_open = [fact for fact in proposed if fact.closed is None or max(fact.closed, fact.occurred) >= as_of]
    answers = [fact for fact in _of(known, "responded") if fact.direction == "outbound" and fact.type in QUESTIONS]
    response_rate = _rate(len(answers), _outbound(known, "interaction", QUESTIONS))
    email_open_rate = _rate(_outbound(known, "opened", ("email",)), _outbound(known, "interaction", ("email",)))
    appointment_show_rate = _rate(
        sum(fact.outcome == "completed" for fact in ended),
        sum(fact.outcome in ("completed", "no_show") for fact in ended),
    )
    answered_at = [fact.occurred for fact in answers]
    return {
        **_counts(known, as_of),
        **_trends(known, as_of),
        "lead_age_days": (as_of - lead["created_at"]) / DAY,
        "days_since_last_fact": _days_since(known, as_of),
        "days_since_last_contact": since_contact,
        "days_since_last_inbound": _days_since([fact for fact in interactions if fact.direction == "inbound"], as_of),
        "days_since_last_outbound": _days_since([fact for fact in interactions if fact.direction == "outbound"], as_of),
        "days_since_last_call": _days_since([fact for fact in interactions if fact.type == "call"], as_of),
        "days_since_last_email": _days_since([fact for fact in interactions if fact.type == "email"], as_of),
        "days_since_last_note": _days_since([fact for fact in interactions if fact.type == "note"], as_of),
        "days_since_last_response": _days_since(_of(known, "responded"), as_of),
        "days_since_first_proposal": (as_of - min(fact.known for fact in proposed)) / DAY if proposed else None,
        "days_since_oldest_open_proposal": (
            (as_of - min(fact.known for fact in still_open)) / DAY if still_open else None
        ),
        "days_since_last_proposal": _days_since(proposed, as_of),
        "days_since_last_proposal_closed": _days_since(closed, as_of),
        "days_since_last_booking": _days_since(booked, as_of),
        "days_since_last_appointment_end": _days_since(ended, as_of),
        "questions_count_since_last_proposal": _questions_since(known, proposed) if proposed else None,
        "questions_count_since_last_response": _questions_since(known, answers),
        "outbound_call_share_lifetime": _rate(
            _outbound(known, "interaction", ("call",)), _outbound(known, "interaction", ("call", "email"))
        ),
        "longest_contact_gap_days": max(gaps, default=None),
        "avg_contact_gap_days": (contacts[-1] - contacts[0]) / DAY / len(gaps) if gaps else None,
        "last_contact_gap_days": gaps[-1] if gaps else None,
        "first_outbound_hours": None if first_outbound is None else first_outbound / HOUR,
        "morning_response_share_lifetime": _rate(sum(6 <= at.hour < 12 for at in answered_at), len(answers)),
        "evening_response_share_lifetime": _rate(sum(at.hour >= 18 for at in answered_at), len(answers)),
        "weekend_response_share_lifetime": _rate(
            sum(at.strftime("%A") in ("Saturday", "Sunday") for at in answered_at), len(answers)
        ),
        "hour_of_last_response": max(answered_at).hour if answers else None,
        "weekday_of_last_response": max(answered_at).weekday() if answers else None,
        "response_rate": response_rate,
        "avg_response_hours": _mean_hours(answers),
        "email_open_rate": email_open_rate,
        "appointment_show_rate": appointment_show_rate,
        "appointments_booked_lifetime": len(booked),
        "reschedules_count_lifetime": sum(fact.outcome == "rescheduled" for fact in ended),
        "open_appointments_count": len(booked) - len(ended),
        "proposals_count_lifetime": len(proposed),
        "open_proposals_count": len(proposed) - len(closed),
        "hour_of_first_contact": None if first_contact is None else first_contact.hour,
        "as_of_weekday": as_of.weekday(),
        "is_weekend": as_of.strftime("%A") in ("Saturday", "Sunday"),
        "last_interaction_type": last and last.type,
        "last_interaction_direction": last and last.direction,
        "last_interaction_outcome": last and (last.outcome or "unknown"),
        "lead_source": lead["source"],
        "engagement_score": _engagement(len(interactions), email_open_rate, response_rate, appointment_show_rate),
        "urgency_score": None if since_contact is None else 100 * math.exp(-since_contact / 7),
    }


def _own_history(changes: Sequence[dict[str, Any]], as_of: datetime) -> dict[str, Any]:
    statuses, owners = _values(changes, "status"), _values(changes, "assigned_to")
    prices = [(at, text and Decimal(text)) for at, text in _values(changes, "property_value")]
    zip_codes = _values(changes, "zip_code")
    price, first = (prices[-1][1], prices[0][1]) if prices else (None, None)
    steps = [(b or 0) - (a or 0) for (_, a), (_, b) in pairwise(prices) if a is not None and b is not None]
    change = None
    if price is not None and first is not None:
        change = float(price - first) / float(max(price, first) or 1)
    return {
        "status_as_of": statuses[-1][1] if statuses else None,
        "days_since_last_status_change": _held_days(statuses, as_of),
        "status_changes_count_lifetime": len(statuses) - 1 if statuses else None,
        "days_since_last_owner_change": _held_days(owners, as_of),
        "owner_changes_count_lifetime": len(owners) - 1 if owners else None,
        "property_value_rises_count_lifetime": sum(step > 0 for step in steps) if prices else None,
        "property_value_cuts_count_lifetime": sum(step < 0 for step in steps) if prices else None,
        "property_value_change_rate": change,
        "property_value": price,
        "property_value_tier": _tier(price),
        "zip_prefix": zip_codes[-1][1][:2] if zip_codes and zip_codes[-1][1] else "unknown",
    }


def _changes(crm: Crm, project: dict[str, Any], before: datetime) -> list[dict[str, Any]]:
    return [
        row for row in crm["changes"] if row.get("project_id") == project["project_id"] and row["known_at"] < before
    ]


def _deal(crm: Crm, project: dict[str, Any], at: datetime) -> Deal:
    changes = _changes(crm, project, at)
    return Deal(
        lead_id=project["lead_id"],
        at=at,
        proposed=project["proposed_at"],
        stages=_values(changes, "stage"),
        values=[(moment, text and Decimal(text)) for moment, text in _values(changes, "value")],
        closes=[(moment, text and _moment(text)) for moment, text in _values(changes, "expected_close_at")],
    )


def _proposed(crm: Crm, lead: dict[str, Any], as_of: datetime) -> list[dict[str, Any]]:
    own = [row for row in crm["projects"] if row["lead_id"] == lead["lead_id"] and row["proposed_at"] < as_of]
    return sorted(own, key=lambda row: (row["proposed_at"], row["project_id"].encode()))


def _deals(crm: Crm, lead: dict[str, Any], as_of: datetime, won: Sequence[Deal]) -> dict[str, Any]:
    open_deals = [
        _deal(crm, row, as_of)
        for row in _proposed(crm, lead, as_of)
        if row["closed_at"] is None or max(row["closed_at"], row["proposed_at"]) >= as_of
    ]
    deal = open_deals[-1] if open_deals else None
    steps, pushes, change = (deal.steps, deal.pushes, deal.change) if deal else (None, None, None)
    stage = deal.stages[-1][1] if deal and deal.stages else None
    days_in_stage = (as_of - deal.stages[-1][0]) / DAY if deal and stage is not None else None
    rate = None if change is None else float(change[0]) / float(change[1] or 1)
    moved = (
        [] if deal is None else [(b or 0) - (a or 0) for (_, a), (_, b) in pairwise(deal.values) if None not in (a, b)]
    )
    changes = [each.change for each in won if each.change is not None]
    larger = sum(size for _, size in changes)
    typical_rate = float(sum(by for by, _ in changes)) / float(larger) if larger else None
    features: dict[str, Any] = {
        "open_proposals_value": sum((each.value for each in open_deals if each.value is not None), Decimal(0)),
        "deal_stage_as_of": stage,
        "days_since_last_deal_stage_change": days_in_stage,
        "days_since_last_deal_stage_change_vs_won": _less_mean(
            days_in_stage, [each.days_in(stage) for each in won] if stage is not None else []
        ),
        "deal_age_days_vs_won": _less_mean(
            deal and (as_of - deal.proposed) / DAY, [(each.at - each.proposed) / DAY for each in won]
        ),
        "deal_expected_close_days": (
            (deal.closes[-1][1] - as_of) / DAY if deal and deal.closes and deal.closes[-1][1] is not None else None
        ),
        "deal_value_vs_won": _less_mean(deal and deal.value, [each.value for each in won]),
        "deal_value_rises_count_lifetime": sum(step > 0 for step in moved) if deal and deal.values else None,
        "deal_value_cuts_count_lifetime": sum(step < 0 for step in moved) if deal and deal.values else None,
        "deal_value_change_rate": rate,
        "deal_value_change_rate_vs_won": None if None in (rate, typical_rate) else (rate or 0) - (typical_rate or 0),
    }
    for place, name in enumerate(("deal_steps_forward_count", "deal_steps_back_count")):
        count = steps and steps[place]
        features[f"{name}_lifetime"] = count
        features[f"{name}_vs_won"] = _less_mean(count, [each.steps and each.steps[place] for each in won])
    features["deal_close_pushes_count_lifetime"] = pushes and pushes[0]
    features["deal_close_pushes_count_vs_won"] = _less_mean(
        pushes and pushes[0], [each.pushes and each.pushes[0] for each in won]
    )
    features["deal_close_pushed_days"] = pushes and pushes[1] / DAY
    features["deal_close_pushed_days_vs_won"] = _less_mean(
        pushes and pushes[1] / DAY, [each.pushes and each.pushes[1] / DAY for each in won]
    )
    return features


def _less_mean(value: Any, of_won: Sequence[Any]) -> float | None:
    found = [float(each) for each in of_won if each is not None]
    return None if value is None or not found else float(value) - math.fsum(found) / len(found)


def _known_changes(
    crm: Crm, lead: dict[str, Any], as_of: datetime, changes: Sequence[dict[str, Any]]
) -> dict[str, Sequence[dict[str, Any]]]:
    proposed = _proposed(crm, lead, as_of)
    return {
        "leads": [row for row in changes if row["known_at"] < as_of],
        "projects": _changes(crm, proposed[-1], as_of) if proposed else [],
    }


def attribute_values(
    known: Mapping[str, Sequence[dict[str, Any]]], attributes: Sequence[Attribute], as_of: datetime
) -> dict[str, Any]:
    """Return the features that follow from attributes of some tables, from the changes known of each."""
    features: dict[str, Any] = {}
    for each in (one for one in attributes if one.entity in known):
        taken = _values(known[each.entity], each.stored)
        value = taken[-1][1] if taken else None
        name = f"{each.prefix}_{each.name}"
        if each.kind == "choices":
            chosen = value and value.split(SEPARATOR)
            features[f"{name}_count"] = chosen and len(chosen)
            for option, identifier in each.options:
                features[f"{name}_has_{identifier}"] = chosen and int(option in chosen)
        elif each.kind == "date":
            features[f"{name}_days"] = value and (as_of - _moment(value)) / DAY
        elif each.kind == "number":
            features[name] = value and float(value)
        elif each.kind == "flag":
            features[name] = value and int(value == "true")
        else:
            features[name] = value
    return features


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _values(changes: Sequence[dict[str, Any]], column: str) -> list[tuple[datetime, str | None]]:
    """Return the values that the column took, each with when it did; the first is none that is empty."""
    told = {
        row["known_at"]: row["value"]
        for row in sorted(changes, key=lambda row: (row["known_at"], row["change_id"].encode()))
        if row["column_name"] == column
    }
    taken: list[tuple[datetime, str | None]] = []
    for at, value in told.items():
        if value != (taken[-1][1] if taken else None):
            taken.append((at, value))
    return taken


def _held_days(values: Sequence[tuple[datetime, str | None]], as_of: datetime) -> float | None:
    return (as_of - values[-1][0]) / DAY if values and values[-1][1] is not None else None


def _counts(known: Sequence[Fact], as_of: datetime) -> dict[str, int]:
    counts = {}
    for suffix, days in WINDOWS.items():
        recent = [fact for fact in known if days is None or fact.known >= as_of - timedelta(days=days)]
        inside = _of(recent, "interaction")
        counts[f"facts_count_{suffix}"] = len(recent)
        counts[f"interactions_count_{suffix}"] = len(inside)
        for name, kind in COUNTED_TYPES.items():
            counts[f"{name}_count_{suffix}"] = sum(fact.type == kind for fact in inside)
        for direction in set(DIRECTIONS):
            counts[f"{direction}_count_{suffix}"] = sum(fact.direction == direction for fact in inside)
        for name, contact in COUNTED_CONTACTS.items():
            counts[f"{name}_count_{suffix}"] = sum((fact.direction, fact.type) == contact for fact in inside)
    return counts


def _trends(known: Sequence[Fact], as_of: datetime) -> dict[str, float]:
    def in_days(facts: Sequence[Fact], first: int, last: int) -> int:
        return sum(as_of - last * DAY <= fact.known < as_of - first * DAY for fact in facts)

    groups = {
        "interactions": _of(known, "interaction"),
        "inbound": [fact for fact in known if fact.kind == "interaction" and fact.direction == "inbound"],
        "outbound": [fact for fact in known if fact.outbound],
    }
    return {
        f"{name}_trend_30d": in_days(facts, 0, 7) / 7 - in_days(facts, 7, 30) / 23 for name, facts in groups.items()
    }


def _of(facts: Sequence[Fact], kind: str) -> list[Fact]:
    return [fact for fact in facts if fact.kind == kind]


def _outbound(facts: Sequence[Fact], kind: str, types: Sequence[str]) -> int:
    return sum(fact.kind == kind and fact.direction == "outbound" and fact.type in types for fact in facts)


def _days_since(facts: Sequence[Fact], as_of: datetime) -> float | None:
    return (as_of - max(fact.known for fact in facts)) / DAY if facts else None


def _questions_since(known: Sequence[Fact], events: Sequence[Fact]) -> int:
    in_order = sorted(known, key=lambda fact: (fact.known, fact.occurred, FACTS[fact.kind]))
    last = max((in_order.index(event) for event in events), default=-1)
    return _outbound(in_order[last + 1 :], "interaction", QUESTIONS)


def _rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean_hours(answers: Sequence[Fact]) -> float | None:
    delays = [fact.delay for fact in answers if fact.delay is not None]
    return sum(delays, timedelta()) / HOUR / len(delays) if delays else None


def _engagement(interactions: int, opened: float | None, answered: float | None, kept: float | None) -> float:
    score = 0.3 * interactions + 20 * (opened or 0) + 30 * (answered or 0) + 20 * (kept or 0)
    return min(max(score, 0.0), 100.0)


def _tier(value: Decimal | None) -> str:
    if value is None:
        return "unknown"
    reached = [bound for bound in TIER_BOUNDS if value >= bound]
    return f"from_{max(reached)}" if reached else f"below_{min(TIER_BOUNDS)}"
