// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The descriptor of a queue: a real one that polls readable while there is something in the queue.
#pragma once

#include <utility>

namespace iommufd::inline v0_1::model {

// A new descriptor that is closed unless the program gets it.
class ProgramsEnd {
public:
    ProgramsEnd() noexcept = default;
    ProgramsEnd(const ProgramsEnd&) = delete;
    ProgramsEnd& operator=(const ProgramsEnd&) = delete;
    ~ProgramsEnd();

    void own(int fd) noexcept { fd_ = fd; }
    int number() const noexcept { return fd_; }
    int release() noexcept { return std::exchange(fd_, -1); }

private:
    int fd_ = -1;
};

class ReadySignal {
public:
    enum class Polls {
        readable,               // a pipe's end
        readable_and_writable,  // a pipe that is open for both
    };

    ReadySignal() noexcept = default;
    ReadySignal(ReadySignal&& other) noexcept
        : own_(std::exchange(other.own_, -1)), peer_(std::exchange(other.peer_, -1)), ready_(other.ready_) {}
    ReadySignal& operator=(ReadySignal&&) = delete;
    ~ReadySignal();

    // 0 and the program's descriptor, or -EMFILE, -ENFILE, -ENOMEM.
    int make(Polls polls, ProgramsEnd& end) noexcept;
    void set(bool ready) noexcept;

private:
    int own_ = -1;   // a duplicate of the program's
    int peer_ = -1;  // what is written here can be read there
    bool ready_ = false;
};

}  // namespace iommufd::inline v0_1::model
