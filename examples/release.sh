#!/bin/sh
# The shell steps of a release: each is one command that a CI job can run with nothing but access to the store.
set -eu

art init ./store --project release
echo '{"bias": 0.5}' > model.json
art put model.json -n model -t model -m accuracy=0.90
art alias model:v0 production --expect none

# A new candidate. It is verified, compared and promoted only if production is still what we looked at.
echo '{"bias": 0.6}' > model.json
art put model.json -n model -t model -m accuracy=0.94 -a candidate
art verify model:candidate
art diff model:production model:candidate
art alias model:candidate production --expect v0

# Somebody who looked earlier is told instead of overwriting:
if art alias model:v0 production --expect none; then exit 1; fi

# Back to the version before, and the history of it all.
art alias model:v0 production --expect v1
art log model
test "$(art cat model:production/model.json)" = '{"bias": 0.5}'
