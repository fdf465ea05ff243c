// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/trial.hpp"

#include <algorithm>
#include <cstring>

#include "error/compose.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

constexpr std::byte kUntouched{0xa5};  // where nobody has written
constexpr std::byte kSecret{0x3c};     // what lies behind the address that isn't mapped any more
constexpr std::byte kEmpty{0x00};

bool all(std::span<const std::byte> bytes, std::byte value) {
    return std::ranges::all_of(bytes, [&](std::byte byte) { return byte == value; });
}

std::span<std::byte> bytes(const drivers::Window& window) { return {window.memory, window.size}; }

Step passed(std::string name, std::string detail) {
    return {std::move(name), Verdict::passed, std::move(detail)};
}
Step failed(std::string name, std::string detail) {
    return {std::move(name), Verdict::failed, std::move(detail)};
}
Step left_out(std::string name, std::string why) {
    return {std::move(name), Verdict::left_out, std::move(why)};
}

// As many bytes as one transfer of the device takes.
std::uint64_t chunk_of(const drivers::Driver& driver) {
    return std::min(driver.most(), Workbench::kAreaSize) / driver.unit() * driver.unit();
}

Step move_both_ways(drivers::Driver& driver, const drivers::Window& from, const drivers::Window& to) {
    const std::string name = "memory to memory";
    std::ranges::fill(bytes(to), kUntouched);
    const std::uint64_t chunk = chunk_of(driver);
    for (std::uint64_t done = 0; done < from.size; done += chunk) {
        const std::uint64_t length = std::min(chunk, from.size - done);
        if (auto in = driver.read_memory(from.iova + done, length); !in)
            return failed(name, in.error().line());
        if (auto kept = driver.flush(); !kept) return failed(name, kept.error().line());
        if (auto out = driver.write_memory(to.iova + done, length); !out)
            return failed(name, out.error().line());
    }
    if (std::memcmp(from.memory, to.memory, from.size) != 0)
        return failed(name, compose("the bytes at ", Hex{to.iova.value}, " differ from those at ",
                                    Hex{from.iova.value}));
    return passed(name, compose(size_text(from.size), " at ", Hex{from.iova.value}, " through the device to ",
                                Hex{to.iova.value}, ", the same; ", driver.interrupts(), " interrupts"));
}

// Without writing to the storage: what is read twice is the same, over memory that was different.
Step read_twice(drivers::Driver& driver, const drivers::Window& from, const drivers::Window& to) {
    const std::string name = "read to memory";
    const std::uint64_t length = chunk_of(driver);
    const std::vector<std::byte> source(from.memory, from.memory + length);
    std::ranges::fill(bytes(to).first(length), kUntouched);
    if (auto first = driver.write_memory(to.iova, length); !first) return failed(name, first.error().line());
    const std::vector<std::byte> seen(to.memory, to.memory + length);
    std::ranges::fill(bytes(to).first(length), kEmpty);
    if (auto second = driver.write_memory(to.iova, length); !second)
        return failed(name, second.error().line());
    if (std::memcmp(seen.data(), to.memory, length) != 0)
        return failed(name, "the device gave different bytes twice");
    std::ranges::copy(source, to.memory);  // for the device after this one
    return passed(name, compose(size_text(length), " read twice to ", Hex{to.iova.value}, ", the same"));
}

// A page is mapped, filled and unmapped again; then the device is aimed at where it was. Neither may the device's writes
// reach that page, nor its reads get what is in it.
Step aim_at_unmapped(drivers::Driver& driver, const Workbench& bench, const drivers::Window& to,
                     bool may_store) {
    const std::string name = "unmapped DMA";
    const std::uint64_t length = std::min<std::uint64_t>(chunk_of(driver), 4_KiB);
    auto page = dma::Memory::memfd(4_KiB, {.label = "not for devices"});
    if (!page) return failed(name, page.error().line());
    std::ranges::fill(page->bytes(), kSecret);
    auto mapped = bench.space().map(*page);
    if (!mapped) return failed(name, mapped.error().line());
    const Iova hole = mapped->iova();
    if (auto unmapped = std::move(*mapped).unmap(); !unmapped) return failed(name, unmapped.error().line());

    const auto wrote = driver.write_memory(hole, length);
    if (!all(page->bytes(), kSecret))
        return failed(name, compose("the device wrote to ", Hex{hole.value}, ", which is not mapped"));
    std::string status =
        wrote ? "the device reports success" : compose("the device reports: ", wrote.error().cause());
    if (may_store) {
        (void)driver.read_memory(hole, length);
        std::ranges::fill(bytes(to), kUntouched);
        if (auto out = driver.write_memory(to.iova, length); !out) return failed(name, out.error().line());
        if (all(bytes(to).first(length), kSecret))
            return failed(name, compose("the device read ", Hex{hole.value}, ", which is not mapped"));
    }
    return passed(name, compose("blocked at ", Hex{hole.value},
                                may_store ? ", both ways" : ", as a write to memory", "; ", status));
}

}  // namespace

std::vector<Step> try_device(drivers::Driver& driver, const Workbench& bench, const drivers::Window& from,
                             const drivers::Window& to, const TrialRules& rules) {
    std::vector<Step> steps;
    auto identity = driver.identify();
    if (!identity) return {failed("identify", identity.error().line())};
    steps.push_back(passed("identify", std::move(*identity)));

    const bool may_store = rules.destructive || !driver.keeps_what_it_reads();
    // The bytes that came through the devices before are kept for the one after, whatever the steps do to `to`.
    if (may_store) {
        steps.push_back(move_both_ways(driver, from, to));
    } else {
        steps.push_back(read_twice(driver, from, to));
        steps.push_back(
            left_out("write and read back", "it overwrites what the device stores: --destructive allows it"));
    }
    if (!rules.is_vfio) {
        steps.push_back(left_out("unmapped DMA", "vhost-vdpa translates itself; there is no IOMMU to show"));
    } else if (!rules.translated) {
        steps.push_back(
            left_out("unmapped DMA", "not protected: there is no IOMMU between the device and memory"));
    } else {
        const std::vector<std::byte> result(to.memory, to.memory + to.size);
        steps.push_back(aim_at_unmapped(driver, bench, to, may_store));
        std::ranges::copy(result, to.memory);
    }
    return steps;
}

}  // namespace iommufd::inline v0_1::cli
