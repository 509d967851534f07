"""What is a secret, and what only looks a little like one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meta_flows.configuration.secrets import MASK, looks_secret, masked_pair, without_secrets

SECRETS = [
    ("DB_PASSWORD", "hunter2"),
    ("DB_PASSWORD", 123456),
    ("PGPASSWORD", "x"),
    ("dbPassword", "x"),
    ("password", "correct horse"),
    ("PASSWORD_PROD", "x"),
    ("DB_PASS", "hunter2"),
    ("MYSQL_PWD", "hunter2"),
    ("API_TOKEN", "abc"),
    ("apiKey", "abc"),
    ("APIKey", "abc"),
    ("SECRET_KEY_BASE", "abc"),
    ("job_variables.env.CLIENT_SECRET", "abc"),
    ("GOOGLE_CREDENTIALS", '{"type": "service_account"}'),
    ("PREFECT_API_AUTH_STRING", "admin:pass"),
    ("BASIC_AUTH", "admin:pass"),
    ("FERNET_KEY", "b2xkX2ZlcjFuZXRfa2V5XzJfMzI9"),
    ("DATABASE_URL", "postgresql://sales:pa55@db.example.com/sales"),
    ("CONNECTION_STRING", "Server=db;Database=sales;User=me;Password=pa55"),
    ("AZURE", "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=abcd=="),
    ("REPORT_URL", "https://files.example.com/r?sig=abc123"),
    ("WEBHOOK", "https://hooks.slack.com/services/T0/B0/x"),
    ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
    ("NOTE", "ghp_abcdefghijklmnopqrstuvwxyz0123456789"),
    ("SLACK", "xoxb-123456789012-abcdefghijkl"),
    ("LLM", "sk-proj-abcdefghijklmnop"),
    ("SESSION", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc"),
    ("CERT", "-----BEGIN RSA PRIVATE KEY-----\nMIIE"),
    ("HEADER", "Bearer abcdef123456"),
    ("HEADER", "Basic dXNlcjpwYXNzd29yZA=="),
    ("HEADERS", '{"Authorization": "Basic dXNlcjpwYXNz"}'),
    ("REPOSITORY", "https://ghtoken@github.com/team/flows.git"),
    ("SOURCE", "vault: postgresql://sales:pa55@db.example.com/sales"),
    ("SETTING", "wJalrXUtnFEMI7K7MDENGbPxRfiCYEXAMPLEKEY0"),
    ("SETTING", "9f86d081884c7d659a2feaa0c55ad015"),
    ("DB_PASSWORD", "prefix-{{ environment.name }}"),
]

HARMLESS = [
    ("KEYBOARD", "qwerty"),
    ("TOKENIZER_MODEL", "bert-base-uncased"),
    ("MONKEY", "george"),
    ("SECRETARY_EMAIL", "ann.smith@example.com"),
    ("AUTHOR", "Ann Smith"),
    ("PASSENGER_COUNT", "4"),
    ("COMPASS", "north"),
    ("BYPASS", "lane"),
    ("MAX_TOKENS", "4096"),
    ("max_token", 4096),
    ("TOKEN_URL", "https://auth.example.com/token"),
    ("PASSWORD_FILE", "/run/secrets/db"),
    ("PASSWORD_MIN_LENGTH", "12"),
    ("SECRET_NAME", "sales-db"),
    ("API_KEY_HEADER", "X-Api-Key"),
    ("USE_TOKEN", "always"),
    ("AUTH", "basic"),
    ("DESCRIPTION", "Basic pipeline that queries and writes data. A basic workflow."),
    ("DESCRIPTION", "Calls the API with bearer authentication."),
    ("REPOSITORY", "git+https://git@github.com/team/flows.git"),
    ("database_1_secret_key_ip", "sandbox_ip"),
    ("database_1_secret_key_username", "sandbox_user"),
    ("password_parameter", "password"),
    ("GCP_CREDENTIALS_METHOD", "ADC"),
    ("api_key_env", "OPENAI_API_KEY"),
    ("SECRETS_PROVIDER", "aws"),
    ("DB_SECRET", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:sales/db"),
    ("AUTH_TYPE", "oauth"),
    ("PASSWORD", ""),
    ("PASSWORD", "true"),
    ("PASSWORD", True),
    ("PASSWORD", None),
    ("PASSWORD", {"a": 1}),
    ("PASSWORD", "{{ prefect.blocks.secret.db-password }}"),
    ("PASSWORD", "{{ prefect.variables.password }}"),
    ("PASSWORD", "${DB_PASSWORD}"),
    ("DATABASE_URL", "postgresql://sales:{{ prefect.blocks.secret.db }}@db.example.com/sales"),
    ("PRIMARY_KEY", "customer_id"),
    ("PARTITION_KEY", "rpa1-v2"),
    ("CACHE_KEY", "rpa1-summary-report-v2"),
    ("SSH_PUBLIC_KEY", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8k2b3c4d5e6f7"),
    ("GIT_COMMIT", "4b825dc642cb6eb9a060e54bf8d69288fbee4904"),
    ("RUN_ID", "4b825dc642cb6eb9a060e54bf8d69288fbee4904"),
    ("TENANT", "123e4567-e89b-12d3-a456-426614174000"),
    ("IMAGE", "registry.example.com/team/app@sha256:4b825dc642cb6eb9a060e54bf8d69288fbee4904"),
    ("INPUT", "/data/2024/01/a1b2c3d4e5f6a7b8c9d0.csv"),
    ("INPUT", "./data/a1b2c3d4e5f6a7b8c9d0.csv"),
    ("SHEET", "https://docs.example.com/d/1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs74OgvE2upms"),
    ("API_URL", "http://127.0.0.1:4200/api"),
    ("TIMEZONE", "America/Argentina/Buenos_Aires"),
    ("STARTED", "2024-01-01T00:00:00+02:00"),
    ("NOTE", "Quarterly report for the 2nd half of 2024, see page 12"),
    ("TITLE", "MonthlySalesSummaryForRegion2024"),
    ("RANGE", "Sheet1!A1:B20,Sheet2!C3:D40"),
    ("CRON", "0 6 * * 1-5"),
    ("ADDRESS", "2001:0db8:85a3:0000:0000:8a2e:0370:7334"),
    ("POD", "rpa1-python-dev-7d9f8b6c5d"),
]


@pytest.mark.parametrize(("name", "value"), SECRETS)
def test_secrets_are_seen(name: str, value: object) -> None:
    assert looks_secret(name, value)


@pytest.mark.parametrize(("name", "value"), HARMLESS)
def test_what_only_resembles_a_secret_is_let_through(name: str, value: object) -> None:
    assert not looks_secret(name, value)


REFERENCE = "{{ prefect.blocks.secret.dsn }}"


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ("plain", REFERENCE, (MASK, REFERENCE)),
        (REFERENCE, "plain", (REFERENCE, MASK)),
        (None, REFERENCE, (None, REFERENCE)),
        (
            {"DSN": "plain", "A": "1"},
            {"DSN": REFERENCE, "A": "2"},
            ({"DSN": MASK, "A": "1"}, {"DSN": REFERENCE, "A": "2"}),
        ),
        (["a", "plain"], ["b", REFERENCE], (["a", MASK], ["b", REFERENCE])),
        (["plain"], ["x", REFERENCE], ([MASK], [MASK, REFERENCE])),
        ("plain", {"user": "me", "dsn": REFERENCE}, (MASK, {"user": MASK, "dsn": REFERENCE})),
        ("plain", "{{ prefect.variables.dsn }}", ("plain", "{{ prefect.variables.dsn }}")),
        ("plain", "another", ("plain", "another")),
    ],
)
def test_what_a_reference_to_a_block_replaces_is_a_secret(old: Any, new: Any, shown: tuple[Any, Any]) -> None:
    assert masked_pair("env", old, new) == shown


def test_secrets_that_were_sent_are_masked_in_what_comes_back() -> None:
    sent = {"job_variables": {"env": {"DB_PASSWORD": 'qu"ote', "REGION": "europe"}}, "list": [{"api_key": "abcdef"}]}
    answer = f"refused {sent} and {json.dumps(sent)}"
    shown = without_secrets(answer, sent)
    assert "qu" not in shown
    assert "abcdef" not in shown
    assert "europe" in shown
