# SPDX-License-Identifier: Apache-2.0 OR MIT
"""`iommufd exec`: a command that runs without any privilege and has what it couldn't open."""

import os
import pathlib
import resource
import shutil
import signal
import subprocess

from command import support
from command.support import (EDU, FAILED, IOMMU, MIB, NOBODY, NVME, USAGE, CommandTest, Holding, as_nobody, node_of, nvme_disk, objects,
                             opened, run, vfio)

NOT_PREPARED, NOT_STARTED, NOT_FOUND = 125, 126, 127
UNLIMITED = resource.RLIM_INFINITY

# A command that finds out about itself, and tries to open the paths that it is given. It prints a dictionary.
LOOK = """
import errno, os, resource, sys
def attempt(path):
    try:
        os.close(os.open(path, os.O_RDWR))
        return "open"
    except OSError as error:
        return errno.errorcode[error.errno]
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
print({"status": {key: value.strip() for key, value in status.items()},
       "fds": {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in range(3, 20) if os.path.exists(f"/proc/self/fd/{fd}")},
       "limit": resource.getrlimit(resource.RLIMIT_MEMLOCK),
       "environment": dict(os.environ),
       "opening": {path: attempt(path) for path in sys.argv[1:]}})
"""


def look(*options, paths=(), **more):
    script = pathlib.Path(support.iommufd).with_name("look.py")
    script.write_text(LOOK, encoding="ascii")
    process = run("exec", *options, "--", "/usr/bin/python3", script, *paths, **more)
    if process.returncode:
        raise AssertionError(process.stderr)
    return eval(process.stdout, {"__builtins__": {}})


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return {key: value.strip() for key, value in (line.split(":", 1) for line in file)}


class ExecTest(CommandTest):
    def refused(self, status, *arguments, **options):
        return self.refuse(status, *arguments, command="exec", **options)

    def assert_powerless(self, status, user=NOBODY):
        for which in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(status[which], 16), 0, which)
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertEqual(status["Uid"].split(), [str(user)] * 4)
        self.assertEqual(status["Gid"].split(), [str(user)] * 4)


class Guest(ExecTest):
    def test_qemu_without_privileges_boots_a_guest_from_the_nvme_disk_which_reads_and_writes_it(self):
        if not shutil.which("qemu-system-x86_64"):
            self.skipTest("there is no QEMU")
        said = b"what only the disk has\n"
        self.assertEqual(nvme_disk(1536), nvme_disk(1024) + bytes(512))
        arguments = [support.iommufd, "exec", "--user", "nobody", "--device", NVME, "--", "qemu-system-x86_64",
                     "-M", "q35", "-accel", "tcg", "-m", "64M", "-nodefaults", "-display", "none", "-serial", "stdio",
                     "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
                     "-object", "iommufd,id=i,fd={iommufd}", "-device", f"vfio-pci,fd={{vfio:{NVME}}},iommufd=i"]
        with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as qemu:
            self.assertEqual(qemu.stdout.readline(), said)
            status = status_of(qemu.pid)
            self.assertIn("qemu", status["Name"])
            self.assert_powerless(status)
            self.assertGreaterEqual(int(status["VmPin"].split()[0]) << 10, 64 * MIB)
            files = {os.readlink(link) for link in pathlib.Path(f"/proc/{qemu.pid}/fd").iterdir()}
            self.assertLessEqual({IOMMU, node_of(NVME)}, files)
            qemu.stdin.write(b"\n")
            qemu.stdin.flush()
            self.assertEqual(qemu.stdout.readline(), b"written\n")
            self.assertEqual(qemu.wait(timeout=60), 33)
        self.assertEqual(nvme_disk(1536)[1024:], said + bytes(512 - len(said)))
        # As which it can open neither node.
        opening = look("--user", "nobody", paths=[IOMMU, node_of(NVME), "/dev/null"])["opening"]
        self.assertEqual(opening, {IOMMU: "EACCES", node_of(NVME): "EACCES", "/dev/null": "open"})


class Inheritance(ExecTest):
    def test_the_descriptors_have_the_numbers_that_arguments_and_environment_name(self):
        found = look("--device", NVME, "--device", EDU, "--user", "nobody")
        self.assertEqual(found["fds"], {3: IOMMU, 4: node_of(NVME), 5: node_of(EDU)})
        named = {key: value for key, value in found["environment"].items() if key.startswith("IOMMUFD_")}
        self.assertEqual((named.pop("IOMMUFD_VM"), named.pop("IOMMUFD_VM_KERNEL")), ("intel", "new"))
        self.assertEqual(named, {"IOMMUFD_FD": "3", "IOMMUFD_VFIO_FDS": f"{NVME}=4,{EDU}=5",
                                 "IOMMUFD_VFIO_FD_0000_00_11_0": "4", "IOMMUFD_VFIO_FD_0000_00_10_0": "5"})
        process = run("exec", "--device", NVME, "--device", EDU, "--", "echo", "a{iommufd}", "{vfio:00:10.0}{vfio:%s}" % NVME,
                      "{}", "{{iommufd}", "--", "-device", '{"fd":"{iommufd}"}', "[x,y]", "")
        self.assertEqual(process.stdout, 'a3 54 {} {iommufd} -- -device {"fd":"3"} [x,y] \n')

    def test_descriptors_that_are_open_already_stay_and_closed_standard_ones_are_not_ours(self):
        with opened("/dev/null") as (null,):
            process = run("exec", "--device", EDU, "--", "sh", "-c", "readlink /proc/self/fd/$1 /proc/self/fd/$2", "sh", "{iommufd}",
                          str(null), pass_fds=(null,))
        self.assertEqual(process.stdout, f"{IOMMU}\n/dev/null\n")
        process = run("exec", "--", "sh", "-c", "echo {iommufd}; readlink /proc/self/fd/0", preexec_fn=lambda: os.close(0))
        self.assertEqual(process.stdout, "3\n/dev/null\n")

    def test_a_program_on_this_library_drives_the_device_with_them(self):
        process = run("exec", "--user", "nobody", "--device", EDU, "--", support.iommufd, "dmatest", "-object",
                      "iommufd,id=iommufd0,fd={iommufd}", "-object", "memory-backend-memfd,id=ram,size=4M", "-object",
                      "dma-space,id=dma0,iommufd=iommufd0", "-object", "dma-mapping,id=map0,space=dma0,memdev=ram,iova=0x4000000",
                      "-device", f"vfio-pci,id=edu0,fd={{vfio:{EDU}}},iommufd=iommufd0,space=dma0")
        self.assert_passed(process)
        self.assertRegex(process.stdout, "memory to memory +ok")

    def test_signals_and_the_exit_status_are_the_commands_own(self):
        self.assertEqual(run("exec", "--", "sh", "-c", "exit 42").returncode, 42)
        self.assertEqual(run("exec", "--", "sh", "-c", "kill -USR1 $$").returncode, -signal.SIGUSR1)
        with subprocess.Popen([support.iommufd, "exec", "--", "sleep", "60"]) as process:
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(timeout=20), -signal.SIGTERM)

    def test_a_command_that_is_not_there_or_no_program_is_told_as_env_does(self):
        self.assertIn("cannot start 'nothing-here': ENOENT", self.refused(NOT_FOUND, "--", "nothing-here"))
        self.assertIn("cannot start '/dev/null': EACCES", self.refused(NOT_STARTED, "--user", "nobody", "--", "/dev/null"))


class Privileges(ExecTest):
    def test_of_root_nothing_is_left_in_any_set_and_no_program_gives_it_back(self):
        self.assert_powerless(look("--user", "nobody")["status"])
        # Root without a user named: its files are still its own, but no capability comes with that.
        self.assert_powerless(look()["status"], user=0)

    def test_groups_are_the_users_own(self):
        groups = look("--user", "nobody", preexec_fn=lambda: os.setgroups([0, 7, 8]))["status"]["Groups"]
        self.assertEqual(groups.split(), [str(NOBODY)])
        status = look("--user", "1234:4321")["status"]
        self.assertEqual((status["Uid"].split()[0], status["Gid"].split()[0], status["Groups"].split()), ("1234", "4321", ["4321"]))
        status = look("--user", "nobody:daemon")["status"]
        self.assertEqual((status["Uid"].split()[3], status["Gid"].split()[3]), (str(NOBODY), "1"))

    def test_the_environment_is_the_users(self):
        environment = look("--user", "nobody")["environment"]
        self.assertEqual((environment["USER"], environment["LOGNAME"], environment["HOME"]), ("nobody", "nobody", "/nonexistent"))

    def test_a_user_that_is_not_there_is_refused(self):
        self.assertIn("there is no user 'nobody-here'", self.refused(NOT_PREPARED, "--user", "nobody-here", "--", "true"))
        self.assertIn("there is no group 'nothing'", self.refused(NOT_PREPARED, "--user", "nobody:nothing", "--", "true"))
        self.assertIn("give one: --user 1234:GROUP", self.refused(NOT_PREPARED, "--user", "1234", "--", "true"))
        self.assertIn("there is no user '4294967295'", self.refused(NOT_PREPARED, "--user", "4294967295", "--", "true"))

    def test_who_may_not_become_another_user_is_told_so(self):
        os.chmod(IOMMU, 0o666)
        try:
            process = run("exec", "--user", "daemon", "--memlock", "64k", "--", "true", preexec_fn=as_nobody(MIB))
        finally:
            os.chmod(IOMMU, 0o600)
        self.assertEqual(process.returncode, NOT_PREPARED)
        self.assertIn("cannot become user 1: EPERM", process.stderr)


class Limits(ExecTest):
    def test_auto_is_no_limit_where_memory_is_accounted_per_process(self):
        self.assertEqual(look("--user", "nobody")["limit"], (UNLIMITED, UNLIMITED))
        self.assertEqual(look("--memlock", "auto")["limit"], (UNLIMITED, UNLIMITED))

    def test_a_size_is_the_limit(self):
        self.assertEqual(look("--user", "nobody", "--memlock", "96M")["limit"], (96 * MIB, 96 * MIB))

    def test_the_limit_holds_for_each_process_alone(self):
        def start(size, device):
            return [*objects(iommufd_fd="{iommufd}", size=size), *vfio("d", f"fd={{vfio:{device}}}")]
        prefix = ["--user", "nobody", "--memlock", "96M", "--device"]
        line = self.refused(FAILED, *prefix, EDU, "--", support.iommufd, "run", *start("128M", EDU))
        self.assertIn("RLIMIT_MEMLOCK is 96 MiB; this process has pinned 0 bytes (VmPin); accounting: per process", line)
        with Holding(*prefix, EDU, "--", support.iommufd, "run", *start("64M", EDU), command="exec") as first:
            with Holding(*prefix, NVME, "--", support.iommufd, "run", *start("64M", NVME), command="exec") as second:
                self.assertGreaterEqual(first.pinned(), 64 * MIB)
                self.assertGreaterEqual(second.pinned(), 64 * MIB)

    def test_auto_without_the_permission_to_account_per_process_asks_for_a_size(self):
        os.chmod(IOMMU, 0o666)
        try:
            line = self.refused(NOT_PREPARED, "--", "true", preexec_fn=as_nobody(8 * MIB))
            self.assertIn("no limit would be none for all of the user's processes", line)
            self.assertIn("--memlock SIZE", line)
            process = run("exec", "--memlock", "4M", "--", "sh", "-c", "ulimit -l", preexec_fn=as_nobody(8 * MIB))
            self.assertEqual((process.returncode, process.stdout), (0, "4096\n"))
            self.assertIn("warning: locked memory is accounted per user", process.stderr)
            process = run("exec", "--memlock", "16M", "--", "true", preexec_fn=as_nobody(8 * MIB))
            self.assertEqual(process.returncode, NOT_PREPARED)
            self.assertIn("cannot set RLIMIT_MEMLOCK to 16 MiB: EPERM (the hard limit is 8 MiB", process.stderr)
        finally:
            os.chmod(IOMMU, 0o600)


class Refusals(ExecTest):
    def says(self, words, *arguments, status=NOT_PREPARED):
        self.assertIn(words, self.refused(status, *arguments, "--", "touch", "/tmp/started"))
        self.assertFalse(os.path.exists("/tmp/started"))

    def test_a_device_that_is_not_there_or_no_device(self):
        self.says("(there is no /sys/bus/pci/devices/0000:77:00.0)", "--device", "0000:77:00.0")
        self.says("(it is no PCI address, no UUID and no path)", "--device", "nvme")

    def test_a_device_that_is_named_twice(self):
        self.says("(it is named twice)", "--device", EDU, "--device", EDU[5:])

    def test_a_device_that_is_not_bound_to_vfio(self):
        self.says("(it is bound to its host driver pcieport)", "--device", "0000:00:12.0")

    def test_a_device_whose_group_the_kernel_uses(self):
        edu, other = "0000:02:01.0", "0000:02:02.0"
        self.assertEqual(pathlib.Path(f"/sys/bus/pci/devices/{other}/driver").resolve().name, "virtio-pci")
        self.says(f"is not viable: {other} (virtio-pci) is in use by the kernel", "--device", edu)

    def test_a_device_that_somebody_has(self):
        with Holding(*objects(), *vfio("d", f"host={EDU}")) as holding:
            self.says(f"iommufd (process {holding.process.pid}) has {node_of(EDU)} open", "--device", EDU)

    def test_a_placeholder_that_stands_for_nothing(self):
        for word in ("{iomufd}", "{vfio:%s}" % NVME, "{vfio}", "fd={vfio:}"):
            line = self.refused(USAGE, "--device", EDU, "--", "touch", "/tmp/started", word)
            self.assertIn(f"there is no descriptor for {word.removeprefix('fd=')}", line)
        self.assertFalse(os.path.exists("/tmp/started"))

    def test_without_a_command_or_with_options_that_are_none(self):
        for arguments in ((), ("--",), ("true",), ("--user", "nobody"), ("--memlock", "much", "--", "true"),
                          ("--memlock", "-1", "--", "true"), ("--nonsense", "--", "true")):
            self.refused(USAGE, *arguments)
