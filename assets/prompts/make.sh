#!/bin/sh
# Speaks texts.tsv (name, tab, text) into NAME.ulaw: G.711 μ-law, 8 kHz, mono, no header.
# Needs flite and sox (Debian: apt-get install flite sox). The voice is CMU ARCTIC slt, free for any use.
# Silence around the words is cut, so that a prompt answers at once and its mark comes when the last word was heard.
set -eu
cd "$(dirname "$0")"
words=$(mktemp --suffix=.wav)
trap 'rm -f "$words"' EXIT
while IFS="$(printf '\t')" read -r name text; do
    flite -voice slt -t "$text" -o "$words" </dev/null
    sox -D "$words" -r 8000 -c 1 -e mu-law -t raw "$name.ulaw" \
        highpass 120 norm -6 \
        silence 1 0.01 0.3% reverse silence 1 0.01 0.3% reverse \
        pad 0.02 0.08 </dev/null
done <texts.tsv
