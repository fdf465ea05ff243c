// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The operations of the test command (Linux: CONFIG_IOMMUFD_TEST, selftest.c), by what they work on.
#pragma once

#include "model/context.hpp"
#include "uapi/iommufd_test.hpp"

namespace iommufd::inline v0_1::model {

struct Context::Mock {
    using Command = uapi::mock::TestCmd;

    static int run(Context& context, Command& command, const Call& call);
    // A COPY whose flags say that its source is the n-th area: the IOVA becomes a real one.
    static void name_by_area(Context& context, uapi::IoasCopy& command);

    // mock_device_commands.cpp
    static int add_device(Context& context, Command& command, const Call& call);
    static int replace(Context& context, Command& command, const Call& call);
    static int pasid_attach(Context& context, Command& command, const Call& call);
    static int pasid_replace(Context& context, Command& command, const Call& call);
    static int pasid_detach(Context& context, const Command& command);
    static int pasid_check(Context& context, const Command& command);
    static int check_cache(Context& context, const Command& command);
    static int trigger_fault(Context& context, const Command& command);
    static int trigger_event(Context& context, const Command& command);

    // mock_checks.cpp
    static int add_reserved(Context& context, const Command& command);
    static int check_map(Context& context, const Command& command);
    static int check_pins(Context& context, const Command& command);
    static int check_iotlb(Context& context, const Command& command);
    static int make_dirty(Context& context, Command& command, const Call& call);
    static int get_dma_buffer(Context& context, const Command& command);
    static int revoke_dma_buffer(Context& context, const Command& command);

    // mock_access.cpp
    static int create_access(Context& context, Command& command, const Call& call);
    static int replace_ioas(Context& context, const Command& command);
    static int pin_pages(Context& context, Command& command, const Call& call);
    static int unpin_pages(Context& context, const Command& command);
    static int transfer(Context& context, const Command& command);
};

}  // namespace iommufd::inline v0_1::model
