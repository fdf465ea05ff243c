// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

// Marks what the shared libraries export; everything else in them is hidden.
#define IOMMUFD_EXPORT [[gnu::visibility("default")]]
