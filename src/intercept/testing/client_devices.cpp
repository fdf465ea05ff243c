// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// An edu device's registers, interrupts, and DMA to memory that only this program has.
#include <poll.h>
#include <sys/uio.h>

#include "intercept/testing/edu.hpp"
#include "uapi/vhost.hpp"

namespace client {
namespace {

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

// An ivshmem's BAR 2, which a child sees as well.
void maps_memory_of_a_card(char**) {
    using namespace uapi::vfio;
    const int iommufd = open_iommufd();
    int card = ::open("/dev/vfio/devices/vfio0", O_RDWR | O_CLOEXEC);
    EXPECT(bind(card, iommufd) == 0);
    RegionInfo info{.argsz = sizeof info, .index = 2};
    EXPECT(call(card, kDeviceGetRegionInfo, &info) == 0);
    EXPECT(info.size == 1U << 20 && (info.flags & kRegionMmap) != 0);
    const auto bar = static_cast<off_t>(info.offset);
    const std::uint32_t first = 0x11223344;
    EXPECT(::pwrite(card, &first, sizeof first, bar) == sizeof first);
    EXPECT(::mmap(nullptr, kPage, PROT_READ, MAP_SHARED, card, bar + static_cast<off_t>(info.size)) ==
           MAP_FAILED);
    void* const mapped = ::mmap(nullptr, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, card, bar);
    EXPECT(mapped != MAP_FAILED);
    auto* const memory = static_cast<volatile std::uint32_t*>(mapped);
    EXPECT(memory[0] == first);
    const pid_t child = ::fork();
    if (child == 0) {
        memory[1] = 5;
        ::_exit(0);
    }
    join(child);
    std::uint32_t value = 0;
    EXPECT(::pread(card, &value, sizeof value, bar + 4) == sizeof value && value == 5);
    const std::uint32_t third = 6;
    EXPECT(::pwrite(card, &third, sizeof third, bar + 8) == sizeof third);
    EXPECT(memory[2] == 6);

    RegionInfo config{.argsz = sizeof config, .index = 7};
    EXPECT(call(card, kDeviceGetRegionInfo, &config) == 0);
    const auto command = static_cast<off_t>(config.offset) + 4;
    const std::uint16_t off = 0x100;
    const std::uint16_t on = 0x102;
    EXPECT(::pwrite(card, &off, sizeof off, command) == sizeof off);
    EXPECT(::pread(card, &value, sizeof value, bar) == -1 && errno == EIO);
    int ends[2];
    EXPECT(::pipe(ends) == 0);
    EXPECT(::write(ends[1], mapped, 4) == -1 && errno == EFAULT);
    EXPECT(::pwrite(card, &on, sizeof on, command) == sizeof on);
    EXPECT(memory[0] == first && memory[1] == 5 && memory[2] == 6);

    // The mapping has the device; then it is free, and its memory as it was.
    EXPECT(::close(card) == 0);
    card = ::open("/dev/vfio/devices/vfio0", O_RDWR | O_CLOEXEC);
    EXPECT(bind(card, iommufd) == -EINVAL);
    EXPECT(::munmap(mapped, info.size) == 0);
    EXPECT(bind(card, iommufd) == 0);
    EXPECT(::pread(card, &value, sizeof value, bar + 8) == sizeof value && value == 6);
}

void sends_messages(char**) {
    namespace vhost = uapi::vhost;
    const int device = ::open("/dev/vhost-vdpa-0", O_RDWR | O_CLOEXEC);
    EXPECT(call(device, vhost::kSetOwner, nullptr) == 0);
    std::uint64_t features = 1U << vhost::kIotlbMsgV2 | 1U << vhost::kIotlbBatch;
    EXPECT(call(device, vhost::kSetBackendFeatures, &features) == 0);
    unsigned char* const memory = pages(1, MAP_SHARED);
    const auto send = [&](std::uint8_t type, std::uint64_t size) {
        vhost::MsgV2 message{};
        message.type = vhost::kMsgIotlbV2;
        message.iotlb = {
            .iova = 0x1000, .size = size, .uaddr = address(memory), .perm = vhost::kAccessRw, .type = type};
        return ::write(device, &message, sizeof message);
    };
    EXPECT(send(vhost::kIotlbUpdate, kPage) == sizeof(vhost::MsgV2));
    EXPECT(send(vhost::kIotlbInvalidate, kPage) == sizeof(vhost::MsgV2));
    EXPECT(::close(device) == 0);
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

const Named kDevices[] = {{"drives", drives},
                          {"maps_memory_of_a_card", maps_memory_of_a_card},
                          {"unmaps_too_early", unmaps_too_early},
                          {"sends_messages", sends_messages},
                          {nullptr, nullptr}};

}  // namespace client
