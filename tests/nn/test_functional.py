"""Flax modules as pure functions: the same weights give the same answer, and nothing is kept."""

import jax
import jax.numpy as jnp
import numpy as np

from galaxyjax.nn.functional import functional
from galaxyjax.nn.mlp import MLP


def test_init_and_apply_are_pure_and_a_perceptron_is_what_numpy_says():
    init, apply = functional(lambda rngs: MLP((3, 5, 2), "tanh", rngs=rngs))
    params = jax.jit(init)(jax.random.key(1))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
    hidden = np.tanh(x @ params["dense0"]["kernel"] + params["dense0"]["bias"])
    expected = hidden @ params["dense1"]["kernel"] + params["dense1"]["bias"]
    np.testing.assert_allclose(apply(params, x), expected, rtol=1e-5)
    np.testing.assert_array_equal(apply(params, x), apply(params, x))
    again = init(jax.random.key(1))
    jax.tree.map(np.testing.assert_array_equal, params, again)


def test_apply_is_differentiable_in_parameters_and_inputs():
    init, apply = functional(lambda rngs: MLP((2, 4, 1), "silu", rngs=rngs))
    params = init(jax.random.key(0))
    x = jnp.array([0.3, -0.2])
    gradient = jax.grad(lambda p: apply(p, x)[0])(params)
    assert float(gradient["dense1"]["bias"][0]) == 1.0
    step = 1e-2
    numeric = (apply(params, x + jnp.array([step, 0.0])) - apply(params, x - jnp.array([step, 0.0]))) / (
        2 * step
    )
    np.testing.assert_allclose(jax.grad(lambda x: apply(params, x)[0])(x)[0], numeric[0], rtol=1e-3)
