// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <pthread.h>
#include <signal.h>

#include <functional>
#include <thread>
#include <utility>

namespace iommufd::inline v0_1::model {

// Signals are for the program's own threads, but for those of its DMA.
inline std::thread start_without_signals(std::function<void()> run) {
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::sigdelset(&all, SIGSEGV);
    ::sigdelset(&all, SIGBUS);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    struct Restore {
        const sigset_t& mask;
        ~Restore() { ::pthread_sigmask(SIG_SETMASK, &mask, nullptr); }
    } const restore{before};
    return std::thread(std::move(run));
}

}  // namespace iommufd::inline v0_1::model
