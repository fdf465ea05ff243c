// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "intercept/last_closes.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>

#include "model/open_again.hpp"

namespace iommufd::inline v0_1::intercept {
namespace {

// Linux tells of the end of an open file before it takes it off the file's writers (__fput() of fs/file_table.c), and a process may lose
// its processor between.
constexpr std::chrono::seconds kEndsWithin{1};
constexpr itimerspec kSoon{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_nsec = 10'000'000}};
constexpr itimerspec kNever{};

std::string path_of(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

sys::Fd open_again(int fd, int flags) { return {sys::host_kernel(), model::open_again(fd, flags)}; }

sys::Fd must(int fd) {
    if (fd < 0) throw std::system_error(errno, std::generic_category(), "cannot watch files");
    return {sys::host_kernel(), fd};
}

}  // namespace

LastCloses::LastCloses()
    : events_(must(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC))),
      soon_(must(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC))),
      to_see_(must(::epoll_create1(EPOLL_CLOEXEC))) {
    for (const sys::Fd* const fd : {&events_, &soon_}) {
        epoll_event readable{.events = EPOLLIN, .data = {}};
        (void)::epoll_ctl(to_see_.number(), EPOLL_CTL_ADD, fd->number(), &readable);
    }
}

int LastCloses::open_for_programs(int own) {
    sys::Fd first(sys::host_kernel(), own);
    struct stat found{};
    if (::fstat(own, &found) < 0) return -errno;
    const int never_waits = S_ISFIFO(found.st_mode) ? O_NONBLOCK : 0;
    Watched watched{.identity = model::identity_of(found), .own = open_again(own, O_RDONLY | never_waits)};
    sys::Fd theirs = open_again(own, (::fcntl(own, F_GETFL) & O_ACCMODE) | never_waits);
    if (!watched.own || !theirs) return -errno;
    (void)first.close();  // of which nobody is told
    const int number = ::inotify_add_watch(events_.number(), path_of(theirs.number()).c_str(),
                                           IN_CLOSE_WRITE | IN_CLOSE_NOWRITE);
    if (number < 0) return errno == ENOSPC ? -ENOMEM : -errno;
    watched_.insert_or_assign(number, std::move(watched));
    return theirs.release();
}

sys::Fd LastCloses::open(const model::FileIdentity& identity) const {
    const auto found =
        std::ranges::find_if(watched_, [&](const auto& entry) { return entry.second.identity == identity; });
    return found == watched_.end() ? sys::Fd() : open_again(found->second.own.number(), O_RDWR);
}

// A pipe has no leases: it is opened once for programs.
bool LastCloses::is_last(const Watched& watched) const {
    if (::fcntl(watched.own.number(), F_SETLEASE, F_RDLCK) < 0) return errno != EAGAIN;
    (void)::fcntl(watched.own.number(), F_SETLEASE, F_UNLCK);
    return true;
}

void LastCloses::see(const std::function<void(const model::FileIdentity&)>& gone) {
    alignas(inotify_event) std::array<char, 4096> events{};
    const auto now = Clock::now();
    for (;;) {
        const ssize_t length = ::read(events_.number(), events.data(), events.size());
        if (length <= 0) break;
        inotify_event event{};
        for (ssize_t at = 0; at < length; at += static_cast<ssize_t>(sizeof event + event.len)) {
            std::memcpy(&event, events.data() + at, sizeof event);
            ended_.insert_or_assign(event.wd, now);
        }
    }
    for (auto each = ended_.begin(); each != ended_.end();) {
        const auto watched = watched_.find(each->first);
        const bool is_gone = watched != watched_.end() && is_last(watched->second);
        if (watched != watched_.end() && !is_gone && now - each->second < kEndsWithin) {
            ++each;
            continue;
        }
        each = ended_.erase(each);
        if (!is_gone) continue;
        const model::FileIdentity identity = watched->second.identity;
        (void)::inotify_rm_watch(events_.number(), watched->first);
        watched_.erase(watched);
        gone(identity);
    }
    look_again_or_not();
}

void LastCloses::look_again_or_not() {
    const bool again = !ended_.empty();
    if (again || looks_again_) (void)::timerfd_settime(soon_.number(), 0, again ? &kSoon : &kNever, nullptr);
    looks_again_ = again;
}

}  // namespace iommufd::inline v0_1::intercept
