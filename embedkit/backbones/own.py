"""Backbones from outside timm: a function of the user's that builds one, named ``python:package.module.function``.

The function returns the network, an ``nn.Module`` that takes images (n, 3, height, width), normalised, and gives
features (n, d), a map or tokens; and its transform, a mapping with the fields of `PreprocessOverrides`, of which
``input_size``, ``mean`` and ``std`` are needed. Features are known by the network's tensors; what the code does with
them is the name's to say, so code that changes should get another name (or another argument in ``model_args``).

A name that a file brings along is imported only if the user has said so: importing runs code.

Layer: the bottom of backbones. Imports torch when a network is built.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from embedkit.errors import UnknownModelError, UsageError, WeightsError

if TYPE_CHECKING:
    from torch import nn

PREFIX = "python:"

TRUSTED = "EMBEDKIT_MODELS"
"""The environment variable that names, by commas, the modules whose functions files may ask for."""

_NEEDED = ("input_size", "mean", "std")
_TRANSFORM = (*_NEEDED, "interpolation", "crop_pct", "crop_mode")


def is_own(model: object) -> bool:
    """Say whether a name is that of a function of the user's."""
    return isinstance(model, str) and model.startswith(PREFIX)


def own_name(function: Callable[..., Any]) -> str:
    """Return the name under which another process finds a function.

    Raises
    ------
    UsageError
        It has none: it is a lambda, defined inside another function, or in the script that runs.
    """
    module, name = str(getattr(function, "__module__", "")), str(getattr(function, "__qualname__", ""))
    if module in ("", "__main__") or not name or "<" in name:
        raise UsageError(
            f"model is {function!r}, which no other process can find: expected a function at the top of a module "
            "that can be imported"
        )
    return f"{PREFIX}{module}.{name}"


def own_names_in(thing: object) -> set[str]:
    """Return all names of functions of users' that are anywhere in what was loaded from a file."""
    found: set[str] = set()
    seen: set[int] = set()
    waiting: list[Any] = [thing]
    while waiting:
        one: Any = waiting.pop()
        if is_own(one):
            found.add(one)
        if id(one) in seen or isinstance(one, str | bytes | int | float | type | ModuleType):
            continue
        seen.add(id(one))
        if isinstance(one, Mapping):
            waiting += [*cast(Mapping[Any, Any], one), *cast(Mapping[Any, Any], one).values()]
            continue
        if isinstance(one, list | tuple | set | frozenset):
            waiting += list(cast(list[Any], one))
            continue
        if getattr(one, "dtype", None) == "O":  # an array of objects
            waiting += list(one.flat)
        waiting.append(getattr(one, "__dict__", {}))
    return found


def require_trusted(model: object, origin: str) -> None:
    """Refuse a name of the user's code that a file brings along, unless the user has said that it may.

    Raises
    ------
    UsageError
    """
    if not is_own(model):
        return
    module = str(model).removeprefix(PREFIX).rpartition(".")[0]
    trusted = [name.strip() for name in os.environ.get(TRUSTED, "").split(",") if name.strip()]
    if not any(module == name or module.startswith(f"{name}.") for name in trusted):
        raise UsageError(
            f"{origin} asks for {model}, which would be imported and run: set {TRUSTED}={module} in the environment "
            "if it is yours"
        )


def build_own(model: str, arguments: Mapping[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    """Call a function of the user's; return its network in fp32 on the CPU, and its transform.

    Raises
    ------
    UnknownModelError
        There is no such function.
    UsageError
        It refuses the arguments, or returns something else.
    WeightsError
        It fails while it builds the network.
    """
    from torch import nn

    module, _, name = model.removeprefix(PREFIX).rpartition(".")
    try:
        function: Any = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UnknownModelError(
            f"model {model!r}: {error}; expected {PREFIX}package.module.function, where Python finds it (PYTHONPATH)"
        ) from error
    try:
        built: Any = function(**arguments)
    except TypeError as error:
        raise UsageError(f"model {model!r} could not be built with {dict(arguments)}: {error}") from error
    except Exception as error:  # of the user's code: there is no common type
        raise WeightsError(f"model {model!r} failed: {type(error).__name__}: {error}") from error
    parts = cast(tuple[Any, ...], built) if isinstance(built, tuple) else ()
    if len(parts) != 2 or not isinstance(parts[0], nn.Module):
        raise UsageError(f"model {model!r} did not return a pair: expected an nn.Module and its transform")
    network, transform = parts
    if not isinstance(transform, Mapping) or not set(_NEEDED) <= set(cast(Mapping[str, Any], transform)):
        raise UsageError(f"model {model!r} returned no transform: expected a mapping with {', '.join(_NEEDED)}")
    given = dict(cast(Mapping[str, Any], transform))
    if unknown := sorted(set(given) - set(_TRANSFORM)):
        raise UsageError(f"the transform of {model!r} has {unknown[0]!r}, expected {', '.join(_TRANSFORM)}")
    size = given["input_size"]
    height, width = (size, size) if isinstance(size, int) else size
    return network.float().cpu(), {**given, "input_size": (3, int(height), int(width))}
