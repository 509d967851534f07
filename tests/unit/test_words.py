"""What we say: plain English, by the words that it does without."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGES = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
"""With messages, remedies and help texts in them: docs/reference and docs/troubleshooting are made of those."""

WRITTEN = [page for page in PAGES if not page.read_text(encoding="utf-8").startswith("<!-- Made by `make docs`")]
"""Those that `make docs` does not make."""

SOURCES = [path for path in (REPOSITORY / "meta_flows").rglob("*") if path.suffix in (".py", ".toml")]
"""Names, docstrings, comments and messages; ruff's D401 holds docstrings to begin with a verb."""

AVOIDED = re.compile(r"\b(somebody|nobody|whoever|mend(ed|s|ing)?)\b", re.IGNORECASE)
AVOIDED_IN_PROSE = re.compile(
    r"\b(be told|is told|told|stated|tak(e|es|en|ing) (it |all |everything )?back|took back"
    r"|what became of|what it comes to|what came of it|how it does|how they do|as it is|looks? whether)\b",
    re.IGNORECASE,
)
"""Still in messages of the code, so generated pages and the outputs that pages quote may have them."""


def lines_with(words: re.Pattern[str], text: str) -> list[str]:
    return [f"{number}: {line}" for number, line in enumerate(text.splitlines(), start=1) if words.search(line)]


def without_code(text: str) -> str:
    """Return a page with its blocks and spans of code emptied, line by line as before."""
    return re.sub(
        r"^ *```.*?^ *```$|`[^`\n]+`", lambda code: "\n" * code[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL
    )


@pytest.mark.parametrize("page", [*PAGES, *SOURCES], ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_a_page_names_who_does_what(page: Path) -> None:
    assert lines_with(AVOIDED, page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_a_sentence_uses_the_terms_of_the_field(page: Path) -> None:
    assert lines_with(AVOIDED_IN_PROSE, without_code(page.read_text(encoding="utf-8"))) == []
