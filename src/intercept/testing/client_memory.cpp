// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Memory that is pinned: for whom it counts, and what becomes of it when who mapped it has ended.
#include <linux/capability.h>
#include <pthread.h>
#include <sys/syscall.h>

#include <fstream>
#include <functional>
#include <thread>

#include "intercept/testing/edu.hpp"

namespace client {
namespace {

// In KiB, as /proc/PID/status has it.
long status_of(const std::string& process, const std::string& name) {
    std::ifstream status("/proc/" + process + "/status");
    for (std::string line; std::getline(status, line);)
        if (line.starts_with(name + ":")) return std::strtol(line.c_str() + name.size() + 1, nullptr, 10);
    return -1;
}

// As root in a user's place: what it pins counts against a limit then.
void give_up_locking() {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
    EXPECT(::syscall(SYS_capget, &header, data) == 0);
    data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective &= ~CAP_TO_MASK(CAP_IPC_LOCK);
    EXPECT(::syscall(SYS_capset, &header, data) == 0);
}

void count_per_process(int iommufd) {
    uapi::Option mode{.size = sizeof mode,
                      .option_id = uapi::kOptionRlimitMode,
                      .op = uapi::kOptionSet,
                      .reserved = 0,
                      .object_id = 0,
                      .val64 = 1};
    EXPECT(call(iommufd, uapi::kOption, &mode) == 0);
}

void pins(char**) {
    give_up_locking();
    const int iommufd = open_iommufd();
    count_per_process(iommufd);
    const Edu edu(iommufd);
    const std::uint32_t ioas = alloc_ioas(iommufd);
    EXPECT(attach(edu.number(), ioas) > -1);
    const std::string own = std::to_string(::getpid());
    const long pinned_before = status_of("self", "VmPin");
    const long locked_before = status_of("self", "VmLck");
    EXPECT(map(iommufd, ioas, pages(3), 3 * kPage, 0) == 0);
    EXPECT(::execl("/there is no such program", "none", nullptr) == -1);
    for (const std::string& name : {std::string("self"), std::string("thread-self"), own,
                                    std::string(own).append("/task/").append(own)}) {
        EXPECT(status_of(name, "VmPin") == pinned_before + 12);
        EXPECT(status_of(name, "VmLck") == locked_before + 12);
        EXPECT(status_of(name, "Pid") == ::getpid());
    }
    EXPECT(status_of("1", "VmPin") != pinned_before + 12);
    EXPECT(unmap(iommufd, ioas, 0, 3 * kPage) == 0);
    EXPECT(status_of("self", "VmPin") == pinned_before);
    EXPECT(status_of("self", "VmLck") == locked_before);
    EXPECT(::close(edu.number()) == 0);
    EXPECT(destroy(iommufd, ioas) == 0);
}

void hands_over(char**) {
    give_up_locking();
    const int iommufd = open_iommufd();
    const Edu edu(iommufd);
    const std::uint32_t ioas = alloc_ioas(iommufd);
    EXPECT(attach(edu.number(), ioas) > -1);
    const int file = ::memfd_create("guest", MFD_CLOEXEC);
    EXPECT(::ftruncate(file, 2 * kPage) == 0);
    uapi::IoasMapFile command{.size = sizeof command,
                              .flags = uapi::kMapFixedIova | uapi::kMapReadable,
                              .ioas_id = ioas,
                              .fd = file,
                              .start = 0,
                              .length = 2 * kPage};
    EXPECT(call(iommufd, uapi::kIoasMapFile, &command) == 0);
    // Something that stays the parent's, though not pinned.
    const int other = open_iommufd();
    EXPECT(map(other, alloc_ioas(other), pages(1), kPage, 0) == 0);
    const std::string parent = std::to_string(::getpid());
    EXPECT(status_of(parent, "VmPin") == 8);
    const pid_t child = ::fork();
    if (child == 0) {
        EXPECT(status_of(parent, "VmPin") == 8 && status_of("self", "VmPin") == 0);
        uapi::IoasChangeProcess change{.size = sizeof change};
        EXPECT(call(iommufd, uapi::kIoasChangeProcess, &change) == 0);
        EXPECT(status_of(parent, "VmPin") == 0 && status_of("self", "VmPin") == 8);
        std::_Exit(0);
    }
    join(child);
    EXPECT(status_of(parent, "VmPin") == 0);
    // Back from one that has ended.
    uapi::IoasChangeProcess change{.size = sizeof change};
    EXPECT(call(iommufd, uapi::kIoasChangeProcess, &change) == 0);
    EXPECT(status_of(parent, "VmPin") == 8);
    EXPECT(unmap(iommufd, ioas, 0, 2 * kPage) == 0);
    EXPECT(status_of(parent, "VmPin") == 0);
    EXPECT(unmap(other, 1, 0, kPage) == 0 && destroy(other, 1) == 0);
    EXPECT(::close(edu.number()) == 0);
    EXPECT(destroy(iommufd, ioas) == 0);
}

// A child maps the memory, and ends: whether a device reaches it then.
void map_in_a_child(unsigned char* shared, bool held) {
    const int iommufd = open_iommufd();
    const Edu edu(iommufd);
    const std::uint32_t ioas = alloc_ioas(iommufd);
    EXPECT(attach(edu.number(), ioas) > -1);
    std::memset(shared, 0x11, 4 * kPage);
    std::memset(shared + 2 * kPage, 0x22, kPage);
    const pid_t child = ::fork();
    if (child == 0) {
        EXPECT(map(iommufd, ioas, shared + kPage, 3 * kPage, 0) == 0);
        std::_Exit(0);
    }
    join(child);
    edu.dma(kPage, kPage, false);
    edu.dma(0, kPage, true);
    EXPECT(shared[kPage] == (held ? 0x22 : 0x11) && shared[2 * kPage - 1] == shared[kPage]);
    EXPECT(shared[0] == 0x11 && shared[2 * kPage] == 0x22);
    EXPECT(unmap(iommufd, ioas, 0, 3 * kPage) == 0);
    EXPECT(::close(edu.number()) == 0);
    EXPECT(destroy(iommufd, ioas) == 0);
}

// Shared memory stays where it is while it is mapped, where the supervisor may hold it; else DMA to it is blocked.
void outlives(char** arguments) {
    map_in_a_child(pages(4, MAP_SHARED), std::strcmp(arguments[0], "held") == 0);
}

// A memfd, which the supervisor may always hold, and which is as the kernel makes it.
void outlives_in_a_file(char**) {
    const int file = ::memfd_create("gu est", MFD_ALLOW_SEALING);
    EXPECT(file >= 0);
    constexpr int kLargeFile = 0100000;
    EXPECT((::fcntl(file, F_GETFL) | kLargeFile) == (O_RDWR | kLargeFile) && ::fcntl(file, F_GETFD) == 0);
    char name[64] = {};
    EXPECT(::readlink(("/proc/self/fd/" + std::to_string(file)).c_str(), name, sizeof name - 1) > 0);
    EXPECT(std::strcmp(name, "/memfd:gu est (deleted)") == 0);
    EXPECT(::ftruncate(file, 4 * kPage) == 0 && ::fcntl(file, F_ADD_SEALS, F_SEAL_GROW) == 0);
    EXPECT(::fcntl(file, F_GET_SEALS) == F_SEAL_GROW && ::ftruncate(file, 5 * kPage) < 0);
    void* const shared = ::mmap(nullptr, 4 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    EXPECT(shared != MAP_FAILED);
    map_in_a_child(static_cast<unsigned char*>(shared), true);

    const int unsealable = ::memfd_create("", MFD_CLOEXEC);
    EXPECT(::fcntl(unsealable, F_GETFD) == FD_CLOEXEC && ::fcntl(unsealable, F_GET_SEALS) == F_SEAL_SEAL);
    const std::string too_long(250, 'n');
    EXPECT(::memfd_create(too_long.c_str(), 0) < 0 && errno == EINVAL);
    EXPECT(::memfd_create(too_long.c_str() + 1, 0) >= 0);
    EXPECT(::memfd_create("unknown", 0x40000000) < 0 && errno == EINVAL);
    EXPECT(::memfd_create(nullptr, 0) < 0 && errno == EFAULT);
}

// A page is copied to the next by the device.
void move_a_page(const Edu& edu, int iommufd, std::uint32_t ioas, std::uint64_t iova) {
    unsigned char* const memory = pages(2);
    std::memset(memory, 0x5a, kPage);
    EXPECT(map(iommufd, ioas, memory, 2 * kPage, iova) == 0);
    edu.dma(iova, kPage, false);
    edu.dma(iova + kPage, kPage, true);
    EXPECT(std::memcmp(memory, memory + kPage, kPage) == 0);
}

// `become`: another program, that words name, with the same device and IOAS.
void map_before(const char* other,
                const std::function<void(int iommufd, std::uint32_t ioas, char* const* words)>& become) {
    const int iommufd = open_iommufd(0);
    const Edu edu(iommufd);
    EXPECT(::fcntl(edu.number(), F_SETFD, 0) == 0);
    const std::uint32_t ioas = alloc_ioas(iommufd);
    EXPECT(attach(edu.number(), ioas) > -1);
    move_a_page(edu, iommufd, ioas, 0);
    EXPECT(::execl("/there is no such program", "none", nullptr) == -1);
    move_a_page(edu, iommufd, ioas, 2 * kPage);
    std::string words[] = {"client", other, std::to_string(iommufd), std::to_string(edu.number()),
                           std::to_string(ioas)};
    char* const pointers[] = {words[0].data(), words[1].data(), words[2].data(),
                              words[3].data(), words[4].data(), nullptr};
    become(iommufd, ioas, pointers);
    EXPECT(::close(edu.number()) == 0);
    EXPECT(destroy(iommufd, ioas) == 0);
}

void becomes_another(char**) {
    map_before("is_another", [](int, std::uint32_t, char* const* words) {
        (void)::execv("/proc/self/exe", words);
        std::_Exit(1);
    });
}

// A child that has mapped its parent's memory, since it was its own as well.
void lends_its_memory(char**) {
    map_before("is_a_child", [](int iommufd, std::uint32_t ioas, char* const* words) {
        unsigned char* const memory = pages(1);
        // NOLINTBEGIN(*vfork,*Vfork,bugprone-unsafe-functions): what a child may do that shares its parent's memory
        const pid_t child = ::vfork();
        if (child == 0) {
            if (map(iommufd, ioas, memory, kPage, 6 * kPage) == 0 &&
                unmap(iommufd, ioas, 6 * kPage, kPage) == 0)
                (void)::execv("/proc/self/exe", words);
            ::_exit(1);
        }
        // NOLINTEND(*vfork,*Vfork,bugprone-unsafe-functions)
        join(child);
    });
}

// The first thread ends; another one goes on.
void outlives_its_first_thread(char**) {
    static std::thread other([first = ::pthread_self()] {
        EXPECT(::pthread_join(first, nullptr) == 0);
        const int iommufd = open_iommufd();
        const Edu edu(iommufd);
        const std::uint32_t ioas = alloc_ioas(iommufd);
        EXPECT(attach(edu.number(), ioas) > -1);
        move_a_page(edu, iommufd, ioas, 0);
        EXPECT(unmap(iommufd, ioas, 0, 2 * kPage) == 0);
        EXPECT(::close(edu.number()) == 0);
        EXPECT(destroy(iommufd, ioas) == 0);
        std::_Exit(0);
    });
    ::pthread_exit(nullptr);
}

void is_a_child(char** arguments) {
    const int iommufd = std::atoi(arguments[0]);
    const Edu edu = Edu::inherited(std::atoi(arguments[1]));
    const auto ioas = static_cast<std::uint32_t>(std::atoi(arguments[2]));
    move_a_page(edu, iommufd, ioas, 4 * kPage);
    edu.dma(0, kPage, true);  // into the memory of who was there before
    for (const std::uint64_t iova : {0, 2, 4}) EXPECT(unmap(iommufd, ioas, iova * kPage, 2 * kPage) == 0);
}

void is_another(char** arguments) {
    is_a_child(arguments);
    EXPECT(::close(std::atoi(arguments[1])) == 0);
    EXPECT(destroy(std::atoi(arguments[0]), static_cast<std::uint32_t>(std::atoi(arguments[2]))) == 0);
}

}  // namespace

const Named kMemory[] = {{"pins", pins},
                         {"hands_over", hands_over},
                         {"outlives", outlives},
                         {"outlives_in_a_file", outlives_in_a_file},
                         {"becomes_another", becomes_another},
                         {"lends_its_memory", lends_its_memory},
                         {"outlives_its_first_thread", outlives_its_first_thread},
                         {"is_a_child", is_a_child},
                         {"is_another", is_another},
                         {nullptr, nullptr}};

}  // namespace client
