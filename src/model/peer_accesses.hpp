// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Peer-to-peer: a DMA that reaches registers of another device. A page table is locked while a DMA goes through it, and
// registers may start a DMA of their own; so what is found to be registers is done when the page table is free again.
//
//     DmaPort --> Domain --physical::read, write--> Registers: noted
//             <-- free again --> finish() --> Registers::access() --> the other device
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "model/physical.hpp"

namespace iommufd::inline v0_1::model {

// A device's registers as other devices reach them. Nothing but a DMA does.
class Registers : public AddressSpace, public std::enable_shared_from_this<Registers> {
public:
    // False: nobody answered.
    virtual bool access(std::uint64_t offset, std::byte* bytes, std::size_t length, bool write) noexcept = 0;

    int read(void* to, std::uint64_t from, std::size_t length) noexcept final;
    int write(std::uint64_t to, const void* from, std::size_t length) noexcept final;
    int populate(std::uint64_t, std::uint64_t, bool) noexcept final { return 0; }
    std::vector<MappedPiece> mapped() final { return {}; }
    std::uint64_t page_size(std::uint64_t, std::uint64_t) noexcept final { return ~std::uint64_t{0}; }
};

// Those of one DMA of this thread, while it lives. One that is begun meanwhile has its own.
class PeerAccesses {
public:
    PeerAccesses() noexcept;
    ~PeerAccesses();
    PeerAccesses(const PeerAccesses&) = delete;
    PeerAccesses& operator=(const PeerAccesses&) = delete;

    // Makes them, and tells of the bytes that nobody answered for; those of a read are zero then.
    void finish(const std::function<void(const std::byte* bytes, std::size_t length)>& blocked) noexcept {
        if (!noted_.empty()) make(blocked);
    }

private:
    friend class Registers;

    struct Noted {
        std::shared_ptr<Registers> registers;
        std::uint64_t offset;
        std::byte* bytes;
        std::size_t length;
        bool write;
    };

    // 0, or -EFAULT where no DMA is under way or memory is short.
    static int note(Registers& registers, std::uint64_t offset, std::byte* bytes, std::size_t length,
                    bool write) noexcept;
    void make(const std::function<void(const std::byte*, std::size_t)>& blocked) noexcept;

    std::vector<Noted> noted_;
    PeerAccesses* const outer_;
};

}  // namespace iommufd::inline v0_1::model
