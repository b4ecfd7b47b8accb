"""What readers get, and what they may not lose."""
