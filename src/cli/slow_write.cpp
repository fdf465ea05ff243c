// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/slow_write.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <thread>

namespace iommufd::inline v0_1::cli {
namespace {

// What the child does. Whoever waits for the end of our output, or for our lock, must not wait for it.
[[noreturn]] void write_and_end(sys::Kernel& kernel, const std::string& path, std::string_view text) {
    ::setsid();
    (void)::close_range(0, ~0U, 0);
    (void)::open("/dev/null", O_RDWR);
    (void)::dup2(0, STDOUT_FILENO);
    (void)::dup2(0, STDERR_FILENO);
    const int fd = kernel.open(path.c_str(), O_WRONLY);
    const auto result = fd < 0 ? fd : kernel.write(fd, text.data(), text.size());
    ::_exit(result < 0 ? static_cast<int>(-result) : 0);
}

}  // namespace

int write_within(std::chrono::milliseconds limit, sys::Kernel& kernel, const std::string& path,
                 std::string_view text) {
    std::signal(SIGCHLD, SIG_DFL);  // else the child's end might be lost
    const pid_t child = ::fork();
    if (child < 0) return -errno;
    if (child == 0) write_and_end(kernel, path, text);
    const auto deadline = std::chrono::steady_clock::now() + limit;
    for (;;) {
        int status = 0;
        const pid_t ended = ::waitpid(child, &status, WNOHANG);
        if (ended < 0) return -errno;
        if (ended == child) return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
        if (std::chrono::steady_clock::now() >= deadline) return -ETIMEDOUT;
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
}

}  // namespace iommufd::inline v0_1::cli
