// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/prefault.hpp"

#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <exception>
#include <thread>
#include <vector>

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

// The threads inherit the mask, so no signal of the caller's is handled in them.
class SignalsBlocked {
public:
    SignalsBlocked() noexcept {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;

private:
    sigset_t before_;
};

}  // namespace

Result<void> prefault(std::span<std::byte> memory, std::uint64_t page_size, bool writable, unsigned threads) {
    std::atomic<std::uint64_t> next = 0;
    std::atomic<int> failure = 0;
    const std::uint64_t chunk = std::max(kChunk, page_size);
    const auto work = [&] {
        for (std::uint64_t start; failure == 0 && (start = next.fetch_add(chunk)) < memory.size();) {
            const std::uint64_t length = std::min<std::uint64_t>(chunk, memory.size() - start);
            int result = 0;
            do {
                result = ::madvise(memory.data() + start, length,
                                   writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
            } while (result < 0 && errno == EINTR);
            if (result < 0) failure = errno;
        }
    };
    {
        std::vector<std::thread> helpers;
        if (threads > 1) {
            const SignalsBlocked blocked;
            helpers.reserve(threads - 1);
            while (helpers.size() + 1 < threads) {
                try {
                    helpers.emplace_back(work);
                } catch (const std::exception&) {
                    break;  // fewer threads take longer; nothing else changes
                }
            }
        }
        work();
        for (std::thread& helper : helpers) helper.join();
    }
    if (failure != 0)
        return failed(Operation::prefault, failure,
                      [&] { return compose("cannot allocate ", size_text(memory.size()), " of memory"); });
    return {};
}

}  // namespace iommufd::inline v0_1::dma
