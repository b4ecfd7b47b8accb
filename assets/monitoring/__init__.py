"""Source health, feature quality, drift, and the decision to train anew."""
