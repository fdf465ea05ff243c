// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "intercept/testing/client.hpp"

int main(int argc, char** argv) {
    using namespace client;
    EXPECT(argc >= 2);
    for (const Named* const list : {kDescriptors, kPaths, kDevices, kMemory, kMock, kAttacks})
        for (const Named* named = list; named->name != nullptr; ++named)
            if (std::strcmp(named->name, argv[1]) == 0) {
                named->run(argv + 2);
                return 0;
            }
    std::fprintf(stderr, "there is no '%s'\n", argv[1]);
    return 2;
}
