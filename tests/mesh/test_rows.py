"""Rows over the devices of a mesh: the same numbers in the same places, whatever divides."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxyjax.core.errors import ConfigError
from galaxyjax.mesh.rows import over_data
from galaxyjax.mesh.topology import build_mesh


@pytest.mark.parametrize("shape", [None, "data=1", "data=8", "data=2,x=2,y=2"])
@pytest.mark.parametrize("count", [1, 7, 8, 37])
def test_rows_come_back_in_their_places_without_the_padding(shape, count):
    mesh, batches = None if shape is None else build_mesh(shape), []

    @jax.jit
    def function(rows):
        batches.append(len(rows["x"]))  # once a compilation
        return {"sum": rows["x"].sum(axis=1) + rows["y"], "row": rows["x"] ** 2}

    x, y = np.arange(3.0 * count).reshape(count, 3), np.arange(count) / 7.0
    found = over_data(function, {"x": x, "y": y}, mesh, most=3)
    np.testing.assert_allclose(found["sum"], x.sum(axis=1) + y, rtol=1e-6)
    np.testing.assert_allclose(found["row"], x**2, rtol=1e-6)
    parts = 1 if mesh is None else mesh.shape["data"]
    assert len(batches) == 1 and batches[0] <= 3 * parts and batches[0] % parts == 0


def test_each_device_has_its_part_of_the_rows():
    places = []
    over_data(
        lambda x: places.append(x.sharding.shard_shape(x.shape)) or x, np.zeros((16, 5)), build_mesh("data=8")
    )
    assert places == [(2, 5)]


def test_rows_that_do_not_match_are_named():
    with pytest.raises(ConfigError, match=r"\[2, 3\] rows"):
        over_data(jnp.sum, (np.zeros(2), np.zeros(3)))
    with pytest.raises(ConfigError, match=r"\[0\] rows"):
        over_data(jnp.sum, np.zeros((0, 2)))
