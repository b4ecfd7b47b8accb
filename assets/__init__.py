"""Dagster assets and their checks, in folders by layer of the flow, and the resources that they need."""
