// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <atomic>

#include "dma/page_tables.hpp"
#include "iommufd/backend/backend.hpp"

namespace iommufd::inline v0_1::dma {

// An IOAS as a sink: maps by file where the memory is a shared file and the kernel takes it, else by address.
class IoasSink final : public Sink {
public:
    static Result<std::unique_ptr<IoasSink>> alloc(const core::Context& context, std::string_view label);
    explicit IoasSink(core::Ioas ioas);

    std::string describe() const override;
    Result<Limits> limits() const override;
    bool takes_dma_bufs() const noexcept override { return true; }
    Result<void> map(const Piece& piece) override;
    Result<std::uint64_t> unmap(Range range) override;

    const core::Ioas& ioas() const noexcept { return ioas_; }
    // The caller makes one call of the tables at a time.
    PageTables& tables() noexcept { return tables_; }

    // Whether it stays as it is whatever is undone here, for another process.
    bool gives_up() const noexcept;

    // How often each way of mapping was taken.
    std::uint64_t mapped_by_file() const noexcept { return by_file_; }
    std::uint64_t mapped_by_address() const noexcept { return by_address_; }
    // Whether the kernel refused a shared file, which was mapped by its address then.
    bool fell_back() const noexcept { return fell_back_; }
    // Whether the process had CAP_IPC_LOCK when it made the IOAS: what it maps is then charged to nobody.
    bool was_unlimited() const noexcept { return was_unlimited_; }

private:
    Result<void> map_by_address(const Piece& piece);

    core::Ioas ioas_;
    PageTables tables_;
    const bool was_unlimited_;
    std::atomic<bool> file_unsupported_ = false;
    std::atomic<bool> fell_back_ = false;
    std::atomic<std::uint64_t> by_file_ = 0;
    std::atomic<std::uint64_t> by_address_ = 0;
};

}  // namespace iommufd::inline v0_1::dma
