// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/polled_registers.hpp"

#include <chrono>
#include <ranges>

#include "model/safe_copy.hpp"
#include "model/signal_free_thread.hpp"

namespace iommufd::inline v0_1::model {
namespace {

using Kind = PolledRegister::Kind;

constexpr std::uint64_t ones(unsigned width) { return width == 8 ? ~std::uint64_t{0} : 0xffffffff; }

// Both halves of one write, and no half of two.
bool read_twice(const std::byte* from, unsigned width, std::uint64_t& value) {
    std::uint64_t first = 0;
    std::uint64_t second = 0;
    if (safe_copy(&first, from, width) < 0) return false;
    std::atomic_thread_fence(std::memory_order_acquire);
    if (safe_copy(&second, from, width) < 0 || first != second) return false;
    value = first;
    return true;
}

template <class Word>
bool exchange(std::byte* at, std::uint64_t expected, std::uint64_t value) {
    auto was = static_cast<Word>(expected);
    return std::atomic_ref<Word>(*reinterpret_cast<Word*>(at))
        .compare_exchange_strong(was, static_cast<Word>(value));
}

}  // namespace

PolledRegisters::PolledRegisters(std::uint64_t size, PciDevice& device)
    : memory_(size, true), device_(device) {
    for (const PolledRegister& is : device.polled())
        registers_.push_back({.is = is, .shows = 0, .written = 0});
}

std::uint64_t PolledRegisters::resting(const PolledRegister& is) const {
    return is.kind == Kind::doorbell ? ones(is.width) : device_.read(is.offset, is.width);
}

void PolledRegisters::put(const BarView& writable, Register& one, std::uint64_t value) {
    if (value == one.shows) return;
    std::byte* const at = writable.memory() + one.is.offset;
    const bool done = one.is.width == 8 ? exchange<std::uint64_t>(at, one.shows, value)
                                        : exchange<std::uint32_t>(at, one.shows, value);
    if (done) one.shows = value;
}

void PolledRegisters::begin() {
    if (shown()) return;
    view_ = memory_.view(false);
    const BarView writable = memory_.view(true);
    if (!view_ || !writable) throw std::bad_alloc();
    for (Register& one : registers_) {
        (void)read_twice(view_.memory() + one.is.offset, one.is.width, one.shows);
        put(writable, one, resting(one.is));
    }
}

void PolledRegisters::end() noexcept {
    view_ = BarView();
    memory_.withdraw();
}

void PolledRegisters::refresh() {
    if (!shown()) return;
    const bool stale =
        std::ranges::any_of(registers_, [&](const Register& one) { return one.shows != resting(one.is); });
    if (!stale) return;
    if (const BarView writable = memory_.view(true))
        for (Register& one : registers_) put(writable, one, resting(one.is));
}

// Of two registers that a program has written one after the other, the second is read first: where it is found, so is the first.
bool PolledRegisters::find_written() {
    bool found = false;
    for (Register& one : registers_ | std::views::reverse) {
        one.written = one.shows;
        if (read_twice(view_.memory() + one.is.offset, one.is.width, one.written))
            found |= one.written != one.shows;
        std::atomic_thread_fence(std::memory_order_acquire);
    }
    return found;
}

bool PolledRegisters::look() {
    if (!shown() || !find_written()) return false;
    const BarView writable = memory_.view(true);
    if (!writable) return false;
    for (Register& one : registers_) {
        if (one.written == one.shows) continue;
        one.shows = one.written;
        // From now on it is seen if it is written again, though the device may answer before it is done.
        if (one.is.kind != Kind::value) put(writable, one, ones(one.is.width));
        device_.write(one.is.offset, one.is.width, one.written);
    }
    for (Register& one : registers_) put(writable, one, resting(one.is));
    return true;
}

Poller::Poller(std::function<bool()> look)
    : thread_(start_without_signals([this, look = std::move(look)] { run(look); })) {}

Poller::~Poller() {
    ending_ = true;
    thread_.join();
}

void Poller::run(const std::function<bool()>& look) {
    using Clock = std::chrono::steady_clock;
    // As long as a program that waits for an answer is likely to go on at once.
    constexpr std::chrono::microseconds kEager{100};
    constexpr std::chrono::microseconds kNap{50};
    Clock::time_point last{};
    while (!ending_) {
        if (look())
            last = Clock::now();
        else if (Clock::now() - last > kEager)
            std::this_thread::sleep_for(kNap);
        else
            std::this_thread::yield();
    }
}

}  // namespace iommufd::inline v0_1::model
