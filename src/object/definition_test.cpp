// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/object/definition.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cerrno>

namespace iommufd::object {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

Definition object(std::string_view text) { return parse(Option::object, text).value(); }
Definition device(std::string_view text) { return parse(Option::device, text).value(); }

bool is_same(const Definition& a, const Definition& b) {
    return a.type == b.type && a.id == b.id && a.properties == b.properties;
}

// --- what is right ------------------------------------------------------------------------------

TEST(Definition, HasTypeIdAndItsPropertiesInTheirOrder) {
    const Definition definition = object("memory-backend-memfd,size=64M,id=mem0,share=yes");
    EXPECT_EQ(definition.type, "memory-backend-memfd");
    EXPECT_EQ(definition.id, "mem0");
    EXPECT_THAT(definition.properties, ElementsAre(Property{"size", "64M"}, Property{"share", "yes"}));
    EXPECT_EQ(definition.origin, "-object memory-backend-memfd,size=64M,id=mem0,share=yes");
    EXPECT_EQ(*definition.find("size"), "64M");
    EXPECT_EQ(definition.find("prealloc"), nullptr);
}

TEST(Definition, ADoubledCommaIsACommaOfTheValue) {
    EXPECT_EQ(*object("memory-backend-file,id=m,size=4k,mem-path=/a,,b,,,,c").find("mem-path"), "/a,b,,c");
    EXPECT_EQ(*object("memory-backend-file,id=m,mem-path=/a,,,size=4k").find("mem-path"), "/a,");
}

TEST(Definition, AValueMayHaveEqualsSigns) {
    EXPECT_EQ(*object("memory-backend-file,id=m,size=4k,mem-path=/a=b").find("mem-path"), "/a=b");
}

TEST(Definition, TheTypeMayBeNamedByItsKey) {
    EXPECT_EQ(object("id=a,qom-type=iommufd").type, "iommufd");
    EXPECT_EQ(device("driver=vhost-vdpa,id=a,vhostdev=/dev/vhost-vdpa-0").type, "vhost-vdpa");
}

TEST(Definition, NodesMayBeGivenMoreThanOnce) {
    EXPECT_THAT(object("memory-backend-ram,id=m,size=4k,policy=bind,host-nodes=0-1,host-nodes=3").properties,
                ElementsAre(Property{"size", "4k"}, Property{"policy", "bind"}, Property{"host-nodes", "0-1"},
                            Property{"host-nodes", "3"}));
}

TEST(Definition, TheJsonFormSaysTheSame) {
    EXPECT_TRUE(is_same(object(R"({"qom-type":"iommufd","id":"iommufd0","fd":"3"})"),
                        object("iommufd,id=iommufd0,fd=3")));
    EXPECT_TRUE(is_same(
        object(R"({"qom-type":"memory-backend-ram","id":"m","size":4096,"policy":"bind",
                                  "host-nodes":[0,2],"prealloc":true})"),
        object("memory-backend-ram,id=m,size=4096,policy=bind,host-nodes=0,host-nodes=2,prealloc=true")));
    EXPECT_TRUE(is_same(device(R"({"driver":"vfio-pci","id":"n","host":"02:00.0","iommufd":"i"})"),
                        device("vfio-pci,id=n,host=02:00.0,iommufd=i")));
    EXPECT_EQ(*object(R"({"qom-type":"memory-backend-file","id":"m","size":4096,"mem-path":"/a,b\u00e4"})")
                   .find("mem-path"),
              "/a,b\xc3\xa4");
}

// --- what is wrong: one line that names the object, the key, and what would be right ----------------

struct Wrong {
    Option option;
    std::string_view text;
    std::string_view line;

    friend void PrintTo(const Wrong& wrong, std::ostream* out) { *out << wrong.text; }
};

class WrongDefinition : public ::testing::TestWithParam<Wrong> {};

TEST_P(WrongDefinition, IsRefusedInOneLineThatSaysWhatWouldBeRight) {
    const auto result = parse(GetParam().option, GetParam().text);
    ASSERT_FALSE(result) << GetParam().text;
    EXPECT_EQ(result.error().code(), EINVAL);
    EXPECT_EQ(result.error().line(), GetParam().line);
}

INSTANTIATE_TEST_SUITE_P(
    Words, WrongDefinition,
    ::testing::Values(
        Wrong{Option::object, "",
              "cannot create '-object ': EINVAL (its type is missing); begin with TYPE,id=ID: the types are "
              "iommufd, "
              "memory-backend-memfd, memory-backend-file, memory-backend-ram, dma-space, dma-mapping and "
              "fd-server"},
        Wrong{Option::object, "iomufd,id=a",
              "cannot create 'iomufd' 'a': EINVAL (there is no type 'iomufd'); did you mean 'iommufd'?"},
        Wrong{Option::device, "e1000,id=a",
              "cannot create 'e1000' 'a': EINVAL (there is no type 'e1000'); the types are vfio-pci and "
              "vhost-vdpa"},
        Wrong{
            Option::object, "vfio-pci,id=a,host=02:00.0",
            "cannot create vfio-pci 'a': EINVAL (a vfio-pci is made by -device); write -device vfio-pci,..."},
        Wrong{Option::object, "iommufd",
              "cannot create '-object iommufd': EINVAL (it has no id=); write iommufd,id=ID,..."},
        Wrong{Option::object, "iommufd,id=0",
              "cannot create iommufd '0': EINVAL (id='0' is no id); begin with a letter, and go on with "
              "letters, "
              "digits, '-', '.' and '_'"},
        Wrong{Option::object, "iommufd,id=a,id=b",
              "cannot create '-object iommufd,id=a,id=b': EINVAL (id= is given twice); give it once"},
        Wrong{Option::object, "memory-backend-ram,id=m,size=4k,hugetbl=on",
              "cannot create memory-backend-ram 'm': EINVAL (it has no property 'hugetbl'); did you mean "
              "'hugetlb'?"},
        Wrong{
            Option::object, "iommufd,id=a,colour=red",
            "cannot create iommufd 'a': EINVAL (it has no property 'colour'); its properties are id and fd"},
        Wrong{Option::object, "iommufd,id=a,users=b",
              "cannot create iommufd 'a': EINVAL (users= can only be read); leave it out"},
        Wrong{Option::object, "memory-backend-ram,id=m,size=4k,share",
              "cannot create memory-backend-ram 'm': EINVAL ('share' has no value); write share=on|off, or "
              "',,' for a "
              "comma within a value"},
        Wrong{Option::object, "memory-backend-file,id=m,size=4k,mem-path=/a,b",
              "cannot create memory-backend-file 'm': EINVAL ('b' has no value); write KEY=VALUE, or ',,' "
              "for a comma "
              "within a value"},
        Wrong{Option::object, "iommufd,id=a,",
              "cannot create iommufd 'a': EINVAL (there is nothing between two of its commas, or after the "
              "last); "
              "write KEY=VALUE there, or ',,' for a comma within a value"},
        Wrong{Option::object, "memory-backend-ram,id=m,size=4k,size=8k",
              "cannot create memory-backend-ram 'm': EINVAL (size= is given twice); give it once"},
        Wrong{Option::object, "memory-backend-ram,id=m",
              "cannot create memory-backend-ram 'm': EINVAL (it has no size=); write size=SIZE: how much "
              "memory, "
              "rounded up to whole pages"},
        Wrong{Option::object, "memory-backend-ram,id=m,size=64Q",
              "cannot create memory-backend-ram 'm': EINVAL (size='64Q' is no size); write bytes, or k, M, "
              "G, T, P or "
              "E of them: 4096, 0x1000, 64M, 1.5G"},
        Wrong{
            Option::object, "memory-backend-ram,id=m,size=0",
            "cannot create memory-backend-ram 'm': EINVAL (size=0 is no memory); give it at least one page"},
        Wrong{Option::object, "memory-backend-ram,id=m,size=4k,prealloc=1",
              "cannot create memory-backend-ram 'm': EINVAL (prealloc='1' is no boolean); write on or off"},
        Wrong{Option::object, "memory-backend-ram,id=m,size=4k,policy=bound",
              "cannot create memory-backend-ram 'm': EINVAL (policy='bound' is no value that it takes); "
              "write default, "
              "preferred, bind or interleave"},
        Wrong{Option::object, "memory-backend-ram,id=m,size=4k,policy=bind",
              "cannot create memory-backend-ram 'm': EINVAL (policy=bind is given without host-nodes=); add "
              "host-nodes=NODE"},
        Wrong{Option::object, "memory-backend-ram,id=m,size=4k,host-nodes=0",
              "cannot create memory-backend-ram 'm': EINVAL (host-nodes= is given without a policy= that "
              "looks at "
              "them); add policy=bind, preferred or interleave"},
        Wrong{Option::object, "memory-backend-ram,id=m,size=4k,policy=bind,host-nodes=1024",
              "cannot create memory-backend-ram 'm': EINVAL (host-nodes='1024' is no NUMA node); write a "
              "NUMA node or "
              "a range of them, such as 0 or 0-3, below 1024"},
        Wrong{
            Option::object, "memory-backend-memfd,id=m,size=4k,hugetlbsize=2M",
            "cannot create memory-backend-memfd 'm': EINVAL (hugetlbsize= is given without hugetlb=on); add "
            "hugetlb=on"},
        Wrong{Option::object, "memory-backend-memfd,id=m,size=6M,hugetlb=on,hugetlbsize=3M",
              "cannot create memory-backend-memfd 'm': EINVAL (hugetlbsize=3 MiB is no power of two); choose "
              "a size of "
              "`ls /sys/kernel/mm/hugepages`"},
        Wrong{Option::object, "memory-backend-memfd,id=m,size=4k,prealloc-threads=0",
              "cannot create memory-backend-memfd 'm': EINVAL (prealloc-threads=0 touches no page); give it "
              "at least "
              "one thread"},
        Wrong{Option::object, "memory-backend-file,id=m,size=4k,mem-path=",
              "cannot create memory-backend-file 'm': EINVAL (mem-path='' is no path); write at least one "
              "character, "
              "and no NUL"},
        Wrong{Option::object, "iommufd,id=a,fd=iommu",
              "cannot create iommufd 'a': EINVAL (fd='iommu' is no descriptor); write the number of a "
              "descriptor that "
              "this process was given: 0, 1 and 2 are its standard input and output"},
        Wrong{Option::object, "iommufd,id=a,fd=2",
              "cannot create iommufd 'a': EINVAL (fd='2' is no descriptor); write the number of a descriptor "
              "that this "
              "process was given: 0, 1 and 2 are its standard input and output"},
        Wrong{Option::object, "dma-mapping,id=p,space=s,memdev=m,size=0",
              "cannot create dma-mapping 'p': EINVAL (size=0 maps nothing); give it at least one page, or "
              "leave it out "
              "for all of the memory"},
        Wrong{Option::object, "dma-mapping,id=p,space=,memdev=m",
              "cannot create dma-mapping 'p': EINVAL (space='' is no id); write the id of an object"},
        Wrong{Option::device, "vfio-pci,id=n,host=/sys/x,iommufd=i",
              "cannot create vfio-pci 'n': EINVAL (host='/sys/x' is no PCI address); write a PCI address, "
              "such as "
              "0000:02:00.0"},
        Wrong{Option::device, "vfio-pci,id=n,host=02:00.0",
              "cannot create vfio-pci 'n': EINVAL (it has no iommufd=); write iommufd=ID: what the device is "
              "bound to"},
        Wrong{Option::device, "vfio-pci,id=n,iommufd=i",
              "cannot create vfio-pci 'n': EINVAL (it doesn't say which device); give exactly one of host=, "
              "sysfsdev= "
              "and fd="},
        Wrong{Option::device, "vfio-pci,id=n,iommufd=i,host=02:00.0,fd=5",
              "cannot create vfio-pci 'n': EINVAL (it has host= and fd=); give exactly one of host=, "
              "sysfsdev= and "
              "fd="},
        Wrong{Option::device, "vfio-pci,id=n,iommufd=i,host=02:00.0,pasid=1048576",
              "cannot create vfio-pci 'n': EINVAL (pasid='1048576' is no number that it takes); write a "
              "number from 0 "
              "to 1048575"},
        Wrong{Option::device, "vfio-pci,id=n,iommufd=i,host=02:00.0,pasid=1",
              "cannot create vfio-pci 'n': EINVAL (pasid= is given without space=); add space=ID: a PASID is "
              "attached "
              "to one"},
        Wrong{Option::device, "vfio-pci,id=n,iommufd=i,host=02:00.0,vf-token=secret",
              "cannot create vfio-pci 'n': EINVAL (vf-token='secret' is no UUID); write a UUID, such as "
              "00112233-4455-6677-8899-aabbccddeeff"},
        Wrong{Option::device, "vhost-vdpa,id=d,vhostdev=/dev/vhost-vdpa-0,vhostfd=5",
              "cannot create vhost-vdpa 'd': EINVAL (it has vhostdev= and vhostfd=); give exactly one of "
              "vhostdev= and "
              "vhostfd="}));

INSTANTIATE_TEST_SUITE_P(
    Json, WrongDefinition,
    ::testing::Values(
        Wrong{Option::object, "{",
              "cannot read '-object {': EINVAL (it is no JSON from byte 2 on); write {\"key\": \"value\", "
              "...}, and mind "
              "what the shell does to quotes"},
        Wrong{Option::object, R"({"qom-type":"iommufd"} x)",
              "cannot read '-object {\"qom-type\":\"iommufd\"} x': EINVAL (it is no JSON from byte 24 on); "
              "write "
              "{\"key\": \"value\", ...}, and mind what the shell does to quotes"},
        Wrong{Option::object, R"({"qom-type":"iommufd","id":{"a":1}})",
              "cannot read '-object {\"qom-type\":\"iommufd\",\"id\":{\"a\":1}}': EINVAL ('id' is an "
              "object); give it a "
              "plain value"},
        Wrong{Option::object, R"({"qom-type":"iommufd","id":null})",
              "cannot read '-object {\"qom-type\":\"iommufd\",\"id\":null}': EINVAL ('id' is null); give it "
              "a value, or "
              "leave it out"},
        Wrong{Option::object, R"({"qom-type":"memory-backend-ram","id":"m","host-nodes":[[0]]})",
              "cannot read '-object "
              "{\"qom-type\":\"memory-backend-ram\",\"id\":\"m\",\"host-nodes\":[[0]]}': EINVAL "
              "('host-nodes' is an array of arrays); give it an array of plain values"},
        Wrong{Option::object, R"({"qom-type":"iommufd","id":true})",
              "cannot create '-object {\"qom-type\":\"iommufd\",\"id\":true}': EINVAL (its id is no string); "
              "write "
              "\"id\": \"...\""},
        Wrong{Option::object, R"({"qom-type":"iommufd","id":"a","id":"b"})",
              "cannot create '-object {\"qom-type\":\"iommufd\",\"id\":\"a\",\"id\":\"b\"}': EINVAL (id= is "
              "given "
              "twice); give it once"},
        Wrong{Option::object, R"({"qom-type":"memory-backend-ram","id":"m","size":-1})",
              "cannot create memory-backend-ram 'm': EINVAL (size='-1' is no size); write bytes, or k, M, G, "
              "T, P or E "
              "of them: 4096, 0x1000, 64M, 1.5G"},
        Wrong{Option::object, R"({"qom-type":"memory-backend-ram","id":"m","size":1.5})",
              "cannot create memory-backend-ram 'm': EINVAL (size='1.5' is no size); write bytes, or k, M, "
              "G, T, P or E "
              "of them: 4096, 0x1000, 64M, 1.5G"},
        Wrong{Option::object, R"({"qom-type":"memory-backend-file","id":"m","size":1,"mem-path":"a\u0000b"})",
              "cannot create memory-backend-file 'm': EINVAL (mem-path='a\\x00b' is no path); write at least "
              "one "
              "character, and no NUL"}));

TEST(Definition, AnErrorStaysOnOneLineWhateverIsInIt) {
    for (const std::string& text :
         {std::string("iommufd,id=a\nb"), std::string("io\nmmufd,id=a"), std::string("\n"),
          std::string("iommufd,id=a,k\ny=v"), std::string("iommufd,id=a,fd=\x1b[31m\r\n"), std::string("{\n"),
          std::string(10000, 'x'), std::string(79, 'x') + "\xc3\xa4\xc3\xa4"}) {
        const auto result = parse(Option::object, text);
        ASSERT_FALSE(result);
        EXPECT_THAT(result.error().line(), Not(HasSubstr("\n")));
        EXPECT_THAT(result.error().line(), Not(HasSubstr("\x1b")));
        EXPECT_LT(result.error().line().size(), 500U);
    }
}

TEST(Definition, ADefinitionThatAProgramMakesIsCheckedInTheSameWay) {
    EXPECT_TRUE(check({.type = "iommufd", .id = "a"}));
    EXPECT_THAT(check({.type = "", .id = ""}).error().line(), StartsWith("cannot create an object: EINVAL"));
    EXPECT_THAT(check({.type = "iommufd", .id = ""}).error().line(), HasSubstr("it has no id="));
    EXPECT_THAT(check({.type = "vfio", .id = "a"}).error().line(), HasSubstr("did you mean"));
    EXPECT_THAT(check({.type = "iommufd", .id = "a", .properties = {{"", ""}}}).error().line(),
                HasSubstr("it has no property ''"));
}

// --- properties of the grammar ------------------------------------------------------------------

rc::Gen<char> letter() { return rc::gen::elementOf(std::string("abcdefghijklmnopqrstuvwxyzABCXYZ")); }

rc::Gen<std::string> id() {
    return rc::gen::map(rc::gen::pair(letter(), rc::gen::container<std::string>(
                                                    rc::gen::elementOf(std::string("abcXYZ0189-._")))),
                        [](const std::pair<char, std::string>& parts) { return parts.first + parts.second; });
}

// What a path can be: anything but NUL, and not nothing.
rc::Gen<std::string> path() {
    return rc::gen::nonEmpty(rc::gen::container<std::string>(
        rc::gen::oneOf(rc::gen::elementOf(std::string(",,,,==/ \n\"{")), rc::gen::nonZero<char>())));
}

TEST(Definition, WhatIsPrintedIsReadBackTheSame) {
    EXPECT_TRUE(rc::check([] {
        Definition definition{.type = "memory-backend-file", .id = *id()};
        definition.properties = {{"mem-path", *path()},
                                 {"size", std::to_string(*rc::gen::inRange(1, 1 << 30))}};
        if (*rc::gen::arbitrary<bool>()) definition.properties.push_back({"share", "on"});
        if (*rc::gen::arbitrary<bool>()) std::swap(definition.properties[0], definition.properties[1]);
        const auto read = parse(Option::object, print(definition));
        RC_ASSERT(static_cast<bool>(read));
        RC_ASSERT(is_same(*read, definition));
    }));
}

void is_read_or_refused_in_one_line(const std::string& text) {
    for (const Option option : {Option::object, Option::device}) {
        const auto read = parse(option, text);
        if (read) {
            const auto again = parse(option, print(*read));
            RC_ASSERT(again && is_same(*again, *read));
        } else {
            RC_ASSERT(read.error().line().find('\n') == std::string::npos);
        }
    }
}

TEST(Definition, AnyBytesAreReadOrRefusedInOneLine) {
    EXPECT_TRUE(rc::check([](const std::string& text) {
        is_read_or_refused_in_one_line(text);
        is_read_or_refused_in_one_line("{" + text);
        is_read_or_refused_in_one_line("iommufd,id=" + text);
    }));
}

TEST(Definition, AnySequenceOfTheGrammarsOwnWordsIsReadOrRefusedInOneLine) {
    const std::vector<std::string> words{"iommufd", "vfio-pci", "memory-backend-ram",
                                         "id",      "fd",       "size",
                                         "host",    ",",        "=",
                                         ",,",      "a",        "64M",
                                         "0x",      "on",       "{",
                                         "}",       "\"",       ":",
                                         "[",       "]",        "3",
                                         "-",       "02:00.0",  "qom-type",
                                         "null",    "1e9",      "driver",
                                         " ",       "help",     "host-nodes"};
    EXPECT_TRUE(rc::check([&] {
        std::string text;
        for (const std::string& word :
             *rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(words)))
            text += word;
        is_read_or_refused_in_one_line(text);
    }));
}

}  // namespace
}  // namespace iommufd::object
