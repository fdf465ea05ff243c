// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The memory that a client sends to have it mapped: a memfd, held against what IOAS_MAP_FILE doesn't look at. The kernel maps
// writable what was opened for reading only, or is sealed against writing, and allocates what a sparse file lacks.
//
//     a memfd (or a file of tmpfs or hugetlbfs with the seals of one), with F_SEAL_SHRINK and F_SEAL_GROW, all of it allocated, and each
//     page touched: Linux 7.3 clears a page that fallocate() made when it is touched first, though a device may have written to it by then;
//     to be written by devices: opened for reading and writing, and not sealed against that
//
// Threads: free functions. Nothing of the file is read, and its position stays.
#pragma once

#include <cstdint>
#include <string>

#include "iommufd/error/result.hpp"

namespace iommufd::inline v0_1::broker {

// A part of a file, in bytes.
struct Part {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    bool write = false;  // devices may write to it
};

// That a client's memory can't be mapped, and why.
Error cannot_map(int code, std::string cause, std::string next);

// Whether it is memory at all. Asks no file system, which might never answer.
bool is_memory(int fd) noexcept;

// How many bytes mapping it pins at most: whole pages of the file. EBADF: it is no memfd, or can't be read; EINVAL: not whole pages, or
// beyond its end; EPERM: it lacks a seal, or has one against writing; EACCES: it was not opened for writing; ENODATA: it is sparse.
Result<std::uint64_t> check_memory(int fd, const Part& part);

// Whether each page of it has been touched, which may take long. ENODATA: one has not; EACCES, ...: it can't be opened once more, for looking.
Result<void> check_touched(int fd, const Part& part);

}  // namespace iommufd::inline v0_1::broker
