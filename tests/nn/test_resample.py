"""Resampling: inverse of each other, the strided convolution it stands for, nothing that crosses a block."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxyjax.core.errors import ConfigError
from galaxyjax.mesh import budget
from galaxyjax.mesh.topology import FIELD, REPLICATED, build_mesh
from galaxyjax.nn.conv import LAYOUT
from galaxyjax.nn.functional import functional
from galaxyjax.nn.resample import Down, Up, depth_to_space, space_to_depth
from tests.nn.weights import normal, weights

side = st.integers(1, 3).map(lambda n: 2 * n)


@given(st.integers(1, 2), side, side, side, st.integers(1, 3))
def test_depth_and_space_are_inverse(b, nx, ny, nz, c):
    x = np.arange(b * nx * ny * nz * c).reshape(b, nx, ny, nz, c)
    deep = space_to_depth(x)
    assert deep.shape == (b, nx // 2, ny // 2, nz // 2, 8 * c)
    np.testing.assert_array_equal(depth_to_space(deep), x)
    # The channels of a coarse cell are its own eight cells, in C order.
    np.testing.assert_array_equal(deep[0, 0, 0, 0], x[0, :2, :2, :2].reshape(-1))


def test_down_is_a_convolution_of_stride_two():
    init, apply = functional(lambda rngs: Down(3, 5, rngs=rngs))
    params = weights(init)
    x = normal(1, 2, 4, 6, 8, 3)
    kernel = params["mix"]["kernel"].reshape(2, 2, 2, 3, 5)
    expected = jax.lax.conv_general_dilated(x, kernel, (2, 2, 2), "VALID", dimension_numbers=LAYOUT)
    np.testing.assert_allclose(jax.jit(apply)(params, x) - params["mix"]["bias"], expected, atol=4e-6)


def test_up_is_the_transpose_of_down_with_the_transposed_kernel():
    down, up = (functional(lambda rngs, part=part: part(3, 3, rngs=rngs)) for part in (Down, Up))
    params = weights(down[0], bias=0.0)
    kernel = params["mix"]["kernel"].reshape(24, 3)
    mirrored = {"mix": {"kernel": kernel.T[None, None, None], "bias": jnp.zeros(24)}}
    x = normal(3, 1, 4, 4, 4, 3)
    y = normal(4, 1, 2, 2, 2, 3)
    transposed = jax.jit(jax.linear_transpose(lambda x: down[1](params, x), x))(y)[0]
    np.testing.assert_allclose(jax.jit(up[1])(mirrored, y), transposed, atol=2e-6)


@pytest.mark.parametrize("part, side", [(Down, 8), (Up, 4)])
def test_no_block_talks_to_another(part, side):
    """Not even in the gradient, whose only message is the sum over the mesh of the weights' own."""
    init, apply = functional(lambda rngs: part(2, 3, rngs=rngs))
    params, mesh = weights(init), build_mesh("data=2,x=2,y=2")
    x = normal(5, 2, side, side, side, 2)
    sharded = jax.shard_map(apply, mesh=mesh, in_specs=(REPLICATED, FIELD), out_specs=FIELD, check_vma=True)
    compiled = jax.jit(jax.grad(lambda p: jnp.sum(sharded(p, x) ** 2))).lower(params).compile()
    found = budget.collectives(compiled)
    assert {c.kind for c in found} == {"all-reduce"}
    assert budget.total(found) <= 4 * sum(leaf.size for leaf in jax.tree.leaves(params)) + 8
    np.testing.assert_allclose(jax.jit(sharded)(params, x), jax.jit(apply)(params, x), atol=2e-6)


def test_an_odd_side_is_refused_with_the_numbers():
    with pytest.raises(ConfigError, match="6 x 5 x 4 cells has an odd side"):
        space_to_depth(jnp.zeros((1, 6, 5, 4, 1)))
