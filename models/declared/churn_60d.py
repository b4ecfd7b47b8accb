"""The declaration of the model of customers that leave within 60 days."""

from __future__ import annotations

from models.declared.churn import churn

CHURN_60D = churn(60)
