// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/mock_commands.hpp"

#include <cerrno>

namespace iommufd::inline v0_1::model {

namespace mock = uapi::mock;

int Context::Mock::run(Context& context, Command& command, const Call& call) {
    switch (command.op) {
        case mock::kAddReserved:
            return add_reserved(context, command);
        case mock::kMockDomain:
        case mock::kMockDomainFlags:
            return add_device(context, command, call);
        case mock::kMockDomainReplace:
            return replace(context, command, call);
        case mock::kMdCheckMap:
            return check_map(context, command);
        case mock::kMdCheckRefs:
            return check_pins(context, command);
        case mock::kMdCheckIotlb:
            return check_iotlb(context, command);
        case mock::kDevCheckCache:
            return check_cache(context, command);
        case mock::kCreateAccess:
            return create_access(context, command, call);
        case mock::kAccessReplaceIoas:
            return replace_ioas(context, command);
        case mock::kAccessPages:
            return pin_pages(context, command, call);
        case mock::kAccessRw:
            return transfer(context, command);
        case mock::kDestroyAccessPages:
            return unpin_pages(context, command);
        case mock::kSetTempMemoryLimit:
            // How Linux batches is not to be seen from outside; less than one entry it refuses.
            return command.memory_limit.limit < sizeof(std::uint64_t) + sizeof(std::uint32_t) ? -EINVAL : 0;
        case mock::kDirty:
            return make_dirty(context, command, call);
        case mock::kTriggerIopf:
            return trigger_fault(context, command);
        case mock::kTriggerVevent:
            return trigger_event(context, command);
        case mock::kPasidAttach:
            return pasid_attach(context, command, call);
        case mock::kPasidReplace:
            return pasid_replace(context, command, call);
        case mock::kPasidDetach:
            return pasid_detach(context, command);
        case mock::kPasidCheckHwpt:
            return pasid_check(context, command);
        case mock::kDmabufGet:
            return get_dma_buffer(context, command);
        case mock::kDmabufRevoke:
            return revoke_dma_buffer(context, command);
        default:
            return -EOPNOTSUPP;
    }
}

void Context::Mock::name_by_area(Context& context, uapi::IoasCopy& command) {
    if ((command.flags & mock::kAccessSyz) == 0) return;
    command.flags &= ~mock::kAccessSyz;
    const sys::Lock lock(context.mutex_);
    if (const Ioas* const ioas = context.objects_.find<Ioas>(command.src_ioas_id))
        command.src_iova = ioas->iopt.iova_of_nth(command.src_iova);
}

}  // namespace iommufd::inline v0_1::model
