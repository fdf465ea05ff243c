# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Mediated clients of `iommufd serve`: the broker maps what they send, and a device shows what can be reached."""

import array
import contextlib
import errno
import fcntl
import json
import os
import random
import socket
import struct
import subprocess
import time

from command import support
from command.broker import ATTACH, OTHER, BrokerTest, as_user, message
from command.support import EDU, MIB, NOBODY, NVME, node_of, run

REGION_INFO = 0x3b6c
SHRINK, GROW, WRITE, FUTURE_WRITE = 2, 4, 8, 16
ADD_SEALS = 1033
KILLS = 20
CAP_IPC_LOCK = 14

TENANTS = [{"name": "root", "peers": [{"uid": 0}], "mediated": True, "devices": [EDU, NVME], "descriptors": True, "unreset": True,
            "quotas": {"pinned": "64M", "mappings": 4}},
           {"name": "victim", "peers": [{"uid": OTHER}], "mediated": True, "devices": [EDU, NVME], "quotas": {"pinned": "16M"}},
           {"name": "c", "peers": [{"uid": NOBODY}], "mediated": True, "shared": [EDU]}]


def memory(size=MIB, seals=SHRINK | GROW, allocated=True):
    """A memfd that the broker maps, unless it is told to lack something."""
    file = os.memfd_create("sent", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    if allocated:
        os.pwrite(file, bytes(size), 0)
    else:
        os.ftruncate(file, size)
    fcntl.fcntl(file, ADD_SEALS, seals)
    return file


class Client:
    """A mediated client as docs/broker.md describes it; who it is, is seen when it connects."""

    def __init__(self, path, user=0):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.descriptors = []  # that it was given
        os.seteuid(user)
        try:
            self.socket.connect(path)
        finally:
            os.seteuid(0)

    def ask(self, verb, file=None, **wanted):
        data = message({verb: wanted})
        rights = [] if file is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))]
        self.socket.sendall(data[self.socket.sendmsg([data], rights):])
        header, ancillary, _, _ = self.socket.recvmsg(12, socket.CMSG_SPACE(64 * 4))
        descriptors = array.array("i")
        for _, _, raw in ancillary:
            descriptors.frombytes(raw)
        body = b""
        while len(body) < struct.unpack("<4sHHI", header)[3]:
            body += self.socket.recv(65536)
        self.descriptors += list(descriptors)
        return json.loads(body)

    def attach(self, device):
        return self.ask("get", devices=[device], mediated=True)

    def map(self, file, size=MIB, **more):
        return self.ask("map", file, length=size, **more)

    def code(self, answer):
        return answer.get("error", {}).get("code", 0)

    def close(self):
        self.socket.close()


class Edu:
    """QEMU's edu by its VFIO descriptor: it copies between memory and a buffer of its own."""

    def __init__(self, file):
        self.file = file
        self.registers = self.offset(0)
        config = self.offset(7)
        os.pwrite(file, struct.pack("<H", struct.unpack("<H", os.pread(file, 2, config + 4))[0] | 6), config + 4)

    def offset(self, index):
        info = bytearray(struct.pack("IIIIQQ", 32, 0, index, 0, 0, 0))
        fcntl.ioctl(self.file, REGION_INFO, info)
        return struct.unpack("IIIIQQ", info)[5]

    def write(self, register, value):
        os.pwrite(self.file, struct.pack("<Q", value), self.registers + register)

    def move(self, source, target, to_memory):
        self.write(0x80, source)
        self.write(0x88, target)
        self.write(0x90, 64)
        self.write(0x98, 1 | (2 if to_memory else 0))
        while struct.unpack("<Q", os.pread(self.file, 8, self.registers + 0x98))[0] & 1:
            time.sleep(0.01)

    def copy(self, source, target):
        self.move(source, 0x40000, False)
        self.move(0x40000, target, True)


class Mediated(BrokerTest):
    @contextlib.contextmanager
    def client(self, device=None, user=0):
        client = Client(self.path, user)
        if device:
            self.wait(lambda: client.code(answer := client.attach(device)) == 0 or self.assertEqual(
                client.code(answer), errno.EBUSY, answer))
        try:
            yield client
        finally:
            for file in client.descriptors:
                with contextlib.suppress(OSError):
                    os.close(file)
            client.close()

    def status(self, name):
        with open(f"/proc/{self.server.pid}/status", encoding="ascii") as file:
            return next(line.split()[1] for line in file if line.startswith(name))

    def pinned(self):
        return int(self.status("VmPin")) << 10

    def test_a_device_reaches_what_is_mapped_for_it_as_it_is_mapped_and_nothing_after_the_hang_up(self):
        with self.serving(TENANTS):
            client = Client(self.path)
            answer = client.attach(EDU)
            self.assertEqual(answer["attached"], [EDU], answer)
            edu = Edu(client.descriptors[0])
            file, readable = memory(2 * MIB), memory()
            os.pwrite(file, b"a" * 64, 0)
            iova = client.map(file, 2 * MIB, write=True)["mapped"]["iova"]
            edu.copy(iova, iova + 4096)
            self.assertEqual(os.pread(file, 64, 4096), b"a" * 64)
            self.assertGreaterEqual(self.pinned(), 2 * MIB)
            with self.assertRaises(OSError) as sealed:
                fcntl.fcntl(file, ADD_SEALS, WRITE)
            self.assertEqual(sealed.exception.errno, errno.EBUSY, "what a device may write can't be sealed against that")
            to_read = client.map(readable)["mapped"]["iova"]
            edu.copy(iova, to_read)
            self.assertEqual(os.pread(readable, 64, 0), bytes(64), "it was mapped for reading")
            edu.copy(to_read, iova + 8192)
            self.assertEqual(os.pread(file, 64, 8192), bytes(64))
            self.assertEqual(client.ask("unmap", iova=to_read)["unmapped"], {"iova": to_read, "length": MIB})
            client.close()
            self.wait(lambda: self.pinned() == 0)
            # The descriptor has been passed on, so to speak.
            os.pwrite(file, b"b" * 64, 4096)
            edu.copy(iova, iova + 4096)
            self.assertEqual(os.pread(file, 64, 4096), b"b" * 64)
            self.wait(lambda: "tainted" in self.journal())
            os.close(edu.file)
            self.wait(lambda: "recovered" in self.journal())

    def test_the_broker_has_a_limit_of_its_own_and_quotas_come_before_it(self):
        with self.serving(TENANTS):
            self.assertEqual(int(self.status("CapEff"), 16) >> CAP_IPC_LOCK & 1, 0)
            self.assertEqual(int(self.status("CapPrm"), 16) >> CAP_IPC_LOCK & 1, 0)
            with open(f"/proc/{self.server.pid}/limits", encoding="ascii") as limits:
                locked = next(line.split()[3] for line in limits if line.startswith("Max locked"))
            self.assertEqual(int(locked), (64 + 16 + 64) * MIB, "what all of them may have")
            with self.client(NVME) as client:
                file = memory(80 * MIB)
                self.assertEqual(client.code(client.map(file, 80 * MIB)), errno.EDQUOT)
                self.assertEqual(self.pinned(), 0)
                self.assertEqual(client.code(client.map(file, 64 * MIB)), 0)
                self.assertEqual(client.code(client.map(file, 4096)), errno.EDQUOT)
                self.assertEqual(self.pinned(), 64 * MIB)
            self.wait(lambda: self.pinned() == 0)

    def test_memory_that_is_not_as_it_must_be_is_refused_though_the_kernel_would_map_it(self):
        with self.serving(TENANTS), self.client(NVME) as client:
            pipe, _ = os.pipe()
            iommufd = os.open(support.IOMMU, os.O_RDWR)
            good = memory()
            reader = os.open(f"/proc/self/fd/{good}", os.O_RDONLY)
            writer = os.open(f"/proc/self/fd/{good}", os.O_WRONLY)
            untouched = os.memfd_create("sent", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.posix_fallocate(untouched, 0, MIB)
            fcntl.fcntl(untouched, ADD_SEALS, SHRINK | GROW)
            for what, file, code in (("a pipe", pipe, errno.EBADF), ("an iommufd", iommufd, errno.EBADF),
                                     ("a socket", client.socket.fileno(), errno.EBADF),
                                     ("unsealed", memory(seals=0), errno.EPERM),
                                     ("may be truncated", memory(seals=GROW), errno.EPERM),
                                     ("may grow", memory(seals=SHRINK), errno.EPERM),
                                     ("for reading", reader, errno.EACCES), ("for writing", writer, errno.EBADF),
                                     ("sealed against writing", memory(seals=SHRINK | GROW | WRITE), errno.EPERM),
                                     ("sealed later", memory(seals=SHRINK | GROW | FUTURE_WRITE), errno.EPERM),
                                     ("never touched", untouched, errno.ENODATA),
                                     ("1 TiB that isn't there", memory(1 << 40, allocated=False), errno.ENODATA)):
                answer = client.map(file, write=True)
                self.assertEqual(client.code(answer), code, (what, answer))
            self.assertEqual(client.code(client.ask("map", length=MIB)), errno.EBADF, "nothing is sent")
            self.assertEqual(self.pinned(), 0)
            self.assertEqual(client.code(client.map(good, write=True)), 0)
            self.assertEqual(client.code(client.map(reader)), 0, "which is for reading")
            with self.assertRaises(OSError):
                os.ftruncate(good, 0)

    def test_who_has_a_device_reaches_no_space_of_another_tenant(self):
        with self.serving(TENANTS), self.client(NVME, OTHER) as victim:
            secret = memory()
            os.pwrite(secret, b"secret" * 10 + b"....", 0)
            self.assertEqual(client_iova := victim.map(secret, iova=0x4000000)["mapped"]["iova"], 0x4000000)
            with self.client(EDU) as attacker:
                edu = Edu(attacker.descriptors[0])
                own = memory()
                iova = attacker.map(own, write=True)["mapped"]["iova"]
                attached = 0
                for number in range(1, 40):
                    try:
                        fcntl.ioctl(edu.file, ATTACH, bytearray(struct.pack("III", 12, 0, number)))
                    except OSError:
                        continue
                    attached += 1
                    edu.copy(client_iova, iova)
                    self.assertNotIn(b"secret", os.pread(own, 64, 0))
                self.assertGreater(attached, 0, "its own")
                attacker.ask("unmap", iova=client_iova)
            self.assertEqual(victim.ask("unmap", iova=client_iova)["unmapped"]["length"], MIB)

    def test_clients_that_share_a_device_get_no_descriptor_and_are_told_that_nothing_keeps_them_apart(self):
        with self.serving(TENANTS), self.client(EDU, NOBODY) as one:
            other = Client(self.path, NOBODY)
            answer = other.attach(EDU)
            self.assertEqual((answer["given"], other.descriptors), ([], []))
            self.assertIn("they are not isolated from each other", answer["notes"][0])
            first = one.map(memory())["mapped"]["iova"]
            second = other.map(memory())["mapped"]["iova"]
            self.assertNotEqual(first, second)
            self.assertEqual(other.code(other.ask("unmap", iova=first)), errno.ENOENT)
            self.assertEqual(self.pinned(), 2 * MIB)
            other.close()
            self.wait(lambda: self.pinned() == MIB)
            with self.client() as stranger:
                self.assertEqual(stranger.code(stranger.attach(EDU)), errno.EBUSY)

    def test_a_device_without_a_reset_is_not_passed_on_by_who_had_its_descriptor(self):
        with self.serving(TENANTS):
            with self.client(EDU, OTHER):
                pass
            with self.client(EDU, 0) as client:
                self.assertEqual(len(client.descriptors), 1)
            with self.client(user=OTHER) as last:
                # Each try takes it back again, which takes a while.
                answers = []
                self.wait(lambda: answers.append(last.attach(EDU)) or last.code(answers[-1]) != errno.EBUSY)
                answer = answers[-1]
                self.assertEqual(last.code(answer), errno.EPERM, answer)
                self.assertIn("it can't be reset", answer["error"]["cause"])

    def test_get_maps_memory_for_a_script(self):
        with self.serving(TENANTS):
            done = run("get", "--socket", self.path, "--mediated", "--device", NVME, "--map", "4M", "--", "/bin/sh", "-c",
                       'echo "$IOMMUFD_MEMORY_IOVA"; readlink "/proc/self/fd/$1"', "sh", "{memory}", preexec_fn=as_user(OTHER))
            self.assertEqual(done.returncode, 0, done.stderr)
            iova, name = done.stdout.splitlines()
            self.assertEqual(int(iova, 16) % (2 * MIB), 0)
            self.assertIn("memfd:", name)
            self.assertIn(f"note: the policy gives no descriptor of {NVME} away", done.stderr)

    def test_a_mediated_client_killed_at_any_moment_leaves_nothing(self):
        with self.serving(TENANTS):
            def start():
                return subprocess.Popen([support.iommufd, "get", "--socket", self.path, "--mediated", "--device", NVME, "--map",
                                         "8M", "--", "/bin/sh", "-c", "echo mapped; exec sleep 60"],
                                        preexec_fn=as_user(OTHER), stdout=subprocess.PIPE, stderr=subprocess.PIPE)

            begun = time.monotonic()
            first = start()
            self.assertEqual(first.stdout.readline(), b"mapped\n")
            whole = time.monotonic() - begun
            first.kill()
            first.communicate()
            mapped = 0
            for _ in range(KILLS):
                self.wait(lambda: self.pinned() == 0 and not self.holders(node_of(NVME)))
                client = start()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    client.wait(timeout=random.uniform(0, 1.5 * whole))
                client.kill()
                mapped += client.communicate()[0] == b"mapped\n"
            self.wait(lambda: self.pinned() == 0 and not self.holders(node_of(NVME)))
            with self.client(NVME, OTHER) as after:
                self.assertEqual(after.code(after.map(memory(16 * MIB), 16 * MIB)), 0, "all of its quota is free")
            self.assertGreater(mapped, 0, "none got so far as to map")
            self.assertNotIn("tainted", self.journal())
