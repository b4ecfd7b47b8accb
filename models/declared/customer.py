"""The entity customer."""

from __future__ import annotations

from models.declaring.entity import Entity

KINDS_OF_CLOSINGS = """
select customer_id, known_us, 'closed' as kind
from intermediate.customer_timeline where fact = 'customer_closed'
"""

CUSTOMER = Entity(
    name="customer",
    description="A customer buys, from its row or its first transaction until its contract ends; without contracts it "
    "never closes.",
    key="customer_id",
    table="staging.stg_customers",
    created="created_at",
    split_by="customer_created_at",
    observations="intermediate.customer_observations",
    closings="intermediate.customer_closings",
    facts="intermediate.customer_timeline",
    lasting=True,
    ends="customers_close",
    settles="fact = 'customer_closed'",
    kinds_of_closings=KINDS_OF_CLOSINGS,
)
