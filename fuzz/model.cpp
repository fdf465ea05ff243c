// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Any calls on the model's descriptors, with any structs, sizes and pointers, and any access to its devices' registers:
// each is answered, and nothing is left when all is closed.
//
// An input is a list of calls: what to do, on which descriptor, how many words of the argument are given, and each of them as
// its place and a code, for the numbers that mean something. (Raw bytes would hardly ever name an object twice.)
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "iommufd/model/machine.hpp"
#include "sys/kernel.hpp"
#include "uapi/commands.hpp"
#include "uapi/iommufd_test.hpp"
#include "uapi/vfio.hpp"
#include "uapi/vhost.hpp"

namespace {

using namespace iommufd;
namespace mock = uapi::mock;

constexpr std::uint64_t kPage = 4096;
constexpr std::size_t kMemory = 64 * kPage;
constexpr std::size_t kWords = 32;

// All that the model may reach of this process. Behind it nothing is mapped.
std::uint64_t memory() {
    static void* const kArea =
        ::mmap(nullptr, 2 * kMemory, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    static const int kCut = ::mprotect(static_cast<char*>(kArea) + kMemory, kMemory, PROT_NONE);
    (void)kCut;
    return reinterpret_cast<std::uint64_t>(kArea);
}

constexpr std::uint64_t kFirstIova = 1U << 24;

// A guest's table for who asks for one, in the second page: of all levels at once, its first entry leads to itself.
void write_table() {
    constexpr std::uint64_t kPresent = 7;  // writable, a user's
    const uapi::HwptVtdS1 table{
        .flags = 0, .pgtbl_addr = kFirstIova + kPage, .addr_width = 48, .reserved = 0};
    std::memcpy(reinterpret_cast<void*>(memory()), &table, sizeof table);
    auto* const entries = reinterpret_cast<std::uint64_t*>(memory() + kPage);
    for (std::uint64_t i = 0; i < kPage / sizeof *entries; ++i)
        entries[i] = (kFirstIova + (i + 1) % 4 * kPage) | kPresent;
}

class Input {
public:
    Input(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}
    bool empty() const { return left_ == 0; }
    std::uint8_t next() {
        if (left_ == 0) return 0;
        --left_;
        return *data_++;
    }

private:
    const std::uint8_t* data_;
    std::size_t left_;
};

// 32 bits of an argument: small numbers, what the ABI knows, edges, or an address.
std::uint32_t word_of(std::uint8_t code, std::uint32_t place) {
    static constexpr std::array<std::uint32_t, 44> kKnown = {mock::kHwptDataSelftest,
                                                             mock::kHwptInvalidateSelftest,
                                                             mock::kVeventqSelftest,
                                                             mock::kHwInfoSelftest,
                                                             mock::kIotlbDefault,
                                                             mock::kDevCacheDefault,
                                                             mock::kPasidReserved,
                                                             kPage,
                                                             2048,
                                                             2 * kPage,
                                                             3 * kPage,
                                                             16 * kPage,
                                                             64 * kPage,
                                                             1U << 20,
                                                             1U << 21,
                                                             1U << 24,
                                                             (1U << 24) + 4096,
                                                             (1U << 24) + 8192,
                                                             1U << 30,
                                                             (1U << 31) - 1,
                                                             1U << 31,
                                                             ~0U,
                                                             ~0U - 4095,
                                                             ~0U - 2047,
                                                             1U << 19,
                                                             (1U << 19) + 1,
                                                             0xfee00000,
                                                             0xfef00000,
                                                             4095,
                                                             4097,
                                                             40,
                                                             48,
                                                             56,
                                                             64,
                                                             72,
                                                             80,
                                                             100,
                                                             128,
                                                             1U << 16,
                                                             1U << 17,
                                                             1U << 18,
                                                             0x10003,
                                                             0x20003,
                                                             0x40000000};
    if (code < 64) return code;
    if (code < 64 + kKnown.size()) return kKnown[code - 64];
    if (code >= 192) {  // half an address: which half, the place says
        const std::uint64_t address = memory() + std::uint64_t{code - 192U} * kPage;
        return static_cast<std::uint32_t>(place % 2 == 0 ? address : address >> 32);
    }
    return 1U << (code % 32);
}

// Where an argument has an address, as the number of its first word, and where the length of what is there; 0: none.
struct Pointer {
    std::size_t address;
    std::size_t length = 0;
};

Pointer pointer_of(uapi::Request request, std::uint32_t op) {
    if (request == mock::kTest) {
        switch (op) {
            case mock::kMdCheckMap:
            case mock::kAccessRw:
                return {8};
            case mock::kMdCheckRefs:
                return {6};
            case mock::kAccessPages:
                return {10};
            case mock::kDirty:
                return {12};
            default:
                return {0};
        }
    }
    switch (request) {
        case uapi::kIoasMap:
            return {.address = 4, .length = 6};
        case uapi::vfio::kIommuMapDma:
            return {.address = 2, .length = 6};
        case uapi::kIoasIovaRanges:
        case uapi::kIoasAllowIovas:
        case uapi::kGetHwInfo:
        case uapi::vfio::kDeviceBindIommufd:
            return {4};
        case uapi::kHwptInvalidate:
            return {2};
        case uapi::kHwptAlloc:
        case uapi::kViommuAlloc:
            return {8};
        case uapi::kHwptGetDirtyBitmap:
            return {10};
        default:
            return {0};
    }
}

constexpr Pointer kOfAnUpdate{.address = 6, .length = 4};  // of a vDPA device's table

// What leads to this program's own memory could change it: it leads to ours instead, or to nothing.
void keep_within_memory(std::uint32_t* words, const Pointer& pointer) {
    constexpr std::uint64_t kLow = 0x10000;
    constexpr std::uint64_t kHigh = std::uint64_t{1} << 47;
    if (pointer.address == 0) return;
    std::uint64_t address = 0;
    std::memcpy(&address, words + pointer.address, sizeof address);
    if (address >= kLow && address < kHigh && (address < memory() || address >= memory() + kMemory))
        address = memory() + address % kMemory;
    std::memcpy(words + pointer.address, &address, sizeof address);
    if (pointer.length == 0) return;
    std::uint64_t length = 0;
    std::memcpy(&length, words + pointer.length, sizeof length);
    const std::uint64_t most = address < kLow    ? kLow - address
                               : address < kHigh ? memory() + 2 * kMemory - address
                                                 : std::uint64_t{0} - address;
    if (length > most && length + address >= length) length = most;
    std::memcpy(words + pointer.length, &length, sizeof length);
}

class Calls {
public:
    explicit Calls(sys::Kernel& kernel) : kernel_(kernel) {
        for (const char* path : {"/dev/iommu", "/dev/vfio/devices/vfio0", "/dev/vhost-vdpa-0", "/dev/iommu"})
            fds_.push_back(kernel_.open(path, O_RDWR | O_CLOEXEC));
        std::uint64_t bind[2] = {16, static_cast<std::uint32_t>(fds_[0])};
        (void)kernel_.ioctl(fds_[1], uapi::vfio::kDeviceBindIommufd, bind);
        (void)kernel_.ioctl(fds_[2], uapi::vhost::kSetOwner, nullptr);
    }
    // Lets the first device go through that table.
    void nest() {
        uapi::IoasAlloc ioas{};
        call(uapi::kIoasAlloc, ioas);
        uapi::IoasMap map{.flags = uapi::kMapFixedIova | uapi::kMapReadable | uapi::kMapWriteable,
                          .ioas_id = ioas.out_ioas_id,
                          .user_va = memory(),
                          .length = kMemory,
                          .iova = kFirstIova};
        call(uapi::kIoasMap, map);
        constexpr std::uint32_t kDevice = 1;  // the first id
        uapi::HwptAlloc parent{.flags = uapi::kHwptNestParent | uapi::kHwptDirtyTracking,
                               .dev_id = kDevice,
                               .pt_id = ioas.out_ioas_id};
        call(uapi::kHwptAlloc, parent);
        uapi::HwptAlloc nested{.dev_id = kDevice,
                               .pt_id = parent.out_hwpt_id,
                               .data_type = uapi::kHwptDataVtdS1,
                               .data_len = sizeof(uapi::HwptVtdS1),
                               .data_uptr = memory()};
        call(uapi::kHwptAlloc, nested);
        uapi::vfio::DeviceAttachIommufdPt attach{.argsz = 12, .pt_id = nested.out_hwpt_id};
        if (kernel_.ioctl(fds_[1], uapi::vfio::kDeviceAttachIommufdPt, &attach) < 0) std::abort();
        constexpr std::uint16_t kBusMaster = 0x106;
        (void)kernel_.pwrite(fds_[1], &kBusMaster, sizeof kBusMaster, (std::uint64_t{7} << 40) + 4);
    }
    ~Calls() {
        for (const int fd : fds_) (void)kernel_.close(fd);
    }
    Calls(const Calls&) = delete;
    Calls& operator=(const Calls&) = delete;

    void make(Input& input) {
        const std::uint8_t what = input.next();
        const std::uint8_t which = input.next();
        alignas(8) std::array<std::uint32_t, kWords> words{};
        bool has_size = false;
        for (unsigned count = input.next() % 16; count > 0 && !input.empty(); --count) {
            const std::uint8_t place = input.next() % kWords;
            words[place] = word_of(input.next(), place);
            has_size = has_size || place == 0;
        }
        const int fd = fds_[which % fds_.size()];
        std::uint64_t offset = 0;
        std::memcpy(&offset, &words[2], sizeof offset);
        const std::size_t length = words[0] % kMemory;
        void* const buffer = reinterpret_cast<void*>(memory() + words[1] % 64 * 8);
        switch (what % 16) {
            case 0:
                (void)kernel_.read(fd, buffer, length);
                return;
            case 1:
                keep_within_memory(words.data(), kOfAnUpdate);
                (void)kernel_.write(fd, words.data(),
                                    which < 128 ? sizeof(uapi::vhost::MsgV2) : words[0] % sizeof words);
                return;
            case 2:  // a region and an offset in it
                (void)kernel_.pread(fd, buffer, length % 16 + 1,
                                    std::uint64_t{which} << 40 | (offset & 0xfffff));
                return;
            case 3:
                if (which >= 128) return dma(offset, words[1], (words[4] & 1) != 0);
                (void)kernel_.pwrite(fd, &words[4], length % 16 + 1,
                                     std::uint64_t{words[1] % 10} << 40 | (offset & 0xfffff));
                return;
            case 4:
                remember(kernel_.dup(fd));
                return;
            case 5:
                close(which);
                return;
            case 6: {
                void* address = nullptr;
                if (kernel_.mmap(&address, words[0] % kMemory, PROT_READ, MAP_SHARED, fd, offset) == 0)
                    (void)kernel_.munmap(address, words[0] % kMemory);
                return;
            }
            default:
                ioctl(what, which, fd, words.data(), has_size);
        }
    }

private:
    // Of edu: between its buffer and an IOVA.
    void dma(std::uint64_t iova, std::uint64_t length, bool to_memory) {
        constexpr std::uint64_t kBuffer = 0x40000;
        const std::uint64_t registers[] = {to_memory ? kBuffer : iova, to_memory ? iova : kBuffer, length,
                                           to_memory ? 3U : 1U};
        for (std::size_t i = 0; i < std::size(registers); ++i)
            (void)kernel_.pwrite(fds_[1], &registers[i], sizeof registers[i], 0x80 + 8 * i);
    }
    template <class T>
    void call(uapi::Request request, T& argument) {
        argument.size = sizeof argument;
        (void)kernel_.ioctl(fds_[0], request, &argument);
    }
    void ioctl(std::uint8_t what, std::uint8_t which, int fd, std::uint32_t* words, bool has_size) {
        using namespace uapi::vfio;
        using namespace uapi::vhost;
        static constexpr std::array kOthers = {
            kGetApiVersion,      kCheckExtension,        kSetIommu,
            kIommuGetInfo,       kIommuMapDma,           kIommuUnmapDma,
            kDeviceGetInfo,      kDeviceGetRegionInfo,   kDeviceGetIrqInfo,
            kDeviceSetIrqs,      kDeviceReset,           kDeviceFeature,
            kDeviceBindIommufd,  kDeviceAttachIommufdPt, kDeviceDetachIommufdPt,
            kVdpaSetStatus,      kVdpaGetConfig,         kVdpaSetConfig,
            kSetFeatures,        kSetVringNum,           kSetVringAddr,
            kSetVringBase,       kGetVringBase,          kVdpaSetVringEnable,
            kSetBackendFeatures, kVdpaSuspend,           kVdpaResume,
            kSetVringKick,       kSetVringCall};
        uapi::Request request = 0;
        if (what % 16 < 11)
            request = uapi::kCommands[which % std::size(uapi::kCommands)].request;
        else if (what % 16 < 14)
            request = mock::kTest;
        else
            request = kOthers[which % kOthers.size()];
        if (request == mock::kTest) words[1] = which % 25;
        const uapi::Command* const command = uapi::find_command(request);
        if (!has_size && what % 16 != 15)
            words[0] = command != nullptr       ? command->size
                       : request == mock::kTest ? sizeof(mock::TestCmd)
                                                : 32;
        keep_within_memory(words, pointer_of(request, words[1]));
        if (std::uint32_t* const number = descriptor_in(request, words); number != nullptr && *number < 64)
            *number = static_cast<std::uint32_t>(fds_[*number % fds_.size()]);
        // The first of each kind does, but for what only another takes.
        const bool vfio = what % 16 == 14;
        const int on = what % 16 == 15 ? fds_[2] : vfio ? fds_[1] : fds_[0];
        const int rc = kernel_.ioctl(what < 128 ? on : fd, request, words);
        if (rc < 0) return;
        if (request == mock::kTest && words[1] == mock::kCreateAccess) remember(static_cast<int>(words[4]));
        if (request == mock::kTest && words[1] == mock::kDmabufGet) remember(rc);
        if (request == uapi::kFaultQueueAlloc) remember(static_cast<int>(words[3]));
        if (request == uapi::kVeventqAlloc) remember(static_cast<int>(words[6]));
    }
    // The word that names a descriptor: of those that the program was given, since the model's own are in this process, too,
    // and one of them would count as a leak once it is named.
    static std::uint32_t* descriptor_in(uapi::Request request, std::uint32_t* words) {
        if (request == uapi::kIoasMapFile) return words + 3;
        if (request == uapi::vfio::kDeviceBindIommufd) return words + 2;
        if (request != mock::kTest) return nullptr;
        switch (words[1]) {
            case mock::kDestroyAccessPages:
            case mock::kAccessPages:
            case mock::kAccessRw:
            case mock::kAccessReplaceIoas:
                return words + 2;
            case mock::kDmabufRevoke:
                return words + 4;
            default:
                return nullptr;
        }
    }
    void remember(int fd) {
        if (fd >= 0) fds_.push_back(fd);
    }
    // The first four stay, so that there is something to work with.
    void close(std::uint8_t which) {
        if (fds_.size() <= 4) return;
        const std::size_t index = 4 + which % (fds_.size() - 4);
        (void)kernel_.close(fds_[index]);
        fds_.erase(fds_.begin() + static_cast<std::ptrdiff_t>(index));
    }

    sys::Kernel& kernel_;
    std::vector<int> fds_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static model::Machine machine = [] {
        model::Description description = model::everything();
        description.mock = true;
        description.nesting = description.dirty_tracking = true;
        description.devices[0].page_requests = true;
        return model::Machine(description);
    }();
    {
        write_table();
        Calls calls(machine.kernel());
        Input input(data, size);
        if (input.next() % 2 == 1) calls.nest();
        while (!input.empty()) calls.make(input);
    }
    if (machine.leaks().any()) {
        std::fprintf(stderr, "left: %s\n", machine.leaks().text().c_str());
        std::abort();
    }
    return 0;
}
