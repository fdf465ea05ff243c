// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Chooses calls that know the grammar of /dev/iommu and of its mock: ids that are there, of the kind that is meant or of
// another; IOVAs and lengths near to what is mapped, to each other, and to the edges.
#pragma once

#include <array>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "conformance/arena.hpp"
#include "conformance/call.hpp"
#include "uapi/iommufd_test.hpp"

namespace iommufd::inline v0_1::conformance {

template <class T>
std::span<const std::uint8_t> bytes_of(const T& value) {
    return {reinterpret_cast<const std::uint8_t*>(&value), sizeof value};
}

class Generator {
public:
    explicit Generator(std::uint64_t seed) : random_(seed) {}

    // A sequence begins: nothing is known.
    void begin();
    // The next call, given all before it.
    Call next();
    // What it did, on the model.
    void learn(const Call& call, const Outcome& outcome);
    // Calls that change nothing, by which the state is compared.
    std::vector<Call> look_around();

private:
    struct Known {
        Kind kind;
        Reference reference;
    };
    struct Mapped {
        Reference ioas;
        std::uint64_t iova;
        std::uint64_t length;
        std::uint64_t address;  // 0: not of the program's memory
    };
    struct Choice;

    bool chance(unsigned percent) { return below(100) < percent; }
    std::uint64_t below(std::uint64_t end) { return random_() % end; }
    template <class T>
    T pick(std::initializer_list<T> values) {
        return *(values.begin() + below(values.size()));
    }

    Call make(std::string name, uapi::Request request);
    // An id of one of these kinds; sometimes of another, or of nothing.
    Reference object(std::initializer_list<Kind> kinds);
    Reference exactly(std::initializer_list<Kind> kinds);
    void refer(Call& call, std::size_t offset, const Reference& reference, std::uint8_t width = 4);
    void refer_descriptor(Call& call, std::size_t offset, const Reference& reference);
    template <class T>
    Call ioctl(std::string name, uapi::Request request, const T& command, std::size_t least = sizeof(T)) {
        Call call = make(std::move(name), request);
        call.set(command);
        spoil_size(call, least);
        return call;
    }
    Call test(std::string name, std::uint32_t op, uapi::mock::TestCmd command);
    void attach_buffer(Call& call, std::size_t at, std::span<const std::uint8_t> content,
                       std::size_t offset = 0);
    void spoil_size(Call& call, std::size_t least);

    std::uint64_t iova();
    std::uint64_t length();
    std::uint64_t address();
    std::uint32_t rarely(std::uint32_t value) { return chance(3) ? value : 0; }
    // The IOVA and length of something mapped, or a part of it or more.
    void near_mapped(const Reference& ioas, std::uint64_t& iova, std::uint64_t& length);
    std::uint32_t map_flags();
    std::uint32_t pasid() { return pick<std::uint32_t>({0, 1, 2, 100, 1024, 1U << 20, ~0U}); }

    // generator_preamble.cpp: a device with everything, which random calls seldom make.
    Call preamble(unsigned step);
    void prepare();

    // generator_ioctls.cpp
    Call ioas_alloc();
    Call map();
    Call map_file();
    Call copy();
    Call unmap();
    Call allow_iovas();
    Call iova_ranges();
    Call option();
    Call vfio_ioas();
    Call change_process();
    Call get_pa();
    Call hwpt_alloc();
    Call hw_info();
    Call set_dirty();
    Call get_dirty();
    Call invalidate();
    Call fault_alloc();
    Call viommu_alloc();
    Call vdevice_alloc();
    Call veventq_alloc();
    Call hw_queue_alloc();
    Call destroy();
    Call vfio_compat();
    Call garbage();

    // generator_mock.cpp
    Call add_reserved();
    Call mock_domain();
    Call replace();
    Call check_map();
    Call check_refs();
    Call create_access();
    Call access_pages();
    Call destroy_pages();
    Call access_rw();
    Call access_replace();
    Call memory_limit();
    Call dirty();
    Call check_iotlb();
    Call trigger_iopf();
    Call check_cache();
    Call trigger_vevent();
    Call pasid_operation();
    Call dma_buffer();
    Call read();
    Call write();
    Call close();
    Call map_window();

    std::mt19937_64 random_;
    std::uint32_t number_ = Call::kFirst;
    std::vector<Known> known_;
    std::vector<Mapped> mapped_;
    std::vector<unsigned> preamble_;  // steps that are still to be made, the last one first
};

}  // namespace iommufd::inline v0_1::conformance
