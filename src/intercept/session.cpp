// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "intercept/session.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "intercept/child.hpp"
#include "intercept/filter.hpp"
#include "intercept/supervisor.hpp"

namespace iommufd::inline v0_1::intercept {
namespace {

// Signals as a descriptor, while it lives.
class Signals {
public:
    Signals() {
        (void)::sigemptyset(&set_);
        for (const int number : {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGCHLD, SIGIO})
            (void)::sigaddset(&set_, number);
        (void)::pthread_sigmask(SIG_BLOCK, &set_, &before_);
        fd_ = sys::Fd(sys::host_kernel(), ::signalfd(-1, &set_, SFD_CLOEXEC | SFD_NONBLOCK));
    }
    ~Signals() { (void)::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    Signals(const Signals&) = delete;
    Signals& operator=(const Signals&) = delete;

    int fd() const noexcept { return fd_.number(); }
    // A signal that came, or 0. `from_terminal`: whoever else is in the foreground has got it as well.
    int next(bool& from_terminal) const {
        signalfd_siginfo info{};
        if (::read(fd_.number(), &info, sizeof info) != sizeof info) return 0;
        from_terminal = info.ssi_code == SI_KERNEL;
        return static_cast<int>(info.ssi_signo);
    }

private:
    sigset_t set_;
    sigset_t before_;
    sys::Fd fd_;
};

class Family {
public:
    explicit Family(pid_t first) : first_(first) {}

    int status() const noexcept { return status_; }
    void pass_on(int signal) const noexcept {
        if (!ended_) (void)::kill(first_, signal);
    }
    // Of all that have ended. False: there are no more.
    bool reap(int flags) {
        int status = 0;
        pid_t process = 0;
        while ((process = ::waitpid(-1, &status, flags)) > 0 || (process < 0 && errno == EINTR)) {
            if (process != first_) continue;
            ended_ = true;
            status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
        return process == 0;
    }

private:
    const pid_t first_;
    bool ended_ = false;
    int status_ = 0;
};

void handle_signals(const Signals& signals, Family& family) {
    bool from_terminal = false;
    while (const int signal = signals.next(from_terminal)) {
        if (signal == SIGCHLD)
            (void)family.reap(WNOHANG);
        else if (signal != SIGIO && !from_terminal)
            family.pass_on(signal);
    }
}

// Sees to signals, and to what is closed while no call is made, in a thread of its own until it is destroyed.
class Watcher {
public:
    // Throws std::system_error where there can be no thread.
    Watcher(const Signals& signals, Family& family, Supervisor& supervisor)
        : over_(sys::host_kernel(), ::eventfd(0, EFD_CLOEXEC)),
          thread_([&, this] { watch(signals, family, supervisor); }) {}
    ~Watcher() {
        (void)::eventfd_write(over_.number(), 1);
        thread_.join();
    }
    Watcher(const Watcher&) = delete;
    Watcher& operator=(const Watcher&) = delete;

private:
    void watch(const Signals& signals, Family& family, Supervisor& supervisor) noexcept {
        std::array<pollfd, 3> ready{{{.fd = over_.number(), .events = POLLIN, .revents = 0},
                                     {.fd = supervisor.closes(), .events = POLLIN, .revents = 0},
                                     {.fd = signals.fd(), .events = POLLIN, .revents = 0}}};
        do {
            if (::poll(ready.data(), ready.size(), -1) < 0) continue;
            if (ready[2].revents != 0) handle_signals(signals, family);
            if (ready[1].revents != 0) supervisor.see_closes();
        } while (ready[0].revents == 0);
    }

    const sys::Fd over_;
    std::thread thread_;
};

void serve_all(int listener, Supervisor& supervisor, bool polls) {
    pollfd calls{.fd = listener, .events = POLLIN, .revents = 0};
    bool is_served = true;
    for (;;) {
        if (polls || !is_served) {
            const int ready = ::poll(&calls, 1, polls ? -1 : 0);
            if (ready > 0 && (calls.revents & POLLHUP) != 0) return;  // nobody is left under the filter
            if (polls && (ready < 0 || (calls.revents & POLLIN) == 0)) continue;
        }
        is_served = supervisor.serve(listener);
    }
}

}  // namespace

bool waiting_ends() {
    utsname system{};
    int version = 0;
    int patch_level = 0;
    if (::uname(&system) < 0 || std::sscanf(system.release, "%d.%d", &version, &patch_level) != 2)
        return false;
    return std::pair(version, patch_level) >= std::pair(6, 11);
}

Result<Outcome> run(const model::Description& description, const std::vector<std::string>& words,
                    const RunOptions& options) {
    FilterOptions trapped{.mock = description.mock};
    for (const model::DeviceDescription& device : description.devices)
        trapped.vdpa |= device.kind == model::DeviceKind::vdpa_blk;
    auto filter = make_filter(trapped);
    if (!filter) return filter.error();
    model::Machine machine(description);
    auto files = PrivateTree::make(model::Inside::of(machine).tree);
    if (!files) return files.error();
    Supervisor supervisor(machine, *files, description.mock ? options.failures : nullptr, options.trace);
    (void)::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    auto child = start(words, *filter);
    if (!child) return child.error();
    const Signals signals;
    Family family(child->process);
    std::optional<Watcher> watcher;
    try {
        watcher.emplace(signals, family, supervisor);
    } catch (const std::system_error& error) {
        (void)::kill(child->process, SIGKILL);
        (void)::waitpid(child->process, nullptr, 0);
        return Error::refused(error.code().value(), "cannot put a program under the model",
                              "no thread can be had",
                              "raise the limit of processes (ulimit -u, or the container's pids.max)");
    }
    serve_all(child->listener.number(), supervisor, options.polls);
    watcher.reset();
    while (family.reap(0)) {
    }
    supervisor.see_closes();
    Outcome outcome{.status = family.status(),
                    .not_started = 0,
                    .left = model::Inside::left(machine),
                    .blocked_dma = machine.blocked_dma_count()};
    (void)!::read(child->outcome.number(), &outcome.not_started, sizeof outcome.not_started);
    return outcome;
}

}  // namespace iommufd::inline v0_1::intercept
