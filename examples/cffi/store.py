"""Stores and maps blobs by cffi in its ABI mode, straight from vfs.h: no compiler but for the preprocessor, no binding.

    python3 examples/cffi/store.py target/release/libvfs.so include/vfs.h FILE

Stores the bytes of FILE, shows them in place as to another process, asks for a key that nobody has, and writes a blob
in parts. cffi gives each handle back once, with the last reference to it; the rest of vfs.h is for the caller to heed.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import cffi


class VfsError(OSError):
    """What a failing call answered."""

    def __init__(self, code: int, errno: int, message: str) -> None:
        super().__init__(errno or None, message)
        self.code = code


class Vfs:
    """The functions and types of a header, and the library that has them."""

    def __init__(self, library: str, header: str) -> None:
        # -P leaves no line numbers, which cffi would not know. The macros are gone, VFS_STAT_INIT too: see new().
        declared = subprocess.run(["cc", "-E", "-P", header], check=True, stdout=subprocess.PIPE, text=True).stdout
        self.ffi = cffi.FFI()
        self.ffi.cdef(declared)
        self.lib: Any = self.ffi.dlopen(library)

    def new(self, struct: str) -> Any:
        """A struct that begins with its size, as its _INIT macro makes it: the rest is zero."""
        made = self.ffi.new(f"{struct} *")
        made.struct_size = self.ffi.sizeof(struct)
        return made

    def check(self, status: int) -> int:
        """The answer, unless it is a failure: any negative number, since later versions may add some."""
        if status < 0:
            message: bytes = self.ffi.string(self.lib.vfs_last_error())
            raise VfsError(status, self.lib.vfs_last_errno(), message.decode("utf-8", "replace"))
        return status

    def text(self, value: str) -> bytes:
        """A string for C, which would be cut at a NUL: that could be another blob's key."""
        if "\0" in value:
            raise ValueError(f"an embedded NUL: {value!r}")
        return value.encode()

    def open(self, name: str) -> Any:
        """A store, closed by ffi.release or with its last reference."""
        options, out = self.new("vfs_options_t"), self.ffi.new("vfs_t **")
        named = self.ffi.new("char[]", self.text(name))
        options.name = named  # which keeps nothing: `named` does
        self.check(self.lib.vfs_open(options, out))
        return self.ffi.gc(out[0], self.lib.vfs_close)

    def map(self, store: Any, key: str) -> memoryview:
        """A blob's bytes in place, which stay for as long as anything that is made of them."""
        view = self.ffi.new("vfs_view_t *")
        self.check(self.lib.vfs_map(store, self.text(key), view, self.ffi.NULL))
        if not view.len:
            return memoryview(b"")
        # A view is given back from where it was filled: so the pointer keeps the struct, the buffer keeps the pointer.
        data = self.ffi.gc(self.ffi.cast("char *", view.data), lambda _: self.lib.vfs_unmap(view))
        return memoryview(self.ffi.buffer(data, view.len)).toreadonly()


def main(library: str, header: str, file: str) -> None:
    vfs = Vfs(library, header)
    ffi, lib = vfs.ffi, vfs.lib
    print("libvfs", ffi.string(lib.vfs_version()).decode())
    with open(file, "rb") as opened:
        data = opened.read()

    store, reader = vfs.open("cffi"), vfs.open("cffi")
    # from_buffer passes any bytes-like object where it lies.
    vfs.check(lib.vfs_store(store, b"whole", ffi.from_buffer(data), len(data), lib.VFS_REPLACE))

    shown = vfs.map(reader, "whole")
    print(f"whole: {len(shown)} bytes in place, the same: {shown == data}")
    vfs.check(lib.vfs_remove(store, b"whole"))
    print("whole: shown after vfs_remove:", shown == data)

    try:
        vfs.map(reader, "nobody")
    except VfsError as e:
        print(f"nobody: VFS_ERR_NOT_FOUND is {e.code == lib.VFS_ERR_NOT_FOUND}: {e.strerror}")
    try:
        vfs.map(reader, "a\0b")
    except ValueError as e:
        print("refused:", e)

    out, memory = ffi.new("vfs_writer_t **"), ffi.new("void **")
    vfs.check(lib.vfs_create(store, b"parts", 0, lib.VFS_REPLACE, out))
    try:
        for start in range(0, len(data), 4096):
            part = data[start : start + 4096]
            vfs.check(lib.vfs_reserve(out[0], len(part), memory))
            ffi.memmove(memory[0], part, len(part))
    except BaseException:
        lib.vfs_abort(out[0])
        raise
    vfs.check(lib.vfs_seal(out[0]))

    into, got, stat = bytearray(len(data)), ffi.new("size_t *"), vfs.new("vfs_stat_t")
    vfs.check(lib.vfs_read(reader, b"parts", 0, ffi.from_buffer(into), len(into), got, stat))
    print(f"parts: {got[0]} of {stat.size} bytes, the same: {into == data}")
    tier = vfs.new("vfs_tier_stat_t")
    vfs.check(lib.vfs_tier_stat(reader, stat.tier, tier))
    print("parts: in", ffi.string(tier.dir).decode())

    ffi.release(store)
    print("parts: there after vfs_close:", vfs.check(lib.vfs_has(reader, b"parts")) == 1)
    ffi.release(reader)


if __name__ == "__main__":
    main(*sys.argv[1:])
