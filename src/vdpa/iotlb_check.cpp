// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the kernel would refuse without saying why, said before; and what it did refuse, explained.
#include <cerrno>

#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "iommufd/host/process.hpp"
#include "vdpa/iotlb_sink.hpp"

namespace iommufd::inline v0_1::vdpa {
namespace {

std::string span_of(const dma::Piece& piece) {
    return compose(Hex{piece.iova.value}, "+", Hex{piece.length});
}

}  // namespace

std::string IotlbSink::describe() const {
    if (iotlb_.asid() == 0) return compose("the IOTLB of ", device_);
    return compose("address space ", iotlb_.asid(), " of ", device_);
}

Result<dma::Limits> IotlbSink::limits() const {
    return guarded(Operation::vdpa_iova_range, [&]() -> Result<dma::Limits> {
        return dma::Limits{.ranges = {terms_.range}, .alignment = terms_.page_size};
    });
}

std::string IotlbSink::place(Range range) const {
    return compose(Hex{range.first.value}, "+", Hex{range.length()}, " in ", describe());
}

std::string IotlbSink::refusal(const dma::Piece& piece) const {
    return compose("cannot map ", span_of(piece), " ('", piece.label, "') into ", describe());
}

std::string IotlbSink::refusal(std::span<const dma::Piece> pieces) const {
    return pieces.size() == 1 ? refusal(pieces.front())
                              : compose("cannot map ", pieces.size(), " pieces into ", describe());
}

Result<void> IotlbSink::check(const dma::Piece& piece) const {
    return guarded(Operation::iotlb_update, [&]() -> Result<void> {
        if (auto shape = check_shape(piece); !shape) return shape;
        {
            const sys::Lock lock(mutex_);
            if (auto room = check_room(piece, 0); !room) return room;
        }
        return check_memlock(piece.length, refusal(piece));
    });
}

Result<void> IotlbSink::check_shape(const dma::Piece& piece) const {
    const auto range = Range::of(piece.iova, piece.length);
    if (!range)
        return Error::refused(EINVAL, refusal(piece), "it is no byte, or wraps around at 2^64",
                              "map at least a page that ends below 2^64");
    const std::uint64_t address = reinterpret_cast<std::uintptr_t>(piece.address);
    if ((piece.iova.value | piece.length | address) % terms_.page_size != 0)
        return Error::refused(EINVAL, refusal(piece),
                              compose("IOVA, length or address (", Hex{address},
                                      ") is not a whole number of pages, and the "
                                      "device would be given all of the pages that they touch"),
                              compose("align all three to ", terms_.page_size, " bytes"));
    if (!terms_.range.contains(*range))
        return Error::refused(EINVAL, refusal(piece),
                              compose("the device takes IOVAs from ", Hex{terms_.range.first.value}, " to ",
                                      Hex{terms_.range.last.value}),
                              "choose an IOVA in that range");
    if (terms_.uses_addresses && !piece.shared)
        return Error::refused(
            EOPNOTSUPP, refusal(piece),
            compose("the memory is private; ", device_,
                    " uses addresses of this process, for which Linux maps shared file memory only, and "
                    "passes over the rest without an error"),
            "use a memfd, or a file that is mapped shared (share=on)");
    return {};
}

// `more` entries are still to come with it.
Result<void> IotlbSink::check_room(const dma::Piece& piece, std::size_t more) const {
    if (const auto* other = book_.overlapping(*Range::of(piece.iova, piece.length)))
        return Error::refused(EEXIST, refusal(piece),
                              compose(Hex{other->piece.iova.value}, "+", Hex{other->piece.length}, " ('",
                                      other->label, "') is mapped there"),
                              "unmap that first, or choose another IOVA");
    if (book_.size() + more >= terms_.most_entries)
        return Error::refused(ENOSPC, refusal(piece),
                              compose("the device's table takes ", terms_.most_entries, " entries"),
                              "map fewer, larger pieces, or raise vhost_vdpa.max_iotlb_entries");
    return {};
}

Result<void> IotlbSink::check_memlock(std::uint64_t bytes, const std::string& what) const {
    if (terms_.uses_addresses) return {};
    const auto process = host::process(kernel_);
    // Without /proc the kernel still knows; its EFAULT is then explained by what is left.
    if (!process || !process->memlock_limit) return {};
    // The kernel counts whole pages.
    const std::uint64_t limit = *process->memlock_limit / terms_.page_size * terms_.page_size;
    if (process->pinned <= limit && bytes <= limit - process->pinned) return {};
    const std::uint64_t needed = process->pinned + bytes;
    return Error::refused(
        ENOMEM, what,
        compose("RLIMIT_MEMLOCK is ", size_text(*process->memlock_limit), "; this process has pinned ",
                size_text(process->pinned), " (VmPin, iommufd's pins included), and the device pins ",
                size_text(bytes), " more, which CAP_IPC_LOCK does not excuse"),
        compose("raise the limit to ", needed, " bytes (`ulimit -l ", (needed + 1023) / 1024,
                "`, LimitMEMLOCK= of the service), and map for vDPA before VFIO devices"));
}

Error IotlbSink::not_the_owner(std::string what) {
    return Error::refused(EPERM, std::move(what),
                          "this process is not the device's owner: that is the one that opened it "
                          "(VHOST_SET_OWNER), and a child that inherited the descriptor is another",
                          "map in the process that opened the device, or open it here after the fork");
}

// The kernel refused a piece, or the last page of it, and undid that.
Error IotlbSink::explain_refusal(const dma::Piece& piece, int error) const {
    if (error != -EFAULT) return failed(Operation::iotlb_update, -error, [&] { return refusal(piece); });
    std::string what = refusal(piece);
    // Takes back the rest of the piece, which the question of the limit must not count. It fails for a process
    // that isn't the owner, and for no other.
    if (iotlb_.invalidate(*Range::of(piece.iova, piece.length)) == -EFAULT)
        return not_the_owner(std::move(what));
    if (auto limit = check_memlock(piece.length, what); !limit) return limit.error();
    if (terms_.uses_addresses)
        return Error::refused(
            EFAULT, what,
            compose("no memory is mapped at all of ", Hex{reinterpret_cast<std::uintptr_t>(piece.address)},
                    "+", Hex{piece.length}, ", or the table of the device is full"),
            "keep the memory mapped for as long as the device has it; map fewer pieces");
    return Error::refused(
        EFAULT, what,
        compose("a page can't be pinned (not mapped, not writable, a file on a disk, a device's BAR), or "
                "the pages lie in more than ",
                terms_.most_entries, " places of physical memory, of which each takes an entry"),
        "use memory of a memfd, with huge pages for large sizes, or raise vhost_vdpa.max_iotlb_entries");
}

}  // namespace iommufd::inline v0_1::vdpa
