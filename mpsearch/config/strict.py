"""`Strict`: base of the config models; `validated`: JSON data as a model, or one line with all faults and the paths of their keys."""

from __future__ import annotations

import difflib
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from mpsearch.core.errors import ConfigError, UnknownNameError, UsageError

__all__ = ["Fault", "Strict", "faults_of", "usage_error", "validated"]


Model = TypeVar("Model", bound=BaseModel)
_MOST_SOUGHT = 100
_MOST_SAID = 12
_FIRST = {"extra_forbidden": 0, "missing": 1}


class Strict(BaseModel):
    """A frozen model that rejects unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something wrong with one key.

    Args:
        path: of the key, such as `recipe.epochs`; empty for the whole.
        text: the rule, the value and the next step.
        unknown: the error of a name that is in no registry.
    """

    path: str
    text: str
    unknown: UnknownNameError | None = field(default=None, compare=False)

    @property
    def line(self) -> str:
        """Path and text; some texts begin with the path."""
        told = not self.path or self.text.startswith((f"{self.path}: ", f"{self.path} "))
        return self.text if told else f"{self.path}: {self.text}"

    def inside(self, path: str) -> Fault:
        """The fault as seen from outside: its key lies within that of `path`."""
        return Fault(path=f"{path}.{self.path}" if self.path else path, text=self.text, unknown=self.unknown)

    @classmethod
    def of(cls, error: UsageError, path: str = "") -> Fault:
        """The fault that an error tells of.

        Args:
            error: what somebody said of the key.
            path: of the key, if the error does not know it.
        """
        path = error.path or path if isinstance(error, ConfigError) else path
        return cls(path=path, text=str(error), unknown=error if isinstance(error, UnknownNameError) else None)


def usage_error(faults: Sequence[Fault], label: str | Callable[[Fault], str]) -> UsageError:
    """The error that tells of all faults in one line; that of a single unknown name is its own.

    Args:
        faults: one or more.
        label: start of the message, such as the file's path, or function of the fault that returns it; may be empty.
    """
    first, named = faults[0], label if callable(label) else lambda fault: label
    if len(faults) == 1 and first.unknown is not None:
        return first.unknown
    if len(faults) == 1:
        return ConfigError(": ".join(filter(None, (named(first), first.line))), path=first.path)
    labels = dict.fromkeys(named(fault) for fault in faults)
    common = next(iter(labels)) if len(labels) == 1 else ""
    lines = [fault.line if common else ": ".join(filter(None, (named(fault), fault.line))) for fault in faults[:_MOST_SAID]]
    count = f"{'at least ' if len(faults) >= _MOST_SOUGHT else ''}{len(faults)} faults"
    told = " ".join(f"({number}) {line}" for number, line in enumerate(lines, 1))
    more = f" … and {len(faults) - _MOST_SAID} more" if len(faults) > _MOST_SAID else ""
    return ConfigError(f"{common}{': ' if common else ''}{count}: {told}{more}", path=first.path)


def validated(model: type[Model], content: object, *, label: str) -> Model:
    """JSON data as a model.

    Args:
        model: the model.
        content: keys and values.
        label: start of messages, such as the file's path; may be empty.

    Raises:
        ConfigError: something is wrong; one line tells of all of it: `studies/x.yaml: recipe.epohs: unknown key; did you mean 'epochs'?`.
        UnknownNameError: nothing but one name that is in no registry.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise usage_error(_faults(error, model, content), label) from error


def faults_of(model: type[BaseModel], content: object) -> tuple[Fault, ...]:
    """All that keeps JSON data from being a model: unknown keys, then missing ones, then wrong values."""
    try:
        model.model_validate(content)
    except ValidationError as error:
        return _faults(error, model, content)
    return ()


def _faults(error: ValidationError, model: type[BaseModel], content: object) -> tuple[Fault, ...]:
    # An unknown key is often the misspelling of a missing one, so it is told first, and that one not again.
    details = sorted(error.errors(include_url=False), key=lambda detail: _FIRST.get(detail["type"], 2))[:_MOST_SOUGHT]
    found: dict[tuple[Any, ...], Fault] = {}
    meant: set[tuple[Any, ...]] = set()
    for detail in details:
        location = _location(detail, content)
        if detail["type"] == "extra_forbidden":
            close = difflib.get_close_matches(str(location[-1]), _keys_at(model, location[:-1]), n=1)
            meant |= {(*location[:-1], name) for name in close}
        if location not in meant:
            found.setdefault(location, _fault(detail, location, model))
    # A sequence whose items are wrong is too short as well.
    inner = {location[:length] for location in found for length in range(len(location))}
    return tuple(fault for location, fault in found.items() if location not in inner)


def _location(detail: Any, content: object) -> tuple[int | str, ...]:
    """The path of the key in the content: without the members of unions that pydantic names as it tries them."""
    place, found = content, []
    for part in detail["loc"]:
        inside = part in place if isinstance(place, Mapping) else isinstance(place, list | tuple) and part in range(len(place))
        if inside:
            place = place[part]  # type: ignore[index]
            found.append(part)
    return (*found, detail["loc"][-1]) if detail["type"] == "missing" else tuple(found)


def _fault(detail: Any, location: tuple[int | str, ...], model: type[BaseModel]) -> Fault:
    path, origin = ".".join(map(str, location)), detail.get("ctx", {}).get("error")
    if isinstance(origin, ConfigError):
        return Fault.of(origin, path)
    if origin is not None and isinstance(origin.__cause__, UnknownNameError):
        return Fault.of(origin.__cause__, path)
    if detail["type"] == "extra_forbidden":
        known = _keys_at(model, location[:-1])
        close = difflib.get_close_matches(str(location[-1]), known, n=1)
        advice = f"did you mean '{close[0]}'?" if close else f"known keys: {', '.join(known)}"
        text = f"unknown key; {advice}"
    elif detail["type"] == "missing":
        told = _description_at(model, location)
        text = f"this key is missing; add it{f' ({told})' if told else ''}"
    elif origin is not None:
        text = str(origin)
    elif detail["type"] == "too_short":
        text = f"needs at least {detail['ctx']['min_length']}, and is empty" if not detail["input"] else detail["msg"]
    else:
        text = f"{detail['msg'].replace('Input should be', 'should be')}, not {_short(detail['input'])}"
    return Fault(path=path, text=text)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _description_at(model: type[BaseModel], location: Sequence[int | str]) -> str:
    fields = (each.model_fields.get(str(location[-1])) for each in _models_at(model, location[:-1]))
    return next((field.description or "" for field in fields if field is not None), "")


def _keys_at(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    return next((list(each.model_fields) for each in _models_at(model, location)), [])


def _models_at(model: type[BaseModel], location: Sequence[int | str]) -> list[type[BaseModel]]:
    found: Any = model
    for part in location:
        found = _step_into(found, part)
    return [each for each in _alternatives(found) if isinstance(each, type) and issubclass(each, BaseModel)]


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
