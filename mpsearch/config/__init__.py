"""Study and space files: YAML to validated, frozen objects; every error names the file and the dotted path of the key."""

from __future__ import annotations

from mpsearch.config.bits import dump_bits, load_bits
from mpsearch.config.hyperparameters import Range, SearchableSettings
from mpsearch.config.load import load_study
from mpsearch.config.shipped import shipped_names
from mpsearch.config.space import SpaceConfig, load_space
from mpsearch.config.study import DataConfig, ModelConfig, RetrainConfig, RungConfig, SearchConfig, SignalsConfig, StudyConfig

__all__ = [
    "DataConfig",
    "ModelConfig",
    "Range",
    "RetrainConfig",
    "RungConfig",
    "SearchConfig",
    "SearchableSettings",
    "SignalsConfig",
    "SpaceConfig",
    "StudyConfig",
    "dump_bits",
    "load_bits",
    "load_space",
    "load_study",
    "shipped_names",
]
