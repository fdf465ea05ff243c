// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A device's way to memory: the domain that it is attached to, or a guest's table on top of one, if any. Without one, and without bus
// mastering, every DMA is blocked. A device that can ask for pages asks the domain's queue, if it has one.
#pragma once

#include <algorithm>
#include <memory>
#include <new>
#include <span>
#include <string>

#include "model/domain.hpp"
#include "model/fault_queue.hpp"
#include "model/first_stage.hpp"
#include "model/hardware.hpp"
#include "model/peer_accesses.hpp"
#include "sys/membarrier.hpp"
#include "sys/owned_mutex.hpp"

namespace iommufd::inline v0_1::model {

// Where a device asks for pages, and as what.
struct PageRequestRoute {
    FaultQueue* queue = nullptr;  // null: nowhere
    Attachment attachment = {};
};

class DmaPort {
public:
    // `answered`: told of each page that was asked for.
    DmaPort(BlockedLog& log, std::string device, OnAnswer answered)
        : log_(log), device_(std::move(device)), answered_(std::move(answered)) {}

    // Once it returns, no DMA of the device goes through the page table before, and no request to its queue.
    void point_at(std::shared_ptr<Domain> domain, PageRequestRoute requests = {}) IOMMUFD_EXCLUDES(mutex_) {
        point_at(std::move(domain), nullptr, requests);
    }
    void point_at(std::shared_ptr<FirstStage> nested, PageRequestRoute requests) IOMMUFD_EXCLUDES(mutex_) {
        point_at(nullptr, std::move(nested), requests);
    }
    void set_bus_master(bool on) IOMMUFD_EXCLUDES(mutex_) {
        const sys::OwnedLock lock(mutex_);
        bus_master_ = on;
    }

    // Whether all of it was reached.
    bool read(std::uint64_t iova, std::span<std::byte> to) IOMMUFD_EXCLUDES(mutex_) {
        if (mutex_.lock_as_owner()) {
            const bool done = domain_ && bus_master_ && domain_->read_at_once(iova, to);
            mutex_.unlock(sys::OwnedMutex::Hold::as_owner);
            if (done) return true;
        }
        bool reached = true;
        const auto blocked = [&](std::uint64_t at, std::uint64_t length) {
            reached = false;
            log_.record(device_, at, length, false);
        };
        PeerAccesses peers;
        {
            const sys::OwnedLock lock(mutex_);
            if (domain_ && bus_master_) {
                domain_->read(iova, to, blocked);
            } else if (nested_ && bus_master_) {
                nested_->read(iova, to, blocked);
            } else {
                std::ranges::fill(to, std::byte{0});
                blocked(iova, to.size());
            }
        }
        peers.finish([&](const std::byte* bytes, std::size_t length) {
            blocked(iova + static_cast<std::uint64_t>(bytes - to.data()), length);
        });
        return reached;
    }

    bool write(std::uint64_t iova, std::span<const std::byte> from) IOMMUFD_EXCLUDES(mutex_) {
        if (mutex_.lock_as_owner()) {
            const bool done = domain_ && bus_master_ && domain_->write_at_once(iova, from);
            mutex_.unlock(sys::OwnedMutex::Hold::as_owner);
            if (done) return true;
        }
        bool reached = true;
        const auto blocked = [&](std::uint64_t at, std::uint64_t length) {
            reached = false;
            log_.record(device_, at, length, true);
        };
        PeerAccesses peers;
        {
            const sys::OwnedLock lock(mutex_);
            if (domain_ && bus_master_)
                domain_->write(iova, from, blocked);
            else if (nested_ && bus_master_)
                nested_->write(iova, from, blocked);
            else
                blocked(iova, from.size());
        }
        peers.finish([&](const std::byte* bytes, std::size_t length) {
            blocked(iova + static_cast<std::uint64_t>(bytes - from.data()), length);
        });
        return reached;
    }

    // Asks for the first page of a DMA that it doesn't reach. False: it reaches all, or there is nobody to ask.
    bool ask_for_page(std::uint64_t iova, std::uint64_t length, bool write) IOMMUFD_EXCLUDES(mutex_);

private:
    void point_at(std::shared_ptr<Domain> domain, std::shared_ptr<FirstStage> nested,
                  PageRequestRoute requests) IOMMUFD_EXCLUDES(mutex_);

    BlockedLog& log_;
    const std::string device_;
    const OnAnswer answered_;
    sys::OwnedMutex mutex_{sys::register_membarrier()};
    // One of them at most.
    std::shared_ptr<Domain> domain_ IOMMUFD_GUARDED_BY(mutex_);
    std::shared_ptr<FirstStage> nested_ IOMMUFD_GUARDED_BY(mutex_);
    PageRequestRoute requests_ IOMMUFD_GUARDED_BY(mutex_);
    std::uint32_t requested_ IOMMUFD_GUARDED_BY(mutex_) = 0;  // so far
    bool bus_master_ IOMMUFD_GUARDED_BY(mutex_) = false;
};

}  // namespace iommufd::inline v0_1::model
