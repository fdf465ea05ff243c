// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A vDPA device's way to memory: its IOTLB, with what was out of reach recorded.
#pragma once

#include <string>
#include <utility>

#include "model/hardware.hpp"
#include "model/iotlb.hpp"

namespace iommufd::inline v0_1::model {

class IotlbPort {
public:
    IotlbPort(BlockedLog& log, std::string device) : log_(log), device_(std::move(device)) {}

    Iotlb& iotlb() { return iotlb_; }
    const Iotlb& iotlb() const { return iotlb_; }

    // 0, or -EFAULT.
    int read(std::uint64_t iova, std::span<std::byte> to) const {
        std::size_t moved = 0;
        const int rc = iotlb_.read(iova, to, moved);
        return rc < 0 ? blocked(iova + moved, to.size() - moved, false) : 0;
    }
    int write(std::uint64_t iova, std::span<const std::byte> from) const {
        std::size_t moved = 0;
        const int rc = iotlb_.write(iova, from, moved);
        return rc < 0 ? blocked(iova + moved, from.size() - moved, true) : 0;
    }

    template <class T>
    int get(std::uint64_t iova, T& value) const {
        return read(iova, std::as_writable_bytes(std::span(&value, 1)));
    }
    template <class T>
    int put(std::uint64_t iova, const T& value) const {
        return write(iova, std::as_bytes(std::span(&value, 1)));
    }

private:
    int blocked(std::uint64_t iova, std::size_t length, bool write) const {
        log_.record(device_, iova, length, write);
        return -EFAULT;
    }

    BlockedLog& log_;
    const std::string device_;
    Iotlb iotlb_;
};

}  // namespace iommufd::inline v0_1::model
