// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Which of many pages are taken: a bit for each, claimed and given back without a lock.
//
// There is nothing but the bits: a claim compares and swaps the whole word that it looked at, so what happened to it meanwhile can't be
// overlooked.
//
// Threads: any.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

namespace iommufd::inline v0_1::dma {

class PageBits {
public:
    static constexpr std::uint64_t kWord = 64;

    // The pages [first, first + count) are free; page numbers begin at 0. Throws bad_alloc.
    PageBits(std::uint64_t first, std::uint64_t count);

    std::uint64_t pages() const noexcept { return words_count_ * kWord; }

    // `count` pages side by side, the number of the first plus `origin` being a multiple of `alignment`, a power of two; `origin` is a
    // multiple of kWord. Returns its number.
    std::optional<std::uint64_t> claim(std::uint64_t count, std::uint64_t alignment,
                                       std::uint64_t origin) noexcept;
    void give_back(std::uint64_t first, std::uint64_t count) noexcept;

private:
    std::atomic<std::uint64_t>& start_of(std::uint64_t count) noexcept;
    std::optional<std::uint64_t> claim_from(std::uint64_t word, std::uint64_t count, std::uint64_t alignment,
                                            std::uint64_t origin) noexcept;
    std::optional<std::uint64_t> claim_in(std::uint64_t word, std::uint64_t count,
                                          std::uint64_t allowed) noexcept;
    bool claim_run(std::uint64_t first, std::uint64_t count) noexcept;

    std::uint64_t words_count_;
    std::unique_ptr<std::atomic<std::uint64_t>[]> words_;
    // By the logarithm of how many pages: the word in which so many were found, or given back, last.
    std::array<std::atomic<std::uint64_t>, 16> starts_{};
};

}  // namespace iommufd::inline v0_1::dma
