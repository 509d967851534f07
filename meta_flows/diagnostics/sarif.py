"""Diagnostics as SARIF 2.1.0, which code-review tools show at the lines concerned."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from meta_flows.diagnostics import catalogue
from meta_flows.models import Diagnostic, ValidationResult

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(found: ValidationResult) -> dict[str, Any]:
    """Return a SARIF log with one run that holds every finding."""
    findings = (*found.errors, *found.warnings)
    codes = sorted({finding.code for finding in findings})
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "meta-flows", "rules": [_rule(code) for code in codes]}},
                "originalUriBaseIds": {"ROOT": {"description": {"text": "The repository's root."}}},
                "results": [_result(finding, codes.index(finding.code)) for finding in findings],
            }
        ],
    }


def _rule(code: str) -> dict[str, Any]:
    entry = catalogue()[code]
    return {
        "id": code,
        "name": "".join(word.capitalize() for word in re.findall(r"\w+", entry.title.replace("'", ""))),
        "shortDescription": {"text": entry.title},
        "defaultConfiguration": {"level": entry.severity},
    }


def _result(finding: Diagnostic, rule: int) -> dict[str, Any]:
    path, line, column = finding.file_path or "", finding.line_number, finding.column_number
    if not path or path == "command line" or path.startswith("shell "):
        path, line, column = "environments", 1, 1  # GitHub rejects a log in which a result has no location
    artifact = {"uri": Path(path).as_uri()} if path.startswith("/") else {"uri": quote(path), "uriBaseId": "ROOT"}
    region = {"startLine": line or 1, "startColumn": column or 1}
    return {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": finding.severity,
        "message": {"text": f"{finding.message}\n{finding.remedy}"},
        "locations": [{"physicalLocation": {"artifactLocation": artifact, "region": region}}],
    }
