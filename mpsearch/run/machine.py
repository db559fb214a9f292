"""What a latency profile is held against: this machine, the runtime of its target here, and the network."""

from __future__ import annotations

import copy
import os
import platform
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mpsearch.core.errors import ConfigError
from mpsearch.costs.latency_profile import LatencyProfile
from mpsearch.network.fingerprint import fingerprint
from mpsearch.network.inputs import batch_size, samples_of, to_device
from mpsearch.targets import TARGETS, Target

__all__ = ["cpu_fingerprint", "differences", "processor"]

_SAMPLES = 2


def cpu_fingerprint(model: nn.Module, inputs: Any) -> str:
    """The network's fingerprint with two samples on the CPU, since on other devices its operations have other names.

    Args:
        model: on any device; copied if that is another one.
        inputs: a batch of two samples or more.
    """
    few = to_device(samples_of(inputs, slice(0, _SAMPLES), batch_size(inputs)), torch.device("cpu"))
    elsewhere = any(tensor.device.type != "cpu" for tensor in model.state_dict().values())
    return fingerprint(copy.deepcopy(model).cpu() if elsewhere else model, few)


def differences(profile: LatencyProfile, target: Target) -> tuple[str, ...]:
    """What differs between a profile, and this machine and a study's target, one sentence each."""
    name, cores = processor()
    runtime = None
    if profile.target in TARGETS:
        try:
            runtime = TARGETS[profile.target]().timed_in(profile.threads)
        except ConfigError:  # which `runtime=None` tells
            runtime = None
    return profile.differences(processor=name, cores=cores, target=target.name, runtime=runtime)


def processor() -> tuple[str, int]:
    """Name of the CPU's model and number of cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (next(iter(names), "") or platform.processor() or platform.machine() or "unknown"), os.cpu_count() or 1
