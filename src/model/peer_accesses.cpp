// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/peer_accesses.hpp"

#include <algorithm>
#include <cerrno>
#include <new>

namespace iommufd::inline v0_1::model {
namespace {

thread_local PeerAccesses* current = nullptr;

}  // namespace

int Registers::read(void* to, std::uint64_t from, std::size_t length) noexcept {
    return PeerAccesses::note(*this, from, static_cast<std::byte*>(to), length, false);
}

int Registers::write(std::uint64_t to, const void* from, std::size_t length) noexcept {
    return PeerAccesses::note(*this, to, const_cast<std::byte*>(static_cast<const std::byte*>(from)), length,
                              true);
}

PeerAccesses::PeerAccesses() noexcept : outer_(current) { current = this; }

PeerAccesses::~PeerAccesses() { current = outer_; }

int PeerAccesses::note(Registers& registers, std::uint64_t offset, std::byte* bytes, std::size_t length,
                       bool write) noexcept {
    if (current == nullptr) return -EFAULT;
    try {
        current->noted_.push_back({.registers = registers.shared_from_this(),
                                   .offset = offset,
                                   .bytes = bytes,
                                   .length = length,
                                   .write = write});
    } catch (const std::bad_alloc&) {
        return -EFAULT;
    }
    return 0;
}

void PeerAccesses::make(const std::function<void(const std::byte*, std::size_t)>& blocked) noexcept {
    current = nullptr;  // what they start is no part of this DMA
    for (const Noted& noted : noted_) {
        if (noted.registers->access(noted.offset, noted.bytes, noted.length, noted.write)) continue;
        if (!noted.write) std::fill_n(noted.bytes, noted.length, std::byte{0});
        blocked(noted.bytes, noted.length);
    }
}

}  // namespace iommufd::inline v0_1::model
