// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// dirty-log-start, dirty-log-sync, dirty-log-stop
#include <algorithm>
#include <array>
#include <utility>

#include "error/compose.hpp"
#include "iommufd/dma/space.hpp"
#include "monitor/commands.hpp"

namespace iommufd::inline v0_1::monitor {
namespace {

using dma::DirtyFrom;

constexpr std::pair<std::string_view, DirtyFrom> kSources[] = {{"nowhere", DirtyFrom::nowhere},
                                                               {"devices", DirtyFrom::devices},
                                                               {"page-tables", DirtyFrom::page_tables},
                                                               {"everything", DirtyFrom::everything}};

std::string_view name_of(DirtyFrom from) {
    return std::ranges::find(kSources, from, &std::pair<std::string_view, DirtyFrom>::second)->first;
}

std::unexpected<Refusal> no_log(const std::string& id) {
    return refuse(compose("no dirty log runs on '", id, "': use dirty-log-start"));
}

// Makes one of runs that overlap, or lie at most so many bytes apart.
void merge(std::vector<Range>& runs, std::uint64_t gap) {
    std::size_t kept = 0;
    for (const Range& run : runs) {
        const bool joins =
            kept != 0 && (run.first <= runs[kept - 1].last || run.first - runs[kept - 1].last - 1 <= gap);
        if (joins)
            runs[kept - 1].last = std::max(runs[kept - 1].last, run.last);
        else
            runs[kept++] = run;
    }
    runs.resize(kept, Range{});
}

// What a sync has told is clean from then on, so it must fit into the answer: where there are too many runs, those with the
// smallest gaps between them are told as one.
void make_fit(std::vector<Range>& runs) {
    constexpr std::size_t kMost = 16384;
    std::ranges::sort(runs, {}, &Range::first);
    merge(runs, 0);
    for (std::uint64_t gap = 4096; runs.size() > kMost; gap *= 2) merge(runs, gap);
}

}  // namespace

Answer start_dirty_log(const Call& call) {
    const std::string& id = call.text("id");
    auto space = call.monitor.registry().get<dma::Space>(id);
    if (!space) return refuse(space.error());
    dma::DirtyOptions options;
    if (const Json* const from = call.find("from")) {
        const auto& name = *from->text();
        const auto* const known =
            std::ranges::find(kSources, name, &std::pair<std::string_view, DirtyFrom>::first);
        if (known == std::end(kSources))
            return refuse(compose("Parameter 'from' does not accept value '", name, "'"));
        options.from = known->second;
    }
    auto log = (*space)->track_dirty(options);
    if (!log) return refuse(log.error());
    Json answer = Json::of("from", name_of(log->from()), "why", log->why());
    call.monitor.dirty_logs().insert_or_assign(id, RunningLog{.log = *std::move(log)});
    return answer;
}

Answer sync_dirty_log(const Call& call) {
    const std::string& id = call.text("id");
    const auto log = call.monitor.dirty_logs().find(id);
    if (log == call.monitor.dirty_logs().end()) return no_log(id);
    const Json* const iova = call.find("iova");
    const Json* const size = call.find("size");
    const Iova first{iova ? *iova->natural() : 0};
    const auto range =
        size ? Range::of(first, *size->natural()) : std::optional(Range{first, Iova{~std::uint64_t{0}}});
    if (!range) return refuse("Parameter 'size' expects at least one byte, and none past 2^64");
    std::vector<Range>& runs = log->second.untold;
    runs.reserve(runs.size() + 1);
    auto synced = log->second.log.sync(*range, [&](std::span<const Range> some) {
        try {
            runs.insert(runs.end(), some.begin(), some.end());
        } catch (const std::bad_alloc&) {
            // Nothing may be lost: then all that was asked for counts as written to.
            runs.assign(1, *range);
        }
    });
    if (!synced) return refuse(synced.error());
    make_fit(runs);
    Json list(Json::Array{});
    for (const Range& run : runs) list.push_back(Json::of("iova", run.first.value, "size", run.length()));
    Json answer = Json::of("from", name_of(synced->from), "changed", synced->changed, "bytes", synced->bytes,
                           "runs", std::move(list));
    runs.clear();
    return answer;
}

Answer stop_dirty_log(const Call& call) {
    const std::string& id = call.text("id");
    const auto log = call.monitor.dirty_logs().find(id);
    if (log == call.monitor.dirty_logs().end()) return no_log(id);
    dma::DirtyLog stopped = std::move(log->second.log);
    call.monitor.dirty_logs().erase(log);
    if (auto result = std::move(stopped).stop(); !result) return refuse(result.error());
    return nothing();
}

}  // namespace iommufd::inline v0_1::monitor
