// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/viommu/vtd.hpp"

#include <cerrno>
#include <cstddef>

#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "uapi/iommufd.hpp"
#include "viommu/bits.hpp"
#include "viommu/registers.hpp"

namespace iommufd::inline v0_1::viommu::vtd {

static_assert(Encoded<Table> && Table::kType == uapi::kHwptDataVtdS1 &&
              sizeof(Table) == sizeof(uapi::HwptVtdS1) &&
              offsetof(Table, flags) == offsetof(uapi::HwptVtdS1, flags) &&
              offsetof(Table, address) == offsetof(uapi::HwptVtdS1, pgtbl_addr) &&
              offsetof(Table, width) == offsetof(uapi::HwptVtdS1, addr_width) &&
              Table::supervisor == uapi::kVtdS1Sre && Table::extended_access == uapi::kVtdS1Eafe &&
              Table::write_protect == uapi::kVtdS1Wpe);
static_assert(Encoded<Invalidation> && Invalidation::kType == uapi::kInvalidateVtdS1 &&
              sizeof(Invalidation) == sizeof(uapi::HwptVtdS1Invalidate) &&
              offsetof(Invalidation, address) == offsetof(uapi::HwptVtdS1Invalidate, addr) &&
              offsetof(Invalidation, pages) == offsetof(uapi::HwptVtdS1Invalidate, npages) &&
              offsetof(Invalidation, flags) == offsetof(uapi::HwptVtdS1Invalidate, flags));

namespace {

// Page-table types of a PASID-table entry (PGTT).
constexpr std::uint64_t kFirstStage = 1;
constexpr std::uint64_t kSecondStage = 2;
constexpr std::uint64_t kNested = 3;
constexpr std::uint64_t kPassThrough = 4;

// Types of invalidation descriptors: bits 11:9 above 3:0.
constexpr std::uint64_t kContextCache = 1;
constexpr std::uint64_t kIotlb = 2;
constexpr std::uint64_t kDeviceTlb = 3;
constexpr std::uint64_t kInterruptEntries = 4;
constexpr std::uint64_t kWait = 5;
constexpr std::uint64_t kPasidIotlb = 6;
constexpr std::uint64_t kPasidCache = 7;
constexpr std::uint64_t kPasidDeviceTlb = 8;
constexpr std::uint64_t kPageGroupResponse = 9;

constexpr unsigned kMostAddressMask = 52;  // 2^52 pages of 4 KiB are all there can be

Error refused_entry(int code, std::string cause, std::string next) {
    return Error::refused(code, "cannot use the guest's PASID-table entry", std::move(cause),
                          std::move(next));
}

Error refused_descriptor(const Descriptor& descriptor, std::string cause) {
    return Error::refused(EINVAL,
                          compose("cannot take the guest's invalidation descriptor ", Hex{descriptor[0]}, " ",
                                  Hex{descriptor[1]}),
                          std::move(cause), "tell the guest by FSTS.IQE, and stop its queue there");
}

// In pages of 4 KiB, 2^`mask_bits` of them around an address.
Invalidation pages_around(std::uint64_t address, unsigned mask_bits, bool leaf) {
    if (mask_bits == kMostAddressMask) return Invalidation::everything();
    const std::uint64_t pages = std::uint64_t{1} << mask_bits;
    return {.address = address & ~(pages * 4096 - 1),
            .pages = pages,
            .flags = leaf ? uapi::kVtdInvalidateLeaf : 0,
            .reserved = 0};
}

}  // namespace

Result<Hardware> hardware(const core::HwInfo& info) {
    return guarded(Operation::get_hw_info, [&]() -> Result<Hardware> {
        const auto registers =
            registers_of<uapi::HwInfoVtd>(info, core::HwInfoType::intel_vtd, "a VT-d IOMMU");
        if (!registers) return registers.error();
        const std::uint64_t cap = registers->cap_reg;
        const std::uint64_t ecap = registers->ecap_reg;
        const bool scalable = bit(ecap, 43) && bit(ecap, 46) && bit(ecap, 47);
        return Hardware{.nests = scalable && bit(ecap, 26),
                        .five_levels = bit(cap, 60),
                        .huge_pages = bit(cap, 56),
                        .supervisor = bit(ecap, 31),
                        .extended_access = bit(ecap, 34),
                        .page_requests = bit(ecap, 29),
                        .device_tlbs = bit(ecap, 2),
                        .dirty_tracking = bit(ecap, 45),
                        .pasid_bits = bit(ecap, 40) ? static_cast<unsigned>(field(ecap, 39, 35)) + 1 : 0,
                        .guest_bits = static_cast<unsigned>(field(cap, 21, 16)) + 1,
                        .read_only_erratum = (registers->flags & uapi::kHwInfoVtdErrata772415Spr17) != 0,
                        .cap = cap,
                        .ecap = ecap};
    });
}

Result<Entry> decode(const PasidEntry& entry, const Hardware& hardware) {
    return guarded(Operation::none, [&]() -> Result<Entry> {
        Entry decoded{.translation = Translation::blocked,
                      .table = {},
                      .domain = static_cast<std::uint16_t>(field(entry[1], 15, 0))};
        if (!bit(entry[0], 0)) return decoded;
        const std::uint64_t type = field(entry[0], 8, 6);
        if (type == kPassThrough) {
            decoded.translation = Translation::bypass;
            return decoded;
        }
        if (type == kSecondStage || type == kNested)
            return refused_entry(EOPNOTSUPP, compose("it has a second-stage table (PGTT ", type, ")"),
                                 "show the guest an ECAP without SLTS and NEST");
        if (type != kFirstStage)
            return refused_entry(EINVAL, compose("its PGTT is ", type, ", which is reserved"),
                                 "let the guest have the fault SPT.4");
        const std::uint64_t word = entry[2];
        constexpr std::uint64_t kKnown = mask(0, 0) | mask(4, 2) | mask(7, 7) | mask(63, 12);
        if ((word & ~kKnown) != 0)
            return refused_entry(EINVAL,
                                 compose("reserved bits ", Hex{word & ~kKnown}, " of its third word are set"),
                                 "let the guest have the fault SPT.3");
        const std::uint64_t levels = field(word, 3, 2);
        if (levels > 1)
            return refused_entry(EINVAL, compose("its FSPM is ", levels, ", which is reserved"),
                                 "let the guest have the fault SPT.4");
        const auto lacks = [&](std::string_view what, std::string_view which) {
            return refused_entry(EOPNOTSUPP, compose("it wants ", what, ", which this IOMMU has not"),
                                 compose("show the guest a register without ", which));
        };
        if (levels == 1 && !hardware.five_levels) return lacks("tables of 5 levels", "CAP.FS5LP");
        if (bit(word, 0) && !hardware.supervisor) return lacks("supervisor requests", "ECAP.SRS");
        if (bit(word, 7) && !hardware.extended_access) return lacks("extended-accessed flags", "ECAP.EAFS");
        decoded.translation = Translation::nested;
        decoded.table = {.flags = (bit(word, 0) ? uapi::kVtdS1Sre : 0) |
                                  (bit(word, 7) ? uapi::kVtdS1Eafe : 0) |
                                  (bit(word, 4) ? uapi::kVtdS1Wpe : 0),
                         .address = word & mask(63, 12),
                         .width = levels == 1 ? 57U : 48U,
                         .reserved = 0};
        return decoded;
    });
}

Result<Request> decode(const Descriptor& descriptor) {
    return guarded(Operation::none, [&]() -> Result<Request> {
        using Kind = Request::Kind;
        const std::uint64_t low = descriptor[0];
        const std::uint64_t high = descriptor[1];
        const std::uint64_t type = field(low, 11, 9) << 4 | field(low, 3, 0);
        const std::uint64_t granularity = field(low, 5, 4);
        const auto domain = static_cast<std::uint16_t>(field(low, 31, 16));
        const auto pasid = static_cast<std::uint32_t>(field(low, 51, 32));
        Request request{
            .kind = Kind::nothing, .domain = {}, .pasid = {}, .invalidation = Invalidation::everything()};

        const auto check = [&](std::uint64_t reserved_low, std::uint64_t reserved_high) -> Result<Request> {
            for (const auto& [word, bits] :
                 {std::pair{low, reserved_low}, std::pair{high, reserved_high},
                  std::pair{descriptor[2], ~std::uint64_t{0}}, std::pair{descriptor[3], ~std::uint64_t{0}}})
                if ((word & bits) != 0)
                    return refused_descriptor(descriptor,
                                              compose("reserved bits ", Hex{word & bits}, " are set"));
            return request;
        };
        const auto no_granularity = [&] {
            return refused_descriptor(descriptor,
                                      compose("granularity ", granularity, " is reserved in type ", type));
        };
        const auto address_mask = static_cast<unsigned>(field(high, 5, 0));

        switch (type) {
            case kIotlb:
                if (granularity == 0) return no_granularity();
                // A page of a domain is one of the guest's physical addresses, which no first-stage table is keyed by.
                if (granularity != 1) request.domain = domain;
                request.kind = Kind::translations;
                return check(mask(8, 8) | mask(15, 12) | mask(63, 32), mask(11, 7));
            case kPasidIotlb:
                if (granularity < 2) return no_granularity();
                request.domain = domain;
                request.pasid = pasid;
                request.kind = Kind::translations;
                if (granularity == 3) {
                    if (address_mask > kMostAddressMask)
                        return refused_descriptor(descriptor, compose("its address mask is ", address_mask));
                    request.invalidation = pages_around(high & mask(63, 12), address_mask, bit(high, 6));
                }
                return check(mask(8, 6) | mask(15, 12) | mask(63, 52), granularity == 3 ? mask(11, 7) : 0);
            case kPasidCache:
                if (granularity == 2) return no_granularity();
                if (granularity != 3) request.domain = domain;
                if (granularity == 1) request.pasid = pasid;
                request.kind = Kind::pasid_entries;
                return check(mask(8, 6) | mask(15, 12) | mask(63, 52), ~std::uint64_t{0});
            case kContextCache:
                if (granularity == 0) return no_granularity();
                if (granularity != 1) request.domain = domain;
                request.kind = Kind::contexts;
                return request;
            case kWait:
                request.kind = Kind::wait;
                return request;
            case kDeviceTlb:
            case kPasidDeviceTlb:
            case kInterruptEntries:
            case kPageGroupResponse:
                return request;
            default:
                return refused_descriptor(descriptor, compose("its type is ", type));
        }
    });
}

}  // namespace iommufd::inline v0_1::viommu::vtd
