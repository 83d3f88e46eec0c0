"""The client of fsspec's file system for the web, for servers that data may have named.

It connects where `open_socket` lets it, unpacks nothing (zeros in gzip become a thousand times as many), and takes no
more bytes than it asked for. What all answers together may hold in memory is bounded: past that, only the one that was
first goes on, and the others wait.

Layer: images; between access and remote. Imports aiohttp: imported with the first URL of the web.
"""

from __future__ import annotations

import asyncio
import importlib
import re
from typing import Any

from embedkit.images.access import RemoteReadError, open_socket

_aiohttp: Any = importlib.import_module("aiohttp")

_SILENT_SECONDS, _REQUEST_SECONDS = 60, 300
"""How long a server may say nothing, and how long an answer may take."""

_SMALL, _TOGETHER = 32 << 20, 4 << 30
"""Bytes of an answer that are not counted, and of those counted how many there may be."""

_POLL_SECONDS = 0.05

_RANGE = re.compile(r"bytes=(\d+)-(\d+)")

# Of the large answers under way, the bytes held; the oldest comes first. Only the thread of fsspec's loop is here.
_large: dict[object, int] = {}


async def web_client(**options: Any) -> Any:
    """Make a client, as fsspec's ``get_client``."""
    return _aiohttp.ClientSession(
        **{
            **options,
            "connector": _aiohttp.TCPConnector(socket_factory=open_socket),
            "headers": {**options.get("headers", {}), "Accept-Encoding": "identity"},
            "timeout": _aiohttp.ClientTimeout(total=_REQUEST_SECONDS, sock_connect=30, sock_read=_SILENT_SECONDS),
            "auto_decompress": False,
            "response_class": _Answer,
        }
    )


class _Answer(_aiohttp.ClientResponse):
    async def read(self) -> bytes:
        """Return the body; of a request for a part, no more than that."""
        asked = _RANGE.fullmatch(self.request_info.headers.get("Range", ""))
        most = None if asked is None else int(asked[2]) - int(asked[1]) + 1
        parts, size = list[bytes](), 0
        try:
            while part := await self.content.readany():
                parts.append(part)
                size += len(part)
                if most is not None and size > most:
                    raise RemoteReadError(
                        f"cannot be read: its server sends more than the {most:,} bytes that were asked for"
                    )
                if size > _SMALL:
                    _large[self] = size
                    while sum(_large.values()) > _TOGETHER and next(iter(_large)) is not self:
                        await asyncio.sleep(_POLL_SECONDS)
        except BaseException:
            self.close()
            raise
        finally:
            _large.pop(self, None)
        self.release()
        return b"".join(parts)
