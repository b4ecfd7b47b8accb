"""The parameters of the customers: what they buy, why they leave, and which offers they get.

This module has only the numbers, and how a price rise or an outage changes them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from simulation.draws import Bools, Floats, Ints
from simulation.world import DAY, NEVER


@dataclass(frozen=True, kw_only=True)
class Product:
    """A product that customers buy.

    Attributes
    ----------
    name : str
        The value of `transactions.product`.
    share : float
        Its share of the purchases of customers who prefer nothing.
    price : float
        Its price, relative to what the customer usually spends.
    cost : float
        What it costs the company, as a share of that price.
    """

    name: str
    share: float
    price: float
    cost: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A plan of a contract.

    Attributes
    ----------
    name : str
        The value of `customers.plan`.
    price : float
        What it costs the customer for 30 days.
    share : float
        Share of the customers who begin with it.
    """

    name: str
    price: float
    share: float


PRODUCTS = (
    Product(name="filters", share=0.26, price=0.6, cost=0.35),
    Product(name="fuel", share=0.22, price=1.5, cost=0.86),
    Product(name="service", share=0.18, price=1.1, cost=0.5),
    Product(name="spare parts", share=0.14, price=0.9, cost=0.6),
    Product(name="controls", share=0.09, price=1.4, cost=0.55),
    Product(name="sensors", share=0.06, price=0.7, cost=0.45),
    Product(name="panels", share=0.05, price=2.2, cost=0.78),
)
PLANS = (
    Plan(name="basic", price=29.0, share=0.5),
    Plan(name="plus", price=59.0, share=0.35),
    Plan(name="pro", price=119.0, share=0.15),
)
"""From the smallest to the largest: customers go up and down one step at a time."""


@dataclass(frozen=True, kw_only=True)
class Clientele:
    """The customers of a company. Probabilities are per day, unless it is said otherwise.

    A customer is content, fading or gone. Its strain shortens or prolongs this: tickets and a price rise add to it,
    offers take from it or add to it, and it decays.

    Attributes
    ----------
    contractual : bool
        Whether customers have a contract: they pay every 30 days until they close it. Else they silently stop buying.
    others : float
        Customers who never were leads, per lead.
    before_days : int
        Days before the start of the export from which on these come.
    unlisted : float
        Share of these without a row in `customers`; none in a contractual company.
    products : tuple of Product
    plans : tuple of Plan
        Only with contracts.
    plan_cost : float
        What a plan costs the company, as a share of its price.
    fade, leave, recover, come_back : float
        Probability that a content customer of middling loyalty begins to fade, that a fading one leaves, that it
        is content again, and that one who has gone comes back, which no closed contract does.
    loyalty_spread, loyalty_weight : float
        Standard deviation of the hidden loyalty, and what one unit takes from the logarithm of `fade`.
    rate, rate_spread : float
        Median number of purchases of a content customer, and the standard deviation of its logarithm.
    bought : tuple of float
        Factor on the number of purchases while content, fading and gone.
    spend, spend_spread : float
        Median of what a customer usually spends at a time, and the standard deviation of its logarithm.
    login, login_spread, faded_days : float
        Median number of logins of a content customer, the standard deviation of its logarithm, and the time constant
        with which logins fade before a customer leaves.
    ticket : float
        Probability of a ticket.
    ticket_fading : float
        Factor on it while fading.
    waiting : float
        Strain that each day of an open ticket adds.
    calm : float
        Factor on the strain from day to day.
    refund : tuple of float
        Probability that a purchase is refunded, made while content, fading and gone.
    chargeback : float
        Probability that a purchase is charged back.
    random_offer, rule_offer, person_offer : float
        Probability of an offer: to any customer; to one who has not bought for `rule_days` or has an open ticket; and
        of a person to a fading one.
    rule_days : int
        See `rule_offer`.
    offer_pause : int
        Days between two offers of the company to the same customer.
    upgrade, downgrade : float
        Probability that a content customer takes a larger plan, and a fading one a smaller one.
    price_rise_at, outage_at : int
        When prices rise and when the outage begins, in microseconds since 1970; `NEVER` if not.
    price_rise, rise_strain, rise_fade, rise_bought : float
        The rise; the strain that it adds on its day, for middling sensitivity; and its factors on `fade` and on the
        number of purchases from then on.
    outage_days : int
        How long the outage lasts.
    outage_login, outage_ticket, outage_strain : float
        Its factors on logins and tickets, and the strain that each of its days adds.
    """

    contractual: bool = False
    others: float = 0.11
    before_days: int = 540
    unlisted: float = 0.08
    products: tuple[Product, ...] = PRODUCTS
    plans: tuple[Plan, ...] = PLANS
    plan_cost: float = 0.3
    fade: float = 0.0016
    leave: float = 0.02
    recover: float = 0.007
    come_back: float = 0.002
    loyalty_spread: float = 0.9
    loyalty_weight: float = 1.0
    rate: float = 0.05
    rate_spread: float = 0.8
    bought: tuple[float, float, float] = (1.0, 0.45, 0.15)
    spend: float = 60.0
    spend_spread: float = 0.5
    login: float = 0.16
    login_spread: float = 0.7
    faded_days: float = 20.0
    ticket: float = 0.005
    ticket_fading: float = 1.6
    waiting: float = 0.05
    calm: float = 0.975
    refund: tuple[float, float, float] = (0.04, 0.12, 0.12)
    chargeback: float = 0.004
    random_offer: float = 0.0012
    rule_offer: float = 0.02
    person_offer: float = 0.008
    rule_days: int = 45
    offer_pause: int = 60
    upgrade: float = 0.0008
    downgrade: float = 0.006
    price_rise_at: int = NEVER
    price_rise: float = 0.2
    rise_strain: float = 0.6
    rise_fade: float = 1.5
    rise_bought: float = 0.85
    outage_at: int = NEVER
    outage_days: int = 21
    outage_login: float = 0.2
    outage_ticket: float = 8.0
    outage_strain: float = 0.05

    def risen(self, day: Ints) -> Bools:
        """Say on which days since 1970 prices have risen."""
        return day >= self.price_rise_at // DAY

    def price_level(self, day: Ints) -> Floats:
        """Return the factor on all prices."""
        return np.where(self.risen(day), 1.0 + self.price_rise, 1.0)

    def out(self, day: Ints) -> Bools:
        """Say on which days since 1970 the outage lasts."""
        first = self.outage_at // DAY
        return (day >= first) & (day < first + self.outage_days)

    @classmethod
    def read(cls, content: dict[str, Any]) -> "Clientele":
        """Return the parameters that `asdict` and JSON have made of them."""
        return cls(
            **content
            | {name: tuple(content[name]) for name in ("bought", "refund")}
            | {
                "products": tuple(Product(**each) for each in content["products"]),
                "plans": tuple(Plan(**each) for each in content["plans"]),
            }
        )


RETAIL = Clientele()
"""Customers who silently stop buying, but for a purchase now and then."""
CONTRACTS = Clientele(
    contractual=True,
    fade=0.0035,
    leave=0.03,
    recover=0.004,
    come_back=0.0,
    loyalty_spread=1.3,
    rate=0.052,
    rate_spread=0.3,
    bought=(1.0, 0.15, 0.0),
    login=0.4,
    login_spread=0.4,
    faded_days=8.0,
)
"""Customers who close their contract. Beside their plan they buy as others do."""
