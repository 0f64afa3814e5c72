"""`galaxyjax data`: datasets known by their manifests, fetched, verified, and described."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro

from galaxyjax.cli import console
from galaxyjax.core.errors import ConfigError, FileError


@dataclass(frozen=True)
class Data:
    """List the datasets with a manifest, say what one is, fetch it, verify it, or describe what is there.

    `fetch` resumes where it stopped, checks every byte, and leaves nothing that is not whole. `describe`
    takes a parameter table (dataset:set, or a text file), grids and maps (.npy), or snapshots, and looks for
    outliers, duplicates and gaps.
    """

    action: Annotated[Literal["list", "info", "fetch", "verify", "describe"], tyro.conf.Positional]
    """What to do."""
    target: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="NAME", help_behavior_hint="(for all but list)"),
    ] = ()
    """A dataset's name, or the manifest's path; for `describe`: files, or dataset:set."""
    set: Annotated[str, tyro.conf.arg(metavar="SET", help_behavior_hint="(default: none)")] = ""
    """Which simulations, for a dataset with sets, e.g. IllustrisTNG/L25n256/LH."""
    product: Annotated[str, tyro.conf.arg(metavar="PRODUCT", help_behavior_hint="(default: none)")] = ""
    """Which of their files, e.g. snapshot."""
    axis: Annotated[
        tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE", help_behavior_hint="(default: the only one)")
    ] = ()
    """Where a product has several files a simulation, e.g. snapshot=090."""
    simulations: Annotated[
        tuple[str, ...], tyro.conf.arg(metavar="NAME", help_behavior_hint="(default: all)")
    ] = ()
    """Only these simulations, e.g. LH_0 LH_1, or LH_{0..9}."""
    mirror: Annotated[
        tuple[str, ...], tyro.conf.arg(metavar="PLACE", help_behavior_hint="(default: none)")
    ] = ()
    """Folders or addresses that hold <dataset>/<file>, asked before the publisher."""
    jobs: int = 4
    """Files that come at the same time."""
    unpack: bool = False
    """Unpack archives into a folder beside each."""
    globus: bool = False
    """Print how to have the files by Globus instead of fetching them."""
    table: Annotated[str | None, tyro.conf.arg(metavar="TABLE", help_behavior_hint="(default: none)")] = None
    """For `describe`: parameters of the fields' simulations, dataset:set or a text file."""
    box_size: Annotated[
        float | None, tyro.conf.arg(metavar="MPC_H", help_behavior_hint="(default: what the files say, or 1)")
    ] = None
    """For `describe`: side of the box of grids and maps in Mpc/h."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("described")
    """For `describe`: where figures and report.json are written."""
    json: bool = False
    """Print the result as JSON."""

    resume: ClassVar[str] = "whole files are kept, the others go on from there with the same command"

    def run(self) -> None:
        if self.action == "list":
            self._list()
            return
        if self.action == "describe":
            self._describe()
            return
        if len(self.target) != 1:
            raise ConfigError(
                f"galaxyjax data {self.action}: give one dataset; `galaxyjax data list` has them"
            )
        from galaxyjax.data.manifest import load_manifest

        manifest = load_manifest(self.target[0])
        {"info": self._info, "fetch": self._fetch, "verify": self._verify}[self.action](manifest)

    def _list(self) -> None:
        from galaxyjax.data.manifest import load_manifest, manifests

        known = [load_manifest(name) for name in manifests()]
        if self.json:
            console.print_json({"datasets": [_summary(manifest) for manifest in known]})
            return
        rows = [(m.name, m.title, _holds(m), _ways(m)) for m in known]
        console.table(["dataset", "what", "holds", "comes by"], rows, left=4)

    def _info(self, manifest) -> None:
        content = _summary(manifest) | {
            "citation": manifest.citation,
            "format": manifest.format,
            "units": manifest.units,
            "note": " ".join(manifest.note.split()),
            "homepage": manifest.access.homepage,
            "globus": manifest.access.globus,
            "address_last_tried": manifest.access.tried or None,
            "products": {n: {"path": p.path, "what": p.what} for n, p in manifest.products.items()},
        }
        if self.set:
            content["set"] = _set(manifest, self.set)
        if self.json:
            console.print_json(content)
            return
        _show(manifest, content)

    def _sources(self, manifest):
        """The files that the options name, or None for all that are listed."""
        if not self.set:
            if manifest.files and not (self.product or self.simulations or self.axis):
                return None
            raise ConfigError(
                f"{manifest.name}: which simulations? give --set, one of "
                f"{', '.join(list(manifest.sets)[:6])}{', ...' if len(manifest.sets) > 6 else ''}"
            )
        if not self.product:
            raise ConfigError(
                f"{manifest.name}: which files? give --product, one of {', '.join(manifest.products)}"
            )
        axes = {}
        for text in self.axis:
            name, equals, value = text.partition("=")
            if not equals:
                raise ConfigError(f"--axis {text}: give NAME=VALUE, e.g. snapshot=090")
            axes[name] = value
        from galaxyjax.data.template import Template

        names = tuple(name for text in self.simulations for name in Template(text).expand()) or None
        return manifest.sources(self.set, self.product, names, **axes)

    def _fetch(self, manifest) -> None:
        sources = self._sources(manifest)
        if self.globus:
            self._by_globus(manifest, manifest.files if sources is None else sources)
            return
        from galaxyjax.data.fetch import fetch

        if self.jobs < 1:
            raise ConfigError(f"--jobs {self.jobs}: give 1 or more")
        paths = fetch(manifest, sources=sources, mirrors=self.mirror, jobs=self.jobs)
        folders = _unpack(paths.values()) if self.unpack else []
        if self.json:
            console.print_json({"dataset": manifest.name, "files": paths, "unpacked": folders})
            return
        for path in paths.values() if len(paths) <= 20 else ():
            console.say(str(path))
        for folder in folders:
            console.say(f"{folder}/")
        console.say(f"{len(paths)} files of {manifest.name}, every one checked. Please cite:")
        for line in manifest.citation:
            console.say(f"  {line}")

    def _by_globus(self, manifest, sources) -> None:
        from galaxyjax.data.verify import globus_steps

        batch = Path(f"globus_{manifest.name}.txt")
        steps = globus_steps(manifest, sources, batch)
        if self.json:
            console.print_json({"dataset": manifest.name, "batch": batch, "steps": steps})
            return
        console.say(f"{len(sources)} files of {manifest.name}, listed in {batch}:\n")
        for step in steps:
            console.say(f"  {step}")

    def _verify(self, manifest) -> None:
        from galaxyjax.data.verify import verify

        findings = verify(manifest, self._sources(manifest) if self.set else None)
        if self.json:
            console.print_json({"dataset": manifest.name, "files": [vars(f) for f in findings]})
        else:
            counts = {
                state: sum(f.state == state for f in findings)
                for state in sorted({f.state for f in findings})
            }
            for finding in findings:
                if finding.state not in ("whole", "pinned"):
                    console.say(f"{finding.state}: {finding.name}")
            console.say(
                f"{manifest.name}: " + (", ".join(f"{n} {s}" for s, n in counts.items()) or "no files")
            )
        altered = [f for f in findings if f.state == "altered"]
        if altered:
            one = altered[0]
            raise FileError(
                f"{len(altered)} files are not what they should be, {one.path} first: sha256 {one.found}, "
                f"expected {one.expected}; remove it and fetch it again"
            )

    def _describe(self) -> None:
        if not self.target:
            raise ConfigError("galaxyjax data describe: give files, or dataset:set")
        from galaxyjax.data.describe import describe
        from galaxyjax.report.dataset import draw

        report = describe(self.target, table=self.table, box_size=self.box_size)
        files = draw(report, self.out)
        if self.json:
            console.print_json(report.summary() | {"files": files})
            return
        for line in report.text():
            console.say(line)
        console.say(f"\nwrote {', '.join(str(file) for file in files)}")


def _summary(manifest) -> dict:
    return {
        "name": manifest.name,
        "title": manifest.title,
        "licence": manifest.licence,
        "files": len(manifest.files),
        "bytes": sum(source.size or 0 for source in manifest.files),
        "without_published_checksum": sum(s.sha256 is None for s in manifest.files) + len(manifest.products),
        "sets": list(manifest.sets),
        "comes_by": _ways(manifest),
    }


def _holds(manifest) -> str:
    parts = [f"{len(manifest.files)} files"] * bool(manifest.files)
    return ", ".join([*parts, *[f"{len(manifest.sets)} sets"] * bool(manifest.sets)])


def _ways(manifest) -> str:
    access = manifest.access
    ways = ["https"] * bool(access.base or access.files or any(s.url for s in manifest.files))
    ways += ["Globus"] * bool(access.globus) + ["made here"] * bool(access.command)
    return ", ".join(ways) or "copy"


def _set(manifest, name: str) -> dict:
    """What is known of a set; its parameters too, when their table is on this machine or can be had."""
    from galaxyjax.data.fetch import Unavailable
    from galaxyjax.data.parameters import parameter_table

    chosen = manifest.set(name)
    content = {"name": name, "status": chosen.status, "note": chosen.note}
    try:
        table = parameter_table(manifest, name)
    except (Unavailable, ValueError) as error:
        return content | {"parameters": str(error)}
    low, high = table.values.min(axis=0), table.values.max(axis=0)
    ranges = {c: [low[i], high[i], table.units.get(c, "")] for i, c in enumerate(table.columns)}
    return content | {"simulations": len(table), "convention": table.convention, "parameters": ranges}


def _show(manifest, content: dict) -> None:
    console.say(f"{manifest.name}: {manifest.title}\n")
    for name in ("licence", "format", "homepage", "globus", "note"):
        if content[name]:
            console.say(f"{name}: {content[name]}")
    if manifest.access.how or manifest.access.command:
        console.say(f"how: {manifest.access.how or manifest.access.command}")
    if content["comes_by"] != "copy" and "https" in content["comes_by"]:
        tried = content["address_last_tried"]
        console.say(
            f"addresses: {'last seen to work on ' + tried if tried else 'never tried from this project'}"
        )
    for name, text in manifest.units.items():
        console.say(f"unit of {name}: {text}")
    console.say("\ncite:")
    for line in manifest.citation:
        console.say(f"  {line}")
    console.say()
    if manifest.products:
        console.table(["product", "path"], [(n, p.path) for n, p in manifest.products.items()], left=2)
    if manifest.sets and "set" not in content:
        rows = [(n, ", ".join(s.simulations), s.status) for n, s in manifest.sets.items()]
        console.table(["set", "simulations", "status"], rows, left=3)
    if manifest.files and not manifest.sets:
        rows = [(s.name, f"{s.size or 0:,}", (s.sha256 or "not published")[:13]) for s in manifest.files]
        console.table(["file", "bytes", "sha256"], rows)
    chosen = content.get("set")
    if chosen and isinstance(chosen["parameters"], dict):
        rows = [(n, f"{a:g}", f"{b:g}", u) for n, (a, b, u) in chosen["parameters"].items()]
        console.say(
            f"{chosen['name']}: {chosen['simulations']} simulations, {chosen['convention']} parameters"
        )
        console.table(["parameter", "from", "to", "unit"], rows)
    elif chosen:
        console.say(f"{chosen['name']}: {chosen['parameters']}")


def _unpack(paths) -> list[Path]:
    from galaxyjax.data.archive import unpack, unpacked

    folders = []
    for path in paths:
        try:
            folder = unpacked(path)
        except FileError:
            continue  # no archive
        if not folder.exists():
            unpack(path, folder)
        folders.append(folder)
    return folders
