"""Weights and fields from NumPy: compiling JAX's generator takes seconds for every new shape."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np


def normal(seed, *shape, dtype=jnp.float32):
    """Normal numbers."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def weights(init, seed=0, dtype=jnp.float32, **values):
    """The tree that `init` would make, kernels of its scale; `values` fills leaves of a name instead.

    Biases and gains are not at their start, so that a test sees them.
    """

    def leaf(path, like):
        name = path[-1].key
        if name in values:
            return jnp.full(like.shape, values[name], dtype)
        noise = normal([seed, zlib.crc32(jax.tree_util.keystr(path).encode())], *like.shape, dtype=dtype)
        if name in ("bias", "gain"):
            return 0.5 + 0.1 * noise
        # The stacked axis of a trunk changes nothing: the other axes but the last are summed over.
        summed = like.shape[-5:-1] if name == "kernel" else like.shape[-2:-1]
        return noise / np.sqrt(np.prod(summed))

    return jax.tree_util.tree_map_with_path(leaf, jax.eval_shape(init, jax.random.key(0)))
