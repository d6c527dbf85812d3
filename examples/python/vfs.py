"""libvfs from Python: named, immutable blobs that any process of this user on this host reads by key.

    import vfs

    with vfs.Store("plots") as store:                 # shared memory first, then disk
        store.store("plot.png", image)                # any bytes-like object, copied once
        head = store.read("plot.png", 0, 24)          # a range of it, as bytes
        with store.map("plot.png") as view:           # all of it in place, nothing copied
            send(view.data)
        with store.create("table") as writer:         # in parts; nobody sees it until the block ends
            writer.write(header)
            with writer.reserve(len(rows)) as memory: # filled in place
                memory[:] = rows
        with store.create("saved.npy") as writer:     # a file object, for whatever writes to one
            numpy.save(writer, array)

This one file is the whole module: copy it where you need it, or install the package, which has the library in it. It
wants CPython 3.9 or later, on Linux, and the library: `Store(library=...)`, else the environment variable VFS_LIBRARY,
else `libvfs.so` beside this file, else where the system looks for `libvfs`. What each call promises is told by `vfs.h`,
whose names these are.

Keys are str or bytes. A str is its UTF-8; bytes that are not UTF-8 are lone surrogates in it, as they are in
os.listdir, so that each key has one str. Names of stores and lists of tiers are the same.

Failures are a VfsError, which is an OSError: `code` is that of the library, `errno` is what the system said, or where it
was not asked the one that says the same (NotFound is ENOENT), and str() is the library's sentence. What a closed Writer
or View is asked for is a ValueError.

Views: `view.data` is a read-only memoryview, of which slices, NumPy arrays (numpy.frombuffer), Arrow buffers
(pyarrow.py_buffer) and so on may be made, without a copy. The blob's memory stays until the last of them has gone, in
any order, whatever becomes of the View, of the key and of the Store.

Threads may share a Store, and closing it while others use it is safe. A Writer and a Listing are used by one at a time.

Processes: a child opens a Store of its own, by the same name and tiers; with `fork` it may also read through what it
inherited. Stores cannot be pickled. A process that ends, one of multiprocessing too, takes the blobs of its Stores with
it; those of one that is killed, or leaves by os._exit, stay until the next process opens a store. So do those of a
process forked by multiprocessing whose other threads, an idle ThreadPoolExecutor's too, outlive its work.

Types: `python3 -m mypy --strict vfs.py` finds nothing to complain of.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import ctypes.util
import enum
import errno as _errno
import functools
import io
import logging
import operator
import os
import sys
import threading
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Protocol, TypeVar, Union

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed import ReadableBuffer, WriteableBuffer

    class _Array(Protocol):
        """NumPy's arrays, which tell type checkers that they are buffers from Python 3.12 on."""

        @property
        def __array_interface__(self) -> dict[str, Any]: ...

    _Readable = Union[ReadableBuffer, _Array]
    _Writable = Union[WriteableBuffer, _Array]

__all__ = [
    "BadKey", "Busy", "Code", "Entry", "Exists", "Forked", "Invalid", "IoError", "Limit", "Listing", "NoMemory",
    "NoSpace", "NotFound", "Panic", "Permission", "ReadOnly", "Shutdown", "Stat", "Store", "TierStat",
    "Unsupported", "VfsError", "View", "Writer", "version",
]  # fmt: skip

Text = Union[str, bytes]
Log = Callable[[int, str], object]


# Failures


class Code(enum.IntEnum):
    """What the library answers. Later versions may add some: take any other negative number for a failure too."""

    OK = 0
    INVALID = -1
    KEY = -2
    NOT_FOUND = -3
    EXISTS = -4
    NO_SPACE = -5
    SHUTDOWN = -6
    PERMISSION = -7
    IO = -8
    NO_MEMORY = -9
    LIMIT = -10
    FORKED = -11
    UNSUPPORTED = -12
    READ_ONLY = -13
    BUSY = -14
    PANIC = -99


class VfsError(OSError):
    """A call of the library failed. The subclasses tell why; this one itself is for codes that came after this file."""

    code: int
    _errno: int | None = None  # what it means where the system was not asked

    def __init__(self, code: int, errno: int | None, message: str) -> None:
        super().__init__(errno or self._errno, message)
        self.code = code

    def __str__(self) -> str:
        # The sentence names the errno already; and KeyError would show a repr.
        return self.strerror or ""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions travel between the processes of multiprocessing.
        return type(self), (self.code, self.errno, self.strerror)


class Invalid(VfsError, ValueError):
    """An argument is not allowed."""

    _errno = _errno.EINVAL


class BadKey(Invalid):
    """The key is not a key: 1 to 255 bytes, no slash, backslash or control character, not "." or ".."."""


class NotFound(VfsError, FileNotFoundError, KeyError):
    """No blob has this key."""

    _errno = _errno.ENOENT


class Exists(VfsError, FileExistsError):
    """A blob has this key already, and `replace` was not asked for."""

    _errno = _errno.EEXIST


class NoSpace(VfsError):
    """Every tier refused, and one at least for lack of room."""

    _errno = _errno.ENOSPC


class Shutdown(VfsError):
    """The store was shut down or closed."""

    _errno = _errno.EBADF


class Permission(VfsError, PermissionError):
    """The operating system forbids it, or a name that the library needs belongs to somebody else."""

    _errno = _errno.EACCES


class IoError(VfsError):
    """The operating system or the device failed."""

    _errno = _errno.EIO


class NoMemory(VfsError, MemoryError):
    """Memory of this process could not be had."""

    _errno = _errno.ENOMEM


class Limit(VfsError):
    """The process or the system is out of file descriptors."""

    _errno = _errno.EMFILE


class Forked(VfsError):
    """The store was opened by the parent of this forked process; open one here."""

    _errno = _errno.EBADF


class Unsupported(VfsError):
    """The filesystem or the platform cannot do it."""

    _errno = _errno.ENOTSUP


class ReadOnly(VfsError):
    """The store was opened with `read_only`, or the filesystem is read-only."""

    _errno = _errno.EROFS


class Busy(VfsError, TimeoutError):
    """Another process holds what this call needs and did not let go within five seconds."""

    _errno = _errno.ETIMEDOUT


class Panic(VfsError):
    """A bug of the library, caught. The store may be read through, but changes nothing any more: close it."""


_ERRORS: dict[int, type[VfsError]] = {
    Code.INVALID: Invalid,
    Code.KEY: BadKey,
    Code.NOT_FOUND: NotFound,
    Code.EXISTS: Exists,
    Code.NO_SPACE: NoSpace,
    Code.SHUTDOWN: Shutdown,
    Code.PERMISSION: Permission,
    Code.IO: IoError,
    Code.NO_MEMORY: NoMemory,
    Code.LIMIT: Limit,
    Code.FORKED: Forked,
    Code.UNSUPPORTED: Unsupported,
    Code.READ_ONLY: ReadOnly,
    Code.BUSY: Busy,
    Code.PANIC: Panic,
}


def _check(lib: Any, status: int) -> int:
    """The status, unless it is a failure."""
    if status >= 0:
        return status
    errno = int(lib.vfs_last_errno())
    message: bytes = lib.vfs_last_error() or lib.vfs_strerror(status)
    known = _ERRORS.get(status)
    code = Code(status) if known else status
    raise (known or VfsError)(code, errno or None, message.decode("utf-8", "replace"))


# The library


class _Options(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("name", ctypes.c_char_p),
        ("tiers", ctypes.c_char_p),
        ("log", ctypes.c_void_p),
        ("log_user", ctypes.c_void_p),
    ]


class _Stat(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("size", ctypes.c_uint64),
        ("stored_at_ns", ctypes.c_uint64),
        ("id", ctypes.c_uint64),
        ("tier", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    ]


class _View(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("len", ctypes.c_size_t), ("owner", ctypes.c_void_p)]


class _TierStat(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("kind", ctypes.c_uint32),
        ("last_errno", ctypes.c_int32),
        ("dir", ctypes.c_char_p),
        ("blobs", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("stored", ctypes.c_uint64),
        ("refused", ctypes.c_uint64),
        ("free_bytes", ctypes.c_uint64),
        ("total_bytes", ctypes.c_uint64),
        ("free_inodes", ctypes.c_uint64),
        ("total_inodes", ctypes.c_uint64),
    ]


_READ_ONLY = 1
_REPLACE, _PERSIST = 1, 2
_OWNED, _PERSISTENT, _ORPHAN = 1, 2, 4
_USABLE = 1
_KINDS = {1: "shm", 2: "dir", 3: "memory"}
_LEVELS = {1: logging.ERROR, 2: logging.WARNING, 3: logging.INFO}

_LOG = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int32, ctypes.c_char_p)

_P = ctypes.POINTER
_HANDLE, _STATUS, _U32, _U64 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_uint32, ctypes.c_uint64
_TEXT, _BYTES, _LENGTH = ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t

# Result first.
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "vfs_open": (_STATUS, _P(_Options), _P(_HANDLE)),
    "vfs_shutdown": (_STATUS, _HANDLE),
    "vfs_close": (None, _HANDLE),
    "vfs_store": (_STATUS, _HANDLE, _TEXT, _BYTES, _LENGTH, _U32),
    "vfs_read": (_STATUS, _HANDLE, _TEXT, _U64, _BYTES, _LENGTH, _P(_LENGTH), _P(_Stat)),
    "vfs_has": (_STATUS, _HANDLE, _TEXT),
    "vfs_stat": (_STATUS, _HANDLE, _TEXT, _P(_Stat)),
    "vfs_remove": (_STATUS, _HANDLE, _TEXT),
    "vfs_remove_owned": (_STATUS, _HANDLE, _P(_TEXT), _LENGTH),
    "vfs_map": (_STATUS, _HANDLE, _TEXT, _P(_View), _P(_Stat)),
    "vfs_unmap": (None, _P(_View)),
    "vfs_create": (_STATUS, _HANDLE, _TEXT, _U64, _U32, _P(_HANDLE)),
    "vfs_write": (_STATUS, _HANDLE, _BYTES, _LENGTH),
    "vfs_reserve": (_STATUS, _HANDLE, _LENGTH, _P(_BYTES)),
    "vfs_seal": (_STATUS, _HANDLE),
    "vfs_abort": (None, _HANDLE),
    "vfs_list_open": (_STATUS, _HANDLE, _P(_HANDLE)),
    "vfs_list_next": (_STATUS, _HANDLE, _P(_TEXT), _P(_Stat)),
    "vfs_list_close": (None, _HANDLE),
    "vfs_reap": (_STATUS, _HANDLE, _P(_U64)),
    "vfs_tier_stat": (_STATUS, _HANDLE, _U32, _P(_TierStat)),
    "vfs_strerror": (_TEXT, _STATUS),
    "vfs_last_error": (_TEXT,),
    "vfs_last_errno": (ctypes.c_int32,),
    "vfs_version": (_TEXT,),
}


@functools.cache
def _load(path: str | None) -> Any:
    # Text that is executed by hand has no file.
    this = globals().get("__file__")
    beside = os.path.join(os.path.dirname(os.path.abspath(this)), "libvfs.so") if this else ""
    # CDLL, not PyDLL: other threads run during a call.
    if path is not None:
        lib = ctypes.CDLL(path)
    elif os.path.exists(beside):
        # That of the wheel.
        lib = ctypes.CDLL(beside)
    else:
        # find_library needs a compiler or the loader's cache; the loader itself looks in more places.
        for name in (ctypes.util.find_library("vfs"), "libvfs.so.0"):
            with contextlib.suppress(OSError):
                if name is not None:
                    lib = ctypes.CDLL(name)
                    break
        else:
            message = "libvfs was not found: name it by Store(library=...) or the environment variable VFS_LIBRARY"
            raise OSError(_errno.ENOENT, message)
    for name, (result, *arguments) in _FUNCTIONS.items():
        try:
            function = getattr(lib, name)
        except AttributeError:
            raise OSError(_errno.ENOSYS, f"{lib._name} is not libvfs, or too old: it has no {name}") from None
        function.restype, function.argtypes = result, arguments
    return lib


def _library(path: str | os.PathLike[str] | None) -> Any:
    return _load((os.fspath(path) if path is not None else os.environ.get("VFS_LIBRARY")) or None)


def version(library: str | os.PathLike[str] | None = None) -> str:
    """The version of the library that is loaded."""
    text: bytes = _library(library).vfs_version()
    return text.decode()


# What the interpreter does for C programs. The functions are our own objects, since the types of ctypes.pythonapi's are
# everybody's to change.


class _Buffer(ctypes.Structure):
    _fields_ = [
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    ]


def _python(name: str, result: Any, *arguments: Any) -> Any:
    return ctypes.PYFUNCTYPE(result, *arguments)((name, ctypes.pythonapi))


_get_buffer = _python("PyObject_GetBuffer", ctypes.c_int, ctypes.py_object, _P(_Buffer), ctypes.c_int)
_release_buffer = _python("PyBuffer_Release", None, _P(_Buffer))
_new_bytes = _python("PyBytes_FromStringAndSize", ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t)
_untrack = _python("PyObject_GC_UnTrack", None, ctypes.py_object)

_SIMPLE, _WRITABLE = 0, 1


@contextlib.contextmanager
def _memory_of(data: _Readable, flags: int = _SIMPLE) -> Iterator[tuple[int | None, int]]:
    """The address and length of a bytes-like object, which can be neither moved nor resized meanwhile."""
    given: Any = data.data if isinstance(data, View) else data
    with memoryview(given) as whole:
        if not whole.c_contiguous:
            raise BufferError("the bytes are not in one piece (C-contiguous): pass a copy, such as bytes(data)")
        if flags & _WRITABLE and whole.readonly:
            raise BufferError("the memory is read-only")
        buffer = _Buffer()
        try:
            _get_buffer(whole, ctypes.byref(buffer), flags)
            yield buffer.buf, buffer.len
        finally:
            _release_buffer(ctypes.byref(buffer))


class _Handle:
    """Something of the library's, given back when the last reference to this goes.

    Who calls the library with the pointer holds a reference meanwhile, so that it is not freed under the call. What the
    library makes has its handle before the call that makes it: an interrupt is raised as soon as that returns. Giving back
    what was not made does nothing.
    """

    __slots__ = ("pointer", "_give_back", "_needs")

    def __init__(self, pointer: Any, give_back: Callable[[Any], object], needs: object = None) -> None:
        self.pointer = pointer
        self._give_back = give_back
        self._needs = needs

    def take(self) -> Any:
        """The pointer, to be given back by the caller instead."""
        pointer, self.pointer = self.pointer, None
        return pointer

    def __del__(self) -> None:
        pointer = self.take()
        if pointer is not None:
            self._give_back(pointer)


def _array(address: int, length: int, owner: _Handle) -> ctypes.Array[ctypes.c_ubyte]:
    """Memory of the library's as an object, which keeps `owner` for as long as anything is made of it.

    The garbage collector must not look into it: it would give back the memory of a view in a cycle of garbage before it
    runs the finalizers in that cycle (and weakref.finalize is earlier still), which may read the view. The array cannot
    be part of a cycle itself.
    """
    array = (ctypes.c_ubyte * length).from_address(address)
    array.owner = owner  # type: ignore[attr-defined]
    _untrack(array)
    return array


# Arguments


def _text(value: Text, what: str, kind: type[Invalid] = Invalid, code: Code = Code.INVALID) -> bytes:
    if isinstance(value, str):
        try:
            raw = value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as e:
            raise kind(code, None, f"{what} is not text: {e}") from None
    elif isinstance(value, bytes):
        raw = value
    else:
        raise TypeError(f"{what} must be str or bytes, not {type(value).__name__}")
    if b"\0" in raw:
        # C would see it cut there, which may be another blob's key.
        raise kind(code, None, f"{what} has an embedded NUL: {value!r}")
    return raw


def _key(key: Text) -> bytes:
    return _text(key, "the key", BadKey, Code.KEY)


def _str(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _count(value: int, what: str) -> int:
    # ctypes would take a negative number for a huge one.
    number = operator.index(value)
    if number < 0:
        raise ValueError(f"{what} must not be negative")
    return number


def _flags(replace: bool, persist: bool) -> int:
    return (_REPLACE if replace else 0) | (_PERSIST if persist else 0)


# What is told


@dataclass(frozen=True)
class Stat:
    """What is known of one blob."""

    size: int
    stored_at_ns: int  # since the Unix epoch; 0 if not known
    id: int  # differs between any two blobs that a key ever held
    tier: int  # where it lies: an index of Store.tiers()
    owned: bool  # by the Store that was asked
    persistent: bool  # it has no owner, and lives until it is removed
    orphan: bool  # its owner is dead; told by Store.stat and Store.list alone

    @classmethod
    def _of(cls, stat: _Stat) -> Stat:
        return cls(
            size=stat.size,
            stored_at_ns=stat.stored_at_ns,
            id=stat.id,
            tier=stat.tier,
            owned=bool(stat.flags & _OWNED),
            persistent=bool(stat.flags & _PERSISTENT),
            orphan=bool(stat.flags & _ORPHAN),
        )


@dataclass(frozen=True)
class Entry:
    """One blob of a listing."""

    key: str
    stat: Stat


@dataclass(frozen=True)
class TierStat:
    """What is known of one tier."""

    kind: str  # "shm", "dir" or "memory"; later versions may add some
    dir: str | None  # its directory; None for memory
    usable: bool  # when it was last tried
    last_errno: int  # of the last change that it refused or failed; 0 if there was none yet
    blobs: int  # of this Store, there now
    bytes: int  # theirs
    stored: int  # by this Store, since it was opened
    refused: int
    free_bytes: int  # of the filesystem, as all below; 0 if it cannot be asked
    total_bytes: int
    free_inodes: int
    total_inodes: int

    @classmethod
    def _of(cls, tier: _TierStat) -> TierStat:
        return cls(
            kind=_KINDS.get(tier.kind, f"kind {tier.kind}"),
            dir=None if tier.dir is None else _str(tier.dir),
            usable=bool(tier.flags & _USABLE),
            last_errno=tier.last_errno,
            blobs=tier.blobs,
            bytes=tier.bytes,
            stored=tier.stored,
            refused=tier.refused,
            free_bytes=tier.free_bytes,
            total_bytes=tier.total_bytes,
            free_inodes=tier.free_inodes,
            total_inodes=tier.total_inodes,
        )


def _new_stat() -> _Stat:
    return _Stat(struct_size=ctypes.sizeof(_Stat))


# Objects

_Self = TypeVar("_Self", bound="_Held")


class _Held:
    """What stands for something of the library's in this process."""

    def __reduce__(self) -> Any:
        raise TypeError(f"a vfs.{type(self).__name__} belongs to its process: neither copied nor pickled")

    def __enter__(self: _Self) -> _Self:
        return self


class View(_Held):
    """A blob's bytes, in place, read-only. Made by Store.map.

    `data` is a memoryview of them; from Python 3.12 on the View itself is bytes-like too. `release`, or the end of a
    `with` block, gives up this object's hold; what was made of `data` before stays good.
    """

    def __init__(self, data: memoryview, stat: Stat) -> None:
        self._data: memoryview | None = data
        self.stat = stat
        """What is known of the very blob that is shown."""

    @property
    def data(self) -> memoryview:
        """A new memoryview of the bytes."""
        data = self._data
        if data is None:
            raise ValueError("the view was released")
        # Always another one, so that who releases it releases no one else's.
        return memoryview(data)

    def release(self) -> None:
        """Gives up this object's hold; a second time does nothing."""
        self._data = None

    def __exit__(self, *exc: object) -> None:
        self.release()

    def __len__(self) -> int:
        return self.data.nbytes

    def __getitem__(self, index: Any) -> Any:
        return self.data[index]

    def __bytes__(self) -> bytes:
        return bytes(self.data)

    def __buffer__(self, flags: int, /) -> memoryview:
        return self.data

    def __repr__(self) -> str:
        return "<vfs.View, released>" if self._data is None else f"<vfs.View of {len(self)} bytes>"


class Writer(_Held, io.BufferedIOBase):
    """A blob being written. Made by Store.create.

    As a context manager it publishes the blob at the end of the block, or gives it up if an exception leaves the block.

    It is a file object, open for writing, that cannot seek. Outside of a `with` block `close` publishes the blob, as that
    of a file does; inside, it ends the writing, and the end of the block decides. So where something else closes it, use

        with store.create("k") as writer, io.TextIOWrapper(writer) as text:
            json.dump(value, text)

    What is dropped without having been closed gives the blob up, be it the Writer or a wrapper of the io module.
    """

    def __init__(self, lib: Any, handle: _Handle, name: str = "") -> None:
        self._lib = lib
        self._handle: _Handle | None = handle
        self._turn = threading.Lock()
        self.name = name
        """The key."""
        self._size = 0
        self._in_block = False
        self._closed = False
        self._dropped = False
        # What the last reserve gave, and whether anything else was made of it.
        self._given: memoryview | None = None
        self._memory: weakref.ref[ctypes.Array[ctypes.c_ubyte]] | None = None

    @contextlib.contextmanager
    def _use(self) -> Iterator[None]:
        # Not to be waited for: the holder may be this thread, in a log callback, or one that this forked child lacks.
        if not self._turn.acquire(blocking=False):
            raise RuntimeError("the writer is in use by another call")
        try:
            yield
        finally:
            self._turn.release()

    def _take_back(self) -> None:
        """Makes sure that nothing points to reserved memory, which is not there any more after the next call."""
        try:
            if self._given is not None:
                self._given.release()
                self._given = None
            if self._memory is not None and self._memory() is not None:
                raise BufferError
            self._memory = None
        except BufferError:
            message = "reserved memory is still in use: drop what was made of it (slices, arrays) first"
            raise BufferError(message) from None

    def _ready(self) -> _Handle:
        if self._handle is None:
            raise ValueError("the writer has ended")
        self._take_back()
        return self._handle

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the writer has ended")

    @property
    def ended(self) -> bool:
        """Whether it was sealed or aborted."""
        return self._handle is None

    @property
    def closed(self) -> bool:
        """Whether it takes no more bytes."""
        return self._closed or self._handle is None

    def writable(self) -> bool:
        self._check_open()
        return True

    def tell(self) -> int:
        """How many bytes were appended, those of reserved memory too."""
        self._check_open()
        return self._size

    def flush(self) -> None:
        """Does nothing: there is no buffer, and nobody sees the blob before it is sealed."""
        self._check_open()

    def write(self, data: _Readable) -> int:
        """Appends the bytes of a bytes-like object; tells how many. After a failure nothing is appended."""
        with self._use(), _memory_of(data) as (address, length):
            self._check_open()
            handle = self._ready()
            _check(self._lib, self._lib.vfs_write(handle.pointer, address, length))
            self._size += length
            return length

    def reserve(self, size: int) -> memoryview:
        """Appends memory to be filled in place, before the next call, which releases the memoryview.

        If anything else was made of it by then, such as a slice or an array, that call is a BufferError, and may be
        tried again when that has gone. In a forked child the memory is not there.
        """
        size = _count(size, "size")
        with self._use():
            self._check_open()
            handle = self._ready()
            out = ctypes.c_void_p()
            # ctypes would cut what is beyond its type; this is what the library refuses.
            wanted = min(size, ctypes.c_size_t(-1).value)
            _check(self._lib, self._lib.vfs_reserve(handle.pointer, wanted, ctypes.byref(out)))
            self._size += size
            if out.value is None:
                return memoryview(bytearray())
            # The array holds the writer, so that even abort leaves the memory to what was made of it.
            array = _array(out.value, size, handle)
            self._memory = weakref.ref(array)
            self._given = memoryview(array).cast("B")
            return self._given

    def seal(self) -> None:
        """Publishes the blob and ends the writer, even by a failure, but for a BufferError: see reserve."""
        with self._use():
            pointer = self._ready().take()
            self._handle = None
            _check(self._lib, self._lib.vfs_seal(pointer))

    def abort(self) -> None:
        """Gives up the blob and ends the writer; a second time does nothing.

        If anything made of reserved memory lives on, the draft goes with the last of it.
        """
        with self._use():
            handle, self._handle = self._handle, None
            if handle is None:
                return
            try:
                self._take_back()
            except BufferError:
                return
            # Now, though the traceback of a failure may hold the handle.
            self._lib.vfs_abort(handle.take())

    def close(self) -> None:
        """Publishes the blob as seal does; in a `with` block of this Writer it leaves that to the end of the block.

        A second time, and after seal or abort, it does nothing.
        """
        if self.closed:
            return
        if self._in_block:
            self._closed = True
        elif self._dropped:
            self.abort()
        else:
            self.seal()

    def _dealloc_warn(self, source: object) -> None:
        # Wrappers of the io module call this before they close what they wrap, when they were not closed but dropped.
        self._dropped = True

    def __del__(self) -> None:
        # That of other files closes; the handle gives the blob up.
        pass

    def __enter__(self) -> Writer:
        self._check_open()
        self._in_block = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._in_block = False
        if self.ended:
            return
        if kind is not None:
            self._give_up()
            return
        try:
            self.seal()
        finally:
            if not self.ended:
                self._give_up()

    def _give_up(self) -> None:
        try:
            self.abort()
        except RuntimeError:
            # Another thread's call is under way, and holds the handle until it returns; or an interrupt came before a
            # call could say that it was over.
            self._handle = None

    def __repr__(self) -> str:
        return "<vfs.Writer, ended>" if self.ended else "<vfs.Writer>"


class Listing(_Held, Iterator[Entry]):
    """All blobs of a store, in no order. Made by Store.list.

    A failure does not end it: after Limit and NoMemory the next step goes on; after a tier that could not be listed to
    its end there are no more.
    """

    def __init__(self, lib: Any, handle: _Handle) -> None:
        self._lib = lib
        self._handle: _Handle | None = handle
        self._turn = threading.Lock()

    def __next__(self) -> Entry:
        if not self._turn.acquire(blocking=False):
            raise RuntimeError("the listing is in use by another call")
        try:
            # close() in another thread leaves the handle to us.
            handle = self._handle
            if handle is None:
                raise StopIteration
            key, stat = ctypes.c_char_p(), _new_stat()
            status = self._lib.vfs_list_next(handle.pointer, ctypes.byref(key), ctypes.byref(stat))
            if status == Code.NOT_FOUND:
                self._handle = None
                raise StopIteration
            _check(self._lib, status)
            return Entry(_str(key.value or b""), Stat._of(stat))
        finally:
            handle = None
            self._turn.release()

    def close(self) -> None:
        """Ends it before its end."""
        self._handle = None

    def __exit__(self, *exc: object) -> None:
        self.close()


class Store(_Held):
    """An open store. A context manager that closes it; any number of threads may use it at a time.

    name: the store's name; None is "default".
    tiers: where blobs go, such as "shm?max=64M,/var/tmp"; None is what VFS_TIERS says, else "shm,/var/tmp,/tmp".
    read_only: change nothing.
    log: is called with a level of the logging module and a message when a tier begins to refuse or recovers:
        `log=logging.getLogger("vfs").log`. It may use the Store, but must not close it.
    library: the path of libvfs.so.
    """

    def __init__(
        self,
        name: Text | None = None,
        tiers: Text | None = None,
        *,
        read_only: bool = False,
        log: Log | None = None,
        library: str | os.PathLike[str] | None = None,
    ) -> None:
        self._handle: _Handle | None = None
        self._lib = lib = _library(library)
        options = _Options(struct_size=ctypes.sizeof(_Options), flags=_READ_ONLY if read_only else 0)
        if name is not None:
            options.name = _text(name, "the store's name")
        if tiers is not None:
            options.tiers = _text(tiers, "the list of tiers")
        callback = None
        if log is not None:
            to = log

            def hear(_user: object, level: int, message: bytes) -> None:
                to(_LEVELS.get(level, logging.WARNING), message.decode("utf-8", "replace"))

            callback = _LOG(hear)
            options.log = ctypes.cast(callback, ctypes.c_void_p)
        out = ctypes.c_void_p()
        handle = _Handle(out, lib.vfs_close, callback)
        _check(lib, lib.vfs_open(ctypes.byref(options), ctypes.byref(out)))
        self._handle = handle
        _open_stores.add(self)
        _clean_up_in_workers()

    # Life

    def _call(self, function: Any, *arguments: Any) -> int:
        handle = self._handle
        if handle is None:
            raise Shutdown(Code.SHUTDOWN, None, "the store was closed")
        try:
            # close() in another thread leaves the handle to us.
            return int(function(handle.pointer, *arguments))
        finally:
            # The traceback of a failure would keep it.
            del handle

    def shutdown(self) -> None:
        """Removes all that this Store owns and ends its use: like close, but says what could not be removed."""
        if self._handle is not None:
            _check(self._lib, self._call(self._lib.vfs_shutdown))

    def close(self) -> None:
        """Shuts down and frees. Views stay good. Calls under way in other threads end with Shutdown."""
        handle, self._handle = self._handle, None
        if handle is not None:
            self._lib.vfs_shutdown(handle.pointer)

    @property
    def closed(self) -> bool:
        return self._handle is None

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return "<vfs.Store, closed>" if self.closed else "<vfs.Store>"

    # Blobs

    def store(self, key: Text, data: _Readable, *, replace: bool = False, persist: bool = False) -> None:
        """Stores a copy of a bytes-like object's bytes.

        replace: take the place of a blob that has the key; without it that is Exists.
        persist: the blob has no owner and lives until it is removed; without it, it goes with this Store.
        """
        raw = _key(key)
        with _memory_of(data) as (address, length):
            flags = _flags(replace, persist)
            _check(self._lib, self._call(self._lib.vfs_store, raw, address, length, flags))

    def read(self, key: Text, offset: int = 0, size: int | None = None) -> bytes:
        """A copy of a blob's bytes from `offset` on, all or at most `size` of them; b"" at and past the end."""
        return self.read_stat(key, offset, size)[0]

    def read_stat(self, key: Text, offset: int = 0, size: int | None = None) -> tuple[bytes, Stat]:
        """The same, and what is known of the very blob that was read.

        Who reads in parts compares `id` from part to part, since the key may be replaced in between.
        """
        raw = _key(key)
        offset = min(_count(offset, "offset"), _U64(-1).value)
        limit = sys.maxsize if size is None else min(_count(size, "size"), sys.maxsize)
        stat = _new_stat()
        _check(self._lib, self._call(self._lib.vfs_stat, raw, ctypes.byref(stat)))
        while True:
            length = min(limit, max(stat.size - offset, 0))
            # Made without bytes, so that they are written once; nobody else has it yet.
            data: bytes = _new_bytes(None, length)
            got = ctypes.c_size_t()
            into = data if length else None
            read = self._call(self._lib.vfs_read, raw, offset, into, length, ctypes.byref(got), ctypes.byref(stat))
            _check(self._lib, read)
            # Less than there is: a longer blob took its place in between.
            if got.value >= min(limit, max(stat.size - offset, 0)):
                return (data if got.value == length else data[: got.value]), Stat._of(stat)

    def read_into(self, key: Text, buffer: _Writable, offset: int = 0) -> int:
        """Copies a blob's bytes from `offset` on into a writable buffer; tells how many."""
        raw = _key(key)
        offset = min(_count(offset, "offset"), _U64(-1).value)
        got = ctypes.c_size_t()
        with _memory_of(buffer, _WRITABLE) as (address, length):
            read = self._call(self._lib.vfs_read, raw, offset, address, length, ctypes.byref(got), None)
            _check(self._lib, read)
        return got.value

    def map(self, key: Text) -> View:
        """Shows a blob's bytes in place, without copying them, however large it is."""
        raw, shown, stat = _key(key), _View(), _new_stat()
        handle = _Handle(shown, self._lib.vfs_unmap)
        _check(self._lib, self._call(self._lib.vfs_map, raw, ctypes.byref(shown), ctypes.byref(stat)))
        if shown.data is None:
            return View(memoryview(b""), Stat._of(stat))
        array = _array(shown.data, shown.len, handle)
        return View(memoryview(array).cast("B").toreadonly(), Stat._of(stat))

    def create(self, key: Text, size_hint: int = 0, *, replace: bool = False, persist: bool = False) -> Writer:
        """Begins a blob that is written in parts. `size_hint` picks a tier with room for that much."""
        raw = _key(key)
        hint = min(_count(size_hint, "size_hint"), _U64(-1).value)
        out = ctypes.c_void_p()
        handle = _Handle(out, self._lib.vfs_abort)
        _check(self._lib, self._call(self._lib.vfs_create, raw, hint, _flags(replace, persist), ctypes.byref(out)))
        return Writer(self._lib, handle, _str(raw))

    def has(self, key: Text) -> bool:
        """Whether a blob has this key; False for what is not a key."""
        try:
            raw = _key(key)
        except BadKey:
            return False
        return _check(self._lib, self._call(self._lib.vfs_has, raw)) == 1

    def __contains__(self, key: object) -> bool:
        return isinstance(key, (str, bytes)) and self.has(key)

    def stat(self, key: Text) -> Stat:
        """What is known of a blob."""
        raw, stat = _key(key), _new_stat()
        _check(self._lib, self._call(self._lib.vfs_stat, raw, ctypes.byref(stat)))
        return Stat._of(stat)

    def remove(self, key: Text) -> None:
        """Removes a blob, whoever owns it."""
        raw = _key(key)
        _check(self._lib, self._call(self._lib.vfs_remove, raw))

    def remove_owned(self, keys: Iterable[Text]) -> None:
        """Removes those of these blobs that this Store owns; all are tried, and the first failure is raised."""
        if isinstance(keys, (str, bytes)):
            raise TypeError("the keys must be several, not one str or bytes")
        raw = [_key(key) for key in keys]
        array = (ctypes.c_char_p * len(raw))(*raw)
        _check(self._lib, self._call(self._lib.vfs_remove_owned, array, len(raw)))

    # The whole

    def list(self) -> Listing:
        """All blobs, in no order."""
        out = ctypes.c_void_p()
        handle = _Handle(out, self._lib.vfs_list_close)
        _check(self._lib, self._call(self._lib.vfs_list_open, ctypes.byref(out)))
        return Listing(self._lib, handle)

    def reap(self) -> int:
        """Removes what dead owners left, in any of this user's stores on these tiers; tells how many blobs."""
        removed = ctypes.c_uint64()
        _check(self._lib, self._call(self._lib.vfs_reap, ctypes.byref(removed)))
        return removed.value

    def tiers(self) -> tuple[TierStat, ...]:
        """How each tier fares, in the order of the list."""
        tiers: list[TierStat] = []
        # The paths are the handle's, and close() in another thread would free them.
        handle = self._handle
        try:
            while True:
                tier = _TierStat(struct_size=ctypes.sizeof(_TierStat))
                status = self._call(self._lib.vfs_tier_stat, len(tiers), ctypes.byref(tier))
                if status == Code.NOT_FOUND:
                    return tuple(tiers)
                _check(self._lib, status)
                tiers.append(TierStat._of(tier))
        finally:
            del handle


_open_stores: weakref.WeakSet[Store] = weakref.WeakSet()


@atexit.register
def _at_exit() -> None:
    # As a Store that is closed: its blobs go now, not when the next process reaps. Not freed, since threads that the
    # interpreter does not wait for may be amid a call.
    for store in list(_open_stores):
        handle = store._handle
        if handle is not None:
            store._lib.vfs_shutdown(handle.pointer)


_cleans_up: int | None = None


def _clean_up_in_workers() -> None:
    """The processes of multiprocessing end without atexit; they have the like of it, which a fork clears."""
    global _cleans_up
    process: Any = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None and _cleans_up != os.getpid():
        from multiprocessing.util import Finalize

        Finalize(None, _at_exit_of_worker, exitpriority=0)
        _cleans_up = os.getpid()


def _at_exit_of_worker() -> None:
    # Unlike atexit this does not come after all threads that the interpreter waits for.
    if all(thread.daemon or thread is threading.current_thread() for thread in threading.enumerate()):
        _at_exit()
