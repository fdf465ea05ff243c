# SPDX-License-Identifier: Apache-2.0 OR MIT
"""`iommufd run`: what it holds, and how it lets go."""

import os
import signal
import threading

from command.support import (BLK, BLK_DEVICE, EDU, EDU_DEVICE, IOMMU, MIB, NOBODY, NVME_DEVICE, CommandTest, Holding,
                             as_nobody, dmatest, node_of, objects, verdicts, write)


class Run(CommandTest):
    def test_it_holds_its_objects_until_a_signal_and_gives_all_of_them_back(self):
        for how in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(signal=how.name), Holding(*objects(), *NVME_DEVICE, *EDU_DEVICE, *BLK_DEVICE) as held:
                self.assertIn("7 objects are ready", held.line)
                self.assertGreaterEqual(held.pinned(), 64 * MIB)
                self.assertLessEqual({IOMMU, node_of(EDU), BLK}, held.files())
                held.stop(how)
                self.assertEqual((held.status, held.rest), (0, ""))
        outcome, process = dmatest(*objects(), *NVME_DEVICE, *BLK_DEVICE)
        self.assert_passed(process)
        self.assertEqual([device["failed"] for device in outcome["devices"]], [False, False])

    def test_a_device_that_the_kernel_asks_back_goes_within_five_seconds_and_the_node_with_the_last(self):
        unbinding = threading.Thread(target=write, args=("/sys/bus/pci/drivers/vfio-pci/unbind", EDU), daemon=True)
        node = node_of(EDU)
        try:
            with Holding(*objects(), *EDU_DEVICE) as held:
                self.assertGreaterEqual(held.pinned(), 64 * MIB)
                unbinding.start()
                unbinding.join(timeout=5)
                self.assertFalse(unbinding.is_alive(), "unbind still hangs")
                self.assertTrue(held.wait_for("'edu0' is detached and closed"), held.line)
                self.assertEqual(held.pinned(), 0)
                self.assertFalse(held.files() & {IOMMU, node})
            self.assertEqual((held.status, held.rest), (0, ""))
        finally:
            unbinding.join(timeout=5)
            write("/sys/bus/pci/drivers_probe", EDU)
            node_of(EDU)
        with Holding(*objects(), *EDU_DEVICE) as again:
            self.assertGreaterEqual(again.pinned(), 64 * MIB)

    def test_a_space_with_vdpa_only_needs_no_permission_on_the_iommufd_node(self):
        os.chown(BLK, NOBODY, NOBODY)
        try:
            outcome, process = dmatest("--destructive", *objects(), *BLK_DEVICE, preexec_fn=as_nobody(65 * MIB))
            with Holding(*objects(), *BLK_DEVICE, preexec_fn=as_nobody(65 * MIB)) as held:
                self.assertNotIn(IOMMU, held.files())
        finally:
            os.chown(BLK, 0, 0)
        self.assert_passed(process)
        self.assertEqual(verdicts(outcome)[("blk0", "memory to memory")], "passed")
