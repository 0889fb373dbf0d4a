"""Settings of every test: hypothesis repeatable and without deadlines, since machines are shared and slow."""

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

settings.register_profile(
    "repeatable",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def compiled_engines_are_kept_apart(tmp_path_factory):
    """Compiled once a session, for this process and the commands it starts, whatever the user's cache holds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STREAMFUSE_CACHE", str(tmp_path_factory.mktemp("engines")))
        yield
