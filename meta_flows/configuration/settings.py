"""Settings from environment variables; Prefect reads its own (PREFECT_*) itself."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Environment variables that the commands honour; a command's flag takes precedence.

    Attributes:
        deployment_env: Environment to work on, by its long or short name.
        deployment_config_path: Folder in place of the repository's `environments/`.
        docker_registry: Registry in place of the one in the environment's file.
        docker_namespace: Namespace in place of the one in the environment's file.
        docker_tag: Moving tag that images get beside the one for their content.
        deploy_lock_seconds: Seconds without a renewal after which the lock of a deploy counts as lost.
        browser_path: Chromium to open the UI in; the one on the PATH unless set.
    """

    model_config = SettingsConfigDict(env_ignore_empty=True, frozen=True)

    deployment_env: str = "development"
    deployment_config_path: Path | None = None
    docker_registry: str | None = None
    docker_namespace: str | None = None
    docker_tag: str | None = None
    deploy_lock_seconds: float = 90
    browser_path: Path | None = None


def settings() -> Settings:
    """Return the settings of the current environment variables; cached, since pydantic takes 1 ms to read them."""
    return _read(*(os.environ.get(name.upper()) for name in Settings.model_fields))


@cache
def _read(*_: str | None) -> Settings:
    return Settings()
