# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Devices given to user space by VFIO."""

import ctypes
import enum
import typing

from . import _abi
from ._error import check, encode, lib
from ._handle import Handle, make, options


class Irq(enum.IntEnum):
    """The interrupts of a PCI device."""

    INTX = _abi.IOMMUFD_IRQ_INTX
    MSI = _abi.IOMMUFD_IRQ_MSI
    MSIX = _abi.IOMMUFD_IRQ_MSIX


class IrqInfo(typing.NamedTuple):
    """What VfioDevice.irq_info() says of one kind."""

    count: int
    eventfd: bool
    maskable: bool
    automasked: bool
    noresize: bool


class Region(Handle):
    """A BAR, the ROM or config space. Registers are read and written in their width, ordered with memory as a driver needs it."""

    def __init__(self, device, index):
        super().__init__(make(_abi.iommufd_region, lib.iommufd_vfio_region, device._handle, index),
                         lib.iommufd_region_free, device)

    def __len__(self):
        return lib.iommufd_region_size(self._handle)

    def read(self, offset, width=4):
        """A register of 1, 2, 4 or 8 bytes. EINVAL: outside the region."""
        value = getattr(ctypes, f"c_uint{width * 8}")()
        check(getattr(lib, f"iommufd_region_read{width * 8}")(self._handle, offset, ctypes.byref(value)))
        return value.value

    def write(self, offset, value, width=4):
        """Writes a register of 1, 2, 4 or 8 bytes; OverflowError where the value doesn't fit."""
        if not 0 <= value < 1 << 8 * width:
            raise OverflowError(f"{value:#x} does not fit {width} bytes")
        check(getattr(lib, f"iommufd_region_write{width * 8}")(self._handle, offset, value))

    def read_bytes(self, offset, length):
        """Any length, by system call."""
        buffer = ctypes.create_string_buffer(length)
        check(lib.iommufd_region_read(self._handle, offset, buffer, length))
        return buffer.raw

    def write_bytes(self, offset, data):
        """Any length, by system call."""
        data = bytes(data)
        check(lib.iommufd_region_write(self._handle, offset, data, len(data)))


class VfioDevice(Handle):
    """A device, opened and bound.

    where     PCI address, an mdev's UUID or a folder in /sys; or
    fd        a descriptor that somebody opened, which stays the caller's
    vf_token  of a VF whose PF has one: a UUID
    dma_bits  address bits that the device drives, where it knows better than the kernel
    """

    def __init__(self, iommufd, where=None, *, fd=None, name=None, vf_token=None, dma_bits=0):
        if (where is None) == (fd is None):
            raise TypeError("either where or fd")
        how = options(_abi.iommufd_vfio_options, name=encode(name), vf_token=encode(vf_token), dma_bits=dma_bits)
        if fd is None:
            pointer = make(_abi.iommufd_vfio, lib.iommufd_vfio_open, iommufd._handle, encode(where), how)
        else:
            pointer = make(_abi.iommufd_vfio, lib.iommufd_vfio_open_fd, iommufd._handle, fd, how)
        super().__init__(pointer, lib.iommufd_vfio_free, iommufd)

    def close(self):
        """Detaches and closes it. EBUSY while a Region keeps it; then it stays."""
        if not self.closed:
            check(lib.iommufd_vfio_close(self._handle))
            self._gone()

    def __exit__(self, *_):
        Handle.close(self)

    def attach(self, space):
        """Lets it reach what the space maps. EBUSY: it is in one. EINVAL: it can't reach a range that is mapped."""
        check(lib.iommufd_vfio_attach(self._handle, space._handle))

    def detach(self):
        """Takes it out of its space. EINVAL: it is in none."""
        check(lib.iommufd_vfio_detach(self._handle))

    @property
    def name(self):
        """"vfio-pci 0000:02:00.0"."""
        return lib.iommufd_vfio_name(self._handle).decode()

    def fileno(self):
        """Its descriptor, borrowed."""
        return check(lib.iommufd_vfio_fd(self._handle))

    def info(self):
        """What the kernel says of it, by name: id, regions, interrupts, is_pci, resets, translated."""
        info = options(_abi.iommufd_vfio_info)
        check(lib.iommufd_vfio_get_info(self._handle, ctypes.byref(info)))
        return {name: getattr(info, name) for name, *_ in info._fields_ if name not in ("size", "reserved")}

    def enable(self):
        """Lets it start DMA and answer accesses."""
        check(lib.iommufd_vfio_enable(self._handle))

    def reset(self):
        """Resets the function. EINVAL: it has no way to."""
        check(lib.iommufd_vfio_reset(self._handle))

    def hot_reset(self):
        """Resets slot or bus. EINVAL: other devices there are not bound to this object."""
        check(lib.iommufd_vfio_hot_reset(self._handle))

    @property
    def request_fd(self):
        """An eventfd, borrowed: the kernel wants the device back. ENOENT: it has none."""
        return check(lib.iommufd_vfio_request_fd(self._handle))

    @property
    def error_fd(self):
        """An eventfd, borrowed: the device has an error. ENOENT: it has none."""
        return check(lib.iommufd_vfio_error_fd(self._handle))

    def irq_info(self, irq):
        """What there is of one kind of interrupt."""
        info = options(_abi.iommufd_irq_info)
        check(lib.iommufd_vfio_get_irq_info(self._handle, irq, ctypes.byref(info)))
        return IrqInfo(info.count, bool(info.eventfd), bool(info.maskable), bool(info.automasked), bool(info.noresize))

    def set_irqs(self, irq, eventfds, first=0):
        """Signals eventfds, one for each vector from `first` on; None takes a vector's away. They stay the caller's."""
        array = (ctypes.c_int * len(eventfds))(*(-1 if one is None else one for one in eventfds))
        check(lib.iommufd_vfio_set_irqs(self._handle, irq, first, array, len(array)))

    def disable_irqs(self, irq):
        """Takes all eventfds of one kind away."""
        check(lib.iommufd_vfio_disable_irqs(self._handle, irq))

    def mask_irq(self, irq, vector=0):
        """ENOTTY: the kernel doesn't mask that kind."""
        check(lib.iommufd_vfio_mask_irq(self._handle, irq, vector))

    def unmask_irq(self, irq, vector=0):
        """ENOTTY: the kernel doesn't mask that kind."""
        check(lib.iommufd_vfio_unmask_irq(self._handle, irq, vector))

    def trigger_irq(self, irq, vector=0):
        """Fires the vector's eventfd, as if the device had."""
        check(lib.iommufd_vfio_trigger_irq(self._handle, irq, vector))

    def region(self, index):
        """A BAR (0 to 5), the ROM (6) or config space (7). EINVAL: none. ENODEV: it is empty."""
        return Region(self, index)

    def export_dma_buf(self, bar, offset, length):
        """A dma-buf of whole pages of a BAR: its descriptor, the caller's to close. Linux 6.19."""
        return check(lib.iommufd_vfio_export_dma_buf(self._handle, bar, offset, length))
