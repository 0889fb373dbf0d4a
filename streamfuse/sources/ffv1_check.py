"""Finds damage in FFV1 packets by their slice checksums, which FFmpeg's decoder only logs and then paints over.

Source: RFC 9043, section 4.9 (slice footer): 24-bit slice size, 8-bit error status, 32-bit parity that makes the
CRC-32 (polynomial 0x04C11DB7, most significant bit first, start 0) of the whole slice zero.
"""

from __future__ import annotations

import zlib

FOOTER = 8
_MIRRORED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def is_damaged(packet: bytes) -> bool:
    """True where the packet carries slice checksums and one is wrong; False where it carries none."""
    slices = _slices(packet)
    return any(_crc(packet[start:end]) for start, end in slices)


def _slices(packet: bytes) -> list[tuple[int, int]]:
    """(start, end) of each slice, from the last; empty where the footers do not chain up to the packet's start."""
    slices: list[tuple[int, int]] = []
    end = len(packet)
    while end > FOOTER:
        start = end - FOOTER - int.from_bytes(packet[end - FOOTER : end - FOOTER + 3], "big")
        slices.append((start, end))
        end = start
    return slices if end == 0 else []


def _crc(data: bytes) -> int:
    """CRC-32 with the most significant bit first: zlib's, which takes the other end first, on mirrored bytes."""
    return zlib.crc32(data.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
