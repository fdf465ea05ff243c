// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Learns when programs have let go of a file for the last time: by exit, close, or munmap, in whichever process. The
// kernel tells of each open file that ends (inotify), before the program that ended it goes on; whether it was the last
// one, a lease says, which it grants where nobody has the file open for writing: it is asked again for a while, since the
// one that ends may still count.
//
// Threads: one at a time; it belongs to the supervisor.
#pragma once

#include <chrono>
#include <functional>
#include <map>

#include "model/caller.hpp"
#include "sys/fd.hpp"

namespace iommufd::inline v0_1::intercept {

class LastCloses {
public:
    // Throws std::system_error where the process may have no inotify.
    LastCloses();

    // Readable when there is something to see.
    int fd() const noexcept { return to_see_.number(); }
    // Watches the file behind `own`, a memfd or a pipe, which is closed; programs have what is returned: another opening
    // of it. A negative errno.
    int open_for_programs(int own);
    // A file that is watched, to be read and written here; empty if there is none. While it is open, or mapped, the file
    // isn't gone.
    sys::Fd open(const model::FileIdentity& identity) const;
    std::size_t count() const noexcept { return watched_.size(); }
    // Calls `gone` for each file whose last opening has ended.
    void see(const std::function<void(const model::FileIdentity&)>& gone);

private:
    using Clock = std::chrono::steady_clock;

    struct Watched {
        model::FileIdentity identity;
        sys::Fd own;  // read-only
    };

    bool is_last(const Watched& watched) const;
    // Lets fd() be readable soon, as long as an opening has ended that may have been the last one.
    void look_again_or_not();

    sys::Fd events_;
    sys::Fd soon_;  // a timer
    sys::Fd to_see_;
    bool looks_again_ = false;
    std::map<int, Watched> watched_;          // by inotify's number
    std::map<int, Clock::time_point> ended_;  // of which an opening ended then
};

}  // namespace iommufd::inline v0_1::intercept
