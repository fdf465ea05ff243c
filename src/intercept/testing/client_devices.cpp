// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// An edu device: registers by pread and pwrite, interrupts by eventfd, DMA to memory that only this program has.
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

#include "intercept/testing/client.hpp"

namespace client {
namespace {

class Edu {
public:
    explicit Edu(int iommufd) : device_(::open(kEdu, O_RDWR | O_CLOEXEC)) {
        EXPECT(bind(device_, iommufd) == 0);
        bar_ = offset_of(uapi::vfio::kPciBar0);
        config_ = offset_of(uapi::vfio::kPciConfig);
        const std::uint16_t memory_and_bus_master = 6;
        EXPECT(::pwrite(device_, &memory_and_bus_master, 2, static_cast<off_t>(config_ + 4)) == 2);
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
    std::uint64_t offset_of(std::uint32_t index) const {
        uapi::vfio::RegionInfo info{.argsz = sizeof info, .index = index};
        EXPECT(call(device_, uapi::vfio::kDeviceGetRegionInfo, &info) == 0);
        return info.offset;
    }

    int device_;
    std::uint64_t bar_ = 0;
    std::uint64_t config_ = 0;
};

void drives(char**) {
    const int iommufd = open_iommufd();
    const Edu edu(iommufd);
    EXPECT(edu.get(0) == 0x010000ed);
    edu.put(4, 0x12345678, 4);
    EXPECT(edu.get(4) == ~0x12345678U);
    // In pieces, and no map of it.
    std::uint32_t values[2] = {};
    const iovec parts[] = {{.iov_base = values, .iov_len = 4}, {.iov_base = values + 1, .iov_len = 4}};
    EXPECT(::preadv(edu.number(), parts, 2, static_cast<off_t>(edu.bar())) == 8);
    EXPECT(values[0] == 0x010000ed && values[1] == ~0x12345678U);
    EXPECT(::mmap(nullptr, kPage, PROT_READ, MAP_SHARED, edu.number(), static_cast<off_t>(edu.bar())) ==
           MAP_FAILED);

    const std::uint32_t ioas = alloc_ioas(iommufd);
    EXPECT(attach(edu.number(), ioas) > -1);
    const int event = edu.interrupts();
    pollfd ready{.fd = event, .events = POLLIN, .revents = 0};
    EXPECT(::poll(&ready, 1, 0) == 0);
    for (const int flags : {MAP_PRIVATE, MAP_SHARED}) {
        unsigned char* const memory = pages(2, flags);
        EXPECT(map(iommufd, ioas, memory, 2 * kPage, 0x10000) == 0);
        std::memset(memory, 0x5a, kPage);
        edu.dma(0x10000, kPage, false);
        edu.dma(0x10000 + kPage, kPage, true);
        EXPECT(::poll(&ready, 1, 1000) == 1);
        std::uint64_t count = 0;
        EXPECT(::read(event, &count, sizeof count) == sizeof count && count == 2);
        EXPECT(std::memcmp(memory, memory + kPage, kPage) == 0);
        EXPECT(unmap(iommufd, ioas, 0x10000, 2 * kPage) == 0);
        std::memset(memory, 0, kPage);
        edu.dma(0x10000, kPage, true);  // blocked
        EXPECT(memory[0] == 0 && memory[kPage - 1] == 0);
        EXPECT(::read(event, &count, sizeof count) == sizeof count);
        EXPECT(::munmap(memory, 2 * kPage) == 0);
    }
    EXPECT(::close(edu.number()) == 0);
    EXPECT(destroy(iommufd, ioas) == 0);
}

void unmaps_too_early(char**) {
    const int iommufd = open_iommufd();
    const Edu edu(iommufd);
    const std::uint32_t ioas = alloc_ioas(iommufd);
    EXPECT(attach(edu.number(), ioas) > -1);
    unsigned char* const memory = pages(1);
    EXPECT(map(iommufd, ioas, memory, kPage, 0) == 0);
    EXPECT(::munmap(memory, kPage) == 0);
    edu.dma(0, kPage, true);
    edu.dma(0, kPage, false);
    EXPECT(unmap(iommufd, ioas, 0, kPage) == 0);
    EXPECT(::close(edu.number()) == 0);
    EXPECT(destroy(iommufd, ioas) == 0);
}

}  // namespace

const Named kDevices[] = {{"drives", drives}, {"unmaps_too_early", unmaps_too_early}, {nullptr, nullptr}};

}  // namespace client
