#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Moves bytes by DMA through QEMU's edu device.

    edu.py --model     on the model kernel: any machine, no privilege
    edu.py [BDF]       on this machine's kernel, with the edu device at that PCI address (0000:00:10.0)
"""

import os
import select
import sys

import iommufd

DMA_SOURCE, DMA_TARGET, DMA_COUNT, DMA_COMMAND = 0x80, 0x88, 0x90, 0x98
START, TO_MEMORY, INTERRUPT = 1, 2, 4
INTERRUPT_ACKNOWLEDGE, DMA_DONE = 0x64, 0x100
BUFFER = 0x40000  # where the card sees its own buffer, of 4096 bytes


class Edu:
    """The card: copies memory to memory through its buffer."""

    def __init__(self, device):
        device.enable()
        self.bar = device.region(0)
        self.event = os.eventfd(0)
        device.set_irqs(iommufd.Irq.MSI, [self.event])

    def transfer(self, source, target, command):
        for register, value in ((DMA_SOURCE, source), (DMA_TARGET, target), (DMA_COUNT, 4096),
                                (DMA_COMMAND, command | START | INTERRUPT)):
            self.bar.write(register, value, width=8)
        if not select.select([self.event], [], [], 5)[0]:
            raise TimeoutError("the card does not answer")
        os.eventfd_read(self.event)
        self.bar.write(INTERRUPT_ACKNOWLEDGE, DMA_DONE)

    def copy(self, target, source):
        self.transfer(source, BUFFER, 0)
        self.transfer(BUFFER, target, TO_MEMORY)


def run(bdf, kernel=None):
    with iommufd.Iommufd(kernel=kernel) as owner, owner.space() as space, owner.vfio(bdf, dma_bits=28) as device:
        device.attach(space)
        memory = iommufd.Memory.memfd(64 << 20)
        mapping = space.map(memory, iova=0x4000000)
        view = memory.view()
        view[:12] = b"moved by DMA"
        Edu(device).copy(mapping.iova + 4096, mapping.iova)
        return bytes(view[4096:4108]).decode()


def main():
    where = sys.argv[1] if len(sys.argv) > 1 else "0000:00:10.0"
    try:
        print(run("0000:00:10.0", iommufd.Model("devices=edu")) if where == "--model" else run(where))
    except iommufd.IommufdError as error:
        sys.exit(f"edu.py: {error}")


if __name__ == "__main__":
    main()
