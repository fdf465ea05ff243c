# SPDX-License-Identifier: Apache-2.0 OR MIT
"""`iommufd doctor` where it is the boot that is broken: what the VM was started with says what it must find."""

import os

from command.doctor import Diagnosis
from command.support import EDU


def command_line():
    with open("/proc/cmdline", encoding="ascii") as file:
        return file.read().split()


class Boot(Diagnosis):
    # A word of the kernel's command line, the VM's kernel or its kind of IOMMU, and what is the cause then.
    CAUSES = {
        "initcall_blacklist=iommufd_init": ("iommu-node", "booted with initcall_blacklist=iommufd_init", "boot again"),
        "intel_iommu=off": ("iommu", "booted with intel_iommu=off", "take intel_iommu=off from"),
        "intremap=off": ("interrupt-remapping", "booted with intremap=off", "allow_unsafe_interrupts"),
        "without-iommufd": ("kernel-options", "no function of CONFIG_IOMMUFD is in /proc/kallsyms", "-m IOMMUFD"),
        "noiommu": ("iommu", "without protection (enable_unsafe_noiommu_mode=Y)", "turn it on in the firmware"),
        "none": ("iommu", "there is no IOMMU", "turn it on in the firmware"),
    }

    def test_the_cause_is_named_first_and_the_machine_is_not_ready(self):
        words = [*command_line(), os.environ["IOMMUFD_VM_KERNEL"], os.environ["IOMMUFD_VM"]]
        check, evidence, fix = next(cause for word, cause in self.CAUSES.items() if word in words)
        for arguments in ((), (EDU,)):
            told = self.examined(*arguments)
            self.assertEqual(self.failures(told)[0], check, told)
            self.assert_names(told, check, evidence, fix)

    def test_no_check_is_lost_for_it(self):
        told = self.examined(EDU)
        checks = {found["check"] for found in told["findings"]}
        self.assertLessEqual({"kernel-options", "iommu", "interrupt-remapping", "iommu-node", "vfio-cdev", "driver", "iommu-group",
                              "reset", "memlock", "accounting", "huge-pages"}, checks)
