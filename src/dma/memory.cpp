// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/dma/memory.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bit>
#include <cerrno>

#include "dma/memory_node.hpp"
#include "dma/prefault.hpp"
#include "dma/untouched_pages.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"

namespace iommufd::inline v0_1::dma {
namespace {

std::uint64_t cpu_page_size() noexcept { return static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)); }

sys::Kernel& kernel_of(const Memory::Options& options) noexcept {
    return options.kernel ? *options.kernel : sys::host_kernel();
}

// The flag bits by which memfd_create and mmap name a size of huge pages; both use the same encoding.
unsigned huge_size_bits(std::uint64_t size) noexcept {
    return size == 0 ? 0 : static_cast<unsigned>(std::countr_zero(size)) << MFD_HUGE_SHIFT;
}

Error cannot(std::string_view what, const Memory::Options& options, std::uint64_t length, int code) noexcept {
    return failed(Operation::memory_create, code, [&] {
        return compose("cannot ", what, " ", size_text(length), " for '", options.label, "'");
    });
}

Result<std::uint64_t> whole_pages(std::uint64_t length, std::uint64_t page, const Memory::Options& options) {
    if (length == 0 || length > ~std::uint64_t{0} - page)
        return Error::refused(EINVAL, compose("cannot make memory '", options.label, "'"),
                              compose("its size is ", length, " bytes"), "give a size of at least one page");
    return (length + page - 1) / page * page;
}

Result<sys::Fd> duplicate(int descriptor, const Memory::Options& options) {
    sys::Kernel& kernel = kernel_of(options);
    sys::Fd copy(kernel, kernel.dup(descriptor));
    if (!copy)
        return failed(Operation::dup, -copy.number(),
                      [&] { return compose("cannot duplicate descriptor ", descriptor); });
    return copy;
}

Result<void> set_policy(std::byte* address, std::uint64_t length, const Memory::Options& options) {
    if (options.policy == Memory::Policy::standard) return {};
    constexpr int kModes[] = {0, 1, 2, 3};  // MPOL_DEFAULT, _PREFERRED, _BIND, _INTERLEAVE
    constexpr unsigned kBits = 64;
    unsigned long nodes[16] = {};
    for (const unsigned node : options.host_nodes) {
        if (node >= std::size(nodes) * kBits)
            return Error::refused(EINVAL, compose("cannot place '", options.label, "'"),
                                  compose("there is no NUMA node ", node), "see /sys/devices/system/node");
        nodes[node / kBits] |= 1UL << node % kBits;
    }
    if (::syscall(SYS_mbind, address, length, kModes[static_cast<unsigned>(options.policy)], nodes,
                  std::size(nodes) * kBits, 0) < 0)
        return cannot("place on the given NUMA nodes", options, length, errno);
    return {};
}

}  // namespace

Memory::Node::~Node() {
    if (mapper_) (void)mapper_->munmap(address_, length_);
}

// Maps `node`'s file, or anonymous memory, and does what the options ask of the pages.
Result<Memory> Memory::map_here(std::shared_ptr<Node> node, std::uint64_t length, const Options& options,
                                unsigned more_flags) {
    sys::Kernel& kernel = kernel_of(options);
    void* address = nullptr;
    const int protection = PROT_READ | (options.read_only ? 0 : PROT_WRITE);
    const int flags = (options.shared ? MAP_SHARED : MAP_PRIVATE) | (node->fd_ ? 0 : MAP_ANONYMOUS) |
                      MAP_NORESERVE | static_cast<int>(more_flags);
    if (const int result =
            kernel.mmap(&address, length, protection, flags, node->fd_.number(), options.offset);
        result < 0)
        return cannot("map", options, length, -result);
    node->mapper_ = &kernel;
    node->address_ = static_cast<std::byte*>(address);
    node->length_ = length;
    node->fd_offset_ = options.offset;
    node->shared_ = options.shared;
    node->read_only_ = options.read_only;
    if (auto placed = set_policy(node->address_, length, options); !placed) return placed.error();
    // Advice: without it the pages have another size, and everything works.
    if (options.huge_pages == HugePages::transparent) (void)::madvise(address, length, MADV_HUGEPAGE);
    if (options.huge_pages == HugePages::never) (void)::madvise(address, length, MADV_NOHUGEPAGE);
    if (options.prealloc) {
        auto filled = prefault({node->address_, length}, node->page_size_, !options.read_only,
                               options.prealloc_threads);
        if (!filled) return filled.error().within(compose("cannot make memory '", options.label, "'"));
    }
    return Memory(std::move(node));
}

Result<Memory> Memory::memfd(std::uint64_t length) { return memfd(length, {}); }

Result<Memory> Memory::memfd(std::uint64_t length, Options options) {
    return guarded(Operation::memory_create, [&]() -> Result<Memory> {
        const bool hugetlb = options.huge_pages == HugePages::hugetlb;
        const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING |
                               (hugetlb ? MFD_HUGETLB | huge_size_bits(options.huge_page_size) : 0);
        sys::Fd fd(kernel_of(options), ::memfd_create(options.label.c_str(), flags));
        if (!fd) return cannot("make a memfd of", options, length, errno);
        struct stat status{};
        std::uint64_t page = cpu_page_size();
        if (hugetlb && ::fstat(fd.number(), &status) == 0)
            page = static_cast<std::uint64_t>(status.st_blksize);
        auto size = whole_pages(length, page, options);
        if (!size) return size.error();
        if (::ftruncate(fd.number(), static_cast<off_t>(*size)) < 0)
            return cannot("make a memfd of", options, *size, errno);
        // Devices will reach these pages; a file that shrinks under them would only confuse.
        (void)::fcntl(fd.number(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
        options.shared = true;
        options.offset = 0;
        return map_here(std::make_shared<Node>(options.label, std::move(fd), page), *size, options, 0);
    });
}

Result<Memory> Memory::anonymous(std::uint64_t length) { return anonymous(length, {}); }

Result<Memory> Memory::anonymous(std::uint64_t length, Options options) {
    return guarded(Operation::memory_create, [&]() -> Result<Memory> {
        const bool hugetlb = options.huge_pages == HugePages::hugetlb;
        const std::uint64_t page = hugetlb && options.huge_page_size != 0 ? options.huge_page_size
                                   : hugetlb                              ? 2_MiB
                                                                          : cpu_page_size();
        auto size = whole_pages(length, page, options);
        if (!size) return size.error();
        options.offset = 0;
        options.read_only = false;
        options.shared = false;
        return map_here(std::make_shared<Node>(options.label, sys::Fd(), page), *size, options,
                        hugetlb ? MAP_HUGETLB | huge_size_bits(options.huge_page_size) : 0);
    });
}

Result<Memory> Memory::file(const std::string& path, std::uint64_t length, Options options) {
    return guarded(Operation::memory_create, [&]() -> Result<Memory> {
        sys::Kernel& kernel = kernel_of(options);
        const int mode = options.read_only || !options.shared ? O_RDONLY : O_RDWR;
        const sys::Fd opened(kernel, kernel.open(path.c_str(), mode));
        const auto what = [&] { return compose("cannot open '", path, "' for '", options.label, "'"); };
        if (opened.number() == -ENOENT)
            return Error::refused(
                ENOENT, what(), "there is no such file",
                "make it as large as the memory (`truncate -s SIZE FILE`), or correct the path");
        if (opened.number() == -EISDIR)
            return Error::refused(EISDIR, what(), "it is a directory", "give the path of a file in it");
        if (!opened) return failed(Operation::memory_create, -opened.number(), what);
        return fd(opened.number(), length, std::move(options));
    });
}

Result<Memory> Memory::fd(int descriptor, std::uint64_t length, Options options) {
    return guarded(Operation::memory_create, [&]() -> Result<Memory> {
        auto copy = duplicate(descriptor, options);
        if (!copy) return copy.error();
        struct stat status{};
        if (::fstat(copy->number(), &status) < 0)
            return cannot("look at the file of", options, length, errno);
        struct statfs system{};
        if (::fstatfs(copy->number(), &system) < 0)
            return cannot("look at the file system of", options, length, errno);
        const bool huge = system.f_type == HUGETLBFS_MAGIC;
        const std::uint64_t page = huge ? static_cast<std::uint64_t>(system.f_bsize) : cpu_page_size();
        auto size = whole_pages(length, page, options);
        if (!size) return size.error();
        if (S_ISDIR(status.st_mode))
            return Error::refused(EISDIR, compose("cannot map a file for '", options.label, "'"),
                                  "it is a directory", "give a file");
        const auto bytes = static_cast<std::uint64_t>(status.st_size);
        if (S_ISREG(status.st_mode) && (*size > bytes || options.offset > bytes - *size))
            return Error::refused(
                EINVAL, compose("cannot map ", size_text(*size), " of a file for '", options.label, "'"),
                compose("the file has ", bytes, " bytes, and the memory starts at ", options.offset),
                "make the file longer, or the size smaller");
        auto memory =
            map_here(std::make_shared<Node>(options.label, *std::move(copy), page), *size, options, 0);
        if (memory && options.shared)
            if (auto touched = touch_allocated_pages(memory->fd(), options.offset, memory->bytes()); !touched)
                return touched.error().within(compose("cannot use the file of '", options.label, "'"));
        return memory;
    });
}

Result<Memory> Memory::dma_buf(int descriptor, std::uint64_t length, Options options) {
    return guarded(Operation::memory_create, [&]() -> Result<Memory> {
        auto copy = duplicate(descriptor, options);
        if (!copy) return copy.error();
        auto size = whole_pages(length, cpu_page_size(), options);
        if (!size) return size.error();
        auto node = std::make_shared<Node>(std::move(options.label), *std::move(copy), cpu_page_size());
        node->length_ = *size;
        node->fd_offset_ = options.offset;
        node->shared_ = true;
        node->read_only_ = options.read_only;
        return Memory(std::move(node));
    });
}

Result<Memory> Memory::borrow(void* address, std::uint64_t length) { return borrow(address, length, {}); }

Result<Memory> Memory::borrow(void* address, std::uint64_t length, Options options) {
    return guarded(Operation::memory_create, [&]() -> Result<Memory> {
        const auto start = reinterpret_cast<std::uintptr_t>(address);
        if (!address || length == 0 || start + length < start)
            return Error::refused(EINVAL, compose("cannot use memory '", options.label, "'"),
                                  compose(Hex{start}, "+", Hex{length}, " is no range of addresses"),
                                  "give at least one byte, within the address space");
        auto node = std::make_shared<Node>(std::move(options.label), sys::Fd(), cpu_page_size());
        node->address_ = static_cast<std::byte*>(address);
        node->length_ = length;
        return Memory(std::move(node));
    });
}

Memory::Memory(std::shared_ptr<const Node> node) noexcept : node_(std::move(node)) {}
Memory::Memory(const Memory&) noexcept = default;
Memory& Memory::operator=(const Memory&) noexcept = default;
Memory::Memory(Memory&&) noexcept = default;
Memory& Memory::operator=(Memory&&) noexcept = default;
Memory::~Memory() = default;

std::byte* Memory::data() const noexcept { return node_->data(); }
std::uint64_t Memory::size() const noexcept { return node_->size(); }
const std::string& Memory::label() const noexcept { return node_->label(); }
int Memory::fd() const noexcept { return node_->fd(); }
std::uint64_t Memory::fd_offset() const noexcept { return node_->fd_offset(); }
bool Memory::is_shared() const noexcept { return node_->is_shared(); }
bool Memory::is_dma_buf() const noexcept { return node_->is_dma_buf(); }
bool Memory::is_read_only() const noexcept { return node_->is_read_only(); }
std::uint64_t Memory::page_size() const noexcept { return node_->page_size(); }

}  // namespace iommufd::inline v0_1::dma
