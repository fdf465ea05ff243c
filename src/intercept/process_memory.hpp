// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The memory of a process, for as long as it is mapped for DMA. It stands for one address space: once the process has
// become another program, or has ended, nothing is there any more, whoever gets its number.
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

    bool alive() const noexcept;

private:
    // All pieces that have some of [first, last], and maybe others.
    std::vector<model::MappedPiece> mapped_between(std::uint64_t first, std::uint64_t last);

    const sys::Fd memory_;  // /proc/PID/mem
    const sys::Fd maps_;    // /proc/PID/maps
    HeldFiles files_;
};

// One for each process, while somebody uses it; of those that nobody uses, some that may be used again. No threads.
class ProcessMemories {
public:
    // `made`: files that programs made.
    explicit ProcessMemories(const LastCloses& made) : made_(made) {}

    // 0, -EACCES where it may not be looked at, -EMFILE. The caller makes sure that the process is who it was.
    int of(pid_t process, std::shared_ptr<ProcessMemory>& memory);
    // What it was when of() told it, of a process that hasn't ended since; null where it wasn't asked for, or has become
    // another program.
    std::shared_ptr<ProcessMemory> known(pid_t process) const;
    // The process is about to become another program, if that can be run.
    void doubt(pid_t process);
    // The number may have been another's before.
    void forget_ended(pid_t process);

private:
    struct Known {
        std::shared_ptr<ProcessMemory> memory;
        bool in_doubt = false;
    };

    void forget_unused();

    const LastCloses& made_;
    std::map<pid_t, Known> known_;  // by process
};

}  // namespace iommufd::inline v0_1::intercept
