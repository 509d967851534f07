"""What commands print fits a terminal, stays whole in a pipe, and says a remedy once."""

from __future__ import annotations

import io

import pytest

from meta_flows.cli import output
from meta_flows.cli.output import PlainConsole, print_diagnostics, print_table
from meta_flows.cli.runner import change_rows, show, standing_rows
from meta_flows.diagnostics import diagnostic
from meta_flows.models import DeployResult, Health, Outcome
from meta_flows.reporting import health_reasons

NAME = "polygon-intraday-ingestion-python-dev"
LINK = f"http://127.0.0.1:4200/v2/deployments/deployment/{'0' * 36}"


def row(name: str, **fields: object) -> Outcome:
    found = {"flow_name": "polygon", "kind": "python", "state": "Unchanged", "link": LINK, **fields}
    schedules = {"market-hours": "*/15 9-16 * * 1-5 America/New_York", "eod": "30 17 * * 1-5 America/New_York"}
    return Outcome.model_validate({"name": name, "schedules": schedules, **found})


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal of 80 columns shows of stdout."""
    shown = io.StringIO()
    monkeypatch.setattr(output, "out", PlainConsole(file=shown, width=80, force_terminal=True, color_system=None))
    return shown


@pytest.mark.parametrize("rows", [change_rows, standing_rows])
def test_a_row_is_one_line_of_80_columns(screen: io.StringIO, rows: object) -> None:
    assert callable(rows)
    healthy = Health(status="Degraded", reasons=(diagnostic("MF412", pool="dev-python"),))
    print_table(*rows([row(NAME, health=healthy, state="Created"), row("a", health=healthy)], False))
    lines = screen.getvalue().splitlines()
    assert len(lines) == 3
    assert all(len(line.rstrip()) <= 80 for line in lines)
    assert NAME in lines[1]


def test_a_pipe_gets_whole_rows_however_wide(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(*change_rows([row(f"flow-{number}" * 9) for number in range(3)], True))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if "flow-" in line] == [f"flow-{number}" * 9 for number in range(3)]
    assert all(LINK in line for line in lines if "flow-" in line)


def test_a_column_in_which_nothing_stands_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(*change_rows([row("a")], False))
    assert capsys.readouterr().out.split() == ["deployment", "change", "a", "Unchanged"]


def test_ten_findings_with_one_remedy_have_it_once(capsys: pytest.CaptureFixture[str]) -> None:
    found = [diagnostic("MF211", flow=f"f{number}", parameter="x", suggestion="", known="y") for number in range(10)]
    print_diagnostics([*found, diagnostic("MF901", detail="other")])
    shown = capsys.readouterr().err
    assert shown.count("MF211") == 10
    assert shown.count("remedy: ") == 2


def test_a_reason_that_many_deployments_share_is_one_line() -> None:
    poor = Health(status="Degraded", reasons=(diagnostic("MF412", pool="dev-python"),))
    [reason] = health_reasons([row(f"f{number}", health=poor) for number in range(10)])
    assert reason.message.startswith("f0 and 9 more: ")
    [alone] = health_reasons([row("f", health=poor)])
    assert alone.message.startswith("f: ")


def test_what_a_warning_says_and_what_a_deploy_has_just_changed_is_not_said_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    no_worker = diagnostic("MF412", pool="dev-python")
    waits = Health(status="Progressing", reasons=(no_worker, diagnostic("MF736")))
    show(
        DeployResult(
            environment="dev", state="Deployed", message="", outcomes=(row("a", health=waits),), warnings=(no_worker,)
        )
    )
    shown = capsys.readouterr().err
    assert shown.count("MF412") == 1
    assert "MF736" not in shown
