// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Prints the table of deviations as Markdown: docs/deviations.md is made from it by docs/generate.
#include <cstdio>
#include <string_view>

#include "model/deviations.hpp"

using namespace iommufd;

namespace {

void print(std::string_view title, model::Deviation kind) {
    const bool of_linux = kind != model::Deviation::lacking;
    std::printf("\n## %.*s\n\n%s\n", static_cast<int>(title.size()), title.data(),
                of_linux ? "| where | what | Linux | shown by |\n| --- | --- | --- | --- |"
                         : "| where | what |\n| --- | --- |");
    for (const model::DeviationRow& row : model::kDeviations) {
        if (row.kind != kind) continue;
        std::printf("| %.*s | %.*s |", static_cast<int>(row.where.size()), row.where.data(),
                    static_cast<int>(row.what.size()), row.what.data());
        if (of_linux)
            std::printf(" %.*s | %.*s |", static_cast<int>(row.kernels.size()), row.kernels.data(),
                        static_cast<int>(row.shown_by.size()), row.shown_by.data());
        std::printf("\n");
    }
}

}  // namespace

int main() {
    print("Defects of Linux that the model has too", model::Deviation::imitated);
    print("Defects of Linux that the model has not", model::Deviation::mended);
    print("What the model can't do", model::Deviation::lacking);
}
