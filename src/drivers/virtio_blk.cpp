// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "drivers/virtio_blk.hpp"

#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>

#include "error/compose.hpp"
#include "error/guarded.hpp"

namespace iommufd::inline v0_1::drivers {
namespace {

using namespace uapi::virtio;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t feature(unsigned number) { return std::uint64_t{1} << number; }

// What this driver can use. VERSION_1 and ACCESS_PLATFORM (addresses are IOVAs) it can't do without.
constexpr std::uint64_t kNeeded = feature(kVersion1) | feature(kAccessPlatform);
constexpr std::uint64_t kUseful =
    feature(kBlkSizeMax) | feature(kBlkSegMax) | feature(kBlkRo) | feature(kBlkBlkSize) | feature(kBlkFlush);

// Neither is a limit of virtio; they keep a request's length and its chain reasonable.
constexpr std::uint32_t kMostBytesInSegment = 1U << 20;
constexpr std::uint16_t kBuffersBesidesData = 2;  // header and status
constexpr std::uint16_t kLeastQueueSize = 4;

// The chain's own parts follow the ring in the window, on a cache line of their own.
std::uint64_t shared_offset(std::uint16_t queue_size) {
    return (Virtqueue::bytes_needed(queue_size) + 63) / 64 * 64;
}

Result<sys::Fd> make_eventfd(sys::Kernel& kernel) {
    sys::Fd fd(kernel, ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!fd) return Error(Operation::open, errno, "cannot make an eventfd");
    return fd;
}

}  // namespace

// What a request consists of besides its data.
struct VirtioBlk::Shared {
    BlkRequest header;
    std::array<char, kBlkIdBytes> id;
    std::uint8_t status;
};

std::uint64_t VirtioBlk::bytes_needed(std::uint16_t queue_size) noexcept {
    return shared_offset(queue_size) + sizeof(Shared);
}

VirtioBlk::Shared* VirtioBlk::shared() const noexcept {
    return reinterpret_cast<Shared*>(window_.memory + shared_offset(queue_.size()));
}

Iova VirtioBlk::iova_of(std::size_t offset_in_shared) const noexcept {
    return window_.iova + shared_offset(queue_.size()) + offset_in_shared;
}

Result<VirtioBlk> VirtioBlk::start(const vdpa::Device& device, Window window) {
    return start(device, window, Options{});
}

Result<VirtioBlk> VirtioBlk::start(const vdpa::Device& device, Window window, Options options) {
    return guarded(Operation::vdpa_status, [&]() -> Result<VirtioBlk> {
        const auto refused = [&](int code, std::string cause, std::string next_step) {
            return Error::refused(code, compose("cannot start the disk driver on ", device.name()),
                                  std::move(cause), std::move(next_step));
        };
        if (device.device_id() != kIdBlock)
            return refused(ENODEV,
                           compose("it is virtio device type ", device.device_id(), ", not a disk (2)"),
                           "use a block device");
        auto largest = device.max_queue_size();
        if (!largest) return largest.error();
        const std::uint16_t size = std::bit_floor(std::min(options.queue_size, *largest));
        if (size < kLeastQueueSize)
            return refused(EINVAL, compose("its queue would have ", size, " entries only"),
                           compose("ask for ", kLeastQueueSize, " or more"));
        if (window.size < bytes_needed(size) || window.iova.value % kDescAlign != 0 ||
            reinterpret_cast<std::uintptr_t>(window.memory) % kDescAlign != 0)
            return refused(
                EINVAL,
                compose("the memory for its queue is ", window.size, " bytes at ", Hex{window.iova.value}),
                compose("give ", bytes_needed(size), " bytes, aligned to ", kDescAlign));
        sys::Kernel& kernel = device.kernel();
        auto kick = make_eventfd(kernel);
        if (!kick) return kick.error();
        auto call = make_eventfd(kernel);
        if (!call) return call.error();

        // Before the window is written to: an earlier driver's queue might still be live in it.
        if (auto reset = device.reset(); !reset) return reset.error();
        VirtioBlk disk(device, window, options, size, std::move(*kick), std::move(*call));
        if (auto up = disk.bring_up(); !up) {
            // Tells the device that it was given up on; it is reset as the driver goes.
            (void)disk.add_status(kStatusFailed);
            return up.error();
        }
        return disk;
    });
}

VirtioBlk::VirtioBlk(const vdpa::Device& device, Window window, Options options, std::uint16_t queue_size,
                     sys::Fd kick, sys::Fd call)
    : device_(&device),
      window_(window),
      timeout_(options.timeout),
      queue_(window, queue_size),
      kick_(std::move(kick)),
      call_(std::move(call)),
      live_(true),
      running_(true) {}

VirtioBlk::VirtioBlk(VirtioBlk&& other) noexcept
    : device_(other.device_),
      window_(other.window_),
      timeout_(other.timeout_),
      queue_(std::move(other.queue_)),
      kick_(std::move(other.kick_)),
      call_(std::move(other.call_)),
      features_(other.features_),
      capacity_(other.capacity_),
      block_size_(other.block_size_),
      segment_bytes_(other.segment_bytes_),
      segments_(other.segments_),
      live_(std::exchange(other.live_, false)),
      running_(std::exchange(other.running_, false)) {}

VirtioBlk::~VirtioBlk() { (void)stop(); }

Result<void> VirtioBlk::stop() noexcept {
    running_ = false;
    if (!live_) return {};
    const vdpa::Vring vring = device_->vring(0);
    (void)vring.set_kick(-1);
    (void)vring.set_call(-1);
    auto reset = device_->reset();
    if (reset) live_ = false;
    return reset;
}

// The request may still be under way: the device must not touch memory any more when the caller sees this.
Result<void> VirtioBlk::fail(Error error) noexcept {
    if (auto stopped = stop(); !stopped) return stopped.error().within(error.what());
    return error;
}

Result<void> VirtioBlk::bring_up() {
    return add_status(kStatusAcknowledge)
        .and_then([this] { return add_status(kStatusDriver); })
        .and_then([this] { return agree_on_features(); })
        .and_then([this] { return read_limits(); })
        .and_then([this] { return set_up_queue(); })
        .and_then([this] { return add_status(kStatusDriverOk); });
}

Result<void> VirtioBlk::add_status(std::uint8_t bits) {
    auto status = device_->status();
    if (!status) return status.error();
    return device_->set_status(*status | bits);
}

Result<void> VirtioBlk::agree_on_features() {
    const auto offered = device_->features();
    if (!offered) return offered.error();
    if ((*offered & kNeeded) != kNeeded)
        return Error::refused(EOPNOTSUPP, compose("cannot start the disk driver on ", device_->name()),
                              "it lacks VIRTIO_F_VERSION_1 or VIRTIO_F_ACCESS_PLATFORM",
                              "use a device that has both");
    features_ = *offered & (kNeeded | kUseful);
    if (auto set = device_->set_features(features_); !set) return set;
    if (auto set = add_status(kStatusFeaturesOk); !set) return set;
    // The device takes the bit away again if it can't work with these features.
    const auto status = device_->status();
    if (!status) return status.error();
    if ((*status & kStatusFeaturesOk) == 0)
        return Error::refused(EOPNOTSUPP, compose("cannot start the disk driver on ", device_->name()),
                              compose("it refuses the features ", Hex{features_}), "use another device");
    return {};
}

Result<void> VirtioBlk::read_limits() {
    BlkConfig config{};
    // The fields behind blk_size exist where later features are offered only.
    constexpr std::size_t kRead = offsetof(BlkConfig, physical_block_exp);
    if (auto got = device_->read_config(0, std::as_writable_bytes(std::span(&config, 1)).first(kRead)); !got)
        return got;
    capacity_ = config.capacity * kSectorSize;
    if (has(kBlkBlkSize) && config.blk_size != 0) block_size_ = config.blk_size;
    segment_bytes_ = kMostBytesInSegment;
    if (has(kBlkSizeMax)) segment_bytes_ = std::min(segment_bytes_, config.size_max);
    segment_bytes_ -= segment_bytes_ % kSectorSize;
    segments_ = queue_.size() - kBuffersBesidesData;
    if (has(kBlkSegMax)) segments_ = std::min(segments_, std::max(config.seg_max, 1U));
    if (segment_bytes_ == 0)
        return Error::refused(EOPNOTSUPP, compose("cannot start the disk driver on ", device_->name()),
                              compose("it takes buffers of up to ", config.size_max, " bytes only"),
                              "use a device that takes whole sectors");
    return {};
}

Result<void> VirtioBlk::set_up_queue() {
    const vdpa::Vring vring = device_->vring(0);
    return vring.set_size(queue_.size())
        .and_then([&] { return vring.set_addresses(queue_.addresses()); })
        .and_then([&] { return vring.set_base(0); })
        .and_then([&] { return vring.set_kick(kick_.number()); })
        .and_then([&] { return vring.set_call(call_.number()); })
        .and_then([&] { return vring.enable(); });
}

std::string VirtioBlk::describe(std::uint32_t type, std::uint64_t sector) const {
    switch (type) {
        case kBlkIn:
            return compose("cannot read sector ", sector, " of ", device_->name());
        case kBlkOut:
            return compose("cannot write sector ", sector, " of ", device_->name());
        case kBlkFlushRequest:
            return compose("cannot flush ", device_->name());
        default:
            return compose("cannot identify ", device_->name());
    }
}

Result<VirtioBlk::Identity> VirtioBlk::identify() {
    return guarded(Operation::vdpa_status, [&]() -> Result<Identity> {
        shared()->id.fill('\0');
        if (auto got = request(kBlkGetId, 0, iova_of(offsetof(Shared, id)), kBlkIdBytes); !got)
            return got.error();
        // Ends with a null where it is shorter than the field.
        const std::string_view id(shared()->id.data(), kBlkIdBytes);
        return Identity{.serial = std::string(id.substr(0, id.find('\0'))),
                        .capacity = capacity_,
                        .block_size = block_size_,
                        .read_only = has(kBlkRo),
                        .has_cache = has(kBlkFlush)};
    });
}

Result<void> VirtioBlk::read(std::uint64_t offset, Iova to, std::uint64_t length) {
    return transfer(kBlkIn, offset, to, length);
}

Result<void> VirtioBlk::write(std::uint64_t offset, Iova from, std::uint64_t length) {
    return transfer(kBlkOut, offset, from, length);
}

Result<void> VirtioBlk::flush() {
    if (!has(kBlkFlush)) return {};
    return guarded(Operation::vdpa_status, [&] { return request(kBlkFlushRequest, 0, Iova{}, 0); });
}

Result<void> VirtioBlk::transfer(std::uint32_t type, std::uint64_t offset, Iova data, std::uint64_t length) {
    return guarded(Operation::vdpa_status, [&]() -> Result<void> {
        const std::string what = describe(type, offset / kSectorSize);
        if (offset % kSectorSize != 0 || length % kSectorSize != 0)
            return Error::refused(EINVAL, what, "offset or length is not a whole number of sectors",
                                  "use multiples of 512 bytes");
        if (offset > capacity_ || length > capacity_ - offset)
            return Error::refused(ERANGE, what, compose("the disk ends at ", size_text(capacity_)),
                                  "stay below that");
        if (type == kBlkOut && has(kBlkRo))
            return Error::refused(EROFS, what, "the disk is read-only", "use another disk");
        const std::uint64_t most = std::uint64_t{segment_bytes_} * segments_;
        for (std::uint64_t done = 0; done < length;) {
            const auto now = static_cast<std::uint32_t>(std::min(most, length - done));
            if (auto moved = request(type, (offset + done) / kSectorSize, data + done, now); !moved)
                return moved;
            done += now;
        }
        return {};
    });
}

Result<void> VirtioBlk::request(std::uint32_t type, std::uint64_t sector, Iova data, std::uint32_t length) {
    if (!running_)
        return Error::refused(ESHUTDOWN, describe(type, sector), "the driver was stopped, or gave up",
                              "start it again");
    // Nobody has written a status yet: no value of the specification.
    constexpr std::uint8_t kNone = 0xff;
    shared()->header = {.type = type, .ioprio = 0, .sector = sector};
    shared()->status = kNone;

    std::vector<Segment> chain;
    chain.reserve(segments_ + kBuffersBesidesData);
    chain.push_back({iova_of(offsetof(Shared, header)), sizeof(BlkRequest), false});
    for (std::uint32_t done = 0; done < length;) {
        const std::uint32_t now = std::min(segment_bytes_, length - done);
        chain.push_back({data + done, now, type != kBlkOut});
        done += now;
    }
    chain.push_back({iova_of(offsetof(Shared, status)), 1, true});

    if (auto offered = queue_.offer(chain); !offered) return offered.error().within(describe(type, sector));
    if (auto answered = wait_for_answer(); !answered)
        return fail(answered.error().within(describe(type, sector)));
    switch (shared()->status) {
        case kBlkOk:
            return {};
        case kBlkUnsupported:
            return Error::refused(EOPNOTSUPP, describe(type, sector), "the device does not know that request",
                                  "do without");
        default:
            return Error::refused(EIO, describe(type, sector),
                                  "the device reports an error: of its medium, or it can't reach the memory",
                                  "check that the memory is mapped for the device, with the access it needs");
    }
}

// Kicks the device and waits until it is done with the request.
Result<void> VirtioBlk::wait_for_answer() {
    sys::Kernel& kernel = kick_.kernel();
    // Whether the device wants kicks or not (used.flags): one too many does no harm, and leaving them out
    // takes a full barrier between the index and the flags.
    const std::uint64_t one = 1;
    if (const ssize_t result = kernel.write(kick_.number(), &one, sizeof one); result < 0)
        return Error(Operation::write, static_cast<int>(-result), "cannot kick the device");
    const auto deadline = Clock::now() + timeout_;
    for (;;) {
        auto used = queue_.take();
        if (!used) return used.error();
        if (*used) return {};
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
        if (left <= 0)
            return Error::refused(ETIMEDOUT, "the device did not answer",
                                  compose("nothing came within ", timeout_.count(), " ms, and it was reset"),
                                  "check that its queue's memory is mapped for it; look at `dmesg | tail`");
        pollfd waiting{.fd = call_.number(), .events = POLLIN, .revents = 0};
        const int result =
            kernel.poll(std::span(&waiting, 1), static_cast<int>(std::min<long>(left, 60'000)));
        if (result < 0 && result != -EINTR)
            return Error(Operation::read, -result, "cannot wait for the device");
        std::uint64_t calls = 0;
        if (result > 0) (void)kernel.read(call_.number(), &calls, sizeof calls);
    }
}

}  // namespace iommufd::inline v0_1::drivers
