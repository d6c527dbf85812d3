"""Two processes, one store: this one makes an image and a table, another reads them by key.

    VFS_LIBRARY=target/release/libvfs.so python3 examples/python/demo.py

The other one shares nothing with this one but the name of the store. It reads a range of the image, as a web server
would, and adds up a column of the table where it lies, without a copy. Ends non-zero if anything is not as it should.
"""

from __future__ import annotations

import binascii
import multiprocessing
import os
import struct
import sys
import zlib
from collections.abc import Iterator

import vfs

NAME = "python-demo"
WIDTH, HEIGHT = 320, 240
ROWS = 200_000
ROW = struct.Struct("=dd")


def png(width: int, height: int) -> bytes:
    """A picture of a gradient."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", binascii.crc32(kind + body))

    line = [bytes([0]) + bytes(v for x in range(width) for v in (x & 255, y & 255, 128)) for y in range(height)]
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b"".join(line)))
        + chunk(b"IEND", b"")
    )


def expect(fact: bool, what: str) -> None:
    if not fact:
        sys.exit(f"demo: {what}")


def chunks(store: vfs.Store, key: str, size: int) -> Iterator[bytes]:
    """A blob in parts, all of the same blob though the key may be replaced meanwhile."""
    part, first = store.read_stat(key, 0, size)
    offset = 0
    while part:
        yield part
        offset += len(part)
        part, stat = store.read_stat(key, offset, size)
        expect(stat.id == first.id, f"{key} was replaced amid reading")


def reader(crc: int) -> None:
    """The second process."""
    with vfs.Store(NAME, read_only=True) as store:
        found = sorted(f"{entry.key} ({entry.stat.size} bytes)" for entry in store.list())
        print(f"process {os.getpid()} finds " + ", ".join(found))

        # A range: what a browser asks for to learn the size of a picture.
        width, height = struct.unpack(">II", store.read("plot.png", 16, 8))
        expect((width, height) == (WIDTH, HEIGHT), "another picture")
        print(f"  plot.png: bytes 16 to 23 say {width} x {height} pixels")

        parts = list(chunks(store, "plot.png", 1000))
        expect(binascii.crc32(b"".join(parts)) == crc, "other bytes")
        print(f"  plot.png: the same bytes, read in {len(parts)} parts")

        # In place: the rows are numbers at once, and nothing is copied but what is looked at.
        with store.map("table") as view, view.data.cast("d") as numbers:
            total = sum(numbers[1::2])
        expect(total == sum(range(ROWS)) / 2, "another table")
        print(f"  table: the second column of {ROWS} rows adds up to {total:.1f}")

        try:
            store.read("no-such-plot")
        except KeyError as e:  # a vfs.NotFound, which is an OSError too
            print(f"  no-such-plot: {e}")


def main() -> int:
    image = png(WIDTH, HEIGHT)
    with vfs.Store(NAME) as store:
        store.store("plot.png", image)
        with store.create("table", ROWS * ROW.size) as writer, writer.reserve(ROWS * ROW.size) as memory:
            for row in range(ROWS):
                ROW.pack_into(memory, row * ROW.size, row, row / 2)

        tiers = store.tiers()
        print(f"process {os.getpid()} stores, with libvfs {vfs.version()}")
        for key in ("plot.png", "table"):
            stat = store.stat(key)
            tier = tiers[stat.tier]
            print(f"  {key}: {stat.size} bytes in {tier.dir or 'memory'}")
        sys.stdout.flush()

        other = multiprocessing.get_context("spawn").Process(target=reader, args=(binascii.crc32(image),))
        other.start()
        other.join()
        if other.exitcode != 0:
            return 1
    with vfs.Store(NAME, read_only=True) as store:
        left = sum(1 for _ in store.list())
    print(f"the store is closed, and {left} blobs are left")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
