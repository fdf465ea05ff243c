// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The kernel's own mock of an IOMMU: registers of a viommu that a program maps, queues of events.
#include <string>

#include "intercept/testing/client.hpp"
#include "uapi/iommufd_test.hpp"

namespace client {
namespace {

namespace mock = uapi::mock;

struct Made {
    std::uint32_t device;
    std::uint32_t parent;
};

Made make_parent(int iommufd) {
    mock::TestCmd device{};
    device.size = sizeof device;
    device.op = mock::kMockDomain;
    device.id = alloc_ioas(iommufd);
    const std::uint32_t ioas = device.id;
    EXPECT(call(iommufd, mock::kTest, &device) == 0);
    uapi::HwptAlloc parent{.size = sizeof parent,
                           .flags = uapi::kHwptNestParent,
                           .dev_id = device.mock_domain.out_idev_id,
                           .pt_id = ioas};
    EXPECT(call(iommufd, uapi::kHwptAlloc, &parent) == 0);
    return {.device = parent.dev_id, .parent = parent.out_hwpt_id};
}

std::uint32_t alloc_viommu(int iommufd, const Made& made, mock::ViommuSelftest& data) {
    uapi::ViommuAlloc command{.size = sizeof command,
                              .type = mock::kViommuSelftest,
                              .dev_id = made.device,
                              .hwpt_id = made.parent,
                              .data_len = sizeof data,
                              .data_uptr = address(&data)};
    EXPECT(call(iommufd, uapi::kViommuAlloc, &command) == 0);
    return command.out_viommu_id;
}

// Negative: the errno.
std::int64_t map_window(int iommufd, std::uint64_t length, std::uint64_t offset,
                        int protection = PROT_READ | PROT_WRITE) {
    void* const mapped = ::mmap(nullptr, length, protection, MAP_SHARED, iommufd, static_cast<off_t>(offset));
    return mapped == MAP_FAILED ? -errno : static_cast<std::int64_t>(address(mapped));
}

void maps_registers(char**) {
    const int iommufd = open_iommufd();
    const Made made = make_parent(iommufd);
    mock::ViommuSelftest first{.in_data = 0xbeef};
    mock::ViommuSelftest second{.in_data = 0xcafe};
    const std::uint32_t viommus[] = {alloc_viommu(iommufd, made, first), alloc_viommu(iommufd, made, second)};
    EXPECT(map_window(iommufd, first.out_mmap_length, first.out_mmap_offset + kPage) == -ENXIO);
    EXPECT(map_window(iommufd, first.out_mmap_length / 2, first.out_mmap_offset) == -ENXIO);
    EXPECT(map_window(iommufd, first.out_mmap_length * 2, first.out_mmap_offset) == -ENXIO);
    EXPECT(map_window(iommufd, first.out_mmap_length, first.out_mmap_offset, PROT_READ | PROT_EXEC) ==
           -EPERM);
    // The later one first.
    auto* const of_second = reinterpret_cast<volatile std::uint32_t*>(
        map_window(iommufd, second.out_mmap_length, second.out_mmap_offset));
    auto* const of_first = reinterpret_cast<volatile std::uint32_t*>(
        map_window(iommufd, first.out_mmap_length, first.out_mmap_offset));
    EXPECT(*of_first == 0xbeef && *of_second == 0xcafe);
    *of_first = 7;
    auto* const again = reinterpret_cast<volatile std::uint32_t*>(
        map_window(iommufd, first.out_mmap_length, first.out_mmap_offset));
    EXPECT(*again == 7);
    EXPECT(::munmap(const_cast<std::uint32_t*>(again), first.out_mmap_length) == 0);
    EXPECT(destroy(iommufd, viommus[0]) == -EBUSY && destroy(iommufd, viommus[1]) == -EBUSY);
    // A child has it, too.
    int ends[2];
    EXPECT(::pipe(ends) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
        char byte = 0;
        (void)!::read(ends[0], &byte, 1);
        std::_Exit(*of_first == 7 ? 0 : 1);
    }
    EXPECT(::munmap(const_cast<std::uint32_t*>(of_first), first.out_mmap_length) == 0);
    EXPECT(::munmap(const_cast<std::uint32_t*>(of_second), second.out_mmap_length) == 0);
    EXPECT(destroy(iommufd, viommus[0]) == -EBUSY);
    EXPECT(::write(ends[1], "", 1) == 1);
    join(child);
    EXPECT(destroy(iommufd, viommus[0]) == 0 && destroy(iommufd, viommus[1]) == 0);
    EXPECT(map_window(iommufd, first.out_mmap_length, first.out_mmap_offset) == -ENXIO);
}

void reads_events(char**) {
    const int iommufd = open_iommufd();
    const Made made = make_parent(iommufd);
    mock::ViommuSelftest data{};
    uapi::VeventqAlloc queue{.size = sizeof queue,
                             .viommu_id = alloc_viommu(iommufd, made, data),
                             .type = mock::kVeventqSelftest,
                             .veventq_depth = 2};
    EXPECT(call(iommufd, uapi::kVeventqAlloc, &queue) == 0);
    const int events = static_cast<int>(queue.out_veventq_fd);
    char bytes[64];
    for (const std::size_t too_short : {0, 1, 7}) {
        EXPECT(::read(events, bytes, too_short) < 0 && errno == EINVAL);
    }
}

void sets_up_faults() {
    const int settings = ::open("/sys/kernel/debug/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    EXPECT(settings >= 0);
    const int verbose = ::openat(settings, "failslab/verbose", O_WRONLY | O_CLOEXEC);
    EXPECT(verbose >= 0 && ::write(verbose, "0", 1) == 1 && ::close(verbose) == 0);
    EXPECT(::faccessat(settings, "failslab/verbose", W_OK, 0) == 0);
    EXPECT(::openat(settings, "failslab/unheard-of", O_WRONLY | O_CLOEXEC) < 0 && errno == ENOENT);
    EXPECT(::openat(settings, "failslab", O_WRONLY | O_CLOEXEC) < 0 && errno == EISDIR);
    EXPECT(::open("/sys/class/misc/iommu/dev", O_WRONLY | O_CLOEXEC) < 0 && errno == EACCES);
}

void fails_allocations(char**) {
    sets_up_faults();
    const std::string own = "/proc/self/task/" + std::to_string(::getpid()) + "/fail-nth";
    const int nth = ::open(own.c_str(), O_RDWR | O_CLOEXEC);
    EXPECT(nth >= 0);
    const auto set = [&](const std::string& n) { return ::pwrite(nth, n.data(), n.size(), 0); };
    const auto left = [&] {
        char text[300] = {};
        EXPECT(::pread(nth, text, sizeof text, 0) > 1);
        return std::string(text);
    };
    EXPECT(left() == "0\n");
    EXPECT(set("5x") < 0 && errno == EINVAL);
    EXPECT(set("0x10\n") == 5 && left() == "16\n" && set("0") == 1);
    const int iommufd = open_iommufd();
    std::uint32_t failed = 0;
    for (std::uint32_t n = 1;; ++n) {
        EXPECT(set(std::to_string(n)) > 0);
        uapi::IoasAlloc command{.size = sizeof command};
        const int rc = call(iommufd, uapi::kIoasAlloc, &command);
        const bool was_last = left() != "0\n";
        EXPECT(rc == 0 || rc == -ENOMEM);
        failed += rc == -ENOMEM ? 1 : 0;
        EXPECT(set("0") == 1);
        if (!was_last) continue;
        EXPECT(rc == 0);
        break;
    }
    EXPECT(failed >= 2);
    // It is this thread's alone.
    EXPECT(set("1") == 1);
    const pid_t child = ::fork();
    if (child == 0) {
        (void)alloc_ioas(iommufd);
        std::_Exit(0);
    }
    join(child);
    EXPECT(left() == "1\n" && set("0") == 1);
}

}  // namespace

const Named kMock[] = {{"maps_registers", maps_registers},
                       {"reads_events", reads_events},
                       {"fails_allocations", fails_allocations},
                       {nullptr, nullptr}};

}  // namespace client
