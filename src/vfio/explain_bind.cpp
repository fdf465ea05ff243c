// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "vfio/explain_bind.hpp"

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "error/compose.hpp"
#include "vfio/group.hpp"

namespace iommufd::inline v0_1::vfio {
namespace {

// A driver of a group member does DMA for the kernel.
Error not_viable(const std::string& what, int code, const std::string& group,
                 const std::vector<GroupMember>& members) {
    std::vector<GroupMember> spoiling;
    std::ranges::copy_if(members, std::back_inserter(spoiling), &GroupMember::spoils);
    return Error::refused(code, what,
                          compose("its IOMMU group ", group, " is not viable: ", list_members(spoiling),
                                  spoiling.size() == 1 ? " is" : " are",
                                  " in use by the kernel; the group is ", list_members(members)),
                          "bind those to vfio-pci as well (`iommufd bind --group`), or to no driver");
}

}  // namespace

std::optional<Error> group_refuses(sys::Kernel& kernel, const std::string& what, const std::string& folder) {
    const auto members = group_members(kernel, folder);
    if (std::ranges::none_of(members, &GroupMember::spoils)) return std::nullopt;
    return not_viable(what, EPERM, group_number(kernel, folder), members);
}

Error explain_bind(sys::Kernel& kernel, const std::string& name, const std::string& folder, bool with_token,
                   int code) {
    std::string what = compose("cannot bind ", name);
    const auto members = folder.empty() ? std::vector<GroupMember>() : group_members(kernel, folder);
    const std::string group = members.empty() ? std::string() : group_number(kernel, folder);
    // EPERM: to the kernel the group has another owner, itself.
    if ((code == EPERM || code == EBUSY) && std::ranges::any_of(members, &GroupMember::spoils))
        return not_viable(what, code, group, members);
    if (code == EBUSY && !group.empty())
        return Error::refused(EBUSY, what,
                              compose("its IOMMU group is open the old way, as /dev/vfio/", group),
                              compose("end that program (`fuser -v /dev/vfio/", group, "`)"));
    if (code == EPERM && members.size() == 1)
        // Nobody else can own a group of one.
        return Error::refused(EPERM, what, "its interrupts are not isolated: there is no interrupt remapping",
                              "turn it on in the firmware (and leave intremap=off out), or load iommufd with "
                              "allow_unsafe_interrupts=1 where every device is trusted");
    if (code == EPERM && members.size() > 1)
        return Error::refused(EPERM, what,
                              compose("another iommufd owns a device of its IOMMU group ", group, " (",
                                      list_members(members), "), or there is no interrupt remapping"),
                              "use one iommufd for the group, or turn interrupt remapping on");
    if (code == EINVAL && !with_token && !folder.empty())
        return Error::refused(
            EINVAL, what,
            "another open of it is bound already, in this process or another; else its IOMMU is "
            "not cache-coherent",
            "end the other user: `fuser -v /dev/vfio/devices/*`");
    return Error(Operation::vfio_bind, code, std::move(what));
}

}  // namespace iommufd::inline v0_1::vfio
