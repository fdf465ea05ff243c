// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/free_ranges.hpp"

#include <algorithm>
#include <bit>
#include <new>
#include <utility>

namespace iommufd::inline v0_1::dma {
namespace {

constexpr std::uint64_t kLast = ~std::uint64_t{0};
constexpr std::size_t kLargestSlab = 2048;

}  // namespace

unsigned FreeRanges::Node::rank(std::uint64_t address) const noexcept {
    // Without a branch that depends on the address: nobody could predict it.
    unsigned before = 0;
    for (unsigned left = count; left > 0;) {
        const unsigned half = (left + 1) / 2;
        before += half & (0U - static_cast<unsigned>(first[before + half - 1] <= address));
        left -= half;
    }
    return before;
}

unsigned FreeRanges::Node::fitting(unsigned from, std::uint64_t least) const noexcept {
    std::uint32_t fits = 0;
    for (unsigned i = 0; i < count; ++i) fits |= static_cast<std::uint32_t>(span[i] >= least) << i;
    return static_cast<unsigned>(std::countr_zero(fits & (from < kMost ? ~0U << from : 0U)));
}

std::uint64_t FreeRanges::Node::longest() const noexcept {
    std::uint64_t most = 0;
    for (unsigned i = 0; i < count; ++i) most = std::max(most, span[i]);
    return most;
}

void FreeRanges::Node::insert(unsigned at, std::uint64_t first_address, std::uint64_t length_less_1,
                              Node* below) noexcept {
    std::copy_backward(first + at, first + count, first + count + 1);
    std::copy_backward(span + at, span + count, span + count + 1);
    if (below) {
        std::copy_backward(child + at, child + count, child + count + 1);
        child[at] = below;
    }
    first[at] = first_address;
    span[at] = length_less_1;
    ++count;
}

void FreeRanges::Node::erase(unsigned at, bool is_leaf) noexcept {
    std::copy(first + at + 1, first + count, first + at);
    std::copy(span + at + 1, span + count, span + at);
    if (!is_leaf) std::copy(child + at + 1, child + count, child + at);
    --count;
}

void FreeRanges::Node::move_tail_before(unsigned from, Node& to) noexcept {
    const unsigned many = count - from;
    const auto move = [&](auto* source, auto* target) {
        std::copy_backward(target, target + to.count, target + to.count + many);
        std::copy(source + from, source + count, target);
    };
    move(first, to.first);
    move(span, to.span);
    move(child, to.child);
    to.count += many;
    count = from;
}

void FreeRanges::Node::move_front_behind(unsigned many, Node& to) noexcept {
    const auto move = [&](auto* source, auto* target) {
        std::copy(source, source + many, target + to.count);
        std::copy(source + many, source + count, source);
    };
    move(first, to.first);
    move(span, to.span);
    move(child, to.child);
    to.count += many;
    count -= many;
}

void FreeRanges::Node::describe(unsigned at) noexcept {
    first[at] = child[at]->first[0];
    span[at] = child[at]->longest();
}

FreeRanges::FreeRanges() {
    reserve(1);
    root_ = take_node();
}

// Each node but the root has kFewest entries: so there are fewer than count / (kFewest - 1) of them, and the root.
void FreeRanges::reserve(std::size_t count) {
    const std::size_t needed = count / (kFewest - 1) + 2;
    while (nodes_ < needed) {
        // What is left of the newest slab would be forgotten.
        while (fresh_ < newest_) give_back(&slabs_.back()[fresh_++]);
        const std::size_t more = std::clamp<std::size_t>(nodes_, 2, kLargestSlab);
        slabs_.reserve(slabs_.size() + 1);
        slabs_.push_back(std::make_unique_for_overwrite<Node[]>(more));
        nodes_ += more;
        newest_ = more;
        fresh_ = 0;
    }
}

FreeRanges::Node* FreeRanges::take_node() noexcept {
    Node* const node = unused_ ? std::exchange(unused_, unused_->child[0]) : &slabs_.back()[fresh_++];
    node->count = 0;
    return node;
}

void FreeRanges::give_back(Node* node) noexcept { node->child[0] = std::exchange(unused_, node); }

// To the last entry that begins at or before the address; the first of all, if none does.
FreeRanges::Path FreeRanges::descend(std::uint64_t address) const noexcept {
    Path path;
    Node* node = root_;
    for (unsigned level = 0;; ++level) {
        const unsigned rank = node->rank(address);
        const unsigned index = rank == 0 ? 0 : rank - 1;
        path.steps[level] = {.node = node, .index = index};
        if (level == height_) {
            path.leaf = level;
            path.before_all = rank == 0;
            return path;
        }
        node = node->child[index];
    }
}

// To the entry after it, if there is one.
bool FreeRanges::advance(Path& path) const noexcept {
    unsigned level = path.leaf;
    while (path.steps[level].index + 1 >= path.steps[level].node->count)
        if (level-- == 0) return false;
    ++path.steps[level].index;
    for (; level < path.leaf; ++level)
        path.steps[level + 1] = {.node = path.steps[level].node->child[path.steps[level].index], .index = 0};
    return true;
}

// Tells the nodes above `level` that a span there, which was one, is another now.
void FreeRanges::refresh(const Path& path, unsigned level, std::uint64_t was, std::uint64_t now) noexcept {
    for (; level > 0; --level) {
        const Node& node = *path.steps[level].node;
        auto& [above, index] = path.steps[level - 1];
        const std::uint64_t before = above->span[index];
        std::uint64_t longest = before;
        if (now >= before)
            longest = now;
        else if (was >= before)
            longest = node.longest();
        if (longest == before && above->first[index] == node.first[0]) return;
        above->span[index] = longest;
        above->first[index] = node.first[0];
        was = before;
        now = longest;
    }
}

void FreeRanges::change(const Path& path, std::uint64_t first, std::uint64_t last) noexcept {
    Node& leaf = path.node();
    leaf.first[path.index()] = first;
    const std::uint64_t was = std::exchange(leaf.span[path.index()], last - first);
    refresh(path, path.leaf, was, last - first);
}

void FreeRanges::insert(const Path& path, unsigned at, std::uint64_t first, std::uint64_t last) noexcept {
    ++size_;
    std::uint64_t span = last - first;
    Node* below = nullptr;
    for (unsigned level = path.leaf;; --level) {
        Node& node = *path.steps[level].node;
        if (node.count < kMost) {
            node.insert(at, first, span, below);
            // A split below has changed the entry beside it too.
            return refresh(path, level, below ? kLast : 0, below ? 0 : span);
        }
        Node* const right = take_node();
        node.move_tail_before(kMost / 2, *right);
        if (at <= kMost / 2)
            node.insert(at, first, span, below);
        else
            right->insert(at - kMost / 2, first, span, below);
        first = right->first[0];
        span = right->longest();
        below = right;
        if (level == 0) {
            Node* const root = take_node();
            root->insert(0, node.first[0], node.longest(), &node);
            root->insert(1, first, span, right);
            root_ = root;
            ++height_;
            return;
        }
        path.steps[level - 1].node->describe(path.steps[level - 1].index);
        at = path.steps[level - 1].index + 1;
    }
}

void FreeRanges::erase(const Path& path) noexcept {
    --size_;
    erase(path, path.leaf, path.index(), path.node().span[path.index()]);
}

// `was`: the span that goes; kLast: others have changed too.
void FreeRanges::erase(const Path& path, unsigned level, unsigned at, std::uint64_t was) noexcept {
    Node& node = *path.steps[level].node;
    node.erase(at, level == path.leaf);
    if (level == 0) {
        if (height_ > 0 && node.count == 1) {
            root_ = node.child[0];
            --height_;
            give_back(&node);
        }
        return;
    }
    if (node.count >= kFewest) return refresh(path, level, was, 0);
    auto& [above, index] = path.steps[level - 1];
    const unsigned left = index == 0 ? 0 : index - 1;
    Node& a = *above->child[left];
    Node& b = *above->child[left + 1];
    const unsigned together = a.count + b.count;
    if (together <= kMerged) {
        b.move_front_behind(b.count, a);
        give_back(&b);
        above->describe(left);
        return erase(path, level - 1, left + 1, kLast);
    }
    if (a.count > together / 2)
        a.move_tail_before(together / 2, b);
    else
        b.move_front_behind(together / 2 - a.count, a);
    above->describe(left);
    above->describe(left + 1);
    refresh(path, level - 1, kLast, 0);
}

void FreeRanges::add(Range range) noexcept {
    const std::uint64_t first = range.first.value;
    const std::uint64_t last = range.last.value;
    found_.reset();
    Path path = descend(first);
    if (path.node().count == 0) return insert(path, 0, first, last);

    Path after = path;
    const bool has_after = path.before_all || advance(after);
    const std::uint64_t begin_after = has_after ? after.range().first.value : 0;
    const bool joins_after = has_after && last != kLast && begin_after == last + 1;
    const std::uint64_t begin = path.range().first.value;
    const bool joins_before = !path.before_all && path.range().last.value + 1 == first;
    const std::uint64_t end = joins_after ? after.range().last.value : last;
    if (joins_before) {
        change(path, begin, end);
        // Nodes move then: so that comes last.
        if (joins_after) erase(after);
    } else if (joins_after) {
        change(after, first, end);
    } else {
        insert(path, path.before_all ? 0 : path.index() + 1, first, last);
    }
}

bool FreeRanges::remove(Range range) noexcept {
    const bool was_found = found_ && found_->range().contains(range);
    if (!was_found) found_ = descend(range.first.value);
    const Path& path = *found_;
    if (path.node().count == 0 || path.before_all || !path.range().contains(range)) {
        found_.reset();
        return false;
    }
    const std::uint64_t begin = path.range().first.value;
    const std::uint64_t end = path.range().last.value;
    const bool from_begin = begin == range.first.value;
    const bool to_end = end == range.last.value;
    if (from_begin && to_end)
        erase(path);
    else if (from_begin)
        change(path, range.last.value + 1, end);
    else
        change(path, begin, range.first.value - 1);
    if (!from_begin && !to_end) insert(path, path.index() + 1, range.last.value + 1, end);
    found_.reset();
    return true;
}

bool FreeRanges::overlaps(Range range) const noexcept {
    const auto found = find(range.first, 0);
    return found && found->first <= range.last;
}

std::optional<Range> FreeRanges::find(Iova from, std::uint64_t span) const noexcept {
    Path path = descend(from.value);
    unsigned level = path.leaf;
    unsigned start = path.index();
    // Of the entries above the one where the search begins, only later ones promise what lies behind `from`.
    if (!path.before_all && path.node().count > 0 && path.range().last < from) ++start;
    for (;;) {
        auto& [node, index] = path.steps[level];
        index = node->fitting(start, span);
        if (index < node->count) break;
        if (level-- == 0) return std::nullopt;
        start = path.steps[level].index + 1;
    }
    for (; level < path.leaf; ++level) {
        Node* const below = path.steps[level].node->child[path.steps[level].index];
        path.steps[level + 1] = {.node = below, .index = below->fitting(0, span)};
    }
    path.before_all = false;
    found_ = path;
    return path.range();
}

bool FreeRanges::is_sound() const noexcept {
    std::size_t ranges = 0;
    if (!is_sound(*root_, 0, ranges) || ranges != size_) return false;
    std::uint64_t from = 0;
    for (;;) {
        const auto range = find(Iova{from}, 0);
        if (!range) return true;
        if (from != 0 && range->first.value <= from) return false;  // side by side, or out of order
        if (range->last.value == kLast) return true;
        from = range->last.value + 1;
    }
}

bool FreeRanges::is_sound(const Node& node, unsigned level, std::size_t& ranges) const noexcept {
    if (node.count > kMost || (level > 0 && node.count < kFewest)) return false;
    if (level == height_) {
        ranges += node.count;
        return true;
    }
    for (unsigned i = 0; i < node.count; ++i) {
        const Node& below = *node.child[i];
        if (node.first[i] != below.first[0] || node.span[i] != below.longest()) return false;
        if (!is_sound(below, level + 1, ranges)) return false;
    }
    return true;
}

}  // namespace iommufd::inline v0_1::dma
