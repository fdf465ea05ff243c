// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A device's way to memory: the domain that it is attached to, if any. Without one, and without bus
// mastering, every DMA is blocked.
#pragma once

#include <algorithm>
#include <memory>
#include <span>
#include <string>

#include "model/domain.hpp"
#include "model/hardware.hpp"
#include "sys/membarrier.hpp"
#include "sys/owned_mutex.hpp"

namespace iommufd::inline v0_1::model {

class DmaPort {
public:
    DmaPort(BlockedLog& log, std::string device) : log_(log), device_(std::move(device)) {}

    // Once it returns, no DMA of the device goes through the domain before.
    void point_at(std::shared_ptr<Domain> domain) IOMMUFD_EXCLUDES(mutex_) {
        const sys::OwnedLock lock(mutex_);
        domain_.swap(domain);
    }
    void set_bus_master(bool on) IOMMUFD_EXCLUDES(mutex_) {
        const sys::OwnedLock lock(mutex_);
        bus_master_ = on;
    }

    // Whether all of it was reached.
    bool read(std::uint64_t iova, std::span<std::byte> to) IOMMUFD_EXCLUDES(mutex_) {
        bool reached = true;
        const auto blocked = [&](std::uint64_t at, std::uint64_t length) {
            reached = false;
            log_.record(device_, at, length, false);
        };
        const sys::OwnedLock lock(mutex_);
        if (domain_ && bus_master_) {
            domain_->read(iova, to, blocked);
        } else {
            std::ranges::fill(to, std::byte{0});
            blocked(iova, to.size());
        }
        return reached;
    }

    bool write(std::uint64_t iova, std::span<const std::byte> from) IOMMUFD_EXCLUDES(mutex_) {
        bool reached = true;
        const auto blocked = [&](std::uint64_t at, std::uint64_t length) {
            reached = false;
            log_.record(device_, at, length, true);
        };
        const sys::OwnedLock lock(mutex_);
        if (domain_ && bus_master_)
            domain_->write(iova, from, blocked);
        else
            blocked(iova, from.size());
        return reached;
    }

private:
    BlockedLog& log_;
    const std::string device_;
    sys::OwnedMutex mutex_{sys::register_membarrier()};
    std::shared_ptr<Domain> domain_ IOMMUFD_GUARDED_BY(mutex_);
    bool bus_master_ IOMMUFD_GUARDED_BY(mutex_) = false;
};

}  // namespace iommufd::inline v0_1::model
