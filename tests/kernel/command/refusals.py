# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Bad input on a real kernel: one line with cause and next step, and nothing stays bound, mapped or open."""

import os
import pathlib
import tempfile

from command.support import (BLK, BLK_DEVICE, EDU, EDU_DEVICE, FAILED, IOMMU, NVME, NVME_DEVICE, USAGE, CommandTest, Holding,
                             as_nobody, node_of, objects, opened, vdpa, vfio)

ROOT_PORT = "0000:00:12.0"


def open_nodes():
    """The nodes of iommufd, VFIO and vDPA that any process has open."""
    open_now = set()
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            open_now |= {os.readlink(link) for link in (process / "fd").iterdir()}
        except OSError:  # it has ended
            pass
    return {path for path in open_now if path == IOMMU or path.startswith(("/dev/vfio/devices/", "/dev/vhost-vdpa"))}


class Refused(CommandTest):
    """After each test all three devices can be had, bound and mapped again."""

    def tearDown(self):
        self.assertEqual(open_nodes(), set())
        with Holding(*objects(), *EDU_DEVICE, *NVME_DEVICE, *BLK_DEVICE):
            pass

    def says(self, words, *arguments, status=FAILED, **options):
        self.assertIn(words, self.refuse(status, *arguments, **options))


class Descriptors(Refused):
    def test_one_that_is_not_open_is_called_that(self):
        self.says("(fd=77 is not open in this process)", "-object", "iommufd,id=iommufd0,fd=77")
        self.says("(fd=77 is not open in this process)", *objects(), *vfio("edu0", "fd=77"))
        self.says("(vhostfd=77 is not open in this process)", *objects(), *vdpa("vhostfd=77"))

    def test_one_of_a_directory_or_file_is_called_what_it_is(self):
        with tempfile.TemporaryFile() as file, tempfile.TemporaryDirectory() as folder:
            directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            for fd, words in ((directory, "is a directory)"), (file.fileno(), "is a regular file)")):
                self.says(words, "-object", f"iommufd,id=iommufd0,fd={fd}", pass_fds=(fd,))
                self.says(words, *objects(), *vfio("edu0", f"fd={fd}"), pass_fds=(fd,))
                self.says(words, *objects(), *vdpa(f"vhostfd={fd}"), pass_fds=(fd,))
            os.close(directory)

    def test_one_of_another_node_is_refused_by_what_it_does_not_answer(self):
        with opened(IOMMU, node_of(EDU), BLK, "/dev/null") as given:
            iommufd, edu, blk, null = given
            for fd in (edu, blk, null):
                self.says(f"descriptor {fd} is not an iommufd", *objects(iommufd_fd=fd), *NVME_DEVICE, pass_fds=given)
            for fd in (iommufd, blk, null):
                self.says("does not answer as one that VFIO opened", *objects(), *vfio("edu0", f"fd={fd}"), pass_fds=given)
            for fd in (iommufd, edu, null):
                self.says("it is not a vhost-vdpa device", *objects(), *vdpa(f"vhostfd={fd}"), pass_fds=given)

    def test_one_that_is_given_twice_is_refused_under_either_number(self):
        with opened(IOMMU, node_of(EDU)) as (iommufd, edu):
            copy = os.dup(iommufd)
            self.says(f"(fd={iommufd} is given to iommufd 'iommufd0' already)", *objects(iommufd_fd=iommufd),
                      "-object", f"iommufd,id=other,fd={iommufd}", pass_fds=(iommufd,))
            self.says(f"(fd={copy} is the same open file as descriptor {iommufd}, and that is given to iommufd 'iommufd0'",
                      *objects(iommufd_fd=iommufd), "-object", f"iommufd,id=other,fd={copy}", pass_fds=(iommufd, copy))
            self.says(f"(fd={edu} is given to iommufd 'iommufd0' already)", *objects(iommufd_fd=edu),
                      *vfio("edu0", f"fd={edu}"), pass_fds=(edu,))
            os.close(copy)

    def test_standard_input_and_words_are_none(self):
        for number in ("0", "2", "-1", "x", "4294967296", ""):
            self.says("is no descriptor)", "-object", f"iommufd,id=iommufd0,fd={number}", status=USAGE)


class Devices(Refused):
    def test_one_that_does_not_exist_is_called_that(self):
        self.says("(there is no /sys/bus/pci/devices/0000:77:00.0)", *objects(), *vfio("d", "host=0000:77:00.0"))
        self.says("(there is no /sys/nothing)", *objects(), *vfio("d", "sysfsdev=/sys/nothing"))
        self.says("(there is no such node", *objects(), *vdpa("vhostdev=/dev/vhost-vdpa-7"))
        self.says("(it is not a vhost-vdpa device", *objects(), *vdpa("vhostdev=/dev/null"))

    def test_one_that_its_host_driver_has_is_told_with_the_driver_and_how_to_take_it(self):
        line = self.refuse(FAILED, *objects(), *vfio("d", f"host={ROOT_PORT}"))
        self.assertIn("(it is bound to its host driver pcieport)", line)
        self.assertIn(f"run `iommufd bind {ROOT_PORT}`", line)

    def test_a_group_that_is_not_viable_is_listed_with_the_driver_that_is_in_the_way(self):
        def driver(device):
            return (device / "driver").resolve().name

        for device in pathlib.Path("/sys/bus/pci/devices").iterdir():
            group = device / "iommu_group/devices"
            members = list(group.iterdir()) if group.is_dir() else []
            spoiling = [member.name for member in members if driver(member) == "virtio-pci"]
            if driver(device) == "vfio-pci" and spoiling:
                break
        else:
            self.skipTest("no group of this VM has a device of VFIO's and one of the kernel's")
        line = self.refuse(FAILED, *objects(), *vfio("d", f"host={device.name}"))
        self.assertIn(f"is not viable: {spoiling[0]} (virtio-pci) is in use by the kernel", line)
        self.assertIn("bind those to vfio-pci as well", line)

    def test_one_that_somebody_has_is_called_that(self):
        with Holding(*objects(), *NVME_DEVICE, *BLK_DEVICE):
            self.says("(another open of it is bound already", *objects(), *NVME_DEVICE)
            self.says("(the device is open already", *objects(), *BLK_DEVICE)
        self.says("(another open of it is bound already", *objects(), *NVME_DEVICE, *vfio("again", f"host={NVME}"))

    def test_one_that_this_user_may_not_open_is_told_with_its_node(self):
        self.says(f"cannot open {node_of(EDU)} of vfio-pci {EDU}: EACCES", *objects(), *EDU_DEVICE, preexec_fn=as_nobody())
        self.says(f"cannot open vhost-vdpa {BLK}: EACCES", *objects(), *BLK_DEVICE, preexec_fn=as_nobody())
        with opened(node_of(EDU)) as (edu,):
            self.says(f"cannot open {IOMMU}", *objects(), *vfio("edu0", f"fd={edu}"), pass_fds=(edu,),
                      preexec_fn=as_nobody())


class Memory(Refused):
    def test_more_than_the_limit_is_refused(self):
        with opened(IOMMU, node_of(EDU)) as (iommufd, edu):
            self.says("(RLIMIT_MEMLOCK is 8 MiB;", *objects(iommufd_fd=iommufd), *vfio("edu0", f"fd={edu}"),
                      pass_fds=(iommufd, edu), preexec_fn=as_nobody(8 << 20))

    def test_more_than_the_machine_has_is_refused_before_any_of_it_is_touched(self):
        for device in (NVME_DEVICE, BLK_DEVICE, []):
            self.says("(this machine has ", *objects(size="1T", mapping="iova=4G"), *device)
        self.says("(this machine has ", "-object", "memory-backend-memfd,id=m,size=1T,prealloc=on")

    def test_a_file_that_is_none_or_too_short_is_called_that(self):
        with tempfile.NamedTemporaryFile() as file:
            file.truncate(4096)
            for more, words in ((f"mem-path={file.name},size=8k", "(the file has 4096 bytes"),
                                (f"mem-path={file.name},size=4k,offset=0xfffffffffffff000", "(the file has 4096 bytes"),
                                ("mem-path=/tmp,size=4k", "(it is a directory)"),
                                ("mem-path=/tmp,size=4k,share=on", "(it is a directory)"),
                                ("mem-path=/tmp/nothing,size=4k", "(there is no such file)")):
                self.says(words, "-object", f"memory-backend-file,id=m,{more}")

    def test_huge_pages_that_are_not_free_are_counted_on_in_vain(self):
        self.says("HugePages_Free", "-object", "memory-backend-memfd,id=m,size=2M,hugetlb=on,prealloc=on")


class Ranges(Refused):
    def test_iovas_that_the_iommu_does_not_reach_are_told_with_those_that_it_does(self):
        for iova in ("0xfee00000", "0xfedff000", "0x1000000000000"):
            self.says("reaches 0x0-0xfedfffff, 0xfef00000-0xffffffffffff only)", *objects(mapping=f"iova={iova}"),
                      *NVME_DEVICE)

    def test_iovas_that_need_more_bits_than_the_device_has_are_refused_and_the_last_below_are_not(self):
        for iova in ("0x10000000", "0xe000000", "4G"):
            self.says("0x0-0xfffffff only)", *objects(mapping=f"iova={iova}"), *EDU_DEVICE)
        with Holding(*objects(mapping="iova=0xc000000"), *EDU_DEVICE):
            pass

    def test_what_wraps_around_at_the_end_of_the_addresses_is_refused(self):
        for device in (EDU_DEVICE, BLK_DEVICE, []):
            self.says("(0xfffffffffffff000+0x4000000 passes the end of all addresses)",
                      *objects(mapping="iova=0xfffffffffffff000"), *device)

    def test_what_is_not_aligned_is_refused_by_what_was_written(self):
        for mapping, words in (("iova=0x4000001", "IOVA 0x4000001"), ("iova=0x4000800", "IOVA 0x4000800"),
                               ("iova=0x4000000,offset=1,size=4k", "offset 0x1"),
                               ("iova=0x4000000,size=4097", "size 0x1001")):
            for device in (EDU_DEVICE, BLK_DEVICE):
                self.says(f"(its {words} is no multiple of 4 KiB)", *objects(mapping=mapping), *device)

    def test_nothing_and_more_than_there_is_are_no_sizes(self):
        self.says("(size=0 is no memory)", "-object", "memory-backend-memfd,id=m,size=0", status=USAGE)
        self.says("(size=0 maps nothing)", *objects(mapping="iova=0x4000000,size=0"), *EDU_DEVICE, status=USAGE)
        for mapping in ("size=65M", "offset=64M", "offset=63M,size=2M", "offset=0xfffffffffffff000,size=8k"):
            self.says("is not within its 64 MiB)", *objects(mapping=f"iova=0x4000000,{mapping}"), *EDU_DEVICE)

    def test_what_overlaps_is_refused_with_what_is_there(self):
        self.says("(it overlaps 0x4000000+0x4000000 ('ram'))", *objects(), *EDU_DEVICE, *BLK_DEVICE,
                  "-object", "dma-mapping,id=map1,space=dma0,memdev=ram,iova=0x4001000,size=4k")
