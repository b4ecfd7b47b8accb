"""Who the customers are: when each begins, its hidden traits, and the attributes that the CRM shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from simulation.attributes import Attribute
from simulation.clientele import Clientele
from simulation.draws import Bools, Draws, Floats, Ints
from simulation.world import DAY, HOUR, midnight

CHANNELS = ("shop", "app", "phone")
SEGMENTS: Mapping[str, tuple[float, float, float]] = {
    "private": (0.6, -0.2, 0.0),
    "business": (0.3, 0.2, 0.5),
    "public": (0.1, 0.6, 0.2),
}
"""By segment: its share, what it adds to the hidden loyalty, and to the logarithm of the spend."""
REFERRED_SHARE, REFERRED_LOYALTY = 0.25, 0.4
"""Share of the customers that came by a referral, and what that adds to the loyalty."""
SITES_RATE = 0.3
"""What the logarithm of the number of sites adds to that of the purchase rate."""

ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute(name="segment", label="Segment", kind="category"),
    Attribute(name="sites", label="No. of Sites", kind="number"),
    Attribute(name="referred", label="Referred?", kind="flag"),
    Attribute(name="satisfaction", label="Satisfaction (0-10)", kind="number", history=True),
    Attribute(name="file_colour", label="File Colour", kind="category", matters=False),
)
"""The attributes, in the order of their columns. Satisfaction is asked again and again, and follows from the mood."""
COLOURS = ("blue", "green", "red", "yellow")


@dataclass(frozen=True)
class People:
    """Some customers, in the order of their creation.

    Attributes
    ----------
    numbers, created : array of int64
        Number of the customer, and its creation in microseconds since 1970.
    was_lead, listed : array of bool
        Whether it was a lead, whose number it has, and whether it has a row in `customers`.
    segment, sites, colour, channel : array of int64
        Codes of `SEGMENTS`, a number, and codes of `COLOURS` and `CHANNELS`.
    referred, invoiced : array of bool
        Whether it came by a referral, and whether it pays on an invoice.
    loyalty : array of float
        Hidden: what keeps the customer.
    fade : array of float
        Hidden: the probability of a day that a content customer without strain begins to fade.
    rate, spend : array of float
        Hidden: purchases of a content customer per day, and what it usually spends at a time.
    taste : array of float, shape (customers, products)
        Hidden: the shares of the products in its purchases.
    discounts : array of float
        Hidden: share of its purchases at a discount.
    login, ticket, opens : array of float
        Hidden: logins per day, probability of a ticket per day, and that an e-mail is opened, of a content customer.
    sensitivity : array of float
        Hidden: how much it minds a price rise; 1 in the middle.
    response : array of float
        Hidden: what an offer takes from the strain if it is accepted; an offer to a customer with a negative one wakes
        it up, and adds to the strain.
    accept : array of float
        Hidden: the probability that it accepts an offer.
    plan : array of int64
        The plan at the creation.
    rebate : array of float
        Factor on the price of the plan.
    """

    numbers: Ints
    created: Ints
    was_lead: Bools
    listed: Bools
    segment: Ints
    sites: Ints
    colour: Ints
    channel: Ints
    referred: Bools
    invoiced: Bools
    loyalty: Floats
    fade: Floats
    rate: Floats
    spend: Floats
    taste: Floats
    discounts: Floats
    login: Floats
    ticket: Floats
    opens: Floats
    sensitivity: Floats
    response: Floats
    accept: Floats
    plan: Ints
    rebate: Floats

    def __len__(self) -> int:
        """Return the number of customers."""
        return len(self.numbers)

    def take(self, rows: Ints | slice) -> "People":
        """Return some of the customers, which may be named more than once."""
        return People(**{name: values[rows] for name, values in vars(self).items()})


def others(clientele: Clientele, leads: int, start: date, end: date, seed: int) -> tuple[Ints, Ints]:
    """Return number and creation of the customers who never were leads; their numbers follow those of the leads."""
    count = max(1, round(clientele.others * leads))
    numbers = leads + np.arange(count)
    rows = np.arange(count)
    draws = Draws(seed, "customers without a lead", numbers)
    first, last = midnight(start) - clientele.before_days * DAY, midnight(end)
    day = first // DAY + np.floor(draws.uniform(rows) * ((last - first) // DAY)).astype(np.int64)
    return numbers, day * DAY + (draws.between(rows, 8.0, 19.0) * HOUR).astype(np.int64)


def people(
    clientele: Clientele, numbers: Ints, created: Ints, intent: Floats, seed: int, *, was_lead: npt.ArrayLike
) -> People:
    """Give some customers their traits.

    Parameters
    ----------
    clientele : Clientele
        The parameters.
    numbers, created : array of int64
        Number and creation of each.
    intent : array of float
        The hidden intent of the lead that it was; an eager lead becomes a loyal customer.
    seed : int
        The seed of the simulation.
    was_lead : bool or array of bool
        Whether each was a lead.

    Returns
    -------
    People
        Sorted by creation, and each as if it were alone.
    """
    order = np.lexsort((numbers, created))
    numbers, created, intent = numbers[order], created[order], intent[order]
    led = np.broadcast_to(np.asarray(was_lead, dtype=np.bool_), numbers.shape)[order]
    rows = np.arange(len(numbers))
    draws = Draws(seed, "customers", numbers)
    shares, loyal, lavish = (np.array(each) for each in zip(*SEGMENTS.values(), strict=True))
    segment = np.searchsorted(np.cumsum(shares)[:-1], draws.uniform(rows), side="right")
    referred = draws.chance(rows, REFERRED_SHARE)
    sites = 1 + np.floor(-1.6 * np.log(draws.uniform(rows))).astype(np.int64)
    loyalty = clientele.loyalty_spread * draws.normal(rows) + loyal[segment] + REFERRED_LOYALTY * referred
    loyalty = loyalty + np.where(led, 1.2 * (intent - 0.6), 0.0)
    deals, curious, patient = draws.normal(rows), draws.normal(rows), draws.normal(rows)
    rate = np.exp(clientele.rate_spread * draws.normal(rows) + SITES_RATE * (np.log(sites) - 0.5) + 0.2 * loyalty)
    spend = np.exp(clientele.spend_spread * draws.normal(rows) + lavish[segment])
    # one product is a favourite
    favourite = _coded(np.array([each.share for each in clientele.products]), draws.uniform(rows))
    taste = np.tile([0.5 * each.share for each in clientele.products], (len(rows), 1))
    taste[rows, favourite] += 0.5
    response = 0.3 + 0.5 * deals + 0.5 * curious + 0.4 * draws.normal(rows)
    by_contract = clientele.contractual
    return People(
        numbers=numbers,
        created=created,
        was_lead=led,
        listed=led | by_contract | ~draws.chance(rows, clientele.unlisted),
        segment=segment,
        sites=sites,
        colour=(draws.uniform(rows) * len(COLOURS)).astype(np.int64),
        channel=_coded(np.array([0.5, 0.3, 0.2]), draws.uniform(rows)),
        referred=referred,
        invoiced=draws.chance(rows, 0.15),
        loyalty=loyalty,
        fade=clientele.fade * np.exp(-clientele.loyalty_weight * loyalty),
        rate=clientele.rate * rate,
        spend=clientele.spend * spend,
        taste=taste,
        discounts=_logistic(-1.3 + deals),
        login=clientele.login * np.exp(clientele.login_spread * curious),
        ticket=clientele.ticket * np.exp(0.6 * draws.normal(rows)),
        opens=_logistic(-0.2 + 0.8 * draws.normal(rows)),
        sensitivity=np.exp(0.5 * patient - 0.125),
        response=np.clip(response, -1.5, 2.0),
        accept=np.where(response > 0.0, _logistic(0.6 + 0.7 * deals), 0.1),
        plan=_coded(np.array([each.share for each in clientele.plans]), draws.uniform(rows)),
        rebate=np.where(draws.chance(rows, 0.2), 0.85, 1.0),
    )


def mapping_lines() -> str:
    """Return what a mapping says of the attributes, below ``customers:``."""
    lines = ["    attributes:"]
    for each in ATTRIBUTES:
        known = "" if each.history else ", known: creation"
        lines.append(f'      {each.name}: {{column: "{each.label}", type: {each.kind}{known}}}')
    return "\n".join(lines) + "\n"


def _coded(shares: Floats, uniform: Floats) -> Ints:
    cumulative = np.cumsum(shares)
    return np.searchsorted(cumulative[:-1] / cumulative[-1], uniform, side="right").astype(np.int64)


def _logistic(logit: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-logit))
