# SPDX-License-Identifier: Apache-2.0 OR MIT
"""`iommufd plan`: the limit that it says is enough, and one page less isn't; the time that it says, beside the time taken."""

import itertools
import json
import os
import resource
import time

from command.accounting import account_per_process
from command.support import (BLK, EDU, FAILED, IOMMU, IOVA, MIB, NVME, CommandTest, Holding, node_of, objects, opened,
                             run, vdpa, vfio)

PAGE = os.sysconf("SC_PAGESIZE")
SIZE = "24M"
fresh_users = itertools.count(70001)


def as_somebody_fresh(limit):
    """A child of a user who has never locked anything, with this limit and no privilege."""
    user = next(fresh_users)

    def become():
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    return become


def second_space(iommufd):
    """Another space of the same iommufd, with the same memory in it."""
    return ["-object", f"dma-space,id=dma1,iommufd={iommufd}",
            "-object", f"dma-mapping,id=map1,space=dma1,memdev=ram,iova={IOVA:#x}"]


class Plan(CommandTest):
    def planned(self, *arguments, **options):
        process = run("plan", "--json", *arguments, **options)
        self.assertEqual(process.stderr, "")
        told = json.loads(process.stdout)
        self.assertEqual(process.returncode, 0 if told["enough"] else FAILED)
        return told

    def assert_exact(self, needed, command_line, *paths, per_process):
        """With that limit it holds, for somebody who has nothing locked; with a page less it doesn't."""
        for limit in (needed - PAGE, needed):
            with self.subTest(limit=limit), opened(IOMMU, *paths) as given:
                if per_process:
                    account_per_process(given[0])
                child = {"pass_fds": given, "preexec_fn": as_somebody_fresh(limit)}
                if limit < needed:
                    self.assertIn("ENOMEM", self.refuse(FAILED, *command_line(*given), **child))
                    continue
                with Holding(*command_line(*given), **child) as held:
                    pinned = held.pinned()
                self.assertEqual(held.rest, "")
                self.assertEqual(pinned, needed)

    def exact_in_each_mode(self, needed, command_line, *paths):
        for per_process in (False, True):
            with self.subTest(per_process=per_process):
                self.assert_exact(needed, command_line, *paths, per_process=per_process)

    def test_one_device_needs_the_memory(self):
        told = self.planned("--memory", SIZE)
        self.assertEqual(told["needed-without-privilege"], 24 * MIB)
        self.exact_in_each_mode(told["needed-without-privilege"], lambda iommufd, edu: [
            *objects(iommufd_fd=iommufd, size=SIZE), *vfio("edu0", f"fd={edu}")], node_of(EDU))

    def test_two_that_share_a_space_need_it_once(self):
        needed = self.planned("--memory", SIZE, "--devices", "2")["needed-without-privilege"]
        self.exact_in_each_mode(needed, lambda iommufd, edu, nvme: [
            *objects(iommufd_fd=iommufd, size=SIZE), *vfio("edu0", f"fd={edu}"), *vfio("nvme0", f"fd={nvme}")],
            node_of(EDU), node_of(NVME))

    def test_two_behind_a_viommu_need_it_twice(self):
        needed = self.planned("--memory", SIZE, "--devices", "2", "--viommu")["needed-without-privilege"]
        self.assertEqual(needed, 48 * MIB)
        self.exact_in_each_mode(needed, lambda iommufd, edu, nvme: [
            *objects(iommufd_fd=iommufd, size=SIZE), *second_space("iommufd0"), *vfio("edu0", f"fd={edu}"),
            "-device", f"vfio-pci,id=nvme0,fd={nvme},iommufd=iommufd0,space=dma1"], node_of(EDU), node_of(NVME))

    def with_vdpa(self, iommufd, edu, blk):
        return [*objects(iommufd_fd=iommufd, size=SIZE), *vfio("edu0", f"fd={edu}"), *vdpa(f"vhostfd={blk}")]

    def test_a_vdpa_device_that_pins_needs_it_once_more(self):
        needed = self.planned("--memory", SIZE, "--pinning-vdpa", "1")["needed-without-privilege"]
        self.assertEqual(needed, 48 * MIB)
        self.exact_in_each_mode(needed, self.with_vdpa, node_of(EDU), BLK)

    def test_so_it_does_for_root(self):
        def limited(limit):
            return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))}
        told = self.planned("--memory", SIZE, "--pinning-vdpa", "1", **limited(48 * MIB - PAGE))
        self.assertEqual((told["needed"], told["enough"]), (48 * MIB, False))
        self.assertIn("not from that of vDPA", told["reason"])
        self.assertTrue(self.planned("--memory", SIZE, "--pinning-vdpa", "1", **limited(48 * MIB))["enough"])
        words = [*objects(size=SIZE), *vfio("edu0", f"host={EDU}"), *vdpa(f"vhostdev={BLK}")]
        self.assertIn("which CAP_IPC_LOCK does not excuse", self.refuse(FAILED, *words, **limited(48 * MIB - PAGE)))
        with Holding(*words, **limited(48 * MIB)) as held:
            self.assertEqual(held.pinned(), 48 * MIB)

    def test_and_once_only_where_it_comes_first(self):
        needed = self.planned("--memory", SIZE, "--pinning-vdpa", "1")["needed-without-privilege-vdpa-first"]
        self.assertEqual(needed, 24 * MIB)
        for per_process in (False, True):
            for limit in (needed - PAGE, needed):
                with self.subTest(limit=limit, per_process=per_process), opened(IOMMU, node_of(EDU), BLK) as given:
                    iommufd, edu, blk = given
                    if per_process:
                        account_per_process(iommufd)
                    words = [*objects(iommufd_fd=iommufd, size=SIZE), *vdpa(f"vhostfd={blk}"), *vfio("edu0", f"fd={edu}")]
                    child = {"pass_fds": given, "preexec_fn": as_somebody_fresh(limit)}
                    if limit < needed:
                        self.refuse(FAILED, *words, **child)
                        continue
                    with Holding(*words, **child) as held:
                        self.assertEqual(held.pinned(), 48 * MIB)

    def test_the_limit_in_force_its_reason_and_the_way_to_more(self):
        told = self.planned("--memory", "1G")
        self.assertEqual((told["needed"], told["accounting"], told["enough"]), (None, "none", True))
        self.assertEqual(told["reason"], "CAP_IPC_LOCK: iommufd asks for no limit")
        os.chmod(IOMMU, 0o666)
        try:
            told = self.planned("--memory", "1G", preexec_fn=as_somebody_fresh(8 * MIB))
        finally:
            os.chmod(IOMMU, 0o660)
        self.assertEqual((told["limit"], told["accounting"], told["enough"]), (8 * MIB, "per-user", False))
        self.assertIn("what other programs of user", told["reason"])
        self.assertIn(f"prlimit --pid $$ --memlock={1 << 30}", told["fix"])
        self.assertIn("can't be opened", self.planned("--memory", "1G", preexec_fn=as_somebody_fresh(8 * MIB))["reason"])

    def test_the_time_is_printed_beside_the_time_taken(self):
        def taken(size):
            start = time.monotonic()
            with Holding(*objects(size=size), *vfio("nvme0", f"host={NVME}")):
                return time.monotonic() - start
        told = self.planned("--memory", "1G")
        seconds = told["map"]["seconds"]
        self.assertGreater(seconds, 0)
        self.assertLess(told["map"]["sample"], 1 << 30)
        measured = min(taken("1G") for _ in range(2)) - min(taken("2M") for _ in range(3))
        print(f"plan --memory 1G: {seconds:.2f} s to map, by a sample of {told['map']['sample'] >> 20} MiB; "
              f"`iommufd run` took {measured:.2f} s", flush=True)

    def test_for_people(self):
        process = run("plan", "--memory", "1G", "--devices", "2", "--viommu")
        self.assertEqual((process.returncode, process.stderr), (0, ""))
        self.assertIn("locked memory    2 GiB by iommufd, once for the address space of each device\n", process.stdout)
        self.assertRegex(process.stdout, r"time to map      about [0-9.]+ s, by 256 MiB mapped through 0000:")
        self.assertTrue(process.stdout.endswith("\nthe limit is enough\n"))
