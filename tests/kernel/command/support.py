# SPDX-License-Identifier: Apache-2.0 OR MIT
"""What the tests of the command share: starting it, the devices of the VM, and a look at them that isn't ours."""

import atexit
import contextlib
import json
import os
import pathlib
import resource
import select
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

EDU, NVME, BLK = "0000:00:10.0", "0000:00:11.0", "/dev/vhost-vdpa-0"
IOMMU = "/dev/iommu"
NOBODY = 65534
MIB = 1 << 20
IOVA = 0x4000000

DONE, FAILED, NOT_TRIED, USAGE = 0, 1, 2, 64

iommufd = ""  # the command, where nobody can start it too
build = pathlib.Path()


def use(command):
    """Tests the command at this path."""
    global iommufd, build
    build = pathlib.Path(command).resolve().parents[2]
    folder = tempfile.mkdtemp(prefix="command.")
    atexit.register(shutil.rmtree, folder)
    os.chmod(folder, 0o755)
    iommufd = shutil.copy(command, folder)


def objects(*, iommufd_fd=None, size="64M", mapping=f"iova={IOVA:#x}"):
    """One iommufd0, one memory, one space, and the memory mapped there."""
    given = "" if iommufd_fd is None else f",fd={iommufd_fd}"
    return [
        "-object", f"iommufd,id=iommufd0{given}",
        "-object", f"memory-backend-memfd,id=ram,size={size}",
        "-object", "dma-space,id=dma0,iommufd=iommufd0",
        "-object", f"dma-mapping,id=map0,space=dma0,memdev=ram,{mapping}",
    ]


def vfio(name, where):
    return ["-device", f"vfio-pci,id={name},{where},iommufd=iommufd0,space=dma0"]


def vdpa(where):
    return ["-device", f"vhost-vdpa,id=blk0,{where},iommufd=iommufd0,space=dma0"]


EDU_DEVICE = vfio("edu0", f"host={EDU}")
NVME_DEVICE = vfio("nvme0", f"host={NVME}")
BLK_DEVICE = vdpa(f"vhostdev={BLK}")


def run(*arguments, **options):
    return subprocess.run([iommufd, *arguments], capture_output=True, text=True, timeout=60, check=False, **options)


def dmatest(*arguments, **options):
    """The outcome of a dmatest as a dictionary (None: it printed none), and the process."""
    process = run("dmatest", "--json", *arguments, **options)
    return (json.loads(process.stdout) if process.stdout else None), process


def verdicts(outcome):
    """What became of each step of each device: {("edu0", "identify"): "passed", ...}."""
    return {(device["id"], step["name"]): step["verdict"] for device in outcome["devices"] for step in device["steps"]}


def details(outcome):
    return {(device["id"], step["name"]): step["detail"] for device in outcome["devices"] for step in device["steps"]}


def as_nobody(limit=None):
    """What a child does before it becomes the command: no user, no group, no capability, little to lock."""
    def become():
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    return become


class Holding:
    """`iommufd run`, or another command that holds something, with these options, until the block ends."""

    def __init__(self, *arguments, command="run", **options):
        # Without a buffer, so that select() sees all that was said and not read.
        self.process = subprocess.Popen([iommufd, command, *arguments], stderr=subprocess.PIPE, bufsize=0, **options)
        self.line = self.process.stderr.readline().decode()
        self.rest = ""
        self.status = None

    def __enter__(self):
        if " ready" not in self.line:
            self.stop()
            raise AssertionError(f"it ended with status {self.status}: {self.line}")
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self, how=signal.SIGTERM):
        if self.status is not None:
            return
        self.process.send_signal(how)
        with self.process.stderr:
            self.rest = self.process.stderr.read().decode()
        self.status = self.process.wait(timeout=20)

    def wait_for(self, text, seconds=5):
        """Until it has said that; whether it did."""
        deadline = time.monotonic() + seconds
        while text not in self.line and time.monotonic() < deadline:
            if select.select([self.process.stderr], [], [], 0.2)[0]:
                self.line = self.process.stderr.readline().decode()
        return text in self.line

    def pinned(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return int(next(line for line in status if line.startswith("VmPin")).split()[1]) << 10

    def files(self):
        folder = pathlib.Path(f"/proc/{self.process.pid}/fd")
        return {os.readlink(link) for link in folder.iterdir()}


def node_of(address):
    """The VFIO node of a PCI device, which a driver has just given to it perhaps."""
    folder = pathlib.Path(f"/sys/bus/pci/devices/{address}/vfio-dev")
    for _ in range(50):
        if folder.is_dir() and (names := os.listdir(folder)):
            return f"/dev/vfio/devices/{names[0]}"
        time.sleep(0.1)
    raise AssertionError(f"{address} has no VFIO node")


@contextlib.contextmanager
def opened(*paths):
    """Descriptors of these files, for a child."""
    descriptors = [os.open(path, os.O_RDWR) for path in paths]
    try:
        yield descriptors
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def nvme_disk(length):
    """What is on the NVMe disk, read by neither our driver nor another of this kernel: the file that QEMU keeps it in."""
    with open("/proc/cmdline", encoding="ascii") as file:
        folder = next(word.removeprefix("vm.run=") for word in file.read().split() if word.startswith("vm.run="))
    with open(f"{folder}/nvme.img", "rb") as image:
        os.posix_fadvise(image.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # what was read before is old
        return image.read(length)


def vdpa_disk(length):
    """What is on the vDPA disk, read by the kernel's own driver, virtio_blk."""
    device = pathlib.Path("/sys/bus/vdpa/devices/blk0")

    def rebind(driver):
        write(device / "driver/unbind", "blk0")
        write(device / "driver_override", driver)
        write("/sys/bus/vdpa/drivers_probe", "blk0")

    rebind("virtio_vdpa")
    try:
        disk = next(device.glob("virtio*/block/*")).name
        with open(f"/dev/{disk}", "rb") as file:
            return file.read(length)
    finally:
        rebind("vhost_vdpa")


class CommandTest(unittest.TestCase):
    maxDiff = None

    def assert_passed(self, process, status=DONE):
        self.assertEqual(process.returncode, status, process.stderr + process.stdout)

    def refuse(self, status, *arguments, command="run", **options):
        """The one line, with cause and next step, that the command refuses this with."""
        process = run(command, *arguments, **options)
        self.assertEqual(process.returncode, status, process.stderr)
        self.assertEqual(process.stdout, "")
        lines = process.stderr.splitlines()
        self.assertEqual(len(lines), 1, process.stderr)
        self.assertRegex(lines[0], r"^iommufd: .+: [A-Z]+ \(.+\); .+")
        return lines[0]
