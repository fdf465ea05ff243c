// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A sink that only keeps books, and fails when it is told to.
#pragma once

#include <atomic>
#include <cerrno>
#include <map>

#include "iommufd/dma/attachable.hpp"
#include "sys/mutex.hpp"

namespace iommufd::inline v0_1::support {

class FakeSink final : public dma::Attachable, public dma::Sink {
public:
    explicit FakeSink(std::string name,
                      dma::Limits limits = {.ranges = {{Iova{0}, Iova{~0ULL}}}, .alignment = 4096},
                      unsigned dma_bits = 64)
        : name_(std::move(name)), limits_(std::move(limits)), dma_bits_(dma_bits) {}

    const std::string& name() const noexcept override { return name_; }
    unsigned dma_bits() const noexcept override { return dma_bits_; }
    dma::Sink* sink() noexcept override { return this; }

    std::string describe() const override { return "sink of " + name_; }
    Result<dma::Limits> limits() const override { return limits_; }

    bool takes_dma_bufs() const noexcept override { return dma_bufs; }
    Result<void> map(const dma::Piece& piece) override {
        if (before_map) before_map(piece);
        if (fail_map_at && piece.iova == *fail_map_at) return Error(Operation::iotlb_update, ENOMEM);
        const sys::Lock lock(mutex_);
        pieces_[piece.iova] = piece.length;
        ++calls;
        return {};
    }

    Result<std::uint64_t> unmap(Range range) override {
        if (before_unmap) before_unmap(range);
        if (fail_unmap) return Error(Operation::iotlb_invalidate, fail_unmap);
        const sys::Lock lock(mutex_);
        std::uint64_t bytes = 0;
        std::size_t unmapped = 0;
        for (auto it = pieces_.lower_bound(range.first);
             it != pieces_.end() && it->first <= range.last && unmapped < most_unmapped; ++unmapped) {
            bytes += it->second;
            it = pieces_.erase(it);
        }
        if (bytes == 0) return Error(Operation::iotlb_invalidate, ENOENT);
        return bytes;
    }

    std::map<Iova, std::uint64_t> pieces() const {
        const sys::Lock lock(mutex_);
        return pieces_;
    }

    std::function<void(const dma::Piece&)> before_map;
    std::function<void(Range)> before_unmap;
    std::optional<Iova> fail_map_at;
    bool dma_bufs = false;
    int fail_unmap = 0;                           // a positive errno
    std::size_t most_unmapped = ~std::size_t{0};  // pieces by one call
    std::atomic<unsigned> calls = 0;

private:
    const std::string name_;
    const dma::Limits limits_;
    const unsigned dma_bits_;
    mutable sys::Mutex mutex_;
    std::map<Iova, std::uint64_t> pieces_ IOMMUFD_GUARDED_BY(mutex_);
};

}  // namespace iommufd::inline v0_1::support
