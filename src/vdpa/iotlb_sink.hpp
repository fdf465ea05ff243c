// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A vhost-vdpa device's IOTLB as a place that a Space's mappings go to.
//
// The kernel answers all that it refuses with EFAULT. So what can be known beforehand is refused here, by
// name, and the rest is explained afterwards.
//
// Every change that isn't in a batch may make the kernel hand the whole table to the device again (set_map):
// for each piece, and where it pins for each run of pages that lie side by side. In a batch it does so once,
// at the end, but then drops what the device said. So a batch leaves out its last page, which follows as an
// UPDATE by itself: that hands over the whole table, and reports:
//
//     BATCH_BEGIN, UPDATE..., BATCH_END, UPDATE of the last page
//
// When the device may have something else than the book says (a reset, a failed batch), the table is "stale":
// it is emptied and filled again, at once or, where that fails, before the next change.
//
// Threads: any calls may run at once. Those that change the table take turns, as the kernel would make them;
// no lock is held across a write.
#pragma once

#include <functional>
#include <string>

#include "iommufd/dma/sink.hpp"
#include "sys/mutex.hpp"
#include "vdpa/iotlb.hpp"
#include "vdpa/iotlb_book.hpp"

namespace iommufd::inline v0_1::vdpa {

class IotlbSink final : public dma::Sink {
public:
    struct Terms {
        Range range;               // IOVAs that the device can be given
        std::uint64_t page_size;   // in bytes: the kernel rounds anything else out to whole pages
        bool uses_addresses;       // takes shared file memory only; else it pins pages
        bool batches;              // IOTLB_BATCH was agreed on
        std::size_t most_entries;  // of the kernel's table
    };

    // `device` names it: "vhost-vdpa /dev/vhost-vdpa-0".
    IotlbSink(sys::Kernel& kernel, Iotlb iotlb, std::string device, Terms terms);

    std::string describe() const override;
    Result<dma::Limits> limits() const override;
    Result<void> check(const dma::Piece& piece) const override;
    Result<void> map(const dma::Piece& piece) override;
    Result<void> replay(std::span<const dma::Piece> pieces) override;
    Result<std::uint64_t> unmap(Range range) override;

    // Does something after which the device has lost its table, or (`loses` false) keeps it; with nobody
    // mapping meanwhile. Brings the table back.
    Result<void> around_reset(bool loses, const std::function<Result<void>()>& reset);

    const Terms& terms() const noexcept { return terms_; }

private:
    class Turn;

    std::string place(Range range) const;
    std::string refusal(const dma::Piece& piece) const;
    std::string refusal(std::span<const dma::Piece> pieces) const;
    Result<void> check_shape(const dma::Piece& piece) const;
    Result<void> check_room(const dma::Piece& piece, std::size_t more) const IOMMUFD_REQUIRES(mutex_);
    Result<void> check_memlock(std::uint64_t bytes, const std::string& what) const;
    static Error not_the_owner(std::string what);
    Error explain_refusal(const dma::Piece& piece, int error) const;

    // All of these within a turn.
    Result<void> enter(std::span<const dma::Piece> pieces);
    void leave(std::span<const dma::Piece> pieces) noexcept;
    Result<void> send(const dma::Piece& part, const dma::Piece& whole) const;
    Result<void> send_all(std::span<const dma::Piece> pieces) const;
    Result<void> send_batch(std::span<const dma::Piece> pieces) const;
    bool take_back(const dma::Piece& piece) const noexcept;
    Result<void> empty_table() const;
    Result<void> fill_table() const;
    Result<void> mend(std::string_view then);

    sys::Kernel& kernel_;
    const Iotlb iotlb_;
    const std::string device_;
    const Terms terms_;

    mutable sys::Mutex mutex_;
    sys::Condition changed_;
    IotlbBook book_ IOMMUFD_GUARDED_BY(mutex_);  // changed by whose turn it is
    bool taken_ IOMMUFD_GUARDED_BY(mutex_) = false;
    bool stale_ = false;  // belongs to whose turn it is
};

}  // namespace iommufd::inline v0_1::vdpa
