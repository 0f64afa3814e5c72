"""What a dataset looks like, and what somebody should look at: a report on bias before anything is trained.

Parameters: outliers, duplicates, gaps, correlations (`coverage`). Fields: histograms, spectra, and what is
odd or twice among them (`field_statistics`). `report.dataset` draws it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from galaxyjax.core.errors import ConfigError, DataError
from galaxyjax.core.progress import track
from galaxyjax.data.coverage import Coverage, Flag, cover
from galaxyjax.data.field_groups import FieldGroup, array_groups, snapshot_groups
from galaxyjax.data.field_statistics import SAMPLED, FieldStatistics, examine
from galaxyjax.data.manifest import load_manifest, manifests
from galaxyjax.data.parameters import ParameterTable, free_table, parameter_table

BUDGET = 1 << 30
"""Cells that are looked at; of more fields than fit, every second, third, ... is taken."""


@dataclass(frozen=True, eq=False)
class Report:
    """What was found. coverage: of the parameters, None without a table. fields: one for each kind."""

    names: tuple[str, ...]
    coverage: Coverage | None = None
    fields: list[FieldStatistics] = field(default_factory=list)
    flags: list[Flag] = field(default_factory=list)

    def all_flags(self) -> list[Flag]:
        """Everything that somebody should look at."""
        found = list(self.flags) + (list(self.coverage.flags) if self.coverage else [])
        return found + [
            Flag(flag.kind, f"{one.kind}: {flag.text}", flag.where)
            for one in self.fields
            for flag in one.flags
        ]

    def summary(self) -> dict:
        """The report as JSON has it: numbers, no curves."""
        content: dict = {"of": self.names, "flags": [asdict(flag) for flag in self.all_flags()]}
        if self.coverage is not None:
            content["parameters"] = _coverage_summary(self.coverage)
        content["fields"] = {one.kind: _field_summary(one) for one in self.fields}
        return content

    def text(self) -> list[str]:
        """The report as lines to read."""
        lines = [] if self.coverage is None else _coverage_text(self.coverage)
        for one in self.fields:
            seen = f"{len(one.names)}" + (f" of {one.of}" if one.of != len(one.names) else "")
            mean, std = one.moments["mean"], one.moments["std"]
            lines.append(
                f"{one.kind}: {seen} fields of {one.cells}^{one.dimensions} cells; mean "
                f"{np.median(mean):.4g} ({mean.min():.4g} to {mean.max():.4g}), spread "
                f"{np.median(std):.4g} ({std.min():.4g} to {std.max():.4g})"
            )
        flags = self.all_flags()
        lines += [
            "",
            f"{len(flags)} things to look at" + (":" if flags else ""),
            *map(_flag_text, flags[:40]),
        ]
        return lines + ([f"  ... and {len(flags) - 40} more in report.json"] if len(flags) > 40 else [])


def describe(
    targets: Sequence[str | Path],
    table: str | Path | ParameterTable | None = None,
    box_size: float | None = None,
    budget: int = BUDGET,
) -> Report:
    """Return the report on parameter tables (dataset:set, .txt, .csv), grids and maps (.npy), or snapshots.

    table: parameters of the simulations of the fields, in their order. box_size: side in Mpc/h, for grids and
    maps that do not say. Raises FileError, DataError, ConfigError.
    """
    tables, arrays, snapshots = [], [], []
    for target in map(str, targets):
        kind = tables if _is_table(target) else arrays if target.endswith(".npy") else snapshots
        kind.append(target)
    if table is not None and not isinstance(table, ParameterTable):
        table = _table(str(table))
    if table is None and tables:
        if len(tables) > 1:
            raise ConfigError(f"one parameter table at a time, not {', '.join(tables)}")
        table = _table(tables[0])
    coverage = None if table is None else cover(table)
    flags: list[Flag] = []
    groups = array_groups(arrays, box_size) + snapshot_groups(snapshots, flags)
    fields = [_examined(group, table, budget, flags) for group in groups]
    return Report(tuple(map(str, targets)), coverage, fields, flags)


def _examined(
    group: FieldGroup, table: ParameterTable | None, budget: int, flags: list[Flag]
) -> FieldStatistics:
    step = max(1, -(-len(group.names) * group.cells // budget))
    chosen = range(0, len(group.names), step)
    parameters = None
    if table is not None:
        if len(group.names) % len(table):
            raise DataError(
                f"{group.kind}: {len(group.names)} fields do not go with the {len(table)} rows of "
                f"{table.name}"
            )
        rows = np.arange(len(group.names)) // (len(group.names) // len(table))
        varied = [c for c in table.columns if np.ptp(table.column(c)) > 0 and c != "seed"]
        parameters = table.select(varied).values[rows[list(chosen)]] if varied else None
    names = [group.names[i] for i in chosen]
    seen = iter(track(range(len(names) + SAMPLED), f"describing {group.kind}", unit="fields"))

    def read(number: int) -> np.ndarray:
        next(seen, None)
        return group.read(chosen[number])

    return examine(group.kind, names, read, group.box_size, parameters, len(group.names))


def _is_table(target: str) -> bool:
    return target.endswith((".txt", ".csv", ".dat")) or target.partition(":")[0] in manifests()


def _table(text: str) -> ParameterTable:
    dataset, _, set_name = text.partition(":")
    if dataset in manifests():
        manifest = load_manifest(dataset)
        if not set_name:
            raise ConfigError(
                f"{dataset}: which simulations? {dataset}:SET, one of {', '.join(manifest.sets)}"
            )
        return parameter_table(manifest, set_name)
    return free_table(Path(text))


def _coverage_summary(found: Coverage) -> dict:
    table = found.table
    ranges = {c: [float(table.column(c).min()), float(table.column(c).max())] for c in found.varied}
    return {
        "table": table.name,
        "simulations": len(table),
        "convention": table.convention,
        "ranges": ranges,
        "logarithmic": found.logarithmic,
        "levels": {name: values.tolist() for name, values in found.levels.items()},
        "constant": found.constant,
        "discrepancy": found.discrepancy
        and dict(zip(("of_the_set", "random_mean", "random_std"), found.discrepancy, strict=True)),
        "largest_hole": {f"{a}, {b}": radius for (a, b), (_, radius) in found.holes.items()},
    }


def _coverage_text(found: Coverage) -> list[str]:
    table = found.table
    lines = [f"{table.name}: {len(table)} simulations, {table.convention} parameters"]
    for name in found.varied:
        values, spread = table.column(name), " (log)" if name in found.logarithmic else ""
        lines.append(
            f"  {name}: {values.min():.6g} to {values.max():.6g}{spread} {table.units.get(name, '')}".rstrip()
        )
    for name, values in found.levels.items():
        lines.append(f"  {name}: {len(values)} values, {values.min():.6g} to {values.max():.6g}")
    if found.constant:
        lines.append("  constant: " + ", ".join(f"{n} {v:.6g}" for n, v in found.constant.items()))
    if found.discrepancy:
        own, mean, _ = found.discrepancy
        lines.append(f"  discrepancy {own:.3g}, {own / mean:.2f} of that of random points")
    return lines


def _field_summary(one: FieldStatistics) -> dict:
    medians = {name: float(np.median(values)) for name, values in one.moments.items()}
    return {
        "fields": len(one.names),
        "of": one.of,
        "cells": one.cells,
        "dimensions": one.dimensions,
        "median": medians,
        "k": one.k.tolist(),
        "power_median": np.median(one.power, axis=0).tolist(),
        "largest_deviation": float(one.score.max()),
    }


def _flag_text(flag: Flag) -> str:
    where = ", ".join(flag.where[:4]) + (", ..." if len(flag.where) > 4 else "")
    return f"  {flag.kind}: {flag.text}" + (f" ({where})" if where else "")
