// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What a call costs that `iommufd model` answers, beside one that stops for the least supervisor there can be: which takes
// it and answers 0. They take turns; of each the fastest batch counts, which nothing else on the machine has delayed, and the median.
//
//     supervise ROUNDS       prints JSON: microseconds
//     supervise do WHAT FD   is the supervised program: writes its figures to FD
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "intercept/child.hpp"
#include "intercept/last_closes.hpp"
#include "intercept/process_memory.hpp"
#include "intercept/session.hpp"
#include "uapi/iommufd.hpp"
#include "uapi/vfio.hpp"

namespace iommufd::bench {
namespace {

constexpr int kBatches = 40;
constexpr int kCalls = 50;  // of a batch
constexpr std::uint64_t kPage = 4096;

[[noreturn]] void fail(const char* what) {
    std::fprintf(stderr, "supervise: %s\n", what);
    std::exit(1);
}

// For each batch a line: the name, and microseconds a call.
void measure(int output, const char* name, const std::function<void()>& once) {
    for (int batch = 0; batch < kBatches; ++batch) {
        const auto start = std::chrono::steady_clock::now();
        for (int i = 0; i < kCalls; ++i) once();
        const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - start;
        (void)::dprintf(output, "%s %.3f\n", name, took.count() / kCalls);
    }
}

void call(int fd, uapi::Request request, void* argument) {
    if (::ioctl(fd, request, argument) < 0) fail("a call failed");
}

std::uint64_t offset_of_registers(int device) {
    uapi::vfio::RegionInfo info{.argsz = sizeof info, .index = uapi::vfio::kPciBar0};
    call(device, uapi::vfio::kDeviceGetRegionInfo, &info);
    return info.offset;
}

// On the model.
void be_a_client(int output) {
    const int iommufd = ::open("/dev/iommu", O_RDWR | O_CLOEXEC);
    const int device = ::open("/dev/vfio/devices/vfio0", O_RDWR | O_CLOEXEC);
    uapi::vfio::DeviceBindIommufd bind{.argsz = offsetof(uapi::vfio::DeviceBindIommufd, token_uuid_ptr),
                                       .iommufd = iommufd};
    call(device, uapi::vfio::kDeviceBindIommufd, &bind);
    uapi::IoasAlloc ioas{.size = sizeof ioas};
    call(iommufd, uapi::kIoasAlloc, &ioas);
    uapi::vfio::DeviceAttachIommufdPt attach{.argsz = offsetof(uapi::vfio::DeviceAttachIommufdPt, pasid),
                                             .pt_id = ioas.out_ioas_id};
    call(device, uapi::vfio::kDeviceAttachIommufdPt, &attach);
    void* const memory = ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    std::memset(memory, 1, kPage);
    const std::uint64_t registers = offset_of_registers(device);

    measure(output, "option", [&] {
        uapi::Option option{
            .size = sizeof option, .option_id = uapi::kOptionRlimitMode, .op = uapi::kOptionGet};
        call(iommufd, uapi::kOption, &option);
    });
    // A page at each IOVA, and none again.
    std::uint64_t iova = 0;
    measure(output, "map", [&] {
        uapi::IoasMap map{.size = sizeof map,
                          .flags = uapi::kMapFixedIova | uapi::kMapReadable | uapi::kMapWriteable,
                          .ioas_id = ioas.out_ioas_id,
                          .user_va = reinterpret_cast<std::uint64_t>(memory),
                          .length = kPage,
                          .iova = iova += kPage};
        call(iommufd, uapi::kIoasMap, &map);
    });
    measure(output, "unmap", [&] {
        uapi::IoasUnmap unmap{
            .size = sizeof unmap, .ioas_id = ioas.out_ioas_id, .iova = iova, .length = kPage};
        iova -= kPage;
        call(iommufd, uapi::kIoasUnmap, &unmap);
    });
    measure(output, "register_read", [&] {
        std::uint32_t value = 0;
        if (::pread(device, &value, sizeof value, static_cast<off_t>(registers)) != sizeof value)
            fail("no register");
    });
    measure(output, "not_the_models", [] { (void)::access("/dev/null", F_OK); });
}

// A device's blocks of the memory of a program, private and of a memfd that it made, beside memcpy of as much.
void move_memory(int output) {
    constexpr std::size_t kLargest = 64 << 10;
    intercept::LastCloses made;
    const sys::Fd file(sys::host_kernel(), made.open_for_programs(::memfd_create("shared", MFD_CLOEXEC)));
    if (!file || ::ftruncate(file.number(), kLargest) < 0) fail("no memory");
    const auto map = [](int flags, int fd) {
        void* const memory = ::mmap(nullptr, kLargest, PROT_READ | PROT_WRITE, flags, fd, 0);
        if (memory == MAP_FAILED) fail("no memory");
        std::memset(memory, 1, kLargest);
        return static_cast<std::byte*>(memory);
    };
    std::byte* const own = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
    const std::pair<const char*, std::byte*> kinds[] = {{"private", map(MAP_PRIVATE | MAP_ANONYMOUS, -1)},
                                                        {"shared", map(MAP_SHARED, file.number())}};
    int ends[2] = {-1, -1};
    if (::pipe2(ends, O_CLOEXEC) < 0) fail("no pipe");
    const pid_t child = ::fork();
    if (child == 0) {
        (void)::close(ends[1]);
        (void)!::read(ends[0], own, 1);
        std::_Exit(0);
    }
    intercept::ProcessMemories memories(made);
    std::shared_ptr<intercept::ProcessMemory> memory;
    if (memories.of(child, memory) < 0) fail("the child can't be looked at");
    for (const std::size_t block : {std::size_t{4096}, kLargest}) {
        const std::string size = std::to_string(block);
        measure(output, ("memcpy_" + size).c_str(), [&] {
            std::memcpy(own, kinds[0].second, block);
            asm volatile("" ::: "memory");
        });
        for (const auto& [kind, there] : kinds) {
            const auto at = reinterpret_cast<std::uint64_t>(there);
            if (memory->populate(at, kLargest, true) < 0) fail("the child's memory isn't there");
            measure(output, (std::string(kind) + "_read_" + size).c_str(),
                    [&] { (void)memory->read(own, at, block); });
            measure(output, (std::string(kind) + "_write_" + size).c_str(),
                    [&] { (void)memory->write(at, own, block); });
        }
    }
    (void)::close(ends[1]);
    (void)::waitpid(child, nullptr, 0);
}

// Stops for each getppid().
std::vector<sock_filter> bare_filter() {
    return {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
}

void be_bare(int output) {
    measure(output, "bare", [] { (void)::syscall(SYS_getppid); });
}

void supervise_barely(const std::vector<std::string>& words) {
    const auto child = intercept::start(words, bare_filter());
    if (!child) fail(child.error().line().c_str());
    for (;;) {
        seccomp_notif call{};
        if (::ioctl(child->listener.number(), SECCOMP_IOCTL_NOTIF_RECV, &call) < 0) break;
        seccomp_notif_resp answer{.id = call.id, .val = 0, .error = 0, .flags = 0};
        (void)::ioctl(child->listener.number(), SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
    (void)::waitpid(child->process, nullptr, 0);
}

std::map<std::string, std::vector<double>> read_figures(int input) {
    std::map<std::string, std::vector<double>> figures;
    FILE* const file = ::fdopen(input, "r");
    char name[64];
    double took = 0;
    while (std::fscanf(file, "%63s %lf", name, &took) == 2) figures[name].push_back(took);
    (void)std::fclose(file);
    return figures;
}

void run(int rounds, const char* self) {
    const int file = ::memfd_create("figures", 0);
    const std::string number = std::to_string(file);
    for (int round = 0; round < rounds; ++round) {
        supervise_barely({self, "do", "bare", number});
        const auto outcome = intercept::run(model::everything(), {self, "do", "client", number});
        if (!outcome || outcome->status != 0) fail("the client failed");
        move_memory(file);
    }
    (void)::lseek(file, 0, SEEK_SET);
    const char* separator = "{";
    for (auto& [name, all] : read_figures(file)) {
        std::ranges::sort(all);
        std::printf("%s\"%s\": {\"fastest\": %.3f, \"median\": %.3f}", separator, name.c_str(), all.front(),
                    all[all.size() / 2]);
        separator = ", ";
    }
    std::printf("}\n");
}

}  // namespace
}  // namespace iommufd::bench

int main(int argc, char** argv) {
    using namespace iommufd::bench;
    if (argc == 4 && std::strcmp(argv[1], "do") == 0)
        std::strcmp(argv[2], "bare") == 0 ? be_bare(std::atoi(argv[3])) : be_a_client(std::atoi(argv[3]));
    else
        run(argc > 1 ? std::atoi(argv[1]) : 5, "/proc/self/exe");
    return 0;
}
