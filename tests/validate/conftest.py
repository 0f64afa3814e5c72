import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "emulator"))


@pytest.fixture
def toy():
    from toy_emulator import toy_emulator

    return toy_emulator()
