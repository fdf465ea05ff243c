// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// HWPT_INVALIDATE: what is remembered of a guest's table, and entries of the mock's caches, in a nested hwpt or by way of
// a viommu.
#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstddef>

#include "model/context.hpp"
#include "model/mock_device.hpp"
#include "model/viommu.hpp"

namespace iommufd::inline v0_1::model {
namespace {

namespace mock = uapi::mock;

constexpr std::uint32_t kMostEntries = 1U << 19;

}  // namespace

struct Context::Invalidation {
    static int check(const uapi::HwptInvalidate& command) {
        if (command.reserved != 0) return -EOPNOTSUPP;
        if (command.entry_num == 0) return 0;
        const bool sane = command.data_uptr != 0 && command.entry_len != 0 &&
                          command.entry_len <= user::kPage && command.entry_num <= kMostEntries;
        return sane ? 0 : -EINVAL;
    }

    // One after the other; those before an error have been done.
    template <class Entry>
    static int each(std::uint32_t type, const uapi::HwptInvalidate& command, std::uint32_t& done,
                    int (*handle)(NestedHwpt&, const Entry&), NestedHwpt& nested) {
        if (command.data_type != type) return -EINVAL;
        for (; done < command.entry_num; ++done) {
            const UserData data{.type = type,
                                .address = command.data_uptr + std::uint64_t{command.entry_len} * done,
                                .length = command.entry_len};
            Entry entry{};
            if (const int rc = data.copy_to(&entry, type, sizeof entry, sizeof entry); rc < 0) return rc;
            if (const int rc = handle(nested, entry); rc < 0) return rc;
        }
        return 0;
    }

    static int of_mock(NestedHwpt& nested, const mock::HwptInvalidateSelftest& entry) {
        if ((entry.flags & ~mock::kInvalidateAll) != 0) return -EOPNOTSUPP;
        if (entry.iotlb_id > mock::kIotlbIdMax) return -EINVAL;
        if ((entry.flags & mock::kInvalidateAll) != 0)
            nested.iotlb.fill(0);
        else
            nested.iotlb[entry.iotlb_id] = 0;
        return 0;
    }

    // Hardware is told of one naturally aligned block that has the first and the last address in it. Whether a guest asks for no
    // page, or for more than there are, shows in these two only.
    static int of_vtd(NestedHwpt& nested, const uapi::HwptVtdS1Invalidate& entry) {
        if ((entry.flags & ~uapi::kVtdInvalidateLeaf) != 0 || entry.reserved != 0) return -EOPNOTSUPP;
        constexpr std::uint64_t kAllPages = ~std::uint64_t{0};
        if (entry.addr % user::kPage != 0 || (entry.npages == kAllPages && entry.addr != 0)) return -EINVAL;
        const std::uint64_t last = entry.addr + entry.npages * user::kPage - 1;
        const auto bits = static_cast<unsigned>(std::bit_width(entry.addr ^ last));
        if (bits == 64) {
            nested.first_stage->flush();
            return 0;
        }
        const std::uint64_t offset = std::max(std::uint64_t{1} << bits, user::kPage) - 1;
        nested.first_stage->invalidate(entry.addr & ~offset, entry.addr | offset,
                                       (entry.flags & uapi::kVtdInvalidateLeaf) != 0);
        return 0;
    }

    static int of_nested(NestedHwpt& nested, const uapi::HwptInvalidate& command, std::uint32_t& done) {
        return nested.first_stage ? each(uapi::kInvalidateVtdS1, command, done, of_vtd, nested)
                                  : each(mock::kHwptInvalidateSelftest, command, done, of_mock, nested);
    }

    // Read as a whole first; an error there leaves all undone.
    static int of_viommu(Viommu& viommu, const uapi::HwptInvalidate& command, std::uint32_t& done) {
        // Linux has no memory for so many, and then has not looked at any, but says that all are done.
        constexpr std::size_t kLargestBlock = 4UL << 20;
        if (command.entry_num > kLargestBlock / sizeof(mock::ViommuInvalidateSelftest)) {
            done = command.entry_num;
            return -ENOMEM;
        }
        if (command.data_type != mock::kViommuInvalidateSelftest) return -EINVAL;
        std::vector<mock::ViommuInvalidateSelftest> entries(command.entry_num);
        for (std::size_t i = 0; i < entries.size(); ++i) {
            const int rc = user::copy_struct_from(
                &entries[i], sizeof entries[i], command.data_uptr + command.entry_len * i, command.entry_len);
            if (rc < 0) return rc;
        }
        for (const mock::ViommuInvalidateSelftest& entry : entries) {
            if ((entry.flags & ~mock::kInvalidateAll) != 0) return -EOPNOTSUPP;
            if (entry.cache_id > mock::kDevCacheIdMax) return -EINVAL;
            const auto vdevice = viommu.vdevices.find(entry.vdev_id);
            if (vdevice == viommu.vdevices.end()) return -EINVAL;
            auto& cache = dynamic_cast<MockDevice&>(*vdevice->second->device->endpoint).cache;
            if ((entry.flags & mock::kInvalidateAll) != 0)
                cache.fill(0);
            else
                cache[entry.cache_id] = 0;
            ++done;
        }
        return 0;
    }
};

int Context::hwpt_invalidate(uapi::HwptInvalidate& command, const Call& call) {
    std::uint32_t done = 0;
    const auto run = [&]() IOMMUFD_REQUIRES(mutex_) {
        if (const int rc = Invalidation::check(command); rc < 0) return rc;
        Object* const object = objects_.find(command.hwpt_id);
        if (object == nullptr) return -ENOENT;
        if (auto* const nested = dynamic_cast<NestedHwpt*>(object))
            return Invalidation::of_nested(*nested, command, done);
        if (auto* const viommu = dynamic_cast<Viommu*>(object))
            return Invalidation::of_viommu(*viommu, command, done);
        return -EINVAL;
    };
    const sys::Lock lock(mutex_);
    const int rc = run();
    command.entry_num = done;  // written whatever happened
    return call.reply(command) < 0 ? -EFAULT : rc;
}

}  // namespace iommufd::inline v0_1::model
