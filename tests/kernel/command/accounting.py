# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Whose limit pinned memory counts against, for processes without CAP_IPC_LOCK."""

import fcntl
import struct

from command.support import (EDU, FAILED, IOMMU, MIB, NVME, CommandTest, Holding, as_nobody, node_of, objects, opened,
                             vfio)

OPTION, RLIMIT_MODE, SET = 0x3b87, 0, 0


def account_per_process(iommufd):
    fcntl.ioctl(iommufd, OPTION, struct.pack("=IIHHIQ", 24, RLIMIT_MODE, SET, 0, 0, 1))


class Accounting(CommandTest):
    """Two processes of one user, each with 64 MiB for a device, and a limit that is enough for one of them."""

    def two(self, iommufds, nodes, second):
        (iommufd, other), (edu, nvme) = iommufds, nodes
        child = {"pass_fds": (*iommufds, *nodes), "preexec_fn": as_nobody(96 * MIB)}
        with Holding(*objects(iommufd_fd=iommufd), *vfio("edu0", f"fd={edu}"), **child) as first:
            self.assertGreaterEqual(first.pinned(), 64 * MIB)
            return second(*objects(iommufd_fd=other), *vfio("nvme0", f"fd={nvme}"), **child)

    def held(self, *arguments, **options):
        with Holding(*arguments, **options) as second:
            pinned = second.pinned()
        self.assertEqual(second.status, 0)
        return pinned

    def test_per_user_the_second_process_is_refused_and_told_that_others_count(self):
        with opened(IOMMU, IOMMU) as iommufds, opened(node_of(EDU), node_of(NVME)) as nodes:
            line = self.two(iommufds, nodes, lambda *arguments, **options: self.refuse(FAILED, *arguments, **options))
        self.assertIn("RLIMIT_MEMLOCK is 96 MiB; this process has pinned 0 bytes (VmPin); accounting: per user", line)
        self.assertIn("what other processes of this user have pinned counts as well", line)

    def test_per_process_both_have_the_limit_for_themselves(self):
        with opened(IOMMU, IOMMU) as iommufds, opened(node_of(EDU), node_of(NVME)) as nodes:
            for iommufd in iommufds:
                account_per_process(iommufd)
            self.assertGreaterEqual(self.two(iommufds, nodes, self.held), 64 * MIB)

    def test_per_process_what_is_above_the_limit_is_refused_and_told_so(self):
        with opened(IOMMU, node_of(NVME)) as given:
            iommufd, nvme = given
            account_per_process(iommufd)
            line = self.refuse(FAILED, *objects(iommufd_fd=iommufd, size="128M"), *vfio("nvme0", f"fd={nvme}"),
                               pass_fds=given, preexec_fn=as_nobody(96 * MIB))
        self.assertIn("RLIMIT_MEMLOCK is 96 MiB; this process has pinned 0 bytes (VmPin); accounting: per process", line)
        self.assertNotIn("other processes", line)

    def test_nothing_stays_counted_after_a_process_has_gone(self):
        for _ in range(3):
            with opened(IOMMU, node_of(NVME)) as given:
                pinned = self.held(*objects(iommufd_fd=given[0]), *vfio("nvme0", f"fd={given[1]}"), pass_fds=given,
                                   preexec_fn=as_nobody(65 * MIB))
            self.assertGreaterEqual(pinned, 64 * MIB)
