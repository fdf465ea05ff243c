# SPDX-License-Identifier: Apache-2.0 OR MIT
"""`iommufd serve` hands a node of vhost-vdpa out as it was opened: whoever gets it becomes its owner."""

import errno
import fcntl
import os
import struct

from command.broker import BrokerTest, Connection
from command.support import BLK

SET_OWNER, GET_DEVICE_ID = 0xaf01, 0x8004af70
TENANTS = [{"name": "root", "peers": [{"uid": 0}], "vdpa": [BLK]}]


class VdpaHandOver(BrokerTest):
    def refuse_owner(self, file):
        with self.assertRaises(OSError) as second:
            fcntl.ioctl(file, SET_OWNER)
        self.assertEqual(second.exception.errno, errno.EBUSY)

    def test_a_node_comes_without_an_owner_which_each_client_in_turn_becomes(self):
        with self.serving(TENANTS):
            for _ in range(3):
                client = Connection(self.path)

                def is_given():
                    answer, files = client.get(vdpa=[BLK])
                    self.assertIn(answer.get("error", {}).get("code", 0), (0, errno.EBUSY), answer)
                    client.files = files
                    return files

                self.wait(is_given)
                file = client.files[0]
                number = bytearray(4)
                fcntl.ioctl(file, GET_DEVICE_ID, number)
                self.assertEqual(struct.unpack("I", number)[0], 2, "a disk")
                fcntl.ioctl(file, SET_OWNER)
                self.refuse_owner(file)
                os.close(file)
                client.close()

    def test_a_node_that_was_passed_on_is_given_to_nobody_until_it_is_closed(self):
        with self.serving(TENANTS):
            first = Connection(self.path)
            _, (file,) = first.get(vdpa=[BLK])
            first.close()
            second = Connection(self.path)
            self.assertEqual(second.get(vdpa=[BLK])[0]["error"]["code"], errno.EBUSY)
            os.close(file)
            self.wait(lambda: [os.close(each) for each in second.get(vdpa=[BLK])[1]])
            second.close()
