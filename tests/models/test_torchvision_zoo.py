from __future__ import annotations

import pytest
import torchvision

from mpsearch.core.errors import ModelError
from mpsearch.models import MODELS, build_model

NAMES = [name for name in MODELS.names() if name.startswith("torchvision/")]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_torchvisions_own_network(name: str) -> None:
    reference = torchvision.models.get_model(name.removeprefix("torchvision/"), weights=None)
    ours = build_model(name)
    assert type(ours) is type(reference)
    assert {key: value.shape for key, value in ours.state_dict().items()} == {
        key: value.shape for key, value in reference.state_dict().items()
    }


def test_classes_is_the_one_option() -> None:
    assert build_model("torchvision/resnet18", {"classes": 3}).state_dict()["fc.bias"].shape == (3,)
    with pytest.raises(ModelError, match="model 'torchvision/resnet18' has no option 'width'; it has classes"):
        build_model("torchvision/resnet18", {"width": 2})
