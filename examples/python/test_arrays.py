"""Tests of vfs.py with NumPy, Arrow and Pillow: nothing is copied, and memory stays for as long as it is shown.

VFS_LIBRARY=target/debug/libvfs.so python3 examples/python/test_arrays.py
"""

from __future__ import annotations

import gc
import io
import itertools
import os
import pathlib
import pickle
import threading
import unittest
import weakref
from typing import Any, Callable

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet

import vfs
from test_vfs import Case, mapped, setUpModule

__all__ = ["setUpModule"]

ROWS = 50_000


def table() -> Any:
    numbers = np.arange(ROWS, dtype="f8")
    words = [None if i % 7 == 0 else f"word {i % 100}" for i in range(ROWS)]
    return pa.table({"number": numbers, "word": words})


def buffers(columns: Any) -> list[Any]:
    """All memory that a table lies in."""
    found = (buffer for column in columns.columns for chunk in column.chunks for buffer in chunk.buffers())
    return [buffer for buffer in found if buffer is not None and buffer.size]


class Shown(Case):
    def assert_in_place(self, address: int, size: int) -> None:
        """The kernel knows this memory as a mapping of a file of the store."""
        for line in pathlib.Path("/proc/self/maps").read_text().splitlines():
            if self.dir in line:
                start, end = (int(part, 16) for part in line.split()[0].split("-"))
                if start <= address and address + size <= end:
                    return
        self.fail(f"{size} bytes at {address:#x} are not a blob's")

    def filled(self, name: str | None = None) -> vfs.Store:
        """A store with an array and a table."""
        store = self.open(name)
        store.store("array", np.arange(ROWS, dtype="f8"))
        with store.create("table") as writer, pa.ipc.new_file(writer, table().schema) as file:
            file.write_table(table(), max_chunksize=20_000)
        return store


class NumPy(Shown):
    def test_an_array_over_a_view_is_the_blob_itself(self) -> None:
        store = self.filled()
        view = store.map("array")
        array = np.frombuffer(view.data, "f8")
        self.assertTrue(np.array_equal(array, np.arange(ROWS)))
        self.assert_in_place(array.ctypes.data, array.nbytes)
        self.assertEqual(array.ctypes.data, np.frombuffer(view.data[80:], "f8").ctypes.data - 80)
        self.assertEqual(array.ctypes.data % 64, 0)
        for shown in (array, np.asarray(view.data), np.ndarray((ROWS // 2, 2), "f8", view.data)):
            self.assert_in_place(shown.ctypes.data, shown.nbytes)
            self.assertFalse(shown.flags.writeable or shown.flags.owndata)
            with self.assertRaises(ValueError):
                shown[0] = 1
        with self.assertRaises(ValueError):
            array.flags.writeable = True
        self.assertEqual(mapped(self.dir), 1)
        del array, shown, view
        self.assertEqual(mapped(self.dir), 0)

    def test_arrays_of_every_shape_and_type_are_stored_as_they_lie(self) -> None:
        store = self.open()
        arrays = [
            np.arange(24, dtype="i2").reshape(2, 3, 4),
            np.zeros((0, 5)),
            np.array(3.5),
            np.array([1 + 2j, 3], "c16"),
            np.array([True, False]),
            np.array([(1, 2.5)], [("a", "i4"), ("b", "f8")]),
            np.arange(10, dtype=">u4"),
            np.frombuffer(b"read-only", "u1"),
        ]
        for i, array in enumerate(arrays):
            with self.subTest(array=array):
                store.store(f"s{i}", array)
                with store.create(f"w{i}") as writer:
                    self.assertEqual(writer.write(array), array.nbytes)
                for key in (f"s{i}", f"w{i}"):
                    self.assertEqual(store.read(key), array.tobytes())
                into = np.empty_like(array)
                self.assertEqual(store.read_into(f"s{i}", into), array.nbytes)
                self.assertEqual(into.tobytes(), array.tobytes())
        for pieces in (np.arange(10)[::2], np.arange(6).reshape(2, 3).T):
            with self.assertRaisesRegex(BufferError, "in one piece"):
                store.store("k", pieces)
            store.store("k", bytes(pieces), replace=True)
            self.assertEqual(store.read("k"), pieces.tobytes())

    def test_an_array_is_filled_in_reserved_memory(self) -> None:
        store = self.open()
        with store.create("k", ROWS * 8) as writer:
            array = np.frombuffer(writer.reserve(ROWS * 8), "f8")
            np.multiply(np.arange(ROWS), 0.5, out=array)
            with self.assertRaisesRegex(BufferError, "still in use"):
                writer.write(b"")
            del array
        with store.map("k") as view:
            self.assertTrue(np.array_equal(np.frombuffer(view.data), np.arange(ROWS) / 2))

    def test_arrays_out_of_band_of_a_pickle_are_not_copied(self) -> None:
        store = self.open()
        arrays: list[pickle.PickleBuffer] = []
        head = pickle.dumps({"x": np.arange(ROWS), "y": "text"}, protocol=5, buffer_callback=arrays.append)
        store.store("head", head)
        store.store("x", arrays[0])
        value = pickle.loads(store.read("head"), buffers=[store.map("x").data])
        self.assertEqual(value["y"], "text")
        self.assertTrue(np.array_equal(value["x"], np.arange(ROWS)))
        self.assert_in_place(value["x"].ctypes.data, value["x"].nbytes)
        del value
        self.assertEqual(mapped(self.dir), 0)

    def test_numpy_and_pillow_save_to_a_writer(self) -> None:
        store = self.open()
        array = np.arange(ROWS, dtype="f8").reshape(-1, 10)
        with store.create("k.npy") as writer:
            np.save(writer, array)
        with store.create("k.npz") as writer:
            np.savez(writer, x=array)
        with store.create("k.csv") as writer:
            np.savetxt(writer, array[:5], "%g")
        self.assertTrue(np.array_equal(np.load(io.BytesIO(store.read("k.npy"))), array))
        self.assertTrue(np.array_equal(np.load(io.BytesIO(store.read("k.npz")))["x"], array))
        self.assertTrue(np.array_equal(np.loadtxt(io.BytesIO(store.read("k.csv"))), array[:5]))
        pixels = np.arange(48 * 64 * 3).astype("u1").reshape(48, 64, 3)
        for kind in ("PNG", "BMP"):
            with store.create(kind) as writer:
                PIL.Image.fromarray(pixels).save(writer, kind)
            with PIL.Image.open(io.BytesIO(store.read(kind))) as image:
                self.assertTrue(np.array_equal(np.asarray(image), pixels))


class Arrow(Shown):
    def test_a_table_over_a_view_is_the_blob_itself(self) -> None:
        store = self.filled()
        view = store.map("table")
        buffer = pa.py_buffer(view.data)
        self.assertFalse(buffer.is_mutable)
        self.assertEqual(buffer.address, np.frombuffer(view.data, "u1").ctypes.data)
        self.assertEqual(buffer.size, len(view))
        before = pa.total_allocated_bytes()
        with pa.ipc.open_file(buffer) as file:
            self.assertEqual(file.num_record_batches, 3)
            shown = file.read_all()
        self.assertEqual(pa.total_allocated_bytes(), before)
        self.assertTrue(shown.equals(table()))
        self.assertGreater(len(buffers(shown)), 10)
        for part in buffers(shown):
            self.assert_in_place(part.address, part.size)
        numbers = shown["number"].chunk(1).to_numpy(zero_copy_only=True)
        self.assert_in_place(numbers.ctypes.data, numbers.nbytes)
        del view, buffer, file, shown, part
        self.assertEqual(mapped(self.dir), 1)
        self.assertEqual(numbers[5], 20_005.0)
        del numbers
        self.assertEqual(mapped(self.dir), 0)

    def test_every_way_of_arrow_reads_a_view_in_place(self) -> None:
        store = self.filled()
        with store.create("stream") as writer, pa.ipc.new_stream(writer, table().schema) as stream:
            stream.write_table(table())
        opens: dict[str, Callable[[Any], Any]] = {
            "table": lambda buffer: pa.ipc.open_file(pa.BufferReader(buffer)).read_all(),
            "stream": lambda buffer: pa.ipc.open_stream(buffer).read_all(),
        }
        for key, read in opens.items():
            shown = read(store.map(key).data)
            self.assertTrue(shown.equals(table()))
            for part in buffers(shown):
                self.assert_in_place(part.address, part.size)
            del shown, part
        array = pa.Array.from_buffers(pa.float64(), ROWS, [None, pa.py_buffer(store.map("array").data)])
        self.assert_in_place(array.buffers()[1].address, ROWS * 8)
        self.assertEqual(array[7].as_py(), 7.0)
        del array
        self.assertEqual(mapped(self.dir), 0)

    def test_arrow_buffers_are_stored_without_a_detour(self) -> None:
        store = self.filled()
        for key, data in (("b", pa.py_buffer(b"bytes")), ("m", pa.py_buffer(store.map("table").data))):
            store.store(key, data)
            with store.create(key + "w") as writer:
                writer.write(data)
            self.assertEqual(store.read(key), data.to_pybytes())
            self.assertEqual(store.read(key + "w"), data.to_pybytes())

    def test_a_table_is_written_into_reserved_memory(self) -> None:
        store = self.open()
        size = pa.MockOutputStream()
        with pa.ipc.new_stream(size, table().schema) as stream:
            stream.write_table(table())
        with store.create("k", size.size()) as writer:
            sink = pa.FixedSizeBufferWriter(pa.py_buffer(writer.reserve(size.size())))
            with pa.ipc.new_stream(sink, table().schema) as stream:
                stream.write_table(table())
            del sink, stream
        self.assertEqual(store.stat("k").size, size.size())
        self.assertTrue(pa.ipc.open_stream(store.map("k").data).read_all().equals(table()))

    def test_arrow_writes_to_a_writer(self) -> None:
        store = self.open()
        with store.create("k.parquet") as writer:
            pyarrow.parquet.write_table(table(), writer)
        with pyarrow.parquet.ParquetFile(pa.py_buffer(store.map("k.parquet").data)) as file:
            self.assertTrue(file.read().equals(table()))
        with store.create("k.gz") as writer, pa.CompressedOutputStream(writer, "gzip") as packed:
            packed.write(b"text")
        self.assertEqual(pa.CompressedInputStream(pa.BufferReader(store.read("k.gz")), "gzip").read(), b"text")
        del file

    def test_a_table_that_fails_on_its_way_is_given_up(self) -> None:
        store = self.open()
        with self.assertRaises(pa.ArrowInvalid):
            with store.create("k") as writer, pa.ipc.new_file(writer, table().schema) as file:
                file.write_table(table())
                file.write_table(pa.table({"another": [1]}))
        self.assertTrue(writer.ended)
        self.assertFalse(store.has("k"))
        small = self.open("full", f"{self.first}?max=64K")
        with self.assertRaises(vfs.NoSpace):
            with small.create("k") as writer, pa.ipc.new_file(writer, table().schema) as file:
                file.write_table(table())
        self.assertFalse(small.has("k"))


class Release(Shown):
    def test_in_any_order(self) -> None:
        held: dict[str, Callable[[vfs.View], Any]] = {
            "view": lambda view: view,
            "slice": lambda view: view.data[8:16],
            "array": lambda view: np.frombuffer(view.data, "f8")[1:],
            "arrow": lambda view: pa.Array.from_buffers(pa.float64(), 1000, [None, pa.py_buffer(view.data)])[1:],
        }
        first: dict[str, Callable[[Any], object]] = {
            "view": lambda view: view.data[8:16].cast("d")[0],
            "slice": lambda part: part.cast("d")[0],
            "array": lambda array: array[0],
            "arrow": lambda array: array[0].as_py(),
        }
        for order in itertools.permutations([*held, "key", "store"]):
            store = self.open()
            store.store("k", np.arange(1000, dtype="f8"))
            view = store.map("k")
            things = {name: make(view) for name, make in held.items()}
            del view
            for step in order:
                self.assertEqual(mapped(self.dir), 1 if things else 0, (order, step))
                for name, thing in things.items():
                    self.assertEqual(first[name](thing), 1.0)
                    thing = None
                if step == "store":
                    store.close()
                elif step == "key":
                    if not store.closed:
                        store.remove("k")
                elif step == "view":
                    things.pop(step).release()
                else:
                    del things[step]
            self.assertEqual(mapped(self.dir), 0, order)

    def test_in_a_cycle_of_garbage(self) -> None:
        store = self.filled()
        read: list[float] = []

        class Keeper:
            def __init__(self) -> None:
                self.me = self
                view = store.map("table")
                self.array = np.frombuffer(store.map("array").data)
                self.table = pa.ipc.open_file(view.data).read_all()
                self.view = view
                # Before the finalizer, and when the array itself goes.
                weakref.finalize(self, lambda array: read.append(array[3]), self.array)

            def __del__(self) -> None:
                read.extend((self.array[1], self.table["number"][2].as_py(), float(len(self.view))))

        Keeper()
        size = float(store.stat("table").size)
        gc.collect()
        gc.collect()
        self.assertEqual(sorted(read), [1.0, 2.0, 3.0, size])
        self.assertEqual(mapped(self.dir), 0)

    def test_in_another_thread(self) -> None:
        store = self.filled()
        things = [np.frombuffer(store.map("array").data), pa.ipc.open_file(store.map("table").data).read_all()]
        thread = threading.Thread(target=things.clear)
        thread.start()
        thread.join()
        self.assertEqual(mapped(self.dir), 0)

    def test_in_a_forked_child(self) -> None:
        store = self.filled()
        array = np.frombuffer(store.map("array").data)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                ok = array[7] == 7.0 and np.frombuffer(store.map("array").data)[8] == 8.0
                del array
                status = 0 if ok and mapped(self.dir) == 0 else 1
            finally:
                os._exit(status)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        self.assertEqual(array[7], 7.0)

    def test_as_the_interpreter_ends(self) -> None:
        before = """
            import atexit, builtins, gc, sys, threading, time
            import numpy as np, pyarrow as pa, vfs
            store = vfs.Store("exit")
            store.store("array", np.arange(10_000.0))
            with store.create("table") as writer:
                columns = pa.table({"x": np.arange(10_000.0)})
                with pa.ipc.new_file(writer, columns.schema) as file:
                    file.write_table(columns)
            array = np.frombuffer(store.map("array").data)
            table = pa.ipc.open_file(store.map("table").data).read_all()
            def look(): assert array[9_998] == 9_998 and table["x"][9_999].as_py() == 9_999
        """
        places = {
            "globals": "",
            "closed": "store.close()",
            "modules": "sys.kept = array; np.kept = table; pa.kept = array[1:]; vfs.kept = table; del array, table, store",
            "builtins": "builtins.kept = (array, table); del array, table, store",
            "atexit": "atexit.register(lambda: look())",
            "finalizer": """
                class Keeper:
                    def __init__(self, array, table): self.array, self.table = array, table
                    def __del__(self): assert self.array[9_998] == 9_998 and self.table.num_rows == 10_000
                keeper = Keeper(array, table); keeper.me = keeper
                del array, table
            """,
            "thread": """
                def loop():
                    while True: look()
                threading.Thread(target=loop, daemon=True).start()
                time.sleep(0.05)
            """,
            "writer": """
                writer = store.create("w")
                kept = np.frombuffer(writer.reserve(800)); kept[:] = 1
                file = pa.ipc.new_file(store.create("v"), columns.schema)
                file.write_table(columns)
            """,
        }
        self.end_well(before, places)


if __name__ == "__main__":
    unittest.main()
