// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/viommu/smmuv3.hpp"

#include <algorithm>
#include <cerrno>

#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "uapi/iommufd.hpp"
#include "viommu/bits.hpp"
#include "viommu/registers.hpp"

namespace iommufd::inline v0_1::viommu::smmuv3 {

static_assert(kViommu == uapi::kViommuArmSmmuv3);
static_assert(Encoded<Table> && Table::kType == uapi::kHwptDataArmSmmuv3 &&
              sizeof(Table) == sizeof(uapi::HwptArmSmmuv3));
static_assert(Encoded<Command> && Command::kType == uapi::kInvalidateArmSmmuv3 &&
              sizeof(Command) == sizeof(uapi::ViommuArmSmmuv3Invalidate));
static_assert(Encoded<Event> && Event::kType == uapi::kVeventqArmSmmuv3 &&
              sizeof(Event) == sizeof(uapi::VeventArmSmmuv3));

namespace {

// Config of a stream table entry.
constexpr std::uint64_t kAbort = 0;
constexpr std::uint64_t kBypass = 4;
constexpr std::uint64_t kStage1 = 5;
constexpr std::uint64_t kStage2 = 6;
constexpr std::uint64_t kBothStages = 7;

// The kernel's STRTAB_STE_0_NESTING_ALLOWED and STRTAB_STE_1_NESTING_ALLOWED.
constexpr std::uint64_t kTaken[2] = {
    mask(0, 0) | mask(3, 1) | mask(5, 4) | mask(51, 6) | mask(63, 59),
    mask(1, 0) | mask(3, 2) | mask(5, 4) | mask(7, 6) | mask(27, 27) | mask(29, 28)};

enum Opcode : std::uint8_t {
    prefetch_config = 0x01,
    prefetch_address = 0x02,
    cfgi_ste = 0x03,
    cfgi_ste_range = 0x04,
    cfgi_cd = 0x05,
    cfgi_cd_all = 0x06,
    tlbi_nh_all = 0x10,
    tlbi_nh_asid = 0x11,
    tlbi_nh_va = 0x12,
    tlbi_nh_vaa = 0x13,
    tlbi_nsnh_all = 0x30,
    atc_inv = 0x40,
    pri_resp = 0x41,
    resume = 0x44,
    stall_term = 0x45,
    sync = 0x46,
};

constexpr std::uint64_t kOpcode = mask(7, 0);
constexpr std::uint64_t kStream = mask(63, 32);
constexpr std::uint64_t kSubstream = mask(31, 12);
constexpr std::uint64_t kVmid = mask(47, 32);
constexpr std::uint64_t kNumber = mask(16, 12);  // NUM and SCALE: of a range of pages
constexpr std::uint64_t kScale = mask(25, 20);
constexpr std::uint64_t kLeaf = mask(0, 0);
constexpr std::uint64_t kPage = mask(63, 12);
constexpr std::uint64_t kLargestAtcSize = 52;  // everything
constexpr std::uint64_t kWholeTable = 31;      // the Range of CFGI_ALL

Error illegal(const CommandWords& words, std::string cause) {
    return Error::refused(EINVAL,
                          compose("cannot pass on the guest's command ", Hex{words[0]}, " ", Hex{words[1]}),
                          std::move(cause), "tell the guest by CERROR_ILL, and stop its queue there");
}

// What stands in a command for a range of pages: arm_vsmmu_validate_range() of the kernel. Null: all is well.
const char* bad_range(const CommandWords& words, const Hardware& hardware) {
    const bool range = (words[0] & (kNumber | kScale)) != 0;
    const std::uint64_t level = field(words[1], 9, 8);      // TTL
    const std::uint64_t granule = field(words[1], 11, 10);  // TG
    if (granule == 0) return range || level != 0 ? "NUM, SCALE or TTL is set without TG" : nullptr;
    if (granule == 2 && level == 1 && !hardware.long_addresses)
        return "TTL is 1 with pages of 16 KiB, which takes IDR5.DS";
    if (!range && level == 0) return "NUM, SCALE and TTL are all 0 with TG set, which is reserved";
    return nullptr;
}

// The bits that a command to be passed on may have, as arm_vsmmu_validate_user_cmd() of the kernel has them; nothing for one
// that isn't passed on.
std::optional<CommandWords> allowed(const CommandWords& words, const Hardware& hardware) {
    const std::uint64_t asid = hardware.asid_bits == 16 ? mask(63, 48) : mask(55, 48);
    CommandWords bits{kOpcode, 0};
    switch (words[0] & kOpcode) {
        case tlbi_nsnh_all:
            return bits;
        case tlbi_nh_all:
            bits[0] |= kVmid;
            return bits;
        case tlbi_nh_asid:
            bits[0] |= kVmid | asid;
            return bits;
        case tlbi_nh_va:
            bits[0] |= asid;
            [[fallthrough]];
        case tlbi_nh_vaa:
            bits[0] |= kVmid;
            bits[1] |= kLeaf | kPage;
            if (!hardware.range_invalidation) return bits;
            bits[0] |= kNumber | (hardware.long_addresses ? kScale : mask(24, 20));
            bits[1] |= mask(9, 8) | mask(11, 10);
            return bits;
        case atc_inv:
            bits[0] |= kStream;
            if (hardware.substream_bits != 0) bits[0] |= mask(11, 11) | kSubstream | mask(9, 9);
            bits[1] |= mask(5, 0) | kPage;
            return bits;
        case cfgi_cd:
            bits[0] |= kStream;
            if (hardware.substream_bits != 0) bits[0] |= kSubstream;
            bits[1] |= kLeaf;
            return bits;
        case cfgi_cd_all:
            bits[0] |= kStream;
            return bits;
        default:
            return std::nullopt;
    }
}

Result<Request> forward(const CommandWords& words, const CommandWords& bits, const Hardware& hardware) {
    const std::uint64_t opcode = words[0] & kOpcode;
    for (const std::size_t i : {0U, 1U})
        if ((words[i] & ~bits[i]) != 0)
            return illegal(words, compose("this SMMU has no bits ", Hex{words[i] & ~bits[i]}, " in word ", i,
                                          " of command ", Hex{opcode}));
    if ((opcode == tlbi_nh_va || opcode == tlbi_nh_vaa) && hardware.range_invalidation)
        if (const char* const bad = bad_range(words, hardware)) return illegal(words, bad);
    if (opcode == atc_inv && !hardware.ats) return illegal(words, "the device has no ATS here");
    if (opcode == atc_inv && field(words[1], 5, 0) > kLargestAtcSize)
        return illegal(words, compose("its Size is ", field(words[1], 5, 0), ", and 52 is everything"));
    return Request{
        .kind = Request::Kind::forward, .first = 0, .last = 0, .command = {.cmd = {words[0], words[1]}}};
}

}  // namespace

Result<Hardware> hardware(const core::HwInfo& info) {
    return guarded(Operation::get_hw_info, [&]() -> Result<Hardware> {
        const auto registers =
            registers_of<uapi::HwInfoArmSmmuv3>(info, core::HwInfoType::arm_smmuv3, "an SMMUv3");
        if (!registers) return registers.error();
        const auto& idr = registers->idr;
        const auto keep = [](std::uint32_t value, std::uint64_t bits) {
            return static_cast<std::uint32_t>(value & bits);
        };
        return Hardware{
            .nests = bit(idr[0], 0) && bit(idr[0], 1),
            .asid_bits = bit(idr[0], 12) ? 16U : 8U,
            .stream_bits = static_cast<unsigned>(field(idr[1], 5, 0)),
            .substream_bits = static_cast<unsigned>(field(idr[1], 10, 6)),
            .bbml = static_cast<unsigned>(field(idr[3], 12, 11)),
            .range_invalidation = bit(idr[3], 10),
            .long_addresses = bit(idr[5], 7),
            .pages_4k = bit(idr[5], 4),
            .pages_16k = bit(idr[5], 5),
            .pages_64k = bit(idr[5], 6),
            .ats = bit(idr[0], 10) && !info.ats_not_supported,
            .twice = (registers->flags & uapi::kHwInfoArmSmmuv3ErrataRepeatTlbiCfgi) != 0,
            // ST_LEVEL, TERM_MODEL, STALL_MODEL, TTENDIAN, CD2L, ASID16, TTF; SIDSIZE, SSIDSIZE; BBML, RIL; VAX, GRAN, DS
            .idr = {keep(idr[0], mask(28, 24) | mask(22, 21) | mask(19, 19) | mask(12, 12) | mask(3, 2)),
                    keep(idr[1], mask(10, 0)), 0, keep(idr[3], mask(12, 10)), 0,
                    keep(idr[5], mask(11, 10) | mask(7, 4))}};
    });
}

Result<Entry> decode(const StreamTableEntry& entry) {
    return guarded(Operation::none, [&]() -> Result<Entry> {
        const auto refused = [](int code, std::string cause, std::string next) {
            return Error::refused(code, "cannot use the guest's stream table entry", std::move(cause),
                                  std::move(next));
        };
        if (!bit(entry[0], 0)) return Entry{.translation = Translation::blocked, .table = {}};
        const std::uint64_t config = field(entry[0], 3, 1);
        const std::uint64_t ats = field(entry[1], 29, 28);
        const std::uint64_t level = field(entry[1], 31, 30);
        if (config == kStage2 || config == kBothStages)
            return refused(EOPNOTSUPP, compose("it has a stage 2 (Config ", config, ")"),
                           "show the guest an IDR0 without S2P");
        if (config != kAbort && config != kBypass && config != kStage1)
            return refused(EINVAL, compose("its Config is ", config, ", which is reserved"),
                           "let the guest have C_BAD_STE");
        if (ats > 1)
            return refused(EINVAL, compose("its EATS is ", ats, ", and the kernel takes 0 and 1"),
                           "let the guest have C_BAD_STE");
        if (config == kStage1 && level != 0)
            return refused(EOPNOTSUPP,
                           compose("its tables are of another exception level than EL1 (STRW ", level, ")"),
                           "show the guest an IDR0 without HYP");
        return Entry{.translation = config == kStage1   ? Translation::nested
                                    : config == kBypass ? Translation::bypass
                                                        : Translation::blocked,
                     .table = {.ste = {entry[0] & kTaken[0], entry[1] & kTaken[1]}}};
    });
}

Result<Request> decode(const CommandWords& words, const Hardware& hardware) {
    return guarded(Operation::none, [&]() -> Result<Request> {
        using Kind = Request::Kind;
        if (const auto bits = allowed(words, hardware)) return forward(words, *bits, hardware);
        Request request{.kind = Kind::nothing, .first = 0, .last = 0, .command = {}};
        const auto stream = static_cast<std::uint32_t>(field(words[0], 63, 32));
        switch (words[0] & kOpcode) {
            case cfgi_ste:
                request.kind = Kind::stream_entries;
                request.first = request.last = stream;
                return request;
            case cfgi_ste_range: {
                request.kind = Kind::stream_entries;
                const std::uint64_t range = field(words[1], 4, 0);
                const std::uint32_t inside =
                    range == kWholeTable ? ~0U
                                         : static_cast<std::uint32_t>(mask(static_cast<unsigned>(range), 0));
                request.first = stream & ~inside;
                request.last = stream | inside;
                return request;
            }
            case sync:
                request.kind = Kind::sync;
                return request;
            case pri_resp:
                request.kind = Kind::page_response;
                return request;
            case prefetch_config:
            case prefetch_address:
                return request;
            case resume:
            case stall_term:
                return Error::refused(
                    EOPNOTSUPP,
                    compose("cannot pass on the guest's command ", Hex{words[0]}, " ", Hex{words[1]}),
                    "the kernel lets no device stall for a guest",
                    "show the guest an IDR0 with STALL_MODEL 1");
            default:
                return illegal(words, compose("the kernel passes on no command ", Hex{words[0] & kOpcode}));
        }
    });
}

Fault decode(const Event& event) noexcept {
    const std::uint64_t* const words = event.evt;
    return {.type = static_cast<std::uint8_t>(field(words[0], 7, 0)),
            .stream = static_cast<std::uint32_t>(field(words[0], 63, 32)),
            .substream = bit(words[0], 11)
                             ? std::optional(static_cast<std::uint32_t>(field(words[0], 31, 12)))
                             : std::nullopt,
            .stalled = bit(words[1], 31),
            .stall_tag = static_cast<std::uint16_t>(field(words[1], 15, 0)),
            .privileged = bit(words[1], 33),
            .instruction = bit(words[1], 34),
            .read = bit(words[1], 35),
            .stage2 = bit(words[1], 39),
            .fault_class = static_cast<unsigned>(field(words[1], 41, 40)),
            .address = words[2],
            .physical = words[3] & mask(51, 12)};
}

}  // namespace iommufd::inline v0_1::viommu::smmuv3
