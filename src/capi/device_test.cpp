// SPDX-License-Identifier: Apache-2.0 OR MIT
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "capi/testing.hpp"

namespace iommufd::inline v0_1::capi {
namespace {

bool is_readable(int fd) {
    pollfd descriptor{.fd = fd, .events = POLLIN, .revents = 0};
    return ::poll(&descriptor, 1, 0) == 1;
}

class CapiVfioTest : public CapiTest {
protected:
    CapiVfioTest() {
        EXPECT_EQ(iommufd_vfio_open(object_, kEdu, nullptr, &device_), 0) << iommufd_error_text();
    }
    OwnedVfio device_;
};

TEST_F(CapiVfioTest, ADeviceIsDescribed) {
    iommufd_vfio_info info{.size = sizeof info};
    ASSERT_EQ(iommufd_vfio_get_info(device_, &info), 0);
    EXPECT_NE(info.id, 0U);
    EXPECT_EQ(info.is_pci, 1);
    EXPECT_EQ(info.translated, 1);
    EXPECT_STREQ(iommufd_vfio_name(device_), "vfio-pci 0000:00:10.0");
    EXPECT_GE(iommufd_vfio_fd(device_), 0);
    info.size = 0;
    EXPECT_EQ(iommufd_vfio_get_info(device_, &info), -EINVAL);
}

TEST_F(CapiVfioTest, WhatCannotBeOpenedHasItsErrno) {
    OwnedVfio device;
    EXPECT_EQ(iommufd_vfio_open(object_, "0000:7f:00.0", nullptr, &device), -ENOENT);
    EXPECT_EQ(iommufd_vfio_open(object_, kEdu, nullptr, &device), -EINVAL);
    EXPECT_EQ(iommufd_vfio_open(object_, nullptr, nullptr, &device), -EINVAL);
    EXPECT_EQ(iommufd_vfio_open_fd(object_, -1, nullptr, &device), -EBADF);
    EXPECT_EQ(iommufd_vfio_open_fd(object_, iommufd_fd(object_), nullptr, &device), -ENODEV);
    EXPECT_EQ(iommufd_vfio_open_fd(object_, iommufd_vfio_fd(device_), nullptr, &device), -EBUSY);
    iommufd_vfio_options options{.size = sizeof options, .name = nullptr, .vf_token = "no token"};
    EXPECT_EQ(iommufd_vfio_open(object_, kEdu, &options, &device), -EINVAL);
    options = {.size = sizeof options, .name = nullptr, .vf_token = nullptr, .dma_bits = 65};
    EXPECT_EQ(iommufd_vfio_open(object_, kEdu, &options, &device), -EINVAL);
}

TEST_F(CapiVfioTest, ADeviceIsInOneSpaceUntilItIsDetached) {
    OwnedSpace space;
    ASSERT_EQ(iommufd_space_create(object_, nullptr, &space), 0);
    EXPECT_EQ(iommufd_vfio_detach(device_), -EINVAL);
    ASSERT_EQ(iommufd_vfio_attach(device_, space), 0) << iommufd_error_text();
    EXPECT_EQ(iommufd_vfio_attach(device_, space), -EBUSY);
    EXPECT_EQ(iommufd_vfio_detach(device_), 0);
    OwnedObject other;
    OwnedSpace foreign;
    ASSERT_EQ(iommufd_open(&options_, &other), 0);
    ASSERT_EQ(iommufd_space_create(other, nullptr, &foreign), 0);
    EXPECT_EQ(iommufd_vfio_attach(device_, foreign), -EXDEV);
}

TEST_F(CapiVfioTest, ADeviceThatItsRegionKeepsIsNotClosedAndStays) {
    OwnedRegion bar;
    ASSERT_EQ(iommufd_vfio_region(device_, 0, &bar), 0);
    EXPECT_EQ(iommufd_vfio_close(device_), -EBUSY);
    iommufd_region_free(bar.release());
    EXPECT_EQ(iommufd_vfio_close(device_.release()), 0);
}

TEST_F(CapiVfioTest, RegistersAreReadAndWrittenInTheirWidth) {
    OwnedRegion bar;
    ASSERT_EQ(iommufd_vfio_enable(device_), 0);
    ASSERT_EQ(iommufd_vfio_region(device_, 0, &bar), 0) << iommufd_error_text();
    EXPECT_EQ(iommufd_region_size(bar), std::uint64_t{1} << 20);
    EXPECT_EQ(iommufd_region_write32(bar, 4, 0x12345678), 0);
    std::uint32_t inverted = 0;
    EXPECT_EQ(iommufd_region_read32(bar, 4, &inverted), 0);
    EXPECT_EQ(inverted, ~0x12345678U);
    EXPECT_EQ(iommufd_region_write64(bar, 0x80, 0x123456789), 0);
    std::uint64_t source = 0;
    EXPECT_EQ(iommufd_region_read64(bar, 0x80, &source), 0);
    EXPECT_EQ(source, 0x123456789U);
    EXPECT_EQ(iommufd_region_read32(bar, 1 << 20, &inverted), -EINVAL);
    EXPECT_EQ(iommufd_region_write32(bar, ~std::uint64_t{0}, 0), -EINVAL);
    EXPECT_EQ(iommufd_region_areas(bar, nullptr, 0), 0);  // edu's registers do things: none is mapped

    OwnedRegion config;
    ASSERT_EQ(iommufd_vfio_region(device_, 7, &config), 0);
    std::uint16_t vendor = 0;
    EXPECT_EQ(iommufd_region_read16(config, 0, &vendor), 0);
    EXPECT_EQ(vendor, 0x1234);
    std::uint8_t byte = 0;
    EXPECT_EQ(iommufd_region_read8(config, 1, &byte), 0);
    EXPECT_EQ(byte, 0x12);
    EXPECT_EQ(iommufd_region_write8(config, 0x3c, 5), 0);
    EXPECT_EQ(iommufd_region_write16(config, 4, 6), 0);
    std::uint8_t both[2] = {};
    EXPECT_EQ(iommufd_region_read(config, 0, both, 2), 0);
    EXPECT_EQ(both[0], 0x34);
    EXPECT_EQ(iommufd_region_write(config, 0x3c, both, 1), 0);
    EXPECT_EQ(iommufd_region_read(config, 4096, both, 1), -EINVAL);

    OwnedRegion none;
    EXPECT_EQ(iommufd_vfio_region(device_, 99, &none), -EINVAL);
    EXPECT_EQ(iommufd_vfio_region(device_, 5, &none), -ENODEV);
}

TEST_F(CapiVfioTest, InterruptsSignalEventfdsThatStayTheCallers) {
    iommufd_irq_info info{.size = sizeof info};
    ASSERT_EQ(iommufd_vfio_get_irq_info(device_, IOMMUFD_IRQ_MSI, &info), 0);
    EXPECT_EQ(info.count, 1U);
    EXPECT_EQ(info.eventfd, 1);
    EXPECT_EQ(iommufd_vfio_get_irq_info(device_, 77, &info), -EINVAL);
    const int event = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ASSERT_EQ(iommufd_vfio_set_irqs(device_, IOMMUFD_IRQ_MSI, 0, &event, 1), 0) << iommufd_error_text();
    EXPECT_EQ(iommufd_vfio_trigger_irq(device_, IOMMUFD_IRQ_MSI, 0), 0);
    EXPECT_TRUE(is_readable(event));
    EXPECT_EQ(iommufd_vfio_mask_irq(device_, IOMMUFD_IRQ_MSI, 0), -ENOTTY);
    EXPECT_EQ(iommufd_vfio_unmask_irq(device_, IOMMUFD_IRQ_MSI, 0), -ENOTTY);
    const int two[] = {event, event};
    EXPECT_EQ(iommufd_vfio_set_irqs(device_, IOMMUFD_IRQ_MSI, 0, two, 2), -EINVAL);
    EXPECT_EQ(iommufd_vfio_set_irqs(device_, IOMMUFD_IRQ_MSI, 0, nullptr, 1), -EINVAL);
    EXPECT_EQ(iommufd_vfio_disable_irqs(device_, IOMMUFD_IRQ_MSI), 0);
    EXPECT_EQ(::close(event), 0);
}

TEST_F(CapiVfioTest, TheKernelAsksForTheDeviceByItsEventfd) {
    const int request = iommufd_vfio_request_fd(device_);
    ASSERT_GE(request, 0) << iommufd_error_text();
    EXPECT_FALSE(is_readable(request));
    EXPECT_EQ(iommufd_model_request_device(model_, kEdu), 0);
    EXPECT_TRUE(is_readable(request));
    EXPECT_EQ(iommufd_model_request_device(model_, "0000:00:1f.0"), -ENOENT);
}

class CapiVdpaTest : public CapiTest {};

TEST_F(CapiVdpaTest, ADeviceIsOpenedAttachedAndSetUp) {
    const iommufd_vdpa_options on{.size = sizeof on, .kernel = options_.kernel};
    OwnedVdpa device;
    EXPECT_EQ(iommufd_vdpa_open(nullptr, "/dev/vhost-vdpa-9", &on, &device), -ENOENT);
    ASSERT_EQ(iommufd_vdpa_open(nullptr, "/dev/vhost-vdpa-0", &on, &device), 0) << iommufd_error_text();
    OwnedVdpa second;
    EXPECT_EQ(iommufd_vdpa_open(nullptr, "/dev/vhost-vdpa-0", &on, &second), -EBUSY);
    EXPECT_STREQ(iommufd_vdpa_name(device), "vhost-vdpa /dev/vhost-vdpa-0");
    EXPECT_GE(iommufd_vdpa_fd(device), 0);
    iommufd_vdpa_info info{.size = sizeof info};
    ASSERT_EQ(iommufd_vdpa_get_info(device, &info), 0);
    EXPECT_EQ(info.device_id, 2U);

    OwnedSpace space;
    OwnedMemory memory;
    ASSERT_EQ(iommufd_space_create(nullptr, nullptr, &space), 0);
    ASSERT_EQ(iommufd_memory_memfd(0x10000, nullptr, &memory), 0);
    const iommufd_map_options at{.size = sizeof at, .flags = IOMMUFD_MAP_AT, .access = 0, .iova = 0x10000};
    ASSERT_EQ(iommufd_space_map(space, memory, &at, nullptr, nullptr), 0) << iommufd_error_text();
    EXPECT_EQ(iommufd_vdpa_detach(device), -EINVAL);
    ASSERT_EQ(iommufd_vdpa_attach(device, space), 0) << iommufd_error_text();
    EXPECT_EQ(iommufd_vdpa_attach(device, space), -EBUSY);

    ASSERT_EQ(iommufd_vdpa_reset(device), 0);
    EXPECT_EQ(iommufd_vdpa_status(device), 0);
    EXPECT_EQ(iommufd_vdpa_set_status(device, 3), 0);
    EXPECT_EQ(iommufd_vdpa_status(device), 3);
    EXPECT_EQ(iommufd_vdpa_set_status(device, 1), -EINVAL);
    std::uint64_t features = 0;
    ASSERT_EQ(iommufd_vdpa_features(device, &features), 0);
    EXPECT_EQ(iommufd_vdpa_set_features(device, features), 0);
    EXPECT_EQ(iommufd_vdpa_set_status(device, 11), 0);
    EXPECT_EQ(iommufd_vdpa_set_features(device, features), -EBUSY);
    EXPECT_GE(iommufd_vdpa_queue_count(device), 1);
    EXPECT_GE(iommufd_vdpa_max_queue_size(device), 64);
    iommufd_vdpa_queue queue{.size = sizeof queue,
                             .descriptors = 0x10000,
                             .available = 0x11000,
                             .used = 0x12000,
                             .base = 0,
                             .entries = 64,
                             .reserved = 0,
                             .kick = -1,
                             .call = -1};
    EXPECT_EQ(iommufd_vdpa_start_queue(device, 99, &queue), -ENOBUFS);
    queue.entries = 63;
    EXPECT_EQ(iommufd_vdpa_start_queue(device, 0, &queue), -EINVAL);
    queue.entries = 64;
    EXPECT_EQ(iommufd_vdpa_start_queue(device, 0, &queue), 0) << iommufd_error_text();
    std::uint32_t base = 7;
    EXPECT_EQ(iommufd_vdpa_queue_base(device, 0, &base), 0);
    EXPECT_EQ(base, 0U);
    std::uint64_t sectors = 0;
    EXPECT_EQ(iommufd_vdpa_read_config(device, 0, &sectors, sizeof sectors), 0);
    EXPECT_EQ(sectors, std::uint64_t{64} << 11);
    EXPECT_EQ(iommufd_vdpa_read_config(device, 1 << 20, &sectors, sizeof sectors), -EINVAL);
    EXPECT_EQ(iommufd_vdpa_detach(device), 0);
}

}  // namespace
}  // namespace iommufd::inline v0_1::capi
