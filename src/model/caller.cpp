// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/caller.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <string>

#include "model/safe_copy.hpp"

namespace iommufd::inline v0_1::model {
namespace {

constexpr unsigned long kKernelHalf = 1UL << 63;

class OwnProcess final : public Caller {
public:
    int copy_from(void* to, std::uint64_t from, std::size_t length) noexcept override {
        return checked_copy(to, reinterpret_cast<const void*>(from), length);
    }
    int copy_to(std::uint64_t to, const void* from, std::size_t length) noexcept override {
        return checked_copy(reinterpret_cast<void*>(to), from, length);
    }
    std::vector<MappedPiece> mapped() override { return read_maps("/proc/self/maps"); }
    bool may_lock() noexcept override { return true; }  // unless the machine says otherwise
    int memory(std::shared_ptr<AddressSpace>& space) override {
        space = nullptr;
        return 0;
    }
    bool identify(int fd, FileIdentity& identity) override {
        struct stat found{};
        if (::fstat(fd, &found) < 0) return false;
        identity = identity_of(found);
        return true;
    }
    int take(int fd) override {
        const int own = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
        return own < 0 ? (errno == EBADF ? -EBADF : -EMFILE) : own;
    }
    int give(int own) override { return own; }
    // What it maps goes through Mappings.
    bool is_mapped(const FileIdentity&, std::uint64_t, std::uint64_t) override { return false; }
    int close(int number) override { return ::close(number) < 0 ? -errno : 0; }
};

OwnProcess own_process;
thread_local Caller* current = &own_process;

}  // namespace

Caller& caller() noexcept { return *current; }

CallerScope::CallerScope(Caller& caller) noexcept : before_(current) { current = &caller; }
CallerScope::~CallerScope() { current = before_; }

std::vector<MappedPiece> read_maps(const char* path) {
    const std::unique_ptr<FILE, int (*)(FILE*)> maps(std::fopen(path, "re"), std::fclose);
    std::string text;
    std::array<char, 4096> part{};
    for (std::size_t length = 1; maps && length != 0;) {
        length = std::fread(part.data(), 1, part.size(), maps.get());
        text.append(part.data(), length);
    }
    return parse_maps(text);
}

std::vector<MappedPiece> parse_maps(std::string_view text) {
    std::vector<MappedPiece> pieces;
    while (!text.empty()) {
        const std::string line(text.substr(0, text.find('\n')));
        text.remove_prefix(std::min(line.size() + 1, text.size()));
        unsigned long first = 0;
        unsigned long end = 0;
        unsigned long offset = 0;
        unsigned long inode = 0;
        unsigned major = 0;
        unsigned minor = 0;
        char mode[5] = {};
        const bool is_whole = std::sscanf(line.c_str(), "%lx-%lx %4s %lx %x:%x %lu", &first, &end, mode,
                                          &offset, &major, &minor, &inode) == 7;
        if (is_whole && first < kKernelHalf)  // there is the page of old system calls, which is no mapping
            pieces.push_back({.first = first,
                              .last = end - 1,
                              .container = ::makedev(major, minor),
                              .inode = inode,
                              .offset = offset,
                              .shared = mode[3] == 's',
                              .readable = mode[0] == 'r',
                              .writable = mode[1] == 'w'});
    }
    return pieces;
}

}  // namespace iommufd::inline v0_1::model
