//! `${ENV_VAR}` and `${file:path}` in any string of the file, so that secrets live outside it.

use std::path::Path;

/// Why a `${..}` could not be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// No such variable.
    #[error("the environment variable {0} is not set")]
    NoVariable(String),
    /// No such file, or not text.
    #[error("the file {path} cannot be read: {why}")]
    NoFile {
        /// As written.
        path: String,
        /// The operating system's words.
        why: String,
    },
    /// `${` without its end.
    #[error("`${{` without a closing `}}`")]
    Unclosed,
}

/// Fills in every `${..}` of `text`; `environment` looks a variable up, `directory` is where relative files start.
pub(super) fn expand(
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
    directory: &Path,
) -> Result<String, ExpandError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        out.push_str(&rest[..start]);
        let inner = &rest[start + 2..];
        let end = inner.find('}').ok_or(ExpandError::Unclosed)?;
        out.push_str(&value_of(&inner[..end], environment, directory)?);
        rest = &inner[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn value_of(
    name: &str,
    environment: &dyn Fn(&str) -> Option<String>,
    directory: &Path,
) -> Result<String, ExpandError> {
    let Some(path) = name.strip_prefix("file:") else {
        return environment(name).ok_or_else(|| ExpandError::NoVariable(name.into()));
    };
    match std::fs::read_to_string(directory.join(path)) {
        // Editors and secret mounts end files with a newline that is no part of the secret.
        Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
        Err(error) => Err(ExpandError::NoFile {
            path: path.into(),
            why: error.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand_here(text: &str) -> Result<String, ExpandError> {
        let environment = |name: &str| (name == "KEY").then(|| "s3cret".to_owned());
        expand(text, &environment, Path::new("/nonexistent"))
    }

    #[test]
    fn variables_are_filled_in_wherever_they_stand() {
        assert_eq!(
            expand_here("a ${KEY} b ${KEY}").as_deref(),
            Ok("a s3cret b s3cret")
        );
        assert_eq!(
            expand_here("$KEY and {KEY}").as_deref(),
            Ok("$KEY and {KEY}")
        );
    }

    #[test]
    fn what_is_not_there_is_named() {
        assert_eq!(
            expand_here("${NOPE}"),
            Err(ExpandError::NoVariable("NOPE".into()))
        );
        assert_eq!(expand_here("${KEY"), Err(ExpandError::Unclosed));
        assert!(
            matches!(expand_here("${file:x}"), Err(ExpandError::NoFile { path, .. }) if path == "x")
        );
    }

    #[test]
    fn a_secret_file_loses_its_last_newline() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), "abc\n").unwrap();
        let found = expand("x${file:token}", &|_| None, dir.path());
        assert_eq!(found.as_deref(), Ok("xabc"));
    }
}
