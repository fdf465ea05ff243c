// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/ioas_sink.hpp"

#include <cerrno>

#include "core/node.hpp"
#include "error/compose.hpp"
#include "iommufd/host/process.hpp"

namespace iommufd::inline v0_1::dma {
namespace {

// Refusals of a file as such: the same memory may well be mapped by its address.
bool is_refusal_of_file(int code) {
    return code == ENOTTY || code == EINVAL || code == EBADF || code == EOPNOTSUPP;
}

bool has_cap_ipc_lock(sys::Kernel& kernel) {
    const auto process = host::process(kernel);
    return process && process->cap_ipc_lock;
}

std::string naming(const Piece& piece) { return compose("'", piece.label, "'"); }

}  // namespace

Result<std::unique_ptr<IoasSink>> IoasSink::alloc(const core::Context& context, std::string_view label) {
    auto ioas = core::Ioas::alloc(context, {.label = label});
    if (!ioas) return ioas.error();
    return std::make_unique<IoasSink>(std::move(*ioas));
}

IoasSink::IoasSink(core::Ioas ioas)
    : ioas_(std::move(ioas)),
      tables_(ioas_),
      was_unlimited_(has_cap_ipc_lock(ioas_.node()->context().kernel())) {}

bool IoasSink::gives_up() const noexcept { return ioas_.node()->context().gives_up(); }

std::string IoasSink::describe() const { return ioas_.node()->describe(); }

Result<Limits> IoasSink::limits() const {
    return ioas_.iova_ranges().transform([](core::IovaRanges&& ranges) {
        return Limits{.ranges = std::move(ranges.ranges), .alignment = ranges.alignment};
    });
}

Result<void> IoasSink::map_by_address(const Piece& piece) {
    auto mapped = ioas_.map(piece.address, piece.length, piece.access, piece.iova);
    if (!mapped) return mapped.error().within(naming(piece));
    ++by_address_;
    return {};
}

Result<void> IoasSink::map(const Piece& piece) {
    const bool only_by_file = !piece.address;
    if (!only_by_file && (piece.fd < 0 || !piece.shared || file_unsupported_)) return map_by_address(piece);
    auto mapped = ioas_.map_file(piece.fd, piece.fd_offset, piece.length, piece.access, piece.iova);
    if (mapped) {
        ++by_file_;
        return {};
    }
    if (only_by_file || !is_refusal_of_file(mapped.error().code()))
        return mapped.error().within(naming(piece));
    if (mapped.error().code() == ENOTTY) file_unsupported_ = true;
    fell_back_ = true;
    return map_by_address(piece);
}

Result<std::uint64_t> IoasSink::unmap(Range range) {
    if (gives_up()) return range.length();
    return range.length() == 0 ? ioas_.unmap_all() : ioas_.unmap(range.first, range.length());
}

}  // namespace iommufd::inline v0_1::dma
