"""Worlds for the engine's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.engine.world import World, new_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


@pytest.fixture
def make_world(tmp_path: Path) -> Callable[..., World]:
    def make(**stated: Any) -> World:
        return new_world(tmp_path, **stated)

    return make
