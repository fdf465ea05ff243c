// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A device's DMA through an I/O page table, held against a plain list of pages.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <set>
#include <span>
#include <vector>

#include "model/domain.hpp"
#include "model/testing.hpp"

namespace iommufd::model::testing {
namespace {

constexpr std::uint64_t kLarge = 2ULL << 20;
constexpr std::size_t kPages = 1024;  // of IOVAs, and of memory
constexpr std::uint64_t kFirst =
    (1ULL << 30) - kLarge;  // tables end in the middle, and the one above as well
constexpr std::size_t kMostAtOnce = 3 * kLarge / 2 / kPage;  // of one map, and of one DMA

// Ranges that a device didn't reach, as single pages.
class Missed {
public:
    OnBlocked record() {
        return [this](std::uint64_t iova, std::uint64_t length) {
            for (std::uint64_t at = iova / kPage; at <= (iova + length - 1) / kPage; ++at) pages.insert(at);
            bytes += length;
        };
    }
    std::set<std::uint64_t> pages;
    std::uint64_t bytes = 0;
};

// What is mapped, and what memory holds: each page by itself.
class Plain {
public:
    struct Page {
        std::size_t memory = 0;
        unsigned permissions = 0;
        std::size_t map_first = 0;  // of the pages that were mapped with it
        std::size_t map_count = 0;  // 0: it isn't mapped
    };

    explicit Plain(const unsigned char* memory) : memory_(memory), bytes_(memory, memory + kPages * kPage) {}

    const Page& operator[](std::size_t page) const { return pages_[page]; }
    bool is_free(std::size_t first, std::size_t count) const {
        return std::all_of(&pages_[first], &pages_[first] + count,
                           [](const Page& page) { return page.map_count == 0; });
    }
    void map(std::size_t first, std::size_t count, std::size_t memory, unsigned permissions) {
        for (std::size_t i = 0; i < count; ++i) pages_[first + i] = {memory + i, permissions, first, count};
    }
    void unmap(std::size_t first, std::size_t count) {
        std::fill_n(&pages_[first], count, Page{});
        for (std::size_t i = 0; i < count; ++i) dirty.erase(first + i);
    }
    // Piece by piece: `move(byte in memory or null where it isn't reached, piece of the DMA)`.
    void each_piece(std::uint64_t offset, std::span<unsigned char> dma, unsigned permission,
                    const auto& move) {
        while (!dma.empty()) {
            const Page& page = pages_[offset / kPage];
            const std::size_t length = std::min<std::size_t>(kPage - offset % kPage, dma.size());
            const bool reached = (page.permissions & permission) != 0;
            move(reached ? &bytes_[page.memory * kPage + offset % kPage] : nullptr, dma.first(length),
                 offset);
            offset += length;
            dma = dma.subspan(length);
        }
    }
    bool is_as_memory() const { return std::memcmp(bytes_.data(), memory_, bytes_.size()) == 0; }

    std::set<std::size_t> dirty;

private:
    const unsigned char* const memory_;
    std::vector<unsigned char> bytes_;
    std::array<Page, kPages> pages_;
};

class Run {
public:
    Run(const Geometry& geometry, bool tracks_dirty, unsigned seed)
        : domain_(geometry, tracks_dirty), tracks_dirty_(tracks_dirty), random_(seed) {}

    void step() {
        switch (below(4)) {
            case 0:
                return map();
            case 1:
                return unmap();
            case 2:
                return read();
            default:
                return write();
        }
    }
    void end() {
        EXPECT_TRUE(plain_.is_as_memory());
        if (!tracks_dirty_) return;
        std::set<std::size_t> found;
        domain_.read_dirty(kFirst, kPages * kPage, false, [&](std::uint64_t iova, std::uint64_t length) {
            for (std::uint64_t at = 0; at < length; at += kPage) found.insert((iova + at - kFirst) / kPage);
        });
        EXPECT_EQ(found, plain_.dirty);
    }

private:
    std::size_t below(std::size_t bound) {
        return std::uniform_int_distribution<std::size_t>(0, bound - 1)(random_);
    }

    // Often right behind another one, in memory too.
    void map() {
        constexpr std::size_t kLargePages = kLarge / kPage;
        const bool large = below(8) == 0;
        const std::size_t first = large ? below(2) * kLargePages : below(kPages);
        const std::size_t some = large ? kLargePages : 1 + below(below(3) == 0 ? kMostAtOnce : 4);
        const std::size_t count = std::min(some, kPages - first);
        if (!plain_.is_free(first, count)) return;
        std::size_t memory = large ? below(2) * kLargePages : below(kPages);
        if (first != 0 && plain_[first - 1].map_count != 0 && below(2) == 0)
            memory = plain_[first - 1].memory + 1;
        if (memory + count > kPages) return;
        const auto permissions = static_cast<unsigned>(1 + below(3));
        ASSERT_EQ(
            domain_.map(kFirst + first * kPage, count * kPage,
                        reinterpret_cast<std::uint64_t>(start_) + memory * kPage, permissions, kAnyLeaf),
            0);
        plain_.map(first, count, memory, permissions);
    }
    void unmap() {
        const Plain::Page& page = plain_[below(kPages)];
        if (page.map_count == 0) return;
        domain_.unmap(kFirst + page.map_first * kPage, page.map_count * kPage);
        plain_.unmap(page.map_first, page.map_count);
    }
    std::span<unsigned char> any_piece(std::uint64_t& offset) {
        offset = below(kPages * kPage);
        const std::size_t most = below(2) == 0 ? kPage : kMostAtOnce * kPage;
        return std::span(buffer_).first(std::min(1 + below(most), kPages * kPage - offset));
    }
    void read() {
        std::uint64_t offset = 0;
        const std::span<unsigned char> dma = any_piece(offset);
        Missed missed;
        if (!domain_.read_at_once(kFirst + offset, std::as_writable_bytes(dma)))
            domain_.read(kFirst + offset, std::as_writable_bytes(dma), missed.record());
        Missed expected;
        plain_.each_piece(
            offset, dma, kReadable, [&](const unsigned char* memory, auto piece, std::uint64_t at) {
                if (memory == nullptr) expected.record()(kFirst + at, piece.size());
                const std::vector<unsigned char> wanted =
                    memory == nullptr ? std::vector<unsigned char>(piece.size())
                                      : std::vector<unsigned char>(memory, memory + piece.size());
                ASSERT_EQ(std::memcmp(piece.data(), wanted.data(), piece.size()), 0)
                    << "at page " << at / kPage;
            });
        EXPECT_EQ(missed.pages, expected.pages);
        EXPECT_EQ(missed.bytes, expected.bytes);
        const auto first = domain_.first_missing(kFirst + offset, dma.size(), kReadable);
        ASSERT_EQ(first.has_value(), !expected.pages.empty());
        if (first) EXPECT_EQ(*first / kPage, *expected.pages.begin());
    }
    void write() {
        std::uint64_t offset = 0;
        const std::span<unsigned char> dma = any_piece(offset);
        std::ranges::generate(
            dma, [value = below(256)]() mutable { return static_cast<unsigned char>(value += 7); });
        Missed missed;
        if (!domain_.write_at_once(kFirst + offset, std::as_bytes(dma)))
            domain_.write(kFirst + offset, std::as_bytes(dma), missed.record());
        Missed expected;
        plain_.each_piece(offset, dma, kWritable, [&](unsigned char* memory, auto piece, std::uint64_t at) {
            if (memory == nullptr) return expected.record()(kFirst + at, piece.size());
            std::ranges::copy(piece, memory);
            plain_.dirty.insert(at / kPage);
        });
        EXPECT_EQ(missed.pages, expected.pages);
        EXPECT_EQ(missed.bytes, expected.bytes);
    }

    static unsigned char* fill(const Memory& memory) {
        auto* const start =
            reinterpret_cast<unsigned char*>((memory.address() + kLarge - 1) / kLarge * kLarge);
        for (std::size_t at = 0; at < kPages; ++at)
            std::memset(start + at * kPage, static_cast<int>(at % 251 + 1), kPage);
        return start;
    }

    const Memory memory_{kPages * kPage + kLarge};
    unsigned char* const start_ = fill(memory_);
    Domain domain_;
    const bool tracks_dirty_;
    Plain plain_{start_};
    std::vector<unsigned char> buffer_ = std::vector<unsigned char>(kMostAtOnce * kPage);
    std::mt19937_64 random_;
};

void holds(const Geometry& geometry, bool tracks_dirty) {
    for (unsigned seed = 1; seed <= 40; ++seed) {
        SCOPED_TRACE(seed);
        Run run(geometry, tracks_dirty, seed);
        for (int i = 0; i < 400 && !::testing::Test::HasFailure(); ++i) run.step();
        run.end();
        if (::testing::Test::HasFailure()) return;
    }
}

TEST(ModelDomainDma, ReachesWhatAPlainListOfPagesSays) { holds(Geometry{}, false); }
TEST(ModelDomainDma, LeavesEachPageDirtyThatItHasWritten) { holds(Geometry{.page_sizes = kPage}, true); }

}  // namespace
}  // namespace iommufd::model::testing
