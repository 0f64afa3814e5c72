"""Peaks, utilisation, and the watchdog's clock."""

import subprocess
import sys

import jax
import pytest

from galaxyjax.train import metrics
from galaxyjax.train.metrics import Metrics, peak
from galaxyjax.train.watchdog import HANGS


@pytest.mark.parametrize(
    "kind, flops",
    [
        ("NVIDIA H200", 989e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("TPU v5p", 459e12),
    ]
    + [("TPU v5 lite", 197e12), ("cpu", None)],
)
def test_peaks_by_the_names_that_jax_gives(kind, flops):
    assert peak(kind) == flops


def test_utilisation_is_model_flops_over_peak_time(monkeypatch, tmp_path):
    """Four devices of 1e12 FLOP/s, 2e12 FLOP a step, a step every 2 s: a quarter."""
    clock = iter(range(0, 100, 2))
    monkeypatch.setattr(metrics, "peak", lambda kind: 1e12)
    monkeypatch.setattr(metrics.time, "monotonic", lambda: next(clock))
    with Metrics(tmp_path, steps=10, start=0, fields=8, flops=2e12, devices=4) as report:
        report.step(1, 1.0, 1.0)
        assert report.utilisation() is None  # the first step compiled
        report.step(2, 1.0, 1.0)
        report.pause()
        report.step(3, 1.0, 1.0)
    assert report.seconds % 2 == 0 and jax.process_index() == 0
    assert report.utilisation() == pytest.approx(2e12 / 4e12 / report.seconds)


@pytest.mark.parametrize(
    "rest, code", [("time.sleep(60)", HANGS), ("[(time.sleep(0.2), w.beat(i)) for i in range(6)]", 0)]
)
def test_the_watchdog_bites_who_is_silent_and_nobody_else(rest, code):
    text = f"""
import time
from galaxyjax.train.watchdog import Watchdog
with Watchdog(0.8, 1, 2) as w:
    w.beat('step 3'); {rest}
"""
    job = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=100)
    assert job.returncode == code, job.stderr
    if code:
        assert "rank 1 of 2: step 3 has not ended after 1 s (limit 0.8 s)" in job.stderr
        assert 'File "<string>", line 5' in job.stderr  # where it hung
