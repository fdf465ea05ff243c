// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The descriptor of a queue: a real one that polls readable while there is something in the queue.
#pragma once

#include <utility>

namespace iommufd::inline v0_1::model {

class ReadySignal {
public:
    enum class Polls {
        readable,               // a pipe's end
        readable_and_writable,  // a socket
    };

    ReadySignal() noexcept = default;
    ReadySignal(ReadySignal&& other) noexcept
        : own_(std::exchange(other.own_, -1)), peer_(std::exchange(other.peer_, -1)), ready_(other.ready_) {}
    ReadySignal& operator=(ReadySignal&&) = delete;
    ~ReadySignal();

    // A new descriptor for the program, which owns it, or -EMFILE, -ENFILE, -ENOMEM.
    int make(Polls polls) noexcept;
    void set(bool ready) noexcept;

private:
    int own_ = -1;   // a duplicate of the program's
    int peer_ = -1;  // what is written here can be read there
    bool ready_ = false;
};

}  // namespace iommufd::inline v0_1::model
