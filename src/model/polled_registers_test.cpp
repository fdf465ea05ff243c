// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// An edu whose registers a program has mapped (`doorbells=poll`).
#include "model/polled_registers.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "model/testing.hpp"

namespace iommufd::model::testing {
namespace {

using namespace uapi::vfio;

constexpr std::size_t kSize = 1U << 20;

class ModelPolledEdu : public ::testing::Test {
protected:
    ModelPolledEdu() {
        EXPECT_GT(bench_.attach(bench_.cdev, ioas_), 0);
        EXPECT_EQ(bench_.map(ioas_, ram_.address(), kPage, 0x10000), 0);
        EXPECT_EQ(bench_.kernel().mmap(&mapped_, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, bench_.cdev, 0),
                  0);
    }
    ~ModelPolledEdu() override {
        if (mapped_ != nullptr) (void)bench_.kernel().munmap(mapped_, kSize);
    }

    volatile std::uint32_t& word(std::size_t offset) const {
        return static_cast<volatile std::uint32_t*>(mapped_)[offset / 4];
    }
    volatile std::uint64_t& wide(std::size_t offset) const {
        return static_cast<volatile std::uint64_t*>(mapped_)[offset / 8];
    }
    // Whether it becomes so.
    template <class Condition>
    static bool soon(Condition&& condition) {
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (!condition())
            if (std::chrono::steady_clock::now() > end) return false;
        return true;
    }

    EduBench bench_{{.devices = {{.kind = DeviceKind::edu, .polls_doorbells = true}}}};
    const std::uint32_t ioas_ = bench_.ioas();
    const Memory ram_{kPage};
    void* mapped_ = nullptr;
};

TEST_F(ModelPolledEdu, RegistersAnswerWhatIsStoredInThem) {
    EXPECT_EQ(word(0), 0x010000edU);
    word(4) = 0x12345678;
    EXPECT_TRUE(soon([&] { return word(4) == ~0x12345678U; }));
    word(8) = 5;
    EXPECT_TRUE(soon([&] { return word(8) == 120; }));
    word(0x60) = 6;
    EXPECT_TRUE(soon([&] { return word(0x24) == 6; }));
    word(0x64) = 6;
    EXPECT_TRUE(soon([&] { return word(0x24) == 0; }));
    word(0x60) = 6;  // once more
    EXPECT_TRUE(soon([&] { return word(0x24) == 6; }));
}

TEST_F(ModelPolledEdu, ACallSeesWhatWasStoredBeforeItAndTheMemoryWhatACallDid) {
    word(4) = 1;
    EXPECT_EQ(bench_.get<std::uint32_t>(4), ~1U);
    EXPECT_EQ(word(4), ~1U);
    bench_.put<std::uint32_t>(4, 2);
    EXPECT_EQ(word(4), ~2U);
}

TEST_F(ModelPolledEdu, TheSameCommandGivenManyTimesMovesBytesEachTime) {
    auto* const memory = reinterpret_cast<volatile std::uint32_t*>(ram_.address());
    for (std::uint32_t round = 1; round <= 100; ++round) {
        memory[0] = round;
        for (const auto& [from, to, command] :
             {std::array<std::uint64_t, 3>{0x10000, 0x40000, 1}, {0x40000, 0x10004, 3}}) {
            wide(0x80) = from;
            wide(0x88) = to;
            wide(0x90) = 4;
            wide(0x98) = command;
            ASSERT_TRUE(soon([&] { return (wide(0x98) & 1) == 0; }));
        }
        ASSERT_EQ(memory[1], round);
    }
    EXPECT_EQ(bench_.machine.blocked_dma_count(), 0U);
}

TEST_F(ModelPolledEdu, WithoutMemoryDecodingNothingIsSeen) {
    bench_.set_command(0x104);
    word(4) = 3;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_EQ(word(4), 3U);
    bench_.set_command(0x106);
    EXPECT_TRUE(soon([&] { return word(4) == ~3U; }));
}

TEST_F(ModelPolledEdu, ALaterOwnerFindsTheRegistersAsTheyAre) {
    word(4) = 1;
    EXPECT_TRUE(soon([&] { return word(4) == ~1U; }));
    EXPECT_EQ(bench_.kernel().munmap(mapped_, kSize), 0);
    mapped_ = nullptr;
    EXPECT_EQ(bench_.close(bench_.cdev), 0);
    bench_.cdev = bench_.open("/dev/vfio/devices/vfio0");
    EXPECT_GT(bench_.bind(bench_.cdev), 0);
    EXPECT_EQ(bench_.kernel().mmap(&mapped_, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, bench_.cdev, 0), 0);
    EXPECT_EQ(word(0), 0x010000edU);
    EXPECT_EQ(word(4), ~1U);
    word(4) = 5;
    EXPECT_TRUE(soon([&] { return word(4) == ~5U; }));
}

}  // namespace
}  // namespace iommufd::model::testing
