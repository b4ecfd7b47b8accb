"""The declaration of the model of customers that leave within 30 days."""

from __future__ import annotations

from models.declared.churn import churn

CHURN_30D = churn(30)
