// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A reference on an eventfd that the program passed: it stays after the program has closed its own.
#pragma once

#include <utility>

namespace iommufd::inline v0_1::model {

class EventFd {
public:
    EventFd() noexcept = default;
    EventFd(EventFd&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    EventFd& operator=(EventFd&& other) noexcept {
        std::swap(number_, other.number_);
        return *this;
    }
    ~EventFd();

    // One of its own; empty where there is no descriptor left.
    static EventFd make() noexcept;
    // 0, -EBADF, or -EINVAL where `fd` is something else.
    static int take(int fd, EventFd& taken);

    explicit operator bool() const noexcept { return number_ >= 0; }
    int number() const noexcept { return number_; }

    void signal() const noexcept;
    // Takes away what was signalled; never waits.
    void drain() const noexcept;

private:
    explicit EventFd(int number) noexcept : number_(number) {}

    int number_ = -1;
};

}  // namespace iommufd::inline v0_1::model
