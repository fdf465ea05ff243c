#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The command on a real kernel, with devices that nobody here wrote. Runs in the VM, as root:

    vm/run --give edu,nvme,vdpa-blk -- /usr/bin/python3 tests/kernel/command_test.py build/dev/src/cli/iommufd
"""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import unittest

IOMMUFD = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else "iommufd"
EDU, NVME, BLK = "0000:00:10.0", "0000:00:11.0", "/dev/vhost-vdpa-0"
NOBODY = 65534

MEMORY = [
    "-object", "iommufd,id=iommufd0",
    "-object", "memory-backend-memfd,id=ram,size=64M",
    "-object", "dma-space,id=dma0,iommufd=iommufd0",
    "-object", "dma-mapping,id=map0,space=dma0,memdev=ram,iova=0x4000000",
]
NVME_DEVICE = ["-device", f"vfio-pci,id=nvme0,host={NVME},iommufd=iommufd0,space=dma0"]
EDU_DEVICE = ["-device", f"vfio-pci,id=edu0,host={EDU},iommufd=iommufd0,space=dma0"]
BLK_DEVICE = ["-device", f"vhost-vdpa,id=blk0,vhostdev={BLK},iommufd=iommufd0,space=dma0"]


def run(*arguments, **options):
    return subprocess.run([IOMMUFD, *arguments], capture_output=True, text=True, timeout=60, check=False, **options)


def dmatest(*arguments, **options):
    """The outcome of a dmatest as a dictionary, and the process."""
    process = run("dmatest", "--json", *arguments, **options)
    return (json.loads(process.stdout) if process.stdout else None), process


def verdicts(outcome):
    return {(device["id"], step["name"]): step["verdict"] for device in outcome["devices"] for step in device["steps"]}


def node_of(address):
    return "/dev/vfio/devices/" + os.listdir(f"/sys/bus/pci/devices/{address}/vfio-dev")[0]


def as_nobody(limit=None):
    """What a child does before it becomes the command: no user, no group, no capability."""
    def become():
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    return become


class Dmatest(unittest.TestCase):
    def test_three_devices_share_one_iommufd_and_one_memory_at_one_iova(self):
        outcome, process = dmatest("--destructive", *MEMORY, *NVME_DEVICE, *EDU_DEVICE, *BLK_DEVICE)
        self.assertEqual(process.returncode, 0, process.stderr)
        self.assertEqual(outcome["memory"], "64 MiB at IOVA 0x4000000, shared by 3 devices")
        found = verdicts(outcome)
        for device in ("nvme0", "edu0", "blk0"):
            self.assertEqual(found[(device, "memory to memory")], "passed")
        for device in ("nvme0", "edu0"):
            self.assertEqual(found[(device, "unmapped DMA")], "passed")

    def test_without_destructive_storage_is_read_only_and_what_was_left_out_is_said(self):
        outcome, process = dmatest(*MEMORY, *NVME_DEVICE)
        self.assertEqual(process.returncode, 0, process.stderr)
        found = verdicts(outcome)
        self.assertEqual(found[("nvme0", "write and read back")], "left-out")
        self.assertEqual(found[("nvme0", "read to memory")], "passed")
        self.assertNotIn(("nvme0", "memory to memory"), found)

    def test_a_device_in_use_is_refused(self):
        with Holding(*MEMORY, *EDU_DEVICE):
            _, process = dmatest(*MEMORY, *EDU_DEVICE)
            self.assertEqual(process.returncode, 1)
            self.assertEqual(len(process.stderr.splitlines()), 1, process.stderr)


class Descriptors(unittest.TestCase):
    """iommufd0 and a device by fd=, in a child that may open neither node."""

    def arguments(self, iommufd, device):
        return [
            "-object", f"iommufd,id=iommufd0,fd={iommufd}",
            "-object", "memory-backend-memfd,id=ram,size=4M",
            "-object", "dma-space,id=dma0,iommufd=iommufd0",
            "-object", "dma-mapping,id=map0,space=dma0,memdev=ram,iova=0x4000000",
            "-device", f"vfio-pci,id=edu0,fd={device},iommufd=iommufd0,space=dma0",
        ]

    def try_as_nobody(self, limit):
        iommufd, device = os.open("/dev/iommu", os.O_RDWR), os.open(node_of(EDU), os.O_RDWR)
        try:
            return dmatest(*self.arguments(iommufd, device), pass_fds=(iommufd, device), preexec_fn=as_nobody(limit))
        finally:
            os.close(iommufd)
            os.close(device)

    def test_an_unprivileged_child_works_with_what_its_parent_opened(self):
        outcome, process = self.try_as_nobody(8 << 20)
        self.assertEqual(process.returncode, 0, process.stderr)
        self.assertEqual(verdicts(outcome)[("edu0", "memory to memory")], "passed")

    def test_that_child_could_open_neither_node(self):
        # Under /tmp, since nobody may not look into the folders of the build.
        check = "import os,sys\nfor n in sys.argv[1:]:\n  try: os.open(n, os.O_RDWR); sys.exit(1)\n  except PermissionError: pass"
        process = subprocess.run(["/usr/bin/python3", "-c", check, "/dev/iommu", node_of(EDU)],
                                 preexec_fn=as_nobody(), check=False)
        self.assertEqual(process.returncode, 0)

    def test_a_memlock_limit_that_is_too_low_is_named_with_what_is_pinned(self):
        _, process = self.try_as_nobody(1 << 20)
        self.assertEqual(process.returncode, 1)
        self.assertIn("ENOMEM", process.stderr)
        self.assertIn("RLIMIT_MEMLOCK is 1 MiB", process.stderr)


class Holding:
    """`iommufd run` with these options, until the block ends."""

    def __init__(self, *arguments, **options):
        self.process = subprocess.Popen([IOMMUFD, "run", *arguments], stderr=subprocess.PIPE, text=True, **options)
        self.line = self.process.stderr.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        with self.process.stderr:
            self.rest = self.process.stderr.read()
        self.status = self.process.wait(timeout=20)


class Run(unittest.TestCase):
    def test_holds_its_objects_until_it_is_told_to_stop_and_pins_their_memory_meanwhile(self):
        with Holding(*MEMORY, *EDU_DEVICE) as held:
            self.assertIn("5 objects are ready", held.line)
            with open(f"/proc/{held.process.pid}/status", encoding="ascii") as status:
                pinned = next(line for line in status if line.startswith("VmPin"))
            self.assertGreaterEqual(int(pinned.split()[1]), 64 << 10)
        self.assertEqual(held.status, 0)
        outcome, process = dmatest(*MEMORY, *EDU_DEVICE)
        self.assertEqual(process.returncode, 0, process.stderr)
        self.assertFalse(outcome["devices"][0]["failed"])

    def test_unbind_of_a_device_that_it_holds_ends_within_five_seconds(self):
        def unbind():
            with open("/sys/bus/pci/drivers/vfio-pci/unbind", "w", encoding="ascii") as file:
                file.write(EDU)

        with Holding(*MEMORY, *EDU_DEVICE) as held:
            unbinding = threading.Thread(target=unbind, daemon=True)
            unbinding.start()
            unbinding.join(timeout=5)
            ended = not unbinding.is_alive()
        with open("/sys/bus/pci/drivers_probe", "w", encoding="ascii") as file:
            file.write(EDU)
        self.assertTrue(ended, "unbind still hangs")
        self.assertIn("the kernel asks for 'edu0' back", held.rest)
        self.assertIn("'edu0' is detached and closed", held.rest)
        self.assertEqual(held.status, 0)
        for _ in range(50):
            if os.path.isdir(f"/sys/bus/pci/devices/{EDU}/vfio-dev"):
                break
            time.sleep(0.1)

    def test_a_space_with_vdpa_only_needs_no_permission_on_the_iommufd_node(self):
        os.chown(BLK, NOBODY, NOBODY)
        try:
            outcome, process = dmatest("--destructive", *MEMORY, *BLK_DEVICE, preexec_fn=as_nobody(256 << 20))
        finally:
            os.chown(BLK, 0, 0)
        self.assertEqual(process.returncode, 0, process.stderr)
        self.assertEqual(verdicts(outcome)[("blk0", "memory to memory")], "passed")


class Qemu(unittest.TestCase):
    def test_qemu_realizes_a_device_with_the_descriptors_that_a_program_of_ours_opened(self):
        launch = os.path.join(os.path.dirname(IOMMUFD), "../../examples/launch_qemu")
        commands = [{"execute": "qmp_capabilities"},
                    {"execute": "qom-list", "arguments": {"path": "/machine/peripheral"}},
                    {"execute": "qom-get", "arguments": {"path": "/machine/peripheral/hostdev0", "property": "realized"}},
                    {"execute": "qom-list", "arguments": {"path": "/objects"}},
                    {"execute": "quit"}]
        process = subprocess.run(
            [launch, EDU, "qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-m", "128M", "-nodefaults", "-display", "none",
             "-S", "-qmp", "stdio"],
            input="".join(json.dumps(command) + "\n" for command in commands), capture_output=True, text=True, timeout=100,
            check=False)
        self.assertEqual(process.returncode, 0, process.stderr + process.stdout)
        answers = [json.loads(line) for line in process.stdout.splitlines()]
        returned = [answer["return"] for answer in answers if "return" in answer]
        self.assertIn("hostdev0", [child["name"] for child in returned[1]])
        self.assertIs(returned[2], True)
        self.assertIn("iommufd0", [child["name"] for child in returned[3]])


class BadInput(unittest.TestCase):
    """Each gets one line with cause and next step, and leaves nothing bound, mapped or open."""

    def refuse(self, status, *arguments, **options):
        process = run("run", *arguments, **options)
        self.assertEqual(process.returncode, status, process.stderr)
        lines = process.stderr.splitlines()
        self.assertEqual(len(lines), 1, process.stderr)
        self.assertTrue(lines[0].startswith("iommufd: "), lines[0])
        self.assertIn("(", lines[0])
        self.assertIn("; ", lines[0])
        return lines[0]

    def space(self, size="64M", more="iova=0x4000000"):
        return ["-object", "iommufd,id=i", "-object", f"memory-backend-memfd,id=m,size={size}",
                "-object", "dma-space,id=s,iommufd=i", "-object", f"dma-mapping,id=p,space=s,memdev=m,{more}",
                "-device", f"vfio-pci,id=edu0,host={EDU},iommufd=i,space=s"]

    def tearDown(self):
        _, process = dmatest(*MEMORY, *EDU_DEVICE)
        self.assertEqual(process.returncode, 0, "something was left behind: " + process.stderr)

    def test_descriptors(self):
        directory = os.open("/", os.O_RDONLY)
        self.refuse(1, "-object", f"iommufd,id=i,fd={directory}", pass_fds=(directory,))
        os.close(directory)
        null = os.open("/dev/null", os.O_RDWR)
        self.refuse(1, "-object", f"iommufd,id=i,fd={null}", pass_fds=(null,))
        os.close(null)
        self.refuse(1, "-object", "iommufd,id=i,fd=77")
        node = os.open("/dev/iommu", os.O_RDWR)
        self.refuse(1, "-object", f"iommufd,id=i,fd={node}", "-object", f"iommufd,id=j,fd={node}", pass_fds=(node,))
        os.close(node)

    def test_devices(self):
        self.refuse(1, "-object", "iommufd,id=i", "-device", "vfio-pci,id=d,host=0000:77:00.0,iommufd=i")
        line = self.refuse(1, "-object", "iommufd,id=i", "-device", "vfio-pci,id=d,host=0000:00:12.0,iommufd=i")
        self.assertIn("bound to its host driver pcieport", line)

    def test_ranges(self):
        self.refuse(1, *self.space(more="iova=0xfee00000"))
        self.refuse(1, *self.space(more="iova=0x10000000"))
        self.refuse(1, *self.space(more="iova=0xfffffffffffff000"))
        self.refuse(1, *self.space(more="iova=0x4000001"))
        self.refuse(1, *self.space(more="iova=0x4000000,offset=1"))
        self.refuse(1, *self.space(more="iova=0x4000000,size=4097"))

    def test_words(self):
        self.refuse(64, "-object", "iommufd")
        self.refuse(64, "-object", "iommufd,id=i,colour=red")
        self.refuse(64, "-object", "iommufdd,id=i")
        self.refuse(64, "-object", "memory-backend-memfd,id=m,size=0")
        self.refuse(64, "-object", "memory-backend-memfd,id=m,size=lots")
        self.refuse(64, "-object", '{"qom-type":"iommufd",')
        self.refuse(1, "-object", "iommufd,id=i", "-object", "iommufd,id=i")
        self.refuse(1, "-object", "iommufd,id=i", "-object", "dma-space,id=s,iommufd=nobody")
        self.refuse(1, "-object", "memory-backend-memfd,id=m,size=1M", "-object", "dma-space,id=s,iommufd=m")


if __name__ == "__main__":
    unittest.main(verbosity=2)
