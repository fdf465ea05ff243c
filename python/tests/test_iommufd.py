# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The bindings, on the model: python3 -m unittest discover python/tests (with the libraries in LD_LIBRARY_PATH)."""

import errno
import gc
import importlib.util
import mmap
import os
import pathlib
import select
import threading
import unittest

import iommufd

EDU = "0000:00:10.0"
IOVA = 0x4000000
LENGTH = 0x10000


class OnTheModel(unittest.TestCase):
    """A test that leaves anything in the machine fails."""

    def setUp(self):
        self.model = iommufd.Model()
        self.owner = iommufd.Iommufd(kernel=self.model)
        self.addCleanup(self.nothing_is_left)

    def nothing_is_left(self):
        del self.owner
        gc.collect()
        self.assertEqual(self.model.leaks(), "")

    def refuses(self, code, call, *arguments, **named):
        with self.assertRaises(iommufd.IommufdError) as caught:
            call(*arguments, **named)
        self.assertEqual(errno.errorcode[caught.exception.errno], errno.errorcode[code])
        error = caught.exception
        # The traceback holds the frames, and so what the call was about to make.
        error.__traceback__ = None
        return error


class EduTest(OnTheModel):
    def test_the_example_moves_bytes_and_reads_its_result(self):
        path = pathlib.Path(os.environ["IOMMUFD_EXAMPLES"]) / "edu.py"
        spec = importlib.util.spec_from_file_location("edu", path)
        edu = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(edu)
        self.assertEqual(edu.run(EDU, self.model), "moved by DMA")
        self.assertEqual(self.model.blocked_dma, 0)

    def test_what_is_not_mapped_is_out_of_the_cards_reach(self):
        with self.owner.space() as space, self.owner.vfio(EDU, dma_bits=28) as device:
            device.attach(space)
            device.enable()
            bar = device.region(0)
            for register, value in ((0x80, IOVA), (0x88, 0x40000), (0x90, 16), (0x98, 1)):
                bar.write(register, value, width=8)
        self.assertEqual(self.model.blocked_dma, 1)


class SpaceTest(OnTheModel):
    def setUp(self):
        super().setUp()
        self.space = self.owner.space()
        self.addCleanup(self.space.close)
        self.memory = iommufd.Memory.memfd(LENGTH, label="ram0")

    def test_a_mapping_is_planned_until_a_device_is_there_and_goes_with_its_scope(self):
        with self.space.map(self.memory, iova=IOVA) as mapping:
            self.assertEqual((mapping.iova, len(mapping)), (IOVA, LENGTH))
            self.assertEqual(mapping.state, iommufd.MappingState.PLANNED)
            self.refuses(errno.ENOENT, lambda: self.space.ioas)
            with self.owner.vfio(EDU) as device:
                device.attach(self.space)
                self.assertEqual(mapping.state, iommufd.MappingState.MAPPED)
                self.assertGreater(self.space.ioas, 0)
                self.assertEqual(self.space.counters()["mapped"], LENGTH)
                self.assertEqual(self.space.limits(), ([(0, 0xfedfffff), (0xfef00000, 0xffffffffffff)], 4096))
            self.assertEqual(
                self.space.mappings(),
                [(IOVA, LENGTH, "ram0", 0, iommufd.Access.READ_WRITE, 0, iommufd.MappingState.PLANNED)])
        self.assertEqual(self.space.mappings(), [])
        self.assertEqual(self.space.not_released(), [])
        self.assertEqual(self.space.retry_releases(), 0)

    def test_a_failure_says_what_why_and_what_to_do(self):
        mapping = self.space.map(self.memory, iova=IOVA)
        error = self.refuses(errno.EEXIST, self.space.map, self.memory, iova=IOVA)
        self.assertIn("ram0", error.what)
        self.assertTrue(error.cause and error.next_step and error.operation)
        self.assertTrue(str(error).startswith(error.what + ": EEXIST ("))
        self.assertIsInstance(error, OSError)
        self.refuses(errno.EINVAL, self.space.map, self.memory, iova=IOVA + 1)
        self.refuses(errno.EBUSY, self.space.unmap, IOVA, LENGTH)
        mapping.leave()
        self.assertTrue(mapping.closed)
        self.refuses(errno.EINVAL, self.space.unmap, IOVA, 4096)
        self.assertEqual(self.space.unmap(IOVA, LENGTH), LENGTH)
        self.refuses(errno.ENOENT, self.space.unmap, IOVA, LENGTH)

    def test_a_view_is_the_memory_and_keeps_it(self):
        view = self.memory.view()
        view[0:5] = b"hello"
        self.assertRaises(BufferError, self.memory.close)
        self.memory = None
        gc.collect()
        self.assertEqual(bytes(view[:5]), b"hello")

    def test_a_mapping_keeps_its_memory(self):
        mapping = self.space.map(self.memory, iova=IOVA)
        self.memory.view()[:4] = b"kept"
        self.memory.close()
        self.assertRaises(ValueError, self.memory.view)
        self.assertEqual(self.space.reader().read(IOVA, 4), b"kept")
        mapping.unmap()

    def test_a_borrowed_buffer_lives_as_long_as_what_maps_it(self):
        buffer = mmap.mmap(-1, 4096)
        buffer[:5] = b"given"
        mapping = self.space.map(iommufd.Memory.borrow(buffer), iova=IOVA)
        self.assertRaises(BufferError, buffer.close)
        reader = self.space.reader()
        self.assertEqual(reader.read(IOVA, 5), b"given")
        reader.write(IOVA, b"taken")
        self.assertEqual(buffer[:5], b"taken")
        mapping.close()
        del mapping
        gc.collect()
        buffer.close()

    def test_a_reader_copies_what_is_mapped_or_nothing(self):
        mapping = self.space.map(self.memory, iova=IOVA, access=iommufd.Access.READ)
        reader = self.space.reader()
        self.assertEqual(reader.read(IOVA, 3), b"\0\0\0")
        self.refuses(errno.EFAULT, reader.write, IOVA, b"x")
        self.refuses(errno.EFAULT, reader.read, IOVA + LENGTH - 1, 2)
        mapping.unmap(timeout=1)

    def test_what_is_closed_says_so(self):
        self.memory.close()
        self.memory.close()
        self.assertRaises(ValueError, lambda: len(self.memory))

    def test_each_thread_has_its_own_error(self):
        self.refuses(errno.ENOENT, self.space.unmap, IOVA, LENGTH)
        seen = []
        thread = threading.Thread(
            target=lambda: seen.append(self.refuses(errno.EINVAL, self.space.map, self.memory, iova=1).errno))
        thread.start()
        thread.join()
        self.assertEqual(seen, [errno.EINVAL])


class DeviceTest(OnTheModel):
    def test_the_object_in_use_stays_and_names_who_uses_it(self):
        self.refuses(errno.ENOTCONN, self.owner.fileno)
        device = self.owner.vfio(EDU)
        self.assertEqual(self.owner.users(), ["vfio-pci " + EDU])
        self.assertIn(EDU, str(self.refuses(errno.EBUSY, self.owner.close)))
        self.assertTrue(self.owner.has("IOMMU_IOAS_MAP"))
        self.assertIn(self.owner.accounting(), list(iommufd.Accounting))
        shared = iommufd.Iommufd(fd=self.owner.fileno(), kernel=self.model)
        device.close()
        self.assertTrue(device.closed)
        shared.close()

    def test_registers_and_interrupts(self):
        device = self.owner.vfio(EDU)
        self.assertTrue(device.info()["is_pci"])
        device.enable()
        bar = device.region(0)
        self.assertEqual(len(bar), 1 << 20)
        bar.write(4, 0x12345678)
        self.assertEqual(bar.read(4), 0xffffffff - 0x12345678)
        self.assertRaises(OverflowError, bar.write, 4, 1 << 32)
        self.refuses(errno.EINVAL, bar.read, 1 << 20)
        config = device.region(7)
        self.assertEqual(config.read(0, width=2), 0x1234)
        self.assertEqual(config.read_bytes(0, 2), b"\x34\x12")
        self.assertEqual(device.irq_info(iommufd.Irq.MSI).count, 1)
        event = os.eventfd(0)
        device.set_irqs(iommufd.Irq.MSI, [event])
        device.trigger_irq(iommufd.Irq.MSI)
        self.assertEqual(os.eventfd_read(event), 1)
        device.set_irqs(iommufd.Irq.MSI, [None])
        device.disable_irqs(iommufd.Irq.MSI)
        os.close(event)
        self.refuses(errno.EBUSY, device.close)  # its regions

    def test_the_kernel_asks_for_a_device(self):
        device = self.owner.vfio(EDU)
        self.model.request_device(EDU)
        self.assertEqual(select.select([device.request_fd], [], [], 0)[0], [device.request_fd])

    def test_a_vdpa_device_is_driven(self):
        self.assertEqual(self.model.devices()[2], ("vdpa-blk", "blk0", "/dev/vhost-vdpa-0"))
        with iommufd.Space() as space, self.owner.vdpa("/dev/vhost-vdpa-0") as device:
            device.attach(space)
            self.refuses(errno.EBUSY, device.attach, space)
            self.assertEqual(device.info()["device_id"], 2)
            device.status = 3
            self.assertEqual(device.status, 3)
            device.features = device.features
            self.assertEqual(int.from_bytes(device.read_config(0, 8), "little"), 64 << 11)
            device.reset()
            self.assertEqual(device.status, 0)

    def test_things_go_in_any_order(self):
        space, device = self.owner.space(), self.owner.vfio(EDU)
        device.attach(space)
        mapping = space.map(iommufd.Memory.memfd(LENGTH), iova=IOVA)
        everything = [self.model, self.owner, space, device, mapping, device.region(0)]
        everything.append(everything)  # a cycle: the collector's order is its own
        self.owner = None
        del space, device, mapping, everything


class WordsTest(unittest.TestCase):
    def test_explain_and_version(self):
        cause, next_step = iommufd.explain("IOMMU_IOAS_MAP", errno.ENOMEM)
        self.assertTrue(cause and next_step)
        self.assertRegex(iommufd.version(), r"^\d+\.\d+\.\d+$")
        with self.assertRaises(iommufd.IommufdError):
            iommufd.explain("NO_SUCH", errno.ENOMEM)

    def test_a_model_that_makes_no_sense_is_refused(self):
        with self.assertRaises(iommufd.IommufdError) as caught:
            iommufd.Model("devices=gpu")
        self.assertEqual(caught.exception.errno, errno.EINVAL)


if __name__ == "__main__":
    unittest.main()
