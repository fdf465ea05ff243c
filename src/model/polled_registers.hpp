// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Registers for a program that insists on mapping them: memory that shows their values, and a thread that looks for what the
// program has written there.
//
//     program --store--> memory <--look, every few microseconds-- thread --turn--> device
//             <--load--         <------ what the registers say ------+
//
// A write is seen where it changes what the memory shows; of two in a row the device may learn of the last one only. What a
// program reads right after it has written is what it wrote.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "model/bar_memory.hpp"
#include "model/pci_device.hpp"

namespace iommufd::inline v0_1::model {

// Calls come one at a time, with the device's turn.
class PolledRegisters {
public:
    // `size`: of the BAR. Throws std::bad_alloc.
    PolledRegisters(std::uint64_t size, PciDevice& device);

    BarMemory& memory() noexcept { return memory_; }
    // Whether a program sees them.
    bool shown() const noexcept { return static_cast<bool>(view_); }
    // A program has mapped them: they have values from now on.
    void begin();
    // None has any more.
    void end() noexcept;
    // The device has done something: what it says now is shown, but where a program has written meanwhile.
    void refresh();
    // Gives to the device what was written. Whether anything was.
    bool look();

private:
    struct Register {
        PolledRegister is;
        std::uint64_t shows;    // what was put there last
        std::uint64_t written;  // what was found there
    };

    std::uint64_t resting(const PolledRegister& is) const;
    // Where a program has not written meanwhile.
    static void put(const BarView& writable, Register& one, std::uint64_t value);
    bool find_written();

    BarMemory memory_;
    PciDevice& device_;
    BarView view_;
    std::vector<Register> registers_;
};

// Runs what looks, soon again where it has found something, until it is destroyed. It takes no signals.
class Poller {
public:
    explicit Poller(std::function<bool()> look);
    ~Poller();
    Poller(const Poller&) = delete;
    Poller& operator=(const Poller&) = delete;

private:
    void run(const std::function<bool()>& look);

    std::atomic<bool> ending_ = false;
    std::thread thread_;
};

}  // namespace iommufd::inline v0_1::model
