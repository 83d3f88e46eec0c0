"""Where each part of a feature table lies inside its HDF5 file (docs/format.md, "The feature file").

Layer: above head, hdf5 and untrusted. numpy, errors and specs only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import FeatureFileFormatError, UsageError
from embedkit.hdf5 import Extent, Head, UntrustedFile, build_head, put_array, put_json, put_text
from embedkit.specs import FORMAT_VERSION, FeatureSpec, Json, TargetType
from embedkit.tables.head import Failure, TableHead

FORMAT = "embedkit feature file"
"""The attribute ``format`` of the root, by which a feature file is known."""

MINOR = 0
"""Raised when something is added that older readers may ignore; `FORMAT_VERSION` when they may not."""

_NO_DIGEST = bytes(32)


def lay_out(head: TableHead) -> Head:
    """Return the bytes of a feature file before its features."""
    shape = (len(head), head.spec.backbone.width)
    return build_head(shape, head.spec.dtype, lambda root: put_head(root, head, FORMAT))


def put_head(root: Any, head: TableHead, content: str) -> None:
    """Put everything but the features into the root of a file.

    Parameters
    ----------
    root : h5py.Group
    head : TableHead
    content : str
        What the file says it is.
    """
    # The attribute comes first, so that a file that has lost its trailer can still be told from other files.
    root.attrs["format"] = np.bytes_(content)
    root.attrs["format_major"] = np.int64(FORMAT_VERSION)
    root.attrs["format_minor"] = np.int64(MINOR)
    root.attrs["fingerprint"] = np.bytes_(head.spec.fingerprint)
    root.attrs["target_type"] = np.bytes_(head.target_type)
    put_json(root, "spec", head.spec.to_dict())
    put_json(root, "provenance", head.provenance)
    put_text(root, "key", head.keys)
    put_array(root, "digest", head.digests)
    if head.y is not None:
        _put_column(root, "label", head.y.astype(np.uint8) if head.target_type == "multilabel" else head.y)
    if head.target_type in ("class", "multilabel"):
        put_text(root, "label_classes", head.classes)
    if head.split is not None:
        _put_column(root, "split", head.split)
    if head.groups is not None:
        _put_column(root, "groups", head.groups)
    columns = root.create_group("columns")
    for name in sorted(head.columns):
        _put_column(columns, link_name(name), head.columns[name])
    failures = root.create_group("failures")
    put_text(failures, "key", [failure.key for failure in head.failures])
    put_text(failures, "reason", [failure.reason for failure in head.failures])
    digests = b"".join(failure.digest or _NO_DIGEST for failure in head.failures)
    put_array(failures, "digest", np.frombuffer(digests, dtype=np.uint8).reshape(-1, 32))


def link_name(column: str) -> str:
    """Return the name of a column's link: HDF5 reads ``/`` as a path and ``.`` as the group itself."""
    escaped = column.replace("%", "%25").replace("/", "%2F")
    return "%2E" if escaped == "." else escaped


def read_version(file: UntrustedFile, name: str) -> str:
    """Return the version of a feature file's format, such as ``"1.0"``.

    Raises
    ------
    FeatureFileFormatError
        It is no feature file, or one of a newer major version.
    """
    major, minor = file.attribute("format_major"), file.attribute("format_minor")
    if file.attribute("format") != FORMAT or not isinstance(major, int) or not isinstance(minor, int):
        raise FeatureFileFormatError(
            f"{name} is an HDF5 file, but not a feature file of embedkit; name one that `embedkit extract -o` wrote"
        )
    if major > FORMAT_VERSION:
        raise FeatureFileFormatError(
            f"{name} is a feature file of format {major}.{minor}; this version of embedkit reads up to "
            f"{FORMAT_VERSION}: install a newer embedkit"
        )
    return f"{major}.{minor}"


def read_spec(file: UntrustedFile, name: str) -> FeatureSpec:
    """Return how the features were made.

    Raises
    ------
    FeatureFileFormatError
        The spec cannot be understood, or does not have the fingerprint that the file names.
    """
    record = file.json("spec")
    try:
        spec = FeatureSpec.from_dict(cast(Mapping[str, Any], record))
        fingerprint = spec.fingerprint
    except ValueError as error:  # UsageError, and what JSON can hold but canonical JSON cannot
        raise FeatureFileFormatError(f"{name} has a spec that cannot be understood: {error}") from error
    if file.attribute("fingerprint") != fingerprint:
        raise FeatureFileFormatError(
            f"{name} has the fingerprint {file.attribute('fingerprint')}, and its spec {fingerprint}; extract it again"
        )
    return spec


def read_provenance(file: UntrustedFile, name: str) -> dict[str, Json]:
    """Return how the features came to be."""
    record = file.json("provenance")
    if not isinstance(record, dict):
        raise FeatureFileFormatError(f"{name} has a provenance that is no JSON object; extract it again")
    return record


def read_features(file: UntrustedFile, spec: FeatureSpec, name: str) -> Extent:
    """Return where the features lie.

    Raises
    ------
    FeatureFileFormatError
        They are not what the spec says.
    """
    features = file.extent("features", "float32", "float16")
    if features.type != spec.dtype or features.shape[1:] != (spec.backbone.width,):
        raise FeatureFileFormatError(
            f"{name} has {features.type} features of shape {features.shape}; its spec says {spec.dtype} and "
            f"(rows, {spec.backbone.width}); extract it again"
        )
    return features


def read_target_type(file: UntrustedFile, name: str) -> TargetType:
    """Return what kind of labels there are."""
    found = file.attribute("target_type")
    if found not in ("class", "value", "multilabel", "none"):
        raise FeatureFileFormatError(f"{name} has the target type {found!r}; expected class, value, multilabel or none")
    return found


def column_names(file: UntrustedFile) -> list[str]:
    """Return the names of the columns."""
    return sorted(_column_name(link) for link in file.members("columns"))


def read_head(file: UntrustedFile, name: str) -> TableHead:
    """Return everything but the features.

    Raises
    ------
    FeatureFileFormatError
        Something is missing or not as docs/format.md says.
    UnsafeFeatureFileError
        The file uses what is refused.
    """
    optional = {path: file.text(path) for path in ("split", "groups") if path in file}
    target_type = read_target_type(file, name)
    try:
        return TableHead(
            spec=read_spec(file, name),
            keys=file.text("key"),
            digests=file.array("digest", "uint8"),
            labels=_read_labels(file, target_type),
            classes=file.text("label_classes") if target_type in ("class", "multilabel") else None,
            split=optional.get("split"),
            groups=optional.get("groups"),
            columns={_column_name(link): _read_column(file, f"columns/{link}") for link in file.members("columns")},
            failures=_read_failures(file),
            provenance=read_provenance(file, name),
        )
    except UsageError as error:
        raise FeatureFileFormatError(f"{name} is not as docs/format.md says: {error}") from error


def _put_column(group: Any, name: str, column: npt.NDArray[Any]) -> None:
    if column.dtype.kind in "OU":
        put_text(group, name, column.tolist())
    else:
        put_array(group, name, column)


def _read_column(file: UntrustedFile, path: str) -> list[str] | npt.NDArray[Any]:
    return file.text(path) if file.is_text(path) else file.array(path, "float64", "int64", "bool")


def _read_labels(file: UntrustedFile, target_type: TargetType) -> list[str] | npt.NDArray[Any] | None:
    match target_type:
        case "class":
            return file.text("label")
        case "value":
            return file.array("label", "float64")
        case "multilabel":
            return file.array("label", "uint8").astype(np.bool_)
        case "none":
            return None


def _read_failures(file: UntrustedFile) -> list[Failure]:
    if "failures/key" not in file:
        return []
    keys, reasons = file.text("failures/key"), file.text("failures/reason")
    digests = file.array("failures/digest", "uint8")
    if len(reasons) != len(keys) or digests.shape != (len(keys), 32):
        raise UsageError("the ledger of failures has parts of different lengths")
    return [
        Failure(key, reason, None if digest.tobytes() == _NO_DIGEST else digest.tobytes())
        for key, reason, digest in zip(keys, reasons, digests, strict=True)
    ]


def _column_name(link: str) -> str:
    return link.replace("%2E", ".").replace("%2F", "/").replace("%25", "%")
