"""Build the documentation into docs/_build/html; a warning is an error.

python docs/build.py              # seconds; the notebooks without their pictures
python docs/build.py --execute    # minutes; runs them, what has not changed comes from a cache
"""

import argparse
import os
import sys
from pathlib import Path

from sphinx.cmd.build import main as sphinx

HERE = Path(__file__).parent


def main() -> int:
    """Return Sphinx's exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--execute", action="store_true", help="run the notebooks")
    parser.add_argument("--out", type=Path, default=HERE / "_build" / "html", help="folder of the pages")
    given = parser.parse_args()
    if given.execute:
        os.environ["GALAXYJAX_DOCS_EXECUTE"] = "1"
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
    words = ["-W", "--keep-going", "-q", "-b", "html", "-d", str(given.out.parent / "doctrees")]
    code = sphinx([*words, str(HERE), str(given.out)])
    for page in sorted(given.out.glob("notebooks/*.html")) if given.execute else ():
        if "&lt;Figure size" in page.read_text(encoding="utf-8"):
            print(
                f"{page}: a figure is named, not shown; make it by pyplot or galaxyjax.report",
                file=sys.stderr,
            )
            code = 1
    if not code:
        print(f"wrote {given.out / 'index.html'}")
    return code


if __name__ == "__main__":
    sys.exit(main())
