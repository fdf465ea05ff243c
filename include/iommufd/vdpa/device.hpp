// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A vDPA device that the kernel hands to this process: /dev/vhost-vdpa-N. The rings of its queues and the
// data lie in memory of this process, which the device reaches by IOVA.
//
//     /dev/vhost-vdpa-0 --open, VHOST_SET_OWNER--> Device --VHOST_SET_VRING_*--> Vring (kick, call)
//                                                    |  '---VHOST_VDPA_SET_STATUS: the virtio life-cycle
//     dma::Space --attachable()----------------------'
//         '--write(IOTLB UPDATE, INVALIDATE)--> its own table of IOVAs; Linux's vDPA does not use iommufd
//
//     auto device = vdpa::Device::open("/dev/vhost-vdpa-0", {.backend = &backend}).value();
//     space.attach(device);            // what the space maps, and will map, reaches the device
//     device.reset();                  // then ACKNOWLEDGE, DRIVER, features, FEATURES_OK, queues, DRIVER_OK
//
// A backend is optional: then the device counts as its user, but never opens /dev/iommu.
//
// Memory: a device either uses addresses of this process (vdpasim, VDUSE) or pins pages (hardware). The
// former takes shared file memory only, since Linux passes over private memory without a word. The latter
// charges its pages to RLIMIT_MEMLOCK on top of all that this process has pinned (VmPin), for root too: what
// an iommufd maps as well is charged twice, and is better mapped here first.
//
// Owner: only the process that opened the device maps and sets up queues. A child that inherits the
// descriptor can't (the owner is the address space, which fork copies).
//
// Threads: any calls on one device may run at once; a move and destroy() must not run against others.
//
// Linux: 5.9; newer features say their own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "iommufd/backend/backend.hpp"
#include "iommufd/dma/attachable.hpp"
#include "iommufd/vdpa/vring.hpp"

namespace iommufd::inline v0_1::vdpa {

// What the kernel's side of a device can do, as numbers of bits (VHOST_BACKEND_F_*).
enum class BackendFeature : std::uint8_t {
    message_v2 = 1,              // IOTLB messages that name an address space
    batch = 2,                   // many updates, handed to the device once. Linux 5.9
    address_spaces = 3,          // groups of queues with tables of their own. Linux 5.19
    suspend = 4,                 // Linux 6.0
    resume = 5,                  // Linux 6.3
    enable_after_driver_ok = 6,  // queues can be enabled while the device runs. Linux 6.6
    descriptor_group = 7,        // rings may lie in another address space than data. Linux 6.7
    persist = 8,                 // mappings survive a reset. Linux 6.7
};

constexpr std::uint64_t bit(BackendFeature feature) {
    return std::uint64_t{1} << static_cast<unsigned>(feature);
}

class IOMMUFD_EXPORT Device {
public:
    struct Options {
        const Backend* backend = nullptr;  // counts the device as its user; looked at during the call only
        Report report;                     // nothing: a destructor's failure is dropped
        sys::Kernel* kernel = nullptr;     // nothing: the backend's, or else the machine's own
        // The address space that memory is mapped into, below address_space_count(), and the group of queues
        // that uses it; without one, all groups do.
        std::uint32_t asid = 0;
        std::optional<std::uint32_t> group;
        // Backend features to leave alone, though the device has them; bits.
        std::uint64_t decline = 0;
    };

    // Opens the node, takes ownership, agrees on backend features, and finds out how the device takes memory.
    // The device is reset by it. EBUSY open elsewhere, EACCES, ENOENT, EINVAL no such address space or group,
    // EOPNOTSUPP no IOTLB_MSG_V2; ESHUTDOWN from the backend.
    static Result<Device> open(const std::string& path);
    static Result<Device> open(const std::string& path, Options options);
    // Takes a descriptor that somebody opened. What is mapped through it already is invalidated. EPERM:
    // another process is the owner; ENOTTY: not a vhost-vdpa device.
    static Result<Device> from(AdoptFd fd, Options options);
    static Result<Device> from(DupFd fd, Options options);

    Device(Device&&) noexcept;
    Device& operator=(Device&&) noexcept;
    ~Device();

    // "vhost-vdpa /dev/vhost-vdpa-0"
    const std::string& name() const noexcept;
    // Borrowed: valid as long as the device; never close it.
    int fd() const noexcept;
    sys::Kernel& kernel() const noexcept;
    // For dma::Space, which keeps the device open for as long as it is attached.
    const std::shared_ptr<dma::Attachable>& attachable() const noexcept { return attachable_; }

    // The kind of device: 1 network, 2 block, ... (virtio's numbers).
    std::uint32_t device_id() const noexcept;
    // What was agreed on with the kernel; bits.
    std::uint64_t backend_features() const noexcept;
    bool has(BackendFeature feature) const noexcept { return (backend_features() & bit(feature)) != 0; }
    // The IOVAs that the device can be given.
    Range iova_range() const noexcept;
    // Whether it reaches memory by this process's addresses; else it pins pages.
    bool uses_addresses() const noexcept;
    std::uint32_t group_count() const noexcept;
    std::uint32_t address_space_count() const noexcept;
    std::uint32_t asid() const noexcept;

    // The features that the device offers, and those that its driver takes; bits. Before FEATURES_OK only
    // (EBUSY); EINVAL a set that the device refuses.
    Result<std::uint64_t> features() const;
    Result<void> set_features(std::uint64_t features) const;

    // The virtio status. Bits can only be added (EINVAL); 0 is reset().
    Result<std::uint8_t> status() const;
    Result<void> set_status(std::uint8_t status) const;
    // Stops the device and forgets queues and features. What is mapped stays mapped: where the device loses
    // it (no BackendFeature::persist), it is invalidated and mapped again, and an error of that says what
    // remains. Nothing is mapped or unmapped by others meanwhile.
    Result<void> reset() const;

    // Stops all queues at a request's border, with DRIVER_OK set only (else nothing happens); then their
    // bases can be read. EOPNOTSUPP. Linux 6.0, resume 6.3.
    Result<void> suspend() const;
    Result<void> resume() const;

    // The device's configuration. Offsets and lengths in bytes; EINVAL past config_size(). Linux 5.17 for it.
    Result<std::uint32_t> config_size() const;
    Result<void> read_config(std::uint32_t offset, std::span<std::byte> to) const;
    Result<void> write_config(std::uint32_t offset, std::span<const std::byte> from) const;
    // An eventfd that tells of changes of it; -1: none. Devices without such an interrupt take it all the
    // same.
    Result<void> set_config_call(int eventfd) const;

    // How many queues there are. ENOTTY before Linux 5.18.
    Result<std::uint32_t> queue_count() const;
    // How many entries a queue may have.
    Result<std::uint16_t> max_queue_size() const;
    // The index is checked by the calls on it (ENOBUFS).
    Vring vring(std::uint32_t index) const noexcept;

    // Lets a group of queues use an address space, until reset. Before DRIVER_OK (EBUSY). EINVAL, EOPNOTSUPP.
    // Linux 5.19.
    Result<void> set_group_asid(std::uint32_t group, std::uint32_t asid) const;

    // Closes the device: the kernel stops it and unmaps everything. EBUSY, and the handle stays, while a
    // Space or a Vring keeps it.
    Result<void> destroy() &&;

private:
    explicit Device(std::shared_ptr<DeviceNode> node) noexcept;
    DeviceNode& node() const noexcept;
    std::shared_ptr<dma::Attachable> attachable_;
};

}  // namespace iommufd::inline v0_1::vdpa
