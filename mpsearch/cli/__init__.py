"""The command line: one file per command, which imports what it needs when it runs; one handler turns errors into exit codes."""

from __future__ import annotations

import sys
import tempfile
import traceback
from collections.abc import Sequence

import click

import mpsearch
from mpsearch.cli.allocate import allocate
from mpsearch.cli.completion import completion
from mpsearch.cli.doctor import doctor
from mpsearch.cli.evaluate import evaluate
from mpsearch.cli.export import export
from mpsearch.cli.gc import gc
from mpsearch.cli.listing import list_known
from mpsearch.cli.pick import pick
from mpsearch.cli.plot import plot
from mpsearch.cli.profile import profile
from mpsearch.cli.proxy import proxy
from mpsearch.cli.retrain import retrain
from mpsearch.cli.schema import schema
from mpsearch.cli.signals import signals
from mpsearch.cli.status import status
from mpsearch.cli.study import study
from mpsearch.cli.worker import worker
from mpsearch.core.errors import MpsearchError, UsageError
from mpsearch.core.interrupt import Terminated, interruptible
from mpsearch.core.printable import printable

__all__ = ["group", "main", "script"]

TERMINATED = "told to end; the same command goes on where it stopped"
INTERRUPTED = "interrupted; the same command goes on where it stopped"


class _InOrder(click.Group):
    """Commands in the order in which they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.commands]


@click.group(cls=_InOrder, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(mpsearch.__version__, prog_name="mpsearch")
@click.pass_context
def group(context: click.Context) -> None:
    """Find the number format of each layer of a network under a budget; train, export and verify it.

    Start with:  mpsearch study --budget 2MB
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


_COMMANDS = (
    study,
    worker,
    proxy,
    status,
    gc,
    signals,
    profile,
    allocate,
    retrain,
    pick,
    export,
    evaluate,
    plot,
    doctor,
    list_known,
    schema,
    completion,
)
for _command in _COMMANDS:
    group.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; those of the process if None.

    Returns:
        Exit code: 0; 1 for an error during the run; 2 for a wrong request; 130 after an interruption, 143 after SIGTERM.
    """
    try:
        with interruptible():
            answer = group.main(args=None if arguments is None else list(arguments), prog_name="mpsearch", standalone_mode=False)
    except click.ClickException as error:
        hint = f" (see '{error.ctx.command_path} --help')" if isinstance(error, click.UsageError) and error.ctx else ""
        return _complain(f"{error.format_message()}{hint}", 2)
    except UsageError as error:
        return _complain(str(error), 2)
    except MpsearchError as error:
        return _complain(str(error), 1)
    except OSError as error:  # a disk that is full, a place that cannot be written, a name that no file can have
        return _complain(f"{error.filename or 'a file'}: {error.strerror or error}; give another place, or mend this one", 2)
    except (click.Abort, KeyboardInterrupt) as error:
        told = isinstance(error, Terminated) or isinstance(error.__cause__, Terminated)  # click makes its own of either
        click.echo(TERMINATED if told else INTERRUPTED, err=True)
        return 143 if told else 130
    return answer if isinstance(answer, int) else 0


def script() -> int:
    """`main` for a terminal: an exception that nobody foresaw is one line, and its traceback a file."""
    try:
        return main()
    except Exception as error:
        return _complain(f"this is a fault of mpsearch: {type(error).__name__}: {error}; {_logged()}", 1)


def _logged() -> str:
    """Write the traceback of the present exception to a file; returns where it is."""
    try:
        with tempfile.NamedTemporaryFile("w", prefix="mpsearch-", suffix=".log", delete=False, encoding="utf-8") as file:
            file.write(f"mpsearch {mpsearch.__version__}\n{traceback.format_exc()}")
    except OSError:
        traceback.print_exc()
        return "its traceback stands above; please report it"
    return f"its traceback is in {file.name}; please report it"


def _complain(message: str, code: int) -> int:
    print(f"mpsearch: error: {printable(' '.join(message.split()))}", file=sys.stderr)
    return code
