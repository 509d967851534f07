"""Names that are safe in URLs, tags and on a command line."""

from __future__ import annotations

import re


def kebab(text: str) -> str:
    """The letters and digits of a text in lower case, joined by dashes: `DB_PASSWORD` is `db-password`."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
