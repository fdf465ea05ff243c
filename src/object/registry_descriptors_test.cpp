// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// fd= and vhostfd=: what this process was given becomes an object's own, once.
#include <sys/socket.h>

#include "error/compose.hpp"
#include "object/testing.hpp"

namespace iommufd::object {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class DescriptorsTest : public RegistryTest {
protected:
    Definition iommufd(std::string id, int fd) {
        return {.type = "iommufd", .id = std::move(id), .properties = {{"fd", compose(fd)}}};
    }
    std::string refusal_of(std::vector<Definition> definitions) {
        auto created = registry_.create(definitions);
        return created ? "nothing was refused" : created.error().line();
    }
};

TEST_F(DescriptorsTest, AllThreeKindsAreAdoptedSetCloseOnExecAndClosedWithTheirObjects) {
    const int iommu = open("/dev/iommu");
    const int cdev = open("/dev/vfio/devices/vfio0");
    const int vhost = open("/dev/vhost-vdpa-0");
    for (const int fd : {iommu, cdev, vhost}) ASSERT_EQ(::fcntl(fd, F_SETFD, 0), 0);
    registry_
        .create(std::vector<Definition>{
            iommufd("iommufd0", iommu),
            {.type = "dma-space", .id = "dma0", .properties = {{"iommufd", "iommufd0"}}},
            {.type = "vfio-pci",
             .id = "edu0",
             .properties = {{"fd", compose(cdev)}, {"iommufd", "iommufd0"}, {"space", "dma0"}}},
            {.type = "vhost-vdpa",
             .id = "blk0",
             .properties = {{"vhostfd", compose(vhost)}, {"space", "dma0"}}}})
        .value();
    EXPECT_EQ(registry_.get<Backend>("iommufd0").value()->context()->fd(), iommu);
    EXPECT_EQ(registry_.get<vfio::Device>("edu0").value()->fd(), cdev);
    EXPECT_EQ(registry_.get<vdpa::Device>("blk0").value()->fd(), vhost);
    for (const int fd : {iommu, cdev, vhost}) EXPECT_EQ(::fcntl(fd, F_GETFD), FD_CLOEXEC);
    registry_.remove("edu0").value();
    EXPECT_FALSE(is_open(cdev));
    EXPECT_TRUE(is_open(iommu));  // kept until its object is deleted
    registry_.clear();
    for (const int fd : {iommu, vhost}) EXPECT_FALSE(is_open(fd));
    EXPECT_TRUE(nothing_is_left());
}

TEST_F(DescriptorsTest, ANumberThatTwoObjectsWouldGetIsRefusedBeforeAnythingIsCreated) {
    const int fd = open("/dev/iommu");
    EXPECT_EQ(
        refusal_of({iommufd("a", fd), iommufd("b", fd)}),
        compose(
            "cannot create iommufd 'b': EEXIST (fd=", fd,
            " is given to iommufd 'a' already); open the node once for each object, or let both refer to one "
            "object"));
    EXPECT_TRUE(is_open(fd));
    EXPECT_THAT(ids(), IsEmpty());
    registry_.create(iommufd("a", fd)).value();
    EXPECT_THAT(refusal_of({iommufd("b", fd)}), HasSubstr("is given to iommufd 'a' already"));
    EXPECT_TRUE(is_open(fd));
}

TEST_F(DescriptorsTest, AnotherNumberForAContextThatAnObjectHasIsRefused) {
    const int fd = open("/dev/iommu");
    const int same = machine_.kernel().dup(fd);
    EXPECT_THAT(refusal_of({iommufd("a", fd), iommufd("b", same)}),
                HasSubstr(compose("fd=", same, " is the same open file as descriptor ", fd,
                                  ", and that is given to iommufd 'a' already")));
    registry_.create(iommufd("a", fd)).value();
    EXPECT_THAT(refusal_of({iommufd("b", same)}), HasSubstr("is the same open file as descriptor"));
    EXPECT_TRUE(is_open(same));
    registry_.create(iommufd("b", open("/dev/iommu"))).value();
    EXPECT_EQ(machine_.kernel().close(same), 0);
}

TEST_F(DescriptorsTest, ADescriptorThatTheLibraryOpenedItselfIsNotGivenToAnotherObject) {
    create({kIommufd, kSpace, kEdu}).value();
    const int own = registry_.get<Backend>("iommufd0").value()->context()->fd();
    EXPECT_THAT(refusal_of({iommufd("b", own)}), HasSubstr("is given to iommufd 'iommufd0' already"));
    const int cdev = registry_.get<vfio::Device>("edu0").value()->fd();
    EXPECT_THAT(refusal_of({iommufd("b", cdev)}), HasSubstr("is given to vfio-pci 'edu0' already"));
    EXPECT_TRUE(is_open(own));
}

TEST_F(DescriptorsTest, WhatIsNoDeviceNodeIsRefusedAndStaysOpen) {
    const int closed = ::dup(0);
    ASSERT_EQ(::close(closed), 0);
    EXPECT_EQ(
        refusal_of({iommufd("a", closed)}),
        compose(
            "cannot create iommufd 'a': EBADF (fd=", closed,
            " is not open in this process); pass a descriptor of /dev/iommu that somebody opened; without it "
            "the node is opened for the first user"));
    int sockets[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    const int folder = ::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    EXPECT_THAT(refusal_of({iommufd("a", folder)}), HasSubstr(compose("fd=", folder, " is a directory")));
    EXPECT_THAT(refusal_of({iommufd("a", sockets[0])}), HasSubstr("is a socket"));
    for (const int fd : {folder, sockets[0], sockets[1]}) {
        EXPECT_TRUE(is_open(fd));
        (void)::close(fd);
    }
}

TEST_F(DescriptorsTest, ADeviceNodeOfAnotherKindIsRefusedByName) {
    const auto null = [] { return ::open("/dev/null", O_RDWR | O_CLOEXEC); };
    EXPECT_THAT(refusal_of({iommufd("a", null())}), HasSubstr("is not an iommufd"));
    EXPECT_THAT(refusal_of({iommufd("a", open("/dev/vfio/devices/vfio0"))}), HasSubstr("is not an iommufd"));
    EXPECT_THAT(refusal_of({{.type = "vhost-vdpa", .id = "b", .properties = {{"vhostfd", compose(null())}}}}),
                HasSubstr("it is not a vhost-vdpa device"));
    EXPECT_THAT(
        refusal_of(
            {{.type = "iommufd", .id = "a"},
             {.type = "vfio-pci", .id = "b", .properties = {{"fd", compose(null())}, {"iommufd", "a"}}}}),
        HasSubstr("cannot create vfio-pci 'b': "));
    EXPECT_THAT(ids(), IsEmpty());
    EXPECT_TRUE(nothing_is_left());
}

TEST_F(DescriptorsTest, OnceCreationHasBegunAFailureClosesEveryDescriptorOfTheCall) {
    const int first = open("/dev/iommu");
    const int wrong = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    const int last = open("/dev/vfio/devices/vfio0");
    EXPECT_THAT(
        refusal_of(
            {iommufd("a", first),
             iommufd("b", wrong),
             {.type = "vfio-pci", .id = "c", .properties = {{"fd", compose(last)}, {"iommufd", "a"}}}}),
        HasSubstr("is not an iommufd"));
    for (const int fd : {first, wrong, last}) EXPECT_FALSE(is_open(fd));
    EXPECT_TRUE(nothing_is_left());
}

}  // namespace
}  // namespace iommufd::object
