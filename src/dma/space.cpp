// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/dma/space.hpp"

#include <unistd.h>

#include <cerrno>

#include "backend/state.hpp"
#include "core/delayed_reports.hpp"
#include "dma/space_state.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "error/probes.hpp"

namespace iommufd::inline v0_1::dma {
namespace {

MappingState state_of(const Interval& interval, bool has_sink) {
    switch (interval.phase) {
        case Phase::settled:
            if (interval.abandoned) return MappingState::stuck;
            if (interval.unreached && has_sink) return MappingState::unreached;
            return has_sink ? MappingState::mapped : MappingState::planned;
        case Phase::stuck:
            return MappingState::stuck;
        default:
            return MappingState::busy;
    }
}

// Pages of `size` bytes within the piece, as far as they are congruent in IOVA and memory.
Range large_pages(const Piece& piece, std::uint64_t size) {
    const auto target = piece.address ? reinterpret_cast<std::uintptr_t>(piece.address) : piece.fd_offset;
    const std::uint64_t before = -piece.iova.value & (size - 1);
    if (((piece.iova.value ^ target) & (size - 1)) != 0 || piece.length < before ||
        piece.length - before < size)
        return {Iova{1}, Iova{0}};
    return *Range::of(piece.iova + before, (piece.length - before) / size * size);
}

void count_pages(const Piece& piece, std::uint64_t page_size, Space::Counters& counters) {
    const Range giant = large_pages(piece, 1_GiB);
    const Range large = large_pages(piece, 2_MiB);
    counters.pages_of_1_gib += giant.length() / 1_GiB;
    counters.pages_of_2_mib += (large.length() - giant.length()) / 2_MiB;
    counters.small_pages += (piece.length - large.length()) / page_size;
}

}  // namespace

SpaceState::SpaceState(Space::Options options, std::optional<Reference> reference,
                       std::shared_ptr<backend::State> backend, Report report)
    : id_(std::move(options.id)),
      reference_(std::move(reference)),
      backend_(std::move(backend)),
      report_(std::move(report)),
      page_size_(static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE))),
      huge_pages_(options.huge_pages),
      readers_(std::make_shared<Readers>()),
      last_(std::make_unique<Readers::Retired>()),
      caches_(page_size_) {}

// Readers may outlive the space: what a guard can see stays until the guard has gone.
SpaceState::~SpaceState() {
    (void)retry_releases();
    {
        const sys::Lock lock(mutex_);
        for (const auto& [first, interval] : intervals_.all()) readers_->erase(interval);
        last_->intervals = std::move(intervals_.all());
        readers_->retire(std::move(last_));
    }
    readers_->reclaim();
}

void SpaceState::report(Severity severity, Error error) noexcept {
    if (backend_)
        backend_->notice(severity, std::move(error));
    else
        core::deliver(report_, severity, std::move(error));
}

Limits SpaceState::limits() const {
    const sys::Lock lock(mutex_);
    return *company()->limits;
}

std::vector<MappingInfo> SpaceState::mappings() const {
    std::vector<MappingInfo> list;
    const sys::Lock lock(mutex_);
    for (const auto& [first, interval] : intervals_.all())
        list.push_back({.range = interval.range,
                        .memory = interval.memory->label(),
                        .offset = interval.offset,
                        .access = interval.access,
                        .granule = interval.granule,
                        .state = state_of(interval, !sinks_.empty())});
    return list;
}

std::vector<std::string> SpaceState::devices() const {
    std::vector<std::string> list;
    const sys::Lock lock(mutex_);
    for (const Device& device : devices_) list.push_back(device.device->name());
    return list;
}

std::vector<std::string> SpaceState::sinks() const {
    std::vector<std::string> list;
    const sys::Lock lock(mutex_);
    for (const Joined& joined : sinks_)
        if (!joined.leaving) list.push_back(joined.bound.who);
    return list;
}

Reader SpaceState::reader(std::string_view label) {
    const sys::Lock lock(mutex_);
    return readers_->make(label, intervals_);
}

std::optional<IoasId> SpaceState::ioas() const {
    const sys::Lock lock(mutex_);
    if (!ioas_) return std::nullopt;
    return ioas_->ioas().id();
}

Space::Counters SpaceState::counters() const {
    Space::Counters counters;
    const sys::Lock lock(mutex_);
    for (const auto& [first, interval] : intervals_.all()) {
        if (interval.phase != Phase::settled && interval.phase != Phase::attaching) continue;
        counters.mapped += interval.length();
        if (ioas_ && !interval.memory->is_dma_buf()) counters.pinned += interval.length();
        interval.each_piece(
            [&](const Piece& piece) { return count_pages(piece, page_size_, counters), true; });
    }
    if (ioas_) ioas_->add_to(counters);
    return counters;
}

Result<Space> Space::on(const Backend& backend) { return on(backend, {}); }

Result<Space> Space::on(const Backend& backend, Options options) {
    return guarded(Operation::none, [&]() -> Result<Space> {
        auto reference = backend.refer(compose("dma-space '", options.id, "'"));
        if (!reference) return reference.error();
        return Space(std::make_shared<SpaceState>(std::move(options), std::optional(std::move(*reference)),
                                                  backend.state(), Report()));
    });
}

Result<Space> Space::without_iommufd(Options options, Report report) {
    return guarded(Operation::none, [&]() -> Result<Space> {
        return Space(
            std::make_shared<SpaceState>(std::move(options), std::nullopt, nullptr, std::move(report)));
    });
}

Space::Space(std::shared_ptr<SpaceState> state) noexcept : state_(std::move(state)) {}
Space::Space(Space&&) noexcept = default;
Space& Space::operator=(Space&&) noexcept = default;
Space::~Space() = default;

const std::string& Space::id() const noexcept { return state_->id(); }

Result<Attachment> Space::attach(const std::shared_ptr<Attachable>& device) const {
    return attach(device, {});
}

Result<Attachment> Space::attach(const std::shared_ptr<Attachable>& device,
                                 const AttachOptions& options) const {
    return probes::watched(
               iommufd_attach_semaphore, [&] { return state_->attach(device, options.fault_queue); },
               [&](const auto& result, std::int64_t ns) {
                   probes::attach(id(), device->name(), probes::code_of(result), ns);
               })
        .transform([&] { return Attachment(state_, device); });
}

Result<Mapping> Space::map(const Memory& memory, MapOptions options) const {
    return map(memory, options, nullptr);
}

Result<Mapping> Space::map(const Memory& memory, MapOptions options, const BringUp& how) const {
    return map(memory, options, &how);
}

Result<Mapping> Space::map(const Memory& memory, const MapOptions& options, const BringUp* how) const {
    return probes::watched(
               iommufd_map_semaphore, [&] { return state_->map(memory.node(), options, how); },
               [&](const auto& result, std::int64_t ns) {
                   probes::map(id(), (result ? result->range.first : options.iova.value_or(Iova{0})).value,
                               result ? result->range.length() : options.length, probes::code_of(result), ns,
                               memory.label());
               })
        .transform([&](const SpaceState::Mapped& mapped) {
            return Mapping(state_, mapped.ticket, mapped.range, memory);
        });
}

Result<std::uint64_t> Space::unmap(Range range, UnmapOptions options) const {
    auto unmapped = state_->unmap(range, 0, options.deadline);
    if (unmapped && options.dirty) state_->take_dirty(range, *options.dirty);
    return unmapped;
}

Result<DirtyLog> Space::track_dirty(DirtyOptions options) const {
    return state_->track_dirty(options).transform([&] { return DirtyLog(state_); });
}

Reader Space::reader(std::string_view label) const { return state_->reader(label); }
Result<Reservation> Space::reserve(Range range, std::string label) const {
    return state_->reserve(range, std::move(label)).transform([&](Range taken) {
        return Reservation(state_, taken);
    });
}

Result<Reservation> Space::reserve(std::uint64_t length, ReserveOptions options) const {
    return state_->reserve(length, std::move(options)).transform([&](Range taken) {
        return Reservation(state_, taken);
    });
}

Result<IovaCache> Space::iova_cache() const {
    return state_->make_iova_cache().transform([&](IovaCacheSlot* slot) { return IovaCache(state_, slot); });
}

Limits Space::limits() const { return state_->limits(); }
std::vector<MappingInfo> Space::mappings() const { return state_->mappings(); }
std::vector<std::string> Space::devices() const { return state_->devices(); }
std::vector<std::string> Space::sinks() const { return state_->sinks(); }
std::optional<IoasId> Space::ioas() const { return state_->ioas(); }
Space::Counters Space::counters() const { return state_->counters(); }

std::vector<NotReleased> Space::not_released() const { return state_->not_released(); }
std::size_t Space::retry_releases() const { return state_->retry_releases(); }

Mapping::Mapping(std::shared_ptr<SpaceState> state, std::uint64_t ticket, Range range, Memory memory) noexcept
    : state_(std::move(state)), ticket_(ticket), range_(range), memory_(std::move(memory)) {}
Mapping::Mapping(Mapping&&) noexcept = default;

Mapping& Mapping::operator=(Mapping&& other) noexcept {
    std::swap(state_, other.state_);
    std::swap(ticket_, other.ticket_);
    std::swap(range_, other.range_);
    std::swap(memory_, other.memory_);
    return *this;
}

Mapping::~Mapping() {
    if (state_) state_->abandon(ticket_, range_);
}

MappingState Mapping::state() const {
    for (const MappingInfo& info : state_->mappings())
        if (info.range.contains(range_.first)) return info.state;
    return MappingState::planned;
}

Result<void> Mapping::unmap(UnmapOptions options) && {
    if (!state_) return {};
    auto unmapped = state_->unmap(range_, ticket_, options.deadline);
    if (!unmapped && unmapped.error().code() != ETIMEDOUT) return unmapped.error();
    if (unmapped && options.dirty) state_->take_dirty(range_, *options.dirty);
    state_.reset();
    if (!unmapped) return unmapped.error();
    return {};
}

Result<void> Mapping::remap() {
    if (!state_)
        return guarded(Operation::ioas_map_file, []() -> Result<void> {
            return Error::refused(EINVAL, "cannot map it again", "the mapping was given back", "map it anew");
        });
    return state_->remap(ticket_, range_);
}

void Mapping::leave() && {
    if (!state_) return;
    state_->leave(ticket_, range_);
    state_.reset();
}

Attachment::Attachment(std::shared_ptr<SpaceState> state, std::shared_ptr<Attachable> device) noexcept
    : state_(std::move(state)), device_(std::move(device)) {}
Attachment::Attachment(Attachment&&) noexcept = default;

Attachment& Attachment::operator=(Attachment&& other) noexcept {
    std::swap(state_, other.state_);
    std::swap(device_, other.device_);
    return *this;
}

Attachment::~Attachment() {
    if (!state_) return;
    if (auto detached = state_->detach(*device_); !detached)
        state_->report(Severity::error, detached.error());
}

const std::string& Attachment::device() const noexcept { return device_->name(); }

Result<void> Attachment::detach() && {
    if (!state_) return {};
    auto detached = state_->detach(*device_);
    state_.reset();
    device_.reset();
    return detached;
}

}  // namespace iommufd::inline v0_1::dma
