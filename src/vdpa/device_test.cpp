// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/vdpa/device.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "iommufd/dma/memory.hpp"
#include "iommufd/dma/space.hpp"
#include "iommufd/model/machine.hpp"
#include "vdpa/fake_vhost.hpp"

namespace iommufd::vdpa {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

constexpr const char* kNode = "/dev/vhost-vdpa-0";

// --- on a kernel that only takes messages ---

TEST(DeviceOpen, FindsOutHowTheDeviceTakesMemory) {
    for (const bool uses_addresses : {true, false}) {
        FakeVhost kernel;
        kernel.uses_addresses = uses_addresses;
        auto device = Device::open(kNode, {.kernel = &kernel}).value();
        EXPECT_EQ(device.uses_addresses(), uses_addresses);
        EXPECT_THAT(kernel.messages(),
                    ElementsAre("UPDATE 0x0+0x1000", "INVALIDATE all", "UPDATE 0x0+0x1000"));
        EXPECT_THAT(kernel.kernel_table(), IsEmpty());
        EXPECT_EQ(kernel.mapped_pages(), 0U);
    }
}

TEST(DeviceOpen, ProbesWithinTheIovaRange) {
    FakeVhost kernel;
    kernel.iova_range = {.first = 0x12345, .last = 0xffffff};
    auto device = Device::open(kNode, {.kernel = &kernel}).value();
    EXPECT_EQ(kernel.messages().front(), "UPDATE 0x13000+0x1000");
    EXPECT_EQ(device.iova_range(), (Range{Iova{0x12345}, Iova{0xffffff}}));
}

TEST(DeviceOpen, AgreesOnWhatIsOffered) {
    FakeVhost kernel;
    {
        auto device = Device::open(kNode, {.kernel = &kernel}).value();
        EXPECT_EQ(device.backend_features(), kernel.backend_features);
    }
    kernel.backend_features = bit(BackendFeature::message_v2) | std::uint64_t{1} << 40;
    {
        auto device = Device::open(kNode, {.kernel = &kernel}).value();
        EXPECT_EQ(device.backend_features(), bit(BackendFeature::message_v2));
        EXPECT_EQ(device.address_space_count(), 1U);
    }
    kernel.backend_features = bit(BackendFeature::batch);
    EXPECT_EQ(Device::open(kNode, {.kernel = &kernel}).error().code(), EOPNOTSUPP);
    EXPECT_EQ(kernel.open_files(), 0);
}

TEST(DeviceOpen, DeclinesTheDescriptorGroupWithAddressSpaces) {
    FakeVhost kernel;
    kernel.backend_features |= bit(BackendFeature::descriptor_group);
    auto device =
        Device::open(kNode, {.kernel = &kernel, .decline = bit(BackendFeature::address_spaces)}).value();
    EXPECT_FALSE(device.has(BackendFeature::descriptor_group));
    EXPECT_FALSE(device.has(BackendFeature::address_spaces));
}

TEST(DeviceOpen, MovesGroupsToTheAddressSpaceThatWasChosenAndBackAfterAReset) {
    FakeVhost kernel;
    kernel.address_spaces = 2;
    {
        auto device = Device::open(kNode, {.kernel = &kernel, .asid = 1}).value();
        EXPECT_THAT(std::exchange(kernel.assigned, {}), ElementsAre(Pair(0, 1), Pair(1, 1)));
        device.reset().value();
        EXPECT_THAT(std::exchange(kernel.assigned, {}), ElementsAre(Pair(0, 1), Pair(1, 1)));
        EXPECT_EQ(device.attachable()->sink()->describe(), "address space 1 of vhost-vdpa /dev/vhost-vdpa-0");
        EXPECT_EQ(kernel.asid, 1U);
    }
    {
        auto device = Device::open(kNode, {.kernel = &kernel, .asid = 1, .group = 0}).value();
        EXPECT_THAT(kernel.assigned, ElementsAre(Pair(0, 1)));
    }
    EXPECT_EQ(Device::open(kNode, {.kernel = &kernel, .asid = 2}).error().code(), EINVAL);
    EXPECT_EQ(Device::open(kNode, {.kernel = &kernel, .group = 2}).error().code(), EINVAL);
}

TEST(DeviceOpen, TellsWhenAnotherProcessIsTheOwner) {
    FakeVhost kernel;
    kernel.is_owner = false;
    const auto error = Device::open(kNode, {.kernel = &kernel}).error();
    EXPECT_EQ(error.code(), EPERM);
    EXPECT_THAT(error.line(), HasSubstr("another process is its owner"));
    EXPECT_EQ(kernel.open_files(), 0);
    EXPECT_EQ(kernel.mapped_pages(), 0U);
}

// --- on the model ---

class ModelDevice : public testing::Test {
protected:
    static model::Description description(bool persist) {
        model::Description wanted;
        wanted.devices = {{.kind = model::DeviceKind::vdpa_blk, .iotlb_persist = persist}};
        return wanted;
    }

    ~ModelDevice() override { EXPECT_EQ(machine_.leaks().text(), "nothing"); }

    sys::Kernel& kernel() { return machine_.kernel(); }

    model::Machine machine_{description(true)};
};

TEST_F(ModelDevice, TellsWhatItIs) {
    auto device = Device::open(kNode, {.kernel = &kernel()}).value();
    EXPECT_EQ(device.device_id(), 2U);
    EXPECT_EQ(device.queue_count().value(), 1U);
    EXPECT_EQ(device.max_queue_size().value(), 256);
    EXPECT_TRUE(device.uses_addresses());
    EXPECT_EQ(&device.kernel(), &kernel());
    std::uint64_t sectors = 0;
    device.read_config(0, std::as_writable_bytes(std::span(&sectors, 1))).value();
    EXPECT_EQ(sectors, (64_MiB) / 512);
    EXPECT_EQ(device.read_config(device.config_size().value(), std::as_writable_bytes(std::span(&sectors, 1)))
                  .error()
                  .code(),
              EINVAL);
}

TEST_F(ModelDevice, BitsOfTheStatusGoByAResetOnly) {
    auto device = Device::open(kNode, {.kernel = &kernel()}).value();
    device.set_status(1).value();
    device.set_status(3).value();
    EXPECT_EQ(device.set_status(1).error().code(), EINVAL);
    EXPECT_EQ(device.status().value(), 3);
    device.set_status(0).value();
    EXPECT_EQ(device.status().value(), 0);
}

TEST_F(ModelDevice, OneUserAtATime) {
    auto device = Device::open(kNode, {.kernel = &kernel()}).value();
    const auto error = Device::open(kNode, {.kernel = &kernel()}).error();
    EXPECT_EQ(error.code(), EBUSY);
    EXPECT_THAT(error.line(), HasSubstr("it takes one user at a time"));
}

TEST_F(ModelDevice, TakesDescriptorsThatSomebodyOpened) {
    const int fd = kernel().open(kNode, O_RDWR);
    {
        auto device = Device::from(DupFd{fd}, {.kernel = &kernel()}).value();
        EXPECT_NE(device.fd(), fd);
    }
    auto device = Device::from(AdoptFd{fd}, {.kernel = &kernel()}).value();
    EXPECT_EQ(device.fd(), fd);
    std::move(device).destroy().value();
    EXPECT_EQ(::fcntl(fd, F_GETFD), -1);

    const auto error = Device::from(AdoptFd{::eventfd(0, EFD_CLOEXEC)}, {.kernel = &kernel()}).error();
    EXPECT_THAT(error.line(), HasSubstr("it is not a vhost-vdpa device"));
    EXPECT_EQ(Device::from(DupFd{-1}, {.kernel = &kernel()}).error().code(), EBADF);
}

TEST_F(ModelDevice, IsAUserOfItsBackendUntilItIsClosed) {
    auto backend = Backend::on(kernel()).value();
    {
        auto device = Device::open(kNode, {.backend = &backend}).value();
        EXPECT_THAT(backend.users(), ElementsAre("vhost-vdpa /dev/vhost-vdpa-0"));
        EXPECT_FALSE(backend.is_open());
    }
    EXPECT_THAT(backend.users(), IsEmpty());
    std::move(backend).destroy().value();
}

TEST_F(ModelDevice, IsNotAUserWhenOpeningFails) {
    auto backend = Backend::on(kernel()).value();
    EXPECT_FALSE(Device::open(kNode, {.backend = &backend, .asid = 7}));
    EXPECT_FALSE(Device::open("/dev/vhost-vdpa-1", {.backend = &backend}));
    EXPECT_THAT(backend.users(), IsEmpty());
}

TEST_F(ModelDevice, StaysOpenWhileASpaceHasIt) {
    auto space = dma::Space::without_iommufd({}).value();
    auto device = Device::open(kNode, {.kernel = &kernel()}).value();
    auto attachment = space.attach(device).value();
    const auto error = std::move(device).destroy().error();
    EXPECT_EQ(error.code(), EBUSY);
    EXPECT_EQ(device.status().value(), 0);  // NOLINT(bugprone-use-after-move): it stays
    std::move(attachment).detach().value();
    std::move(device).destroy().value();
}

TEST_F(ModelDevice, ItsVringsKeepItOpen) {
    std::optional<Device> device(Device::open(kNode, {.kernel = &kernel()}).value());
    const Vring vring = device->vring(0);
    EXPECT_EQ(device->vring(1).base().error().code(), ENOBUFS);
    device.reset();
    vring.set_size(64).value();
    EXPECT_EQ(vring.base().value(), 0U);
    vring.set_base(7).value();
    EXPECT_EQ(vring.base().value(), 7U);
    EXPECT_EQ(vring.set_size(63).error().code(), EINVAL);
    EXPECT_EQ(vring.set_kick(1 << 20).error().code(), EBADF);
    EXPECT_EQ(vring.group().value(), 0U);
    EXPECT_EQ(vring.descriptor_group().error().code(), EOPNOTSUPP);
}

}  // namespace
}  // namespace iommufd::vdpa
