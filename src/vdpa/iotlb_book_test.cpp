// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "vdpa/iotlb_book.hpp"

#include <gmock/gmock.h>

namespace iommufd::vdpa {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

dma::Piece piece(std::uint64_t iova, std::uint64_t length, std::string_view label = "ram") {
    return {.iova = Iova{iova}, .length = length, .address = nullptr, .label = label};
}

IotlbBook three() {
    IotlbBook book;
    book.add(piece(0x1000, 0x1000));
    book.add(piece(0x2000, 0x2000));
    book.add(piece(0x8000, 0x1000));
    return book;
}

TEST(IotlbBook, FindsWhatOverlapsAtEitherEnd) {
    const IotlbBook book = three();
    EXPECT_EQ(book.overlapping({Iova{0}, Iova{0xfff}}), nullptr);
    EXPECT_NE(book.overlapping({Iova{0}, Iova{0x1000}}), nullptr);
    EXPECT_NE(book.overlapping({Iova{0x3fff}, Iova{0x7fff}}), nullptr);
    EXPECT_EQ(book.overlapping({Iova{0x4000}, Iova{0x7fff}}), nullptr);
    EXPECT_NE(book.overlapping({Iova{0x4000}, Iova{0x8000}}), nullptr);
    EXPECT_EQ(book.overlapping({Iova{0x9000}, Iova{~0ULL}}), nullptr);
    EXPECT_EQ(IotlbBook().overlapping({Iova{0}, Iova{~0ULL}}), nullptr);
}

TEST(IotlbBook, FindsWhatLiesInARange) {
    const IotlbBook book = three();
    const auto found = book.in({Iova{0}, Iova{~0ULL}});
    EXPECT_THAT(found.iovas, ElementsAre(0x1000, 0x2000, 0x8000));
    EXPECT_EQ(found.bytes, 0x4000U);
    EXPECT_EQ(found.hull, (Range{Iova{0x1000}, Iova{0x8fff}}));
    EXPECT_EQ(found.across, nullptr);
    EXPECT_THAT(book.in({Iova{0x4000}, Iova{0x7fff}}).iovas, IsEmpty());
    EXPECT_THAT(book.in({Iova{0x2000}, Iova{0x3fff}}).iovas, ElementsAre(0x2000));
}

TEST(IotlbBook, NamesWhatARangeWouldCut) {
    const IotlbBook book = three();
    EXPECT_EQ(book.in({Iova{0x1000}, Iova{0x2fff}}).across->piece.iova, Iova{0x2000});
    EXPECT_EQ(book.in({Iova{0x3000}, Iova{0x8fff}}).across->piece.iova, Iova{0x2000});
}

TEST(IotlbBook, HoldsTheLastPageBelowTheEnd) {
    IotlbBook book;
    book.add(piece(~0ULL - 0xfff, 0x1000));
    EXPECT_NE(book.overlapping({Iova{~0ULL}, Iova{~0ULL}}), nullptr);
    EXPECT_EQ(book.in({Iova{0}, Iova{~0ULL}}).bytes, 0x1000U);
}

TEST(IotlbBook, KeepsLabelsOfItsOwn) {
    IotlbBook book;
    {
        const std::string label = "a label that is longer than a short string may be";
        book.add(piece(0x1000, 0x1000, label));
    }
    EXPECT_EQ(book.pieces().front().label, "a label that is longer than a short string may be");
    book.remove(0x1000);
    EXPECT_EQ(book.size(), 0U);
}

}  // namespace
}  // namespace iommufd::vdpa
