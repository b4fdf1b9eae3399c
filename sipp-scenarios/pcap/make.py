#!/usr/bin/env python3
"""Makes the RTP captures that the scenarios play. Needs espeak-ng and nothing beyond Python's standard library.

    sipp-scenarios/pcap/make.py

SIPp sends the UDP payload of every packet at the capture's pace and takes addresses from the call, so a capture
is G.711 mu-law (RFC 3551) and telephone events (RFC 4733) in RTP, one stream, one SSRC, sequence without a gap.
The captures are checked in: tests need neither this script nor a synthesiser.
"""

import math
import pathlib
import random
import struct
import subprocess
import tempfile
import wave

HERE = pathlib.Path(__file__).parent
FRAME = 160  # samples of 20 ms
PCMU, EVENTS = 0, 101
KEYS = "0123456789*#ABCD"

REQUEST = "Hello. I moved house last week, and my bill still goes to the old address. Can you change it?"
ANSWER = "Good morning."


def speech(text, rate=8000):
    """`text` as 16-bit samples at 8 kHz, loudest at -9 dBFS."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        subprocess.run(["espeak-ng", "-v", "en", "-s", "150", "-w", file.name, text], check=True)
        with wave.open(file.name) as wav:
            source = wav.getframerate()
            raw = wav.readframes(wav.getnframes())
    samples = struct.unpack(f"<{len(raw) // 2}h", raw)
    out = resample(samples, source, rate)
    loudest = max(abs(s) for s in out)
    return [int(s * 11600 / loudest) for s in out]


def resample(samples, source, target, taps=48):
    """Windowed sinc below the lower Nyquist frequency; slow and good enough for seconds of speech."""
    cut = 0.92 * min(1.0, target / source)
    out = []
    for n in range(int(len(samples) * target / source)):
        centre = n * source / target
        total = 0.0
        for k in range(int(centre) - taps, int(centre) + taps + 1):
            if 0 <= k < len(samples):
                x = k - centre
                sinc = cut if x == 0 else math.sin(math.pi * cut * x) / (math.pi * x)
                total += samples[k] * sinc * (0.5 + 0.5 * math.cos(math.pi * x / (taps + 1)))
        out.append(total)
    return out


def ulaw(sample):
    """One sample as a mu-law octet (ITU-T G.711)."""
    sign = 0x80 if sample < 0 else 0
    magnitude = min(abs(sample), 32635) + 132
    segment = magnitude.bit_length() - 8
    return ~(sign | segment << 4 | magnitude >> (segment + 3) & 15) & 0xFF


class Capture:
    """A pcap under construction: one RTP stream on a 20 ms clock."""

    def __init__(self, seed):
        self.noise = random.Random(seed)
        self.sequence = self.noise.randrange(0x8000)
        self.timestamp = self.noise.randrange(0x80000000)
        self.ssrc = self.noise.randrange(1, 0x80000000)
        self.ticks = 0
        self.talking = False
        self.packets = []

    def rtp(self, payload_type, marker, timestamp, payload):
        head = struct.pack(">BBHII", 0x80, marker << 7 | payload_type, self.sequence & 0xFFFF,
                           timestamp & 0xFFFFFFFF, self.ssrc)
        self.sequence += 1
        self.packets.append((self.ticks, head + payload))

    def audio(self, samples):
        """Samples in 20 ms frames; the last is filled up with silence."""
        for start in range(0, len(samples), FRAME):
            frame = list(samples[start:start + FRAME])
            frame += [0] * (FRAME - len(frame))
            self.rtp(PCMU, 0 if self.talking else 1, self.timestamp, bytes(map(ulaw, frame)))
            self.talking = True
            self.timestamp += FRAME
            self.ticks += 1
        return self

    def quiet(self, milliseconds):
        """A room: noise at about -66 dBFS."""
        return self.audio([self.noise.randrange(-16, 17) for _ in range(8 * milliseconds)])

    def press(self, digit, milliseconds=160):
        """RFC 4733 section 2.5: growing durations on one timestamp, the end sent three times."""
        began = self.timestamp
        frames = milliseconds // 20
        for frame in range(1, frames + 1):
            self.rtp(EVENTS, frame == 1, began, self.event(digit, 0, frame * FRAME))
            self.ticks += 1
        for _ in range(3):
            self.rtp(EVENTS, 0, began, self.event(digit, 1, frames * FRAME))
            self.ticks += 1
        self.timestamp += (frames + 3) * FRAME
        self.talking = False
        return self

    @staticmethod
    def event(digit, end, duration):
        return struct.pack(">BBH", KEYS.index(digit), end << 7 | 10, duration)

    def write(self, name):
        out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
        for index, (tick, rtp) in enumerate(self.packets):
            udp = struct.pack(">HHHH", 6000, 6000, 8 + len(rtp), 0) + rtp
            loopback = bytes([127, 0, 0, 1])
            ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), index & 0xFFFF, 0, 64, 17, 0,
                             loopback, loopback)
            total = sum(struct.unpack(">10H", ip))
            total = (total & 0xFFFF) + (total >> 16)
            ip = ip[:10] + struct.pack(">H", ~total & 0xFFFF) + ip[12:]
            frame = bytes(12) + b"\x08\x00" + ip + udp
            out += struct.pack("<IIII", tick // 50, tick % 50 * 20000, len(frame), len(frame)) + frame
        (HERE / name).write_bytes(out)
        print(f"{name}: {len(self.packets)} packets, {self.ticks / 50:.2f} s, {len(out)} octets")


def main():
    hello = speech(ANSWER)
    Capture(1).audio(speech(REQUEST)).quiet(500).write("speech.pcap")
    Capture(2).quiet(400).audio(hello).quiet(500).write("good-morning.pcap")
    Capture(3).quiet(400).audio(hello).quiet(300).press("0").quiet(300).write("good-morning-0.pcap")
    keys = Capture(4).quiet(300)
    for digit in "42#":
        keys.press(digit).quiet(100)
    keys.quiet(200).write("keys-42-hash.pcap")


if __name__ == "__main__":
    main()
