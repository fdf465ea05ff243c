// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/page_answers.hpp"

#include <atomic>
#include <new>
#include <utility>

#include "model/event_fd.hpp"

namespace iommufd::inline v0_1::model {

// A device asks for one page at a time.
struct PageAnswers::State {
    std::atomic<bool> there = false;
    EventFd signal;
};

PageAnswers::PageAnswers() : state_(std::make_shared<State>()) {}

OnAnswer PageAnswers::teller() const {
    return [state = state_](bool there) {
        state->there = there;
        state->signal.signal();
    };
}

void PageAnswers::watch(Worker& worker, std::function<void(bool there)> tell) {
    state_->signal = EventFd::make();
    EventFd watched;
    if (EventFd::take(state_->signal.number(), watched) < 0) throw std::bad_alloc();
    worker.watch(std::move(watched), [state = state_, tell = std::move(tell)] { tell(state->there); });
}

}  // namespace iommufd::inline v0_1::model
