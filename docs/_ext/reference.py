"""The reference: one page a module, from its source alone.

Docstrings of this house are plain prose with `names` and sections Args, Returns, Raises; they become
reStructuredText with everything else escaped, so that no star or bar in a formula breaks a build.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOMS = {
    "core": "units, cosmology, background, files, errors",
    "mesh": "devices, sharding, halo exchange, FFT, pipeline, checkpoints",
    "fields": "Gaussian fields, perturbation theory, painting, particle mesh, statistics",
    "data": "snapshots, grids, catalogues, surveys, manifests, loaders",
    "theory": "from P(k, z) to a data vector",
    "simulate": "designs, Boltzmann truth, particle-mesh suites, mock surveys",
    "nn": "building blocks of networks, and their pure boundary",
    "models": "families of networks",
    "emulator": "the contract, the callable, the store, the shelf",
    "train": "from truth to weights",
    "infer": "posteriors",
    "validate": "an emulator against truth it never saw",
    "report": "figures, cards, pages",
}
HEADS = {"Args:": "Arguments", "Returns:": "Returns", "Raises:": "Raises", "Yields:": "Yields"}


def pages(root: Path) -> dict[str, str]:
    """Name -> text of all pages below api/."""
    package, made, tree = root / "galaxyjax", {}, []
    for room, what in ROOMS.items():
        rows = []
        for path in sorted((package / room).rglob("*.py")):
            module = ast.parse(path.read_text("utf-8"))
            dotted = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            text = _module(dotted, module, path.relative_to(root))
            if text is None:
                continue
            made[f"api/{dotted}.rst"] = text
            rows.append((dotted, _first(ast.get_docstring(module) or "")))
        lines = "\n\n".join(f":doc:`{name}`\n   {inline(line)}" for name, line in rows)
        title = f"galaxyjax.{room}"
        # A package with functions of its own has its page's name already.
        page = f"room_{room}"
        made[f"api/{page}.rst"] = f"{_title(title)}\n{inline(what[0].upper() + what[1:])}.\n\n{lines}\n"
        tree.append((page, title, what))
    lines = "\n\n".join(f":doc:`{title} <{page}>`\n   {inline(what)}" for page, title, what in tree)
    listed = "\n".join(f"   {page}" for page, _, _ in tree)
    made["api/index.rst"] = (
        f"{_title('Reference')}\nThe rooms of the house, the lowest first: each imports only from those "
        f"above it in this list. The command line has :doc:`a page of its own </cli>`.\n\n{lines}\n\n"
        f".. toctree::\n   :hidden:\n\n{listed}\n"
    )
    return made


class Qualify(ast.NodeTransformer):
    """Names in annotations by where they were imported from, so that a link finds the right one of two."""

    def __init__(self, module: ast.Module):
        self.known = {}
        for node in module.body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("galaxyjax."):
                for one in node.names:
                    if one.name[0].isupper():
                        self.known[one.asname or one.name] = f"{node.module}.{one.name}"

    def visit_FunctionDef(self, node):
        for argument in ast.walk(node.args):
            if isinstance(argument, ast.arg) and argument.annotation is not None:
                argument.annotation = self._named(argument.annotation)
        if node.returns is not None:
            node.returns = self._named(node.returns)
        return node

    def visit_AnnAssign(self, node):
        node.annotation = self._named(node.annotation)
        return node

    def _named(self, annotation):
        for node in ast.walk(annotation):
            if isinstance(node, ast.Name):
                node.id = self.known.get(node.id, node.id)
        return annotation


def _title(text: str) -> str:
    return f"{text}\n{'=' * len(text)}\n"


def _first(docstring: str) -> str:
    """Its first sentence."""
    paragraph = " ".join(docstring.strip().split("\n\n")[0].split())
    return re.split(r"(?<=\.)\s", paragraph)[0]


def _public(node) -> bool:
    return isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")


def _module(dotted: str, module: ast.Module, source: Path) -> str | None:
    """A module's page; None for a module with nothing public in it."""
    constants = _documented(module.body)
    nodes = {node.name: node for node in module.body if _public(node)}
    docstring = ast.get_docstring(module)
    if not nodes and not constants and not docstring:
        return None
    address = f"https://github.com/galaxyjax/galaxyjax/blob/main/{source.as_posix()}"
    Qualify(module).visit(module)
    room = dotted.split(".")[1]
    # Not in the table of contents: 150 more lines beside every page would help nobody, and double the build.
    way = f"`Source <{address}>`__ · :doc:`galaxyjax.{room} <room_{room}>`\n"
    parts = [":orphan:\n", _title(dotted), f".. py:module:: {dotted}\n", prose(docstring or ""), way]
    parts += [_attribute("data", name, kind, value, doc) for name, (kind, value, doc) in constants.items()]
    for node in nodes.values():
        parts.append(_class(node) if isinstance(node, ast.ClassDef) else _function(node, "function"))
    return "\n".join(parts)


def _documented(body: list) -> dict[str, tuple[str, str, str]]:
    """Names that a string follows: name -> (annotation, value, docstring)."""
    found = {}
    for node, after in zip(body, body[1:], strict=False):
        if not (isinstance(after, ast.Expr) and isinstance(getattr(after.value, "value", None), str)):
            continue
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(targets[0], ast.Name):
            kind = ast.unparse(node.annotation) if isinstance(node, ast.AnnAssign) else ""
            value = ast.unparse(node.value) if node.value is not None else ""
            if not targets[0].id.startswith("_"):
                found[targets[0].id] = (kind, value, after.value.value)
    return found


def _attribute(role: str, name: str, kind: str, value: str, doc: str, depth: int = 0) -> str:
    options = [f"   :type: {kind}"] if kind else []
    if value and len(value) < 60 and "\n" not in value:
        options.append(f"   :value: {value}")
    head = "\n".join([f".. py:{role}:: {name}", *options])
    return indent(f"{head}\n\n{indent(prose(doc), 3)}", depth)


def _decorators(node) -> set[str]:
    return {ast.unparse(one).partition("(")[0].rpartition(".")[2] for one in node.decorator_list}


def _function(node: ast.FunctionDef, role: str, depth: int = 0) -> str:
    arguments = node.args
    marks = _decorators(node)
    if role == "method":
        if "staticmethod" not in marks:  # self, cls
            arguments = _without_first(arguments)
    options = [f"   :{mark}:" for mark in ("classmethod", "staticmethod") if mark in marks]
    back = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    head = "\n".join([f".. py:{role}:: {node.name}({ast.unparse(arguments)}){back}", *options])
    return indent(f"{head}\n\n{indent(prose(ast.get_docstring(node) or ''), 3)}", depth)


def _without_first(arguments: ast.arguments) -> ast.arguments:
    kept = ast.arguments(**{name: value for name, value in ast.iter_fields(arguments)})
    if arguments.posonlyargs:
        kept.posonlyargs = arguments.posonlyargs[1:]
    else:
        kept.args = arguments.args[1:]
    return kept


def _class(node: ast.ClassDef) -> str:
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    signature = _fields(node) if "dataclass" in _decorators(node) or "NamedTuple" in bases else _init(node)
    parts = [f".. py:class:: {node.name}{signature}\n"]
    if bases and "NamedTuple" not in bases:
        parts.append(indent(f"Bases: {inline(f'`{bases}`')}\n", 3))
    parts.append(indent(prose(ast.get_docstring(node) or ""), 3))
    for name, (kind, value, doc) in _documented(node.body).items():
        parts.append(_attribute("attribute", name, kind, value, doc, 3))
    for child in node.body:
        if isinstance(child, ast.FunctionDef) and not child.name.startswith("_"):
            marks = _decorators(child)
            if marks & {"setter", "overload"}:
                continue
            if marks & {"property", "cached_property"}:
                kind = ast.unparse(child.returns) if child.returns is not None else ""
                parts.append(_attribute("property", child.name, kind, "", ast.get_docstring(child) or "", 3))
            else:
                parts.append(_function(child, "method", 3))
    return "\n".join(parts)


def _fields(node: ast.ClassDef) -> str:
    words = []
    for child in node.body:
        if isinstance(child, ast.AnnAssign) and not child.target.id.startswith("_"):
            kind = ast.unparse(child.annotation)
            if kind.startswith("ClassVar"):
                continue
            default = f" = {ast.unparse(child.value)}" if child.value is not None else ""
            words.append(f"{child.target.id}: {kind}{default if len(default) < 50 else ' = ...'}")
    return f"({', '.join(words)})"


def _init(node: ast.ClassDef) -> str:
    for child in node.body:
        if isinstance(child, ast.FunctionDef) and child.name == "__init__":
            return f"({ast.unparse(_without_first(child.args))})"
    return ""


def indent(text: str, depth: int) -> str:
    """Every line that holds something, `depth` spaces to the right."""
    return "\n".join(" " * depth + line if line.strip() else "" for line in text.split("\n"))


def prose(docstring: str) -> str:
    """A docstring of this house as reStructuredText."""
    lines = _dedent(docstring)
    parts: list[str] = []
    i = 0
    while i < len(lines):
        line = lines[i]
        if not line.strip():
            i += 1
        elif line.strip() in HEADS and line == line.lstrip():
            block, i = _block(lines, i + 1, 1)
            parts.append(_section(HEADS[line.strip()], block))
        elif line[0] == " ":
            block, i = _block(lines, i, 1)
            parts.append("::\n\n" + indent("\n".join(_strip(block)), 3))
        else:
            paragraph = []
            while i < len(lines) and lines[i].strip() and lines[i].strip() not in HEADS:
                paragraph.append(lines[i])
                i += 1
            parts.append(_paragraph(paragraph))
    return "\n\n".join(parts) + "\n"


def _dedent(docstring: str) -> list[str]:
    lines = docstring.expandtabs().strip("\n").split("\n")
    depths = [len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()]
    depth = min(depths, default=0)
    return [lines[0].strip(), *(line[depth:].rstrip() for line in lines[1:])] if lines else []


def _block(lines: list[str], i: int, least: int) -> tuple[list[str], int]:
    """Lines from i on that are indented by `least` at least, or empty between such."""
    start = i
    while i < len(lines) and (not lines[i].strip() or len(lines[i]) - len(lines[i].lstrip()) >= least):
        i += 1
    return lines[start:i], i


def _strip(block: list[str]) -> list[str]:
    depth = min((len(line) - len(line.lstrip()) for line in block if line.strip()), default=0)
    block = [line[depth:] for line in block]
    while block and not block[-1].strip():
        block.pop()
    return block


def _section(title: str, block: list[str]) -> str:
    """A section's entries as a list: those that begin "name:" by their names."""
    entries: list[str] = []
    for line in _strip(block):
        if line.strip():
            if line[0] == " " and entries:
                entries[-1] += " " + line.strip()
            else:
                entries.append(line.strip())
    named = re.compile(r"^([\w, *.()]+): (.*)$")
    if not any(named.match(entry) for entry in entries):
        return f"**{title}.** {inline(' '.join(entries))}"
    items = []
    for entry in entries:
        match = named.match(entry)
        items.append(
            f"- ``{match.group(1).strip()}``: {inline(match.group(2))}" if match else f"- {inline(entry)}"
        )
    return f"**{title}**\n\n" + "\n".join(items)


def _paragraph(lines: list[str]) -> str:
    """Running text, or a list where lines begin with a dash or a number."""
    mark = re.compile(r"^(-|\d+\.) ")
    if not any(mark.match(line) for line in lines):
        return inline(" ".join(line.strip() for line in lines))
    before, items = [], []
    for line in lines:
        if mark.match(line):
            items.append(mark.sub("", line))
        elif items:
            items[-1] += " " + line.strip()
        else:
            before.append(line.strip())
    text = "\n".join(f"- {inline(item)}" for item in items)
    return f"{inline(' '.join(before))}\n\n{text}" if before else text


def inline(text: str) -> str:
    """Prose with `code` or ``code`` as literals, all else escaped."""
    parts = re.split(r"(``[^`]+``|`[^`]+`)", text)
    made = []
    for part in parts:
        code = part.strip("`")
        if len(part) > 2 and part[0] == "`" and code.strip():
            made.append(f"\x00``{code.strip()}``\x00")
        else:
            made.append(re.sub(r"([\\*`|_])", r"\\\1", part))
    joined = "".join(made)
    # A literal needs white space or punctuation around it.
    joined = re.sub(r"(?<=\w)\x00(?=`)", r"\\ ", joined)
    joined = re.sub(r"(?<=`)\x00(?=\w)", r"\\ ", joined)
    joined = joined.replace("\x00", "")
    return (
        "\\" + joined
        if re.match(r"^([-+•]|\.\.|\w+[.)]|\(\w+\)|>>>|:|=|[~^\"'#]{2})(\s|$)", joined)
        else joined
    )
