"""`Strict`: base of the config models; `validated`: plain data as a model, with errors in one line with the key's path."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from mpsearch.core.errors import ConfigError

__all__ = ["Strict", "validated"]


Model = TypeVar("Model", bound=BaseModel)


class Strict(BaseModel):
    """A frozen model that rejects unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


def validated(model: type[Model], content: object, *, label: str) -> Model:
    """Plain data as a model.

    Args:
        model: the model.
        content: keys and values.
        label: start of messages, such as the file's path; may be empty.

    Raises:
        ConfigError: the first problem as one line: `studies/x.yaml: recipe.epohs: unknown key; did you mean 'epochs'?`.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise _config_error(error, model, label) from error


def _config_error(error: ValidationError, model: type[BaseModel], label: str) -> ConfigError:
    # An unknown key is often the misspelling of a missing one, so it is reported first.
    first = min(error.errors(include_url=False), key=lambda detail: detail["type"] != "extra_forbidden")
    origin = first.get("ctx", {}).get("error")
    if isinstance(origin, ConfigError):
        return origin
    # A tag in brackets is the member of a union that was tried, not a key of the file; an unknown key may well look like one.
    key = len(first["loc"]) - 1 if first["type"] == "extra_forbidden" else None
    location = [part for index, part in enumerate(first["loc"]) if index == key or not str(part).startswith("[")]
    path = ".".join(str(part) for part in location)
    prefix = ": ".join(part for part in (label, path) if part)
    if first["type"] == "extra_forbidden":
        known = _keys_at(model, location[:-1])
        close = difflib.get_close_matches(str(location[-1]), known, n=1)
        advice = f"did you mean '{close[0]}'?" if close else f"known keys: {', '.join(known)}"
        text = f"unknown key; {advice}"
    elif first["type"] == "missing":
        text = "this key is missing; add it"
    elif origin is not None:
        text = str(origin)
    elif first["type"] == "too_short":
        text = f"needs at least {first['ctx']['min_length']}, and is empty" if not first["input"] else first["msg"]
    else:
        message = first["msg"].replace("Input should be", "should be")
        text = f"{message}, not {_short(first['input'])}"
    return ConfigError(f"{prefix}: {text}", path=path)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _keys_at(model: type[BaseModel], location: list[int | str]) -> list[str]:
    found: Any = model
    for part in location:
        found = _step_into(found, part)
    models = (each for each in _alternatives(found) if isinstance(each, type) and issubclass(each, BaseModel))
    return next((list(each.model_fields) for each in models), [])


def _step_into(annotation: Any, part: int | str) -> Any:
    for candidate in _alternatives(annotation):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel) and part in candidate.model_fields:
            return candidate.model_fields[str(part)].annotation
        origin, arguments = get_origin(candidate), get_args(candidate)
        if isinstance(origin, type) and issubclass(origin, Mapping) and len(arguments) == 2:
            return arguments[1]
        if origin in (list, tuple) and arguments:
            return arguments[0]
    return None


def _alternatives(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [alternative for member in get_args(annotation) for alternative in _alternatives(member)]
    return [annotation]
