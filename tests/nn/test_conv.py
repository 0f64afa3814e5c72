"""Periodic convolution against SciPy's, its shift symmetry, and the dtype in which it computes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from galaxyjax.core.errors import ConfigError
from galaxyjax.mesh.halo import exchange
from galaxyjax.nn.conv import Conv, convolve, precision_of
from galaxyjax.nn.functional import functional
from tests.nn.weights import normal, weights

WRAP = partial(exchange, axis_names=())
CONVOLVE = jax.jit(lambda x, kernel: convolve(x, kernel, WRAP))


def module(inputs, outputs):
    init, apply = functional(lambda rngs: Conv(inputs, outputs, rngs=rngs))
    return init, jax.jit(lambda params, x: apply(params, x, WRAP))


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_it_is_scipy_correlation_with_periodic_edges(float64, k):
    x, kernel = draw(0, 2, 5, 6, 7, 3), draw(1, k, k, k, 3, 2)
    expected = np.zeros((2, 5, 6, 7, 2))
    for b, i, o in np.ndindex(2, 3, 2):
        expected[b, ..., o] += ndimage.correlate(x[b, ..., i], kernel[..., i, o], mode="wrap")
    np.testing.assert_allclose(
        CONVOLVE(jnp.asarray(x), jnp.asarray(kernel)), expected, rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("k", [1, 3])
def test_gradients_are_the_transposes_of_a_bilinear_map(float64, k):
    """conv is linear in the field and in the kernel, so both gradients reproduce its value exactly."""
    x, kernel, y = (
        jnp.asarray(a) for a in (draw(2, 1, 4, 5, 3, 2), draw(3, k, k, k, 2, 3), draw(4, 1, 4, 5, 3, 3))
    )
    value, (of_x, of_kernel) = jax.value_and_grad(lambda x, w: jnp.vdot(CONVOLVE(x, w), y), (0, 1))(x, kernel)
    np.testing.assert_allclose([jnp.vdot(of_x, x), jnp.vdot(of_kernel, kernel)], [value, value], rtol=1e-12)
    nudge = jnp.asarray(draw(5, *kernel.shape))
    changed = jnp.vdot(CONVOLVE(x, kernel + nudge), y) - value
    np.testing.assert_allclose(jnp.vdot(of_kernel, nudge), changed, rtol=1e-12)


def test_shifting_the_field_shifts_the_answer_bit_for_bit():
    init, apply = module(2, 4)
    params, x = weights(init), normal(6, 1, 6, 4, 5, 2)
    shift = partial(jnp.roll, shift=(2, 1, 3), axis=(1, 2, 3))
    np.testing.assert_array_equal(apply(params, shift(x)), shift(apply(params, x)))


def test_variance_is_kept_when_training_begins():
    init, apply = module(16, 32)
    x = normal(7, 1, 12, 12, 12, 16)
    assert float(np.std(apply(jax.jit(init)(jax.random.key(1)), x))) == pytest.approx(1.0, abs=0.05)


def test_it_computes_in_the_dtype_of_the_field_from_float32_weights():
    init, apply = module(2, 4)
    params, x = weights(init), normal(8, 1, 4, 4, 4, 2)
    assert {leaf.dtype for leaf in jax.tree.leaves(jax.eval_shape(init, jax.random.key(0)))} == {
        jnp.dtype("float32")
    }
    narrow = apply(params, x.astype(jnp.bfloat16))
    assert narrow.dtype == jnp.bfloat16
    np.testing.assert_allclose(narrow.astype(jnp.float32), apply(params, x), atol=0.05)
    gradient = jax.grad(lambda p: apply(p, x.astype(jnp.bfloat16)).sum().astype(jnp.float32))(params)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype("float32")}
    assert precision_of(jnp.float32) == precision_of(jnp.float64) == jax.lax.Precision.HIGHEST
    assert precision_of(jnp.bfloat16) == jax.lax.Precision.DEFAULT


def test_a_kernel_without_a_centre_is_refused():
    with pytest.raises(ConfigError, match="kernel=2 must be odd"):
        functional(lambda rngs: Conv(1, 1, 2, rngs=rngs))
