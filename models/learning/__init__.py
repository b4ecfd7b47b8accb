"""From frames to a fitted pipeline, and its calibration."""
