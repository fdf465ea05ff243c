// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// For the tests of the model: a machine, and its ioctls with the sizes filled in.
#pragma once

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "iommufd/model/machine.hpp"
#include "sys/kernel.hpp"
#include "uapi/iommufd.hpp"
#include "uapi/vfio.hpp"

namespace iommufd::inline v0_1::model::testing {

constexpr std::uint64_t kPage = 4096;

// Anonymous memory, shared unless said otherwise.
class Memory {
public:
    explicit Memory(std::size_t size, int protection = PROT_READ | PROT_WRITE, int flags = MAP_SHARED)
        : size_(size), data_(::mmap(nullptr, size, protection, flags | MAP_ANONYMOUS, -1, 0)) {}
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    ~Memory() { (void)::munmap(data_, size_); }

    std::uint64_t address() const { return reinterpret_cast<std::uint64_t>(data_); }
    unsigned char* bytes() const { return static_cast<unsigned char*>(data_); }
    std::size_t size() const { return size_; }
    void fill(int value) const { std::memset(data_, value, size_); }

private:
    std::size_t size_;
    void* data_;
};

// A descriptor of the host.
class HostFd {
public:
    explicit HostFd(int number) : number_(number) {}
    HostFd(const HostFd&) = delete;
    HostFd& operator=(const HostFd&) = delete;
    ~HostFd() { (void)::close(number_); }
    int number() const { return number_; }

private:
    int number_;
};

class Event {
public:
    Event() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
    int number() const { return fd_.number(); }
    // How often it was signalled since the last look.
    std::uint64_t count() const {
        std::uint64_t count = 0;
        return ::read(fd_.number(), &count, sizeof count) == sizeof count ? count : 0;
    }
    void signal() const {
        const std::uint64_t one = 1;
        (void)!::write(fd_.number(), &one, sizeof one);
    }
    // Waits until it is signalled; false after two seconds.
    bool wait() const {
        pollfd polled{.fd = fd_.number(), .events = POLLIN, .revents = 0};
        return ::poll(&polled, 1, 2000) == 1 && count() != 0;
    }

private:
    HostFd fd_;
};

// A machine and an open /dev/iommu; whatever a test forgets to close is closed at its end.
class Bench {
public:
    explicit Bench(const Description& description = everything()) : machine(description) {
        iommufd = open("/dev/iommu");
    }
    ~Bench() {
        while (!opened_.empty()) close(opened_.back());
    }
    Bench(const Bench&) = delete;
    Bench& operator=(const Bench&) = delete;

    int open(const char* path) {
        const int fd = kernel().open(path, O_RDWR);
        if (fd >= 0) opened_.push_back(fd);
        return fd;
    }
    int close(int fd) {
        std::erase(opened_, fd);
        return kernel().close(fd);
    }
    sys::Kernel& kernel() { return machine.kernel(); }

    template <class T>
    int call(uapi::Request request, T& argument) {
        argument.size = sizeof argument;
        return kernel().ioctl(iommufd, request, &argument);
    }

    std::uint32_t ioas() {
        uapi::IoasAlloc command{};
        const int rc = call(uapi::kIoasAlloc, command);
        return rc < 0 ? 0 : command.out_ioas_id;
    }
    int destroy(std::uint32_t id) {
        uapi::Destroy command{.size = 0, .id = id};
        return call(uapi::kDestroy, command);
    }

    static constexpr std::uint32_t kReadWrite = uapi::kMapReadable | uapi::kMapWriteable;

    int map(std::uint32_t ioas, std::uint64_t address, std::uint64_t length, std::uint64_t iova,
            std::uint32_t permissions = kReadWrite) {
        uapi::IoasMap command{.flags = uapi::kMapFixedIova | permissions,
                              .ioas_id = ioas,
                              .user_va = address,
                              .length = length,
                              .iova = iova};
        return call(uapi::kIoasMap, command);
    }
    // Where the model put it, or a negative errno.
    std::int64_t map_anywhere(std::uint32_t ioas, std::uint64_t address, std::uint64_t length) {
        uapi::IoasMap command{
            .flags = kReadWrite, .ioas_id = ioas, .user_va = address, .length = length, .iova = 0};
        const int rc = call(uapi::kIoasMap, command);
        return rc < 0 ? rc : static_cast<std::int64_t>(command.iova);
    }
    int map_file(std::uint32_t ioas, int fd, std::uint64_t start, std::uint64_t length, std::uint64_t iova,
                 std::uint32_t permissions = kReadWrite) {
        uapi::IoasMapFile command{.flags = uapi::kMapFixedIova | permissions,
                                  .ioas_id = ioas,
                                  .fd = fd,
                                  .start = start,
                                  .length = length,
                                  .iova = iova};
        return call(uapi::kIoasMapFile, command);
    }
    int copy(std::uint32_t from, std::uint64_t from_iova, std::uint64_t length, std::uint32_t to,
             std::uint64_t to_iova, std::uint32_t permissions = kReadWrite) {
        uapi::IoasCopy command{.flags = uapi::kMapFixedIova | permissions,
                               .dst_ioas_id = to,
                               .src_ioas_id = from,
                               .length = length,
                               .dst_iova = to_iova,
                               .src_iova = from_iova};
        return call(uapi::kIoasCopy, command);
    }
    // How much was unmapped, or a negative errno.
    std::int64_t unmap(std::uint32_t ioas, std::uint64_t iova, std::uint64_t length) {
        uapi::IoasUnmap command{.ioas_id = ioas, .iova = iova, .length = length};
        const int rc = call(uapi::kIoasUnmap, command);
        return rc < 0 ? rc : static_cast<std::int64_t>(command.length);
    }
    std::vector<IovaRange> ranges(std::uint32_t ioas, std::uint64_t* alignment = nullptr) {
        std::vector<IovaRange> found(16);
        uapi::IoasIovaRanges command{
            .ioas_id = ioas, .num_iovas = 16, .allowed_iovas = reinterpret_cast<std::uint64_t>(found.data())};
        found.resize(call(uapi::kIoasIovaRanges, command) < 0 ? 0 : command.num_iovas);
        if (alignment != nullptr) *alignment = command.out_iova_alignment;
        return found;
    }
    int option(std::uint16_t op, std::uint32_t id, std::uint32_t object, std::uint64_t value = 0) {
        uapi::Option command{.option_id = id, .op = op, .object_id = object, .val64 = value};
        const int rc = call(uapi::kOption, command);
        return rc < 0 || op == uapi::kOptionSet ? rc : static_cast<int>(command.val64);
    }
    // Its id, or a negative errno.
    std::int64_t hwpt(std::uint32_t device, std::uint32_t pt, std::uint32_t flags = 0) {
        uapi::HwptAlloc command{.flags = flags, .dev_id = device, .pt_id = pt};
        const int rc = call(uapi::kHwptAlloc, command);
        return rc < 0 ? rc : std::int64_t{command.out_hwpt_id};
    }

    // The device's id, or a negative errno.
    std::int64_t bind(int cdev) {
        uapi::vfio::DeviceBindIommufd command{.argsz = sizeof command, .iommufd = iommufd};
        const int rc = kernel().ioctl(cdev, uapi::vfio::kDeviceBindIommufd, &command);
        return rc < 0 ? rc : std::int64_t{command.out_devid};
    }
    // The hwpt's id, or a negative errno.
    std::int64_t attach(int cdev, std::uint32_t pt) {
        uapi::vfio::DeviceAttachIommufdPt command{.argsz = 12, .pt_id = pt};
        const int rc = kernel().ioctl(cdev, uapi::vfio::kDeviceAttachIommufdPt, &command);
        return rc < 0 ? rc : std::int64_t{command.pt_id};
    }
    int detach(int cdev) {
        uapi::vfio::DeviceDetachIommufdPt command{.argsz = 8};
        return kernel().ioctl(cdev, uapi::vfio::kDeviceDetachIommufdPt, &command);
    }

    Machine machine;
    int iommufd = -1;

private:
    std::vector<int> opened_;
};

// An edu device that is open and bound; attached when a test says so.
class EduBench : public Bench {
public:
    explicit EduBench(const Description& description = everything())
        : Bench(description), cdev(open("/dev/vfio/devices/vfio0")) {
        device = static_cast<std::uint32_t>(bind(cdev));
        set_command(0x106);  // memory and bus master
    }

    static constexpr std::uint64_t kConfig = std::uint64_t{7} << 40;

    void set_command(std::uint16_t command) {
        (void)kernel().pwrite(cdev, &command, sizeof command, kConfig + 4);
    }
    template <class T>
    T get(std::uint64_t offset) {
        T value{};
        (void)kernel().pread(cdev, &value, sizeof value, offset);
        return value;
    }
    template <class T>
    void put(std::uint64_t offset, T value) {
        (void)kernel().pwrite(cdev, &value, sizeof value, offset);
    }
    // The dirty pages of four, after the device has written to the third.
    std::uint64_t dirty_after_a_write() {
        const std::uint32_t pages = ioas();
        const Memory memory(4 * kPage);
        EXPECT_EQ(map(pages, memory.address(), memory.size(), 0x100000), 0);
        const auto table = static_cast<std::uint32_t>(hwpt(device, pages, uapi::kHwptDirtyTracking));
        EXPECT_EQ(attach(cdev, table), static_cast<std::int64_t>(table));
        uapi::HwptSetDirtyTracking track{.flags = uapi::kDirtyTrackingEnable, .hwpt_id = table};
        EXPECT_EQ(call(uapi::kHwptSetDirtyTracking, track), 0);
        write_memory(0x100000 + 2 * kPage, 64);
        std::uint64_t bits = 0;
        uapi::HwptGetDirtyBitmap read{.hwpt_id = table,
                                      .iova = 0x100000,
                                      .length = 4 * kPage,
                                      .page_size = kPage,
                                      .data = reinterpret_cast<std::uint64_t>(&bits)};
        EXPECT_EQ(call(uapi::kHwptGetDirtyBitmap, read), 0);
        EXPECT_EQ(detach(cdev), 0);
        return bits;
    }
    int irq(std::uint32_t flags, std::uint32_t index, std::uint32_t count, std::optional<int> fd = {}) {
        struct {
            uapi::vfio::IrqSet header;
            int fd;
        } command{{.argsz = fd ? 24U : 20U, .flags = flags, .index = index, .start = 0, .count = count},
                  fd.value_or(-1)};
        return kernel().ioctl(cdev, uapi::vfio::kDeviceSetIrqs, &command);
    }

    void read_memory(std::uint64_t iova, std::uint64_t length, bool interrupt = false) {
        dma(iova, 0x40000, length, interrupt ? 5 : 1);
    }
    void write_memory(std::uint64_t iova, std::uint64_t length, bool interrupt = false) {
        dma(0x40000, iova, length, interrupt ? 7 : 3);
    }
    void dma(std::uint64_t from, std::uint64_t to, std::uint64_t length, std::uint64_t command) {
        put(0x80, from);
        put(0x88, to);
        put(0x90, length);
        put(0x98, command);
    }

    int cdev;
    std::uint32_t device;
};

}  // namespace iommufd::inline v0_1::model::testing
