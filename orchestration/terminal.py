"""Text that is safe to show in a terminal."""


def for_terminal(text: str) -> str:
    """Return a text with its control characters escaped, because a terminal would obey them."""
    return "".join(each if each.isprintable() or each in "\n\t" else ascii(each)[1:-1] for each in text)
