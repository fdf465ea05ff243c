// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// memory-backend-memfd, memory-backend-file, memory-backend-ram
#include <bit>
#include <cerrno>

#include "error/compose.hpp"
#include "iommufd/dma/memory.hpp"
#include "iommufd/host/process.hpp"
#include "object/kinds.hpp"
#include "object/words.hpp"

namespace iommufd::inline v0_1::object {
namespace {

using dma::Memory;

class MemoryObject final : public Object {
public:
    explicit MemoryObject(Memory memory) : memory_(std::move(memory)) {}

    Handle handle() const noexcept override { return &*memory_; }
    std::optional<std::string> value(std::string_view key) const override {
        if (key == "size") return compose(memory_->size());
        if (key == "address") return compose(Hex{reinterpret_cast<std::uintptr_t>(memory_->data())});
        return std::nullopt;
    }
    Result<void> destroy() override {
        memory_.reset();
        return {};
    }
    bool is_gone() const noexcept override { return !memory_; }

private:
    std::optional<Memory> memory_;
};

Memory::Policy policy_of(std::string_view word) {
    if (word == "preferred") return Memory::Policy::preferred;
    if (word == "bind") return Memory::Policy::bind;
    return word == "interleave" ? Memory::Policy::interleave : Memory::Policy::standard;
}

Memory::Options options_of(const Values& values, const Site& site) {
    return {
        .label = values.id(),
        .huge_pages = values.flag("hugetlb") ? Memory::HugePages::hugetlb : Memory::HugePages::transparent,
        .huge_page_size = values.bytes("hugetlbsize"),
        .shared = values.flag("share"),
        .prealloc = values.flag("prealloc"),
        .prealloc_threads = static_cast<unsigned>(values.number("prealloc-threads")),
        .policy = policy_of(values.text("policy")),
        .host_nodes = values.nodes("host-nodes"),
        .kernel = &site.kernel()};
}

Made made(Result<Memory> memory) {
    if (!memory) return memory.error();
    return std::make_unique<MemoryObject>(*std::move(memory));
}

// Shared memory of no file, or memory of this process alone: `share` decides, whichever type was written.
Made create_unnamed(const Values& values, const Site& site) {
    Memory::Options options = options_of(values, site);
    const std::uint64_t size = values.bytes("size");
    if (options.prealloc)
        if (auto enough = check_machine_has(size, values.id(), site); !enough) return enough.error();
    return made(options.shared ? Memory::memfd(size, std::move(options))
                               : Memory::anonymous(size, std::move(options)));
}

}  // namespace

Made create_memfd(const Values& values, const Site& site) { return create_unnamed(values, site); }
Made create_ram(const Values& values, const Site& site) { return create_unnamed(values, site); }

Made create_file(const Values& values, const Site& site) {
    Memory::Options options = options_of(values, site);
    options.read_only = values.flag("readonly");
    options.offset = values.bytes("offset");
    const std::string path = values.text("mem-path");
    auto memory = Memory::file(path, values.bytes("size"), std::move(options));
    if (!memory || !values.flag("hugetlb")) return made(std::move(memory));
    // Whether a file has huge pages is up to its file system.
    const std::uint64_t wanted = values.bytes("hugetlbsize");
    constexpr std::uint64_t kSmallest = 64_KiB;  // of huge pages, on any machine
    const std::uint64_t page = memory->page_size();
    if (page >= kSmallest && (wanted == 0 || page == wanted)) return made(std::move(memory));
    return Error::refused(EINVAL, compose("cannot use ", quote(path)),
                          compose("hugetlb=on, but its pages have ", size_text(page)),
                          "choose a file on hugetlbfs that is mounted with pages of that size");
}

// The kernel would look for the pages by killing processes, and not this one first.
Result<void> check_machine_has(std::uint64_t length, std::string_view label, const Site& site) {
    const auto total = host::total_memory(site.kernel());
    if (!total || length <= *total) return {};
    return Error::refused(ENOMEM, compose("cannot have ", size_text(length), " of '", label, "' in memory"),
                          compose("this machine has ", size_text(*total & ~(1_MiB - 1))),
                          "choose a smaller size");
}

Result<void> check_memory(const Values& values) {
    const Definition& definition = values.definition();
    const std::uint64_t page = values.bytes("hugetlbsize");
    if (values.has("size") && values.bytes("size") == 0)
        return cannot_create(definition, "size=0 is no memory", "give it at least one page");
    if (values.number("prealloc-threads") == 0)
        return cannot_create(definition, "prealloc-threads=0 touches no page", "give it at least one thread");
    if (values.has("hugetlbsize") && !values.flag("hugetlb"))
        return cannot_create(definition, "hugetlbsize= is given without hugetlb=on", "add hugetlb=on");
    if (values.has("hugetlbsize") && !std::has_single_bit(page))
        return cannot_create(definition, compose("hugetlbsize=", size_text(page), " is no power of two"),
                             "choose a size of `ls /sys/kernel/mm/hugepages`");
    // The rule of QEMU, and of mbind(2).
    const bool has_policy = values.text("policy") != "default";
    if (has_policy && !values.has("host-nodes"))
        return cannot_create(definition,
                             compose("policy=", values.text("policy"), " is given without host-nodes="),
                             "add host-nodes=NODE");
    if (!has_policy && values.has("host-nodes"))
        return cannot_create(definition, "host-nodes= is given without a policy= that looks at them",
                             "add policy=bind, preferred or interleave");
    return {};
}

}  // namespace iommufd::inline v0_1::object
