"""Pages of HTML that are made from data: what a text may be in them, and what a browser may fetch for them."""

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
    "font-src data:; base-uri 'none'; form-action 'none'"
)
"""A page is one file: what it shows and runs is in it, and the browser asks no server for more."""

POLICY = f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_SECURITY_POLICY}">'
"""What a page says of itself, at its beginning."""

_HEAD = "<head>"


class UnknownPageError(RuntimeError):
    """A page of a library is not made as this project knows it; the message says where it differs."""


def in_script(json: str) -> str:
    """Return JSON as it may stand in a script of a page: no text in it ends the script, or begins a tag or comment."""
    # outside its texts JSON has none of these
    return json.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def with_policy(page: str) -> str:
    """Return a page that says itself what a browser may fetch for it, for it is also opened as a file.

    Raises
    ------
    UnknownPageError
        If the page has no head.
    """
    before, head, after = page.partition(_HEAD)
    if not head:
        raise UnknownPageError(f"a page: expected {_HEAD}, found none. Install the libraries of requirements.lock.")
    return f"{before}{head}{POLICY}{after}"
