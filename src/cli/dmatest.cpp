// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/dmatest.hpp"

#include <fmt/core.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <random>

#include "cli/fail.hpp"
#include "cli/machine_file.hpp"
#include "cli/outcome.hpp"
#include "cli/trial.hpp"
#include "cli/workplace.hpp"
#include "error/compose.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

using object::Definition;

constexpr const char* kStandardIova = "0x4000000";

// What `dmatest --model` works on when nothing else is said: one iommufd, one memory at one IOVA, and every device of
// the model.
std::vector<Definition> standard_objects(const model::Description& description) {
    std::vector<Definition> objects = {
        {.type = "iommufd", .id = "iommufd0"},
        {.type = "memory-backend-memfd", .id = "ram0", .properties = {{"size", "64M"}}},
        {.type = "dma-space", .id = "dma0", .properties = {{"iommufd", "iommufd0"}}},
        {.type = "dma-mapping",
         .id = "map0",
         .properties = {{"space", "dma0"}, {"memdev", "ram0"}, {"iova", kStandardIova}}},
    };
    std::map<std::string, int> numbers;
    for (const model::Device& device : model::Machine(description).devices()) {
        if (device.kind == model::DeviceKind::ivshmem) continue;  // it does no DMA
        const bool pci = device.kind != model::DeviceKind::vdpa_blk;
        const std::string kind = device.kind == model::DeviceKind::edu ? "edu" : pci ? "nvme" : "blk";
        objects.push_back({.type = pci ? "vfio-pci" : "vhost-vdpa",
                           .id = compose(kind, numbers[kind]++),
                           .properties = {{pci ? "host" : "vhostdev", pci ? device.name : device.node},
                                          {"iommufd", "iommufd0"},
                                          {"space", "dma0"}}});
    }
    return objects;
}

// The devices' own part of the test: each is driven through the memory of its space.
class Session {
public:
    Session(const Arguments& arguments, object::Registry& registry)
        : arguments_(arguments), registry_(registry) {}

    Result<Outcome> run() {
        Outcome outcome{.model = arguments_.model.has_value()};
        for (const object::ObjectInfo& info : registry_.list()) {
            if (info.definition.type == "iommufd") outcome.iommufd = info.definition.id;
            const auto* const type = object::find_type(info.definition.type);
            if (!type || type->option != object::Option::device) continue;
            auto device = one(info.definition);
            if (!device) return device.error();
            outcome.devices.push_back(std::move(*device));
        }
        outcome.memory = describe_memory(outcome.devices.size());
        return outcome;
    }

private:
    std::string describe_memory(std::size_t devices) const {
        if (benches_.empty()) return "no memory is mapped";
        const dma::Mapping& mapping = benches_.begin()->second.mapping();
        return compose(size_text(mapping.range().length()), " at IOVA ", Hex{mapping.iova().value},
                       ", shared by ", devices, devices == 1 ? " device" : " devices");
    }

    Result<DeviceOutcome> one(const Definition& definition) {
        DeviceOutcome outcome{.id = definition.id};
        const std::string* const space = definition.find("space");
        if (!space) {
            outcome.steps.push_back(
                {"attach", Verdict::left_out, "it is in no space: add space= to test its DMA"});
            return outcome;
        }
        auto bench = bench_of(*space);
        if (!bench) return bench.error();
        if (const auto vfio = registry_.get<vfio::Device>(definition.id)) {
            outcome.device = (*vfio)->name();
            const TrialRules rules{
                .destructive = destructive(), .translated = (*vfio)->info().translated, .is_vfio = true};
            drive(**vfio, **bench, rules, outcome);
        } else if (const auto vdpa = registry_.get<vdpa::Device>(definition.id)) {
            outcome.device = (*vdpa)->name();
            const TrialRules rules{.destructive = destructive(), .translated = true, .is_vfio = false};
            drive(**vdpa, **bench, rules, outcome);
        }
        return outcome;
    }

    // A modelled disk holds nothing that anybody would miss.
    bool destructive() const { return arguments_.destructive || arguments_.model; }

    Result<Workbench*> bench_of(const std::string& space) {
        if (const auto found = benches_.find(space); found != benches_.end()) return &found->second;
        auto made = Workbench::in(registry_, space);
        if (!made) return made.error();
        const drivers::Window first = made->area(0);
        // Other bytes each time: what an earlier run left in a device must not pass for what this one moved.
        std::mt19937_64 random(std::random_device{}());
        for (std::uint64_t at = 0; at < first.size; at += sizeof(std::uint64_t)) {
            const std::uint64_t word = random();
            std::memcpy(first.memory + at, &word, sizeof word);
        }
        return &benches_.emplace(space, std::move(*made)).first->second;
    }

    template <class Device>
    void drive(const Device& device, Workbench& bench, const TrialRules& rules, DeviceOutcome& outcome) {
        const auto fail = [&](std::string step, const Error& error) {
            outcome.steps.push_back({std::move(step), Verdict::failed, error.line()});
        };
        const auto kind = drivers::find(device);
        if (!kind) return fail("identify", kind.error());
        outcome.steps.push_back(
            {"bind, attach, map", Verdict::passed,
             compose("in '", bench.space().id(), "' with ", bench.space().devices().size(), " devices")});
        if (!*kind) {
            outcome.steps.push_back({"DMA", Verdict::left_out, "there is no driver for this device here"});
            return;
        }
        if (rules.is_vfio && !rules.translated) {
            outcome.steps.push_back(
                {"DMA", Verdict::left_out, "not protected: there is no IOMMU, and IOVAs mean nothing to it"});
            return;
        }
        outcome.driver = (*kind)->name;
        auto window = bench.take_window((*kind)->window_bytes);
        if (!window) return fail("memory for the driver", window.error());
        auto driver = drivers::start(device, *window);
        if (!driver) return fail("start", driver.error());
        const unsigned area = areas_[bench.space().id()]++;
        for (Step& step : try_device(**driver, bench, bench.area(area), bench.area(area + 1), rules))
            outcome.steps.push_back(std::move(step));
    }

    const Arguments& arguments_;
    object::Registry& registry_;
    std::map<std::string, Workbench> benches_;
    std::map<std::string, unsigned> areas_;
};

}  // namespace

int dmatest(Arguments arguments) {
    if (arguments.definitions.empty()) {
        if (!arguments.model)
            return fail(kUsage, Error::refused(EINVAL, "cannot test", "no device is given",
                                               "give -object and -device options, or --model"));
        auto description = read_machine(*arguments.model);
        if (!description) return fail(kUsage, description.error());
        arguments.definitions = standard_objects(*description);
    }
    auto place = Workplace::open(arguments);
    if (!place) return fail(kFailed, place.error());
    auto outcome = Session(arguments, (*place)->registry()).run();
    const bool closed = (*place)->close();
    if (!outcome) return fail(kFailed, outcome.error());
    if (const auto* const machine = (*place)->model(); machine && machine->leaks().any()) {
        fmt::print(stderr, "iommufd: error: the model kernel still has {}\n", machine->leaks().text());
        return kFailed;
    }
    arguments.json ? print_json(*outcome) : print_text(*outcome);
    return closed ? outcome->exit_status() : kFailed;
}

}  // namespace iommufd::inline v0_1::cli
