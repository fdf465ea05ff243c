// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A vDPA block device bound to vhost-vdpa, and a descriptor of its node, of which there is at most one.
// It behaves as Linux's vdpasim with use_va=1: it reaches memory by the program's addresses, and only
// shared memory.
//
//     write(IOTLB message) --> table_  --(outside a batch, or at its end)--> port_: what the device uses
//     kick eventfd --> worker --> ring --> VirtioBlk --> call eventfd
//
// The two tables differ inside a batch, and after a reset without IOTLB_PERSIST: then the device's is
// empty, while the kernel's still refuses to map the same range again.
#pragma once

#include <memory>
#include <string>

#include "model/event_fd.hpp"
#include "model/file.hpp"
#include "model/hardware.hpp"
#include "model/iotlb_port.hpp"
#include "model/split_ring.hpp"
#include "model/virtio_blk.hpp"
#include "model/worker.hpp"
#include "sys/mutex.hpp"
#include "uapi/vhost.hpp"

namespace iommufd::inline v0_1::model {

class VdpaDevice {
public:
    VdpaDevice(Hardware& hardware, Worker& worker, const DeviceDescription& description);

    const std::string& name() const noexcept { return name_; }

    // 0, or -EBUSY.
    int open() IOMMUFD_EXCLUDES(mutex_);
    void close() IOMMUFD_EXCLUDES(mutex_);
    int ioctl(unsigned long request, user::Address argument) IOMMUFD_EXCLUDES(mutex_);
    ssize_t write(user::Address message, std::size_t length) IOMMUFD_EXCLUDES(mutex_);

    void count(Leaks& leaks) const IOMMUFD_EXCLUDES(mutex_);

private:
    struct Queue {
        SplitRing ring;
        bool ready = false;
        Worker::Watch kick = 0;
        EventFd call;
        bool call_armed = false;  // a reset disarms it until it is set again
        EventFd error;
    };

    // vdpa_device.cpp: the device
    bool is_callers() const IOMMUFD_REQUIRES(mutex_);
    int set_owner() IOMMUFD_REQUIRES(mutex_);
    int set_features(user::Address argument) IOMMUFD_REQUIRES(mutex_);
    std::uint64_t offered_backend_features() const;
    int set_backend_features(user::Address argument) IOMMUFD_REQUIRES(mutex_);
    int set_status(user::Address argument) IOMMUFD_REQUIRES(mutex_);
    int config(user::Address argument, bool set) IOMMUFD_REQUIRES(mutex_);
    int set_config_call(user::Address argument) IOMMUFD_REQUIRES(mutex_);
    int suspend(bool on) IOMMUFD_REQUIRES(mutex_);
    void reset() IOMMUFD_REQUIRES(mutex_);
    bool driver_ok() const IOMMUFD_REQUIRES(mutex_);

    // vdpa_queue.cpp: its queue
    int queue_ioctl(unsigned long request, user::Address argument) IOMMUFD_REQUIRES(mutex_);
    int set_queue_size(user::Address argument) IOMMUFD_REQUIRES(mutex_);
    int set_queue_address(user::Address argument) IOMMUFD_REQUIRES(mutex_);
    int set_queue_base(user::Address argument) IOMMUFD_REQUIRES(mutex_);
    int set_queue_kick(user::Address argument) IOMMUFD_REQUIRES(mutex_);
    void enable_queue(bool on) IOMMUFD_REQUIRES(mutex_);
    void kicked() IOMMUFD_EXCLUDES(mutex_);
    bool serve_available() IOMMUFD_REQUIRES(mutex_);

    // vdpa_iotlb.cpp: its memory
    int handle(std::uint32_t asid, const uapi::vhost::IotlbMsg& message) IOMMUFD_REQUIRES(mutex_);
    int change_table(const uapi::vhost::IotlbMsg& message) IOMMUFD_REQUIRES(mutex_);
    int update(const uapi::vhost::IotlbMsg& message) IOMMUFD_REQUIRES(mutex_);
    int pieces_of(const uapi::vhost::IotlbMsg& message, Iotlb& added) const IOMMUFD_REQUIRES(mutex_);

    const std::string name_;
    const bool offers_persist_;
    Worker& worker_;
    mutable sys::Mutex mutex_;
    VirtioBlk disk_ IOMMUFD_GUARDED_BY(mutex_);
    bool opened_ IOMMUFD_GUARDED_BY(mutex_) = false;
    bool owned_ IOMMUFD_GUARDED_BY(mutex_) = false;
    std::shared_ptr<AddressSpace> memory_ IOMMUFD_GUARDED_BY(mutex_);  // of the owner
    std::uint64_t features_ IOMMUFD_GUARDED_BY(mutex_) = 0;
    std::uint64_t backend_features_ IOMMUFD_GUARDED_BY(mutex_) = 0;
    std::uint8_t status_ IOMMUFD_GUARDED_BY(mutex_) = 0;
    bool suspended_ IOMMUFD_GUARDED_BY(mutex_) = false;
    bool pending_kick_ IOMMUFD_GUARDED_BY(mutex_) = false;  // while suspended
    EventFd config_call_ IOMMUFD_GUARDED_BY(mutex_);
    Queue queue_ IOMMUFD_GUARDED_BY(mutex_);

    Iotlb table_ IOMMUFD_GUARDED_BY(mutex_);  // vhost-vdpa's
    IotlbPort port_ IOMMUFD_GUARDED_BY(mutex_);
    bool has_address_space_ IOMMUFD_GUARDED_BY(mutex_) = false;
    bool in_batch_ IOMMUFD_GUARDED_BY(mutex_) = false;
};

class VdpaFile final : public File {
public:
    explicit VdpaFile(VdpaDevice& device) : device_(device) {}
    ~VdpaFile() override {
        if (opened_) device_.close();
    }

    // Before anything else: 0, or -EBUSY.
    int open() {
        const int rc = device_.open();
        opened_ = rc == 0;
        return rc;
    }

    int ioctl(unsigned long request, user::Address argument) override {
        return device_.ioctl(request, argument);
    }
    ssize_t write(user::Address message, std::size_t length) override {
        return device_.write(message, length);
    }

private:
    VdpaDevice& device_;
    bool opened_ = false;
};

}  // namespace iommufd::inline v0_1::model
