// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <atomic>

#include "dma/page_tables.hpp"
#include "iommufd/backend/backend.hpp"
#include "iommufd/dma/space.hpp"

namespace iommufd::inline v0_1::dma {

// Whether what this process maps now is charged to nobody.
bool has_cap_ipc_lock(sys::Kernel& kernel);

// An IOAS as a sink: maps by file where the memory is a shared file and the kernel takes it, else by address.
class IoasSink final : public Sink {
public:
    // Without huge pages each page has an entry of its own in the page tables, however the memory lies.
    static Result<std::unique_ptr<IoasSink>> alloc(const core::Context& context, std::string_view label,
                                                   bool huge_pages);
    // `huge_pages`: what the IOAS says of it.
    IoasSink(core::Ioas ioas, bool huge_pages);
    ~IoasSink() override;

    std::string describe() const override;
    Result<Limits> limits() const override;
    bool takes_dma_bufs() const noexcept override { return true; }
    Result<void> map(const Piece& piece) override;
    Result<std::uint64_t> unmap(Range range) override;

    const core::Ioas& ioas() const noexcept { return ioas_; }
    // The caller makes one call of the tables at a time.
    PageTables& tables() noexcept { return tables_; }

    // Its kernel calls so far.
    void add_to(Space::Counters& counters) const noexcept;
    // Whether it stays as it is whatever is undone here, for another process.
    bool gives_up() const noexcept;
    // Whether the kernel refused a shared file, which was mapped by its address then.
    bool fell_back() const noexcept { return fell_back_; }
    // Whether the process had CAP_IPC_LOCK when it made the IOAS: what it maps is then charged to nobody.
    bool was_unlimited() const noexcept { return was_unlimited_; }

private:
    Result<void> map_in_some_way(const Piece& piece);
    bool copy(const Piece& piece) noexcept;
    Result<void> map_by_address(const Piece& piece);

    core::Ioas ioas_;
    PageTables tables_;
    const bool was_unlimited_;
    std::atomic<bool> file_unsupported_ = false;
    std::atomic<bool> fell_back_ = false;
    std::atomic<std::uint64_t> by_file_ = 0;
    std::atomic<std::uint64_t> by_address_ = 0;
    std::atomic<std::uint64_t> by_copy_ = 0;
    std::atomic<std::uint64_t> unmapped_ = 0;
    std::atomic<std::int64_t> nanoseconds_ = 0;  // in the long ones
};

}  // namespace iommufd::inline v0_1::dma
