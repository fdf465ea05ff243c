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
KUBEVIRT_CLIENT = str(pathlib.Path(__file__).resolve().parents[1] / "kubevirt_client")

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
    def serving(self, tenants, activated=False, **more):
        """By itself, or started by a stand-in for systemd when the first client connects."""
        config = self.folder / "broker.json"
        place = {} if activated else {"socket": self.path}
        config.write_text(json.dumps(place | {"tenants": tenants} | more), encoding="ascii")
        starter = ["systemd-socket-activate", "-l", self.path] if activated else []
        journal = self.folder / "journal"
        with open(journal, "wb") as output:
            with subprocess.Popen([*starter, support.iommufd, "serve", "--config", str(config)], stderr=output) as server:
                self.server, self.journal_file = server, journal
                if activated:
                    self.wait(lambda: os.path.exists(self.path))
                    os.chmod(self.path, 0o666)  # SocketMode=
                else:
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
    def check_two_tenants(self):
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

    def test_each_tenant_gets_what_it_may_and_is_refused_the_rest_with_the_reason(self):
        with self.serving(TENANTS):
            self.check_two_tenants()

    def test_started_by_a_socket_of_systemds_it_does_the_same(self):
        with self.serving(TENANTS, activated=True):
            self.check_two_tenants()

    def test_who_is_in_a_unit_or_a_cgroup_gets_what_is_its_own_and_not_who_names_his_own_alike(self):
        def get(cgroup, device):
            """As nobody, in that cgroup."""
            folder = pathlib.Path("/sys/fs/cgroup") / cgroup
            folder.mkdir(parents=True, exist_ok=True)

            def join():
                (folder / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
                as_user(NOBODY)()

            return subprocess.run([support.iommufd, "get", "--socket", self.path, "--device", device, "--", "/bin/true"],
                                  preexec_fn=join, stderr=subprocess.PIPE, text=True, timeout=30, check=False)

        with self.serving([{"name": "vm", "peers": [{"uid": NOBODY, "unit": "vm-a.service"}], "devices": [EDU], "unreset": True},
                           {"name": "ci", "peers": [{"cgroup": "/ci.slice"}], "devices": [NVME]}]):
            for cgroup, device in (("system.slice/vm-a.service/emulator", EDU), ("ci.slice/job-1.scope", NVME)):
                self.assertEqual(get(cgroup, device).returncode, 0, self.journal())
            self.assertIn("to 'vm'", self.journal())
            self.assertIn("to 'ci'", self.journal())
            for cgroup, device in (("system.slice/vm-a.service", NVME), ("ci.slice", EDU)):
                self.assertIn("EACCES (the policy doesn't allow it to", get(cgroup, device).stderr)
            for cgroup in ("user.slice/user-65534.slice/user@65534.service/vm-a.service", "ci.slices", "system.slice/vm-b.service"):
                self.assertIn(f"no tenant of the policy is for uid {NOBODY}, gid {NOBODY}, cgroup /{cgroup}", get(cgroup, EDU).stderr)

    def test_a_pod_of_kubevirts_gets_its_iommufd_as_it_is_used_to_and_nobody_else_does(self):
        path = f"{self.path}.pods"
        pods = [{"name": "pods", "peers": [{"uid": NOBODY}], "iommufd": True, "quotas": {"iommufds": 1}}]

        def pod(user, *seconds):
            return subprocess.Popen([KUBEVIRT_CLIENT, path, *seconds], preexec_fn=as_user(user), stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE)

        with self.serving(pods, kubevirt={"socket": path}):
            first = pod(NOBODY, "60")
            self.assertEqual(first.stdout.readline(), b"got iommufd\n")
            for user, reason in ((NOBODY, "has its 1 iommufds"), (OTHER, f"no tenant of the policy is for uid {OTHER}")):
                refused = pod(user)
                self.assertEqual((refused.communicate(timeout=20)[0], refused.returncode), (b"", 1))
                self.assertIn(reason, self.journal())
            first.kill()
            first.communicate()
            self.wait(lambda: "returned iommufd by 'pods'" in self.journal())
            # It has its iommufd, and uses it again, when the broker has gone.
            second = pod(NOBODY, "3")
            self.assertEqual(second.stdout.readline(), b"got iommufd\n")
        self.assertEqual(second.communicate(timeout=20)[1], b"")
        self.assertEqual(second.returncode, 0)

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
            second.close()  # the broker hangs up on who has nothing and says nothing for 10 s
            self.wait(lambda: "recovered" in self.journal())
            third = Connection(self.path)
            answer, descriptors = third.get(devices=[EDU])
            self.assertNotIn("error", answer)
            os.close(descriptors[0])
            third.close()

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
