#!/usr/bin/env bash
# From nothing to a first DMA: installs the build packages that are missing, builds the library and the
# command, and runs the main job on the embedded model kernel. No IOMMU and no privilege is needed for that.
#
#   ./quickstart.sh                install, build, run
#   ./quickstart.sh --no-install   print what would be installed, and stop if something is missing
set -euo pipefail
cd "$(dirname "$0")"

case ${1-} in
'') ;;
--no-install)
    if ! scripts/install --no-install build; then
        echo "Run the line above, then ./quickstart.sh again." >&2
        exit 1
    fi
    ;;
*)
    sed -n '2,7s/^# \{0,1\}//p' "$0"
    exit 64
    ;;
esac

echo "== packages"
scripts/install build
echo "== build (build/release)"
cmake --preset release >/dev/null
cmake --build --preset release
echo "== iommufd dmatest --model"
exec build/release/src/cli/iommufd dmatest --model
