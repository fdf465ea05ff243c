// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/doctor/checks.hpp"
#include "error/compose.hpp"
#include "iommufd/backend/backend.hpp"
#include "iommufd/core/hw_info.hpp"
#include "iommufd/core/ioas.hpp"
#include "iommufd/vfio/device.hpp"
#include "iommufd/vfio/features.hpp"
#include "iommufd/viommu/smmuv3.hpp"
#include "iommufd/viommu/vtd.hpp"

namespace iommufd::inline v0_1::cli::doctor {
namespace {

constexpr const char* kBind = "bind";

bool nests(const core::HwInfo& info) {
    switch (info.type) {
        case core::HwInfoType::intel_vtd: {
            const auto hardware = viommu::vtd::hardware(info);
            return hardware && hardware->nests;
        }
        case core::HwInfoType::arm_smmuv3: {
            const auto hardware = viommu::smmuv3::hardware(info);
            return hardware && hardware->nests;
        }
        default:
            return false;
    }
}

Finding capabilities(const core::HwInfo& info) {
    const bool dirty = info.dirty_tracking;
    return {.verdict = dirty ? Verdict::pass : Verdict::warn,
            .check = "iommu-capabilities",
            .evidence =
                compose("dirty tracking: ", dirty ? "yes" : "no",
                        "; nested translation: ", nests(info) ? "yes" : "no", "; PASIDs: ",
                        info.max_pasid_log2 == 0 ? std::string("none") : compose("2^", info.max_pasid_log2)),
            .fix = dirty ? std::string()
                         : "live migration must take all memory as written, unless the device keeps a log "
                           "itself; nothing else misses it"};
}

Finding aperture(const Backend& backend, const vfio::Device& device) {
    constexpr const char* kCheck = "aperture";
    const auto context = backend.context();
    auto ioas = core::Ioas::alloc(*context);
    if (!ioas)
        return {.verdict = Verdict::fail,
                .check = kCheck,
                .evidence = ioas.error().line(),
                .fix = std::string(ioas.error().next_step())};
    if (auto attached = device.attach(ioas->id()); !attached)
        return {.verdict = Verdict::fail,
                .check = kCheck,
                .evidence = attached.error().line(),
                .fix = std::string(attached.error().next_step())};
    const auto ranges = ioas->iova_ranges();
    (void)device.detach();
    if (!ranges)
        return {.verdict = Verdict::unseen, .check = kCheck, .evidence = ranges.error().line(), .fix = {}};
    std::string text;
    for (const Range& range : ranges->ranges)
        text += compose(text.empty() ? "" : ", ", Hex{range.first.value}, " to ", Hex{range.last.value});
    return {.verdict = ranges->ranges.empty() ? Verdict::fail : Verdict::pass,
            .check = kCheck,
            .evidence = compose(text.empty() ? "no address can be mapped" : text, ", in pieces of ",
                                size_text(ranges->alignment)),
            .fix = ranges->ranges.empty() ? "use another device" : ""};
}

Finding dma_buf(const vfio::Device& device) {
    const bool has = vfio::has_feature(device, vfio::Feature::dma_buf, vfio::FeatureUse::get);
    return {.verdict = has ? Verdict::pass : Verdict::warn,
            .check = "bar-dma-buf",
            .evidence = has ? "other devices can reach its BARs (VFIO_DEVICE_FEATURE_DMA_BUF)"
                            : "other devices can't reach its BARs: its driver or this kernel has no "
                              "VFIO_DEVICE_FEATURE_DMA_BUF",
            .fix = has ? "" : "for peer-to-peer DMA use Linux 6.19 or later with CONFIG_VFIO_PCI_DMABUF=y"};
}

Finding unseen(std::string why) {
    return {.verdict = Verdict::unseen,
            .check = kBind,
            .evidence = compose("aperture, dirty tracking, nesting, PASIDs and BAR dma-buf: ", why),
            .fix = {}};
}

}  // namespace

Findings check_hardware(const Machine& machine) {
    const Device& its = *machine.device;
    if (!its.has_vfio) return {unseen("only VFIO's driver tells")};
    if (!its.uses || !its.uses->empty()) return {unseen("not asked while somebody has the device")};
    for (const auto& check : {check_iommu_node, check_device_node, check_group})
        if (!ready(check(machine))) return {unseen("the device can't be opened, as said above")};
    auto backend = Backend::open({.id = "doctor", .fd = {}, .report = {}, .kernel = &machine.kernel});
    if (!backend) return {unseen(backend.error().line())};
    auto cdev = vfio::Cdev::open(its.address, {.kernel = &machine.kernel, .name = {}});
    auto device = cdev ? std::move(*cdev).bind(*backend) : Result<vfio::Device>(cdev.error());
    if (!device)
        return {{.verdict = Verdict::fail,
                 .check = kBind,
                 .evidence = device.error().line(),
                 .fix = std::string(device.error().next_step())}};
    Findings findings{
        {.verdict = Verdict::pass, .check = kBind, .evidence = "the device binds to /dev/iommu", .fix = {}},
        aperture(*backend, *device)};
    const auto context = backend->context();
    const auto info = core::hw_info(*context, device->id());
    findings.push_back(info ? capabilities(*info)
                            : Finding{.verdict = Verdict::unseen,
                                      .check = "iommu-capabilities",
                                      .evidence = info.error().line(),
                                      .fix = {}});
    findings.push_back(dma_buf(*device));
    return findings;
}

}  // namespace iommufd::inline v0_1::cli::doctor
