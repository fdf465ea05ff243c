// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A driver for virtio block devices behind vhost-vdpa: one queue, one request at a time.
//
//     const drivers::Window window{memory.data(), iova, VirtioBlk::bytes_needed()};
//     auto disk = drivers::VirtioBlk::start(device, window).value();
//     disk.identify();                                // serial number, capacity
//     disk.write(0, data_iova, 64_KiB);               // the disk reads memory
//     disk.read(0, data_iova + 64_KiB, 64_KiB);       // the disk writes memory
//     disk.flush();
//
// What the device does, step by step (virtio 1.x, section 3.1.1):
//
//     status 0 -> ACKNOWLEDGE -> DRIVER -> features -> FEATURES_OK (read back) -> queue -> DRIVER_OK
//
// and of each request (section 5.2.6): a header that it reads, the data, and one byte of status that it
// writes last.
//
// A request that isn't done in time may still be done later. So the device is reset, which ends all access
// to memory, before the call returns ETIMEDOUT; afterwards every call fails with ESHUTDOWN.
//
// Threads: one at a time.
#pragma once

#include <chrono>
#include <string>

#include "drivers/virtqueue.hpp"
#include "iommufd/vdpa/device.hpp"
#include "sys/fd.hpp"

namespace iommufd::inline v0_1::drivers {

class VirtioBlk {
public:
    struct Options {
        std::uint16_t queue_size = 64;            // entries; less where the device takes less
        std::chrono::milliseconds timeout{5000};  // of each request
    };

    struct Identity {
        std::string serial;        // what the device calls itself, at most 20 characters
        std::uint64_t capacity;    // in bytes
        std::uint32_t block_size;  // in bytes: what it likes reads and writes to be a multiple of
        bool read_only;
        bool has_cache;  // flush() means something
    };

    // Of the window, for the ring and the requests' own parts; in bytes.
    static std::uint64_t bytes_needed(std::uint16_t queue_size = 64) noexcept;

    // Resets the device and brings it up. The device is borrowed, the window's memory is used until stop() or
    // the destructor: both must outlive the driver. ENODEV: not a block device; EINVAL: the window is too
    // small or misaligned; EOPNOTSUPP: features missing; EIO: the device failed.
    static Result<VirtioBlk> start(const vdpa::Device& device, Window window);
    static Result<VirtioBlk> start(const vdpa::Device& device, Window window, Options options);

    VirtioBlk(VirtioBlk&&) noexcept;
    VirtioBlk& operator=(VirtioBlk&&) = delete;
    ~VirtioBlk();

    Result<Identity> identify();
    // `offset` on the disk and `length` in bytes, whole sectors of 512 (EINVAL), within the capacity
    // (ERANGE). EIO: the device failed, or can't reach the memory; EROFS; ETIMEDOUT; ESHUTDOWN.
    Result<void> read(std::uint64_t offset, Iova to, std::uint64_t length);
    Result<void> write(std::uint64_t offset, Iova from, std::uint64_t length);
    // What was written is on the medium. Nothing to do for a device without a cache.
    Result<void> flush();

    // Resets the device, which lets go of the window. Where that fails it still has it, and a second call
    // tries again; the destructor does it otherwise.
    Result<void> stop() noexcept;

private:
    struct Shared;

    VirtioBlk(const vdpa::Device& device, Window window, Options options, std::uint16_t queue_size,
              sys::Fd kick, sys::Fd call);

    Result<void> bring_up();
    Result<void> agree_on_features();
    Result<void> read_limits();
    Result<void> set_up_queue();
    Result<void> add_status(std::uint8_t bits);
    Result<void> transfer(std::uint32_t type, std::uint64_t offset, Iova data, std::uint64_t length);
    Result<void> request(std::uint32_t type, std::uint64_t sector, Iova data, std::uint32_t length);
    Result<void> wait_for_answer();
    Result<void> fail(Error error) noexcept;
    std::string describe(std::uint32_t type, std::uint64_t sector) const;
    bool has(unsigned feature) const noexcept { return (features_ >> feature & 1) != 0; }
    Shared* shared() const noexcept;
    Iova iova_of(std::size_t offset_in_shared) const noexcept;

    const vdpa::Device* device_;
    Window window_;
    std::chrono::milliseconds timeout_;
    Virtqueue queue_;
    sys::Fd kick_;
    sys::Fd call_;
    std::uint64_t features_ = 0;
    std::uint64_t capacity_ = 0;       // in bytes
    std::uint32_t block_size_ = 512;   // in bytes
    std::uint32_t segment_bytes_ = 0;  // the most in one buffer
    std::uint32_t segments_ = 1;       // the most buffers of data in one request
    bool live_ = false;                // the device may use the window: until a reset has worked
    bool running_ = false;             // requests can be made
};

}  // namespace iommufd::inline v0_1::drivers
