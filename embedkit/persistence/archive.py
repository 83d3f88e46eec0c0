"""The archive that a model file is, looked at before anything in it is built.

What it says that it holds is added up first; its streams end where their declared size ends. An array's header must
promise what its member holds, and no more.

Layer: persistence; above trusted. Standard library and NumPy only.
"""

from __future__ import annotations

import io
import math
import sys
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import numpy as np

from embedkit.errors import ModelFileFormatError, UntrustedModelError
from embedkit.files import SMALL, inflated_limit, parse_json
from embedkit.persistence.trusted import TRUSTED_TYPES

RECORD = "embedkit.json"
FORMAT = 2

_SCHEMA = "schema.json"
_MOST_SCHEMA_BYTES = 256 << 20
_MOST_SCHEMA_VALUES = 1 << 25

# skops' ways to build something that a pipeline needs. Not here: sparse matrices, whose indices compiled code follows,
# bound methods, partial functions, raw bytes.
_LOADERS = frozenset(
    {
        "CachedNode", "ConstructorFromReduceNode", "DTypeNode", "DefaultDictNode", "DictNode", "FunctionNode",
        "JsonNode", "ListNode", "LossNode", "MaskedArrayNode", "NdArrayNode", "ObjectNode", "RandomGeneratorNode",
        "RandomStateNode", "SetNode", "SliceNode", "TreeNode", "TupleNode", "TypeNode",
    }
)  # fmt: skip
_ARRAYS = frozenset(
    {"ndarray", "bool", "bool_", "str_", "intp", "longlong", "ulonglong"}
    | {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
    | {f"float{bits}" for bits in (16, 32, 64)}
)


def skops_io() -> Any:
    """Import skops, which imports every module of scikit-learn, but not those that import torch and dask in their turn.

    A prediction from features that the store holds takes half the time then.
    """
    held = [f"sklearn.externals.array_api_compat.{name}" for name in ("torch", "dask")]
    held = [name for name in held if name not in sys.modules]
    sys.modules.update(dict.fromkeys(held))  # pyright: ignore[reportArgumentType, reportCallIssue]
    try:
        import skops.io

        return skops.io
    finally:
        for name in held:
            del sys.modules[name]


def read_record(content: bytes, name: str) -> dict[str, Any]:
    """Return what a model file says of itself.

    Raises
    ------
    ModelFileFormatError
        It is no model file of embedkit, says that it holds more than it may, or is of a newer major version.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_sizes(archive, len(content), name)
            record: Any = parse_json(_read(archive, RECORD, SMALL))
            number = int(record["format"])
    except _DAMAGED as error:
        raise ModelFileFormatError(
            f"{name} is not a model file of embedkit ({_line(error)}); `embedkit fit` and embedkit.save_model write one"
        ) from error
    if number > FORMAT:
        raise ModelFileFormatError(
            f"{name} has model format {number}, this embedkit reads up to {FORMAT}; upgrade embedkit"
        )
    return record


def check_archive(content: bytes, name: str, advice: str) -> None:
    """Refuse an archive of skops that holds what embedkit does not load.

    Raises
    ------
    ModelFileFormatError
        It is damaged, or promises more than it holds.
    UntrustedModelError
        It holds types outside the allow-list.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_sizes(archive, len(content), name)
            for member in archive.infolist():
                if member.filename.endswith(".npy"):
                    _check_array(archive, member)
            types, taken = _looked_at(archive)
        if taken > inflated_limit(len(content)):
            raise ModelFileFormatError(f"{name} takes its arrays so often that they make {taken:,} bytes; fit it again")
        types |= set(skops_io().get_untrusted_types(data=content))
    except ModelFileFormatError:
        raise
    except Exception as error:  # skops raises anything over an archive that is damaged
        raise ModelFileFormatError(f"{name} cannot be read: {type(error).__name__}: {_line(error)}") from error
    unknown = sorted(types - TRUSTED_TYPES)
    if unknown:
        more = f" and {len(unknown) - 20} more" if len(unknown) > 20 else ""
        raise UntrustedModelError(
            f"{name} holds types that embedkit does not load: {', '.join(unknown[:20])}{more}; {advice}"
        )


# What reading an archive raises that others have damaged.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    KeyError,
    TypeError,
    ValueError,
    OverflowError,
    EOFError,
    NotImplementedError,
    RuntimeError,  # encrypted
    OSError,
)


def _check_sizes(archive: zipfile.ZipFile, stored: int, name: str) -> None:
    members = archive.infolist()
    total, limit = sum(member.file_size for member in members), inflated_limit(stored)
    if total > limit:
        raise ModelFileFormatError(
            f"{name} holds {total:,} bytes in a file of {stored:,}, more than the {limit:,} that such a file may become"
        )
    for member in members:
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ModelFileFormatError(f"{name} is compressed by method {member.compress_type}, expected deflate")


def _read(archive: zipfile.ZipFile, member: str, most: int) -> bytes:
    size = archive.getinfo(member).file_size
    if size > most:
        raise ValueError(f"{member} has {size:,} bytes, at most {most:,} are read")
    return archive.read(member)  # no further than its declared size


def _check_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Check that an array's header promises as many bytes as there are: NumPy takes the memory first."""
    with archive.open(member) as file:
        stream = cast(BinaryIO, file)
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"{member.filename} is an array of version {version}")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
        promised = stream.tell() + math.prod(shape) * dtype.itemsize
    if dtype.hasobject or any(length < 0 for length in shape) or promised != member.file_size:
        raise ValueError(f"{member.filename} has {member.file_size:,} bytes, its header promises {promised:,}")


def _looked_at(archive: zipfile.ZipFile) -> tuple[set[str], int]:
    """Return the names of scikit-learn's types in the schema, and how many bytes of arrays are taken in all."""
    sizes = {member.filename: member.file_size for member in archive.infolist()}
    types, taken = set[str](), 0
    for node in _nodes(parse_json(_read(archive, _SCHEMA, _MOST_SCHEMA_BYTES), _MOST_SCHEMA_VALUES, levels=None)):
        loader, module, kind = node.get("__loader__"), node.get("__module__"), node.get("__class__")
        if loader is None:
            continue
        if loader not in _LOADERS:
            types.add(f"{module}.{kind}" if loader != "MethodNode" else f"{module}.{kind} (a method)")
        elif str(module).partition(".")[0] in ("sklearn", "embedkit"):
            types.add(f"{module}.{kind}")
        if loader == "NdArrayNode":
            if module != "numpy" or kind not in _ARRAYS:
                types.add(f"{module}.{kind}")
            taken += sizes.get(str(node.get("file")), 0)
    return types, taken


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    waiting = [schema]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield cast(dict[str, Any], one)
            waiting.extend(cast(dict[str, Any], one).values())
        elif isinstance(one, list):
            waiting.extend(cast(list[Any], one))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
