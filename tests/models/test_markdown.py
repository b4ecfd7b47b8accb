"""Markdown shows what the data hold, and does nothing of it."""

from __future__ import annotations

import pytest

from models.markdown import Markup, bullets, markdown_table, plain


def test_a_value_stays_in_its_cell() -> None:
    """A bar, a backslash before it and the end of a line are no signs of the table."""
    assert markdown_table(("source", "rows"), [("Facebook | Lead Ads", 278), ("a\\|b\nc", 1)]) == (
        "| source | rows |\n| --- | --- |\n| Facebook \\| Lead Ads | 278 |\n| a\\\\\\|b c | 1 |"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("<script>", r"\<script\>"),
        ("![](http://a.b)", r"!\[\](http\://a.b)"),
        ("[x](javascript:y)", r"\[x\](javascript:y)"),
        ("&lt;b&gt;", r"\&lt;b\&gt;"),
        ("`a`", r"\`a\`"),
        ("**a** _b_ __c__ ~~d~~", r"\*\*a\*\* \_b\_ \_\_c\_\_ \~\~d\~\~"),
        ("www.a.b c@d.e", r"www\.a.b c\@d.e"),
        ("{{ x }}", "{{ x }}"),
        # what is read in every card stays as it is
        ("snake_case -0.3 (-1 to 2) 1. 50 %", "snake_case -0.3 (-1 to 2) 1. 50 %"),
        (" a\r\nb\u2028c\td\x1b[31m\u202ee ", "a b c d\ufffd\\[31m\ufffde"),
        (None, "None"),
        (Markup("**missed**"), "**missed**"),
    ],
)
def test_a_value_is_shown_as_it_is_written(value: object, shown: str) -> None:
    assert plain(value) == shown


def test_a_text_of_a_list_begins_no_heading_rule_or_other_list() -> None:
    assert bullets(["# a", "- b", "+c", "1. d", "12) e", "=", Markup("**f**")]) == (
        "- \\# a\n- \\- b\n- \\+c\n- 1\\. d\n- 12\\) e\n- \\=\n- **f**"
    )
    assert bullets([]) == "none"
