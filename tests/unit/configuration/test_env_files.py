"""`.env` files beside a flow."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta_flows.configuration import load_env_file, load_environment
from meta_flows.diagnostics import MetaFlowsError
from tests.unit.configuration.conftest import Write, a_flow, errors_of


def values(root: Path, environment: str = "dev") -> dict[str, str]:
    return load_env_file(a_flow(), load_environment(root, environment), root)


def test_the_file_of_the_environment_goes_before_the_common_one(write: Write) -> None:
    root = write(
        {
            "environments/development.yaml": "",
            "environments/production.yaml": "",
            "flows/sales/.env": "A=common\nB=common\nC=common\n",
            "flows/sales/.env.dev": "B=short\nC=short\n",
            "flows/sales/.env.development": "C=long\n",
            "flows/sales/.env.production": "A=production\n",
            "flows/sales/.env.example": "DB_PASSWORD=put yours here\n",
            "flows/sales/.env.development.example": "DB_PASSWORD=put yours here\n",
        }
    )
    assert values(root) == {"A": "common", "B": "short", "C": "long"}
    assert values(root, "prod") == {"A": "production", "B": "common", "C": "common"}


def test_no_file_is_no_variables(tmp_path: Path) -> None:
    assert values(tmp_path) == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1", {"A": "1"}),
        ("export A=1 # one", {"A": "1"}),
        ("A='x # y'\nB=\"two\\nlines\"", {"A": "x # y", "B": "two\nlines"}),
        ('A="two\nlines"\nB=1', {"A": "two\nlines", "B": "1"}),
        ("A=\nB= # nothing", {"A": "", "B": ""}),
        ("# A=1\n\n", {}),
        ("A=${HOME}/x\nB=$A", {"A": "${HOME}/x", "B": "$A"}),
        ("TOKEN={{ prefect.blocks.secret.token }}", {"TOKEN": "{{ prefect.blocks.secret.token }}"}),
    ],
)
def test_lines_are_read_as_dotenv_reads_them_without_the_shell(
    write: Write, text: str, expected: dict[str, str]
) -> None:
    assert values(write({"flows/sales/.env": text})) == expected


def test_every_secret_and_every_bad_line_is_said_with_its_line(write: Write) -> None:
    root = write(
        {
            "flows/sales/.env": "A=1\nA=2\n\nDB_PASSWORD=hunter2\njust hunter2\nB='hunter2\n",
            "flows/sales/.env.dev": "KEY hunter2 = 1\nAPI_KEY=hunter2\n",
        }
    )
    with pytest.raises(MetaFlowsError) as refused:
        values(root)
    assert errors_of(refused) == [
        ("MF304", "flows/sales/.env", 2),
        ("MF301", "flows/sales/.env", 4),
        ("MF302", "flows/sales/.env", 5),
        ("MF302", "flows/sales/.env", 6),
        ("MF302", "flows/sales/.env.dev", 1),
        ("MF301", "flows/sales/.env.dev", 2),
    ]
    assert "hunter2" not in str(refused.value)
    assert "{DB_PASSWORD: '{{ prefect.blocks.secret.db-password }}'}" in refused.value.errors[1].remedy


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "flows/sales").mkdir(parents=True)
    (tmp_path / "flows/sales/.env").write_bytes(b"A=\xff")
    with pytest.raises(MetaFlowsError) as refused:
        values(tmp_path)
    assert errors_of(refused) == [("MF216", "flows/sales/.env", None)]
