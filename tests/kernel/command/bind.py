# SPDX-License-Identifier: Apache-2.0 OR MIT
"""`iommufd bind` and `unbind`: QEMU's NVMe disk, network card, edu and a group of two, with Linux's own drivers."""

import contextlib
import os
import pathlib
import signal
import subprocess
import time

from command import support
from command.support import (EDU, FAILED, NVME, USAGE, CommandTest, Holding, as_nobody, node_of, objects, opened, run, vfio)

CARD, ROOT_PORT = "0000:00:15.0", "0000:00:12.0"
GROUP_EDU, GROUP_SERIAL = "0000:02:01.0", "0000:02:02.0"  # behind one bridge
RECORDS = pathlib.Path("/run/iommufd/bind")
DISK = "/dev/nvme0n1"


def folder(device):
    return pathlib.Path("/sys/bus/pci/devices") / device


def driver(device):
    link = folder(device) / "driver"
    return link.resolve().name if link.exists() else ""


def state(device):
    return driver(device), (folder(device) / "driver_override").read_text(encoding="ascii").strip(), (RECORDS / device).exists()


def until(condition, seconds=8):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


@contextlib.contextmanager
def mounted(place="/tmp/disk"):
    subprocess.run(["/sbin/mkfs.ext2", "-q", "-F", DISK], check=True)
    os.makedirs(place, exist_ok=True)
    subprocess.run(["mount", "-t", "ext2", DISK, place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


class BindTest(CommandTest):
    """Each leaves the devices with the drivers that they had."""

    def setUp(self):
        self.assertTrue(until(lambda: os.path.exists(DISK)))

    def tearDown(self):
        for device, its in ((NVME, "nvme"), (CARD, "e1000"), (EDU, ""), (GROUP_EDU, ""), (GROUP_SERIAL, "virtio-pci")):
            self.assertEqual(state(device), (its, "(null)", False), device)

    def does(self, command, *arguments):
        process = run(command, *arguments)
        self.assertEqual((process.returncode, process.stderr), (0, ""))
        return process.stdout

    def refused(self, *arguments, command="bind", **options):
        return self.refuse(FAILED, *arguments, command=command, **options)


class Moves(BindTest):
    def test_the_disk_goes_to_vfio_and_back_and_works_there(self):
        self.assertEqual(self.does("bind", NVME), f"{NVME}: nvme -> vfio-pci ({node_of(NVME)})\n")
        self.assertEqual(state(NVME), ("vfio-pci", "vfio-pci", True))
        self.assertEqual(self.does("bind", NVME), f"{NVME}: vfio-pci -> vfio-pci ({node_of(NVME)})\n")
        with Holding(*objects(), *vfio("nvme0", f"host={NVME}")):
            pass
        self.assertEqual(self.does("unbind", NVME), f"{NVME}: vfio-pci -> nvme\n")
        self.assertTrue(until(lambda: os.path.exists(DISK)))
        with open(DISK, "rb") as disk:
            self.assertEqual(len(disk.read(4096)), 4096)

    def test_several_go_at_once_and_one_without_a_driver_gets_none_back(self):
        out = self.does("bind", NVME[5:], EDU)
        self.assertEqual(out, f"{NVME}: nvme -> vfio-pci ({node_of(NVME)})\n{EDU}: no driver -> vfio-pci ({node_of(EDU)})\n")
        self.assertEqual(self.does("unbind", EDU, NVME), f"{EDU}: vfio-pci -> no driver\n{NVME}: vfio-pci -> nvme\n")

    def test_what_somebody_bound_by_hand_goes_to_the_driver_that_the_kernel_chooses(self):
        for path, text in ((folder(CARD) / "driver_override", "vfio-pci"), (folder(CARD) / "driver/unbind", CARD),
                           ("/sys/bus/pci/drivers_probe", CARD)):
            support.write(path, text)
        self.assertEqual(driver(CARD), "vfio-pci")
        self.assertEqual(self.does("unbind", CARD), f"{CARD}: vfio-pci -> e1000\n")

    def test_a_group_goes_whole_and_a_part_of_it_with_a_warning(self):
        process = run("bind", GROUP_EDU)
        self.assertEqual(process.returncode, 0)
        self.assertIn(f"can't be used yet: {GROUP_SERIAL} of its IOMMU group still has its driver virtio-pci; add --group",
                      process.stderr)
        out = self.does("bind", "--group", GROUP_EDU)
        self.assertIn(f"{GROUP_SERIAL}: virtio-pci -> vfio-pci", out)
        with Holding(*objects(), *vfio("edu0", f"host={GROUP_EDU}")):
            pass
        self.does("unbind", "--group", GROUP_SERIAL)

    def test_a_device_that_a_driver_refuses_is_given_back_and_so_are_those_before_it(self):
        line = self.refused("--driver", "virtio-pci", NVME)
        self.assertIn(f"`echo {NVME} > /sys/bus/pci/drivers/virtio-pci/bind` fails", line)
        self.assertTrue(until(lambda: os.path.exists(DISK)))

    def test_a_dry_run_shows_each_write_and_what_is_in_the_way_and_changes_nothing(self):
        self.assertEqual(self.does("bind", "--dry-run", NVME), f"{NVME}: nvme -> vfio-pci\n"
                         f"  echo vfio-pci > /sys/bus/pci/devices/{NVME}/driver_override\n"
                         f"  echo {NVME} > /sys/bus/pci/drivers/nvme/unbind\n"
                         f"  echo {NVME} > /sys/bus/pci/drivers/vfio-pci/bind\n")
        with mounted() as place:
            process = run("bind", "--dry-run", NVME, CARD)
            self.assertEqual(process.returncode, FAILED)
            self.assertIn(f"nvme0n1 is mounted on {place}", process.stderr)
            self.assertIn(f"{CARD}: e1000 -> vfio-pci\n", process.stdout)
            self.assertEqual(driver(NVME), "nvme")
        self.does("bind", NVME)
        self.assertEqual(self.does("unbind", "--dry-run", NVME), f"{NVME}: vfio-pci -> nvme\n"
                         f"  echo '' > /sys/bus/pci/devices/{NVME}/driver_override\n"
                         f"  echo {NVME} > /sys/bus/pci/drivers/vfio-pci/unbind\n"
                         f"  echo {NVME} > /sys/bus/pci/drivers/nvme/bind\n")
        self.assertEqual(state(NVME), ("vfio-pci", "vfio-pci", True))
        self.does("unbind", NVME)


class InUse(BindTest):
    def test_a_mounted_disk_is_refused_with_its_place_and_taken_by_force(self):
        with mounted() as place:
            self.assertIn(f"cannot take {NVME} from nvme: EBUSY (nvme0n1 is mounted on {place}", self.refused(NVME))
            self.assertIn("mounted on", self.refused(CARD, NVME))
            self.assertEqual(driver(CARD), "e1000")
            self.does("bind", "--force", NVME)
        self.does("unbind", NVME)

    def test_a_disk_that_is_mounted_where_we_do_not_see_it_is_refused(self):
        subprocess.run(["/sbin/mkfs.ext2", "-q", "-F", DISK], check=True)
        os.makedirs("/tmp/elsewhere", exist_ok=True)
        with subprocess.Popen(["unshare", "-m", "sh", "-c", f"mount -t ext2 {DISK} /tmp/elsewhere && echo up && exec sleep 600"],
                              stdout=subprocess.PIPE) as process:
            self.assertEqual(process.stdout.readline(), b"up\n")
            self.assertIn("nvme0n1 is claimed by somebody, or mounted in another mount namespace", self.refused(NVME))
            process.kill()
        self.assertTrue(until(lambda: run("bind", "--dry-run", NVME).returncode == 0))

    def test_who_has_a_disk_or_its_controller_open_is_named(self):
        for node in (DISK, "/dev/nvme0"):
            with subprocess.Popen(["sh", "-c", f"exec 5<{node}; echo up; exec sleep 600"], stdout=subprocess.PIPE) as process:
                self.assertEqual(process.stdout.readline(), b"up\n")
                self.assertIn(f"(sleep (process {process.pid}) has {node} open); ", self.refused(NVME))
                process.kill()

    def test_a_network_card_whose_interface_is_up_is_refused(self):
        interface = os.listdir(folder(CARD) / "net")[0]
        subprocess.run(["ip", "link", "set", interface, "up"], check=True)
        self.assertIn(f"cannot take {CARD} from e1000: EBUSY (network interface {interface} is up); ", self.refused(CARD))
        self.does("bind", "--force", CARD)
        self.does("unbind", CARD)
        interface = os.listdir(folder(CARD) / "net")[0]
        self.does("bind", CARD)
        self.does("unbind", CARD)

    def test_a_device_that_a_process_has_from_vfio_is_refused_and_comes_back_by_force_if_that_answers(self):
        self.does("bind", NVME)
        with Holding(*objects(), *vfio("nvme0", f"host={NVME}")) as holding:
            line = self.refused(NVME, command="unbind")
            self.assertIn(f"cannot take {NVME} from vfio-pci: EBUSY (iommufd (process {holding.process.pid}) has {node_of(NVME)} open)",
                          line)
            self.assertIn("--force", line)
            self.assertEqual(self.does("unbind", "--force", NVME), f"{NVME}: vfio-pci -> nvme\n")
            self.assertTrue(holding.wait_for("the kernel asks for 'nvme0' back"))

    def test_a_process_that_does_not_answer_is_waited_for_until_the_limit_and_named(self):
        self.does("bind", NVME)
        with opened(node_of(NVME)):
            started = time.monotonic()
            line = self.refused("--force", "--timeout", "1", NVME, command="unbind")
            self.assertLess(time.monotonic() - started, 30)
            self.assertIn(f"cannot give {NVME} back: ETIMEDOUT (within 1 s its driver didn't let go of it: ", line)
            self.assertIn(f"(process {os.getpid()}) has /dev/vfio/devices/", line)
        self.assertEqual(self.does("unbind", NVME), f"{NVME}: no driver -> nvme\n")

    def test_killed_on_the_way_it_is_ended_by_another_unbind(self):
        self.does("bind", NVME)
        with opened(node_of(NVME)):
            with subprocess.Popen([support.iommufd, "unbind", "--force", "--timeout", "60", NVME]) as process:
                # The kernel takes the driver's name away first, and then waits.
                self.assertTrue(until(lambda: state(NVME) == ("", "(null)", True)))
                process.send_signal(signal.SIGKILL)
            self.assertEqual(state(NVME), ("", "(null)", True))
        self.does("unbind", NVME)


class Refusals(BindTest):
    def test_what_is_no_device_or_not_for_vfio(self):
        self.assertIn("(there is no /sys/bus/pci/devices/0000:77:00.0)", self.refused("0000:77:00.0"))
        self.assertIn("(it is a bridge, which stays the kernel's)", self.refused(ROOT_PORT))
        self.assertIn("(that driver is not loaded); run `modprobe mlx5_vfio_pci`", self.refused("--driver", "mlx5_vfio_pci", NVME))

    def test_what_vfio_does_not_have_is_not_given_back(self):
        self.assertIn("nvme has it, which is none of VFIO's", self.refused(NVME, command="unbind"))

    def test_who_may_not_is_told_so(self):
        self.assertIn("EACCES", self.refused(EDU, preexec_fn=as_nobody()))

    def test_options_that_are_none(self):
        for arguments in ((), ("--timeout", "0", NVME), ("--timeout", "x", NVME), ("--nonsense", NVME)):
            self.refuse(USAGE, *arguments, command="bind")
