# SPDX-License-Identifier: Apache-2.0 OR MIT
"""One owner for /dev/iommu: which memory devices may reach by DMA, through Linux's iommufd.

    import iommufd

    with iommufd.Iommufd() as owner, owner.space() as space, owner.vfio("0000:02:00.0") as device:
        device.attach(space)
        memory = iommufd.Memory.memfd(64 << 20)
        mapping = space.map(memory, iova=0x4000000)
        memory.view()[:5] = b"hello"

The same on a model of the kernel, without hardware or privilege: Iommufd(kernel=iommufd.Model("devices=edu")).

What fails raises IommufdError, which is an OSError: `errno`, and in words `what`, `cause` and `next_step`. Addresses and
lengths are in bytes. Objects that hold something of the kernel's are context managers; what isn't closed is let go with its
last reference, in whichever order. close() tells when the kernel or the library refuses, and the object stays.

Threads: calls on different objects may run at once, and on the same one, except close(), attach() and detach(). No call holds
Python's lock while the kernel works. A Reader belongs to one thread at a time.
"""

from ._error import IommufdError, explain, version
from ._memory import HugePages, Memory
from ._model import Model
from ._object import Accounting, Iommufd
from ._space import Access, Mapped, Mapping, MappingState, Space
from ._reader import Reader
from ._vdpa import VdpaDevice
from ._vfio import Irq, IrqInfo, Region, VfioDevice

__all__ = [
    "Access", "Accounting", "HugePages", "IommufdError", "Iommufd", "Irq", "IrqInfo", "Mapped", "Mapping",
    "MappingState", "Memory", "Model", "Reader", "Region", "Space", "VdpaDevice", "VfioDevice", "explain", "version",
]
