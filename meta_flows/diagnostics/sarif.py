"""Findings as SARIF 2.1.0, which code-review tools show on the lines that they are about."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from meta_flows.diagnostics import catalogue
from meta_flows.models import Diagnostic, ValidationResult

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(found: ValidationResult) -> dict[str, Any]:
    """One run of our rules, as a SARIF log."""
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
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": finding.severity,
        "message": {"text": f"{finding.message}\n{finding.remedy}"},
    }
    path = finding.file_path or ""
    if not path or path == "command line" or path.startswith("shell "):  # GitHub takes none without a location
        file = {"uri": "environments", "uriBaseId": "ROOT"}
        region = {"startLine": 1, "startColumn": 1}
        result["locations"] = [{"physicalLocation": {"artifactLocation": file, "region": region}}]
    else:
        region = {"startLine": finding.line_number or 1, "startColumn": finding.column_number or 1}
        outside = path.startswith("/")
        file = {"uri": Path(path).as_uri()} if outside else {"uri": quote(path), "uriBaseId": "ROOT"}
        result["locations"] = [{"physicalLocation": {"artifactLocation": file, "region": region}}]
    return result
