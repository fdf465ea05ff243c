// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A Space against an array of pages: whatever is asked of it at random, it says and does what the array does, and so does
// whatever it maps into. Where they differ, RapidCheck leaves out steps until none can be spared, and prints those that are left.
#pragma once

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <set>

#include "iommufd/dma/space.hpp"

namespace iommufd::inline v0_1::support {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kPages = 512;  // of IOVAs, from kFirst on: across the end of the first gigabyte
constexpr std::uint64_t kFirst = (std::uint64_t{1} << 30) / kPage - 200;

struct Page {
    int mapping = 0;  // which one; 0: none
    std::byte* address = nullptr;
    Access access = Access::read;
};

// What the space maps into: two devices that come and go.
class Devices {
public:
    Devices() = default;
    Devices(const Devices&) = delete;
    Devices& operator=(const Devices&) = delete;
    virtual ~Devices() = default;

    virtual dma::Space make_space() = 0;
    virtual std::shared_ptr<dma::Attachable> make(unsigned which) = 0;
    // The next map of a piece at this IOVA fails with ENOMEM; nothing: no map fails.
    virtual void fail_at(std::optional<Iova> iova) = 0;
    // The pages that device reaches, of those.
    virtual std::set<Iova> reached(const dma::Space& space, dma::Attachable& device,
                                   const std::vector<Iova>& pages) = 0;
};

class SpaceProperty {
public:
    explicit SpaceProperty(Devices& devices) : devices_(devices), space_(devices.make_space()) {}

    // Which one, and with what, follows from its seed alone: so others may be left out before it.
    void step(std::uint64_t seed) {
        random_ = seed;
        switch (below(10)) {
            case 0:
            case 1:
            case 2:
            case 3:
                return map();
            case 4:
            case 5:
            case 6:
                return unmap();
            case 7:
                return attach_or_detach();
            default:
                return translate();
        }
    }

    // What every device reaches, and what the books say.
    void compare() {
        std::set<Iova> pages;
        std::vector<Iova> all;
        for (std::uint64_t i = 0; i < kPages; ++i) {
            all.push_back(iova_of(i));
            if (pages_[i].mapping != 0) pages.insert(iova_of(i));
        }
        for (const auto& device : there_)
            if (device) ASSERT_EQ(devices_.reached(space_, *device, all), pages);
        std::set<Iova> books;
        for (const dma::MappingInfo& info : space_.mappings())
            for (std::uint64_t at = 0; at < info.range.length(); at += kPage)
                books.insert(info.range.first + at);
        ASSERT_EQ(books, pages);
    }

private:
    // (splitmix64)
    std::uint64_t below(std::uint64_t limit) {
        std::uint64_t word = random_ += 0x9e3779b97f4a7c15;
        word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9;
        word = (word ^ (word >> 27)) * 0x94d049bb133111eb;
        return (word ^ (word >> 31)) % limit;
    }
    static Iova iova_of(std::uint64_t page) { return Iova{(kFirst + page) * kPage}; }
    Range range(std::uint64_t first, std::uint64_t count) const {
        return *Range::of(iova_of(first), count * kPage);
    }

    void map() {
        const std::uint64_t first = below(kPages);
        const std::uint64_t count =
            1 + below(std::min<std::uint64_t>(kPages - first, below(4) == 0 ? 200 : 8));
        const std::uint64_t offset = below(kPages - count + 1);
        const std::uint64_t granule = below(3) == 0 ? kPage * (1 + below(2)) : 0;
        const Access access = below(2) == 0 ? Access::read : Access::read_write;
        bool is_free = true;
        for (std::uint64_t i = 0; i < count; ++i) is_free = is_free && pages_[first + i].mapping == 0;
        // A sink fails at one of the pieces.
        const bool fails = is_free && there_[0] && below(8) == 0;
        if (fails) {
            const std::uint64_t step = granule == 0 ? count : granule / kPage;
            devices_.fail_at(iova_of(first + below((count + step - 1) / step) * step));
        }
        auto mapped = space_.map(memory_, {.iova = iova_of(first),
                                           .offset = offset * kPage,
                                           .length = count * kPage,
                                           .access = access,
                                           .granule = granule});
        devices_.fail_at(std::nullopt);
        ASSERT_EQ(static_cast<bool>(mapped), is_free && !fails);
        if (!mapped) {
            ASSERT_EQ(mapped.error().code(), fails ? ENOMEM : EEXIST);
            return;
        }
        std::move(*mapped).leave();
        granules_.push_back({.first = first, .granule = granule / kPage});
        for (std::uint64_t i = 0; i < count; ++i)
            pages_[first + i] = {.mapping = static_cast<int>(granules_.size()),
                                 .address = memory_.data() + (offset + i) * kPage,
                                 .access = access};
    }

    // Whether a range that ends (or begins) between these two pages leaves the mapping whole, or cuts it where it may.
    bool may_cut(std::uint64_t before, std::uint64_t after) const {
        if (after == 0 || after >= kPages || pages_[before].mapping == 0) return true;
        if (pages_[before].mapping != pages_[after].mapping) return true;
        const auto& [first, granule] = granules_[static_cast<std::size_t>(pages_[before].mapping) - 1];
        return granule != 0 && (after - first) % granule == 0;
    }

    void unmap() {
        const std::uint64_t first = below(kPages);
        const std::uint64_t count =
            1 + below(std::min<std::uint64_t>(kPages - first, below(3) == 0 ? 300 : 12));
        std::uint64_t mapped = 0;
        for (std::uint64_t i = 0; i < count; ++i) mapped += pages_[first + i].mapping != 0 ? 1 : 0;
        const bool cuts =
            !may_cut(first == 0 ? 0 : first - 1, first) || !may_cut(first + count - 1, first + count);
        const auto unmapped = space_.unmap(range(first, count));
        if (cuts || mapped == 0) {
            ASSERT_FALSE(unmapped) << *unmapped << " bytes";
            ASSERT_EQ(unmapped.error().code(), cuts ? EINVAL : ENOENT);
            return;
        }
        ASSERT_TRUE(unmapped) << unmapped.error().line();
        ASSERT_EQ(*unmapped, mapped * kPage);
        for (std::uint64_t i = 0; i < count; ++i) pages_[first + i] = {};
    }

    void attach_or_detach() {
        const auto which = static_cast<unsigned>(below(2));
        if (there_[which]) {
            attached_[which].reset();
            there_[which].reset();
        } else {
            there_[which] = devices_.make(which);
            auto attached = space_.attach(there_[which]);
            ASSERT_TRUE(attached) << attached.error().line();
            attached_[which] = std::move(*attached);
        }
    }

    void translate() {
        // Perhaps the first that there is.
        if (!reader_ || below(64) == 0) reader_.emplace(space_.reader());
        const dma::Guard guard = reader_->enter();
        for (int i = 0; i < 8; ++i) {
            const std::uint64_t first = below(kPages);
            const std::uint64_t start = below(kPage);
            const std::uint64_t length = 1 + below(3 * kPage);
            const Access access = below(2) == 0 ? Access::read : Access::write;
            // As many bytes as lie side by side and allow it.
            std::uint64_t expected = 0;
            for (std::uint64_t page = first; page < kPages && expected < length + start; ++page) {
                const Page& here = pages_[page];
                const bool allowed = here.mapping != 0 && (access == Access::read || may_write(here.access));
                if (!allowed || here.address != pages_[first].address + (page - first) * kPage) break;
                expected += kPage;
            }
            expected = expected <= start ? 0 : std::min(expected - start, length);
            const auto found = guard.translate(iova_of(first) + start, length, access);
            ASSERT_EQ(found.size(), expected);
            if (expected != 0) ASSERT_EQ(found.data(), pages_[first].address + start);

            std::vector<Iova> iovas;
            std::vector<Iova> reference;
            std::byte* const page = memory_.data() + below(kPages) * kPage;
            guard.reverse(page + start, 1, iovas);
            for (std::uint64_t at = 0; at < kPages; ++at)
                if (pages_[at].mapping != 0 && pages_[at].address == page)
                    reference.push_back(iova_of(at) + start);
            ASSERT_EQ(iovas, reference);
        }
    }

    struct Granule {
        std::uint64_t first;
        std::uint64_t granule;  // in pages
    };

    std::uint64_t random_ = 0;
    Devices& devices_;
    dma::Memory memory_ = dma::Memory::anonymous(kPages * kPage).value();
    dma::Space space_;
    std::optional<dma::Reader> reader_;
    std::shared_ptr<dma::Attachable> there_[2];
    std::optional<dma::Attachment> attached_[2];
    std::array<Page, kPages> pages_;
    std::vector<Granule> granules_;  // of each mapping
};

// The first difference; empty: there is none.
inline std::string difference(Devices& devices, const std::vector<std::uint64_t>& steps,
                              std::size_t compare_every) {
    ::testing::TestPartResultArray failures;
    {
        const ::testing::ScopedFakeTestPartResultReporter intercepted(
            ::testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &failures);
        SpaceProperty property(devices);
        for (std::size_t i = 0; i < steps.size() && failures.size() == 0; ++i) {
            property.step(steps[i]);
            if (i % compare_every == 0) property.compare();
        }
        if (failures.size() == 0) property.compare();
    }
    return failures.size() == 0 ? std::string() : failures.GetTestPartResult(0).message();
}

// Sequences of up to 2000 steps, so many altogether at least; compares every so many of them. IOMMUFD_PROPERTY_STEPS: another
// number of steps.
template <class MakeDevices>
void run_space_property(std::size_t standard_steps, std::size_t compare_every, MakeDevices&& make_devices) {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): one thread
    const char* const wanted = std::getenv("IOMMUFD_PROPERTY_STEPS");
    const std::size_t least = wanted ? std::strtoull(wanted, nullptr, 10) : standard_steps;
    const auto sequences = rc::gen::scale(20, rc::gen::container<std::vector<std::uint64_t>>(
                                                  rc::gen::noShrink(rc::gen::arbitrary<std::uint64_t>())));
    std::size_t done = 0;
    for (std::uint64_t seed = 1; done < least; ++seed) {
        const auto result = rc::detail::checkTestable(
            [&] {
                const std::vector<std::uint64_t> steps = *sequences;
                done += steps.size();
                const std::string found = difference(*make_devices(), steps, compare_every);
                if (!found.empty()) RC_FAIL(found);
            },
            rc::detail::TestMetadata(), rc::detail::TestParams{.seed = seed, .maxSuccess = 10});
        ASSERT_TRUE(result.template is<rc::detail::SuccessResult>()) << [&] {
            std::ostringstream text;
            rc::detail::printResultMessage(result, text);
            return text.str();
        }();
    }
}

}  // namespace iommufd::inline v0_1::support
