// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the two examples of a fault queue run on: a device that asks for pages which are not there.
//
// Hardware that does this (PRI) is rare, so the device is the kernel's own mock, in a kernel with
// CONFIG_IOMMUFD_TEST: `vm/run --give "" -- build/dev/examples/fault_queue_poll`.
#pragma once

#include <cerrno>

#include "iommufd/core/hwpt.hpp"
#include "iommufd/dma/memory.hpp"
#include "iommufd/viommu/page_requests.hpp"
#include "kernel/mock.hpp"

namespace examples {

using namespace iommufd;

constexpr std::uint64_t kPage = 4_KiB;

// The program's memory, of which no page is mapped for the device until the device asks for it.
class PagedMemory {
public:
    static constexpr Iova kStart{0x10000000};

    explicit PagedMemory(const core::Ioas& ioas) : ioas_(ioas) {}
    ~PagedMemory() { (void)ioas_.unmap_all(); }
    PagedMemory(const PagedMemory&) = delete;
    PagedMemory& operator=(const PagedMemory&) = delete;

    // Makes all pages there that a group of faults asks for. Invalid: there is no memory at one of the addresses.
    core::Response provide(const viommu::Group& group) {
        for (const core::PageFault& fault : group.faults())
            if (provide(fault) != core::Response::success) return core::Response::invalid;
        return core::Response::success;
    }

private:
    core::Response provide(const core::PageFault& fault) {
        const std::uint64_t offset = fault.address - kStart.value;
        if (fault.address < kStart.value || offset >= memory_.size()) return core::Response::invalid;
        const std::uint64_t page = offset / kPage * kPage;
        const auto mapped = ioas_.map(memory_.data() + page, kPage, Access::read_write, kStart + page);
        // EEXIST: somebody else faulted on it as well.
        const bool there = mapped || mapped.error().code() == EEXIST;
        return there ? core::Response::success : core::Response::invalid;
    }

    const core::Ioas& ioas_;
    dma::Memory memory_ = dma::Memory::memfd(1_MiB).value();
};

// A device whose page table sends its faults to a queue.
class FaultingDevice {
public:
    FaultingDevice() {
        // The table that sends faults is one of our own; the IOAS's automatic one doesn't.
        if (const int result = device_.replace(hwpt_.id()); result < 0)
            throw Failure(Error(Operation::vfio_attach, -result, "cannot attach the mock device"));
    }
    ~FaultingDevice() { (void)device_.replace(ioas_.id()); } // a table in use can't go
    FaultingDevice(const FaultingDevice&) = delete;
    FaultingDevice& operator=(const FaultingDevice&) = delete;

    const core::Ioas& ioas() const { return ioas_; }
    const viommu::PageRequests& requests() const { return requests_; }

    // The device reaches for an address, finds nothing, and asks for the page.
    void reach_for(Iova address) {
        if (const int result = device_.fault(address.value, 0, ++reaches_); result < 0)
            throw Failure(Error(Operation::none, -result, "cannot make the mock device fault"));
    }

private:
    core::Context context_ = core::Context::open().value();
    core::Ioas ioas_ = core::Ioas::alloc(context_).value();
    kernel_tests::MockDevice device_ = kernel_tests::MockDevice::make(context_, ioas_.id()).value();
    viommu::PageRequests requests_ = viommu::PageRequests::alloc(context_).value();
    core::Hwpt hwpt_ =
        core::Hwpt::alloc(context_, device_.id(), ioas_, {.fault_queue = &requests_.queue()}).value();
    std::uint32_t reaches_ = 0;
};

} // namespace examples
