# SPDX-License-Identifier: Apache-2.0 OR MIT
"""A vDPA device that pins pages as hardware does (vdpa_sim.use_va=0): its memory is charged a second time, and its check
counts what iommufd has pinned, not the other way round. So what is mapped first decides how high the limit must be."""

import resource

from command.support import (BLK, BLK_DEVICE, EDU, EDU_DEVICE, FAILED, IOMMU, MIB, CommandTest, Holding, as_nobody,
                             dmatest, node_of, objects, opened, vdpa, verdicts, vfio)

ONCE, TWICE = 65 * MIB, 128 * MIB  # the limit that 64 MiB in both devices need, vDPA first or last


def limited(limit):
    """A child of root with this limit, that CAP_IPC_LOCK excuses from iommufd's check but not from that of vDPA."""
    return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))}


class Pinning(CommandTest):
    def setUp(self):
        with open("/sys/module/vdpa_sim/parameters/use_va", encoding="ascii") as use_va:
            if use_va.read(1) != "N":
                self.skipTest("the simulator uses addresses (vdpa_sim.use_va=1)")

    def pinned(self, *arguments, **options):
        with Holding(*arguments, **options) as held:
            pinned = held.pinned()
        self.assertEqual((held.status, held.rest), (0, ""))
        return pinned

    def by_descriptor(self, given, *order, late):
        """The options with devices in this order, before the mapping or late: after it."""
        iommufd, edu, blk = given
        words = objects(iommufd_fd=iommufd)
        devices = [word for name in order for word in
                   (vfio("edu0", f"fd={edu}") if name == "edu" else vdpa(f"vhostfd={blk}"))]
        return [*words, *devices] if late else [*words[:6], *devices, *words[6:]]

    def test_it_pins_what_iommufd_has_pinned_once_more(self):
        self.assertGreaterEqual(self.pinned(*objects(), *EDU_DEVICE, *BLK_DEVICE, **limited(TWICE)), TWICE)

    def test_the_library_maps_vdpa_first_in_whichever_order_the_devices_came(self):
        for order in (("edu", "blk"), ("blk", "edu")):
            with self.subTest(order=order), opened(IOMMU, node_of(EDU), BLK) as given:
                pinned = self.pinned(*self.by_descriptor(given, *order, late=False), pass_fds=given,
                                     preexec_fn=as_nobody(ONCE))
                self.assertGreaterEqual(pinned, TWICE)

    def test_a_vdpa_device_that_comes_after_the_memory_but_before_vfio_fits_as_well(self):
        with opened(IOMMU, node_of(EDU), BLK) as given:
            self.pinned(*self.by_descriptor(given, "blk", "edu", late=True), pass_fds=given, preexec_fn=as_nobody(ONCE))

    def test_one_that_comes_after_vfio_is_refused_with_the_limit_that_it_needs_and_that_is_enough(self):
        with opened(IOMMU, node_of(EDU), BLK) as given:
            line = self.refuse(FAILED, *self.by_descriptor(given, "edu", "blk", late=True), pass_fds=given,
                               preexec_fn=as_nobody(ONCE))
        self.assertIn("RLIMIT_MEMLOCK is 65 MiB; this process has pinned 64 MiB (VmPin, iommufd's pins included)", line)
        self.assertIn(f"raise the limit to {TWICE} bytes (`ulimit -l {TWICE >> 10}`", line)
        with opened(IOMMU, node_of(EDU), BLK) as given:
            self.pinned(*self.by_descriptor(given, "edu", "blk", late=True), pass_fds=given, preexec_fn=as_nobody(TWICE))

    def test_so_it_is_for_root(self):
        late = [*objects(), *EDU_DEVICE, *BLK_DEVICE]
        line = self.refuse(FAILED, *late, **limited(ONCE))
        self.assertIn("which CAP_IPC_LOCK does not excuse", line)
        self.pinned(*objects(), *BLK_DEVICE, *EDU_DEVICE, **limited(ONCE))

    def test_both_devices_do_dma_in_it(self):
        outcome, process = dmatest("--destructive", *objects(), *BLK_DEVICE, *EDU_DEVICE, **limited(TWICE + MIB))
        self.assert_passed(process)
        for device in ("blk0", "edu0"):
            self.assertEqual(verdicts(outcome)[(device, "memory to memory")], "passed")

    def test_private_memory_is_taken_where_the_device_pins(self):
        words = [word.replace("size=64M", "size=64M,share=off") for word in objects()]
        outcome, process = dmatest("--destructive", *words, *BLK_DEVICE, **limited(ONCE))
        self.assert_passed(process)
        self.assertEqual(verdicts(outcome)[("blk0", "memory to memory")], "passed")
