"""Every `meta-flows` command line that a page shows in a block is one that the command takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from meta_flows.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "docs/troubleshooting/README.md"]

BLOCK = re.compile(r"^ *```\w*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
CALL = re.compile(r"^ *(?:\$ |- run: )?(?:\S*/)?meta-flows (.+)$", re.MULTILINE)
"""A command line, after a prompt or as a step of a workflow."""


def command_lines(page: Path) -> list[str]:
    """Return the command lines of a page's blocks, without what the shell does about them."""
    calls = [call for block in BLOCK.findall(page.read_text(encoding="utf-8")) for call in CALL.findall(block)]
    return [re.sub(r" *(?:\|\|? |\d?>|& *(?:#|$)).*$", "", call) for call in calls]


SHOWN = [(page, line) for page in PAGES for line in command_lines(page)]


@pytest.mark.parametrize(("page", "line"), SHOWN, ids=[f"{page.relative_to(ROOT)}: {line}" for page, line in SHOWN])
def test_a_command_line_is_one_that_meta_flows_takes(page: Path, line: str) -> None:
    app.parse_args(shlex.split(line, comments=True), exit_on_error=False, print_error=False)


def test_command_lines_are_found_as_they_are_written() -> None:
    pages = {page.relative_to(ROOT).as_posix() for page, _ in SHOWN}
    assert {"README.md", "docs/ci.md", "docs/runbook.md", "docs/setup.md"} <= pages
