"""Tests of vfs.py. They want VFS_LIBRARY, and keep to directories of their own.

VFS_LIBRARY=target/debug/libvfs.so python3 examples/python/test_vfs.py
"""

from __future__ import annotations

import array
import contextlib
import copy
import ctypes
import errno
import fcntl
import gc
import gzip
import io
import json
import logging
import mmap
import multiprocessing
import multiprocessing.connection
import multiprocessing.resource_tracker
import os
import pathlib
import pickle
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
import textwrap
import threading
import time
import unittest
import zipfile
from collections.abc import Iterator
from typing import Any, Callable
from unittest import mock

import vfs

HERE = pathlib.Path(__file__).resolve().parent
PAGE = mmap.PAGESIZE
SIZES = (0, 1, PAGE, PAGE + 1, 1 << 20)
# What closes the file that it wraps, and takes such data.
WRAPPERS: list[tuple[Callable[[Any], Any], Any]] = [(io.TextIOWrapper, "half"), (io.BufferedWriter, b"half")]


def setUpModule() -> None:
    # A descriptor that spawn leaves open for good.
    multiprocessing.resource_tracker.ensure_running()


def pattern(size: int) -> bytes:
    return bytes(i % 251 for i in range(min(size, 251 * 16))) * (size // (251 * 16) + 1) if size else b""


def sample(size: int) -> bytes:
    return pattern(size)[:size]


def descriptors() -> dict[str, str]:
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            found[fd] = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            pass  # that of the listing itself
    return found


def mapped(directory: str) -> int:
    """How many mappings there are of files below a directory."""
    return sum(directory in line for line in pathlib.Path("/proc/self/maps").read_text().splitlines())


class Case(unittest.TestCase):
    """Two tiers of its own, of which the first takes 4 MiB; nothing may be left in them, or of descriptors."""

    def setUp(self) -> None:
        self.dir = tempfile.mkdtemp()
        self.first, self.second = (os.path.join(self.dir, name) for name in ("first", "second"))
        for tier in (self.first, self.second):
            os.mkdir(tier)
        self.tiers = f"{self.first}?max=4M,{self.second}"
        os.environ["VFS_TIERS"] = self.tiers
        self.stores: list[vfs.Store] = []
        self.before = descriptors()

    def tearDown(self) -> None:
        for store in self.stores:
            store.close()
        gc.collect()
        self.assertEqual(descriptors(), self.before)
        self.assertEqual(mapped(self.dir), 0)
        self.assertEqual(self.left(), [])
        shutil.rmtree(self.dir)

    def left(self) -> list[pathlib.Path]:
        return [p for p in pathlib.Path(self.dir).rglob("*") if not p.is_dir() and p.name != "\\lock"]

    def open(self, *args: Any, **kwargs: Any) -> vfs.Store:
        store = vfs.Store(*args, **kwargs)
        self.stores.append(store)
        return store

    def fails(self, kind: type[vfs.VfsError], code: int, call: Callable[..., object], *args: Any) -> vfs.VfsError:
        with self.assertRaises(kind) as caught:
            call(*args)
        error = caught.exception
        self.assertEqual(error.code, code)
        self.assertTrue(str(error))
        # The traceback holds the frames, and these the objects under test.
        error.__traceback__ = None
        return error

    def script(self, text: str, *args: str, **kwargs: Any) -> tuple[int, str, str]:
        """Runs a program, which may import vfs; tells its exit code and what it wrote."""
        env = {**os.environ, "PYTHONPATH": str(HERE), **kwargs}
        program = [sys.executable, "-B", "-X", "dev", "-c", textwrap.dedent(text), *args]
        done = subprocess.run(program, env=env, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stdout, done.stderr

    def end_well(self, before: str, places: dict[str, str]) -> None:
        """Runs programs that leave things in various places as they end: silently, and nothing is left."""
        for place, text in places.items():
            with self.subTest(place=place):
                done = self.script(textwrap.dedent(before) + textwrap.dedent(text))
                self.assertEqual(done, (0, "", ""))
                self.assertEqual(self.left(), [])

    def owner(self, text: str) -> subprocess.Popen[str]:
        """Starts a program that stores something and says "ready"."""
        env = dict(os.environ, PYTHONPATH=str(HERE))
        program = [sys.executable, "-B", "-c", textwrap.dedent(text)]
        owner = subprocess.Popen(program, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert owner.stdout is not None
        self.assertEqual(owner.stdout.readline(), "ready\n")
        return owner

    def end(self, owner: subprocess.Popen[str]) -> int:
        owner.communicate()
        return owner.returncode


class Bytes(Case):
    def test_every_size_comes_back_by_every_way(self) -> None:
        for tiers in (self.tiers, "memory"):
            store = self.open("sizes", tiers)
            for size in SIZES:
                with self.subTest(tiers=tiers, size=size):
                    key, data = f"k{size}", sample(size)
                    store.store(key, data)
                    self.assertEqual(store.read(key), data)
                    self.assertIs(type(store.read(key)), bytes)
                    self.assertEqual(store.stat(key).size, size)
                    with store.map(key) as view:
                        self.assertEqual(len(view), size)
                        self.assertEqual(bytes(view), data)
                        self.assertEqual(view.data, data)
                        self.assertEqual(view.stat.size, size)
                        self.assertEqual(view.stat.id, store.stat(key).id)
                    into = bytearray(size + 3)
                    self.assertEqual(store.read_into(key, into), size)
                    self.assertEqual(into, data + bytes(3))
                    with store.create(f"w{size}", size) as writer:
                        self.assertEqual(writer.write(data), size)
                    self.assertEqual(store.read(f"w{size}"), data)
                    with store.create(f"r{size}") as writer:
                        with writer.reserve(size) as memory:
                            self.assertEqual(len(memory), size)
                            memory[:] = data
                    self.assertEqual(store.read(f"r{size}"), data)

    def test_ranges_are_those_of_a_slice(self) -> None:
        store = self.open()
        data = sample(10_000)
        store.store("k", data)
        for offset in (0, 1, PAGE, 9_999, 10_000, 10_001, 1 << 40, 1 << 63, 1 << 64, 1 << 70):
            for size in (0, 1, PAGE, 10_000, 1 << 40, 1 << 63, 1 << 70, None):
                end = None if size is None else offset + size
                self.assertEqual(store.read("k", offset, size), data[offset:end], (offset, size))
        into = bytearray(10)
        self.assertEqual(store.read_into("k", into, 9_995), 5)
        self.assertEqual(into, data[9_995:] + bytes(5))
        self.assertEqual(store.read_into("k", into, 1 << 70), 0)
        for offset, size in ((-1, None), (0, -1)):
            with self.assertRaises(ValueError):
                store.read("k", offset, size)
        with self.assertRaises(TypeError):
            store.read("k", 1.5)  # type: ignore[arg-type]

    def test_parts_are_told_apart_by_the_blob_they_came_from(self) -> None:
        store = self.open()
        store.store("k", b"one two")
        part, first = store.read_stat("k", 0, 3)
        store.store("k", b"six ten", replace=True)
        other, second = store.read_stat("k", 4)
        self.assertEqual((part, other), (b"one", b"ten"))
        self.assertNotEqual(first.id, second.id)

    def test_anything_bytes_like_is_stored(self) -> None:
        store = self.open()
        numbers = array.array("i", range(100))
        structure = (ctypes.c_uint16 * 7)(*range(7))
        private = mmap.mmap(-1, PAGE)
        private[:3] = b"abc"
        inputs: list[Any] = [
            b"bytes",
            bytearray(b"bytearray"),
            memoryview(b"memoryview"),
            memoryview(b"a slice of one")[2:7],
            memoryview(bytearray(24)).cast("B", (2, 3, 4)),
            numbers,
            memoryview(numbers)[10:20],
            structure,
            private,
        ]
        for i, data in enumerate(inputs):
            with self.subTest(data=data):
                store.store(f"s{i}", data)
                with store.create(f"w{i}") as writer:
                    self.assertEqual(writer.write(data), memoryview(data).nbytes)
                for key in (f"s{i}", f"w{i}"):
                    self.assertEqual(store.read(key), memoryview(data).tobytes())
        # Nothing holds them any more.
        inputs[1].append(1)
        private.close()

    def test_a_view_is_stored_and_written_without_a_copy(self) -> None:
        store = self.open()
        store.store("k", sample(PAGE))
        with store.map("k") as view:
            store.store("l", view)  # type: ignore[arg-type,unused-ignore]
            store.store("m", view.data[10:20])
            with store.create("n") as writer:
                writer.write(view)  # type: ignore[arg-type,unused-ignore]
        self.assertEqual(store.read("l"), sample(PAGE))
        self.assertEqual(store.read("m"), sample(PAGE)[10:20])
        self.assertEqual(store.read("n"), sample(PAGE))

    def test_what_is_not_bytes_in_one_piece_is_refused(self) -> None:
        store = self.open()
        for bad in (memoryview(b"abcdef")[::2], memoryview(b"abcdef")[::-1]):
            with self.assertRaisesRegex(BufferError, "in one piece"):
                store.store("k", bad)
            with self.assertRaisesRegex(BufferError, "in one piece"), store.create("k") as writer:
                writer.write(bad)
        for other in ("text", 5, None, [1, 2]):
            with self.assertRaises(TypeError):
                store.store("k", other)  # type: ignore[arg-type]
        self.assertFalse(store.has("k"))
        store.store("k", b"x")
        for into in (b"abc", memoryview(b"abc")):
            with self.assertRaisesRegex(BufferError, "read-only"):
                store.read_into("k", into)
        with self.assertRaisesRegex(BufferError, "in one piece"):
            store.read_into("k", memoryview(bytearray(8))[::2])

    def test_replace_is_asked_for(self) -> None:
        store = self.open()
        store.store("k", b"old")
        self.fails(vfs.Exists, vfs.Code.EXISTS, store.store, "k", b"new")
        store.store("k", b"new", replace=True)
        self.assertEqual(store.read("k"), b"new")


class Views(Case):
    def test_a_view_is_read_only_and_in_place(self) -> None:
        store = self.open()
        store.store("k", sample(1 << 20))
        view = store.map("k")
        self.assertEqual(mapped(self.dir), 1)
        self.assertTrue(view.data.readonly)
        self.assertEqual((view.data.format, view.data.ndim, view.data.nbytes), ("B", 1, 1 << 20))
        with self.assertRaises(TypeError):
            view.data[0] = 1
        with self.assertRaises(TypeError):
            ctypes.c_char.from_buffer(view.data)
        self.assertEqual(view[3], sample(4)[3])
        self.assertEqual(view[3:5], sample(5)[3:])
        self.assertEqual(view.data.cast("I").nbytes, 1 << 20)
        if sys.version_info >= (3, 12):
            self.assertEqual(memoryview(view), view.data)
            self.assertTrue(memoryview(view).readonly)

    def test_memory_stays_while_anything_made_of_it_lives(self) -> None:
        store = self.open()
        data = sample(1 << 20)
        store.store("k", data)
        makers: list[Callable[[memoryview], Any]] = [
            lambda m: m,
            lambda m: m[5:],
            lambda m: memoryview(m),
            lambda m: m.cast("H"),
            lambda m: m[: 1 << 19].cast("I", (1 << 10, 1 << 7)),
        ]
        for make in makers:
            view = store.map("k")
            held = make(view.data)
            again = store.map("k").data
            view.release()
            view.release()
            self.assertEqual(mapped(self.dir), 2)
            self.assertIn(held.tobytes(), data)
            del view
            held.release()
            self.assertEqual(mapped(self.dir), 1)
            self.assertEqual(again, data)
            del again
            self.assertEqual(mapped(self.dir), 0)

    def test_a_released_view_says_so(self) -> None:
        store = self.open()
        store.store("k", b"abc")
        with store.map("k") as view:
            view.data.release()
            self.assertEqual(bytes(view), b"abc")
        for use in (lambda: view.data, lambda: len(view), lambda: view[0], lambda: bytes(view)):
            with self.assertRaisesRegex(ValueError, "released"):
                use()
        self.assertIn("released", repr(view))

    def test_a_view_outlives_remove_replace_and_close(self) -> None:
        for tiers in (self.tiers, "memory"):
            store = self.open("lives", tiers)
            store.store("k", sample(PAGE + 1))
            removed = store.map("k")
            store.store("k", b"another", replace=True)
            replaced = store.map("k").data
            store.remove("k")
            store.store("l", b"last")
            last = store.map("l").data
            store.close()
            self.assertEqual(removed.data, sample(PAGE + 1))
            self.assertEqual(replaced, b"another")
            self.assertEqual(last, b"last")
            del removed, replaced, last

    def test_finalizers_may_read_a_view_in_garbage(self) -> None:
        # The collector runs finalizers, and the callbacks of weak references before them, in an order of its own.
        store = self.open()
        store.store("k", b"x" * PAGE)
        read: list[int] = []

        class Keeper:
            def __init__(self) -> None:
                self.me = self
                self.memory = store.map("k").data[1:].cast("B")

            def __del__(self) -> None:
                read.append(self.memory[PAGE - 2])

        for _ in range(3):
            Keeper()
        gc.collect()
        self.assertEqual(read, [ord("x")] * 3)
        gc.collect()
        self.assertEqual(mapped(self.dir), 0)

    def test_an_interpreter_ends_well_with_views_in_any_place(self) -> None:
        before = """
            import atexit, builtins, gc, sys, threading, time, vfs
            store = vfs.Store("exit")
            store.store("k", b"x" * 10_000, replace=True)
            view = store.map("k")
            memory = view.data[1:]
            def look(): assert memory[9_998] == 120
        """
        places = {
            "globals": "",
            "closed": "store.close()",
            "order": "del view; store.close(); del store",
            "sys": "sys.kept = memory; sys.view = view; del memory, view",
            "builtins": "builtins.kept = memory; del memory, store",
            "atexit": "atexit.register(lambda: look())",
            "cycle": """
                gc.disable()
                class Keeper:
                    def __del__(self): assert self.memory[9_998] == 120
                keeper = Keeper(); keeper.me = keeper; keeper.memory = memory
                del keeper, memory, view
            """,
            "finalizer": """
                class Keeper:
                    def __init__(self, memory): self.memory = memory
                    def __del__(self): assert self.memory[9_998] == 120
                keeper = Keeper(memory)
            """,
            "thread": """
                def loop():
                    while True: look()
                threading.Thread(target=loop, daemon=True).start()
                time.sleep(0.05)
            """,
            "thread in the store": """
                def loop():
                    try:
                        while True: store.read("k")
                    except vfs.Shutdown:
                        pass
                threading.Thread(target=loop, daemon=True).start()
                time.sleep(0.05)
            """,
            "writer": "writer = store.create('w'); kept = writer.reserve(5); writer.write(b'')",
            "reserved": "writer = store.create('w'); kept = writer.reserve(5)[1:]",
            "wrapped": "import io; text = io.TextIOWrapper(store.create('w')); text.write('half'); text.flush()",
            "listing": "listing = store.list(); next(listing)",
            "error": "sys.exit",
        }
        self.end_well(before, places)

    def test_views_are_neither_copied_nor_pickled(self) -> None:
        store = self.open()
        store.store("k", b"abc")
        with store.map("k") as view, store.create("w") as writer, store.list() as listing:
            for thing in (store, view, writer, listing):
                for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
                    with self.assertRaisesRegex(TypeError, "belongs to its process"):
                        attempt(thing)
            writer.abort()


class Writers(Case):
    def test_nothing_is_seen_before_the_block_ends(self) -> None:
        store = self.open()
        with store.create("k") as writer:
            writer.write(b"one ")
            writer.write(b"")
            writer.write(bytearray(b"two"))
            self.assertFalse(store.has("k"))
            self.assertFalse(writer.ended)
        self.assertEqual(store.read("k"), b"one two")
        self.assertTrue(writer.ended)
        for call in (lambda: writer.write(b"x"), lambda: writer.reserve(1), writer.seal):
            with self.assertRaisesRegex(ValueError, "ended"):
                call()
        writer.abort()
        self.assertTrue(store.has("k"))

    def test_an_exception_gives_the_blob_up(self) -> None:
        store = self.open()
        with self.assertRaises(ZeroDivisionError):
            with store.create("k") as writer:
                writer.write(b"half")
                writer.reserve(1000)
                raise ZeroDivisionError
        self.assertTrue(writer.ended)
        self.assertFalse(store.has("k"))

    def test_seal_and_abort_by_hand(self) -> None:
        store = self.open()
        with store.create("k") as writer:
            writer.write(b"x")
            writer.seal()
            self.assertTrue(store.has("k"))
        with store.create("l") as writer:
            writer.abort()
        self.assertFalse(store.has("l"))
        store.create("m").write(b"dropped")
        self.assertFalse(store.has("m"))

    def test_seal_decides_who_was_first(self) -> None:
        store = self.open()
        first, second = store.create("k"), store.create("k")
        first.write(b"first")
        second.write(b"second")
        second.seal()
        self.fails(vfs.Exists, vfs.Code.EXISTS, first.seal)
        self.assertTrue(first.ended)
        self.assertEqual(store.read("k"), b"second")
        with store.create("k", replace=True) as third:
            third.write(b"third")
        self.assertEqual(store.read("k"), b"third")

    def test_reserved_memory_is_taken_back_by_the_next_call(self) -> None:
        store = self.open()
        with store.create("k") as writer:
            memory = writer.reserve(4)
            self.assertFalse(memory.readonly)
            memory[:] = b"abcd"
            writer.write(b"-")
            with self.assertRaisesRegex(ValueError, "released"):
                memory[0]
            other = writer.reserve(PAGE)
            other[:] = sample(PAGE)
            self.assertEqual(len(writer.reserve(0)), 0)
        with self.assertRaisesRegex(ValueError, "released"):
            other[0]
        self.assertEqual(store.read("k"), b"abcd-" + sample(PAGE))
        writer = store.create("l")
        with self.assertRaises(ValueError):
            writer.reserve(-1)
        self.fails(vfs.Invalid, vfs.Code.INVALID, writer.reserve, 1 << 63)
        self.fails(vfs.Invalid, vfs.Code.INVALID, writer.reserve, 1 << 70)
        self.fails(vfs.Invalid, vfs.Code.INVALID, writer.seal)  # without the part that was refused
        self.assertNotIn("l", store)

    def test_reserved_memory_in_use_is_not_taken_back(self) -> None:
        store = self.open()
        writer = store.create("k")
        memory = writer.reserve(4)
        part = memory[:2]
        for call in (lambda: writer.write(b"x"), lambda: writer.reserve(1), writer.seal):
            with self.assertRaisesRegex(BufferError, "still in use"):
                call()
        part[:] = b"ab"
        del part
        writer.write(b"x")
        again = writer.reserve(2)
        with self.assertRaisesRegex(BufferError, "still in use"):
            writer.write(again)
        writer.seal()
        self.assertEqual(store.read("k")[:2] + store.read("k")[4:5], b"abx")

    def test_what_is_made_of_reserved_memory_outlives_an_abort(self) -> None:
        store = self.open()
        with self.assertRaisesRegex(BufferError, "still in use"):
            with store.create("k") as writer:
                part = writer.reserve(1 << 20)[10:]
        self.assertTrue(writer.ended)
        part[:5] = b"there"
        store.close()
        self.assertEqual(part[:5], b"there")
        self.assertIn(part.tobytes()[:5], b"there")
        del part

    def test_a_blob_outgrows_its_tier_unseen(self) -> None:
        store = self.open("grow", f"{self.first}?max=64K,{self.second}")
        with store.create("k") as writer:
            for _ in range(100):
                writer.write(sample(PAGE))
        self.assertEqual(store.stat("k").tier, 1)
        self.assertEqual(store.read("k"), sample(PAGE) * 100)

    def test_a_writer_outlives_its_store(self) -> None:
        store = self.open()
        writer = store.create("k")
        memory = writer.reserve(8)
        store.close()
        memory[:] = b"whatever"
        self.fails(vfs.Shutdown, vfs.Code.SHUTDOWN, writer.write, b"x")
        self.fails(vfs.Shutdown, vfs.Code.SHUTDOWN, writer.seal)
        self.assertTrue(writer.ended)

    def test_a_failed_write_appends_nothing(self) -> None:
        store = self.open("full", f"{self.first}?max=64K")
        with store.create("k") as writer:
            writer.write(b"before ")
            self.fails(vfs.NoSpace, vfs.Code.NO_SPACE, writer.write, bytes(1 << 20))
            writer.write(b"after")
        self.assertEqual(store.read("k"), b"before after")


class Files(Case):
    """A Writer is a file object."""

    def test_what_writes_to_a_file_writes_to_a_writer(self) -> None:
        store = self.open()
        data = sample(300_000)

        def zipped(file: Any) -> None:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("one", data)

        def tarred(file: Any) -> None:
            with tarfile.open(fileobj=file, mode="w") as archive:
                info = tarfile.TarInfo("one")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))

        def gzipped(file: Any) -> None:
            with gzip.GzipFile("one", "wb", fileobj=file, mtime=0) as packed:
                packed.write(data)

        def buffered(file: Any) -> None:
            with io.BufferedWriter(file, 1000) as buffer:
                buffer.write(data[:7])
                buffer.write(data[7:])

        def text(file: Any) -> None:
            with io.TextIOWrapper(file, "utf-8", newline="\n") as lines:
                json.dump({"é": [1, 2]}, lines, ensure_ascii=False)
                print("", 5, file=lines)

        ways: dict[str, Callable[[Any], object]] = {
            "copyfileobj": lambda file: shutil.copyfileobj(io.BytesIO(data), file, 1000),
            "writelines": lambda file: file.writelines([data[:5], b"", memoryview(data)[5:]]),
            "pickle": lambda file: pickle.dump({"data": data, "more": [1.5, None]}, file),
            "array": lambda file: array.array("d", range(1000)).tofile(file),
            "zip": zipped,
            "tar": tarred,
            "gzip": gzipped,
            "buffered": buffered,
            "text": text,
        }
        for key, way in ways.items():
            with self.subTest(way=key):
                with store.create(key) as writer:
                    way(writer)
                    self.assertFalse(store.has(key))
                expected = ForwardOnly()
                way(expected)
                self.assertGreater(len(expected.bytes), 0)
                # (ZIP and tar have the time of day in them)
                if key not in ("zip", "tar"):
                    self.assertEqual(store.read(key), bytes(expected.bytes))
        with zipfile.ZipFile(io.BytesIO(store.read("zip"))) as archive:
            self.assertEqual(archive.read("one"), data)
        with io.TextIOWrapper(store.create("typed")) as typed, tarfile.open(fileobj=io.BytesIO(store.read("tar"))) as tar:
            typed.write("x")
            member = tar.extractfile("one")
            assert member is not None
            self.assertEqual(member.read(), data)
        self.assertEqual(pickle.loads(store.map("pickle").data), {"data": data, "more": [1.5, None]})
        self.assertEqual(store.read("text"), '{"é": [1, 2]} 5\n'.encode())

    def test_it_tells_what_it_can_and_where_it_is(self) -> None:
        store = self.open("tells", f"{self.first}?max=64K")
        with store.create("k") as writer:
            self.assertIsInstance(writer, io.BufferedIOBase)
            self.assertEqual((writer.name, store.create(b"\xff").name), ("k", "\udcff"))
            self.assertTrue(writer.writable())
            self.assertFalse(writer.readable() or writer.seekable() or writer.isatty() or writer.closed)
            writer.write(memoryview(array.array("H", range(10))))
            self.assertEqual(writer.tell(), 20)
            self.fails(vfs.NoSpace, vfs.Code.NO_SPACE, writer.write, bytes(1 << 20))
            self.assertEqual(writer.tell(), 20)
            writer.reserve(5)[:] = b"abcde"
            writer.flush()
            self.assertEqual(writer.tell(), 25)
            cannot: list[Callable[[], object]] = [
                lambda: writer.read(),
                lambda: writer.readline(),
                lambda: writer.seek(0),
                lambda: writer.truncate(),
                lambda: writer.fileno(),
                lambda: writer.detach(),
            ]
            for call in cannot:
                with self.assertRaises(io.UnsupportedOperation):
                    call()
        self.assertEqual(store.stat("k").size, 25)
        self.assertTrue(writer.closed)
        writer.close()
        ended: list[Callable[[], object]] = [
            writer.tell,
            writer.flush,
            writer.writable,
            writer.__enter__,
            lambda: writer.write(b""),
            lambda: writer.writelines([b""]),
        ]
        for call in ended:
            with self.assertRaises(ValueError):
                call()

    def test_close_publishes_as_that_of_a_file(self) -> None:
        store = self.open()
        writer = store.create("k")
        writer.write(b"x")
        writer.close()
        writer.close()
        self.assertTrue(writer.ended)
        self.assertEqual(store.read("k"), b"x")
        late = store.create("k", replace=True)
        store.close()
        self.fails(vfs.Shutdown, vfs.Code.SHUTDOWN, late.close)
        self.assertTrue(late.closed)

    def test_a_close_inside_the_block_leaves_it_to_the_end_of_the_block(self) -> None:
        store = self.open()
        with store.create("k") as writer:
            writer.write(b"x")
            writer.close()
            self.assertTrue(writer.closed)
            self.assertFalse(writer.ended)
            for call in (lambda: writer.write(b"y"), lambda: writer.reserve(1), writer.tell):
                with self.assertRaises(ValueError):
                    call()
            self.assertFalse(store.has("k"))
        self.assertEqual(store.read("k"), b"x")
        # Wrappers close what they wrap, also when an exception leaves their block.
        for wrap, data in WRAPPERS:
            with self.assertRaises(ZeroDivisionError):
                with store.create("l") as writer, wrap(writer) as wrapper:
                    wrapper.write(data)
                    wrapper.flush()
                    raise ZeroDivisionError
            self.assertTrue(writer.ended)
            self.assertFalse(store.has("l"))

    def test_what_is_dropped_unclosed_publishes_nothing(self) -> None:
        store = self.open()
        for wrap, data in (*WRAPPERS, (lambda raw: io.TextIOWrapper(io.BufferedWriter(raw)), "half")):
            wrapper = wrap(store.create("k"))
            wrapper.write(data)
            wrapper.flush()
            wrapper.write(data)
            del wrapper
            gc.collect()
            self.assertFalse(store.has("k"))
        store.create("k").write(b"half")
        gc.collect()
        self.assertFalse(store.has("k"))
        for wrap, _ in WRAPPERS:
            wrap(store.create("k", replace=True)).close()
            self.assertEqual(store.read("k"), b"")


class ForwardOnly(io.BufferedIOBase):
    """What a file that cannot seek is given."""

    def __init__(self) -> None:
        self.bytes = bytearray()

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return len(self.bytes)

    def write(self, data: Any) -> int:
        self.bytes += memoryview(data).cast("B")
        return memoryview(data).nbytes


class Errors(Case):
    def test_each_failure_has_its_class_code_and_words(self) -> None:
        store = self.open("errors")
        store.store("k", b"x")
        error = self.fails(vfs.NotFound, -3, store.read, "nope")
        self.assertIsInstance(error, OSError)
        self.assertIsInstance(error, KeyError)
        self.assertIsInstance(error, FileNotFoundError)
        self.assertIn('"nope"', str(error))
        for call in (store.map, store.stat, store.remove):
            self.fails(vfs.NotFound, -3, call, "nope")
        self.assertIsInstance(self.fails(vfs.Exists, -4, store.store, "k", b""), FileExistsError)
        self.assertIsInstance(self.fails(vfs.BadKey, -2, store.read, "a/b"), ValueError)
        self.assertIsInstance(self.fails(vfs.Invalid, -1, vfs.Store, "errors", "not a list"), ValueError)
        self.fails(vfs.Invalid, -1, vfs.Store, "../errors")
        missing = self.fails(vfs.IoError, -8, vfs.Store, "errors", os.path.join(self.dir, "missing"))
        self.assertEqual(missing.errno, errno.ENOENT)
        self.assertIn("missing", str(missing))
        small = self.open("errors", f"{self.second}?max=4K")
        full = self.fails(vfs.NoSpace, -5, small.store, "big", bytes(8192))
        self.assertEqual(full.errno, errno.EDQUOT)
        looker = self.open("errors", read_only=True)
        self.fails(vfs.ReadOnly, -13, looker.store, "l", b"")
        self.fails(vfs.ReadOnly, -13, looker.remove, "k")
        self.fails(vfs.ReadOnly, -13, looker.reap)
        self.assertEqual(looker.read("k"), b"x")

    def test_errno_tells_the_same_where_the_system_was_not_asked(self) -> None:
        store = self.open("errno")
        store.store("k", b"x")
        looker = self.open("errno", read_only=True)
        closed = self.open("errno")
        closed.close()
        failing: list[tuple[int, Callable[[], object]]] = [
            (errno.ENOENT, lambda: store.read("nope")),
            (errno.EEXIST, lambda: store.store("k", b"")),
            (errno.EINVAL, lambda: store.read("a/b")),
            (errno.EINVAL, lambda: store.read("a\0b")),
            (errno.EROFS, lambda: looker.remove("k")),
            (errno.EBADF, lambda: closed.read("k")),
        ]
        for number, call in failing:
            with self.assertRaises(OSError) as caught:
                call()
            self.assertEqual(caught.exception.errno, number)
        # Python has classes of its own for some errnos.
        for kind in set(vfs._ERRORS.values()) - {vfs.Panic}:
            base = next(base for base in kind.__mro__ if base.__module__ == "builtins" and issubclass(base, OSError))
            self.assertIs(type(OSError(kind(-1, None, "").errno, "")), base, kind)
        self.assertIsNone(vfs.Panic(-99, None, "").errno)

    def test_a_store_that_ended_says_so(self) -> None:
        store = self.open()
        store.store("k", b"x")
        listing = store.list()
        store.shutdown()
        store.shutdown()
        self.fails(vfs.Shutdown, -6, store.read, "k")
        self.fails(vfs.Shutdown, -6, listing.__next__)
        self.assertFalse(store.closed)
        store.close()
        store.close()
        store.shutdown()
        self.assertTrue(store.closed)
        calls: list[Callable[[], object]] = [
            lambda: store.store("k", b""),
            lambda: store.read("k"),
            lambda: store.read_into("k", bytearray(1)),
            lambda: store.map("k"),
            lambda: store.has("k"),
            lambda: store.stat("k"),
            lambda: store.remove("k"),
            lambda: store.remove_owned(["k"]),
            lambda: store.create("k"),
            store.list,
            store.reap,
            store.tiers,
        ]
        for call in calls:
            self.fails(vfs.Shutdown, -6, call)
        listing.close()

    def test_running_out_of_descriptors_is_told_by_its_errno(self) -> None:
        store = self.open()
        store.store("k", b"x")
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        try:
            error = self.fails(vfs.Limit, -10, store.read, "k")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        self.assertEqual(error.errno, errno.EMFILE)
        self.assertEqual(store.read("k"), b"x")

    def test_errors_travel_between_processes(self) -> None:
        kinds: dict[int, type[vfs.VfsError]] = {**vfs._ERRORS, -1234: vfs.VfsError}
        for code, kind in kinds.items():
            error = kind(code, errno.EIO, "in words")
            again = pickle.loads(pickle.dumps(error))
            self.assertIs(type(again), kind)
            self.assertEqual((again.code, again.errno, str(again)), (code, errno.EIO, "in words"))
            self.assertEqual(again.strerror, "in words")
            self.assertIn("in words", repr(again))
            self.assertIsInstance(copy.copy(error), kind)

    def test_a_code_that_came_later_is_a_failure_too(self) -> None:
        lib = vfs._library(None)
        with self.assertRaises(vfs.VfsError) as caught:
            vfs._check(lib, -1234)
        self.assertIs(type(caught.exception), vfs.VfsError)
        self.assertEqual(caught.exception.code, -1234)
        self.assertTrue(str(caught.exception))


class Keys(Case):
    def test_an_embedded_nul_is_refused_and_never_cut(self) -> None:
        store = self.open()
        store.store("a", b"of a")
        for key in ("a\0b", b"a\0b", "a\0", "\0"):
            calls: list[Callable[[], object]] = [
                lambda: store.store(key, b"", replace=True),
                lambda: store.read(key),
                lambda: store.read_into(key, bytearray(4)),
                lambda: store.map(key),
                lambda: store.stat(key),
                lambda: store.remove(key),
                lambda: store.remove_owned(["x", key]),
                lambda: store.create(key, replace=True),
            ]
            for call in calls:
                self.assertIsInstance(self.fails(vfs.BadKey, vfs.Code.KEY, call), ValueError)
            self.assertFalse(store.has(key))
            self.assertNotIn(key, store)
            self.assertIsInstance(self.fails(vfs.Invalid, vfs.Code.INVALID, vfs.Store, key), ValueError)
        self.fails(vfs.Invalid, vfs.Code.INVALID, vfs.Store, "n", self.first + "\0,x")
        self.assertEqual(store.read("a"), b"of a")

    def test_what_is_not_a_key_is_refused(self) -> None:
        store = self.open()
        for key in ("", ".", "..", "a/b", "a\\b", "a\nb", "\x7f", "k" * 256, "é" * 128, "\ud800"):
            self.fails(vfs.BadKey, vfs.Code.KEY, store.store, key, b"")
            self.assertFalse(store.has(key))
        for other in (5, None, bytearray(b"k"), pathlib.Path("k")):
            with self.assertRaises(TypeError):
                store.store(other, b"")  # type: ignore[arg-type]
            with self.assertRaises(TypeError):
                store.has(other)  # type: ignore[arg-type]

    def test_every_key_has_one_str_and_one_bytes(self) -> None:
        store = self.open("kéys \udcff")
        names = {
            "k": b"k",
            "k" * 255: b"k" * 255,
            "é": b"\xc3\xa9",
            "\udcff.png": b"\xff.png",
            " ": b" ",
            "%2C": b"%2C",
        }
        for text, raw in names.items():
            store.store(text, raw)
            self.assertEqual(store.read(raw), raw)
            self.assertTrue(store.has(raw))
        self.assertEqual({entry.key for entry in store.list()}, set(names))
        for entry in store.list():
            self.assertEqual(store.read(entry.key), names[entry.key])


class Asking(Case):
    def test_stat_and_listing_tell_the_same(self) -> None:
        store = self.open("ask")
        before = time.time_ns()
        store.store("owned", b"12345")
        store.store("kept", b"123", persist=True)
        with store.create("written", persist=True) as writer:
            writer.write(b"1")
        other = self.open("ask")
        other.store("other", b"")
        stats = {entry.key: entry.stat for entry in store.list()}
        self.assertEqual(set(stats), {"owned", "kept", "written", "other"})
        self.assertEqual({key: store.stat(key) for key in stats}, stats)
        self.assertEqual({k for k, s in stats.items() if s.owned}, {"owned"})
        self.assertEqual({k for k, s in stats.items() if s.persistent}, {"kept", "written"})
        self.assertEqual({k for k, s in stats.items() if s.orphan}, set())
        self.assertEqual({k: s.size for k, s in stats.items()}, {"owned": 5, "kept": 3, "written": 1, "other": 0})
        self.assertEqual(len({s.id for s in stats.values()}), 4)
        for stat in stats.values():
            self.assertLess(abs(stat.stored_at_ns - before), 60 * 10**9)
        self.assertIn("kept", other)
        store.remove("kept")
        store.remove("written")

    def test_a_listing_ends_once_and_may_be_left(self) -> None:
        store = self.open()
        for i in range(100):
            store.store(f"k{i}", b"")
        self.assertEqual(sorted(e.key for e in store.list()), sorted(f"k{i}" for i in range(100)))
        with store.list() as listing:
            next(listing)
        for ended in (listing, store.list()):
            for _ in ended:
                pass
            with self.assertRaises(StopIteration):
                next(ended)
        self.assertEqual(list(self.open("another").list()), [])

    def test_tiers_tell_where_blobs_went(self) -> None:
        store = self.open("tiers", f"{self.first}?max=4K,{self.second},memory")
        store.store("a", bytes(4096))
        store.store("b", bytes(8192))
        first, second, memory = store.tiers()
        self.assertEqual((first.dir, second.dir, memory.dir), (self.first, self.second, None))
        self.assertIn(first.kind, ("dir", "shm"))
        self.assertEqual(memory.kind, "memory")
        self.assertEqual((first.blobs, first.bytes, first.stored, first.refused), (1, 4096, 1, 1))
        self.assertEqual((second.blobs, second.bytes, second.stored, second.refused), (1, 8192, 1, 0))
        self.assertTrue(first.usable and second.usable)
        self.assertEqual((first.last_errno, second.last_errno), (errno.EDQUOT, 0))
        self.assertGreater(first.total_bytes, first.free_bytes)
        self.assertEqual((store.stat("a").tier, store.stat("b").tier), (0, 1))

    def test_the_log_hears_of_a_tier_that_refuses(self) -> None:
        heard: list[tuple[int, str, int]] = []
        stores: list[vfs.Store] = []

        def log(level: int, message: str) -> None:
            # It may use the store.
            here = stores[0].has("small") if stores else False
            heard.append((level, message, threading.get_ident()))
            self.assertTrue(here)

        store = self.open("log", f"{self.first}?max=4K,{self.second}", log=log)
        stores.append(store)
        store.store("small", b"x")
        gc.collect()
        store.store("big", bytes(8192))
        self.assertEqual([(level, who) for level, _, who in heard], [(logging.WARNING, threading.get_ident())])
        self.assertIn(self.first, heard[0][1])
        with self.assertLogs("vfs.test", logging.WARNING) as logs:
            other = self.open("log", f"{self.first}?max=4K,{self.second}", log=logging.getLogger("vfs.test").log)
            other.store("other", bytes(8192))
        self.assertEqual(len(logs.records), 1)

    def test_a_log_that_raises_fails_no_call(self) -> None:
        raised: list[Any] = []

        def log(level: int, message: str) -> None:
            raise ZeroDivisionError

        hook, sys.unraisablehook = sys.unraisablehook, lambda what: raised.append(what.exc_type)
        try:
            store = self.open("log", f"{self.first}?max=4K,{self.second}", log=log)
            store.store("big", bytes(8192))
        finally:
            sys.unraisablehook = hook
        self.assertEqual(raised, [ZeroDivisionError])
        self.assertEqual(store.stat("big").size, 8192)


class Lifetimes(Case):
    def test_blobs_go_with_their_store_but_persistent_ones_stay(self) -> None:
        reader = self.open("life")
        with vfs.Store("life") as store:
            store.store("owned", b"x")
            store.store("kept", b"y", persist=True)
            self.assertEqual(reader.read("owned"), b"x")
        self.assertFalse(reader.has("owned"))
        self.assertEqual(reader.read("kept"), b"y")
        reader.remove("kept")
        self.assertFalse(reader.has("kept"))
        vfs.Store("life").store("dropped", b"z")
        self.assertFalse(reader.has("dropped"))

    def test_remove_owned_leaves_the_blobs_of_others(self) -> None:
        mine, other = self.open("life"), self.open("life")
        mine.store("mine", b"")
        other.store("other", b"")
        mine.remove_owned([])
        mine.remove_owned(key for key in ("mine", b"other", "nobody"))
        self.assertEqual([e.key for e in mine.list()], ["other"])
        with self.assertRaises(TypeError):
            mine.remove_owned("other")
        mine.remove("other")
        self.fails(vfs.NotFound, vfs.Code.NOT_FOUND, mine.remove, "other")

    def test_what_a_killed_owner_left_is_reaped(self) -> None:
        store = self.open("killed")
        owner = self.owner(
            """
            import sys, vfs
            store = vfs.Store("killed")
            store.store("k", b"x" * 10_000)
            store.store("kept", b"kept", persist=True)
            writer = store.create("draft"); writer.write(b"half")
            print("ready", flush=True); sys.stdin.read()
            """
        )
        self.assertFalse(store.stat("k").orphan)
        self.assertEqual(store.reap(), 0)
        view = store.map("k").data
        owner.send_signal(signal.SIGKILL)
        self.assertEqual(self.end(owner), -signal.SIGKILL)
        self.assertTrue(store.stat("k").orphan)
        self.assertTrue(next(e for e in store.list() if e.key == "k").stat.orphan)
        self.assertEqual(store.reap(), 2)
        self.assertFalse(store.has("k"))
        self.assertEqual(view, b"x" * 10_000)
        self.assertEqual([e.key for e in store.list()], ["kept"])
        store.remove("kept")
        self.assertEqual(store.reap(), 0)

    def test_a_process_that_ends_without_close_leaves_nothing(self) -> None:
        store = self.open("ends")
        ends = (
            "",
            "raise SystemExit(0)",
            "import atexit; atexit.register(lambda: store.has('k'))",
            # The interpreter does not wait for it, and so never frees the store.
            "import threading, time; threading.Thread(target=lambda s: time.sleep(99), args=[store], daemon=True).start()",
        )
        for end in ends:
            done = self.script(f"import vfs; store = vfs.Store('ends'); store.store('k', b'x')\n{end}")
            self.assertEqual(done, (0, "", ""))
            self.assertFalse(store.has("k"))
            self.assertEqual(store.reap(), 0)

    def test_a_cycle_of_store_and_log_is_collected(self) -> None:
        class Host:
            def __init__(self) -> None:
                self.store = vfs.Store("cycle", log=self.log)
                self.store.store("k", b"x")

            def log(self, level: int, message: str) -> None:
                pass

            def __del__(self) -> None:
                try:
                    ended.append(self.store.read("k"))
                except vfs.Shutdown:
                    ended.append(b"")

        ended: list[bytes] = []
        Host()
        gc.collect()
        self.assertEqual(len(ended), 1)
        self.assertFalse(self.open("cycle").has("k"))


def in_spawned(name: str, tiers: str, pipe: multiprocessing.connection.Connection) -> None:
    with vfs.Store(name, tiers) as store:
        with store.map("parent's") as view:
            store.store("child's", bytes(view)[::-1])
        pipe.send(sorted(e.key for e in store.list()))
        pipe.recv()
        try:
            store.read("nobody")
        except vfs.NotFound as e:
            pipe.send(e)


kept: list[vfs.Store] = []


def open_for_good(name: str, tiers: str) -> None:
    """What begins a worker of a pool."""
    kept.append(vfs.Store(name, tiers))


def store_in_worker(key: str) -> bool:
    kept[0].store(key, b"by a worker")
    return kept[0].has(key)


class Processes(Case):
    def forked(self, child: Callable[[], object]) -> None:
        """Runs a function in a forked child; its exceptions fail the test."""
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                child()
                status = 0
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(status)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)

    def test_a_forked_child_reads_through_what_it_inherited(self) -> None:
        store = self.open("fork")
        store.store("k", sample(PAGE + 1))
        view = store.map("k")
        writer, listing = store.create("w"), store.list()
        writer.write(b"by the parent")

        def child() -> None:
            self.assertEqual(store.read("k"), sample(PAGE + 1))
            self.assertEqual(bytes(view), sample(PAGE + 1))
            self.assertEqual(store.map("k").data, sample(PAGE + 1))
            self.assertEqual([e.key for e in store.list()], ["k"])
            self.assertFalse(store.has("nobody"))
            calls: list[Callable[[], object]] = [
                lambda: store.store("l", b""),
                lambda: store.remove("k"),
                lambda: store.create("l"),
                store.reap,
                store.shutdown,
                lambda: writer.write(b"x"),
                lambda: next(listing),
            ]
            for call in calls:
                self.fails(vfs.Forked, vfs.Code.FORKED, call)
            view.release()
            writer.abort()
            listing.close()
            store.close()
            gc.collect()

        self.forked(child)
        self.assertEqual(store.read("k"), sample(PAGE + 1))
        self.assertEqual(bytes(view), sample(PAGE + 1))
        writer.seal()
        self.assertEqual(store.read("w"), b"by the parent")
        listing.close()
        del view

    def test_a_forked_child_that_leaves_by_exit_removes_nothing(self) -> None:
        done = self.script(
            """
            import os, sys, vfs
            store = vfs.Store("fork")
            store.store("k", b"x")
            writer = store.create("w")
            pid = os.fork()
            if pid == 0:
                sys.exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            assert store.read("k") == b"x"
            writer.seal()
            """
        )
        self.assertEqual(done, (0, "", ""))

    def test_a_forked_child_opens_a_store_of_its_own(self) -> None:
        store = self.open("fork")
        store.store("k", b"x")

        def child() -> None:
            with vfs.Store("fork") as own:
                own.store("child's", b"y", persist=True)
                own.store("owned", b"z")
                self.assertEqual(own.read("k"), b"x")
                self.assertEqual(store.read("owned"), b"z")

        self.forked(child)
        self.assertEqual(store.read("child's"), b"y")
        self.assertFalse(store.has("owned"))
        store.remove("child's")

    def test_multiprocessing_by_fork_and_spawn_shares_by_key(self) -> None:
        store = self.open("many")
        store.store("parent's", b"abc")
        for method in ("fork", "spawn"):
            with self.subTest(method=method):
                context: Any = multiprocessing.get_context(method)
                here, there = context.Pipe()
                process = context.Process(target=in_spawned, args=("many", self.tiers, there))
                process.start()
                there.close()
                self.assertEqual(here.recv(), ["child's", "parent's"])
                self.assertEqual(store.read("child's"), b"cba")
                here.send(None)
                error = here.recv()
                self.assertIsInstance(error, vfs.NotFound)
                self.assertIn("nobody", str(error))
                here.close()
                process.join()
                self.assertEqual(process.exitcode, 0)
                process.close()
                self.assertFalse(store.has("child's"))


    def test_a_worker_that_ends_with_its_store_open_leaves_nothing(self) -> None:
        store = self.open("pool")
        for method in ("fork", "spawn"):
            with self.subTest(method=method):
                context: Any = multiprocessing.get_context(method)
                with context.Pool(1, open_for_good, ("pool", self.tiers)) as pool:
                    self.assertEqual(pool.map(store_in_worker, ["a", "b"]), [True, True])
                    self.assertEqual(store.read("a"), b"by a worker")
                    pool.close()
                    pool.join()
                self.assertEqual([entry.key for entry in store.list()], [])
                self.assertEqual(store.reap(), 0)

    def test_a_worker_whose_threads_go_on_keeps_its_store(self) -> None:
        done = self.script(
            """
            import multiprocessing, threading, vfs
            def serve(store, pipe):
                pipe.recv()
                store.store("late", b"x")
                pipe.send(store.read("late"))
            def work(pipe):
                threading.Thread(target=serve, args=(vfs.Store("late"), pipe)).start()
            context = multiprocessing.get_context("fork")
            here, there = context.Pipe()
            process = context.Process(target=work, args=(there,))
            process.start()
            process.join(0.5)
            here.send(None)
            assert here.recv() == b"x"
            process.join()
            assert process.exitcode == 0
            """
        )
        self.assertEqual(done, (0, "", ""))
        self.assertEqual(self.open("late").reap(), 0)


class Threads(Case):
    def together(self, count: int, work: Callable[[int], object]) -> list[object]:
        """What each of so many threads, started at once, returned or raised."""
        results: list[object] = [None] * count
        start = threading.Barrier(count)

        def run(i: int) -> None:
            start.wait()
            try:
                results[i] = work(i)
            except BaseException as e:
                e.__traceback__ = None
                results[i] = e

        threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    def test_one_of_many_threads_stores_a_key(self) -> None:
        store = self.open()
        for turn in range(20):
            results = self.together(8, lambda i: store.store(f"k{turn}", bytes([i]) * 1000))
            winners = [i for i, result in enumerate(results) if result is None]
            self.assertEqual(len(winners), 1, results)
            self.assertEqual(sum(isinstance(result, vfs.Exists) for result in results), 7, results)
            self.assertEqual(store.read(f"k{turn}"), bytes([winners[0]]) * 1000)

    def test_each_thread_has_its_own_error(self) -> None:
        store = self.open()

        def work(i: int) -> None:
            for turn in range(200):
                try:
                    store.read(f"key-{i}-{turn}")
                except vfs.NotFound as e:
                    self.assertIn(f'"key-{i}-{turn}"', str(e))

        self.assertEqual(self.together(4, work), [None] * 4)

    def test_readers_never_miss_a_key_that_is_replaced(self) -> None:
        store = self.open()
        store.store("k", b"0" * 5000)
        done = threading.Event()

        def work(i: int) -> None:
            if i == 0:
                for turn in range(300):
                    store.store("k", b"%d" % (turn % 10) * (1000 + turn * 37 % 9000), replace=True)
                done.set()
            while not done.is_set():
                data = store.read("k")
                self.assertEqual(data, data[:1] * len(data))
                with store.map("k") as view:
                    self.assertEqual(bytes(view), bytes(view[:1]) * len(view))

        self.assertEqual(self.together(3, work), [None] * 3)

    def test_a_store_is_closed_while_others_use_it(self) -> None:
        for _ in range(20):
            store = self.open()
            store.store("k", sample(PAGE))

            def work(i: int) -> None:
                if i == 0:
                    time.sleep(0.005)
                    store.close()
                turn = 0
                while True:
                    turn += 1
                    if i == 1:
                        store.store(f"{i}-{turn}", b"x")
                    elif i == 2:
                        store.tiers()
                        list(store.list())
                    elif i == 3:
                        with store.create(f"{i}-{turn}") as writer:
                            writer.write(b"x")
                    else:
                        self.assertEqual(store.map("k").data, sample(PAGE))

            for result in self.together(5, work):
                # A reader may find that the keys went first.
                self.assertIsInstance(result, (vfs.Shutdown, vfs.NotFound))

    def test_other_threads_run_while_a_call_waits(self) -> None:
        store = self.open("busy", self.first)
        store.store("k", b"x")
        # As a stopped process would, hold every key's lock.
        path = os.path.join(self.first, f"vfs1-{os.getuid()}", "\\lock")
        with open(path, "rb+") as lock:
            fcntl.fcntl(lock, fcntl.F_OFD_SETLK, struct.pack("hhlli4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
            ticks = 0
            ended = threading.Event()
            errors: list[vfs.VfsError] = []

            def wait() -> None:
                errors.append(self.fails(vfs.Busy, vfs.Code.BUSY, store.remove, "k"))
                ended.set()

            waiter = threading.Thread(target=wait)
            waiter.start()
            while not ended.wait(0.01):
                ticks += 1
            waiter.join()
        self.assertGreater(ticks, 50)
        self.assertIsInstance(errors[0], TimeoutError)
        store.remove("k")

    def test_a_writer_is_one_callers_at_a_time(self) -> None:
        writers: list[vfs.Writer] = []
        refused: list[BaseException] = []

        def log(level: int, message: str) -> None:
            try:
                writers[0].write(b"from within")
            except RuntimeError as e:
                refused.append(e)

        store = self.open("grow", f"{self.first}?max=4K,{self.second}", log=log)
        with store.create("k") as writer:
            writers.append(writer)
            writer.write(bytes(8192))
        self.assertEqual(len(refused), 1)
        self.assertEqual(store.read("k"), bytes(8192))


class Interrupts(Case):
    """An interrupt that comes during a call into the library is raised when that returns, with what it made in hand."""

    @contextlib.contextmanager
    def during(self, owner: object, name: str) -> Iterator[None]:
        real = getattr(owner, name)

        def interrupted(*args: object) -> None:
            real(*args)
            raise KeyboardInterrupt

        with mock.patch.object(owner, name, interrupted), self.assertRaises(KeyboardInterrupt):
            yield

    def test_what_an_interrupted_call_made_is_given_back(self) -> None:
        store = self.open()
        store.store("k", b"bytes")
        before = descriptors()
        calls: dict[str, Callable[[], object]] = {
            "vfs_open": lambda: vfs.Store("other"),
            "vfs_create": lambda: store.create("new"),
            "vfs_map": lambda: store.map("k"),
            "vfs_list_open": store.list,
        }
        for name, call in calls.items():
            with self.subTest(name):
                with self.during(store._lib, name):
                    call()
                gc.collect()
                self.assertEqual((descriptors(), mapped(self.dir)), (before, 0))

    def test_the_bytes_of_an_interrupted_call_are_let_go(self) -> None:
        store, data = self.open(), bytearray(b"bytes")
        with self.during(vfs, "_get_buffer"):
            store.store("k", data)
        data.append(0)  # which is a BufferError while anybody looks at them
        self.assertFalse(store.has("k"))

    def test_a_block_that_an_interrupt_leaves_ends_its_writer(self) -> None:
        store = self.open()
        store.store("other", b"")  # which opens what stays open
        before = descriptors()
        with self.assertRaises(KeyboardInterrupt), store.create("k") as writer:
            # As an interrupt leaves it that comes right after this.
            writer._turn.acquire()
            raise KeyboardInterrupt
        self.assertTrue(writer.ended)
        self.assertEqual((descriptors(), store.has("k")), (before, False))

    def test_a_block_that_an_exception_leaves_frees_nothing_under_another_threads_call(self) -> None:
        store = self.open()
        store.store("other", b"")
        before = descriptors()
        begun, go_on = threading.Event(), threading.Event()
        self.addCleanup(go_on.set)
        real, answers = store._lib.vfs_write, []

        def waits(*args: Any) -> int:
            begun.set()
            go_on.wait()
            answers.append(real(*args))
            return 0

        with mock.patch.object(store._lib, "vfs_write", waits):
            with self.assertRaises(KeyError), store.create("k") as writer:
                thread = threading.Thread(target=writer.write, args=(b"bytes",))
                thread.start()
                begun.wait()
                raise KeyError
            go_on.set()
            thread.join()
        self.assertEqual((answers, descriptors(), store.has("k")), ([0], before, False))


class Binding(Case):
    def header(self) -> str:
        return (HERE.parent.parent / "include" / "vfs.h").read_text()

    def test_every_function_of_the_header_is_bound_as_it_is_declared(self) -> None:
        text = re.sub(r"/\*.*?\*/", "", self.header(), flags=re.S)
        declared = dict(re.findall(r"^[\w ]+?\*?(vfs_\w+)\(([^)]*)\);", text, flags=re.M))
        self.assertGreater(len(declared), 20)
        bound = {name: len(types) - 1 for name, types in vfs._FUNCTIONS.items()}
        counted = {name: 0 if args == "void" else args.count(",") + 1 for name, args in declared.items()}
        self.assertEqual(bound, counted)

    def test_every_code_of_the_header_has_its_class(self) -> None:
        codes = {name: int(code) for name, code in re.findall(r"^  VFS_ERR_(\w+) = (-\d+),", self.header(), flags=re.M)}
        self.assertEqual({code.name: int(code) for code in vfs.Code if code != 0}, codes)
        self.assertEqual(set(vfs._ERRORS), set(codes.values()))
        for kind in vfs._ERRORS.values():
            self.assertIn(kind.__name__, vfs.__all__)

    def test_structs_are_as_large_as_the_librarys(self) -> None:
        store = self.open()
        store.store("k", b"")
        stat = vfs._new_stat()
        vfs._check(store._lib, store._call(store._lib.vfs_stat, b"k", ctypes.byref(stat)))
        self.assertEqual(stat.struct_size, ctypes.sizeof(stat))
        tier = vfs._TierStat(struct_size=ctypes.sizeof(vfs._TierStat))
        vfs._check(store._lib, store._call(store._lib.vfs_tier_stat, 0, ctypes.byref(tier)))
        self.assertEqual(tier.struct_size, ctypes.sizeof(tier))

    def test_the_library_is_found_by_argument_environment_or_search(self) -> None:
        path = os.environ["VFS_LIBRARY"]
        self.assertRegex(vfs.version(), r"^\d+\.\d+\.\d+$")
        self.assertEqual(vfs.version(path), vfs.version(pathlib.Path(path)))
        self.assertEqual(self.open("k", library=path).tiers()[0].dir, self.first)
        ask = f"exec(open({str(HERE / 'vfs.py')!r}).read()); print(version())"
        self.assertEqual(self.script(ask)[:2], (0, vfs.version() + "\n"))
        ask = "import vfs; print(vfs.version())"
        found = self.script(ask, VFS_LIBRARY="", LD_LIBRARY_PATH=os.path.dirname(path))
        self.assertEqual(found, (0, vfs.version() + "\n", ""))
        # A copy of both in a directory: that library is taken, before what the system would find.
        beside = pathlib.Path(self.dir, "beside")
        beside.mkdir()
        shutil.copy(HERE / "vfs.py", beside)
        where = """
            import pathlib, vfs
            vfs.version()
            print({line.split()[-1] for line in pathlib.Path("/proc/self/maps").read_text().splitlines() if "libvfs" in line})
        """
        for library, expected in ((None, path), (path, beside / "libvfs.so")):
            if library is not None:
                shutil.copy(library, beside / "libvfs.so")
            env = {"PYTHONPATH": str(beside), "VFS_LIBRARY": "", "LD_LIBRARY_PATH": os.path.dirname(path)}
            code, said, complained = self.script(where, **env)
            self.assertEqual((code, complained), (0, ""))
            loaded = [os.path.realpath(name) for name in re.findall(r"'(.+?)'", said)]
            self.assertEqual(loaded, [os.path.realpath(expected)])
        code, said, _ = self.script(where, PYTHONPATH=str(beside), VFS_LIBRARY=path)
        self.assertEqual(re.findall(r"'(.+?)'", said), [os.path.realpath(path)])
        shutil.rmtree(beside)
        code, _, said = self.script("import vfs; vfs.version('/nowhere/libvfs.so')")
        self.assertEqual(code, 1)
        self.assertIn("/nowhere/libvfs.so", said)
        code, _, said = self.script("import vfs; vfs.version('libc.so.6')")
        self.assertEqual(code, 1)
        self.assertIn("not libvfs", said)

    def test_nothing_piles_up(self) -> None:
        store = self.open()
        store.store("k", sample(PAGE))

        def use() -> None:
            for i in range(200):
                with store.map("k") as view:
                    bytes(view)
                store.read("k", i)
                with store.create("w", replace=True) as writer:
                    writer.reserve(10 + i)
                store.create("x").abort()
                next(store.list())
                with self.assertRaises(vfs.NotFound):
                    store.read("nope")
            gc.collect()

        use()
        before, objects = descriptors(), len(gc.get_objects())
        use()
        self.assertEqual(descriptors(), before)
        self.assertLess(len(gc.get_objects()) - objects, 100)


if __name__ == "__main__":
    unittest.main()
