// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The operations of the kernel's mock, and what is done with descriptors.
#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <span>

#include "conformance/generator.hpp"

namespace iommufd::inline v0_1::conformance {

namespace mock = uapi::mock;
using mock::TestCmd;

namespace {

constexpr std::uint16_t kId = offsetof(TestCmd, id);

}  // namespace

Call Generator::add_reserved() {
    TestCmd command{};
    command.add_reserved = {.start = iova() & ~4095UL, .length = length()};
    Call call = test("ADD_RESERVED", mock::kAddReserved, command);
    refer(call, kId, object({Kind::ioas}));
    return call;
}

Call Generator::mock_domain() {
    TestCmd command{};
    const bool flags = chance(60);
    if (flags)
        command.mock_domain_flags.dev_flags = pick<std::uint32_t>({0, 1, 4, 4, 4, 5, 2, 8 * rarely(1)});
    Call call = flags ? test("MOCK_DOMAIN_FLAGS", mock::kMockDomainFlags, command)
                      : test("MOCK_DOMAIN", mock::kMockDomain, command);
    refer(call, kId, chance(70) ? object({Kind::ioas}) : object({Kind::paging, Kind::paging, Kind::nested}));
    call.outputs = {{Kind::stdev, offsetof(TestCmd, mock_domain.out_stdev_id), 4},
                    {Kind::paging, offsetof(TestCmd, mock_domain.out_hwpt_id), 4},
                    {Kind::idev, offsetof(TestCmd, mock_domain.out_idev_id), 4}};
    return call;
}

Call Generator::replace() {
    Call call = test("MOCK_DOMAIN_REPLACE", mock::kMockDomainReplace, {});
    refer(call, kId, object({Kind::stdev}));
    refer(call, offsetof(TestCmd, mock_domain_replace.pt_id),
          object({Kind::ioas, Kind::paging, Kind::nested, Kind::nested}));
    call.outputs = {{Kind::paging, offsetof(TestCmd, mock_domain_replace.pt_id), 4}};
    return call;
}

Call Generator::check_map() {
    TestCmd command{};
    const Mapped* const mapped = mapped_.empty() ? nullptr : &mapped_[below(mapped_.size())];
    if (mapped != nullptr && mapped->address != 0 && chance(85))
        command.check_map = {.iova = mapped->iova & ~2047UL,
                             .length = std::min(mapped->length, 8 * kPage) & ~2047UL,
                             .uptr = mapped->address & ~2047UL};
    else
        command.check_map = {.iova = iova(), .length = std::min(length(), 16 * kPage), .uptr = address()};
    // What no page is behind has no physical address that could be compared.
    if (command.check_map.uptr >= Arena::kReadOnly.address && command.check_map.uptr < Arena::kFile.address)
        command.check_map.uptr = Arena::kShared.address;
    Call call = test("MD_CHECK_MAP", mock::kMdCheckMap, command);
    refer(call, kId, object({Kind::paging}));
    return call;
}

Call Generator::check_refs() {
    TestCmd command{};
    const Place place = pick<Place>({Arena::kShared, Arena::kPrivate, Arena::kFile});
    const std::uint64_t page = below(place.pages - 4);
    command.check_refs = {.length = kPage * (1 + below(4)),
                          .uptr = place.address + page * kPage,
                          .refs = pick<std::uint32_t>({0, 0, 1, 1, 2, 3})};
    if (chance(5)) command.check_refs.length = pick<std::uint64_t>({0, 1, 2048, ~0UL, ~4095UL});
    return test("MD_CHECK_REFS", mock::kMdCheckRefs, command);
}

Call Generator::create_access() {
    TestCmd command{};
    command.create_access.flags = pick<std::uint32_t>({1, 1, 1, 0, 0, 2 * rarely(1)});
    Call call = test("CREATE_ACCESS", mock::kCreateAccess, command);
    refer(call, kId, object({Kind::ioas}));
    call.outputs = {{Kind::access_fd, offsetof(TestCmd, create_access.out_access_fd), 4}};
    return call;
}

Call Generator::access_pages() {
    TestCmd command{};
    command.access_pages.flags = pick<std::uint32_t>({0, 0, 1, 1, 2 * rarely(1), mock::kAccessSyz});
    const Mapped* const mapped = mapped_.empty() ? nullptr : &mapped_[below(mapped_.size())];
    near_mapped({.call = Reference::kNone}, command.access_pages.iova, command.access_pages.length);
    if (mapped != nullptr && mapped->address != 0 && mapped->address < Arena::kReadOnly.address &&
        chance(60)) {
        const std::uint64_t skipped = kPage * below(std::max<std::uint64_t>(mapped->length / kPage, 1));
        command.access_pages.iova = mapped->iova + skipped;
        command.access_pages.length = std::max(mapped->length - skipped, std::uint64_t{1});
        command.access_pages.uptr = mapped->address + skipped;
    }
    if ((command.access_pages.flags & mock::kAccessSyz) != 0) {
        command.access_pages.iova = below(4) | below(3) << 44;
        command.access_pages.uptr = 0;
    }
    Call call = test("ACCESS_PAGES", mock::kAccessPages, command);
    refer_descriptor(call, kId, exactly({Kind::access_fd}));
    call.outputs = {{Kind::pin, offsetof(TestCmd, access_pages.out_access_pages_id), 4}};
    return call;
}

Call Generator::destroy_pages() {
    TestCmd command{};
    command.destroy_access_pages.access_pages_id = static_cast<std::uint32_t>(below(3));
    Call call = test("DESTROY_ACCESS_PAGES", mock::kDestroyAccessPages, command);
    refer_descriptor(call, kId, exactly({Kind::access_fd}));
    if (chance(70))
        refer(call, offsetof(TestCmd, destroy_access_pages.access_pages_id), exactly({Kind::pin}));
    return call;
}

Call Generator::access_rw() {
    TestCmd command{};
    command.access_rw.flags = pick<std::uint32_t>({0, 1, 4, 5, 0, 1, 2 * rarely(1), mock::kAccessSyz});
    near_mapped({.call = Reference::kNone}, command.access_rw.iova, command.access_rw.length);
    command.access_rw.length = std::min(command.access_rw.length, std::uint64_t{12000});
    if ((command.access_rw.flags & mock::kAccessSyz) != 0) command.access_rw.iova = below(4) | below(3) << 44;
    if (chance(30)) command.access_rw.iova += below(5000);
    if (chance(3)) command.access_rw.length = pick<std::uint64_t>({(16UL << 20) + 1, 0, ~0UL});
    Call call = test("ACCESS_RW", mock::kAccessRw, command);
    refer_descriptor(call, kId, exactly({Kind::access_fd}));
    std::vector<std::uint8_t> data(12000);
    for (std::uint8_t& byte : data) byte = static_cast<std::uint8_t>(random_());
    attach_buffer(call, offsetof(TestCmd, access_rw.uptr), data, pick<std::size_t>({0, 1, 100, 2000}));
    return call;
}

Call Generator::access_replace() {
    Call call = test("ACCESS_REPLACE_IOAS", mock::kAccessReplaceIoas, {});
    refer_descriptor(call, kId, exactly({Kind::access_fd}));
    refer(call, offsetof(TestCmd, access_replace_ioas.ioas_id), object({Kind::ioas}));
    return call;
}

Call Generator::memory_limit() {
    TestCmd command{};
    // Of those that are accepted only the default: in smaller batches a map may meet its errors in another order.
    command.memory_limit.limit = pick<std::uint32_t>({0, 11, 1, 65536, 65536});
    return test("SET_TEMP_MEMORY_LIMIT", mock::kSetTempMemoryLimit, command);
}

Call Generator::dirty() {
    TestCmd command{};
    command.dirty.page_size = pick<std::uint64_t>({kPage, kPage, 2048, 8192, 0});
    near_mapped({.call = Reference::kNone}, command.dirty.iova, command.dirty.length);
    command.dirty.flags = rarely(1);
    if (command.dirty.length > 1UL << 24) command.dirty.length = 16 * kPage;
    Call call = test("DIRTY", mock::kDirty, command);
    refer(call, kId, object({Kind::paging}));
    std::vector<std::uint8_t> bits(2048);
    for (std::uint8_t& byte : bits) byte = chance(60) ? static_cast<std::uint8_t>(random_()) : 0;
    attach_buffer(call, offsetof(TestCmd, dirty.uptr), bits);
    return call;
}

Call Generator::check_iotlb() {
    TestCmd command{};
    command.check_iotlb = {.id = static_cast<std::uint32_t>(below(5)),
                           .iotlb = pick<std::uint32_t>({0, 7, mock::kIotlbDefault})};
    Call call = test("MD_CHECK_IOTLB", mock::kMdCheckIotlb, command);
    refer(call, kId, object({Kind::nested}));
    return call;
}

Call Generator::trigger_iopf() {
    TestCmd command{};
    command.trigger_iopf = {.dev_id = 0,
                            .pasid = chance(60) ? 0 : pasid(),
                            .grpid = static_cast<std::uint32_t>(below(3)),
                            .perm = static_cast<std::uint32_t>(below(4)),
                            .addr = iova()};
    Call call = test("TRIGGER_IOPF", mock::kTriggerIopf, command);
    refer(call, offsetof(TestCmd, trigger_iopf.dev_id), object({Kind::idev}));
    return call;
}

Call Generator::check_cache() {
    TestCmd command{};
    command.check_dev_cache = {.id = static_cast<std::uint32_t>(below(5)),
                               .cache = pick<std::uint32_t>({0, 0, mock::kDevCacheDefault})};
    Call call = test("DEV_CHECK_CACHE", mock::kDevCheckCache, command);
    refer(call, kId, object({Kind::idev}));
    return call;
}

Call Generator::trigger_vevent() {
    Call call = test("TRIGGER_VEVENT", mock::kTriggerVevent, {});
    refer(call, offsetof(TestCmd, trigger_vevent.dev_id), object({Kind::idev}));
    return call;
}

Call Generator::pasid_operation() {
    TestCmd command{};
    command.pasid_attach.pasid = pasid();
    Call call;
    switch (below(7)) {
        case 0:
        case 1:
        case 2:
            call = test("PASID_ATTACH", mock::kPasidAttach, command);
            break;
        case 3:
            call = test("PASID_REPLACE", mock::kPasidReplace, command);
            break;
        case 4:
            call = test("PASID_DETACH", mock::kPasidDetach, command);
            refer(call, kId, object({Kind::stdev}));
            return call;
        default:
            call = test("PASID_CHECK_HWPT", mock::kPasidCheckHwpt, command);
            refer(call, kId, object({Kind::stdev}));
            if (chance(75))
                refer(call, offsetof(TestCmd, pasid_check.hwpt_id), object({Kind::paging, Kind::nested}));
            return call;
    }
    refer(call, kId, object({Kind::stdev}));
    refer(call, offsetof(TestCmd, pasid_attach.pt_id),
          object({Kind::ioas, Kind::paging, Kind::paging, Kind::nested}));
    call.outputs = {{Kind::paging, offsetof(TestCmd, pasid_attach.pt_id), 4}};
    return call;
}

Call Generator::dma_buffer() {
    TestCmd command{};
    if (chance(60)) {
        command.dmabuf_get = {
            .length = pick<std::uint32_t>({4096, 8192, 5000, 65536, 0, 2U << 20, (2U << 20) + 1}),
            .open_flags = 0};
        Call call = test("DMABUF_GET", mock::kDmabufGet, command);
        call.outputs = {{Kind::dma_buffer_fd, Call::kResult, 4}};
        return call;
    }
    command.dmabuf_revoke.revoked = static_cast<std::uint32_t>(below(2));
    Call call = test("DMABUF_REVOKE", mock::kDmabufRevoke, command);
    Reference file = exactly({Kind::dma_buffer_fd});
    if (chance(5)) file = {.call = Call::kMemfd};
    refer_descriptor(call, offsetof(TestCmd, dmabuf_revoke.dmabuf_fd), file);
    return call;
}

Call Generator::read() {
    Call call = make("read", 0);
    call.verb = Verb::read;
    call.descriptor = exactly({Kind::fault_fd, Kind::veventq_fd});
    call.length = pick<std::uint64_t>({40, 80, 400, 12, 24, 8, 0, 39, 4});
    return call;
}

Call Generator::write() {
    Call call = make("write", 0);
    call.verb = Verb::write;
    call.descriptor = exactly({Kind::fault_fd, Kind::fault_fd, Kind::veventq_fd});
    call.length = pick<std::uint64_t>({8, 8, 16, 7, 0});
    for (int i = 0; i < 2; ++i) {
        const uapi::HwptPageResponse response{.cookie = static_cast<std::uint32_t>(1 + below(3)),
                                              .code = static_cast<std::uint32_t>(chance(95) ? below(2) : 2)};
        const auto* const bytes = reinterpret_cast<const std::uint8_t*>(&response);
        call.buffer.insert(call.buffer.end(), bytes, bytes + sizeof response);
    }
    return call;
}

Call Generator::close() {
    Call call = make("close", 0);
    call.verb = Verb::close;
    call.descriptor = exactly({Kind::access_fd, Kind::fault_fd, Kind::veventq_fd, Kind::dma_buffer_fd});
    if (!call.descriptor.any()) return ioas_alloc();
    return call;
}

Call Generator::map_window() {
    Call call = make("mmap", 0);
    call.verb = Verb::mmap;
    call.length = kPage * pick<std::uint64_t>({2, 2, 2, 1, 3});
    call.set(std::array<std::uint32_t, 2>{
        static_cast<std::uint32_t>(chance(90) ? PROT_READ : PROT_READ | PROT_EXEC),
        static_cast<std::uint32_t>(chance(90) ? MAP_SHARED : MAP_PRIVATE)});
    call.patches.push_back({.offset = 0xfff0, .width = 8, .reference = exactly({Kind::window})});
    return call;
}

}  // namespace iommufd::inline v0_1::conformance
