"""What a training step on a sharded field costs: bytes and FLOPs over speeds, nothing overlapped.

The bytes are those of the compiled programs (tests hold them against `mesh/budget`); the speeds are data
sheets times the assumed efficiencies in `Assumptions`. Good for orders of magnitude and for what limits a
mesh, not for per cents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from galaxyjax.core.errors import ConfigError
from galaxyjax.mesh.fft import padded
from galaxyjax.mesh.topology import MeshShape


@dataclass(frozen=True)
class Assumptions:
    """What no data sheet says; fractions of a peak, and seconds.

    compute: of the dense bfloat16 peak, in 3 x 3 x 3 convolutions of 32 channels or more. memory, link: of
    the bandwidth. latency: of one message, with the launch of its kernel. conv_passes: how often a step moves
    a convolution's field through memory: it is read, written and passed through one element-wise function
    forward, and twice that backward. kept: fields a convolution leaves for the backward pass.
    """

    compute: float = 0.4
    memory: float = 0.8
    link: float = 0.8
    latency: float = 10e-6
    conv_passes: int = 9
    kept: int = 2


@dataclass(frozen=True)
class Machine:
    """One kind of device and how it is wired; bytes, bytes/s (one direction) and FLOP/s (dense bfloat16).

    node: devices on one switch with `inside` bytes/s each; beyond it each has `outside`. A torus has node 0,
    and `inside` is one link, of which a ring of at least `wrapped` devices uses two; mesh axes longer than
    its `side` fold over two dimensions.
    """

    name: str
    peak: float
    memory: float
    bandwidth: float
    inside: float
    outside: float
    node: int
    source: str
    wrapped: int = 4
    side: int = 8

    def neighbours(self, sent: float, parts: int, stride: int) -> float:
        """Seconds to send `sent` bytes, half of them to each neighbour along a mesh axis, at full speed."""
        if parts == 1:
            return 0.0
        if not self.node:
            return sent / (self.inside * (2 if parts >= self.wrapped else 1))
        return sent / (self.inside if parts * stride <= self.node else self.outside)

    def all_to_all(self, held: float, parts: int, stride: int) -> float:
        """Seconds in which each of `parts` devices gives `held / parts` bytes to every other."""
        if parts == 1:
            return 0.0
        if not self.node:
            # On a ring a byte travels parts / 4 hops on average, over two links of a device. Folded over two
            # dimensions it travels twice a side's, over twice the links.
            links = 2 if parts >= self.wrapped else 1
            return held * (min(parts, self.side) / 4) / (links * self.inside)
        near = min(parts, max(1, self.node // stride))
        return max(held * (near - 1) / parts / self.inside, held * (parts - near) / parts / self.outside)

    def all_reduce(self, held: float, devices: int) -> float:
        """Seconds to sum `held` bytes over all devices: reduce-scatter, then all-gather."""
        if devices == 1:
            return 0.0
        near = min(devices, self.node) if self.node else devices
        seconds = 2 * held * (near - 1) / near / (self.inside * (1 if self.node else 2))
        if devices > near:
            nodes = devices // near
            seconds += 2 * (held / near) * (nodes - 1) / nodes / self.outside
        return seconds


_HOPPER = "8 GPUs on NVLink 4 at 900 GB/s both ways, one 400 Gb/s InfiniBand port a GPU"
H100 = Machine(
    "H100 SXM", 989e12, 80e9, 3.35e12, 450e9, 50e9, 8, f"NVIDIA H100 and DGX H100 data sheets: {_HOPPER}"
)
H200 = Machine(
    "H200 SXM", 989e12, 141e9, 4.8e12, 450e9, 50e9, 8, f"NVIDIA H200 and DGX H200 data sheets: {_HOPPER}"
)
V5P = Machine(
    "TPU v5p",
    459e12,
    95 * 2**30,
    2.765e12,
    100e9,
    100e9,
    0,
    "Google Cloud TPU v5p page: 1200 GB/s both ways a chip, six links of a 3D torus",
)
MACHINES = (H100, H200, V5P)


@dataclass(frozen=True)
class Work:
    """What one device does in a step on its block of cells.

    flops: forward and gradient. convolved: bytes of the fields that enter the convolutions of one forward
    pass. halo: bytes sent along "x" and "y", forward and gradient. messages: how many along each. gradient:
    bytes of the summed gradient. cells: (nx, ny, nz) of the whole field. transforms: its float32 real FFTs.
    """

    flops: float
    convolved: float
    halo: Mapping[str, float]
    messages: Mapping[str, int]
    gradient: float
    cells: tuple[int, int, int]
    transforms: int = 0


@dataclass(frozen=True)
class Cost:
    """Seconds of a step by cause, and bytes held by one device (activations of one forward pass)."""

    compute: float
    memory: float
    halo: float
    transforms: float
    gradient: float
    held: float

    @property
    def arithmetic(self) -> float:
        """Seconds of the work itself: arithmetic or memory, whichever is longer."""
        return max(self.compute, self.memory)

    @property
    def step(self) -> float:
        """Seconds of the step when nothing overlaps."""
        return self.arithmetic + self.halo + self.transforms + self.gradient

    @property
    def efficiency(self) -> float:
        """The part of a step that is not communication."""
        return self.arithmetic / self.step


def fft_bytes(cells: tuple[int, int, int], shape: MeshShape, itemsize: int = 8) -> dict[str, int]:
    """Return the bytes of the all-to-all over "x" and over "y" of one real FFT, on one device.

    cells: (nx, ny, nz) of the whole field. itemsize: of a complex number. As `budget` counts them: what stays
    on the device is included; an axis of one device has none.
    """
    nx, ny, nz = cells
    modes = nx * ny * padded(nz, shape.y) // (shape.x * shape.y) * itemsize
    return {axis: modes if parts > 1 else 0 for axis, parts in (("x", shape.x), ("y", shape.y))}


def cost(work: Work, machine: Machine, shape: MeshShape, assumptions: Assumptions | None = None) -> Cost:
    """Return the cost of a step on a mesh; "y" varies fastest over the devices, then "x", then "data".

    Raises ConfigError for a mesh with stages, whose bubbles are not modelled.
    """
    if shape.stage > 1:
        raise ConfigError(f"cost: stage={shape.stage} is not modelled; use a mesh of data, x and y")
    a = assumptions or Assumptions()
    places = {"x": (shape.x, shape.y), "y": (shape.y, 1)}  # parts, and devices from one to the next
    halo = sum(
        machine.neighbours(work.halo[axis], *place) / a.link
        + work.messages[axis] * a.latency * (place[0] > 1)
        for axis, place in places.items()
    )
    swaps = fft_bytes(work.cells, shape)
    transforms = work.transforms * sum(
        machine.all_to_all(swaps[axis], *place) / a.link + a.latency * (place[0] > 1)
        for axis, place in places.items()
    )
    # Each of the three passes reads and writes half the complex numbers of the field.
    fft_traffic = 3 * 2 * 4 * prod(work.cells) / (shape.x * shape.y) * work.transforms
    summed = machine.all_reduce(work.gradient, shape.devices) / a.link + a.latency * (shape.devices > 1)
    return Cost(
        compute=work.flops / (a.compute * machine.peak),
        memory=(a.conv_passes * work.convolved + fft_traffic) / (a.memory * machine.bandwidth),
        halo=halo,
        transforms=transforms,
        gradient=summed,
        held=a.kept * work.convolved,
    )
