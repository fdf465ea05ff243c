// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/metrics.hpp"

#include <gmock/gmock.h>

#include "cli/http_server.hpp"

namespace iommufd::cli {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

Json instance(const std::string& space) {
    Json counters{{"mapped-bytes", 4096},  {"pinned-bytes", 8192}, {"maps-by-file", 3},
                  {"maps-by-address", 4},  {"maps-by-copy", 5},    {"unmaps", 2},
                  {"time-ns", 1500000000}, {"pages-of-1g", 6},     {"pages-of-2m", 7},
                  {"small-pages", 8}};
    return {
        {"iommufds",
         Json::array(
             {{{"id", "iommufd0"}, {"open", true}, {"users", Json::array({"a", "b"})}, {"notices", 9}}})},
        {"devices", Json::array()},
        {"spaces",
         Json::array({{{"id", space},
                       {"counters", std::move(counters)},
                       {"devices", Json::array({"a"})},
                       {"mappings",
                        Json::array({{{"state", "mapped"}}, {{"state", "mapped"}}, {{"state", "stuck"}}})},
                       {"not-released", Json::array()}}})}};
}

TEST(MetricsTest, EachCounterIsALineBelowWhatItMeans) {
    const std::string text = metrics_text(instance("dma0"));
    for (const char* const line :
         {"# TYPE iommufd_space_mapped_bytes gauge\niommufd_space_mapped_bytes{space=\"dma0\"} 4096\n",
          "iommufd_space_pinned_bytes{space=\"dma0\"} 8192\n",
          "# TYPE iommufd_space_maps_total counter\niommufd_space_maps_total{space=\"dma0\",way=\"file\"} 3\n"
          "iommufd_space_maps_total{space=\"dma0\",way=\"address\"} "
          "4\niommufd_space_maps_total{space=\"dma0\",way=\"copy\"} 5\n",
          "iommufd_space_unmaps_total{space=\"dma0\"} 2\n",
          "iommufd_space_kernel_seconds_total{space=\"dma0\"} 1.5\n",
          "iommufd_space_io_pages{space=\"dma0\",size=\"2m\"} 7\n",
          "iommufd_space_mappings{space=\"dma0\",state=\"mapped\"} 2\n",
          "iommufd_space_mappings{space=\"dma0\",state=\"stuck\"} 1\n",
          "iommufd_open{iommufd=\"iommufd0\"} 1\n", "iommufd_users{iommufd=\"iommufd0\"} 2\n",
          "iommufd_notices_total{iommufd=\"iommufd0\"} 9\n"})
        EXPECT_THAT(text, HasSubstr(line));
}

TEST(MetricsTest, NamesCanNotBreakALine) {
    EXPECT_THAT(metrics_text(instance("a\"b\\c\nd")), HasSubstr(R"({space="a\"b\\c\nd"} 4096)"));
}

TEST(HttpServerTest, OnlyThisMachineIsServed) {
    for (const char* const where :
         {"0.0.0.0:9100", "localhost:9100", "127.0.0.1", "127.0.0.1:99999", "unix:", ":9100", "[::]:9100"})
        EXPECT_EQ(serve_http(where, [] { return Result<std::string>(""); }).error().code(), EINVAL) << where;
}

}  // namespace
}  // namespace iommufd::cli
