"""Looking at every object of a stranger's HDF5 file before anything is read from it.

    what a file can hold                                  what happens to it
    soft, external and user-defined links                 refused, not followed
    virtual datasets, external storage                    refused: they read other files
    filters other than deflate, shuffle, fletcher32       refused
    variable-length, reference, opaque, compound types    refused, and types that are objects of their own
    links and attributes in heaps                         refused: we write none, and HDF5 1.14 crashes on bad ones
    too many objects, groups too deep or in a cycle       refused

The walk covers also what this version does not know, since the user's next tool will open the same file without such
care.

Layer: the bottom of the store. h5py and errors only.
"""

from __future__ import annotations

from typing import Any

import h5py as _h5py

from embedkit.errors import UnsafeFeatureFileError

h5py: Any = _h5py  # it has no types

_MAX_OBJECTS = 20_000
_MAX_DEPTH = 4
_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_CLASSES = {h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING, h5py.h5t.ENUM}

# Bits of the messages in an object's header: HDF5 File Format Specification 3.0, section IV.A.2.
_LINK_INFO = 1 << 0x02
_SYMBOL_TABLE = 1 << 0x11
_ATTRIBUTE_INFO = 1 << 0x15


def checked_datasets(root: Any, name: str, *, skip_virtual: bool = False) -> dict[str, Any]:
    """Return all datasets of a file by their paths.

    Parameters
    ----------
    root : h5py.h5g.GroupID
    name : str
        What messages call the file.
    skip_virtual : bool
        Leave virtual datasets out instead of refusing them.

    Raises
    ------
    UnsafeFeatureFileError
        Any object of the file is of a kind that is refused.
    """
    found: dict[str, Any] = {}
    objects = 0
    pending = [(root, "", 0)]
    while pending:
        group, prefix, depth = pending.pop()
        check_header(group, name, prefix or "/")
        objects += group.get_num_objs()
        if objects > _MAX_OBJECTS:
            raise refused(name, f"it has more than {_MAX_OBJECTS} objects")
        if depth > _MAX_DEPTH:
            raise refused(name, f"groups are nested deeper than {_MAX_DEPTH}, at {prefix!r}")
        for link in _hard_links(group, name, prefix):
            path = prefix + link.decode("utf-8", errors="replace")
            kind = h5py.h5o.get_info(group, link).type
            if kind == h5py.h5o.TYPE_GROUP:
                pending.append((h5py.h5g.open(group, link), f"{path}/", depth + 1))
            elif kind != h5py.h5o.TYPE_DATASET:
                raise refused(name, f"{path!r} is neither a group nor a dataset")
            else:
                dataset = h5py.h5d.open(group, link)
                if not (_is_virtual(dataset) and skip_virtual):
                    _check_dataset(dataset, name, path)
                    found[path] = dataset
    return found


def check_header(item: Any, name: str, path: str) -> None:
    """Raise UnsafeFeatureFileError when a group is no plain symbol table, or when attributes are kept in a heap."""
    messages = h5py.h5o.get_info(item).hdr.mesg.present
    if isinstance(item, h5py.h5g.GroupID) and (messages & _LINK_INFO or not messages & _SYMBOL_TABLE):
        raise refused(name, f"{path!r} is a group that may hold external and user-defined links (no symbol table)")
    if messages & _ATTRIBUTE_INFO:
        raise refused(name, f"{path!r} keeps attributes in a heap")


def is_plain(stored: Any) -> bool:
    """Return whether an HDF5 type is a number, an enumeration or fixed-length text."""
    kind = stored.get_class()
    return kind in _CLASSES and not (kind == h5py.h5t.STRING and stored.is_variable_str())


def filters_of(properties: Any) -> list[int]:
    """Return the numbers of a dataset's filters, in order."""
    return [int(properties.get_filter(i)[0]) for i in range(properties.get_nfilters())]


def refused(name: str, reason: str) -> UnsafeFeatureFileError:
    """Return the error for a file that is refused."""
    return UnsafeFeatureFileError(f"{name} is refused: {reason}; get it again from where it was made")


def _hard_links(group: Any, name: str, prefix: str) -> list[bytes]:
    """Return the names in a group, all of them names of objects in this file."""
    links: list[tuple[bytes, int]] = []

    def note(link: Any, info: Any) -> None:
        links.append((bytes(link), int(info.type)))

    group.links.iterate(note, info=True)
    for link, kind in links:
        if kind != h5py.h5l.TYPE_HARD:
            path = prefix + link.decode("utf-8", errors="replace")
            raise refused(name, f"{path!r} is a soft, external or user-defined link")
    return [link for link, _ in links]


def _is_virtual(dataset: Any) -> bool:
    return dataset.get_create_plist().get_layout() == h5py.h5d.VIRTUAL


def _check_dataset(dataset: Any, name: str, path: str) -> None:
    check_header(dataset, name, path)
    if _is_virtual(dataset):
        raise refused(name, f"{path!r} is a virtual dataset, which reads other files")
    properties = dataset.get_create_plist()
    if properties.get_external_count() > 0:
        raise refused(name, f"{path!r} has external storage, which reads other files")
    if not is_plain(dataset.get_type()):
        raise refused(name, f"{path!r} has a variable-length, reference, compound or opaque type")
    filters = filters_of(properties)
    if not set(filters) <= _FILTERS or len(set(filters)) < len(filters):
        raise refused(
            name, f"{path!r} has the filters {filters}; deflate, shuffle and fletcher32 once each are allowed"
        )
