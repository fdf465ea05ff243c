// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/machine_file.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "error/compose.hpp"
#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

using Json = nlohmann::json;
using model::Description;
using model::DeviceDescription;
using model::DeviceKind;
using model::IovaRange;

constexpr std::size_t kMostRanges = 64;
constexpr std::size_t kMostDevices = 256;

Error refused(std::string cause) {
    return Error::refused(EINVAL, "cannot read the machine", std::move(cause),
                          "docs/model.md describes the file");
}

// Goes through a document; the first thing that is wrong ends it.
class Reader {
public:
    Result<Description> read(const Json& document) {
        object("the machine", document,
               {{"kernel", [&](const Json& value) { kernel(value); }},
                {"iommu", [&](const Json& value) { iommu(value); }},
                {"limits", [&](const Json& value) { limits(value); }},
                {"mock", [&](const Json& value) { flag("mock", value, machine_.mock); }},
                {"devices", [&](const Json& value) { devices(value); }}});
        leave_out_reserved();
        if (wrong_) return refused(*wrong_);
        if (auto sound = model::check(machine_); !sound) return std::move(sound).error();
        return std::move(machine_);
    }

private:
    struct Member {
        std::string_view name;
        std::function<void(const Json&)> read;
    };

    void fail(std::string_view where, std::string_view what) {
        if (!wrong_) wrong_ = compose(where, " ", what);
    }

    void object(std::string_view where, const Json& value, const std::vector<Member>& members) {
        if (!value.is_object()) return fail(where, "is no object");
        for (const auto& [name, member] : value.items()) {
            const auto known = std::ranges::find(members, name, &Member::name);
            if (known != members.end()) {
                known->read(member);
                continue;
            }
            std::string names;
            for (const Member& each : members) names.append(names.empty() ? "" : ", ").append(each.name);
            return fail(where, compose("has no '", printable(name), "': its members are ", names));
        }
    }
    void list(std::string_view where, const Json& value, std::size_t most,
              const std::function<void(const std::string&, const Json&)>& read) {
        if (!value.is_array()) return fail(where, "is no list");
        if (value.size() > most) return fail(where, compose("has more than ", most, " entries"));
        std::size_t index = 0;
        for (const Json& entry : value) read(compose(where, "[", index++, "]"), entry);
    }
    void text(std::string_view where, const Json& value, std::string& to) {
        if (!value.is_string()) return fail(where, "is no string");
        to = value.get<std::string>();
    }
    void flag(std::string_view where, const Json& value, bool& to) {
        if (!value.is_boolean()) return fail(where, "is neither true nor false");
        to = value.get<bool>();
    }
    // Or "64M".
    void size(std::string_view where, const Json& value, std::uint64_t& to) {
        if (value.is_number_unsigned())
            to = value.get<std::uint64_t>();
        else if (!value.is_string() || !model::read_size(value.get_ref<const std::string&>(), to))
            fail(where, "is no size");
    }
    // Or "0x1000".
    void address(std::string_view where, const Json& value, std::uint64_t& to) {
        if (value.is_number_unsigned()) {
            to = value.get<std::uint64_t>();
            return;
        }
        if (value.is_string()) {
            std::string_view digits = value.get_ref<const std::string&>();
            const bool hex = digits.starts_with("0x");
            if (hex) digits.remove_prefix(2);
            const auto [end, error] =
                std::from_chars(digits.data(), digits.data() + digits.size(), to, hex ? 16 : 10);
            if (error == std::errc{} && end == digits.data() + digits.size()) return;
        }
        fail(where, "is no address");
    }
    void ranges(std::string_view where, const Json& value, std::vector<IovaRange>& to) {
        to.clear();
        list(where, value, kMostRanges, [&](const std::string& here, const Json& entry) {
            if (!entry.is_array() || entry.size() != 2) return fail(here, "is no [first, last]");
            IovaRange range{};
            address(here, entry[0], range.first);
            address(here, entry[1], range.last);
            if (!wrong_ && range.first > range.last) fail(here, "ends before it begins");
            to.push_back(range);
        });
    }

    void kernel(const Json& value) {
        std::string version;
        text("kernel", value, version);
        if (!wrong_ && !model::read_version(version, machine_.kernel))
            fail("kernel", "is no version such as 6.12");
    }
    void iommu(const Json& value) {
        object("iommu", value,
               {{"kind", [&](const Json& kind) { iommu_kind(kind); }},
                {"page-sizes", [&](const Json& sizes) { page_sizes(sizes); }},
                {"iova-ranges",
                 [&](const Json& usable) {
                     ranges("iommu.iova-ranges", usable, machine_.iova_ranges);
                     names_ranges_ = true;
                 }},
                {"reserved", [&](const Json& taken) { ranges("iommu.reserved", taken, reserved_); }},
                {"dirty-tracking",
                 [&](const Json& on) { flag("iommu.dirty-tracking", on, machine_.dirty_tracking); }},
                {"nesting", [&](const Json& on) { flag("iommu.nesting", on, machine_.nesting); }},
                {"unsafe-interrupts",
                 [&](const Json& on) { flag("iommu.unsafe-interrupts", on, machine_.unsafe_interrupts); }}});
    }
    void iommu_kind(const Json& value) {
        std::string kind;
        text("iommu.kind", value, kind);
        if (wrong_) return;
        if (!model::read_iommu(kind, machine_.iommu))
            fail("iommu.kind",
                 compose("is '", printable(kind), "': there are intel, virtio, smmuv3 and amd"));
        if (wrong_) return;
        if (!names_ranges_) machine_.iova_ranges = model::ranges_of(machine_.iommu);
        if (!names_sizes_) machine_.page_sizes = model::page_sizes_of(machine_.iommu);
    }
    void page_sizes(const Json& value) {
        machine_.page_sizes = 0;
        names_sizes_ = true;
        list("iommu.page-sizes", value, kMostRanges, [&](const std::string& where, const Json& entry) {
            std::uint64_t bytes = 0;
            size(where, entry, bytes);
            if (!wrong_ && (bytes & (bytes - 1)) != 0) fail(where, "is no power of two");
            machine_.page_sizes |= bytes;
        });
    }
    void limits(const Json& value) {
        object("limits", value,
               {{"memlock",
                 [&](const Json& limit) {
                     std::uint64_t bytes = 0;
                     size("limits.memlock", limit, bytes);
                     machine_.memlock = bytes;
                 }},
                {"sys-resource",
                 [&](const Json& on) { flag("limits.sys-resource", on, machine_.sys_resource); }},
                {"sys-rawio", [&](const Json& on) { flag("limits.sys-rawio", on, machine_.sys_rawio); }}});
    }

    void devices(const Json& value) {
        list("devices", value, kMostDevices, [&](const std::string& where, const Json& entry) {
            machine_.devices.push_back(device(where, entry));
        });
    }
    DeviceDescription device(const std::string& where, const Json& value) {
        DeviceDescription made;
        std::string kind;
        const auto at = [&](std::string_view name) { return compose(where, ".", name); };
        const auto bits = [&](const Json& number) {
            constexpr unsigned kMost = 1000;
            if (!number.is_number_unsigned() || number.get<std::uint64_t>() > kMost)
                return fail(at("dma-bits"), "is no number of bits");
            made.dma_bits = number.get<unsigned>();
        };
        if (value.is_object() && value.contains("kind")) text(at("kind"), value["kind"], kind);
        std::vector<Member> members = {{"kind", [](const Json&) {}}, {"name", [&](const Json& name) {
                                                                          text(at("name"), name, made.name);
                                                                      }}};
        if (!model::read_kind(kind, made.kind) && value.is_object())
            fail(where, "has no 'kind': edu, nvme, vdpa-blk or ivshmem");
        if (made.kind == DeviceKind::edu) {
            members.push_back({"dma-bits", bits});
            members.push_back({"page-requests",
                               [&](const Json& on) { flag(at("page-requests"), on, made.page_requests); }});
        }
        if (made.kind != DeviceKind::edu)
            members.push_back({"size", [&](const Json& bytes) {
                                   size(at("size"), bytes,
                                        made.kind == DeviceKind::ivshmem ? made.memory_size : made.disk_size);
                               }});
        const auto doorbells = [&](const Json& how) {
            std::string word;
            text(at("doorbells"), how, word);
            made.polls_doorbells = word == "poll";
            if (word != "poll" && word != "trap") fail(at("doorbells"), "is neither poll nor trap");
        };
        if (made.kind == DeviceKind::edu || made.kind == DeviceKind::nvme)
            members.push_back({"doorbells", doorbells});
        if (made.kind == DeviceKind::vdpa_blk)
            members.push_back(
                {"persist", [&](const Json& on) { flag(at("persist"), on, made.iotlb_persist); }});
        else
            members.push_back({"group", [&](const Json& group) { siblings(at("group"), group, made); }});
        object(where, value, members);
        return made;
    }
    void siblings(const std::string& where, const Json& value, DeviceDescription& device) {
        list(where, value, kMostRanges, [&](const std::string& here, const Json& entry) {
            model::Sibling sibling;
            object(here, entry,
                   {{"address", [&](const Json& name) { text(here, name, sibling.address); }},
                    {"driver", [&](const Json& name) { text(here, name, sibling.driver); }}});
            device.siblings.push_back(std::move(sibling));
        });
    }

    // What the IOMMU translates, without what something else has.
    void leave_out_reserved() {
        for (const IovaRange& taken : reserved_) {
            std::vector<IovaRange> left;
            for (const IovaRange& usable : machine_.iova_ranges) {
                if (usable.last < taken.first || usable.first > taken.last) {
                    left.push_back(usable);
                    continue;
                }
                if (usable.first < taken.first)
                    left.push_back({.first = usable.first, .last = taken.first - 1});
                if (usable.last > taken.last) left.push_back({.first = taken.last + 1, .last = usable.last});
            }
            machine_.iova_ranges = std::move(left);
        }
    }

    static std::string printable(std::string_view text) {
        constexpr std::size_t kMost = 40;
        std::string shown;
        for (const char c : text.substr(0, kMost)) shown += c >= ' ' && c <= '~' ? c : '?';
        return shown;
    }

    Description machine_;
    std::vector<IovaRange> reserved_;
    bool names_ranges_ = false;
    bool names_sizes_ = false;
    std::optional<std::string> wrong_;
};

Result<Description> read_document(std::string_view text) {
    const Json document = Json::parse(text, nullptr, false);
    if (document.is_discarded()) return refused("it is no JSON");
    return Reader().read(document);
}

}  // namespace

Result<Description> read_machine(std::string_view text) {
    constexpr std::string_view kEnding = ".json";
    if (text.empty()) return model::everything();
    if (text.starts_with('{')) return read_document(text);
    if (!text.ends_with(kEnding)) return model::parse(text);
    std::string content;
    const int rc = sys::host_kernel().read_file(std::string(text).c_str(), content);
    if (rc < 0)
        return Error::refused(-rc, compose("cannot read the machine in ", text),
                              "it is no file that can be read",
                              "give a file, or a description such as devices=edu");
    return read_document(content);
}

}  // namespace iommufd::inline v0_1::cli
