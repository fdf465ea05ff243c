# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Memory that devices are to reach."""

import ctypes
import enum
import weakref

from . import _abi
from ._error import check, encode, lib
from ._handle import Handle, make, options
from ._model import kernel_of


class HugePages(enum.IntEnum):
    """Which pages memory is made of."""

    STANDARD = _abi.IOMMUFD_HUGE_PAGES_STANDARD
    NEVER = _abi.IOMMUFD_HUGE_PAGES_NEVER
    TRANSPARENT = _abi.IOMMUFD_HUGE_PAGES_TRANSPARENT
    HUGETLB = _abi.IOMMUFD_HUGE_PAGES_HUGETLB


class Memory(Handle):
    """Made by memfd(), anonymous(), file(), fd(), dma_buf() or borrow(). A mapping keeps the memory as well."""

    def __init__(self, pointer, *stands_on):
        super().__init__(pointer, lib.iommufd_memory_free, *stands_on)
        self._views = []  # weak references

    @classmethod
    def memfd(cls, length, **how):
        """Shared memory. `how`: label, huge_pages, huge_page_size, prealloc."""
        return cls._made(lib.iommufd_memory_memfd, length, **how)

    @classmethod
    def anonymous(cls, length, **how):
        """Private memory. `how` as memfd()."""
        return cls._made(lib.iommufd_memory_anonymous, length, **how)

    @classmethod
    def file(cls, path, length, **how):
        """A part of a file. `how` as memfd(), and offset, private, read_only."""
        return cls._made(lib.iommufd_memory_file, encode(path), length, **how)

    @classmethod
    def fd(cls, fd, length, **how):
        """The same of a descriptor, which stays the caller's."""
        return cls._made(lib.iommufd_memory_fd, fd, length, **how)

    @classmethod
    def dma_buf(cls, fd, length, *, kernel=None, **how):
        """Memory of a device (VfioDevice.export_dma_buf()); it has no view()."""
        return cls._made(lib.iommufd_memory_dma_buf, fd, length, kernel=kernel, **how)

    @classmethod
    def borrow(cls, buffer, **how):
        """A writable buffer of whole pages, as mmap's are. It must stay as long as this and all mappings of it, which keep it."""
        array = (ctypes.c_char * memoryview(buffer).nbytes).from_buffer(buffer)
        return cls._made(lib.iommufd_memory_borrow, ctypes.addressof(array), len(array), stands_on=(array,), **how)

    @classmethod
    def _made(cls, create, *arguments, kernel=None, stands_on=(), label="memory", huge_pages=HugePages.STANDARD,
              huge_page_size=0, offset=0, private=False, read_only=False, prealloc=False):
        how = options(
            _abi.iommufd_memory_options, label=encode(label), huge_pages=huge_pages, huge_page_size=huge_page_size,
            offset=offset, kernel=kernel_of(kernel),
            flags=_abi.IOMMUFD_MEMORY_PRIVATE * private | _abi.IOMMUFD_MEMORY_READ_ONLY * read_only
            | _abi.IOMMUFD_MEMORY_PREALLOC * prealloc)
        return cls(make(_abi.iommufd_memory, create, *arguments, how), kernel, *stands_on)

    def __len__(self):
        return lib.iommufd_memory_size(self._handle)

    def view(self):
        """The bytes, to be read and written. It keeps the memory, which can't be closed before (BufferError)."""
        address = lib.iommufd_memory_data(self._handle)
        if not address:
            raise ValueError("a dma-buf has no address here")
        array = (ctypes.c_ubyte * len(self)).from_address(address)
        array.memory = self
        self._views = [view for view in self._views if view() is not None] + [weakref.ref(array)]
        return memoryview(array).cast("B")

    def fileno(self):
        """Its file's descriptor, borrowed. EBADF: it has none."""
        return check(lib.iommufd_memory_file_fd(self._handle))

    def close(self):
        """Lets go of it. BufferError while there is a view; mappings keep the memory for themselves."""
        if any(view() is not None for view in self._views):
            raise BufferError("a view of the memory exists")
        super().close()
