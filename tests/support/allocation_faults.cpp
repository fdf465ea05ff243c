// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "support/allocation_faults.hpp"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define IOMMUFD_REPLACES_NEW 0
#endif
#endif
#ifndef IOMMUFD_REPLACES_NEW
#define IOMMUFD_REPLACES_NEW 1
#endif

namespace iommufd::inline v0_1 {
namespace {

// Constant-initialized: operator new is called before any constructor of this program has run.
constinit thread_local std::uint64_t thread_count = 0;
constinit thread_local std::uint64_t thread_fault = 0;
constinit std::atomic<std::int64_t> live_blocks = 0;

#if IOMMUFD_REPLACES_NEW
void* allocate(std::size_t size, std::size_t alignment) noexcept {
    if (++thread_count == thread_fault) return nullptr;
    if (size == 0) size = 1;  // every block has an address of its own
    void* block = nullptr;
    if (alignment <= __STDCPP_DEFAULT_NEW_ALIGNMENT__)
        block = std::malloc(size);
    else if (::posix_memalign(&block, alignment, size) != 0)
        block = nullptr;
    if (block) live_blocks.fetch_add(1, std::memory_order_relaxed);
    return block;
}

void* allocate_or_throw(std::size_t size, std::size_t alignment) {
    if (void* const block = allocate(size, alignment)) return block;
    throw std::bad_alloc();
}

void release(void* block) noexcept {
    if (!block) return;
    live_blocks.fetch_sub(1, std::memory_order_relaxed);
    std::free(block);
}

constexpr std::size_t kDefault = __STDCPP_DEFAULT_NEW_ALIGNMENT__;

constexpr std::size_t bytes(std::align_val_t alignment) { return static_cast<std::size_t>(alignment); }
#endif

}  // namespace

AllocationFaults::Armed::Armed(std::uint64_t n) noexcept
    : outer_count_(thread_count), outer_fault_(thread_fault) {
    thread_count = 0;
    thread_fault = n;
}

AllocationFaults::Armed::~Armed() {
    thread_count = outer_count_;
    thread_fault = outer_fault_;
}

bool AllocationFaults::Armed::struck() const noexcept {
    return thread_fault != 0 && thread_count >= thread_fault;
}

std::uint64_t AllocationFaults::Armed::count() const noexcept { return thread_count; }

bool AllocationFaults::available() noexcept { return IOMMUFD_REPLACES_NEW; }

std::int64_t AllocationFaults::live() noexcept { return live_blocks.load(std::memory_order_relaxed); }

}  // namespace iommufd::inline v0_1

#if IOMMUFD_REPLACES_NEW
using iommufd::allocate;
using iommufd::allocate_or_throw;
using iommufd::bytes;
using iommufd::kDefault;
using iommufd::release;

void* operator new(std::size_t size) { return allocate_or_throw(size, kDefault); }
void* operator new[](std::size_t size) { return allocate_or_throw(size, kDefault); }
void* operator new(std::size_t size, std::align_val_t alignment) {
    return allocate_or_throw(size, bytes(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
    return allocate_or_throw(size, bytes(alignment));
}

void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return allocate(size, kDefault); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return allocate(size, kDefault); }
void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
    return allocate(size, bytes(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
    return allocate(size, bytes(alignment));
}

void operator delete(void* block) noexcept { release(block); }
void operator delete[](void* block) noexcept { release(block); }
void operator delete(void* block, std::size_t) noexcept { release(block); }
void operator delete[](void* block, std::size_t) noexcept { release(block); }
void operator delete(void* block, std::align_val_t) noexcept { release(block); }
void operator delete[](void* block, std::align_val_t) noexcept { release(block); }
void operator delete(void* block, std::size_t, std::align_val_t) noexcept { release(block); }
void operator delete[](void* block, std::size_t, std::align_val_t) noexcept { release(block); }
void operator delete(void* block, const std::nothrow_t&) noexcept { release(block); }
void operator delete[](void* block, const std::nothrow_t&) noexcept { release(block); }
void operator delete(void* block, std::align_val_t, const std::nothrow_t&) noexcept { release(block); }
void operator delete[](void* block, std::align_val_t, const std::nothrow_t&) noexcept { release(block); }
#endif
