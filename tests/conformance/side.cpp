// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "conformance/side.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <new>

#include "uapi/iommufd_test.hpp"

namespace iommufd::inline v0_1::conformance {
namespace {

// What no call has given out: an id that nothing has, or no descriptor.
constexpr std::uint64_t kNothing = 0xffffffff;
constexpr std::uint8_t kFill = 0;
constexpr std::size_t kCut = 4;     // bytes that can't be read of an argument that is cut short
constexpr std::size_t kRoom = 256;  // behind the argument, to see that nothing is written there

void put(std::vector<std::uint8_t>& bytes, std::size_t offset, std::uint64_t value, std::size_t width) {
    if (offset + width <= bytes.size()) std::memcpy(bytes.data() + offset, &value, width);
}

std::uint64_t get(const std::vector<std::uint8_t>& bytes, std::size_t offset, std::size_t width) {
    std::uint64_t value = 0;
    if (offset + width <= bytes.size()) std::memcpy(&value, bytes.data() + offset, width);
    return value;
}

}  // namespace

Side::Side(sys::Kernel& kernel, const Arena& arena, int eventfd, bool dma_buffers_by_number)
    : kernel_(kernel), dma_buffers_by_number_(dma_buffers_by_number), arena_(arena), eventfd_(eventfd) {
    void* const memory =
        ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    buffer_ = static_cast<std::uint8_t*>(memory);
    argument_ = buffer_ + (kBufferPages + 1) * kPage;
    for (std::uint8_t* const guard : {argument_ - kPage, argument_ + kPage})
        (void)::mprotect(guard, kPage, PROT_NONE);
    iommufd_ = kernel_.open("/dev/iommu", O_RDWR | O_CLOEXEC);
}

Side::~Side() {
    close_all();
    (void)::munmap(buffer_, kSize);
}

void Side::close_all() {
    for (const auto& [reference, fd] : open_) (void)kernel_.close(fd);
    open_.clear();
    values_.clear();
    if (iommufd_ >= 0) (void)kernel_.close(iommufd_);
    iommufd_ = -1;
}

void Side::begin() {
    close_all();
    iommufd_ = kernel_.open("/dev/iommu", O_RDWR | O_CLOEXEC);
}

std::uint64_t Side::value(const Reference& reference) const {
    if (reference.call == Call::kMemfd) return static_cast<std::uint64_t>(arena_.file());
    if (reference.call == Call::kEventfd) return static_cast<std::uint64_t>(eventfd_);
    const auto found = values_.find({reference.call, reference.output});
    return found == values_.end() ? kNothing : found->second;
}

int Side::descriptor(const Call& call) const {
    return call.descriptor.any() ? static_cast<int>(value(call.descriptor)) : iommufd_;
}

Outcome Side::make(const Call& call, int wait_ms) {
    Outcome outcome;
    outcome.argument = call.argument;
    outcome.argument.resize(call.argument.size() + kRoom, kFill);
    for (const Call::Patch& patch : call.patches)
        put(outcome.argument, patch.offset, value(patch.reference), patch.width);
    const bool has_buffer =
        call.buffer_at != Call::kNoBuffer || call.verb == Verb::read || call.verb == Verb::write;
    std::uint8_t* const data = buffer_ + call.buffer_offset;
    if (has_buffer) {
        std::memset(buffer_, kFill, kBufferPages * kPage);
        std::memcpy(data, call.buffer.data(), call.buffer.size());
        if (call.buffer_at != Call::kNoBuffer)
            put(outcome.argument, call.buffer_at, reinterpret_cast<std::uint64_t>(data), 8);
    }
    switch (call.verb) {
        case Verb::ioctl:
            outcome.result = make_ioctl(call, outcome.argument);
            break;
        case Verb::read:
            outcome.result = kernel_.read(descriptor(call), data, call.length);
            break;
        case Verb::write:
            outcome.result = kernel_.write(descriptor(call), data, call.length);
            break;
        case Verb::close: {
            const auto opened = open_.find({call.descriptor.call, call.descriptor.output});
            outcome.result = opened == open_.end() ? -EBADF : kernel_.close(opened->second);
            if (opened != open_.end()) {
                values_.erase(opened->first);
                open_.erase(opened);
            }
            break;
        }
        case Verb::poll: {
            pollfd polled{.fd = descriptor(call), .events = POLLIN | POLLOUT, .revents = 0};
            if (wait_ms != 0) {
                polled.events = POLLIN;
                (void)kernel_.poll({&polled, 1}, wait_ms);
                polled.events = POLLIN | POLLOUT;
            }
            (void)kernel_.poll({&polled, 1}, 0);
            outcome.result = polled.revents;
            break;
        }
        case Verb::mmap:
            outcome.result = make_mmap(call);
            break;
    }
    learn(call, outcome);
    if (call.buffer_at != Call::kNoBuffer) put(outcome.argument, call.buffer_at, 0, 8);
    if (has_buffer) outcome.buffer.assign(buffer_, buffer_ + kBufferPages * kPage);
    return outcome;
}

std::int64_t Side::make_ioctl(const Call& call, std::vector<std::uint8_t>& argument) {
    const bool gets_dma_buffer =
        call.request == uapi::mock::kTest && get(argument, 4, 4) == uapi::mock::kDmabufGet;
    int next = -1;
    if (gets_dma_buffer && dma_buffers_by_number_) {
        next = ::fcntl(iommufd_, F_DUPFD, 0);
        (void)::close(next);
    }
    void* const given = call.argument.empty() ? reinterpret_cast<void*>(call.direct) : argument.data();
    const std::int64_t result = call.place == ArgumentPlace::anywhere
                                    ? kernel_.ioctl(iommufd_, call.request, given)
                                    : make_placed_ioctl(call, argument);
    return next >= 0 && result == 0 ? next : result;
}

std::int64_t Side::make_placed_ioctl(const Call& call, std::vector<std::uint8_t>& argument) {
    const bool is_cut = call.place == ArgumentPlace::cut_short;
    const std::size_t size = is_cut ? call.argument.size() - kCut : argument.size();
    std::uint8_t* const given = is_cut ? argument_ + kPage - size : argument_;
    std::memcpy(given, argument.data(), size);
    if (!is_cut) (void)::mprotect(argument_, kPage, PROT_READ);
    const std::int64_t result = kernel_.ioctl(iommufd_, call.request, given);
    if (!is_cut) (void)::mprotect(argument_, kPage, PROT_READ | PROT_WRITE);
    std::memcpy(argument.data(), given, size);
    return result;
}

std::int64_t Side::make_mmap(const Call& call) {
    void* address = nullptr;
    const auto settings = call.as<std::array<std::uint32_t, 2>>();  // protection, flags
    std::uint64_t offset = 0;
    for (const Call::Patch& patch : call.patches) offset = value(patch.reference);
    const int rc = kernel_.mmap(&address, call.length, static_cast<int>(settings[0]),
                                static_cast<int>(settings[1]), iommufd_, offset);
    if (rc == 0) (void)kernel_.munmap(address, call.length);
    return rc;
}

// Keeps what the call gave out. Descriptors are whatever number was free, so they don't count.
void Side::learn(const Call& call, Outcome& outcome) {
    for (std::uint8_t i = 0; i < call.outputs.size(); ++i) {
        const Call::Output& output = call.outputs[i];
        if (output.kind == Kind::window) {
            if (outcome.result >= 0) {
                std::uint64_t offset = 0;
                std::memcpy(&offset, buffer_ + call.buffer_offset + output.offset, sizeof offset);
                values_[{call.number, i}] = offset;
            }
            continue;
        }
        const std::uint64_t value = output.offset == Call::kResult
                                        ? static_cast<std::uint64_t>(outcome.result)
                                        : get(outcome.argument, output.offset, output.width);
        if (is_descriptor(output.kind)) {
            if (outcome.result >= 0) open_[{call.number, i}] = static_cast<int>(value);
            if (output.offset == Call::kResult)
                outcome.result = std::min<std::int64_t>(outcome.result, 0);
            else
                put(outcome.argument, output.offset, outcome.result >= 0 ? 0 : value, output.width);
        }
        if (outcome.result >= 0) values_[{call.number, i}] = value;
    }
    for (const Call::Patch& patch : call.patches)
        if (patch.descriptor) put(outcome.argument, patch.offset, 0, patch.width);
}

}  // namespace iommufd::inline v0_1::conformance
