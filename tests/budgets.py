"""How much property tests look at: `make test` a tenth of what `make test-all` does."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EVERYTHING = "META_FLOWS_ALL_EXAMPLES"


def examples(count: int) -> settings:
    """Try this many examples, or a tenth of them: the same at each run, however long each takes."""
    return settings(
        max_examples=count if EVERYTHING in os.environ else max(10, count // 10),
        derandomize=True,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )
