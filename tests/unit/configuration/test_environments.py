"""Files in `environments/`: which there are, how they are layered, what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta_flows.configuration import Environment, GitSource, explain, load_environment, load_template
from meta_flows.configuration.environment import environment_names
from meta_flows.configuration.secrets import MASK
from meta_flows.diagnostics import MetaFlowsError
from tests.unit.configuration.conftest import Write, errors_of


def test_without_any_file_there_is_development_on_the_local_server(tmp_path: Path) -> None:
    root = tmp_path / "my-repository"
    root.mkdir()
    assert environment_names(root) == {"development": "dev"}
    environment = load_environment(root, "dev")
    assert environment.model_dump() == Environment(project="my-repository").model_dump()
    assert environment.prefect_api_url == "http://127.0.0.1:4200/api"
    assert environment.work_pools["python"].name == "dev-python"
    assert environment.work_pools["python"].type == "process"
    assert not environment.project_stated
    assert {setting.origin for setting in explain(environment)} == {"built-in default"}


def test_each_file_is_an_environment_with_a_long_and_a_short_name(write: Write) -> None:
    files = {"production": "", "staging": "", "qa": "short_name: q", "emea-test": "", "broken": "a: [", "defaults": ""}
    root = write({f"environments/{name}.yaml": text for name, text in files.items()})
    assert environment_names(root) == {
        "broken": "broken",
        "emea-test": "emea-test",
        "production": "prod",
        "qa": "q",
        "staging": "staging",
    }
    assert [load_environment(root, name).name for name in ("prod", "production", "q", "qa")] == [
        "production",
        "production",
        "qa",
        "qa",
    ]
    assert load_environment(root, "qa").work_pools["python"].name == "q-python"


def test_the_later_layer_wins_and_is_named(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(
        {
            "environments/defaults.yaml": """\
                project: sales
                default_parameters: {cleanup: true, batch_size: 10}
                resource_limits: {memory: 512Mi, cpu: 0.5}
                source: {type: git, repository: https://git.example.com/flows, branch: main}
                docker: {registry: registry.example.com}
                """,
            "environments/production.yaml": """\
                default_parameters:
                  cleanup: false
                resource_limits:
                  memory: 2147483648
                source:
                  type: local
                work_pools:
                  docker: {name: big, work_queue: fast}
                """,
        }
    )
    monkeypatch.setenv("DOCKER_REGISTRY", "other.example.com")
    environment = load_environment(root, "prod")
    settings = {setting.path: (setting.value, setting.origin) for setting in explain(environment)}
    assert settings == {
        "name": ("production", "built-in default"),
        "short_name": ("prod", "built-in default"),
        "project": ("sales", "environments/defaults.yaml:1"),
        "prefect_api_url": ("http://127.0.0.1:4200/api", "built-in default"),
        "work_pools.python.name": ("prod-python", "built-in default"),
        "work_pools.python.type": ("process", "built-in default"),
        "work_pools.docker.name": ("big", "environments/production.yaml:8"),
        "work_pools.docker.type": ("docker", "built-in default"),
        "work_pools.docker.work_queue": ("fast", "environments/production.yaml:8"),
        "default_parameters.cleanup": (False, "environments/production.yaml:2"),
        "default_parameters.batch_size": (10, "environments/defaults.yaml:2"),
        "resource_limits.memory": ("2147483648", "environments/production.yaml:4"),
        "resource_limits.cpu": ("0.5", "environments/defaults.yaml:3"),
        "docker.registry": ("other.example.com", "shell DOCKER_REGISTRY"),
        "docker.namespace": ("flows", "built-in default"),
        "docker.image_pull_policy": ("IfNotPresent", "built-in default"),
        "docker.build_args": ({}, "built-in default"),
        "docker.build_backend": ("docker-py", "built-in default"),
        "docker.networks": ([], "built-in default"),
        "source.type": ("local", "environments/production.yaml:6"),
        "strict": (False, "built-in default"),
        "require_approval": (False, "built-in default"),
        "approval_timeout": (86400, "built-in default"),
        "prune": (False, "built-in default"),
        "prune_limit": (0.5, "built-in default"),
        "on_failure": ("rollback", "built-in default"),
        "lock_wait": (120.0, "built-in default"),
        "ignore": ([], "built-in default"),
        "allow_plain": ([], "built-in default"),
        "reconcile.policy": ("repair", "built-in default"),
        "reconcile.jitter": (0.0, "built-in default"),
        "registration.job_variables": ({}, "built-in default"),
    }
    assert environment.project_stated


def test_a_base_job_template_may_stand_in_a_file_and_be_refined_by_an_environment(write: Write) -> None:
    root = write(
        {
            "environments/defaults.yaml": "work_pools: {python: {name: p, base_job_template: pools/p.json}}",
            "environments/development.yaml": """
                work_pools:
                  python:
                    base_job_template: {variables: {properties: {a: {default: 2}}}}
                """,
            "environments/pools/p.json": '{"variables": {"properties": {"a": {"default": 1}, "b": {}}}}',
        }
    )
    environment = load_environment(root, "dev")
    assert environment.work_pools["python"].spec == {
        "type": "process",
        "base_job_template": {"variables": {"properties": {"a": {"default": 2}, "b": {}}}},
    }
    variables = ("work_pools", "python", "base_job_template", "variables", "properties")
    assert environment.origin(*variables, "a", "default") == "environments/development.yaml:4"
    assert environment.origin(*variables, "b") == "environments/pools/p.json:1"


def test_of_a_work_pool_only_what_a_file_says_is_stated(write: Write) -> None:
    """That there is no limit can be said, too."""
    pools = "work_pools: {python: {name: p, concurrency_limit: null}, docker: d}"
    environment = load_environment(write({"environments/development.yaml": pools}), "dev")
    stated = {pool.name: pool.spec for pool in environment.work_pools.values()}
    assert stated == {"p": {"type": "process", "concurrency_limit": None}, "d": {"type": "docker"}}


def test_a_work_pool_can_be_given_by_its_name_alone(write: Write) -> None:
    pools = "work_pools: {python: mine, docker: boxes, kubernetes: {name: k8s, base_job_template: {variables: {}}}}"
    environment = load_environment(write({"environments/development.yaml": pools}), "dev")
    assert {kind: (pool.name, pool.type) for kind, pool in environment.work_pools.items()} == {
        "python": ("mine", "process"),
        "docker": ("boxes", "docker"),
        "kubernetes": ("k8s", "kubernetes"),
    }
    assert environment.origin("work_pools", "python", "name") == "environments/development.yaml:1"


def test_a_source_can_be_git(write: Write) -> None:
    text = (
        "source: {type: git, repository: r, commit: abc, credentials: '{{ prefect.blocks.github-credentials.robot }}'}"
    )
    source = load_environment(write({"environments/development.yaml": text}), "dev").source
    assert isinstance(source, GitSource)
    assert (source.repository, source.commit, source.branch) == ("r", "abc", None)


def test_the_same_server_has_one_spelling(write: Write) -> None:
    root = write({"environments/development.yaml": "prefect_api_url: http://127.0.0.1:4200/api/"})
    assert load_environment(root, "dev").prefect_api_url == "http://127.0.0.1:4200/api"


def test_another_folder_can_take_the_place_of_environments(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(
        {
            "environments/development.yaml": "",
            "conf/live.yaml": "short_name: l",
            "conf/templates/x.yaml": "work_pool: x",
        }
    )
    for folder in ("conf", str(root / "conf")):
        monkeypatch.setenv("DEPLOYMENT_CONFIG_PATH", folder)
        assert environment_names(root) == {"live": "l"}
        assert load_template(root, "x").work_pool == "x"
    for missing in ("nowhere", "conf/live.yaml"):
        monkeypatch.setenv("DEPLOYMENT_CONFIG_PATH", missing)
        with pytest.raises(MetaFlowsError, match=f"MF215 .*DEPLOYMENT_CONFIG_PATH.* {missing}"):
            load_environment(root, "live")


def test_an_unknown_environment_is_wrong_use_and_says_which_there_are(write: Write) -> None:
    root = write({"environments/staging.yaml": "", "environments/production.yaml": ""})
    with pytest.raises(MetaFlowsError) as refused:
        load_environment(root, "prodution")
    assert refused.value.exit_code == 2
    assert str(refused.value) == (
        "MF204 there is no environment 'prodution', did you mean 'production'?\n"
        "    remedy: Use one of: production, staging. To add an environment, create its file in environments."
    )


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("prune: yes please", "MF203", "'prune': must be true or false, not \"yes please\""),
        ("\nstrict: 1", "MF203", "'strict': must be true or false, not 1"),
        ("stric: true", "MF202", "unknown key 'stric', did you mean 'strict'?"),
        ("project: 5", "MF203", "'project': must be text, not 5"),
        ("project:", "MF203", "'project': must be text, not empty"),
        ("project: sales--eu", "MF203", "'project': must be lower-case letters, digits and dashes"),
        ("project: ''", "MF203", "'project': must be lower-case letters, digits and dashes"),
        ("name: other", "MF203", "'name': must be 'development'"),
        (
            "short_name: Dev",
            "MF203",
            "'short_name': must be lower-case letters, digits and dashes: ^[a-z]",
        ),
        ("prefect_api_url: ftp://x/api", "MF203", "'prefect_api_url': must be an http:// or https:// address"),
        ("prefect_api_url: localhost:4200", "MF203", "'prefect_api_url': must be an http:// or https:// address"),
        ("prefect_api_url: http://h:x/api", "MF203", "'prefect_api_url': "),
        ("prefect_api_url: http://[/api", "MF203", "'prefect_api_url': "),
        ("prefect_api_url: http://me:pa55@h/api", "MF203", "belongs into PREFECT_API_AUTH_STRING"),
        ("work_pools: [python]", "MF203", "'work_pools': must be a mapping of keys to values, not a list"),
        ("work_pools: {python: 5}", "MF203", "'python': must be a mapping of keys to values, not 5"),
        ("work_pools: {docker: {}}", "MF203", "'name': is required"),
        ("work_pools: {python: {name: p, base_job_template: 5}}", "MF203", "'base_job_template': must be a mapping"),
        ("work_pools: {python: {name: p, concurrency_limit: -1}}", "MF203", "'concurrency_limit': must be"),
        ("work_pools: {python: {name: p, base_job_template: no/file.json}}", "MF215", "environments/no/file.json"),
        ("work_pools: {Python: x}", "MF203", "'Python': must be lower-case letters, digits and dashes"),
        ("work_pools:\n  docker:\n    naem: x\n    name: y", "MF202", "unknown key 'naem', did you mean 'name'?"),
        ("default_parameters:", "MF203", "'default_parameters': must be a mapping of keys to values, not empty"),
        ("resource_limits: {memory: 512m}", "MF212", "'512m' is not an amount of memory"),
        ("resource_limits: {cpu: much}", "MF212", "'much' is not a number of processors"),
        ("resource_limits: {cpu: true}", "MF203", "'cpu': must be text, not true"),
        (
            "docker: {image_pull_policy: Sometimes}",
            "MF203",
            "must be 'Always', 'IfNotPresent', 'IfPossible' or 'Never', not \"Sometimes\"",
        ),
        ("source: {type: svn}", "MF203", "'source': has an unknown `type`; there are 'local', 'git'"),
        ("source: {branch: main}", "MF203", "'source': needs a `type`"),
        ("source: {type: git}", "MF203", "'repository': is required"),
        ("source: {type: local, branch: main}", "MF202", "unknown key 'branch'"),
        ("source: {type: git, repository: r, brunch: x}", "MF202", "unknown key 'brunch', did you mean 'branch'?"),
        ("source: {type: git, repository: r, credentials: pa55}", "MF203", "'credentials': "),
        ("source: here", "MF203", "'source': "),
    ],
)
def test_what_is_wrong_is_said_in_plain_words_with_its_line(write: Write, text: str, code: str, message: str) -> None:
    root = write({"environments/development.yaml": text})
    with pytest.raises(MetaFlowsError) as refused:
        load_environment(root, "development")
    line = text.partition("naem")[0].count("\n") + 1
    assert errors_of(refused) == [(code, "environments/development.yaml", line)]
    (error,) = refused.value.errors
    assert message in error.message
    assert "pydantic" not in str(error)
    assert "pa55" not in str(error)


def test_the_known_keys_are_those_of_the_level(write: Write) -> None:
    root = write({"environments/development.yaml": "docker: {x: 1}\nsource: {type: local, y: 2}"})
    with pytest.raises(MetaFlowsError) as refused:
        load_environment(root, "dev")
    assert [error.remedy.partition("known keys here: ")[2] for error in refused.value.errors] == [
        "build_args, build_backend, image_pull_policy, namespace, networks, platform, registry, tag.",
        "type.",
    ]


def test_everything_wrong_in_all_layers_is_said_at_once(write: Write) -> None:
    root = write(
        {
            "environments/defaults.yaml": "prefect_url: x\nresource_limits:\n  memory: lots",
            "environments/development.yaml": "\nstrict: maybe",
        }
    )
    with pytest.raises(MetaFlowsError) as refused:
        load_environment(root, "dev")
    assert sorted(errors_of(refused), key=str) == [
        ("MF202", "environments/defaults.yaml", 1),
        ("MF203", "environments/development.yaml", 2),
        ("MF212", "environments/defaults.yaml", 3),
    ]


def test_a_name_in_the_defaults_is_refused(write: Write) -> None:
    root = write({"environments/defaults.yaml": "short_name: x", "environments/qa.yaml": ""})
    with pytest.raises(MetaFlowsError) as refused:
        load_environment(root, "qa")
    assert errors_of(refused) == [("MF203", "environments/defaults.yaml", 1)]


def test_a_broken_file_does_not_keep_other_environments_from_loading(write: Write) -> None:
    root = write({"environments/development.yaml": "", "environments/staging.yaml": "a: ["})
    assert load_environment(root, "dev").name == "development"
    with pytest.raises(MetaFlowsError) as refused:
        load_environment(root, "staging")
    assert errors_of(refused) == [("MF201", "environments/staging.yaml", 1)]


def test_a_secret_is_masked_when_settings_are_explained(write: Write) -> None:
    parameters = "{api_token: abc, hosts: [a, 'postgresql://me:pa55@h/db'], block: '{{ prefect.blocks.secret.x }}'}"
    text = f"default_parameters: {parameters}\nallow_plain: [parameters.api_token, parameters.hosts]\n"
    environment = load_environment(write({"environments/development.yaml": text}), "dev")
    shown = {setting.path: setting.value for setting in explain(environment)}
    assert shown["default_parameters.api_token"] == shown["default_parameters.hosts"] == MASK
    assert shown["default_parameters.block"] == "{{ prefect.blocks.secret.x }}"
