"""Processes and devices: one call to start, one named mesh, and whether a field fits on it."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import jax
from jax.sharding import AxisType, Mesh
from jax.sharding import PartitionSpec as P

from galaxyjax.core.errors import ConfigError, unknown_name

# z is never sharded: the pencil FFT and the halo exchange then share one layout.
FIELD = P("data", "x", "y", None, None)  # (batch, nx, ny, nz, channels)
GRID = P("x", "y", None)  # (nx, ny, nz)
LATTICE = P("x", "y", None, None)  # (nx, ny, nz, 3), particles on their Lagrangian lattice
BATCH = P("data")  # (batch, ...)
REPLICATED = P()

SPATIAL = ("x", "y")


@dataclass(frozen=True)
class MeshShape:
    """How many devices along each named axis; their product is the number of devices.

    data: copies of the model, each with its part of the batch (and of the parameters under FSDP).
    x, y: blocks of the field along its first two spatial axes. stage: parts of a pipeline.

    Raises ConfigError when a size is not a positive integer.
    """

    data: int = 1
    x: int = 1
    y: int = 1
    stage: int = 1

    def __post_init__(self):
        for axis, size in self.sizes().items():
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ConfigError(f"mesh: {axis}={size} must be an integer of at least 1")

    @classmethod
    def parse(cls, text: str) -> MeshShape:
        """Return the shape that ``data=2,x=2,y=2`` writes; axes left out have size 1.

        Raises ConfigError on anything else, UnknownName on an axis that is none of data, x, y and stage.
        """
        sizes: dict[str, int] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            axis, equals, size = (word.strip() for word in part.partition("="))
            if axis not in _AXES:
                raise unknown_name("mesh axis", axis, _AXES)
            if axis in sizes:
                raise ConfigError(f"mesh {text!r}: {axis} is given twice; give each axis once")
            if not (equals and size.isdecimal()):
                raise ConfigError(f"mesh {text!r}: {part!r} must be axis=integer, as in data=2,x=2,y=2")
            sizes[axis] = int(size)
        return cls(**sizes)

    def sizes(self) -> dict[str, int]:
        """Return {axis: devices along it}."""
        return {axis: getattr(self, axis) for axis in _AXES}

    @property
    def devices(self) -> int:
        """The number of devices that the mesh takes."""
        return self.data * self.x * self.y * self.stage

    def __str__(self) -> str:
        return ",".join(f"{axis}={n}" for axis, n in self.sizes().items() if axis != "stage" or n > 1)


_AXES = tuple(field.name for field in fields(MeshShape))


def start(
    coordinator: str | None = None, processes: int | None = None, process_id: int | None = None
) -> bool:
    """Start `jax.distributed` where there is more than one process; return whether it runs.

    Call it before anything touches a device; a second call does nothing. In order: the arguments,
    GALAXYJAX_COORDINATOR, GALAXYJAX_PROCESSES and GALAXYJAX_PROCESS_ID (`galaxyjax launch` sets them), and
    what JAX finds by itself under Slurm, Open MPI, a TPU pod and an indexed Kubernetes job. Processes on CPU
    talk through gloo, JAX's default.

    Args:
        coordinator: "host:port" of process 0.
        processes: how many there are; 1 means that nothing is started.
        process_id: this one's number, 0 to processes - 1.

    Raises:
        ConfigError: only part of the three is known, a number is out of range, or JAX already has devices.
    """
    if jax.distributed.is_initialized():
        return True
    given = _given(os.environ, coordinator, processes, process_id)
    if given["num_processes"] == 1:
        return False
    cluster = _cluster(os.environ, jax.config.jax_platforms or "tpu")
    missing = [name for name, value in given.items() if value is None]
    if not cluster and len(missing) == len(given):
        return False
    if missing and not cluster:
        raise ConfigError(
            f"distributed start: {', '.join(missing)} not given; set GALAXYJAX_COORDINATOR=host:port, "
            "GALAXYJAX_PROCESSES and GALAXYJAX_PROCESS_ID together, or none of them"
        )
    try:
        # With all three known, JAX must not look around: it would also restrict the visible devices.
        method = None if missing else "deactivate"
        jax.distributed.initialize(**given, cluster_detection_method=method)
    except (RuntimeError, ValueError) as error:
        where = cluster or given["coordinator_address"]
        raise ConfigError(f"distributed start ({where}): {' '.join(str(error).split())}") from error
    return True


def several() -> str:
    """Return who started this as one of several processes, e.g. "Slurm, 4 processes"; "" for one alone."""
    given = _integer(os.environ, "GALAXYJAX_PROCESSES")
    if given is not None:
        return f"GALAXYJAX_PROCESSES={given}" if given > 1 else ""
    cluster = _cluster(os.environ, jax.config.jax_platforms or "tpu")
    count = {"Slurm": "SLURM_NTASKS", "Open MPI": "OMPI_COMM_WORLD_SIZE"}.get(cluster)
    return f"{cluster}, {os.environ[count]} processes" if count else cluster


def _given(environ: Mapping[str, str], coordinator, processes, process_id) -> dict:
    """The three values as JAX names them; arguments before environment."""
    count = _integer(environ, "GALAXYJAX_PROCESSES") if processes is None else processes
    rank = _integer(environ, "GALAXYJAX_PROCESS_ID") if process_id is None else process_id
    address = coordinator or environ.get("GALAXYJAX_COORDINATOR") or None
    if count is not None and count < 1:
        raise ConfigError(f"distributed start: processes={count} must be at least 1")
    if rank is not None and not 0 <= rank < (count or rank + 1):
        raise ConfigError(f"distributed start: process_id={rank} must lie in 0..{(count or 1) - 1}")
    if address is not None and not address.rpartition(":")[2].isdecimal():
        raise ConfigError(f"distributed start: coordinator={address!r} must be host:port")
    return {"coordinator_address": address, "num_processes": count, "process_id": rank}


def _integer(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name, "").strip()
    if text and not text.isdecimal():
        raise ConfigError(f"{name}={text!r} must be an integer of at least 0")
    return int(text) if text else None


def _cluster(environ: Mapping[str, str], platforms: str) -> str:
    """The name of a scheduler that started several processes, or an empty string.

    JAX detects more eagerly: a notebook in a pod, or a shell inside an allocation, is one process to us.
    """
    many = lambda name: environ.get(name, "").isdecimal() and int(environ[name]) > 1  # noqa: E731
    if many("SLURM_NTASKS") and {"SLURM_STEP_NODELIST", "SLURM_PROCID", "SLURM_LOCALID"} <= environ.keys():
        return "Slurm"
    if many("OMPI_COMM_WORLD_SIZE") and "OMPI_MCA_orte_hnp_uri" in environ:
        return "Open MPI"
    # Importing JAX on a TPU VM sets TPU_ML_PLATFORM, and TPU_SKIP_MDS_QUERY anywhere without chips.
    if environ.get("TPU_ML_PLATFORM") == "JAX" and "tpu" in platforms:
        hosts = environ.get("TPU_PROCESS_ADDRESSES") or environ.get("TPU_WORKER_HOSTNAMES") or ""
        if "," in hosts or many("MEGASCALE_NUM_SLICES") or not (hosts or "TPU_SKIP_MDS_QUERY" in environ):
            return "TPU pod"
    if "KUBERNETES_SERVICE_HOST" in environ and "JOB_COMPLETION_INDEX" in environ:
        if importlib.util.find_spec("kubernetes") is None:
            raise ConfigError(
                "distributed start: this is an indexed Kubernetes job but the package kubernetes is missing; "
                "pip install 'jax[k8s]', or set GALAXYJAX_PROCESSES=1 when the job has one pod"
            )
        return "Kubernetes"
    return ""


def build_mesh(shape: MeshShape | str | None = None, devices: Sequence | None = None) -> Mesh:
    """Return the mesh with axes ("data", "x", "y"), or ("stage", "data", "x", "y") when stage > 1.

    shape: sizes, or text such as "data=2,x=2,y=2"; None puts all devices on "data". devices: all of
    `jax.devices()` unless given (a compile-only topology gives its own). One process may take fewer devices
    than there are; with several processes each must hold a part of the mesh, so it takes all.

    Raises ConfigError, with the numbers, when the mesh does not fit the devices or their torus.
    """
    devices = list(jax.devices() if devices is None else devices)
    if shape is None:
        shape = MeshShape(data=len(devices))
    elif isinstance(shape, str):
        shape = MeshShape.parse(shape)
    spread = len({device.process_index for device in devices}) > 1
    if shape.devices > len(devices) or (spread and shape.devices != len(devices)):
        product = " x ".join(str(size) for size in shape.sizes().values() if size > 1) or "1"
        raise ConfigError(
            f"mesh {shape} takes {product} = {shape.devices} devices but there are {len(devices)}"
            f"{' on several processes, which must all be used' if spread else ''}; choose sizes whose "
            f"product is {len(devices)}"
        )
    names = ("data", "x", "y") if shape.stage == 1 else ("stage", "data", "x", "y")
    sizes = tuple(shape.sizes()[name] for name in names)
    try:
        # Orders devices so that neighbours on the mesh are neighbours on the interconnect.
        return jax.make_mesh(sizes, names, axis_types=(AxisType.Auto,) * len(names), devices=devices)
    except (NotImplementedError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"mesh {shape} does not fit the interconnect of these devices: {reason}") from error


def axis_size(mesh: Mesh, name: str) -> int:
    """Return the devices along a mesh axis, 1 when the mesh has no such axis."""
    return dict(mesh.shape).get(name, 1)


def check_field(mesh: Mesh, n: int | Sequence[int], batch: int | None = None, multiple: int = 1) -> None:
    """Check that a field of n cells a side (or (nx, ny, nz)) divides over the mesh.

    batch: fields in a step, divided over "data". multiple: what each block's side must be a multiple of, for
    a network that halves the grid (2 to the number of levels).

    Raises ConfigError with the numbers.
    """
    nx, ny, nz = (n, n, n) if isinstance(n, int) else tuple(n)
    for axis, cells in (("x", nx), ("y", ny), ("z", nz)):
        parts = axis_size(mesh, axis)
        if cells < 1 or cells % (parts * multiple):
            blocks = f", {parts} blocks with sides that are multiples of {multiple}" if multiple > 1 else ""
            raise ConfigError(
                f"field: {cells} cells along {axis} do not divide over {axis}={parts} of the mesh{blocks}; "
                f"choose a multiple of {parts * multiple}, or another {axis}"
            )
    parts = axis_size(mesh, "data")
    if batch is not None and (batch < 1 or batch % parts):
        raise ConfigError(
            f"batch: {batch} fields do not divide over data={parts} of the mesh; choose a multiple of {parts}"
        )
