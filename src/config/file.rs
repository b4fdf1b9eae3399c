//! `-c FILE`: which file the commands read.

use std::path::{Path, PathBuf};

use super::{Config, load};

/// `-c FILE`, shared by the commands that read the configuration.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ConfigFile {
    /// Configuration file; without it ./baton.toml when there is one, else the defaults
    #[arg(
        short = 'c',
        long = "config",
        value_name = "FILE",
        env = "BATON_CONFIG"
    )]
    file: Option<PathBuf>,
}

impl ConfigFile {
    /// Reads it.
    ///
    /// # Errors
    /// See [`super::LoadError`]; the file is named.
    pub fn load(&self) -> anyhow::Result<Config> {
        let here = Path::new("baton.toml");
        let path = match &self.file {
            Some(path) => path,
            None if here.exists() => here,
            None => return Ok(Config::default()),
        };
        load(path).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
    }

    /// As people name it in messages.
    pub fn name(&self) -> String {
        match &self.file {
            Some(path) => path.display().to_string(),
            None if Path::new("baton.toml").exists() => "baton.toml".into(),
            None => "the defaults (no configuration file)".into(),
        }
    }
}
