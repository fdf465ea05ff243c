// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A thread of a program that waits in a system call for the supervisor's answer. Whatever is learnt of it by its number
// is believed only if it still waits afterwards: then the number has been its own all the while.
//
// Threads: none; it belongs to the supervisor's loop, and lives as long as one call.
#pragma once

#include <linux/seccomp.h>

#include <array>
#include <memory>
#include <string>

#include "intercept/known_threads.hpp"
#include "intercept/last_closes.hpp"
#include "intercept/process_memory.hpp"
#include "model/caller.hpp"

namespace iommufd::inline v0_1::intercept {

class Tracee final : public model::Caller {
public:
    Tracee(int listener, const seccomp_notif& call, LastCloses& closes, KnownThreads& threads,
           ProcessMemories& memories)
        : listener_(listener),
          id_(call.id),
          thread_(static_cast<pid_t>(call.pid)),
          closes_(closes),
          threads_(threads),
          memories_(memories) {}

    pid_t thread() const noexcept { return thread_; }
    // Whether it still waits for this call's answer.
    bool waits() const noexcept;
    // A file of it in /proc: "cwd", "fd/3".
    std::string proc(std::string_view name) const;
    // What a link there says; empty if it can't be read.
    std::string link(std::string_view name) const;
    // A string of at most `most` bytes with its end: 0, -EFAULT, -ENAMETOOLONG.
    int copy_text(std::string& text, std::uint64_t from, std::size_t most);
    // As give(), for a descriptor that stays open here as well.
    int give_copy(int own, bool close_on_exec) const noexcept;
    // What give() makes: close-on-exec unless said otherwise.
    void give_across_exec() noexcept { close_on_exec_ = false; }

    // What one call reads twice is the same both times, unless it has written meanwhile.
    int copy_from(void* to, std::uint64_t from, std::size_t length) noexcept override;
    int copy_to(std::uint64_t to, const void* from, std::size_t length) noexcept override;
    std::vector<model::MappedPiece> mapped() override;
    bool may_lock() noexcept override;
    int memory(std::shared_ptr<model::AddressSpace>& space) override;
    bool identify(int fd, model::FileIdentity& identity) override;
    int take(int fd) override;
    int give(int own) override;
    bool is_mapped(const model::FileIdentity& file, std::uint64_t offset, std::uint64_t length) override;
    int close(int number) override;

private:
    bool read_ahead(std::uint64_t from) noexcept;

    const int listener_;
    const std::uint64_t id_;
    const pid_t thread_;
    LastCloses& closes_;
    KnownThreads& threads_;
    ProcessMemories& memories_;
    pid_t process_ = -1;  // once it has shown to be a known thread's
    bool close_on_exec_ = true;
    // What was read of a page last, from where on: a struct's size is read before the rest of it, and is then there already.
    std::uint64_t read_from_ = 0;
    std::size_t read_length_ = 0;
    std::array<std::byte, 128> read_;
};

}  // namespace iommufd::inline v0_1::intercept
