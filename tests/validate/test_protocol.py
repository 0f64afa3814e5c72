"""A test set is apart from the training set and is met once a release."""

import json

import numpy as np
import pytest

from galaxyjax.core.errors import ConfigError, DataError
from galaxyjax.simulate.suite import Run
from galaxyjax.validate.protocol import check_apart, touch_test_set


def runs(values):
    empty = np.zeros((1, 1))
    return [Run({"h": h, "omega_b": b}, empty, empty, {}, empty, empty, {}, empty, empty) for h, b in values]


def test_a_run_on_both_sides_is_found():
    train = runs([(0.6, 0.02), (0.8, 0.02), (0.7, 0.024)])
    assert check_apart(train, runs([(0.7, 0.02)])) == pytest.approx(0.5)
    with pytest.raises(DataError, match="test run 1 is training run 2"):
        check_apart(train, runs([(0.65, 0.021), (0.7, 0.024)]))


def test_one_release_meets_the_test_set_with_one_set_of_weights(tmp_path):
    assert touch_test_set(tmp_path, "1.0.0", "a" * 64, "suite-77")
    assert not touch_test_set(tmp_path, "1.0.0", "a" * 64, "suite-77")
    with pytest.raises(ConfigError, match="raise the version"):
        touch_test_set(tmp_path, "1.0.0", "b" * 64, "suite-77")
    assert touch_test_set(tmp_path, "1.1.0", "b" * 64, "suite-77")
    assert touch_test_set(tmp_path, "1.0.0", "a" * 64, "suite-78")
    ledger = json.loads((tmp_path / "test_ledger.json").read_text())
    assert [entry["release"] for entry in ledger] == ["1.0.0", "1.1.0", "1.0.0"]


def test_a_shell_without_modes_joins_the_next():
    """A box of 32 Mpc/h has no wave below 0.196 h/Mpc; a large box keeps every shell."""
    from galaxyjax.validate.fields import EDGES, held

    small = held(EDGES, 16, 32.0)
    assert small[0] == EDGES[0] and small[1] == 0.2 and 0.25 not in small
    np.testing.assert_array_equal(held(EDGES, 64, 128.0), EDGES)
