#!/bin/sh
# Makes the files beside it with SOPS itself: `sh make.sh`, with `sops` and `age-keygen` on the path.
# What is here was made by sops 3.11.0.
set -eu
cd "$(dirname "$0")"
rm -f ./*.yaml ./*.json ./*.env ./*.bin ./*.key
age-keygen -o first.key 2>/dev/null
age-keygen -o second.key 2>/dev/null
first=$(age-keygen -y first.key)
second=$(age-keygen -y second.key)
plain=$(mktemp -d)
cat >"$plain/all.yaml" <<'END'
# Comments are encrypted, too
db:
    # and inside
    password: "hünter2 and \"more\""
    port: 5432
    ratio: 1.50
    tls: true
    nothing: null
    since: 2024-01-02
    empty: ""
    list:
        - first
        - key: second
          n: -7
        - [x, 'y']
"a/b~c:d": odd key
lines: |
    line 1
    line 2
clear_unencrypted: { text: visible, number: 0x10, ratio: 2.50, small: 1e-7, yes: true, no: ~, since: 2024-01-02 }
END
cat >"$plain/all.json" <<'END'
{"db": {"password": "hunter2", "port": 5432, "big": 1e21, "tls": false, "none": null, "list": ["a", 1.5, {"b": "c"}]},
 "clear_unencrypted": {"n": 1e21, "small": 0.0000001, "yes": true, "list": [1, "x"]}}
END
printf '# Comment\nDB_PASSWORD=hunter2\nLINES=a\\nb=c\nEMPTY=\nCLEAR_unencrypted=visible\n' >"$plain/all.env"
printf 'the whole\nfile' >"$plain/whole.bin"
printf 'kind: Secret\nname: shop\ndata:\n    password: hunter2\nother: { data: { x: y } }\n' >"$plain/rules.yaml"
sops encrypt --age "$first" "$plain/all.yaml" >all.yaml
sops encrypt --age "$first" "$plain/all.json" >all.json
sops encrypt --age "$first" "$plain/all.env" >all.env
sops encrypt --age "$first" "$plain/whole.bin" >whole.bin
sops encrypt --age "$second,$first" "$plain/rules.yaml" >both.yaml
sops encrypt --age "$second" "$plain/rules.yaml" >second.yaml
sops encrypt --age "$first" --encrypted-regex '^(data|stringData)$' "$plain/rules.yaml" >regex.yaml
sops encrypt --age "$first" --unencrypted-regex '^(kind|name)$' "$plain/rules.yaml" >clear-regex.yaml
sops encrypt --age "$first" --encrypted-suffix word "$plain/rules.yaml" >suffix.yaml
cat >"$plain/.sops.yaml" <<END
creation_rules: [{ age: $first, encrypted_regex: '^data$', mac_only_encrypted: true }]
END
(cd "$plain" && sops encrypt rules.yaml) >mac-only.yaml
# The same file after an edit: the data key stays.
cp all.yaml edited.yaml
SOPS_AGE_KEY_FILE=first.key sops set edited.yaml '["db"]["password"]' '"another"'
rm -r "$plain"
