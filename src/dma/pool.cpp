// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/dma/pool.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>

#include "dma/pool_state.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"

namespace iommufd::inline v0_1::dma {
namespace {

constexpr std::uint64_t kSmallest = 64;
constexpr std::uint64_t kClosed = ~std::uint64_t{0};

// A word of slots: which are taken, and in the three highest bits the size. Of the 64 smallest slots three are given up for that.
constexpr unsigned kSizeShift = 61;
constexpr std::uint64_t kSlots = (std::uint64_t{1} << kSizeShift) - 1;

constexpr unsigned slots_of(unsigned size) { return size == 0 ? kSizeShift : 64U >> size; }
constexpr std::uint64_t empty_word(unsigned size) {
    return std::uint64_t{size} << kSizeShift | (kSlots & ~((std::uint64_t{1} << slots_of(size)) - 1));
}
constexpr bool has_free(std::uint64_t word, unsigned size) {
    return word >> kSizeShift == size && (word & kSlots) != kSlots;
}

auto make_words(std::uint64_t count, std::uint64_t value) {
    auto words = std::make_unique<std::atomic<std::uint64_t>[]>(count);
    for (std::uint64_t i = 0; i < count; ++i) words[i].store(value, std::memory_order_relaxed);
    return words;
}

}  // namespace

PoolState::PoolState(Memory memory, Mapping mapping)
    : memory_(std::move(memory)),
      mapping_(std::move(mapping)),
      to_iova_(mapping_.iova().value - reinterpret_cast<std::uintptr_t>(memory_.data())),
      origin_(mapping_.iova().value / kPage & ~(PageBits::kWord - 1)),
      pages_(mapping_.iova().value / kPage - origin_, memory_.size() / kPage),
      slots_(make_words(pages_.pages(), kClosed)) {
    for (auto& words : open_) words = make_words(pages_.pages() / 64, 0);
    for (Shard& shard : shards_)
        for (auto& page : shard.pages) page = kNoPage;
}

PoolState::Shard& PoolState::shard() noexcept {
    const auto thread = reinterpret_cast<std::uintptr_t>(__builtin_thread_pointer());
    return shards_[thread / kPage * 0x9e3779b97f4a7c15ULL >> 60];
}

std::byte* PoolState::address(std::uint64_t page) const noexcept {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): what a pool is about
    return reinterpret_cast<std::byte*>((origin_ + page) * kPage - to_iova_);
}

std::optional<std::uint64_t> PoolState::claim_pages(std::uint64_t count, std::uint64_t alignment) noexcept {
    if (const auto page = pages_.claim(count, alignment, origin_)) return page;
    return trim() ? pages_.claim(count, alignment, origin_) : std::nullopt;
}

std::optional<PoolState::Place> PoolState::alloc(std::uint64_t size, std::uint64_t alignment) noexcept {
    if (size == 0 || size > memory_.size() || !std::has_single_bit(alignment)) return std::nullopt;
    const std::uint64_t least = std::max({size, alignment, kSmallest});
    if (least <= kLargestSlot) {
        const auto slot = static_cast<unsigned>(std::bit_width((least - 1) / kSmallest));
        std::byte* const data = alloc_slot(slot);
        return data ? std::optional(Place{data, kSmallest << slot}) : std::nullopt;
    }
    const std::uint64_t count = (size + kPage - 1) / kPage;
    const auto page = claim_pages(count, std::max(alignment / kPage, std::uint64_t{1}));
    return page ? std::optional(Place{address(*page), count * kPage}) : std::nullopt;
}

void PoolState::free(Place place) noexcept {
    const std::uint64_t iova = reinterpret_cast<std::uintptr_t>(place.data) + to_iova_;
    const std::uint64_t page = iova / kPage - origin_;
    if (place.capacity > kLargestSlot) return pages_.give_back(page, place.capacity / kPage);
    const auto size = static_cast<unsigned>(std::bit_width(place.capacity / kSmallest) - 1);
    const std::uint64_t bit = std::uint64_t{1} << iova % kPage / place.capacity;
    const std::uint64_t before = slots_[page].fetch_and(~bit, std::memory_order_acq_rel);
    // From here on the page may be another's: what follows are hints, and a step that fails then.
    if ((before & kSlots) == kSlots) set_open(page, size);
    if ((before & ~bit) == empty_word(size) && shard().pages[size].load(std::memory_order_relaxed) != page)
        (void)close(page, size);
}

std::byte* PoolState::alloc_slot(unsigned size) noexcept {
    auto& current = shard().pages[size];
    const std::uint64_t last = current.load(std::memory_order_relaxed);
    if (last != kNoPage)
        if (std::byte* const slot = take_slot(last, size)) return slot;
    if (open_count_[size].load(std::memory_order_relaxed) > 0)
        if (std::byte* const slot = search_slot(last == kNoPage ? 0 : last, size, current)) return slot;
    const auto page = claim_pages(1, 1);
    // None: but there may be slots that this thread didn't see for the count.
    if (!page) return search_slot(0, size, current);
    slots_[*page].store(empty_word(size) | 1, std::memory_order_release);
    set_open(*page, size);
    current.store(*page, std::memory_order_relaxed);
    return address(*page);
}

std::byte* PoolState::take_slot(std::uint64_t page, unsigned size) noexcept {
    std::uint64_t word = slots_[page].load(std::memory_order_relaxed);
    while (has_free(word, size)) {
        const auto slot = static_cast<unsigned>(std::countr_one(word));
        const std::uint64_t taken = word | std::uint64_t{1} << slot;
        if (!slots_[page].compare_exchange_weak(word, taken, std::memory_order_acq_rel,
                                                std::memory_order_relaxed))
            continue;
        if (!has_free(taken, size)) clear_open(page, size);
        return address(page) + (kSmallest << size) * slot;
    }
    return nullptr;
}

std::byte* PoolState::search_slot(std::uint64_t from, unsigned size,
                                  std::atomic<std::uint64_t>& current) noexcept {
    const std::uint64_t words = pages_.pages() / 64;
    // The nearest first, on both sides: a pool's pages of one size lie together.
    for (std::uint64_t i = 0; i < words; ++i) {
        const std::uint64_t word = (from / 64 + (i % 2 == 1 ? i / 2 + 1 : words - i / 2)) % words;
        for (std::uint64_t bits = open_[size][word].load(std::memory_order_acquire); bits != 0;
             bits &= bits - 1) {
            const std::uint64_t page = word * 64 + static_cast<unsigned>(std::countr_zero(bits));
            if (std::byte* const slot = take_slot(page, size)) {
                current.store(page, std::memory_order_relaxed);
                return slot;
            }
            clear_open(page, size);
        }
    }
    return nullptr;
}

void PoolState::set_open(std::uint64_t page, unsigned size) noexcept {
    const std::uint64_t bit = std::uint64_t{1} << page % 64;
    if ((open_[size][page / 64].fetch_or(bit, std::memory_order_acq_rel) & bit) == 0)
        open_count_[size].fetch_add(1, std::memory_order_relaxed);
}

// Somebody may have freed a slot before the bit was cleared: then it is set again.
void PoolState::clear_open(std::uint64_t page, unsigned size) noexcept {
    const std::uint64_t bit = std::uint64_t{1} << page % 64;
    if ((open_[size][page / 64].fetch_and(~bit, std::memory_order_acq_rel) & bit) != 0)
        open_count_[size].fetch_sub(1, std::memory_order_relaxed);
    if (has_free(slots_[page].load(std::memory_order_acquire), size)) set_open(page, size);
}

// False: a slot of it is taken again, or it is no page of that size any more.
bool PoolState::close(std::uint64_t page, unsigned size) noexcept {
    std::uint64_t word = empty_word(size);
    if (!slots_[page].compare_exchange_strong(word, kClosed, std::memory_order_acq_rel,
                                              std::memory_order_relaxed))
        return false;
    clear_open(page, size);
    pages_.give_back(page, 1);
    return true;
}

// Closes the pages that are kept open for what comes next. Returns whether there were any.
bool PoolState::trim() noexcept {
    bool any = false;
    for (unsigned size = 0; size < kSizes; ++size)
        for (std::uint64_t word = 0; word < pages_.pages() / 64; ++word)
            for (std::uint64_t bits = open_[size][word].load(std::memory_order_acquire); bits != 0;
                 bits &= bits - 1)
                any |= close(word * 64 + static_cast<unsigned>(std::countr_zero(bits)), size);
    return any;
}

Result<Pool> Pool::create(const Space& space, std::uint64_t size) {
    return guarded(Operation::none, [&] { return create(space, size, {.label = "pool"}); });
}

Result<Pool> Pool::create(const Space& space, std::uint64_t size, Memory::Options memory, MapOptions map) {
    return Memory::memfd(size, std::move(memory)).and_then([&](const Memory& made) {
        return over(space, made, map);
    });
}

Result<Pool> Pool::over(const Space& space, const Memory& memory, MapOptions map) {
    return guarded(Operation::none, [&]() -> Result<Pool> {
        if (memory.is_dma_buf())
            return Error::refused(EINVAL, compose("cannot make a pool of '", memory.label(), "'"),
                                  "a dma-buf has no address here", "use a memfd");
        map.offset = 0;
        map.length = 0;
        auto mapped = space.map(memory, map);
        if (!mapped) return mapped.error();
        return Pool(std::make_shared<PoolState>(memory, std::move(*mapped)));
    });
}

Pool::Pool(std::shared_ptr<PoolState> state) noexcept
    : state_(std::move(state)), to_iova_(state_->to_iova()) {}
Pool::Pool(Pool&&) noexcept = default;
Pool& Pool::operator=(Pool&&) noexcept = default;
Pool::~Pool() = default;

Range Pool::range() const noexcept { return state_->range(); }
const Memory& Pool::memory() const noexcept { return state_->memory(); }

std::optional<Pool::Buffer> Pool::alloc(std::uint64_t size, std::uint64_t alignment) const noexcept {
    const auto place = state_->alloc(size, alignment);
    if (!place) return std::nullopt;
    return Buffer(state_, place->data, size, place->capacity);
}

Iova Pool::Buffer::iova() const noexcept {
    return Iova{reinterpret_cast<std::uintptr_t>(data_) + state_->to_iova()};
}

void Pool::Buffer::release() noexcept { state_->free({data_, capacity_}); }

}  // namespace iommufd::inline v0_1::dma
