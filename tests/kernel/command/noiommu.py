# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Devices that VFIO hands out without an IOMMU (vfio.enable_unsafe_noiommu_mode=1)."""

from command.support import (EDU_DEVICE, NOT_TRIED, NVME_DEVICE, CommandTest, details, dmatest, nvme_disk, objects, run,
                             verdicts)


class Noiommu(CommandTest):
    def test_bind_attach_and_map_work_and_dma_is_not_tried_since_nothing_is_protected(self):
        outcome, process = dmatest("--destructive", *objects(), *EDU_DEVICE, *NVME_DEVICE)
        self.assert_passed(process, NOT_TRIED)
        self.assertEqual(outcome["exit-status"], NOT_TRIED)
        self.assertEqual(verdicts(outcome), {
            (device, step): verdict for device in ("edu0", "nvme0")
            for step, verdict in (("bind, attach, map", "passed"), ("DMA", "left-out"))})
        for device in ("edu0", "nvme0"):
            self.assertTrue(details(outcome)[(device, "DMA")].startswith("not protected: there is no IOMMU"))
        self.assertEqual(set(nvme_disk(1 << 20)), {0})

    def test_people_are_told_the_same(self):
        process = run("dmatest", *objects(), *EDU_DEVICE)
        self.assert_passed(process, NOT_TRIED)
        self.assertIn("left out  not protected", process.stdout)
