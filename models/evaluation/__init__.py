"""How good a version is: on held-out rows, on the census of past clocks, and where it may know the outcome."""
