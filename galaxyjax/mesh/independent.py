"""Functions that know nothing of a mesh, run by each of its devices for itself.

`shard_map` wants every loop to begin with values that vary over the devices as those do with which it ends. A
library's loop that begins with ``0`` or ``False`` does not, and its code is not ours to cast. So the function
is traced by itself, and its program is evaluated again with every value varying: the loops are rebuilt around
starts that vary. What is computed is the same, and no device waits for another.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
from jax import lax
from jax.extend import core

from galaxyjax.mesh.collect import varying

# Calls whose program is written out in place, and where their parameters keep it.
CALLS = {
    "jit": "jaxpr",
    "closed_call": "call_jaxpr",
    "checkpoint": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
}


def independent(function: Callable, axes: tuple[str, ...]) -> Callable:
    """Return `function` for use inside `shard_map` over `axes`, with every value in it varying over them.

    function: of pytrees of arrays, without collectives. Derivatives are taken inside of it, not of it: custom
    rules of what it calls are resolved when it is traced. `vmap` goes around it, not inside: a loop whose
    condition is a batch cannot be built anew.
    """

    def run(*arguments):
        leaves, tree = jax.tree.flatten(arguments)
        shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
        program, result = jax.make_jaxpr(lambda *flat: function(*tree.unflatten(flat)), return_shape=True)(
            *shapes
        )
        values = _evaluate(axes, program, *leaves)
        return jax.tree.unflatten(jax.tree.structure(result), values)

    return run


def _evaluate(axes: tuple[str, ...], program: core.ClosedJaxpr | core.Jaxpr, *arguments) -> list[jax.Array]:
    """The outputs of a program, all of its values varying over `axes`."""
    constants, program = getattr(program, "consts", ()), getattr(program, "jaxpr", program)
    known = {}

    def read(atom):
        return varying(atom.val, axes) if isinstance(atom, core.Literal) else known[atom]

    def write(variables, values):
        known.update(zip(variables, varying(list(values), axes), strict=True))

    write(program.constvars, constants)
    write(program.invars, arguments)
    for equation in program.eqns:
        write(equation.outvars, _apply(axes, equation, [read(atom) for atom in equation.invars]))
    return [read(atom) for atom in program.outvars]


def _apply(axes: tuple[str, ...], equation: core.JaxprEqn, values: list) -> list[jax.Array]:
    """The outputs of one equation; loops and branches are built anew."""
    name, params = equation.primitive.name, equation.params
    run = partial(_evaluate, axes)
    if name in CALLS:
        return run(params[CALLS[name]], *values)
    if name == "while":
        return _while(run, params, values)
    if name == "cond":
        index, *operands = values
        return lax.switch(index, [partial(run, branch) for branch in params["branches"]], *operands)
    if name == "scan":
        return _scan(run, params, values)
    found = equation.primitive.bind(*values, **params)
    return list(found) if equation.primitive.multiple_results else [found]


def _while(run: Callable, params: dict, values: list) -> list[jax.Array]:
    first, second = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
    for_condition, for_body, start = values[:first], values[first:second], values[second:]
    return lax.while_loop(
        lambda carry: run(params["cond_jaxpr"], *for_condition, *carry)[0],
        lambda carry: run(params["body_jaxpr"], *for_body, *carry),
        start,
    )


def _scan(run: Callable, params: dict, values: list) -> list[jax.Array]:
    first, second = params["num_consts"], params["num_consts"] + params["num_carry"]
    constants, start, rows = values[:first], values[first:second], values[second:]

    def body(carry, row):
        found = run(params["jaxpr"], *constants, *carry, *row)
        return found[: len(start)], found[len(start) :]

    end, columns = lax.scan(
        body, start, rows, length=params["length"], reverse=params["reverse"], unroll=params["unroll"]
    )
    return [*end, *columns]
