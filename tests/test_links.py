"""README is short, and every link between README, the pages of the docs and the changelog leads somewhere."""

from __future__ import annotations

import re

from tests.homes import REPOSITORY

PAGES = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted((REPOSITORY / "docs").glob("**/*.md"))]

FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)

LINK = re.compile(r"\]\(([^)\s]+)\)")


def test_readme_has_at_most_200_lines() -> None:
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


def test_every_link_leads_to_a_file_and_a_heading() -> None:
    texts = {page: FENCED.sub("", page.read_text(encoding="utf-8")) for page in PAGES}
    anchors = {page: {_anchor(each) for each in re.findall(r"^#+ (.*)$", texts[page], re.MULTILINE)} for page in PAGES}
    broken = []
    for page, text in texts.items():
        for link in LINK.findall(text):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if ":" not in link and (not target.exists() or (anchor and anchor not in anchors[target])):
                broken.append(f"{page.name}: {link}")
    assert broken == []


def _anchor(heading: str) -> str:
    """Return the name by which a link reaches a heading, as Git hosts make it."""
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
