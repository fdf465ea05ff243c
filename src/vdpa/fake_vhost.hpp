// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// For the tests of this layer: a kernel with one vhost-vdpa device. It keeps the IOTLB messages, and does what
// Linux 7.3 does with them, its surprises included:
//
//   - whatever the handler found, write() says EFAULT
//   - a device by address is given shared memory only; the rest is a success
//   - such a device loses everything when an UPDATE at IOVA 0 gets nowhere
//   - the end of a batch drops what the device said
//   - a reset that loses mappings empties the device's table, not the kernel's
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "error/compose.hpp"
#include "sys/kernel.hpp"
#include "sys/mutex.hpp"
#include "uapi/vhost.hpp"

namespace iommufd::inline v0_1::vdpa {

class FakeVhost : public sys::Kernel {
public:
    using Table = std::map<std::uint64_t, std::uint64_t>;  // IOVA, bytes

    // Set before or between calls.
    bool uses_addresses = true;
    bool is_owner = true;
    std::uint64_t backend_features = 0x17e;  // vdpasim's: all but DESC_ASID
    std::uint32_t address_spaces = 1;
    uapi::vhost::VdpaIovaRange iova_range{.first = 0, .last = ~std::uint64_t{0}};
    std::string memlock = "unlimited";
    std::uint64_t pinned_elsewhere = 0;                             // bytes
    std::size_t device_entries = 2048;                              // that the device holds
    std::size_t kernel_entries = 2048;                              // that the kernel holds
    std::set<std::uint64_t> bad_addresses;                          // no memory there
    std::vector<std::pair<std::uint32_t, std::uint32_t>> assigned;  // groups and their address spaces

    // What was written since the last call: "UPDATE 0x1000+0x1000", "INVALIDATE all", "BEGIN", "END".
    std::vector<std::string> messages() {
        const sys::Lock lock(mutex_);
        return std::exchange(messages_, {});
    }
    Table kernel_table() const {
        const sys::Lock lock(mutex_);
        return kernel_table_;
    }
    Table device_table() const {
        const sys::Lock lock(mutex_);
        return device_table_;
    }
    int open_files() const {
        const sys::Lock lock(mutex_);
        return open_;
    }
    std::size_t mapped_pages() const {
        const sys::Lock lock(mutex_);
        return no_access_.size();
    }

    int open(const char* path, int) override {
        const sys::Lock lock(mutex_);
        if (std::string_view(path) != "/dev/vhost-vdpa-0") return -ENOENT;
        if (open_ > 0) return -EBUSY;
        ++open_;
        return kDescriptor;
    }
    int dup(int fd) override {
        const sys::Lock lock(mutex_);
        if (fd < kDescriptor || fd >= kDescriptor + open_) return -EBADF;
        return kDescriptor + open_++;
    }
    int close(int) override {
        const sys::Lock lock(mutex_);
        if (--open_ == 0) {
            kernel_table_.clear();
            device_table_.clear();
            has_address_space_ = in_batch_ = owned_ = false;
            acked_ = 0;
        }
        return 0;
    }

    int ioctl(int, unsigned long request, void* argument) override {
        using namespace uapi::vhost;
        const sys::Lock lock(mutex_);
        switch (request) {
            case kVdpaGetDeviceId:
                return put(argument, std::uint32_t{2});
            case kSetOwner:
                return std::exchange(owned_, true) ? -EBUSY : 0;
            case kGetBackendFeatures:
                return put(argument, backend_features);
            case kSetBackendFeatures:
                std::memcpy(&acked_, argument, sizeof acked_);
                return (acked_ & ~backend_features) != 0 ? -EOPNOTSUPP : 0;
            case kVdpaGetIovaRange:
                return put(argument, iova_range);
            case kVdpaGetAsNum:
            case kVdpaGetGroupNum:
                return put(argument, address_spaces);
            case kVdpaSetGroupAsid: {
                VringState state;
                std::memcpy(&state, argument, sizeof state);
                assigned.emplace_back(state.index, state.num);
                return 0;
            }
            case kVdpaSetStatus:
                if ((acked_ >> kIotlbPersist & 1) == 0) device_table_.clear();
                return 0;
            default:
                return -ENOTTY;
        }
    }

    ssize_t write(int, const void* buffer, std::size_t length) override {
        const sys::Lock lock(mutex_);
        uapi::vhost::MsgV2 message;
        EXPECT_EQ(length, sizeof message);
        std::memcpy(&message, buffer, sizeof message);
        EXPECT_EQ(message.type, uapi::vhost::kMsgIotlbV2);
        asid = message.asid;
        messages_.push_back(text_of(message.iotlb));
        return handle(message.iotlb) < 0 ? -EFAULT : static_cast<ssize_t>(sizeof message);
    }

    int mmap(void** address, std::size_t length, int protection, int flags, int fd,
             std::uint64_t offset) override {
        const int result = sys::host_kernel().mmap(address, length, protection, flags, fd, offset);
        const sys::Lock lock(mutex_);
        if (result == 0 && protection == PROT_NONE)
            no_access_.insert(reinterpret_cast<std::uintptr_t>(*address));
        return result;
    }
    int munmap(void* address, std::size_t length) override {
        const sys::Lock lock(mutex_);
        no_access_.erase(reinterpret_cast<std::uintptr_t>(address));
        return sys::host_kernel().munmap(address, length);
    }

    int read_file(const char* path, std::string& content) override {
        const sys::Lock lock(mutex_);
        const std::string_view name = path;
        if (name == "/proc/self/status")
            content = compose("CapEff:\t000001ffffffffff\nVmPin:\t", pinned() >> 10, " kB\n");
        else if (name == "/proc/self/limits")
            content = compose("Max locked memory         ", memlock, "  unlimited  bytes\n");
        else if (name == "/sys/module/vhost_vdpa/parameters/max_iotlb_entries")
            content = compose(kernel_entries, "\n");
        else
            return -ENOENT;
        return 0;
    }
    int readlink(const char* path, std::string& target) override {
        if (!std::string_view(path).starts_with("/proc/self/fd/")) return -ENOENT;
        target = "/dev/vhost-vdpa-0";
        return 0;
    }

    ssize_t read(int, void*, std::size_t) override { return -EINVAL; }
    ssize_t pread(int, void*, std::size_t, std::uint64_t) override { return -ESPIPE; }
    ssize_t pwrite(int, const void*, std::size_t, std::uint64_t) override { return -ESPIPE; }
    int poll(std::span<pollfd>, int) override { return -EINVAL; }
    int fstat(int, sys::FileStatus&) override { return -EBADF; }
    int stat(const char*, sys::FileStatus&) override { return -ENOENT; }
    int readdir(const char*, std::vector<std::string>&) override { return -ENOENT; }

    std::uint32_t asid = 0;  // that the last message named

private:
    static constexpr int kDescriptor = 700;

    template <class T>
    static int put(void* argument, const T& value) {
        std::memcpy(argument, &value, sizeof value);
        return 0;
    }

    static std::string text_of(const uapi::vhost::IotlbMsg& message) {
        const std::string range =
            message.size == ~std::uint64_t{0} ? "all" : compose(Hex{message.iova}, "+", Hex{message.size});
        switch (message.type) {
            case uapi::vhost::kIotlbUpdate:
                return compose("UPDATE ", range, message.perm == uapi::vhost::kAccessRo ? " ro" : "");
            case uapi::vhost::kIotlbInvalidate:
                return compose("INVALIDATE ", range);
            case uapi::vhost::kIotlbBatchBegin:
                return "BEGIN";
            default:
                return "END";
        }
    }

    std::uint64_t pinned() const IOMMUFD_REQUIRES(mutex_) {
        std::uint64_t bytes = pinned_elsewhere;
        if (!uses_addresses)
            for (const auto& [iova, length] : kernel_table_) bytes += length;
        return bytes;
    }

    void remove(std::uint64_t first, std::uint64_t last) IOMMUFD_REQUIRES(mutex_) {
        std::erase_if(kernel_table_, [&](const auto& entry) {
            return entry.first <= last && first <= entry.first + entry.second - 1;
        });
    }

    int tell_device() IOMMUFD_REQUIRES(mutex_) {
        if (in_batch_) return 0;
        if (kernel_table_.size() > device_entries) return device_table_.clear(), -ENOSPC;
        device_table_ = kernel_table_;
        return 0;
    }

    int handle(const uapi::vhost::IotlbMsg& message) IOMMUFD_REQUIRES(mutex_) {
        using namespace uapi::vhost;
        if (!is_owner) return -EPERM;
        if (message.type == kIotlbUpdate || message.type == kIotlbBatchBegin) has_address_space_ = true;
        if (!has_address_space_) return -EINVAL;
        switch (message.type) {
            case kIotlbUpdate:
                return update(message);
            case kIotlbInvalidate:
                remove(message.iova, message.iova + message.size - 1);
                (void)tell_device();
                return 0;
            case kIotlbBatchBegin:
                in_batch_ = true;
                return 0;
            default:
                if (std::exchange(in_batch_, false)) (void)tell_device();
                return 0;
        }
    }

    int update(const uapi::vhost::IotlbMsg& message) IOMMUFD_REQUIRES(mutex_) {
        const std::uint64_t last = message.iova + message.size - 1;
        for (const auto& [iova, length] : kernel_table_)
            if (iova <= last && message.iova <= iova + length - 1) return -EEXIST;
        const bool private_page = no_access_.contains(message.uaddr);
        if (private_page) return uses_addresses ? 0 : -EFAULT;
        int error = bad_addresses.contains(message.uaddr) ? -EFAULT : 0;
        if (!uses_addresses && memlock != "unlimited" && pinned() + message.size > std::stoull(memlock))
            return -ENOMEM;
        if (error == 0 && kernel_table_.size() >= kernel_entries) error = -ENOSPC;
        if (error == 0) {
            kernel_table_[message.iova] = message.size;
            error = tell_device();
            if (error == 0) return 0;
            kernel_table_.erase(message.iova);
        }
        // Back out: a range of no bytes at 0 wraps around.
        if (uses_addresses && message.iova == 0) kernel_table_.clear();
        (void)tell_device();
        return error;
    }

    mutable sys::Mutex mutex_;
    std::vector<std::string> messages_ IOMMUFD_GUARDED_BY(mutex_);
    Table kernel_table_ IOMMUFD_GUARDED_BY(mutex_);
    Table device_table_ IOMMUFD_GUARDED_BY(mutex_);
    std::set<std::uint64_t> no_access_ IOMMUFD_GUARDED_BY(mutex_);
    int open_ IOMMUFD_GUARDED_BY(mutex_) = 0;
    bool owned_ IOMMUFD_GUARDED_BY(mutex_) = false;
    bool has_address_space_ IOMMUFD_GUARDED_BY(mutex_) = false;
    bool in_batch_ IOMMUFD_GUARDED_BY(mutex_) = false;
    std::uint64_t acked_ IOMMUFD_GUARDED_BY(mutex_) = 0;
};

}  // namespace iommufd::inline v0_1::vdpa
