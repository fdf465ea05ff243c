// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <signal.h>

#include <exception>
#include <thread>
#include <utility>
#include <vector>

namespace iommufd::inline v0_1::dma {

// The threads that are started meanwhile inherit the mask, so no signal of the caller's is handled in them.
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

// Runs work(is_caller) in as many threads, the caller's among them, and returns when all have ended. Fewer threads, where
// no more can be started, take longer; nothing else changes. `work` doesn't throw in the other threads.
template <class Work>
void run_in_threads(unsigned threads, Work&& work) {
    std::vector<std::thread> others;
    if (threads > 1) {
        const SignalsBlocked blocked;
        try {
            others.reserve(threads - 1);
            while (others.size() + 1 < threads) others.emplace_back([&work] { work(false); });
        } catch (const std::exception&) {
        }
    }
    work(true);
    for (std::thread& other : others) other.join();
}

}  // namespace iommufd::inline v0_1::dma
