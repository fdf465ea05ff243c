# SPDX-License-Identifier: Apache-2.0 OR MIT
"""`iommufd dmatest` with three devices, two of which keep what they are given."""

from command.support import (BLK_DEVICE, EDU_DEVICE, FAILED, IOVA, NVME_DEVICE, CommandTest, Holding, details, dmatest,
                             nvme_disk, objects, run, vdpa_disk, verdicts)

PAGE, AREA = 4 << 10, 64 << 10


class Dmatest(CommandTest):
    def test_three_devices_share_one_iommufd_and_one_memory_at_one_iova(self):
        outcome, process = dmatest("--destructive", *objects(), *NVME_DEVICE, *EDU_DEVICE, *BLK_DEVICE)
        self.assert_passed(process)
        self.assertEqual(process.stderr, "")
        self.assertEqual(outcome["iommufd"], "iommufd0")
        self.assertEqual(outcome["memory"], f"64 MiB at IOVA {IOVA:#x}, shared by 3 devices")
        self.assertEqual([device["driver"] for device in outcome["devices"]], ["nvme", "edu", "virtio-blk"])
        self.assertEqual(verdicts(outcome), {
            (device, step): "passed" for device in ("nvme0", "edu0", "blk0")
            for step in ("bind, attach, map", "identify", "memory to memory", "unmapped DMA")
        } | {("blk0", "unmapped DMA"): "left-out"})
        said = details(outcome)
        # Each takes the bytes from where the one before put them.
        for number, device in enumerate(("nvme0", "edu0", "blk0")):
            self.assertTrue(said[(device, "memory to memory")].startswith(
                f"64 KiB at {IOVA + number * AREA:#x} through the device to {IOVA + (number + 1) * AREA:#x}, the same"))
        for device in ("nvme0", "edu0"):
            self.assertRegex(said[(device, "unmapped DMA")], r"^blocked at 0x[0-9a-f]+, both ways")
        # The same bytes are on both disks, for others too. The DMA that was blocked had the first page for its target.
        on_nvme = nvme_disk(AREA)
        self.assertGreater(len(set(on_nvme[PAGE:])), 200)
        self.assertEqual(on_nvme[PAGE:], vdpa_disk(AREA)[PAGE:])

    def test_without_destructive_nothing_changes_on_the_disk_and_what_was_left_out_is_said(self):
        _, process = dmatest("--destructive", *objects(), *NVME_DEVICE)
        self.assert_passed(process)
        before = nvme_disk(1 << 20)
        outcome, process = dmatest(*objects(), *NVME_DEVICE)
        self.assert_passed(process)
        self.assertTrue(nvme_disk(1 << 20) == before, "the disk has changed")
        self.assertEqual(verdicts(outcome), {
            ("nvme0", "bind, attach, map"): "passed",
            ("nvme0", "identify"): "passed",
            ("nvme0", "read to memory"): "passed",
            ("nvme0", "write and read back"): "left-out",
            ("nvme0", "unmapped DMA"): "passed",
        })
        self.assertIn("--destructive allows it", details(outcome)[("nvme0", "write and read back")])
        _, process = dmatest("--destructive", *objects(), *NVME_DEVICE)
        self.assert_passed(process)
        self.assertFalse(nvme_disk(1 << 20) == before, "what would show a change doesn't")

    def test_people_are_told_the_same(self):
        process = run("dmatest", *objects(), *NVME_DEVICE)
        self.assert_passed(process)
        self.assertRegex(process.stdout, r"(?m)^  unmapped DMA +ok +blocked at 0x")
        self.assertRegex(process.stdout, r"(?m)^  write and read back +left out ")
        self.assertRegex(process.stdout, r"1 device, 0 failed\n$")

    def test_a_device_in_use_is_refused(self):
        for name, device in (("nvme0", NVME_DEVICE), ("blk0", BLK_DEVICE)):
            with self.subTest(device=name), Holding(*objects(), *device):
                line = self.refuse(FAILED, *objects(), *device, command="dmatest")
                self.assertIn(f"'{name}'", line)
        outcome, process = dmatest(*objects(), *NVME_DEVICE)
        self.assert_passed(process)
        self.assertFalse(outcome["devices"][0]["failed"])
