"""Options that several commands share, and how they change a study."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mpsearch.core.errors import ConfigError, UsageError
from mpsearch.core.printable import printable
from mpsearch.core.url import without_password

if TYPE_CHECKING:
    from rich.console import Console

    from mpsearch.config import StudyConfig
    from mpsearch.run import Announcer

__all__ = [
    "DEFAULT_STUDY",
    "RESOLVED_STUDY",
    "announcer_of",
    "command_line",
    "consoles",
    "data_options",
    "keep_options",
    "kept",
    "log_option",
    "overrides_from",
    "read_config",
    "run_options",
    "study_options",
    "trust_in",
]


_WIDE = 200
"""Characters per line where the output is not a terminal."""

F = TypeVar("F", bound=Callable[..., Any])
DEFAULT_STUDY = "digits_resnet18"
RESOLVED_STUDY = "study.yaml"

_STUDY = [
    click.argument("study", default=DEFAULT_STUDY),
    click.option(
        "--budget",
        "budgets",
        multiple=True,
        metavar="AMOUNT",
        help="2MB, 1.5MiB, 3.2bit, 1.2GBOPs, act:64KB, 5ms; give several and all hold. A range, 1MB..8MB, gives a front.",
    ),
    click.option("--effort", metavar="EFFORT", help="quick, normal or thorough: trials, rungs and epochs as the study states them."),
    click.option("--space", metavar="SPACE", help="What may be chosen: a name in spaces/ or a YAML file."),
    click.option("--target", metavar="TARGET", help="The file that is delivered: a name of `mpsearch list targets`."),
    click.option("--runtime", metavar="NAME", help="Of the target onnx-qdq: score its file in onnxruntime or openvino."),
    click.option("--hardware", metavar="PROFILE", help="Hardware profile for latency budgets: a name or a YAML file."),
    click.option("--signals", "--signal", metavar="A,B", help="Sensitivity signals, separated by commas, or all; mix weighs the others."),
    click.option("--methods", metavar="A,B", help="Quantization methods, separated by commas, or all."),
    click.option("--images", type=int, metavar="N", help="Training images the signals and ranges are measured on."),
    click.option("--evaluate", type=click.Choice(["ptq", "qat", "supernet"]), help="What trials are scored by: see search.evaluate."),
    click.option("--trials", type=int, metavar="N", help="Trials of the search, at most."),
    click.option("--timeout", metavar="TIME", help="Begin no trial after this time: seconds, or 90s, 5min, 2h."),
    click.option("--until-flat", is_flag=True, default=None, help="End when trials are expected to gain next to nothing."),
    click.option("--keep-points", type=int, metavar="K", help="Of the front of a range of budgets, how many points are trained (6)."),
    click.option("--epochs", type=int, metavar="N", help="Epochs of the final retraining."),
    click.option("--compile", type=click.Choice(["auto", "on", "off"]), help="torch.compile; auto uses it where it pays."),
    click.option("--card", type=click.Choice(["auto", "full"]), help="full: every flip of the card; auto: a tenth of the run's time."),
]
_DATA = [
    click.option("--model", metavar="MODEL", help="A name of `mpsearch list models`, hf:DIR, or package.module:factory."),
    click.option("--weights", metavar="FILE", help="Float weights: safetensors, or a state_dict."),
    click.option("--data", metavar="SOURCE", help="digits, imagefolder:DIR with folders train/<class> and test/<class>, or text:FILE."),
    click.option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N."),
    click.option("--seed", type=int, metavar="N", help="Of splits, training and search."),
    click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any other key of the study, such as recipe.lr=0.01."),
]
_RUN = [
    click.option(
        "--run-dir", "--out", "run_dir", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Default: runs/<name>."
    ),
    click.option("--quiet", "-q", is_flag=True, help="No progress, only the closing summary."),
]
_LOG = click.option(
    "--log",
    "loggers",
    multiple=True,
    metavar="LOGGER",
    help="Follow the run in tensorboard, wandb, mlflow or trackio; several may be given, see `mpsearch list loggers`.",
)
_KEEP = [
    click.option("--keep", metavar="SHARE", help="The smallest that keeps this share of the float metric: 99%."),
    click.option(
        "--max-drop", type=float, metavar="X", help="The smallest that loses no more: points of an accuracy, else units of the metric."
    ),
]
_KEYS = {
    **{key: key for key in ("effort", "space", "target", "hardware", "compile", "card", "device", "seed")},
    "images": "signals.images",
    "evaluate": "search.evaluate",
    "runtime": "target_settings.runtime",
    "trials": "search.trials",
    "timeout": "search.timeout",
    "until_flat": "search.until_flat",
    "epochs": "retrain.epochs",
    "keep_points": "retrain.points",
    "weights": "model.weights",
}


def _decorated(command: F, options: list[Callable[[F], F]]) -> F:
    for option in reversed(options):
        command = option(command)
    return command


def study_options(command: F) -> F:
    """The study and every option that changes it; a command passes them to `read_config` as keyword arguments."""
    return _decorated(command, [*_STUDY, *_DATA])


def data_options(command: F) -> F:
    """Model, data, device and `--set` only."""
    return _decorated(command, list(_DATA))


def run_options(command: F) -> F:
    """`--run-dir` and `--quiet`."""
    return _decorated(command, list(_RUN))


def keep_options(command: F) -> F:
    """`--keep` and `--max-drop`."""
    return _decorated(command, list(_KEEP))


def log_option(command: F) -> F:
    """`--log`, as the keyword argument `loggers`; a command passes it to `announcer_of`."""
    return _LOG(command)


def announcer_of(loggers: Sequence[str]) -> Announcer:
    """Tells the loggers that the command line names.

    Raises:
        UsageError: there is no such logger, or its package is not installed.
    """
    from mpsearch.loggers import callbacks_of
    from mpsearch.run import Announcer

    return Announcer(callbacks_of(loggers), lambda line: click.echo(printable(line), err=True))


def overrides_from(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Changes to a study, by dotted path.

    Raises:
        BudgetError: a budget that cannot be read.
        ConfigError: a `--set` without a value.
    """
    changes: dict[str, Any] = {_KEYS[flag]: value for flag, value in flags.items() if flag in _KEYS and value is not None}
    if flags.get("budgets"):
        from mpsearch.costs.budgets import parse_budget

        changes["budgets"] = [parse_budget(text).text for text in flags["budgets"]]
    if (keep := kept(flags.get("keep"), flags.get("max_drop"))) is not None:
        changes["keep"] = {**keep, **({} if flags.get("cost") is None else {"cost": flags["cost"]})}
        changes.setdefault("budgets", [])  # those of the study are no limits that this command line has asked for
    elif flags.get("cost") is not None:
        raise UsageError(f"--cost {flags['cost']} says what is to be small with --keep or --max-drop; give one of them, or --budget alone")
    if flags.get("data") is not None:
        source, _, folder = flags["data"].partition(":")
        changes["data.source"] = source
        changes["data.path"] = folder or None
    if flags.get("model") is not None:
        changes["model.factory"] = flags["model"]
        from mpsearch.config.study import name_of
        from mpsearch.models.hugging_face import folder_of

        folder = folder_of(flags["model"])
        changes["name"] = name_of(flags["model"].rpartition(":")[2] if folder is None else Path(folder).name)
        if folder is not None and changes.get("data.source") == "text":
            changes["data.options.tokenizer"] = folder  # beside the model, where save_pretrained puts it
    if "search.trials" not in changes and changes.keys() & {"search.timeout", "search.until_flat"}:
        from mpsearch.config.study import MANY_TRIALS

        changes["search.trials"] = MANY_TRIALS
    for flag, key in (("signals", "signals.names"), ("methods", "methods")):
        if flags.get(flag) is not None:
            changes[key] = [name.strip() for name in flags[flag].split(",") if name.strip()]
    return {**changes, **dict(_setting(text) for text in flags.get("settings", ()))}


def kept(keep: str | None, max_drop: float | None) -> dict[str, float] | None:
    """What `--keep` and `--max-drop` ask for, as a study says it: `share`, or `drop`; None if neither was given.

    Raises:
        ConfigError: both, no share, or a drop that is none.
    """
    if keep is not None and max_drop is not None:
        raise UsageError("--keep and --max-drop ask for two bounds on one metric; give one of them")
    if max_drop is not None:
        if not 0 <= max_drop < math.inf:
            raise ConfigError(f"--max-drop {max_drop:g}: give a number of at least 0, such as 0.5")
        return {"drop": max_drop}
    if keep is None:
        return None
    from mpsearch.config.keep import parse_share

    return {"share": parse_share(keep)}


def _setting(text: str) -> tuple[str, Any]:
    from mpsearch.config.yaml_file import parse_yaml

    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"--set {text}: write it as key.path=value, such as recipe.lr=0.01")
    return key.strip(), parse_yaml(value, label=f"--set {key.strip()}")


def read_config(
    flags: Mapping[str, Any], study: str | Path | None = None, *, trusted: Callable[[str], bool] = lambda code: False
) -> StudyConfig:
    """The study that the command line asks for.

    Code that the command line does not name itself must declare to build a network, see `check_declared`.

    Args:
        flags: keyword arguments of a command with `study_options` or `data_options`.
        study: instead of the one in `flags`.
        trusted: whether `package.module:factory` in the study may be run as it is; may refuse it.

    Raises:
        UsageError: a wrong request.
    """
    changes = overrides_from(flags)
    from mpsearch.config import load_study

    config = load_study(study if study is not None else flags.get("study", DEFAULT_STUDY), changes)
    code = config.model.factory
    if ":" in code and "model.factory" not in changes:
        from mpsearch.models.factory import check_declared
        from mpsearch.models.hugging_face import folder_of

        if folder_of(code) is None and not trusted(code):  # a folder's model runs no code of its own
            check_declared(code)
    return config


def trust_in(folder: Path, study: Path, *, trust: bool) -> Callable[[str], bool]:
    """What `read_config` asks about the code that a run directory's own study names.

    Args:
        folder: the run directory.
        study: its study file.
        trust: whether the command line says that the code may run.
    """

    def trusted(code: str) -> bool:
        from mpsearch.run.trust import made_here

        if not trust and not made_here(folder, study.read_text(encoding="utf-8")):
            raise ConfigError(
                f"{study} names the code '{code}', and you did not make that run on this machine; "
                f"if you trust that code, add --model {code} or --trust"
            )
        return True

    return trusted


def command_line() -> str:
    """The command as it was typed, for the report; passwords in URLs are masked."""
    return without_password(shlex.join(["mpsearch", *sys.argv[1:]]))


def consoles(*, quiet: bool = False) -> tuple[Console, Console]:
    """(Console for results, on standard output; console for progress, on standard error and silent if `quiet`).

    In a file or a pipe, tables are not squeezed into the width of a terminal.
    """
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else _WIDE), Console(stderr=True, quiet=quiet)
