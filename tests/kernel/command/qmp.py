# SPDX-License-Identifier: Apache-2.0 OR MIT
"""`iommufd run -qmp`: real devices come and go through the control socket."""

import contextlib
import json
import os
import pathlib
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "qmp"))
from client import Client  # noqa: E402
from command.support import (EDU, IOMMU, IOVA, MIB, NOBODY, NVME, CommandTest, Holding, as_nobody, node_of, opened,  # noqa: E402
                             write)


class Talk(Client):
    """Commands and answers as Python's own values; the events that came are kept."""

    def __init__(self, path):
        super().__init__(path)
        self.events = []
        self.say("qmp_capabilities")

    def next(self):
        return json.loads(self.line())

    def ask(self, command, descriptors=(), **arguments):
        """The whole answer."""
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        self.send(json.dumps({"execute": command, "arguments": named}).encode(), descriptors)
        while "event" in (answer := self.next()):
            self.events.append(answer)
        return answer

    def say(self, command, descriptors=(), **arguments):
        """What a command that must succeed returns."""
        answer = self.ask(command, descriptors, **arguments)
        if "return" not in answer:
            raise AssertionError(answer["error"]["desc"])
        return answer["return"]

    def event(self, name):
        """The data of the next event of that name."""
        while True:
            event = self.events.pop(0) if self.events else self.next()
            if event.get("event") == name:
                return event["data"]

    def objects(self, fd=None):
        given = {} if fd is None else {"fd": fd}
        self.say("object-add", qom_type="iommufd", id="iommufd0", **given)
        self.say("object-add", qom_type="memory-backend-memfd", id="ram", size=64 * MIB)
        self.say("object-add", qom_type="dma-space", id="dma0", iommufd="iommufd0")
        self.say("object-add", qom_type="dma-mapping", id="map0", space="dma0", memdev="ram", iova=IOVA)


@contextlib.contextmanager
def controlled(**options):
    """A process that holds nothing yet, and a client of it."""
    with tempfile.TemporaryDirectory(prefix="qmp.") as folder:
        os.chown(folder, NOBODY, NOBODY)
        path = os.path.join(folder, "socket")
        with Holding("-qmp", f"unix:{path},server=on,wait=off", **options) as held:
            yield held, path


class Qmp(CommandTest):
    def test_a_device_is_added_works_is_shown_and_removed_and_another_client_is_told(self):
        with controlled() as (held, path):
            one, other = Talk(path), Talk(path)
            one.objects()
            self.assertEqual(held.pinned(), 0)
            one.say("device_add", driver="vfio-pci", id="edu0", host=EDU, iommufd="iommufd0", space="dma0")
            one.say("device_add", driver="vfio-pci", id="nvme0", host=NVME, iommufd="iommufd0", space="dma0")
            self.assertGreaterEqual(held.pinned(), 64 * MIB)
            self.assertLessEqual({IOMMU, node_of(EDU), node_of(NVME)}, held.files())

            (iommufd,) = other.say("query-iommufd")
            self.assertEqual((iommufd["open"], iommufd["owner"], iommufd["users"]),
                             (True, "object", [f"vfio-pci {EDU}", f"vfio-pci {NVME}"]))
            self.assertIn("IOMMU_IOAS_MAP", iommufd["capabilities"])
            (space,) = other.say("query-address-spaces")
            self.assertEqual(space["counters"]["pinned-bytes"], 64 * MIB)
            self.assertEqual([(m["iova"], m["size"], m["state"]) for m in space["mappings"]], [(IOVA, 64 * MIB, "mapped")])
            self.assertEqual([device["id"] for device in other.say("query-devices")], ["edu0", "nvme0"])

            refused = one.ask("object-del", id="iommufd0")["error"]
            self.assertIn("object 'iommufd0' is in use, can not be deleted", refused["desc"])
            for device in ("nvme0", "edu0"):
                one.say("device_del", id=device)
                self.assertEqual(other.event("DEVICE_DELETED"), {"device": device, "path": f"/machine/peripheral/{device}"})
            self.assertEqual(held.pinned(), 0)
            self.assertFalse({IOMMU, node_of(EDU), node_of(NVME)} & held.files())
            for name in ("map0", "dma0", "ram", "iommufd0"):
                one.say("object-del", id=name)
            self.assertEqual(one.say("qom-list", path="/objects"), [{"name": "type", "type": "string"}])

    def test_a_process_without_privilege_gets_its_devices_by_descriptors_that_a_client_passes(self):
        with controlled(preexec_fn=as_nobody(65 * MIB)) as (held, path), opened(IOMMU, node_of(EDU)) as (iommufd, edu):
            client = Talk(path)
            client.say("getfd", [iommufd], fdname="iommufd")
            client.say("getfd", [edu], fdname="edu")
            client.objects(fd="iommufd")
            # It could not open it.
            refused = client.ask("device_add", driver="vfio-pci", id="nvme0", host=NVME, iommufd="iommufd0")["error"]
            self.assertIn("EACCES", refused["desc"])
            client.say("device_add", driver="vfio-pci", id="edu0", fd="edu", iommufd="iommufd0", space="dma0")
            self.assertGreaterEqual(held.pinned(), 64 * MIB)
            self.assertIn("not found", client.ask("closefd", fdname="edu")["error"]["desc"])
            client.say("device_del", id="edu0")
            self.assertEqual(held.pinned(), 0)
            self.assertIn(IOMMU, held.files())

    def test_a_device_that_the_kernel_asks_back_is_announced_and_gone(self):
        unbinding = threading.Thread(target=write, args=("/sys/bus/pci/drivers/vfio-pci/unbind", EDU), daemon=True)
        try:
            with controlled() as (held, path):
                client = Talk(path)
                client.objects()
                client.say("device_add", driver="vfio-pci", id="edu0", host=EDU, iommufd="iommufd0", space="dma0")
                unbinding.start()
                self.assertEqual(client.event("DEVICE_UNPLUG_REQUEST")["device"], "edu0")
                self.assertEqual(client.event("DEVICE_DELETED")["device"], "edu0")
                unbinding.join(timeout=5)
                self.assertFalse(unbinding.is_alive(), "unbind still hangs")
                self.assertEqual(held.pinned(), 0)
        finally:
            unbinding.join(timeout=5)
            write("/sys/bus/pci/drivers_probe", EDU)
            node_of(EDU)

    def test_a_device_that_cannot_ask_for_pages_is_refused_for_a_space_with_faults_and_told_what_to_do(self):
        with controlled() as (held, path):
            client = Talk(path)
            client.say("object-add", **{"qom-type": "iommufd", "id": "iommufd0"})
            client.say("object-add", **{"qom-type": "dma-space", "id": "dma0", "iommufd": "iommufd0", "faults": True})
            refused = client.ask("device_add", driver="vfio-pci", id="edu0", host=EDU, iommufd="iommufd0", space="dma0")["error"]
            self.assertIn("attach it without a fault queue (dma-space: faults=off)", refused["desc"])
            self.assertFalse({IOMMU, node_of(EDU)} & held.files())
            client.say("object-del", id="dma0")
            self.assertIn("IOMMU_FAULT", {entry["name"] for entry in client.say("query-qmp-schema")})

    def test_dirty_pages_are_told_while_a_log_runs(self):
        with controlled() as (_, path):
            client = Talk(path)
            client.objects()
            client.say("device_add", driver="vfio-pci", id="edu0", host=EDU, iommufd="iommufd0", space="dma0")
            source = client.say("dirty-log-start", id="dma0")["from"]
            told = client.say("dirty-log-sync", id="dma0")
            self.assertEqual(told["from"], source)
            if source == "everything":
                self.assertEqual(told["runs"], [{"iova": IOVA, "size": 64 * MIB}])
            client.say("dirty-log-stop", id="dma0")

    def test_quit_ends_it_with_everything_given_back(self):
        with controlled() as (held, path):
            client = Talk(path)
            client.objects()
            client.say("device_add", driver="vfio-pci", id="edu0", host=EDU, iommufd="iommufd0", space="dma0")
            client.say("quit")
            self.assertEqual(client.event("SHUTDOWN"), {"guest": False, "reason": "host-qmp-quit"})
            self.assertEqual(client.line(), b"")
            self.assertEqual(held.process.wait(timeout=20), 0)
            self.assertFalse(os.path.exists(path))
