// SPDX-License-Identifier: Apache-2.0 OR MIT
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "capi/testing.hpp"

namespace iommufd::inline v0_1::capi {
namespace {

class CapiObjectTest : public CapiTest {};

TEST_F(CapiObjectTest, TheNodeIsOpenWhileADeviceUsesItWhichIsNamed) {
    EXPECT_STREQ(iommufd_id(object_), "iommufd0");
    EXPECT_EQ(iommufd_fd(object_), -ENOTCONN);
    OwnedVfio device;
    ASSERT_EQ(iommufd_vfio_open(object_, kEdu, nullptr, &device), 0) << iommufd_error_text();
    EXPECT_GE(iommufd_fd(object_), 0);
    EXPECT_EQ(text_of([&](char* text, std::size_t length) { return iommufd_users(object_, text, length); }),
              "vfio-pci 0000:00:10.0\n");
}

TEST_F(CapiObjectTest, AnObjectInUseIsNotClosedAndStays) {
    OwnedVfio device;
    ASSERT_EQ(iommufd_vfio_open(object_, kEdu, nullptr, &device), 0);
    EXPECT_EQ(iommufd_close(object_), -EBUSY);
    EXPECT_NE(std::string(iommufd_error_text()).find(kEdu), std::string::npos);
    ASSERT_EQ(iommufd_vfio_close(device.release()), 0) << iommufd_error_text();
    EXPECT_EQ(iommufd_close(std::exchange(object_, nullptr)), 0);
}

TEST_F(CapiObjectTest, ItIsOpenedByPathAndSharedByDescriptor) {
    options_.path = "/dev/iommu";
    options_.id = "shared";
    OwnedObject first;
    ASSERT_EQ(iommufd_open(&options_, &first), 0) << iommufd_error_text();
    EXPECT_STREQ(iommufd_id(first), "shared");
    const int fd = iommufd_fd(first);
    ASSERT_GE(fd, 0);
    options_.path = nullptr;
    OwnedObject second;
    ASSERT_EQ(iommufd_open_fd(fd, &options_, &second), 0) << iommufd_error_text();
    EXPECT_NE(iommufd_fd(second), fd);
    EXPECT_EQ(iommufd_close(first.release()), 0);
    OwnedVfio device;
    EXPECT_EQ(iommufd_vfio_open(second, kEdu, nullptr, &device), 0) << iommufd_error_text();
}

TEST_F(CapiObjectTest, WhatIsNoIommufdIsRefusedByItsErrno) {
    OwnedObject object;
    options_.path = "/dev/no-such-node";
    EXPECT_EQ(iommufd_open(&options_, &object), -ENOENT);
    EXPECT_STREQ(iommufd_error_operation(), "open");
    options_.path = "/dev/null";
    EXPECT_EQ(iommufd_open(&options_, &object), -ENOTTY);
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    EXPECT_EQ(iommufd_open_fd(null, &options_, &object), -EINVAL);  // a path as well
    options_.path = nullptr;
    EXPECT_EQ(iommufd_open_fd(null, &options_, &object), -ENOTTY);
    EXPECT_EQ(::close(null), 0);  // it stayed ours
    EXPECT_EQ(iommufd_open_fd(-1, &options_, &object), -EBADF);
    EXPECT_EQ(iommufd_open_fd(null, &options_, &object), -EBADF);
}

TEST_F(CapiObjectTest, AccountingAndIoctlsAreThoseOfTheKernel) {
    const int accounting = iommufd_get_accounting(object_);  // as this process's capabilities are
    EXPECT_TRUE(accounting >= IOMMUFD_ACCOUNTING_NONE && accounting <= IOMMUFD_ACCOUNTING_PER_PROCESS);
    EXPECT_EQ(iommufd_has(object_, "IOMMU_IOAS_MAP_FILE"), 1);
    EXPECT_EQ(iommufd_has(object_, "VFIO_DEVICE_BIND_IOMMUFD"), -ENOENT);
    EXPECT_EQ(iommufd_has(object_, "NO_SUCH"), -ENOENT);
    start("devices=edu,kernel=6.6");
    EXPECT_EQ(iommufd_has(object_, "IOMMU_IOAS_MAP_FILE"), 0);
}

TEST_F(CapiObjectTest, AModelIsDescribedAndAskedForItsDevices) {
    EXPECT_EQ(
        text_of([&](char* text, std::size_t length) { return iommufd_model_devices(model_, text, length); }),
        "edu 0000:00:10.0 /dev/vfio/devices/vfio0\nnvme 0000:00:11.0 /dev/vfio/devices/vfio1\nvdpa-blk blk0 "
        "/dev/vhost-vdpa-0\n");
    iommufd_model* model = nullptr;
    EXPECT_EQ(iommufd_model_create("devices=gpu", &model), -EINVAL);
    EXPECT_EQ(model, nullptr);
}

}  // namespace
}  // namespace iommufd::inline v0_1::capi
