// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Prints the error table as Markdown: docs/errors.md is made from it by docs/generate.
#include <cstdio>
#include <iterator>
#include <string>
#include <vector>

#include "error/operations.hpp"
#include "error/table.hpp"

using namespace iommufd;

namespace {

// As a cell of a table.
std::string cell(std::string_view text) {
    std::string escaped;
    for (const char c : text) {
        if (c == '|' || c == '<') escaped += '\\';
        escaped += c;
    }
    return escaped;
}

void print(const std::string& title, const std::vector<const Row*>& rows) {
    std::printf("\n## %s\n\n| errno | cause | next step |\n| --- | --- | --- |\n", title.c_str());
    for (const Row* row : rows)
        std::printf("| %s | %s | %s |\n", errno_name(row->code).c_str(), cell(row->cause).c_str(),
                    cell(row->next_step).c_str());
}

std::vector<const Row*> rows_of(Operation operation) {
    std::vector<const Row*> rows;
    for (const Row& row : table_rows())
        if (row.operation == operation) rows.push_back(&row);
    return rows;
}

}  // namespace

int main() {
    for (const OperationFacts& facts : kOperations) {
        const auto rows = rows_of(facts.operation);
        if (facts.operation == Operation::none || rows.empty()) continue;
        print(std::string(facts.name) + (facts.since.empty() ? "" : ": Linux " + std::string(facts.since)),
              rows);
    }
    print("Whatever the operation", rows_of(Operation::none));
}
