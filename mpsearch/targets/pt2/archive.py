"""The zip archive of a `torch.export` program, with entries whose compressed length does not depend on one number in them.

A deflate stream may be put together of pieces that each end at a byte. The text around the number is compressed once; the number itself
is a stored block. So the archive's size is known before the number is.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Entry", "archive", "stored", "with_number"]

_STORED, _DEFLATED = 0, 8
_LOCAL, _CENTRAL, _END = 0x04034B50, 0x02014B50, 0x06054B50
_VERSION = 20
_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file of an archive.

    Args:
        method: of compression, as zip numbers it.
        check: CRC-32 of the content.
        size: of the content.
        data: as the archive holds it.
    """

    method: int
    check: int
    size: int
    data: bytes


def stored(content: bytes) -> Entry:
    """An entry that is not compressed."""
    return Entry(method=_STORED, check=zlib.crc32(content), size=len(content), data=content)


def with_number(pieces: tuple[bytes, ...], number: int) -> Entry:
    """A compressed entry of pieces with a number between them, blanks in front of it."""
    digits = f"{number:>{_DIGITS}}".encode()
    block = b"\x00" + struct.pack("<HH", len(digits), len(digits) ^ 0xFFFF) + digits
    content, data = pieces[0], _deflated(pieces[0])
    for piece in pieces[1:]:
        content, data = content + digits + piece, data + block + _deflated(piece)
    return Entry(method=_DEFLATED, check=zlib.crc32(content), size=len(content), data=data + b"\x03\x00")  # an empty last block


def archive(entries: Mapping[str, Entry]) -> bytes:
    """A zip archive."""
    files, directory = bytearray(), bytearray()
    for name, entry in entries.items():
        encoded, start = name.encode(), len(files)
        about = (0, entry.method, 0, 0, entry.check, len(entry.data), entry.size, len(encoded), 0)
        files += struct.pack("<IHHHHHIIIHH", _LOCAL, _VERSION, *about) + encoded + entry.data
        directory += struct.pack("<IHHHHHHIIIHHHHHII", _CENTRAL, _VERSION, _VERSION, *about, 0, 0, 0, 0, start) + encoded
    end = struct.pack("<IHHHHIIH", _END, 0, 0, len(entries), len(entries), len(directory), len(files), 0)
    return bytes(files + directory) + end


def _deflated(piece: bytes) -> bytes:
    """Compressed blocks that refer to nothing outside of them and end at a byte; none of them is the last."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return compressor.compress(piece) + compressor.flush(zlib.Z_FULL_FLUSH)
