"""What the verbs share: JSON for machines, small tables for people, the cache of compiled code."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def print_json(content: Any) -> None:
    """Print one JSON document on stdout; NaN and infinity, which JSON lacks, become null."""
    print(json.dumps(plain(content), indent=2, ensure_ascii=False))


def plain(content: Any) -> Any:
    """The same content in JSON's own types: arrays as lists, paths as text, NaN as None."""
    if isinstance(content, Mapping):
        return {str(key): plain(value) for key, value in content.items()}
    if isinstance(content, str | bool | int) or content is None:
        return content
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Path):
        return str(content)
    if hasattr(content, "tolist"):
        return plain(content.tolist())
    return [plain(value) for value in content]


def say(message: str = "") -> None:
    """A line for people, on stderr when stdout belongs to a machine (see `note`)."""
    print(message, flush=True)


def note(message: str) -> None:
    """A line for people on stderr: what is going on, never a result."""
    if os.environ.get("GALAXYJAX_QUIET", "") in ("", "0"):
        print(message, file=sys.stderr, flush=True)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
    """Print a small table; the first `left` columns are words, the others numbers."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, header in enumerate(headers):
        grid.add_column(escape(header), justify="left" if index < left else "right", overflow="fold")
    for row in rows:
        grid.add_row(*[escape(str(cell)) for cell in row])
    # Piped into a file there is no width to fit: never wrap, never cut.
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(grid)


def start_jax(*, x64: bool = False) -> None:
    """Import JAX with the persistent cache of compiled code, and float64 for the verbs that ask for it."""
    leave_tpus_alone()
    import jax

    from galaxyjax.data.fetch import cache_folder

    jax.config.update("jax_enable_x64", x64)
    folder = cache_folder() / "compiled"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # a read-only home: everything works, only slower at every start
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # The default keeps only what took a second to compile; an emulator's call takes less, at every start.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def leave_tpus_alone() -> None:
    """Leave libtpu alone where it is installed to compile only: without chips it fills the screen."""
    from importlib.util import find_spec

    chips = any(Path("/dev").glob("accel*")) or Path("/dev/vfio").is_dir()
    cuda = any(find_spec(f"jax_cuda{version}_plugin") for version in (12, 13))
    if find_spec("libtpu") and not chips and not cuda:
        os.environ.setdefault("JAX_PLATFORMS", "cpu")


def number(value: float, digits: int = 4) -> str:
    """A number as people read it."""
    return f"{float(value):.{digits}g}"
