"""Residual blocks: identity without gain, steady variance in a stack, gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from galaxyjax.mesh.halo import exchange
from galaxyjax.nn.blocks import SILU_RMS, ResidualBlock, activation
from galaxyjax.nn.functional import functional
from tests.nn.weights import normal, weights

WRAP = partial(exchange, axis_names=())


def test_activation_keeps_the_mean_square_of_a_normal_number():
    second_moment = integrate.quad(lambda z: (z / (1 + np.exp(-z))) ** 2 * stats.norm.pdf(z), -12, 12)[0]
    assert np.sqrt(second_moment) == pytest.approx(SILU_RMS, rel=1e-6)
    z = jnp.linspace(-4, 4, 9)
    np.testing.assert_allclose(activation(z), z / (1 + jnp.exp(-z)) / SILU_RMS, rtol=1e-5)


def test_without_gain_a_block_is_the_identity():
    init, apply = functional(lambda rngs: ResidualBlock(3, 1, gain=0.0, rngs=rngs))
    x = normal(0, 1, 4, 4, 4, 3)
    out = jax.jit(lambda key: apply(init(key), x, jnp.ones((1, 1)), WRAP))(jax.random.key(1))
    np.testing.assert_array_equal(out, x)


def test_the_variance_of_a_stack_does_not_grow_with_its_depth():
    """Each of n branches adds 1/n; silu lets through half of a strong field, twice in a branch."""
    init, apply = functional(lambda rngs: ResidualBlock(16, 1, rngs=rngs))
    block = jax.jit(lambda params, x: apply(params, x, jnp.zeros((1, 1)), WRAP))
    for depth in (4, 16):
        x = normal(depth, 1, 6, 6, 6, 16)
        for i in range(depth):
            x = block(weights(init, i, bias=0.0, gain=depth**-0.5), x)
        assert 1.5 < float(np.var(x)) < np.exp((0.5 / SILU_RMS**2) ** 2)


def test_gradient_is_that_of_finite_differences(float64):
    init, apply = functional(lambda rngs: ResidualBlock(3, 2, gain=0.7, rngs=rngs))
    x, weight = normal(3, 2, 1, 2, 3, 4, 3, dtype=jnp.float64)
    style = jnp.array([[0.5, -1.0]])
    loss = jax.jit(lambda p, x, s: jnp.vdot(apply(p, x, s, WRAP), weight))
    here = (weights(init, dtype=jnp.float64), x, style)
    along = jax.tree.map(lambda a: np.cos(np.arange(a.size)).reshape(a.shape), here)
    move = lambda h: jax.tree.map(lambda a, d: np.asarray(a) + h * d, here, along)  # noqa: E731
    gradient = jax.jit(jax.grad(loss, (0, 1, 2)))(*here)
    slope = sum(np.vdot(g, d) for g, d in zip(*map(jax.tree.leaves, (gradient, along)), strict=True))
    h = 1e-5
    np.testing.assert_allclose(slope, (loss(*move(h)) - loss(*move(-h))) / (2 * h), rtol=1e-7)
