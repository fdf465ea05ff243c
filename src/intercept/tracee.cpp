// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "intercept/tracee.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

#include "error/compose.hpp"
#include "intercept/descendants.hpp"
#include "model/move_all.hpp"

namespace iommufd::inline v0_1::intercept {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::size_t kSmall = 16;  // as a struct's size is

}  // namespace

bool Tracee::waits() const noexcept {
    std::uint64_t id = id_;
    return ::ioctl(listener_, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

std::string Tracee::proc(std::string_view name) const { return proc_path(thread_, name); }

std::string Tracee::link(std::string_view name) const {
    std::array<char, PATH_MAX> target{};
    const ssize_t length = ::readlink(proc(name).c_str(), target.data(), target.size());
    if (length < 0 || !waits()) return {};
    return {target.data(), static_cast<std::size_t>(length)};
}

bool Tracee::read_ahead(std::uint64_t from) noexcept {
    read_length_ = 0;
    const iovec local{read_.data(), std::min<std::size_t>(read_.size(), kPage - from % kPage)};
    const iovec remote{reinterpret_cast<void*>(from), local.iov_len};
    const ssize_t length = ::process_vm_readv(thread_, &local, 1, &remote, 1, 0);
    if (length < 0 || !waits()) return false;
    read_from_ = from;
    read_length_ = static_cast<std::size_t>(length);
    return true;
}

int Tracee::copy_from(void* to, std::uint64_t from, std::size_t length) noexcept {
    const auto is_read = [&] {
        return from >= read_from_ && from - read_from_ <= read_length_ &&
               length <= read_length_ - (from - read_from_);
    };
    if (length <= kSmall && !is_read() && !read_ahead(from)) return -EFAULT;
    if (is_read()) {
        std::memcpy(to, read_.data() + (from - read_from_), length);
        return 0;
    }
    const int rc = model::move_all(length, [&](std::size_t done, std::size_t rest) {
        const iovec local{static_cast<std::byte*>(to) + done, rest};
        const iovec remote{reinterpret_cast<void*>(from + done), rest};
        return ::process_vm_readv(thread_, &local, 1, &remote, 1, 0);
    });
    return rc == 0 && waits() ? 0 : -EFAULT;
}

int Tracee::copy_to(std::uint64_t to, const void* from, std::size_t length) noexcept {
    read_length_ = 0;
    return model::move_all(length, [&](std::size_t done, std::size_t rest) -> ssize_t {
        if (!waits()) return -1;
        const iovec local{const_cast<std::byte*>(static_cast<const std::byte*>(from)) + done, rest};
        const iovec remote{reinterpret_cast<void*>(to + done), rest};
        return ::process_vm_writev(thread_, &local, 1, &remote, 1, 0);
    });
}

int Tracee::copy_text(std::string& text, std::uint64_t from, std::size_t most) {
    text.clear();
    std::array<char, kPage> part{};
    while (text.size() < most) {
        const std::size_t rest_of_page = kPage - (from + text.size()) % kPage;
        const std::size_t now = std::min(rest_of_page, most - text.size());
        if (copy_from(part.data(), from + text.size(), now) < 0) return -EFAULT;
        const std::string_view read(part.data(), now);
        const std::size_t end = read.find('\0');
        text.append(read.substr(0, end));
        if (end != read.npos) return 0;
    }
    return -ENAMETOOLONG;
}

std::vector<model::MappedPiece> Tracee::mapped() {
    auto pieces = model::read_maps(proc("maps").c_str());
    if (!waits()) pieces.clear();
    return pieces;
}

bool Tracee::may_lock() noexcept {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = thread_};
    std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data{};
    if (::syscall(SYS_capget, &header, data.data()) < 0) return false;
    return (data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective & CAP_TO_MASK(CAP_IPC_LOCK)) != 0;
}

int Tracee::memory(std::shared_ptr<model::AddressSpace>& space) {
    std::shared_ptr<ProcessMemory> memory = process_ < 0 ? nullptr : memories_.known(process_);
    if (!memory) {
        const pid_t process = process_of(thread_);
        const int rc = process < 0 ? -EFAULT : memories_.of(process, thread_, memory);
        if (rc < 0) return rc;
        if (!waits()) return -EFAULT;
    }
    space = std::move(memory);
    return 0;
}

bool Tracee::identify(int fd, model::FileIdentity& identity) {
    if (fd < 0) return false;
    struct stat found{};
    process_ = threads_.stat(thread_, fd, found);
    if (process_ < 0) {
        if (::stat(proc(compose("fd/", fd)).c_str(), &found) < 0) return false;
        memories_.forget_ended(threads_.know(thread_));
        if (!waits()) return false;
    }
    identity = model::identity_of(found);
    return true;
}

int Tracee::take(int fd) {
    if (fd < 0) return -EBADF;
    // Of its process, too, nearly always the same descriptors.
    const sys::Fd its = open_process(thread_);
    if (!its) return errno == EMFILE || errno == ENFILE ? -EMFILE : -EBADF;
    if (!waits()) return -EBADF;
    const long own = ::syscall(SYS_pidfd_getfd, its.number(), fd, 0);
    if (own < 0) return errno == EMFILE || errno == ENFILE ? -EMFILE : -EBADF;
    return static_cast<int>(own);
}

int Tracee::give_copy(int own, bool close_on_exec) const noexcept {
    seccomp_notif_addfd added{};
    added.id = id_;
    added.srcfd = static_cast<std::uint32_t>(own);
    added.newfd_flags = close_on_exec ? O_CLOEXEC : 0;
    const int number = ::ioctl(listener_, SECCOMP_IOCTL_NOTIF_ADDFD, &added);
    return number < 0 ? -errno : number;
}

int Tracee::give(int own) {
    const sys::Fd theirs(sys::host_kernel(), closes_.open_for_programs(own));
    return theirs ? give_copy(theirs.number(), close_on_exec_) : -EMFILE;
}

bool Tracee::is_mapped(const model::FileIdentity& file, std::uint64_t offset, std::uint64_t length) {
    for (const pid_t process : descendants_of(::getpid()))
        for (const model::MappedPiece& piece : model::read_maps(proc_path(process, "maps").c_str())) {
            const model::FileIdentity shown{.container = piece.container, .inode = piece.inode};
            const std::uint64_t end = piece.offset + (piece.last - piece.first);
            if (shown == file && piece.offset < offset + length && end >= offset) return true;
        }
    return false;
}

// Nobody can take it back: it stands for nothing from now on.
int Tracee::close(int) { return 0; }

}  // namespace iommufd::inline v0_1::intercept
