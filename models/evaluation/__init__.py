"""The evaluation of a version: on held-out rows, on the census of past clocks, and for signs of hindsight."""
