// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/plan.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "cli/arguments.hpp"
#include "cli/doctor/memlock.hpp"
#include "cli/fail.hpp"
#include "cli/map_time.hpp"
#include "error/compose.hpp"
#include "iommufd/backend/backend.hpp"
#include "iommufd/host/process.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

using Json = nlohmann::ordered_json;

// What was found out.
struct Plan {
    PinnedMemory pinned;
    doctor::Memlock memlock;
    std::optional<Accounting> accounting;  // nothing: /dev/iommu can't be asked
    std::optional<std::uint64_t> needed;   // that RLIMIT_MEMLOCK must allow; nothing: it doesn't matter
    Result<MapTime> time;
    std::uint64_t machine;  // its memory, in bytes

    bool enough() const { return !needed || !memlock.soft || *memlock.soft >= *needed; }
};

std::string reason(const Plan& plan) {
    if (plan.memlock.excused && !plan.needed) return "CAP_IPC_LOCK: iommufd asks for no limit";
    if (plan.memlock.excused) return "CAP_IPC_LOCK excuses from iommufd's limit, not from that of vDPA";
    if (!plan.accounting)
        return "accounting unknown, since /dev/iommu can't be opened: per user, if nobody set it";
    switch (*plan.accounting) {
        case Accounting::none:
            return "iommufd asks for no limit";
        case Accounting::per_user:
            return compose("accounting per user: what other programs of user ", plan.memlock.user,
                           " have locked counts as well");
        case Accounting::per_process:
            return "accounting per process: this one has the limit for itself";
    }
    return {};
}

double seconds(const MapTime& time, const PlanArguments& arguments, const PinnedMemory& pinned) {
    const auto memory = static_cast<double>(arguments.memory);
    return (time.fresh * memory + time.again * (static_cast<double>(pinned.by_iommufd) - memory)) / 1e9;
}

void print_json(const PlanArguments& arguments, const Plan& plan) {
    Json all{{"memory", arguments.memory},
             {"devices", arguments.devices},
             {"pinning-vdpa-devices", arguments.pinning_vdpa},
             {"viommu", arguments.viommu},
             {"pinned-by-iommufd", plan.pinned.by_iommufd},
             {"pinned-by-vdpa", plan.pinned.by_vdpa},
             {"needed", plan.needed ? Json(*plan.needed) : Json()},
             {"needed-without-privilege", plan.pinned.limit()},
             {"needed-without-privilege-vdpa-first", plan.pinned.limit_vdpa_first()},
             {"limit", plan.memlock.soft ? Json(*plan.memlock.soft) : Json()},
             {"limit-hard", plan.memlock.hard ? Json(*plan.memlock.hard) : Json()},
             {"accounting", plan.accounting ? name(*plan.accounting) : "unknown"},
             {"reason", reason(plan)},
             {"enough", plan.enough()},
             {"fix", plan.enough() ? Json() : Json(doctor::how_to_raise(plan.memlock, *plan.needed))}};
    if (plan.time)
        all["map"] = {{"seconds", seconds(*plan.time, arguments, plan.pinned)},
                      {"device", plan.time->device},
                      {"sample", plan.time->sample}};
    else
        all["map"] = nullptr;
    fmt::print("{}\n", all.dump(2, ' ', false, Json::error_handler_t::replace));
}

void print_text(const PlanArguments& arguments, const Plan& plan) {
    fmt::print(
        "locked memory    {} by iommufd{}\n", size_text(plan.pinned.by_iommufd),
        arguments.viommu && arguments.devices > 1 ? ", once for the address space of each device" : "");
    if (plan.pinned.by_vdpa != 0)
        fmt::print("                 {} by vDPA, once for each device\n", size_text(plan.pinned.by_vdpa));
    fmt::print("needed           {}\n",
               plan.needed ? size_text(*plan.needed) : std::string("no limit matters"));
    if (plan.needed && plan.pinned.by_vdpa != 0 && !plan.memlock.excused)
        fmt::print("                 {} where the vDPA devices are attached before the others\n",
                   size_text(plan.pinned.limit_vdpa_first()));
    fmt::print("in force         {}\n                 {}\n", doctor::text(plan.memlock), reason(plan));
    if (plan.time)
        fmt::print("time to map      about {:.2f} s, by {} mapped through {}\n",
                   seconds(*plan.time, arguments, plan.pinned), size_text(plan.time->sample),
                   plan.time->device);
    else
        fmt::print("time to map      not measured: {}\n", plan.time.error().line());
    if (plan.pinned.by_iommufd != 0 && arguments.memory > plan.machine)
        fmt::print("this machine     has {} only: devices need all of it in memory\n",
                   size_text(plan.machine));
    if (plan.enough())
        fmt::print("the limit is enough\n");
    else
        fmt::print("the limit is not enough\n                 -> {}\n",
                   doctor::how_to_raise(plan.memlock, *plan.needed));
}

}  // namespace

PinnedMemory pinned_memory(const PlanArguments& arguments, std::uint64_t page) {
    const std::uint64_t memory = (arguments.memory + page - 1) / page * page;
    const std::uint64_t spaces = arguments.viommu ? arguments.devices : arguments.devices == 0 ? 0 : 1;
    return {.by_iommufd = memory * spaces, .by_vdpa = memory * arguments.pinning_vdpa};
}

int plan(const PlanArguments& arguments) {
    sys::Kernel& kernel = sys::host_kernel();
    const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    auto memlock = doctor::memlock(kernel);
    const auto machine = host::total_memory(kernel);
    if (!memlock || !machine) return fail(kFailed, (memlock ? machine.error() : memlock.error()));
    const PinnedMemory pinned = pinned_memory(arguments, page);
    const auto backend = Backend::open();
    const auto accounting = backend ? backend->accounting() : Result<Accounting>(backend.error());
    const bool excused = memlock->excused;
    // A sample must fit as well.
    const std::uint64_t most =
        excused || !memlock->soft ? arguments.memory : std::min(arguments.memory, *memlock->soft);
    const Plan found{.pinned = pinned,
                     .memlock = *std::move(memlock),
                     .accounting = accounting ? std::optional(*accounting) : std::nullopt,
                     .needed = excused ? pinned.limit_excused() : std::optional(pinned.limit()),
                     .time = map_time(kernel, most),
                     .machine = *machine};
    arguments.json ? print_json(arguments, found) : print_text(arguments, found);
    return found.enough() ? kDone : kFailed;
}

}  // namespace iommufd::inline v0_1::cli
