"""Compile for a TPU pod without one: what a step will send and hold, before anybody pays for the machine.

PyPI's `libtpu` has the whole compiler and runs on any x86 Linux. It takes over the process's TPU settings, so
use a process of its own where a real TPU is in use.

Networks in float32 take long: their convolutions are exact, several passes of bfloat16, written out. The
gradient of a small V-Net took 61 CPU seconds against 14 in bfloat16, one of 16 and 32 channels at 128 cells a
side more than 120 against 79 (`benchmarks/tpu_compile.py --limit 120`).
"""

from __future__ import annotations

import importlib.util
import os

import jax
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from galaxyjax.core.errors import ConfigError
from galaxyjax.mesh.topology import MeshShape, build_mesh

# Without chips, libtpu asks a metadata server who it is, complains, and locks other processes out.
ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5p-8",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


def topology_mesh(topology: str, shape: MeshShape | str) -> Mesh:
    """Return a mesh of devices that can only be compiled for.

    Args:
        topology: "v5p:2x2x2" or "v5p:8x8x8": the generation and the torus of chips. v5p cuts it in hosts of
            2 x 2 x 1 chips and has one device a chip.
        shape: of the mesh; each axis must be a product of whole sides of the torus: x=8,y=64 fits 8x8x8.

    Raises:
        ConfigError: libtpu is missing, it does not know the topology, or the mesh does not fit it.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise ConfigError("compiling for TPU needs libtpu, which is not installed; pip install libtpu")
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        devices = topologies.get_topology_desc(topology, "tpu").devices
    except (RuntimeError, ValueError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"TPU topology {topology!r}: {reason}; write it as v5p:2x2x2") from error
    return build_mesh(shape, devices)


def placed(tree, mesh: Mesh, specs):
    """Return the shapes of a tree with their places on a mesh: what `jax.jit(f).lower` takes for arrays.

    tree: arrays or `jax.ShapeDtypeStruct`s. specs: a `PartitionSpec` for all of it, or a tree of them.
    """
    if isinstance(specs, P):
        specs = jax.tree.map(lambda _: specs, tree)
    place = lambda a, spec: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=NamedSharding(mesh, spec))  # noqa: E731
    return jax.tree.map(place, tree, specs)
