# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Behind virtio-iommu."""

from command.support import EDU_DEVICE, NVME_DEVICE, CommandTest, dmatest, objects, verdicts


class VirtioIommu(CommandTest):
    def test_the_same_works_behind_it(self):
        outcome, process = dmatest("--destructive", *objects(), *EDU_DEVICE, *NVME_DEVICE)
        self.assert_passed(process)
        self.assertEqual(verdicts(outcome), {
            (device, step): "passed" for device in ("edu0", "nvme0")
            for step in ("bind, attach, map", "identify", "memory to memory", "unmapped DMA")})
