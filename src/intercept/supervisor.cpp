// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "intercept/supervisor.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <filesystem>
#include <new>
#include <system_error>

#include "intercept/filter.hpp"

namespace iommufd::inline v0_1::intercept {

Supervisor::Supervisor(model::Machine& machine, const PrivateTree& files, AllocationFailures* failures,
                       int trace)
    : inside_(model::Inside::of(machine)),
      files_(files),
      paths_(inside_.tree, files),
      own_pids_(std::filesystem::read_symlink("/proc/self/ns/pid").string()),
      fail_nth_(failures) {
    model::Inside::place_regions(machine, kRegions);
    if (trace >= 0) trace_.emplace(trace, inside_.files);
}

void Supervisor::see_closes() {
    const sys::Lock lock(mutex_);
    forget_closed();
}

void Supervisor::forget_closed() {
    closes_.see([this](const model::FileIdentity& identity) { inside_.files.forget(identity); });
}

bool Supervisor::serve(int listener) {
    seccomp_notif call{};
    if (::ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) < 0) return false;
    const sys::Lock lock(mutex_);
    forget_closed();  // what ended before this call was made
    Tracee tracee(listener, call, closes_, threads_, memories_);
    const model::CallerScope scope(tracee);
    std::optional<Trace::Line> line;
    if (trace_) line.emplace(trace_->before(tracee, call.data));
    const Answer answered = answer_as_asked(tracee, call.data);
    if (line && answered.ours) trace_->after(tracee, *line, answered.value);
    seccomp_notif_resp response{};
    response.id = call.id;
    if (!answered.ours)
        response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    else if (answered.value < 0)
        response.error = static_cast<std::int32_t>(answered.value);
    else
        response.val = answered.value;
    (void)::ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);  // fails where it was killed meanwhile
    return true;
}

Answer Supervisor::answer_as_asked(Tracee& tracee, const seccomp_data& call) {
    try {
        if (call.nr == SYS_execve || call.nr == SYS_execveat) {
            memories_.forget_shared(process_of(tracee.thread()));
            return Answer::from_kernel();
        }
        std::optional<FailNth::Armed> armed;
        if (fail_nth_.exists() && !is_on_fail_nth(call)) armed.emplace(fail_nth_, tracee.thread());
        return answer(tracee, call);
    } catch (const std::bad_alloc&) {
        return {.value = -ENOMEM};
    } catch (const std::system_error& error) {  // no more threads
        return {.value = -error.code().value()};
    }
}

bool Supervisor::is_on_fail_nth(const seccomp_data& call) {
    if (call.nr != SYS_read && call.nr != SYS_write && call.nr != SYS_pread64 && call.nr != SYS_pwrite64)
        return false;
    const auto found = inside_.files.find(static_cast<int>(call.args[0]));
    return found && FailNth::is_of(*found.file);
}

Answer Supervisor::answer(Tracee& tracee, const seccomp_data& call) {
    const auto& args = call.args;
    const auto number = [&](unsigned i) { return static_cast<int>(args[i]); };
    switch (call.nr) {
        case SYS_open:
            return open(tracee, AT_FDCWD, args[0], number(1));
        case SYS_creat:
            return open(tracee, AT_FDCWD, args[0], O_CREAT | O_WRONLY | O_TRUNC);
        case SYS_openat:
            return open(tracee, number(0), args[1], number(2));
        case SYS_openat2:
            return openat2(tracee, number(0), args[1], args[2], args[3]);
        case SYS_stat:
            return stat(tracee, AT_FDCWD, args[0], args[1], 0);
        case SYS_lstat:
            return stat(tracee, AT_FDCWD, args[0], args[1], AT_SYMLINK_NOFOLLOW);
        case SYS_fstat:
            return fstat(tracee, number(0), args[1]);
        case SYS_newfstatat:
            return stat(tracee, number(0), args[1], args[2], number(3));
        case SYS_statx:
            return statx(tracee, number(0), args[1], number(2), args[4]);
        case SYS_readlink:
            return readlink(tracee, AT_FDCWD, args[0], args[1], args[2]);
        case SYS_readlinkat:
            return readlink(tracee, number(0), args[1], args[2], args[3]);
        case SYS_access:
            return access(tracee, AT_FDCWD, args[0], number(1), true);
        case SYS_faccessat:
            return access(tracee, number(0), args[1], number(2), true);
        case SYS_faccessat2:
            return access(tracee, number(0), args[1], number(2), (number(3) & AT_SYMLINK_NOFOLLOW) == 0);
        case SYS_ioctl:
            return ioctl(number(0), args[1], args[2]);
        case SYS_read:
            return read(number(0), args[1], args[2]);
        case SYS_write:
            return write(number(0), args[1], args[2]);
        case SYS_pread64:
            return move_at(call, false);
        case SYS_pwrite64:
            return move_at(call, true);
        case SYS_preadv:
        case SYS_preadv2:
            return move_pieces_at(tracee, call, false);
        case SYS_pwritev:
        case SYS_pwritev2:
            return move_pieces_at(tracee, call, true);
        case SYS_mmap:
            return mmap(tracee, call);
        case SYS_memfd_create:
            return memfd_create(tracee, args[0], args[1]);
        default:
            return Answer::from_kernel();
    }
}

}  // namespace iommufd::inline v0_1::intercept
