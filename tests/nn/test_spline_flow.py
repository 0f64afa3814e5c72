"""The flow: a density that integrates to one, splines that invert, slopes that are slopes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxyjax.nn.functional import functional
from galaxyjax.nn.spline_flow import BOUND, SplineFlow, bend, unbend

BINS = 6


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.1, 4.0))
def test_a_spline_inverts_and_its_slope_is_that_of_finite_differences(seed, spread):
    random = np.random.default_rng(seed)
    raw = jnp.asarray(spread * random.normal(size=(40, 3 * BINS - 1)))
    x = jnp.asarray(random.uniform(-1.2 * BOUND, 1.2 * BOUND, size=40))
    y, log_slope = bend(x, raw, BINS)
    np.testing.assert_allclose(unbend(y, raw, BINS), x, atol=1e-7)
    np.testing.assert_allclose(
        jnp.diagonal(jax.jacfwd(lambda t: bend(t, raw, BINS)[0])(x)), jnp.exp(log_slope), rtol=1e-9
    )


class Called:
    """A flow of two numbers given one."""

    def __init__(self):
        from flax import nnx

        class Door(nnx.Module):
            def __init__(self, rngs):
                self.flow = SplineFlow(2, 1, 16, BINS, rngs=rngs)

            def __call__(self, what, *args):
                return getattr(self.flow, what)(*args)

        self.init, self.apply = functional(lambda rngs: Door(rngs))


def test_the_density_integrates_to_one_and_draws_follow_it():
    flow = Called()
    params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), flow.init(jax.random.key(1)))
    at = np.linspace(-12, 12, 401)
    grid = jnp.asarray(np.stack(np.meshgrid(at, at, indexing="ij"), axis=-1))
    context = jnp.array([0.7])
    density = np.exp(flow.apply(params, "log_prob", grid, jnp.broadcast_to(context, (401, 401, 1))))
    cell = (at[1] - at[0]) ** 2
    assert abs(density.sum() * cell - 1.0) < 5e-3  # splines have kinks in their second derivative
    z = jax.random.normal(jax.random.key(2), (20_000, 2))
    draws = np.asarray(flow.apply(params, "from_normal", z, jnp.broadcast_to(context, (20_000, 1))))
    mean = np.einsum("xy,xyi->i", density, grid) * cell
    spread = np.sqrt(np.einsum("xy,xyi->i", density, (grid - mean) ** 2) * cell)
    np.testing.assert_allclose(draws.mean(0), mean, atol=4 * spread.max() / np.sqrt(20_000))
    np.testing.assert_allclose(draws.std(0), spread, rtol=0.04)


def test_gradients_are_those_of_finite_differences():
    flow = Called()
    params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), flow.init(jax.random.key(3)))
    x, context = jnp.array([[0.3, -1.1]]), jnp.array([[0.2]])
    log_prob = lambda x: flow.apply(params, "log_prob", x, context)[0]  # noqa: E731
    slope = jax.grad(log_prob)(x)
    for i in range(2):
        step = jnp.zeros((1, 2)).at[0, i].set(1e-5)
        quotient = (log_prob(x + step) - log_prob(x - step)) / 2e-5
        np.testing.assert_allclose(slope[0, i], quotient, rtol=1e-6)
