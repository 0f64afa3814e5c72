"""Styled convolution: the modulated, normalised kernel itself as oracle; derivatives along the style."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxyjax.mesh.halo import exchange
from galaxyjax.nn.conv import convolve
from galaxyjax.nn.functional import functional
from galaxyjax.nn.style import EPSILON, StyledConv
from tests.nn.weights import normal, weights

WRAP = partial(exchange, axis_names=())


def network(style=2, inputs=3, outputs=4, dtype=jnp.float32):
    init, apply = functional(lambda rngs: StyledConv(inputs, outputs, style, rngs=rngs))
    return weights(init, dtype=dtype), jax.jit(apply, static_argnums=3)


def test_each_field_has_its_own_kernel_of_unit_norm(float64):
    """Karras et al. 2020, eqs 1 and 3, with a kernel built for each field of the batch."""
    params, apply = network(dtype=jnp.float64)
    x, style = normal(1, 2, 4, 4, 4, 3, dtype=jnp.float64), normal(2, 2, 2, dtype=jnp.float64)
    out = apply(params, x, style, WRAP)

    @jax.jit
    def one(x, style):
        kernel = params["kernel"] * (1.0 + style @ params["affine"])[:, None]
        kernel /= jnp.sqrt(jnp.sum(kernel**2, axis=(0, 1, 2, 3)) + EPSILON)
        return convolve(x[None], kernel, WRAP)[0] + params["bias"]

    for b in range(2):
        np.testing.assert_allclose(out[b], one(x[b], style[b]), rtol=1e-12, atol=1e-12)


def test_variance_does_not_depend_on_the_style():
    params, apply = network(inputs=16, outputs=32)
    x = normal(3, 1, 12, 12, 12, 16)
    for scale in (0.0, 1.0, 10.0):
        out = apply(params, x, scale * jnp.ones((1, 2)), WRAP) - params["bias"]
        assert float(np.std(out)) == pytest.approx(1.0, abs=0.06)


def test_derivative_along_the_style_is_that_of_finite_differences(float64):
    params, apply = network(dtype=jnp.float64)
    x, style, along = (
        normal(s, *shape, dtype=jnp.float64) for s, shape in ((4, (1, 4, 4, 4, 3)), (5, (1, 2)), (6, (1, 2)))
    )
    function = jax.jit(lambda s: apply(params, x, s, WRAP))
    tangent = jax.jvp(function, (style,), (along,))[1]
    h = 1e-5
    numeric = (function(style + h * along) - function(style - h * along)) / (2 * h)
    np.testing.assert_allclose(tangent, numeric, rtol=1e-7, atol=1e-8)
    assert np.linalg.norm(tangent) > 0.1


def test_without_a_style_only_the_normalisation_is_left():
    params, apply = network(style=0)
    assert set(params) == {"kernel", "bias"}
    x = normal(7, 1, 4, 4, 4, 3)
    out = apply(params, x, None, WRAP)
    np.testing.assert_allclose(
        apply({**params, "kernel": 5.0 * params["kernel"]}, x, None, WRAP), out, atol=2e-5
    )
