// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The answers to a device's page requests, on their way to the device: who answers holds locks that come after the device's, so
// the machine's thread brings them.
#pragma once

#include <functional>
#include <memory>

#include "model/fault_queue.hpp"
#include "model/worker.hpp"

namespace iommufd::inline v0_1::model {

class PageAnswers {
public:
    PageAnswers();

    // May be called with any lock held.
    OnAnswer teller() const;
    // From now on `tell` runs in the worker's thread after each answer; what it uses outlives the worker.
    void watch(Worker& worker, std::function<void(bool there)> tell);

private:
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace iommufd::inline v0_1::model
