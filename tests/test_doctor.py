from __future__ import annotations

from pathlib import Path

import pytest

from mpsearch.doctor import examine


def test_this_machine_is_fit_to_run_its_own_tests() -> None:
    checks = {check.name: check for check in examine()}
    assert [check for check in checks.values() if check.status == "fail"] == []
    assert "2 trials written and read" in checks["storage"].found
    assert "operators answer" in checks["torchvision"].found


def test_a_missing_folder_fails_with_a_cure(tmp_path: Path) -> None:
    checks = {check.name: check for check in examine(tmp_path / "gone")}
    for name in ("disk", "folder"):
        assert checks[name].status == "fail"
        assert "--run-dir" in checks[name].cure


def test_storage_that_cannot_be_written_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    (check,) = (check for check in examine() if check.name == "storage")
    assert check.status == "fail"
    assert "TMPDIR" in check.cure


def test_no_compiler_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    (check,) = (check for check in examine() if check.name == "C++ compiler")
    assert check.status == "warn"
    assert "torch.compile" in check.cure
