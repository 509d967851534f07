"""What the documentation says is so: the reference is current, links and commands exist, the script runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from meta_flows.diagnostics import catalogue
from meta_flows.models import FieldChange, Outcome
from meta_flows.reporting import FAILED, OUTCOMES, RESULTS, counts_in_words, field_in_words
from tests.shops import FLOW, Shop

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
ERRORS = DOCS / "troubleshooting" / "errors.md"
INDEX = DOCS / "README.md"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("*.md")), DOCS / "troubleshooting" / "README.md"]
ALL_PAGES = [*PAGES, *sorted(REFERENCE.glob("*.md")), ERRORS]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def code(page: Path) -> Iterator[str]:
    """Everything on a page that is set as code, block by block and span by span."""
    text = page.read_text(encoding="utf-8")
    yield from (block for _, block in FENCE.findall(text))
    yield from re.findall(r"`([^`]+)`", FENCE.sub("", text))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def generated() -> dict[str, str]:
    """What docs/generate.py would write."""
    spec = spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec and spec.loader
    module: Any = module_from_spec(spec)
    spec.loader.exec_module(module)
    pages: dict[str, str] = module.pages()
    return pages


def test_the_reference_is_current() -> None:
    pages = [*REFERENCE.iterdir(), ERRORS]
    written = {str(page.relative_to(DOCS)): page.read_text(encoding="utf-8") for page in pages}
    assert written == generated(), "write it again: make docs"


def test_every_target_with_help_is_in_the_reference() -> None:
    reference = (REFERENCE / "commands.md").read_text(encoding="utf-8")
    helped = [
        target for targets in re.findall(r"^([\w% -]+):.*## ", MAKEFILE, re.MULTILINE) for target in targets.split()
    ]
    assert "deploy-all" in helped
    assert [target for target in helped if f"`make {target.replace('%', '<flow>')}`" not in reference] == []


def links(page: Path) -> list[str]:
    """The relative links of a page."""
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    return [link for link in re.findall(r"\]\(([^)]+)\)", prose) if "://" not in link]


def test_the_index_lists_every_page_and_the_readme_links_to_the_index() -> None:
    listed = {(DOCS / link).resolve() for link in links(INDEX)}
    assert [name(page) for page in ALL_PAGES if page != INDEX and page not in listed] == []
    assert "docs/README.md" in links(ROOT / "README.md")


def test_the_plan_in_the_readme_is_printed_as_it_is_shown() -> None:
    """Each field of it is read back and printed again."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [plan] = [block for _, block in FENCE.findall(readme) if block.startswith("$ meta-flows plan")]
    fields = re.findall(r"^  (\S+): (.+) → (.+?)( \(drift\))?$", plan, re.MULTILINE)
    assert len(fields) == len(re.findall("→", plan)) > 4
    for path, old, new, drift in fields:
        change = FieldChange(path=path, old=json.loads(old), new=json.loads(new), drift=bool(drift))
        assert f"  {field_in_words(change)}\n" in plan
    rows = [*["ToUpdate"] * len(re.findall(r"^\S+-prod", plan, re.MULTILINE)), *["Unchanged"] * 8]
    outcomes = [Outcome(flow_name="a", name=str(row), kind="python", state=state) for row, state in enumerate(rows)]
    assert plan.endswith(f"production is {RESULTS['Planned']}: {counts_in_words(outcomes, refused=0)}\n")


def test_the_readme_counts_the_diagnostic_codes() -> None:
    assert f"{len(catalogue())} diagnostic codes" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ALL_PAGES, ids=name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.is_file() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_make_target_exists(page: Path) -> None:
    rules = {rule for rules in re.findall(r"^([\w%. -]+):(?!=)", MAKEFILE, re.MULTILINE) for rule in rules.split()}
    named = {
        target
        for text in code(page)
        for target in re.findall(r"(?:^|[\s`])make ([a-z](?:[\w.-]*\w)?)", text, re.MULTILINE)
    }
    exist = {target for target in named if target in rules or ("serve-%" in rules and target.startswith("serve-"))}
    assert named == exist


def test_every_state_is_explained() -> None:
    concepts = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"`(\w+)`", concepts[concepts.index("## States") :]))
    assert {*RESULTS, *OUTCOMES} <= explained
    assert {state for state in FAILED if not re.search(rf"^\| `{state}` .*\| 1 \|$", concepts, re.MULTILINE)} == set()


def test_every_code_has_its_section_with_title_example_and_remedy() -> None:
    sections = dict(re.findall(r"^## (MF\d+): (.*?)(?=^## |\Z)", ERRORS.read_text(), re.MULTILINE | re.DOTALL))
    assert set(sections) == set(catalogue())
    for code, entry in catalogue().items():
        assert entry.example and entry.remedy
        assert sections[code].startswith(entry.title) and entry.example in sections[code]


def test_every_error_that_is_named_exists() -> None:
    named = {code for page in PAGES for code in re.findall(r"\bMF\d+\b", page.read_text(encoding="utf-8"))}
    assert named and named <= set(catalogue())


def test_the_automation_on_its_page_is_the_one_in_its_file() -> None:
    example = (ROOT / "docs" / "examples" / "notify.yaml").read_text(encoding="utf-8")
    [shown] = [
        block for language, block in FENCE.findall((ROOT / "docs/automations.md").read_text()) if language == "yaml"
    ]
    assert example.endswith(shown)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_and_option_in_a_sentence_exists(page: Path) -> None:
    """Those in sentences are often cut short; tests/unit/test_documented_commands.py parses the others."""
    reference = (REFERENCE / "commands.md").read_text(encoding="utf-8")
    commands = set(re.findall(r"^#+ meta-flows (.+)$", reference, re.MULTILINE))
    options = set(re.findall(r"(?<=[ `])--?[a-z][\w-]*", reference))
    groups = {command.partition(" ")[0] for command in commands if " " in command}
    spans = re.findall(r"`([^`]+)`", FENCE.sub("", page.read_text(encoding="utf-8")))
    for call in {call for text in spans for call in re.findall(r"\bmeta-flows((?: +[\w./=-]+)+)", text)}:
        words = call.split()
        assert " ".join(words[: 2 if words[0] in groups else 1]) in commands, call
        assert {word for word in words if word.startswith("-")} <= options, call


@pytest.mark.system
def test_the_script_runs_and_does_what_the_page_says(shop: Shop) -> None:
    """In a repository whose flows are named as in the script, on a real server."""
    for flow in ("rpa1", "rpa2"):
        source = FLOW.format(name=f"{shop.project.replace('-', '_')}_{flow}").replace(
            "count: int = 1", "batch_size: int = 100"
        )
        shop.write(f"flows/{flow}/workflow.py", source.replace("return count", "return batch_size"))
    [script] = [
        block for language, block in FENCE.findall((ROOT / "docs/python-api.md").read_text()) if language == "python"
    ]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=shop.root, capture_output=True, text=True, check=False, timeout=180
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Deployed 2 created" in done.stdout
    assert {name: item["parameters"] for name, item in shop.live().items()} == {
        "rpa1-python-dev": {"batch_size": 50},
        "rpa2-python-dev": {"batch_size": 50},
    }


@pytest.mark.system
def test_the_flow_of_the_guide_is_deployed_as_the_guide_says(shop: Shop) -> None:
    """Each of its files begins with its path; the project keeps its flow's name apart from other tests'."""
    for language, block in FENCE.findall((ROOT / "docs/adding-a-flow.md").read_text(encoding="utf-8")):
        if language in ("python", "yaml"):
            path, _, content = block.removeprefix("# ").partition("\n")
            shop.write(path, content.replace('name="exchange-rates"', f'name="{shop.project}-rates"'))
    shop.write("flows/requirements.in", "httpx\nprefect\n")
    checked = shop.meta_flows("validate", "--environment", "development", "--flow", "exchange_rates", "--offline")
    assert checked.stdout.startswith("0 errors, 0 warnings"), checked.stdout + checked.stderr
    for environment in ("development", "production"):
        shop.deploy("--flow", "exchange_rates", "--environment", environment)
    assert {name: item["parameters"] for name, item in shop.live().items()} == {
        "exchange-rates-python-dev": {"currencies": ["USD", "GBP"]},
        "exchange-rates-python-prod": {"currencies": ["USD", "GBP", "JPY", "CHF"]},
    }
