#!/usr/bin/env bash
# Every test: on this machine, under the sanitizers, and on a real kernel in a VM. Installs what is missing.
#
#   ./test.sh                everything but the long ones
#   ./test.sh --strict       fails on a skipped test that tests/expected-skips doesn't list, and without a VM
#   ./test.sh --old-kernel   also on Linux 6.12 and on a kernel without iommufd, which are built first (12 minutes)
#   ./test.sh --tidy         also clang-tidy over all sources
#   ./test.sh --long         also the random tests at length: a million steps and calls on the model and on Linux, a minute of stress
#   ./test.sh --debian-13    also builds the packages on Debian 13, and installs them there
#   ./test.sh --only REGEX   only tests whose names match
set -euo pipefail
cd "$(dirname "$0")"

strict=OFF old_kernel=OFF tidy=OFF long=OFF debian_13=OFF only=()
while [ $# -gt 0 ]; do
    case $1 in
    --strict) strict=ON ;;
    --old-kernel) old_kernel=ON ;;
    --tidy) tidy=ON ;;
    --long) long=ON ;;
    --debian-13) debian_13=ON ;;
    --only) only=(-R "$2"); shift ;;
    *) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 64 ;;
    esac
    shift
done

step() { printf '== %s (%d:%02d)\n' "$*" $((SECONDS / 60)) $((SECONDS % 60)); }

step "packages"
scripts/install build test package bench vm
vm=yes
vm/qemu || vm=no
step "the kernel under test"
[ $vm = yes ] && vm/kernel new >/dev/null || vm=no
[ $old_kernel = OFF ] || { vm/kernel old && vm/kernel without-iommufd; } >/dev/null
if [ $vm = no ]; then
    echo "There is no VM, so the tests on a real kernel are skipped." >&2
    [ $strict = OFF ] || { echo "--strict: that is a failure." >&2; exit 1; }
fi

for preset in asan tsan dev; do
    step "build/$preset"
    cmake --preset $preset -DIOMMUFD_SANITIZER_TREES=$([ $preset = dev ] && echo ON || echo OFF) \
        -DIOMMUFD_FUZZ=$([ $preset = asan ] && echo ON || echo OFF) \
        -DIOMMUFD_FUZZ_SECONDS=$([ $long = ON ] && echo 600 || echo 15) \
        -DIOMMUFD_FUZZ_SEED=$([ $long = ON ] && echo 0 || echo 1) \
        -DIOMMUFD_BENCH=ON -DIOMMUFD_OLD_KERNEL=$old_kernel -DIOMMUFD_TIDY=$tidy -DIOMMUFD_LONG=$long -DIOMMUFD_DEBIAN_13=$debian_13 >/dev/null
    cmake --build --preset $preset
done

step "tests"
export IOMMUFD_STRICT=$strict
start=$(mktemp)
trap 'rm -f "$start"' EXIT
ctest --test-dir build/dev --output-on-failure --no-tests=error -j2 "${only[@]}" && exit
status=$?
tests/failures "$start" build/dev build/asan build/tsan
exit $status
