// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// An edu device as a client drives it: registers by pread and pwrite, interrupts by eventfd, DMA.
#pragma once

#include <sys/eventfd.h>

#include "intercept/testing/client.hpp"

namespace client {

class Edu {
public:
    explicit Edu(int iommufd) : device_(::open(kEdu, O_RDWR | O_CLOEXEC)) {
        EXPECT(bind(device_, iommufd) == 0);
        find();
        const std::uint16_t memory_and_bus_master = 6;
        EXPECT(::pwrite(device_, &memory_and_bus_master, 2, static_cast<off_t>(config_ + 4)) == 2);
    }
    // One that is bound.
    static Edu inherited(int device) {
        Edu edu;
        edu.device_ = device;
        edu.find();
        return edu;
    }

    int number() const { return device_; }
    std::uint64_t bar() const { return bar_; }
    std::uint32_t get(std::uint64_t offset) const {
        std::uint32_t value = 0;
        EXPECT(::pread(device_, &value, sizeof value, static_cast<off_t>(bar_ + offset)) == sizeof value);
        return value;
    }
    void put(std::uint64_t offset, std::uint64_t value, std::size_t width = 8) const {
        EXPECT(::pwrite(device_, &value, width, static_cast<off_t>(bar_ + offset)) ==
               static_cast<ssize_t>(width));
    }
    // Into the device's buffer or out of it; interrupts at its end.
    void dma(std::uint64_t iova, std::uint64_t length, bool out) const {
        constexpr std::uint64_t kBuffer = 0x40000;
        put(0x80, out ? kBuffer : iova);
        put(0x88, out ? iova : kBuffer);
        put(0x90, length);
        put(0x98, 1 | (out ? 2 : 0) | 4);
    }
    int interrupts() const {
        const int event = ::eventfd(0, EFD_CLOEXEC);
        struct {
            uapi::vfio::IrqSet header;
            std::int32_t fd;
        } command{{.argsz = 24,
                   .flags = uapi::vfio::kIrqSetDataEventfd | uapi::vfio::kIrqSetTrigger,
                   .index = uapi::vfio::kPciMsi,
                   .start = 0,
                   .count = 1},
                  event};
        EXPECT(call(device_, uapi::vfio::kDeviceSetIrqs, &command) == 0);
        return event;
    }

private:
    Edu() = default;
    void find() {
        bar_ = offset_of(uapi::vfio::kPciBar0);
        config_ = offset_of(uapi::vfio::kPciConfig);
    }
    std::uint64_t offset_of(std::uint32_t index) const {
        uapi::vfio::RegionInfo info{.argsz = sizeof info, .index = index};
        EXPECT(call(device_, uapi::vfio::kDeviceGetRegionInfo, &info) == 0);
        return info.offset;
    }

    int device_ = -1;
    std::uint64_t bar_ = 0;
    std::uint64_t config_ = 0;
};

}  // namespace client
