// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/ioas_sink.hpp"

#include <cerrno>

#include "core/node.hpp"
#include "error/compose.hpp"
#include "error/probes.hpp"
#include "iommufd/host/process.hpp"

namespace iommufd::inline v0_1::dma {
namespace {

// Refusals of a file as such: the same memory may well be mapped by its address.
bool is_refusal_of_file(int code) {
    return code == ENOTTY || code == EINVAL || code == EBADF || code == EOPNOTSUPP;
}

// Adds up how long the call took, if it is one for much memory.
template <class Call>
auto timed(std::uint64_t length, std::atomic<std::int64_t>& sum, Call&& call) {
    if (length < 2_MiB) return call();
    const auto start = std::chrono::steady_clock::now();
    auto result = call();
    sum += std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count();
    return result;
}

std::string naming(const Piece& piece) { return compose("'", piece.label, "'"); }

}  // namespace

bool has_cap_ipc_lock(sys::Kernel& kernel) {
    const auto process = host::process(kernel);
    return process && process->cap_ipc_lock;
}

Result<std::unique_ptr<IoasSink>> IoasSink::alloc(const core::Context& context, std::string_view label,
                                                  bool huge_pages) {
    auto ioas = core::Ioas::alloc(context, {.label = label});
    if (!ioas) return ioas.error();
    if (!huge_pages)
        if (auto set = ioas->set_huge_pages(false); !set) return set.error();
    return std::make_unique<IoasSink>(std::move(*ioas), huge_pages);
}

IoasSink::~IoasSink() {
    // A guest's viommu that outlives its devices keeps the IOAS, but nothing of what is mapped there.
    if (ioas_.node().use_count() == 1 || gives_up()) return;
    if (auto unmapped = ioas_.unmap_all(); !unmapped)
        ioas_.node()->context().notice(Severity::error, unmapped.error());
}

IoasSink::IoasSink(core::Ioas ioas, bool huge_pages)
    : ioas_(std::move(ioas)),
      tables_(ioas_, huge_pages),
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

// Whatever the kernel has against it, mapping may still do.
bool IoasSink::copy(const Piece& piece) noexcept {
    if (!piece.pinned_by || &piece.pinned_by->node()->context() != &ioas_.node()->context()) return false;
    const auto copied = probes::watched(
        iommufd_copy_semaphore,
        [&] { return ioas_.copy(*piece.pinned_by, piece.pinned_at, piece.length, piece.access, piece.iova); },
        [&](const auto& result, std::int64_t ns) {
            probes::copy(ioas_.id().value, piece.iova.value, piece.length, probes::code_of(result), ns);
        });
    if (copied) ++by_copy_;
    return static_cast<bool>(copied);
}

Result<void> IoasSink::map(const Piece& piece) {
    return timed(piece.length, nanoseconds_, [&] { return map_in_some_way(piece); });
}

Result<void> IoasSink::map_in_some_way(const Piece& piece) {
    if (copy(piece)) return {};
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
    ++unmapped_;
    return timed(range.last - range.first, nanoseconds_, [&] {
        return range.length() == 0 ? ioas_.unmap_all() : ioas_.unmap(range.first, range.length());
    });
}

void IoasSink::add_to(Space::Counters& counters) const noexcept {
    counters.mapped_by_file += by_file_;
    counters.mapped_by_address += by_address_;
    counters.mapped_by_copy += by_copy_;
    counters.unmapped += unmapped_;
    counters.time += std::chrono::nanoseconds(nanoseconds_);
}

}  // namespace iommufd::inline v0_1::dma
