// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The program that makes the call which a thread is in (Linux: current): its memory and its descriptors. It is this
// process, unless a CallerScope says otherwise.
//
//     tracee --ioctl--> supervisor: CallerScope scope(tracee); file->ioctl(...)
//                                     user::copy_from() --> caller().copy_from()
//                                     FileTable::find() --> caller().identify()
//
// Threads: each has its own.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace iommufd::inline v0_1::model {

class AddressSpace;

// A file, whichever descriptor leads to it.
struct FileIdentity {
    dev_t container;
    ino_t inode;
    auto operator<=>(const FileIdentity&) const = default;
};
inline FileIdentity identity_of(const struct stat& status) noexcept {
    return {.container = status.st_dev, .inode = status.st_ino};
}

// A piece of an address space, as /proc/PID/maps has it.
struct MappedPiece {
    std::uint64_t first;
    std::uint64_t last;
    dev_t container;
    ino_t inode;
    std::uint64_t offset;
    bool shared;
    bool readable;
    bool writable;
};

// All pieces of the process whose file of /proc this is, ascending. None where it can't be read.
std::vector<MappedPiece> read_maps(const char* path);
std::vector<MappedPiece> parse_maps(std::string_view text);

class Caller {
public:
    Caller() = default;
    Caller(const Caller&) = delete;
    Caller& operator=(const Caller&) = delete;
    virtual ~Caller() = default;

    // 0, or -EFAULT; part of it may have been copied then.
    virtual int copy_from(void* to, std::uint64_t from, std::size_t length) noexcept = 0;
    virtual int copy_to(std::uint64_t to, const void* from, std::size_t length) noexcept = 0;
    virtual std::vector<MappedPiece> mapped() = 0;
    // Whether it may lock as much memory as it likes (CAP_IPC_LOCK).
    virtual bool may_lock() noexcept = 0;
    // Its memory, for after the call: 0, or a negative errno. Null is the memory of this process.
    virtual int memory(std::shared_ptr<AddressSpace>& space) = 0;

    // False where it has no such descriptor.
    virtual bool identify(int fd, FileIdentity& identity) = 0;
    // A duplicate of its descriptor, close-on-exec, or -EBADF, -EMFILE.
    virtual int take(int fd) = 0;
    // Its number for what `own` stands for, which is its own from then on, or a negative errno.
    virtual int give(int own) = 0;
    // Whether any program has mapped some of that part of a file of the model.
    virtual bool is_mapped(const FileIdentity& file, std::uint64_t offset, std::uint64_t length) = 0;
    // Takes a number back that was given in this call, where that can be done: 0, or a negative errno.
    virtual int close(int number) = 0;
};

Caller& caller() noexcept;

class CallerScope {
public:
    explicit CallerScope(Caller& caller) noexcept;
    ~CallerScope();
    CallerScope(const CallerScope&) = delete;
    CallerScope& operator=(const CallerScope&) = delete;

private:
    Caller* const before_;
};

}  // namespace iommufd::inline v0_1::model
