// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// An iommufd context of the broker's own, with one address space, in which it maps what clients send: those of one client and the
// devices that are only its own, or those of all clients that share a device.
//
//     attach(): a device is bound to this context, and sees what is mapped        detach(): detached, reset, closed
//     map() -> a range                                                            unmap()
//
// Threads: any calls may run at once, for different devices and ranges; all may take long. `clients` is the broker's thread's.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "broker/sent_memory.hpp"
#include "iommufd/core/ioas.hpp"
#include "iommufd/vfio/device.hpp"
#include "sys/fd.hpp"

namespace iommufd::inline v0_1::broker {

class MediatedSpace {
public:
    using Clock = std::chrono::steady_clock;

    // `label` names it in errors. What opening /dev/iommu says.
    static Result<std::shared_ptr<MediatedSpace>> open(sys::Kernel& kernel, const std::string& label);

    // Its descriptor, borrowed until detach(). What binding and attaching say, and then it is closed.
    Result<int> attach(const std::string& name, sys::Fd device);
    void detach(const std::string& name) noexcept;

    // Maps a part of a memfd that check_memory() has found right: at `at`, or at the lowest free address that suits it; `step` bytes at a
    // time. EEXIST: something is there; EINVAL: the devices don't reach it; ENOSPC; ENODATA: see check_touched(); ETIMEDOUT: the deadline has passed between two
    // steps; EPERM: it was sealed against writing meanwhile. Nothing of it is mapped after an error.
    Result<Range> map(int memory, const Part& part, std::optional<Iova> at, Clock::time_point deadline,
                      std::uint64_t step = kStep);
    void unmap(Range range) noexcept;

    std::size_t clients = 0;

private:
    static constexpr std::uint64_t kStep = std::uint64_t{1} << 30;

    MediatedSpace(Backend backend, core::Ioas ioas);
    Result<Range> reserve(std::uint64_t length, std::optional<Iova> at);
    Result<void> map_steps(int memory, const Part& part, Range range, Clock::time_point deadline,
                           std::uint64_t step) const;

    Backend backend_;
    core::Ioas ioas_;
    std::mutex mutex_;
    std::map<std::string, vfio::Device> devices_;
    std::map<Iova, Range> taken_;  // by their first address
};

}  // namespace iommufd::inline v0_1::broker
