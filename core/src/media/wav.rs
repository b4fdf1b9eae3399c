//! WAV files (RIFF): a header to write and to patch while recording, and a reader for what people bring.
//!
//! Read: PCM of 8 and 16 bits and G.711, any number of channels up to 8, any rate from 4 to 192 kHz.

use super::g711::{self, Codec};
use super::resample;
use crate::vocab::SampleRate;

/// Octets of the header that [`header`] writes.
pub const HEADER_LEN: usize = 44;
/// Where the RIFF size stands, and where the data size does; [`sizes`] says what goes there.
pub const SIZE_OFFSETS: [u64; 2] = [4, 40];

const PCM: u16 = 1;
const ALAW: u16 = 6;
const ULAW: u16 = 7;
const EXTENSIBLE: u16 = 0xfffe;
const MAX_CHANNELS: u16 = 8;

/// Why a file is no WAV we read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WavError {
    /// Does not start with `RIFF....WAVE`.
    #[error("not a WAV file")]
    NotRiff,
    /// Ends within the format chunk.
    #[error("the file is cut short")]
    Truncated,
    /// No `fmt ` chunk before the data.
    #[error("no format chunk")]
    NoFormat,
    /// No `data` chunk.
    #[error("no data chunk")]
    NoData,
    /// A codec or sample width we do not read.
    #[error("format {tag} with {bits} bits per sample is not supported")]
    Format {
        /// Registered format tag.
        tag: u16,
        /// Bits per sample.
        bits: u16,
    },
    /// No channel, or more than 8.
    #[error("{0} channels")]
    Channels(u16),
    /// Outside 4-192 kHz.
    #[error("{0} samples per second")]
    Rate(u32),
}

/// A file's audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wav {
    /// Samples per second.
    pub rate: u32,
    /// Samples per instant.
    pub channels: u16,
    /// Interleaved.
    pub samples: Vec<i16>,
}

/// The header of a 16-bit PCM file.
///
/// * `data_len`: octets of audio; 0 while it is not known yet, and [`sizes`] afterwards.
pub fn header(rate: u32, channels: u16, data_len: u32) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    let frame = channels.saturating_mul(2);
    let [riff_size, data_size] = sizes(data_len);
    let fields: [(usize, &[u8]); 13] = [
        (0, b"RIFF"),
        (4, &riff_size),
        (8, b"WAVE"),
        (12, b"fmt "),
        (16, &16_u32.to_le_bytes()),
        (20, &PCM.to_le_bytes()),
        (22, &channels.to_le_bytes()),
        (24, &rate.to_le_bytes()),
        (28, &rate.saturating_mul(u32::from(frame)).to_le_bytes()),
        (32, &frame.to_le_bytes()),
        (34, &16_u16.to_le_bytes()),
        (36, b"data"),
        (40, &data_size),
    ];
    for (at, field) in fields {
        header[at..at + field.len()].copy_from_slice(field);
    }
    header
}

/// What goes to [`SIZE_OFFSETS`] when `data_len` octets of audio have been written.
pub fn sizes(data_len: u32) -> [[u8; 4]; 2] {
    let riff = data_len.saturating_add(36);
    [riff.to_le_bytes(), data_len.to_le_bytes()]
}

/// Samples as the octets of a file.
pub fn octets(samples: &[i16]) -> impl Iterator<Item = u8> + '_ {
    samples.iter().flat_map(|sample| sample.to_le_bytes())
}

/// Reads a file.
///
/// A data size that is zero, unknown or too large (a recording that was never finished) means: to the end.
///
/// # Errors
/// See [`WavError`]; no input panics, and no more memory is taken than four times the file.
pub fn read(file: &[u8]) -> Result<Wav, WavError> {
    let mut chunks = match file {
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'A',
            b'V',
            b'E',
            rest @ ..,
        ] => Chunks(rest),
        _ => return Err(WavError::NotRiff),
    };
    let mut format = None;
    while let Some((name, body)) = chunks.next() {
        match &name {
            b"fmt " => format = Some(Format::read(body)?),
            b"data" => {
                let format = format.ok_or(WavError::NoFormat)?;
                return Ok(Wav {
                    rate: format.rate,
                    channels: format.channels,
                    samples: format.samples(body),
                });
            }
            _ => {} // LIST, fact, cue, ...
        }
    }
    Err(WavError::NoData)
}

impl Wav {
    /// All channels as one, at 8 kHz: what a phone can play.
    pub fn to_wire(&self) -> Vec<i16> {
        resample::whole(&self.mono(), self.rate, SampleRate::Hz8000)
    }

    /// The mean of all channels.
    pub fn mono(&self) -> Vec<i16> {
        let channels = usize::from(self.channels.max(1));
        self.samples
            .chunks_exact(channels)
            .map(|instant| {
                let sum: i32 = instant.iter().map(|sample| i32::from(*sample)).sum();
                i16::try_from(sum / i32::from(self.channels.max(1))).unwrap_or_default()
            })
            .collect()
    }
}

/// The chunks of a RIFF body.
struct Chunks<'a>(&'a [u8]);

impl<'a> Iterator for Chunks<'a> {
    type Item = ([u8; 4], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = self.0.split_first_chunk::<4>()?;
        let (size, rest) = rest.split_first_chunk::<4>()?;
        let size = usize::try_from(u32::from_le_bytes(*size)).unwrap_or(usize::MAX);
        let unknown = name == b"data" && (size == 0 || size > rest.len());
        let len = if unknown {
            rest.len()
        } else {
            size.min(rest.len())
        };
        // Chunks are padded to an even length.
        self.0 = rest.get(len + (len & 1)..).unwrap_or_default();
        Some((*name, &rest[..len]))
    }
}

#[derive(Debug, Clone, Copy)]
struct Format {
    coding: Coding,
    channels: u16,
    rate: u32,
}

#[derive(Debug, Clone, Copy)]
enum Coding {
    Pcm8,
    Pcm16,
    G711(Codec),
}

impl Format {
    fn read(body: &[u8]) -> Result<Self, WavError> {
        let word = |at: usize| -> Result<u16, WavError> {
            let field = body.get(at..at + 2).and_then(|field| field.try_into().ok());
            field.map(u16::from_le_bytes).ok_or(WavError::Truncated)
        };
        let mut tag = word(0)?;
        let (channels, bits) = (word(2)?, word(14)?);
        let rate = u32::from(word(4)?) | u32::from(word(6)?) << 16;
        if tag == EXTENSIBLE {
            tag = word(24)?; // the first field of the sub-format's GUID
        }
        let coding = match (tag, bits) {
            (PCM, 8) => Coding::Pcm8,
            (PCM, 16) => Coding::Pcm16,
            (ALAW, 8) => Coding::G711(Codec::Pcma),
            (ULAW, 8) => Coding::G711(Codec::Pcmu),
            (tag, bits) => return Err(WavError::Format { tag, bits }),
        };
        if !(1..=MAX_CHANNELS).contains(&channels) {
            return Err(WavError::Channels(channels));
        }
        if !(4_000..=192_000).contains(&rate) {
            return Err(WavError::Rate(rate));
        }
        Ok(Self {
            coding,
            channels,
            rate,
        })
    }

    fn samples(self, body: &[u8]) -> Vec<i16> {
        match self.coding {
            // Eight bits are unsigned around 128.
            Coding::Pcm8 => body
                .iter()
                .map(|octet| (i16::from(*octet) - 128) << 8)
                .collect(),
            Coding::Pcm16 => {
                let pairs = body.as_chunks::<2>().0;
                pairs.iter().map(|pair| i16::from_le_bytes(*pair)).collect()
            }
            Coding::G711(codec) => body
                .iter()
                .map(|octet| g711::decode(codec, *octet))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(header: &[u8], samples: &[i16]) -> Vec<u8> {
        header.iter().copied().chain(octets(samples)).collect()
    }

    /// A format chunk and a data chunk of one's own.
    fn custom(tag: u16, channels: u16, rate: u32, bits: u16, extra: &[u8], data: &[u8]) -> Vec<u8> {
        let mut file = b"RIFF\0\0\0\0WAVEfmt ".to_vec();
        file.extend(u32::try_from(16 + extra.len()).unwrap().to_le_bytes());
        file.extend(tag.to_le_bytes());
        file.extend(channels.to_le_bytes());
        file.extend(rate.to_le_bytes());
        file.extend([0; 6]);
        file.extend(bits.to_le_bytes());
        file.extend(extra);
        file.extend(b"LIST\x03\0\0\0abc\0");
        file.extend(b"data");
        file.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        file.extend(data);
        file
    }

    #[test]
    fn what_is_written_is_read_back() {
        let samples = [1, -2, 300, -32_768];
        let wav = read(&file(&header(8_000, 2, 8), &samples)).unwrap();
        assert_eq!((wav.rate, wav.channels), (8_000, 2));
        assert_eq!(wav.samples, samples);
        assert_eq!(wav.mono(), [0, -16_234]);
    }

    #[test]
    fn an_unfinished_recording_is_read_to_its_end() {
        for data_len in [0, u32::MAX, 1_000] {
            let wav = read(&file(&header(16_000, 1, data_len), &[5; 20])).unwrap();
            assert_eq!(wav.samples, [5; 20]);
        }
        let mut finished = header(16_000, 1, 0);
        for (at, size) in SIZE_OFFSETS.into_iter().zip(sizes(40)) {
            let at = usize::try_from(at).unwrap();
            finished[at..at + 4].copy_from_slice(&size);
        }
        assert_eq!(finished, header(16_000, 1, 40));
    }

    #[test]
    fn eight_bits_g711_and_extensible_are_read() {
        let read = |tag, bits, extra: &[u8], data: &[u8]| {
            super::read(&custom(tag, 1, 8_000, bits, extra, data)).map(|wav| wav.samples)
        };
        assert_eq!(
            read(1, 8, &[], &[128, 255, 0]),
            Ok(vec![0, 32_512, -32_768])
        );
        assert_eq!(read(7, 8, &[0, 0], &[0xff, 0x00]), Ok(vec![0, -32_124]));
        assert_eq!(read(6, 8, &[], &[0xd5]), Ok(vec![8]));
        let mut extra = vec![22, 0, 16, 0, 0, 0, 0, 0, 1, 0];
        extra.extend([0; 14]);
        assert_eq!(
            read(0xfffe, 16, &extra, &[1, 0, 9]),
            Ok(vec![1]),
            "an odd octet is dropped"
        );
    }

    #[test]
    fn bad_files_are_named_by_their_fault() {
        assert_eq!(read(b""), Err(WavError::NotRiff));
        assert_eq!(read(b"OggS"), Err(WavError::NotRiff));
        assert_eq!(read(b"RIFF\0\0\0\0WAVE"), Err(WavError::NoData));
        assert_eq!(
            read(b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0"),
            Err(WavError::Truncated)
        );
        assert_eq!(
            read(b"RIFF\0\0\0\0WAVEdata\x04\0\0\0abcd"),
            Err(WavError::NoFormat)
        );
        let no_data = &custom(1, 1, 8_000, 16, &[], &[])[..36];
        assert_eq!(read(no_data), Err(WavError::NoData));
        let read = |tag, channels, rate, bits| {
            super::read(&custom(tag, channels, rate, bits, &[], &[0; 8])).map(|wav| wav.rate)
        };
        assert_eq!(
            read(1, 1, 8_000, 24),
            Err(WavError::Format { tag: 1, bits: 24 })
        );
        assert_eq!(
            read(3, 1, 8_000, 32),
            Err(WavError::Format { tag: 3, bits: 32 })
        );
        assert_eq!(read(0xfffe, 1, 8_000, 16), Err(WavError::Truncated));
        assert_eq!(read(1, 0, 8_000, 16), Err(WavError::Channels(0)));
        assert_eq!(read(1, 9, 8_000, 16), Err(WavError::Channels(9)));
        assert_eq!(read(1, 1, 0, 16), Err(WavError::Rate(0)));
        assert_eq!(read(1, 1, u32::MAX, 16), Err(WavError::Rate(u32::MAX)));
        assert_eq!(read(1, 1, 44_100, 16), Ok(44_100));
    }

    #[test]
    fn any_rate_becomes_the_wires() {
        let stereo = Wav {
            rate: 44_100,
            channels: 2,
            samples: vec![1_000; 88_200],
        };
        assert!(stereo.to_wire().len().abs_diff(8_000) <= 1);
        let none = Wav {
            rate: 44_100,
            channels: 2,
            samples: vec![],
        };
        assert!(none.to_wire().is_empty());
    }

    proptest! {
        #[test]
        fn noise_never_panics(noise: Vec<u8>) {
            let mut file = custom(1, 2, 8_000, 16, &[], &noise);
            prop_assert!(read(&file).is_ok());
            for (n, octet) in noise.iter().enumerate().take(file.len()) {
                let at = n * 7 % file.len();
                file[at] ^= octet;
            }
            if let Ok(wav) = read(&file) {
                prop_assert!(wav.samples.len() <= file.len());
            }
        }
    }
}
