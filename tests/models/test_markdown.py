"""Tables of Markdown keep their columns, whatever the data hold."""

from __future__ import annotations

from models.markdown import markdown_table


def test_a_value_stays_in_its_cell() -> None:
    """A bar, a backslash before it and the end of a line are no signs of the table."""
    assert markdown_table(("source", "rows"), [("Facebook | Lead Ads", 278), ("a\\|b\nc", 1)]) == (
        "| source | rows |\n| --- | --- |\n| Facebook \\| Lead Ads | 278 |\n| a\\\\\\|b c | 1 |"
    )
