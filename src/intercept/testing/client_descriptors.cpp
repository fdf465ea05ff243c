// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// An iommufd through all that happens to descriptors.
#include <signal.h>
#include <sys/socket.h>

#include <initializer_list>

#include "intercept/testing/client.hpp"

namespace client {
namespace {

void maps(char**) {
    const int iommufd = open_iommufd();
    const std::uint32_t ioas = alloc_ioas(iommufd);
    unsigned char* const memory = pages(4);
    EXPECT(map(iommufd, ioas, memory, 4 * kPage, 0x10000) == 0);
    EXPECT(map(iommufd, ioas, memory, kPage, 0x10000) == -EEXIST);
    EXPECT(unmap(iommufd, ioas, 0x10000, 4 * kPage) == 0);
    EXPECT(unmap(iommufd, ioas, 0x10000, kPage) == -ENOENT);
    EXPECT(destroy(iommufd, ioas) == 0);
    EXPECT(destroy(iommufd, ioas) == -ENOENT);
    EXPECT(call(iommufd, uapi::iommufd_request(0xff), nullptr) == -ENOTTY);
    EXPECT(::close(iommufd) == 0);
    EXPECT(call(iommufd, uapi::kIoasAlloc, memory) == -EBADF);
}

void forgets(char**) {
    const int iommufd = open_iommufd();
    const std::uint32_t ioas = alloc_ioas(iommufd);
    EXPECT(map(iommufd, ioas, pages(1), kPage, 0) == 0);
}

// In the program that it has become: descriptor and IOAS.
void use(char** arguments) {
    const int iommufd = std::atoi(arguments[0]);
    EXPECT(unmap(iommufd, static_cast<std::uint32_t>(std::atoi(arguments[1])), 0, kPage) == 0);
}

void miss(char** arguments) {
    uapi::IoasAlloc command{.size = sizeof command};
    EXPECT(call(std::atoi(arguments[0]), uapi::kIoasAlloc, &command) == -EBADF);
}

void become(const char* scenario, int iommufd, std::uint32_t ioas) {
    const pid_t child = ::fork();
    if (child == 0) {
        const std::string number = std::to_string(iommufd);
        const std::string id = std::to_string(ioas);
        (void)::execl("/proc/self/exe", "client", scenario, number.c_str(), id.c_str(), nullptr);
        std::_Exit(1);
    }
    join(child);
}

void inherits(char**) {
    const int iommufd = open_iommufd(0);
    const std::uint32_t ioas = alloc_ioas(iommufd);
    unsigned char* const memory = pages(1);
    EXPECT(map(iommufd, ioas, memory, kPage, 0) == 0);
    const int copy = ::dup(iommufd);
    EXPECT(::close(iommufd) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
        EXPECT(unmap(copy, ioas, 0, kPage) == 0);
        EXPECT(map(copy, ioas, memory, kPage, 0) == 0);
        std::_Exit(0);
    }
    join(child);
    become("use", copy, ioas);
    EXPECT(unmap(copy, ioas, 0, kPage) == -ENOENT);
    const int closing = ::fcntl(copy, F_DUPFD_CLOEXEC, 0);
    EXPECT(::close(copy) == 0);
    become("miss", closing, ioas);
    EXPECT(destroy(closing, ioas) == 0);
}

void travels(char**) {
    int ends[2];
    EXPECT(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    const pid_t child = ::fork();
    char byte = 0;
    iovec piece{.iov_base = &byte, .iov_len = 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    if (child == 0) {
        const int iommufd = open_iommufd();
        EXPECT(alloc_ioas(iommufd) == 1);
        cmsghdr* const header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        std::memcpy(CMSG_DATA(header), &iommufd, sizeof iommufd);
        EXPECT(::sendmsg(ends[0], &message, 0) == 1);
        std::_Exit(0);
    }
    join(child);
    EXPECT(::recvmsg(ends[1], &message, 0) == 1);
    int iommufd = -1;
    std::memcpy(&iommufd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof iommufd);
    EXPECT(destroy(iommufd, 1) == 0);
}

// A device that is let go of is free at once, however that came.
void lets_go(char**) {
    for (int round = 0; round < 50; ++round) {
        const int iommufd = open_iommufd();
        const int device = ::open(kEdu, O_RDWR | O_CLOEXEC);
        EXPECT(bind(device, iommufd) == 0);
        EXPECT(::close(device) == 0 && ::close(iommufd) == 0);
        int ready[2];
        EXPECT(::pipe(ready) == 0);
        const pid_t child = ::fork();
        if (child == 0) {
            EXPECT(bind(::open(kEdu, O_RDWR), open_iommufd()) == 0);
            EXPECT(::write(ready[1], "", 1) == 1);
            for (;;) (void)::pause();
        }
        char byte = 0;
        EXPECT(::read(ready[0], &byte, 1) == 1);
        EXPECT(::kill(child, SIGKILL) == 0);
        EXPECT(::waitpid(child, nullptr, 0) == child);
        EXPECT(::close(ready[0]) == 0 && ::close(ready[1]) == 0);
    }
}

void bad_pointers(char**) {
    const int iommufd = open_iommufd();
    const std::uint32_t ioas = alloc_ioas(iommufd);
    unsigned char* const unwritable = pages(1);
    unsigned char* const memory = pages(2);
    unsigned char* const hole = memory + kPage;
    EXPECT(::munmap(hole, kPage) == 0);
    const uapi::IoasAlloc wanted{.size = sizeof wanted};
    std::memcpy(unwritable, &wanted, sizeof wanted);
    EXPECT(::mprotect(unwritable, kPage, PROT_READ) == 0);
    const auto at = [](std::uint64_t number) { return reinterpret_cast<void*>(number); };
    for (void* const bad :
         {at(0), at(8), at(~0ULL), at(~0ULL - 4095), at(1ULL << 47), at(1ULL << 63), static_cast<void*>(hole),
          static_cast<void*>(hole - 2), static_cast<void*>(unwritable)})
        EXPECT(call(iommufd, uapi::kIoasAlloc, bad) == -EFAULT);
    EXPECT(std::memcmp(unwritable, &wanted, sizeof wanted) == 0);
    // Pointers in structs, too.
    uapi::IoasIovaRanges ranges{
        .size = sizeof ranges, .ioas_id = ioas, .num_iovas = 1, .allowed_iovas = address(hole)};
    EXPECT(call(iommufd, uapi::kIoasIovaRanges, &ranges) == -EFAULT);
    ranges.allowed_iovas = address(unwritable);
    EXPECT(call(iommufd, uapi::kIoasIovaRanges, &ranges) == -EFAULT);
    // Memory that isn't there, or that the program may not write to, is not mapped once a device would reach it.
    const int device = ::open(kEdu, O_RDWR | O_CLOEXEC);
    EXPECT(bind(device, iommufd) == 0 && attach(device, ioas) == 0);
    for (const void* const bad :
         {at(0), at(1ULL << 48 | 4096), at(1ULL << 63), at(~0ULL << 12), static_cast<void*>(hole),
          static_cast<void*>(memory), static_cast<void*>(unwritable)})
        EXPECT(map(iommufd, ioas, bad, 2 * kPage, 0) == -EFAULT || errno == EOVERFLOW);
    EXPECT(unmap(iommufd, ioas, 0, 2 * kPage) == -ENOENT);
    std::uint8_t byte = 0;
    constexpr std::uint64_t kConfig = (uapi::vfio::kPciConfig + 1ULL) << 40;
    EXPECT(::pread(device, &byte, 1, kConfig) == 1);
    EXPECT(::pread(device, hole, 1, kConfig) == -1 && errno == EFAULT);
    EXPECT(::pread(device, unwritable, 1, kConfig) == -1 && errno == EFAULT);
    EXPECT(::pwrite(device, hole, 1, kConfig) == -1 && errno == EFAULT);
    EXPECT(::open(reinterpret_cast<const char*>(hole), O_RDONLY) == -1 && errno == EFAULT);
}

}  // namespace

const Named kDescriptors[] = {{"maps", maps},       {"forgets", forgets},           {"use", use},
                              {"miss", miss},       {"inherits", inherits},         {"travels", travels},
                              {"lets_go", lets_go}, {"bad_pointers", bad_pointers}, {nullptr, nullptr}};

}  // namespace client
