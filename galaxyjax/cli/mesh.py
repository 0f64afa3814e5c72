"""The option --mesh: what the verbs that compute say of it, and the mesh that it names.

A verb declares ``mesh: Sizes = None`` and asks `mesh_of` for the mesh, saying which axes it can use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import tyro

from galaxyjax.core.errors import ConfigError

if TYPE_CHECKING:
    from jax.sharding import Mesh

Sizes = Annotated[str | None, tyro.conf.arg(metavar="SIZES", help_behavior_hint="(e.g. data=4)")]


def mesh_of(
    sizes: str | None,
    verb: str,
    axes: Sequence[str] = ("data", "x", "y"),
    *,
    why: str = "",
    default: str | Callable[[int], str] | None = None,
    several: bool = False,
) -> Mesh:
    """Return the mesh of a verb; call it before anything touches a device.

    Args:
        sizes: what --mesh said, such as "data=2,x=2,y=2".
        axes: those along which the verb can divide its work; any other must have size 1.
        why: what the verb divides, for the message: "chains lie along data".
        default: the mesh when --mesh is absent, or what makes it from the number of devices; None for all
            devices on "data".
        several: whether the verb works on several processes, which then start here.

    Raises:
        ConfigError: with the numbers, when a size is wrong, an axis is of no use, the mesh does not fit the
            devices, or this is one of several processes and the verb is for one.
    """
    from galaxyjax.mesh.topology import MeshShape, build_mesh, start

    shape = MeshShape.parse(sizes if sizes is not None else default if isinstance(default, str) else "")
    useless = [f"{axis}={n}" for axis, n in shape.sizes().items() if n > 1 and axis not in axes]
    if useless:
        reason = f" ({why})" if why else ""
        raise ConfigError(
            f"{verb} --mesh {sizes}: {' and '.join(useless)} would divide nothing{reason}; "
            f"give {' and '.join(axes) or 'no mesh'} alone"
        )
    if several:
        start()
    else:
        one_process(verb)
    if sizes is None and callable(default):
        import jax

        return build_mesh(default(jax.device_count()))
    return build_mesh(None if sizes is None and default is None else shape)


def one_process(verb: str) -> None:
    """Refuse to be one of several processes. Raises ConfigError saying who started them."""
    from galaxyjax.mesh.topology import several

    if by := several():
        raise ConfigError(f"{verb} works in one process, but this is one of several ({by}); start it once")
