"""What the truth about customers answers."""

from dataclasses import dataclass

from simulation.draws import Floats


@dataclass(frozen=True)
class Value:
    """What customers will be worth, one each per customer and moment, with the standard errors of playing.

    Attributes
    ----------
    revenue, revenue_error : array of float
        Expected purchases less refunds and chargebacks.
    margin, margin_error : array of float
        Expected revenue less the costs of the purchases. The cost of offers is not in it.
    """

    revenue: Floats
    revenue_error: Floats
    margin: Floats
    margin_error: Floats


@dataclass(frozen=True)
class Uplift:
    """What an offer changes, one each per customer and moment: with it less without it, on the same luck.

    Attributes
    ----------
    leaving, leaving_error : array of float
        Of the probability to leave, and its standard error.
    revenue, revenue_error, margin, margin_error : array of float
        Of the expected revenue and margin. The cost of the offer is not in it.
    cost : float
        What the offer costs.
    """

    leaving: Floats
    leaving_error: Floats
    revenue: Floats
    revenue_error: Floats
    margin: Floats
    margin_error: Floats
    cost: float


@dataclass(frozen=True)
class Outcome:
    """What becomes of all customers under a list of offers.

    Attributes
    ----------
    revenue, margin : float
        Expected, of all of them together. The cost of offers is not in the margin.
    cost : float
        Of the offers of the list.
    left : float
        How many leave, expected.
    margin_error, left_error : float
        Standard errors of playing.
    """

    revenue: float
    margin: float
    cost: float
    left: float
    margin_error: float
    left_error: float

    @property
    def profit(self) -> float:
        """Margin less the cost of the list."""
        return self.margin - self.cost
