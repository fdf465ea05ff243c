// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// DESTROY while a map is in flight: what the map uses is busy, and a domain is taken away after it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <atomic>
#include <thread>

#include "model/testing.hpp"
#include "uapi/iommufd_test.hpp"

namespace iommufd::model::testing {
namespace {

namespace mock = uapi::mock;

// A page whose first touch waits until the test lets it go on.
class HeldPage {
public:
    HeldPage() : memory_(kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE) {
        fd_ = static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK));
        uffdio_api api{.api = UFFD_API, .features = 0, .ioctls = 0};
        uffdio_register range{.range = {.start = memory_.address(), .len = kPage},
                              .mode = UFFDIO_REGISTER_MODE_MISSING,
                              .ioctls = 0};
        works_ =
            fd_ >= 0 && ::ioctl(fd_, UFFDIO_API, &api) == 0 && ::ioctl(fd_, UFFDIO_REGISTER, &range) == 0;
    }
    ~HeldPage() {
        if (fd_ >= 0) (void)::close(fd_);
    }
    HeldPage(const HeldPage&) = delete;
    HeldPage& operator=(const HeldPage&) = delete;

    bool works() const { return works_; }
    std::uint64_t address() const { return memory_.address(); }
    void await_touch() const {
        pollfd polled{.fd = fd_, .events = POLLIN, .revents = 0};
        (void)::poll(&polled, 1, -1);
    }
    void let_go() const {
        uffdio_zeropage zero{.range = {.start = memory_.address(), .len = kPage}, .mode = 0, .zeropage = 0};
        (void)::ioctl(fd_, UFFDIO_ZEROPAGE, &zero);
    }

private:
    Memory memory_;
    int fd_ = -1;
    bool works_ = false;
};

class ModelDestroy : public ::testing::Test {
protected:
    static Description description() {
        Description description;
        description.devices = {};
        description.mock = true;
        return description;
    }

    void SetUp() override {
        if (!page.works()) GTEST_SKIP() << "userfaultfd is not allowed here";
        ioas = bench.ioas();
        mock::TestCmd made{};
        made.op = mock::kMockDomain;
        made.id = ioas;
        ASSERT_EQ(bench.call(mock::kTest, made), 0);
        stdev = made.mock_domain.out_stdev_id;
        automatic = made.mock_domain.out_hwpt_id;
        manual = static_cast<std::uint32_t>(bench.hwpt(made.mock_domain.out_idev_id, ioas));
        mapper = std::thread([this] { mapped = bench.map(ioas, page.address(), kPage, 0x1000000); });
        page.await_touch();
    }
    void TearDown() override {
        if (mapper.joinable()) mapper.join();
    }

    // Whether anybody finds the id.
    bool found(std::uint32_t hwpt) {
        uapi::HwptSetDirtyTracking command{.hwpt_id = hwpt};
        return bench.call(uapi::kHwptSetDirtyTracking, command) != -ENOENT;
    }
    // Destroys in a thread, sees that it waits for the map, and lets that go on.
    void expect_that_it_waits(std::uint32_t id, std::uint32_t hwpt) {
        std::atomic<int> rc = 1;
        std::thread destroyer([&] { rc = bench.destroy(id); });
        if (id == hwpt) {
            while (found(hwpt)) std::this_thread::yield();
        } else {
            while (bench.destroy(hwpt) != -EBUSY) std::this_thread::yield();
        }
        EXPECT_EQ(bench.destroy(ioas), -EBUSY);
        EXPECT_EQ(rc, 1);
        page.let_go();
        destroyer.join();
        mapper.join();
        EXPECT_EQ(rc, 0);
        EXPECT_EQ(mapped, 0);
        EXPECT_FALSE(found(hwpt));
    }

    HeldPage page;
    Bench bench{description()};
    std::uint32_t ioas = 0, stdev = 0, automatic = 0, manual = 0;
    std::atomic<int> mapped = 1;
    std::thread mapper;
};

TEST_F(ModelDestroy, OfTheIoasIsBusyWhileAMapIsInFlight) {
    EXPECT_EQ(bench.destroy(ioas), -EBUSY);
    page.let_go();
    mapper.join();
    EXPECT_EQ(mapped, 0);
}

TEST_F(ModelDestroy, OfAHwptWaitsForTheMapAndIsFoundByNobodyMeanwhile) {
    expect_that_it_waits(manual, manual);
}

TEST_F(ModelDestroy, OfADeviceWaitsForTheMapBeforeItsDomainGoes) { expect_that_it_waits(stdev, automatic); }

TEST_F(ModelDestroy, AnUnmapOfWhatIsInFlightIsBusy) {
    EXPECT_EQ(bench.unmap(ioas, 0x1000000, kPage), -EBUSY);
    page.let_go();
    mapper.join();
    EXPECT_EQ(bench.unmap(ioas, 0x1000000, kPage), static_cast<std::int64_t>(kPage));
}

}  // namespace
}  // namespace iommufd::model::testing
