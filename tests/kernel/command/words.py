# SPDX-License-Identifier: Apache-2.0 OR MIT
"""What can't be read, or doesn't fit together: refused before anything of the machine is touched."""

import subprocess

from command import support
from command.support import FAILED, USAGE, CommandTest

IOMMUFD = ["-object", "iommufd,id=i"]
MEMORY = ["-object", "memory-backend-memfd,id=m,size=1M"]


class Words(CommandTest):
    def says(self, words, *arguments, status=USAGE, **options):
        self.assertIn(words, self.refuse(status, *arguments, **options))

    def test_unknown_types_and_keys_come_with_the_known_ones(self):
        self.says("did you mean 'iommufd'", "-object", "iommufdd,id=i")
        self.says("the types are", "-object", "colour,id=i")
        self.says("-device", "-object", "vfio-pci,id=d,host=0000:00:10.0,iommufd=i")
        self.says("its properties are", "-object", "iommufd,id=i,colour=red")
        self.says("did you mean 'iommufd'", "-device", "vfio-pci,id=d,host=0000:00:10.0,iommuf=i")

    def test_an_id_is_there_once_and_well_formed(self):
        self.says("it has no id=", "-object", "iommufd")
        self.says("is no id", "-object", "iommufd,id=0")
        self.says("id= is given twice", "-object", "iommufd,id=i,id=j")
        self.says("is the id of another iommufd already", *IOMMUFD, *IOMMUFD, status=FAILED)

    def test_references_lead_to_objects_of_the_right_type(self):
        self.says("no object has that id", *IOMMUFD, "-object", "dma-space,id=s,iommufd=nobody", status=FAILED)
        self.says("'m' is a memory-backend-memfd", *MEMORY, "-object", "dma-space,id=s,iommufd=m", status=FAILED)
        self.says("has no iommufd=", *IOMMUFD, "-object", "dma-space,id=s", "-device",
                  "vfio-pci,id=d,host=0000:00:10.0,iommufd=i,space=s", status=FAILED)

    def test_values_are_of_their_kind(self):
        for size in ("lots", "-1", "1.5", "1Q", "20000P", "0x", "", "1 M", "1M,,"):
            with self.subTest(size=size):
                self.says("no size", "-object", f"memory-backend-memfd,id=m,size={size}")
        self.says("no PCI address", "-device", "vfio-pci,id=d,host=edu,iommufd=i")
        self.says("no boolean", "-object", "memory-backend-memfd,id=m,size=1M,share=perhaps")
        self.says("exactly one of", "-device", "vfio-pci,id=d,iommufd=i")
        self.says("exactly one of", "-device", "vfio-pci,id=d,iommufd=i,host=0000:00:10.0,fd=7")

    def test_json_is_whole_and_flat(self):
        for text in ('{"qom-type":"iommufd",', '{"qom-type":"iommufd","id":"i"} x', "{", '{"qom-type":"iommufd","id":7}',
                     '{"qom-type":"iommufd","id":"i","fd":{"n":7}}', '{"qom-type":"iommufd","id":"i","fd":null}'):
            with self.subTest(text=text):
                self.says("", "-object", text)

    def test_lines_stay_lines_whatever_is_in_the_words(self):
        self.says(r"\x0a", "-object", "iommufd,id=i,colour\n=red")
        self.says(r"\x1b", "-object", "\x1b[31miommufd,id=i")
        self.says("...", "-object", "x" * 100000)
        self.says(r"/tmp/a\x0ab", "-object", "memory-backend-file,id=m,size=4k,mem-path=/tmp/a\nb", status=FAILED)
        self.says(r"/dev/a\x0ab", "-device", "vhost-vdpa,id=d,vhostdev=/dev/a\nb", status=FAILED)
        self.says(r"a\x0ab", "a\nb")

    def test_output_that_cannot_be_written_is_a_failure(self):
        for arguments in (("--version",), ("dmatest", "--model", "--json")):
            with open("/dev/full", "w", encoding="ascii") as full:
                process = subprocess.run([support.iommufd, *arguments], stdout=full, stderr=subprocess.PIPE, text=True,
                                         timeout=60, check=False)
            self.assertEqual(process.returncode, FAILED)
            self.assertRegex(process.stderr, r"\Aiommufd: cannot write to standard output: ENOSPC \(.+\); .+\n\Z")

    def test_the_command_line_itself_is_held_to_the_same(self):
        self.says("there is no command 'frobnicate'", command="frobnicate")
        self.says("--frobnicate", "--frobnicate")
        self.says("see `iommufd run --help`", "-object")
        self.says("extra", "extra", command="dmatest")
        self.says("no device is given", command="dmatest")
        self.says("--destructive", "--destructive=perhaps", command="dmatest")
        self.says("there is no such operation", "IOAS_MOP", "ENOMEM", command="explain")
        self.says("there is no such errno", "IOAS_MAP", "ENOSUCH", command="explain")
