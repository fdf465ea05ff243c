# SPDX-License-Identifier: Apache-2.0 OR MIT
"""`iommufd serve` and `iommufd get`: the broker on a real kernel, its clients killed at any moment."""

import array
import contextlib
import fcntl
import json
import os
import pathlib
import random
import signal
import socket
import struct
import subprocess
import sys
import time

from command import support
from command.support import EDU, IOMMU, NOBODY, NVME, CommandTest, node_of

OTHER = 1234  # another user
IOAS_ALLOC, IOAS_MAP, BIND, ATTACH = 0x3b81, 0x3b85, 0x3b76, 0x3b77
EBUSY = 16
KILLS = 200

# A client that gets an iommufd and a device, binds, attaches and maps, says so, and stays.
WORK = """
import fcntl, mmap, os, struct, sys, time, ctypes
iommufd, device = int(sys.argv[1]), int(sys.argv[2])
bind = bytearray(struct.pack("IIiI", 16, 0, iommufd, 0))
fcntl.ioctl(device, 0x3b76, bind)
ioas = bytearray(struct.pack("III", 12, 0, 0))
fcntl.ioctl(iommufd, 0x3b81, ioas)
number = struct.unpack("III", ioas)[2]
fcntl.ioctl(device, 0x3b77, bytearray(struct.pack("III", 12, 0, number)))
memory = mmap.mmap(-1, 1 << 20)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
fcntl.ioctl(iommufd, 0x3b85, bytearray(struct.pack("IIIIQQQ", 40, 7, number, 0, address, 1 << 20, 0x4000000)))
print("mapped", flush=True)
time.sleep(60)
"""


def message(body):
    text = json.dumps(body).encode()
    return struct.pack("<4sHHI", b"IOFB", 1, 0, len(text)) + text


class Connection:
    """A client of the protocol as docs/broker.md has it."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(path)

    def get(self, **wanted):
        self.socket.sendall(message({"get": wanted}))
        data, ancillary, _, _ = self.socket.recvmsg(12, socket.CMSG_SPACE(64 * 4))
        descriptors = array.array("i")
        for _, _, raw in ancillary:
            descriptors.frombytes(raw)
        length = struct.unpack("<4sHHI", data)[3]
        body = b""
        while len(body) < length:
            body += self.socket.recv(length - len(body))
        return json.loads(body), list(descriptors)

    def close(self):
        self.socket.close()


def lowest_ioas(iommufd):
    command = bytearray(struct.pack("III", 12, 0, 0))
    fcntl.ioctl(iommufd, IOAS_ALLOC, command)
    return struct.unpack("III", command)[2]


def as_user(user):
    def become():
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    return become


class BrokerTest(CommandTest):
    def setUp(self):
        self.folder = pathlib.Path(support.iommufd).parent
        self.path = str(self.folder / f"broker-{random.randrange(1 << 30)}.sock")
        self.script = self.folder / "work.py"
        self.script.write_text(WORK, encoding="ascii")

    @contextlib.contextmanager
    def serving(self, tenants):
        config = self.folder / "broker.json"
        config.write_text(json.dumps({"socket": self.path, "tenants": tenants}), encoding="ascii")
        journal = self.folder / "journal"
        with open(journal, "wb") as output:
            with subprocess.Popen([support.iommufd, "serve", "--config", str(config)], stderr=output) as server:
                self.server, self.journal_file = server, journal
                self.wait(lambda: "ready" in self.journal())
                try:
                    yield server
                finally:
                    server.terminate()
                    server.wait(timeout=20)

    def journal(self):
        return self.journal_file.read_text(encoding="utf-8")

    def wait(self, condition, seconds=15):
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end, self.journal())
            time.sleep(0.02)

    def client(self, user, device, *more):
        return subprocess.Popen([support.iommufd, "get", "--socket", self.path, "--iommufd", "--device", device, *more, "--",
                                 "/usr/bin/python3", str(self.script), "{iommufd}", f"{{vfio:{device}}}"],
                                preexec_fn=as_user(user), stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def client_for(self, seconds):
        """One that has run so long without being refused, as it is while the broker resets the disk after the last one."""
        while True:
            client = self.client(NOBODY, NVME, "--memlock", "unlimited")
            try:
                client.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                return client
            self.assertIn(b"EBUSY", client.communicate()[1])

    def time_to_map(self):
        """How long a client takes on this machine, from its start on."""
        while True:
            start = time.monotonic()
            client = self.client(NOBODY, NVME, "--memlock", "unlimited")
            line = client.stdout.readline()
            taken = time.monotonic() - start
            client.kill()
            error = client.communicate()[1]
            if line == b"mapped\n":
                return taken
            self.assertIn(b"EBUSY", error)

    def holders(self, node):
        """The processes but the broker that have it open."""
        found = set()
        for link in pathlib.Path("/proc").glob("[0-9]*/fd/*"):
            with contextlib.suppress(OSError):
                if os.readlink(link) == node:
                    found.add(int(link.parts[2]))
        return found


TENANTS = [{"name": "a", "peers": [{"uid": NOBODY}], "iommufd": True, "devices": [NVME], "memlock": "unlimited"},
           {"name": "b", "peers": [{"uid": OTHER}], "iommufd": True, "devices": [EDU], "unreset": True, "memlock": "64M"},
           {"name": "root", "peers": [{"uid": 0}], "iommufd": True, "devices": [EDU, NVME], "unreset": True}]


class Broker(BrokerTest):
    def test_each_tenant_gets_what_it_may_and_is_refused_the_rest_with_the_reason(self):
        with self.serving(TENANTS):
            a = self.client(NOBODY, NVME, "--memlock", "unlimited")
            self.assertEqual(a.stdout.readline(), b"mapped\n")
            b = self.client(OTHER, EDU, "--memlock", "64M")
            self.assertEqual(b.stdout.readline(), b"mapped\n")
            for user, device in ((NOBODY, EDU), (OTHER, NVME)):
                refused = self.client(user, device)
                _, error = refused.communicate(timeout=20)
                self.assertEqual(refused.returncode, 125)
                self.assertIn(b"EACCES (the policy doesn't allow it to", error)
            stranger = self.client(4321, NVME)
            _, error = stranger.communicate(timeout=20)
            self.assertIn(b"no tenant of the policy is for uid 4321", error)
            refused = self.client(OTHER, EDU, "--memlock", "unlimited")
            self.assertIn(b"the policy allows 'b' 64 MiB", refused.communicate(timeout=20)[1])
            for process in (a, b):
                process.kill()
                process.communicate()
            lines = self.journal()
            self.assertIn(f"given iommufd,'{NVME}'", lines)
            self.assertIn(f"refused iommufd,'{EDU}' to 'a' (uid {NOBODY}", lines)

    def test_a_client_killed_at_any_moment_leaves_nothing(self):
        with self.serving(TENANTS):
            whole = min(self.time_to_map() for _ in range(3))
            mapped = 0
            for attempt in range(KILLS):
                client = self.client_for(random.uniform(0, 1.2 * whole))
                client.kill()
                mapped += client.communicate()[0] == b"mapped\n"
                # Nobody has the device any more, and the next one can do all that the first one could.
                self.wait(lambda: not self.holders(node_of(NVME)))
                if attempt % 10:
                    continue
                after = None

                def is_given():
                    nonlocal after
                    after = Connection(self.path)
                    answer, descriptors = after.get(iommufd=True, devices=[NVME])
                    if "error" in answer:
                        after.close()
                        self.assertEqual(answer["error"]["code"], EBUSY, answer)
                        return False
                    self.assertEqual(lowest_ioas(descriptors[0]), 1, "its iommufd is not empty")
                    for descriptor in descriptors:
                        os.close(descriptor)
                    after.close()
                    return True

                self.wait(is_given)
            print(f"{mapped} of {KILLS} had mapped; one takes {whole:.2f} s", file=sys.stderr)
            self.assertGreater(mapped, 0, "none got so far as to map")
            status = pathlib.Path(f"/proc/{self.server.pid}/status").read_text(encoding="ascii")
            for name in ("VmPin", "VmLck"):
                self.assertIn("0 kB", next(line for line in status.splitlines() if line.startswith(name)))
            self.wait(lambda: not self.holders(IOMMU))
            self.assertNotIn("tainted", self.journal())

    def test_a_device_that_was_passed_on_is_tainted_until_it_is_let_go(self):
        with self.serving(TENANTS):
            first = Connection(self.path)
            answer, (iommufd, device) = first.get(iommufd=True, devices=[EDU])
            self.assertNotIn("error", answer)
            fcntl.ioctl(device, BIND, bytearray(struct.pack("IIiI", 16, 0, iommufd, 0)))
            space = lowest_ioas(iommufd)
            fcntl.ioctl(device, ATTACH, bytearray(struct.pack("III", 12, 0, space)))
            first.close()  # but the descriptors stay here, as with somebody who got them
            self.wait(lambda: "tainted" in self.journal())
            self.assertEqual(lowest_ioas(iommufd), space, "what was in the context is destroyed")
            second = Connection(self.path)
            self.assertIn("error", second.get(devices=[EDU])[0])
            os.close(device)
            os.close(iommufd)
            self.wait(lambda: "recovered" in self.journal())
            answer, descriptors = second.get(devices=[EDU])
            self.assertNotIn("error", answer)
            os.close(descriptors[0])
            second.close()

    def test_a_killed_broker_leaves_its_clients_what_they_have_and_the_next_one_sees_that(self):
        with self.serving(TENANTS) as server:
            client = self.client(NOBODY, NVME, "--memlock", "unlimited")
            self.assertEqual(client.stdout.readline(), b"mapped\n")
            server.send_signal(signal.SIGKILL)
            server.wait()
            self.assertIsNone(client.poll())
            self.assertIn(client.pid, self.holders(node_of(NVME)))
        with self.serving(TENANTS):
            other = Connection(self.path)
            answer, _ = other.get(devices=[NVME])
            self.assertEqual(answer["error"]["code"], EBUSY, answer)
            self.assertIn(str(client.pid), answer["error"]["cause"])
            client.kill()
            client.communicate()

            def is_given():
                answer, descriptors = other.get(devices=[NVME])
                for descriptor in descriptors:
                    os.close(descriptor)
                return "error" not in answer

            self.wait(is_given)
            other.close()

    def test_it_serves_the_socket_that_systemd_passes(self):
        config = self.folder / "activated.json"
        config.write_text(json.dumps({"tenants": TENANTS}), encoding="ascii")
        with subprocess.Popen(["systemd-socket-activate", "-l", self.path, support.iommufd, "serve", "--config", str(config)],
                              stderr=subprocess.DEVNULL) as server:
            try:
                end = time.monotonic() + 15
                while not os.path.exists(self.path) and time.monotonic() < end:
                    time.sleep(0.05)
                client = Connection(self.path)
                answer, descriptors = client.get(iommufd=True, devices=[EDU])
                self.assertNotIn("error", answer)
                self.assertEqual(len(descriptors), 2)
                for descriptor in descriptors:
                    os.close(descriptor)
                client.close()
            finally:
                server.terminate()
