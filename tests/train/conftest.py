"""Jobs that several tests look at: each is run once."""

import pytest

from tests.train import jobs


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory):
    """Compiled code of these jobs, shared by them, never the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GALAXYJAX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def recipe(tmp_path_factory):
    """The small recipe: 20 steps."""
    return jobs.write_recipe(tmp_path_factory.mktemp("recipe") / "small")


@pytest.fixture(scope="session")
def two_by_four(recipe, tmp_path_factory):
    """Two processes with four devices each, undisturbed."""
    return jobs.run(recipe, tmp_path_factory.mktemp("two_by_four"), 2, 4)
