// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/capi/memory.h"

#include <utility>

#include "capi/call.hpp"
#include "capi/handles.hpp"

namespace iommufd::inline v0_1::capi {
namespace {

Result<dma::Memory::Options> memory_options(const iommufd_memory_options* given) {
    auto options = options_of(given);
    if (!options) return options.error();
    constexpr std::uint32_t kFlags =
        IOMMUFD_MEMORY_PRIVATE | IOMMUFD_MEMORY_READ_ONLY | IOMMUFD_MEMORY_PREALLOC;
    if (auto known = check_flags(options->flags, kFlags); !known) return known.error();
    if (auto known = check_flags(options->huge_pages, std::uint32_t{IOMMUFD_HUGE_PAGES_HUGETLB}); !known)
        return known.error();
    auto kernel = kernel_of(options->kernel);
    if (!kernel) return kernel.error();
    dma::Memory::Options result{
        .huge_pages = static_cast<dma::Memory::HugePages>(options->huge_pages),
        .huge_page_size = options->huge_page_size,
        .shared = (options->flags & IOMMUFD_MEMORY_PRIVATE) == 0,
        .read_only = (options->flags & IOMMUFD_MEMORY_READ_ONLY) != 0,
        .offset = options->offset,
        .prealloc = (options->flags & IOMMUFD_MEMORY_PREALLOC) != 0,
        .host_nodes = {},
        .kernel = *kernel,
    };
    if (options->label) result.label = options->label;
    return result;
}

// make(options) returns Result<Memory>.
template <class Make>
int create(const iommufd_memory_options* given, iommufd_memory** memory, Make&& make) noexcept {
    return call([&]() -> Result<void> {
        if (!memory) return is_null("the pointer to the memory");
        auto options = memory_options(given);
        if (!options) return options.error();
        auto made = make(*std::move(options));
        if (!made) return made.error();
        *memory = new iommufd_memory{*std::move(made)};
        return {};
    });
}

}  // namespace
}  // namespace iommufd::inline v0_1::capi

using namespace iommufd;
using capi::create;
using Options = dma::Memory::Options;

int iommufd_memory_memfd(uint64_t length, const iommufd_memory_options* options, iommufd_memory** memory) {
    return create(options, memory, [&](Options how) { return dma::Memory::memfd(length, std::move(how)); });
}

int iommufd_memory_anonymous(uint64_t length, const iommufd_memory_options* options,
                             iommufd_memory** memory) {
    return create(options, memory,
                  [&](Options how) { return dma::Memory::anonymous(length, std::move(how)); });
}

int iommufd_memory_file(const char* path, uint64_t length, const iommufd_memory_options* options,
                        iommufd_memory** memory) {
    return create(options, memory, [&](Options how) -> Result<dma::Memory> {
        if (!path) return capi::is_null("the path");
        return dma::Memory::file(path, length, std::move(how));
    });
}

int iommufd_memory_fd(int fd, uint64_t length, const iommufd_memory_options* options,
                      iommufd_memory** memory) {
    return create(options, memory, [&](Options how) { return dma::Memory::fd(fd, length, std::move(how)); });
}

int iommufd_memory_dma_buf(int fd, uint64_t length, const iommufd_memory_options* options,
                           iommufd_memory** memory) {
    return create(options, memory,
                  [&](Options how) { return dma::Memory::dma_buf(fd, length, std::move(how)); });
}

int iommufd_memory_borrow(void* address, uint64_t length, const iommufd_memory_options* options,
                          iommufd_memory** memory) {
    return create(options, memory,
                  [&](Options how) { return dma::Memory::borrow(address, length, std::move(how)); });
}

void iommufd_memory_free(iommufd_memory* memory) { delete memory; }

void* iommufd_memory_data(const iommufd_memory* memory) { return memory ? memory->memory.data() : nullptr; }

uint64_t iommufd_memory_size(const iommufd_memory* memory) { return memory ? memory->memory.size() : 0; }

int iommufd_memory_file_fd(const iommufd_memory* memory) {
    return capi::call([&]() -> Result<int> {
        if (!memory) return capi::is_null("the memory");
        if (memory->memory.fd() >= 0) return memory->memory.fd();
        return capi::refused(EBADF, "there is no descriptor", "the memory has no file", "make it by memfd");
    });
}
