// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "sys/faulty_kernel.hpp"

#include <cstring>

#include "uapi/iommufd.hpp"
#include "uapi/vfio.hpp"
#include "uapi/vhost.hpp"

namespace iommufd::inline v0_1::sys {
namespace {

bool releases(unsigned long request) {
    return request == uapi::kDestroy || request == uapi::kIoasUnmap ||
           request == uapi::vfio::kDeviceDetachIommufdPt;
}

bool releases(const void* message, std::size_t length) {
    if (length != sizeof(uapi::vhost::MsgV2)) return false;
    uapi::vhost::MsgV2 copy;
    std::memcpy(&copy, message, sizeof copy);
    return copy.type == uapi::vhost::kMsgIotlbV2 && copy.iotlb.type == uapi::vhost::kIotlbInvalidate;
}

}  // namespace

bool FaultyKernel::strikes() noexcept {
    if (++calls_ != fault_.call) return false;
    struck_ = true;
    return true;
}

template <class Call>
auto FaultyKernel::acquiring(Call&& call) -> decltype(call()) {
    if (strikes()) return -fault_.error;
    return call();
}

template <class Call>
auto FaultyKernel::releasing(Call&& call) -> decltype(call()) {
    if (!strikes()) return call();
    if (fault_.after_effect) (void)call();
    return -fault_.error;
}

int FaultyKernel::open(const char* path, int flags) {
    return acquiring([&] { return inner_.open(path, flags); });
}

int FaultyKernel::dup(int fd) {
    return acquiring([&] { return inner_.dup(fd); });
}

int FaultyKernel::close(int fd) {
    // Linux lets go of the descriptor whatever close(2) says, so this fails after its effect only.
    const int result = inner_.close(fd);
    return strikes() ? -fault_.error : result;
}

int FaultyKernel::ioctl(int fd, unsigned long request, void* argument) {
    const auto call = [&] { return inner_.ioctl(fd, request, argument); };
    return releases(request) ? releasing(call) : acquiring(call);
}

ssize_t FaultyKernel::read(int fd, void* buffer, std::size_t length) {
    return acquiring([&] { return inner_.read(fd, buffer, length); });
}

ssize_t FaultyKernel::write(int fd, const void* buffer, std::size_t length) {
    const auto call = [&] { return inner_.write(fd, buffer, length); };
    return releases(buffer, length) ? releasing(call) : acquiring(call);
}

ssize_t FaultyKernel::pread(int fd, void* buffer, std::size_t length, std::uint64_t offset) {
    return acquiring([&] { return inner_.pread(fd, buffer, length, offset); });
}

ssize_t FaultyKernel::pwrite(int fd, const void* buffer, std::size_t length, std::uint64_t offset) {
    return acquiring([&] { return inner_.pwrite(fd, buffer, length, offset); });
}

int FaultyKernel::mmap(void** address, std::size_t length, int protection, int flags, int fd,
                       std::uint64_t offset) {
    return acquiring([&] { return inner_.mmap(address, length, protection, flags, fd, offset); });
}

int FaultyKernel::munmap(void* address, std::size_t length) {
    return releasing([&] { return inner_.munmap(address, length); });
}

int FaultyKernel::poll(std::span<pollfd> descriptors, int timeout_ms) {
    return acquiring([&] { return inner_.poll(descriptors, timeout_ms); });
}

int FaultyKernel::fstat(int fd, FileStatus& status) {
    return acquiring([&] { return inner_.fstat(fd, status); });
}

int FaultyKernel::same_file(int a, int b) {
    return acquiring([&] { return inner_.same_file(a, b); });
}

int FaultyKernel::shares_file(pid_t process, int its, int ours) {
    return acquiring([&] { return inner_.shares_file(process, its, ours); });
}

int FaultyKernel::stat(const char* path, FileStatus& status) {
    return acquiring([&] { return inner_.stat(path, status); });
}

int FaultyKernel::readlink(const char* path, std::string& target) {
    return acquiring([&] { return inner_.readlink(path, target); });
}

int FaultyKernel::readdir(const char* path, std::vector<std::string>& names) {
    return acquiring([&] { return inner_.readdir(path, names); });
}

int FaultyKernel::read_file(const char* path, std::string& content) {
    return acquiring([&] { return inner_.read_file(path, content); });
}

}  // namespace iommufd::inline v0_1::sys
