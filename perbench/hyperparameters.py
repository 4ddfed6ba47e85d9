"""Hyperparameters of a plugin: annotated class fields with defaults, strictly validated."""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from typing import Any, ClassVar, get_origin, get_type_hints
from weakref import WeakKeyDictionary

from perbench.errors import PerbenchError, suggest


class Hyperparameters:
    """Base of plugins. A field is an annotated class attribute with a default; constraints use
    `typing.Annotated` with pydantic's or annotated_types' markers. ClassVars and names with a leading
    underscore are not fields. Defaults are read once.

    Raises:
        PerbenchError: unknown names, wrong types or values out of range, all reported at once.
    """

    def __init__(self, **params: Any) -> None:
        for name, value in self.validate(params).items():
            setattr(self, name, value)

    @classmethod
    def unannotated(cls) -> dict[str, str]:
        """Unannotated class attributes that look like hyperparameters, by name, with what to do: they are
        neither set, checked nor recorded."""
        bases = [base for base in cls.__mro__ if issubclass(base, Hyperparameters)]
        known = {name for base in bases for name in inspect.get_annotations(base)}
        found = {}
        for base in bases:
            for name, value in vars(base).items():
                if (
                    name.startswith("_")
                    or name in known
                    or callable(value)
                    or inspect.isdatadescriptor(value)
                ):
                    continue
                if isinstance(value, classmethod | staticmethod) or inspect.ismethoddescriptor(value):
                    continue
                close = get_close_matches(name, known, 1, cutoff=0.75)
                hint = f"did you mean {close[0]!r}? Otherwise " if close else ""
                found[name] = (
                    f"{name} = {value!r} has no annotation, so it is not a hyperparameter: {hint}write "
                    f"`{name}: {type(value).__name__} = …`, or `_{name}` for a constant"
                )
        return found

    @classmethod
    def validate(cls, params: dict[str, Any]) -> dict[str, Any]:
        """All hyperparameters with defaults filled in."""
        faults = cls.faults(params)
        if faults:
            raise PerbenchError(f"{cls.__name__}: " + "; ".join(message for _, message in faults))
        values: dict[str, Any] = model_of(cls)(**params).model_dump()
        return values

    @classmethod
    def conflicts(cls, values: dict[str, Any]) -> list[tuple[str, str]]:
        """(hyperparameter, fault) for values that are valid alone but not together; plugins may override
        it."""
        return []

    @classmethod
    def faults(cls, params: dict[str, Any]) -> list[tuple[str, str]]:
        """(hyperparameter, fault) for each fault: of values alone, else of values together."""
        return cls.invalid(params) or cls.conflicts(model_of(cls)(**params).model_dump())

    @classmethod
    def invalid(cls, params: dict[str, Any]) -> list[tuple[str, str]]:
        """`faults` of values alone."""
        from pydantic import ValidationError

        model = model_of(cls)
        found = []
        try:
            model(**params)
        except ValidationError as error:
            for fault in error.errors():
                name = str(fault["loc"][0]) if fault["loc"] else "?"
                if fault["type"] == "extra_forbidden":
                    message = f"unknown hyperparameter {name!r}.{suggest(name, model.model_fields)}"
                elif fault["type"] == "missing":
                    message = f"hyperparameter {name!r} is required; name it under `params:`"
                else:
                    message = f"hyperparameter {name}={fault['input']!r}: {fault['msg']}"
                found.append((name, message))
        return found

    @property
    def params(self) -> dict[str, Any]:
        """All hyperparameters with their values, JSON-ready, for the identity and the record."""
        return {name: getattr(self, name) for name in model_of(type(self)).model_fields}


def model_of(cls: type[Hyperparameters]) -> Any:
    """A pydantic model with the hyperparameters of a plugin's class."""
    if cls not in _models:  # building one takes a millisecond, and every row of a matrix is checked
        _models[cls] = _model(cls)
    return _models[cls]


_models: WeakKeyDictionary[type[Any], Any] = WeakKeyDictionary()


def _model(cls: type[Hyperparameters]) -> Any:
    from pydantic import ConfigDict, create_model

    fields: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        declared = inspect.get_annotations(base)
        hints = get_type_hints(base, include_extras=True) if declared else {}
        for name in declared:
            hint = hints[name]
            if name.startswith("_") or ClassVar in (hint, get_origin(hint)):
                continue
            fields[name] = (hint, getattr(cls, name, ...))
    model: Any = create_model(
        cls.__name__,
        __config__=ConfigDict(extra="forbid", strict=True, validate_default=True, allow_inf_nan=False),
        **fields,
    )
    return model
