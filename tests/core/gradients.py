"""Automatic derivatives against central differences in double precision."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from galaxyjax.core.cosmology import Cosmology


def assert_gradients(
    function: Callable[[Cosmology], jax.Array], cosmologies: list[Cosmology], rtol: float = 1e-6
) -> None:
    """Check reverse- and forward-mode derivatives of `function`, in float64, with respect to every parameter.

    Of the array that `function` returns, a sum with fixed random weights. Differences use five points at
    steps of 1e-4: rounding adds 1e-11 and truncation 1e-14, so that `rtol`, of the sum of absolute terms,
    bounds the error of the derivative itself.
    """
    shape = jax.eval_shape(function, cosmologies[0]).shape
    weights = np.random.default_rng(0).normal(size=shape)

    def total(cosmology):
        return jnp.sum(weights * function(cosmology))

    values, reverse = jax.jit(function), jax.jit(jax.grad(total))
    forward = jax.jit(lambda c, direction: jax.jvp(total, (c,), (direction,))[1])
    for cosmology in cosmologies:
        parameters = {name: float(value) for name, value in cosmology.to_mapping().items()}

        def at(change, parameters=parameters):
            return np.asarray(values(Cosmology(**parameters | change)))

        found, expected, allowed = reverse(cosmology).to_mapping(), {}, {}
        for name, value in parameters.items():
            step = 1e-4 * max(abs(value), 0.1)
            near = at({name: value + step}) - at({name: value - step})
            far = at({name: value + 2 * step}) - at({name: value - 2 * step})
            slopes = weights * (8 * near - far) / (12 * step)
            expected[name], allowed[name] = np.sum(slopes), rtol * max(np.sum(np.abs(slopes)), 1e-6)
            assert found[name].dtype == np.float64
            assert abs(found[name] - expected[name]) <= allowed[name], (name, found[name], expected[name])
        direction = Cosmology(*np.random.default_rng(1).normal(size=len(parameters)))
        along = direction.to_mapping()
        assert abs(
            forward(cosmology, direction) - sum(expected[name] * along[name] for name in along)
        ) <= sum(allowed[name] * abs(along[name]) for name in along)
