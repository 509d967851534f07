"""What we say: plain English, by the words that it does without."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGES = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
"""With messages, remedies and help texts in them: docs/reference and docs/troubleshooting are made of those."""

AVOIDED = re.compile(r"\b(somebody|nobody|whoever|mend(ed|s|ing)?)\b", re.IGNORECASE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_a_page_names_who_does_what(page: Path) -> None:
    lines = enumerate(page.read_text(encoding="utf-8").splitlines(), start=1)
    assert [f"{number}: {line}" for number, line in lines if AVOIDED.search(line)] == []
