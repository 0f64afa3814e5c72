"""What every room's tests share: real data when it is there, the precision, a quiet terminal."""

import os
from pathlib import Path

# Before JAX starts: the tests state facts about one CPU, whatever else the machine has.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("GALAXYJAX_QUIET", "1")
# Most of a test's time is compiling what runs once: LLVM tries less hard, also in processes that tests start.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)

import jax
import pytest
from hypothesis import settings

# Eight devices in every test process, so that one run covers one device and many.
jax.config.update("jax_num_cpu_devices", 8)

# The same examples in every run, and no clock: compiling takes seconds on the first of them.
settings.register_profile("galaxyjax", derandomize=True, deadline=None, max_examples=30, print_blob=True)
settings.load_profile("galaxyjax")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data that GALAXYJAX_DATA names; the test is skipped, saying so, without it."""
    named = os.environ.get("GALAXYJAX_DATA", "")
    if not named:
        pytest.skip("needs real survey data: set GALAXYJAX_DATA to the folder that holds it")
    root = Path(named)
    if not root.is_dir():
        pytest.skip(f"needs real survey data: GALAXYJAX_DATA={named} is not a folder")
    return root


@pytest.fixture
def float64():
    """Run one test in double precision."""
    with jax.enable_x64(True):
        yield
