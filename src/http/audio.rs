//! Sends a recording, whole or in part: players seek with Range requests (RFC 9110 §14).

use std::io::SeekFrom;
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use baton_core::history::Session;

use super::answer::ApiError;

const CHUNK: u64 = 64 * 1024;

/// Where a session's recording is, when it has one. Never outside `dir`.
pub(super) fn path_of(dir: &Path, session: &Session) -> Option<PathBuf> {
    let file = session.recording.as_ref()?.file.as_deref()?;
    let name = Path::new(file).strip_prefix(dir).unwrap_or(Path::new(file));
    let inside = !file.is_empty()
        && name
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
    inside.then(|| dir.join(name))
}

/// The file, or the asked range of it. A range that was meant for another version of it is ignored.
pub(super) async fn send(path: &Path, range: Option<&HeaderValue>, if_range: bool) -> Response {
    let opened = async {
        let file = File::open(path).await?;
        let length = file.metadata().await?.len();
        std::io::Result::Ok((file, length))
    };
    let (file, length) = match opened.await {
        Ok(opened) => opened,
        Err(error) => {
            tracing::warn!(%error, "a recording cannot be opened");
            return ApiError::new(
                StatusCode::NOT_FOUND,
                "recording_not_found",
                "the recording is not on this node",
            )
            .into_response();
        }
    };
    let asked = range
        .filter(|_| !if_range)
        .and_then(|range| parse(range.to_str().ok()?, length));
    match asked {
        None => part(file, 0, length, None).await,
        Some(Ok(range)) => {
            let (from, to) = range.into_inner();
            let of = format!("bytes {from}-{to}/{length}");
            part(file, from, to - from + 1, Some(of)).await
        }
        Some(Err(Unsatisfiable)) => (
            StatusCode::RANGE_NOT_SATISFIABLE,
            [(header::CONTENT_RANGE, format!("bytes */{length}"))],
        )
            .into_response(),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Unsatisfiable;

/// One byte range; `None` for what is ignored: other units, several ranges, nonsense.
fn parse(range: &str, length: u64) -> Option<Result<RangeInclusive<u64>, Unsatisfiable>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let (from, to) = if first.trim().is_empty() {
        let suffix = number(last)?;
        (length.saturating_sub(suffix), length.checked_sub(1))
    } else {
        let from = number(first)?;
        let to = if last.trim().is_empty() {
            u64::MAX
        } else {
            number(last)?
        };
        if to < from {
            return None;
        }
        (from, length.checked_sub(1).map(|end| end.min(to)))
    };
    match to {
        Some(to) if from <= to => Some(Ok(from..=to)),
        _ => Some(Err(Unsatisfiable)),
    }
}

async fn part(mut file: File, from: u64, length: u64, content_range: Option<String>) -> Response {
    if let Err(error) = file.seek(SeekFrom::Start(from)).await {
        tracing::warn!(%error, "a recording cannot be read");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let chunks = stream::try_unfold((file, length), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let mut chunk = Vec::new();
        let read = (&mut file)
            .take(left.min(CHUNK))
            .read_to_end(&mut chunk)
            .await?;
        if read == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
        }
        Ok(Some((Bytes::from(chunk), (file, left - read as u64))))
    });
    let mut response = Body::from_stream(chunks).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("audio/wav"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if let Some(range) = content_range.and_then(|range| HeaderValue::from_str(&range).ok()) {
        headers.insert(header::CONTENT_RANGE, range);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_core::history::session::Recording;
    use baton_core::vocab::{Entropy, HandoffKey};

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        for (text, range) in [
            ("bytes=0-", Some(Ok(0..=99))),
            ("bytes=10-19", Some(Ok(10..=19))),
            ("bytes=90-500", Some(Ok(90..=99))),
            ("bytes=-10", Some(Ok(90..=99))),
            ("bytes=-500", Some(Ok(0..=99))),
            ("bytes=100-", Some(Err(Unsatisfiable))),
            ("bytes=-0", Some(Err(Unsatisfiable))),
            ("bytes=9-5", None),
            ("bytes=0-1,5-6", None),
            ("bytes=a-b", None),
            ("bytes=-", None),
            ("lines=1-2", None),
            ("", None),
            ("bytes=99999999999999999999-", None),
        ] {
            assert_eq!(parse(text, 100), range, "{text:?}");
        }
        assert_eq!(parse("bytes=0-", 0), Some(Err(Unsatisfiable)));
    }

    #[test]
    fn a_recording_is_never_outside_its_directory() {
        let dir = Path::new("/var/recordings");
        let with = |file: Option<&str>| {
            let mut session =
                Session::fold(HandoffKey::generate(&mut Entropy::from_number(1)), &[]);
            session.recording = Some(Recording {
                on: false,
                file: file.map(Into::into),
            });
            path_of(dir, &session)
        };
        assert_eq!(with(Some("a.wav")), Some(dir.join("a.wav")));
        assert_eq!(with(Some("2025/a.wav")), Some(dir.join("2025/a.wav")));
        assert_eq!(with(Some("/var/recordings/a.wav")), Some(dir.join("a.wav")));
        for file in ["../etc/passwd", "/etc/passwd", "a/../../b", "", "."] {
            assert_eq!(with(Some(file)), None, "{file:?}");
        }
        assert_eq!(with(None), None);
    }
}
