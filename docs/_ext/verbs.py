"""The page of the command line, from the dataclasses of the verbs."""

from __future__ import annotations

import ast
from pathlib import Path


def page(root: Path) -> str:
    """All verbs with their options, in the order of `galaxyjax --help`."""
    parts = [
        "# The command line\n\nOne verb for each step of the work. `galaxyjax VERB --help` says the same in "
        "a terminal; `--json` prints a result for machines; `--debug` shows the traceback of an error. Exit "
        "codes: 0 done, 2 cannot be done as asked (one line says why), 130 interrupted, 143 told to stop and "
        "saved, 124 ended by the watchdog, 1 a defect."
    ]
    app = ast.parse((root / "galaxyjax/cli/app.py").read_text("utf-8"))
    for name, (module, kind, line) in _table(app).items():
        tree = ast.parse((root / f"galaxyjax/cli/{module}.py").read_text("utf-8"))
        node = next(one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == kind)
        parts.append(
            f"## {name}\n\n{_sentence(line)}\n\n{_text(ast.get_docstring(node) or '')}\n\n{_options(node)}"
        )
    return "\n\n".join(parts) + "\n"


def _table(app: ast.Module) -> dict[str, tuple[str, str, str]]:
    """VERBS as written: name -> (module, class, line)."""
    for node in app.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "VERBS":
            return {
                key.value: tuple(ast.literal_eval(word) for word in value.args)
                for key, value in zip(node.value.keys, node.value.values, strict=True)
            }
    raise ValueError("galaxyjax/cli/app.py: VERBS is not there")


def _sentence(line: str) -> str:
    return f"*{line[0].upper()}{line[1:]}.*"


def _text(docstring: str) -> str:
    """Paragraphs; indented ones as blocks of code."""
    parts = []
    for block in docstring.split("\n\n"):
        if block.startswith("    "):
            lines = "\n".join(line[4:] for line in block.split("\n"))
            parts.append(f"```text\n{lines}\n```")
        else:
            parts.append(" ".join(block.split()).replace("<", "\\<").replace("$", "\\$"))
    return "\n\n".join(parts)


def _options(node: ast.ClassDef) -> str:
    rows = ["| option | default | |", "| --- | --- | --- |"]
    for field, after in zip(node.body, node.body[1:], strict=False):
        if not isinstance(field, ast.AnnAssign) or not isinstance(after, ast.Expr):
            continue
        kind = ast.unparse(field.annotation)
        name = field.target.id
        if "Positional" in kind:
            words = [
                n for n in ast.walk(field.annotation) if isinstance(n, ast.keyword) and n.arg == "metavar"
            ]
            name = words[0].value.value if words else name.upper()
        else:
            name = "--" + name.replace("_", "-")
        value = ast.unparse(field.value) if field.value is not None else ""
        value = value[6:-2] if value.startswith("Path('") else value
        value = {"None": "", "()": "", "''": "", "False": ""}.get(value, f"`{value}`" if value else "")
        text = " ".join(after.value.value.split()).replace("|", "\\|").replace("<", "\\<").replace("$", "\\$")
        rows.append(f"| `{name}` | {value} | {text} |")
    return "\n".join(rows) if len(rows) > 2 else ""
