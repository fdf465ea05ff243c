// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// How a device is found, and what is said when it can't be had. The machine is the model's, with other things
// in its /sys.
#include <fcntl.h>
#include <gmock/gmock.h>

#include "iommufd/model/machine.hpp"
#include "iommufd/vfio/device.hpp"
#include "uapi/vfio.hpp"
#include "vfio/overlay.hpp"
#include "vfio/sysfs.hpp"

namespace iommufd::vfio {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const std::string kDevices = "/sys/bus/pci/devices/";
const std::string kEdu = kDevices + "0000:00:10.0";
const std::string kGroup = kEdu + "/iommu_group/devices";

class CdevTest : public ::testing::Test {
protected:
    void TearDown() override {
        EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
        EXPECT_TRUE(backend_.users().empty());
    }

    Result<Cdev> open(std::string_view where) { return Cdev::open(where, {.kernel = &kernel_, .name = {}}); }
    Result<Cdev> from(int fd) { return Cdev::from(AdoptFd{fd}, {.kernel = &kernel_, .name = {}}); }

    // A bind that the kernel refuses.
    Error bind(int code) {
        kernel_.failing[uapi::vfio::kDeviceBindIommufd] = code;
        return open("00:10.0").value().bind(backend_).error();
    }

    // Another member of the device's group.
    void add_member(const std::string& address, const std::string& driver, bool of_vfio = false) {
        kernel_.folders[kGroup].insert({"0000:00:10.0", address});
        const std::string member = kGroup + "/" + address;
        if (driver.empty())
            kernel_.missing.insert(member + "/driver");
        else
            kernel_.links[member + "/driver"] = "../../../bus/pci/drivers/" + driver;
        if (of_vfio)
            kernel_.folders[member + "/vfio-dev"] = {"vfio9"};
        else
            kernel_.missing.insert(member + "/vfio-dev");
    }

    model::Machine machine_;
    Overlay kernel_{machine_.kernel()};
    Backend backend_ = Backend::open({.id = "iommufd0", .fd = {}, .report = {}, .kernel = &kernel_}).value();
};

TEST(PciAddress, IsReadInEveryCommonForm) {
    for (const char* const text : {"0000:02:1f.7", "02:1f.7", "2:1f.7", "0:2:1F.7"}) {
        const auto address = parse_pci_address(text);
        ASSERT_TRUE(address) << text;
        EXPECT_EQ(address->text(), "0000:02:1f.7");
    }
    EXPECT_EQ(parse_pci_address("10000:e1:00.0")->text(), "10000:e1:00.0");  // Intel's VMD makes such domains
}

TEST(PciAddress, IsRefusedWhereItIsNone) {
    for (const char* const text : {"", ".", ":", ":.", "02:00", "02:00.", "02:00.8", "02:20.0", "100:00.0",
                                   "02:00.0 ", " 02:00.0", "x2:00.0", "0000:02:00.00", "0000:02:00.0.0",
                                   "0000::00.0", ":02:00.0", "000000000:02:00.0", "-1:00.0", "0x2:00.0"})
        EXPECT_FALSE(parse_pci_address(text)) << "'" << text << "'";
}

TEST(VfToken, IsAUuidAndNothingElse) {
    const auto token = parse_vf_token("83b8f4f2-509f-382f-3c1e-e6bfe0fa1001");
    ASSERT_TRUE(token);
    EXPECT_EQ((*token)[0], 0x83);
    EXPECT_EQ((*token)[15], 0x01);
    for (const char* const text :
         {"", "83b8f4f2509f382f3c1ee6bfe0fa1001", "83b8f4f2-509f-382f-3c1e-e6bfe0fa100",
          "83b8f4f2-509f-382f-3c1e-e6bfe0fa10012", "83b8f4f2-509f-382f-3c1e-e6bfe0fa100g",
          "83b8f4f2-509f-382f-3c1e+e6bfe0fa1001", "-3b8f4f2-509f-382f-3c1e-e6bfe0fa1001"})
        EXPECT_FALSE(parse_vf_token(text)) << text;
}

TEST_F(CdevTest, IsFoundByAddressPathAndDescriptorUnderTheSameName) {
    const Cdev by_address = open("00:10.0").value();
    EXPECT_EQ(by_address.name(), "vfio-pci 0000:00:10.0");
    EXPECT_EQ(open(kEdu + "//").value().name(), by_address.name());
    EXPECT_EQ(Cdev::from(DupFd{by_address.fd()}, {.kernel = &kernel_, .name = {}}).value().name(),
              by_address.name());
}

TEST_F(CdevTest, WhatIsNoDeviceIsToldFromADeviceThatIsNotThere) {
    EXPECT_EQ(open("nonsense").error().code(), EINVAL);
    EXPECT_THAT(open("nonsense").error().line(), HasSubstr("no PCI address, no UUID and no path"));
    EXPECT_EQ(open("0000:55:00.0").error().code(), ENOENT);
    EXPECT_EQ(open("83b8f4f2-509f-382f-3c1e-e6bfe0fa1001").error().code(), ENOENT);
    EXPECT_THAT(open("83b8f4f2-509f-382f-3c1e-e6bfe0fa1001").error().line(),
                HasSubstr("/sys/bus/mdev/devices/83b8"));
    EXPECT_EQ(open("/dev/null").error().code(), ENOTDIR);
}

TEST_F(CdevTest, ADeviceOfItsHostDriverIsNamedWithTheCommandThatTakesIt) {
    kernel_.missing.insert(kEdu + "/vfio-dev");
    kernel_.links[kEdu + "/driver"] = "../../../bus/pci/drivers/nvme";
    const Error error = open("00:10.0").error();
    EXPECT_EQ(error.code(), ENODEV);
    EXPECT_EQ(error.cause(), "it is bound to its host driver nvme");
    EXPECT_EQ(error.next_step(), "run `iommufd bind 0000:00:10.0`");
    kernel_.missing.insert(kEdu + "/driver");
    EXPECT_EQ(open("00:10.0").error().cause(), "it is bound to no driver");
    EXPECT_EQ(open("00:10.0").error().next_step(), "run `iommufd bind 0000:00:10.0`");
}

TEST_F(CdevTest, ADeviceWithoutAGroupIsToldToWantAnIommu) {
    kernel_.missing.insert({kEdu + "/vfio-dev", kEdu + "/iommu_group"});
    EXPECT_THAT(open("00:10.0").error().line(),
                AllOf(HasSubstr("no IOMMU group"), HasSubstr("intel_iommu=on")));
    // With noiommu on, a driver is all that it wants.
    kernel_.files["/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"] = "Y\n";
    kernel_.missing.insert(kEdu + "/driver");
    EXPECT_EQ(open("00:10.0").error().cause(), "it is bound to no driver");
}

TEST_F(CdevTest, AKernelWithoutCharacterDevicesIsNamedAsTheCause) {
    kernel_.missing.insert(kEdu + "/vfio-dev/vfio0/dev");
    EXPECT_EQ(open("00:10.0").error().code(), ENODEV);
    EXPECT_THAT(open("00:10.0").error().line(), HasSubstr("CONFIG_VFIO_DEVICE_CDEV"));
    // Which it may have, and yet give none to a device without an IOMMU.
    kernel_.files[kEdu + "/iommu_group/name"] = "vfio-noiommu\n";
    EXPECT_THAT(open("00:10.0").error().line(), HasSubstr("use Linux 7.2 or later"));
}

TEST_F(CdevTest, AnotherDevicesNodeIsNotTaken) {
    kernel_.files[kEdu + "/vfio-dev/vfio0/dev"] = "1:3\n";
    EXPECT_EQ(open("00:10.0").error().code(), ENXIO);
    EXPECT_THAT(open("00:10.0").error().line(), HasSubstr("1:3"));
    kernel_.files[kEdu + "/vfio-dev/vfio0/dev"] = "rubbish";
    EXPECT_EQ(open("00:10.0").error().code(), ENODEV);
}

TEST_F(CdevTest, WhyANodeCantBeOpenedIsSaidWithItsPath) {
    for (const int code : {EACCES, ENOENT, EPERM, EMFILE, ENODEV}) {
        kernel_.unopenable["/dev/vfio/devices/vfio0"] = code;
        const Error error = open("00:10.0").error();
        EXPECT_EQ(error.code(), code);
        EXPECT_EQ(error.operation(), Operation::vfio_open);
        EXPECT_EQ(error.what(), "cannot open /dev/vfio/devices/vfio0 of vfio-pci 0000:00:10.0");
        EXPECT_FALSE(error.next_step().empty());
    }
}

TEST_F(CdevTest, DescriptorsOfOtherFilesAreRefused) {
    EXPECT_EQ(from(777).error().code(), EBADF);
    EXPECT_EQ(from(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)).error().code(), ENODEV);
    EXPECT_EQ(from(kernel_.open("/dev/null", O_RDWR)).error().code(), ENODEV);
    EXPECT_THAT(from(kernel_.open("/dev/iommu", O_RDWR)).error().line(),
                HasSubstr("/dev/vfio/devices/vfioN"));
}

TEST_F(CdevTest, ADescriptorThatIsBoundAlreadyIsRefused) {
    const Device device = open("00:10.0").value().bind(backend_).value();
    const auto second = Cdev::from(DupFd{device.fd()}, {.kernel = &kernel_, .name = {}});
    EXPECT_EQ(second.error().code(), EBUSY);
    EXPECT_THAT(second.error().line(), HasSubstr("bound already"));
}

TEST_F(CdevTest, ASecondOpenerIsToldThatTheDeviceIsTaken) {
    const Device device = open("00:10.0").value().bind(backend_).value();
    const Error error = open("00:10.0").value().bind(backend_).error();
    EXPECT_EQ(error.code(), EINVAL);
    EXPECT_THAT(error.line(), HasSubstr("bound already"));
    EXPECT_THAT(backend_.users(), ::testing::ElementsAre("vfio-pci 0000:00:10.0"));
}

TEST_F(CdevTest, AGroupThatIsNotViableIsListedWithItsDrivers) {
    add_member("0000:00:10.1", "nvme");
    add_member("0000:00:10.2", "pcieport");
    add_member("0000:00:10.3", "");
    add_member("0000:00:10.4", "mlx5_vfio", true);
    for (const int code : {EPERM, EBUSY}) {
        const Error error = bind(code);
        EXPECT_EQ(error.code(), code);
        EXPECT_EQ(error.what(), "cannot bind vfio-pci 0000:00:10.0");
        EXPECT_THAT(std::string(error.cause()),
                    AllOf(HasSubstr("not viable: 0000:00:10.1 (nvme) is in use by the kernel;"),
                          HasSubstr("0000:00:10.2 (pcieport)"), HasSubstr("0000:00:10.3 (no driver)"),
                          HasSubstr("0000:00:10.4 (mlx5_vfio)")));
    }
}

TEST_F(CdevTest, AViableGroupThatIsBusyIsOpenTheOldWay) {
    add_member("0000:00:10.1", "pcieport");
    EXPECT_THAT(bind(EBUSY).line(), HasSubstr("open the old way, as /dev/vfio/0"));
}

TEST_F(CdevTest, MissingInterruptRemappingIsTheOnlyCauseForADeviceThatIsAlone) {
    EXPECT_THAT(bind(EPERM).line(),
                AllOf(HasSubstr("there is no interrupt remapping"), HasSubstr("allow_unsafe_interrupts=1")));
    add_member("0000:00:10.1", "vfio-pci", true);
    EXPECT_THAT(bind(EPERM).line(), HasSubstr("another iommufd owns a device of its IOMMU group 0"));
}

TEST_F(CdevTest, EveryOtherErrnoOfABindHasItsCause) {
    for (const int code : {EINVAL, E2BIG, EBADF, EBADFD, EACCES, ENODEV, EIO, ENOTTY}) {
        const Error error = bind(code);
        EXPECT_EQ(error.code(), code);
        EXPECT_FALSE(error.cause().empty()) << errno_name(code);
        EXPECT_FALSE(error.next_step().empty()) << errno_name(code);
    }
}

TEST_F(CdevTest, ADeviceOfAnotherKernelIsRefused) {
    model::Machine other;
    auto cdev = Cdev::open("00:10.0", {.kernel = &other.kernel(), .name = {}}).value();
    EXPECT_EQ(std::move(cdev).bind(backend_).error().code(), EXDEV);
}

}  // namespace
}  // namespace iommufd::vfio
