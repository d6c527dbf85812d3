"""The real marimo server, with libvfs beneath its virtual files and without.

tests/notebook.rs runs this, class by class, in namespaces of their own where /dev/shm is small. It fills that, so it
refuses to run where it is not. No step waits for longer than PATIENCE seconds.
"""

from __future__ import annotations

import contextlib
import html
import http.client
import inspect
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Callable
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "python")]

import marimo  # noqa: E402
import marimo_vfs  # noqa: E402
import psutil  # noqa: E402
import vfs  # noqa: E402
from image_and_table import arrow, png  # noqa: E402
from marimo._runtime.virtual_file import InMemoryStorage, VirtualFileStorage  # noqa: E402
from websockets.exceptions import ConnectionClosed  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

os.environ["no_proxy"] = "*"

PATIENCE = 60
SHM = pathlib.Path("/dev/shm")
NOTEBOOK = "image_and_table.py"
# Of the table in the notebook: twice what /dev/shm holds.
ROWS = 1_000_000
# Bytes that the second tier may hold: one such table at a time, and one more while a cell runs again.
DISK = "40M"


def until(what: str, true: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while not (answer := true()):
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain: {what}")
        time.sleep(0.02)
    return answer


class Gone(Exception):
    """The server broke off. It does for a file that is not there: by then it has sent 200."""


class Server:
    """A marimo server with one notebook in a directory of its own, as `marimo edit` or `marimo run` starts it."""

    def __init__(self, work: pathlib.Path, mode: str = "edit", *options: str, with_vfs: bool = True) -> None:
        self.work, self.mode, self.disk = work, mode, work / "disk"
        self.tiers = f"shm,{self.disk}?max={DISK}"
        (work / "home").mkdir(exist_ok=True)
        self.disk.mkdir(exist_ok=True)
        shutil.copy(HERE / NOTEBOOK, work)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        environment = {
            **os.environ,
            "HOME": str(work / "home"),
            "XDG_CONFIG_HOME": str(work / "home"),
            "XDG_CACHE_HOME": str(work / "home"),
            "XDG_STATE_HOME": str(work / "home"),
            "MARIMO_SKIP_UPDATE_CHECK": "1",
        }
        environment.pop("PYTHONPATH", None)
        if with_vfs:
            environment["PYTHONPATH"] = f"{HERE}:{HERE.parent / 'python'}"
            environment["VFS_TIERS"] = self.tiers
        command = [sys.executable, "-m", "marimo", mode, "--headless", "--no-token", "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, *options, NOTEBOOK], cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr
        )
        try:
            until("the server answers", self._answers)
            page = self.get("/")[2].decode()
            self.token = re.findall(r'"serverToken": "([^"]+)"', page)[0]
        except BaseException:
            self.kill()
            raise

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}")
        try:
            return self.get("/health")[0] == 200
        except ConnectionRefusedError:
            return False

    def request(self, path: str, header: dict[str, str], body: object = None) -> http.client.HTTPResponse:
        """An answer of which the body is not read yet."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        data = None if body is None else json.dumps(body)
        connection.request("GET" if body is None else "POST", path, data, {"Connection": "close", **header})
        return connection.getresponse()

    def get(self, path: str, span: str | None = None) -> tuple[int, http.client.HTTPMessage, bytes]:
        with self.request(path, {} if span is None else {"Range": f"bytes={span}"}) as answer:
            try:
                return answer.status, answer.headers, answer.read()
            except (http.client.IncompleteRead, ConnectionResetError) as e:
                raise Gone(path) from e

    def served(self, url: str, data: bytes) -> None:
        """All bytes are those of `data`, as a whole and in ranges, also across what the server sends in one piece."""
        size = len(data)
        status, _, body = self.get(url)
        assert (status, body == data) == (200, True), f"{url}: {status}, {len(body)} of {size} bytes"
        middle = min(size // 2, 256 * 1024 - 5)
        for span, first, end in [
            ("0-0", 0, 1),
            (f"{middle}-{middle + 300_000}", middle, min(middle + 300_001, size)),
            (f"{size - 7}-", size - 7, size),
            ("-1000", size - 1000, size),
            (f"0-{size + 5}", 0, size),
        ]:
            status, header, body = self.get(url, span)
            told = header["Content-Range"], header["Content-Length"]
            assert (status, *told) == (206, f"bytes {first}-{end - 1}/{size}", str(end - first)), (span, status, told)
            assert body == data[first:end], f"{url}: {span}: {len(body)} bytes"
        status, header, body = self.get(url, f"{size}-")
        assert (status, header["Content-Range"], body) == (416, f"bytes */{size}", b"")

    def gone(self, url: str) -> None:
        for span in None, "0-9":
            try:
                status, _, body = self.get(url, span)
            except Gone:
                continue
            assert status == 404, f"{url}: {status}, {len(body)} bytes"

    def blobs(self) -> dict[str, int]:
        """The keys that the store has, and the tier that each lies in."""
        with vfs.Store("marimo", self.tiers, read_only=True) as store:
            return {entry.key: entry.stat.tier for entry in store.list()}

    def files(self) -> list[str]:
        """What of ours lies on the tiers. Empty directories and lock files may stay."""
        found = [path for tier in (SHM, self.disk) for path in tier.glob("vfs1-*/**/*") if path.is_file()]
        return [str(path) for path in found if path.name != "\\lock" or path.stat().st_size]

    def kernels(self) -> list[psutil.Process]:
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if "spawn_main(" in " ".join(child.cmdline())]

    def kill(self) -> None:
        """Kills the server and what it started."""
        with contextlib.suppress(psutil.NoSuchProcess):
            server = psutil.Process(self.process.pid)
            family = [*server.children(recursive=True), server]
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(family, timeout=PATIENCE)
        self.process.wait(PATIENCE)

    def end(self) -> None:
        """Ends it as a terminal or a service manager does."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.terminate()
        self.process.wait(PATIENCE)
        _, alive = psutil.wait_procs(family, timeout=PATIENCE)
        assert not alive, alive


class Session:
    """What a browser's page of a notebook is: a websocket on which the kernel's news come."""

    def __init__(self, server: Server, name: str) -> None:
        self.server, self.name = server, name
        self.news: list[dict[str, Any]] = []
        self._stack = contextlib.ExitStack()
        url = f"ws://127.0.0.1:{server.port}/ws?session_id=s_{name}"
        self._socket = self._stack.enter_context(connect(url, max_size=None, open_timeout=PATIENCE))
        ready = self.hear("kernel-ready")
        self.cells = dict(zip(ready["names"], ready["cell_ids"], strict=True))
        self.codes = dict(zip(ready["names"], ready["codes"], strict=True))

    def hear(self, op: str) -> dict[str, Any]:
        """Waits for news of this kind."""
        end = time.monotonic() + PATIENCE
        while True:
            message = json.loads(self._socket.recv(timeout=max(end - time.monotonic(), 0)))
            self.news.append(message["data"])
            if message["op"] == op:
                return self.news[-1]

    def post(self, path: str, body: object) -> None:
        header = {
            "Content-Type": "application/json",
            "Marimo-Server-Token": self.server.token,
            "Marimo-Session-Id": f"s_{self.name}",
        }
        with self.server.request(path, header, body) as answer:
            text = answer.read()
            assert answer.status == 200, f"{path}: {answer.status} {text!r}"

    def instantiate(self, *, run: bool) -> None:
        self.post("/api/kernel/instantiate", {"objectIds": [], "values": [], "autoRun": run})
        self.hear("completed-run")

    def begin(self, **codes: str) -> None:
        """Has these cells run with this code."""
        self.news.clear()
        self.post("/api/kernel/run", {"cellIds": [self.cells[name] for name in codes], "codes": [*codes.values()]})

    def run(self, **codes: str) -> None:
        self.begin(**codes)
        self.hear("completed-run")

    def output(self, name: str) -> dict[str, Any]:
        """The cell's newest."""
        cell = self.cells[name]
        outputs = [news["output"] for news in self.news if news.get("cell_id") == cell and news.get("output")]
        assert outputs, f"no output of {name}: {self.news}"
        newest: dict[str, Any] = outputs[-1]
        return newest

    def url(self, name: str) -> str:
        urls: list[str] = re.findall(r"\./(@file/[^\"'&]+)", html.unescape(str(self.output(name)["data"])))
        assert len(urls) == 1, self.output(name)
        return "/" + urls[0]

    def close(self) -> None:
        self._stack.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def key(url: str) -> str:
    return url.rsplit("/", 1)[1].split("-", 1)[1]


class WithServers(unittest.TestCase):
    def setUp(self) -> None:
        size = os.statvfs(SHM).f_frsize * os.statvfs(SHM).f_blocks
        self.assertLessEqual(size, 8 << 20, "this fills /dev/shm: it wants a small one of its own")
        self.work = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.work, True)

    def start(self, mode: str = "edit", *options: str, with_vfs: bool = True) -> Server:
        server = Server(self.work, mode, *options, with_vfs=with_vfs)
        self.addCleanup(server.kill)
        return server


class Edited(WithServers):
    """`marimo edit`: each kernel is a process."""

    def test_images_and_tables_are_served_past_a_full_shm_and_nothing_is_left_after_kills(self) -> None:
        server = self.start()
        self.assertEqual(server.files(), [])
        with Session(server, "first") as page:
            page.instantiate(run=True)
            picture, table = page.url("picture"), page.url("table")
            server.served(picture, png(1))
            server.served(table, arrow(1, ROWS))
            # The picture is in shared memory; the table is larger than that.
            self.assertEqual(server.blobs(), {key(picture): 0, key(table): 1})

            # Run again, amid a download.
            download = server.request(table, {})
            data = download.read(100)
            page.run(picture="mo.image(png(2))", table=f"download(arrow(2, {ROWS}))")
            data += download.read()
            self.assertTrue(data == arrow(1, ROWS), f"{len(data)} bytes of what was there when the download began")
            server.gone(picture)
            server.gone(table)
            picture, table = page.url("picture"), page.url("table")
            server.served(picture, png(2))
            server.served(table, arrow(2, ROWS))
            self.assertEqual(server.blobs(), {key(picture): 0, key(table): 1})

            # Larger than all there is: the cell fails, and nothing else.
            page.run(table=f"download(arrow(3, {4 * ROWS}))")
            self.assertIn("error", page.output("table")["mimetype"])
            self.assertIn("NoSpace", str(page.output("table")["data"]))
            page.run(table=f"download(arrow(4, {ROWS}))")
            server.served(page.url("table"), arrow(4, ROWS))

            # The kernel is killed while it stores, and the server serves what it left, until somebody opens a store.
            table = page.url("table")
            (kernel,) = server.kernels()
            page.begin(picture="_image = png(3)\nwhile True: mo.image(_image)")
            until("there are many pictures", lambda: len(server.blobs()) > 20)
            kernel.kill()
            with self.assertRaises(ConnectionClosed):
                page.hear("nothing")
        server.served(table, arrow(4, ROWS))
        self.assertGreater(len(server.files()), 20)
        with Session(server, "second") as page:
            page.instantiate(run=False)
            self.assertEqual(server.files(), [])
            server.gone(table)
            page.run(picture=page.codes["picture"], table=page.codes["table"])
            server.served(page.url("table"), arrow(1, ROWS))

        # All are killed at once, and the next server finds nothing left.
        server.kill()
        self.assertNotEqual(server.files(), [])
        server = self.start()
        self.assertEqual(server.files(), [])
        with Session(server, "third") as page:
            page.instantiate(run=True)
            server.served(page.url("picture"), png(1))
            self.assertNotEqual(server.files(), [])
        server.end()
        self.assertEqual(server.files(), [])


class App(WithServers):
    """`marimo run`: kernels are threads of the server."""

    def test_sessions_have_their_files_removed_one_by_one(self) -> None:
        server = self.start("run", "--session-ttl", "0")
        with Session(server, "first") as page:
            page.hear("completed-run")
            picture, table = page.url("picture"), page.url("table")
            with Session(server, "second") as other:
                other.hear("completed-run")
                server.served(other.url("table"), arrow(1, ROWS))
                theirs = {key(other.url("picture")): 0, key(other.url("table")): 1}
                self.assertEqual(server.blobs(), {key(picture): 0, key(table): 1} | theirs)
            until("the closed session's files are gone", lambda: server.blobs() == {key(picture): 0, key(table): 1})
            server.gone(other.url("table"))
            server.served(picture, png(1))
            server.served(table, arrow(1, ROWS))
        server.end()
        self.assertEqual(server.files(), [])


    def test_a_service_manager_ends_it_amid_a_session(self) -> None:
        server = self.start("run")
        with Session(server, "first") as page:
            page.hear("completed-run")
            self.assertEqual(len(server.blobs()), 2)
            server.end()
        self.assertEqual(server.files(), [])


class Unpatched(WithServers):
    """The same without libvfs. What is asserted is what README.md tells of this version."""

    def left(self) -> list[str]:
        return sorted(path.name for path in SHM.iterdir() if path.suffix in {".png", ".arrow"})

    def seen(self, line: str) -> None:
        left = "+".join(pathlib.Path(name).suffix[1:] for name in self.left()) or "nothing"
        free = os.statvfs(SHM).f_bavail * os.statvfs(SHM).f_frsize
        print(f"as seen: {line}; in /dev/shm: {left}, {free >> 10} KiB free", file=sys.stderr)

    def test_it_is_as_told(self) -> None:
        bus = f"signal {int(signal.SIGBUS)}"
        python = ".".join(map(str, sys.version_info[:3]))
        server = self.start(with_vfs=False)
        self.seen(f"marimo {marimo.__version__} on Python {python} is started")
        with Session(server, "first") as page:
            page.instantiate(run=False)
            page.run(picture=page.codes["picture"])
            server.served(page.url("picture"), png(1))
            self.seen("an image that fits is stored and served")
            page.begin(table=page.codes["table"])
            told = page.hear("banner")["description"]
            self.assertIn(bus, told)
            with self.assertRaises(ConnectionClosed):
                page.hear("nothing")
        self.seen(f"a table that does not fit: {told!r}")
        self.assertEqual(len(self.left()), 2)

        try:
            with Session(server, "second") as page:
                page.instantiate(run=False)
                page.begin(picture=page.codes["picture"])
                told = page.hear("banner")["description"]
                self.assertIn(bus, told)
        except ConnectionClosed as e:
            told = str(e)
        self.seen(f"the notebook is opened again, to show the image alone: {told!r}")

        server.kill()
        self.seen("server, kernel and Python's resource tracker are killed")
        self.assertEqual(len(self.left()), 2)
        server = self.start(with_vfs=False)
        self.seen("another server is started")
        self.assertEqual(len(self.left()), 2)
        for name in self.left():
            (SHM / name).unlink()

        with Session(server, "first") as page:
            page.instantiate(run=False)
            page.run(picture=page.codes["picture"])
            (kernel,) = server.kernels()
            kernel.kill()
            with self.assertRaises(ConnectionClosed):
                page.hear("nothing")
        self.seen("those are removed by hand, an image is stored and its kernel alone is killed")
        self.assertEqual(len(self.left()), 1)
        server.end()
        self.seen("the server ends, and with it Python's resource tracker")
        self.assertEqual(self.left(), [])


class Protocol(unittest.TestCase):
    """The storage by itself, on tiers in directories of its own."""

    def setUp(self) -> None:
        work = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, work)
        (work / "disk").mkdir()
        self.tiers = str(work / "disk")
        self.storage = self.open()

    def open(self) -> marimo_vfs.VfsStorage:
        storage = marimo_vfs.VfsStorage("test", self.tiers)
        self.addCleanup(storage.shutdown)
        return storage

    def test_each_part_of_it_is_there_as_marimo_declares_it(self) -> None:
        parts = {name: part for name, part in vars(VirtualFileStorage).items() if not name.startswith("_")}
        self.assertLessEqual({"store", "read", "read_chunked", "remove", "shutdown", "has", "stale"}, parts.keys())
        for name, part in parts.items():
            ours = vars(marimo_vfs.VfsStorage)[name]
            self.assertIs(type(ours), type(part), name)
            if not isinstance(part, property):
                self.assertEqual(inspect.signature(ours), inspect.signature(part), name)

    def test_it_does_what_marimos_own_does(self) -> None:
        def does(storage: VirtualFileStorage) -> list[object]:
            data = bytes(range(256)) * 40
            storage.store("a.png", data)
            storage.store("b", b"b")
            answers: list[object] = [storage.read("a.png", size) for size in (0, 1, len(data), len(data) + 9)]
            sizes, chunks, starts = (0, 1, 1000, 20_000), (7, 1000, 256 * 1024), (0, 3, 10_239, 10_240, 20_000)
            for size, chunk, start in itertools.product(sizes, chunks, starts):
                answers.append(list(storage.read_chunked("a.png", size, chunk, start)))
            answers += [list(storage.read_chunked("a.png", len(data))), storage.has("a.png"), storage.has("c")]
            for call in storage.read, lambda key, size: next(storage.read_chunked(key, size)):
                with self.assertRaises(KeyError):
                    call("c", 1)
            storage.remove("c")
            storage.remove("b")
            storage.store("b", b"another")
            storage.store("d", b"d")
            answers.append(storage.read("b", 10))
            storage.shutdown(keys=["a.png", "c", "d"])
            answers += [storage.has("a.png"), storage.has("b"), storage.has("d"), storage.stale]
            storage.shutdown(keys={}.keys())
            return [*answers, storage.has("b")]

        # One by one, and not shown: they are long.
        for number, (ours, theirs) in enumerate(zip(does(self.storage), does(InMemoryStorage()), strict=True)):
            self.assertTrue(ours == theirs, f"answer {number}")

    def test_a_file_is_its_storers_alone(self) -> None:
        other = self.open()
        self.storage.store("a", b"data")
        self.storage.store("a", b"again")
        with self.assertRaises(FileExistsError):
            other.store("a", b"theirs")
        other.remove("a")
        other.shutdown(["a"])
        self.assertEqual((other.read("a", 10), other.has("a")), (b"data", True))
        other.shutdown()
        self.assertTrue(other.stale)
        self.assertEqual(self.storage.read("a", 10), b"data")

    def test_shutdown_without_keys_removes_all_and_is_the_end(self) -> None:
        other = self.open()
        self.storage.store("a", b"a")
        self.storage.store("b", b"b")
        self.storage.shutdown()
        self.assertEqual((other.has("a"), other.has("b"), other.stale, self.storage.stale), (False, False, False, True))
        self.storage.shutdown()
        with self.assertRaises(vfs.Shutdown):
            self.storage.store("c", b"c")
        # As of marimo's own, nothing is there any more, and there is nothing to remove.
        self.assertFalse(self.storage.has("a"))
        for call in self.storage.read, lambda key, size: next(self.storage.read_chunked(key, size)):
            with self.assertRaises(KeyError):
                call("a", 1)
        self.storage.remove("a")
        self.storage.shutdown(["a"])

    def test_a_name_that_cannot_be_a_key_is_one_of_no_file(self) -> None:
        for name in "a/b", "../test", "..", "", "a\0b", "x" * 300:
            with self.assertRaises(KeyError):
                self.storage.read(name, 1)
            with self.assertRaises(KeyError):
                next(self.storage.read_chunked(name, 1))
            self.assertFalse(self.storage.has(name))
            self.storage.remove(name)
            self.storage.shutdown([name])

    def test_all_chunks_are_of_the_file_that_was_there_at_the_first(self) -> None:
        self.storage.store("a", b"old" * 1000)
        chunks = self.storage.read_chunked("a", 3000, 1000)
        first = next(chunks)
        self.storage.remove("a")
        self.storage.store("a", b"new" * 1000)
        self.assertEqual(b"".join([first, *chunks]), b"old" * 1000)


if __name__ == "__main__":
    unittest.main()
