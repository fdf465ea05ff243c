# SPDX-License-Identifier: Apache-2.0 OR MIT
"""iommufd0 and the devices by fd=, in a child that may open none of the nodes."""

import subprocess

from command.support import (BLK, EDU, FAILED, IOMMU, MIB, NVME, CommandTest, as_nobody, dmatest, node_of, objects,
                             opened, vdpa, verdicts, vfio)

# Opens what it is told to; says of itself what it may.
TRY = """
import os, sys
for node in sys.argv[1:]:
    try:
        os.open(node, os.O_RDWR)
        print("opened", node)
    except PermissionError:
        pass
print(next(line for line in open("/proc/self/status") if line.startswith("CapEff")).split()[1].strip("0"), end="")
"""


def paths():
    return [IOMMU, node_of(EDU), node_of(NVME), BLK]


class Descriptors(CommandTest):
    def test_three_devices_work_in_a_child_that_could_open_none_of_the_nodes(self):
        tried = subprocess.run(["/usr/bin/python3", "-c", TRY, *paths()], preexec_fn=as_nobody(), capture_output=True,
                               text=True, check=False, cwd="/")
        self.assertEqual((tried.stdout, tried.stderr, tried.returncode), ("", "", 0))

        with opened(*paths()) as given:
            iommufd, edu, nvme, blk = given
            outcome, process = dmatest(
                "--destructive", *objects(iommufd_fd=iommufd), *vfio("nvme0", f"fd={nvme}"), *vfio("edu0", f"fd={edu}"),
                *vdpa(f"vhostfd={blk}"), pass_fds=given, preexec_fn=as_nobody(65 * MIB))
        self.assert_passed(process)
        found = verdicts(outcome)
        for device in ("nvme0", "edu0", "blk0"):
            self.assertEqual(found[(device, "memory to memory")], "passed")
        for device in ("nvme0", "edu0"):
            self.assertEqual(found[(device, "unmapped DMA")], "passed")
        self.assertEqual(outcome["devices"][1]["device"], f"vfio-pci {EDU}")

    def test_a_limit_that_is_too_low_is_named_with_what_is_pinned_and_how_that_is_counted(self):
        with opened(IOMMU, node_of(NVME)) as given:
            iommufd, nvme = given
            line = self.refuse(FAILED, *objects(iommufd_fd=iommufd), *vfio("nvme0", f"fd={nvme}"), command="dmatest",
                               pass_fds=given, preexec_fn=as_nobody(8 * MIB))
        self.assertIn("ENOMEM", line)
        self.assertIn("RLIMIT_MEMLOCK is 8 MiB; this process has pinned 0 bytes (VmPin); accounting: per user", line)
        self.assertIn("raise the limit", line)
