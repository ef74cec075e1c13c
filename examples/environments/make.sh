#!/bin/sh
# Makes what an example cannot ship: sixty folders that play machines, the list of them for
# the operator's config, and a Git repository with a stack for each module and environment.
set -eu
cd "$(dirname "$0")"
mkdir -p targets.d repo
cp -r modules values.yaml repo/

before=
for env in dev stage prod; do
    for number in $(seq -w 1 20); do
        target="$env-$number"
        root="$PWD/machines/$target"
        mkdir -p "$root/etc"
        printf '%s\n' "$target" | sha256sum | cut -c1-32 > "$root/etc/machine-id"
        printf '[targets.%s]\ntype = "machine"\nroot = "%s"\nlabels = { env = "%s", root = "%s" }\n\n' \
            "$target" "$root" "$env" "$root" >> "targets.d/$env.toml"
    done
    for module in base web app logs; do
        stack="repo/envs/$env/$module"
        mkdir -p "$stack"
        {
            printf 'name: %s-%s\nrenderer: jinja\nfrom: /modules/%s\nvalues: [/values.yaml]\n' "$module" "$env" "$module"
            printf 'targets: { env: %s }\non_commit: apply\non_drift: apply\n' "$env"
            # One target shows whether it is any good; then all of dev, and a few at a time elsewhere.
            [ "$env" = dev ] && then=100% || then=5
            printf 'rollout: { first: 1, then: %s }\n' "$then"
            # An environment begins once the one before it is as Git says, and checked.
            [ -z "$before" ] || printf 'needs: [%s-%s]\n' "$module" "$before"
            [ "$module" != web ] || printf \
                'checks: [{ exec: [/bin/grep, -q, "^workers = [1-9]", "{labels.root}/etc/web.conf"], within: 2s }]\n'
        } > "$stack/stack.yaml"
    done
    before=$env
done

git init --quiet --initial-branch=main repo
# A commit needs an author; on a new machine Git may know none.
git config user.email >/dev/null || git -C repo config user.email "you@example.com"
git config user.name >/dev/null || git -C repo config user.name "You"
git -C repo add --all
git -C repo commit --quiet -m "Three environments"
