// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The memory of a process, for as long as it is mapped for DMA. It stands for one address space: once all processes that
// share it have become other programs, or have ended, nothing is there any more, whoever gets their numbers.
//
// Threads: any.
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>

#include "intercept/held_files.hpp"
#include "model/physical.hpp"
#include "sys/fd.hpp"

namespace iommufd::inline v0_1::intercept {

class ProcessMemory final : public model::AddressSpace {
public:
    // Its files of /proc, and its folder there.
    ProcessMemory(sys::Fd memory, sys::Fd maps, sys::Fd folder, const LastCloses& made)
        : memory_(std::move(memory)), maps_(std::move(maps)), files_(std::move(folder), made) {}

    int read(void* to, std::uint64_t from, std::size_t length) noexcept override;
    int write(std::uint64_t to, const void* from, std::size_t length) noexcept override;
    int populate(std::uint64_t from, std::uint64_t length, bool write) noexcept override;
    std::vector<model::MappedPiece> mapped() override;
    std::uint64_t page_size(std::uint64_t from, std::uint64_t length) noexcept override;

    // Whether there is an address space any more.
    bool alive() const noexcept;
    // Whether it still is, or may be, that of the process.
    bool has_process() const noexcept { return files_.has_process(); }

private:
    // All pieces that have some of [first, last], and maybe others.
    std::vector<model::MappedPiece> mapped_between(std::uint64_t first, std::uint64_t last);
    // Each page of a range, which may be empty.
    bool touch(std::uint64_t first, std::uint64_t last) noexcept;

    const sys::Fd memory_;  // /proc/PID/mem
    const sys::Fd maps_;    // /proc/PID/maps
    HeldFiles files_;
};

// One for each process, while somebody uses it; of those that nobody uses, some that may be used again. No threads.
class ProcessMemories {
public:
    // `made`: files that programs made.
    explicit ProcessMemories(const LastCloses& made) : made_(made) {}

    // 0, -EACCES where it may not be looked at, -EMFILE. The caller makes sure that the process is who it was. `thread`: one
    // of it that hasn't ended, as its first one may have.
    int of(pid_t process, pid_t thread, std::shared_ptr<ProcessMemory>& memory);
    int of(pid_t process, std::shared_ptr<ProcessMemory>& memory) { return of(process, process, memory); }
    // If it was asked for before; else null.
    std::shared_ptr<ProcessMemory> known(pid_t process) const;
    // The process is about to become another program, if that can be run: what it shares with its parent lives on without it
    // (vfork). What it shares with nobody is at its end then, as alive() says.
    void forget_shared(pid_t process);
    // The number may have been another's before.
    void forget_ended(pid_t process) noexcept;

private:
    void forget_unused();

    const LastCloses& made_;
    std::map<pid_t, std::shared_ptr<ProcessMemory>> known_;  // by process
};

}  // namespace iommufd::inline v0_1::intercept
