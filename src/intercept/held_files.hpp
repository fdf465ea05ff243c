// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Shared memory that a process has mapped for DMA, held and mapped by this process: it stays where it is after the other
// has unmapped it, or has ended, and is moved at the speed of memory. Only memory files can be held: memfds that programs
// made under this process's eyes, and where it may open /proc/PID/map_files (with CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN)
// any memfd, and shared memory without a name.
//
// Threads: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "intercept/last_closes.hpp"
#include "model/caller.hpp"
#include "sys/fd.hpp"
#include "sys/mutex.hpp"

namespace iommufd::inline v0_1::intercept {

class HeldFiles {
public:
    // `process`: its folder of /proc. `made`: files that programs made.
    HeldFiles(sys::Fd process, const LastCloses& made) : process_(std::move(process)), made_(made) {}

    // Whether the process hasn't ended.
    bool has_process() const noexcept;

    // Holds what can be held of [first, last], and of it nothing else any more. Throws std::bad_alloc.
    void hold(const std::vector<model::MappedPiece>& pieces, std::uint64_t first, std::uint64_t last)
        IOMMUFD_EXCLUDES(mutex_);
    // How many bytes were moved, from the start on; 0 where nothing is held.
    std::size_t read(void* to, std::uint64_t from, std::size_t length) noexcept IOMMUFD_EXCLUDES(mutex_);
    std::size_t write(std::uint64_t to, const void* from, std::size_t length) noexcept
        IOMMUFD_EXCLUDES(mutex_);

private:
    class File;
    struct Held {
        std::uint64_t first;
        std::uint64_t offset;  // of that in the file
        std::shared_ptr<const File> file;
    };

    template <class Move>
    std::size_t move(std::uint64_t at, std::size_t length, Move&& move) noexcept IOMMUFD_EXCLUDES(mutex_);
    void forget(std::uint64_t first, std::uint64_t last) IOMMUFD_REQUIRES(mutex_);
    std::shared_ptr<const File> file_of(const model::MappedPiece& piece) IOMMUFD_REQUIRES(mutex_);
    sys::Fd open(const model::MappedPiece& piece) IOMMUFD_REQUIRES(mutex_);

    const sys::Fd process_;
    const LastCloses& made_;
    sys::Mutex mutex_;
    std::map<std::uint64_t, Held> held_ IOMMUFD_GUARDED_BY(mutex_);  // by the last byte
    bool forbidden_ IOMMUFD_GUARDED_BY(mutex_) = false;
};

}  // namespace iommufd::inline v0_1::intercept
