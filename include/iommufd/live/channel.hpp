// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The two ends of a hand-over, over a connected Unix stream socket (socketpair(AF_UNIX, SOCK_STREAM) before the new process
// is started, say).
//
//     old: live::hand_over(instance, socket, {.patience = 10s})     new: auto mine = live::take_over(socket, {}).value();
//
//     old -> new   the state and its descriptors
//     new -> old   ready, or the error
//     old -> new   yours, or not
//     new -> old   when it is not: that it has let go of everything; and it stays until the old one has taken the pages back
//
// When the old process ends or closes its socket without the last word, it is yours: the new one has all that is left of it.
// The new one waits for that word as long as it takes; a new process that hangs, and can be let go, must be ended by who
// started it, so that it takes no pins after hand_over() has taken them back.
//
// Threads: one call at a time for one socket, which stays the caller's, and is best closed afterwards. SIGPIPE is not raised.
#pragma once

#include "iommufd/live/handover.hpp"

namespace iommufd::inline v0_1::live {

struct HandOverOptions {
    std::chrono::milliseconds patience{10'000};  // with the new process, for each step
};

// check(), save(), and all of the above. On success this process has lost the instance, as after Handover::commit().
// Otherwise it goes on as before: EBUSY and EOPNOTSUPP as save(); EPIPE, ECONNRESET: the new process is gone; ETIMEDOUT: it
// doesn't answer; EPROTO: it is something else; ECANCELED: what it says stands in the error.
IOMMUFD_EXPORT Result<void> hand_over(const Instance& instance, int socket, HandOverOptions options = {});

// The other end. ECANCELED: the old process keeps it. EPROTO, EPIPE and the errors of restore(), which the old one is told.
IOMMUFD_EXPORT Result<Restored> take_over(int socket, RestoreOptions options);

// The steps, for who carries packages by other means.
IOMMUFD_EXPORT Result<void> send(int socket, const Package& package, HandOverOptions options);
IOMMUFD_EXPORT Result<Package> receive(int socket);
IOMMUFD_EXPORT Result<void> answer(int socket, const Result<void>& outcome);
IOMMUFD_EXPORT Result<void> receive_answer(int socket, HandOverOptions options);
enum class Word : std::uint8_t { yours, not_yours };
IOMMUFD_EXPORT Result<void> say(int socket, Word word);
// After `not_yours`: whether it has let go, and waits for our next word, or the end of the socket.
IOMMUFD_EXPORT Successor receive_let_go(int socket, HandOverOptions options) noexcept;
// EOF is `yours`.
IOMMUFD_EXPORT Result<Word> receive_word(int socket);

}  // namespace iommufd::inline v0_1::live
