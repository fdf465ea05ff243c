// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Readers, writers and an attacher at once, for IOMMUFD_STRESS_SECONDS (1).
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>

#include "iommufd/dma/space.hpp"
#include "support/fake_sink.hpp"

namespace iommufd::dma {
namespace {

constexpr std::uint64_t kSlots = 64;
constexpr std::uint64_t kSize = 16_KiB;

// Slots are mapped at their IOVAs, each by one writer; some far above the others.
Iova iova_of(std::uint64_t slot) {
    return Iova{0x4000000 + slot * 2 * kSize + (slot % 4 == 3 ? std::uint64_t{1} << 40 : 0)};
}

// Every page says at its start where it is mapped: before it is mapped, and until it has been unmapped.
void mark(const Memory& memory, std::uint64_t iova) {
    for (std::uint64_t at = 0; at < memory.size(); at += 4_KiB) {
        const std::uint64_t word = iova == 0 ? 0 : iova + at;
        std::memcpy(memory.data() + at, &word, sizeof word);
    }
}

class Stress {
public:
    void run(std::chrono::seconds time) {
        std::vector<std::thread> threads;
        for (unsigned i = 0; i < 8; ++i) threads.emplace_back([this, i] { read(i); });
        for (unsigned i = 0; i < 2; ++i) threads.emplace_back([this, i] { write(i); });
        threads.emplace_back([this] { attach(); });
        std::this_thread::sleep_for(time);
        stop_ = true;
        for (std::thread& thread : threads) thread.join();
    }
    std::uint64_t hits() const noexcept { return hits_; }

private:
    void read(unsigned seed) {
        std::mt19937_64 random(seed);
        Reader reader = space_.reader("reader");
        while (!stop_) {
            const Guard guard = reader.enter();
            for (int i = 0; i < 16; ++i) {
                const Iova iova = iova_of(random() % kSlots) + random() % 4 * 4_KiB;
                const auto bytes = guard.translate(iova, 4_KiB, Access::read);
                if (bytes.empty()) continue;
                std::uint64_t found = 0;
                std::memcpy(&found, bytes.data(), sizeof found);
                ASSERT_EQ(found, iova.value);
                ++hits_;
                // It may have been unmapped meanwhile; if not, this is the one way back.
                const auto back = guard.iova_of(bytes.data(), 8);
                if (back) ASSERT_EQ(*back, iova);
            }
        }
    }

    void write(unsigned which) {
        std::mt19937_64 random(100 + which);
        std::vector<std::optional<Mapping>> mappings(kSlots);
        while (!stop_) {
            const std::uint64_t slot = random() % (kSlots / 2) * 2 + which;
            if (auto& mapping = mappings[slot]; mapping) {
                const Memory memory = mapping->memory();
                mapping.reset();
                mark(memory, 0);  // whom the grace period was too short for sees that
            } else {
                const Memory memory = Memory::memfd(kSize).value();
                mark(memory, iova_of(slot).value);
                mapping = space_.map(memory, {.iova = iova_of(slot)}).value();
            }
        }
    }

    void attach() {
        while (!stop_) {
            const auto sink = std::make_shared<support::FakeSink>("sink");
            const Attachment attached = space_.attach(sink).value();
            std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
    }

    Space space_ = Space::without_iommufd({.id = "stressed"}).value();
    std::atomic<bool> stop_ = false;
    std::atomic<std::uint64_t> hits_ = 0;
};

TEST(SpaceStressTest, EveryPointerThatAReaderGetsLeadsIntoALiveMapping) {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): before there are threads
    const char* const seconds = std::getenv("IOMMUFD_STRESS_SECONDS");
    Stress stress;
    stress.run(std::chrono::seconds(seconds ? std::atoi(seconds) : 1));
    EXPECT_GT(stress.hits(), 1000U);
}

}  // namespace
}  // namespace iommufd::dma
