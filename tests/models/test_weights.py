from __future__ import annotations

import os
import resource
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mpsearch.core.errors import ModelError
from mpsearch.models import load_weights


def network(seed: int = 0, outputs: int = 2) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, outputs))


def refused(file: Path, model: nn.Module | None = None) -> str:
    model = model or network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ModelError) as caught:
        load_weights(model, file)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    return str(caught.value)


@pytest.mark.parametrize("form", ["safetensors", "safetensors without suffix", "plain", "legacy", "wrapped", "parallel", "half"])
def test_every_form_loads(tmp_path: Path, form: str) -> None:
    source = network(1)
    state: dict[str, Any] = source.state_dict()
    file = tmp_path / "weights.pth"
    if form == "safetensors":
        file = tmp_path / "weights.safetensors"
    if form.startswith("safetensors"):
        save_file(state, file)
    elif form == "legacy":
        torch.save(state, file, _use_new_zipfile_serialization=False)
    elif form == "half":
        torch.save({name: value.half() if value.is_floating_point() else value for name, value in state.items()}, file)
    else:
        named = {f"module.{name}": value for name, value in state.items()}
        torch.save({"plain": state, "wrapped": {"epoch": 3, "state_dict": state}, "parallel": named}[form], file)
    model = network(2)
    load_weights(model, file)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, state[name], atol=1e-3 if form == "half" else 0, rtol=0)
        assert value.dtype == state[name].dtype


def prefixed(prefix: str, state: dict[str, Any]) -> dict[str, Any]:
    return {f"{prefix}{name}": value for name, value in state.items()}


STATE, OTHER = dict(network(1).state_dict()), dict(network(3).state_dict())


@pytest.mark.parametrize(
    "content",
    [
        prefixed("_orig_mod.", STATE),
        prefixed("module._orig_mod.", STATE),
        prefixed("model.", STATE),
        {"ema": STATE, "epoch": 3},
        {"ema": {"module": prefixed("module.", STATE)}, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}},
        {"model": STATE, "ema": {name: value.clone() for name, value in STATE.items()}},
        {"state_dict": {**prefixed("model.", STATE), "criterion.weight": torch.ones(2)}, "hyper_parameters": {"lr": 0.1}},
        {**prefixed("module.", STATE), "n_averaged": torch.tensor(7)},
        {name.replace("0.", "0._orig_mod."): value for name, value in STATE.items()},
        prefixed("backbone.", STATE),
        {"students": STATE, "teacher": dict(network(1, outputs=5).state_dict())},
    ],
)
def test_what_trainers_wrap_around_the_names_comes_off(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "w.pt")
    model = network(2)
    load_weights(model, tmp_path / "w.pt")
    assert all(torch.equal(value, STATE[name]) for name, value in model.state_dict().items())


def test_a_compiled_model_takes_plain_names(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "w.pt")
    model: Any = torch.compile(network(2))
    load_weights(model, tmp_path / "w.pt")
    assert torch.equal(model.state_dict()["_orig_mod.3.weight"], STATE["3.weight"])


def test_a_model_whose_own_names_have_such_a_prefix(tmp_path: Path) -> None:
    inner = nn.Module()
    inner.model = network(2)
    torch.save(prefixed("model.", STATE), tmp_path / "w.pt")
    load_weights(inner, tmp_path / "w.pt")
    torch.save(prefixed("module.model.", STATE), tmp_path / "w.pt")
    load_weights(inner, tmp_path / "w.pt")
    assert torch.equal(inner.state_dict()["model.3.weight"], STATE["3.weight"])


@pytest.mark.parametrize(
    ("content", "found", "advice"),
    [
        (
            {"model": STATE, "ema": OTHER},
            "several weights of this model, the entry ['model'] and the entry ['ema']",
            "torch.save(torch.load(FILE, weights_only=True)['ema'], NEW)",
        ),
        (
            {**prefixed("student.", STATE), **prefixed("teacher.", OTHER)},
            "all the names of the model as names that begin with 'student.' and names that begin with 'teacher.'",
            "torch.save({k.removeprefix('student.'): v for k, v in torch.load(FILE, weights_only=True).items()",
        ),
        (
            {"ema": dict(network(1, outputs=5).state_dict())},
            "of another shape: 3.weight (5x16 in the file, 2x16 in the model)",
            "what was compared is the entry ['ema']; give the file of this architecture",
        ),
    ],
)
def test_what_was_found_is_said(tmp_path: Path, content: Any, found: str, advice: str) -> None:
    torch.save(content, tmp_path / "w.pt")
    message = refused(tmp_path / "w.pt")
    assert found in message
    assert advice in message


def test_the_advice_works(tmp_path: Path) -> None:
    torch.save({**prefixed("student.", STATE), **prefixed("teacher.", OTHER)}, tmp_path / "w.pt")
    command = refused(tmp_path / "w.pt").rpartition("save the wanted ones alone: ")[2]
    exec(command, {"torch": torch, "FILE": tmp_path / "w.pt", "NEW": tmp_path / "new.pt"})
    model = network(2)
    load_weights(model, tmp_path / "new.pt")
    assert torch.equal(model.state_dict()["3.weight"], STATE["3.weight"])


def test_an_old_file_without_batch_counters(tmp_path: Path) -> None:
    state = {name: value for name, value in network(1).state_dict().items() if "num_batches" not in name}
    save_file(state, tmp_path / "w.safetensors")
    load_weights(network(2), tmp_path / "w.safetensors")


def test_keys_that_do_not_match(tmp_path: Path) -> None:
    state = dict(network().state_dict())
    state["3.weight"] = torch.zeros(5, 16)
    state["head.weight"] = state.pop("0.weight")
    save_file(state, tmp_path / "w.safetensors")
    assert refused(tmp_path / "w.safetensors") == (
        f"the weights in '{tmp_path / 'w.safetensors'}' do not match the model; missing: 0.weight; unexpected: head.weight; "
        "of another shape: 3.weight (5x16 in the file, 2x16 in the model); give the file of this architecture"
    )


def test_at_most_five_of_each_are_named(tmp_path: Path) -> None:
    save_file({f"x{number}": torch.zeros(1) for number in range(9)}, tmp_path / "w.safetensors")
    message = refused(tmp_path / "w.safetensors")
    assert "unexpected: x0, x1, x2, x3, x4 and 4 more" in message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert (
        refused(tmp_path / "gone.pt") == f"there is no weight file '{tmp_path / 'gone.pt'}'; give a safetensors file or a saved state dict"
    )
    assert "there is no weight file" in refused(tmp_path)
    for name, save in (("w.safetensors", save_file), ("w.pt", torch.save)):
        save(dict(network().state_dict()), tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        for length in (0, 5, 40, len(whole) // 2, len(whole) - 1):
            (tmp_path / name).write_bytes(whole[:length])
            assert str(tmp_path / name) in refused(tmp_path / name)


def test_no_code_runs(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "owned"),)

    for legacy in (False, True):
        torch.save({"0.weight": Evil()}, tmp_path / "evil.pt", _use_new_zipfile_serialization=not legacy)
        told = refused(tmp_path / "evil.pt")
        assert "is damaged or holds more than tensors; no code in it was run" in told
        assert "weights_only" not in told
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("content", [3, [torch.zeros(1)], {}, {"epoch": 3}, torch.zeros(2)])
def test_files_that_hold_something_else(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pt")
    message = refused(tmp_path / "w.pt")
    assert "holds no state dict" in message
    assert "; save it with torch.save(model.state_dict(), FILE)" in message


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    """Two megabytes could become two gigabytes."""
    sound, small = tmp_path / "sound.pt", tmp_path / "small.pt"
    torch.save(nn.Linear(2, 2).state_dict(), sound)
    with zipfile.ZipFile(sound) as source, zipfile.ZipFile(small, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    load_weights(nn.Linear(2, 2), sound)
    with pytest.raises(ModelError, match="its archive is compressed"):
        load_weights(nn.Linear(2, 2), small)


def test_a_file_without_the_tensors_that_it_promises_takes_no_memory(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    with file.open("wb") as stream:
        stream.write((2).to_bytes(8, "little") + b"{}")
        stream.truncate(2**33)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError, match="is not a whole safetensors file"):
        load_weights(nn.Linear(2, 2), file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20, "KiB"
