// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/table_pool.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <utility>

namespace iommufd::inline v0_1::dma {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kMost = kHugePage / sizeof(PageRadix::Table);  // in one slab

}  // namespace

void TablePool::add_slab() {
    const std::size_t count = std::min(next_count_, kMost);
    const bool huge = count == kMost;
    const std::size_t bytes = huge ? kHugePage : count * sizeof(Table);
    const auto alignment = static_cast<std::align_val_t>(huge ? kHugePage : alignof(Table));
    slabs_.reserve(slabs_.size() + 1);
    auto* const slab = static_cast<std::byte*>(::operator new(bytes, alignment));
    slabs_.emplace_back(slab, Release{alignment});
    // Advice: without it there are more TLB misses.
    if (huge) (void)::madvise(slab, bytes, MADV_HUGEPAGE);
    rest_ = slab;
    tables_left_ = count;
    next_count_ = count * 2;
}

TablePool::Table* TablePool::take() {
    const sys::Lock lock(mutex_);
    if (!free_ && tables_left_ == 0) add_slab();
    ++out_;
    if (free_) return std::exchange(free_, std::exchange(free_->next, nullptr));
    auto* const table = ::new (static_cast<void*>(rest_)) Table;
    rest_ += sizeof(Table);
    --tables_left_;
    return table;
}

std::size_t TablePool::out() const noexcept {
    const sys::Lock lock(mutex_);
    return out_;
}

void TablePool::Unmap::operator()(PageRadix::Root* root) const noexcept {
    (void)::munmap(root, sizeof *root);
}

PageRadix::Root* TablePool::take_root() {
    const sys::Lock lock(mutex_);
    roots_.reserve(roots_.size() + 1);
    // All bits 0: holes.
    void* const root = ::mmap(nullptr, sizeof(PageRadix::Root), PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (root == MAP_FAILED) throw std::bad_alloc();
    roots_.emplace_back(static_cast<PageRadix::Root*>(root));
    return roots_.back().get();
}

void TablePool::give_back(Table* chain) noexcept {
    if (!chain) return;
    const sys::Lock lock(mutex_);
    Table* last = chain;
    for (--out_; last->next; last = last->next) --out_;
    last->next = std::exchange(free_, chain);
}

}  // namespace iommufd::inline v0_1::dma
