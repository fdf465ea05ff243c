// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Which source tells a Space what was written: its start, its end, and what devices that come and go make of it. Reading it is
// in space_dirty_sync.cpp.
#include <algorithm>
#include <cerrno>
#include <ranges>

#include "core/delayed_reports.hpp"
#include "dma/space_turn.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "error/probes.hpp"

namespace iommufd::inline v0_1::dma {
namespace {

// The kernel's own limit.
constexpr std::size_t kMostLoggedRanges = 256;

std::string_view name(DirtyFrom from) noexcept {
    switch (from) {
        case DirtyFrom::nowhere:
            return "translations only";
        case DirtyFrom::devices:
            return "the devices' logs";
        case DirtyFrom::page_tables:
            return "the IOMMU's page tables";
        case DirtyFrom::everything:
            return "nothing: all that is mapped counts as written to";
    }
    return "";
}

Error cannot_track(std::string_view space, int code, std::string cause, std::string next_step) {
    return Error::refused(code, compose("cannot track the dirty pages of '", space, "'"), std::move(cause),
                          std::move(next_step));
}

}  // namespace

// --- the choice ---------------------------------------------------------------------------------

// Within a turn, as all of this file is.
SpaceState::DirtyChoice SpaceState::choose_dirty(std::optional<DirtyFrom> wanted) const {
    if (devices_.empty()) return {DirtyFrom::nowhere, "there is no device"};
    const auto may_be = [&](DirtyFrom from) { return !wanted || *wanted == from; };
    std::string why;
    const std::span<const Device> devices(devices_);
    const auto have_all = [&](auto&& has, std::string_view what) {
        const auto without = std::ranges::find_if_not(devices, has);
        if (without == devices.end()) return true;
        why += compose(why.empty() ? "" : "; ", without->device->name(), " has no ", what);
        return false;
    };
    if (may_be(DirtyFrom::devices) &&
        have_all([](const Device& entry) { return entry.device->dirty_source() != nullptr; },
                 "log of what it writes"))
        return {DirtyFrom::devices, {}};
    const auto has_table = [&](const Device& entry) IOMMUFD_REQUIRES(mutex_) {
        const IommuDevice* const device = entry.device->iommu_device();
        return device && ioas_ && ioas_->tables().can_track(*device);
    };
    if (may_be(DirtyFrom::page_tables) && have_all(has_table, "page table with dirty bits"))
        return {DirtyFrom::page_tables, std::move(why)};
    if (why.empty()) why = wanted == DirtyFrom::everything ? "that was asked for" : "there are devices";
    return {DirtyFrom::everything, std::move(why)};
}

bool SpaceState::still_covers(const DirtyPlan& plan) const noexcept {
    if (plan.from == DirtyFrom::everything) return true;
    if (devices_.empty()) return plan.from == DirtyFrom::nowhere;
    return std::ranges::all_of(devices_, [&](const Device& entry) IOMMUFD_REQUIRES(mutex_) {
        IommuDevice* const device = entry.device->iommu_device();
        const auto is_its_log = [&](const DirtyTrail& trail) { return trail.device == entry.device; };
        switch (plan.from) {
            case DirtyFrom::devices:
                return plan.logged.empty() || std::ranges::any_of(plan.trails, is_its_log);
            case DirtyFrom::page_tables:
                return device && ioas_ && ioas_->tables().can_track(*device);
            default:
                return false;
        }
    });
}

std::vector<Range> SpaceState::mapped_ranges() const {
    std::vector<Range> ranges;
    for (const auto& [first, interval] : intervals_.all()) {
        if (interval.memory->is_dma_buf()) continue;
        if (!ranges.empty() && ranges.back().last + 1 == first)
            ranges.back().last = interval.range.last;
        else
            ranges.push_back(interval.range);
    }
    return ranges;
}

// All of the choice's trails, or none. Those of page tables are begun with by tables that come later.
Result<std::shared_ptr<const DirtyPlan>> SpaceState::begin_trails(DirtyChoice choice) {
    auto plan = std::make_shared<DirtyPlan>();
    plan->from = choice.from;
    plan->why = std::move(choice.why);
    std::shared_ptr<IoasSink> ioas;
    {
        const sys::Lock lock(mutex_);
        ioas = ioas_;
        if (plan->from == DirtyFrom::page_tables) plan->trails = ioas->tables().trails();
        if (plan->from == DirtyFrom::devices) {
            plan->logged = mapped_ranges();
            join_nearest(plan->logged, kMostLoggedRanges);
            // (The kernel takes no log of nothing.)
            if (!plan->logged.empty())
                for (const Device& entry : devices_)
                    plan->trails.push_back(
                        {.table = {}, .device = entry.device, .largest_page = DirtyMarks::kPage});
        }
        unstopped_.reserve(unstopped_.size() + plan->trails.size() + 1);
    }
    for (auto trail = plan->trails.begin(); trail != plan->trails.end(); ++trail) {
        auto started = trail->start(plan->logged);
        if (started) continue;
        std::optional<Error> failure;
        while (trail != plan->trails.begin()) stop_trail(*--trail, failure);
        return started.error().within(compose("cannot track the dirty pages of '", id_, "'"));
    }
    if (ioas) ioas->tables().track(plan->from == DirtyFrom::page_tables);
    return std::shared_ptr<const DirtyPlan>(std::move(plan));
}

void SpaceState::stop_trail(const DirtyTrail& trail, std::optional<Error>& failure) noexcept {
    auto stopped = trail.stop();
    if (stopped) return;
    if (!failure) failure = stopped.error();
    report(Severity::error, stopped.error());
    const sys::Lock lock(mutex_);
    // There is room for it since it was begun.
    unstopped_.push_back(
        {.table = trail.table, .device = trail.device, .failure = std::move(stopped).error()});
}

void SpaceState::retry_unstopped() noexcept {
    std::vector<Unstopped> tried;
    {
        const sys::Lock lock(mutex_);
        if (unstopped_.empty()) return;
        tried.swap(unstopped_);
    }
    std::erase_if(tried, [](const Unstopped& unstopped) {
        const auto trail = unstopped.lock();
        return !trail || trail->stop();
    });
    const sys::Lock lock(mutex_);
    tried.swap(unstopped_);
}

// --- start and stop -----------------------------------------------------------------------------

Result<void> SpaceState::track_dirty(const DirtyOptions& options) {
    const core::DelayedReports delayed;
    return guarded(Operation::hwpt_set_dirty_tracking, [&]() -> Result<void> {
        if (const std::string* const label = readers_->held_by_this_thread())
            return cannot_track(id_, EDEADLK, compose("this thread holds a guard of reader '", *label, "'"),
                                "let go of the guard first");
        const Turn turn(*this);
        retry_unstopped();
        DirtyChoice choice{};
        {
            const sys::Lock lock(mutex_);
            if (dirty_)
                return cannot_track(id_, EBUSY, "that is being done already", "stop the other log first");
            choice = choose_dirty(options.from);
            if (options.from && choice.from != *options.from && !devices_.empty())
                return cannot_track(id_, EOPNOTSUPP, std::move(choice.why), "leave the source to the space");
            auto state = std::make_unique<DirtyState>();
            state->options = options;
            state->options.chunk =
                std::max(options.chunk / DirtyMarks::kWord, std::uint64_t{1}) * DirtyMarks::kWord;
            auto none = std::make_shared<DirtyPlan>();
            none->from = DirtyFrom::nowhere;
            state->plan = std::move(none);
            auto last_resort = std::make_shared<DirtyPlan>();
            last_resort->why = "another source could not be started";
            state->last_resort = std::move(last_resort);
            dirty_ = std::move(state);
        }
        auto begun = guarded(Operation::hwpt_set_dirty_tracking, [&] {
            {
                const sys::Lock lock(mutex_);
                for (const auto& [first, interval] : intervals_.all())
                    readers_->marks().cover(interval.range);
                readers_->mark_writes(true, intervals_.all());
            }
            // Who has translated before may have written as well; so all of those have ended now.
            (void)readers_->outwait(std::nullopt);
            return begin_trails(std::move(choice));
        });
        if (!begun) {
            end_marks();
            return begun.error();
        }
        {
            const sys::Lock lock(mutex_);
            dirty_->plan = *begun;
        }
        if ((*begun)->from == DirtyFrom::everything)
            report(Severity::warning,
                   Error::refused(EOPNOTSUPP,
                                  compose("dirty pages of '", id_, "' are told by ", name((*begun)->from)),
                                  (*begun)->why, "expect every sync to copy all memory"));
        return {};
    });
}

// Nobody marks any more, and there is no room for it.
void SpaceState::end_marks() noexcept {
    {
        const sys::Lock lock(mutex_);
        while (dirty_->users != 0) changed_.wait(mutex_);
        dirty_ = nullptr;
        readers_->mark_writes(false, intervals_.all());
    }
    // Where this thread holds a guard, the marks stay until the next time.
    if (!readers_->outwait(std::nullopt)) return;
    const sys::Lock lock(mutex_);
    readers_->marks().clear();
}

Result<void> SpaceState::stop_dirty() noexcept {
    const core::DelayedReports delayed;
    const Turn turn(*this);
    std::shared_ptr<const DirtyPlan> plan;
    std::shared_ptr<IoasSink> ioas;
    {
        const sys::Lock lock(mutex_);
        plan = dirty_->plan;
        ioas = ioas_;
    }
    end_marks();
    if (ioas) ioas->tables().track(false);
    std::optional<Error> failure;
    for (const DirtyTrail& trail : plan->trails | std::views::reverse) stop_trail(trail, failure);
    if (failure) return *failure;
    return {};
}

DirtyFrom SpaceState::dirty_from() const noexcept {
    const sys::Lock lock(mutex_);
    return dirty_->plan->from;
}

std::string SpaceState::why_dirty_from() const {
    const sys::Lock lock(mutex_);
    return dirty_->plan->why;
}

// --- devices come and go ------------------------------------------------------------------------

void SpaceState::mark_everything() noexcept {
    for (const auto& [first, interval] : intervals_.all())
        if (interval.is_written_by_devices() && interval.phase != Phase::mapping)
            readers_->marks().mark(interval.range);
}

// Syncs read by the new one when this returns, and what only the old one had has been stopped.
void SpaceState::replace_plan(std::shared_ptr<const DirtyPlan> plan, bool changed, bool mark) noexcept {
    std::shared_ptr<const DirtyPlan> old;
    {
        const sys::Lock lock(mutex_);
        old = std::exchange(dirty_->plan, plan);
        dirty_->changed |= changed;
        if (mark) mark_everything();
        const auto reads_by_old = [&]() IOMMUFD_REQUIRES(mutex_) {
            for (const auto* reading = dirty_->readings; reading; reading = reading->next)
                if (reading->plan == old.get()) return true;
            return false;
        };
        while (reads_by_old()) changed_.wait(mutex_);
    }
    std::optional<Error> failure;
    for (const DirtyTrail& trail : old->trails)
        if (std::ranges::none_of(plan->trails, [&](const DirtyTrail& other) { return other.is(trail); }))
            stop_trail(trail, failure);
}

// The plan with the trails of the devices that are there now.
std::shared_ptr<const DirtyPlan> SpaceState::refreshed(const DirtyPlan& plan) {
    auto now = std::make_shared<DirtyPlan>(plan);
    if (plan.from == DirtyFrom::page_tables) now->trails = ioas_->tables().trails();
    if (plan.from == DirtyFrom::devices)
        std::erase_if(now->trails, [&](const DirtyTrail& trail) IOMMUFD_REQUIRES(mutex_) {
            return std::ranges::none_of(devices_,
                                        [&](const Device& entry) { return entry.device == trail.device; });
        });
    unstopped_.reserve(unstopped_.size() + now->trails.size() + 1);
    return now;
}

// Where devices have logs, that of one which is about to attach begins before.
void SpaceState::log_newcomer(const std::shared_ptr<Attachable>& device) noexcept {
    const auto logged = guarded(Operation::vfio_feature, [&]() -> Result<void> {
        if (!device->dirty_source()) return {};
        std::shared_ptr<DirtyPlan> plan;
        bool first = false;
        {
            const sys::Lock lock(mutex_);
            if (!dirty_) return {};
            first = dirty_->plan->from == DirtyFrom::nowhere &&
                    dirty_->options.from.value_or(DirtyFrom::devices) == DirtyFrom::devices;
            if (!first && dirty_->plan->from != DirtyFrom::devices) return {};
            plan = std::make_shared<DirtyPlan>(*dirty_->plan);
            plan->from = DirtyFrom::devices;
            plan->why.clear();
            if (first) plan->logged = mapped_ranges();
            join_nearest(plan->logged, kMostLoggedRanges);
            unstopped_.reserve(unstopped_.size() + plan->trails.size() + 1);
        }
        if (!plan->logged.empty()) {
            plan->trails.push_back({.table = {}, .device = device, .largest_page = DirtyMarks::kPage});
            if (auto started = plan->trails.back().start(plan->logged); !started) return started;
        }
        replace_plan(std::move(plan), first, false);
        return {};
    });
    // adapt_dirty() then finds that it isn't covered.
    if (!logged) report(Severity::warning, logged.error());
}

// Of a page table, or of a device, that writes nothing more.
void SpaceState::read_last_trail(const DirtyTrail& trail) noexcept {
    const auto read = guarded(Operation::hwpt_get_dirty_bitmap, [&]() -> Result<void> {
        auto plan = std::make_shared<DirtyPlan>();
        {
            const sys::Lock lock(mutex_);
            if (!dirty_) return {};
            const auto is_it = [&](const DirtyTrail& other) { return other.is(trail); };
            if (std::ranges::none_of(dirty_->plan->trails, is_it)) return {};
            plan->from = dirty_->plan->from;
            plan->logged = dirty_->plan->logged;
        }
        plan->trails.push_back(trail);
        std::vector<std::uint64_t> bits;
        return collect_dirty(kEverything, plan, bits);
    });
    if (read) return;
    report(Severity::warning, read.error());
    const sys::Lock lock(mutex_);
    mark_everything();
}

void SpaceState::read_last_log(const Attachable& device) noexcept {
    DirtyTrail log{};
    {
        const sys::Lock lock(mutex_);
        if (!dirty_) return;
        for (const DirtyTrail& trail : dirty_->plan->trails)
            if (trail.device.get() == &device) log = trail;
    }
    if (log.device) read_last_trail(log);
}

// What tells of all devices that are there now, after one has come or gone.
Result<void> SpaceState::adapt() {
    std::shared_ptr<const DirtyPlan> old;
    DirtyChoice choice{};
    {
        const sys::Lock lock(mutex_);
        if (!dirty_) return {};
        old = dirty_->plan;
        choice = choose_dirty(dirty_->options.from);
    }
    {
        std::shared_ptr<const DirtyPlan> same;
        {
            const sys::Lock lock(mutex_);
            if (still_covers(*old) &&
                (old->from != DirtyFrom::everything || choice.from == DirtyFrom::everything))
                same = refreshed(*old);
        }
        if (same) return replace_plan(std::move(same), false, false), Result<void>();
    }
    // The last bits of devices that have gone are marked already.
    const bool mark = choice.from != DirtyFrom::nowhere || old->from == DirtyFrom::everything;
    auto begun = begin_trails(std::move(choice));
    if (!begun) return begun.error();
    const std::shared_ptr<const DirtyPlan> plan = *begun;
    replace_plan(plan, true, mark);
    if (plan->from > old->from && old->from != DirtyFrom::nowhere)
        report(Severity::warning,
               Error::refused(EOPNOTSUPP,
                              compose("dirty pages of '", id_, "' are no longer told by ", name(old->from),
                                      ", but by ", name(plan->from)),
                              plan->why, "expect the next sync to tell of all that is mapped"));
    return {};
}

void SpaceState::adapt_dirty() noexcept {
    const auto adapted = guarded(Operation::hwpt_set_dirty_tracking, [&] { return adapt(); });
    if (adapted) return;
    report(Severity::warning, adapted.error());
    std::shared_ptr<const DirtyPlan> last_resort;
    {
        const sys::Lock lock(mutex_);
        last_resort = dirty_->last_resort;
    }
    replace_plan(std::move(last_resort), true, true);
}

// --- the handle ---------------------------------------------------------------------------------

DirtyLog::DirtyLog(std::shared_ptr<SpaceState> state) noexcept : state_(std::move(state)) {}
DirtyLog::DirtyLog(DirtyLog&&) noexcept = default;

DirtyLog& DirtyLog::operator=(DirtyLog&& other) noexcept {
    std::swap(state_, other.state_);
    return *this;
}

DirtyLog::~DirtyLog() {
    if (state_) (void)state_->stop_dirty();
}

DirtyFrom DirtyLog::from() const noexcept { return state_->dirty_from(); }
std::string DirtyLog::why() const { return state_->why_dirty_from(); }
Result<DirtySync> DirtyLog::run(Range range, Call visit) const {
    return probes::watched(
        iommufd_dirty_semaphore, [&] { return state_->sync_dirty(range, visit); },
        [&](const auto& result, std::int64_t ns) {
            probes::dirty(state_->id(), range.first.value, range.length(), probes::code_of(result), ns,
                          result ? result->bytes : 0);
        });
}

Result<void> DirtyLog::stop() && {
    if (!state_) return {};
    auto stopped = state_->stop_dirty();
    state_.reset();
    return stopped;
}

}  // namespace iommufd::inline v0_1::dma
