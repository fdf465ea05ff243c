# SPDX-License-Identifier: Apache-2.0 OR MIT
"""I/O address spaces and what is mapped in them."""

import ctypes
import enum
import errno
import typing

from . import _abi
from ._error import check, encode, lib, list_of, text_of
from ._handle import Handle, make, options
from ._reader import Reader


class Access(enum.IntFlag):
    """What devices may do."""

    READ = _abi.IOMMUFD_READ
    WRITE = _abi.IOMMUFD_WRITE
    READ_WRITE = _abi.IOMMUFD_READ_WRITE


class MappingState(enum.IntEnum):
    """Whether devices reach a mapping."""

    PLANNED = _abi.IOMMUFD_MAPPING_PLANNED
    MAPPED = _abi.IOMMUFD_MAPPING_MAPPED
    UNREACHED = _abi.IOMMUFD_MAPPING_UNREACHED
    BUSY = _abi.IOMMUFD_MAPPING_BUSY
    STUCK = _abi.IOMMUFD_MAPPING_STUCK


class Mapped(typing.NamedTuple):
    """A line of Space.mappings()."""

    iova: int
    length: int
    memory: str
    offset: int
    access: Access
    granule: int
    state: MappingState


def _milliseconds(timeout):
    return -1 if timeout is None else max(0, int(timeout * 1000))


class Mapping(Handle):
    """A range that is unmapped when this goes."""

    def __init__(self, pointer, *stands_on):
        super().__init__(pointer, lib.iommufd_mapping_free, *stands_on)

    @property
    def iova(self):
        """Where it begins."""
        return lib.iommufd_mapping_iova(self._handle)

    def __len__(self):
        return lib.iommufd_mapping_length(self._handle)

    @property
    def state(self):
        """Whether devices reach it."""
        return MappingState(check(lib.iommufd_mapping_state(self._handle)))

    def unmap(self, timeout=None):
        """Unmaps, and waits for readers, at most `timeout` seconds. On failure it stays, but for ETIMEDOUT."""
        result = lib.iommufd_mapping_unmap(self._handle, _milliseconds(timeout))
        if result == 0 or -result == errno.ETIMEDOUT:
            self._gone()
        check(result)

    def leave(self):
        """Gives the range to the space."""
        lib.iommufd_mapping_leave(self._handle)
        self._gone()

    def remap(self):
        """Maps a dma-buf again that its exporter has revoked."""
        check(lib.iommufd_mapping_remap(self._handle))


class Space(Handle):
    """Which memory devices reach, by IOVA. Without an Iommufd (None) it is for vhost-vdpa devices only."""

    def __init__(self, iommufd=None, *, id="space", small_pages=False):
        how = options(_abi.iommufd_space_options, id=encode(id), flags=_abi.IOMMUFD_SPACE_SMALL_PAGES * small_pages)
        super().__init__(
            make(_abi.iommufd_space, lib.iommufd_space_create, None if iommufd is None else iommufd._handle, how),
            lib.iommufd_space_free, iommufd)

    def map(self, memory, *, iova=None, offset=0, length=0, access=Access.READ_WRITE, granule=0, guard=0, pinned_by=None):
        """Lets devices reach memory; returns the Mapping.

        iova       None: the space chooses one that all devices reach
        offset     into the memory; length: 0 is to its end
        granule    what may be unmapped by itself, in bytes; 0: only the whole
        guard      bytes before and after that stay unmapped
        pinned_by  a Space that may have mapped the memory already: it is pinned and charged once for both
        """
        how = options(
            _abi.iommufd_map_options, flags=0 if iova is None else _abi.IOMMUFD_MAP_AT, access=access, iova=iova or 0,
            offset=offset, length=length, granule=granule, guard=guard,
            pinned_by=None if pinned_by is None else pinned_by._handle)
        pointer = make(_abi.iommufd_mapping, lib.iommufd_space_map, self._handle, memory._handle, how, None)
        return Mapping(pointer, self, memory)

    def unmap(self, iova, length, timeout=None):
        """Unmaps what lies in a range and no Mapping owns; returns the bytes. ENOENT, EINVAL (it would split), EBUSY."""
        unmapped = ctypes.c_uint64()
        check(lib.iommufd_space_unmap(self._handle, iova, length, _milliseconds(timeout), ctypes.byref(unmapped)))
        return unmapped.value

    def limits(self):
        """The IOVAs that can be mapped now, as (first, last) with both included, and the alignment in bytes."""
        alignment = ctypes.c_uint64()
        ranges = list_of(_abi.iommufd_range, lambda ranges, count: lib.iommufd_space_limits(
            self._handle, ranges, count, ctypes.byref(alignment)))
        return [(one.first, one.last) for one in ranges], alignment.value

    def mappings(self):
        """What is mapped, ascending."""
        return [
            Mapped(one.first, one.last - one.first + 1, one.memory.decode(errors="replace"), one.offset,
                   Access(one.access), one.granule, MappingState(one.state))
            for one in list_of(_abi.iommufd_mapped, lib.iommufd_space_mappings, self._handle)
        ]

    @property
    def ioas(self):
        """The kernel's id of the IOAS in use. ENOENT: no VFIO device is attached."""
        ioas = ctypes.c_uint32()
        check(lib.iommufd_space_ioas(self._handle, ctypes.byref(ioas)))
        return ioas.value

    def counters(self):
        """Bytes and kernel calls, by name."""
        counters = options(_abi.iommufd_counters)
        check(lib.iommufd_space_get_counters(self._handle, ctypes.byref(counters)))
        return {name: getattr(counters, name) for name, *_ in counters._fields_ if name != "size"}

    def not_released(self):
        """What the kernel may still have, though it was unmapped or detached."""
        return text_of(lib.iommufd_space_not_released, self._handle).splitlines()

    def retry_releases(self):
        """Tries those again; returns how many remain."""
        return check(lib.iommufd_space_retry_releases(self._handle))

    def reader(self, label="reader"):
        """Plays a device: see Reader."""
        return Reader(self, label)
