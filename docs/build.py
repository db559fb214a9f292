"""The documentation as a site: pages of this folder, tables of what is registered, and the reference from docstrings.

pip install '.[docs]' && python docs/build.py --out site
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sphinx.cmd.build import build_main

DOCS = Path(__file__).parent
ROOT = DOCS.parent
TITLE = "mpsearch"
AROUND = {"README.md": "readme.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}
"""Pages that lie above this folder, and their names in the site."""
PARTS = {
    "Begin": ("readme", "quickstart", "digits_in_2MB", "own_model", "your_own_model", "budgets", "faq"),
    "Use": ("commands", "studies", "formats", "deploy", "latency", "models", "files", "read_with_numpy", "large", "scale"),
    "Understand": ("how_it_works", "results", "engine", "methods", "signals", "reliability", "peers", "security"),
    "Look up": ("registered", "reference", "contributing", "changelog"),
}
REGISTRIES = ("methods", "signals", "costs", "targets", "handovers", "models", "data", "loggers")
CONF = f"""
project = "{TITLE}"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "{TITLE}"
myst_heading_anchors = 4
myst_enable_extensions = ["html_image"]
autodoc_typehints = "description"
add_module_names = False
default_role = "code"
suppress_warnings = ["misc.highlighting_failure"]
"""


def main() -> int:
    """Write the site; every broken link is an error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "site")
    out: Path = parser.parse_args().out
    with tempfile.TemporaryDirectory() as folder:
        pages = Path(folder)
        stage(pages)
        return int(build_main(["-q", "-W", "--keep-going", str(pages), str(out)]))


def stage(pages: Path) -> None:
    """The site's source: pages with links among each other, tables, reference, contents."""
    for file in DOCS.iterdir():
        if file.suffix == ".md":
            (pages / file.name).write_text(linked(file.read_text(encoding="utf-8")), encoding="utf-8")
        elif file.suffix in (".svg", ".png"):
            shutil.copy(file, pages)
    for file in (DOCS / "notebooks").glob("*.ipynb"):
        (pages / f"{file.stem}.md").write_text(linked("\n\n".join(cells(file))), encoding="utf-8")
    for file_name, page in AROUND.items():
        (pages / page).write_text(linked((ROOT / file_name).read_text(encoding="utf-8")), encoding="utf-8")
    (pages / "registered.md").write_text("\n".join(registered()), encoding="utf-8")
    (pages / "reference.md").write_text("\n".join(reference()), encoding="utf-8")
    (pages / "index.md").write_text("\n".join(contents(pages)), encoding="utf-8")
    (pages / "conf.py").write_text(CONF, encoding="utf-8")


def cells(notebook: Path) -> Iterator[str]:
    """A notebook as a page: its text and its code."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        yield source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```"
    yield f"This page is the notebook `docs/notebooks/{notebook.name}`, to be run in Jupyter."


def linked(text: str) -> str:
    """A page whose links are those of the site; what is no page of it is named without a link."""
    for file_name, page in AROUND.items():
        text = re.sub(rf"\]\((?:\.\./)?{file_name}", f"]({page}", text)
    text = re.sub(r"\]\((?:\.\./)?(?:docs/)?(?:notebooks/)?([\w-]+)\.ipynb", r"](\1.md", text)
    text = re.sub(r"\]\((?:docs/|\.\./(?=[\w-]+\.md))", "](", text)
    return re.sub(r"\[([^\]]+)\]\(([^)]+)\)", lambda link: link[0] if _in_site(link[2]) else link[1], text)


def _in_site(target: str) -> bool:
    return target.startswith(("https://", "#")) or re.fullmatch(r"[\w-]+\.(md|svg|png)(#.*)?", target) is not None


def registered() -> Iterator[str]:
    """Tables of all that is registered."""
    yield "# What there is\n\nAs `mpsearch list` prints it.\n"
    for kind in REGISTRIES:
        yield f"## {kind.capitalize()}\n\n| name | what it is | paper |\n|---|---|---|"
        for name, member in getattr(importlib.import_module(f"mpsearch.{kind}"), kind.upper()).items():
            told = getattr(member, "description", "") or (member.__doc__ or "").strip().partition("\n")[0]
            yield f"| `{name}` | {told} | {getattr(member, 'paper', '') or ''} |"
        yield ""


def reference() -> Iterator[str]:
    """The public names of `mpsearch`, from their docstrings."""
    package = importlib.import_module("mpsearch")
    yield "# Reference\n\nAll of it is imported from `mpsearch`.\n\n```{eval-rst}"
    for name in package.__all__:
        kind = "autofunction" if callable(getattr(package, name)) and not isinstance(getattr(package, name), type) else "autoclass"
        home = getattr(package, name).__module__
        yield f".. {kind}:: {home}.{name}" + ("\n   :members:\n" if kind == "autoclass" else "\n")
    yield "```\n"


def contents(pages: Path) -> Iterator[str]:
    """The first page."""
    yield f"# {TITLE}\n\nHow many bits each layer of a PyTorch network gets under a budget: searched, trained, exported and verified.\n"
    for part, names in PARTS.items():
        there = [name for name in names if (pages / f"{name}.md").exists()]
        yield f"```{{toctree}}\n:caption: {part}\n:maxdepth: 1\n\n" + "\n".join(there) + "\n```\n"


if __name__ == "__main__":
    sys.exit(main())
