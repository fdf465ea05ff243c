// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "intercept/known_threads.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <memory>

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

namespace iommufd::inline v0_1::intercept {
namespace {

constexpr std::size_t kMostKnown = 64;  // each is a descriptor

// In its file "status"; -1 where there is none.
pid_t number_of(pid_t thread, const char* format) {
    const std::unique_ptr<FILE, int (*)(FILE*)> status(std::fopen(proc_path(thread, "status").c_str(), "re"),
                                                       std::fclose);
    std::array<char, 256> line{};
    int number = -1;
    while (status && std::fgets(line.data(), line.size(), status.get()) != nullptr)
        if (std::sscanf(line.data(), format, &number) == 1) break;
    return number;
}

}  // namespace

std::string proc_path(pid_t number, std::string_view name) {
    return ("/proc/" + std::to_string(number) + '/').append(name);
}

pid_t process_of(pid_t thread) { return number_of(thread, "Tgid: %d"); }

pid_t parent_of(pid_t thread) { return number_of(thread, "PPid: %d"); }

sys::Fd open_process(pid_t thread) {
    long process = ::syscall(SYS_pidfd_open, thread, PIDFD_THREAD);
    if (process < 0 && errno == EINVAL) process = ::syscall(SYS_pidfd_open, process_of(thread), 0);
    return {sys::host_kernel(), static_cast<int>(process)};
}

bool has_ended(const sys::Fd& process) {
    pollfd ended{.fd = process.number(), .events = POLLIN, .revents = 0};
    return ::poll(&ended, 1, 0) != 0;
}

pid_t KnownThreads::know(pid_t thread) {
    sys::Fd descriptors(sys::host_kernel(),
                        ::open(proc_path(thread, "fd").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    const pid_t process = process_of(thread);
    if (!descriptors || process < 0) return -1;
    if (threads_.size() >= kMostKnown) threads_.clear();
    threads_.insert_or_assign(thread, Thread{.descriptors = std::move(descriptors), .process = process});
    return process;
}

pid_t KnownThreads::stat(pid_t thread, int fd, struct stat& found) const {
    const auto known = threads_.find(thread);
    if (known == threads_.end()) return -1;
    std::array<char, 12> name{};
    (void)std::to_chars(name.data(), name.data() + name.size() - 1, fd);
    const bool is_found = ::fstatat(known->second.descriptors.number(), name.data(), &found, 0) == 0;
    return is_found ? known->second.process : -1;
}

}  // namespace iommufd::inline v0_1::intercept
