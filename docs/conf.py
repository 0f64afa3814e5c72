"""Sphinx's settings. `python docs/build.py` builds; warnings are errors."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent / "_ext")]

import gathered  # noqa: E402

import galaxyjax  # noqa: E402

project = "galaxyjax"
author = "The galaxyjax authors"
copyright = author
version = release = galaxyjax.__version__

extensions = ["myst_nb", "sphinx.ext.mathjax", "sphinx_copybutton"]
exclude_patterns = ["_build", "_ext", "**/.ipynb_checkpoints"]
myst_enable_extensions = ["dollarmath", "deflist", "fieldlist"]
myst_heading_anchors = 3
myst_links_external_new_tab = True
maximum_signature_line_length = 96
python_use_unqualified_type_names = True
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True

# Pictures of the notebooks cost minutes: `python docs/build.py --execute` runs them, other builds do not.
nb_execution_mode = "cache" if os.environ.get("GALAXYJAX_DOCS_EXECUTE") else "off"
nb_execution_timeout = 900
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
nb_output_stderr = "remove"

html_theme = "furo"
html_title = f"galaxyjax {release}"
html_static_path = ["_static"]
html_css_files = ["house.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "source_repository": "https://github.com/galaxyjax/galaxyjax/",
    "source_branch": "main",
    "source_directory": "docs/",
    "light_css_variables": {"color-brand-primary": "#0072B2", "color-brand-content": "#0072B2"},
    "dark_css_variables": {"color-brand-primary": "#56B4E9", "color-brand-content": "#56B4E9"},
}
# Formulas are set in the reader's browser; without a network they stay readable as TeX.
mathjax_options = {"defer": "defer"}

# Pages that are made from the code, the cards and the stored measurements, and copies of the notebooks.
gathered.write(ROOT, Path(__file__).parent)
html_extra_path = ["_gathered_html"]
