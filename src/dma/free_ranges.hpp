// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A set of free ranges: disjoint, and never two side by side, which would be one.
//
//     find()     the lowest one of at least so many bytes
//     add()      what becomes free, merged with its neighbours                 can't fail
//     remove()   what is taken; it may be the middle of one                    can't fail
//     reserve()  room for so many of them                                      may fail
//
// Taking a range out of others leaves at most one more than before. So who keeps t ranges out of it, and has reserved t + 1,
// can give each of them back whatever the memory.
//
// A B+ tree, since at 10^5 ranges every step of a binary tree is a cache miss. Each entry of a node has the lowest address
// below it and the longest range below it.
//
// Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "iommufd/core/types.hpp"

namespace iommufd::inline v0_1::dma {

class FreeRanges {
public:
    // None. Throws bad_alloc.
    FreeRanges();
    FreeRanges(const FreeRanges&) = delete;
    FreeRanges& operator=(const FreeRanges&) = delete;

    std::size_t size() const noexcept { return size_; }

    // Room for `count` ranges. Throws bad_alloc, and then nothing has changed.
    void reserve(std::size_t count);

    // The range must lie in no free one.
    void add(Range range) noexcept;
    // False, and nothing has changed: not all of it is free.
    bool remove(Range range) noexcept;
    // Whether any of it is free.
    bool overlaps(Range range) const noexcept;

    // The lowest one that ends at or after `from` and is longer than `span` bytes (so that 2^64 can be asked for).
    std::optional<Range> find(Iova from, std::uint64_t span) const noexcept;

    // Whether the tree is as it should be; for tests.
    bool is_sound() const noexcept;

private:
    static constexpr unsigned kMost = 32;    // entries of a node
    static constexpr unsigned kFewest = 12;  // but of the root
    static constexpr unsigned kMerged = 26;  // of two nodes that become one: away from both limits
    static constexpr unsigned kHeight = 12;  // more ranges than there is memory for

    struct Node {
        std::uint32_t count;
        std::uint64_t first[kMost];  // of the range, or of the lowest one below
        std::uint64_t span[kMost];   // its length - 1, or that of the longest one below
        Node* child[kMost];  // not of a leaf; of a node that is not in use the first links to the next one

        // How many entries begin at or before the address.
        unsigned rank(std::uint64_t address) const noexcept;
        // The first entry from `from` on with such a span; none: not less than count.
        unsigned fitting(unsigned from, std::uint64_t least) const noexcept;
        std::uint64_t longest() const noexcept;
        void insert(unsigned at, std::uint64_t first_address, std::uint64_t length_less_1,
                    Node* below) noexcept;
        void erase(unsigned at, bool is_leaf) noexcept;
        // Entries [from, count) become the first ones of `to`, or the last ones.
        void move_tail_before(unsigned from, Node& to) noexcept;
        void move_front_behind(unsigned many, Node& to) noexcept;
        // Says of entry `at` what is below it.
        void describe(unsigned at) noexcept;
    };

    // The way down to an entry of a leaf.
    struct Path {
        struct Step {
            Node* node;
            unsigned index;
        };
        Step steps[kHeight];
        unsigned leaf = 0;        // the number of the last step
        bool before_all = false;  // the address lies before the first entry of the leaf

        Node& node() const noexcept { return *steps[leaf].node; }
        unsigned index() const noexcept { return steps[leaf].index; }
        Range range() const noexcept {
            const std::uint64_t first = node().first[index()];
            return {Iova{first}, Iova{first + node().span[index()]}};
        }
    };

    Path descend(std::uint64_t address) const noexcept;
    bool advance(Path& path) const noexcept;
    static void change(const Path& path, std::uint64_t first, std::uint64_t last) noexcept;
    void insert(const Path& path, unsigned at, std::uint64_t first, std::uint64_t last) noexcept;
    void erase(const Path& path) noexcept;
    void erase(const Path& path, unsigned level, unsigned at, std::uint64_t was) noexcept;
    static void refresh(const Path& path, unsigned level, std::uint64_t was, std::uint64_t now) noexcept;
    bool is_sound(const Node& node, unsigned level, std::size_t& ranges) const noexcept;

    Node* take_node() noexcept;
    void give_back(Node* node) noexcept;

    Node* root_ = nullptr;
    unsigned height_ = 0;  // steps from the root to a leaf
    std::size_t size_ = 0;
    std::vector<std::unique_ptr<Node[]>> slabs_;
    std::size_t nodes_ = 0;   // in all slabs
    std::size_t fresh_ = 0;   // of the newest slab, those that were used
    std::size_t newest_ = 0;  // how many it has
    Node* unused_ = nullptr;
    mutable std::optional<Path> found_;  // by the last find(): what is removed next, most often
};

}  // namespace iommufd::inline v0_1::dma
