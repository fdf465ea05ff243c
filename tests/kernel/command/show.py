# SPDX-License-Identifier: Apache-2.0 OR MIT
"""`iommufd show`: a running instance, by its control socket."""

import http.client
import json
import os
import socket
import tempfile
import xml.etree.ElementTree

from command.support import EDU, FAILED, IOVA, MIB, NVME, CommandTest, Holding, as_nobody, objects, run, vfio


class Show(CommandTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.socket = os.path.join(folder.name, "socket")
        self.picture = os.path.join(folder.name, "spaces.svg")

    def holding(self, *devices):
        return Holding(*objects(), *devices, "-qmp", f"unix:{self.socket},server=on,wait=off")

    def shown(self, *arguments):
        process = run("show", self.socket, *arguments)
        self.assertEqual((process.returncode, process.stderr), (0, ""))
        return process.stdout

    def test_objects_devices_and_the_space_as_a_picture(self):
        with self.holding(*vfio("edu0", f"host={EDU}"), *vfio("nvme0", f"host={NVME}")):
            text = self.shown("--svg", self.picture)
        self.assertIn(f"iommufd0  open, used by vfio-pci {EDU}, vfio-pci {NVME}; accounting: none\n", text)
        self.assertIn(f"nvme0  vfio-pci {NVME} in dma0\n", text)
        self.assertIn("64 MiB mapped, 64 MiB pinned", text)
        # edu drives 28 bits.
        self.assertRegex(text, r"\n  0x0000000000000000 +64 MiB  \.+ +free\n"
                               r"  0x0000000004000000 +64 MiB  #+ +mapped  ram\+0x0\n"
                               r"  0x0000000008000000 +128 MiB  \.+ +free\n"
                               r"  0x0000000010000000 .* x+ +reserved\n$")
        self.assertNotIn("\033", text)
        drawn = xml.etree.ElementTree.parse(self.picture)
        texts = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
        self.assertEqual(texts[0], "dma0")
        self.assertIn("0x4000000  64 MiB  mapped  ram+0x0", texts)

    def test_the_interrupt_window_is_reserved(self):
        with self.holding(*vfio("nvme0", f"host={NVME}")):
            self.assertRegex(self.shown(), r"\n  0x00000000fee00000 +1 MiB  x+ +reserved\n")

    def test_without_a_device_it_is_a_plan(self):
        with self.holding():
            self.assertRegex(self.shown(), r"64 MiB  #+ +planned  ram\+0x0, planned\n")

    def test_programs_get_it_as_the_control_socket_tells_it(self):
        with self.holding(*vfio("edu0", f"host={EDU}")):
            told = json.loads(self.shown("--json"))
        (space,) = told["spaces"]
        self.assertEqual(space["reachable"], [{"last": (1 << 28) - 1, "first": 0}])
        self.assertEqual((space["mappings"][0]["iova"], space["mappings"][0]["size"]), (IOVA, 64 * MIB))
        self.assertEqual([device["id"] for device in told["devices"]], ["edu0"])

    def test_top_shows_the_counters_and_how_fast_they_grow(self):
        with self.holding(*vfio("edu0", f"host={EDU}")):
            process = run("top", self.socket, "--count", "2", "--interval", "0.1", "--json")
            looks = [json.loads(line)["spaces"] for line in process.stdout.splitlines()]
            self.assertEqual(len(looks), 2)
            for (space,) in looks:
                self.assertEqual((space["space"], space["devices"], space["mapped-bytes"], space["maps-per-second"]),
                                 ("dma0", 1, 64 * MIB, 0))
            process = run("top", self.socket, "--count", "1")
            self.assertRegex(process.stdout, r"^space .*\ndma0 +1 +1 +64 MiB +64 MiB +0 +0 +0\.0%\n$")

    def test_prometheus_gets_its_metrics_by_a_socket_of_this_machine(self):
        with self.holding(*vfio("edu0", f"host={EDU}")) as instance:
            printed = run("metrics", self.socket).stdout
            self.assertIn('iommufd_space_pinned_bytes{space="dma0"} 67108864\n', printed)
            where = self.socket + ".metrics"
            with Holding(self.socket, "--listen", f"unix:{where}", command="metrics") as server:
                self.assertEqual(os.stat(where).st_mode & 0o777, 0o600)
                self.assertEqual(self.fetched(where, "/metrics"), (200, printed))
                self.assertEqual(self.fetched(where, "/else")[0], 404)
                instance.stop()
                status, body = self.fetched(where, "/metrics")
                self.assertEqual(status, 503)
                self.assertIn("nobody listens there", body)
            self.assertEqual((server.status, os.path.exists(where)), (0, False))

    def fetched(self, path, page):
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(path)
        connection.request("GET", page)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def test_where_nobody_listens_or_it_is_not_ours_that_is_said(self):
        self.assertIn("nobody listens there", self.refuse(FAILED, self.socket, command="show"))
        with self.holding():
            self.assertIn("EACCES", self.refuse(FAILED, self.socket, command="show", preexec_fn=as_nobody()))
