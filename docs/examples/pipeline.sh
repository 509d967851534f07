#!/bin/sh
# Deploys a repository of flows from any CI system; run in the repository's root.
#
#   pipeline.sh plan     check everything, and write what a deploy would change: build/plan.json and build/plan.md
#   pipeline.sh apply    carry out build/plan.json, and nothing else
#
# DEPLOYMENT_ENV names the environment; without it, it is production.
# Ends with 0 when done, and with 3 when the plan was stale: then nothing was written and a new plan is in build/.
set -eu
DEPLOYMENT_ENV=${DEPLOYMENT_ENV:-production}
export DEPLOYMENT_ENV

plan() {
    mkdir -p build
    rm -f build/plan.json build/plan.md
    meta-flows validate --environment "$DEPLOYMENT_ENV"
    changes=0
    meta-flows plan --out build/plan.json --markdown build/plan.md --detailed-exitcode || changes=$?
    [ "$changes" -eq 0 ] || [ "$changes" -eq 2 ] || exit "$changes" # 2: there is something to change
}

apply() {
    failed=0
    # The plan was approved where the CI system asks for that, also for an environment with `require_approval: true`.
    meta-flows deploy --plan build/plan.json --yes 2>build/errors.txt || failed=$?
    cat build/errors.txt >&2
    [ "$failed" -eq 0 ] && exit 0
    grep -q MF510 build/errors.txt || exit "$failed"
    plan
    echo "The plan was stale. Look at the new one, then apply that." >&2
    exit 3
}

case ${1:-} in
plan | apply) "$1" ;;
*)
    echo "usage: pipeline.sh plan|apply" >&2
    exit 2
    ;;
esac
