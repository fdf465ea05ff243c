// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Memory that devices are to reach: owned and counted, or borrowed.
//
//     Memory::memfd(64_MiB)                  shared, mapped here, and for devices by file where the kernel can
//     Memory::file("/dev/shm/guest", n, {})  the same from a file; a private one is mapped for devices by address
//     Memory::anonymous(n)                   private memory of this process
//     Memory::dma_buf(fd, n, {})             memory of a device, for other devices: not mapped here
//     Memory::borrow(pointer, n)             the caller's: it must stay valid until the unmap has returned
//
// A Memory is a counted reference: copies share the memory, which goes after the last of them and after the
// last mapping of it.
//
// Threads: a copy for each thread; what lies in the memory is the caller's affair.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "iommufd/core/context.hpp"

namespace iommufd::inline v0_1::dma {

class IOMMUFD_EXPORT Memory {
public:
    // As the machine has it (/sys/kernel/mm/transparent_hugepage/enabled); none; those that the kernel makes where it can, which is
    // advice; or those of hugetlbfs, or none at all.
    enum class HugePages : std::uint8_t { standard, never, transparent, hugetlb };
    enum class Policy : std::uint8_t { standard, preferred, bind, interleave };

    struct Options {
        std::string label = "memory";  // named by errors
        HugePages huge_pages = HugePages::standard;
        std::uint64_t huge_page_size = 0;  // of hugetlb, in bytes; 0: the machine's default
        bool shared = true;                // of file() and fd(): changes reach the file
        bool read_only = false;            // of file() and fd()
        std::uint64_t offset = 0;       // of file() and fd(): where in the file the memory starts, in bytes
        bool prealloc = false;          // touch every page now: ENOMEM here and not later
        unsigned prealloc_threads = 1;  // signals blocked, joined before the call returns
        Policy policy = Policy::standard;  // which NUMA nodes the pages come from (mbind)
        std::vector<unsigned> host_nodes;
        sys::Kernel* kernel = nullptr;  // nothing: the machine's own; else it must outlive the memory
    };

    // `length` in bytes, rounded up to whole pages. ENOMEM, EMFILE, EINVAL (no byte).
    static Result<Memory> memfd(std::uint64_t length);
    static Result<Memory> memfd(std::uint64_t length, Options options);
    static Result<Memory> anonymous(std::uint64_t length);
    static Result<Memory> anonymous(std::uint64_t length, Options options);
    // An existing file, which must be long enough. EACCES, ENOENT, EINVAL.
    static Result<Memory> file(const std::string& path, std::uint64_t length, Options options);
    // A descriptor that somebody opened; the library keeps a duplicate.
    // Of both: pages that fallocate() made of a shared file of tmpfs (a memfd) and nobody has touched are touched here, sparse parts
    // are not. Linux 7.3 pins such pages for a device as they are, and clears them when a process touches them first: what
    // the device wrote would be gone. Who calls fallocate() later touches the pages before a device writes to them, and so
    // does who has allocated parts of a sparse file on a kernel without cachestat(2) (Linux 6.5, CONFIG_CACHESTAT_SYSCALL).
    static Result<Memory> fd(int descriptor, std::uint64_t length, Options options);
    // A dma-buf, a part of a device's BAR say (vfio::export_dma_buf); the library keeps a duplicate. It has no address
    // here, no reader sees it, and only an IOAS takes it. What its exporter revokes (a reset, memory decoding turned off)
    // reaches nothing until Mapping::remap(). Linux 6.19.
    static Result<Memory> dma_buf(int descriptor, std::uint64_t length, Options options);
    // The label is the only option looked at.
    static Result<Memory> borrow(void* address, std::uint64_t length, Options options);
    static Result<Memory> borrow(void* address, std::uint64_t length);

    Memory(const Memory&) noexcept;
    Memory& operator=(const Memory&) noexcept;
    Memory(Memory&&) noexcept;
    Memory& operator=(Memory&&) noexcept;
    ~Memory();

    // Null for a dma-buf.
    std::byte* data() const noexcept;
    std::uint64_t size() const noexcept;
    std::span<std::byte> bytes() const noexcept { return {data(), data() ? size() : 0}; }
    const std::string& label() const noexcept;
    // Borrowed; -1 for memory without a file.
    int fd() const noexcept;
    std::uint64_t fd_offset() const noexcept;
    // Whether other processes (and devices, by file) see the same pages.
    bool is_shared() const noexcept;
    bool is_read_only() const noexcept;
    bool is_dma_buf() const noexcept;
    // Of the pages behind it, in bytes.
    std::uint64_t page_size() const noexcept;

    // For the layers above.
    class Node;
    explicit Memory(std::shared_ptr<const Node> node) noexcept;
    const std::shared_ptr<const Node>& node() const noexcept { return node_; }

private:
    static Result<Memory> map_here(std::shared_ptr<Node> node, std::uint64_t length, const Options& options,
                                   unsigned more_flags);
    std::shared_ptr<const Node> node_;
};

}  // namespace iommufd::inline v0_1::dma
