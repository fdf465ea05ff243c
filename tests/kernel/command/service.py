# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The broker as systemd runs it: with its user, its three capabilities and its sandbox. Needs tests/kernel/under_systemd."""

import contextlib
import grp
import json
import os
import pathlib
import stat
import struct
import subprocess
import unittest

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
    def serving(self, tenants):
        CONFIG.write_text(json.dumps({"tenants": tenants}), encoding="ascii")
        JOURNAL.write_bytes(b"")
        self.journal_file = JOURNAL
        systemctl("restart", UNIT)
        self.wait(lambda: "ready" in self.journal())
        yield None

    def test_as_installed_it_starts_for_whom_connects_and_refuses_everybody(self):
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

    def test_it_opens_no_device_but_those_that_it_hands_out(self):
        with self.serving([]):
            cgroup = pathlib.Path("/sys/fs/cgroup", *pathlib.Path(f"/proc/{service_process()}/cgroup").read_text(
                encoding="ascii").strip().removeprefix("0::").strip("/").split("/"))
            script = 'echo $$ >"$0/cgroup.procs" && for node; do : <"$node" && echo "$node"; done 2>&1'
            said = subprocess.run(["/bin/bash", "-c", script, str(cgroup), "/dev/hpet", "/dev/port", "/dev/ttyS0", IOMMU, BLK],
                                  capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual([line for line in said.stdout.splitlines() if line.startswith("/dev")], [IOMMU, BLK], said)

    def test_it_hands_over_what_vdpa_has(self):
        with self.serving([{"name": "a", "peers": [{"uid": NOBODY}], "vdpa": [BLK]}]):
            given = subprocess.run([support.iommufd, "get", "--vdpa", BLK, "--", "/bin/readlink", f"/proc/self/fd/{{vdpa:{BLK}}}"],
                                   preexec_fn=broker.as_user(NOBODY), capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(given.stdout, BLK + "\n", given.stderr)

    def test_a_unit_is_a_tenant(self):
        pathlib.Path("/run/systemd/system/vm-a.service").write_text(
            "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nUser=nobody\nStandardOutput=append:/run/vm-a\nStandardError=append:/run/vm-a\n"
            f"ExecStart={support.iommufd} get --iommufd --device {EDU} --memlock 64M -- /bin/grep locked /proc/self/limits\n", encoding="ascii")
        systemctl("daemon-reload")
        with self.serving([{"name": "a", "peers": [{"uid": NOBODY, "unit": "vm-a.service"}], "iommufd": True, "devices": [EDU], "memlock": "64M"}]):
            stranger = self.client(NOBODY, EDU)
            self.assertIn(b"no tenant of the policy is for", stranger.communicate(timeout=60)[1])
            systemctl("start", "vm-a.service")
            self.assertRegex(pathlib.Path("/run/vm-a").read_text(encoding="ascii"), r"67108864 +67108864")


# What the broker does without a sandbox it does with one.
for each in ("test_each_tenant_gets_what_it_may_and_is_refused_the_rest_with_the_reason",
             "test_a_device_that_was_passed_on_is_tainted_until_it_is_let_go"):
    setattr(Service, each, getattr(broker.Broker, each))
