#!/bin/sh
# A release from data to production and back, with nothing but a store: train three candidates, promote the best by
# policy, refuse what the policy does not pass, roll back, and prove it all elsewhere with the public key alone.
# Run it in an empty folder: sh .../examples/release/release.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)

for name in keys store away .git; do
  if [ -e "$name" ]; then
    echo "release.sh: $PWD/$name is there already; run it in an empty folder" >&2
    exit 2
  fi
done

say() { printf '\n== %s\n' "$*"; }
refused() { # a command that must be refused: exit status 1
  status=0
  "$@" || status=$?
  test "$status" = 1
}

say 'a repository with the code, a store, a key'
cp "$here"/*.py "$here"/policy.toml .
printf 'store/\nkeys/\naway/\n*.csv\n__pycache__/\nlineart.toml\n' > .gitignore
git init --quiet
git -c user.name=ada -c user.email=ada@example.com add .
git -c user.name=ada -c user.email=ada@example.com commit --quiet -m "the code of the release"
art init ./store --project digits
art key new keys/release
export LINEART_SIGNING_KEY="$PWD/keys/release.key"

say 'data, three candidates, an evaluation of each on the same images'
export LINEART_OBSERVE="$PWD" # what a run reads below here, and nobody has declared, is recorded
python data.py
python train.py --strength 0.05 --images 400
python train.py --strength 0.05
python train.py --strength 0.0001
for version in v0 v1 v2; do python evaluate.py "classifier:$version"; done

say 'the registered model, its policy, and the first release'
art registry create digit-reader --protect production
art registry policy set policy.toml digit-reader
refused art promote classifier:v0 --in model-registry/digit-reader --to production --explain
art promote classifier:v1 --in model-registry/digit-reader --to production -m "the best of three"

say 'a worse one is refused, with the clause and the number'
refused art promote classifier:v2 --in model-registry/digit-reader --to production

say 'one with an input that nobody has logged is refused'
art cat golden:v0/images.csv > more.csv
python train.py --strength 0.06 --more more.csv
python evaluate.py classifier:v3
refused art promote classifier:v3 --in model-registry/digit-reader --to production

say 'one from a dirty tree is refused'
echo '# a change that nobody has committed' >> train.py
python train.py --strength 0.055
python evaluate.py classifier:v4
refused art promote classifier:v4 --in model-registry/digit-reader --to production
git checkout --quiet train.py

say 'a better one is released, and rolled back'
python train.py --strength 0.5
python evaluate.py classifier:v5
art promote classifier:v5 --in model-registry/digit-reader --to production --expect v1
art rollback digit-reader production -m "errors since 14:00"

say 'what happened'
art registry log digit-reader

say 'proved elsewhere: a copy of the store and the public key'
mkdir away
cp -R store away/store
cp keys/release.pub away/
unset LINEART_SIGNING_KEY
cd away
art --store ./store registry audit --signed-by release.pub --policy ../policy.toml
art --store ./store verify digit-reader:production --signed-by release.pub
