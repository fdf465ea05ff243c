# SPDX-License-Identifier: Apache-2.0 OR MIT
"""`-object fd-server`: other processes get the iommufd of a running instance, where the policy trusts them."""

import fcntl
import json
import os
import struct
import tempfile

from command.broker import BIND, Connection, as_user, lowest_ioas
from command.qmp import Talk, controlled
from command.support import EDU, EDU_DEVICE, IOMMU, NOBODY, NVME, CommandTest, Holding, objects, run

ATTACH = 0x3b77
EPERM, EACCES = 1, 13


class FdServer(CommandTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="fd-server.")
        self.addCleanup(folder.cleanup)
        os.chmod(folder.name, 0o755)
        self.path = os.path.join(folder.name, "socket")
        self.config = os.path.join(folder.name, "policy.json")

    def policy(self, *tenants):
        with open(self.config, "w", encoding="ascii") as file:
            json.dump({"tenants": tenants}, file)

    def test_a_user_that_is_named_gets_the_instances_own_iommufd_and_nobody_else_does(self):
        with Holding(*objects(), *EDU_DEVICE, "-object", f"fd-server,id=f,path={self.path},iommufd=iommufd0,uid={NOBODY}"):
            command = ["--socket", self.path, "--iommufd", "--", "/bin/sh", "-c",
                       "readlink /proc/self/fd/$IOMMUFD_FD", "{iommufd}"]
            given = run("get", *command, preexec_fn=as_user(NOBODY))
            self.assertEqual(given.stdout, f"{IOMMU}\n", given.stderr)
            self.assertIn("shared with the broker and its other clients", given.stderr)
            refused = run("get", *command)
            self.assertEqual(refused.returncode, 125)
            self.assertIn("no tenant of the policy is for uid 0", refused.stderr)

    def test_it_comes_and_goes_by_the_control_socket_and_holds_the_iommufd(self):
        with controlled() as (held, control):
            talk = Talk(control)
            talk.objects()
            self.assertNotIn(IOMMU, held.files())
            talk.say("object-add", qom_type="fd-server", id="f", path=self.path, iommufd="iommufd0", uid=0)
            self.assertIn(IOMMU, held.files())
            self.assertIn("in use", talk.ask("object-del", id="iommufd0")["error"]["desc"])
            client = Connection(self.path)
            answer, (iommufd,) = client.get(iommufd=True)
            self.assertNotIn("error", answer)
            self.assertEqual(talk.say("qom-get", path="/objects/f", property="clients"), 1)
            talk.say("object-del", id="f")
            self.assertFalse(os.path.exists(self.path))
            self.assertEqual(client.socket.recv(1), b"", "it is hung up on, and keeps what it has")
            lowest_ioas(iommufd)
            os.close(iommufd)
            self.assertNotIn(IOMMU, held.files())
            client.close()

    def test_a_device_in_the_shared_iommufd_reaches_the_owners_space_so_only_the_trusted_get_one(self):
        trusted = {"name": "a", "peers": [{"uid": 0}], "iommufd": True, "devices": [NVME], "trusted": True}
        self.policy(trusted, {"name": "b", "peers": [{"uid": NOBODY}], "iommufd": True, "devices": [NVME]})
        with Holding(*objects(), *EDU_DEVICE, "-object",
                     f"fd-server,id=f,path={self.path},iommufd=iommufd0,config={self.config}"):
            refused = run("get", "--socket", self.path, "--iommufd", "--", "/bin/true", preexec_fn=as_user(NOBODY))
            self.assertIn("reaches every address space that is in it, and 'b' is not trusted", refused.stderr)
            client = Connection(self.path)
            answer, (iommufd, device) = client.get(iommufd=True, devices=[NVME])
            self.assertNotIn("error", answer)
            fcntl.ioctl(device, BIND, bytearray(struct.pack("IIiI", 16, 0, iommufd, 0)))
            # Ids are small: this one finds the space of the owner, where its memory is mapped.
            owners = lowest_ioas(iommufd) - 1
            attached = 0
            for number in range(1, owners + 1):
                try:
                    fcntl.ioctl(device, ATTACH, bytearray(struct.pack("III", 12, 0, number)))
                    attached += 1
                except OSError:
                    pass
            self.assertGreater(attached, 0, "the attack that sharing allows")
            os.close(device)
            os.close(iommufd)
            client.close()

    def test_what_it_can_not_serve_is_refused_in_one_line(self):
        self.policy({"name": "a"})
        line = self.refuse(1, "-object", "iommufd,id=i", "-object",
                           f"fd-server,id=f,path={self.path},iommufd=i,config={self.config}")
        self.assertIn("tenants[0] has no peers", line)
        line = self.refuse(1, "-object", "iommufd,id=i", "-object",
                           f"fd-server,id=f,path=/nowhere/socket,iommufd=i,uid={EACCES}")
        self.assertIn("/nowhere/socket", line)
        self.refuse(1, "-object", "iommufd,id=i", "-object", f"fd-server,id=f,path={self.path},iommufd=i,uid=1",
                    *["-device", f"vfio-pci,id=e,host={EDU[:-1]}7,iommufd=i"])
        self.assertFalse(os.path.exists(self.path), "the socket of one that didn't come to be")
