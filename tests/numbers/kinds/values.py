"""The values that stored codes stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mpsearch.core.number_format import NumberFormat


def values(format: NumberFormat, codes: Any, scales: Any) -> torch.Tensor:
    return format.decode(torch.as_tensor(np.array(codes, dtype=np.int16)), torch.as_tensor(np.array(scales, dtype=np.float32)))
