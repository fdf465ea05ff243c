# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The broker as systemd runs it: with its user, its three capabilities and its sandbox. Needs tests/kernel/under_systemd."""

import contextlib
import fcntl
import grp
import json
import os
import pathlib
import shutil
import stat
import struct
import subprocess

from command import broker, support
from command.support import BLK, EDU, IOMMU, NOBODY, NVME, node_of

CONFIG = pathlib.Path("/etc/iommufd/broker.json")
SOCKET = "/run/iommufd/broker.sock"
JOURNAL = pathlib.Path("/run/journal")
UNIT = "iommufd-broker.service"
CAPABILITIES = {"dac_read_search": 2, "sys_ptrace": 19, "sys_resource": 24}


def systemctl(*words):
    return subprocess.run(["systemctl", *words], capture_output=True, text=True, timeout=60, check=True).stdout


def service_process():
    return int(systemctl("show", "--property=MainPID", "--value", UNIT))


class Service(broker.BrokerTest):
    def setUp(self):
        super().setUp()
        self.path = SOCKET

    @contextlib.contextmanager
    def serving(self, tenants, **settings):
        CONFIG.write_text(json.dumps({"tenants": tenants, **settings}), encoding="ascii")
        JOURNAL.write_bytes(b"")
        self.journal_file = JOURNAL
        systemctl("restart", UNIT)
        self.wait(lambda: "ready" in self.journal())
        yield None

    def test_as_installed_it_starts_for_whom_connects_and_refuses_everybody(self):
        shutil.copy(pathlib.Path(__file__).parents[3] / "packaging/system/broker.json", CONFIG)
        systemctl("stop", UNIT)
        self.assertEqual(systemctl("is-active", "iommufd-broker.socket"), "active\n")
        self.assertEqual(service_process(), 0)
        for user in (0, NOBODY):
            refused = self.client(user, NVME)
            _, error = refused.communicate(timeout=60)
            self.assertEqual(refused.returncode, 125)
            self.assertIn(f"no tenant of the policy is for uid {user}".encode(), error)
        self.assertNotEqual(service_process(), 0)

    def test_the_nodes_are_of_the_group_in_which_nobody_else_is(self):
        group = grp.getgrnam("iommufd")
        self.assertEqual(group.gr_mem, [])
        for node in (IOMMU, node_of(EDU), node_of(NVME), BLK):
            status = os.stat(node)
            self.assertEqual((status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)), (0, group.gr_gid, 0o660), node)

    def test_it_has_three_capabilities_and_can_get_no_more(self):
        with self.serving([]):
            text = pathlib.Path(f"/proc/{service_process()}/status").read_text(encoding="ascii")
            status = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
            its = sum(1 << bit for bit in CAPABILITIES.values())
            for kind in ("CapEff", "CapPrm", "CapBnd"):
                self.assertEqual(int(status[kind], 16), its, kind)
            self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
            self.assertNotIn("0", status["Uid"].split())

    def test_it_hands_over_what_vdpa_has(self):
        with self.serving([{"name": "a", "peers": [{"uid": NOBODY}], "vdpa": [BLK]}]):
            given = subprocess.run([support.iommufd, "get", "--vdpa", BLK, "--", "/bin/readlink", f"/proc/self/fd/{{vdpa:{BLK}}}"],
                                   preexec_fn=broker.as_user(NOBODY), capture_output=True, text=True, timeout=60, check=False)
            self.assertTrue(given.stdout.endswith(BLK + "\n"), given)

    def test_pods_of_kubevirts_get_theirs_in_the_folder_that_is_mounted_into_them(self):
        path = "/run/iommufd/pods/iommufd.sock"
        with self.serving([{"name": "pods", "peers": [{"uid": NOBODY}], "iommufd": True}], kubevirt={"socket": path}):
            pod = subprocess.run([broker.KUBEVIRT_CLIENT, path], preexec_fn=broker.as_user(NOBODY), capture_output=True, text=True,
                                 timeout=60, check=False)
            self.assertEqual((pod.stdout, pod.returncode), ("got iommufd\n", 0), pod)

    def test_it_hands_over_an_iommufd_and_a_device_that_bind_and_attach(self):
        with self.serving(broker.TENANTS):
            client = broker.Connection(self.path)
            answer, (iommufd, device) = client.get(iommufd=True, devices=[EDU])
            self.assertNotIn("error", answer)
            fcntl.ioctl(device, broker.BIND, bytearray(struct.pack("IIiI", 16, 0, iommufd, 0)))
            fcntl.ioctl(device, broker.ATTACH, bytearray(struct.pack("III", 12, 0, broker.lowest_ioas(iommufd))))
            for descriptor in (device, iommufd):
                os.close(descriptor)
            client.close()
