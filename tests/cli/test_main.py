from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from mpsearch.cli import group, main, script
from mpsearch.core.errors import BudgetError, TrainingDiverged
from mpsearch.core.interrupt import Terminated

COMMANDS = [
    "study",
    "worker",
    "proxy",
    "status",
    "gc",
    "signals",
    "profile",
    "allocate",
    "retrain",
    "pick",
    "export",
    "evaluate",
    "plot",
    "doctor",
    "list",
    "schema",
    "completion",
]
Answer = Callable[..., tuple[int, str]]


@pytest.fixture
def asked(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """Exit code and what standard error says."""
    monkeypatch.chdir(tmp_path)

    def ask(*arguments: str) -> tuple[int, str]:
        code = main(arguments)
        return code, capsys.readouterr().err

    return ask


def test_every_command_is_there() -> None:
    assert list(group.commands) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"Usage: mpsearch {command}")


def test_no_command_shows_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    told = capsys.readouterr().out
    assert all(f"\n  {command} " in told for command in COMMANDS)


@pytest.mark.parametrize("arguments", [[], ["--help"], *([command, "--help"] for command in COMMANDS)], ids=" ".join)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = "import sys; from mpsearch.cli import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert not {"torch", "optuna", "plotly", "pydantic", "scipy", "numpy", "rich"} & set(done.stderr.split())


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    import mpsearch

    assert main(["--version"]) == 0
    assert mpsearch.__version__ in capsys.readouterr().out


BAD = [
    (["stdy"], "No such command 'stdy'"),
    (["study", "--buget", "2MB"], "No such option '--buget'"),
    (["study", "--budget"], "requires an argument"),
    (["study", "--budget", "2"], "budget '2' has no unit"),
    (["study", "--budget", "-2MB"], "budget '-2MB' must be above zero"),
    (["study", "--budget", "0KB"], "must be above zero"),
    (["study", "--budget", "2XB"], "unknown unit 'XB'"),
    (["study", "--budget", "lots"], "budget 'lots' cannot be read"),
    (["allocate", "--budget", "2"], "budget '2' has no unit"),
    (["study", "nope"], "unknown study 'nope'; known: "),
    (["study", "nope.yaml"], "there is no study file 'nope.yaml'"),
    (["study", "--space", "nope"], "unknown space 'nope'; known: "),
    (["study", "--methods", "nope"], "unknown method 'nope'; known: "),
    (["study", "--signals", "nope"], "unknown signal 'nope'; known: "),
    (["study", "--effort", "fast"], "there is no effort 'fast'"),
    (["study", "--evaluate", "guess"], "'guess' is not one of 'ptq', 'qat', 'supernet'"),
    (["study", "--trials", "0"], "command line: search.trials: should be greater than or equal to 1, not 0"),
    (["study", "--trials", "many"], "'many' is not a valid integer"),
    (["study", "--images", "0"], "signals.images: should be greater"),
    (["study", "--epochs", "-1"], "retrain.epochs: should be greater"),
    (["study", "--seed", "-1"], "seed: should be greater"),
    (["study", "--device", "tpu"], "device: "),
    (["study", "--compile", "maybe"], "'maybe' is not one of"),
    (["study", "--set", "recipe.lr"], "write it as key.path=value"),
    (["study", "--set", "recipe.batchsize=2"], "recipe.batchsize: unknown key; did you mean 'batch_size'?"),
    (["study", "--set", "recipe.lr=[1"], "--set recipe.lr: line 1"),
    (["study", "--storage", "nonsense"], "storage: 'nonsense' cannot be opened"),
    (["study", "--workers", "0"], "0 is not in the range"),
    (["study", "--lease", "5s"], "--lease, --artifacts and --launch are of a study that workers share; add --workers N or --storage URL"),
    (["study", "--workers", "2", "--lease", "soon"], "--lease: 'soon' cannot be read"),
    (["worker"], "--storage URL is needed"),
    (
        ["study", "--launch", "slurm"],
        "--lease, --artifacts and --launch are of a study that workers share; add --workers N or --storage URL",
    ),
    (["study", "--launch", "slurm", "--workers", "1"], "submits all workers but this one; add --workers N, at least 2"),
    (["study", "--launch", "slurm", "--workers", "4"], "SQLite is for processes of one machine; give a --storage that the jobs reach"),
    (["study", "--slurm", "partition=gpu", "--workers", "2"], "--slurm is of the jobs of --launch slurm; add that"),
    (["study", "--slurm", "gpu", "--launch", "local", "--workers", "2"], "write it as KEY=VALUE, such as partition=gpu"),
    (["proxy"], "--storage URL is needed"),
    (["proxy", "--storage", "sqlite:///trials.db"], "is no database server; give postgresql://… or mysql://…"),
    (["worker", "--storage", "nonsense"], "storage: 'nonsense' cannot be opened"),
    (["status"], "pass a run directory, --storage URL or the variable MPSEARCH_STORAGE"),
    (["status", "gone"], "gone holds no study.db"),
    (["gc", "gone"], "gone holds no study.db"),
    (["retrain"], "Missing option '--bits'"),
    (["retrain", "--bits", "gone.yaml"], "gone.yaml: cannot be read"),
    (["evaluate", "gone.safetensors"], "there is no artifact 'gone.safetensors'"),
    (["plot", "gone"], "'gone' holds no summary.json"),
    (["plot", "gone", "--out", "front.svg"], "holds no summary.json"),
    (["pick", "gone"], "nothing was asked for; give one of --budget, --keep, --max-drop, --knee, --trial"),
    (["pick", "gone", "--knee", "--keep", "99%"], "--keep and --knee was asked for; give one of"),
    (["pick", "gone", "--keep", "99"], "keep: '99' is no share of the float metric; give one such as 99% or 0.99"),
    (["pick", "gone", "--keep", "most"], "keep: 'most' is no share"),
    (["pick", "gone", "--max-drop", "-1"], "--max-drop -1: give a number of at least 0"),
    (["pick", "gone", "--knee"], "gone holds no finished run (there is no summary.json)"),
    (["export", "gone"], "Missing option '--out'"),
    (["list", "colours"], "'colours' is not one of"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_what_was_asked_wrongly_is_one_line_and_exit_code_2(asked: Answer, arguments: list[str], message: str) -> None:
    code, told = asked(*arguments)
    assert code == 2
    assert told.startswith("mpsearch: error: ")
    assert message in told
    assert told.count("\n") == 1


def test_files_that_are_wrong(asked: Answer, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\nname: yours\n")
    code, told = asked("study", "mine.yaml")
    assert (code, told) == (2, "mpsearch: error: mine.yaml: line 2, column 1: the key 'name' appears twice\n")
    (tmp_path / "bits.yaml").write_text("conv1: w9a8\n")
    code, told = asked("retrain", "--bits", "bits.yaml")
    assert code == 2
    assert "bits.yaml: conv1: " in told
    (tmp_path / "x.safetensors").write_bytes(b"")
    code, told = asked("evaluate", "x.safetensors")
    assert code == 2
    assert "add --study NAME or FILE" in told
    (tmp_path / "summary.json").write_text("{}")
    code, told = asked("plot", ".")
    assert code == 2
    assert "summary.json is damaged" in told


def test_the_process_itself_exits_with_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mpsearch", "study", "--budget", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "mpsearch: error: budget '2' has no unit; write act:2KB, 2bit, 2GBOPs, 2ms or 2MB\n"


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (BudgetError("too small;\n raise it"), 2, "mpsearch: error: too small; raise it\n"),
        (BudgetError("a \x1b]0;title\x07 of a stranger"), 2, "mpsearch: error: a \\x1b]0;title\\x07 of a stranger\n"),
        (TrainingDiverged("the loss is NaN"), 1, "mpsearch: error: the loss is NaN\n"),
        (KeyboardInterrupt(), 130, "interrupted; the same command goes on where it stopped\n"),
        (Terminated(), 143, "told to end; the same command goes on where it stopped\n"),
    ],
)
def test_one_handler_for_all_commands(asked: Answer, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, told: str) -> None:
    @click.command
    def raising() -> None:
        raise error

    monkeypatch.setitem(group.commands, "raising", raising)
    found, text = asked("raising")
    assert (found, text.lstrip("\n")) == (code, told)


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command
    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(group.commands, "broken", broken)
    with pytest.raises(ZeroDivisionError):
        main(["broken"])


def test_a_fault_of_ours_is_one_line_and_a_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def faulty(arguments: object = None) -> int:
        raise KeyError("a name that\nnobody foresaw")

    monkeypatch.setattr("mpsearch.cli.main", faulty)
    assert script() == 1
    said = capsys.readouterr().err
    assert said.startswith("mpsearch: error: this is a fault of mpsearch: KeyError: ")
    assert said.count("\n") == 1
    log = Path(said.partition("its traceback is in ")[2].partition(";")[0])
    assert "nobody foresaw" in log.read_text(encoding="utf-8")
    log.unlink()
