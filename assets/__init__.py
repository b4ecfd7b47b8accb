"""Software-defined assets and their checks, one module per layer of the flow, and the resources they need."""

from assets.environment import prepare_process

# before any library that reads these settings when it is loaded
prepare_process()
