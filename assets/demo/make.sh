#!/bin/sh
# Speaks the demo's caller into caller.ulaw: G.711 μ-law, 8 kHz, mono, no header.
# Needs flite and sox (Debian: apt-get install flite sox). The voice is CMU ARCTIC rms, free for any use.
set -eu
cd "$(dirname "$0")"
words=$(mktemp --suffix=.wav)
trap 'rm -f "$words"' EXIT
flite -voice rms -t "Hello. I would like to change the delivery address of my order." -o "$words"
sox -D "$words" -r 8000 -c 1 -e mu-law -t raw caller.ulaw \
    highpass 120 norm -6 silence 1 0.01 0.3% reverse silence 1 0.01 0.3% reverse
