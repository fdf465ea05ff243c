// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Both sides of a hand-over on the model's machine. What Linux does is shown by tests/kernel/live_test.cpp.
#include "iommufd/live/handover.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include "iommufd/core/fault_queue.hpp"
#include "iommufd/core/ioas.hpp"
#include "live/testing.hpp"
#include "support/fake_sink.hpp"
#include "uapi/iommufd.hpp"

namespace iommufd::live {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class HandoverTest : public testing::LiveTest {};

TEST_F(HandoverTest, TheSuccessorHasWhatTheOldOneHadAndTheKernelWasAskedNothing) {
    Backend backend = open();
    std::optional<vfio::Device> device = bind(backend);
    device->set_dma_bits(28);
    std::optional<dma::Space> space = dma::Space::on(backend, {.id = "dma0"}).value();
    std::optional<dma::Attachment> joined = space->attach(*device).value();
    const dma::Memory memory = memfd();
    std::optional<dma::Mapping> owned =
        space->map(memory, {.iova = testing::kBase, .offset = 1_MiB, .length = 1_MiB, .access = Access::read})
            .value();
    space->map(memory, {.iova = testing::kBase + 2_MiB, .length = 64_KiB, .granule = 4_KiB}).value().leave();
    space->unmap(*Range::of(testing::kBase + 2_MiB, 4_KiB)).value();
    const int event = ::eventfd(0, EFD_CLOEXEC);
    const auto ioas = space->ioas();
    const auto id = device->id();
    const auto mappings = space->mappings();

    std::optional<Restored> restored;
    {
        auto handover = save(
            {backend, {&*space}, {&*device}, {{.name = "queues", .bytes = {std::byte{7}}, .fds = {event}}}});
        ASSERT_TRUE(handover) << handover.error().text();
        auto prepared = restore(received(handover->package()));
        ASSERT_TRUE(prepared) << prepared.error().text();
        std::move(*handover).commit();
        restored.emplace(std::move(*prepared).take());
    }
    // What the old one lets go of stays.
    owned.reset();
    joined.reset();
    space.reset();
    device.reset();
    EXPECT_EQ(backend.notices(), 0U);
    EXPECT_THAT(backend.users(), IsEmpty());

    ASSERT_THAT(restored->spaces, SizeIs(1));
    ASSERT_THAT(restored->devices, SizeIs(1));
    const dma::Space& now = restored->spaces[0];
    EXPECT_EQ(now.id(), "dma0");
    EXPECT_EQ(now.ioas(), ioas);
    EXPECT_EQ(restored->devices[0].id(), id);
    EXPECT_EQ(restored->devices[0].attachable()->dma_bits(), 28U);
    EXPECT_THAT(now.devices(), ElementsAre("vfio-pci 0000:00:10.0"));
    const auto then = now.mappings();
    ASSERT_EQ(then.size(), mappings.size());
    for (std::size_t i = 0; i < then.size(); ++i) {
        EXPECT_EQ(then[i].range, mappings[i].range);
        EXPECT_EQ(then[i].offset, mappings[i].offset);
        EXPECT_EQ(then[i].access, mappings[i].access);
        EXPECT_EQ(then[i].granule, mappings[i].granule);
        EXPECT_EQ(then[i].memory, "ram");
        EXPECT_EQ(then[i].state, dma::MappingState::mapped);
    }
    EXPECT_EQ(now.counters().mapped_by_file, 0U);

    // The same memory, found by its IOVA.
    memory.data()[1_MiB + 5] = std::byte{0x5a};
    auto reader = now.reader();
    {
        const auto guard = reader.enter();
        const auto found = guard.translate(testing::kBase + 5, 1, Access::read);
        ASSERT_FALSE(found.empty());
        EXPECT_EQ(*found.data(), std::byte{0x5a});
    }

    // The Mapping owns its range again, the rest is the space's.
    ASSERT_THAT(restored->mappings, SizeIs(1));
    EXPECT_EQ(restored->mappings[0].range(), mappings[0].range);
    EXPECT_EQ(now.unmap(mappings[0].range).error().code(), EBUSY);
    EXPECT_TRUE(std::move(restored->mappings[0]).unmap());
    EXPECT_EQ(now.unmap(*Range::of(testing::kBase + 2_MiB + 4_KiB, 4_KiB)).value(), 4_KiB);
    // And everything else works as if it had been made here.
    EXPECT_TRUE(now.map(memory, {.iova = testing::kBase, .length = 1_MiB}));

    ASSERT_THAT(restored->extras, SizeIs(1));
    EXPECT_EQ(restored->extras[0].name, "queues");
    EXPECT_THAT(restored->extras[0].bytes, ElementsAre(std::byte{7}));
    ASSERT_THAT(restored->extras[0].fds, SizeIs(1));
    ASSERT_EQ(::eventfd_write(event, 3), 0);
    eventfd_t count = 0;
    EXPECT_EQ(::eventfd_read(restored->extras[0].fds[0], &count), 0);
    EXPECT_EQ(count, 3U);
    kernel().close(restored->extras[0].fds[0]);
    ::close(event);

    // Nothing is left in the kernel's context when it goes.
    const core::Context context = *restored->backend.context();
    restored->mappings.clear();
    EXPECT_TRUE(std::move(restored->attachments[0]).detach());
    EXPECT_EQ(now.ioas(), std::nullopt);
    EXPECT_EQ(core::Ioas::alloc(context).value().id(), *ioas);
    EXPECT_EQ(context.notices(), 0U);
}

TEST_F(HandoverTest, WhileItIsUnderWayNothingChangesAndAfterAnAbortAllIsAsBefore) {
    const Backend backend = open();
    const vfio::Device device = bind(backend);
    const dma::Space space = dma::Space::on(backend, {.id = "dma0"}).value();
    const auto joined = space.attach(device).value();
    const dma::Memory memory = memfd();
    auto mapped = space.map(memory, {.iova = testing::kBase}).value();
    {
        const auto handover = save({backend, {&space}, {&device}, {}}).value();
        const auto refused = space.map(memory, {.iova = testing::kBase + 16_MiB});
        EXPECT_EQ(refused.error().code(), EBUSY);
        EXPECT_THAT(refused.error().line(), HasSubstr("handed over"));
        EXPECT_EQ(std::move(mapped).unmap().error().code(), EBUSY);
        EXPECT_EQ(device.disable_irqs(vfio::Irq::msi).error().code(), EBUSY);
        EXPECT_EQ(save({backend, {&space}, {&device}, {}}).error().code(), EBUSY);
    }
    EXPECT_TRUE(space.map(memory, {.iova = testing::kBase + 16_MiB}));
    EXPECT_TRUE(std::move(mapped).unmap());
    EXPECT_EQ(backend.notices(), 0U);
}

TEST_F(HandoverTest, ASuccessorThatFailsOrIsNeverConfirmedUndoesNothing) {
    const Backend backend = open();
    const vfio::Device device = bind(backend);
    const dma::Space space = dma::Space::on(backend, {.id = "dma0"}).value();
    const auto joined = space.attach(device).value();
    const dma::Memory memory = memfd();
    const auto mapped = space.map(memory, {.iova = testing::kBase}).value();
    {
        auto handover = save({backend, {&space}, {&device}, {}}).value();
        {
            const auto prepared = restore(received(handover.package())).value();
        }
        Package broken = received(handover.package());
        broken.state.pop_back();
        EXPECT_EQ(restore(std::move(broken)).error().code(), EPROTO);
        EXPECT_TRUE(std::move(handover).abort(Successor::alive));
    }
    EXPECT_EQ(mapped.state(), dma::MappingState::mapped);
    const core::Context context = *backend.context();
    EXPECT_EQ(core::Ioas::alloc(context).value().id().value, 4U);  // device, ioas and page table are there
    EXPECT_EQ(backend.notices(), 0U);
}

TEST_F(HandoverTest, AfterItTheOldHandlesAreShutDown) {
    const Backend backend = open();
    const vfio::Device device = bind(backend);
    const dma::Space space = dma::Space::on(backend, {.id = "dma0"}).value();
    const auto joined = space.attach(device).value();
    const dma::Memory memory = memfd();
    std::optional<Restored> restored;
    auto handover = save({backend, {&space}, {&device}, {}}).value();
    restored.emplace(restore(received(handover.package())).value().take());
    std::move(handover).commit();
    EXPECT_EQ(space.map(memory, {.iova = testing::kBase}).error().code(), ESHUTDOWN);
    EXPECT_EQ(device.disable_irqs(vfio::Irq::msi).error().code(), ESHUTDOWN);
    EXPECT_EQ(core::Ioas::alloc(*backend.context()).error().code(), ESHUTDOWN);
    EXPECT_TRUE(restored->spaces[0].map(memory, {.iova = testing::kBase}));
}

TEST_F(HandoverTest, ASpaceWithoutADeviceGoesOverAsAPlan) {
    const Backend backend = open();
    const vfio::Device device = bind(backend);
    const dma::Space space = dma::Space::on(backend, {.id = "dma0"}).value();
    const auto mapped = space.map(memfd(), {.iova = testing::kBase}).value();
    auto handover = save({backend, {&space}, {&device}, {}}).value();
    auto restored = restore(received(handover.package())).value().take();
    std::move(handover).commit();
    EXPECT_EQ(restored.mappings[0].state(), dma::MappingState::planned);
    const auto joined = restored.spaces[0].attach(restored.devices[0]);
    ASSERT_TRUE(joined) << joined.error().text();
    EXPECT_EQ(restored.mappings[0].state(), dma::MappingState::mapped);
}

TEST_F(HandoverTest, EachThingThatCantGoOverIsNamedWithItsReason) {
    const Backend backend = open();
    const vfio::Device device = bind(backend);
    const dma::Space space = dma::Space::on(backend, {.id = "dma0"}).value();
    const dma::Space other = dma::Space::on(backend, {.id = "dma1"}).value();
    const auto joined = space.attach(device).value();
    const auto anonymous =
        space
            .map(dma::Memory::anonymous(64_KiB, {.label = "heap", .host_nodes = {}, .kernel = &kernel()})
                     .value())
            .value();
    std::vector<std::byte> lent(64_KiB + 4_KiB);
    const auto page = (reinterpret_cast<std::uintptr_t>(lent.data()) + 4095) & ~std::uintptr_t{4095};
    const auto borrowed = space
                              .map(dma::Memory::borrow(reinterpret_cast<void*>(page), 64_KiB,
                                                       {.label = "lent", .host_nodes = {}})
                                       .value())
                              .value();
    const auto vdpa = backend.join("vhost-vdpa blk0").value();
    const auto by_hand = core::Ioas::alloc(*backend.context()).value();
    EXPECT_THAT(
        lines(check({backend, {&space}, {}, {}}).value()),
        ::testing::UnorderedElementsAre(
            HasSubstr("vfio-pci 0000:00:10.0 uses it as well"), HasSubstr("vhost-vdpa blk0 uses it as well"),
            HasSubstr("dma-space 'dma1' stands on it"), HasSubstr("('heap') can't go over"),
            HasSubstr("('lent') can't go over"), HasSubstr("in space 'dma0', is not listed")));
    const auto refused = save({backend, {&space}, {}, {}});
    EXPECT_EQ(refused.error().code(), EOPNOTSUPP);
    EXPECT_EQ(refused.error().line().find('\n'), std::string::npos);
    EXPECT_TRUE(space.map(memfd(), {.iova = testing::kBase}));  // and nothing is frozen
}

TEST_F(HandoverTest, ADeviceWithATableOfItsOwnIsAReason) {
    const Backend backend = open();
    const vfio::Device device = bind(backend);
    const dma::Space space = dma::Space::on(backend, {.id = "dma0"}).value();
    const auto sink = std::make_shared<support::FakeSink>("vhost-vdpa blk0");
    const auto joined = space.attach(sink).value();
    EXPECT_THAT(lines(check({backend, {&space}, {&device}, {}}).value()),
                ElementsAre(HasSubstr("vhost-vdpa blk0 has a table of its own")));
}

TEST_F(HandoverTest, WhatCouldNotBeGivenBackYetIsAReason) {
    const Backend backend = open();
    const vfio::Device device = bind(backend);
    const dma::Space space = dma::Space::on(backend, {.id = "dma0"}).value();
    const auto joined = space.attach(device).value();
    const auto memory = memfd();
    {
        const auto mapped = space.map(memory, {.iova = testing::kBase, .granule = 4_KiB}).value();
        const auto by_hand = core::Ioas::alloc(*backend.context()).value();
        kernel_.failing[uapi::kDestroy] = EBUSY;
        kernel_.failing[uapi::kIoasUnmap] = EIO;
    }
    kernel_.failing.clear();
    EXPECT_THAT(lines(check({backend, {&space}, {&device}, {}}).value()),
                ElementsAre(HasSubstr("ioas 4 of 'iommufd0' could not be given back yet"),
                            HasSubstr("('ram') could not be unmapped yet")));
    EXPECT_EQ(space.retry_releases(), 0U);
    EXPECT_EQ(backend.context()->retry_releases(), 0U);
    EXPECT_THAT(check({backend, {&space}, {&device}, {}}).value(), IsEmpty());
}

TEST_F(HandoverTest, MemoryMappedWithCapIpcLockIsAReason) {
    kernel_.files["/proc/self/status"] = "CapEff:\t0000000000004000\n";
    const Backend backend = open();
    const vfio::Device device = bind(backend);
    const dma::Space space = dma::Space::on(backend, {.id = "dma0"}).value();
    EXPECT_THAT(check({backend, {&space}, {&device}, {}}).value(), IsEmpty());  // nothing is mapped yet
    const auto joined = space.attach(device).value();
    EXPECT_THAT(lines(check({backend, {&space}, {&device}, {}}).value()),
                ElementsAre(HasSubstr("CAP_IPC_LOCK")));
    kernel_.files["/proc/self/status"] = "CapEff:\t0000000000000000\n";  // too late
    EXPECT_THAT(lines(check({backend, {&space}, {&device}, {}}).value()),
                ElementsAre(HasSubstr("CAP_IPC_LOCK")));
}

TEST_F(HandoverTest, ObjectsThatNoSpaceHasAreAReason) {
    const Backend backend = open();
    const vfio::Device device = bind(backend);
    const dma::Space space = dma::Space::on(backend, {.id = "dma0"}).value();
    const auto by_hand = core::Ioas::alloc(*backend.context()).value();
    EXPECT_THAT(lines(check({backend, {&space}, {&device}, {}}).value()),
                ElementsAre(HasSubstr("1 objects of it are no space's")));
    ASSERT_TRUE(device.attach(by_hand.id()));
    EXPECT_THAT(lines(check({backend, {&space}, {&device}, {}}).value()),
                ElementsAre(HasSubstr("attached to what no space keeps"), HasSubstr("objects of it")));
}

TEST_F(HandoverTest, ABackendThatIsNotOpenHasNothingToHandOver) {
    const Backend backend = open();
    const dma::Space space = dma::Space::on(backend, {.id = "dma0"}).value();
    EXPECT_THAT(lines(check({backend, {&space}, {}, {}}).value()),
                ElementsAre(HasSubstr("the iommufd is not open")));
}

TEST_F(HandoverTest, DescriptorsThatAreNotThoseOfTheStateAreRefusedAndClosed) {
    const Backend backend = open();
    const vfio::Device device = bind(backend);
    auto handover = save({backend, {}, {&device}, {}}).value();
    Package fewer = received(handover.package());
    kernel().close(fewer.fds.back());
    fewer.fds.pop_back();
    EXPECT_THAT(restore(std::move(fewer)).error().line(), HasSubstr("descriptors, and there are"));
    Package swapped = received(handover.package());
    std::swap(swapped.fds[0], swapped.fds[1]);
    EXPECT_FALSE(restore(std::move(swapped)));
    EXPECT_TRUE(std::move(handover).abort(Successor::alive));
}

}  // namespace
}  // namespace iommufd::live
