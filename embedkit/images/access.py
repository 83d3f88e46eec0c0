"""Which URLs are followed: those that the user names, and of those that only data name, the harmless ones.

A row of a manifest, a plan, a column of Parquet, the recorded source of a feature file: whoever wrote them chooses the
URLs in them. fsspec follows any protocol and chains of them, some of which run programs, read other files or log in
elsewhere. So from data only `PROTOCOLS` are followed, never a chain, and of web servers only public ones: nothing on
this machine, in its network, or at the addresses where clouds keep credentials. The address is checked where the
connection is made, behind every redirect and whatever a name resolves to.

What the user names is not data: the source and the root that were given, and what ``EMBEDKIT_DATA_URLS`` lists, to
which ``embedkit --allow-url`` adds.

Layer: images, its bottom; below remote. Standard library only.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import socket
from typing import Any
from urllib.parse import urlsplit

from embedkit.errors import ForbiddenUrlError

PROTOCOLS = ("http", "https", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")
"""What data may name."""

ENVIRONMENT = "EMBEDKIT_DATA_URLS"
"""What data may name beside the public URLs: ``memory:// http://10.0.0.5/``; with ``none`` in it, in place of these."""

_WEB = ("http", "https")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
# A bucket and nothing more: no user, no port, and of Azure's accounts those at Azure.
_BUCKET = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._-]*(@[A-Za-z0-9]+\.(dfs|blob)\.core\.windows\.net)?")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Python takes for public what is not: protocol assignments (a cloud keeps credentials there), the machine below a
# virtual one of Azure, and of IPv6 site-local addresses, ::127.0.0.1 and more that is no global unicast (RFC 4291).
_ASSIGNED, _HOST_OF_AZURE = ipaddress.IPv4Network("192.0.0.0/24"), ipaddress.IPv4Address("168.63.129.16")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")

# Origins that the user named in this process (``s3://bucket``, ``http://host:8000``) and whole chains. It only grows,
# by arguments of the user: what one call was told to read, the next may be told of by data.
_named: set[str] = set()


class RemoteReadError(Exception):
    """The bytes at a URL could not be had; the message is a short reason without the URL.

    Whoever reads says so by an error of its own. Neither an OSError nor a ValueError: tarfile and zipfile take those
    for an archive that is damaged.
    """


def is_url(text: str) -> bool:
    """Say whether a text begins like a URL (``https://``, ``s3://``)."""
    return _URL.match(text) is not None


def name_root(root: object) -> None:
    """Note a source or a root that the user gave: data may lead to the same server or bucket from now on."""
    if isinstance(root, str) and is_url(root):
        _named.add(root if "::" in root else _origin(root))


def is_named(url: str) -> bool:
    """Say whether the user named a URL, or another of its server or bucket."""
    if "::" in url:
        # A listed chain stands for what lies below it, but not for a longer one.
        links = url.count("::")
        below = (entry for entry in _allowed_by_environment() if entry.count("::") == links)
        return url in _named or any(url == entry or url.startswith(entry.rstrip("/") + "/") for entry in below)
    named = _named | {_origin(entry) for entry in _allowed_by_environment() if "::" not in entry}
    origin = _origin(url)
    return origin in named or origin.partition("://")[0] + "://" in named


def check_url(url: str) -> None:
    """Refuse a URL that neither the user named nor data may name.

    Raises
    ------
    ForbiddenUrlError
    """
    if is_named(url):
        return
    how = f"give it, or what it lies in, as the source yourself, or allow it by embedkit --allow-url ({ENVIRONMENT})"
    if "::" in url:
        raise ForbiddenUrlError(f"{url!r} is a chain of URLs, which data may not name, expected a path or one; {how}")
    protocol, _, _ = _origin(url).partition("://")
    if "none" in os.environ.get(ENVIRONMENT, "").split():
        raise ForbiddenUrlError(f"{url!r} is a URL that data name, and {ENVIRONMENT} says 'none'; {how}")
    if protocol not in PROTOCOLS:
        expected = ", ".join(f"{name}://" for name in PROTOCOLS)
        raise ForbiddenUrlError(
            f"{url!r}: data may not name {protocol}://, expected a path or one of {expected}; {how}"
        )
    if protocol not in _WEB:
        if not _BUCKET.fullmatch(urlsplit(url).netloc):
            raise ForbiddenUrlError(f"{url!r}: {urlsplit(url).netloc!r} is not the name of a bucket; {how}")
        return
    host = _host(url)
    if not host:
        raise ForbiddenUrlError(f"{url!r} names no server; correct it")
    literal = _literal(host)
    if host == "localhost" or host.endswith(".localhost") or (literal is not None and not is_public(literal)):
        raise ForbiddenUrlError(f"{url!r} leads to {host}, which is not a public address; {how}")


def is_public(address: str) -> bool:
    """Say whether an IP address is one of the internet: not of this machine, a private network or a single link."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found in _NAT64:
            found = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        else:
            found = found.ipv4_mapped or found.sixtofour or found
    if isinstance(found, ipaddress.IPv6Address) and found not in _GLOBAL_UNICAST:
        return False
    return found.is_global and not found.is_multicast and found not in _ASSIGNED and found != _HOST_OF_AZURE


def open_socket(addr_info: tuple[Any, ...]) -> socket.socket:
    """Make the socket of one connection to a web server, for aiohttp; refuse the addresses that data may not reach."""
    family, kind, protocol, _, place = addr_info
    if not is_public(place[0]) and not _is_of_a_named_server(place[0], place[1]):
        raise OSError(errno.ECONNREFUSED, f"{place[0]} is not a public address, and data may name no other")
    return socket.socket(family, kind, protocol)


def _is_of_a_named_server(address: str, port: int) -> bool:
    for entry in (*_named, *_allowed_by_environment()):
        if not entry.startswith(tuple(f"{name}://" for name in _WEB)):
            continue
        host = _host(entry)
        if not host:  # the protocol, and so any server
            return True
        try:
            of_entry = urlsplit(entry).port or (443 if entry.startswith("https") else 80)
            found = {place[0] for *_, place in socket.getaddrinfo(host, None)} if of_entry == port else set[Any]()
        except (OSError, ValueError):
            continue
        if address in found:
            return True
    return False


def _allowed_by_environment() -> list[str]:
    return [entry for entry in os.environ.get(ENVIRONMENT, "").split() if "://" in entry]


def _origin(url: str) -> str:
    """Return the protocol of a URL and the server or bucket that it is about."""
    protocol, _, rest = url.partition("://")
    return f"{protocol.lower()}://{re.split('[/?#]', rest, maxsplit=1)[0].lower()}"


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _literal(host: str) -> str | None:
    """Return the address that a host is written as, in any way that the C library reads (``127.1``, ``0x7f000001``)."""
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None
