// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Memory of devices in a Space. (On the real kernel: tests/kernel/vfio_dma_test.cpp.)
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "iommufd/dma/space.hpp"
#include "support/fake_sink.hpp"

namespace iommufd::dma {
namespace {

using support::FakeSink;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::SizeIs;

constexpr Iova kBase{0x4000000};

TEST(SpaceDmaBufTest, ADmaBufThatASinkDoesNotTakeIsAWarningAndCanBeMappedAgain) {
    const Memory memory = Memory::memfd(1_MiB, {.label = "ram"}).value();
    std::vector<Notice> notices;
    Space space = Space::without_iommufd({.id = "dma0"}, [&](const Notice& notice) {
                      notices.push_back(notice);
                  }).value();
    const auto taking = std::make_shared<FakeSink>("taking");
    taking->dma_bufs = true;
    taking->fail_map_at = kBase;
    const Attachment first = space.attach(taking).value();
    // Any file will do here: only a kernel looks at it.
    const Memory bar = Memory::dma_buf(memory.fd(), 64_KiB, {.label = "bar"}).value();
    EXPECT_EQ(bar.data(), nullptr);
    Mapping mapping = space.map(bar, {.iova = kBase}).value();
    ASSERT_THAT(notices, SizeIs(1));
    EXPECT_EQ(notices[0].severity, Severity::warning);
    EXPECT_EQ(mapping.state(), MappingState::unreached);
    EXPECT_EQ(mapping.remap().error().code(), ENOMEM);

    taking->fail_map_at.reset();
    EXPECT_TRUE(mapping.remap());
    EXPECT_EQ(mapping.state(), MappingState::mapped);
    EXPECT_THAT(taking->pieces(), ElementsAre(Pair(kBase, 64_KiB)));
    EXPECT_TRUE(mapping.remap());  // as after a reset

    // A device that can't have it attaches all the same, with what it can have.
    const Mapping ram = space.map(memory, {.iova = kBase + 1_MiB}).value();
    const auto other = std::make_shared<FakeSink>("other");
    const Attachment second = space.attach(other).value();
    EXPECT_THAT(other->pieces(), ElementsAre(Pair(kBase + 1_MiB, 1_MiB)));
    ASSERT_THAT(notices, SizeIs(2));
    EXPECT_THAT(notices[1].error.line(), HasSubstr("sink of other takes memory of this process only"));
    EXPECT_EQ(mapping.state(), MappingState::unreached);

    Reader reader = space.reader();
    EXPECT_TRUE(reader.enter().translate(kBase, 1, Access::read).empty());
    EXPECT_TRUE(std::move(mapping).unmap());
    EXPECT_THAT(taking->pieces(), ElementsAre(Pair(kBase + 1_MiB, 1_MiB)));
}

TEST(SpaceDmaBufTest, OnlyADmaBufIsMappedAgain) {
    const Memory memory = Memory::memfd(1_MiB).value();
    const Space space = Space::without_iommufd({}).value();
    Mapping mapping = space.map(memory, {.iova = kBase}).value();
    EXPECT_EQ(mapping.remap().error().code(), EINVAL);
    ASSERT_TRUE(std::move(mapping).unmap());
    EXPECT_EQ(mapping.remap().error().code(), EINVAL);  // NOLINT(bugprone-use-after-move)
}

}  // namespace
}  // namespace iommufd::dma
