# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Devices without an IOMMU on a kernel that gives those no character device."""

from command.support import EDU_DEVICE, FAILED, CommandTest, objects


class NoiommuBefore72(CommandTest):
    def test_the_kernel_that_has_them_is_named(self):
        line = self.refuse(FAILED, *objects(), *EDU_DEVICE, command="dmatest")
        self.assertIn("(there is no IOMMU before it, and this kernel gives such devices no character device)", line)
        self.assertIn("use Linux 7.2 or later", line)
