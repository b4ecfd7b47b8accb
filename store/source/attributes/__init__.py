"""Attributes: columns of a source beside those of the contract."""
