// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The same as scan_portable(), for CPUs that can look at several words at once.
#include "dma/dirty_edges.hpp"

#if defined(__x86_64__)

// GCC 12 takes what its own header leaves undefined on purpose for a mistake.
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

namespace iommufd::inline v0_1::dma {
namespace {

constexpr std::size_t kBlock = EdgeScan::kBlock;

}  // namespace

[[gnu::target("avx2,bmi,popcnt")]] void scan_avx2(EdgeScan& scan) noexcept {
    alignas(32) std::uint64_t edges[kBlock];
    std::uint64_t* out = scan.out;
    for (; out < scan.enough && scan.end - scan.next >= static_cast<std::ptrdiff_t>(kBlock);
         scan.next += kBlock, scan.base += kBlock * 64) {
        __m256i any = _mm256_setzero_si256();
        for (std::size_t i = 0; i < kBlock; i += 4)
            any = _mm256_or_si256(any, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(scan.next + i)));
        if (_mm256_testz_si256(any, any) && scan.next[-1] >> 63 == 0) continue;
        std::uint32_t clean = 0;  // words without an edge
        for (std::size_t i = 0; i < kBlock; i += 4) {
            const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(scan.next + i));
            const __m256i before = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(scan.next + i - 1));
            const __m256i shifted =
                _mm256_or_si256(_mm256_slli_epi64(words, 1), _mm256_srli_epi64(before, 63));
            const __m256i differ = _mm256_xor_si256(words, shifted);
            _mm256_store_si256(reinterpret_cast<__m256i*>(edges + i), differ);
            const __m256i same = _mm256_cmpeq_epi64(differ, _mm256_setzero_si256());
            clean |= static_cast<std::uint32_t>(_mm256_movemask_pd(_mm256_castsi256_pd(same))) << i;
        }
        for (std::uint32_t left = ~clean; left != 0; left &= left - 1) {
            const auto i = static_cast<unsigned>(__builtin_ctz(left));
            std::uint64_t rest = edges[i];
            const std::uint64_t base = scan.base + std::uint64_t{i} * 64;
            const auto count = static_cast<unsigned>(__builtin_popcountll(rest));
            for (unsigned done = 0; done < count; done += 4)
                // Those beyond the last are overwritten by the next word's.
                for (unsigned k = 0; k < 4; ++k) {
                    out[done + k] = base + _tzcnt_u64(rest);
                    rest = _blsr_u64(rest);
                }
            out += count;
        }
    }
    scan.out = out;
}

[[gnu::target("avx512f,avx512bw,avx512vl,avx512vbmi2,bmi,popcnt")]] void scan_avx512(
    EdgeScan& scan) noexcept {
    alignas(64) static constexpr std::uint8_t kBits[64] = {
        0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
        22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
        44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};
    const __m512i bits = _mm512_load_si512(kBits);
    alignas(64) std::uint8_t positions[64];
    alignas(64) std::uint64_t edges[kBlock];
    std::uint64_t* out = scan.out;
    for (; out < scan.enough && scan.end - scan.next >= static_cast<std::ptrdiff_t>(kBlock);
         scan.next += kBlock, scan.base += kBlock * 64) {
        __m512i any = _mm512_setzero_si512();
        for (std::size_t i = 0; i < kBlock; i += 8)
            any = _mm512_or_si512(any, _mm512_loadu_si512(scan.next + i));
        if (_mm512_test_epi64_mask(any, any) == 0 && scan.next[-1] >> 63 == 0) continue;
        std::uint32_t left = 0;  // words with an edge
        for (std::size_t i = 0; i < kBlock; i += 8) {
            const __m512i words = _mm512_loadu_si512(scan.next + i);
            const __m512i before = _mm512_loadu_si512(scan.next + i - 1);
            const __m512i differ = _mm512_xor_si512(words, _mm512_shldi_epi64(words, before, 1));
            _mm512_store_si512(edges + i, differ);
            left |= std::uint32_t{_mm512_test_epi64_mask(differ, differ)} << i;
        }
        for (; left != 0; left &= left - 1) {
            const auto i = static_cast<unsigned>(__builtin_ctz(left));
            const std::uint64_t word = edges[i];
            const __m512i base = _mm512_set1_epi64(static_cast<long long>(scan.base + std::uint64_t{i} * 64));
            const auto count = static_cast<unsigned>(__builtin_popcountll(word));
            const __m512i where = _mm512_maskz_compress_epi8(word, bits);
            // Those beyond the last are overwritten by the next word's.
            _mm512_storeu_si512(out,
                                _mm512_add_epi64(base, _mm512_cvtepu8_epi64(_mm512_castsi512_si128(where))));
            if (count > 8) [[unlikely]] {
                _mm512_store_si512(positions, where);
                for (unsigned done = 8; done < count; done += 8) {
                    const __m128i some = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(positions + done));
                    _mm512_storeu_si512(out + done, _mm512_add_epi64(base, _mm512_cvtepu8_epi64(some)));
                }
            }
            out += count;
        }
    }
    scan.out = out;
}

}  // namespace iommufd::inline v0_1::dma

#endif
