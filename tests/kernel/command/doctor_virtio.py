# SPDX-License-Identifier: Apache-2.0 OR MIT
"""`iommufd doctor` behind a virtio-iommu, whose devices may send any interrupt: allowed, but said."""

from command.doctor import Diagnosis
from command.support import EDU, write

PARAMETER = "/sys/module/iommufd/parameters/allow_unsafe_interrupts"


class Virtio(Diagnosis):
    def test_unsafe_interrupts_that_are_allowed_are_a_warning(self):
        told = self.examined(EDU)
        self.assertTrue(told["ready"], told)
        self.assert_names(told, "interrupt-remapping", "allow_unsafe_interrupts=Y", "don't trust", verdict="warn")
        self.assert_names(told, "iommu", "virtio-iommu (0000:", "", verdict="pass")

    def test_and_a_failure_where_they_are_not_as_the_kernel_says_too(self):
        write(PARAMETER, "N")
        try:
            told = self.examined(EDU)
        finally:
            write(PARAMETER, "Y")
        self.assertEqual(self.failures(told), ["interrupt-remapping", "bind"])
        self.assert_names(told, "bind", "EPERM", "")
