// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Closes what strangers sent and nobody wants, in a thread of its own: a file system of a client's own (FUSE) may let that wait for ever.
//
// Threads: any call may run at once.
#pragma once

#include <memory>

#include "sys/fd.hpp"

namespace iommufd::inline v0_1::broker {

class Closer {
public:
    Closer();
    // Waits for nothing: what is left is closed when it can be, or when the process ends.
    ~Closer();
    Closer(const Closer&) = delete;
    Closer& operator=(const Closer&) = delete;

    // Throws bad_alloc, and system_error where no thread can be started; then it is closed in the caller's.
    void close(sys::Fd file);
    // So many wait that no more should be let in.
    bool is_full() const noexcept;

private:
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace iommufd::inline v0_1::broker
