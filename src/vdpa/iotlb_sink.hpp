// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A vhost-vdpa device's IOTLB as a place that a Space's mappings go to.
//
//     map      one UPDATE: all of the piece, or nothing
//     unmap    one INVALIDATE around the pieces, which the kernel removes as a whole
//     replay   a batch: the device is told once. Its end can't report that the device refused, so the last
//              piece goes by itself after it: that UPDATE hands the whole table over again, and can
//
// The kernel's answer to all that it refuses is EFAULT. So whatever can be known beforehand is refused here,
// by name, and the rest is explained afterwards.
//
// Two kinds of work exclude each other: single pieces, side by side; and what concerns the whole table (a
// batch, a reset of the device), alone. When the device may have something else than the book says, the
// table is "stale": it is emptied and filled again before the next piece, or as soon as may be.
//
// Threads: any calls may run at once. No lock is held across a write.
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
    class Single;
    class Alone;

    std::string place(Range range) const;
    std::string refusal(const dma::Piece& piece) const;
    std::string refusal(std::span<const dma::Piece> pieces) const;
    Result<void> check_shape(const dma::Piece& piece) const;
    Result<void> check_room(const dma::Piece& piece, std::size_t more) const IOMMUFD_REQUIRES(mutex_);
    Result<void> check_memlock(std::uint64_t bytes, const std::string& what) const;
    Error explain_refusal(const dma::Piece& piece, int error, int undone) const;

    Result<void> enter(std::span<const dma::Piece> pieces);
    void leave(std::span<const dma::Piece> pieces) noexcept;
    Result<void> send_all(std::span<const dma::Piece> pieces);
    Result<void> empty_table();
    Result<void> fill_table();
    Result<void> mend(std::string_view then);
    bool is_stale() const;
    void set_stale(bool stale) noexcept;

    sys::Kernel& kernel_;
    const Iotlb iotlb_;
    const std::string device_;
    const Terms terms_;

    mutable sys::Mutex mutex_;
    sys::Condition changed_;
    IotlbBook book_ IOMMUFD_GUARDED_BY(mutex_);
    unsigned singles_ IOMMUFD_GUARDED_BY(mutex_) = 0;
    bool alone_ IOMMUFD_GUARDED_BY(mutex_) = false;
    bool stale_ IOMMUFD_GUARDED_BY(mutex_) = false;
};

}  // namespace iommufd::inline v0_1::vdpa
