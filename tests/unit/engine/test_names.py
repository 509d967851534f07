"""Names that are made of a project's and an environment's."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from pydantic import TypeAdapter

from meta_flows.configuration.environment import Name, Project
from meta_flows.engine import deploy_lock, joined, release_name, writer_tag
from meta_flows.models import Ownership
from tests.budgets import examples

pytestmark = pytest.mark.hypothesis

parts = st.lists(st.sampled_from("ab-"), min_size=1, max_size=7).map("".join)


def is_allowed(kind: Any, name: str) -> bool:
    try:
        TypeAdapter(kind).validate_python(name)
    except ValueError:
        return False
    return True


owners = st.builds(
    Ownership, parts.filter(lambda name: is_allowed(Project, name)), parts.filter(lambda name: is_allowed(Name, name))
)


@given(one=owners, other=owners)
@examples(1000)
def test_no_two_projects_or_environments_share_a_name(one: Ownership, other: Ownership) -> None:
    for name in (deploy_lock, writer_tag, release_name, lambda owner: joined("deploy", *owner)):
        assert (name(one) == name(other)) == (one == other)
        assert one == other or not name(one).startswith(f"{name(other)}--")
