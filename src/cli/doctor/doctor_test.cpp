// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A machine on which all is well, and what becomes of the findings when one thing about it is broken. Its /dev/iommu and its
// device are the model's, the rest are files.
#include <gmock/gmock.h>

#include <functional>

#include "cli/doctor/checks.hpp"
#include "iommufd/model/machine.hpp"
#include "support/fake_root.hpp"

namespace iommufd::cli::doctor {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kDevice = "0000:02:00.0";
constexpr const char* kFolder = "/sys/bus/pci/devices/0000:02:00.0";

class TestMachine : public FakeRoot {
public:
    explicit TestMachine(model::Machine& model) : FakeRoot(model.kernel()), model_(model) {
        file("/proc/sys/kernel/osrelease", "7.3.4\n");
        file("/proc/cmdline", "quiet intel_iommu=on\n");
        file("/proc/self/status", "Uid:\t1000\t1000\t1000\t1000\nCapEff:\t0000000000000000\n");
        memlock("2147483648", "2147483648");
        file("/proc/devices", "248 vfio-dev\n249 vfio\n");
        file("/proc/interrupts", " 25:  0  IR-PCI-MSIX-0000:00:12.0    0-edge\n");
        file("/boot/config-7.3.4",
             "CONFIG_IOMMUFD=m\nCONFIG_VFIO_DEVICE_CDEV=y\nCONFIG_VFIO_PCI=m\nCONFIG_VFIO_PCI_DMABUF=y\n");
        folder("/sys/class/iommu/dmar0");
        file("/sys/class/misc/iommu/dev", "10:257\n");
        folder("/sys/class/vfio-dev/vfio0");
        folder("/sys/bus/pci/drivers/vfio-pci");
        folder("/sys/dev/char");
        folder("/sys/dev/block");
        file("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
        file("/sys/kernel/iommu_groups/3/reserved_regions", "0x00000000fee00000 0x00000000feefffff msi\n");
        device(kDevice, "vfio-pci");
        file(std::string(kFolder) + "/vfio-dev/vfio0/dev", "248:0\n");
        file(std::string(kFolder) + "/reset_method", "flr bus\n");
    }

    std::map<std::string, int> refused;  // the errno of opening it

    // In group 3.
    void device(const std::string& address, const std::string& driver) const {
        const std::string its = "/sys/devices/pci0000:00/0000:00:01.0/" + address;
        file(its + "/class", "0x020000\n");
        link("/sys/bus/pci/devices/" + address, "../../../devices/pci0000:00/0000:00:01.0/" + address);
        link(its + "/iommu_group", "../../../../kernel/iommu_groups/3");
        link("/sys/kernel/iommu_groups/3/devices/" + address,
             "../../../../devices/pci0000:00/0000:00:01.0/" + address);
        if (driver.empty()) return;
        link(its + "/driver", "../../../../bus/pci/drivers/" + driver);
    }
    void memlock(const std::string& soft, const std::string& hard) const {
        file("/proc/self/limits", "Max locked memory         " + soft + "   " + hard + "   bytes\n");
    }

    int open(const char* path, int flags) override {
        if (const auto found = refused.find(path); found != refused.end()) return -found->second;
        const std::string_view where = path;
        if (where == "/dev/iommu" || where.starts_with("/dev/vfio/"))
            return model_.kernel().open(path, flags);
        return FakeRoot::open(path, flags);
    }

private:
    model::Machine& model_;
};

class DoctorTest : public ::testing::Test {
protected:
    static model::Description description() {
        model::Description description;
        description.devices = {{.kind = model::DeviceKind::edu}};
        description.dirty_tracking = true;
        description.memlock = std::uint64_t{2} << 30;
        description.sys_resource = false;
        return description;
    }
    Findings findings() {
        auto machine = look_at(kernel_, kDevice, std::uint64_t{1} << 30);
        return machine ? examine(*machine) : throw Failure(machine.error());
    }
    // The one that has failed, or is a warning.
    static const Finding* found(const Findings& findings, std::string_view check, Verdict verdict) {
        const auto its = std::ranges::find_if(findings, [&](const Finding& finding) {
            return finding.check == check && finding.verdict == verdict;
        });
        return its == findings.end() ? nullptr : &*its;
    }

    model::Machine model_{description()};
    TestMachine kernel_{model_};
};

std::string listed(const Findings& findings) {
    std::string text;
    for (const Finding& found : findings)
        text += std::string(word(found.verdict)) + " " + found.check + ": " + found.evidence + "\n";
    return text;
}

TEST_F(DoctorTest, EverythingPassesOnTheGoodMachineButWhatOnlyRootCouldSee) {
    const Findings all = findings();
    EXPECT_TRUE(ready(all)) << listed(all);
    for (const Finding& finding : all) {
        if (finding.check == "use")
            EXPECT_EQ(finding.verdict, Verdict::unseen);
        else
            EXPECT_EQ(finding.verdict, Verdict::pass) << finding.check << ": " << finding.evidence;
        EXPECT_THAT(finding.evidence, ::testing::Not(IsEmpty())) << finding.check;
    }
    EXPECT_NE(found(all, "aperture", Verdict::pass), nullptr);
    EXPECT_NE(found(all, "iommu-capabilities", Verdict::pass), nullptr);
}

TEST_F(DoctorTest, TheIommuIsNamedByItsKind) {
    for (const auto& [name, kind] :
         {std::pair("ivhd0", "AMD-Vi (ivhd0)"), std::pair("smmu3.0x2b400000", "Arm SMMUv3"),
          std::pair("0000:00:01.0", "virtio-iommu (0000:00:01.0)")}) {
        kernel_.remove("/sys/class/iommu");
        kernel_.folder(std::string("/sys/class/iommu/") + name);
        const Findings all = findings();
        const Finding* const its = found(all, "iommu", Verdict::pass);
        ASSERT_NE(its, nullptr) << listed(all);
        EXPECT_THAT(its->evidence, HasSubstr(kind));
    }
}

// The configuration space of the port before the device, in which another extended capability comes before ACS.
std::string port_with_acs(unsigned char control) {
    std::string space(4096, '\0');
    space.replace(256, 4, std::string("\x01\x00\x01\x20", 4));  // error reporting; the next is at 0x200
    space.replace(512, 4, std::string("\x0d\x00\x01\x00", 4));
    space[512 + 6] = static_cast<char>(control);
    return space;
}

TEST_F(DoctorTest, APortIsolatesWhereAllOfAcsIsOnAndOnlyRootCanSeeIt) {
    kernel_.device("0000:02:00.1", "");
    kernel_.link("/sys/bus/pci/devices/0000:00:01.0", "../../../devices/pci0000:00/0000:00:01.0");
    const auto evidence = [&](const std::string& space, Verdict verdict) {
        kernel_.file("/sys/devices/pci0000:00/0000:00:01.0/config", space);
        const Findings all = findings();
        const Finding* const its = found(all, "acs", verdict);
        return its ? its->evidence : listed(all);
    };
    EXPECT_THAT(evidence(port_with_acs(0x1d), Verdict::warn), HasSubstr("0000:00:01.0 isolates"));
    EXPECT_THAT(evidence(port_with_acs(0x1c), Verdict::warn), HasSubstr("0000:00:01.0 has ACS turned off"));
    EXPECT_THAT(evidence(port_with_acs(0x1d).substr(0, 64), Verdict::unseen), HasSubstr("read by root only"));
    // A list that leads round and round has an end.
    std::string round = port_with_acs(0x1d);
    round.replace(512, 4, std::string("\x0b\x00\x01\x10", 4));
    EXPECT_THAT(evidence(round, Verdict::warn), HasSubstr("0000:00:01.0 has no ACS"));
}

TEST_F(DoctorTest, NothingIsLeftOpen) {
    (void)findings();
    EXPECT_FALSE(model_.leaks().any()) << model_.leaks().text();
}

struct Broken {
    const char* what;
    std::function<void(TestMachine&)> breaks;
    const char* check;
    Verdict verdict;
    const char* evidence;
    const char* fix;
};

const Broken kBroken[] = {
    {"a kernel without iommufd",
     [](TestMachine& machine) {
         machine.file("/boot/config-7.3.4", "# CONFIG_IOMMUFD is not set\nCONFIG_VFIO_PCI=m\n");
     },
     "kernel-options", Verdict::fail, "CONFIG_IOMMUFD is not set in /boot/config-7.3.4",
     "scripts/config -m IOMMUFD"},
    {"a kernel without iommufd and without a word of its options",
     [](TestMachine& machine) {
         machine.remove("/boot");
         machine.file("/proc/kallsyms", "0000000000000000 T vfio_cdev_init\n");
     },
     "kernel-options", Verdict::fail, "no function of CONFIG_IOMMUFD is in /proc/kallsyms",
     "boot a kernel that has it"},
    {"an old kernel",
     [](TestMachine& machine) {
         machine.remove("/boot");
         machine.file("/proc/sys/kernel/osrelease", "6.1.0-41-amd64\n");
         machine.file("/boot/config-6.1.0-41-amd64", "CONFIG_VFIO_PCI=m\n");
     },
     "kernel-options", Verdict::fail, "CONFIG_IOMMUFD is not set in /boot/config-6.1.0-41-amd64",
     "use Linux 6.6 or later"},
    {"a kernel without character devices of VFIO",
     [](TestMachine& machine) {
         machine.file("/boot/config-7.3.4",
                      "CONFIG_IOMMUFD=y\n# CONFIG_VFIO_DEVICE_CDEV is not set\nCONFIG_VFIO_PCI=m\n");
     },
     "kernel-options", Verdict::fail, "CONFIG_VFIO_DEVICE_CDEV is not set", "-e VFIO_DEVICE_CDEV"},
    {"a kernel without dma-bufs of BARs",
     [](TestMachine& machine) {
         machine.file("/boot/config-7.3.4",
                      "CONFIG_IOMMUFD=y\nCONFIG_VFIO_DEVICE_CDEV=y\nCONFIG_VFIO_PCI=m\n");
     },
     "kernel-options", Verdict::warn, "CONFIG_VFIO_PCI_DMABUF is not set", "Linux 6.19"},
    {"no IOMMU in the firmware", [](TestMachine& machine) { machine.remove("/sys/class/iommu"); }, "iommu",
     Verdict::fail, "there is no IOMMU", "turn it on in the firmware"},
    {"an IOMMU that the command line turns off",
     [](TestMachine& machine) {
         machine.remove("/sys/class/iommu");
         machine.file("/proc/cmdline", "quiet intel_iommu=off\n");
     },
     "iommu", Verdict::fail, "booted with intel_iommu=off", "take intel_iommu=off from"},
    {"an IOMMU that nobody turned on",
     [](TestMachine& machine) {
         machine.remove("/sys/class/iommu");
         machine.file("/sys/firmware/acpi/tables/DMAR", "");
     },
     "iommu", Verdict::fail, "the firmware describes an IOMMU (DMAR)", "add intel_iommu=on"},
    {"devices without an IOMMU",
     [](TestMachine& machine) {
         machine.remove("/sys/class/iommu");
         machine.file("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n");
     },
     "iommu", Verdict::fail, "without protection (enable_unsafe_noiommu_mode=Y)", "turn it on"},
    {"an IOMMU that translates for nobody",
     [](TestMachine& machine) { machine.remove("/sys/kernel/iommu_groups"); }, "iommu", Verdict::fail,
     "/sys/kernel/iommu_groups is empty", "intel_iommu=on"},
    {"interrupts that are not remapped",
     [](TestMachine& machine) {
         machine.file("/proc/interrupts", " 25:  0  PCI-MSIX-0000:00:12.0    0-edge\n");
         machine.file("/proc/cmdline", "intremap=off\n");
     },
     "interrupt-remapping", Verdict::fail, "booted with intremap=off", "echo Y > "},
    {"interrupts that are not remapped, on purpose",
     [](TestMachine& machine) {
         machine.file("/proc/interrupts", " 25:  0  PCI-MSIX-0000:00:12.0    0-edge\n");
         machine.file("/sys/module/iommufd/parameters/allow_unsafe_interrupts", "Y\n");
     },
     "interrupt-remapping", Verdict::warn, "allow_unsafe_interrupts=Y", "that you don't trust"},
    {"iommufd that isn't loaded",
     [](TestMachine& machine) {
         machine.remove("/sys/class/misc/iommu");
         machine.refused["/dev/iommu"] = ENOENT;
     },
     "iommu-node", Verdict::fail, "iommufd isn't loaded", "modprobe iommufd"},
    {"iommufd that the command line forbids",
     [](TestMachine& machine) {
         machine.remove("/sys/class/misc/iommu");
         machine.refused["/dev/iommu"] = ENOENT;
         machine.file("/proc/cmdline", "initcall_blacklist=iommufd_init\n");
     },
     "iommu-node", Verdict::fail, "booted with initcall_blacklist=iommufd_init", "take initcall_blacklist"},
    {"a container without the node", [](TestMachine& machine) { machine.refused["/dev/iommu"] = ENOENT; },
     "iommu-node", Verdict::fail, "misc device 10:257", "--device /dev/iommu"},
    {"a node that this user can't open", [](TestMachine& machine) { machine.refused["/dev/iommu"] = EACCES; },
     "iommu-node", Verdict::fail, "user 1000 can't open /dev/iommu: EACCES", "iommufd exec --user 1000"},
    {"a node that the cgroup forbids", [](TestMachine& machine) { machine.refused["/dev/iommu"] = EPERM; },
     "iommu-node", Verdict::fail, "a rule of the cgroup", "DeviceAllow=/dev/iommu rw"},
    {"VFIO that isn't loaded",
     [](TestMachine& machine) {
         machine.remove("/sys/bus/pci/drivers/vfio-pci");
         machine.remove(std::string(kFolder) + "/vfio-dev");
     },
     "vfio-driver", Verdict::fail, "vfio-pci is not loaded", "modprobe vfio-pci"},
    {"VFIO with groups only", [](TestMachine& machine) { machine.file("/proc/devices", "249 vfio\n"); },
     "vfio-cdev", Verdict::fail, "gives groups only", "CONFIG_VFIO_DEVICE_CDEV=y"},
    {"a device on its host driver",
     [](TestMachine& machine) {
         machine.device(kDevice, "e1000");
         machine.remove(std::string(kFolder) + "/vfio-dev");
     },
     "driver", Verdict::fail, "0000:02:00.0 is on its host driver e1000", "iommufd bind 0000:02:00.0"},
    {"a device without a driver",
     [](TestMachine& machine) {
         machine.remove(std::string(kFolder) + "/driver");
         machine.remove(std::string(kFolder) + "/vfio-dev");
     },
     "driver", Verdict::fail, "0000:02:00.0 has no driver", "iommufd bind 0000:02:00.0"},
    {"a bridge",
     [](TestMachine& machine) {
         machine.device(kDevice, "pcieport");
         machine.file(std::string(kFolder) + "/class", "0x060400\n");
         machine.remove(std::string(kFolder) + "/vfio-dev");
     },
     "driver", Verdict::fail, "is a bridge", "a device behind it"},
    {"a group that the kernel uses", [](TestMachine& machine) { machine.device("0000:02:00.1", "nvme"); },
     "iommu-group", Verdict::fail, "because of 0000:02:00.1 (nvme)", "iommufd bind 0000:02:00.1"},
    {"a device in no group",
     [](TestMachine& machine) { machine.remove(std::string(kFolder) + "/iommu_group"); }, "iommu-group",
     Verdict::fail, "no IOMMU is before it", "another slot"},
    {"a device that somebody has",
     [](TestMachine& machine) {
         machine.node("vfio/devices/vfio0", S_IFCHR, 248, 0,
                      "pci0000:00/0000:00:01.0/0000:02:00.0/vfio-dev/vfio0");
         machine.process(12, "qemu", "/dev/vfio/devices/vfio0");
     },
     "use", Verdict::fail, "qemu (process 12) has /dev/vfio/devices/vfio0 open", "end that process"},
    {"a device's node that this user can't open",
     [](TestMachine& machine) { machine.refused["/dev/vfio/devices/vfio0"] = EACCES; }, "device-node",
     Verdict::fail, "user 1000 can't open /dev/vfio/devices/vfio0: EACCES", "--device 0000:02:00.0"},
    {"a container without the device's node",
     [](TestMachine& machine) { machine.refused["/dev/vfio/devices/vfio0"] = ENOENT; }, "device-node",
     Verdict::fail, "ENOENT", "--device /dev/vfio/devices/vfio0"},
    {"a bridge that doesn't keep devices apart",
     [](TestMachine& machine) {
         machine.device("0000:02:00.1", "");
         machine.link("/sys/bus/pci/devices/0000:00:01.0", "../../../devices/pci0000:00/0000:00:01.0");
         machine.file("/sys/devices/pci0000:00/0000:00:01.0/config", std::string(4096, '\0'));
     },
     "acs", Verdict::warn, "0000:00:01.0 has no ACS", "iommufd bind --group"},
    {"a device that can't be reset",
     [](TestMachine& machine) { machine.remove(std::string(kFolder) + "/reset_method"); }, "reset",
     Verdict::warn, "has no reset method", "trust each other"},
    {"memory of the firmware's",
     [](TestMachine& machine) {
         machine.file("/sys/kernel/iommu_groups/3/reserved_regions",
                      "0x000000007c000000 0x000000007fffffff direct\n");
     },
     "reserved-ranges", Verdict::fail, "0x000000007c000000 to 0x000000007fffffff direct", "another device"},
    {"too little memory that may be locked",
     [](TestMachine& machine) { machine.memlock("8388608", "8388608"); }, "memlock", Verdict::fail,
     "RLIMIT_MEMLOCK is 8 MiB (hard 8 MiB)", "prlimit --pid $$ --memlock=1073741824"},
    {"a limit that a file sets",
     [](TestMachine& machine) {
         machine.memlock("67108864", "67108864");
         machine.file("/etc/security/limits.d/vm.conf", "# memlock\nvm - memlock 65536\n");
         machine.file("/etc/systemd/system.conf", "[Manager]\nDefaultLimitMEMLOCK=64M\n");
     },
     "memlock", Verdict::fail,
     "/etc/security/limits.d/vm.conf: vm - memlock 65536; /etc/systemd/system.conf: DefaultLimitMEMLOCK=64M",
     "/etc/security/limits.d/iommufd.conf"},
    {"a limit that the program may raise itself",
     [](TestMachine& machine) { machine.memlock("8388608", "unlimited"); }, "memlock", Verdict::fail,
     "RLIMIT_MEMLOCK is 8 MiB (hard unlimited)", "ulimit -l 1048576"},
    {"a limit of a service",
     [](TestMachine& machine) {
         machine.memlock("8388608", "8388608");
         machine.file("/proc/self/cgroup", "0::/system.slice/vm.service\n");
     },
     "memlock", Verdict::fail, "RLIMIT_MEMLOCK is 8 MiB",
     "LimitMEMLOCK=1073741824 in `systemctl edit vm.service`"},
    {"another program of this user",
     [](TestMachine& machine) {
         machine.nodes["/dev/iommu"] = {
             .mode = S_IFCHR, .device = makedev(10, 257), .container = 0, .inode = 0, .size = 0};
         machine.process(12, "qemu", "/dev/iommu");
     },
     "accounting", Verdict::warn, "qemu (process 12) has /dev/iommu open", "iommufd exec"},
    {"no huge pages",
     [](TestMachine& machine) {
         machine.file("/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
         machine.file("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "0\n");
     },
     "huge-pages", Verdict::warn, "always madvise [never]", "echo madvise > "},
};

class BrokenMachineTest : public DoctorTest, public ::testing::WithParamInterface<Broken> {};

TEST_P(BrokenMachineTest, NamesTheCauseAndTheWayOut) {
    const Broken& broken = GetParam();
    SCOPED_TRACE(broken.what);
    broken.breaks(kernel_);
    const Findings all = findings();
    const Finding* const its = found(all, broken.check, broken.verdict);
    ASSERT_NE(its, nullptr) << listed(all);
    EXPECT_THAT(its->evidence, HasSubstr(broken.evidence));
    EXPECT_THAT(its->fix, HasSubstr(broken.fix));
    EXPECT_EQ(ready(all), broken.verdict != Verdict::fail) << listed(all);
    EXPECT_FALSE(model_.leaks().any()) << model_.leaks().text();
}

INSTANTIATE_TEST_SUITE_P(Doctor, BrokenMachineTest, ::testing::ValuesIn(kBroken));

// What the model kernel itself plays.
class BrokenModelTest : public ::testing::Test {
protected:
    static Findings findings(const model::Description& description) {
        model::Machine model(description);
        TestMachine kernel(model);
        const auto machine = look_at(kernel, kDevice, std::uint64_t{1} << 30).value();
        return examine(machine);
    }
    static const Finding& only(const Findings& findings, std::string_view check) {
        const auto its = std::ranges::find(findings, check, &Finding::check);
        return its == findings.end() ? throw std::out_of_range(listed(findings)) : *its;
    }
    static model::Description with(std::string_view text) { return model::parse(text).value(); }
};

TEST_F(BrokenModelTest, WhatTheIommuCanDoIsAskedOfTheKernel) {
    const Findings without = findings(with("devices=edu"));
    EXPECT_EQ(only(without, "iommu-capabilities").verdict, Verdict::warn);
    EXPECT_THAT(only(without, "iommu-capabilities").evidence, HasSubstr("dirty tracking: no"));
    EXPECT_EQ(only(findings(with("devices=edu,dirty-tracking=on")), "iommu-capabilities").verdict,
              Verdict::pass);
    EXPECT_THAT(only(without, "iommu-capabilities").evidence, HasSubstr("nested translation: no"));
    EXPECT_THAT(only(findings(with("devices=edu,iommu=smmuv3")), "iommu-capabilities").evidence,
                HasSubstr("nested translation: no"));
    EXPECT_THAT(only(findings(with("devices=edu,nesting=on")), "iommu-capabilities").evidence,
                HasSubstr("nested translation: yes"));
}

TEST_F(BrokenModelTest, TheApertureIsWhatTheKernelGives) {
    auto description = with("devices=edu");
    description.iova_ranges = {{0x1000, 0xffffffff}};
    EXPECT_THAT(only(findings(description), "aperture").evidence, HasSubstr("0x1000 to 0xffffffff"));
}

TEST_F(BrokenModelTest, ADeviceThatCannotBeBoundIsAFailureWithItsCause) {
    const Findings all = findings(with("devices=edu,iommu=virtio"));
    EXPECT_EQ(only(all, "bind").verdict, Verdict::fail) << listed(all);
    EXPECT_THAT(only(all, "bind").evidence, HasSubstr("EPERM"));
    EXPECT_FALSE(ready(all));
}

TEST_F(BrokenModelTest, TablesWithoutAPageOfTheProcessorsAreAFailure) {
    auto description = with("devices=edu");
    description.page_sizes = 1ULL << 21;
    EXPECT_EQ(only(findings(description), "aperture").verdict, Verdict::fail);
}

TEST_F(BrokenModelTest, AnOlderKernelLacksIoctlsThatAreNamed) {
    const Findings all = findings(with("devices=edu,kernel=6.12"));
    EXPECT_EQ(only(all, "iommufd-ioctls").verdict, Verdict::warn);
    EXPECT_THAT(only(all, "iommufd-ioctls").evidence, HasSubstr("IOAS_MAP_FILE (Linux 6.13)"));
    EXPECT_TRUE(ready(all)) << listed(all);
}

TEST_F(BrokenModelTest, WithoutADeviceTheMachineAloneIsLookedAt) {
    model::Machine model(with("devices=edu"));
    TestMachine kernel(model);
    const auto machine = look_at(kernel, "", std::uint64_t{1} << 30).value();
    for (const Finding& finding : examine(machine)) EXPECT_NE(finding.check, "driver");
    EXPECT_TRUE(ready(examine(machine)));
}

TEST_F(BrokenModelTest, WhatIsNoDeviceOfPciIsRefused) {
    model::Machine model(with("devices=edu"));
    TestMachine kernel(model);
    EXPECT_EQ(look_at(kernel, "0000:09:00.0", 0).error().code(), ENOENT);
    EXPECT_EQ(look_at(kernel, "edu", 0).error().code(), EINVAL);
}

}  // namespace
}  // namespace iommufd::cli::doctor
