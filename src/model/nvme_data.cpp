// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Commands that move data.
#include <algorithm>
#include <cstring>
#include <string_view>
#include <vector>

#include "model/nvme.hpp"

namespace iommufd::inline v0_1::model {

using namespace nvme;

namespace {

constexpr std::uint64_t kPage = 4096;
constexpr unsigned kLargestTransfer = 7;      // of one command: pages, as a power of two
constexpr std::uint32_t kNamespaceIds = 256;  // that the controller knows; only the first is there

std::uint64_t pages_of(std::uint64_t length) { return (length + kPage - 1) / kPage; }

// The page that an identify command is answered with.
class Identification {
public:
    template <class T>
    void put(std::size_t offset, T value) {
        std::memcpy(bytes_.data() + offset, &value, sizeof value);
    }
    // Padded with blanks.
    void text(std::size_t offset, std::size_t length, std::string_view value) {
        std::memset(bytes_.data() + offset, ' ', length);
        std::memcpy(bytes_.data() + offset, value.data(), std::min(length, value.size()));
    }
    std::span<std::byte> bytes() { return bytes_; }

private:
    std::array<std::byte, kPage> bytes_{};
};

void describe_controller(Identification& page) {
    page.put(0, Nvme::kIdentity.vendor);
    page.put(2, Nvme::kIdentity.subsystem_vendor);
    page.text(4, 20, "model");
    page.text(24, 40, "NVMe model");
    page.text(64, 8, "1.0");
    page.put<std::uint8_t>(77, kLargestTransfer);
    page.put<std::uint32_t>(80, 0x00010400);  // version
    page.put<std::uint8_t>(111, 1);           // an I/O controller
    page.put<std::uint8_t>(258, 3);           // commands to abort at once, counted from zero
    page.put<std::uint8_t>(259, 3);           // requests for events
    page.put<std::uint8_t>(260, 3);           // firmware: one slot, for reading only
    page.put<std::uint8_t>(512, 0x66);        // submission entries of 2^6 bytes
    page.put<std::uint8_t>(513, 0x44);        // completion entries of 2^4
    page.put<std::uint32_t>(516, kNamespaceIds);
    page.put<std::uint16_t>(520, 1U << 3);  // write zeroes
    page.put<std::uint8_t>(525, 7);         // a cache, and a flush of every namespace
    constexpr std::string_view kName = "nqn.2019-08.org.qemu:model";
    for (std::size_t i = 0; i < kName.size(); ++i) page.put(768 + i, kName[i]);
}

void describe_namespace(Identification& page, std::uint64_t sectors) {
    for (const unsigned size : {0U, 8U, 16U}) page.put(size, sectors);
    page.put<std::uint8_t>(128 + 2, 9);  // blocks of 2^9 bytes
}

}  // namespace

Nvme::Answer Nvme::identify(const Command& command) {
    Identification page;
    const bool present = command.nsid == 1;
    switch (command.cdw10 & 0xff) {
        case kOfController:
            describe_controller(page);
            break;
        case kOfNamespace:
            if (command.nsid == 0 || command.nsid > kNamespaceIds) return {kInvalidNamespace};
            if (present) describe_namespace(page, disk_.sectors());
            break;
        case kNamespaces:
            if (command.nsid >= 0xfffffffe) return {kInvalidNamespace};
            if (command.nsid < 1) page.put<std::uint32_t>(0, 1);
            break;
        case kDescriptors:
            if (command.nsid == 0 || command.nsid > kNamespaceIds) return {kInvalidNamespace};
            if (!present) return {kInvalidField};
            page.put<std::uint16_t>(0, 0x0104);  // a command set identifier of one byte: NVM
            break;
        default:
            return {kInvalidField};
    }
    return {move(command, page.bytes(), true)};
}

Nvme::Answer Nvme::work(const Command& command) {
    const bool known = command.opcode == kFlush || command.opcode == kWrite || command.opcode == kRead ||
                       command.opcode == kWriteZeroes;
    if (!known) return {kInvalidOpcode};
    if (command.opcode == kFlush && command.nsid == kEveryNamespace) return {};
    if (command.nsid == 0 || command.nsid > kNamespaceIds) return {kInvalidNamespace};
    if (command.nsid != 1) return {kInvalidField};
    return command.opcode == kFlush ? Answer{} : transfer(command);
}

Nvme::Answer Nvme::transfer(const Command& command) {
    const std::uint64_t first = command.cdw10 | std::uint64_t{command.cdw11} << 32;
    const std::uint64_t sectors = (command.cdw12 & 0xffff) + 1;
    const bool zeroes = command.opcode == kWriteZeroes;
    if (!zeroes && sectors * Disk::kSector > kPage << kLargestTransfer) return {kInvalidField};
    if (first >= disk_.sectors() || sectors > disk_.sectors() - first) return {kOutOfRange};
    const std::span<std::byte> data = disk_.at(first, sectors);
    if (!zeroes) return {move(command, data, command.opcode == kRead)};
    std::ranges::fill(data, std::byte{0});
    return {};
}

// Of `length` bytes from the second page on.
nvme::Status Nvme::follow_list(std::uint64_t list, std::uint64_t length, std::vector<Piece>& pieces) {
    // A list that names itself ends, too: there is no more than one for each page.
    for (std::uint64_t lists = pages_of(length); length != 0; --lists) {
        const std::uint64_t places = (kPage - list % kPage) / sizeof list;
        std::vector<std::uint64_t> pages(std::min(places, pages_of(length)));
        if (lists == 0 || pages.empty()) return kInvalidPrp;
        if (!wiring_.dma.read(list, std::as_writable_bytes(std::span(pages)))) return kTransferError;
        if (std::ranges::any_of(pages, [](std::uint64_t page) { return page % kPage != 0; }))
            return kInvalidPrp;
        // Where there are more pages than places, the last one names the next list.
        list = pages.back();
        if (pages.size() < pages_of(length)) pages.pop_back();
        for (const std::uint64_t page : pages) {
            pieces.push_back({.iova = page, .length = std::min(length, kPage)});
            length -= pieces.back().length;
        }
    }
    return kSuccess;
}

nvme::Status Nvme::find_pages(const Command& command, std::uint64_t length, std::vector<Piece>& pieces) {
    pieces.push_back({.iova = command.prp1, .length = std::min(length, kPage - command.prp1 % kPage)});
    length -= pieces.back().length;
    if (length > kPage) return follow_list(command.prp2, length, pieces);
    if (length == 0) return kSuccess;
    if (command.prp2 % kPage != 0) return kInvalidPrp;
    pieces.push_back({.iova = command.prp2, .length = length});
    return kSuccess;
}

nvme::Status Nvme::move(const Command& command, std::span<std::byte> data, bool to_host) {
    std::vector<Piece> pieces;
    if (const Status status = find_pages(command, data.size(), pieces); status != kSuccess) return status;
    for (const Piece& piece : pieces) {
        const std::span<std::byte> part = data.first(piece.length);
        data = data.subspan(piece.length);
        // Where it is blocked, the command succeeds all the same, as in QEMU.
        (void)(to_host ? wiring_.dma.write(piece.iova, part) : wiring_.dma.read(piece.iova, part));
    }
    return kSuccess;
}

}  // namespace iommufd::inline v0_1::model
