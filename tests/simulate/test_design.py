"""Designs fill the box, keep joint bounds, and grow without moving."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxyjax.core.errors import ConfigError
from galaxyjax.simulate.design import Range, SumBelow, latin_hypercube, sobol

BOX = (Range("w0", -1.3, -0.4), Range("wa", -2.0, 0.5), Range("h", 0.6, 0.85))
BOUND = (SumBelow("w0", "wa", -0.3),)


@given(st.integers(1, 300), st.integers(0, 2**31))
def test_points_stay_in_the_box_and_below_the_bound(n, seed):
    points = sobol(BOX, n, seed, BOUND)
    for r in BOX:
        assert points[r.name].shape == (n,)
        assert (points[r.name] >= r.low).all() and (points[r.name] <= r.high).all()
    assert (points["w0"] + points["wa"] <= -0.3 + 1e-12).all()


def test_a_larger_design_keeps_the_points_of_a_smaller_one():
    small, large = sobol(BOX, 37, 5, BOUND), sobol(BOX, 400, 5, BOUND)
    for name in small:
        np.testing.assert_array_equal(small[name], large[name][:37])


def test_sobol_fills_every_eighth_of_every_range():
    points = sobol(BOX, 64, 1)
    for r in BOX:
        counts, _ = np.histogram(points[r.name], bins=8, range=(r.low, r.high))
        assert (counts == 8).all()  # a (t, m, s)-net is exactly even in each dimension


def test_latin_hypercube_has_one_point_in_every_row():
    points = latin_hypercube(BOX, 50, 3)
    for r in BOX:
        row = np.floor((points[r.name] - r.low) / (r.high - r.low) * 50).astype(int)
        assert sorted(row) == list(range(50))


def test_a_bound_without_room_names_it():
    with pytest.raises(ConfigError, match="w0 \\+ wa <= -9"):
        sobol(BOX, 4, 0, (SumBelow("w0", "wa", -9.0),))


def test_an_empty_range_is_refused():
    with pytest.raises(ConfigError, match="range of h: low 0.9"):
        Range("h", 0.9, 0.6)
