# SPDX-License-Identifier: Apache-2.0 OR MIT
"""A machine without an IOMMU."""

from command.support import BLK_DEVICE, EDU_DEVICE, FAILED, CommandTest, dmatest, objects


class NoIommu(CommandTest):
    def test_what_is_missing_is_said(self):
        line = self.refuse(FAILED, *objects(), *EDU_DEVICE, command="dmatest")
        self.assertIn("it is in no IOMMU group", line)
        self.assertIn("turn the IOMMU on", line)

    def test_vdpa_does_not_need_one(self):
        _, process = dmatest("--destructive", *objects(), *BLK_DEVICE)
        self.assert_passed(process)
