"""`hf:DIR`: a causal language model in a folder as transformers saves it; no hub, and no code from the folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mpsearch.core.errors import ModelError
from mpsearch.core.extras import needs
from mpsearch.core.files import is_file

__all__ = ["PREFIX", "folder_of", "load_folder"]

PREFIX = "hf:"
_CONFIG, _WHOLE, _INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"


def folder_of(reference: str) -> str | None:
    """The folder of `hf:DIR`; None for any other reference."""
    return reference.removeprefix(PREFIX) if reference.startswith(PREFIX) else None


def load_folder(folder: str | Path, options: Mapping[str, Any]) -> nn.Module:
    """The model of a folder, in float32 and in evaluation mode.

    Args:
        folder: with `config.json` and safetensors, in one file or in shards.
        options: must be empty; the folder says all.

    Raises:
        ModelError: the folder lacks a file or a weight, or transformers cannot read it.
        ConfigError: transformers is not installed.
    """
    place = Path(os.path.expandvars(folder)).expanduser()
    if options:
        raise ModelError(f"'{PREFIX}{folder}' takes no options, got {', '.join(options)}; its config.json says all")
    if not place.is_dir():
        raise ModelError(
            f"'{PREFIX}{folder}': there is no such folder; models are not downloaded, so give one as save_pretrained writes it"
        )
    if not is_file(place / _CONFIG):
        raise ModelError(f"'{PREFIX}{folder}': the folder has no {_CONFIG}; give one as save_pretrained writes it")
    _check_shards(place)
    needs(f"the model '{PREFIX}DIR'", "hf", "transformers")
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            str(place), dtype=torch.float32, local_files_only=True, trust_remote_code=False, use_safetensors=True, output_loading_info=True
        )
    except Exception as error:  # the library's errors have many classes
        raise ModelError(
            f"'{PREFIX}{folder}' cannot be loaded by transformers: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        ) from error
    finally:
        if shown:
            logging.enable_progress_bar()
    missing = sorted(found["missing_keys"])
    if missing:
        raise ModelError(
            f"'{PREFIX}{folder}': the files lack {len(missing)} weights of the model, the first '{missing[0]}'; save the whole model again"
        )
    loaded: nn.Module = model.eval()
    return loaded


def _check_shards(place: Path) -> None:
    if is_file(place / _WHOLE):
        return
    if not is_file(place / _INDEX):
        raise ModelError(f"'{PREFIX}{place}': the folder has neither {_WHOLE} nor {_INDEX}; save the model with safetensors")
    try:
        shards = sorted(set(json.loads((place / _INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
        absent = [name for name in shards if not is_file(place / name)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"'{PREFIX}{place}': {_INDEX} cannot be read ({type(error).__name__}: {error}); save the model again") from error
    if absent:
        raise ModelError(f"'{PREFIX}{place}': {len(absent)} of {len(shards)} shards are missing, the first '{absent[0]}'; add them")
