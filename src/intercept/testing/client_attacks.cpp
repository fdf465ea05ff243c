// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A program that means harm: it changes under a call what the call is about, names what isn't its own, and is killed.
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

#include <atomic>
#include <thread>
#include <vector>

#include "intercept/testing/client.hpp"

namespace client {
namespace {

class Meddler {
public:
    template <class Change>
    explicit Meddler(Change change)
        : thread_([this, change] {
              for (std::uint32_t round = 0; !done_; ++round) change(round);
          }) {}
    ~Meddler() {
        done_ = true;
        thread_.join();
    }

private:
    std::atomic<bool> done_ = false;
    std::thread thread_;
};

// Whoever attacks still gets what an honest program gets.
void is_served() {
    const int iommufd = open_iommufd();
    const std::uint32_t ioas = alloc_ioas(iommufd);
    EXPECT(map(iommufd, ioas, pages(1), kPage, 0) == 0);
    EXPECT(unmap(iommufd, ioas, 0, kPage) == 0);
    EXPECT(destroy(iommufd, ioas) == 0);
    EXPECT(::close(iommufd) == 0);
}

void changes_memory(char**) {
    const int iommufd = open_iommufd();
    const std::uint32_t ioas = alloc_ioas(iommufd);
    unsigned char* const memory = pages(16);
    static uapi::IoasMap command;
    static volatile auto* const shown = &command;
    {
        const Meddler meddler([&](std::uint32_t round) {
            constexpr std::uint32_t sizes[] = {sizeof command, 0, 8, 4096, ~0U, sizeof command + 8};
            shown->size = sizes[round % 6];
            shown->user_va = round % 5 == 0 ? address(memory) : std::uint64_t{round} << (round % 64);
            shown->length = round % 3 == 0 ? kPage : std::uint64_t{round} << (round % 50);
            shown->flags = round % 8;
            shown->ioas_id = round % 2 == 0 ? ioas : round;
        });
        for (int i = 0; i < 3000; ++i) (void)call(iommufd, uapi::kIoasMap, &command);
    }
    uapi::IoasUnmap all{.size = sizeof all, .ioas_id = ioas, .iova = 0, .length = ~std::uint64_t{0}};
    EXPECT(call(iommufd, uapi::kIoasUnmap, &all) == 0);
    EXPECT(destroy(iommufd, ioas) == 0);
    // A path and a page that come and go.
    unsigned char* const page = pages(1);
    char* const path = reinterpret_cast<char*>(page);
    {
        const Meddler meddler([&](std::uint32_t round) {
            if (round % 16 == 0) (void)::mprotect(page, kPage, PROT_NONE);
            (void)::mprotect(page, kPage, PROT_READ | PROT_WRITE);
            std::strcpy(path, round % 2 == 0 ? "/dev/iommu" : "/dev/null");
        });
        for (int i = 0; i < 3000; ++i) {
            const int fd = ::open(path, O_RDWR | O_CLOEXEC);
            if (fd >= 0) EXPECT(::close(fd) == 0);
        }
    }
    is_served();
}

void changes_descriptors(char**) {
    const int place = ::eventfd(0, EFD_CLOEXEC);
    const int event = ::eventfd(0, EFD_CLOEXEC);
    const int iommufds[] = {open_iommufd(), open_iommufd()};
    const int device = ::open(kEdu, O_RDWR | O_CLOEXEC);
    EXPECT(bind(device, iommufds[0]) == 0);
    {
        const Meddler meddler([&](std::uint32_t round) {
            switch (round % 5) {
                case 0:
                    (void)::dup3(iommufds[0], place, O_CLOEXEC);
                    break;
                case 1:
                    (void)::dup3(event, place, O_CLOEXEC);
                    break;
                case 2:
                    (void)::dup3(device, place, O_CLOEXEC);
                    break;
                case 3:
                    (void)::dup3(iommufds[1], place, O_CLOEXEC);
                    break;
                default:
                    (void)::close(place);
            }
        });
        for (int i = 0; i < 2000; ++i) {
            uapi::IoasAlloc command{.size = sizeof command};
            (void)call(place, uapi::kIoasAlloc, &command);
            (void)bind(place, place);
            (void)bind(device, place);
            struct {
                uapi::vfio::IrqSet header;
                std::int32_t fd;
            } irq{{.argsz = 24, .flags = 36, .index = uapi::vfio::kPciMsi, .start = 0, .count = 1}, place};
            (void)call(device, uapi::vfio::kDeviceSetIrqs, &irq);
            uapi::IoasMapFile file{
                .size = sizeof file, .flags = 6, .ioas_id = 1, .fd = place, .start = 0, .length = kPage};
            (void)call(iommufds[0], uapi::kIoasMapFile, &file);
            void* const shown = ::mmap(nullptr, 2 * kPage, PROT_READ, MAP_SHARED, place, kPage);
            if (shown != MAP_FAILED) EXPECT(::munmap(shown, 2 * kPage) == 0);
        }
    }
    (void)::close(place);
    EXPECT(::close(device) == 0 && ::close(iommufds[0]) == 0 && ::close(iommufds[1]) == 0);
    is_served();
}

// The supervisor has many descriptors and much memory; none can be named.
void names_what_is_not_its_own(char**) {
    const int iommufd = open_iommufd();
    const std::uint32_t ioas = alloc_ioas(iommufd);
    const int device = ::open(kEdu, O_RDWR | O_CLOEXEC);
    EXPECT(bind(device, iommufd) == 0 && attach(device, ioas) == 0);
    for (int number = 0; number < 64; ++number) {
        if (::fcntl(number, F_GETFD) >= 0) continue;  // its own
        uapi::IoasMapFile file{
            .size = sizeof file, .flags = 6, .ioas_id = ioas, .fd = number, .start = 0, .length = kPage};
        EXPECT(call(iommufd, uapi::kIoasMapFile, &file) == -EBADF);
        struct {
            uapi::vfio::IrqSet header;
            std::int32_t fd;
        } irq{{.argsz = 24, .flags = 36, .index = uapi::vfio::kPciMsi, .start = 0, .count = 1}, number};
        EXPECT(call(device, uapi::vfio::kDeviceSetIrqs, &irq) == -EBADF);
        EXPECT(bind(number, iommufd) == -EBADF);
    }
    // Addresses that have bits beyond a program's own.
    for (std::uint64_t space = 1; space < 64; ++space) {
        const auto* const there = reinterpret_cast<void*>(space << 48 | 0x400000);
        EXPECT(map(iommufd, ioas, there, kPage, 0) == -EFAULT);
    }
    EXPECT(::close(device) == 0);
    EXPECT(destroy(iommufd, ioas) == 0);
}

// What it has mapped isn't there any more once it has become another program.
void becomes_another(char**) {
    const int iommufd = open_iommufd(0);
    const int device = ::open(kEdu, O_RDWR);
    EXPECT(bind(device, iommufd) == 0);
    const std::uint32_t ioas = alloc_ioas(iommufd);
    EXPECT(attach(device, ioas) > -1);
    unsigned char* const memory = pages(1);
    EXPECT(map(iommufd, ioas, memory, kPage, 0) == 0);
    const std::string number = std::to_string(device);
    const std::string place = std::to_string(address(memory));
    (void)::execl("/proc/self/exe", "client", "is_another", number.c_str(), place.c_str(), nullptr);
    EXPECT(false);
}

void is_another(char** arguments) {
    const int device = std::atoi(arguments[0]);
    auto* const place = reinterpret_cast<void*>(std::strtoull(arguments[1], nullptr, 10));
    void* const memory =
        ::mmap(place, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    EXPECT(memory == place);
    std::memset(memory, 0x77, kPage);
    uapi::vfio::RegionInfo bar{.argsz = sizeof bar, .index = uapi::vfio::kPciBar0};
    uapi::vfio::RegionInfo config{.argsz = sizeof config, .index = uapi::vfio::kPciConfig};
    EXPECT(call(device, uapi::vfio::kDeviceGetRegionInfo, &bar) == 0);
    EXPECT(call(device, uapi::vfio::kDeviceGetRegionInfo, &config) == 0);
    const std::uint16_t memory_and_bus_master = 6;
    EXPECT(::pwrite(device, &memory_and_bus_master, 2, static_cast<off_t>(config.offset + 4)) == 2);
    const auto put = [&](std::uint64_t offset, std::uint64_t value) {
        EXPECT(::pwrite(device, &value, 8, static_cast<off_t>(bar.offset + offset)) == 8);
    };
    put(0x80, 0x40000);
    put(0x88, 0);
    put(0x90, kPage);
    put(0x98, 3);
    for (std::uint64_t i = 0; i < kPage; ++i) EXPECT(static_cast<unsigned char*>(memory)[i] == 0x77);
}

[[noreturn]] void busy(unsigned seed) {
    std::srand(seed);
    unsigned char* const memory = pages(64);
    for (;;) {
        const int iommufd = open_iommufd();
        const int device = ::open(kEdu, O_RDWR | O_CLOEXEC);
        (void)bind(device, iommufd);
        uapi::IoasAlloc command{.size = sizeof command};
        (void)call(iommufd, uapi::kIoasAlloc, &command);
        (void)attach(device, command.out_ioas_id);
        for (int i = 0; i < std::rand() % 8; ++i)
            (void)map(iommufd, command.out_ioas_id, memory,
                      kPage * (1 + static_cast<unsigned>(std::rand()) % 64),
                      kPage * (static_cast<unsigned>(std::rand()) % 64));
        std::uint32_t value = 0;
        (void)::pread(device, &value, sizeof value, 1LL << 40);
        (void)::access("/sys/bus/pci/devices/0000:00:10.0", F_OK);
        (void)::close(iommufd);
        (void)::close(device);
    }
}

void is_killed(char** arguments) {
    const int times = arguments[0] != nullptr ? std::atoi(arguments[0]) : 200;
    for (int round = 0; round < times; ++round) {
        const pid_t child = ::fork();
        if (child == 0) busy(static_cast<unsigned>(round));
        const timespec while_it_works{.tv_sec = 0, .tv_nsec = static_cast<long>(std::rand()) % 6'000'000};
        (void)::nanosleep(&while_it_works, nullptr);
        EXPECT(::kill(child, SIGKILL) == 0);
        EXPECT(::waitpid(child, nullptr, 0) == child);
        // All that it had is gone at once.
        const int iommufd = open_iommufd();
        const int device = ::open(kEdu, O_RDWR | O_CLOEXEC);
        EXPECT(bind(device, iommufd) == 0);
        EXPECT(::close(device) == 0 && ::close(iommufd) == 0);
    }
    is_served();
}

// Its paths and its descriptors are the machine's own then, and nobody hangs.
void hides(char**) {
    EXPECT(::prctl(PR_SET_DUMPABLE, 0) == 0);
    const int fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    EXPECT(fd >= 0 && ::close(fd) == 0);
    uapi::IoasAlloc command{.size = sizeof command};
    EXPECT(call(0, uapi::kIoasAlloc, &command) < 0);
    EXPECT(::prctl(PR_SET_DUMPABLE, 1) == 0);
    is_served();
}

void comes_in_crowds(char**) {
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i)
        threads.emplace_back([] {
            for (int round = 0; round < 30; ++round) is_served();
        });
    for (std::thread& thread : threads) thread.join();
}

}  // namespace

const Named kAttacks[] = {{"changes_memory", changes_memory},
                          {"changes_descriptors", changes_descriptors},
                          {"names_what_is_not_its_own", names_what_is_not_its_own},
                          {"becomes_another", becomes_another},
                          {"is_another", is_another},
                          {"is_killed", is_killed},
                          {"hides", hides},
                          {"comes_in_crowds", comes_in_crowds},
                          {nullptr, nullptr}};

}  // namespace client
