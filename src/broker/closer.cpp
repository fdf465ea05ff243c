// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "broker/closer.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace iommufd::inline v0_1::broker {

struct Closer::State {
    static constexpr std::size_t kMost = 64;

    mutable std::mutex mutex;
    std::condition_variable changed;
    std::deque<sys::Fd> files;
    bool has_thread = false;
    bool ends = false;

    void work() {
        std::unique_lock lock(mutex);
        for (;;) {
            changed.wait(lock, [&] { return ends || !files.empty(); });
            if (files.empty()) return;
            {
                sys::Fd file = std::move(files.front());
                lock.unlock();
                (void)file.close();
            }
            lock.lock();
            // Only now, so that one that hangs counts.
            files.pop_front();
        }
    }
};

Closer::Closer() : state_(std::make_shared<State>()) {}

Closer::~Closer() {
    const std::lock_guard lock(state_->mutex);
    state_->ends = true;
    state_->changed.notify_all();
}

void Closer::close(sys::Fd file) {
    const std::lock_guard lock(state_->mutex);
    state_->files.push_back(std::move(file));
    state_->changed.notify_all();
    if (state_->has_thread) return;
    std::thread([state = state_] { state->work(); }).detach();
    state_->has_thread = true;
}

bool Closer::is_full() const noexcept {
    const std::lock_guard lock(state_->mutex);
    return state_->files.size() >= State::kMost;
}

}  // namespace iommufd::inline v0_1::broker
