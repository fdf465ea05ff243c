# SPDX-License-Identifier: Apache-2.0 OR MIT
"""`iommufd doctor` on a machine where all is well, and with one thing after another broken."""

import contextlib
import json
import os
import resource
import subprocess

from command import support
from command.bind import CARD, GROUP_EDU, GROUP_SERIAL, NVME, BindTest, mounted
from command.support import (DONE, EDU, FAILED, IOMMU, MIB, NOBODY, CommandTest, Holding, node_of, objects, run, vfio,
                             write)

RELEASE = os.uname().release
OLD = os.environ["IOMMUFD_VM_KERNEL"] == "old"  # Linux 6.12
# What the doctor says of a kernel that is too old for it, and what it advises.
NEWER = (("kernel-options", "CONFIG_VFIO_PCI_DMABUF", "use Linux 6.19 or later"),
         ("iommufd-ioctls", f"Linux {RELEASE} lacks IOMMU_IOAS_MAP_FILE (Linux 6.13), IOMMU_VIOMMU_ALLOC", "use a newer kernel"),
         ("bar-dma-buf", "this kernel has no VFIO_DEVICE_FEATURE_DMA_BUF", "use Linux 6.19 or later"))


class Diagnosis(CommandTest):
    def examined(self, *arguments, **options):
        """What it found, by check, and whether all is well; the exit status says the same."""
        process = run("doctor", "--json", *arguments, **options)
        self.assertEqual(process.stderr, "")
        told = json.loads(process.stdout)
        self.assertEqual(process.returncode, DONE if told["ready"] else FAILED)
        self.assertEqual(told["ready"], all(found["verdict"] != "fail" for found in told["findings"]))
        return told

    def failures(self, told):
        return [found["check"] for found in told["findings"] if found["verdict"] == "fail"]

    def assert_names(self, told, check, evidence, fix, verdict="fail"):
        found = [its for its in told["findings"] if its["check"] == check and its["verdict"] == verdict]
        self.assertTrue(found, told)
        self.assertIn(evidence, found[0]["evidence"])
        self.assertIn(fix, found[0]["fix"] or "")

    def assert_only(self, told, check, evidence, fix):
        self.assertEqual(self.failures(told), [check], told)
        self.assert_names(told, check, evidence, fix)


def somebody(limit=None, hard=None):
    """No user, whom the nodes may be given to, with all groups gone."""
    def become():
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, hard or limit))
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    return {"preexec_fn": become}


@contextlib.contextmanager
def owned(*paths):
    """Nodes that belong to nobody for a while."""
    for path in paths:
        os.chown(path, NOBODY, NOBODY)
    try:
        yield
    finally:
        for path in paths:
            os.chown(path, 0, 0)


@contextlib.contextmanager
def boot_folder(config):
    """A /boot with these options of the running kernel."""
    subprocess.run(["mount", "-t", "tmpfs", "none", "/boot"], check=True)
    try:
        with open(f"/boot/config-{RELEASE}", "w", encoding="ascii") as file:
            file.write(config)
        yield
    finally:
        subprocess.run(["umount", "/boot"], check=True)


class Machine(Diagnosis, BindTest):
    """In one boot: whoever breaks something mends it."""

    def setUp(self):
        super().setUp()
        self.does("bind", EDU, NVME)
        self.addCleanup(self.does, "unbind", EDU, NVME)

    def tearDown(self):
        pass  # the drivers are given back after it

    def test_the_good_one_passes_and_so_does_the_device(self):
        for arguments in ((), (NVME,)):
            told = self.examined(*arguments)
            self.assertTrue(told["ready"], told)
        verdicts = {found["check"]: found["verdict"] for found in told["findings"]}
        for check in ("iommu", "interrupt-remapping", "iommu-node", "vfio-driver", "vfio-cdev", "driver", "use", "iommu-group", "acs",
                      "device-node", "reset", "reserved-ranges", "bind", "aperture", "memlock", "accounting", "huge-pages"):
            self.assertEqual(verdicts[check], "pass", (check, told))
        for check, evidence, fix in NEWER:
            if OLD:
                self.assert_names(told, check, evidence, fix, verdict="warn")
            else:
                self.assertEqual(verdicts[check], "pass", (check, told))

    def test_without_privilege_the_good_one_passes_too_and_what_is_hidden_is_said(self):
        with owned(IOMMU, node_of(NVME)):
            told = self.examined(NVME, **somebody(2 << 30))
        self.assertTrue(told["ready"], told)
        self.assert_names(told, "use", "those of others can't be seen", "run it as root", verdict="unseen")

    def test_for_people_it_is_lines_with_the_fix_below(self):
        process = run("doctor", NVME, **somebody(8 * MIB))
        self.assertEqual((process.returncode, process.stderr), (FAILED, ""))
        self.assertIn("FAIL  iommu-node           user 65534 can't open /dev/iommu: EACCES (mode 0660)\n", process.stdout)
        self.assertRegex(process.stdout, r"\n +-> .*iommufd exec --user 65534")
        self.assertTrue(process.stdout.splitlines()[-1].startswith(f"{NVME} is not ready: 3 failed"), process.stdout)
        self.assertNotIn("\033", process.stdout)

    def test_a_device_on_its_host_driver(self):
        self.assert_only(self.examined(CARD), "driver", f"{CARD} is on its host driver e1000", f"iommufd bind {CARD}")

    def test_a_group_that_the_kernel_uses_and_the_fix_mends_it(self):
        self.does("bind", "--group", GROUP_EDU)
        self.does("unbind", GROUP_SERIAL)
        try:
            told = self.examined(GROUP_EDU)
            self.assert_only(told, "iommu-group", f"isn't viable because of {GROUP_SERIAL} (virtio-pci)",
                             f"iommufd bind {GROUP_SERIAL}")
            self.assert_names(told, "acs", "are not kept apart", "whole group", verdict="warn")
            self.does("bind", GROUP_SERIAL)
            self.assertTrue(self.examined(GROUP_EDU)["ready"])
        finally:
            self.does("unbind", "--group", GROUP_EDU)

    def test_a_device_that_somebody_has(self):
        with Holding(*objects(), *vfio("nvme0", f"host={NVME}")) as holding:
            told = self.examined(NVME)
        self.assert_only(told, "use", f"iommufd (process {holding.process.pid}) has {node_of(NVME)} open", "end that process")

    def test_a_disk_that_is_mounted(self):
        self.does("unbind", NVME)
        try:
            with mounted() as place:
                told = self.examined(NVME)
            self.assertEqual(self.failures(told), ["driver", "use"])
            self.assert_names(told, "use", f"nvme0n1 is mounted on {place}", "end that use")
        finally:
            self.does("bind", NVME)

    def test_no_permission_for_the_iommufd(self):
        with owned(node_of(NVME)):
            told = self.examined(NVME, **somebody(2 << 30))
        self.assert_only(told, "iommu-node", "user 65534 can't open /dev/iommu: EACCES", "iommufd exec --user 65534")

    def test_no_permission_for_the_device(self):
        with owned(IOMMU):
            told = self.examined(NVME, **somebody(2 << 30))
        self.assert_only(told, "device-node", f"user 65534 can't open {node_of(NVME)}: EACCES", f"--device {NVME}")

    def test_a_memlock_limit_that_is_too_low(self):
        with owned(IOMMU, node_of(NVME)):
            told = self.examined(NVME, **somebody(8 * MIB))
            self.assert_only(told, "memlock", "RLIMIT_MEMLOCK is 8 MiB (hard 8 MiB)", f"prlimit --pid $$ --memlock={1 << 30}")
            told = self.examined(NVME, "--memory", "3G", **somebody(8 * MIB, 4 << 30))
            self.assert_only(told, "memlock", "RLIMIT_MEMLOCK is 8 MiB (hard 4 GiB)", "ulimit -l 3145728")

    def test_a_container_without_the_nodes(self):
        script = f'mount -t tmpfs none /dev && exec {support.iommufd} doctor --json {NVME}'
        process = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False)
        told = json.loads(process.stdout)
        self.assertEqual(self.failures(told), ["iommu-node", "device-node"], told)
        self.assert_names(told, "iommu-node", "and there is no /dev/iommu here", "--device /dev/iommu")

    def test_a_kernel_without_its_options(self):
        with boot_folder("# CONFIG_IOMMUFD is not set\n"):
            told = self.examined()
        self.assertEqual(told["findings"][0]["verdict"], "fail")
        self.assert_only(told, "kernel-options", f"CONFIG_IOMMUFD is not set in /boot/config-{RELEASE}", "-m IOMMUFD")

    def test_other_programs_of_this_user_that_pin(self):
        with owned(IOMMU, node_of(NVME), node_of(EDU)):
            child = somebody(2 << 30)
            with Holding(*objects(), *vfio("edu0", f"host={EDU}"), **child) as holding:
                told = self.examined(NVME, **child)
        self.assert_names(told, "accounting", f"iommufd (process {holding.process.pid}) has /dev/iommu open", "iommufd exec",
                          verdict="warn")

    def test_no_huge_pages(self):
        setting = "/sys/kernel/mm/transparent_hugepage/enabled"
        write(setting, "never")
        try:
            self.assert_names(self.examined(), "huge-pages", "always madvise [never]", "echo madvise", verdict="warn")
        finally:
            write(setting, "always")

    def test_a_device_that_is_not_there(self):
        self.assertIn("0000:0f:00.0", self.refuse(FAILED, "0000:0f:00.0", command="doctor"))
