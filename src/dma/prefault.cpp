// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/prefault.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "dma/workers.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

namespace iommufd::inline v0_1::dma {
namespace {

// Small enough that the threads end together, large enough that a call's own cost doesn't show.
constexpr std::uint64_t kChunk = 64UL << 20;

// The range lies in one mapping. Returns an errno.
int populate(std::span<std::byte> memory, bool writable) noexcept {
    int result = 0;
    do {
        result = ::madvise(memory.data(), memory.size(), writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? errno : 0;
}

}  // namespace

Result<void> prefault(std::span<std::byte> memory, std::uint64_t page_size, bool writable, unsigned threads) {
    std::atomic<std::uint64_t> next = 0;
    std::atomic<int> failure = 0;
    const std::uint64_t chunk = std::max(kChunk, page_size);
    run_in_threads(threads, [&](bool) {
        for (std::uint64_t start; failure == 0 && (start = next.fetch_add(chunk)) < memory.size();) {
            const std::uint64_t length = std::min<std::uint64_t>(chunk, memory.size() - start);
            if (const int code = populate(memory.subspan(start, length), writable); code != 0) failure = code;
        }
    });
    if (failure != 0)
        return failed(Operation::prefault, failure,
                      [&] { return compose("cannot allocate ", size_text(memory.size()), " of memory"); });
    return {};
}

}  // namespace iommufd::inline v0_1::dma
