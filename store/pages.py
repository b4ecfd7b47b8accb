"""Safety of HTML pages that contain data: texts are escaped, and the browser may load nothing from a server."""

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
    "font-src data:; base-uri 'none'; form-action 'none'"
)
"""A page is one file with all its scripts and styles, so the browser may load nothing else."""

POLICY = f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_SECURITY_POLICY}">'
"""The tag by which a page sets this policy for itself."""

_HEAD = "<head>"


class UnknownPageError(RuntimeError):
    """A page of a library has an unknown form; the message names the difference."""


def in_script(json: str) -> str:
    """Return JSON that is safe in a script of a page: no text in it ends the script, or begins a tag or comment."""
    # outside of texts, JSON does not have these characters
    return json.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def with_policy(page: str) -> str:
    """Return a page with the content security policy in its head, where it also holds for a page opened as a file.

    Raises
    ------
    UnknownPageError
        If the page has no head.
    """
    before, head, after = page.partition(_HEAD)
    if not head:
        raise UnknownPageError(f"a page: expected {_HEAD}, found none. Install the libraries of requirements.lock.")
    return f"{before}{head}{POLICY}{after}"
