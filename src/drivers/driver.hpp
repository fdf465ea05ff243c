// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What can be asked of any device that there is a driver for: who it is, and to move bytes by DMA.
//
//     auto driver = drivers::start(device, window).value();     // the one that fits, if there is one
//     driver->read_memory(source, 4_KiB);                       // the device takes bytes from memory
//     driver->write_memory(target, 4_KiB);                      // and puts them there
//
// A new device is a class that implements this and a row in the table of driver.cpp.
//
// Threads: one at a time.
#pragma once

#include <memory>
#include <string>

#include "drivers/window.hpp"
#include "iommufd/vdpa/device.hpp"
#include "iommufd/vfio/device.hpp"

namespace iommufd::inline v0_1::drivers {

class Driver {
public:
    Driver() = default;
    Driver(const Driver&) = delete;
    Driver& operator=(const Driver&) = delete;
    virtual ~Driver() = default;

    // "QEMU edu 1.0", "NVMe QEMU NVMe Ctrl, serial iommufd, 64 MiB".
    virtual Result<std::string> identify() = 0;
    // Whether read_memory() overwrites what the device stores.
    virtual bool keeps_what_it_reads() const noexcept = 0;
    // How many bytes one transfer takes at most, and of what they are a multiple.
    virtual std::uint64_t most() const noexcept = 0;
    virtual std::uint64_t unit() const noexcept = 0;

    // The device reads `length` bytes of memory at `source`; what it read, write_memory() writes out again.
    virtual Result<void> read_memory(Iova source, std::uint64_t length) = 0;
    // The device writes `length` bytes to memory at `target`.
    virtual Result<void> write_memory(Iova target, std::uint64_t length) = 0;
    // What was read is stored for good.
    virtual Result<void> flush() { return {}; }

    // Interrupts that arrived since the driver was started.
    virtual std::uint64_t interrupts() const noexcept = 0;
};

// Which driver fits a device, and what it needs before it starts.
struct Kind {
    const char* name;
    unsigned dma_bits;           // what the device drives, which the kernel can't know
    std::uint64_t window_bytes;  // memory for the driver's own use
};

// Nothing: there is no driver for such a device.
Result<std::optional<Kind>> find(const vfio::Device& device);
Result<std::optional<Kind>> find(const vdpa::Device& device);

// Resets the device where it can be, and brings it up. Both must outlive the driver. ENODEV: find() found
// nothing.
Result<std::unique_ptr<Driver>> start(const vfio::Device& device, Window window);
Result<std::unique_ptr<Driver>> start(const vdpa::Device& device, Window window);

}  // namespace iommufd::inline v0_1::drivers
