// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The model held against Linux: conformance [CALLS [SEED]], on a kernel that has the mock (CONFIG_IOMMUFD_TEST).
#include <sys/eventfd.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "conformance/comparison.hpp"
#include "conformance/reach.hpp"
#include "iommufd/model/machine.hpp"
#include "uapi/iommufd_test.hpp"

namespace {

using namespace iommufd;
using namespace iommufd::conformance;

constexpr std::uint64_t kCalls = 100000;
constexpr std::size_t kLength = 100;      // of a sequence
constexpr unsigned kMostDifferences = 8;  // to print

std::optional<std::uint64_t> number(std::string_view text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return {};
    return value;
}

bool has_mock(sys::Kernel& kernel) {
    const int fd = kernel.open("/dev/iommu", 02000002);
    if (fd < 0) return false;
    uapi::mock::TestCmd command{};
    command.size = sizeof command;
    command.op = uapi::mock::kSetTempMemoryLimit;
    command.memory_limit.limit = 65536;  // as it is anyway
    const int rc = kernel.ioctl(fd, uapi::mock::kTest, &command);
    (void)kernel.close(fd);
    return rc == 0;
}

}  // namespace

int main(int argc, char** argv) {
    const std::optional<std::uint64_t> calls = argc > 1 ? number(argv[1]) : kCalls;
    const std::optional<std::uint64_t> first_seed = argc > 2 ? number(argv[2]) : 1;
    if (!calls || !first_seed || argc > 3) {
        std::fprintf(stderr, "usage: %s [CALLS [SEED]]\n", argv[0]);
        return 64;
    }
    if (!has_mock(sys::host_kernel())) {
        std::puts("SKIP Conformance.OfTheModelWithLinux: this kernel has no mock (CONFIG_IOMMUFD_TEST)");
        return 77;
    }
    Arena arena;
    const int eventfd = ::eventfd(0, EFD_CLOEXEC);
    model::Machine machine({.devices = {}, .mock = true});
    Side model(machine.kernel(), arena, eventfd, false);
    Side linux(sys::host_kernel(), arena, eventfd, true);
    Comparison comparison(model, linux, arena);
    unsigned differences = 0;
    std::uint64_t told = 0;  // calls
    std::uint64_t seed = *first_seed;
    for (; comparison.calls() < *calls && differences < kMostDifferences; ++seed) {
        if (comparison.calls() >= told + kCalls) {
            told = comparison.calls() / kCalls * kCalls;
            std::fprintf(stderr, "%llu calls of %llu\n", static_cast<unsigned long long>(told),
                         static_cast<unsigned long long>(*calls));
        }
        Generator generator(seed);
        if (const auto found = comparison.run(generator, kLength)) {
            ++differences;
            std::printf("seed %llu: the model against Linux\n%s\n", static_cast<unsigned long long>(seed),
                        found->text().c_str());
            (void)std::fflush(stdout);
        }
    }
    std::size_t pairs = 0;
    for (const auto& [name, errnos] : comparison.coverage()) pairs += errnos.size();
    std::printf("%s%llu calls in %llu sequences, %zu pairs of call and errno, %u differences\n",
                text_of(comparison.coverage()).c_str(), static_cast<unsigned long long>(comparison.calls()),
                static_cast<unsigned long long>(seed - *first_seed), pairs, differences);
    (void)::close(eventfd);
    // A short run reaches less.
    if (*calls < kCalls) return differences == 0 ? 0 : 1;
    const Reach reach = reach_of(comparison.coverage());
    std::printf("%zu pairs of the error table are reached\n", reach.reached);
    for (const std::string& pair : reach.excused) std::printf("out of reach: %s\n", pair.c_str());
    for (const std::string& pair : reach.unreached) std::printf("NOT REACHED: %s\n", pair.c_str());
    for (const std::string& pair : reach.wrongly_excused)
        std::printf("REACHED, though called out of reach: %s\n", pair.c_str());
    return differences == 0 && reach.unreached.empty() && reach.wrongly_excused.empty() ? 0 : 1;
}
