"""Makes `strategies` importable from every test, names the Hypothesis profiles, and starts PostgreSQL when
a test asks for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

import clusters

# Shared machines pause now and then; a deadline would blame the code for it.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", parent=settings.get_profile("default"), max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[clusters.Cluster]:
    """A private PostgreSQL server."""
    with clusters.cluster() as server:
        yield server


@pytest.fixture
def database(postgres: clusters.Cluster) -> Iterator[str]:
    """The address of an empty database."""
    url = postgres.create()
    yield url
    postgres.drop(url)
