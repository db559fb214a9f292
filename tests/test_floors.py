"""The house stands on floors: a file imports only from lower floors or its own package. Read off the source, nothing is run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mpsearch"
FLOORS = (
    {"core"},
    {"loggers", "numbers", "tasks"},
    {"data", "models"},
    {"network"},
    {"targets"},
    {"costs", "handovers", "methods"},
    {"training"},
    {"signals"},
    {"allocate"},
    {"propose"},
    {"trials"},
    {"config"},
    {"study"},
    {"report"},
    {"card"},
    {"run"},
    {"api"},
    {"doctor"},
    {"cli"},
    {"testing"},
)
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
EXCEPTIONS = {("cli", "mpsearch")}
DOORS = {
    "boto3": {"study"},
    "botocore": {"study"},
    "click": {"cli"},
    "filelock": {"run"},
    "grpc": {"study"},
    "huggingface_hub": {"run"},
    "matplotlib": {"report"},
    "mlflow": {"loggers"},
    "onnx": {"handovers", "targets"},
    "onnx_ir": {"targets"},
    "onnxruntime": {"targets"},
    "onnxscript": {"targets"},
    "optuna": {"api", "study", "doctor", "run"},
    "optuna_dashboard": {"run"},
    "pandas": {"api", "report"},
    "plotly": {"report"},
    "pydantic": {"config"},
    "pytest": {"testing"},
    "safetensors": {"handovers", "targets", "run", "models", "numbers", "training"},
    "scipy": {"allocate", "methods", "numbers", "propose", "signals"},
    "sklearn": {"data", "tasks"},
    "sqlalchemy": {"study"},
    "submitit": {"run"},
    "tensorboard": {"loggers"},
    "trackio": {"loggers"},
    "wandb": {"loggers"},
    "yaml": {"config", "targets", "run"},
}
FORBIDDEN = {"utils", "util", "helpers", "helper", "common", "misc", "tools"}
MODULES = sorted(PACKAGE.rglob("*.py"))
HOUSE = [file for file in MODULES if file.parent != PACKAGE or file.stem not in ("__init__", "__main__")]


def _room(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(file: Path) -> Iterator[str]:
    return _imported_by(ast.parse(file.read_text(encoding="utf-8")), file)


def _imported_by(tree: ast.Module, file: Path) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            assert node.module is not None
            yield node.module
            if node.module.startswith("mpsearch"):
                yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == "mpsearch")


def _name(file: Path) -> str:
    return str(file.relative_to(PACKAGE))


@pytest.mark.parametrize("file", HOUSE, ids=_name)
def test_imports_go_down(file: Path) -> None:
    room = _room(file)
    assert room in LEVEL, f"{room} stands on no floor; give it one in {__file__}"
    for name in _imports(file):
        parts = name.split(".")
        if parts[0] != "mpsearch" or (room, name) in EXCEPTIONS or (room, ".".join(parts[:-1])) in EXCEPTIONS:
            continue
        assert len(parts) > 1, f"{_name(file)} imports the package's own front door"
        assert parts[1] == room or LEVEL[parts[1]] < LEVEL[room], f"{_name(file)} imports {name}, which is not below it"


@pytest.mark.parametrize("file", HOUSE, ids=_name)
def test_third_parties_come_through_their_doors(file: Path) -> None:
    for name in _imports(file):
        allowed = DOORS.get(name.split(".")[0])
        assert allowed is None or _room(file) in allowed, f"{_name(file)} imports {name}; only {', '.join(sorted(allowed))} may"


@pytest.mark.parametrize("file", [file for file in HOUSE if _room(file) == "core"], ids=_name)
def test_core_runs_on_numpy_alone(file: Path) -> None:
    """A name that only type checkers see costs no import."""
    text = file.read_text(encoding="utf-8")
    for block in ast.walk(ast.parse(text)):
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING":
            text = text.replace(ast.get_source_segment(text, block) or "", "")
    imported = {name.split(".")[0] for name in _imported_by(ast.parse(text), file)}
    assert not imported & {"torch", "rich", *DOORS}


@pytest.mark.parametrize("file", MODULES, ids=_name)
def test_a_file_is_named_for_its_idea(file: Path) -> None:
    assert file.stem not in FORBIDDEN
    assert not FORBIDDEN & set(file.relative_to(PACKAGE).parts)


def _all_of(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets):
            return [str(name) for name in ast.literal_eval(node.value)]
    return None


def _order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("file", MODULES, ids=_name)
def test_all_is_there_sorted_and_true(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = _all_of(tree)
    if names is None:
        own = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")]
        assert not own, f"{_name(file)} defines {own[0].name} but has no __all__" if own else ""
        return
    assert names == sorted(names, key=_order)
    assert len(names) == len(set(names))
    bound = {name for node in ast.walk(tree) for name in _bound_by(node)}
    assert set(names) <= bound, f"{_name(file)} promises {set(names) - bound}, which it does not have"


def _bound_by(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in node.names)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id


@pytest.mark.parametrize("file", MODULES, ids=_name)
def test_files_are_short_and_say_what_they_are(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count("\n") < 350
    assert ast.get_docstring(ast.parse(text)), f"{_name(file)} has no docstring"


def test_the_test_would_notice() -> None:
    """A guard against a rule that never fires: config does import downward, and the front door does import upward names."""
    assert any(name.startswith("mpsearch.core") for name in _imports(PACKAGE / "config" / "study.py"))
    assert LEVEL["core"] < LEVEL["config"] < LEVEL["cli"]
