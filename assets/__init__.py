"""Software-defined assets and their checks, one module per layer in the order of the flow, and the resources they need."""

from assets.environment import switch_off_telemetry

switch_off_telemetry()
