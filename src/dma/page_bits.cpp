// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/page_bits.hpp"

#include <algorithm>
#include <bit>

namespace iommufd::inline v0_1::dma {
namespace {

constexpr std::uint64_t kAll = ~std::uint64_t{0};

constexpr std::uint64_t low_bits(std::uint64_t count) {
    return count >= 64 ? kAll : (std::uint64_t{1} << count) - 1;
}

// Where `count` set bits begin.
constexpr std::uint64_t runs(std::uint64_t bits, std::uint64_t count) {
    for (std::uint64_t have = 1; have < count;) {
        const std::uint64_t step = std::min(have, count - have);
        bits &= bits >> step;
        have += step;
    }
    return bits;
}

// The bits of a word that may be begun with.
constexpr std::uint64_t positions(std::uint64_t word, std::uint64_t alignment) {
    if (alignment < 64) return kAll / low_bits(alignment);
    return word % (alignment / 64) == 0 ? 1 : 0;
}

}  // namespace

PageBits::PageBits(std::uint64_t first, std::uint64_t count)
    : words_count_((first + count + kWord - 1) / kWord),
      words_(std::make_unique<std::atomic<std::uint64_t>[]>(words_count_)) {
    for (std::uint64_t word = 0; word < words_count_; ++word) words_[word] = kAll;
    give_back(first, count);
}

std::optional<std::uint64_t> PageBits::claim_in(std::uint64_t word, std::uint64_t count,
                                                std::uint64_t allowed) noexcept {
    std::uint64_t taken = words_[word].load(std::memory_order_relaxed);
    while (const std::uint64_t begins = runs(~taken, count) & allowed) {
        const auto first = static_cast<unsigned>(std::countr_zero(begins));
        if (words_[word].compare_exchange_weak(taken, taken | low_bits(count) << first,
                                               std::memory_order_acq_rel, std::memory_order_relaxed))
            return word * kWord + first;
    }
    return std::nullopt;
}

// Across words. A failure gives back what it had: meanwhile others may have failed because of that.
bool PageBits::claim_run(std::uint64_t first, std::uint64_t count) noexcept {
    for (std::uint64_t done = 0; done < count;) {
        const std::uint64_t bit = (first + done) % kWord;
        const std::uint64_t here = std::min(count - done, kWord - bit);
        const std::uint64_t wanted = low_bits(here) << bit;
        auto& word = words_[(first + done) / kWord];
        std::uint64_t taken = word.load(std::memory_order_relaxed);
        while ((taken & wanted) == 0 &&
               !word.compare_exchange_weak(taken, taken | wanted, std::memory_order_acq_rel,
                                           std::memory_order_relaxed)) {
        }
        if ((taken & wanted) != 0) {
            if (done > 0) give_back(first, done);
            return false;
        }
        done += here;
    }
    return true;
}

std::atomic<std::uint64_t>& PageBits::start_of(std::uint64_t count) noexcept {
    return starts_[std::min<std::size_t>(static_cast<std::size_t>(std::bit_width(count - 1)),
                                         starts_.size() - 1)];
}

// Within the word, or from its free end into the next ones.
std::optional<std::uint64_t> PageBits::claim_from(std::uint64_t word, std::uint64_t count,
                                                  std::uint64_t alignment, std::uint64_t origin) noexcept {
    if (count <= kWord)
        if (const auto found = claim_in(word, count, positions(origin / kWord + word, alignment)))
            return found;
    const auto free = static_cast<unsigned>(std::countl_zero(words_[word].load(std::memory_order_relaxed)));
    const std::uint64_t lowest = (word + 1) * kWord - free;
    const std::uint64_t first = ((origin + lowest + alignment - 1) & ~(alignment - 1)) - origin;
    if (first >= (word + 1) * kWord || count > pages() - first || !claim_run(first, count))
        return std::nullopt;
    return first;
}

std::optional<std::uint64_t> PageBits::claim(std::uint64_t count, std::uint64_t alignment,
                                             std::uint64_t origin) noexcept {
    auto& start = start_of(count);
    const std::uint64_t begin = start.load(std::memory_order_relaxed);
    for (std::uint64_t i = 0; i < words_count_; ++i) {
        const std::uint64_t word = begin + i < words_count_ ? begin + i : begin + i - words_count_;
        if (const auto found = claim_from(word, count, alignment, origin)) {
            if (word != begin) start.store(word, std::memory_order_relaxed);
            return found;
        }
    }
    return std::nullopt;
}

void PageBits::give_back(std::uint64_t first, std::uint64_t count) noexcept {
    // As many fit there again.
    auto& start = start_of(count);
    if (start.load(std::memory_order_relaxed) != first / kWord)
        start.store(first / kWord, std::memory_order_relaxed);
    while (count > 0) {
        const std::uint64_t here = std::min(count, kWord - first % kWord);
        words_[first / kWord].fetch_and(~(low_bits(here) << first % kWord), std::memory_order_acq_rel);
        first += here;
        count -= here;
    }
}

}  // namespace iommufd::inline v0_1::dma
