"""Objects at ``bucket://`` URLs, held in memory: counts what is asked of it, and fails when it is told to."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

from embedkit.images import name_root

Request = tuple[str, int | None, int | None]


class Bucket(MemoryFileSystem):
    """A file system of fsspec's that is not a local disk.

    `requests` are the reads so far, as (path, start, end). `fault`, if any, is called with each before it is answered:
    it may raise, or return how many bytes the answer is cut down to. It is called with (path, None, None), too, when
    the size is asked for.
    """

    protocol = "bucket"
    store: dict[str, Any] = {}
    pseudo_dirs = [""]

    # Of the class, as the content is: fsspec makes a file system of this kind for each thread.
    requests: ClassVar[list[Request]] = []
    fault: ClassVar[Callable[[Request], int | None] | None] = None
    lock: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return MemoryFileSystem._strip_protocol(path.replace("bucket://", "memory://", 1))

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode == "rb" and Bucket.fault is not None:
            Bucket.fault((path, None, None))
        return super()._open(path, mode, **options)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        request, fault = (path, start, end), Bucket.fault
        with self.lock:
            self.requests.append(request)
        length = fault(request) if fault is not None else None
        return super().cat_file(path, start, end, **options)[:length]


fsspec.register_implementation("bucket", Bucket, clobber=True)


def new_bucket() -> str:
    """Return the URL of an empty folder that data may name, after forgetting all requests and faults."""
    Bucket.requests, Bucket.fault = [], None
    url = f"bucket://{uuid.uuid4().hex}"
    name_root(url)
    return url
