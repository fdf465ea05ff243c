// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// On a /sys of files, where what is written to a driver's bind and unbind moves a link, as the kernel does.
#include "cli/rebind.hpp"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "support/fake_root.hpp"

namespace iommufd::cli {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string kDevice = "0000:00:11.0";
const std::string kFolder = "/sys/bus/pci/devices/" + kDevice;
const std::string kDrivers = "/sys/bus/pci/drivers/";

class Sysfs : public FakeRoot {
public:
    Sysfs() {
        folder("/sys/dev/char");
        for (const char* const driver : {"nvme", "vfio-pci", "uio"})
            for (const char* const name : {"/bind", "/unbind"}) file(kDrivers + driver + name, "");
        file("/sys/bus/pci/drivers_probe", "");
        file(kFolder + "/driver_override", "(null)\n");
        attach("nvme");
    }

    pid_t only = 0;            // the process in which ...
    std::uint64_t end_at = 0;  // ... this call is the last one
    std::uint64_t made = 0;    // calls so far
    std::string stuck;         // a file that is done with long after everybody's limit
    std::string refused;       // a file that can't be written to

    void attach(const std::string& driver) const {
        link(kFolder + "/driver", "../../../bus/pci/drivers/" + driver);
        if (driver == "vfio-pci") folder(kFolder + "/vfio-dev/vfio0");
    }
    void detach() const {
        remove(kFolder + "/driver");
        remove(kFolder + "/vfio-dev");
    }

    int open(const char* path, int flags) override {
        count();
        if (path == refused) return -EINVAL;
        if (path == stuck) {
            std::this_thread::sleep_for(3s);
            ::_exit(0);
        }
        opened_ = path;
        return FakeRoot::open(path, flags);
    }
    ssize_t write(int fd, const void* buffer, std::size_t length) override {
        const std::string text(static_cast<const char*>(buffer), length);
        if (opened_.ends_with("/driver_override"))
            file(opened_, text == "\n" ? "(null)\n" : text);
        else if (opened_.ends_with("/unbind"))
            detach();
        else if (opened_.ends_with("/bind"))
            attach(opened_.substr(kDrivers.size(), opened_.rfind('/') - kDrivers.size()));
        else
            attach("uio");
        return FakeRoot::write(fd, buffer, length);
    }
    int readlink(const char* path, std::string& target) override {
        return count(), FakeRoot::readlink(path, target);
    }
    int readdir(const char* path, std::vector<std::string>& names) override {
        return count(), FakeRoot::readdir(path, names);
    }
    int read_file(const char* path, std::string& content) override {
        return count(), FakeRoot::read_file(path, content);
    }

private:
    void count() {
        if (::getpid() == only && ++made == end_at) ::_exit(0);
    }

    std::string opened_;
};

class RebindTest : public ::testing::Test {
protected:
    RebindTest() { EXPECT_TRUE(records_.lock()); }

    Rebinder rebinder(std::chrono::milliseconds limit = 10s) { return {kernel_, records_, limit}; }
    std::string driver() { return driven(kernel_, kDevice).driver; }
    void expect_as_it_was(const std::string& driver_name = "nvme") {
        const Driven now = driven(kernel_, kDevice);
        EXPECT_EQ(now.driver, driver_name);
        EXPECT_EQ(now.driver_override, "");
        EXPECT_FALSE(records_.find(kDevice));
    }

    Sysfs kernel_;
    BindRecords records_{kernel_.real("/run/iommufd/bind")};
};

TEST_F(RebindTest, ADeviceGoesToVfioAndBackToItsDriver) {
    ASSERT_TRUE(rebinder().bind(kDevice, "vfio-pci"));
    const Driven now = driven(kernel_, kDevice);
    EXPECT_EQ(now.driver, "vfio-pci");
    EXPECT_EQ(now.driver_override, "vfio-pci");
    EXPECT_TRUE(now.by_vfio);
    EXPECT_EQ(records_.find(kDevice), (BindRecord{.driver = "nvme", .driver_override = ""}));
    ASSERT_TRUE(rebinder().unbind(kDevice));
    expect_as_it_was();
}

TEST_F(RebindTest, AnOverrideThatWasThereComesBack) {
    kernel_.file(kFolder + "/driver_override", "nvme\n");
    ASSERT_TRUE(rebinder().bind(kDevice, "vfio-pci"));
    ASSERT_TRUE(rebinder().unbind(kDevice));
    EXPECT_EQ(driver(), "nvme");
    EXPECT_EQ(driven(kernel_, kDevice).driver_override, "nvme");
}

TEST_F(RebindTest, ADeviceWithoutADriverGetsNoneBack) {
    kernel_.detach();
    ASSERT_TRUE(rebinder().bind(kDevice, "vfio-pci"));
    EXPECT_EQ(driver(), "vfio-pci");
    ASSERT_TRUE(rebinder().unbind(kDevice));
    expect_as_it_was("");
}

TEST_F(RebindTest, WhatIsBoundAlreadyStaysAndIsNotRecorded) {
    kernel_.attach("vfio-pci");
    ASSERT_TRUE(rebinder().bind(kDevice, "vfio-pci"));
    EXPECT_FALSE(records_.find(kDevice));
    EXPECT_THAT(writes_to_bind(kDevice, driven(kernel_, kDevice), "vfio-pci"), IsEmpty());
}

TEST_F(RebindTest, WhatSomebodyElseBoundGoesToTheDriverThatTheKernelChooses) {
    kernel_.attach("vfio-pci");
    kernel_.file(kFolder + "/driver_override", "vfio-pci\n");
    ASSERT_TRUE(rebinder().unbind(kDevice));
    expect_as_it_was("uio");
}

TEST_F(RebindTest, WhatNobodyBoundIsNotTakenFromItsDriver) {
    const Error error = rebinder().unbind(kDevice).error();
    EXPECT_EQ(error.code(), ENODEV);
    EXPECT_THAT(error.line(), HasSubstr("nvme has it, which is none of VFIO's"));
    expect_as_it_was();
}

TEST_F(RebindTest, ADeviceThatVfioRefusesIsGivenBack) {
    kernel_.refused = kDrivers + "vfio-pci/bind";
    const Error error = rebinder().bind(kDevice, "vfio-pci").error();
    EXPECT_EQ(error.code(), EINVAL);
    EXPECT_THAT(error.line(), HasSubstr("`echo 0000:00:11.0 > /sys/bus/pci/drivers/vfio-pci/bind` fails"));
    expect_as_it_was();
}

TEST_F(RebindTest, WhereItsDriverIsGoneTheWayBackStaysRecorded) {
    ASSERT_TRUE(rebinder().bind(kDevice, "vfio-pci"));
    kernel_.remove(kDrivers + "nvme");
    const Error error = rebinder().unbind(kDevice).error();
    EXPECT_EQ(error.code(), ENOENT);
    EXPECT_THAT(error.line(), HasSubstr("load the driver: modprobe nvme"));
    EXPECT_EQ(driver(), "");
    kernel_.file(kDrivers + "nvme/bind", "");
    ASSERT_TRUE(rebinder().unbind(kDevice));
    expect_as_it_was();
}

TEST_F(RebindTest, ADriverThatNeverLetsGoIsWaitedForUntilTheLimitAndNoLonger) {
    kernel_.stuck = kDrivers + "nvme/unbind";
    kernel_.node("nvme0n1", S_IFBLK, 259, 0, "pci0000:00/" + kDevice + "/nvme/nvme0/nvme0n1");
    kernel_.process(12, "dd", "/dev/nvme0n1");
    const Error error = rebinder(50ms).bind(kDevice, "vfio-pci").error();
    EXPECT_EQ(error.code(), ETIMEDOUT);
    EXPECT_THAT(error.line(), AllOf(HasSubstr("didn't let go of it: dd (process 12) has /dev/nvme0n1 open"),
                                    HasSubstr("run this again")));
    EXPECT_EQ(driver(), "nvme");
    kernel_.stuck.clear();
    ASSERT_TRUE(rebinder().unbind(kDevice));
    expect_as_it_was();
}

TEST_F(RebindTest, WhereverItIsKilledOnTheWayThereUnbindGivesTheDeviceBack) {
    bool ended = false;
    for (std::uint64_t last = 1; !ended; ++last) {
        const pid_t child = ::fork();
        if (child == 0) {
            kernel_.only = ::getpid();
            kernel_.end_at = last;
            (void)rebinder().bind(kDevice, "vfio-pci");
            ::_exit(1);
        }
        int status = 0;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        ended = WEXITSTATUS(status) == 1;
        if (records_.find(kDevice)) ASSERT_TRUE(rebinder().unbind(kDevice)) << last;
        expect_as_it_was();
    }
}

TEST_F(RebindTest, WhereverItIsKilledOnTheWayBackUnbindEndsIt) {
    bool ended = false;
    for (std::uint64_t last = 1; !ended; ++last) {
        ASSERT_TRUE(rebinder().bind(kDevice, "vfio-pci"));
        const pid_t child = ::fork();
        if (child == 0) {
            kernel_.only = ::getpid();
            kernel_.end_at = last;
            (void)rebinder().unbind(kDevice);
            ::_exit(1);
        }
        int status = 0;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        ended = WEXITSTATUS(status) == 1;
        if (records_.find(kDevice)) ASSERT_TRUE(rebinder().unbind(kDevice)) << last;
        expect_as_it_was();
    }
}

// Killed half way, and then bound again: what is recorded is what was before the first time.
TEST_F(RebindTest, ASecondBindFinishesAFirstThatWasKilled) {
    ASSERT_TRUE(records_.save(kDevice, {.driver = "nvme", .driver_override = ""}));
    kernel_.file(kFolder + "/driver_override", "vfio-pci\n");
    kernel_.detach();
    ASSERT_TRUE(rebinder().bind(kDevice, "vfio-pci"));
    EXPECT_EQ(records_.find(kDevice)->driver, "nvme");
    ASSERT_TRUE(rebinder().unbind(kDevice));
    expect_as_it_was();
}

TEST_F(RebindTest, ARecordThatIsOlderThanWhatItsOwnerDidSinceIsReplaced) {
    ASSERT_TRUE(records_.save(kDevice, {.driver = "nvme", .driver_override = ""}));
    kernel_.attach("uio");
    ASSERT_TRUE(rebinder().bind(kDevice, "vfio-pci"));
    EXPECT_EQ(records_.find(kDevice)->driver, "uio");
}

TEST_F(RebindTest, OnlyOneChangesDriversAtATime) {
    BindRecords others(kernel_.real("/run/iommufd/bind"));
    EXPECT_EQ(others.lock().error().code(), EBUSY);
}

}  // namespace
}  // namespace iommufd::cli
