//! WAV files for the phone: anything in, 8 kHz mono out.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use baton_core::media::wav::{self, WavError};

/// A file larger than this is not a prompt.
const MAX_FILE: u64 = 256 << 20;

/// An audio file that cannot be used; its text is for people.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AudioFileError {
    /// It cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// In the system's words.
        error: io::Error,
    },
    /// It is no WAV file we understand.
    #[error("{}: {error}", path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        error: WavError,
    },
    /// It is larger than 256 MiB.
    #[error("{}: too large; the phone plays files up to 256 MiB", .0.display())]
    TooLarge(PathBuf),
}

/// Reads a WAV file as 8 kHz mono.
///
/// # Errors
/// [`AudioFileError`].
pub fn read(path: &Path) -> Result<Vec<i16>, AudioFileError> {
    let file = |error| AudioFileError::File {
        path: path.to_owned(),
        error,
    };
    if fs::metadata(path).map_err(file)?.len() > MAX_FILE {
        return Err(AudioFileError::TooLarge(path.to_owned()));
    }
    let octets = fs::read(path).map_err(file)?;
    let wav = wav::read(&octets).map_err(|error| AudioFileError::Format {
        path: path.to_owned(),
        error,
    })?;
    Ok(wav.to_wire())
}

/// Writes 8 kHz mono samples as a WAV file; directories on the way are made.
///
/// # Errors
/// [`AudioFileError::File`].
pub fn write(path: &Path, samples: &[i16]) -> Result<(), AudioFileError> {
    let data_len = u32::try_from(samples.len() * 2).unwrap_or(u32::MAX);
    let write = || -> io::Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut file = io::BufWriter::new(fs::File::create(path)?);
        file.write_all(&wav::header(8000, 1, data_len))?;
        let octets: Vec<u8> = wav::octets(samples).collect();
        file.write_all(&octets)?;
        file.flush()
    };
    write().map_err(|error| AudioFileError::File {
        path: path.to_owned(),
        error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("calls/heard.wav");
        let samples: Vec<i16> = (0..1600).map(|n| n * 20 - 16_000).collect();
        write(&path, &samples).unwrap();
        assert_eq!(read(&path).unwrap(), samples);
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing.wav");
        let error = read(&missing).unwrap_err().to_string();
        assert!(error.contains("missing.wav"), "{error}");
        let noise = directory.path().join("noise.wav");
        fs::write(&noise, b"no wave at all").unwrap();
        let error = read(&noise).unwrap_err();
        assert!(matches!(error, AudioFileError::Format { .. }), "{error}");
        let error = write(directory.path(), &[0]).unwrap_err();
        assert!(matches!(error, AudioFileError::File { .. }), "{error}");
    }
}
