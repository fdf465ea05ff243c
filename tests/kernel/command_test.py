#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The command on a real kernel, with devices that nobody here wrote. Runs in the VM, as root:

    vm/run --memory 4G -- /usr/bin/python3 tests/kernel/command_test.py build/dev/src/cli/iommufd dmatest

Besides the command it takes the files of tests/kernel/command that are to run. tests/CMakeLists.txt has the machine that
each of them needs.
"""

import pathlib
import sys
import unittest

sys.dont_write_bytecode = True  # the source tree is read-only there
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from command import support  # noqa: E402


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    support.use(sys.argv[1])
    suite = unittest.defaultTestLoader.loadTestsFromNames(f"command.{module}" for module in sys.argv[2:])
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    for test, reason in result.skipped:
        print(f"SKIP {'.'.join(test.id().split('.')[-2:])}: {reason}")
    sys.exit(not result.wasSuccessful())


if __name__ == "__main__":
    main()
