"""marimo's virtual files in libvfs: `/@file/…` of a marimo server, and what its kernels store for it.

marimo finds this by the entry points in `marimo_vfs-0.dist-info`, beside this file: with this directory and that of
`vfs.py` in PYTHONPATH, `marimo edit` and `marimo run` use it, unmodified. README.md tells more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import vfs
from marimo._runtime.context import get_context
from marimo._runtime.virtual_file import VirtualFileStorage, VirtualFileStorageManager
from marimo._runtime.virtual_file.storage import DEFAULT_CHUNK_SIZE


class VfsStorage(VirtualFileStorage):
    """What marimo calls a storage, on a store that the server and its kernels share by its name and tiers.

    The kernel that stores a file owns it: it alone removes it, and with the kernel it goes, however that ends.
    """

    def __init__(self, name: str = "marimo", tiers: str | None = None) -> None:
        self._store = vfs.Store(name, tiers)
        self._stale = False

    def store(self, key: str, buffer: bytes) -> None:
        try:
            self._store.store(key, buffer)
        except vfs.Exists:
            # Files do not change: that it is stored already is good, unless somebody else's has the same name.
            if not self._store.stat(key).owned:
                raise

    # A file that is not there is a vfs.NotFound, which is the KeyError that marimo expects.

    def read(self, key: str, byte_length: int) -> bytes:
        with _names():
            return self._store.read(key, 0, byte_length)

    def read_chunked(
        self, key: str, byte_length: int, chunk_size: int = DEFAULT_CHUNK_SIZE, start: int = 0
    ) -> Iterator[bytes]:
        # Mapped once, so that all chunks are of one file, also if its cell runs again meanwhile.
        with _names():
            view = self._store.map(key)
        with view:
            data = view.data[start : start + byte_length]
            for i in range(0, len(data), chunk_size):
                yield bytes(data[i : i + chunk_size])

    def remove(self, key: str) -> None:
        self._remove([key])

    def shutdown(self, keys: Iterable[str] | None = None) -> None:
        if keys is not None:
            self._remove(list(keys))
        else:
            self._stale = True
            self._store.shutdown()

    def _remove(self, keys: list[str]) -> None:
        # Of a store that was shut down nothing is left to be removed, nor of a name that is none.
        with contextlib.suppress(vfs.BadKey, vfs.Shutdown):
            self._store.remove_owned(keys)

    def has(self, key: str) -> bool:
        try:
            return self._store.has(key)
        except vfs.Shutdown:
            return False

    @property
    def stale(self) -> bool:
        return self._stale


@contextlib.contextmanager
def _names() -> Iterator[None]:
    """A name out of a URL that cannot be a key is one of no file; a store that was shut down has none."""
    try:
        yield
    except (vfs.BadKey, vfs.Shutdown) as e:
        raise KeyError(str(e)) from e


def _storage() -> VirtualFileStorage:
    """This process's storage, which everything in marimo that has none of its own takes."""
    manager = VirtualFileStorageManager()
    if not isinstance(manager.storage, VfsStorage) or manager.storage.stale:
        manager.storage = VfsStorage()
    return manager.storage


# What marimo calls lifespans.


class _Serving(contextlib.AbstractAsyncContextManager[None]):
    async def __aenter__(self) -> None:
        _storage()

    async def __aexit__(self, *exc: object) -> None:
        # Kernels that are threads of this process, of pages still open, go with it; and a signal, such as SIGTERM of a
        # service manager, ends it next without what the interpreter does at its exit.
        _storage().shutdown()


def server(app: object) -> contextlib.AbstractAsyncContextManager[None]:
    """Entered by marimo before it serves. That this opens a store removes what killed kernels left."""
    return _Serving()


def kernel(app: object) -> contextlib.AbstractAsyncContextManager[None]:
    """Entered by marimo in each kernel before the first cell runs."""
    get_context().virtual_file_registry.storage = _storage()
    # Not shut down at the end: other kernels may be threads of the same process, and each has its own files removed.
    return contextlib.nullcontext()
