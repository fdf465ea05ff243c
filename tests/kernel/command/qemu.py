# SPDX-License-Identifier: Apache-2.0 OR MIT
"""QEMU itself, inside the VM, with descriptors that a program on this library opened (examples/launch_qemu.cpp)."""

import json
import shutil
import subprocess

from command import support
from command.support import EDU, CommandTest


class Qemu(CommandTest):
    def ask(self, *commands):
        """What a QEMU that was started with edu answers to these, in their order."""
        asked = [{"execute": "qmp_capabilities"}, *commands, {"execute": "quit"}]
        process = subprocess.run(
            [support.build / "examples/launch_qemu", EDU, "qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-m", "256M",
             "-nodefaults", "-display", "none", "-S", "-qmp", "stdio"],
            input="".join(json.dumps(command) + "\n" for command in asked), capture_output=True, text=True, timeout=100,
            check=False)
        self.assert_passed(process)
        answers = [json.loads(line) for line in process.stdout.splitlines()]
        greeting = answers[0]["QMP"]["version"]["qemu"]
        self.assertGreaterEqual(greeting["major"], 10)
        self.assertFalse([answer for answer in answers if "error" in answer])
        return [answer["return"] for answer in answers if "return" in answer][1:-1]

    def test_it_realizes_a_device_with_descriptors_that_another_program_opened(self):
        if not shutil.which("qemu-system-x86_64"):
            self.skipTest("there is no QEMU")
        peripherals, objects_, realized, iommufd, buses = self.ask(
            {"execute": "qom-list", "arguments": {"path": "/machine/peripheral"}},
            {"execute": "qom-list", "arguments": {"path": "/objects"}},
            {"execute": "qom-get", "arguments": {"path": "/machine/peripheral/hostdev0", "property": "realized"}},
            {"execute": "qom-get", "arguments": {"path": "/machine/peripheral/hostdev0", "property": "iommufd"}},
            {"execute": "query-pci"})
        self.assertIn({"name": "hostdev0", "type": "child<vfio-pci>"}, peripherals)
        self.assertIn({"name": "iommufd0", "type": "child<iommufd>"}, objects_)
        self.assertIs(realized, True)
        self.assertEqual(iommufd, "/objects/iommufd0")
        # The guest sees the real device.
        ids = [(device["id"]["vendor"], device["id"]["device"]) for bus in buses for device in bus["devices"]
               if device["qdev_id"] == "hostdev0"]
        self.assertEqual(ids, [(0x1234, 0x11e8)])
