# SPDX-License-Identifier: Apache-2.0 OR MIT
"""`iommufd devices`: what it says of the machine's devices, beside what is known of them."""

import json

from command.bind import CARD, GROUP_EDU, GROUP_SERIAL, ROOT_PORT, BindTest, mounted
from command.support import EDU, NVME, Holding, node_of, objects, vfio


class Devices(BindTest):
    def listed(self):
        groups = json.loads(self.does("devices", "--json"))["groups"]
        return groups, {device["address"]: {**device, "group": group["group"], "viable": group["viable"]}
                        for group in groups for device in group["devices"]}

    def test_each_is_in_its_group_with_its_driver(self):
        groups, devices = self.listed()
        numbers = [group["group"] for group in groups]
        self.assertEqual(numbers, sorted(numbers))
        self.assertEqual({address: devices[address]["driver"] for address in (NVME, CARD, EDU, ROOT_PORT, GROUP_SERIAL)},
                         {NVME: "nvme", CARD: "e1000", EDU: None, ROOT_PORT: "pcieport", GROUP_SERIAL: "virtio-pci"})
        self.assertEqual(devices[GROUP_EDU]["group"], devices[GROUP_SERIAL]["group"])
        self.assertEqual({address: devices[address]["viable"] for address in (NVME, EDU, GROUP_EDU)},
                         {NVME: False, EDU: True, GROUP_EDU: False})
        self.assertEqual((devices[NVME]["id"], devices[NVME]["kind"]), ("1b36:0010", "storage"))
        self.assertEqual(devices[NVME]["name"], "Red Hat, Inc. QEMU NVM Express Controller")
        self.assertEqual((devices[CARD]["id"], devices[CARD]["kind"]), ("8086:100e", "network"))

    def test_who_has_one_is_named(self):
        with mounted() as place:
            self.assertIn(f"nvme0n1 is mounted on {place}", self.listed()[1][NVME]["uses"])
        self.does("bind", NVME)
        with Holding(*objects(), *vfio("nvme0", f"host={NVME}")) as holding:
            device = self.listed()[1][NVME]
            self.assertEqual((device["driver"], device["viable"], device["vfio-node"]), ("vfio-pci", True, node_of(NVME)))
            self.assertEqual(device["uses"], [f"iommufd (process {holding.process.pid}) has {node_of(NVME)} open"])
            self.assertIn(f"  {NVME}  1b36:0010  storage      vfio-pci  {node_of(NVME)}\n"
                          "      Red Hat, Inc. QEMU NVM Express Controller\n"
                          f"      iommufd (process {holding.process.pid}) has {node_of(NVME)} open\n", self.does("devices"))
        self.does("unbind", NVME)
