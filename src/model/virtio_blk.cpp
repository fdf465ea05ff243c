// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/virtio_blk.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace iommufd::inline v0_1::model {
namespace {

constexpr std::uint64_t kSector = Disk::kSector;
constexpr std::uint32_t kMostSegments = 32;
constexpr std::uint32_t kSegmentSize = 4096;
constexpr std::uint64_t kMostSectors = std::uint64_t{kSegmentSize} * kMostSegments;
constexpr std::string_view kIdentity("vdpa_blk_model\0\0\0\0\0\0", 20);

enum Type : std::uint32_t { kIn = 0, kOut = 1, kFlush = 4, kGetId = 8, kDiscard = 11, kWriteZeroes = 13 };
constexpr std::uint8_t kOk = 0;
constexpr std::uint8_t kIoError = 1;
constexpr std::uint8_t kUnsupported = 2;

struct Header {
    std::uint32_t type;
    std::uint32_t reserved;
    std::uint64_t sector;
};

// What DISCARD and WRITE_ZEROES are about.
struct Range {
    std::uint64_t sector;
    std::uint32_t sectors;
    std::uint32_t flags;
};
constexpr std::uint32_t kMayUnmap = 1;

using Buffers = std::span<const SplitRing::Buffer>;

std::uint64_t length_of(Buffers buffers) {
    std::uint64_t length = 0;
    for (const SplitRing::Buffer& buffer : buffers) length += buffer.length;
    return length;
}

// Bytes from `skip` on, in whichever buffers they are.
template <class Move>
bool walk(Buffers buffers, std::uint64_t skip, std::uint64_t length, Move&& move) {
    std::uint64_t done = 0;
    for (const SplitRing::Buffer& buffer : buffers) {
        if (done == length) break;
        if (skip >= buffer.length) {
            skip -= buffer.length;
            continue;
        }
        const std::uint64_t now = std::min(length - done, buffer.length - skip);
        if (move(buffer.iova + skip, done, now) < 0) return false;
        done += now;
        skip = 0;
    }
    return done == length;
}

bool pull(const IotlbPort& port, Buffers from, std::uint64_t skip, std::span<std::byte> to) {
    return walk(from, skip, to.size(), [&](std::uint64_t iova, std::uint64_t done, std::uint64_t length) {
        return port.read(iova, to.subspan(done, length));
    });
}

bool push(const IotlbPort& port, Buffers to, std::uint64_t skip, std::span<const std::byte> from) {
    return walk(to, skip, from.size(), [&](std::uint64_t iova, std::uint64_t done, std::uint64_t length) {
        return port.write(iova, from.subspan(done, length));
    });
}

}  // namespace

std::array<std::byte, VirtioBlk::kConfigSize> VirtioBlk::config() const {
    std::array<std::byte, kConfigSize> config{};
    const auto put = [&](std::size_t offset, auto value) {
        std::memcpy(config.data() + offset, &value, sizeof value);
    };
    put(0, disk_.sectors());
    put(8, kSegmentSize);
    put(12, kMostSegments);
    put(20, std::uint32_t{kSector});
    put(26, std::uint16_t{1});        // least I/O size in blocks
    put(28, std::uint32_t{1});        // best I/O size
    put(34, std::uint16_t{1});        // queues
    put(36, ~std::uint32_t{0});       // sectors in a discard
    put(40, std::uint32_t{1});        // and its ranges
    put(44, std::uint32_t{kSector});  // and its alignment
    put(48, ~std::uint32_t{0});       // sectors in a write-zeroes
    put(52, std::uint32_t{1});        // and its ranges
    return config;
}

bool VirtioBlk::in_range(std::uint64_t sector, std::uint64_t sectors) const {
    return sector < disk_.sectors() && sectors <= disk_.sectors() - sector;
}

bool VirtioBlk::transferable(std::uint64_t sector, std::uint64_t length) const {
    return length % kSector == 0 && length / kSector <= kMostSectors && in_range(sector, length / kSector);
}

std::uint8_t VirtioBlk::clear(const IotlbPort& port, const SplitRing::Chain& chain, std::uint64_t out,
                              bool zero) {
    Range range{};
    if (out != sizeof range) return kIoError;
    if (!pull(port, chain.readable, sizeof(Header), std::as_writable_bytes(std::span(&range, 1))))
        return kIoError;
    if ((range.flags & ~(zero ? kMayUnmap : 0)) != 0) return kUnsupported;
    if (!in_range(range.sector, range.sectors)) return kIoError;
    if (zero) std::ranges::fill(disk_.at(range.sector, range.sectors), std::byte{0});
    return kOk;
}

bool VirtioBlk::serve(const IotlbPort& port, const SplitRing::Chain& chain, std::uint32_t& written) {
    written = 0;
    Header header{};
    const std::uint64_t readable = length_of(chain.readable);
    const std::uint64_t writable = length_of(chain.writable);
    if (readable < sizeof header || writable < 1) return false;
    if (!pull(port, chain.readable, 0, std::as_writable_bytes(std::span(&header, 1)))) return false;

    const std::uint64_t out = readable - sizeof header;
    const std::uint64_t in = writable - 1;  // the status is the last byte
    std::uint8_t status = kIoError;
    switch (header.type) {
        case kIn:
            if (!transferable(header.sector, in)) break;
            if (!push(port, chain.writable, 0, disk_.at(header.sector, in / kSector))) break;
            written = static_cast<std::uint32_t>(in);
            status = kOk;
            break;
        case kOut:
            if (!transferable(header.sector, out)) break;
            if (pull(port, chain.readable, sizeof header, disk_.at(header.sector, out / kSector)))
                status = kOk;
            break;
        case kFlush:
            if (header.sector == 0) status = kOk;
            break;
        case kGetId:
            if (header.sector != 0 || in < kIdentity.size()) break;
            if (!push(port, chain.writable, 0, std::as_bytes(std::span(kIdentity)))) break;
            written = static_cast<std::uint32_t>(kIdentity.size());
            status = kOk;
            break;
        case kDiscard:
        case kWriteZeroes:
            if (header.sector == 0) status = clear(port, chain, out, header.type == kWriteZeroes);
            break;
        default:
            break;
    }
    if (!push(port, chain.writable, in, std::as_bytes(std::span(&status, 1)))) return false;
    ++written;
    return true;
}

}  // namespace iommufd::inline v0_1::model
