from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from mpsearch.cli import main


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"_MPSEARCH_COMPLETE={shell}_complete" in script
    assert "%(" not in script


def test_a_shell_without_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("typed", "offered"), [("mpsearch st", "study"), ("mpsearch study --bud", "--budget"), ("mpsearch schema ", "hardware")]
)
def test_the_words_that_the_script_asks_for(typed: str, offered: str) -> None:
    environment = {
        **os.environ, "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")), "_MPSEARCH_COMPLETE": "bash_complete"
    }  # fmt: skip
    code = "from mpsearch.cli import script; script()"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert offered in {line.partition(",")[2] for line in done.stdout.splitlines()}, done.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_takes_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion", "bash"])
    script = capsys.readouterr().out
    done = subprocess.run(["bash", "--norc", "-c", f"{script}\ncomplete -p mpsearch"], capture_output=True, text=True, check=False)
    assert "mpsearch" in done.stdout, done.stderr
