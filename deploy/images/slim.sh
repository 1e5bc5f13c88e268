#!/bin/sh
# Remove from a folder of packages what is needed to compile or to test, never to run. Usage: slim.sh SITE_PACKAGES
set -eu
cd "$1"
rm -rf tensorflow/include ray/jars pyarrow/include pyarrow/tests pandas/tests matplotlib/tests
for package in numpy scipy sklearn; do
    find "$package" -type d -name tests -prune -exec rm -rf {} + 2>/dev/null || true
done
