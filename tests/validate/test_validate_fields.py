"""What `validate.fields` measures with: shells that hold modes, and test seeds that training never saw."""

import numpy as np
import pytest

from galaxyjax.core.errors import DataError
from galaxyjax.simulate.design import Range
from galaxyjax.simulate.fields import NAMES, FieldSuite
from galaxyjax.validate.fields import EDGES, held
from galaxyjax.validate.protocol import check_seeds


@pytest.mark.parametrize("box_size", [25.0, 32.0, 64.0, 128.0, 200.0])
def test_every_shell_holds_modes_and_none_is_lost(box_size):
    edges = held(EDGES, int(box_size / 2.0), box_size)
    unit = 2.0 * np.pi / box_size
    axis = unit * np.arange(-int(EDGES[-1] / unit) - 1, int(EDGES[-1] / unit) + 2)
    k = np.sqrt(sum(np.square(np.meshgrid(axis, axis, axis, indexing="ij"))))
    assert np.histogram(k, edges)[0].min() > 0
    assert np.histogram(k, edges)[0].sum() == np.histogram(k, EDGES)[0].sum()
    if box_size >= 128.0:
        np.testing.assert_array_equal(edges, EDGES)


def test_suites_of_one_seed_share_their_white_noise():
    ranges = tuple(Range(name, 0.1, 0.2) for name in NAMES)
    one, other = (FieldSuite(seed=s, runs=2, cells=8, box_size=16.0, ranges=ranges) for s in (1, 2))
    check_seeds(one, other)
    with pytest.raises(DataError, match="seed 1 is the training suite's"):
        check_seeds(one, one)
