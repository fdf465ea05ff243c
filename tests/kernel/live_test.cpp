// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Hand-over of a running instance on the real kernel: NVMe reads are under way, both processes are nobody's, without a
// capability. The successor is a program of its own (live_successor.cpp).
#include <dirent.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <optional>

#include "iommufd/host/process.hpp"
#include "iommufd/live/channel.hpp"
#include "iommufd/vfio/features.hpp"
#include "kernel/live.hpp"
#include "kernel/vfio_fixture.hpp"

namespace iommufd::inline v0_1::kernel_tests {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;

constexpr uid_t kNobody = 65534;
constexpr Locked kNothing{};
constexpr Locked kAll{.pinned = kRamSize + kRomSize, .locked = kRamSize + kRomSize};

// Opened while we may: iommufds that account per process. One for each test.
std::vector<int> iommufds;

int take_iommufd() {
    const int taken = iommufds.back();
    iommufds.pop_back();
    return taken;
}

class Privileges final : public ::testing::Environment {
public:
    void SetUp() override {
        for (int i = 0; i < 16; ++i) {
            const auto context = core::Context::open({.label = "spare", .report = {}}).value();
            ASSERT_TRUE(context.set_rlimit_mode(core::RlimitMode::per_process));
            iommufds.push_back(::fcntl(context.fd(), F_DUPFD_CLOEXEC, 3));
        }
        ASSERT_EQ(::chmod("/dev/iommu", 0666), 0);
        for (const auto& node : std::filesystem::directory_iterator("/dev/vfio/devices"))
            ASSERT_EQ(::chmod(node.path().c_str(), 0666), 0);
        const rlimit limit{.rlim_cur = 64_MiB, .rlim_max = 64_MiB};
        ASSERT_EQ(::setrlimit(RLIMIT_MEMLOCK, &limit), 0);
        ASSERT_EQ(::setgroups(0, nullptr), 0);
        ASSERT_EQ(::setgid(kNobody), 0);
        ASSERT_EQ(::setuid(kNobody), 0);
        ASSERT_FALSE(host::process(sys::host_kernel()).value().cap_ipc_lock);
        // Lost with the privileges; who looks for others that have a descriptor must be let look.
        ASSERT_EQ(::prctl(PR_SET_DUMPABLE, 1), 0);
        // A successor whose parent ends becomes ours.
        ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    }
};
const auto* const privileges = ::testing::AddGlobalTestEnvironment(new Privileges);

// The other process, and our end of the socket.
class Successor {
public:
    explicit Successor(const char* task) {
        int ends[2];
        if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) std::abort();
        socket_ = ends[0];
        const std::string program =
            std::filesystem::read_symlink("/proc/self/exe").parent_path() / "live_successor";
        int executed[2];
        if (::pipe2(executed, O_CLOEXEC) != 0) std::abort();
        pid_ = ::fork();
        if (pid_ == 0) {
            ::fcntl(ends[1], F_SETFD, 0);
            ::execl(program.c_str(), program.c_str(), std::to_string(ends[1]).c_str(), task, nullptr);
            ::_exit(3);
        }
        ::close(ends[1]);
        // Until it is another program it has all of our descriptors, which check() would find.
        ::close(executed[1]);
        char byte = 0;
        (void)!::read(executed[0], &byte, 1);
        ::close(executed[0]);
    }
    ~Successor() {
        close_socket();
        if (pid_ > 0) (void)exit_status();
    }
    Successor(const Successor&) = delete;
    Successor& operator=(const Successor&) = delete;

    int socket() const { return socket_; }
    std::string process() const { return std::to_string(pid_); }
    Locked locked() const { return locked_by(process()); }
    void close_socket() {
        if (socket_ >= 0) ::close(std::exchange(socket_, -1));
    }
    void end() const { ::kill(pid_, SIGKILL); }
    int exit_status() {
        int status = -1;
        ::waitpid(std::exchange(pid_, -1), &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }

private:
    int socket_ = -1;
    pid_t pid_ = -1;
};

// An NVMe controller at work.
struct Old {
    explicit Old(const char* where, int iommufd = take_iommufd()) {
        backend =
            Backend::open(
                {.id = "iommufd0", .fd = AdoptFd{iommufd}, .report = {}, .kernel = &Recorder::instance()})
                .value();
        device = vfio::Cdev::open(where, {.kernel = &Recorder::instance(), .name = {}})
                     .value()
                     .bind(*backend)
                     .value();
        space = dma::Space::on(*backend, {.id = "dma0"}).value();
        joined = space->attach(*device).value();
        memory = dma::Memory::memfd(kRamSize, {.label = "ram", .host_nodes = {}}).value();
        mapped.push_back(space->map(*memory, {.iova = kRam}).value());
        const auto more = dma::Memory::memfd(kRomSize, {.label = "rom", .host_nodes = {}}).value();
        mapped.push_back(space->map(more, {.iova = kRam + 64_MiB, .access = Access::read}).value());
        disk = drivers::Nvme::start(*device, window_in(memory->data()), kEntries).value();
    }

    // Until all reads of a full queue are under way.
    void begin_reads(std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
            const auto block = block_of_disk(i);
            std::memcpy(memory->data() + kData, block.data(), block.size());
            disk->write(i * kBlock, kRam + kData, kBlock).value();
        }
        std::memset(memory->data() + kData, 0, count * kBlock);
        for (std::size_t i = 0; i < count; ++i)
            reads.push_back(disk->begin_read(i * kBlock, kRam + kData + i * kBlock, kBlock).value());
    }

    live::Instance instance() const {
        const auto ids = std::as_bytes(std::span(reads));
        return {*backend,
                {&*space},
                {&*device},
                {{.name = "nvme", .bytes = disk->state().value(), .fds = disk->eventfds()},
                 {.name = "reads", .bytes = {ids.begin(), ids.end()}, .fds = {}}}};
    }

    // After the hand-over: nothing of it is undone.
    void let_go() {
        disk->leave();
        disk.reset();
        mapped.clear();
        joined.reset();
        space.reset();
        device.reset();
        EXPECT_EQ(backend->notices(), 0U);
        backend.reset();
    }

    void finish_reads() {
        while (disk->under_way() > 0) {
            const std::uint16_t id = disk->finish_read().value();
            const auto index = static_cast<std::size_t>(std::ranges::find(reads, id) - reads.begin());
            ASSERT_LT(index, reads.size());
            EXPECT_TRUE(holds_block(memory->data() + kData + index * kBlock, index));
        }
    }

    std::optional<Backend> backend;
    std::optional<vfio::Device> device;
    std::optional<dma::Space> space;
    std::optional<dma::Attachment> joined;
    std::optional<dma::Memory> memory;
    std::vector<dma::Mapping> mapped;
    std::unique_ptr<drivers::Nvme> disk;
    std::vector<std::uint16_t> reads;
};

class LiveKernelTest : public ::testing::Test {
protected:
    void TearDown() override { EXPECT_EQ(locked_by("self"), kNothing); }

    // The old process goes on: with its reads, its accounting, and changes of all kinds.
    static void goes_on(Old& old, Locked before = kAll) {
        EXPECT_EQ(locked_by("self"), before);
        old.finish_reads();
        EXPECT_TRUE(old.disk->read(0, kRam + kData, kBlock));
        EXPECT_TRUE(holds_block(old.memory->data() + kData, 0));
        EXPECT_TRUE(std::move(old.mapped[1]).unmap());
        if (before == kAll) EXPECT_EQ(locked_by("self").pinned, kRamSize);
        const auto more = old.space->map(*old.memory, {.iova = kRam + 128_MiB});
        EXPECT_TRUE(more);
        EXPECT_GE(locked_by("self").pinned, kRamSize);  // what is mapped now counts here
        EXPECT_EQ(old.backend->notices(), 0U);
    }
};

TEST_F(LiveKernelTest, SixtyFourReadsAndMoreAreUnderWayAcrossTheHandOverAndAllComeRight) {
    if (!is_there(kSlowNvme)) GTEST_SKIP() << "needs a slow NVMe device: see tests/CMakeLists.txt";
    Successor successor("finish");
    Old old(kSlowNvme);
    EXPECT_EQ(locked_by("self"), kAll);
    old.begin_reads(kEntries - 1);

    auto handover = live::save(old.instance());
    ASSERT_TRUE(handover) << handover.error().text();
    EXPECT_EQ(locked_by("self"), kAll);
    EXPECT_EQ(successor.locked(), kNothing);

    ASSERT_TRUE(live::send(successor.socket(), handover->package(), {}));
    const auto ready = live::receive_answer(successor.socket(), {});
    ASSERT_TRUE(ready) << ready.error().text();
    EXPECT_EQ(locked_by("self"), kNothing);
    EXPECT_EQ(successor.locked(), kAll);

    ASSERT_TRUE(live::say(successor.socket(), live::Word::yours));
    std::move(*handover).commit();
    old.let_go();
    EXPECT_EQ(locked_by("self"), kNothing);
    EXPECT_EQ(successor.exit_status(), 0);
}

TEST_F(LiveKernelTest, OneCallOnEachSideIsEnough) {
    Successor successor("finish");
    Old old(kNvme);
    old.begin_reads(20);
    const auto given = live::hand_over(old.instance(), successor.socket(), {});
    ASSERT_TRUE(given) << given.error().text();
    const auto refused = old.space->map(*old.memory, {.iova = kRam + 128_MiB});
    EXPECT_EQ(refused.error().code(), ESHUTDOWN);
    old.let_go();
    EXPECT_EQ(successor.exit_status(), 0);
}

TEST_F(LiveKernelTest, ASuccessorThatEndsBeforeItTookThePagesLeavesTheOldProcessAsItWas) {
    Successor successor("die_received");
    Old old(kNvme);
    old.begin_reads(20);
    const auto given = live::hand_over(old.instance(), successor.socket(), {});
    EXPECT_THAT(given.error().code(), AnyOf(EPIPE, ECONNRESET));
    EXPECT_EQ(successor.exit_status(), 0);
    goes_on(old);
}

TEST_F(LiveKernelTest, ASuccessorThatIsReadyAndIsToldNoGivesThePagesBack) {
    Successor successor("declined");
    Old old(kNvme);
    old.begin_reads(20);
    auto handover = live::save(old.instance()).value();
    ASSERT_TRUE(live::send(successor.socket(), handover.package(), {}));
    ASSERT_TRUE(live::receive_answer(successor.socket(), {}));
    EXPECT_EQ(locked_by("self"), kNothing);
    EXPECT_EQ(successor.locked(), kAll);
    ASSERT_TRUE(live::say(successor.socket(), live::Word::not_yours));
    const auto is = live::receive_let_go(successor.socket(), {});
    EXPECT_EQ(is, live::Successor::alive);
    EXPECT_EQ(successor.locked(), kAll);  // until they are taken back
    EXPECT_TRUE(std::move(handover).abort(is));
    EXPECT_EQ(successor.locked(), kNothing);
    ASSERT_TRUE(live::say(successor.socket(), live::Word::not_yours));
    EXPECT_EQ(successor.exit_status(), 0);
    goes_on(old);
}

// Linux can't take pages from a process that has ended: CHANGE_PROCESS says EINVAL, and charges the caller for good. So it
// isn't asked, and they count for nobody.
TEST_F(LiveKernelTest, ASuccessorThatEndsAfterItTookThePagesTakesTheirAccountingWithItAndNothingElse) {
    for (const char* const step : {"die_restored", "die_answered"}) {
        SCOPED_TRACE(step);
        Successor successor(step);
        Old old(kNvme);
        old.begin_reads(20);
        auto handover = live::save(old.instance()).value();
        ASSERT_TRUE(live::send(successor.socket(), handover.package(), {}));
        EXPECT_EQ(static_cast<bool>(live::receive_answer(successor.socket(), {})),
                  std::string_view(step) == "die_answered");
        EXPECT_EQ(successor.exit_status(), 0);
        EXPECT_FALSE(live::say(successor.socket(), live::Word::yours));
        EXPECT_EQ(locked_by("self"), kNothing);
        EXPECT_EQ(std::move(handover).abort(live::Successor::gone).error().code(), ESRCH);
        const auto reasons = live::check(old.instance()).value();
        ASSERT_EQ(reasons.size(), 1U);
        EXPECT_THAT(reasons[0].line(), HasSubstr("an earlier successor, which has ended"));
        goes_on(old, kNothing);
    }
}

TEST_F(LiveKernelTest, ASuccessorThatDoesNotAnswerIsGivenUp) {
    Successor successor("stall");
    Old old(kNvme);
    old.begin_reads(20);
    const auto given = live::hand_over(old.instance(), successor.socket(), {.patience = 200ms});
    EXPECT_EQ(given.error().code(), ETIMEDOUT);
    successor.end();
    EXPECT_EQ(successor.exit_status(), -1);
    goes_on(old);
}

TEST_F(LiveKernelTest, ASuccessorWithALowerLimitRefusesAndSaysWhy) {
    Successor successor("limited");
    Old old(kNvme);
    old.begin_reads(20);
    const auto given = live::hand_over(old.instance(), successor.socket(), {});
    EXPECT_EQ(given.error().code(), ECANCELED);
    EXPECT_THAT(given.error().line(), HasSubstr("RLIMIT_MEMLOCK of the new process"));
    EXPECT_EQ(successor.exit_status(), 0);
    goes_on(old);
}

TEST_F(LiveKernelTest, AnOldProcessThatEndsWithoutAWordHasHandedOver) {
    Successor successor("finish");
    int closed[2];
    ASSERT_EQ(::pipe2(closed, O_CLOEXEC), 0);
    const pid_t old_process = ::fork();
    if (old_process == 0) {
        char byte = 0;
        (void)!::read(closed[0], &byte, 1);  // then nobody else has it
        Old old(kNvme);
        old.begin_reads(20);
        auto handover = live::save(old.instance()).value();
        const bool ready = live::send(successor.socket(), handover.package(), {}) &&
                           live::receive_answer(successor.socket(), {});
        ::_exit(ready ? 0 : 1);
    }
    ::close(take_iommufd());  // which is the child's
    ASSERT_EQ(::write(closed[1], "", 1), 1);
    int status = -1;
    ASSERT_EQ(::waitpid(old_process, &status, 0), old_process);
    EXPECT_EQ(status, 0);
    successor.close_socket();
    EXPECT_EQ(successor.exit_status(), 0);
    for (const int end : closed) ::close(end);
}

// The kernel charges the new process before it uncharges the old one.
TEST_F(LiveKernelTest, AccountedPerUserTheLimitMustHoldThePagesTwice) {
    const auto limit_to = [](std::uint64_t bytes) {
        const rlimit limit{.rlim_cur = bytes, .rlim_max = 64_MiB};
        ASSERT_EQ(::setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    };
    for (const bool twice : {false, true}) {
        limit_to(twice ? 2 * kAll.pinned : 2 * kAll.pinned - 4_KiB);
        Old old(kNvme, ::open("/dev/iommu", O_RDWR | O_CLOEXEC));
        EXPECT_EQ(old.backend->accounting().value(), Accounting::per_user);
        Successor successor(twice ? "die_answered" : "finish");
        auto handover = live::save(old.instance()).value();
        ASSERT_TRUE(live::send(successor.socket(), handover.package(), {}));
        const auto ready = live::receive_answer(successor.socket(), {});
        EXPECT_EQ(static_cast<bool>(ready), twice);
        if (!twice) EXPECT_THAT(ready.error().line(), HasSubstr("ENOMEM"));
        successor.close_socket();
        EXPECT_EQ(successor.exit_status(), twice ? 0 : 1);
        limit_to(64_MiB);
        // Of a dead process too, when they are accounted to the user.
        EXPECT_TRUE(std::move(handover).abort(live::Successor::gone));
        EXPECT_EQ(locked_by("self"), (Locked{.pinned = kAll.pinned, .locked = 0}));
    }
}

TEST_F(LiveKernelTest, WhatOthersMappedByAddressThroughACopyOfTheDescriptorIsFoundByTheKernel) {
    Old old(kNvme);
    const auto copy =
        core::Context::from(DupFd{old.backend->context()->fd()}, {.label = "copy", .report = {}}).value();
    std::vector<std::byte> bytes(8_KiB);
    const auto page = (reinterpret_cast<std::uintptr_t>(bytes.data()) + 4095) & ~std::uintptr_t{4095};
    {
        const auto ioas = core::Ioas::alloc(copy, {}).value();
        ASSERT_TRUE(ioas.map(reinterpret_cast<void*>(page), 4_KiB, Access::read));
        const auto reasons = live::check(old.instance()).value();
        ASSERT_EQ(reasons.size(), 1U);
        EXPECT_THAT(reasons[0].line(), AllOf(HasSubstr("EINVAL"), HasSubstr("not of a file")));
    }
    EXPECT_TRUE(live::check(old.instance()).value().empty());
}

TEST_F(LiveKernelTest, AnotherProcessThatHasTheDescriptorIsNamed) {
    Old old(kNvme);
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const pid_t other = ::fork();
    if (other == 0) {
        char byte = 0;
        ::close(ends[1]);
        (void)!::read(ends[0], &byte, 1);
        ::_exit(0);
    }
    const auto reasons = live::check(old.instance()).value();
    ::close(ends[1]);
    ASSERT_EQ(::waitpid(other, nullptr, 0), other);
    ASSERT_EQ(reasons.size(), 1U);
    EXPECT_THAT(reasons[0].line(), HasSubstr("process " + std::to_string(other) + " (live_kernel_tes)"));
    EXPECT_TRUE(live::check(old.instance()).value().empty());
    ::close(ends[0]);
}

TEST_F(LiveKernelTest, MediatedDevicesAndDmaBufsAndAnonymousMemoryAreNamedWithTheirReasons) {
    Old old(kNvme);
    const auto anonymous = dma::Memory::anonymous(64_KiB, {.label = "heap", .host_nodes = {}}).value();
    const auto heap = old.space->map(anonymous, {.iova = kRam + 128_MiB}).value();
    std::optional<vfio::Device> mdev;
    if (exists(kMtty))
        mdev = vfio::Cdev::open(kMtty, {.kernel = &Recorder::instance(), .name = {}})
                   .value()
                   .bind(*old.backend)
                   .value();
    const vfio::Device edu = vfio::Cdev::open(kEdu, {.kernel = &Recorder::instance(), .name = {}})
                                 .value()
                                 .bind(*old.backend)
                                 .value();
    ASSERT_TRUE(edu.enable());
    std::optional<dma::Mapping> peer;
    if (vfio::has_feature(edu, vfio::Feature::dma_buf, vfio::FeatureUse::get)) {
        const int buffer = vfio::export_dma_buf(edu, 0, 0, 4096).value();
        const auto bar = dma::Memory::dma_buf(buffer, 4096, {.label = "bar", .host_nodes = {}}).value();
        ::close(buffer);
        peer = old.space->map(bar, {.iova = kRam + 256_MiB, .access = Access::read}).value();
    }
    auto instance = old.instance();
    instance.devices.push_back(&edu);
    if (mdev) instance.devices.push_back(&*mdev);
    std::string all;
    const auto reasons = live::check(instance).value();
    for (const Error& reason : reasons) all += reason.line() + "\n";
    EXPECT_THAT(all, HasSubstr("('heap') can't go over: it is memory of this process alone"));
    if (peer) EXPECT_THAT(all, HasSubstr("('bar') can't go over: it is a dma-buf"));
    if (mdev) EXPECT_THAT(all, HasSubstr("is a mediated device"));
    EXPECT_EQ(live::save(instance).error().code(), EOPNOTSUPP);
}

}  // namespace
}  // namespace iommufd::inline v0_1::kernel_tests
