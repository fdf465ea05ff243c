// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// One client of a monitor: bytes and descriptors in, bytes out, and no socket.
//
//     Session session(monitor);                     // output() has the greeting
//     session.receive(bytes, descriptors);
//     while (session.handle_one()) {}               // one message each, so that others get their turn
//     send(session.output()); session.sent(n);
//     if (session.is_broken()) hang_up();
//
// What it holds is bounded: the unfinished message (Reader::Limits), descriptors (PassedDescriptors), and what the client doesn't
// read: beyond kMostOutput the session is broken, and beyond kEnoughOutput it is well to stop receiving until it has read.
// A session that runs out of memory is broken too; nothing throws.
//
// Threads: see Monitor.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "monitor/answer.hpp"
#include "monitor/passed_descriptors.hpp"
#include "monitor/reader.hpp"

namespace iommufd::inline v0_1::monitor {

class Monitor;

class Session {
public:
    static constexpr std::size_t kMostOutput = std::size_t{4} << 20;
    static constexpr std::size_t kEnoughOutput = std::size_t{64} << 10;

    explicit Session(Monitor& monitor);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    void receive(std::string_view bytes, std::vector<sys::Fd> descriptors = {}) noexcept;
    // False: there was none.
    bool handle_one() noexcept;
    bool has_messages() const noexcept { return !messages_.empty() && !broken_; }

    std::string_view output() const noexcept { return std::string_view(output_).substr(sent_); }
    void sent(std::size_t bytes) noexcept;
    // Nothing more is received, and what is in output() need not be sent.
    bool is_broken() const noexcept { return broken_; }

    // A line to a client that has finished its negotiation. Calls what was given here, which sees to it that the line goes out.
    void tell(std::string_view line) noexcept;
    void on_told(std::function<void()> wake) { wake_ = std::move(wake); }

    // For the commands.
    Monitor& monitor() const noexcept { return monitor_; }
    PassedDescriptors& descriptors() noexcept { return descriptors_; }
    const PassedDescriptors& descriptors() const noexcept { return descriptors_; }
    bool is_negotiating() const noexcept { return negotiating_; }
    void end_negotiation() noexcept { negotiating_ = false; }

private:
    void handle(const Reader::Value& message);
    Answer answer(const Json& request);
    void put_line(std::string_view line);

    Monitor& monitor_;
    Reader reader_;
    std::deque<Reader::Value> messages_;
    PassedDescriptors descriptors_;
    std::function<void()> wake_;
    std::string output_;
    std::size_t sent_ = 0;
    bool negotiating_ = true;
    bool broken_ = false;
};

}  // namespace iommufd::inline v0_1::monitor
