// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/dma/dirty_runs.hpp"

#include <algorithm>

#include "dma/dirty_edges.hpp"

namespace iommufd::inline v0_1::dma {
namespace {

std::uint64_t* put_edges(std::uint64_t* out, std::uint64_t edges, std::uint64_t base) noexcept {
    for (; edges != 0; edges &= edges - 1) *out++ = base + static_cast<unsigned>(std::countr_zero(edges));
    return out;
}

}  // namespace

void scan_portable(EdgeScan& scan) noexcept {
    constexpr std::size_t kBlock = EdgeScan::kBlock;
    EdgeWords found;
    for (; scan.out < scan.enough && scan.end - scan.next >= static_cast<std::ptrdiff_t>(kBlock);
         scan.next += kBlock, scan.base += kBlock * 64) {
        std::uint64_t edges[kBlock];
        std::uint64_t any = 0;
        for (std::size_t i = 0; i < kBlock; ++i)
            any |= edges[i] = edges_of(scan.next[i], scan.next[static_cast<std::ptrdiff_t>(i) - 1]);
        if (any == 0) continue;
        found.clear();
        for (std::size_t i = 0; i < kBlock; ++i) found.add(edges[i], scan.base + i * 64);
        for (std::size_t i = 0; i < found.count; ++i)
            scan.out = put_edges(scan.out, found.edges[i], found.bases[i]);
    }
}

DirtyRuns::Simd DirtyRuns::best() noexcept {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl"))
        return Simd::avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("popcnt"))
        return Simd::avx2;
#endif
    return Simd::portable;
}

DirtyRuns::DirtyRuns(std::span<const std::uint64_t> bitmap, std::uint64_t first, std::uint64_t end) noexcept
    : DirtyRuns(bitmap, first, end, best()) {}

// NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): edges_ is filled before it is read
DirtyRuns::DirtyRuns(std::span<const std::uint64_t> bitmap, std::uint64_t first, std::uint64_t end,
                     Simd simd) noexcept
    : words_(bitmap.data()), first_(first), simd_(std::min(simd, best())) {
    end_ = std::max(first, std::min<std::uint64_t>(end, std::uint64_t{bitmap.size()} * 64));
    next_ = first_ / 64;
    last_ = first_ == end_ ? next_ : (end_ - 1) / 64 + 1;
}

void DirtyRuns::scan_word(std::uint64_t mask) noexcept {
    const std::uint64_t word = words_[next_] & mask;
    auto* const out = put_edges(edges_ + count_, edges_of(word, carry_), next_ * 64);
    count_ = static_cast<std::size_t>(out - edges_);
    carry_ = word;
    ++next_;
}

void DirtyRuns::find_edges() noexcept {
    while (count_ < kEnough && next_ < last_) {
        // The first and the last word may belong to it in part.
        const std::uint64_t head =
            next_ == first_ / 64 ? ~std::uint64_t{0} << first_ % 64 : ~std::uint64_t{0};
        const std::uint64_t tail =
            next_ + 1 == last_ ? ~std::uint64_t{0} >> (63 - (end_ - 1) % 64) : ~std::uint64_t{0};
        if (next_ == first_ / 64 || last_ - next_ <= kWords) {
            scan_word(head & tail);
            continue;
        }
        EdgeScan scan{.next = words_ + next_,
                      .end = words_ + last_ - 1,
                      .base = next_ * 64,
                      .out = edges_ + count_,
                      .enough = edges_ + kEnough};
        static_assert(kWords == EdgeScan::kBlock);
#if defined(__x86_64__)
        if (simd_ == Simd::avx512)
            scan_avx512(scan);
        else if (simd_ == Simd::avx2)
            scan_avx2(scan);
        else
#endif
            scan_portable(scan);
        count_ = static_cast<std::size_t>(scan.out - edges_);
        next_ = static_cast<std::uint64_t>(scan.next - words_);
        carry_ = scan.next[-1];
    }
    if (next_ == last_ && count_ % 2 != 0) edges_[count_++] = end_;
}

std::span<const BitRun> DirtyRuns::next() noexcept {
    // One that has begun and not ended is kept for this call.
    if (given_ != count_) edges_[0] = edges_[given_];
    count_ -= given_;
    given_ = 0;
    find_edges();
    given_ = count_ & ~std::size_t{1};
    return {reinterpret_cast<const BitRun*>(edges_), given_ / 2};
}

}  // namespace iommufd::inline v0_1::dma
