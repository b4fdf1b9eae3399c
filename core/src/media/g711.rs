//! G.711 (ITU-T G.711): μ-law and A-law, by tables that the reference algorithm fills once per process.
//!
//! A table look-up encodes a 20 ms frame in some 50 ns, the arithmetic in 250 ns. Not here: concealment
//! (Appendix I), which is [`super::conceal`].

use std::sync::LazyLock;

use audio_codec_algorithms as reference;

/// The two laws, under their names in SDP (RFC 3551 §4.5.14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Codec {
    /// μ-law.
    #[default]
    Pcmu,
    /// A-law.
    Pcma,
}

impl Codec {
    /// The static RTP payload type (RFC 3551 §6).
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
        }
    }

    /// The encoding name in `a=rtpmap`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
        }
    }

    /// From an encoding name in any case (RFC 8866 §6.6: names are case-insensitive).
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Pcmu, Self::Pcma]
            .into_iter()
            .find(|codec| codec.name().eq_ignore_ascii_case(name))
    }

    /// From a static payload type.
    pub fn from_payload_type(payload_type: u8) -> Option<Self> {
        match payload_type {
            0 => Some(Self::Pcmu),
            8 => Some(Self::Pcma),
            _ => None,
        }
    }

    /// The octet of a zero sample.
    pub const fn silence(self) -> u8 {
        match self {
            Self::Pcmu => 0xff,
            Self::Pcma => 0xd5,
        }
    }

    fn tables(self) -> &'static Law {
        match self {
            Self::Pcmu => &TABLES.ulaw,
            Self::Pcma => &TABLES.alaw,
        }
    }
}

/// Decodes one octet. Never fails: every octet is a code word.
pub fn decode(codec: Codec, octet: u8) -> i16 {
    codec.tables().decode[usize::from(octet)]
}

/// Encodes one 16-bit sample.
pub fn encode(codec: Codec, sample: i16) -> u8 {
    codec.tables().encode[usize::from(sample.cast_unsigned())]
}

/// Decodes a payload into `samples`; as many as the shorter of the two holds.
///
/// * `payload`: one octet per sample, 8 kHz mono; 160 octets at ptime 20.
/// * returns how many samples were written.
pub fn decode_into(codec: Codec, payload: &[u8], samples: &mut [i16]) -> usize {
    let table = &codec.tables().decode;
    for (sample, octet) in samples.iter_mut().zip(payload) {
        *sample = table[usize::from(*octet)];
    }
    payload.len().min(samples.len())
}

/// Encodes `samples` and appends them to `payload`.
pub fn encode_into(codec: Codec, samples: &[i16], payload: &mut Vec<u8>) {
    let table = &codec.tables().encode;
    payload.extend(
        samples
            .iter()
            .map(|sample| table[usize::from(sample.cast_unsigned())]),
    );
}

/// Encodes `samples` over `octets`; as many as the shorter of the two holds.
pub fn encode_over(codec: Codec, samples: &[i16], octets: &mut [u8]) {
    let table = &codec.tables().encode;
    for (octet, sample) in octets.iter_mut().zip(samples) {
        *octet = table[usize::from(sample.cast_unsigned())];
    }
}

/// Rewrites octets of one law in the other, in place; nothing happens when the laws agree.
pub fn transcode(from: Codec, to: Codec, octets: &mut [u8]) {
    if from == to {
        return;
    }
    let table = &from.tables().other;
    for octet in octets {
        *octet = table[usize::from(*octet)];
    }
}

/// One law as tables.
struct Law {
    decode: [i16; 256],
    /// By the sample's bits taken as unsigned.
    encode: Box<[u8; 65_536]>,
    /// The same code word in the other law.
    other: [u8; 256],
}

struct Tables {
    ulaw: Law,
    alaw: Law,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let law = |decode: fn(u8) -> i16, encode: fn(i16) -> u8, other: fn(i16) -> u8| Law {
        decode: std::array::from_fn(|octet| decode(low_octet(octet))),
        encode: (0..=u16::MAX)
            .map(|bits| encode(bits.cast_signed()))
            .collect::<Box<[u8]>>()
            .try_into()
            .expect("one octet for each of the 65 536 samples"),
        other: std::array::from_fn(|octet| other(decode(low_octet(octet)))),
    };
    Tables {
        ulaw: law(
            reference::decode_ulaw,
            reference::encode_ulaw,
            reference::encode_alaw,
        ),
        alaw: law(
            reference::decode_alaw,
            reference::encode_alaw,
            reference::encode_ulaw,
        ),
    }
});

fn low_octet(index: usize) -> u8 {
    index.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_table_of_the_recommendation_holds() {
        // linear, μ, decoded, A, decoded
        let rows: [(i16, u8, i16, u8, i16); 9] = [
            (0, 0xff, 0, 0xd5, 8),
            (4, 0xfe, 8, 0xd5, 8),
            (100, 0xf2, 104, 0xd3, 104),
            (-104, 0x72, -104, 0x53, -104),
            (1000, 0xce, 988, 0xfa, 1008),
            (-1000, 0x4e, -988, 0x7a, -1008),
            (8159, 0x9f, 8316, 0x8a, 8064),
            (32767, 0x80, 32124, 0xaa, 32256),
            (-32768, 0x00, -32124, 0x2a, -32256),
        ];
        for (linear, mu, from_mu, a, from_a) in rows {
            assert_eq!(encode(Codec::Pcmu, linear), mu, "μ of {linear}");
            assert_eq!(decode(Codec::Pcmu, mu), from_mu, "μ {mu:#x}");
            assert_eq!(encode(Codec::Pcma, linear), a, "A of {linear}");
            assert_eq!(decode(Codec::Pcma, a), from_a, "A {a:#x}");
        }
    }

    #[test]
    fn a_negative_sample_halfway_between_two_words_takes_the_softer_one() {
        // ITU-T G.191 complements where others negate; the two differ only at such ties.
        assert_eq!(encode(Codec::Pcmu, -100), 0x73);
        assert_eq!(encode(Codec::Pcmu, -101), 0x72);
    }

    #[test]
    fn every_code_word_survives_a_round_trip_but_negative_zero() {
        for octet in 0..=255 {
            let again = encode(Codec::Pcmu, decode(Codec::Pcmu, octet));
            assert_eq!(again, if octet == 0x7f { 0xff } else { octet });
            assert_eq!(encode(Codec::Pcma, decode(Codec::Pcma, octet)), octet);
        }
    }

    #[test]
    fn transcoding_equals_decoding_and_encoding() {
        for octet in 0..=255 {
            for (from, to) in [(Codec::Pcmu, Codec::Pcma), (Codec::Pcma, Codec::Pcmu)] {
                let mut word = [octet];
                transcode(from, to, &mut word);
                assert_eq!(word[0], encode(to, decode(from, octet)));
                transcode(to, to, &mut word);
                assert_eq!(word[0], encode(to, decode(from, octet)));
            }
        }
    }

    #[test]
    fn names_are_read_in_any_case_and_strangers_are_not() {
        assert_eq!(Codec::from_name("pcmu"), Some(Codec::Pcmu));
        assert_eq!(Codec::from_name("PCMA"), Some(Codec::Pcma));
        assert_eq!(Codec::from_name("G722"), None);
        assert_eq!(Codec::from_payload_type(8), Some(Codec::Pcma));
        assert_eq!(Codec::from_payload_type(9), None);
        for codec in [Codec::Pcmu, Codec::Pcma] {
            assert!(decode(codec, codec.silence()).abs() <= 8);
        }
    }

    proptest! {
        #[test]
        fn frames_agree_with_single_samples(samples: Vec<i16>) {
            for codec in [Codec::Pcmu, Codec::Pcma] {
                let mut payload = Vec::new();
                encode_into(codec, &samples, &mut payload);
                let mut over = vec![0; samples.len()];
                encode_over(codec, &samples, &mut over);
                prop_assert_eq!(&payload, &over);
                let mut back = vec![0; samples.len()];
                prop_assert_eq!(decode_into(codec, &payload, &mut back), samples.len());
                for (sample, decoded) in samples.iter().zip(&back) {
                    prop_assert_eq!(decode(codec, encode(codec, *sample)), *decoded);
                    // Quantisation error grows with the segment: at most 1/16 of the value, or 8 near zero.
                    let error = (i32::from(*sample) - i32::from(*decoded)).abs();
                    prop_assert!(error <= 644.max(i32::from(*sample).abs() / 16 + 16));
                }
            }
        }
    }
}
