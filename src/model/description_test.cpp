// SPDX-License-Identifier: Apache-2.0 OR MIT
#include <gtest/gtest.h>

#include "iommufd/model/machine.hpp"

namespace iommufd::model {
namespace {

TEST(ModelDescription, IsReadFromText) {
    const Description description =
        parse("devices=edu:dma-bits=32,vdpa-blk:size=128M:persist=off,memlock=1M,sys-resource=off").value();
    ASSERT_EQ(description.devices.size(), 2U);
    EXPECT_EQ(description.devices[0].kind, DeviceKind::edu);
    EXPECT_EQ(description.devices[0].dma_bits, 32U);
    EXPECT_EQ(description.devices[1].disk_size, 128ULL << 20);
    EXPECT_FALSE(description.devices[1].iotlb_persist);
    EXPECT_EQ(description.memlock, 1ULL << 20);
    EXPECT_FALSE(description.sys_resource);
}

TEST(ModelDescription, ACardHasItsMemoryAndDoorbellsArePolledWhereTheTextSaysSo) {
    const Description description =
        parse("devices=ivshmem,ivshmem:name=0000:03:00.0:size=64K,nvme:doorbells=poll,edu:doorbells=trap")
            .value();
    ASSERT_EQ(description.devices.size(), 4U);
    EXPECT_EQ(description.devices[0].memory_size, 4ULL << 20);
    EXPECT_EQ(description.devices[1].kind, DeviceKind::ivshmem);
    EXPECT_EQ(description.devices[1].name, "0000:03:00.0");
    EXPECT_EQ(description.devices[1].memory_size, 64ULL << 10);
    EXPECT_TRUE(description.devices[2].polls_doorbells);
    EXPECT_FALSE(description.devices[3].polls_doorbells);
}

TEST(ModelDescription, MayHaveNoDevices) {
    EXPECT_TRUE(parse("").value().devices.empty());
    EXPECT_TRUE(parse("devices=").value().devices.empty());
    EXPECT_TRUE(parse("memlock=0").value().devices.empty());
    EXPECT_EQ(everything().devices.size(), 3U);
}

TEST(ModelDescription, WhatItDoesNotKnowIsRefusedInOneLine) {
    for (const char* text : {"devices=toaster",
                             "devices=edu:size=1M",
                             "devices=vdpa-blk:dma-bits=3",
                             "devices=edu:dma-bits=x",
                             "devices=vdpa-blk:size=",
                             "devices=vdpa-blk:size=100",
                             "devices=vdpa-blk:size=99999999999T",
                             "devices=vdpa-blk:persist=maybe",
                             "devices=ivshmem:size=2K",
                             "devices=ivshmem:size=5M",
                             "devices=ivshmem:size=32G",
                             "devices=ivshmem:doorbells=poll",
                             "devices=nvme:doorbells=ring",
                             "devices=edu:name=here",
                             "devices=vdpa-blk:name=a/b",
                             "devices=vdpa-blk:name=a,vdpa-blk:name=a",
                             "edu",
                             "colour=blue",
                             "memlock=x",
                             "devices=edu,,edu",
                             "devices=edu:name=0000:00:01.0:name"}) {
        const auto parsed = parse(text);
        ASSERT_FALSE(parsed) << text;
        EXPECT_EQ(parsed.error().code(), EINVAL) << text;
        EXPECT_EQ(parsed.error().line().find('\n'), std::string::npos) << text;
        EXPECT_FALSE(parsed.error().cause().empty()) << text;
    }
    EXPECT_EQ(parse("devices=toaster").error().what(), "cannot model a 'toaster'");
}

}  // namespace
}  // namespace iommufd::model
