import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def toy():
    from toy_emulator import toy_emulator

    return toy_emulator()


@pytest.fixture
def toy_family(monkeypatch):
    """Make `store` know the toy for one test."""
    from toy_emulator import Toy

    from galaxyjax.emulator import store

    monkeypatch.setitem(store.FAMILIES, "toy", Toy)
    return Toy
