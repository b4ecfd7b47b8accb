"""Shapes: the simulated CRM in the tables and columns of other CRMs.

A shape is one SQL query per table, over the tables of the simulated export. It has what the other CRM would have, under
its names and in its spelling, and nothing that it would not have.
"""

from simulation.shapes.deals import DEALS
from simulation.shapes.hubspot import HUBSPOT_CSV, HUBSPOT_FIVETRAN
from simulation.shapes.pipedrive import PIPEDRIVE
from simulation.shapes.plain import PLAIN
from simulation.shapes.salesforce import SALESFORCE_CSV, SALESFORCE_FIVETRAN
from simulation.shapes.shape import Shape

SHAPES: dict[str, Shape] = {
    shape.name: shape
    for shape in (DEALS, HUBSPOT_CSV, HUBSPOT_FIVETRAN, PIPEDRIVE, PLAIN, SALESFORCE_CSV, SALESFORCE_FIVETRAN)
}
"""The shapes by name."""

__all__ = ["SHAPES", "Shape"]
