// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "intercept/child.hpp"

#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "sys/socket_message.hpp"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif

namespace iommufd::inline v0_1::intercept {
namespace {

constexpr int kNotFound = 127;
constexpr int kNotStarted = 126;

void tell(int outcome, int error) { (void)!::write(outcome, &error, sizeof error); }

// Between fork and exec: nothing that allocates.
[[noreturn]] void become(char* const* words, const sock_fprog& program, int outcome) {
    (void)::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    const long listener =
        ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                  SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &program);
    const int number = static_cast<int>(listener);
    const int refused = listener < 0 ? errno : 0;
    const std::string_view bytes(reinterpret_cast<const char*>(&refused), sizeof refused);
    const auto descriptors = std::span(&number, refused == 0 ? 1U : 0U);
    if (sys::send_some(outcome, bytes, descriptors) < 0 || refused != 0) ::_exit(kNotStarted);
    (void)::close(number);
    (void)::execvp(words[0], words);
    const int error = errno;
    tell(outcome, error);
    ::_exit(error == ENOENT ? kNotFound : kNotStarted);
}

Error cannot(int error) {
    const char* cause = "";
    const char* next = "try it again later";
    if (error == EINVAL || error == ENOSYS) {
        cause = "this kernel's seccomp has no listener that a killed program can leave (WAIT_KILLABLE_RECV)";
        next = "use Linux 5.19 or newer";
    } else if (error == EBUSY) {
        cause = "this process is itself under a supervisor, and the kernel allows one";
        next = "start it outside of `iommufd model`, a container's supervisor or the like";
    } else if (error == EACCES || error == EPERM) {
        cause = "a filter of this container or service forbids seccomp";
        next = "allow seccomp(2) there";
    }
    return Error::refused(error, "cannot put a program under the model", cause, next);
}

}  // namespace

Result<Child> start(const std::vector<std::string>& words, const std::vector<sock_filter>& filter) {
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    const sock_fprog program{.len = static_cast<unsigned short>(filter.size()),
                             .filter = const_cast<sock_filter*>(filter.data())};
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) < 0) return cannot(errno);
    sys::Kernel& host = sys::host_kernel();
    Child child;
    child.outcome = sys::Fd(host, ends[0]);
    sys::Fd its(host, ends[1]);
    child.process = ::fork();
    if (child.process < 0) return cannot(errno);
    if (child.process == 0) become(arguments.data(), program, its.number());
    (void)its.close();
    int refused = EIO;
    pollfd readable{.fd = child.outcome.number(), .events = POLLIN, .revents = 0};
    while (::poll(&readable, 1, -1) < 0 && errno == EINTR) {
    }
    sys::Received received = sys::receive_some(host, child.outcome.number(),
                                               {reinterpret_cast<char*>(&refused), sizeof refused}, 1);
    if (received.bytes == sizeof refused && refused == 0 && received.descriptors.size() == 1) {
        child.listener = std::move(received.descriptors.front());
        // Linux 6.6: who asks and who answers take turns on one processor. Without it a call takes longer.
        (void)::ioctl(child.listener.number(), SECCOMP_IOCTL_NOTIF_SET_FLAGS,
                      SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
        return child;
    }
    (void)::waitpid(child.process, nullptr, 0);
    return cannot(refused == 0 ? EIO : refused);
}

}  // namespace iommufd::inline v0_1::intercept
