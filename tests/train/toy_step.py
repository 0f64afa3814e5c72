"""A network of a few hundred weights on blocks of a field, with a neighbour's cells in it."""

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from galaxyjax.train import step as steps
from galaxyjax.train.config import FieldFitConfig

FIELD = P("data", "x", "y")
PLAIN = {"bias": P(), "first": P(), "last": P()}
SHARDED = {"bias": P(), "first": P(None, "data"), "last": P("data")}  # as FSDP lays them


def init(key):
    one, two = jax.random.split(key)
    first, last = jax.random.normal(one, (6, 64)), jax.random.normal(two, (64, 2))
    return {"bias": jnp.zeros(64), "first": first / 6**0.5, "last": last / 8}


def apply(params, x):
    return jnp.tanh(x @ params["first"] + params["bias"]) @ params["last"]


def neighbours(x, shift):
    """(b, n, n, 2) -> (b, n, n, 6): each cell with the next along x and y; `shift(a, axis)` is periodic."""
    return jnp.concatenate([x, shift(x, 1), shift(x, 2)], axis=-1)


def shift_block(a, axis):
    name = ("x", "y")[axis - 1]
    n = jax.lax.axis_size(name)
    first = jax.lax.slice_in_dim(a, 0, 1, axis=axis)
    first = jax.lax.ppermute(first, name, [(i, (i - 1) % n) for i in range(n)]) if n > 1 else first
    return jnp.concatenate([jax.lax.slice_in_dim(a, 1, None, axis=axis), first], axis=axis)


def block_loss(params, batch):
    x, y = batch
    return jnp.mean(jnp.square(apply(params, neighbours(x, shift_block)) - y))


def whole_loss(params, batch):
    """The same on one device, without a mesh."""
    x, y = batch
    rolled = neighbours(x, lambda a, axis: jnp.roll(a, -1, axis))
    return jnp.mean(jnp.square(apply(params, rolled) - y))


def batch(step, size=8, cells=8):
    """x, y (size, cells, cells, 2): a smooth function of each cell and its neighbours, with noise."""
    key, other = jax.random.split(jax.random.fold_in(jax.random.key(1), step))
    x = jax.random.normal(key, (size, cells, cells, 2))
    y = jnp.sin(x) * jnp.roll(x, -1, 1)[..., ::-1] + 0.1 * jax.random.normal(other, x.shape)
    return x, y


def start(mesh, specs=PLAIN, optimizer=None, **options):
    """(step, state, residual, place): a step on `mesh`, its first state, and where its batches go."""
    config = FieldFitConfig(**({"clip": 0.0} | options))
    optimizer = optimizer or optax.adam(3e-3)
    template = steps.state_template(init, optimizer, mesh, specs)
    state = steps.born(init, jax.random.key(0), optimizer, template)
    residual = None
    if config.compress:
        residual = steps.no_residual(steps.residual_template(template.params, mesh, specs))
    step = steps.make_step(block_loss, optimizer, mesh, specs, FIELD, config)
    return step, state, residual, lambda b: jax.device_put(b, NamedSharding(mesh, FIELD))
