// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "intercept/trace.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <regex>
#include <sstream>

#include "intercept/session.hpp"
#include "uapi/commands.hpp"
#include "uapi/iommufd_test.hpp"
#include "uapi/vfio.hpp"

namespace iommufd::inline v0_1::intercept {
namespace {

template <class T>
std::string shown(std::span<const Form> forms, uapi::Request request, const T& argument) {
    const auto form = std::ranges::find(forms, request, &Form::request);
    return show(*form, std::as_bytes(std::span(&argument, 1)));
}

TEST(FormTest, EveryCommandIsShownWithAllOfItsFields) {
    for (const uapi::Command& command : uapi::kCommands) {
        const auto form = std::ranges::find(iommufd_forms(), command.request, &Form::request);
        ASSERT_NE(form, iommufd_forms().end()) << command.name;
        EXPECT_EQ(form->name, command.name);
        EXPECT_EQ(form->size, command.size);
        std::size_t next = 0;
        for (const Field& field : form->fields) {
            if (command.request == uapi::kGetHwInfo && field.name == "out_capabilities")
                next += 3;  // reserved bytes
            EXPECT_EQ(field.offset, next) << command.name << ' ' << field.name;
            next = field.offset + field.size;
        }
        EXPECT_EQ(next, command.size) << command.name;
    }
    EXPECT_EQ(mock_forms().size(), 23U);
}

TEST(FormTest, BitsAndValuesHaveTheKernelsNamesAndOthersTheirNumber) {
    EXPECT_EQ(
        shown(iommufd_forms(), uapi::kIoasMap,
              uapi::IoasMap{.size = sizeof(uapi::IoasMap), .flags = 0x84, .ioas_id = 7, .length = 0x1000}),
        "{flags=IOMMU_IOAS_MAP_READABLE|0x80, ioas_id=7, user_va=0, length=0x1000, iova=0}");
    EXPECT_EQ(shown(iommufd_forms(), uapi::kOption,
                    uapi::Option{.size = 40, .option_id = 9, .op = 1, .reserved = 3}),
              "{size=40, option_id=0x9, op=IOMMU_OPTION_OP_GET, reserved=0x3, object_id=0, val64=0}");
    const uapi::vfio::DeviceFeature feature{
        .argsz = 8, .flags = uapi::vfio::kFeatureSet | uapi::vfio::kFeatureLowPowerEntry};
    EXPECT_EQ(shown(vfio_forms(), uapi::vfio::kDeviceFeature, feature),
              "{argsz=8, flags=VFIO_DEVICE_FEATURE_SET|VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY}");
}

TEST(FormTest, OnlyWhatTheProgramHasAndOnlyWhatHasChangedIsShown) {
    const auto form = std::ranges::find(iommufd_forms(), uapi::kHwptAlloc, &Form::request);
    uapi::HwptAlloc command{.size = 24, .flags = 0, .dev_id = 1, .pt_id = 2};
    const auto bytes = std::as_bytes(std::span(&command, 1)).first(24);
    const std::vector<std::byte> before(bytes.begin(), bytes.end());
    EXPECT_EQ(show(*form, before), "{size=24, flags=0, dev_id=1, pt_id=2}");
    command.out_hwpt_id = 9;
    EXPECT_EQ(show(*form, bytes, before), "{out_hwpt_id=9}");
}

// What is told of a program, without its number, and those of its addresses and descriptors.
std::vector<std::string> trace_of(const model::Description& machine, const std::string& scenario) {
    const sys::Fd file(sys::host_kernel(), ::memfd_create("trace", MFD_CLOEXEC));
    const auto outcome = run(machine, {IOMMUFD_INTERCEPT_CLIENT, scenario}, {.trace = file.number()});
    EXPECT_TRUE(outcome && outcome->status == 0);
    std::string text(1 << 20, '\0');
    text.resize(static_cast<std::size_t>(::pread(file.number(), text.data(), text.size(), 0)));
    text = std::regex_replace(text, std::regex(R"((^|\n)\[\d+\] )"), "$1");
    text = std::regex_replace(text, std::regex("0x[57][0-9a-f]{11}"), "ADDRESS");
    text = std::regex_replace(text, std::regex(R"(\d+<|\[\d+\])"), "FD<");
    std::istringstream stream(text);
    std::vector<std::string> lines;
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
}

TEST(TraceTest, ACallIsShownWithItsArgumentsResultAndCause) {
    const auto lines = trace_of(model::everything(), "maps");
    ASSERT_GE(lines.size(), 4U);
    EXPECT_THAT(lines[0], testing::StartsWith(R"(openat(AT_FDCWD, "/dev/iommu", O_RDWR|O_CLOEXEC) = )"));
    EXPECT_EQ(lines[1], "ioctl(FD</dev/iommu>, IOMMU_IOAS_ALLOC, {flags=0} => {out_ioas_id=1}) = 0");
    EXPECT_EQ(lines[2],
              "ioctl(FD</dev/iommu>, IOMMU_IOAS_MAP, "
              "{flags=IOMMU_IOAS_MAP_FIXED_IOVA|IOMMU_IOAS_MAP_WRITEABLE|IOMMU_IOAS_MAP_READABLE, ioas_id=1, "
              "user_va=ADDRESS, length=0x4000, iova=0x10000}) = 0");
    EXPECT_THAT(lines, testing::Contains("ioctl(FD</dev/iommu>, IOMMU_DESTROY, {id=1}) = -1 ENOENT "
                                         "(no object of this context has that id)"));
    EXPECT_THAT(lines, testing::Not(testing::Contains(testing::HasSubstr("/lib/"))))
        << "this machine's own files";
}

TEST(TraceTest, ADevicesRegistersAndInterruptsAreNamed) {
    const auto lines = trace_of(model::everything(), "drives");
    EXPECT_THAT(lines, testing::Contains("pwrite(FD</dev/vfio/devices/vfio0>, 0x12345678, 4, "
                                         "VFIO_PCI_BAR0_REGION_INDEX+0x4) = 4"));
    EXPECT_THAT(lines, testing::Contains("pread(FD</dev/vfio/devices/vfio0>, ADDRESS, 4, "
                                         "VFIO_PCI_BAR0_REGION_INDEX+0 => 0x10000ed) = 4"));
    EXPECT_THAT(lines, testing::Contains("preadv(FD</dev/vfio/devices/vfio0>, ADDRESS, 2, "
                                         "VFIO_PCI_BAR0_REGION_INDEX+0) = 8"));
    EXPECT_THAT(lines,
                testing::Contains("ioctl(FD</dev/vfio/devices/vfio0>, VFIO_DEVICE_SET_IRQS, {argsz=24, "
                                  "flags=VFIO_IRQ_SET_DATA_EVENTFD|VFIO_IRQ_SET_ACTION_TRIGGER, "
                                  "index=VFIO_PCI_IRQ_MSI, start=0, count=1}, FD<) = 0"));
}

TEST(TraceTest, MessagesOfAnIotlbAreShown) {
    const auto lines = trace_of(model::everything(), "sends_messages");
    EXPECT_THAT(lines,
                testing::Contains("ioctl(FD</dev/vhost-vdpa-0>, VHOST_SET_BACKEND_FEATURES, "
                                  "{value=VHOST_BACKEND_F_IOTLB_MSG_V2|VHOST_BACKEND_F_IOTLB_BATCH}) = 0"));
    EXPECT_THAT(lines, testing::Contains("write(FD</dev/vhost-vdpa-0>, {asid=0, type=VHOST_IOTLB_UPDATE, "
                                         "iova=0x1000, size=0x1000, uaddr=ADDRESS, perm=3}, 72) = 72"));
}

TEST(TraceTest, OperationsOfTheTestCommandAreCommandsOfTheirOwn) {
    model::Description machine;
    machine.mock = true;
    const auto lines = trace_of(machine, "maps_registers");
    EXPECT_THAT(
        lines, testing::Contains("ioctl(FD</dev/iommu>, IOMMU_TEST_CMD, IOMMU_TEST_OP_MOCK_DOMAIN, {id=1} => "
                                 "{out_stdev_id=2, out_hwpt_id=4, out_idev_id=3}) = 0"));
    EXPECT_THAT(
        lines,
        testing::Contains(testing::StartsWith(
            "mmap(0, 0x1000, PROT_READ|PROT_WRITE, MAP_SHARED, FD</dev/iommu>, 0x1000) = -1 ENXIO (")));
}

TEST(TraceTest, ABadPointerIsShownAsTheAddressThatItIs) {
    EXPECT_THAT(
        trace_of(model::everything(), "bad_pointers"),
        testing::Contains(testing::StartsWith("ioctl(FD</dev/iommu>, IOMMU_IOAS_ALLOC, 0) = -1 EFAULT (")));
}

}  // namespace
}  // namespace iommufd::inline v0_1::intercept
