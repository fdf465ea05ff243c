// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/capi/reader.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "capi/call.hpp"
#include "capi/handles.hpp"

namespace iommufd::inline v0_1::capi {
namespace {

Error has_not_entered() noexcept {
    return refused(EINVAL, "cannot use the reader", "it has not entered",
                   "call iommufd_reader_enter() first");
}

// move(bytes) copies one piece after the other, once all of them are known to be there.
template <class Move>
Result<void> copy(iommufd_reader* reader, std::uint64_t iova, const void* buffer, std::uint64_t length,
                  Access access, Move&& move) {
    if (!reader || (!buffer && length != 0)) return is_null("reader and buffer");
    if (length == 0) return {};
    if (!Range::of(Iova{iova}, length))
        return refused(EFAULT, "cannot copy that range", "it goes past 2^64", "give a range of addresses");
    std::vector<std::span<std::byte>> pieces;
    const auto guard = reader->reader.enter();
    if (!guard.translate(Iova{iova}, length, access, pieces))
        return refused(EFAULT, "cannot copy that range", "not all of it is mapped, or allows it",
                       "see iommufd_space_mappings()");
    for (const auto piece : pieces) move(piece);
    return {};
}

}  // namespace
}  // namespace iommufd::inline v0_1::capi

using namespace iommufd;
using capi::call;

int iommufd_reader_create(const iommufd_space* space, const char* label, iommufd_reader** reader) {
    return call([&]() -> Result<void> {
        if (!space || !reader) return capi::is_null("space and the pointer to the reader");
        *reader = new iommufd_reader{space->space.reader(label ? label : "reader")};
        return {};
    });
}

void iommufd_reader_free(iommufd_reader* reader) { delete reader; }

int iommufd_reader_enter(iommufd_reader* reader) {
    return call([&]() -> Result<void> {
        if (!reader) return capi::is_null("the reader");
        if (reader->guard)
            return capi::refused(EALREADY, "cannot enter", "the reader has entered", "leave first");
        reader->guard.emplace(reader->reader.enter());
        return {};
    });
}

int iommufd_reader_leave(iommufd_reader* reader) {
    return call([&]() -> Result<void> {
        if (!reader) return capi::is_null("the reader");
        if (!reader->guard) return capi::has_not_entered();
        reader->guard.reset();
        return {};
    });
}

int64_t iommufd_reader_translate(iommufd_reader* reader, uint64_t iova, uint64_t length, uint32_t access,
                                 void** address) {
    return call([&]() -> Result<std::int64_t> {
        if (!reader || !address) return capi::is_null("reader and address");
        if (!reader->guard) return capi::has_not_entered();
        if (auto known = capi::check_flags(access, std::uint32_t{IOMMUFD_READ_WRITE}); !known)
            return known.error();
        if (access == 0 || length == 0 || length > std::uint64_t{INT64_MAX})
            return capi::refused(EINVAL, "cannot translate", "no access or no byte is asked for, or too many",
                                 "ask for some");
        const auto bytes = reader->guard->translate(Iova{iova}, length, static_cast<Access>(access));
        *address = bytes.data();
        return static_cast<std::int64_t>(bytes.size());
    });
}

int iommufd_reader_iova_of(iommufd_reader* reader, const void* address, uint64_t length, uint64_t* iova) {
    return call([&]() -> Result<void> {
        if (!reader || !iova) return capi::is_null("reader and iova");
        if (!reader->guard) return capi::has_not_entered();
        if (length == 0)
            return capi::refused(EINVAL, "cannot translate", "no byte is asked for", "ask for some");
        std::vector<Iova> found;
        reader->guard->reverse(address, length, found);
        if (found.empty())
            return capi::refused(ENOENT, "cannot find that memory", "not all of it is mapped",
                                 "map it first");
        *iova = found.front().value;
        return {};
    });
}

int iommufd_reader_read(iommufd_reader* reader, uint64_t iova, void* buffer, uint64_t length) {
    return call([&] {
        auto* to = static_cast<std::byte*>(buffer);
        return capi::copy(reader, iova, buffer, length, Access::read, [&](std::span<std::byte> piece) {
            std::memcpy(to, piece.data(), piece.size());
            to += piece.size();
        });
    });
}

int iommufd_reader_write(iommufd_reader* reader, uint64_t iova, const void* buffer, uint64_t length) {
    return call([&] {
        const auto* from = static_cast<const std::byte*>(buffer);
        return capi::copy(reader, iova, buffer, length, Access::write, [&](std::span<std::byte> piece) {
            std::memcpy(piece.data(), from, piece.size());
            from += piece.size();
        });
    });
}
