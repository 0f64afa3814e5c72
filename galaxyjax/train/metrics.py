"""What a run says while it runs: a line on the terminal, scalars for TensorBoard."""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path

import jax

from galaxyjax.core.progress import Progress

# Dense bfloat16 FLOP/s of one device as JAX names it, longest name first: NVIDIA's data sheets (H100 SXM and
# PCIe, H200, A100) and Google Cloud's TPU pages.
PEAKS = {
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H200": 989e12,
    "NVIDIA A100": 312e12,
    "TPU v6 lite": 918e12,
    "TPU v5 lite": 197e12,
    "TPU v5p": 459e12,
    "TPU v5": 459e12,
    "TPU v4": 275e12,
}


def peak(device_kind: str) -> float | None:
    """Dense bfloat16 peak of a device, FLOP/s; None for one that is not in the table (a CPU)."""
    return next((flops for name, flops in PEAKS.items() if device_kind.startswith(name)), None)


class Metrics:
    """Context manager that reports a run on process 0 and is silent on the others.

    Args:
        folder: of the TensorBoard events (needs tensorboardX, extra `train`; without it a line says so).
        steps, start: of the whole run, and of this part of it.
        fields: in a step, on all devices.
        flops: of the model in a step, forward and backward, on all devices.
        devices: how many share the step.

    Utilisation is model FLOP/s over the dense bfloat16 peak of all devices; what rematerialisation, halos and
    the optimiser compute on top does not count as useful.
    """

    def __init__(
        self,
        folder: str | Path,
        steps: int,
        start: int,
        fields: int,
        flops: float,
        devices: int,
        label: str = "training",
    ):
        self.fields, self.devices = fields, devices
        limit = peak(jax.devices()[0].device_kind)
        self._ideal = None if limit is None else flops / (limit * devices)
        self._leader = jax.process_index() == 0
        self._progress = Progress(steps, label, unit="step", start=start)
        self._writer = _writer(Path(folder), start) if self._leader else None
        self._clock: float | None = None
        self.seconds: float | None = None  # of a step, running mean

    def __enter__(self) -> Metrics:
        if self._leader:
            self._progress.__enter__()
        return self

    def __exit__(self, *exception) -> None:
        if self._leader:
            self._progress.__exit__(*exception)
        if self._writer is not None:
            self._writer.close()

    def step(self, step: int, loss: float, gradient_norm: float) -> None:
        """Report a finished step."""
        now = time.monotonic()
        scalars = {"loss/training": loss, "gradient/norm": gradient_norm}
        shown = {"loss": loss}
        if (
            self._clock is not None
        ):  # the first one compiles, and the first after a pause is not a step's time
            seconds = now - self._clock
            self.seconds = seconds if self.seconds is None else 0.9 * self.seconds + 0.1 * seconds
            scalars |= {"speed/step_s": seconds, "speed/fields_per_s": self.fields / seconds}
            shown |= {"s/step": self.seconds, "fields/s": self.fields / self.seconds}
            if self._ideal is not None:
                scalars["speed/model_flop_utilisation"] = self._ideal / seconds
                shown["MFU"] = f"{100 * self._ideal / self.seconds:.1f}%"
        self._clock = now
        self._write(step, scalars)
        self._progress.advance(**shown)

    def held_out(self, step: int, loss: float, best: float) -> None:
        """Report a validation."""
        self._write(step, {"loss/held_out": loss, "loss/best_held_out": best})
        self._progress.advance(0, held_out=loss, best=best)

    def pause(self) -> None:
        """Leave what happens until the next step (a validation, a checkpoint) out of the step times."""
        self._clock = None

    def utilisation(self) -> float | None:
        """Model FLOP utilisation, or None: too early, or the device's peak is not known."""
        return None if self._ideal is None or self.seconds is None else self._ideal / self.seconds

    def _write(self, step: int, scalars: dict[str, float]) -> None:
        if self._writer is not None:
            for name, value in scalars.items():
                self._writer.add_scalar(name, value, step)


def _writer(folder: Path, start: int):
    """A writer of TensorBoard event files, or None, saying so, where tensorboardX is not installed."""
    if importlib.util.find_spec("tensorboardX") is None:
        print("no TensorBoard events: pip install 'galaxyjax[train]' for them", file=sys.stderr, flush=True)
        return None
    from tensorboardX import SummaryWriter

    # Steps that a killed run did after its last checkpoint are done again: TensorBoard drops the first ones.
    return SummaryWriter(str(folder), purge_step=start + 1 if start else None, flush_secs=10)


class Trace:
    """Context manager that records `jax.profiler`'s trace of steps 3 to 5 of this call, on process 0.

    folder: what TensorBoard or Perfetto open; None for no trace. The first two steps compile and warm up.
    """

    SKIP, STEPS = 2, 3

    def __init__(self, folder: Path | None, start: int):
        self._folder = folder if jax.process_index() == 0 else None
        self._first, self._last = start + self.SKIP, start + self.SKIP + self.STEPS
        self._running = False

    def __enter__(self) -> Trace:
        return self

    def __exit__(self, *exception) -> None:
        self._stop()

    def step(self, step: int, outputs) -> None:
        """Say that `step` has been given to the devices; it has run when `outputs` are ready."""
        if self._folder is None or not self._first <= step <= self._last:
            return
        jax.block_until_ready(outputs)
        if step == self._first:
            jax.profiler.start_trace(self._folder)
            self._running = True
        elif step == self._last:
            self._stop()

    def _stop(self) -> None:
        if self._running:
            self._running = False
            jax.profiler.stop_trace()
            print(f"trace of {self.STEPS} steps: {self._folder}", file=sys.stderr, flush=True)
